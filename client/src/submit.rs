//! Handing a command to the cluster, and telling failures from unknown outcomes.
//!
//! A command counts once, by its nonce; so the same bytes may go to any node, any number of times. Once a node may have
//! proposed it and gave no answer, only what apply recorded under that nonce settles what happened; until then the
//! outcome is unknown, and that is what the caller is told.

use crate::client::{Client, Inner};
use crate::error::{Error, Misdeed};
use crate::limits::{COMMAND_LARGE_FROM, LARGE_WITHIN, RETRY_PAUSE, RETRY_PAUSE_MAX, TOLD_WITHIN};
use crate::node::{Failure, Node};
use crate::round::{Event, Round};
use crate::spare::Spare;
use crate::verdict::{Tried, about_the_request, conclude, refusal};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use symbolon_crypto::Hash;
use symbolon_wire::command::{CommandError, CommandId, may_leave_no_record};
use symbolon_wire::limits::COMMAND_BYTES_MAX;
use symbolon_wire::v1::command_body::Payload;
use symbolon_wire::v1::response::Result as Answer;
use symbolon_wire::{Code, Message, v1};
use tokio::sync::SemaphorePermit;

/// When a write is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u32)]
pub enum Level {
    /// Committed: every node can have its fragment.
    #[default]
    Committed = 0,
    /// t+1 nodes have opened and checked theirs.
    Verified = 1,
    /// All have.
    Full = 2,
}

/// A command that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Who answered.
    pub node: u16,
    /// Its log index.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// The chain value there.
    pub chain: Hash,
    /// The version that it made; 0 for kinds without.
    pub version: u64,
    /// The record hash of a write.
    pub record_hash: Option<Hash>,
    /// The same bytes had been applied before; this is what was recorded then.
    pub repeated: bool,
}

/// What came of handing a command over.
pub(crate) enum Settled {
    /// Applied.
    Done(Submitted),
    /// Recorded without effect: why.
    Refused(Error),
}

impl Client {
    /// Submits a command that carries its signatures, as several operators have signed it. The same bytes may be
    /// submitted again.
    ///
    /// # Errors
    /// What apply recorded; [`Code::OutcomeUnknown`] with the command; what [`Client::get`] gives for nodes.
    pub async fn submit_signed(&self, command: v1::Command, level: Level) -> Result<Submitted, Error> {
        match self.inner.submit("submit the command", &command, level).await? {
            Settled::Done(submitted) => Ok(submitted),
            Settled::Refused(error) => Err(error),
        }
    }
}

impl Inner {
    /// Signs a command of this principal and submits it; once more if log time was misjudged.
    pub(crate) async fn command(self: &Arc<Self>, what: &str, payload: Payload) -> Result<Submitted, Error> {
        let mut again = true;
        loop {
            let command = self.signed(rand::random(), payload.clone())?;
            match self.submit(what, &command, Level::Committed).await? {
                Settled::Done(submitted) => return Ok(submitted),
                Settled::Refused(error) if error.code == Code::Expired && std::mem::take(&mut again) => {
                    self.ask_the_time().await;
                }
                Settled::Refused(error) => return Err(error),
            }
        }
    }

    /// A command of this principal under `nonce`, signed.
    pub(crate) fn signed(&self, nonce: [u8; 32], payload: Payload) -> Result<v1::Command, Error> {
        let (roster, identity) = (&self.net.roster, &self.net.identity);
        let life_ms = u64::try_from(self.net.options.command_life.as_millis()).unwrap_or(u64::MAX);
        let expires_ms = self.clock.now_ms().saturating_add(life_ms);
        let body =
            symbolon_wire::command::encode_body(roster.cluster, identity.principal(), &nonce, expires_ms, payload);
        let mut command = v1::Command {
            body,
            signatures: Vec::with_capacity(1),
        };
        crate::command::sign_command(&mut command, identity)?;
        Ok(command)
    }

    /// Waits until a large command may be sent beside others.
    async fn room(&self, bytes: usize) -> Result<Option<SemaphorePermit<'_>>, Error> {
        if bytes <= COMMAND_LARGE_FROM {
            return Ok(None);
        }
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let permit = self.commands.acquire_many(permits).await;
        permit
            .map(Some)
            .map_err(|closed| Error::new(Code::Internal, closed.to_string()))
    }

    /// Hands a command over until it is settled or `write_within` has passed.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        what: &str,
        command: &v1::Command,
        level: Level,
    ) -> Result<Settled, Error> {
        let bytes = command.encoded_len();
        if bytes > COMMAND_BYTES_MAX {
            let told = format!("cannot {what}: {bytes} bytes; at most {COMMAND_BYTES_MAX} are allowed");
            return Err(Error::new(Code::TooLarge, told));
        }
        let malformed = |refused: CommandError| Error::new(Code::Malformed, format!("cannot {what}: {refused}"));
        let id = CommandId::of(command).map_err(malformed)?;
        let _room = self.room(bytes).await?;
        let within = self.net.options.within(self.net.options.write_within);
        let until = Instant::now() + within;
        // Time is left to learn that the write stands, although not as many have confirmed it as were asked for.
        let confirmed_until = until - TOLD_WITHIN.min(within / 4);
        let (mut doubt, mut pause, mut asked) = (false, RETRY_PAUSE, level);
        loop {
            let bytes = encode(command, asked);
            let offered_until = if asked == Level::Committed {
                until
            } else {
                confirmed_until
            };
            let mut offered = self.offer(&bytes, asked, offered_until).await;
            doubt |= offered.doubt;
            if let Some((mut node, mut recorded)) = offered.answer.take() {
                let confirmed = match recorded.leaves_record() {
                    true => self.confirmed(&id, node, &recorded, until).await,
                    false => match self.seconded(&id, &bytes, (node, &mut recorded), until).await {
                        Seconded::Alike => Ok(()),
                        Seconded::Nobody(failures) => Err(failures),
                        Seconded::Otherwise(other, answer) => {
                            doubt = true;
                            self.disbelieve(node);
                            (node, recorded) = (other, answer);
                            Ok(())
                        }
                    },
                };
                let Err(contrary) = confirmed else {
                    let reached = if asked == level {
                        self.reached(asked, &bytes, (node, &recorded), offered_until).await
                    } else {
                        Err(None)
                    };
                    let settled = settle(what, command, node, recorded, doubt)?;
                    return match reached {
                        Ok(()) => Ok(settled),
                        Err(gone) => Err(unconfirmed(what, settled, gone)),
                    };
                };
                // It may have lied, and handed the command to nobody: the others are offered it.
                doubt = true;
                self.disbelieve(node);
                offered.failures.push((node, claimed(&recorded)));
                offered.failures.extend(contrary);
            }
            if asked != Level::Committed && offered.failures.iter().any(|(_, failure)| late(failure)) {
                // Not confirmed in time. Whether it was committed is settled by the same bytes.
                asked = Level::Committed;
                continue;
            }
            let refusals = offered
                .failures
                .iter()
                .filter(|(_, failure)| refusal(failure).is_some())
                .count();
            let over = Instant::now() + pause >= until || refusals >= self.blocking();
            if over && doubt {
                return Err(unknown(what, command, &offered.failures));
            }
            if over {
                let tried = Tried {
                    what,
                    needed: 1,
                    answered: 0,
                    threshold: self.threshold(),
                    blocking: self.blocking(),
                };
                return Err(conclude(&tried, offered.failures, Vec::new()));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    /// Offers the bytes to one node after the other, the one that leads first, one more whenever that takes long.
    async fn offer(self: &Arc<Self>, bytes: &Bytes, level: Level, until: Instant) -> Offered {
        let (within, spare) = self.pace(bytes);
        let ask = |node: Arc<Node>| {
            let bytes = bytes.clone();
            // What is left when this one is asked: the others were asked before, and took their time.
            let left = until.saturating_duration_since(Instant::now());
            let within = match level {
                Level::Committed => left.min(within),
                Level::Verified | Level::Full => left,
            };
            async move { take(&node, bytes, within).await }
        };
        let mut round = Round::new(self.leader_first(), spare);
        round.ask(ask);
        let mut offered = Offered {
            answer: None,
            failures: Vec::new(),
            doubt: false,
        };
        loop {
            match round.next().await {
                Event::From(node, Ok(submitted)) => {
                    // Others that were offered it may have proposed it before.
                    offered.doubt |= round.pending() > 0;
                    offered.answer = Some((node, submitted));
                    return offered;
                }
                Event::From(node, Err(failure)) => {
                    offered.doubt |= doubtful(&failure);
                    offered.failures.push((node, failure));
                    round.ask(ask);
                }
                Event::Slow => {
                    round.ask(ask);
                }
                Event::Idle => return offered,
            }
        }
    }

    /// How long a node may take to answer a command of these bytes, and when another is asked beside it.
    fn pace(&self, bytes: &Bytes) -> (Duration, &Spare) {
        let options = &self.net.options;
        match bytes.len() > COMMAND_LARGE_FROM {
            true => (options.request_timeout.max(LARGE_WITHIN), &self.spares.large_commands),
            false => (options.request_timeout, &self.spares.commands),
        }
    }

    /// What t - 1 others say of a command that one node refuses and of which nobody keeps a record. It might be made up, and the command
    /// logged later; so they are given it, and each says what comes of it. One that claims otherwise has to be confirmed: it may lie, too.
    async fn seconded(
        self: &Arc<Self>,
        id: &CommandId,
        bytes: &Bytes,
        (by, refused): (u16, &mut Recorded),
        until: Instant,
    ) -> Seconded {
        let mut needed = self.threshold().saturating_sub(1);
        let (within, spare) = self.pace(bytes);
        let ask = |node: Arc<Node>| {
            let bytes = bytes.clone();
            let left = until.saturating_duration_since(Instant::now());
            async move { take(&node, bytes, left.min(within)).await }
        };
        let mut round = Round::new(self.ranked(&[by]), spare);
        for _ in 0..needed {
            round.ask(ask);
        }
        let mut failures = Vec::new();
        while needed > 0 {
            match round.next().await {
                Event::From(_, Ok(answer)) if refused.is_refused_alike(&answer) => {
                    refused.forget_other_advice(&answer);
                    needed -= 1;
                }
                Event::From(node, Ok(answer)) => {
                    failures.push((node, claimed(&answer)));
                    if answer.leaves_record() {
                        let Err(contrary) = self.confirmed(id, node, &answer, until).await else {
                            return Seconded::Otherwise(node, answer);
                        };
                        self.disbelieve(node);
                        failures.extend(contrary);
                    }
                    round.ask(ask);
                }
                Event::From(node, Err(failure)) => {
                    failures.push((node, failure));
                    round.ask(ask);
                }
                Event::Slow => {
                    round.ask(ask);
                }
                Event::Idle => return Seconded::Nobody(failures),
            }
        }
        Seconded::Alike
    }

    /// Asks a node last for a while, whose word others do not confirm.
    fn disbelieve(&self, index: u16) {
        if let Some(node) = self.node(index) {
            node.distrust();
        }
        let _ = self
            .leader
            .compare_exchange(index, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn leader_first(&self) -> Vec<Arc<Node>> {
        let leader = self.leader.load(Ordering::Relaxed);
        let mut nodes = self.ranked(&[]);
        nodes.sort_by_key(|node| (node.rank().0, node.index != leader));
        nodes
    }
}

fn encode(command: &v1::Command, level: Level) -> Bytes {
    let submit = v1::Submit {
        command: Some(command.clone()),
        level: level as u32,
    };
    v1::Request {
        kind: Some(v1::request::Kind::Submit(submit)),
    }
    .encode_to_vec()
    .into()
}

/// Turns what apply recorded into what the caller is told.
fn settle(what: &str, command: &v1::Command, node: u16, recorded: Recorded, doubt: bool) -> Result<Settled, Error> {
    match recorded {
        Recorded::Done(submitted) => Ok(Settled::Done(submitted)),
        // These are decided before apply looks the nonce up: an earlier copy may have been applied all the same.
        Recorded::Refused { error, index }
            if doubt && matches!(error.code, Code::Expired | Code::UnknownKey | Code::BadSignature) =>
        {
            let refused = Failure::Refused {
                error,
                state_index: index,
            };
            Err(unknown(what, command, &[(node, refused)]))
        }
        Recorded::Refused { error, .. } => Ok(Settled::Refused(error)),
    }
}

/// Committed, but not confirmed by as many nodes as were asked for; who says that it is `gone` since.
fn unconfirmed(what: &str, settled: Settled, gone: Option<u16>) -> Error {
    match settled {
        Settled::Refused(error) => error,
        Settled::Done(done) => {
            let Submitted { version, index, .. } = done;
            Error::new(
                Code::Timeout,
                format!("too few nodes have confirmed in time that they can {what}"),
            )
            .because(match gone {
                None => format!("it stands all the same, as version {version}, at log index {index}"),
                Some(node) => format!(
                    "it was committed as version {version}, at log index {index}; node {node} says that it is gone since"
                ),
            })
            .next("symbolon status")
        }
    }
}

/// What others say of a command that one node refuses.
enum Seconded {
    /// As many as count refuse it.
    Alike,
    /// One has a record of it, as t nodes confirm.
    Otherwise(u16, Recorded),
    /// Too few say anything.
    Nobody(Vec<(u16, Failure)>),
}

/// What offering a command to the nodes gave.
struct Offered {
    answer: Option<(u16, Recorded)>,
    failures: Vec<(u16, Failure)>,
    /// Somebody may have proposed it without telling what came of it.
    doubt: bool,
}

/// What apply recorded for a command, as one node says.
pub(crate) enum Recorded {
    Done(Submitted),
    Refused { error: Error, index: u64 },
}

impl Recorded {
    /// Where, as the node says.
    pub(crate) fn index(&self) -> u64 {
        match self {
            Self::Done(submitted) => submitted.index,
            Self::Refused { index, .. } => *index,
        }
    }

    /// Whether others have it recorded too.
    fn leaves_record(&self) -> bool {
        match self {
            Self::Done(_) => true,
            Self::Refused { error, .. } => !may_leave_no_record(error.code),
        }
    }

    /// Whether another refuses it for the same reason, without a record.
    fn is_refused_alike(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Refused { error, .. }, Self::Refused { error: said, .. }) => {
                said.code == error.code && may_leave_no_record(said.code)
            }
            _ => false,
        }
    }

    /// What is to be done next is followed like a command: it stays only as both tell it.
    fn forget_other_advice(&mut self, other: &Self) {
        if let (Self::Refused { error, .. }, Self::Refused { error: said, .. }) = (self, other)
            && said.next != error.next
        {
            error.next = None;
        }
    }

    /// Whether another node has recorded the same.
    pub(crate) fn is_that_of(&self, other: &v1::RecordedOutcome) -> bool {
        let Some(outcome) = &other.outcome else { return false };
        match self {
            Self::Done(done) => {
                let hash = done.record_hash.as_ref().map_or(&[][..], |hash| &hash[..]);
                let same = outcome.code == 0 && outcome.version == done.version && outcome.record_hash == hash;
                // A repetition may be shown at its own place: where the node keeps no chain of the first one.
                let place = outcome.index == done.index || done.repeated && outcome.index < done.index;
                let forked = outcome.index == done.index && !other.chain.is_empty() && other.chain != done.chain[..];
                same && place && !forked
            }
            Self::Refused { error, .. } => {
                let recorded = Error::from_outcome(outcome.clone());
                (error.code, &error.message, &error.because, &error.next)
                    == (recorded.code, &recorded.message, &recorded.because, &recorded.next)
            }
        }
    }
}

/// What a node said that others do not confirm.
fn claimed(recorded: &Recorded) -> Failure {
    let what = match recorded {
        Recorded::Done(_) => "says that it was applied",
        Recorded::Refused { .. } => "says that it was refused",
    };
    let what = format!("{what} at log index {}, which too few others confirm", recorded.index());
    Failure::Unanswered(Error::new(Code::OutcomeUnknown, what))
}

fn late(failure: &Failure) -> bool {
    failure.error().code == Code::Timeout
}

/// Hands the bytes of a command to one node.
pub(crate) async fn take(node: &Arc<Node>, bytes: Bytes, within: Duration) -> Result<Recorded, Failure> {
    let at_fault = || Failure::AtFault(Error::at_fault(node.index, Misdeed::NotAnAnswer));
    match node.request(bytes, within).await {
        Ok(answered) => match answered.answer {
            Answer::Submitted(reply) => recorded(node.index, reply).ok_or_else(at_fault),
            _ => Err(at_fault()),
        },
        // A refusal that names a log index is what apply recorded there; others came before anything was proposed.
        Err(Failure::Refused { error, state_index }) if state_index > 0 && about_the_request(error.code) => {
            Ok(Recorded::Refused {
                error,
                index: state_index,
            })
        }
        Err(failure) => Err(failure),
    }
}

/// `None` for what is no answer: without an outcome, or with a hash of another length.
fn recorded(node: u16, reply: v1::Submitted) -> Option<Recorded> {
    let outcome = reply.outcome?;
    if outcome.code != 0 {
        return Some(Recorded::Refused {
            error: Error::from_outcome(outcome),
            index: reply.index,
        });
    }
    let record_hash = match outcome.record_hash.len() {
        0 => None,
        _ => Some(outcome.record_hash.as_ref().try_into().ok()?),
    };
    Some(Recorded::Done(Submitted {
        node,
        index: reply.index,
        term: reply.term,
        chain: reply.chain.as_ref().try_into().ok()?,
        version: outcome.version,
        record_hash,
        repeated: reply.repeated,
    }))
}

/// Whether the node may have proposed the command although it says that it failed, or says nothing.
fn doubtful(failure: &Failure) -> bool {
    match failure {
        Failure::NotSent(_) => false,
        Failure::Unanswered(_) | Failure::AtFault(_) => true,
        Failure::Refused { error, .. } => {
            matches!(error.code, Code::Timeout | Code::Internal | Code::OutcomeUnknown)
        }
    }
}

fn unknown(what: &str, command: &v1::Command, failures: &[(u16, Failure)]) -> Error {
    let mut error = Error::new(Code::OutcomeUnknown, format!("cannot tell whether it came to {what}"))
        .next("send the same bytes again: they count once");
    for (node, failure) in failures {
        let told = failure.error();
        error
            .because
            .push(format!("node {node}: {} {}", told.code, told.message));
    }
    error.unknown_outcome_command = Some(command.encode_to_vec().into());
    error
}
