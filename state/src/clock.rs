//! Log time: agreed from the nodes' signed clock readings (custody.md, "Log time"). Never goes back.

use crate::keys;
use crate::records::{Clock as ClockRecord, Reading};
use crate::view::{Fault, Records, View, load, store};
use symbolon_wire::roster::Roster;
use symbolon_wire::v1;

/// Log time follows t clocks at once if they are at most this far ahead, ms.
const STEP_MS_MAX: u64 = 60_000;
/// When the cluster was down longer, t clocks must lie this close together, ms.
const AGREEMENT_MS: u64 = 10_000;

/// Log time, and which readings of each node are used up.
#[derive(Debug, Clone, PartialEq)]
pub struct Clock {
    record: ClockRecord,
}

impl Clock {
    /// At genesis: the roster's creation time, before any reading.
    pub(crate) fn genesis(roster: &Roster) -> Self {
        let readings = roster
            .nodes
            .iter()
            .map(|node| Reading {
                node: node.index.into(),
                boot_counter: 0,
                sequence: 0,
            })
            .collect();
        Self {
            record: ClockRecord {
                log_time_ms: roster.created_ms,
                readings,
            },
        }
    }

    /// As state holds it.
    pub fn read(view: &(impl View + ?Sized)) -> Result<Self, Fault> {
        let record = load(view, &keys::clock())?.ok_or(Fault::Broken {
            rule: "state has a clock",
        })?;
        Ok(Self { record })
    }

    pub(crate) fn write(&self, records: &mut (impl Records + ?Sized)) {
        store(records, keys::clock(), &self.record);
    }

    /// Log time, ms since 1970.
    pub fn log_time_ms(&self) -> u64 {
        self.record.log_time_ms
    }

    /// Whether the node made this reading after its last one here, whatever it shows: a clock that was ahead may be right
    /// again.
    pub(crate) fn is_newer(&self, tick: &v1::Tick) -> bool {
        let mut readings = self.record.readings.iter();
        readings.any(|last| {
            last.node == tick.node && (tick.boot_counter, tick.sequence) > (last.boot_counter, last.sequence)
        })
    }

    /// Uses a node's newest reading up: it counts in one entry.
    pub(crate) fn take(&mut self, tick: &v1::Tick) {
        let mut readings = self.record.readings.iter_mut();
        if let Some(reading) = readings.find(|reading| reading.node == tick.node) {
            (reading.boot_counter, reading.sequence) = (tick.boot_counter, tick.sequence);
        }
    }

    /// Moves log time to where t clocks are. `times` are those that one entry brings, one of each node: what a clock showed
    /// earlier, before its node went down or was cut off, counts for nothing beside another that is wrong now.
    pub(crate) fn advance(&mut self, threshold: usize, mut times: Vec<u64>) {
        #[cfg(feature = "sabotage")]
        let threshold = if symbolon_sabotage::Bug::OneClockIsEnough.on() {
            1
        } else {
            threshold
        };
        times.sort_unstable_by_key(|time| std::cmp::Reverse(*time));
        // Of all n = 2t - 1 this is the lower median; t nodes' clocks have reached it.
        let reached = threshold.checked_sub(1).and_then(|place| times.get(place).copied());
        let (now, Some(reached)) = (self.record.log_time_ms, reached) else {
            return;
        };
        #[cfg(feature = "sabotage")]
        if symbolon_sabotage::Bug::LogTimeGoesBack.on() {
            self.record.log_time_ms = reached;
            return;
        }
        #[cfg(feature = "sabotage")]
        if symbolon_sabotage::Bug::LogTimeStandsStill.on() {
            return;
        }
        if reached <= now.saturating_add(STEP_MS_MAX) {
            self.record.log_time_ms = now.max(reached);
            return;
        }
        // Far ahead: t of them must agree; the lowest such group is taken.
        times.reverse();
        let agreed = times
            .windows(threshold)
            .find_map(|group| match (group.first(), group.last()) {
                (Some(&low), Some(&high)) if low > now && high - low <= AGREEMENT_MS => Some(low),
                _ => None,
            });
        if let Some(time) = agreed {
            self.record.log_time_ms = time;
        }
    }
}
