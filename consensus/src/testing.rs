//! For the tests of stores and of what is built on agreement.

use std::collections::BTreeSet;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

use crate::apply::{Opening, StateAdapter};
use crate::frame::{AppendReply, Ballot, Malformed, Refusal, Reply, Request};
use crate::log::{FaultCell, LogAdapter};
use crate::snapshot::StateRoot;
use crate::types::{
    Entry, EntryPayload, KIND_APPLICATION, LogId, Membership, Payload, StoredMembership, TypeConfig, Vote, log_id,
};
use crate::{Committed, Fatal, Outcome, Progress, Records, SnapshotMeta, StateMachine, Storage, View};

/// Applies nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inert;

impl StateMachine for Inert {
    fn apply(&mut self, _records: &mut dyn Records, _entry: Committed<'_>) -> Result<Outcome, Fatal> {
        Ok(Outcome::default())
    }

    fn published(&mut self, _applied: u64) {}

    fn restored(&mut self, _records: &dyn View, _index: u64) -> Result<(), Fatal> {
        Ok(())
    }

    fn names_of(&self, _key: &[u8], _value: &[u8]) -> Vec<(u8, Vec<u8>, Vec<u8>, Bytes)> {
        Vec::new()
    }
}

struct Builder<F, G>(F, PhantomData<fn() -> G>);

impl<F, G> StoreBuilder<TypeConfig, LogAdapter, StateAdapter, G> for Builder<F, G>
where
    F: Fn() -> (G, Arc<dyn Storage>) + Send + Sync,
    G: Send + Sync,
{
    fn build(&self) -> impl Future<Output = Result<(G, LogAdapter, StateAdapter), StorageError<TypeConfig>>> + Send {
        let (guard, store) = (self.0)();
        let built = || {
            let (progress, fault) = (Arc::new(Progress::default()), Arc::new(FaultCell::default()));
            let log = LogAdapter::open(Arc::clone(&store), Arc::clone(&progress), Arc::clone(&fault))?;
            let (state, _marks) = StateAdapter::open(Opening {
                store: Arc::clone(&store),
                machine: Box::new(Inert),
                progress,
                fault,
                chain_start: [0; 32],
                incarnation: 0,
            })?;
            Ok::<_, Fatal>((log, state))
        };
        let built = built().map_err(|fatal| StorageError::read(openraft::errors::ErrorSource::from_error(&fatal)));
        async move { built.map(|(log, state)| (guard, log, state)) }
    }
}

/// Runs openraft's storage suite over what `open` makes: an empty store, and whatever must live as long as it.
///
/// # Errors
/// The first test that found a fault, in openraft's words. Most tests panic instead.
pub async fn storage_suite<G: Send + Sync>(
    open: impl Fn() -> (G, Arc<dyn Storage>) + Send + Sync,
) -> Result<(), String> {
    Suite::test_all(Builder(open, PhantomData))
        .await
        .map_err(|error| error.to_string())
}

/// What a member reads of a request, encoded again: for fuzzing.
///
/// # Errors
/// [`Malformed`].
pub fn reencoded_request(frame: Bytes) -> Result<Bytes, Malformed> {
    Request::decode(frame).map(|request| request.encode())
}

/// What a member reads of a reply, encoded again: for fuzzing.
///
/// # Errors
/// [`Malformed`].
pub fn reencoded_reply(frame: Bytes) -> Result<Bytes, Malformed> {
    Reply::decode(frame).map(|reply| reply.encode())
}

/// What a member reads of a snapshot's description, encoded again: for fuzzing.
pub fn reencoded_meta(bytes: &[u8]) -> Option<Bytes> {
    SnapshotMeta::decode(bytes).map(|meta| meta.encode())
}

/// What a leader of `term` sends who claims the entries `previous` and `entry`, each as term and index.
pub fn append(term: u64, leader: u64, previous: (u64, u64), entry: (u64, u64)) -> Bytes {
    appended(term, leader, previous, entry, None)
}

/// As [`append`], and calls another entry committed.
pub fn append_committed(term: u64, leader: u64, previous: (u64, u64), entry: (u64, u64), commit: (u64, u64)) -> Bytes {
    appended(term, leader, previous, entry, Some(log_id(commit.0, commit.1)))
}

fn appended(term: u64, leader: u64, previous: (u64, u64), entry: (u64, u64), commit: Option<LogId>) -> Bytes {
    let append = Request::Append {
        vote: Vote::new_committed(term, leader),
        previous: Some(log_id(previous.0, previous.1)),
        commit,
        entries: vec![Entry {
            log_id: log_id(entry.0, entry.1),
            payload: EntryPayload::Blank,
        }],
    };
    append.encode()
}

/// What a leader of `term` sends who has nothing to append after an entry, by term and index.
pub fn heartbeat(term: u64, leader: u64, previous: Option<(u64, u64)>) -> Bytes {
    let append = Request::Append {
        vote: Vote::new_committed(term, leader),
        previous: previous.map(|(term, index)| log_id(term, index)),
        commit: None,
        entries: Vec::new(),
    };
    append.encode()
}

/// The snapshot of [`meta`], offered by a leader of `term` with the evidence `word`.
pub fn offer(term: u64, leader: u64, word: &'static [u8]) -> Bytes {
    let offer = Request::Offer {
        vote: Vote::new_committed(term, leader),
        transfer: 1,
        meta: Box::new(SnapshotMeta {
            incarnation: 0,
            term,
            ..described()
        }),
        evidence: Bytes::from_static(word),
    };
    offer.encode()
}

/// A snapshot without records up to the entry `last`, by term and index, offered by a leader of `term`.
pub fn offer_empty(term: u64, leader: u64, last: (u64, u64), word: &'static [u8]) -> Bytes {
    let offer = Request::Offer {
        vote: Vote::new_committed(term, leader),
        transfer: 1,
        meta: Box::new(SnapshotMeta {
            incarnation: 0,
            term: last.0,
            index: last.1,
            state_root: StateRoot::default().finish(),
            records: 0,
            bytes: 0,
            ..described()
        }),
        evidence: Bytes::from_static(word),
    };
    offer.encode()
}

/// The only piece of [`offer_empty`].
pub fn last_chunk() -> Bytes {
    let chunk = Request::Chunk {
        transfer: 1,
        number: 0,
        last: true,
        records: Vec::new(),
    };
    chunk.encode()
}

/// What a voter answers who has voted for `other` in the term in which it is asked.
///
/// # Errors
/// [`Malformed`].
pub fn denial(request: Bytes, other: u64) -> Result<Bytes, Malformed> {
    let reply = match Request::decode(request)? {
        Request::Vote(ballot) | Request::PreVote(ballot) => Reply::Vote {
            vote: Vote::new(ballot.vote.leader_id.term, other),
            granted: false,
            last: None,
        },
        _ => Reply::Refused(Refusal::Inconsistent),
    };
    Ok(reply.encode())
}

/// The leader that a reply names as the one to follow, and its term.
///
/// # Errors
/// [`Malformed`].
pub fn other_leader(reply: Bytes) -> Result<Option<(u64, u64)>, Malformed> {
    Ok(match Reply::decode(reply)? {
        Reply::Append(AppendReply::HigherVote(vote)) => Some((vote.leader_id.term, vote.leader_id.voted_for)),
        _ => None,
    })
}

/// What a follower answers that knows of a leader elected in `term`.
pub fn later_leader(term: u64, leader: u64) -> Bytes {
    Reply::Append(AppendReply::HigherVote(Vote::new_committed(term, leader))).encode()
}

/// Why a frame was refused, by the reply to it; `None` if it was not.
///
/// # Errors
/// [`Malformed`].
pub fn refusal(reply: Bytes) -> Result<Option<Refusal>, Malformed> {
    Ok(match Reply::decode(reply)? {
        Reply::Refused(refusal) => Some(refusal),
        _ => None,
    })
}

/// The description of a snapshot of three members.
pub fn meta() -> Bytes {
    described().encode()
}

fn described() -> SnapshotMeta {
    let voters: BTreeSet<u64> = (1..=3).collect();
    SnapshotMeta {
        incarnation: 1,
        index: 256,
        term: 3,
        chain: [4; 32],
        state_root: [5; 32],
        records: 6,
        bytes: 7,
        membership: StoredMembership::new(Some(log_id(1, 1)), Membership::new_with_defaults(vec![voters], [])),
    }
}

/// One frame of each type.
pub fn frames() -> Vec<Bytes> {
    let vote = Vote::new_committed(3, 1);
    let ballot = Ballot {
        vote: Vote::new(4, 2),
        last: Some(log_id(1, 2)),
    };
    let payload = Payload {
        kind: KIND_APPLICATION,
        bytes: Bytes::from_static(b"payload"),
    };
    let requests = [
        Request::Append {
            vote,
            previous: Some(log_id(2, 4)),
            commit: Some(log_id(1, 1)),
            entries: vec![Entry {
                log_id: log_id(3, 5),
                payload: EntryPayload::Normal(payload),
            }],
        },
        Request::Vote(ballot.clone()),
        Request::PreVote(ballot),
        Request::Offer {
            vote,
            transfer: 7,
            meta: Box::new(described()),
            evidence: Bytes::from_static(b"evidence"),
        },
        Request::Chunk {
            transfer: 7,
            number: 0,
            last: true,
            records: vec![(b"k".to_vec(), Bytes::from_static(b"v"))],
        },
    ];
    let replies = [
        Reply::Append(AppendReply::HigherVote(Vote::new(9, 3))),
        Reply::Vote {
            vote: Vote::new(9, 3),
            granted: true,
            last: Some(log_id(1, 1)),
        },
        Reply::Taken,
        Reply::Installed { vote },
        Reply::Refused(Refusal::NoRoom),
    ];
    let requests = requests.iter().map(Request::encode);
    requests.chain(replies.iter().map(Reply::encode)).collect()
}
