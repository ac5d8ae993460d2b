//! What an application may read and write while it applies an entry.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::StoreFault;
use crate::known::Known;
use crate::limits::{NAME_BYTES_MAX, RECORD_BYTES_MAX, RECORD_KEY_BYTES_MAX};
use crate::sync::lock;

/// A record and its key.
pub type Record = (Vec<u8>, Bytes);

/// Applied records, as of one index.
///
/// Records lie under a key in the clear (kind ‖ parent id ‖ id) with a sealed value. Names are secret on disk, so they
/// have an index of their own, which differs from node to node there but reads alike everywhere.
pub trait View: Send + Sync {
    /// The record under `key`.
    ///
    /// # Errors
    /// [`StoreFault`] if the store cannot be read or the record fails authentication.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreFault>;

    /// Records whose keys begin with `prefix`, ascending, strictly after `after` if given, at most `limit`.
    ///
    /// # Errors
    /// As [`View::get`].
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>, StoreFault>;

    /// What is filed under `name` in `parent`.
    ///
    /// # Errors
    /// As [`View::get`].
    fn name_get(&self, kind: u8, parent: &[u8], name: &[u8]) -> Result<Option<Bytes>, StoreFault>;

    /// Names in `parent` with their values, ascending by name, strictly after `after` if given, at most `limit`.
    /// Costs a pass over all names of the parent, since the disk orders them by keyed hash.
    ///
    /// # Errors
    /// As [`View::get`].
    fn names(
        &self,
        kind: u8,
        parent: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Bytes)>, StoreFault>;
}

/// A [`View`] that can be written. An entry sees the writes of those before it in its batch.
pub trait Records: View {
    /// Writes a record of at most [`RECORD_BYTES_MAX`] bytes. A larger one stops the node before anything is written:
    /// the application bounds its records, and must do so alike on every node.
    fn put(&mut self, key: Vec<u8>, value: Bytes);

    /// Removes a record, if it is there.
    fn delete(&mut self, key: Vec<u8>);

    /// Files `value` under `name` in `parent`.
    fn name_put(&mut self, kind: u8, parent: &[u8], name: &[u8], value: Bytes);

    /// Removes a name, if it is there.
    fn name_delete(&mut self, kind: u8, parent: &[u8], name: &[u8]);
}

/// One name of the index, in the clear. Orders by kind, parent, name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameKey {
    /// Which index.
    pub kind: u8,
    /// What the name is unique in.
    pub parent: Vec<u8>,
    /// The name.
    pub name: Vec<u8>,
}

/// What a batch writes; `None` removes.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// By record key.
    pub records: BTreeMap<Vec<u8>, Option<Bytes>>,
    /// By name.
    pub names: BTreeMap<NameKey, Option<Bytes>>,
}

/// A view with changes on top of it. What was read once is kept, also for later batches.
pub(crate) struct Overlay<'a> {
    base: &'a dyn View,
    known: Mutex<Known>,
    changes: Changes,
    oversized: Option<StoreFault>,
}

impl std::fmt::Debug for Overlay<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Overlay")
            .field("changes", &self.changes.records.len())
            .finish_non_exhaustive()
    }
}

impl<'a> Overlay<'a> {
    /// Nothing written yet; some records of `base` are known.
    pub(crate) fn over(base: &'a dyn View, known: Known) -> Self {
        Self {
            base,
            known: Mutex::new(known),
            changes: Changes::default(),
            oversized: None,
        }
    }

    /// What was written, and what is known once that is in the store.
    ///
    /// # Errors
    /// [`StoreFault::TooLarge`] if a key, name or record exceeded its limit.
    pub(crate) fn into_changes(self) -> Result<(Changes, Known), StoreFault> {
        if let Some(fault) = self.oversized {
            return Err(fault);
        }
        let mut known = self.known.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in &self.changes.records {
            known.put(key.clone(), value.clone());
        }
        Ok((self.changes, known))
    }

    fn bound(&mut self, what: &'static str, bytes: usize, bytes_max: usize) {
        if bytes > bytes_max && self.oversized.is_none() {
            self.oversized = Some(StoreFault::TooLarge { what, bytes, bytes_max });
        }
    }
}

impl View for Overlay<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        match self.changes.records.get(key) {
            Some(changed) => Ok(changed.clone()),
            None => {
                let mut known = lock(&self.known);
                if let Some(known) = known.get(key) {
                    return Ok(known);
                }
                let found = self.base.get(key)?;
                known.put(key.to_vec(), found.clone());
                Ok(found)
            }
        }
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>, StoreFault> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let changed: BTreeMap<&[u8], &Option<Bytes>> = self
            .changes
            .records
            .range::<[u8], _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.as_slice(), value))
            .collect();
        // Each change hides at most one record of the base, so this many suffice to fill the limit.
        let base = self.base.scan(prefix, after, limit.saturating_add(changed.len()))?;
        let kept = base
            .into_iter()
            .filter(|(key, _)| !changed.contains_key(key.as_slice()));
        let added = changed
            .iter()
            .filter_map(|(key, value)| Some((key.to_vec(), (*value).clone()?)));
        let mut merged: Vec<Record> = kept.chain(added).collect();
        merged.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        merged.truncate(limit);
        Ok(merged)
    }

    fn name_get(&self, kind: u8, parent: &[u8], name: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        let key = NameKey {
            kind,
            parent: parent.to_vec(),
            name: name.to_vec(),
        };
        match self.changes.names.get(&key) {
            Some(changed) => Ok(changed.clone()),
            None => self.base.name_get(kind, parent, name),
        }
    }

    fn names(
        &self,
        kind: u8,
        parent: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Bytes)>, StoreFault> {
        let first = NameKey {
            kind,
            parent: parent.to_vec(),
            name: Vec::new(),
        };
        let changed: BTreeMap<&[u8], &Option<Bytes>> = self
            .changes
            .names
            .range(first..)
            .take_while(|(key, _)| key.kind == kind && key.parent == parent)
            .filter(|(key, _)| after.is_none_or(|after| key.name.as_slice() > after))
            .map(|(key, value)| (key.name.as_slice(), value))
            .collect();
        let base = self
            .base
            .names(kind, parent, after, limit.saturating_add(changed.len()))?;
        let kept = base
            .into_iter()
            .filter(|(name, _)| !changed.contains_key(name.as_slice()));
        let added = changed
            .iter()
            .filter_map(|(name, value)| Some((name.to_vec(), (*value).clone()?)));
        let mut merged: Vec<(Vec<u8>, Bytes)> = kept.chain(added).collect();
        merged.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        merged.truncate(limit);
        Ok(merged)
    }
}

impl Records for Overlay<'_> {
    fn put(&mut self, key: Vec<u8>, value: Bytes) {
        self.bound("record key", key.len(), RECORD_KEY_BYTES_MAX);
        self.bound("record", value.len(), RECORD_BYTES_MAX);
        self.changes.records.insert(key, Some(value));
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.changes.records.insert(key, None);
    }

    fn name_put(&mut self, kind: u8, parent: &[u8], name: &[u8], value: Bytes) {
        self.bound("name", name.len(), NAME_BYTES_MAX);
        self.bound("named value", value.len(), RECORD_BYTES_MAX);
        self.changes.names.insert(
            NameKey {
                kind,
                parent: parent.to_vec(),
                name: name.to_vec(),
            },
            Some(value),
        );
    }

    fn name_delete(&mut self, kind: u8, parent: &[u8], name: &[u8]) {
        self.changes.names.insert(
            NameKey {
                kind,
                parent: parent.to_vec(),
                name: name.to_vec(),
            },
            None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Changes;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A view over plain maps, and how many records were read from it.
    #[derive(Default)]
    struct Plain(Changes, AtomicUsize);

    impl View for Plain {
        fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Ok(self.0.records.get(key).cloned().flatten())
        }
        fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>, StoreFault> {
            Ok(self
                .0
                .records
                .iter()
                .filter(|(k, _)| k.starts_with(prefix) && after.is_none_or(|a| k.as_slice() > a))
                .filter_map(|(k, v)| Some((k.clone(), v.clone()?)))
                .take(limit)
                .collect())
        }
        fn name_get(&self, kind: u8, parent: &[u8], name: &[u8]) -> Result<Option<Bytes>, StoreFault> {
            let key = NameKey {
                kind,
                parent: parent.to_vec(),
                name: name.to_vec(),
            };
            Ok(self.0.names.get(&key).cloned().flatten())
        }
        fn names(
            &self,
            kind: u8,
            parent: &[u8],
            after: Option<&[u8]>,
            limit: usize,
        ) -> Result<Vec<(Vec<u8>, Bytes)>, StoreFault> {
            Ok(self
                .0
                .names
                .iter()
                .filter(|(k, _)| k.kind == kind && k.parent == parent && after.is_none_or(|a| k.name.as_slice() > a))
                .filter_map(|(k, v)| Some((k.name.clone(), v.clone()?)))
                .take(limit)
                .collect())
        }
    }

    fn base() -> Plain {
        let mut changes = Changes::default();
        for key in ["a1", "a2", "a3", "a4", "b1"] {
            changes.records.insert(key.into(), Some(Bytes::from_static(b"old")));
            changes.names.insert(
                NameKey {
                    kind: 1,
                    parent: b"p".to_vec(),
                    name: key.into(),
                },
                Some(Bytes::from_static(b"old")),
            );
        }
        Plain(changes, AtomicUsize::new(0))
    }

    fn keys(records: Vec<Record>) -> Vec<String> {
        records
            .into_iter()
            .map(|(k, _)| String::from_utf8(k).unwrap())
            .collect()
    }

    #[test]
    fn a_batch_sees_its_own_writes_and_removals() {
        let base = base();
        let mut overlay = Overlay::over(&base, Known::default());
        overlay.put(b"a2".to_vec(), Bytes::from_static(b"new"));
        overlay.delete(b"a1".to_vec());
        assert_eq!(overlay.get(b"a1").unwrap(), None);
        assert_eq!(overlay.get(b"a2").unwrap().unwrap(), "new");
        assert_eq!(overlay.get(b"a3").unwrap().unwrap(), "old");
    }

    #[test]
    fn a_scan_merges_and_still_fills_its_limit_when_changes_hide_records() {
        let base = base();
        let mut overlay = Overlay::over(&base, Known::default());
        overlay.delete(b"a1".to_vec());
        overlay.put(b"a25".to_vec(), Bytes::new());
        assert_eq!(keys(overlay.scan(b"a", None, 3).unwrap()), ["a2", "a25", "a3"]);
        assert_eq!(keys(overlay.scan(b"a", Some(b"a2"), 10).unwrap()), ["a25", "a3", "a4"]);
        assert_eq!(keys(overlay.scan(b"b", None, 10).unwrap()), ["b1"]);
    }

    #[test]
    fn names_merge_within_their_parent_only() {
        let base = base();
        let mut overlay = Overlay::over(&base, Known::default());
        overlay.name_put(1, b"p", b"a0", Bytes::new());
        overlay.name_put(1, b"q", b"zz", Bytes::new());
        overlay.name_delete(1, b"p", b"b1");
        let names: Vec<_> = overlay
            .names(1, b"p", None, 10)
            .unwrap()
            .into_iter()
            .map(|(n, _)| n)
            .collect();
        assert_eq!(names, [b"a0", b"a1", b"a2", b"a3", b"a4"]);
        assert_eq!(overlay.names(1, b"p", Some(b"a3"), 1).unwrap()[0].0, b"a4");
        assert_eq!(overlay.name_get(1, b"p", b"b1").unwrap(), None);
    }

    #[test]
    fn an_oversized_record_is_refused_when_the_batch_ends() {
        let base = base();
        let mut overlay = Overlay::over(&base, Known::default());
        overlay.put(b"k".to_vec(), Bytes::from(vec![0; RECORD_BYTES_MAX + 1]));
        assert!(matches!(
            overlay.into_changes(),
            Err(StoreFault::TooLarge { what: "record", .. })
        ));
    }

    #[test]
    fn a_later_batch_knows_what_the_ones_before_read_wrote_and_removed() {
        let mut base = base();
        let mut overlay = Overlay::over(&base, Known::default());
        overlay.get(b"a1").unwrap();
        overlay.put(b"a2".to_vec(), Bytes::from_static(b"new"));
        overlay.get(b"a3").unwrap();
        overlay.delete(b"a3".to_vec());
        let (changes, known) = overlay.into_changes().unwrap();
        base.0.records.extend(changes.records);
        base.1.store(0, Ordering::Relaxed);
        let overlay = Overlay::over(&base, known);
        for key in ["a1", "a2", "a3"] {
            assert_eq!(overlay.get(key.as_bytes()).unwrap(), base.0.records[key.as_bytes()]);
        }
        assert_eq!(base.1.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_record_is_read_from_the_store_once_and_changes_hide_what_was_read() {
        let base = base();
        let mut overlay = Overlay::over(&base, Known::default());
        for _ in 0..3 {
            assert_eq!(overlay.get(b"a1").unwrap().unwrap(), "old");
            assert_eq!(overlay.get(b"absent").unwrap(), None);
        }
        assert_eq!(base.1.load(Ordering::Relaxed), 2);
        overlay.put(b"a1".to_vec(), Bytes::from_static(b"new"));
        overlay.put(b"absent".to_vec(), Bytes::from_static(b"new"));
        assert_eq!(overlay.get(b"a1").unwrap().unwrap(), "new");
        assert_eq!(overlay.get(b"absent").unwrap().unwrap(), "new");
        overlay.delete(b"a1".to_vec());
        assert_eq!(overlay.get(b"a1").unwrap(), None);
    }
}
