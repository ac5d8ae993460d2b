//! What one member may bring about again and again. Honest members seldom do; a malicious one would without end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::sync::lock;

/// For each member `burst` times at once, and once more every `every`. Clones share it.
#[derive(Clone)]
pub(crate) struct Allowance {
    burst: u32,
    every: Duration,
    /// When each member has all of its allowance again.
    whole_at: Arc<Mutex<BTreeMap<u64, Instant>>>,
}

impl Allowance {
    pub(crate) fn new(burst: u32, every: Duration) -> Self {
        Self {
            burst,
            every,
            whole_at: Arc::default(),
        }
    }

    /// Whether the member may once more, and if so, takes that.
    pub(crate) fn take(&self, member: u64) -> bool {
        let now = Instant::now();
        let mut whole_at = lock(&self.whole_at);
        let whole = whole_at.get(&member).map_or(now, |at| (*at).max(now)) + self.every;
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
}
