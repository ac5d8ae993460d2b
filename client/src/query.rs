//! Questions other than reading a value. What the cluster agrees on is asked of t nodes and compared, as values are
//! (authority.md, "Audit"); what is a node's own is asked of that node.

use crate::client::{Client, Inner};
use crate::error::{Error, Misdeed};
use crate::hello::Boot;
use crate::limits::{FRESH_WITHIN, OTHERS_WITHIN, TIMES_APART_MS_MAX};
use crate::node::{Failure, Node};
use crate::round::{Event, Round, Standing, standing};
use crate::submit::Submitted;
use crate::verdict::{Tried, conclude, refusal};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use symbolon_crypto::Hash;
use symbolon_wire::ids::PrincipalId;
use symbolon_wire::limits::{AUDIT_PAGE_MAX, LIST_MAX};
use symbolon_wire::path::{BadPath, Path};
use symbolon_wire::v1::command_body::Payload;
use symbolon_wire::v1::request::Kind;
use symbolon_wire::v1::response::Result as Answer;
use symbolon_wire::{Code, Message, v1};
use tokio::task::JoinSet;

/// An answer of one kind.
pub(crate) trait OfKind: Message + Default + Sized + Send + 'static {
    fn of(answer: Answer) -> Option<Self>;
}

/// An answer that every node gives alike from the same state.
pub(crate) trait Alike: OfKind {
    fn state_index(&self) -> u64;
    /// Takes out what may differ from state to state.
    fn without_index(self) -> Self;
}

macro_rules! of_kind {
    ($($reply:ty = $variant:ident;)*) => {
        $(impl OfKind for $reply {
            fn of(answer: Answer) -> Option<Self> {
                match answer { Answer::$variant(reply) => Some(reply), _ => None }
            }
        })*
    };
}

macro_rules! alike {
    ($($reply:ty;)*) => {
        $(impl Alike for $reply {
            fn state_index(&self) -> u64 { self.state_index }
            fn without_index(self) -> Self { Self { state_index: 0, ..self } }
        })*
    };
}

of_kind! {
    v1::ListReply = List;
    v1::MetadataReply = Metadata;
    v1::PoliciesReply = Policies;
    v1::PrincipalsReply = Principals;
    v1::ResolveReply = Resolve;
    v1::StatusReply = Status;
    v1::AuditReply = Audit;
    v1::AnchorReply = Anchor;
    v1::ProofReply = Proof;
    v1::WatchReply = Watch;
    v1::OutcomesReply = Outcomes;
}

alike! {
    v1::ListReply;
    v1::MetadataReply;
    v1::PoliciesReply;
    v1::PrincipalsReply;
}

impl Alike for v1::ResolveReply {
    fn state_index(&self) -> u64 {
        self.state_index
    }

    fn without_index(self) -> Self {
        Self {
            state_index: 0,
            log_time_ms: 0,
            ..self
        }
    }
}

/// Which part of an audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditRange {
    /// From this index on, at most so many.
    From {
        /// The first index.
        index: u64,
        /// At most so many leaves, at most [`AUDIT_PAGE_MAX`].
        limit: u32,
    },
    /// The last ones.
    Tail {
        /// So many leaves, at most [`AUDIT_PAGE_MAX`].
        limit: u32,
    },
}

/// A part of a node's audit log, as it gave it: nothing but the boot statements is verified ([`crate::audit`] does).
#[derive(Debug, Clone)]
pub struct AuditPage {
    /// The node.
    pub node: u16,
    /// Index of the first leaf.
    pub from: u64,
    /// Encoded [`v1::AuditLeaf`]s.
    pub leaves: Vec<Bytes>,
    /// The latest checkpoint, a signed note.
    pub checkpoint: Bytes,
    /// The boots whose keys signed checkpoints, each signed by the node's identity key.
    pub boots: Vec<Boot>,
    /// Their statements as given.
    pub statements: Vec<v1::BootKeys>,
    /// In place of leaves that are in the node's archive alone, and not there now: their hashes.
    pub archived: Vec<Hash>,
}

impl Client {
    /// One page of the folder at `path` (empty: the tenant's root): names after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`Code::BadPath`]; what [`Client::get`] gives for nodes.
    pub async fn list(&self, path: &str, after: &str, limit: u32) -> Result<v1::ListReply, Error> {
        if !path.is_empty() {
            parse(path)?;
        }
        let limit = limit.min(LIST_MAX);
        let (path, after) = (path.to_owned(), after.to_owned());
        self.inner
            .agreed(
                &format!("list {}", if path.is_empty() { "/" } else { &path }),
                |nonce, min_index| {
                    Kind::List(v1::ListRequest {
                        nonce,
                        path: path.clone(),
                        min_index,
                        after: after.clone(),
                        limit,
                    })
                },
            )
            .await
    }

    /// The versions of the secret at `path`.
    ///
    /// # Errors
    /// As [`Client::list`].
    pub async fn metadata(&self, path: &str) -> Result<v1::MetadataReply, Error> {
        let path = parse(path)?.as_str().to_owned();
        self.inner
            .agreed(&format!("look at {path}"), |nonce, min_index| {
                Kind::Metadata(v1::MetadataRequest {
                    nonce,
                    path: path.clone(),
                    min_index,
                })
            })
            .await
    }

    /// The policies in force.
    ///
    /// # Errors
    /// What [`Client::get`] gives for nodes.
    pub async fn policies(&self) -> Result<v1::PoliciesReply, Error> {
        let ask = |_, min_index| Kind::Policies(v1::PoliciesRequest { min_index });
        self.inner.agreed("show the policies", ask).await
    }

    /// The principals.
    ///
    /// # Errors
    /// What [`Client::get`] gives for nodes.
    pub async fn principals(&self) -> Result<v1::PrincipalsReply, Error> {
        let ask = |_, min_index| Kind::Principals(v1::PrincipalsRequest { min_index });
        self.inner.agreed("show the principals", ask).await
    }

    /// Replaces the policies. `previous` is the version of the set that this one follows; `None`: whatever is in force.
    ///
    /// # Errors
    /// What apply recorded ([`Code::TooFewSignatures`] where the roster asks for several operators: build, sign and
    /// submit the command instead); what [`Client::get`] gives for nodes.
    pub async fn set_policies(
        &self,
        previous: Option<u64>,
        sources: Vec<v1::PolicySource>,
    ) -> Result<Submitted, Error> {
        let previous = match previous {
            Some(previous) => previous,
            None => self.policies().await?.version,
        };
        let payload = Payload::Policies(v1::SetPolicies { previous, sources });
        self.inner.command("set the policies", payload).await
    }

    /// Registers a principal.
    ///
    /// # Errors
    /// As [`Client::set_policies`].
    pub async fn register(&self, register: v1::RegisterPrincipal) -> Result<Submitted, Error> {
        let what = format!("register {}", register.name);
        self.inner.command(&what, Payload::Register(register)).await
    }

    /// Removes a principal; its id, name and keys are never used again.
    ///
    /// # Errors
    /// As [`Client::set_policies`].
    pub async fn remove(&self, id: PrincipalId) -> Result<Submitted, Error> {
        let payload = Payload::Remove(v1::RemovePrincipal {
            id: Bytes::copy_from_slice(id.bytes()),
        });
        self.inner.command(&format!("remove principal {id}"), payload).await
    }

    /// Replaces a principal's keys by these, each a DER SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// As [`Client::set_policies`].
    pub async fn rekey(&self, id: PrincipalId, keys: Vec<Bytes>) -> Result<Submitted, Error> {
        let payload = Payload::Rekey(v1::RekeyPrincipal {
            id: Bytes::copy_from_slice(id.bytes()),
            keys,
        });
        self.inner.command(&format!("rekey principal {id}"), payload).await
    }

    /// What each node says of itself, in ascending index.
    pub async fn status(&self) -> Vec<(u16, Result<v1::StatusReply, Error>)> {
        self.inner.status().await
    }

    /// A part of one node's audit log.
    ///
    /// # Errors
    /// What the node answers; [`Code::NotTheNode`] if a boot statement does not verify; [`Code::Local`] for a node that
    /// the roster does not have.
    pub async fn audit(&self, node: u16, range: AuditRange) -> Result<AuditPage, Error> {
        let inner = &self.inner;
        let unknown = || Error::new(Code::Usage, format!("the roster has no node {node}"));
        let asked = inner.node(node).ok_or_else(unknown)?;
        let request = match range {
            AuditRange::From { index, limit } => v1::AuditRequest {
                from: index,
                limit: limit.min(AUDIT_PAGE_MAX),
                tail: false,
            },
            AuditRange::Tail { limit } => v1::AuditRequest {
                from: 0,
                limit: limit.min(AUDIT_PAGE_MAX),
                tail: true,
            },
        };
        let reply: v1::AuditReply = ask(asked, encode(Kind::Audit(request)), inner.net.options.request_timeout)
            .await
            .map_err(Failure::into_error)?;
        let archived = reply.archived.iter().map(|hash| Hash::try_from(hash.as_ref()));
        let not_an_answer = |_| Error::at_fault(node, Misdeed::NotAnAnswer);
        let archived: Vec<Hash> = archived.collect::<Result<_, _>>().map_err(not_an_answer)?;
        let entries = reply.leaves.len() + archived.len();
        let too_many = entries > usize::try_from(request.limit).unwrap_or(usize::MAX);
        let mixed = !reply.leaves.is_empty() && !archived.is_empty();
        let endless = reply.from.checked_add(entries as u64).is_none();
        if mixed || too_many || endless || (!request.tail && reply.from != request.from) {
            return Err(Error::at_fault(node, Misdeed::NotAnAnswer));
        }
        let boots = reply
            .boots
            .iter()
            .map(|statement| Boot::verify(&inner.net.roster, node, statement));
        let boots = boots
            .collect::<Result<_, _>>()
            .map_err(|bad| Error::at_fault(node, Misdeed::NotTheNode).because(bad.to_string()))?;
        Ok(AuditPage {
            node,
            from: reply.from,
            leaves: reply.leaves,
            checkpoint: reply.checkpoint,
            boots,
            statements: reply.boots,
            archived,
        })
    }
}

fn parse(path: &str) -> Result<Path, Error> {
    Path::parse(path).map_err(|bad: BadPath| Error::new(Code::BadPath, bad.to_string()))
}

pub(crate) fn encode(kind: Kind) -> Bytes {
    v1::Request { kind: Some(kind) }.encode_to_vec().into()
}

/// Asks one node something that changes nothing. A connection that turns out to be dead (its node was restarted) costs one
/// more attempt, over a new one.
pub(crate) async fn ask<T: OfKind>(node: Arc<Node>, bytes: Bytes, within: Duration) -> Result<T, Failure> {
    let stood = node.connected();
    let answered = match node.request(bytes.clone(), within).await {
        Err(failure) if stood && failure.error().code == Code::Unreachable => node.request(bytes, within).await?,
        answered => answered?,
    };
    T::of(answered.answer).ok_or_else(|| Failure::AtFault(Error::at_fault(node.index, Misdeed::NotAnAnswer)))
}

/// An answer as it is compared: without its state index, encoded.
struct Shown<T> {
    node: u16,
    content: Vec<u8>,
    state_index: u64,
    reply: T,
}

impl<T: Alike + Clone> Shown<T> {
    fn new(node: u16, reply: T) -> Self {
        let content = reply.clone().without_index().encode_to_vec();
        Self {
            node,
            content,
            state_index: reply.state_index(),
            reply,
        }
    }
}

/// How a round of questions ended.
enum End<T> {
    Agreed(T),
    Behind { highest: u64, shown: String },
}

impl Inner {
    /// Asks one node; a failure is its own.
    pub(crate) async fn ask_node<T: OfKind>(&self, node: u16, kind: Kind) -> Result<T, Error> {
        let unknown = || Error::new(Code::Usage, format!("the roster has no node {node}"));
        let asked = self.node(node).ok_or_else(unknown)?;
        ask(asked, encode(kind), self.net.options.request_timeout)
            .await
            .map_err(Failure::into_error)
    }

    /// Asks all nodes at once and gives each so long; answers in the order in which they come.
    pub(crate) async fn ask_all<T: OfKind>(&self, kind: Kind, within: Duration) -> Vec<(u16, Result<T, Error>)> {
        let bytes = encode(kind);
        let mut asking = JoinSet::new();
        for node in &self.nodes {
            let (node, bytes) = (node.clone(), bytes.clone());
            asking.spawn(async move { (node.index, ask::<T>(node, bytes, within).await) });
        }
        let mut answers = Vec::with_capacity(self.nodes.len());
        while let Some(joined) = asking.join_next().await {
            answers.extend(
                joined
                    .ok()
                    .map(|(node, answer)| (node, answer.map_err(Failure::into_error))),
            );
        }
        answers
    }

    /// What each node says of itself; on the way, who leads and what time the log has.
    pub(crate) async fn status(self: &Arc<Self>) -> Vec<(u16, Result<v1::StatusReply, Error>)> {
        self.statuses(None).await
    }

    /// Learns log time anew. A node that says nothing is not waited for: one that has misled this client about the time would go on to.
    pub(crate) async fn ask_the_time(self: &Arc<Self>) {
        self.statuses(Some(OTHERS_WITHIN)).await;
    }

    async fn statuses(self: &Arc<Self>, patience: Option<Duration>) -> Vec<(u16, Result<v1::StatusReply, Error>)> {
        let bytes = encode(Kind::Status(v1::StatusRequest {}));
        let within = self.net.options.request_timeout;
        let mut asking = JoinSet::new();
        for node in &self.nodes {
            let (node, bytes) = (node.clone(), bytes.clone());
            asking.spawn(async move { (node.index, ask::<v1::StatusReply>(node, bytes, within).await) });
        }
        let mut answers = Vec::with_capacity(self.nodes.len());
        let mut until: Option<tokio::time::Instant> = None;
        loop {
            let joined = match until {
                Some(until) => tokio::time::timeout_at(until, asking.join_next()).await.unwrap_or(None),
                None => asking.join_next().await,
            };
            let Some(joined) = joined else { break };
            answers.extend(joined.ok());
            if let Some(patience) = patience.filter(|_| until.is_none() && self.agree_on_the_time(&answers)) {
                until = Some(tokio::time::Instant::now() + patience);
            }
        }
        answers.sort_by_key(|(node, _)| *node);
        let replies = answers.iter().filter_map(|(_, answer)| answer.as_ref().ok());
        let leader = named_by(self.threshold(), replies.map(|reply| (reply.term, reply.leader)));
        self.leader
            .store(u16::try_from(leader).unwrap_or_default(), Ordering::Relaxed);
        let times = times(&answers);
        // The lower median of more than two lies between honest ones' for any one liar; of two, it may be the liar's, but never beyond the
        // other's. Fewer than t may be one that lies.
        if let Some(time) = times.get(times.len().saturating_sub(1) / 2) {
            match times.len() >= self.threshold() {
                true => self.clock.heard(*time),
                false => self.clock.heard_from_one(*time),
            }
        }
        answers
            .into_iter()
            .map(|(node, answer)| (node, answer.map_err(Failure::into_error)))
            .collect()
    }

    /// Whether t nodes name about the same time: then the others are not needed for it.
    fn agree_on_the_time(&self, answers: &[(u16, Result<v1::StatusReply, Failure>)]) -> bool {
        let close = |times: &[u64]| match times {
            [first, .., last] => last - first <= TIMES_APART_MS_MAX,
            _ => true,
        };
        times(answers).windows(self.threshold()).any(close)
    }

    /// The first usable answer, with whoever gave it.
    pub(crate) async fn first<T: OfKind>(self: &Arc<Self>, what: &str, kind: Kind) -> Result<(u16, T), Error> {
        let bytes = encode(kind);
        let within = self.net.options.request_timeout;
        let asking = |node| ask::<T>(node, bytes.clone(), within);
        let mut round = Round::new(self.ranked(&[]), &self.spares.questions);
        round.ask(asking);
        let mut failures = Vec::new();
        loop {
            match round.next().await {
                Event::From(node, Ok(answer)) => return Ok((node, answer)),
                Event::From(node, Err(failure)) => {
                    failures.push((node, failure));
                    round.ask(asking);
                }
                Event::Slow => {
                    round.ask(asking);
                }
                Event::Idle => {
                    let tried = Tried {
                        what,
                        needed: 1,
                        answered: 0,
                        threshold: self.threshold(),
                        blocking: self.blocking(),
                    };
                    return Err(conclude(&tried, failures, Vec::new()));
                }
            }
        }
    }

    /// An answer that t nodes give alike; `kind` makes the request from a nonce and the least state index.
    pub(crate) async fn agreed<T: Alike + Clone>(
        self: &Arc<Self>,
        what: &str,
        kind: impl Fn(Bytes, u64) -> Kind,
    ) -> Result<T, Error> {
        let (mut min_index, mut fresh_by, mut first) = (0, None, true);
        loop {
            let nonce: [u8; 32] = rand::random();
            let bytes = encode(kind(Bytes::copy_from_slice(&nonce), min_index));
            match self.agreed_round(what, bytes, min_index, first).await? {
                End::Agreed(reply) => return Ok(reply),
                End::Behind { highest, shown } => {
                    let now = Instant::now();
                    if now >= *fresh_by.get_or_insert(now + FRESH_WITHIN) {
                        return Err(
                            Error::new(Code::NotFresh, format!("cannot {what}: nodes do not agree in time"))
                                .because(shown)
                                .next("symbolon status"),
                        );
                    }
                    if highest <= min_index {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    min_index = highest.max(min_index);
                }
            }
            first = false;
        }
    }

    async fn agreed_round<T: Alike + Clone>(
        self: &Arc<Self>,
        what: &str,
        bytes: Bytes,
        min_index: u64,
        first: bool,
    ) -> Result<End<T>, Error> {
        let within = self.net.options.request_timeout;
        let asking = |node| ask::<T>(node, bytes.clone(), within);
        let mut round = Round::new(self.ranked(&[]), &self.spares.questions);
        for _ in 0..self.threshold() {
            round.ask(asking);
        }
        let mut shown: Vec<Shown<T>> = Vec::new();
        let mut failures: Vec<(u16, Failure)> = Vec::new();
        loop {
            match round.next().await {
                Event::From(node, Ok(reply)) => shown.push(Shown::new(node, reply)),
                Event::From(node, Err(failure)) => failures.push((node, failure)),
                Event::Slow => {
                    round.ask(asking);
                    continue;
                }
                Event::Idle => {}
            }
            let keys: Vec<(&[u8], u64)> = shown
                .iter()
                .map(|one| (one.content.as_slice(), one.state_index))
                .collect();
            let refused = failures
                .iter()
                .filter_map(|(_, failure)| refusal(failure))
                .map(|(_, at)| at);
            let highest = shown
                .iter()
                .map(|one| one.state_index)
                .chain(refused)
                .max()
                .unwrap_or_default();
            match standing(&keys, self.threshold()) {
                Standing::Agreed(members) => {
                    let place = members.first().copied().unwrap_or_default();
                    if place < shown.len() {
                        return Ok(End::Agreed(shown.swap_remove(place).reply));
                    }
                }
                Standing::Split if round.waits() => {}
                Standing::Split if first && highest > min_index => return Ok(behind(&shown, highest)),
                Standing::Split => {
                    if !round.ask(asking) {
                        return Ok(behind(&shown, highest));
                    }
                }
                Standing::Few => {
                    let coming = shown.len() + round.pending();
                    if coming < self.threshold() && round.ask(asking) || round.waits() {
                        continue;
                    }
                    let late = failures.iter().filter_map(|(_, failure)| refusal(failure));
                    if highest > min_index && late.map(|(_, at)| at).any(|at| at != 0 && at < highest) {
                        return Ok(behind(&shown, highest));
                    }
                    let tried = Tried {
                        what,
                        needed: self.threshold(),
                        answered: shown.len(),
                        threshold: self.threshold(),
                        blocking: self.blocking(),
                    };
                    return Err(conclude(&tried, failures, Vec::new()));
                }
            }
        }
    }
}

/// The log times that nodes name, ascending.
fn times(answers: &[(u16, Result<v1::StatusReply, Failure>)]) -> Vec<u64> {
    let told = answers.iter().filter_map(|(_, answer)| answer.as_ref().ok());
    let mut times: Vec<u64> = told.map(|reply| reply.log_time_ms).collect();
    times.sort_unstable();
    times
}

/// Who leads, as `threshold` nodes say alike, in the latest term of which they do; 0: nobody.
fn named_by(threshold: usize, named: impl Iterator<Item = (u64, u32)>) -> u32 {
    let mut named: Vec<_> = named.collect();
    named.sort_unstable();
    let alike = named.chunk_by(|one, other| one == other);
    let latest = alike.rev().find(|names| names.len() >= threshold);
    latest.and_then(|names| names.first()).map_or(0, |(_, leader)| *leader)
}

fn behind<T>(shown: &[Shown<T>], highest: u64) -> End<T> {
    let each = shown
        .iter()
        .map(|one| format!("node {} answers from log index {}", one.node, one.state_index));
    End::Behind {
        highest,
        shown: each.collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::named_by;

    #[test]
    fn one_node_that_claims_a_later_term_does_not_say_who_leads() {
        assert_eq!(named_by(2, [(3, 1), (9, 3), (3, 1)].into_iter()), 1);
        assert_eq!(named_by(2, [(3, 1), (4, 2), (4, 2)].into_iter()), 2);
        assert_eq!(named_by(2, [(3, 1), (4, 2)].into_iter()), 0);
    }
}
