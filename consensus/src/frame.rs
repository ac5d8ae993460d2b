//! What members say to each other: bounded, versioned frames in a binary form of our own.
//!
//! ```text
//! frame    = version u8 (1) ‖ type u8 ‖ body                integers big-endian, nothing after the body
//! log id   = term u64 ‖ index u64            optional: present u8 (0 or 1) ‖ [log id]
//! vote     = term u64 ‖ node u64 ‖ committed u8 (0 or 1)
//! entry    = term u64 ‖ index u64 ‖ kind u16 ‖ length u32 ‖ payload
//! record   = length u32 ‖ key ‖ length u32 ‖ value
//!
//! requests   1 append       vote ‖ previous ‖ commit ‖ count u32 ‖ entries          (previous, commit: optional log id)
//!            2 vote         vote ‖ last
//!            3 pre-vote     as vote
//!            5 offer        vote ‖ transfer id u64 ‖ length u32 ‖ snapshot meta ‖ length u32 ‖ evidence
//!            6 chunk        transfer id u64 ‖ number u32 ‖ final u8 ‖ count u32 ‖ records
//! replies  129 append       0 done │ 1 conflict │ 2 higher vote ‖ vote
//!          130 vote         vote ‖ granted u8 ‖ last
//!          132 taken        (an offer or a chunk)
//!          133 installed    vote
//!          255 refused      reason u8
//! ```
//!
//! Written by hand rather than generated: the count of a list is checked before its first element is read, so that
//! memory stays within a small multiple of the frame's size.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::entry::{EntryMalformed, kind_and_bytes, payload_from, put_log_id};
use crate::limits::{
    APPEND_ENTRIES_MAX, CHUNK_RECORDS_MAX, EVIDENCE_BYTES_MAX, FRAME_BYTES_MAX, PAYLOAD_BYTES_MAX, RECORD_BYTES_MAX,
    RECORD_KEY_BYTES_MAX,
};
use crate::records::Record;
use crate::snapshot::SnapshotMeta;
use crate::types::{Entry, LogId, Vote, log_id, term_of};

/// Version of all frames.
pub const VERSION: u8 = 1;

/// Largest stored form of a snapshot's meta: fixed fields and a membership.
const META_BYTES_MAX: usize = 4096;

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// More than [`FRAME_BYTES_MAX`] bytes.
    #[error("the frame is too large")]
    TooLarge,
    /// It ends early.
    #[error("the frame is cut short")]
    Truncated,
    /// Bytes after the end.
    #[error("the frame has trailing bytes")]
    Trailing,
    /// Not [`VERSION`].
    #[error("frame version {0} is not supported")]
    Version(u8),
    /// No such type, or a reply where a request belongs.
    #[error("frame type {0} is not known here")]
    Type(u8),
    /// A flag that is neither 0 nor 1, or another unknown code.
    #[error("the frame holds an unknown code")]
    Code,
    /// A count or length beyond its limit.
    #[error("a list or field of the frame exceeds its limit")]
    Limit,
    /// An entry that no honest member writes.
    #[error(transparent)]
    Entry(#[from] EntryMalformed),
    /// Snapshot meta that does not decode.
    #[error("the snapshot's description does not decode")]
    SnapshotMeta,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Request {
    Append {
        vote: Vote,
        previous: Option<LogId>,
        commit: Option<LogId>,
        entries: Vec<Entry>,
    },
    Vote(Ballot),
    PreVote(Ballot),
    Offer {
        vote: Vote,
        transfer: u64,
        meta: Box<SnapshotMeta>,
        evidence: Bytes,
    },
    Chunk {
        transfer: u64,
        number: u32,
        last: bool,
        records: Vec<Record>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ballot {
    pub(crate) vote: Vote,
    pub(crate) last: Option<LogId>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply {
    Append(AppendReply),
    Vote {
        vote: Vote,
        granted: bool,
        last: Option<LogId>,
    },
    Taken,
    Installed {
        vote: Vote,
    },
    Refused(Refusal),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AppendReply {
    Done,
    Conflict,
    HigherVote(Vote),
}

/// Why a member did not do what a frame asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[repr(u8)]
pub enum Refusal {
    /// The frame does not decode.
    #[error("the frame is malformed")]
    Malformed = 1,
    /// It claims what its sender cannot claim: somebody else's vote, entries that do not follow each other.
    #[error("the frame contradicts itself or its sender")]
    Inconsistent = 2,
    /// This member's disk has no room.
    #[error("the member has no room to write")]
    NoRoom = 3,
    /// The snapshot offered was refused.
    #[error("the snapshot was refused")]
    Snapshot = 4,
    /// No such snapshot transfer, or a chunk out of order.
    #[error("the snapshot transfer is not under way")]
    NoTransfer = 5,
    /// This member has stopped.
    #[error("the member has stopped")]
    Stopped = 6,
    /// This member has booted and does not take part yet.
    #[error("the member does not take part yet: it has booted and waits to be admitted")]
    NotAdmitted = 7,
    /// The leader claims other entries than those that are committed here.
    #[error("the leader contradicts entries that are committed on the member")]
    Contradicts = 8,
    /// The sender has raised this member's term too often of late.
    #[error("the member was told of later terms too often")]
    TooManyTerms = 9,
}

impl Refusal {
    fn from_code(code: u8) -> Result<Self, Malformed> {
        [
            Self::Malformed,
            Self::Inconsistent,
            Self::NoRoom,
            Self::Snapshot,
            Self::NoTransfer,
            Self::Stopped,
            Self::NotAdmitted,
            Self::Contradicts,
            Self::TooManyTerms,
        ]
        .into_iter()
        .find(|refusal| *refusal as u8 == code)
        .ok_or(Malformed::Code)
    }
}

impl Request {
    /// The vote under which it is sent.
    pub(crate) fn vote(&self) -> Option<&Vote> {
        match self {
            Self::Append { vote, .. } | Self::Offer { vote, .. } => Some(vote),
            Self::Vote(ballot) | Self::PreVote(ballot) => Some(&ballot.vote),
            Self::Chunk { .. } => None,
        }
    }

    /// The vote by which it ends what a member does whose vote is `own`: in a later term, or, for a leader, in a term in which
    /// the member stands itself or has voted for another one. A pre-vote ends nothing, nor does a snapshot.
    pub(crate) fn supplants(&self, own: &Vote) -> Option<&Vote> {
        let (Self::Append { vote, .. } | Self::Vote(Ballot { vote, .. })) = self else {
            return None;
        };
        let (theirs, ours) = (&vote.leader_id, &own.leader_id);
        let elected = vote.is_committed() && !own.is_committed();
        let beside = theirs.term == ours.term && theirs.voted_for != ours.voted_for && elected;
        Some(vote).filter(|_| theirs.term > ours.term || beside)
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(256);
        out.put_u8(VERSION);
        match self {
            Self::Append {
                vote,
                previous,
                commit,
                entries,
            } => {
                out.put_u8(1);
                put_vote(&mut out, vote);
                put_optional(&mut out, previous.as_ref());
                put_optional(&mut out, commit.as_ref());
                put_count(&mut out, entries.len());
                for entry in entries {
                    let (kind, payload) = kind_and_bytes(&entry.payload);
                    put_log_id(&mut out, &entry.log_id);
                    out.put_u16(kind);
                    put_bytes(&mut out, &payload);
                }
            }
            Self::Vote(ballot) => {
                out.put_u8(2);
                ballot.put(&mut out);
            }
            Self::PreVote(ballot) => {
                out.put_u8(3);
                ballot.put(&mut out);
            }
            Self::Offer {
                vote,
                transfer,
                meta,
                evidence,
            } => {
                out.put_u8(5);
                put_vote(&mut out, vote);
                out.put_u64(*transfer);
                put_bytes(&mut out, &meta.encode());
                put_bytes(&mut out, evidence);
            }
            Self::Chunk {
                transfer,
                number,
                last,
                records,
            } => {
                out.put_u8(6);
                out.put_u64(*transfer);
                out.put_u32(*number);
                out.put_u8(u8::from(*last));
                put_count(&mut out, records.len());
                for (key, value) in records {
                    put_bytes(&mut out, key);
                    put_bytes(&mut out, value);
                }
            }
        }
        out.freeze()
    }

    pub(crate) fn decode(frame: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::open(frame)?;
        let request = match reader.u8()? {
            1 => {
                let (vote, previous, commit) = (reader.vote()?, reader.optional()?, reader.optional()?);
                let count = reader.count(APPEND_ENTRIES_MAX)?;
                let mut entries = Vec::with_capacity(count);
                for _ in 0..count {
                    let id = reader.log_id()?;
                    let kind = reader.u16()?;
                    let payload = reader.bytes(PAYLOAD_BYTES_MAX)?;
                    entries.push(Entry {
                        log_id: id,
                        payload: payload_from(kind, payload)?,
                    });
                }
                Self::Append {
                    vote,
                    previous,
                    commit,
                    entries,
                }
            }
            2 => Self::Vote(reader.ballot()?),
            3 => Self::PreVote(reader.ballot()?),
            5 => {
                let (vote, transfer) = (reader.vote()?, reader.u64()?);
                let meta = reader.bytes(META_BYTES_MAX)?;
                let meta = Box::new(SnapshotMeta::decode(&meta).ok_or(Malformed::SnapshotMeta)?);
                Self::Offer {
                    vote,
                    transfer,
                    meta,
                    evidence: reader.bytes(EVIDENCE_BYTES_MAX)?,
                }
            }
            6 => {
                let (transfer, number, last) = (reader.u64()?, reader.u32()?, reader.flag()?);
                let count = reader.count(CHUNK_RECORDS_MAX)?;
                let mut records = Vec::with_capacity(count);
                for _ in 0..count {
                    let key = reader.bytes(RECORD_KEY_BYTES_MAX)?;
                    records.push((key.to_vec(), reader.bytes(RECORD_BYTES_MAX)?));
                }
                Self::Chunk {
                    transfer,
                    number,
                    last,
                    records,
                }
            }
            other => return Err(Malformed::Type(other)),
        };
        reader.end()?;
        Ok(request)
    }
}

impl Reply {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        out.put_u8(VERSION);
        match self {
            Self::Append(reply) => {
                out.put_u8(129);
                match reply {
                    AppendReply::Done => out.put_u8(0),
                    AppendReply::Conflict => out.put_u8(1),
                    AppendReply::HigherVote(vote) => {
                        out.put_u8(2);
                        put_vote(&mut out, vote);
                    }
                }
            }
            Self::Vote { vote, granted, last } => {
                out.put_u8(130);
                put_vote(&mut out, vote);
                out.put_u8(u8::from(*granted));
                put_optional(&mut out, last.as_ref());
            }
            Self::Taken => out.put_u8(132),
            Self::Installed { vote } => {
                out.put_u8(133);
                put_vote(&mut out, vote);
            }
            Self::Refused(refusal) => {
                out.put_u8(255);
                out.put_u8(*refusal as u8);
            }
        }
        out.freeze()
    }

    pub(crate) fn decode(frame: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::open(frame)?;
        let reply = match reader.u8()? {
            129 => Self::Append(match reader.u8()? {
                0 => AppendReply::Done,
                1 => AppendReply::Conflict,
                2 => AppendReply::HigherVote(reader.vote()?),
                _ => return Err(Malformed::Code),
            }),
            130 => Self::Vote {
                vote: reader.vote()?,
                granted: reader.flag()?,
                last: reader.optional()?,
            },
            132 => Self::Taken,
            133 => Self::Installed { vote: reader.vote()? },
            255 => Self::Refused(Refusal::from_code(reader.u8()?)?),
            other => return Err(Malformed::Type(other)),
        };
        reader.end()?;
        Ok(reply)
    }
}

impl Ballot {
    fn put(&self, out: &mut BytesMut) {
        put_vote(out, &self.vote);
        put_optional(out, self.last.as_ref());
    }
}

fn put_vote(out: &mut BytesMut, vote: &Vote) {
    out.put_u64(vote.leader_id.term);
    out.put_u64(vote.leader_id.voted_for);
    out.put_u8(u8::from(vote.is_committed()));
}

fn put_optional(out: &mut BytesMut, id: Option<&LogId>) {
    match id {
        Some(id) => {
            out.put_u8(1);
            out.put_u64(term_of(id));
            out.put_u64(id.index);
        }
        None => out.put_u8(0),
    }
}

fn put_count(out: &mut BytesMut, count: usize) {
    // What we send is within the limits that `decode` checks, far below u32.
    out.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.put_slice(bytes);
}

/// Reads a frame without copying payloads.
struct Reader(Bytes);

impl Reader {
    fn open(frame: Bytes) -> Result<Self, Malformed> {
        if frame.len() > FRAME_BYTES_MAX {
            return Err(Malformed::TooLarge);
        }
        let mut reader = Self(frame);
        match reader.u8()? {
            VERSION => Ok(reader),
            other => Err(Malformed::Version(other)),
        }
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed::Trailing)
        }
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.0.try_get_u8().map_err(|_| Malformed::Truncated)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.0.try_get_u16().map_err(|_| Malformed::Truncated)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.0.try_get_u32().map_err(|_| Malformed::Truncated)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.0.try_get_u64().map_err(|_| Malformed::Truncated)
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::Code),
        }
    }

    fn count(&mut self, max: usize) -> Result<usize, Malformed> {
        let count = usize::try_from(self.u32()?).map_err(|_| Malformed::Limit)?;
        if count > max { Err(Malformed::Limit) } else { Ok(count) }
    }

    fn bytes(&mut self, max: usize) -> Result<Bytes, Malformed> {
        let length = self.count(max)?;
        if self.0.len() < length {
            Err(Malformed::Truncated)
        } else {
            Ok(self.0.split_to(length))
        }
    }

    fn log_id(&mut self) -> Result<LogId, Malformed> {
        Ok(log_id(self.u64()?, self.u64()?))
    }

    fn optional(&mut self) -> Result<Option<LogId>, Malformed> {
        if self.flag()? {
            self.log_id().map(Some)
        } else {
            Ok(None)
        }
    }

    fn vote(&mut self) -> Result<Vote, Malformed> {
        let (term, node) = (self.u64()?, self.u64()?);
        Ok(if self.flag()? {
            Vote::new_committed(term, node)
        } else {
            Vote::new(term, node)
        })
    }

    fn ballot(&mut self) -> Result<Ballot, Malformed> {
        Ok(Ballot {
            vote: self.vote()?,
            last: self.optional()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Payload;
    use crate::types::{EntryPayload, Membership, StoredMembership};

    fn requests() -> Vec<Request> {
        let vote = Vote::new_committed(3, 1);
        let entries = vec![
            Entry {
                log_id: log_id(2, 5),
                payload: EntryPayload::Blank,
            },
            Entry {
                log_id: log_id(3, 6),
                payload: EntryPayload::Normal(Payload {
                    kind: 17,
                    bytes: Bytes::from_static(b"payload"),
                }),
            },
            Entry {
                log_id: log_id(3, 7),
                payload: EntryPayload::Membership(Membership::new_with_defaults(
                    vec![[1, 2, 3].into_iter().collect()],
                    [4],
                )),
            },
        ];
        let meta = SnapshotMeta {
            incarnation: 0,
            index: 9,
            term: 3,
            chain: [1; 32],
            state_root: [2; 32],
            records: 1,
            bytes: 2,
            membership: StoredMembership::default(),
        };
        vec![
            Request::Append {
                vote,
                previous: None,
                commit: None,
                entries: vec![],
            },
            Request::Append {
                vote,
                previous: Some(log_id(2, 4)),
                commit: Some(log_id(1, 1)),
                entries,
            },
            Request::Vote(Ballot {
                vote: Vote::new(4, 2),
                last: Some(log_id(1, 2)),
            }),
            Request::PreVote(Ballot {
                vote: Vote::new(4, 2),
                last: None,
            }),
            Request::Offer {
                vote,
                transfer: 7,
                meta: Box::new(meta),
                evidence: Bytes::from_static(b"evidence"),
            },
            Request::Chunk {
                transfer: 7,
                number: 0,
                last: true,
                records: vec![(b"k".to_vec(), Bytes::from_static(b"v"))],
            },
        ]
    }

    fn replies() -> Vec<Reply> {
        vec![
            Reply::Append(AppendReply::Done),
            Reply::Append(AppendReply::Conflict),
            Reply::Append(AppendReply::HigherVote(Vote::new(9, 3))),
            Reply::Vote {
                vote: Vote::new(9, 3),
                granted: true,
                last: Some(log_id(1, 1)),
            },
            Reply::Taken,
            Reply::Installed {
                vote: Vote::new_committed(2, 2),
            },
            Reply::Refused(Refusal::NoRoom),
        ]
    }

    #[test]
    fn frames_survive_their_encoding() {
        for request in requests() {
            assert_eq!(Request::decode(request.encode()).unwrap(), request);
        }
        for reply in replies() {
            assert_eq!(Reply::decode(reply.encode()).unwrap(), reply);
        }
    }

    #[test]
    fn a_frame_cut_short_anywhere_is_refused() {
        for frame in requests().iter().map(Request::encode) {
            for length in 0..frame.len() {
                assert!(Request::decode(frame.slice(..length)).is_err());
            }
        }
        for frame in replies().iter().map(Reply::encode) {
            for length in 0..frame.len() {
                assert!(Reply::decode(frame.slice(..length)).is_err());
            }
        }
    }

    #[test]
    fn trailing_bytes_are_refused() {
        for frame in requests().iter().map(Request::encode) {
            let longer: Bytes = [&frame[..], &[0]].concat().into();
            assert!(Request::decode(longer).is_err());
        }
    }

    #[test]
    fn an_unknown_version_or_type_is_refused() {
        assert_eq!(Request::decode(Bytes::from_static(&[2, 1])), Err(Malformed::Version(2)));
        assert_eq!(
            Request::decode(Bytes::from_static(&[1, 200])),
            Err(Malformed::Type(200))
        );
        assert_eq!(Reply::decode(Bytes::from_static(&[1, 1])), Err(Malformed::Type(1)));
    }

    #[test]
    fn a_list_that_claims_more_than_its_limit_is_refused_before_it_is_read() {
        let mut frame = Request::Append {
            vote: Vote::new_committed(1, 1),
            previous: None,
            commit: None,
            entries: vec![],
        }
        .encode()
        .to_vec();
        let at = frame.len() - 4;
        frame[at..].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(Request::decode(frame.into()), Err(Malformed::Limit));
    }

    #[test]
    fn an_oversized_frame_is_refused() {
        assert_eq!(
            Request::decode(Bytes::from(vec![1; FRAME_BYTES_MAX + 1])),
            Err(Malformed::TooLarge)
        );
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let mut framed = vec![1];
            framed.extend(bytes);
            let _ = Request::decode(framed.clone().into());
            let _ = Reply::decode(framed.into());
        }
    }

    #[test]
    fn a_later_term_and_a_leader_beside_another_vote_end_something_and_a_pre_vote_nothing() {
        let append = |vote| Request::Append {
            vote,
            previous: None,
            commit: None,
            entries: Vec::new(),
        };
        let ballot = |term| Ballot {
            vote: Vote::new(term, 2),
            last: None,
        };
        let ends = |request: Request, own: &Vote| request.supplants(own).is_some();
        let (stands, voted) = (Vote::new(3, 1), Vote::new(3, 2));
        assert!(ends(append(Vote::new_committed(3, 2)), &stands));
        assert!(!ends(append(Vote::new_committed(3, 2)), &voted), "it was elected");
        assert!(!ends(append(Vote::new_committed(3, 2)), &Vote::new_committed(3, 2)));
        assert!(!ends(append(Vote::new_committed(2, 2)), &stands));
        assert!(ends(append(Vote::new_committed(4, 2)), &voted));
        assert!(ends(Request::Vote(ballot(4)), &voted));
        assert!(!ends(Request::Vote(ballot(3)), &stands));
        assert!(!ends(Request::PreVote(ballot(4)), &stands));
    }
}
