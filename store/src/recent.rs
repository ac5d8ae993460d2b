//! Applied records that readers asked for lately, unsealed. Most requests ask for the same few (who asks, what he asks
//! for), and finding and opening one costs more than all that is then done with it.
//!
//! What is known here is the newest state, so only views of that state are served: a commit counts before it changes
//! anything, and a view whose count is not the newest any more reads the database.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use symbolon_consensus::Known;

use crate::limits::{RECENT_BYTES_EACH, RECENT_BYTES_MAX};
use crate::sync::lock;

pub(crate) struct Recent {
    /// Grows with each commit that begins and with each that ends: odd while one is under way, and after one that failed.
    commits: AtomicU64,
    /// Held by the commit under way: a second one beside it would make the count even.
    committing: Mutex<()>,
    known: Mutex<Known>,
}

/// The state that a view sees, by what [`Recent::now`] was before the view was taken.
#[derive(Clone, Copy)]
pub(crate) struct AsOf<'a> {
    recent: &'a Recent,
    commits: u64,
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            commits: AtomicU64::new(0),
            committing: Mutex::new(()),
            known: Mutex::new(nothing()),
        }
    }
}

fn nothing() -> Known {
    Known::bounded(RECENT_BYTES_MAX)
}

impl Recent {
    /// To be asked before a view of the newest state is taken.
    pub(crate) fn now(&self) -> AsOf<'_> {
        AsOf {
            recent: self,
            commits: self.commits.load(Ordering::SeqCst),
        }
    }

    /// Begins a commit that changes the records under `keys`. Until it is [done](Committing::done), or a later one is, nothing is
    /// taken from memory or kept there.
    pub(crate) fn commit<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> Committing<'_> {
        let committing = self.begin();
        let mut known = lock(&self.known);
        #[cfg(feature = "sabotage")]
        let keys = keys.filter(|_| !symbolon_sabotage::Bug::CommittedStaysKnown.on());
        keys.for_each(|key| known.forget(key));
        committing
    }

    /// The same for a commit that puts another state in place of all records.
    pub(crate) fn replace(&self) -> Committing<'_> {
        let committing = self.begin();
        *lock(&self.known) = nothing();
        committing
    }

    fn begin(&self) -> Committing<'_> {
        let one_at_a_time = lock(&self.committing);
        // Before anything is forgotten: whoever looked before may keep what the commit changes until the lock is taken.
        let after_one_that_failed = !self.commits.load(Ordering::SeqCst).is_multiple_of(2);
        self.commits
            .fetch_add(if after_one_that_failed { 2 } else { 1 }, Ordering::SeqCst);
        Committing {
            commits: &self.commits,
            _one_at_a_time: one_at_a_time,
        }
    }
}

/// A commit under way.
pub(crate) struct Committing<'a> {
    commits: &'a AtomicU64,
    _one_at_a_time: MutexGuard<'a, ()>,
}

impl Committing<'_> {
    /// The database holds what was changed.
    pub(crate) fn done(self) {
        self.commits.fetch_add(1, Ordering::SeqCst);
    }
}

impl AsOf<'_> {
    fn is_newest(&self) -> bool {
        let newest = self.recent.commits.load(Ordering::SeqCst) == self.commits;
        #[cfg(feature = "sabotage")]
        let newest = newest || symbolon_sabotage::Bug::OldViewsKeepRecords.on();
        newest && self.commits.is_multiple_of(2)
    }

    /// The record, if it is known and this view sees the newest state.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Bytes> {
        let mut known = lock(&self.recent.known);
        self.is_newest().then(|| known.get(key).flatten()).flatten()
    }

    /// Keeps a record that this view has read, if that is the newest state. One that is not there is not kept: strangers
    /// could fill the memory with what there is none of.
    pub(crate) fn keep(&self, key: Vec<u8>, value: &Bytes) {
        if value.len() > RECENT_BYTES_EACH {
            return;
        }
        let mut known = lock(&self.recent.known);
        if self.is_newest() {
            known.put(key, Some(value.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"key";

    fn keep(of: AsOf<'_>, value: &'static [u8]) {
        of.keep(KEY.to_vec(), &Bytes::from_static(value));
    }

    #[test]
    fn after_a_commit_that_failed_nothing_is_kept_until_another_succeeds() {
        let recent = Recent::default();
        keep(recent.now(), b"first");
        assert!(recent.now().get(KEY).is_some());
        drop(recent.commit([KEY].into_iter()));
        keep(recent.now(), b"either");
        assert_eq!(recent.now().get(KEY), None);
        let commit = recent.commit([KEY].into_iter());
        let beside = recent.now();
        keep(beside, b"before");
        assert_eq!(beside.get(KEY), None);
        commit.done();
        keep(beside, b"before");
        assert_eq!(recent.now().get(KEY), None);
        keep(recent.now(), b"after");
        assert_eq!(recent.now().get(KEY), Some(Bytes::from_static(b"after")));
    }
}
