//! openraft's calls, carried over a [`Transport`]. Replies are checked before openraft, which trusts its peers, sees
//! them: a wrong one would stop it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};

use crate::allowance::Allowance;
use crate::frame::{AppendReply, Ballot, Refusal, Reply, Request};
use crate::gate::Gate;
use crate::limits::{CHUNK_BYTES_MAX, CHUNK_RECORDS_MAX};
use crate::receive::{nearest, terms};
use crate::snapshot::{SnapshotData, SnapshotGuard, Source};
use crate::transport::{Transport, TransportError};
use crate::types::{NOBODY, RaftSnapshot, TypeConfig, Vote};

type Failure = RPCError<TypeConfig>;

/// How often one member is believed that it knows a later leader than the one that speaks. A leader that is replaced hears
/// it from its successor; one that believed every follower would be deposed by a single malicious one again and again. As
/// often as a member may be led into a later term: else a malicious one would do that to a follower, and nobody believe it.
pub(crate) fn believed() -> Allowance {
    terms()
}

/// Makes one [`Peer`] for each member.
pub(crate) struct Network {
    pub(crate) node: u64,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) guard: Arc<dyn SnapshotGuard>,
    pub(crate) gate: Arc<Gate>,
    /// One exchange that carries data; votes and heartbeats have openraft's shorter times.
    pub(crate) call_timeout: Duration,
    /// When each member is believed that there is a later leader.
    pub(crate) believed: Allowance,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _node: &()) -> Peer {
        Peer {
            node: self.node,
            target,
            transport: Arc::clone(&self.transport),
            guard: Arc::clone(&self.guard),
            gate: Arc::clone(&self.gate),
            call_timeout: self.call_timeout,
            believed: self.believed.clone(),
        }
    }
}

/// The way to one other member.
pub(crate) struct Peer {
    node: u64,
    target: u64,
    transport: Arc<dyn Transport>,
    guard: Arc<dyn SnapshotGuard>,
    gate: Arc<Gate>,
    call_timeout: Duration,
    believed: Allowance,
}

impl Peer {
    async fn call(&self, kind: RPCTypes, request: &Request, timeout: Duration) -> Result<Reply, Failure> {
        let reply = self.transport.call(self.target, request.encode(), timeout).await;
        let reply = reply.map_err(|error| self.failure(kind, timeout, &error))?;
        match Reply::decode(reply) {
            Ok(Reply::Refused(refusal)) => {
                tracing::debug!(target = self.target, %refusal, "a peer refused");
                Err(unreachable_by(&refusal))
            }
            Ok(reply) => Ok(reply),
            Err(malformed) => Err(unreachable_by(&malformed)),
        }
    }

    fn failure(&self, action: RPCTypes, timeout: Duration, error: &TransportError) -> Failure {
        match error {
            TransportError::Unreachable { .. } => unreachable_by(error),
            TransportError::Broken { .. } => RPCError::Network(NetworkError::new(error)),
            TransportError::Timeout { .. } => RPCError::Timeout(Timeout {
                action,
                id: self.node,
                target: self.target,
                timeout,
            }),
        }
    }

    async fn elect(
        &self,
        pre: bool,
        rpc: VoteRequest<TypeConfig>,
        option: &RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Failure> {
        // Nobody stands for election with less than what it was told that others hold.
        let may = self.gate.bars().is_some_and(|bars| rpc.last_log_id >= bars.last_id());
        if !may {
            return Err(unreachable_by(&Refusal::NotAdmitted));
        }
        let ballot = Ballot {
            vote: rpc.vote,
            last: rpc.last_log_id,
        };
        let request = if pre {
            Request::PreVote(ballot)
        } else {
            Request::Vote(ballot)
        };
        match self.call(RPCTypes::Vote, &request, option.soft_ttl()).await? {
            Reply::Vote { vote, granted, last } => {
                let granted = granted && (pre || vote == rpc.vote);
                // openraft goes on counting grants of an election after an answer has raised its vote, and stops if they
                // suffice; and it ends a pre-vote, whose vote nobody has yet, by any answer that raises its own. A
                // candidate hears of a later term when it asks whether it would win, and not from everybody at any time.
                let later = pre && vote.leader_id.term >= rpc.vote.leader_id.term;
                let vote = if granted {
                    rpc.vote
                } else if later && self.is_believed() {
                    heard(vote, rpc.vote)
                } else {
                    Vote::new(0, NOBODY)
                };
                Ok(VoteResponse {
                    vote,
                    vote_granted: granted,
                    last_log_id: last,
                })
            }
            _ => Err(unreachable_by(&Refusal::Inconsistent)),
        }
    }

    /// What the receiver of a snapshot says whom it follows.
    fn followed(&self, theirs: Vote, vote: Vote) -> Result<Vote, StreamingError<TypeConfig>> {
        match later(theirs, vote, self.target) {
            None => Ok(vote),
            Some(later) if self.is_believed() => Ok(later),
            Some(_) => Err(NetworkError::new(&Refusal::Inconsistent).into()),
        }
    }

    fn is_believed(&self) -> bool {
        #[cfg(feature = "sabotage")]
        if symbolon_sabotage::Bug::LaterLeaderBelieved.on() {
            return true;
        }
        self.believed.take(self.target)
    }

    /// Sends what a snapshot holds. Memory: one chunk.
    async fn send_snapshot(&self, vote: Vote, data: &SnapshotData) -> Result<Vote, StreamingError<TypeConfig>> {
        let Source::Frozen(frozen) = &data.source else {
            return Err(Unreachable::from_string("a received snapshot is not passed on before it is installed").into());
        };
        let Some(evidence) = self.guard.evidence(&data.meta, self.target) else {
            return Err(Unreachable::from_string("too few vouch for this snapshot yet").into());
        };
        // Distinct for each attempt of this node, so that the receiver never mixes two.
        let transfer = rand::Rng::next_u64(&mut <crate::Runtime as openraft::AsyncRuntime>::thread_rng());
        let offer = Request::Offer {
            vote,
            transfer,
            meta: Box::new(data.meta.clone()),
            evidence,
        };
        match self.snapshot_call(&offer).await? {
            // The peer needs it no more, or has seen a newer leader.
            Reply::Installed { vote: theirs } => return self.followed(theirs, vote),
            Reply::Taken => {}
            _ => return Err(NetworkError::new(&Refusal::Inconsistent).into()),
        }
        let mut after: Option<Vec<u8>> = None;
        let mut number = 0u32;
        loop {
            let records = frozen
                .scan(after.as_deref(), CHUNK_RECORDS_MAX, CHUNK_BYTES_MAX)
                .map_err(|fault| {
                    openraft::StorageError::read_snapshot(None, openraft::errors::ErrorSource::from_error(&fault))
                })?;
            let last = records.is_empty();
            after = records.last().map(|(key, _)| key.clone());
            match self
                .snapshot_call(&Request::Chunk {
                    transfer,
                    number,
                    last,
                    records,
                })
                .await?
            {
                Reply::Installed { vote: theirs } if last => return self.followed(theirs, vote),
                Reply::Taken if !last => number = number.saturating_add(1),
                _ => return Err(NetworkError::new(&Refusal::Inconsistent).into()),
            }
        }
    }

    async fn snapshot_call(&self, request: &Request) -> Result<Reply, StreamingError<TypeConfig>> {
        Ok(self
            .call(RPCTypes::InstallSnapshot, request, self.call_timeout.saturating_mul(10))
            .await?)
    }
}

/// What an answer tells the member whose vote is `own` of `theirs`: a later term, never who was elected in it. openraft would
/// take its word, also that the member leads itself.
fn heard(theirs: Vote, own: Vote) -> Vote {
    let vote = nearest(theirs, own.leader_id.term);
    #[cfg(feature = "sabotage")]
    if symbolon_sabotage::Bug::ElectedByAnswer.on() {
        return vote;
    }
    let of = match vote.leader_id.voted_for {
        itself if itself == own.leader_id.voted_for => NOBODY,
        other => other,
    };
    Vote::new(vote.leader_id.term, of)
}

/// What deposes the leader of `vote` if the `target` follows the one of `higher`. Two leaders of one term are the work of
/// a malicious member: the target could follow nobody else before the next term.
fn later(higher: Vote, vote: Vote, target: u64) -> Option<Vote> {
    let (theirs, own) = (higher.leader_id, vote.leader_id);
    if higher > vote {
        Some(heard(higher, vote))
    } else if theirs.term == own.term && theirs.voted_for != own.voted_for {
        Some(Vote::new(own.term.saturating_add(1), target))
    } else {
        None
    }
}

/// A member that answers wrongly is treated like one that does not answer, with a pause before the next attempt.
fn unreachable_by<E: std::error::Error + 'static>(error: &E) -> Failure {
    RPCError::Unreachable(Unreachable::new(error))
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, Failure> {
        // A heartbeat is worth nothing once the next one is due; entries wait for the peer's disk.
        let timeout = if rpc.entries.is_empty() {
            option.soft_ttl()
        } else {
            self.call_timeout
        };
        let (vote, previous) = (rpc.vote, rpc.prev_log_id);
        let request = Request::Append {
            vote,
            previous,
            commit: rpc.leader_commit,
            entries: rpc.entries,
        };
        match self.call(RPCTypes::AppendEntries, &request, timeout).await? {
            Reply::Append(AppendReply::Done) => Ok(AppendEntriesResponse::Success),
            // openraft takes these on trust and would stop on a conflict before the first entry, or on a 'higher' vote
            // that is not higher.
            Reply::Append(AppendReply::Conflict) if previous.is_some() => Ok(AppendEntriesResponse::Conflict),
            Reply::Append(AppendReply::HigherVote(higher)) => match later(higher, vote, self.target) {
                Some(later) if self.is_believed() => Ok(AppendEntriesResponse::HigherVote(later)),
                _ => Err(unreachable_by(&Refusal::Inconsistent)),
            },
            _ => Err(unreachable_by(&Refusal::Inconsistent)),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Failure> {
        self.elect(false, rpc, &option).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Failure> {
        self.elect(true, rpc, &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: RaftSnapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let sending = self.send_snapshot(vote, &snapshot.snapshot).fuse();
        let cancel = cancel.fuse();
        futures::pin_mut!(sending, cancel);
        match futures::future::select(cancel, sending).await {
            futures::future::Either::Left((closed, _)) => Err(closed.into()),
            futures::future::Either::Right((sent, _)) => sent.map(SnapshotResponse::new),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::TERMS_AHEAD_MAX;
    use crate::snapshot::NoSnapshots;
    use crate::transport::Call;

    const CALL: Duration = Duration::from_secs(1);

    /// Answers every call alike.
    struct Says(Reply);

    impl Transport for Says {
        fn call(&self, _to: u64, _frame: bytes::Bytes, _timeout: Duration) -> Call<'_> {
            Box::pin(std::future::ready(Ok(self.0.encode())))
        }
    }

    /// The way of member 1 to member 2, which says `reply` to everything.
    fn peer(reply: Reply) -> Peer {
        Peer {
            node: 1,
            target: 2,
            transport: Arc::new(Says(reply)),
            guard: Arc::new(NoSnapshots),
            gate: Arc::new(Gate::open_from_the_start()),
            call_timeout: CALL,
            believed: believed(),
        }
    }

    fn answered(vote: Vote, granted: bool) -> Peer {
        peer(Reply::Vote {
            vote,
            granted,
            last: None,
        })
    }

    /// What openraft is told of an answer to the ballot of member 1 in term 5.
    async fn told(peer: &Peer, pre: bool) -> (Vote, bool) {
        let rpc = VoteRequest::new(Vote::new(5, 1), None);
        let response = peer.elect(pre, rpc, &RPCOption::new(CALL)).await.unwrap();
        (response.vote, response.vote_granted)
    }

    #[tokio::test]
    async fn an_answer_to_a_ballot_grants_that_ballot_or_ends_no_election() {
        let nothing = (Vote::new(0, NOBODY), false);
        for (vote, granted, expected) in [
            (Vote::new(5, 1), true, (Vote::new(5, 1), true)),
            (Vote::new(6, 1), true, nothing),
            (Vote::new(5, 3), false, nothing),
            (Vote::new(9, 3), false, nothing),
            (Vote::new_committed(9, 1), false, nothing),
        ] {
            assert_eq!(
                told(&answered(vote, granted), false).await,
                expected,
                "{vote} {granted}"
            );
        }
    }

    #[tokio::test]
    async fn who_asks_whether_it_would_win_hears_of_later_terms_but_never_that_it_was_elected() {
        let far = Vote::new(5 + 2 * TERMS_AHEAD_MAX, 3);
        for (vote, granted, expected) in [
            (Vote::new(9, 1), true, (Vote::new(5, 1), true)),
            (Vote::new(4, 3), false, (Vote::new(0, NOBODY), false)),
            (Vote::new(5, 3), false, (Vote::new(5, 3), false)),
            (Vote::new_committed(9, 3), false, (Vote::new(9, 3), false)),
            (Vote::new_committed(9, 1), false, (Vote::new(9, NOBODY), false)),
            (far, false, (Vote::new(5 + TERMS_AHEAD_MAX, 3), false)),
        ] {
            assert_eq!(told(&answered(vote, granted), true).await, expected, "{vote} {granted}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_voter_that_always_knows_of_a_later_term_is_believed_for_a_while_only() {
        let liar = answered(Vote::new(9, 3), false);
        let mut ended = 0;
        for _ in 0..100 {
            ended += u32::from(told(&liar, true).await.0 == Vote::new(9, 3));
        }
        assert_eq!(ended, 10);
    }

    #[test]
    fn a_leader_is_deposed_by_a_later_one_and_by_another_one_of_its_term() {
        let own = Vote::new_committed(5, 1);
        for (theirs, deposes) in [
            (own, None),
            (Vote::new(5, 1), None),
            (Vote::new_committed(4, 3), None),
            (Vote::new(6, 3), Some(Vote::new(6, 3))),
            (Vote::new_committed(6, 1), Some(Vote::new(6, NOBODY))),
            (Vote::new_committed(5, 3), Some(Vote::new(6, 2))),
            (Vote::new(5, 3), Some(Vote::new(6, 2))),
        ] {
            let later = later(theirs, own, 2);
            assert_eq!(later, deposes, "{theirs}");
            // openraft stops on one that is not.
            assert!(later.is_none_or(|later| later > own), "{theirs}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_took_a_snapshot_and_names_a_later_leader_is_believed_for_a_while_only() {
        let (peer, own) = (peer(Reply::Taken), Vote::new_committed(5, 1));
        let later = Vote::new_committed(6, 3);
        assert_eq!(peer.followed(own, own).unwrap(), own);
        let believed = (0..100).filter(|_| peer.followed(later, own).is_ok()).count();
        assert_eq!(believed, 10);
        assert_eq!(peer.followed(own, own).unwrap(), own, "which needs no belief");
    }
}
