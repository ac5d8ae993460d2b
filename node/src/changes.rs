//! What the last entries changed: a ring in memory, bounded in bytes, of which every node derives alike content from the
//! log. It begins anew with each boot and each snapshot taken over, and says so: nothing is ever skipped in silence.

use crate::member::lock;
use crate::watchers::Bells;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use symbolon_wire::Message;
use symbolon_wire::change::Target;
use symbolon_wire::limits::{WATCH_PAGE_BYTES_MAX, WATCH_PAGE_MAX};
use symbolon_wire::v1;
use tokio::sync::watch;

/// Bytes that the ring takes: some 100,000 changes with paths of 30 characters.
const RING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What a change takes beside its path and versions, bytes: itself, its counts, its place in the ring, the allocator's.
const CHANGE_BYTES: usize = 160;

/// The changes that are remembered, and who waits for more.
pub(crate) struct Changes {
    ring: Mutex<Ring>,
    bells: Bells,
    /// The ring began anew.
    restarts: watch::Sender<()>,
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            ring: Mutex::new(Ring::new(RING_BYTES_MAX)),
            bells: Bells::default(),
            restarts: watch::Sender::new(()),
        }
    }
}

/// A position before the first change that is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooFarBehind {
    /// All changes after this log index are remembered.
    pub(crate) floor: u64,
}

/// A part of what changed.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Page {
    /// Ascending by log index.
    pub(crate) changes: Vec<Arc<v1::Change>>,
    /// They are all up to this log index.
    pub(crate) upto: u64,
    /// Whether it was cut: more may have changed after that.
    pub(crate) cut: bool,
}

impl Changes {
    /// Takes in what a batch changed; gives back what is to be told of once the state is shown.
    pub(crate) fn keep(&self, changed: impl Iterator<Item = v1::Change>) -> Vec<Arc<v1::Change>> {
        let changed: Vec<Arc<v1::Change>> = changed.map(Arc::new).collect();
        if !changed.is_empty() {
            let mut ring = lock(&self.ring);
            changed.iter().for_each(|change| ring.push(Arc::clone(change)));
        }
        changed
    }

    /// Wakes whoever waits for one of these.
    pub(crate) fn tell(&self, changed: Vec<Arc<v1::Change>>) {
        changed.iter().for_each(|change| self.bells.ring(&change.path));
    }

    /// Forgets all: what led to `index` is not known.
    pub(crate) fn restart(&self, index: u64) {
        lock(&self.ring).restart(index);
    }

    /// Tells when another state was put in place of all records, and is shown: nobody learns what led there.
    pub(crate) fn restarts(&self) -> watch::Receiver<()> {
        self.restarts.subscribe()
    }

    /// Wakes everybody: another state is shown.
    pub(crate) fn tell_all(&self) {
        self.restarts.send_replace(());
        self.bells.ring_all();
    }

    /// Where those who wait are woken.
    pub(crate) fn bells(&self) -> &Bells {
        &self.bells
    }

    /// What changed at `target` after one log index, up to another, as much as one answer tells.
    pub(crate) fn page(&self, target: &Target, after: u64, upto: u64) -> Result<Page, TooFarBehind> {
        lock(&self.ring).page(target, after, upto)
    }
}

struct Ring {
    changes: VecDeque<Arc<v1::Change>>,
    bytes: usize,
    bytes_max: usize,
    floor: u64,
}

impl Ring {
    fn new(bytes_max: usize) -> Self {
        Self {
            changes: VecDeque::new(),
            bytes: 0,
            bytes_max,
            floor: 0,
        }
    }

    fn restart(&mut self, index: u64) {
        self.changes = VecDeque::new();
        (self.bytes, self.floor) = (0, index);
    }

    /// Takes one in, the oldest go.
    fn push(&mut self, change: Arc<v1::Change>) {
        self.bytes += bytes(&change);
        self.changes.push_back(change);
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.changes.pop_front() else { return };
            self.bytes -= bytes(&oldest);
            self.floor = oldest.log_index;
        }
    }

    fn page(&self, target: &Target, after: u64, upto: u64) -> Result<Page, TooFarBehind> {
        if after < self.floor {
            return Err(TooFarBehind { floor: self.floor });
        }
        let start = self.changes.partition_point(|change| change.log_index <= after);
        let (mut changes, mut bytes) = (Vec::new(), 0);
        for change in self.changes.range(start..) {
            if change.log_index > upto {
                break;
            }
            if !target.covers(&change.path) {
                continue;
            }
            bytes += change.encoded_len();
            if changes.len() == WATCH_PAGE_MAX || (bytes > WATCH_PAGE_BYTES_MAX && !changes.is_empty()) {
                // One entry changes one secret, so that a page ends between entries.
                return Ok(Page {
                    upto: changes.last().map_or(after, |last: &Arc<v1::Change>| last.log_index),
                    changes,
                    cut: true,
                });
            }
            changes.push(Arc::clone(change));
        }
        Ok(Page {
            changes,
            upto,
            cut: false,
        })
    }
}

fn bytes(change: &v1::Change) -> usize {
    CHANGE_BYTES + change.path.capacity() + 8 * (change.versions.capacity() + change.destroyed.capacity())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(log_index: u64, path: &str) -> v1::Change {
        v1::Change {
            log_index,
            path: path.to_owned(),
            kind: 1,
            versions: vec![log_index],
            ..v1::Change::default()
        }
    }

    fn ring(bytes_max: usize, indices: std::ops::RangeInclusive<u64>) -> Ring {
        let mut ring = Ring::new(bytes_max);
        indices.for_each(|index| ring.push(Arc::new(change(index, "prod/key"))));
        ring
    }

    fn indices(page: &Page) -> Vec<u64> {
        page.changes.iter().map(|change| change.log_index).collect()
    }

    fn all() -> Target {
        Target::Folder(String::new())
    }

    #[test]
    fn whoever_waits_learns_that_another_state_is_in_place() {
        let changes = Changes::default();
        let mut restarts = changes.restarts();
        restarts.mark_unchanged();
        assert!(!restarts.has_changed().unwrap());
        changes.restart(7);
        changes.tell_all();
        assert!(restarts.has_changed().unwrap());
    }

    #[test]
    fn changes_come_in_the_order_of_the_log_each_once() {
        let ring = ring(RING_BYTES_MAX, 5..=9);
        let page = ring.page(&all(), 6, 8).unwrap();
        assert_eq!((indices(&page), page.upto), (vec![7, 8], 8));
        let rest = ring.page(&all(), page.upto, 20).unwrap();
        assert_eq!((indices(&rest), rest.upto), (vec![9], 20));
        assert!(ring.page(&all(), 20, 20).unwrap().changes.is_empty());
    }

    #[test]
    fn a_page_holds_what_is_watched_alone() {
        let mut ring = Ring::new(RING_BYTES_MAX);
        for (index, path) in [
            (1, "prod/key"),
            (2, "production/key"),
            (3, "prod/db/key"),
            (4, "test/key"),
        ] {
            ring.push(Arc::new(change(index, path)));
        }
        let of = |target| indices(&ring.page(&target, 0, 4).unwrap());
        assert_eq!(of(Target::Folder("prod".to_owned())), [1, 3]);
        assert_eq!(of(Target::Secret("prod/key".to_owned())), [1]);
        assert_eq!(of(all()), [1, 2, 3, 4]);
    }

    #[test]
    fn the_ring_is_bounded_and_tells_of_a_position_that_it_does_not_reach_back_to() {
        let one = bytes(&change(1, "prod/key"));
        let ring = ring(3 * one, 1..=10);
        assert_eq!((ring.changes.len(), ring.bytes), (3, 3 * one));
        assert_eq!(indices(&ring.page(&all(), 7, 10).unwrap()), [8, 9, 10]);
        assert_eq!(ring.page(&all(), 6, 10), Err(TooFarBehind { floor: 7 }));
    }

    #[test]
    fn long_lists_of_versions_count() {
        let mut ring = Ring::new(64 * 1024);
        for index in 1..=100 {
            let versions = (1..=1024).collect();
            ring.push(Arc::new(v1::Change {
                versions,
                ..change(index, "prod/key")
            }));
        }
        assert!(ring.changes.len() < 8 && ring.bytes <= 64 * 1024);
    }

    #[test]
    fn a_restart_forgets_all_and_tells_of_it() {
        let mut ring = ring(RING_BYTES_MAX, 1..=10);
        ring.restart(50);
        assert_eq!(ring.page(&all(), 10, 60), Err(TooFarBehind { floor: 50 }));
        ring.push(Arc::new(change(51, "prod/key")));
        assert_eq!(indices(&ring.page(&all(), 50, 60).unwrap()), [51]);
    }

    #[test]
    fn a_long_page_is_cut_and_says_up_to_where_it_tells_all() {
        let ring = ring(RING_BYTES_MAX, 1..=WATCH_PAGE_MAX as u64 + 10);
        let first = ring.page(&all(), 0, 1_000).unwrap();
        assert_eq!(
            (first.changes.len(), first.upto),
            (WATCH_PAGE_MAX, WATCH_PAGE_MAX as u64)
        );
        let rest = ring.page(&all(), first.upto, 1_000).unwrap();
        assert_eq!((rest.changes.len(), rest.upto), (10, 1_000));
    }

    #[test]
    fn a_page_has_bounded_bytes() {
        let mut ring = Ring::new(RING_BYTES_MAX);
        for index in 1..=200 {
            let versions = (1 << 40..(1 << 40) + 1024).collect();
            ring.push(Arc::new(v1::Change {
                versions,
                ..change(index, "prod/key")
            }));
        }
        let page = ring.page(&all(), 0, 200).unwrap();
        let told: usize = page.changes.iter().map(|change| change.encoded_len()).sum();
        assert!(
            told <= WATCH_PAGE_BYTES_MAX && page.upto < 200,
            "{told} bytes, up to {}",
            page.upto
        );
    }
}
