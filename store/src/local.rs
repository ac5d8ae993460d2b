//! Records that only this node has: its own fragments, and whatever else never leaves it.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use symbolon_consensus::{Durability, Known, Record, StoreFault, Taking};
use tokio::sync::oneshot;

use crate::engine::{Op, Space};
use crate::keys;
use crate::limits::{LATELY_BYTES_EACH, LATELY_BYTES_MAX};
use crate::store::Inner;
use crate::sync::lock;

/// Own records that were asked for lately, unsealed: a read asks for one fragment, and finding and opening it costs more than
/// a lookup. From the end of a write on they are known as it left them.
pub(crate) struct Lately(Mutex<Asked>);

struct Asked {
    known: Known,
    /// Writes that have ended. Whoever began to read the database before one keeps nothing of it.
    writes: u64,
}

impl Default for Lately {
    fn default() -> Self {
        Self(Mutex::new(Asked {
            known: Known::bounded(LATELY_BYTES_MAX),
            writes: 0,
        }))
    }
}

impl Lately {
    /// The record, or when it was asked for.
    fn get(&self, key: &[u8]) -> Result<Bytes, u64> {
        let mut asked = lock(&self.0);
        asked.known.get(key).flatten().ok_or(asked.writes)
    }

    /// Keeps a record that was read since it was asked for.
    fn keep(&self, key: Vec<u8>, value: &Bytes, asked_at: u64) {
        let mut asked = lock(&self.0);
        if asked.writes == asked_at && value.len() <= LATELY_BYTES_EACH {
            asked.known.put(key, Some(value.clone()));
        }
    }

    /// These have been written.
    fn forget(&self, keys: &[Vec<u8>]) {
        let mut asked = lock(&self.0);
        asked.writes += 1;
        keys.iter().for_each(|key| asked.known.forget(key));
    }
}

/// The node's own records. Clones share them.
#[derive(Clone)]
pub struct Local {
    store: Arc<Inner>,
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Local")
    }
}

/// One write.
#[derive(Clone, Debug)]
pub enum LocalOp {
    /// Writes a record.
    Put(Vec<u8>, Bytes),
    /// Removes a record, if it is there.
    Delete(Vec<u8>),
}

impl Local {
    pub(crate) fn new(store: Arc<Inner>) -> Self {
        Self { store }
    }

    /// The record under `key`. Keys are in the clear on disk: kinds, ids and indices, never names.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        let key = keys::local(key);
        let asked_at = match self.store.lately.get(&key) {
            Ok(known) => return Ok(Some(known)),
            Err(asked_at) => asked_at,
        };
        let found = self.store.get(Space::Local, &key)?.map(Bytes::from);
        if let Some(value) = &found {
            self.store.lately.keep(key, value, asked_at);
        }
        Ok(found)
    }

    /// Records whose keys begin with `prefix`, ascending, strictly after `after` if given, at most `limit`.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>, StoreFault> {
        let first = keys::local(prefix);
        let until = keys::after_prefix(&first);
        let from = after.map_or_else(
            || first.clone(),
            |after| first.clone().max(keys::after(&keys::local(after))),
        );
        let pairs = self.store.engine.scan(Space::Local, &from, &until, limit, usize::MAX)?;
        let unseal = |(key, sealed): (Vec<u8>, Vec<u8>)| {
            let value = self.store.barrier.open(Space::Local, &key, &sealed)?;
            Ok((key.get(1..).unwrap_or_default().to_vec(), Bytes::from(value)))
        };
        pairs.into_iter().map(unseal).collect()
    }

    /// Writes a batch atomically. Resolves when it is as durable as asked, sharing the sync with log and audit log.
    ///
    /// # Errors
    /// [`StoreFault`]; of a failed batch nothing is kept.
    pub async fn write(&self, batch: Vec<LocalOp>, durability: Durability) -> Result<(), StoreFault> {
        self.store.writable(Taking::New)?;
        let (keys, ops) = self.ops(batch)?;
        let (sender, receiver) = oneshot::channel();
        let lately = Arc::clone(&self.store.lately);
        let done = Box::new(move |result| {
            lately.forget(&keys);
            // The caller may have given up waiting.
            let _ = sender.send(result);
        });
        self.store.engine.submit(ops, durability, done);
        receiver.await.unwrap_or(Err(StoreFault::Stopped))
    }

    /// Writes a batch at once and visibly; durable with the next sync.
    ///
    /// # Errors
    /// [`StoreFault`]; of a failed batch nothing is kept.
    pub fn write_now(&self, batch: Vec<LocalOp>) -> Result<(), StoreFault> {
        self.store.writable(Taking::New)?;
        let (keys, ops) = self.ops(batch)?;
        let written = self.store.engine.write(ops);
        self.store.lately.forget(&keys);
        written
    }

    /// What a batch changes, and how.
    fn ops(&self, batch: Vec<LocalOp>) -> Result<(Vec<Vec<u8>>, Vec<Op>), StoreFault> {
        let space = Space::Local;
        let (mut keys, mut ops) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for op in batch {
            let (LocalOp::Put(key, _) | LocalOp::Delete(key)) = &op;
            let key = keys::local(key);
            keys.push(key.clone());
            ops.push(match op {
                LocalOp::Put(_, value) => self.store.put(space, key, &value)?,
                LocalOp::Delete(_) => Op::Delete { space, key },
            });
        }
        Ok((keys, ops))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"key";

    fn read(lately: &Lately, asked_at: u64, value: &'static [u8]) {
        lately.keep(KEY.to_vec(), &Bytes::from_static(value), asked_at);
    }

    #[test]
    fn what_was_read_beside_a_write_is_not_known_after_it() {
        let lately = Lately::default();
        let beside = lately.get(KEY).unwrap_err();
        read(&lately, beside, b"old");
        lately.forget(&[KEY.to_vec()]);
        assert!(lately.get(KEY).is_err(), "kept before it ended");
        read(&lately, beside, b"old");
        assert!(lately.get(KEY).is_err(), "asked for before it ended");
        let after = lately.get(KEY).unwrap_err();
        read(&lately, after, b"new");
        assert_eq!(lately.get(KEY), Ok(Bytes::from_static(b"new")));
    }

    #[test]
    fn a_write_of_another_record_leaves_what_is_known() {
        let lately = Lately::default();
        read(&lately, 0, b"value");
        lately.forget(&[b"another".to_vec()]);
        assert_eq!(lately.get(KEY), Ok(Bytes::from_static(b"value")));
    }
}
