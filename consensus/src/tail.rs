//! The newest part of the log, in memory.
//!
//! Replication and apply nearly always want just the newest entries; served from here they need no read and no
//! decryption. Entries that are not durable yet exist nowhere else, so those are never dropped.

use std::collections::VecDeque;

use crate::entry::kind_and_bytes;
use crate::limits::TAIL_BYTES_MAX;
use crate::progress::Unapplied;
use crate::types::{Entry, EntryPayload, LogId};

/// What an entry occupies besides its payload.
const ENTRY_OVERHEAD_BYTES: usize = 128;

/// How exactly it is remembered how many bytes follow an entry.
const GROWTH_STEP: u64 = 64 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// Consecutive entries, ending with the log's last.
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Entries up to here can be read from the store.
    durable: u64,
    pub(crate) last: Option<LogId>,
    pub(crate) purged: Option<LogId>,
    /// Bytes added since this process started, durable or not, cut or not.
    pub(crate) grown: u64,
    /// Where in the log they stood at each [`GROWTH_STEP`]; not before the last purge.
    steps: VecDeque<(u64, u64)>,
}

impl Tail {
    pub(crate) fn new(last: Option<LogId>, purged: Option<LogId>) -> Self {
        let durable = last.map_or(0, |id| id.index);
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            durable,
            last,
            purged,
            grown: 0,
            steps: VecDeque::new(),
        }
    }

    /// The newest known index after which `bytes` were added.
    pub(crate) fn followed_by(&self, bytes: u64) -> Option<u64> {
        let followed = self.steps.iter().rev();
        let mut followed = followed.skip_while(|(_, grown)| self.grown - grown < bytes);
        followed.next().map(|(index, _)| *index)
    }

    /// Index of the first entry held here.
    pub(crate) fn first(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.log_id.index)
    }

    /// Adds the log's next entry. `false`, and nothing changes, if it would leave a hole.
    pub(crate) fn push(&mut self, entry: Entry) -> bool {
        let id = entry.log_id;
        if self.last.is_some_and(|last| last.index.saturating_add(1) != id.index) {
            return false;
        }
        self.bytes = self.bytes.saturating_add(weight(&entry));
        self.grown += weight(&entry) as u64;
        if self
            .steps
            .back()
            .is_none_or(|(_, grown)| self.grown - grown >= GROWTH_STEP)
        {
            self.steps.push_back((id.index, self.grown));
        }
        self.entries.push_back(entry);
        self.last = Some(id);
        self.evict();
        true
    }

    /// Entries up to `index` are in the store.
    pub(crate) fn durable(&mut self, index: u64) {
        self.durable = self.durable.max(index);
        self.evict();
    }

    /// Drops the entries from `from` on; `last` is the log's last afterwards.
    pub(crate) fn cut(&mut self, from: u64, last: Option<LogId>) {
        while self.entries.back().is_some_and(|entry| entry.log_id.index >= from) {
            if let Some(entry) = self.entries.pop_back() {
                self.bytes = self.bytes.saturating_sub(weight(&entry));
            }
        }
        while self.steps.back().is_some_and(|(index, _)| *index >= from) {
            self.steps.pop_back();
        }
        self.durable = self.durable.min(from.saturating_sub(1));
        self.last = last;
    }

    /// Drops the entries up to `upto`.
    pub(crate) fn purge(&mut self, upto: LogId) {
        while self
            .entries
            .front()
            .is_some_and(|entry| entry.log_id.index <= upto.index)
        {
            self.pop_front();
        }
        while self.steps.front().is_some_and(|(index, _)| *index <= upto.index) {
            self.steps.pop_front();
        }
        self.purged = self.purged.max(Some(upto));
        // By index: a snapshot of an earlier term may lead further than entries of a later one that were never committed.
        self.last = self.last.filter(|last| last.index > upto.index).or(Some(upto));
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes = self.bytes.saturating_sub(weight(&entry));
        }
    }

    fn evict(&mut self) {
        while self.bytes > TAIL_BYTES_MAX
            && self
                .entries
                .front()
                .is_some_and(|entry| entry.log_id.index <= self.durable)
        {
            self.pop_front();
        }
    }

    /// The entries of `from..until` held here, about `bytes_max` bytes of them but at least one.
    pub(crate) fn range(&self, from: u64, until: u64, bytes_max: usize) -> Vec<Entry> {
        let Some(first) = self.first() else { return Vec::new() };
        let skip = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
        let mut bytes = 0usize;
        self.entries
            .iter()
            .skip(skip)
            .take_while(|entry| {
                let fits = bytes < bytes_max;
                bytes = bytes.saturating_add(weight(entry));
                fits && entry.log_id.index < until
            })
            .cloned()
            .collect()
    }

    /// All entries after `applied`, if none of them has been dropped from memory.
    pub(crate) fn unapplied(&self, applied: u64, visit: &mut dyn FnMut(Unapplied) -> bool) -> bool {
        let Some(last) = self.last else { return true };
        if last.index <= applied {
            return true;
        }
        let Some(first) = self.first() else { return false };
        if first > applied.saturating_add(1) {
            return false;
        }
        let skip = usize::try_from(applied.saturating_add(1).saturating_sub(first)).unwrap_or(usize::MAX);
        self.entries.iter().skip(skip).all(|entry| {
            let (kind, payload) = kind_and_bytes(&entry.payload);
            visit(Unapplied {
                index: entry.log_id.index,
                kind,
                payload,
            })
        })
    }
}

/// What an entry takes, about.
pub(crate) fn weight(entry: &Entry) -> usize {
    let payload = match &entry.payload {
        EntryPayload::Normal(payload) => payload.bytes.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    };
    payload.saturating_add(ENTRY_OVERHEAD_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Payload;
    use crate::types::log_id;
    use bytes::Bytes;

    fn entry(index: u64, bytes: usize) -> Entry {
        let payload = Payload {
            kind: 16,
            bytes: Bytes::from(vec![0; bytes]),
        };
        Entry {
            log_id: log_id(1, index),
            payload: EntryPayload::Normal(payload),
        }
    }

    fn indices(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|e| e.log_id.index).collect()
    }

    #[test]
    fn a_hole_is_refused() {
        let mut tail = Tail::default();
        assert!(tail.push(entry(4, 1)));
        assert!(!tail.push(entry(6, 1)));
        assert_eq!(tail.last, Some(log_id(1, 4)));
    }

    #[test]
    fn only_durable_entries_leave_memory() {
        let mut tail = Tail::default();
        for index in 1..=4 {
            tail.push(entry(index, TAIL_BYTES_MAX / 2));
        }
        assert_eq!(tail.first(), Some(1), "nothing is durable, so everything stays");
        tail.durable(2);
        assert_eq!(tail.first(), Some(3));
    }

    #[test]
    fn ranges_stop_at_their_size_but_give_at_least_one() {
        let mut tail = Tail::default();
        for index in 1..=5 {
            tail.push(entry(index, 1000));
        }
        assert_eq!(indices(&tail.range(2, 5, usize::MAX)), [2, 3, 4]);
        assert_eq!(indices(&tail.range(2, 5, 1)), [2]);
        assert_eq!(indices(&tail.range(9, 12, usize::MAX)), [0u64; 0]);
    }

    #[test]
    fn it_is_known_after_which_entry_so_many_bytes_were_added() {
        let mut tail = Tail::default();
        let (entries, bytes) = (4 * 16, GROWTH_STEP / 16);
        for index in 1..=entries {
            tail.push(entry(index, bytes as usize));
        }
        assert_eq!(
            tail.followed_by(5 * GROWTH_STEP),
            None,
            "so many were not added after any"
        );
        let found = tail.followed_by(2 * GROWTH_STEP).unwrap();
        let after = (entries - found) * bytes;
        assert!(
            (GROWTH_STEP..=3 * GROWTH_STEP).contains(&after),
            "{after} bytes after {found}"
        );
        tail.cut(found, Some(log_id(1, found - 1)));
        assert!(tail.followed_by(GROWTH_STEP).is_some_and(|index| index < found));
        tail.purge(log_id(1, found));
        assert_eq!(tail.followed_by(0), None);
    }

    #[test]
    fn unapplied_entries_are_complete_or_reported_missing() {
        let mut tail = Tail::default();
        for index in 1..=4 {
            tail.push(entry(index, TAIL_BYTES_MAX / 2));
        }
        let mut seen = Vec::new();
        assert!(tail.unapplied(2, &mut |entry| {
            seen.push(entry.index);
            true
        }));
        assert_eq!(seen, [3, 4]);
        tail.durable(3);
        assert!(!tail.unapplied(1, &mut |_| true), "entry 2 was dropped");
        assert!(tail.unapplied(4, &mut |_| panic!("nothing is unapplied")));
    }

    #[test]
    fn a_cut_and_a_purge_move_the_ends() {
        let mut tail = Tail::default();
        for index in 1..=5 {
            tail.push(entry(index, 1));
        }
        tail.cut(4, Some(log_id(1, 3)));
        assert_eq!(indices(&tail.range(0, 9, usize::MAX)), [1, 2, 3]);
        tail.purge(log_id(1, 2));
        assert_eq!(indices(&tail.range(0, 9, usize::MAX)), [3]);
        tail.purge(log_id(1, 20));
        assert_eq!((tail.last, tail.purged), (Some(log_id(1, 20)), Some(log_id(1, 20))));
    }

    #[test]
    fn a_purge_past_entries_of_a_later_term_leaves_none_of_them_as_the_last() {
        let mut tail = Tail::default();
        let mut later = entry(5, 1);
        later.log_id = log_id(9, 5);
        tail.push(later);
        tail.purge(log_id(1, 20));
        assert_eq!(tail.last, Some(log_id(1, 20)));
        assert!(tail.push(entry(21, 1)));
    }
}
