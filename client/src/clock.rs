//! Log time as a client can know it: what the nodes last said, moved on by this machine's monotonic clock. A command's
//! expiry is judged by log time, so a client whose wall clock is wrong can still write.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// An estimate of log time, ms since 1970.
#[derive(Debug, Default)]
pub(crate) struct LogClock(Mutex<Option<(u64, Instant)>>);

impl LogClock {
    /// Takes one node's word for an earlier time only. A command signed for a later one could be held back, told to be
    /// expired, and count when nobody expects it any more.
    pub(crate) fn heard_from_one(&self, log_time_ms: u64) {
        if log_time_ms < self.now_ms() {
            self.heard(log_time_ms);
        }
    }

    /// The nodes said this.
    pub(crate) fn heard(&self, log_time_ms: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((log_time_ms, Instant::now()));
    }

    /// Log time now, about.
    pub(crate) fn now_ms(&self) -> u64 {
        let heard = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match heard {
            Some((ms, at)) => ms.saturating_add(millis(at.elapsed())),
            None => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_said_counts_rather_than_the_wall_clock() {
        let clock = LogClock::default();
        assert!(clock.now_ms() > 1_700_000_000_000);
        clock.heard(5_000);
        assert!((5_000..6_000).contains(&clock.now_ms()));
    }

    #[test]
    fn one_node_moves_it_back_and_never_on() {
        let clock = LogClock::default();
        clock.heard(5_000);
        clock.heard_from_one(1_000_000);
        assert!((5_000..6_000).contains(&clock.now_ms()));
        clock.heard_from_one(3_000);
        assert!((3_000..4_000).contains(&clock.now_ms()));
    }
}
