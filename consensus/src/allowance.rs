//! What one member may bring about again and again. Honest members seldom do; a malicious one would without end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::sync::lock;

/// For each member `burst` times at once, and once more every `every`. Clones share it.
#[derive(Clone, Debug)]
pub struct Allowance {
    burst: u32,
    every: Duration,
    /// When each member has all of its allowance again.
    whole_at: Arc<Mutex<BTreeMap<u64, Instant>>>,
}

impl Allowance {
    /// `burst` times at once, and once more every `every`.
    #[must_use]
    pub fn new(burst: u32, every: Duration) -> Self {
        Self {
            burst,
            every,
            whole_at: Arc::default(),
        }
    }

    /// Whether the member may once more, and if so, takes that.
    #[must_use]
    pub fn take(&self, member: u64) -> bool {
        self.take_many(member, 1)
    }

    /// Whether the member may so many times more, and if so, takes them.
    #[must_use]
    pub fn take_many(&self, member: u64, times: usize) -> bool {
        let times = u32::try_from(times).unwrap_or(u32::MAX);
        let now = Instant::now();
        let mut whole_at = lock(&self.whole_at);
        let whole = whole_at.get(&member).map_or(now, |at| (*at).max(now)) + self.every.saturating_mul(times);
        let may = whole.duration_since(now) <= self.every * self.burst;
        if may {
            whole_at.insert(member, whole);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_member_has_its_burst_and_then_one_at_a_time() {
        let allowance = Allowance::new(3, Duration::from_secs(10));
        for member in [1, 2] {
            let taken = (0..100).filter(|_| allowance.take(member)).count();
            assert_eq!(taken, 3, "member {member}");
        }
        tokio::time::advance(Duration::from_millis(9_999)).await;
        assert!(!allowance.take(1));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(allowance.take(1));
        assert!(!allowance.take(1));
        tokio::time::advance(Duration::from_secs(1_000)).await;
        let taken = (0..100).filter(|_| allowance.take(1)).count();
        assert_eq!(taken, 3, "what is not used does not add up");
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_tells_much_that_is_wrong_is_not_heard_for_a_while_and_others_are() {
        let checks = Allowance::new(2000, Duration::from_millis(1));
        let taken = |node, each| (0..100_000).filter(|_| checks.take_many(node, each)).count();
        assert_eq!((taken(1, 64), taken(2, 1)), (31, 2000));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((taken(1, 1), taken(2, 1)), (1016, 1000));
        assert!(!checks.take_many(3, usize::MAX));
    }
}
