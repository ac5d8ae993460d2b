//! Signature checks that one node may cause by what it tells. An honest one causes some dozens a second; a malicious one
//! would keep all others busy with statements that are wrong.

use crate::member::lock;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// What each check costs a node of its time.
const EACH: Duration = Duration::from_millis(1);
/// How much of it a node may have used up at once.
const AT_ONCE: Duration = Duration::from_secs(2);

/// For each node, when it has all of its checks again.
#[derive(Debug, Default)]
pub(crate) struct Checks(Mutex<BTreeMap<u16, Instant>>);

impl Checks {
    /// Whether what `node` told may be checked, with so many checks, and if so, counts them.
    pub(crate) fn take(&self, node: u16, checks: usize) -> bool {
        let now = Instant::now();
        let cost = EACH.saturating_mul(u32::try_from(checks).unwrap_or(u32::MAX));
        let mut whole_at = lock(&self.0);
        let whole = whole_at.get(&node).map_or(now, |at| (*at).max(now)) + cost;
        let may = whole.duration_since(now) <= AT_ONCE;
        if may {
            whole_at.insert(node, whole);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_node_that_tells_much_that_is_wrong_is_not_heard_for_a_while_and_others_are() {
        let checks = Checks::default();
        let taken = |node, each| (0..100_000).filter(|_| checks.take(node, each)).count();
        assert_eq!((taken(1, 64), taken(2, 1)), (31, 2000));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((taken(1, 1), taken(2, 1)), (1016, 1000));
        assert!(!checks.take(3, usize::MAX));
    }
}
