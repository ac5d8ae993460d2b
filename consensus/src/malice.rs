//! A member that lies to the others, for tests of what they make of it: it wraps the [`Transport`] of a member whose code
//! is otherwise honest, so that everything it says is well formed and comes over its own authenticated connections.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use symbolon_sabotage::Bug;

use crate::frame::{AppendReply, Reply, Request};
use crate::sync::lock;
use crate::transport::{Call, Transport};
use crate::types::{Entry, EntryPayload, Membership, Payload, StoredMembership, Vote, term_of};

/// What it lies about. The entries are those that it sends as leader; its own log keeps the true ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// A byte of every payload is changed, the same for all others.
    Forge,
    /// The same, but for one member only.
    Fork {
        /// Which.
        victim: u64,
    },
    /// Nothing stands where something was proposed, for all others: what it acknowledges is gone.
    Drop,
    /// An earlier payload stands where another was proposed, for all others.
    Replay,
    /// Snapshots hold a record that differs.
    ForgedRecords,
    /// Snapshots claim a state root of their own.
    ForgedRoot,
    /// Snapshots claim to be of another incarnation of the cluster.
    ForeignSnapshot,
    /// As a follower it acknowledges entries that it does not keep: it claims a state that it does not have.
    Hollow,
    /// A membership of one member only stands where something was proposed, for all others.
    Alone {
        /// Who stays.
        member: u64,
    },
    /// Snapshots claim that one member only votes.
    SnapshotAlone {
        /// Who stays.
        member: u64,
    },
    /// Snapshots claim a later term of their last entry, and more bytes than there are; it leads in that term.
    SnapshotTerm {
        /// Itself.
        member: u64,
    },
    /// As a follower it answers each frame of its leader's that there is a later one: itself.
    Depose {
        /// Itself.
        member: u64,
    },
}

impl Lie {
    /// The one of that name in the list of all; a fork needs its victim.
    #[must_use]
    pub fn of(bug: Bug, victim: u64) -> Option<Self> {
        Some(match bug {
            Bug::Forge => Self::Forge,
            Bug::Fork => Self::Fork { victim },
            Bug::Drop => Self::Drop,
            Bug::Replay => Self::Replay,
            Bug::ForgedRecords => Self::ForgedRecords,
            Bug::ForgedRoot => Self::ForgedRoot,
            Bug::ForeignSnapshot => Self::ForeignSnapshot,
            Bug::Hollow => Self::Hollow,
            _ => return None,
        })
    }
}

/// Which lies are told, and how often one was. Clones share it.
#[derive(Clone, Default)]
pub struct Lies(Arc<Shared>);

#[derive(Default)]
struct Shared {
    on: AtomicBool,
    told: AtomicU64,
    lies: Vec<Lie>,
    /// An application payload that was sent before.
    earlier: std::sync::Mutex<Option<Payload>>,
}

impl Lies {
    /// Nothing is told until [`Lies::begin`].
    #[must_use]
    pub fn new(lies: Vec<Lie>) -> Self {
        let shared = Shared {
            lies,
            ..Shared::default()
        };
        Self(Arc::new(shared))
    }

    /// From now on it lies.
    pub fn begin(&self) {
        self.0.on.store(true, Ordering::Relaxed);
    }

    /// From now on it does not.
    pub fn end(&self) {
        self.0.on.store(false, Ordering::Relaxed);
    }

    /// Whether it lies now.
    #[must_use]
    pub fn on(&self) -> bool {
        self.0.on.load(Ordering::Relaxed)
    }

    /// A lie was told elsewhere than in its frames.
    pub fn count(&self) {
        self.0.told.fetch_add(1, Ordering::Relaxed);
    }

    /// Frames that were not what the member meant, and lies told elsewhere.
    #[must_use]
    pub fn told(&self) -> u64 {
        self.0.told.load(Ordering::Relaxed)
    }

    /// A way to the others on which this member lies.
    #[must_use]
    pub fn over(&self, honest: Arc<dyn Transport>) -> Arc<dyn Transport> {
        Arc::new(Malicious {
            honest,
            lies: self.clone(),
        })
    }

    /// What it answers a frame of its leader's with instead of working on it; `None` if it works on it.
    #[must_use]
    pub fn answer(&self, frame: &Bytes) -> Option<Bytes> {
        let told = |lie: &&Lie| matches!(lie, Lie::Hollow | Lie::Depose { .. });
        let lie = self.0.lies.iter().find(told).filter(|_| self.on())?;
        let request = Request::decode(frame.clone()).ok()?;
        if let Lie::Depose { member } = lie {
            let later = |vote: &Vote| Vote::new(vote.leader_id.term.saturating_add(1), *member);
            let reply = match &request {
                Request::Append { vote, .. } => Reply::Append(AppendReply::HigherVote(later(vote))),
                Request::Vote(ballot) | Request::PreVote(ballot) => Reply::Vote {
                    vote: later(&ballot.vote),
                    granted: false,
                    last: ballot.last,
                },
                _ => return None,
            };
            self.0.told.fetch_add(1, Ordering::Relaxed);
            return Some(reply.encode());
        }
        let Request::Append { entries, .. } = request else {
            return None;
        };
        if !entries.is_empty() {
            self.0.told.fetch_add(1, Ordering::Relaxed);
        }
        Some(Reply::Append(AppendReply::Done).encode())
    }

    /// What is sent to `to` in place of `frame`.
    fn bend(&self, to: u64, frame: Bytes) -> Bytes {
        if !self.on() {
            return frame;
        }
        let Ok(mut request) = Request::decode(frame.clone()) else {
            return frame;
        };
        let mut bent = false;
        for lie in &self.0.lies {
            bent |= self.tell(*lie, to, &mut request);
        }
        if !bent {
            return frame;
        }
        self.0.told.fetch_add(1, Ordering::Relaxed);
        request.encode()
    }

    fn tell(&self, lie: Lie, to: u64, request: &mut Request) -> bool {
        match (lie, request) {
            (Lie::Forge, Request::Append { vote, entries, .. }) => each_payload(vote, entries, forged),
            (Lie::Fork { victim }, Request::Append { vote, entries, .. }) if victim == to => {
                each_payload(vote, entries, forged)
            }
            (Lie::Drop, Request::Append { vote, entries, .. }) => each_payload(vote, entries, |_| EntryPayload::Blank),
            (Lie::Replay, Request::Append { vote, entries, .. }) => {
                let mut earlier = lock(&self.0.earlier);
                each_payload(vote, entries, |payload| {
                    let instead = earlier.clone().unwrap_or_else(|| payload.clone());
                    earlier.get_or_insert_with(|| payload.clone());
                    EntryPayload::Normal(instead)
                })
            }
            (Lie::ForgedRecords, Request::Chunk { records, .. }) => match records.first_mut() {
                Some((_, value)) => {
                    *value = flipped(value);
                    true
                }
                None => false,
            },
            (Lie::ForgedRoot, Request::Offer { meta, .. }) => {
                meta.state_root[0] ^= 1;
                true
            }
            (Lie::ForeignSnapshot, Request::Offer { meta, .. }) => {
                meta.incarnation += 1;
                true
            }
            (Lie::Alone { member }, Request::Append { vote, entries, .. }) => {
                each_payload(vote, entries, |_| EntryPayload::Membership(alone(member)))
            }
            (Lie::SnapshotAlone { member }, Request::Offer { meta, .. }) => {
                meta.membership = StoredMembership::new(*meta.membership.log_id(), alone(member));
                true
            }
            (Lie::SnapshotTerm { member }, Request::Offer { vote, meta, .. }) => {
                let term = vote.leader_id.term.saturating_add(1);
                *vote = Vote::new_committed(term, member);
                (meta.term, meta.bytes) = (term, u64::MAX);
                true
            }
            _ => false,
        }
    }
}

/// A membership in which nobody else votes.
fn alone(member: u64) -> Membership {
    Membership::new_with_defaults(vec![BTreeSet::from([member])], [])
}

/// Bends every application payload that the leader of `vote` proposed itself; whether there was one. What an earlier leader
/// proposed one of the others may have as it was, and who is told otherwise differs from that one, not from this leader alone.
fn each_payload(vote: &Vote, entries: &mut [Entry], mut bend: impl FnMut(&Payload) -> EntryPayload) -> bool {
    let mut bent = false;
    for entry in entries {
        if term_of(&entry.log_id) != vote.leader_id.term {
            continue;
        }
        if let EntryPayload::Normal(payload) = &entry.payload {
            entry.payload = bend(payload);
            bent = true;
        }
    }
    bent
}

fn forged(payload: &Payload) -> EntryPayload {
    EntryPayload::Normal(Payload {
        kind: payload.kind,
        bytes: flipped(&payload.bytes),
    })
}

/// With its last byte changed.
fn flipped(bytes: &Bytes) -> Bytes {
    let mut changed = bytes.to_vec();
    match changed.last_mut() {
        Some(last) => *last ^= 1,
        None => changed.push(1),
    }
    changed.into()
}

struct Malicious {
    honest: Arc<dyn Transport>,
    lies: Lies,
}

impl Transport for Malicious {
    fn call(&self, to: u64, frame: Bytes, timeout: Duration) -> Call<'_> {
        self.honest.call(to, self.lies.bend(to, frame), timeout)
    }
}
