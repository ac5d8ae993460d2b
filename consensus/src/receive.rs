//! Frames from other members: checked against what their sender may claim, then handed to openraft.
//!
//! openraft assumes honest peers and stops on input that an honest peer cannot produce. Whatever it would stop on is
//! refused here.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest};

use crate::allowance::Allowance;
use crate::frame::{AppendReply, Ballot, Refusal, Reply, Request};
use crate::gate::{Gate, Standpoint};
use crate::limits::{TERMS_AHEAD_MAX, VITAL_KIB_BURST, VITAL_KIB_EVERY_MS};
use crate::progress::Progress;
use crate::settings::is_vital;
use crate::snapshot::{SnapshotGuard, SnapshotRefused};
use crate::storage::{Storage, Taking};
use crate::sync::lock;
use crate::tail::weight;
use crate::takeover::Incoming;
use crate::types::{Entry, EntryPayload, LogId, NOBODY, Raft, TypeConfig, Vote, log_id, term_of};

/// The receiving side of one member.
pub(crate) struct Receiver {
    pub(crate) node: u64,
    pub(crate) raft: Raft,
    pub(crate) store: Arc<dyn Storage>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) guard: Arc<dyn SnapshotGuard>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) incarnation: u64,
    /// Who votes, by the roster; empty: not checked.
    pub(crate) voters: BTreeSet<u64>,
    /// Kinds of entries that may use the store's reserve.
    pub(crate) vital: &'static [u16],
    /// At most one snapshot is on its way; a new offer replaces it.
    pub(crate) incoming: tokio::sync::Mutex<Option<Incoming>>,
    pub(crate) last_refusal: Mutex<Option<SnapshotRefused>>,
    /// How often each member may raise the term.
    pub(crate) terms: Allowance,
    /// The last vote for which each has used it up.
    pub(crate) paid: Mutex<BTreeMap<u64, Vote>>,
    /// KiB of entries that each may have put into the last room on the disk.
    pub(crate) reserve: Allowance,
    /// Held from the check of a frame until openraft has it, so that nothing is committed in between.
    pub(crate) heard: tokio::sync::Mutex<Heard>,
}

/// Nobody can tell whether a member was elected, or stands because it hears nothing: each later term ends the leader that
/// there is. Honest members lead to few; one that makes them up ends a leader every ten seconds and not all the time.
pub(crate) fn terms() -> Allowance {
    Allowance::new(10, Duration::from_secs(10))
}

/// What [`Receiver::reserve`] begins with.
pub(crate) fn reserve() -> Allowance {
    Allowance::new(VITAL_KIB_BURST, Duration::from_millis(VITAL_KIB_EVERY_MS))
}

/// What leaders have said.
#[derive(Default)]
pub(crate) struct Heard {
    /// The end of the log as the newest entries leave it, and the vote of the leader that sent them: what follows it differs
    /// from nothing.
    end: Option<(Vote, LogId)>,
    /// The last of those entries that is known to be on disk here, and from which index on all are of that leader's term.
    /// openraft takes what a leader calls committed for applied soon, whatever it is, and compares it by term before
    /// index; a made-up one would have entries skipped or changed. So no more than this is passed on.
    kept: Option<LogId>,
    own_from: u64,
    /// Changes with whatever may take entries away, so that an answer to an earlier frame says nothing of `kept`.
    turn: u64,
    /// The furthest entry that a leader gave, and its vote. A leader that then gives another one in an earlier place is none;
    /// openraft would cut its log, and in debug builds stops.
    given: Option<(Vote, LogId)>,
    /// The last leader that contradicted what is committed, or itself. Were it heard any further, even its heartbeats would keep the
    /// others from electing one that does not.
    contradicted: Option<Vote>,
}

impl Heard {
    /// Frames of another leader come, or earlier entries again: what was known of the log's end holds no more.
    pub(crate) fn begin(&mut self, end: Option<(Vote, LogId)>) {
        self.end = end;
        self.kept = None;
        self.own_from = u64::MAX;
        self.turn += 1;
    }

    /// Whether a frame of the leader of `vote` is known to take nothing away: it follows the last entry, or only names one.
    fn goes_on(&self, vote: &Vote, previous: Option<LogId>, bare: bool) -> bool {
        let Some((_, end)) = self.end.filter(|(of, _)| of == vote) else {
            return false;
        };
        let named = |id: LogId| term_of(&id) == vote.leader_id.term && (self.own_from..=end.index).contains(&id.index);
        previous == Some(end) || bare && previous.is_none_or(named)
    }

    /// The furthest entry that the leader of `vote` gave.
    pub(crate) fn given(&self, vote: &Vote) -> Option<LogId> {
        self.given.filter(|(of, _)| of == vote).map(|(_, id)| id)
    }

    /// What is committed here if `claimed` is.
    fn committed(&self, vote: &Vote, claimed: Option<LogId>) -> Option<LogId> {
        let (claimed, kept) = (claimed?, self.kept?);
        if claimed.index >= kept.index {
            Some(kept)
        } else if claimed.index >= self.own_from {
            Some(log_id(vote.leader_id.term, claimed.index))
        } else {
            None
        }
    }
}

impl Receiver {
    /// Answers one frame of member `from`; `own` is the vote that this member has on its disk.
    pub(crate) async fn receive(&self, from: u64, frame: Bytes, own: Vote) -> Bytes {
        let reply = match Request::decode(frame) {
            Ok(request) => self.handle(from, request, own).await.unwrap_or_else(Reply::Refused),
            Err(malformed) => {
                tracing::warn!(from, %malformed, "a member sent a malformed frame");
                Reply::Refused(Refusal::Malformed)
            }
        };
        reply.encode()
    }

    async fn handle(&self, from: u64, request: Request, own: Vote) -> Result<Reply, Refusal> {
        let term = own.leader_id.term;
        if let Some(vote) = request.vote().filter(|vote| nearest(**vote, term) != **vote) {
            return Err(self.come_closer(from, nearest(*vote, term)).await);
        }
        let bars = self.gate.bars().ok_or(Refusal::NotAdmitted)?;
        if let Some(vote) = request.supplants(&own)
            && !self.may_supplant(from, *vote)
        {
            tracing::warn!(from, "a member has raised the term too often of late");
            return Err(Refusal::TooManyTerms);
        }
        match request {
            Request::Append {
                vote,
                previous,
                commit,
                entries,
            } => {
                check_append(from, &vote, previous, &entries)?;
                check_members(&self.voters, &entries)?;
                self.make_room(from, &entries)?;
                let append = AppendEntriesRequest {
                    vote,
                    prev_log_id: previous,
                    entries,
                    leader_commit: commit,
                };
                let response = self.append(append, own);
                Ok(Reply::Append(match response.await? {
                    AppendEntriesResponse::Success | AppendEntriesResponse::PartialSuccess(_) => AppendReply::Done,
                    AppendEntriesResponse::Conflict => AppendReply::Conflict,
                    AppendEntriesResponse::HigherVote(vote) => AppendReply::HigherVote(vote),
                }))
            }
            Request::Vote(ballot) => {
                let rpc = check_ballot(from, ballot)?;
                if barred(&rpc, bars) {
                    return self.deny(bars).await;
                }
                self.check_last(&rpc).await?;
                let response = self.raft.vote(rpc).await.map_err(|_| Refusal::Stopped)?;
                Ok(Reply::Vote {
                    vote: response.vote,
                    granted: response.vote_granted,
                    last: response.last_log_id,
                })
            }
            Request::PreVote(ballot) => {
                let rpc = check_ballot(from, ballot)?;
                if barred(&rpc, bars) {
                    return self.deny(bars).await;
                }
                self.check_last(&rpc).await?;
                let response = self.raft.pre_vote(rpc).await.map_err(|_| Refusal::Stopped)?;
                Ok(Reply::Vote {
                    vote: response.vote,
                    granted: response.vote_granted,
                    last: response.last_log_id,
                })
            }
            Request::Offer {
                vote,
                transfer,
                meta,
                evidence,
            } => self.offer(from, vote, transfer, *meta, &evidence).await,
            Request::Chunk {
                transfer,
                number,
                last,
                records,
            } => self.chunk(from, transfer, number, last, records).await,
        }
    }

    /// openraft takes entries where some are committed for the same ones, and in debug builds stops if they cannot be.
    async fn append(
        &self,
        mut rpc: AppendEntriesRequest<TypeConfig>,
        own: Vote,
    ) -> Result<AppendEntriesResponse<TypeConfig>, Refusal> {
        let (vote, last) = (rpc.vote, rpc.entries.last().map(|entry| entry.log_id));
        let mut heard = self.heard.lock().await;
        if heard.contradicted == Some(vote) {
            return Err(Refusal::Contradicts);
        }
        let follows = if heard.goes_on(&vote, rpc.prev_log_id, last.is_none()) {
            heard.end = last.map(|id| (vote, id)).or(heard.end);
            heard.given.is_some() && heard.given == rpc.prev_log_id.map(|id| (vote, id))
        } else {
            let mut compared = self.compare(&rpc, &mut heard).await?;
            if let Some(held) = outvoted(vote, [compared.vote, own]) {
                return Ok(AppendEntriesResponse::HigherVote(held));
            }
            if vote > compared.vote {
                // This member may lead, and commit on its own until it hears of the later leader.
                let told = self.raft.append_entries(AppendEntriesRequest {
                    vote,
                    prev_log_id: None,
                    entries: Vec::new(),
                    leader_commit: None,
                });
                told.await.map_err(|_| Refusal::Stopped)?;
                compared = self.compare(&rpc, &mut heard).await?;
            }
            let reaches = last.filter(|id| compared.last.is_none_or(|own| own.index <= id.index));
            let stays = rpc
                .prev_log_id
                .filter(|id| last.is_none() && compared.last == Some(*id));
            if last.is_some() || !compared.has_previous || heard.end.is_none_or(|(of, _)| of != vote) {
                heard.begin(reaches.or(stays).map(|id| (vote, id)));
            }
            compared.has_previous
        };
        if let Some(reached) = last.or(rpc.prev_log_id).filter(|_| follows) {
            heard.given = Some((vote, heard.given(&vote).map_or(reached, |before| before.max(reached))));
        }
        let mut of_its_term = rpc.entries.iter().map(|entry| entry.log_id);
        if let Some(first) = of_its_term.find(|id| term_of(id) == vote.leader_id.term) {
            heard.own_from = heard.own_from.min(first.index);
        }
        rpc.leader_commit = heard.committed(&vote, rpc.leader_commit);
        let (reached, turn) = (last.or(rpc.prev_log_id), heard.turn);
        let mut response = pin!(self.raft.append_entries(rpc));
        // Asked once, it is in openraft's queue, which is longer than what all members may have under way.
        let at_once = futures::poll!(response.as_mut());
        drop(heard);
        let response = match at_once {
            Poll::Ready(response) => response,
            Poll::Pending => response.await,
        };
        let response = response.map_err(|_| Refusal::Stopped)?;
        if matches!(response, AppendEntriesResponse::Success) {
            let mut heard = self.heard.lock().await;
            if heard.turn == turn && heard.end.is_some() {
                heard.kept = heard.kept.max(reached);
            }
        }
        Ok(response)
    }

    /// A term that no elections lead to is not taken over. A malicious member may have led this one there in steps, though,
    /// and then the others have to get there, too: this member goes as far as the other one could have sent it.
    async fn come_closer(&self, from: u64, nearer: Vote) -> Refusal {
        if !self.may_raise(from) {
            return Refusal::TooManyTerms;
        }
        tracing::warn!(from, "a member claims a term that no elections lead to");
        match enter_term(&self.raft, nearer.leader_id.term).await {
            Ok(_) => Refusal::Inconsistent,
            Err(stopped) => stopped,
        }
    }

    /// Where the disk is full, what frees room is taken all the same, as much of it as an honest leader sends.
    fn make_room(&self, from: u64, entries: &[Entry]) -> Result<(), Refusal> {
        if entries.is_empty() || self.store.writable(Taking::Replicated).is_ok() {
            return Ok(());
        }
        let bytes: usize = entries.iter().map(weight).sum();
        let may =
            entries.iter().all(|entry| self.is_vital(entry)) && self.reserve.take_many(from, bytes.div_ceil(1024));
        may.then_some(()).ok_or(Refusal::NoRoom)
    }

    fn is_vital(&self, entry: &Entry) -> bool {
        match &entry.payload {
            EntryPayload::Normal(payload) => is_vital(self.vital, payload),
            EntryPayload::Blank | EntryPayload::Membership(_) => true,
        }
    }

    /// Once for each vote: until it is on disk here, its frames look as if they all ended something.
    fn may_supplant(&self, from: u64, vote: Vote) -> bool {
        let mut paid = lock(&self.paid);
        let may = paid.get(&from) == Some(&vote) || self.may_raise(from);
        if may {
            paid.insert(from, vote);
        }
        may
    }

    fn may_raise(&self, from: u64) -> bool {
        #[cfg(feature = "sabotage")]
        if symbolon_sabotage::Bug::TermsWithoutEnd.on() {
            return true;
        }
        self.terms.take(from)
    }

    /// Refuses another entry where one is committed here, or came from the same leader. What an earlier leader sent late may differ; openraft refuses that
    /// by its vote.
    async fn compare(&self, rpc: &AppendEntriesRequest<TypeConfig>, heard: &mut Heard) -> Result<Compared, Refusal> {
        let (vote, previous) = (rpc.vote, rpc.prev_log_id);
        let entries = rpc.entries.iter().map(|one| one.log_id);
        let claimed: Vec<LogId> = previous.into_iter().chain(entries).chain(rpc.leader_commit).collect();
        let given = heard.given(&vote);
        let compared = self.raft.with_raft_state(move |state| {
            let committed = state.local_committed().copied();
            let fixed = || committed.into_iter().chain(given);
            let contradicts = || contradicted(&claimed, fixed(), |index| state.log_ids.get(index));
            let has = |id: LogId| {
                committed.is_some_and(|end| id.index <= end.index) || state.log_ids.get(id.index) == Some(id)
            };
            Compared {
                vote: *state.vote_ref(),
                contradicts: vote >= *state.vote_ref() && contradicts(),
                has_previous: previous.is_none_or(has),
                last: state.log_ids.last().copied(),
            }
        });
        let compared = compared.await.map_err(|_| Refusal::Stopped)?;
        if compared.contradicts {
            tracing::warn!(
                from = vote.leader_id.voted_for,
                "a leader contradicts entries that are committed here, or its own"
            );
            heard.contradicted = Some(vote);
            return Err(Refusal::Contradicts);
        }
        Ok(compared)
    }

    /// A candidate that an upstart gave entries of a later term would win over all that is committed.
    async fn check_last(&self, ballot: &VoteRequest<TypeConfig>) -> Result<(), Refusal> {
        let claimed = Vec::from_iter(ballot.last_log_id);
        let contradicts = self.raft.with_raft_state(move |state| {
            let committed = state.local_committed().copied();
            contradicted(&claimed, committed, |index| state.log_ids.get(index))
        });
        if contradicts.await.map_err(|_| Refusal::Stopped)? {
            return Err(Refusal::Contradicts);
        }
        Ok(())
    }

    /// No vote, and what the candidate needs to get further: the term, which openraft adopts, and the log to reach.
    async fn deny(&self, bars: Standpoint) -> Result<Reply, Refusal> {
        Ok(Reply::Vote {
            vote: self.vote().await?,
            granted: false,
            last: bars.last_id(),
        })
    }

    pub(crate) async fn vote(&self) -> Result<Vote, Refusal> {
        self.raft
            .with_raft_state(|state| *state.vote_ref())
            .await
            .map_err(|_| Refusal::Stopped)
    }

    /// This member's index.
    pub(crate) fn node(&self) -> u64 {
        self.node
    }
}

/// A leader's frame beside what this member has.
struct Compared {
    /// The vote that counts.
    vote: Vote,
    contradicts: bool,
    /// This member has the entry that those of the frame follow.
    has_previous: bool,
    /// The last entry that this member has.
    last: Option<LogId>,
}

/// Whether a candidate stands in a term, or with a log, for which this member may have promised otherwise before it
/// booted.
fn barred(ballot: &VoteRequest<TypeConfig>, bars: Standpoint) -> bool {
    ballot.vote.leader_id.term <= bars.term && bars.term > 0 || ballot.last_log_id < bars.last_id()
}

/// What a member in `term` takes over of another one's `vote`: all, or if no elections lead there, as far as one step goes.
pub(crate) fn nearest(vote: Vote, term: u64) -> Vote {
    let furthest = term.saturating_add(TERMS_AHEAD_MAX);
    #[cfg(feature = "sabotage")]
    if vote.leader_id.term > furthest && symbolon_sabotage::Bug::FarTermsRefused.on() {
        return Vote::new(term, NOBODY);
    }
    if vote.leader_id.term <= furthest {
        vote
    } else {
        Vote::new(furthest, vote.leader_id.voted_for)
    }
}

/// Brings a member into a later term, in which it votes for nobody. `false` if it is there, or further, already.
pub(crate) async fn enter_term(raft: &Raft, term: u64) -> Result<bool, Refusal> {
    let last = raft.with_raft_state(|state| state.log_ids.last().copied());
    let vote = Vote::new(term, NOBODY);
    #[cfg(feature = "sabotage")]
    let vote = if symbolon_sabotage::Bug::TermEnteredForItself.on() {
        Vote::new(term, *raft.node_id())
    } else {
        vote
    };
    let vote = VoteRequest {
        vote,
        last_log_id: last.await.map_err(|_| Refusal::Stopped)?,
        // Else a leader whose lease holds would refuse.
        leadership_transfer: true,
    };
    let taken = raft.vote(vote).await.map_err(|_| Refusal::Stopped)?;
    Ok(taken.vote_granted)
}

/// Which of the votes that a member holds keeps it from following a leader's: what such a leader says is no word about the
/// log. openraft forgets in a restart that its member led; the disk does not.
fn outvoted(vote: Vote, held: [Vote; 2]) -> Option<Vote> {
    #[cfg(feature = "sabotage")]
    if symbolon_sabotage::Bug::StaleFramesCount.on() {
        return None;
    }
    held.into_iter()
        .find(|held| vote.partial_cmp(held).is_none_or(Ordering::is_lt))
}

/// Whether one of the `claimed` entries is another one than the member's `own`, up to one of those that are `fixed`.
fn contradicted(claimed: &[LogId], fixed: impl IntoIterator<Item = LogId>, own: impl Fn(u64) -> Option<LogId>) -> bool {
    // Of what is purged only the order is known: terms never fall.
    let other = |id: &LogId, fixed: LogId| *id > fixed || own(id.index).is_some_and(|own| own != *id);
    fixed.into_iter().any(|fixed| {
        let mut below = claimed.iter().filter(|id| id.index <= fixed.index);
        below.any(|id| other(id, fixed))
    })
}

/// A leader speaks under its own vote, granted by a quorum.
pub(crate) fn check_leader(from: u64, vote: &Vote) -> Result<(), Refusal> {
    let own = vote.is_committed() && vote.leader_id.voted_for == from && vote.leader_id.term > 0;
    if own { Ok(()) } else { Err(Refusal::Inconsistent) }
}

/// Entries follow their predecessor without gaps, in terms that never fall and never exceed the leader's.
fn check_append(from: u64, vote: &Vote, previous: Option<LogId>, entries: &[Entry]) -> Result<(), Refusal> {
    check_leader(from, vote)?;
    #[cfg(feature = "sabotage")]
    if symbolon_sabotage::Bug::AppendUnchecked.on() {
        return Ok(());
    }
    let mut before = previous;
    for entry in entries {
        let next = before.map_or(0, |id| id.index.saturating_add(1));
        let term = term_of(&entry.log_id);
        let term_before = before.map_or(0, |id| term_of(&id));
        if entry.log_id.index != next || term < term_before || term > vote.leader_id.term {
            return Err(Refusal::Inconsistent);
        }
        before = Some(entry.log_id);
    }
    if previous.is_some_and(|id| term_of(&id) > vote.leader_id.term) {
        return Err(Refusal::Inconsistent);
    }
    Ok(())
}

/// A membership counts from the moment it is appended: a leader that may log any could make itself the only voter, and the
/// others would never elect anybody again.
fn check_members(voters: &BTreeSet<u64>, entries: &[Entry]) -> Result<(), Refusal> {
    let allowed = |entry: &Entry| match &entry.payload {
        EntryPayload::Membership(membership) => {
            let one = membership.get_joint_config().as_slice();
            one == std::slice::from_ref(voters) && membership.learner_ids().next().is_none()
        }
        EntryPayload::Blank | EntryPayload::Normal(_) => true,
    };
    #[cfg(feature = "sabotage")]
    if symbolon_sabotage::Bug::MembershipUnchecked.on() {
        return Ok(());
    }
    if voters.is_empty() || entries.iter().all(allowed) {
        Ok(())
    } else {
        Err(Refusal::Inconsistent)
    }
}

/// A candidate asks for itself, and has no leader's vote yet.
fn check_ballot(from: u64, ballot: Ballot) -> Result<VoteRequest<TypeConfig>, Refusal> {
    let Ballot { vote, last } = ballot;
    let own = !vote.is_committed() && vote.leader_id.voted_for == from;
    if !own || last.is_some_and(|id| term_of(&id) > vote.leader_id.term) {
        return Err(Refusal::Inconsistent);
    }
    Ok(VoteRequest {
        vote,
        last_log_id: last,
        // Leaders hand leadership to nobody; who says so would end one that others still follow.
        leadership_transfer: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Membership;

    fn blanks(ids: &[(u64, u64)]) -> Vec<Entry> {
        ids.iter()
            .map(|(t, i)| Entry {
                log_id: log_id(*t, *i),
                payload: EntryPayload::Blank,
            })
            .collect()
    }

    #[test]
    fn a_leader_may_append_consecutive_entries_of_its_terms() {
        let vote = Vote::new_committed(3, 1);
        assert_eq!(
            check_append(1, &vote, Some(log_id(2, 4)), &blanks(&[(2, 5), (3, 6)])),
            Ok(())
        );
        assert_eq!(check_append(1, &vote, None, &blanks(&[(0, 0), (1, 1)])), Ok(()));
        assert_eq!(check_append(1, &vote, Some(log_id(3, 4)), &[]), Ok(()));
    }

    #[test]
    fn an_append_under_anothers_vote_is_refused() {
        assert_eq!(
            check_append(2, &Vote::new_committed(3, 1), None, &[]),
            Err(Refusal::Inconsistent)
        );
    }

    #[test]
    fn an_append_under_a_vote_without_quorum_is_refused() {
        assert_eq!(check_append(1, &Vote::new(3, 1), None, &[]), Err(Refusal::Inconsistent));
    }

    #[test]
    fn entries_with_a_gap_a_repeat_or_a_falling_or_future_term_are_refused() {
        let vote = Vote::new_committed(3, 1);
        for ids in [
            &[(3, 6)][..],
            &[(3, 5), (3, 5)],
            &[(3, 5), (2, 6)],
            &[(4, 5)],
            &[(1, 5)],
        ] {
            let checked = check_append(1, &vote, Some(log_id(2, 4)), &blanks(ids));
            assert_eq!(checked, Err(Refusal::Inconsistent), "{ids:?}");
        }
    }

    #[test]
    fn a_membership_other_than_the_rosters_is_refused() {
        let voters = BTreeSet::from([1, 2, 3]);
        let logged = |configs: Vec<BTreeSet<u64>>, nodes: &[u64]| {
            let membership = Membership::new_with_defaults(configs, nodes.iter().copied());
            [Entry {
                log_id: log_id(1, 0),
                payload: EntryPayload::Membership(membership),
            }]
        };
        let same = logged(vec![voters.clone()], &[]);
        assert_eq!(check_members(&voters, &same), Ok(()));
        assert_eq!(check_members(&voters, &blanks(&[(1, 1)])), Ok(()));
        let alone = BTreeSet::from([3]);
        for other in [
            logged(vec![alone.clone()], &[]),
            logged(vec![voters.clone(), alone], &[]),
            logged(vec![voters.clone()], &[4]),
        ] {
            assert_eq!(check_members(&voters, &other), Err(Refusal::Inconsistent), "{other:?}");
        }
    }

    #[test]
    fn a_ballot_for_another_or_already_granted_is_refused() {
        let ballot = |vote| Ballot { vote, last: None };
        assert!(check_ballot(1, ballot(Vote::new(3, 1))).is_ok());
        assert!(check_ballot(1, ballot(Vote::new(3, 2))).is_err());
        assert!(check_ballot(1, ballot(Vote::new_committed(3, 1))).is_err());
    }

    #[test]
    fn other_entries_than_the_committed_ones_contradict_and_others_do_not() {
        let own = |index: u64| match index {
            0..=2 => None,
            3..=5 => Some(log_id(2, index)),
            6..=8 => Some(log_id(4, index)),
            _ => None,
        };
        let committed = Some(log_id(4, 6));
        let same = [log_id(1, 2), log_id(2, 3), log_id(4, 6)];
        assert!(!contradicted(&same, committed, own));
        assert!(
            !contradicted(&[log_id(5, 7), log_id(5, 8)], committed, own),
            "not committed"
        );
        for other in [log_id(1, 4), log_id(3, 5), log_id(5, 6), log_id(5, 2)] {
            assert!(contradicted(&[other], committed, own), "{other}");
        }
        let given = committed.into_iter().chain([log_id(9, 20)]);
        let purged = |index| own(index).filter(|id| id.index > 6);
        assert!(
            contradicted(&[log_id(6, 3)], given, purged),
            "an order that is known stays so"
        );
        assert!(!contradicted(&[log_id(1, 4)], None, own), "nothing is committed");
    }

    #[test]
    fn a_term_is_believed_that_elections_can_have_led_to() {
        let reached = |term, own| nearest(Vote::new_committed(term, 1), own);
        let furthest = 9 + TERMS_AHEAD_MAX;
        assert_eq!(reached(3, 9), Vote::new_committed(3, 1));
        assert_eq!(reached(furthest, 9), Vote::new_committed(furthest, 1));
        for far in [furthest + 1, u64::MAX] {
            assert_eq!(reached(far, 9), Vote::new(furthest, 1), "and nobody was elected there");
        }
        assert_eq!(reached(u64::MAX, u64::MAX - 1), Vote::new_committed(u64::MAX, 1));
    }

    #[test]
    fn each_seeded_bug_is_found_by_its_test_here() {
        symbolon_sabotage::caught_in(file!());
    }
}
