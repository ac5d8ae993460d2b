//! Log time as a client can know it: what a node last said, moved on by this machine's monotonic clock. A command's
//! expiry is judged by log time, so a client whose wall clock is wrong can still write.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// An estimate of log time, ms since 1970.
#[derive(Debug, Default)]
pub(crate) struct LogClock(Mutex<Option<(u64, Instant)>>);

impl LogClock {
    /// A node said this.
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
}
