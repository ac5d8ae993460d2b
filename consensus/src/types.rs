//! The types with which openraft is instantiated. Nothing outside this crate sees them.

use std::fmt;

use bytes::Bytes;
use openraft::vote::leader_id_std::CommittedLeaderId;

use crate::Runtime;

/// Kind of the empty entry with which a leader begins its term.
pub const KIND_BLANK: u16 = 0;

/// Kind of a membership entry; its payload is [`crate::chain::membership_bytes`].
pub const KIND_MEMBERSHIP: u16 = 1;

/// The first kind that is the application's; those below it are kept for this crate.
pub const KIND_APPLICATION: u16 = 16;

/// What is proposed: a kind and bytes that this crate does not look into.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    /// At least [`KIND_APPLICATION`].
    pub kind: u16,
    /// At most [`crate::limits::PAYLOAD_BYTES_MAX`].
    pub bytes: Bytes,
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload(kind {}, {} bytes)", self.kind, self.bytes.len())
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What apply answers to the proposer.
#[derive(Clone, Debug)]
pub(crate) struct Applied {
    pub(crate) reply: Bytes,
    pub(crate) chain: [u8; 32],
}

openraft::declare_raft_types!(
    /// openraft with standard Raft terms (one leader per term), so that term and index name an entry.
    pub(crate) TypeConfig:
        D = Payload,
        R = Applied,
        NodeId = u64,
        Node = (),
        Term = u64,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = Runtime,
);

pub(crate) type LogId = openraft::LogId<CommittedLeaderId<u64>>;
pub(crate) type Vote = openraft::impls::Vote<openraft::impls::leader_id_std::LeaderId<u64, u64>>;

/// For whom a member votes that enters a term without voting. A vote for itself would be taken for its own election's.
pub(crate) const NOBODY: u64 = u64::MAX;

pub(crate) type Membership = openraft::Membership<u64, ()>;
pub(crate) type StoredMembership = openraft::StoredMembership<CommittedLeaderId<u64>, u64, ()>;
pub(crate) type EntryPayload = openraft::EntryPayload<Payload, u64, ()>;
pub(crate) type Entry = openraft::Entry<CommittedLeaderId<u64>, EntryPayload>;
pub(crate) type RaftSnapshotMeta = openraft::SnapshotMeta<CommittedLeaderId<u64>, u64, ()>;
pub(crate) type RaftSnapshot = openraft::Snapshot<CommittedLeaderId<u64>, u64, (), crate::snapshot::SnapshotData>;
pub(crate) type Raft = openraft::Raft<TypeConfig, crate::apply::StateAdapter>;

/// The log id of `index` in `term`.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::from(term), index)
}

/// The term of a log id.
pub(crate) fn term_of(id: &LogId) -> u64 {
    *id.leader_id
}
