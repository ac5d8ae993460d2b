//! What agreement asks of a store. `symbolon-store` has two: RocksDB, and one in memory that loses what was not synced.

use std::sync::Arc;

use bytes::Bytes;

use crate::chain::ChainValue;
use crate::records::{NameKey, Record};
use crate::{Changes, View};

/// Why the store did not do what was asked. Cheap to clone: one failed sync fails everyone who waited for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault {
    /// Too little space is left to go on safely. Nothing was written; free space and try again.
    #[error("the disk is full: {free_bytes} bytes free, {reserve_bytes} are kept in reserve; free some space")]
    DiskFull {
        /// Free for this process.
        free_bytes: u64,
        /// Below this much, writes are refused.
        reserve_bytes: u64,
    },
    /// The operating system or the database engine reports a failure.
    #[error("{operation} failed: {detail}; check the disk, then restart the node")]
    Io {
        /// What was under way.
        operation: &'static str,
        /// The engine's words. They name files, never contents.
        detail: Arc<str>,
    },
    /// A stored item fails authentication or does not decode: a bad disk, or somebody changed it.
    #[error("stored {what} (kind {kind}) is corrupt; restore this node from the cluster")]
    Corrupt {
        /// Which part of the store.
        what: &'static str,
        /// First byte of its key: what kind of item.
        kind: u8,
    },
    /// The store was sealed under another state key.
    #[error("the state key does not open this store: it belongs to another node, or was replaced")]
    WrongStateKey,
    /// The store is in use by another process.
    #[error("the store is open in another process")]
    Locked,
    /// An item exceeds its limit.
    #[error("{what} of {bytes} bytes exceeds {bytes_max}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// Its limit.
        bytes_max: usize,
    },
    /// The store has been shut down, or an earlier failure stopped it.
    #[error("the store has stopped")]
    Stopped,
    /// Records of another snapshot are on their way, or are being installed.
    #[error("another snapshot is being taken over")]
    Staging,
}

impl From<StoreFault> for std::io::Error {
    fn from(fault: StoreFault) -> Self {
        Self::other(fault)
    }
}

/// Called once, from any thread, when a submission is durable or has failed. Must not block.
pub type Done = Box<dyn FnOnce(Result<(), StoreFault>) + Send>;

/// When a submission counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// After a sync.
    Synced,
    /// Once written; it becomes durable with the next sync at the latest.
    Lazy,
}

/// Values of which the store keeps one each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Slot {
    /// The vote.
    Vote = 1,
    /// How far the log is known to be committed.
    Committed = 2,
    /// Up to where the log has been purged.
    Purged = 3,
    /// The newest mark whose state root is known.
    Mark = 4,
    /// The snapshot that replication uses.
    Snapshot = 5,
}

/// One step of a log submission. A submission is atomic, and submissions take effect in order.
#[derive(Debug, Clone)]
pub enum LogOp {
    /// An entry. Overwrites one under the same index.
    Append {
        /// Its place.
        index: u64,
        /// Its encoding.
        bytes: Bytes,
    },
    /// Removes all entries from `index` on.
    CutFrom {
        /// The first that goes.
        index: u64,
    },
    /// Removes all entries up to `index`.
    PurgeTo {
        /// The last that goes.
        index: u64,
    },
    /// Replaces a value.
    Set {
        /// Which.
        slot: Slot,
        /// Its encoding.
        bytes: Bytes,
    },
}

/// What the log holds when it is opened.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// [`Slot::Vote`].
    pub vote: Option<Bytes>,
    /// [`Slot::Committed`].
    pub committed: Option<Bytes>,
    /// [`Slot::Purged`].
    pub purged: Option<Bytes>,
    /// The last entry.
    pub last: Option<(u64, Bytes)>,
}

/// A store: log, state, snapshots. All calls but [`Storage::submit`] may block for a short read or an unsynced write.
pub trait Storage: Send + Sync + 'static {
    /// What the log holds.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn load(&self) -> Result<Loaded, StoreFault>;

    /// The value of a slot.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn slot(&self, slot: Slot) -> Result<Option<Bytes>, StoreFault>;

    /// Queues log operations; `done` is called when they are as durable as asked.
    fn submit(&self, ops: Vec<LogOp>, durability: Durability, done: Done);

    /// Entries of `from..until` that the log holds, ascending without gaps, about `bytes_max` bytes of them but at
    /// least one. Sees what [`Storage::submit`] has reported done.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn read_log(&self, from: u64, until: u64, bytes_max: usize) -> Result<Vec<(u64, Bytes)>, StoreFault>;

    /// What [`Storage::commit`] was last given as `applied`.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn applied(&self) -> Result<Option<Bytes>, StoreFault>;

    /// The applied records, consistent while the view lives.
    fn view(&self) -> Box<dyn View + '_>;

    /// Writes a batch, its chain values and the new `applied`, atomically and without a sync: after a crash the log
    /// is applied again from wherever the state then is.
    ///
    /// # Errors
    /// [`StoreFault`]; nothing was written.
    fn commit(&self, changes: Changes, chain: &[(u64, ChainValue)], applied: Bytes) -> Result<(), StoreFault>;

    /// The chain value at `index`, if it is still kept.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn chain_at(&self, index: u64) -> Result<Option<ChainValue>, StoreFault>;

    /// Keeps the records as they are now, under `index`. Survives a restart.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn freeze(&self, index: u64) -> Result<Arc<dyn Frozen>, StoreFault>;

    /// The kept states, ascending by index.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn frozen(&self) -> Result<Vec<Arc<dyn Frozen>>, StoreFault>;

    /// Forgets every kept state up to `upto` whose index is not named, once nobody reads it any more. What is kept beyond may come
    /// to be at any moment.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn forget_frozen(&self, upto: u64, except: &[u64]) -> Result<(), StoreFault>;

    /// Begins to receive records that may replace all others. There is one staging at a time, until it is installed or dropped:
    /// whoever could write into one that was checked already would decide what comes into force.
    ///
    /// # Errors
    /// [`StoreFault::Staging`] while there is another one, or the fault.
    fn stage(&self) -> Result<Box<dyn Staging>, StoreFault>;

    /// Whether there is room to take on more.
    ///
    /// # Errors
    /// [`StoreFault::DiskFull`] if not, or the fault that stopped the store.
    fn writable(&self, what: Taking) -> Result<(), StoreFault>;
}

/// What a store is to take on, which decides how much of its reserve it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taking {
    /// Something new: none.
    New,
    /// What a leader took on that had room: half. Else members whose disks fill up a little earlier would keep whatever frees
    /// room again from being agreed on.
    Replicated,
}

/// A kept state.
pub trait Frozen: Send + Sync {
    /// The index it was frozen at.
    fn index(&self) -> u64;

    /// `applied` as it was then.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn applied(&self) -> Result<Bytes, StoreFault>;

    /// Records ascending by key, strictly after `after`, at most `limit` and about `bytes_max` bytes, but at least one
    /// if there is one.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn scan(&self, after: Option<&[u8]>, limit: usize, bytes_max: usize) -> Result<Vec<Record>, StoreFault>;
}

/// Records under way from a peer. Dropped without [`Staging::install`], it leaves nothing.
pub trait Staging: Send + Sync {
    /// Adds records; the caller sees to ascending keys.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn put(&mut self, records: &[Record]) -> Result<(), StoreFault>;

    /// Adds names.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn put_names(&mut self, names: &[(NameKey, Bytes)]) -> Result<(), StoreFault>;

    /// Reads staged records, as [`Frozen::scan`] does.
    ///
    /// # Errors
    /// [`StoreFault`].
    fn scan(&self, after: Option<&[u8]>, limit: usize, bytes_max: usize) -> Result<Vec<Record>, StoreFault>;

    /// Makes the staged records the state, atomically and durably, in place of all others.
    ///
    /// # Errors
    /// [`StoreFault`]; the old state stands.
    fn install(self: Box<Self>, index: u64, chain: ChainValue, applied: Bytes) -> Result<(), StoreFault>;
}
