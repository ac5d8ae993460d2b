//! The release path: catch up, decide, record, release; as `symbolon-node`'s `release`, step by step.

use super::{Member, error};
use crate::grants::Key;
use crate::history::{Moment, Release, What};
use crate::limits::GROUP_MAX;
use bytes::Bytes;
use core::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use symbolon_consensus::{StoreFault, Unapplied};
use symbolon_crypto::Hash;
use symbolon_custody::fragments::Released;
use symbolon_custody::freshness::{Deadline, Interest, harmless};
use symbolon_custody::gate::{
    self, Asker, AuditFailed, AuditLog as Log, GrantError, Receipt, Recorded, ReleaseGrant, Ruling, Scene,
};
use symbolon_custody::replies::{Group, body, leaf_of, refused};
use symbolon_policy::Action;
use symbolon_state::records::VersionRecord;
use symbolon_state::{Fault, Subject, query};
use symbolon_store::AuditLog;
use symbolon_wire::Code;
use symbolon_wire::path::Path;
use symbolon_wire::reply::{ReleasedFragment, ResponseFrame, encode_response};
use symbolon_wire::v1::{self, response};
use tokio::sync::oneshot;

/// Where every request comes from: the simulation has no addresses.
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The only group that nodes agree to.
const GROUP: &str = "X25519MLKEM768";
/// Clients compare chain values at multiples of this.
const ANCHOR_EVERY: u64 = 256;
/// A pause between two looks at what is applied.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Who asks.
#[derive(Debug, Clone)]
pub(super) struct Client {
    /// The key that the connection showed.
    pub(super) key: Hash,
    /// When the request had arrived whole.
    pub(super) arrived: Moment,
}

/// One request for a fragment.
struct Read {
    client: Client,
    request_hash: Hash,
    request: v1::ReadRequest,
    deadline: Deadline,
}

/// An answer, and whether a fragment is in it.
type Answered = (ResponseFrame, bool);

enum Waiting {
    Release {
        read: Box<Read>,
        sensitive: u64,
        decided_at: u64,
        respond: oneshot::Sender<Answered>,
    },
    Answer(oneshot::Sender<Result<Recorded, v1::Error>>),
}

/// A decision and who waits for it.
pub(crate) struct Job {
    ruling: Ruling,
    waiting: Waiting,
}

/// The audit log as the gate needs it.
struct Durable<'a> {
    log: &'a AuditLog,
}

impl Log for Durable<'_> {
    async fn append(&self, leaves: Vec<Bytes>) -> Result<u64, AuditFailed> {
        let failed = |fault: StoreFault| AuditFailed {
            reason: fault.to_string(),
        };
        let leaves: Vec<Vec<u8>> = leaves.into_iter().map(|leaf| leaf.to_vec()).collect();
        let appended = self.log.append(&leaves).map_err(failed)?;
        let first = appended.first;
        appended.durable().await.map_err(failed)?;
        Ok(first)
    }
}

fn asker<'a>(client: &'a Client, request_hash: &'a Hash, purpose: &'a str) -> Asker<'a> {
    Asker {
        client_key: &client.key,
        source: SOURCE,
        tls_group: GROUP,
        request_hash,
        purpose,
    }
}

impl Read {
    fn rule(&self, scene: &Scene<'_>) -> Result<Ruling, Fault> {
        let asker = asker(&self.client, &self.request_hash, &self.request.purpose);
        gate::rule_read(scene, &asker, &self.request.path, self.request.version)
    }
}

/// Answers one read.
pub(super) async fn read(
    member: &Arc<Member>,
    client: Client,
    request_hash: Hash,
    request: v1::ReadRequest,
) -> Answered {
    let deadline = Deadline::start(member.clock.boot_ms());
    let interested = Interested::new(member, &client, &request.path);
    if let Err(error) = catch_up(member, request.min_index, deadline, interested.as_ref()).await {
        return failed(error);
    }
    let read = Box::new(Read {
        client,
        request_hash,
        request,
        deadline,
    });
    let (respond, response) = oneshot::channel();
    if let Err((error, respond)) = decide(member, read, respond) {
        let _ = respond.send(failed(error));
    }
    response.await.unwrap_or_else(|_| failed(stopping()))
}

type Undecided = (v1::Error, oneshot::Sender<Answered>);

/// Decides on the newest state and queues the decision to be written down.
fn decide(member: &Member, read: Box<Read>, respond: oneshot::Sender<Answered>) -> Result<(), Undecided> {
    let ruled = member.on_scene(|scene, sensitive| {
        let ruling = read.rule(scene)?;
        Ok::<_, Fault>((ruling, sensitive, scene.state_index))
    });
    let (ruling, sensitive, decided_at) = match ruled {
        Ok(ruled) => ruled,
        Err(fault) => return Err((broken(&fault), respond)),
    };
    let waiting = Waiting::Release {
        read,
        sensitive,
        decided_at,
        respond,
    };
    if let Err(refused) = member.jobs.try_send(Job { ruling, waiting }) {
        refused
            .into_inner()
            .waiting
            .fail(&error(Code::Overloaded, "too many decisions wait"));
    }
    Ok(())
}

/// What must be known of a path before it is written.
pub(super) async fn resolve(
    member: &Arc<Member>,
    client: &Client,
    request_hash: &Hash,
    request: v1::ResolveRequest,
) -> Result<v1::ResolveReply, v1::Error> {
    let deadline = Deadline::start(member.clock.boot_ms());
    catch_up(member, request.min_index, deadline, None).await?;
    let path = Path::parse(&request.path).map_err(|bad| error(Code::BadPath, bad.to_string()))?;
    let ruling = member.on_scene(|scene, _| {
        let asker = asker(client, request_hash, "");
        gate::rule_answer(scene, &asker, Action::Write, Some(&request.path), false)
    });
    let ruling = ruling.map_err(|fault| broken(&fault))?;
    let (respond, response) = oneshot::channel();
    let job = Job {
        ruling,
        waiting: Waiting::Answer(respond),
    };
    let full = |_| error(Code::Overloaded, "too many decisions wait");
    member.jobs.try_send(job).map_err(full)?;
    let subject: Subject = match response.await.unwrap_or_else(|_| Err(stopping()))? {
        Recorded::Answered(subject, _) => subject,
        Recorded::Refused(refusal, receipt) => return Err(refused(refusal, &receipt)),
        Recorded::Permitted(..) => return Err(error(Code::Internal, "an answer became a release")),
    };
    member
        .on_scene(|scene, _| {
            let found = query::secret_at(scene.view, subject.tenant, &path)?;
            let (secret, latest) = match &found {
                Some((id, secret)) => (Bytes::copy_from_slice(id.bytes()), secret.latest),
                None => (Bytes::new(), 0),
            };
            Ok(v1::ResolveReply {
                tenant: Bytes::copy_from_slice(subject.tenant.bytes()),
                principal: Bytes::copy_from_slice(subject.id.bytes()),
                secret,
                latest,
                log_time_ms: scene.log_time_ms,
                name: subject.record.name.clone(),
                state_index: scene.state_index,
                ..v1::ResolveReply::default()
            })
        })
        .map_err(|fault: Fault| broken(&fault))
}

/// What a read depends on, looked up before waiting, so that unrelated writes need not be waited for.
struct Interested<'a> {
    client_key: &'a Hash,
    path: &'a str,
    subject: Subject,
    secret: Option<symbolon_wire::ids::SecretId>,
}

impl<'a> Interested<'a> {
    fn new(member: &Member, client: &'a Client, path: &'a str) -> Option<Self> {
        // Only where something is unapplied does it matter.
        let progress = member.consensus.progress();
        if progress.reached(progress.sample()) {
            return None;
        }
        let (subject, secret) = member.on_scene(|scene, _| {
            let subject = query::principal_by_key(scene.view, &client.key, gate::later_clock(scene)).ok()??;
            let parsed = Path::parse(path).ok()?;
            let found = query::secret_at(scene.view, subject.tenant, &parsed).ok()?;
            Some((subject, found.map(|(id, _)| id)))
        })?;
        Some(Self {
            client_key: &client.key,
            path,
            subject,
            secret,
        })
    }

    fn interest(&self) -> Interest<'_> {
        Interest {
            client_key: self.client_key,
            principal: Some(self.subject.id),
            path: self.path,
            secret: self.secret,
        }
    }
}

/// Steps 1 to 3 of custody.md, "Freshness": sample what is accepted and wait until it is applied, unless nothing
/// unapplied matters.
async fn catch_up(
    member: &Member,
    min_index: u64,
    deadline: Deadline,
    interested: Option<&Interested<'_>>,
) -> Result<(), v1::Error> {
    if !member.announced.load(Ordering::Relaxed) {
        return Err(error(Code::Booting, "the node has booted and does not take part yet"));
    }
    if let Some(code) = member.refusal() {
        return Err(error(code, format!("node {} does not serve", member.node)));
    }
    let progress = member.consensus.progress();
    let sample = progress.sample();
    let skip = interested.is_some_and(|interested| {
        let interest = interested.interest();
        let check = |entry: &Unapplied| harmless(entry.kind, &entry.payload, &interest);
        member.consensus.all_unapplied(sample, check)
    });
    let left = || Duration::from_millis(deadline.left_ms(member.clock.boot_ms()));
    let not_fresh = || error(Code::NotFresh, format!("node {} is behind its log", member.node));
    if !skip {
        let waiting = async {
            let _turn = member.turn.lock().await;
            progress.wait_applied(sample, left()).await
        };
        let waited = tokio::time::timeout(left(), waiting).await;
        waited.map_err(|_| not_fresh())?.map_err(|_| not_fresh())?;
    }
    // Looked at again and again rather than waited for: see `Member::turn`.
    while progress.applied() < min_index || progress.installing() {
        if left().is_zero() {
            return Err(not_fresh());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

fn stopping() -> v1::Error {
    error(Code::Overloaded, "the node is stopping")
}

/// State that does not read.
pub(super) fn broken(fault: &Fault) -> v1::Error {
    error(Code::Internal, fault.to_string())
}

fn failed(error: v1::Error) -> Answered {
    let response = v1::Response {
        result: Some(response::Result::Error(error)),
    };
    (encode_response(&response, None), false)
}

/// Writes decisions down group by group.
pub(super) async fn run(member: Arc<Member>, mut queue: tokio::sync::mpsc::Receiver<Job>) {
    let mut jobs = Vec::with_capacity(GROUP_MAX);
    while queue.recv_many(&mut jobs, GROUP_MAX).await > 0 {
        let (rulings, waiting): (Vec<Ruling>, Vec<Waiting>) =
            jobs.drain(..).map(|job| (job.ruling, job.waiting)).unzip();
        let log = Durable { log: &member.audit };
        match gate::record(&log, rulings).await {
            Ok(recorded) => finish(&member, recorded.into_iter().zip(waiting)),
            Err(refused) => {
                let error = error(Code::DiskFull, refused.to_string());
                for waiting in waiting {
                    waiting.fail(&error);
                }
            }
        }
    }
}

impl Waiting {
    fn fail(self, error: &v1::Error) {
        // Whoever waited may have gone.
        match self {
            Self::Release { respond, .. } => drop(respond.send(failed(error.clone()))),
            Self::Answer(respond) => drop(respond.send(Err(error.clone()))),
        }
    }
}

/// A fragment that is open, waiting for the group's signature.
struct Open {
    read: Box<Read>,
    decided_at: u64,
    record: VersionRecord,
    reply: v1::ReadReply,
    fragment: ReleasedFragment,
    leaf: Hash,
    respond: oneshot::Sender<Answered>,
}

fn finish(member: &Arc<Member>, recorded: impl Iterator<Item = (Recorded, Waiting)>) {
    let mut group = Vec::new();
    for (recorded, waiting) in recorded {
        let (read, sensitive, decided_at, respond) = match waiting {
            Waiting::Answer(respond) => {
                let _ = respond.send(Ok(recorded));
                continue;
            }
            Waiting::Release {
                read,
                sensitive,
                decided_at,
                respond,
            } => (read, sensitive, decided_at, respond),
        };
        let (permit, receipt) = match recorded {
            Recorded::Permitted(permit, receipt) => (permit, receipt),
            Recorded::Refused(refusal, receipt) => {
                let _ = respond.send(failed(refused(refusal, &receipt)));
                continue;
            }
            // A read is never answered without key material.
            Recorded::Answered(..) => continue,
        };
        // Step 5: something that the decision may depend on was applied since; decide again.
        let shown = member.shown.load();
        if shown.sensitive != sensitive && !still_allowed(member, &read, &permit) {
            if let Err((error, respond)) = decide(member, read, respond) {
                let _ = respond.send(failed(error));
            }
            continue;
        }
        match release(member, &read, permit, &receipt, shown.applied) {
            Ok((record, reply, fragment, leaf)) => group.push(Open {
                read,
                decided_at,
                record,
                reply,
                fragment,
                leaf,
                respond,
            }),
            Err(error) => drop(respond.send(failed(error))),
        }
    }
    if !group.is_empty() {
        send(member, group);
    }
}

fn still_allowed(member: &Member, read: &Read, permit: &gate::Permit) -> bool {
    let ruled = member.on_scene(|scene, _| read.rule(scene));
    matches!(ruled, Ok(ruling) if permit.stands_by(&ruling))
}

type Opened = (VersionRecord, v1::ReadReply, ReleasedFragment, Hash);

fn release(
    member: &Member,
    read: &Read,
    permit: gate::Permit,
    receipt: &Receipt,
    applied: u64,
) -> Result<Opened, v1::Error> {
    let grant = ReleaseGrant::new(permit, receipt, read.deadline, member.clock.boot_ms());
    let grant = grant.map_err(|refused| match refused {
        GrantError::TooLate => error(Code::NotFresh, "the node took too long"),
        GrantError::Mismatch => error(Code::Internal, refused.to_string()),
    })?;
    let none = |why: &str| error(Code::NoValidFragment, why);
    let at_rest = super::fragments::own_fragment(member, grant.record())
        .map_err(|fault| error(Code::Internal, fault.to_string()))?
        .ok_or_else(|| none("the node holds no fragment that checks"))?;
    let record = grant.record().clone();
    let released = member.holder.release(grant, &at_rest);
    let released = released.map_err(|bad| none(&bad.to_string()))?;
    let reply = reply(member, read, &record, &released.hash, receipt, applied)?;
    let (reply, released) = served(member, &read.request.path, reply, released);
    let leaf = leaf_of(&member.signer, &read.client.key, &read.request_hash, &reply);
    let leaf = leaf.ok_or_else(|| error(Code::Internal, "a reply has no leaf"))?;
    Ok((record, reply, released.fragment, leaf))
}

/// What a malicious node signs and sends instead.
fn served(member: &Member, path: &str, reply: v1::ReadReply, released: Released) -> (v1::ReadReply, Released) {
    let liar = member.site.liar(member.node).filter(|liar| liar.lies.on());
    let Some((lies, serving)) = liar.and_then(|liar| Some((&liar.lies, liar.serving.as_ref()?))) else {
        return (reply, released);
    };
    let (reply, released, told) = serving.bend(path, reply, released);
    if told {
        lies.count();
    }
    (reply, released)
}

fn reply(
    member: &Member,
    read: &Read,
    record: &VersionRecord,
    fragment_hash: &Hash,
    receipt: &Receipt,
    applied: u64,
) -> Result<v1::ReadReply, v1::Error> {
    let state_index = applied.max(record.log_index);
    let anchor = state_index - state_index % ANCHOR_EVERY;
    let chain = member.consensus.chain_at(anchor);
    let chain = chain.map_err(|fault| error(Code::Internal, fault.to_string()))?;
    let chain = chain.ok_or_else(|| error(Code::NotFresh, "the node has just taken over a snapshot"))?;
    Ok(v1::ReadReply {
        node: member.node.into(),
        boot_counter: member.signer.boot_counter,
        record_hash: record.record_hash.clone(),
        epoch: record.epoch,
        fragment_hash: Bytes::copy_from_slice(fragment_hash),
        state_index,
        record_index: record.log_index,
        record_chain: record.chain.clone(),
        anchor_index: anchor,
        anchor_chain: Bytes::copy_from_slice(&chain),
        version: record.version,
        audit_index: receipt.index(),
        body: read.request.body.then(|| body(record)),
        ..v1::ReadReply::default()
    })
}

/// Signs the group once and sends each reply with its path.
fn send(member: &Member, group: Vec<Open>) {
    let leaves: Vec<Hash> = group.iter().map(|open| open.leaf).collect();
    let tree = Group::new(&leaves);
    let signature = member.signing.sign(&tree.statement(&member.signer));
    let size = u64::try_from(leaves.len()).unwrap_or(u64::MAX);
    for (index, open) in (0_u64..).zip(group) {
        let Some(path) = tree.path(index) else {
            let _ = open.respond.send(failed(error(Code::Internal, "the node cannot sign")));
            continue;
        };
        note(member, &open);
        let mut reply = open.reply;
        reply.group_size = size;
        reply.group_index = index;
        reply.group_path = path.iter().map(|hash| Bytes::copy_from_slice(hash)).collect();
        reply.group_signature = Bytes::copy_from_slice(&signature);
        let response = v1::Response {
            result: Some(response::Result::Read(reply)),
        };
        let _ = open
            .respond
            .send((encode_response(&response, Some(&open.fragment)), true));
    }
}

fn note(member: &Member, open: &Open) {
    let (client, request) = (&open.read.client, &open.read.request);
    let agent = member.site.agents.get(&client.key).copied();
    let key = Key::all().into_iter().find(|key| key.path() == request.path);
    let (Some(agent), Some(key)) = (agent, key) else {
        return member.blame(format!("a release of {} to a stranger", request.path));
    };
    member.recorder().note(What::Released(Release {
        node: member.node,
        agent,
        key,
        version: open.record.version,
        record: open.record.record_hash.as_ref().try_into().unwrap_or_default(),
        arrived: client.arrived,
        state_index: open.decided_at,
        request: open.read.request_hash,
        client_key: client.key,
        audit_index: open.reply.audit_index,
    }));
}
