//! Hearing from others that a command was applied. The node that answered may lie, or pass a leader's lie on; t nodes that
//! say the same are not all liars.

use crate::client::Inner;
use crate::error::Error;
use crate::node::{Failure, Node};
use crate::query::{ask, encode};
use crate::round::{Event, Round};
use crate::submit::{Level, Recorded, take};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use symbolon_wire::command::CommandId;
use symbolon_wire::limits::OUTCOMES_MAX;
use symbolon_wire::v1::request::Kind;
use symbolon_wire::{Code, v1};
use tokio::sync::oneshot;

/// What one node has recorded of a command, with the state index it says so from.
type Heard = (v1::RecordedOutcome, u64);

/// Who is asked, and who claimed what is asked about: an index that a liar made up holds up questions about that liar's
/// answers alone.
type Between = (u16, u16);

/// Questions that wait until the one before is answered: a client that writes much asks about many commands at once.
#[derive(Default)]
pub(crate) struct Questions(Mutex<HashMap<Between, Vec<Waiting>>>);

struct Waiting {
    command: v1::CommandRef,
    index: u64,
    heard: oneshot::Sender<Result<Heard, Failure>>,
}

impl Questions {
    /// Adds a question; whether nobody asks yet.
    fn add(&self, between: Between, waiting: Waiting) -> bool {
        let mut questions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = !questions.contains_key(&between);
        questions.entry(between).or_default().push(waiting);
        idle
    }

    /// The questions to ask next; none are left, and nobody asks any more, if that is empty.
    fn next(&self, between: Between) -> Vec<Waiting> {
        let mut questions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(waiting) = questions.get_mut(&between) else {
            return Vec::new();
        };
        let next: Vec<_> = waiting.drain(..waiting.len().min(OUTCOMES_MAX)).collect();
        if next.is_empty() {
            questions.remove(&between);
        }
        next
    }
}

impl Inner {
    /// Asks others until t nodes, `by` among them, say the same of a command; else what was said instead.
    pub(crate) async fn confirmed(
        self: &Arc<Self>,
        command: &CommandId,
        by: u16,
        recorded: &Recorded,
        until: Instant,
    ) -> Result<(), Vec<(u16, Failure)>> {
        let mut needed = self.threshold().saturating_sub(1);
        #[cfg(feature = "sabotage")]
        if symbolon_sabotage::Bug::OneNodesWord.on() {
            needed = 0;
        }
        let asking = |node: Arc<Node>| {
            let (inner, command, index) = (self.clone(), command.to_message(), recorded.index());
            async move { inner.hear(node, by, command, index).await }
        };
        let mut round = Round::new(self.ranked(&[by]), &self.spares.confirmations);
        for _ in 0..needed {
            round.ask(asking);
        }
        let mut failures = Vec::new();
        while needed > 0 {
            let event = tokio::time::timeout_at(until.into(), round.next()).await;
            match event.unwrap_or(Event::Idle) {
                Event::From(_, Ok((heard, _))) if recorded.is_that_of(&heard) => needed -= 1,
                Event::From(node, Ok((heard, at))) => {
                    failures.push((node, contrary(&heard, at)));
                    round.ask(asking);
                }
                Event::From(node, Err(failure)) => {
                    failures.push((node, failure));
                    round.ask(asking);
                }
                Event::Slow => {
                    round.ask(asking);
                }
                Event::Idle => return Err(failures),
            }
        }
        Ok(())
    }

    /// Whether t nodes, `by` among them, say that as many as `level` asks for have confirmed what a write has dealt: others are given the
    /// same bytes, which count once, and wait for it as the first did. Else who says first that it is gone since.
    pub(crate) async fn reached(
        self: &Arc<Self>,
        level: Level,
        bytes: &Bytes,
        (by, recorded): (u16, &Recorded),
        until: Instant,
    ) -> Result<(), Option<u16>> {
        let Recorded::Done(done) = recorded else { return Ok(()) };
        let mut needed = match level {
            Level::Committed => 0,
            Level::Verified | Level::Full => self.threshold().saturating_sub(1),
        };
        #[cfg(feature = "sabotage")]
        if symbolon_sabotage::Bug::OneNodesLevel.on() {
            needed = 0;
        }
        let ask = |node: Arc<Node>| {
            let bytes = bytes.clone();
            async move { take(&node, bytes, until.saturating_duration_since(Instant::now())).await }
        };
        let mut round = Round::new(self.ranked(&[by]), &self.spares.confirmations);
        for _ in 0..needed {
            round.ask(ask);
        }
        let mut gone = None;
        while needed > 0 {
            match round.next().await {
                Event::From(_, Ok(Recorded::Done(other)))
                    if (other.version, other.record_hash) == (done.version, done.record_hash) =>
                {
                    needed -= 1;
                }
                Event::From(node, told) => {
                    if let Ok(Recorded::Refused { error, .. }) | Err(Failure::Refused { error, .. }) = told
                        && error.code == Code::NotFound
                    {
                        gone = gone.or(Some(node));
                    }
                    round.ask(ask);
                }
                Event::Slow => {
                    round.ask(ask);
                }
                Event::Idle => return Err(gone),
            }
        }
        Ok(())
    }

    async fn hear(
        self: Arc<Self>,
        node: Arc<Node>,
        by: u16,
        command: v1::CommandRef,
        index: u64,
    ) -> Result<Heard, Failure> {
        let (heard, answer) = oneshot::channel();
        let between = (node.index, by);
        if self.questions.add(between, Waiting { command, index, heard }) {
            let inner = self.clone();
            tokio::spawn(async move { inner.ask_on(node, between).await });
        }
        let ended = |_| Failure::Unanswered(Error::new(Code::Internal, "asking for an outcome was aborted"));
        answer.await.map_err(ended)?
    }

    /// Asks one node until there are no questions left for it.
    async fn ask_on(&self, node: Arc<Node>, between: Between) {
        loop {
            let mut waiting = self.questions.next(between);
            let Some(min_index) = waiting.iter().map(|one| one.index).max() else {
                return;
            };
            let request = Kind::Outcomes(v1::OutcomesRequest {
                commands: waiting.iter().map(|one| one.command.clone()).collect(),
                min_index,
            });
            let answer = ask::<v1::OutcomesReply>(node.clone(), encode(request), self.net.options.request_timeout);
            let answer = tokio::select! {
                answer = answer => answer,
                // Others have confirmed them all. That this node is slow is remembered.
                () = given_up(&mut waiting) => continue,
            };
            let mut answer = answer.map(|reply| (reply.outcomes.into_iter(), reply.state_index));
            for one in waiting {
                let heard = match &mut answer {
                    Ok((outcomes, at)) => Ok((outcomes.next().unwrap_or_default(), *at)),
                    Err(failure) => Err(failure.clone()),
                };
                // Whoever asked may have given up.
                let _ = one.heard.send(heard);
            }
        }
    }
}

async fn given_up(waiting: &mut [Waiting]) {
    for one in waiting {
        one.heard.closed().await;
    }
}

fn contrary(heard: &v1::RecordedOutcome, at: u64) -> Failure {
    let what = match &heard.outcome {
        None => format!("has nothing recorded of it up to log index {at}"),
        Some(outcome) => format!("has recorded another outcome of it, at log index {}", outcome.index),
    };
    Failure::Unanswered(Error::new(Code::OutcomeUnknown, what))
}
