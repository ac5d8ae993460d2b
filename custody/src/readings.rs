//! Clock readings that the leader logs together (custody.md, "Log time").

use std::collections::BTreeMap;
use symbolon_wire::v1;

/// A reading is logged at most this long after it was heard, ms: two of the seconds in which each node tells one.
const FRESH_MS: u64 = 2_000;

/// What each node last told of its clock.
#[derive(Debug, Default)]
pub struct Readings {
    heard: BTreeMap<u32, (u64, v1::Tick)>,
}

impl Readings {
    /// Keeps a reading if it is newer than what its node told before. `now_ms` is of a clock that never goes back.
    pub fn take(&mut self, tick: v1::Tick, now_ms: u64) {
        let newer = self
            .heard
            .get(&tick.node)
            .is_none_or(|(_, known)| (tick.boot_counter, tick.sequence) > (known.boot_counter, known.sequence));
        if newer {
            self.heard.insert(tick.node, (now_ms, tick));
        }
    }

    /// Those heard just now. Readings that are logged together are taken as made together: that of a node which went down
    /// with a wrong clock must not agree with another's wrong clock later on.
    pub fn together(&mut self, now_ms: u64) -> Vec<v1::Tick> {
        self.heard
            .retain(|_, (heard_ms, _)| now_ms.saturating_sub(*heard_ms) < FRESH_MS);
        self.heard.values().map(|(_, tick)| tick.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(node: u32, boot_counter: u64, sequence: u64) -> v1::Tick {
        v1::Tick {
            node,
            boot_counter,
            sequence,
            ..v1::Tick::default()
        }
    }

    #[test]
    fn a_reading_is_logged_with_those_heard_within_two_seconds_of_it_and_no_others() {
        let mut readings = Readings::default();
        readings.take(tick(1, 1, 7), 10_000);
        readings.take(tick(2, 1, 4), 10_900);
        assert_eq!(readings.together(11_999), [tick(1, 1, 7), tick(2, 1, 4)]);
        assert_eq!(readings.together(12_000), [tick(2, 1, 4)]);
    }

    #[test]
    fn of_a_nodes_readings_the_newest_is_logged_whatever_comes_last() {
        let mut readings = Readings::default();
        for (boot_counter, sequence) in [(2, 1), (1, 9), (2, 3), (2, 2)] {
            readings.take(tick(1, boot_counter, sequence), 10_000);
        }
        assert_eq!(readings.together(10_000), [tick(1, 2, 3)]);
    }
}
