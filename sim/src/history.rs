//! What happened in a run, in order. Everything runs on one thread, so the order is the order of time; checkers read
//! nothing else.

use crate::clock::Epoch;
use crate::grants::{Grants, Key};
use crate::sync::lock;
use std::sync::{Arc, Mutex};
use symbolon_crypto::Hash;
use symbolon_crypto::enc::sha256;
use symbolon_linear::secret::Change as Alteration;
use symbolon_wire::Code;

/// A place in the history.
pub type Moment = usize;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Virtual time, ms.
    pub at_ms: u64,
    /// What.
    pub what: What,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A fault began or ended.
    Fault(String),
    /// A node runs.
    Started {
        /// Which.
        node: u16,
        /// Its boot.
        boot: u64,
    },
    /// A node lost power, and with it whatever was not synced.
    Stopped {
        /// Which.
        node: u16,
    },
    /// What a node's audit log held when its disk was opened.
    Kept {
        /// Which.
        node: u16,
        /// Its leaves, from the first.
        leaves: Vec<Leaf>,
    },
    /// A node applied an entry.
    Applied {
        /// Which.
        node: u16,
        /// The entry's index.
        index: u64,
        /// The chain up to and with it.
        chain: Hash,
        /// What it is, as far as it matters here.
        entry: Entry,
    },
    /// A node knows the state root at a mark.
    Marked {
        /// Which.
        node: u16,
        /// The mark's index.
        index: u64,
        /// The state root.
        root: Hash,
    },
    /// A node took over a snapshot.
    TookOver {
        /// Which.
        node: u16,
        /// The index of the last entry in it.
        index: u64,
    },
    /// A fragment left a node.
    Released(Release),
    /// A node is contradicted where fewer than t agree with it: it releases nothing and agrees to nothing.
    Froze {
        /// Which.
        node: u16,
        /// The index.
        index: u64,
    },
    /// It is contradicted no longer.
    Thawed {
        /// Which.
        node: u16,
    },
    /// A node's history is another one's no more, which t nodes agree on.
    Outvoted {
        /// Whose.
        node: u16,
        /// Who noticed.
        by: u16,
        /// Where.
        index: u64,
    },
    /// A node found fault with another one, or with a dealing. All of them are honest here.
    Blamed {
        /// Who found it.
        by: u16,
        /// What.
        what: String,
    },
    /// A client found that a node lies.
    Named {
        /// Which.
        node: u16,
        /// What it found.
        what: String,
    },
    /// A client began an operation.
    Called {
        /// Counts operations.
        op: u64,
        /// Who.
        agent: u16,
        /// What.
        call: Call,
    },
    /// An operation ended.
    Answered {
        /// Which.
        op: u64,
        /// How.
        answer: Answer,
    },
    /// All faults have ended, and all nodes run.
    Healed,
    /// A write was acknowledged after that.
    Led,
    /// All nodes serve, with one log.
    Healthy,
    /// What a node has of an acknowledged command, after everything that was not synced is lost everywhere.
    Found {
        /// Which node.
        node: u16,
        /// Which operation.
        op: u64,
        /// Whether it has applied the log up to the index of the acknowledgement.
        applied: bool,
        /// Its chain value there; `None` on a node that took over a later snapshot.
        chain: Option<Hash>,
        /// The record hash of the version that was written.
        record: Option<Hash>,
    },
}

/// An entry of the log, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// It changed who may read.
    Change(Change),
    /// It wrote the version with this record hash.
    Dealt(Hash),
    /// A node confirmed its fragments of these entries.
    Confirmed {
        /// Which.
        node: u16,
        /// Log indices of the dealings.
        indices: Vec<u64>,
    },
    /// Anything else, a refused command among it.
    Other,
}

/// One audit leaf, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Hash of the request that was decided upon.
    pub request: Hash,
    /// Who asked.
    pub client_key: Hash,
    /// Whether it was allowed to read.
    pub allowed: bool,
    /// The version that it was about.
    pub version: u64,
}

/// A change about who may read. The same signed command may be logged twice; only its first entry changes anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The command's nonce.
    pub nonce: Hash,
    /// What it changed.
    pub kind: ChangeKind,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// The policies.
    Policies(Grants),
    /// An agent was registered.
    Registered(u16),
    /// An agent was removed.
    Removed(u16),
}

/// A fragment that left a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Which node.
    pub node: u16,
    /// To whom.
    pub agent: u16,
    /// Of which secret.
    pub key: Key,
    /// Its version.
    pub version: u64,
    /// Over value context, sharing context and dealing.
    pub record: Hash,
    /// When the request had arrived whole.
    pub arrived: Moment,
    /// Applied index at the decision.
    pub state_index: u64,
    /// Hash of the request.
    pub request: Hash,
    /// The client's key.
    pub client_key: Hash,
    /// Where the decision stands in the node's audit log, as it told the client.
    pub audit_index: u64,
}

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// The latest version.
    Read(Key),
    /// To write a version.
    Write {
        /// Of which secret.
        key: Key,
        /// The version that it makes.
        version: u64,
        /// Its record hash.
        record: Hash,
        /// SHA-256 of the value.
        value: Hash,
        /// How many nodes must have confirmed their fragment before it is acknowledged.
        confirmed_by: usize,
    },
    /// To hide a version, show it again, or destroy it.
    Alter {
        /// Of which secret.
        key: Key,
        /// What.
        alteration: Alteration,
        /// Which version.
        version: u64,
        /// The version that its author took for the latest.
        latest: u64,
    },
    /// To change who may read.
    Change {
        /// What.
        kind: ChangeKind,
        /// The version of the policies that it follows.
        previous: u64,
    },
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A value was read.
    Value {
        /// Its version.
        version: u64,
        /// Its record hash.
        record: Hash,
        /// SHA-256 of it.
        value: Hash,
    },
    /// t nodes say that there is nothing.
    Nothing,
    /// A command was applied.
    Done {
        /// Its log index.
        index: u64,
        /// The chain there.
        chain: Hash,
    },
    /// It was refused, without effect.
    Refused(Code),
    /// It brought nothing; a command had no effect.
    Failed(Code),
    /// A command may or may not have been applied.
    Unknown,
    /// What honest nodes released does not open: a fault of the program, whatever the reason.
    Wrong(String),
}

/// Writes the history.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    epoch: Epoch,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Recorder {
    /// Nothing has happened.
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            events: Arc::default(),
        }
    }

    /// It happened now.
    pub(crate) fn note(&self, what: What) -> Moment {
        let at_ms = self.epoch.elapsed_ms();
        let mut events = lock(&self.events);
        events.push(Event { at_ms, what });
        events.len() - 1
    }

    /// What happens next has this place.
    pub(crate) fn now(&self) -> Moment {
        lock(&self.events).len()
    }

    /// Whether something like this has happened since `from`.
    pub(crate) fn has(&self, from: Moment, like: impl Fn(&Event) -> bool) -> bool {
        lock(&self.events).iter().skip(from).any(like)
    }

    /// Everything so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        lock(&self.events).clone()
    }
}

/// A digest of everything that happened, in order: one seed gives one trace.
pub fn trace(events: &[Event]) -> Hash {
    let lines: Vec<String> = events.iter().map(|event| format!("{event:?}\n")).collect();
    sha256(lines.concat().as_bytes())
}
