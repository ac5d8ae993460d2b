//! Records that only this node has: its own fragments, and whatever else never leaves it.

use std::sync::Arc;

use bytes::Bytes;
use symbolon_consensus::{Durability, Record, StoreFault, Taking};
use tokio::sync::oneshot;

use crate::engine::{Op, Space};
use crate::keys;
use crate::store::Inner;

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
        Ok(self.store.get(Space::Local, &keys::local(key))?.map(Bytes::from))
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
        let ops = self.ops(batch)?;
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |result| {
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
        self.store.engine.write(self.ops(batch)?)
    }

    fn ops(&self, batch: Vec<LocalOp>) -> Result<Vec<Op>, StoreFault> {
        let space = Space::Local;
        let op = |op| match op {
            LocalOp::Put(key, value) => self.store.put(space, keys::local(&key), &value),
            LocalOp::Delete(key) => Ok(Op::Delete {
                space,
                key: keys::local(&key),
            }),
        };
        batch.into_iter().map(op).collect()
    }
}
