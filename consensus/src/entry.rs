//! Binary forms of what the log keeps: entries, log ids, votes, and how far the state has been applied.
//!
//! ```text
//! entry   = version u8 (1) ‖ term u64 ‖ kind u16 ‖ payload                    stored under its index
//! log id  = term u64 ‖ index u64
//! vote    = term u64 ‖ node u64 ‖ committed u8 (0 or 1)
//! applied = version u8 (1) ‖ log id ‖ chain[32] ‖ present u8 ‖ [log id of the membership] ‖ membership
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::StoreFault;
use crate::chain::{ChainValue, membership_bytes, membership_from_bytes};
use crate::types::{
    Entry, EntryPayload, KIND_APPLICATION, KIND_BLANK, KIND_MEMBERSHIP, LogId, Payload, StoredMembership, Vote, log_id,
    term_of,
};

/// Version of the stored forms.
const VERSION: u8 = 1;

/// Kind and payload bytes of an entry, as chained, stored and sent.
pub(crate) fn kind_and_bytes(payload: &EntryPayload) -> (u16, Bytes) {
    match payload {
        EntryPayload::Blank => (KIND_BLANK, Bytes::new()),
        EntryPayload::Membership(membership) => (KIND_MEMBERSHIP, membership_bytes(membership).into()),
        EntryPayload::Normal(payload) => (payload.kind, payload.bytes.clone()),
    }
}

/// Why a kind and bytes make no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryMalformed {
    /// A blank entry has no payload.
    #[error("a blank entry carries a payload")]
    BlankWithPayload,
    /// A membership entry's payload.
    #[error(transparent)]
    Membership(#[from] crate::chain::MembershipMalformed),
    /// Kinds 2 to 15 do not exist.
    #[error("entry kind {0} is reserved")]
    ReservedKind(u16),
}

/// The reverse of [`kind_and_bytes`].
pub(crate) fn payload_from(kind: u16, bytes: Bytes) -> Result<EntryPayload, EntryMalformed> {
    match kind {
        KIND_BLANK if bytes.is_empty() => Ok(EntryPayload::Blank),
        KIND_BLANK => Err(EntryMalformed::BlankWithPayload),
        KIND_MEMBERSHIP => Ok(EntryPayload::Membership(membership_from_bytes(&bytes)?)),
        KIND_APPLICATION.. => Ok(EntryPayload::Normal(Payload { kind, bytes })),
        reserved => Err(EntryMalformed::ReservedKind(reserved)),
    }
}

pub(crate) fn encode_entry(entry: &Entry) -> Bytes {
    let (kind, payload) = kind_and_bytes(&entry.payload);
    let mut out = BytesMut::with_capacity(11 + payload.len());
    out.put_u8(VERSION);
    out.put_u64(term_of(&entry.log_id));
    out.put_u16(kind);
    out.put_slice(&payload);
    out.freeze()
}

pub(crate) fn decode_entry(index: u64, bytes: Bytes) -> Result<Entry, StoreFault> {
    let corrupt = StoreFault::Corrupt {
        what: "log entry",
        kind: 0,
    };
    let mut rest = bytes;
    let (Ok(VERSION), Ok(term), Ok(kind)) = (rest.try_get_u8(), rest.try_get_u64(), rest.try_get_u16()) else {
        return Err(corrupt);
    };
    let payload = payload_from(kind, rest).map_err(|_| corrupt)?;
    Ok(Entry {
        log_id: log_id(term, index),
        payload,
    })
}

pub(crate) fn put_log_id(out: &mut impl BufMut, id: &LogId) {
    out.put_u64(term_of(id));
    out.put_u64(id.index);
}

pub(crate) fn encode_log_id(id: &LogId) -> Bytes {
    let mut out = BytesMut::with_capacity(16);
    put_log_id(&mut out, id);
    out.freeze()
}

pub(crate) fn decode_log_id(mut bytes: &[u8]) -> Result<LogId, StoreFault> {
    match (bytes.try_get_u64(), bytes.try_get_u64(), bytes.is_empty()) {
        (Ok(term), Ok(index), true) => Ok(log_id(term, index)),
        _ => Err(StoreFault::Corrupt {
            what: "log id",
            kind: 0,
        }),
    }
}

pub(crate) fn encode_vote(vote: &Vote) -> Bytes {
    let mut out = BytesMut::with_capacity(17);
    out.put_u64(vote.leader_id.term);
    out.put_u64(vote.leader_id.voted_for);
    out.put_u8(u8::from(vote.is_committed()));
    out.freeze()
}

pub(crate) fn decode_vote(mut bytes: &[u8]) -> Result<Vote, StoreFault> {
    match (
        bytes.try_get_u64(),
        bytes.try_get_u64(),
        bytes.try_get_u8(),
        bytes.is_empty(),
    ) {
        (Ok(term), Ok(node), Ok(0), true) => Ok(Vote::new(term, node)),
        (Ok(term), Ok(node), Ok(1), true) => Ok(Vote::new_committed(term, node)),
        _ => Err(StoreFault::Corrupt { what: "vote", kind: 0 }),
    }
}

fn last(bytes: &mut &[u8]) -> Option<LogId> {
    if bytes.try_get_u8().ok()? != VERSION {
        return None;
    }
    Some(log_id(bytes.try_get_u64().ok()?, bytes.try_get_u64().ok()?))
}

/// The index of the last entry of which [`Storage::commit`](crate::Storage::commit) was told that it is applied.
///
/// # Errors
/// [`StoreFault::Corrupt`].
pub fn applied_index(mut applied: &[u8]) -> Result<u64, StoreFault> {
    Ok(last(&mut applied).ok_or(CORRUPT)?.index)
}

const CORRUPT: StoreFault = StoreFault::Corrupt {
    what: "applied state",
    kind: 0,
};

/// How far the state has been applied, kept atomically with it.
#[derive(Debug, Clone)]
pub(crate) struct AppliedState {
    pub(crate) last: LogId,
    pub(crate) chain: ChainValue,
    pub(crate) membership: StoredMembership,
}

impl AppliedState {
    pub(crate) fn encode(&self) -> Bytes {
        let membership = membership_bytes(self.membership.membership());
        let mut out = BytesMut::with_capacity(66 + membership.len());
        out.put_u8(VERSION);
        put_log_id(&mut out, &self.last);
        out.put_slice(&self.chain);
        match self.membership.log_id() {
            Some(id) => {
                out.put_u8(1);
                put_log_id(&mut out, id);
            }
            None => out.put_u8(0),
        }
        out.put_slice(&membership);
        out.freeze()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreFault> {
        Self::parse(bytes).ok_or(CORRUPT)
    }

    fn parse(mut bytes: &[u8]) -> Option<Self> {
        let last = last(&mut bytes)?;
        let mut chain = [0; 32];
        bytes.try_copy_to_slice(&mut chain).ok()?;
        let membership_id = match bytes.try_get_u8().ok()? {
            0 => None,
            1 => Some(log_id(bytes.try_get_u64().ok()?, bytes.try_get_u64().ok()?)),
            _ => return None,
        };
        let membership = StoredMembership::new(membership_id, membership_from_bytes(bytes).ok()?);
        Some(Self {
            last,
            chain,
            membership,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_their_encoding() {
        for payload in [
            EntryPayload::Blank,
            EntryPayload::Normal(Payload {
                kind: 16,
                bytes: Bytes::from_static(b"x"),
            }),
            EntryPayload::Normal(Payload {
                kind: u16::MAX,
                bytes: Bytes::new(),
            }),
        ] {
            let entry = Entry {
                log_id: log_id(3, 9),
                payload,
            };
            let read = decode_entry(9, encode_entry(&entry)).unwrap();
            assert_eq!(read.log_id, entry.log_id);
            assert_eq!(read.payload, entry.payload);
        }
    }

    #[test]
    fn an_entry_of_an_unknown_version_or_reserved_kind_is_corrupt() {
        assert!(decode_entry(1, Bytes::from_static(&[2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 16])).is_err());
        assert!(decode_entry(1, Bytes::from_static(&[1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 7])).is_err());
        assert!(decode_entry(1, Bytes::from_static(&[1, 0])).is_err());
    }

    #[test]
    fn votes_and_applied_states_survive_their_encoding() {
        for vote in [Vote::new(4, 2), Vote::new_committed(9, 1)] {
            assert_eq!(decode_vote(&encode_vote(&vote)).unwrap(), vote);
        }
        for id in [None, Some(log_id(1, 2))] {
            let state = AppliedState {
                last: log_id(5, 6),
                chain: [7; 32],
                membership: StoredMembership::new(id, Default::default()),
            };
            let read = AppliedState::decode(&state.encode()).unwrap();
            assert_eq!(
                (read.last, read.chain, read.membership),
                (state.last, state.chain, state.membership)
            );
        }
    }

    #[test]
    fn trailing_bytes_after_a_vote_or_log_id_are_corrupt() {
        assert!(decode_vote(&[0; 18]).is_err());
        assert!(decode_log_id(&[0; 17]).is_err());
    }
}
