//! What the store asks of a database. Two answer: [`crate::rocks`] and [`crate::memory`].

use std::sync::Arc;

use symbolon_consensus::{Done, Durability, StoreFault};

/// Parts of the database; RocksDB's column families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Space {
    /// Raft log.
    Log = 1,
    /// Replicated records, names, how far they are applied.
    State = 2,
    /// What only this node has.
    Local = 3,
    /// Audit log.
    Audit = 4,
    /// Chain values.
    Chain = 5,
}

impl Space {
    pub(crate) const ALL: [Self; 5] = [Self::Log, Self::State, Self::Local, Self::Audit, Self::Chain];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::State => "state",
            Self::Local => "local",
            Self::Audit => "audit",
            Self::Chain => "chain",
        }
    }
}

/// One write. Keys are as on disk, values are sealed.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Put {
        space: Space,
        key: Vec<u8>,
        value: Vec<u8>,
    },
    Delete {
        space: Space,
        key: Vec<u8>,
    },
    /// Keys from `from` until before `until`, at a cost that does not depend on their number.
    DeleteRange {
        space: Space,
        from: Vec<u8>,
        until: Vec<u8>,
    },
}

impl Op {
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Put { key, value, .. } => key.len().saturating_add(value.len()),
            Self::Delete { key, .. } => key.len(),
            Self::DeleteRange { from, until, .. } => from.len().saturating_add(until.len()),
        }
    }
}

/// A key and its sealed value.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// A kept state and its index.
pub(crate) type Kept = (u64, Arc<dyn Read>);

/// Reading, from the database as it is now or as it was.
pub(crate) trait Read: Send + Sync {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault>;

    /// Pairs with keys from `from` until before `until`, ascending, at most `limit`; stops after `bytes_max` bytes of
    /// values, but not before the first.
    fn scan(
        &self,
        space: Space,
        from: &[u8],
        until: &[u8],
        limit: usize,
        bytes_max: usize,
    ) -> Result<Vec<Pair>, StoreFault>;

    /// The pair with the highest key before `until`, if that key is not below `from`.
    fn last(&self, space: Space, from: &[u8], until: &[u8]) -> Result<Option<Pair>, StoreFault>;
}

/// Memory that a database and the states kept of it hold, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// What was written and not yet flushed to files.
    pub memtables: u64,
    /// Blocks of files that were read lately.
    pub cache: u64,
    /// Index and filter of each open file: they grow with what the files hold.
    pub readers: u64,
}

/// A database with one write-ahead log.
pub(crate) trait Engine: Read + 'static {
    /// The database as it is now, while the snapshot lives.
    fn snapshot(&self) -> Box<dyn Read + '_>;

    /// Writes atomically and visibly. Durable with the next sync, in order.
    fn write(&self, ops: Vec<Op>) -> Result<(), StoreFault>;

    /// As [`Engine::write`], and durable on return. For rare writes: it shares no sync.
    fn write_durably(&self, ops: Vec<Op>) -> Result<(), StoreFault>;

    /// Queues an atomic write; submissions take effect in order and share syncs. `done` runs on any thread.
    fn submit(&self, ops: Vec<Op>, durability: Durability, done: Done);

    /// Keeps the database as it is now under `index`, durably. The same index again gives the same.
    fn freeze(&self, index: u64) -> Result<Arc<dyn Read>, StoreFault>;

    /// What is kept, ascending by index.
    fn frozen(&self) -> Result<Vec<Kept>, StoreFault>;

    /// Forgets what is kept up to `upto` under other indices, once nobody holds it.
    fn forget_frozen(&self, upto: u64, except: &[u64]) -> Result<(), StoreFault>;

    /// Free bytes for this process.
    fn free_bytes(&self) -> Result<u64, StoreFault>;

    /// Bytes that a space occupies.
    fn space_bytes(&self, space: Space) -> Result<u64, StoreFault>;

    /// Memory that the database and the states kept of it hold.
    fn held(&self) -> Result<Held, StoreFault>;

    /// Syncs made so far.
    fn syncs(&self) -> u64;
}
