//! The application: what applying an entry means.

use bytes::Bytes;

use crate::chain::ChainValue;
use crate::{Records, StoreFault, View};

/// A committed entry, about to be applied.
#[derive(Clone, Copy, Debug)]
pub struct Committed<'a> {
    /// Raft term in which it was proposed.
    pub term: u64,
    /// Place in the log.
    pub index: u64,
    /// [`crate::KIND_BLANK`], [`crate::KIND_MEMBERSHIP`], or the application's.
    pub kind: u16,
    /// The bytes as proposed; for a membership its canonical encoding.
    pub payload: &'a [u8],
    /// The chain up to and with this entry.
    pub chain: ChainValue,
}

/// What applying an entry came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Goes to whoever proposed the entry on this node. Not part of the state.
    pub reply: Bytes,
    /// This entry marks a snapshot: the state is kept as it is right after it. Must be alike on every node.
    pub mark_snapshot: bool,
}

/// Why an application cannot go on. The node stops; a *refused command* is an ordinary outcome, not this.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Fatal {
    /// The store failed under it.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// State that this program wrote does not decode: it differs from what the log says.
    #[error("applied state is inconsistent: {what}")]
    Inconsistent {
        /// Which record or rule.
        what: &'static str,
    },
    /// The log asks for what this program does not know.
    #[error("this program is too old: {what}")]
    TooOld {
        /// What it lacks.
        what: String,
    },
}

/// The application. Called by one task, in log order, alike on every node.
pub trait StateMachine: Send + 'static {
    /// Applies one entry to `records`. Deterministic: it sees nothing but the records and the entry.
    ///
    /// # Errors
    /// [`Fatal`] stops this node; nothing of the batch is kept.
    fn apply(&mut self, records: &mut dyn Records, entry: Committed<'_>) -> Result<Outcome, Fatal>;

    /// The batch up to `applied` is visible to readers. Must not block.
    fn published(&mut self, applied: u64);

    /// A snapshot was installed, or the node starts: caches are rebuilt from `records`, which are those at `index`.
    ///
    /// # Errors
    /// [`Fatal`] stops this node.
    fn restored(&mut self, records: &dyn View, index: u64) -> Result<(), Fatal>;

    /// The names that one record stands for: (index kind, parent, name, value). Snapshots carry records only; their
    /// names are filed anew where they are installed.
    fn names_of(&self, key: &[u8], value: &[u8]) -> Vec<(u8, Vec<u8>, Vec<u8>, Bytes)>;
}
