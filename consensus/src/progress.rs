//! How far this node has come, readable without asking the leader (`custody.md`, "Freshness without the leader").
//!
//! A node that answers only after it has applied everything it had accepted when the question arrived has seen every
//! entry that it acknowledged. Since it acknowledges before an entry can commit, some node of every quorum then shows
//! the newest committed state.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use crate::limits::CUTS_MAX;
use crate::sync::lock;

/// What had been accepted at one moment: the target of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Highest index accepted then.
    pub accepted: u64,
    /// How often the log had been cut then.
    cuts: u64,
}

/// The wait ended before the target was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {target} was not applied in time; applied: {applied}")]
pub struct NotReached {
    /// What had to be applied.
    pub target: u64,
    /// What was.
    pub applied: u64,
}

/// An entry that is accepted but not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unapplied {
    /// Its place in the log. It may still be cut.
    pub index: u64,
    /// Its kind.
    pub kind: u16,
    /// Its payload.
    pub payload: Bytes,
}

/// Progress of this node's log and state.
#[derive(Debug)]
pub struct Progress {
    accepted: AtomicU64,
    applied: AtomicU64,
    installing: AtomicBool,
    /// Marked states that are being described.
    describing: AtomicUsize,
    /// Counts cuts; read before and after `accepted`, so that a sample never mixes two logs.
    cuts_made: AtomicU64,
    /// (number of the cut, first index that went), newest last.
    cuts: Mutex<VecDeque<(u64, u64)>>,
    changed: watch::Sender<()>,
}

/// A description under way.
pub(crate) struct Describing(Arc<Progress>);

impl Drop for Describing {
    fn drop(&mut self) {
        self.0.describing.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new(0, 0)
    }
}

impl Progress {
    pub(crate) fn new(accepted: u64, applied: u64) -> Self {
        Self {
            accepted: AtomicU64::new(accepted),
            applied: AtomicU64::new(applied),
            installing: AtomicBool::new(false),
            describing: AtomicUsize::new(0),
            cuts_made: AtomicU64::new(0),
            cuts: Mutex::new(VecDeque::new()),
            changed: watch::Sender::new(()),
        }
    }

    /// Highest index accepted into this node's log. Rises before the node acknowledges the entry.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Highest index applied and visible to readers.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::SeqCst)
    }

    /// Whether a snapshot is being installed. The state is then in between, and nobody may be answered.
    #[must_use]
    pub fn installing(&self) -> bool {
        self.installing.load(Ordering::SeqCst)
    }

    /// Whether a marked state is being described. A mark that comes meanwhile is passed over.
    #[must_use]
    pub fn describing(&self) -> bool {
        self.describing.load(Ordering::SeqCst) > 0
    }

    /// A description begins; it ends when this is dropped.
    pub(crate) fn describe(self: &Arc<Self>) -> Describing {
        self.describing.fetch_add(1, Ordering::SeqCst);
        Describing(Arc::clone(self))
    }

    /// What is accepted now, as a target to wait for.
    #[must_use]
    pub fn sample(&self) -> Sample {
        loop {
            let cuts = self.cuts_made.load(Ordering::SeqCst);
            let accepted = self.accepted();
            if self.cuts_made.load(Ordering::SeqCst) == cuts {
                return Sample { accepted, cuts };
            }
        }
    }

    /// What must be applied before `sample` is: its index, or less where the log has been cut since.
    /// `None` if more cuts happened than are remembered.
    fn target(&self, sample: Sample) -> Option<u64> {
        let made = self.cuts_made.load(Ordering::SeqCst);
        if made == sample.cuts {
            return Some(sample.accepted);
        }
        let cuts = lock(&self.cuts);
        let oldest = cuts.front().map_or(u64::MAX, |(number, _)| *number);
        if oldest > sample.cuts.saturating_add(1) {
            return None;
        }
        let since = cuts.iter().filter(|(number, _)| *number > sample.cuts);
        Some(
            since
                .map(|(_, from)| from.saturating_sub(1))
                .fold(sample.accepted, u64::min),
        )
    }

    /// Whether everything of `sample` is applied, and no snapshot is being installed.
    #[must_use]
    pub fn reached(&self, sample: Sample) -> bool {
        !self.installing() && self.target(sample).is_some_and(|target| self.applied() >= target)
    }

    /// Waits until everything of `sample` is applied; during a snapshot install it keeps waiting. Returns what is
    /// applied then.
    ///
    /// # Errors
    /// [`NotReached`] after `timeout`.
    pub async fn wait_applied(&self, sample: Sample, timeout: Duration) -> Result<u64, NotReached> {
        #[cfg(feature = "sabotage")]
        if symbolon_sabotage::Bug::StaleReads.on() {
            return Ok(self.applied());
        }
        let waiting = async {
            let mut changed = self.changed.subscribe();
            while !self.reached(sample) {
                // The sender lives in `self`, so this cannot fail while we are here.
                if changed.changed().await.is_err() {
                    break;
                }
            }
        };
        let within = tokio::time::timeout(timeout, waiting).await;
        let applied = self.applied();
        if within.is_ok() && self.reached(sample) {
            return Ok(applied);
        }
        Err(NotReached {
            target: self.target(sample).unwrap_or(sample.accepted),
            applied,
        })
    }

    /// Waits until `index` is applied: a reader that was shown it elsewhere. Returns what is applied then.
    ///
    /// # Errors
    /// [`NotReached`] after `timeout`.
    pub async fn wait_index(&self, index: u64, timeout: Duration) -> Result<u64, NotReached> {
        let waiting = async {
            let mut changed = self.changed.subscribe();
            while self.applied() < index || self.installing() {
                // The sender lives in `self`, so this cannot fail while we are here.
                if changed.changed().await.is_err() {
                    break;
                }
            }
        };
        let within = tokio::time::timeout(timeout, waiting).await;
        let applied = self.applied();
        if within.is_ok() && applied >= index {
            Ok(applied)
        } else {
            Err(NotReached { target: index, applied })
        }
    }

    /// Entries up to `index` are in the log, though not durable yet.
    pub(crate) fn accept(&self, index: u64) {
        self.accepted.fetch_max(index, Ordering::SeqCst);
    }

    /// The log is about to lose its entries from `from` on.
    pub(crate) fn cut(&self, from: u64) {
        let mut cuts = lock(&self.cuts);
        let number = self.cuts_made.load(Ordering::SeqCst).saturating_add(1);
        cuts.push_back((number, from));
        if cuts.len() > CUTS_MAX {
            cuts.pop_front();
        }
        // In this order a sample taken meanwhile has either the old count, so that this cut lowers it, or both new.
        self.accepted.fetch_min(from.saturating_sub(1), Ordering::SeqCst);
        self.cuts_made.store(number, Ordering::SeqCst);
        drop(cuts);
        self.changed.send_replace(());
    }

    /// Everything up to `index` is applied and visible.
    pub(crate) fn apply(&self, index: u64) {
        self.applied.fetch_max(index, Ordering::SeqCst);
        self.changed.send_replace(());
    }

    /// A snapshot at `index` is about to replace the state.
    pub(crate) fn begin_install(&self, index: u64) {
        self.installing.store(true, Ordering::SeqCst);
        self.accept(index);
    }

    /// The snapshot is in place.
    pub(crate) fn end_install(&self, index: u64) {
        self.applied.fetch_max(index, Ordering::SeqCst);
        self.installing.store(false, Ordering::SeqCst);
        self.changed.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(200);

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_when_the_sample_is_applied() {
        let progress = Progress::new(5, 3);
        let sample = progress.sample();
        assert_eq!(sample.accepted, 5);
        progress.accept(9);
        let wait = progress.wait_applied(sample, SOON);
        let apply = async {
            progress.apply(4);
            tokio::time::sleep(Duration::from_millis(1)).await;
            progress.apply(5);
        };
        assert_eq!(tokio::join!(wait, apply).0, Ok(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_what_is_never_applied_ends_in_time() {
        let progress = Progress::new(5, 3);
        let wait = progress.wait_applied(progress.sample(), SOON).await;
        assert_eq!(wait, Err(NotReached { target: 5, applied: 3 }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_lowers_the_target_of_those_who_sampled_before_it() {
        let progress = Progress::new(9, 3);
        let before = progress.sample();
        progress.cut(6);
        assert_eq!(progress.accepted(), 5);
        progress.accept(12);
        let after = progress.sample();
        progress.apply(5);
        assert!(progress.reached(before), "entries 6 to 9 of the old log are gone");
        assert!(!progress.reached(after), "entries 6 to 12 of the new log count");
        assert_eq!(progress.wait_applied(before, SOON).await, Ok(5));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_reached_while_a_snapshot_is_installed() {
        let progress = Progress::new(5, 5);
        let sample = progress.sample();
        progress.begin_install(20);
        assert!(!progress.reached(sample));
        assert_eq!(progress.sample().accepted, 20);
        assert!(progress.wait_applied(sample, SOON).await.is_err());
        progress.end_install(20);
        assert_eq!(progress.wait_applied(sample, SOON).await, Ok(20));
    }

    #[test]
    fn a_sample_older_than_the_remembered_cuts_is_never_reached() {
        let progress = Progress::new(5, 5);
        let sample = progress.sample();
        for _ in 0..=CUTS_MAX {
            progress.cut(3);
        }
        assert!(!progress.reached(sample));
    }
}
