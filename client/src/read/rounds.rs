//! One round of a read: whom to ask when, what to keep of the answers, when to go on.

use super::opening::Step;
use super::{End, Reading, Requests};
use crate::client::Inner;
use crate::error::{Error, Misdeed};
use crate::limits::REPORT_WITHIN;
use crate::node::{Failure, Node};
use crate::reply::{Asked, Reply, divergence, outvoted};
use crate::round::{Event, Round, Standing, standing};
use crate::verdict::{Tried, conclude, refusal};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use symbolon_wire::{Code, Message, v1};
use tokio::task::JoinSet;

/// What has come in so far.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) replies: Vec<Reply>,
    pub(super) failures: Vec<(u16, Failure)>,
    /// Nodes that were asked for the body, and those of them that have not answered.
    body_asked: Vec<u16>,
    body_due: Vec<u16>,
}

impl Reading<'_> {
    pub(super) async fn round(&mut self, min_index: u64) -> Result<End, Error> {
        let requests = self.requests(min_index);
        let mut round = Round::new(self.client.ranked(&self.excluded), &self.client.spares.reads);
        let mut heard = Heard {
            replies: Vec::with_capacity(self.client.threshold()),
            ..Heard::default()
        };
        for nth in 0..self.client.threshold() {
            self.ask(&mut round, &requests, &mut heard, nth == 0);
        }
        loop {
            match round.next().await {
                Event::From(node, answer) => {
                    heard.body_due.retain(|due| *due != node);
                    self.take(&mut heard, node, answer);
                    if !self.one_history(&mut heard).await {
                        // Only others can say who is right.
                        if self.ask(&mut round, &requests, &mut heard, true) || round.waits() {
                            continue;
                        }
                        return Err(self.two_histories(&heard));
                    }
                }
                Event::Slow => {
                    let body = heard.replies.iter().all(|reply| reply.body.is_none());
                    self.ask(&mut round, &requests, &mut heard, body);
                    continue;
                }
                Event::Idle => {}
            }
            if let Some(end) = self.advance(&mut round, &requests, &mut heard)? {
                return Ok(end);
            }
        }
    }

    /// Asks the next node, if one is left.
    fn ask(&self, round: &mut Round<'_, Reply>, requests: &Requests, heard: &mut Heard, body: bool) -> bool {
        let within = self.client.net.options.request_timeout;
        round.ask(|node| {
            if body {
                heard.body_asked.push(node.index);
                heard.body_due.push(node.index);
            }
            ask(node, requests, body, within)
        })
    }

    /// Keeps an answer: a reply, a culprit, or a failure.
    fn take(&mut self, heard: &mut Heard, node: u16, answer: Result<Reply, Failure>) {
        match answer {
            Ok(reply) => {
                heard.replies.retain(|earlier| earlier.node != node);
                heard.replies.push(reply);
            }
            Err(failure) => {
                if let Failure::AtFault(error) = &failure {
                    self.accuse(error.culprits.iter().cloned());
                    self.excluded.push(node);
                }
                heard.failures.push((node, failure));
            }
        }
    }

    /// After each answer: opens if t agree, asks more if that may help, or ends the round.
    fn advance(
        &mut self,
        round: &mut Round<'_, Reply>,
        requests: &Requests,
        heard: &mut Heard,
    ) -> Result<Option<End>, Error> {
        loop {
            let keys: Vec<_> = heard
                .replies
                .iter()
                .map(|reply| ((reply.record_hash, reply.epoch), reply.state_index))
                .collect();
            match standing(&keys, self.client.threshold()) {
                Standing::Agreed(members) => match self.open(heard, &members)? {
                    Step::Opened(opened) => return Ok(Some(End::Opened(opened))),
                    Step::Again => {}
                    Step::NoBody => return self.ask_for_body(round, requests, heard, &members),
                },
                Standing::Split if round.waits() => return Ok(None),
                Standing::Split => {
                    let highest = highest(heard);
                    let versions_differ = heard
                        .replies
                        .windows(2)
                        .any(|two| matches!(two, [a, b] if a.version != b.version));
                    if versions_differ && self.rounds == 0 && highest > requests.min_index {
                        return Ok(Some(self.behind(heard)));
                    }
                    if self.ask(round, requests, heard, true) {
                        return Ok(None);
                    }
                    return Ok(Some(self.behind(heard)));
                }
                Standing::Few => {
                    // One more for each that failed, so that t answers stay possible.
                    let coming = heard.replies.len() + round.pending();
                    let body = heard.body_due.is_empty() && heard.replies.iter().all(|reply| reply.body.is_none());
                    if coming < self.client.threshold() && self.ask(round, requests, heard, body) {
                        return Ok(None);
                    }
                    if round.waits() {
                        return Ok(None);
                    }
                    return self.give_up(requests, heard).map(Some);
                }
            }
        }
    }

    fn behind(&self, heard: &Heard) -> End {
        let shown = heard.replies.iter().map(|r| {
            format!(
                "node {} shows version {} at log index {}",
                r.node, r.version, r.state_index
            )
        });
        let refused = heard.failures.iter().filter_map(|(node, failure)| {
            let (code, state_index) = refusal(failure)?;
            Some(format!("node {node} answers {code} at log index {state_index}"))
        });
        let shown = shown.chain(refused).collect::<Vec<_>>().join(", ");
        End::Behind {
            highest: highest(heard),
            shown,
        }
    }

    /// Nobody is left to ask and t do not agree.
    fn give_up(&mut self, requests: &Requests, heard: &mut Heard) -> Result<End, Error> {
        let highest = highest(heard);
        let refused_behind = heard.failures.iter().filter_map(|(_, failure)| refusal(failure));
        let behind = refused_behind
            .map(|(_, state_index)| state_index)
            .any(|at| at != 0 && at < highest);
        if behind && highest > requests.min_index {
            return Ok(self.behind(heard));
        }
        let failures = std::mem::take(&mut heard.failures);
        let late = |(node, failure): &(u16, Failure)| (failure.error().code == Code::NotFresh).then_some(*node);
        let not_fresh: Vec<u16> = failures.iter().filter_map(late).collect();
        let culprits = std::mem::take(&mut self.culprits);
        if requests.min_index > 0 && !not_fresh.is_empty() {
            let told = format!("cannot {}: the cluster is not caught up", self.what);
            let mut error = Error::new(Code::NotFresh, told);
            error.because = not_fresh
                .iter()
                .map(|node| {
                    format!(
                        "node {node} did not reach log index {}, which another shows",
                        requests.min_index
                    )
                })
                .collect();
            // One that claims a state it does not have is among these.
            if !self.shown.is_empty() {
                error.because.push(self.shown.clone());
            }
            error.culprits = culprits;
            return Err(error.next("symbolon status"));
        }
        let tried = Tried {
            what: &self.what,
            needed: self.client.threshold(),
            answered: heard.replies.len(),
            threshold: self.client.threshold(),
            blocking: self.client.blocking(),
        };
        Err(conclude(&tried, failures, culprits))
    }

    /// t agree, but nobody has sent a body that fits: another of them is asked, then anyone else.
    fn ask_for_body(
        &mut self,
        round: &mut Round<'_, Reply>,
        requests: &Requests,
        heard: &mut Heard,
        members: &[usize],
    ) -> Result<Option<End>, Error> {
        if !heard.body_due.is_empty() {
            return Ok(None);
        }
        let within = self.client.net.options.request_timeout;
        let unasked = members
            .iter()
            .filter_map(|place| heard.replies.get(*place))
            .map(|reply| reply.node);
        let next = unasked
            .filter(|node| !heard.body_asked.contains(node))
            .find_map(|node| self.client.node(node));
        if let Some(node) = next {
            heard.body_asked.push(node.index);
            heard.body_due.push(node.index);
            round.ask_node(node, |node| ask(node, requests, true, within));
            return Ok(None);
        }
        if self.ask(round, requests, heard, true) || round.waits() {
            return Ok(None);
        }
        if heard
            .failures
            .iter()
            .any(|(_, failure)| !matches!(failure, Failure::AtFault(_)))
        {
            // Who agreed at first may refuse when asked for the body, because rights or the secret changed in between.
            return self.give_up(requests, heard).map(Some);
        }
        let what = format!(
            "cannot {}: no node gives the ciphertext that t of them vouch for",
            self.what
        );
        let mut error = Error::new(Code::NodeAtFault, what);
        error.culprits = std::mem::take(&mut self.culprits);
        Err(error)
    }

    /// Compares chain values. A difference is told to all nodes; who is contradicted by so many that one of them is
    /// honest is named and no longer counts. `false` while it is open who is right.
    async fn one_history(&mut self, heard: &mut Heard) -> bool {
        if let (Some((_, one, other)), false) = (divergence(&heard.replies), self.told) {
            self.told = true;
            let report = v1::HeadReport {
                replies: vec![one.signed.clone(), other.signed.clone()],
            };
            tell_all(self.client, report).await;
        }
        // Of n − t + 1 nodes one is honest, as at most n − t are not.
        let needed = self.client.nodes.len() + 1 - self.client.threshold();
        while let Some(liar) = outvoted(&heard.replies, needed) {
            let (node, culprit) = (liar.node, liar.blame(Misdeed::OtherHistory));
            heard.replies.retain(|reply| reply.node != node);
            let caught = Error::at_fault(node, Misdeed::OtherHistory);
            heard.failures.push((node, Failure::AtFault(caught)));
            self.accuse([culprit]);
            self.excluded.push(node);
        }
        divergence(&heard.replies).is_none()
    }

    /// Nobody is left to say which of two histories is right.
    fn two_histories(&mut self, heard: &Heard) -> Error {
        let mut error = Error::new(
            Code::Diverged,
            format!("cannot {}: two nodes show different histories", self.what),
        )
        .next("symbolon status; do not restart any node before an operator has looked");
        error.culprits = std::mem::take(&mut self.culprits);
        let Some((index, one, other)) = divergence(&heard.replies) else {
            return error;
        };
        error
            .culprits
            .extend([one, other].map(|reply| reply.blame(Misdeed::OtherHistory)));
        error.because(format!(
            "at log index {index} node {} and node {} differ",
            one.node, other.node
        ))
    }
}

/// The highest state index that anybody showed.
fn highest(heard: &Heard) -> u64 {
    let shown = heard.replies.iter().map(|reply| reply.state_index);
    let refused = heard
        .failures
        .iter()
        .filter_map(|(_, failure)| refusal(failure))
        .map(|(_, at)| at);
    shown.chain(refused).max().unwrap_or_default()
}

/// Sends one node its form of the request and checks what it signed.
pub(super) fn ask(
    node: Arc<Node>,
    requests: &Requests,
    body: bool,
    within: Duration,
) -> impl Future<Output = Result<Reply, Failure>> + Send + 'static {
    let (bytes, request_hash) = if body {
        requests.with_body.clone()
    } else {
        requests.without.clone()
    };
    let (client_key, min_index) = (requests.client_key, requests.min_index);
    async move {
        let answered = node.request(bytes, within).await?;
        Reply::verify(
            answered,
            Asked {
                client_key: &client_key,
                request_hash: &request_hash,
                min_index,
            },
        )
    }
}

/// Tells every node of two replies that contradict each other. Best effort: the caller is told in any case.
async fn tell_all(client: &Inner, report: v1::HeadReport) {
    let request = v1::Request {
        kind: Some(v1::request::Kind::Report(report)),
    };
    let bytes = Bytes::from(request.encode_to_vec());
    let mut telling = JoinSet::new();
    for node in &client.nodes {
        let (node, bytes) = (node.clone(), bytes.clone());
        telling.spawn(async move { node.request(bytes, REPORT_WITHIN).await.map(|_| ()) });
    }
    let all = async { while telling.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(REPORT_WITHIN, all).await;
}
