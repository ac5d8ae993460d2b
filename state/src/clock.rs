//! Log time: agreed from the nodes' signed clock readings (custody.md, "Log time"). Never goes back.

use crate::keys;
use crate::records::{Clock as ClockRecord, Reading};
use crate::view::{Fault, Records, View, load, store};
use symbolon_wire::roster::Roster;
use symbolon_wire::v1;

/// The median may be this far ahead and still be followed at once, ms.
const STEP_MS_MAX: u64 = 60_000;
/// When the cluster was down longer, t readings must lie this close together, ms.
const AGREEMENT_MS: u64 = 10_000;

/// Log time and the readings that it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Clock {
    record: ClockRecord,
}

impl Clock {
    /// At genesis: the roster's creation time, and that reading for every node.
    pub(crate) fn genesis(roster: &Roster) -> Self {
        let readings = roster
            .nodes
            .iter()
            .map(|node| Reading {
                node: node.index.into(),
                boot_counter: 0,
                sequence: 0,
                time_ms: roster.created_ms,
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
    /// again, and one that was ahead for a second must not count as ahead for as long as it was ahead.
    pub(crate) fn is_newer(&self, tick: &v1::Tick) -> bool {
        let mut readings = self.record.readings.iter();
        readings.any(|last| {
            last.node == tick.node && (tick.boot_counter, tick.sequence) > (last.boot_counter, last.sequence)
        })
    }

    /// Takes a node's newest reading.
    pub(crate) fn take(&mut self, tick: &v1::Tick) {
        let mut readings = self.record.readings.iter_mut();
        let Some(reading) = readings.find(|reading| reading.node == tick.node) else {
            return;
        };
        #[cfg(feature = "sabotage")]
        if symbolon_sabotage::Bug::WrongClockRemembered.on() && tick.time_ms < reading.time_ms {
            return;
        }
        *reading = Reading {
            node: tick.node,
            boot_counter: tick.boot_counter,
            sequence: tick.sequence,
            time_ms: tick.time_ms,
        };
    }

    /// Moves log time as far as the readings allow. `together` are the times that one entry brought.
    pub(crate) fn advance(&mut self, threshold: usize, mut together: Vec<u64>) {
        let mut times: Vec<u64> = self.record.readings.iter().map(|reading| reading.time_ms).collect();
        times.sort_unstable();
        #[cfg(feature = "sabotage")]
        if symbolon_sabotage::Bug::ReadingsOfAnyTimeAgree.on() {
            together.clone_from(&times);
        }
        let now = self.record.log_time_ms;
        let Some(&median) = times.get(times.len().saturating_sub(1) / 2) else {
            return;
        };
        #[cfg(feature = "sabotage")]
        if symbolon_sabotage::Bug::LogTimeGoesBack.on() {
            self.record.log_time_ms = median;
            return;
        }
        #[cfg(feature = "sabotage")]
        if symbolon_sabotage::Bug::LogTimeStandsStill.on() {
            return;
        }
        if median <= now.saturating_add(STEP_MS_MAX) {
            self.record.log_time_ms = now.max(median);
            return;
        }
        // Far ahead: t readings of one entry must agree; the lowest such group that lies ahead is taken. One that was wrong,
        // of a node that went down before it could tell a right one, does not lend itself to the next wrong clock.
        together.sort_unstable();
        let agreed = together
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
