//! The release path: catch up, decide, record, release. Decisions that wait at the same time share one audit sync and
//! one signature.

use crate::clocks::boot_ms;
use crate::fragments::own_fragment;
use crate::intake::{LargeReply, Room, is_large};
use crate::member::{Member, count, error};
use bytes::Bytes;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use symbolon_consensus::{Sample, Unapplied};
use symbolon_crypto::Hash;
use symbolon_custody::freshness::{Deadline, Interest, harmless};
use symbolon_custody::gate::{self, Asker, GrantError, Receipt, Recorded, ReleaseGrant, Ruling, Scene};
use symbolon_custody::replies::{Group, body, leaf_of, receipt_leaf, refused};
use symbolon_state::query;
use symbolon_state::records::VersionRecord;
use symbolon_state::{Fault, Subject};
use symbolon_wire::path::Path;
use symbolon_wire::reply::{ReleasedFragment, ResponseFrame, encode_response};
use symbolon_wire::v1::{self, response};
use symbolon_wire::{Code, tls};
use tokio::sync::{mpsc, oneshot};

/// Decisions that share one sync and one signature at most.
const GROUP_MAX: usize = 256;
/// Decisions that may wait; past it the node answers `Overloaded`.
const WAITING_MAX: usize = 4_096;

/// Who asks, owned for as long as the request lives.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// The key that the connection showed.
    pub(crate) key: Hash,
    /// Where from.
    pub(crate) source: IpAddr,
    /// What its connection may occupy.
    pub(crate) room: Arc<Room>,
}

/// One request for a fragment.
pub(crate) struct Read {
    client: Client,
    request_hash: Hash,
    request: v1::ReadRequest,
    deadline: Deadline,
}

/// What waits for its audit record.
enum Waiting {
    Release {
        read: Box<Read>,
        sensitive: u64,
        respond: oneshot::Sender<ResponseFrame>,
    },
    Answer(oneshot::Sender<Result<Recorded, v1::Error>>),
}

/// A decision and who waits for it.
struct Job {
    ruling: Ruling,
    waiting: Waiting,
}

/// Takes decisions in; one task writes them down group by group.
#[derive(Clone)]
pub(crate) struct Releases {
    jobs: mpsc::Sender<Job>,
}

impl Read {
    fn asker(&self) -> Asker<'_> {
        Asker {
            client_key: &self.client.key,
            source: self.client.source,
            tls_group: tls::GROUP,
            request_hash: &self.request_hash,
            purpose: &self.request.purpose,
        }
    }

    fn rule(&self, scene: &Scene<'_>) -> Result<Ruling, Fault> {
        gate::rule_read(scene, &self.asker(), &self.request.path, self.request.version)
    }
}

impl Releases {
    /// Starts the task that records and releases.
    pub(crate) fn start(member: Arc<Member>) -> Self {
        let (jobs, queue) = mpsc::channel(WAITING_MAX);
        let releases = Self { jobs };
        tokio::spawn(run(member, queue, releases.clone()));
        releases
    }

    /// Answers one read; a large value's answer comes with the room that it takes until the client has it.
    pub(crate) async fn read(
        &self,
        member: &Arc<Member>,
        client: Client,
        request_hash: Hash,
        request: v1::ReadRequest,
    ) -> (ResponseFrame, Option<LargeReply>) {
        let mut read = Box::new(Read {
            client,
            request_hash,
            request,
            deadline: Deadline::start(boot_ms()),
        });
        let (ruling, sensitive, large) = match self.decide(member, &mut read).await {
            Ok(decided) => decided,
            Err(error) => return (failed(error), None),
        };
        let (respond, response) = oneshot::channel();
        let queued = self.queue(Job {
            ruling,
            waiting: Waiting::Release {
                read,
                sensitive,
                respond,
            },
        });
        if let Err(error) = queued {
            return (failed(error), None);
        }
        (response.await.unwrap_or_else(|_| failed(stopping())), large)
    }

    /// Catches up and rules. A ruling holds the record with its ciphertext: where that is large and there is no room for it,
    /// the ruling is let go, and made anew once there is.
    async fn decide(&self, member: &Member, read: &mut Read) -> Result<(Ruling, u64, Option<LargeReply>), v1::Error> {
        let mut large: Option<LargeReply> = None;
        loop {
            read.deadline = Deadline::start(boot_ms());
            let interest = Interested::new(member, &read.client, &read.request.path);
            catch_up(member, read.request.min_index, read.deadline, interest.as_ref()).await?;
            let ruled = member.on_scene(|scene, sensitive| read.rule(scene).map(|ruling| (ruling, sensitive)));
            let (ruling, sensitive) = ruled?.map_err(broken)?;
            let bytes = ruling.ciphertext_bytes();
            if !is_large(bytes) || large.as_ref().is_some_and(|room| room.bytes >= bytes) {
                return Ok((ruling, sensitive, large));
            }
            drop((ruling, large.take()));
            let room = member.intake.room_for_reply(&read.client.room, bytes).await;
            large = Some(room.map_err(|_| {
                error(
                    Code::Overloaded,
                    "too many large values are on their way to clients that have not taken them",
                    "try again after a pause, with fewer at once",
                )
            })?);
        }
    }

    /// Records a decision about an answer without key material.
    pub(crate) async fn answer(&self, ruling: Ruling) -> Result<Recorded, v1::Error> {
        let (respond, response) = oneshot::channel();
        self.queue(Job {
            ruling,
            waiting: Waiting::Answer(respond),
        })?;
        response.await.unwrap_or_else(|_| Err(stopping()))
    }

    fn queue(&self, job: Job) -> Result<(), v1::Error> {
        self.jobs.try_send(job).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => error(
                Code::Overloaded,
                format!("{WAITING_MAX} decisions wait already"),
                "try again after a pause",
            ),
            mpsc::error::TrySendError::Closed(_) => stopping(),
        })
    }
}

/// What a read depends on, looked up before waiting, so that unrelated writes need not be waited for.
pub(crate) struct Interested<'a> {
    client_key: &'a Hash,
    path: &'a str,
    subject: Option<Subject>,
    secret: Option<symbolon_wire::ids::SecretId>,
}

impl<'a> Interested<'a> {
    fn new(member: &Member, client: &'a Client, path: &'a str) -> Option<Self> {
        // Only where something is unapplied does it matter.
        let progress = member.consensus.progress();
        if progress.reached(progress.sample()) {
            return None;
        }
        let found = member.on_scene(|scene, _| {
            let subject = query::principal_by_key(scene.view, &client.key, gate::later_clock(scene)).ok()??;
            let parsed = Path::parse(path).ok()?;
            let secret = query::secret_at(scene.view, subject.tenant, &parsed)
                .ok()?
                .map(|(id, _)| id);
            Some((subject, secret))
        });
        let (subject, secret) = found.ok().flatten()?;
        Some(Self {
            client_key: &client.key,
            path,
            subject: Some(subject),
            secret,
        })
    }

    fn interest(&self) -> Interest<'_> {
        Interest {
            client_key: self.client_key,
            principal: self.subject.as_ref().map(|subject| subject.id),
            path: self.path,
            secret: self.secret,
        }
    }
}

/// Steps 1 to 3 of custody.md, "Freshness": sample what is accepted and wait until it is applied, unless nothing
/// unapplied matters.
pub(crate) async fn catch_up(
    member: &Member,
    min_index: u64,
    deadline: Deadline,
    interested: Option<&Interested<'_>>,
) -> Result<(), v1::Error> {
    if let Some(code) = member.standing().refusal() {
        return Err(error(
            code,
            format!("node {} {}", member.node, member.standing().reason()),
            "",
        ));
    }
    let progress = member.consensus.progress();
    let sample: Sample = progress.sample();
    let skip = interested.is_some_and(|interested| {
        let interest = interested.interest();
        let check = |entry: &Unapplied| harmless(entry.kind, &entry.payload, &interest);
        member.consensus.all_unapplied(sample, check)
    });
    let left = || Duration::from_millis(deadline.left_ms(boot_ms()));
    if !skip {
        progress
            .wait_applied(sample, left())
            .await
            .map_err(|late| not_fresh(member, late.target, late.applied))?;
    }
    if progress.applied() < min_index {
        let reached = progress.wait_index(min_index, left()).await;
        reached.map_err(|late| not_fresh(member, late.target, late.applied))?;
    }
    Ok(())
}

fn not_fresh(member: &Member, target: u64, applied: u64) -> v1::Error {
    count(&member.counters.not_fresh);
    let message = format!(
        "node {} has applied {applied} and not {target} of its log in time",
        member.node
    );
    error(Code::NotFresh, message, "try again; if it stays, see: symbolon status")
}

fn stopping() -> v1::Error {
    error(Code::Overloaded, "the node is stopping", "ask another node")
}

/// State that does not read: the details go to the node's log, the asker learns that it is the node's fault.
pub(crate) fn broken(fault: Fault) -> v1::Error {
    tracing::error!(%fault, "state cannot be read");
    error(Code::Internal, "the node cannot read its state", "ask another node")
}

/// An error as a response frame.
pub(crate) fn failed(error: v1::Error) -> ResponseFrame {
    encode_response(
        &v1::Response {
            result: Some(response::Result::Error(error)),
        },
        None,
    )
}

async fn run(member: Arc<Member>, mut queue: mpsc::Receiver<Job>, releases: Releases) {
    let mut jobs = Vec::with_capacity(GROUP_MAX);
    while queue.recv_many(&mut jobs, GROUP_MAX).await > 0 {
        let (rulings, waiting): (Vec<Ruling>, Vec<Waiting>) =
            jobs.drain(..).map(|job| (job.ruling, job.waiting)).unzip();
        count(&member.counters.groups);
        match gate::record(member.audit.as_ref(), rulings).await {
            Ok(recorded) => finish(&member, &releases, recorded.into_iter().zip(waiting)).await,
            Err(refused) => {
                tracing::error!(%refused, "nothing is released without an audit record");
                let error = error(Code::DiskFull, refused.to_string(), "free space on the node's disk");
                for waiting in waiting {
                    waiting.fail(error.clone());
                }
            }
        }
    }
}

impl Waiting {
    fn fail(self, error: v1::Error) {
        // Whoever waited may have gone.
        match self {
            Self::Release { respond, .. } => drop(respond.send(failed(error))),
            Self::Answer(respond) => drop(respond.send(Err(error))),
        }
    }
}

/// A fragment that is open, waiting for the group's signature.
struct Open {
    reply: v1::ReadReply,
    fragment: ReleasedFragment,
    /// The reply's leaf and its receipt's.
    leaves: (Hash, Hash),
    respond: oneshot::Sender<ResponseFrame>,
}

async fn finish(member: &Arc<Member>, releases: &Releases, recorded: impl Iterator<Item = (Recorded, Waiting)>) {
    let mut group = Vec::new();
    for (recorded, waiting) in recorded {
        match waiting {
            Waiting::Answer(respond) => drop(respond.send(Ok(recorded))),
            Waiting::Release {
                read,
                sensitive,
                respond,
            } => {
                let (permit, receipt) = match recorded {
                    Recorded::Permitted(permit, receipt) => (permit, receipt),
                    Recorded::Refused(refusal, receipt) => {
                        count(&member.counters.denials);
                        drop(respond.send(failed(refused(refusal, &receipt))));
                        continue;
                    }
                    // A read is never answered without key material.
                    Recorded::Answered(..) => continue,
                };
                // Step 5: something that the decision may depend on was applied since; decide again.
                let shown = member.shown.load();
                if shown.sensitive != sensitive && !still_allowed(member, &read, &permit) {
                    if let Err((error, respond)) = releases.again(member, read, respond).await {
                        drop(respond.send(failed(error)));
                    }
                    continue;
                }
                match release(member, &read, permit, &receipt, shown.applied) {
                    Ok((reply, fragment, leaves)) => group.push(Open {
                        reply,
                        fragment,
                        leaves,
                        respond,
                    }),
                    Err(error) => drop(respond.send(failed(error))),
                }
            }
        }
    }
    if !group.is_empty() {
        send(member, group);
    }
}

impl Releases {
    /// Decides a read anew after the state moved; its answer is recorded like the first.
    async fn again(
        &self,
        member: &Member,
        read: Box<Read>,
        respond: oneshot::Sender<ResponseFrame>,
    ) -> Result<(), (v1::Error, oneshot::Sender<ResponseFrame>)> {
        let ruled = member.on_scene(|scene, sensitive| read.rule(scene).map(|ruling| (ruling, sensitive)));
        let (ruling, sensitive) = match ruled {
            Ok(Ok(ruled)) => ruled,
            Ok(Err(fault)) => return Err((broken(fault), respond)),
            Err(error) => return Err((error, respond)),
        };
        let job = Job {
            ruling,
            waiting: Waiting::Release {
                read,
                sensitive,
                respond,
            },
        };
        // A full queue must not hold up the task that empties it.
        match self.jobs.try_send(job) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(job) | mpsc::error::TrySendError::Closed(job)) => {
                job.waiting.fail(error(
                    Code::Overloaded,
                    "too many decisions wait",
                    "try again after a pause",
                ));
                Ok(())
            }
        }
    }
}

fn still_allowed(member: &Member, read: &Read, permit: &gate::Permit) -> bool {
    let ruled = member.on_scene(|scene, _| read.rule(scene));
    matches!(ruled, Ok(Ok(ruling)) if permit.stands_by(&ruling))
}

fn release(
    member: &Member,
    read: &Read,
    permit: gate::Permit,
    receipt: &Receipt,
    applied: u64,
) -> Result<(v1::ReadReply, ReleasedFragment, (Hash, Hash)), v1::Error> {
    let grant = ReleaseGrant::new(permit, receipt, read.deadline, boot_ms()).map_err(|refused| match refused {
        GrantError::TooLate => {
            count(&member.counters.not_fresh);
            error(
                Code::NotFresh,
                format!("node {} took too long", member.node),
                "try again",
            )
        }
        GrantError::Mismatch => error(Code::Internal, refused.to_string(), ""),
    })?;
    let no_fragment = |why: String| error(Code::NoValidFragment, why, "another node may hold one");
    let holder = member.holder.load_full();
    let holder = holder.ok_or_else(|| error(Code::Sealed, format!("node {} is sealed", member.node), ""))?;
    let at_rest = own_fragment(member, &holder, grant.record()).map_err(|fault| {
        tracing::error!(%fault, "an own fragment cannot be read");
        error(Code::Internal, "the node cannot read its fragment", "ask another node")
    })?;
    let at_rest = at_rest.ok_or_else(|| no_fragment(format!("node {} holds no fragment that checks", member.node)))?;
    let record = grant.record().clone();
    let released = holder
        .release(grant, &at_rest)
        .map_err(|error| no_fragment(error.to_string()))?;
    count(&member.counters.releases);
    let reply = reply(member, read, &record, &released.hash, receipt, applied)?;
    #[cfg(feature = "sabotage")]
    let (reply, released) = crate::sabotage::served(&read.request.path, reply, released);
    let leaf = leaf_of(&member.boot.signer, &read.client.key, &read.request_hash, &reply);
    let leaf = leaf.ok_or_else(|| error(Code::Internal, "a reply has no leaf", ""))?;
    let recorded = receipt_leaf(
        &member.boot.signer,
        &read.request_hash,
        receipt.index(),
        receipt.leaf_hash(),
    );
    Ok((reply, released.fragment, (leaf, recorded)))
}

fn reply(
    member: &Member,
    read: &Read,
    record: &VersionRecord,
    fragment_hash: &Hash,
    receipt: &Receipt,
    applied: u64,
) -> Result<v1::ReadReply, v1::Error> {
    // The view may be a batch ahead of what was published.
    let state_index = applied.max(record.log_index);
    let anchor = member.anchor(state_index).map_err(|fault| {
        tracing::error!(%fault, "the chain cannot be read");
        error(Code::Internal, "the node cannot read its log", "ask another node")
    })?;
    let (anchor_index, anchor_chain) = anchor.ok_or_else(|| {
        let message = format!(
            "node {} has just taken over a snapshot and cannot show its history yet",
            member.node
        );
        error(Code::NotFresh, message, "ask another node")
    })?;
    Ok(v1::ReadReply {
        node: member.node.into(),
        boot_counter: member.boot.signer.boot_counter,
        record_hash: record.record_hash.clone(),
        epoch: record.epoch,
        fragment_hash: Bytes::copy_from_slice(fragment_hash),
        state_index,
        record_index: record.log_index,
        record_chain: record.chain.clone(),
        anchor_index,
        anchor_chain: Bytes::copy_from_slice(&anchor_chain),
        version: record.version,
        audit_index: receipt.index(),
        audit_leaf: Bytes::copy_from_slice(receipt.leaf_hash()),
        body: read.request.body.then(|| body(record)),
        ..v1::ReadReply::default()
    })
}

/// Signs the group once and sends each reply with its path.
fn send(member: &Member, group: Vec<Open>) {
    let leaves: Vec<(Hash, Hash)> = group.iter().map(|open| open.leaves).collect();
    let tree = Group::with_receipts(&leaves);
    let signed = member.boot.signing.sign(&tree.statement(&member.boot.signer));
    let size = 2 * leaves.len() as u64;
    for (index, open) in (0_u64..).step_by(2).zip(group) {
        let Open {
            mut reply,
            fragment,
            respond,
            ..
        } = open;
        let frame = match (&signed, tree.path(index)) {
            (Ok(signature), Some(path)) => {
                reply.group_size = size;
                reply.group_index = index;
                reply.group_path = path.iter().map(|hash| Bytes::copy_from_slice(hash)).collect();
                reply.group_signature = Bytes::copy_from_slice(signature);
                encode_response(
                    &v1::Response {
                        result: Some(response::Result::Read(reply)),
                    },
                    Some(&fragment),
                )
            }
            _ => failed(error(Code::Internal, "the node cannot sign", "ask another node")),
        };
        // The client may have gone; the audit log keeps that it could have read.
        drop(respond.send(frame));
    }
}
