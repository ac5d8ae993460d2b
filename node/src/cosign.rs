//! Audit logs followed across nodes (authority.md, "Audit"): this node cosigns the others' checkpoints, collects
//! cosignatures for its own, and gets size and root of its log into the replicated log, where every node follows it.
//!
//! Nothing is written while nothing was decided: an idle cluster asks nobody.

use crate::audit::{CheckpointError, NodeAudit};
use crate::clocks;
use crate::machine::ViewAdapter;
use crate::member::{Member, error, lock};
use crate::submit;
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;
use symbolon_consensus::Durability;
use symbolon_crypto::checkpoint::{BadCheckpoint, Checkpoint};
use symbolon_crypto::sign::Ed25519VerifyingKey;
use symbolon_crypto::witness::TreeHead;
use symbolon_custody::witness::{Answer, Collecting, Cosigner, Memory, NotRemembered, Refused, Witness};
use symbolon_state::entry::Kind;
use symbolon_state::{Fault, levels, query};
use symbolon_store::{AuditFault, Local, LocalOp, Store, StoreFault};
use symbolon_wire::roster::Roster;
use symbolon_wire::v1::{self, peer_request, peer_response};
use symbolon_wire::{Code, audit};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// A log that has grown is cosigned and anchored this often: with the time that both take, no decision stays outside an
/// anchor for more than 10 s.
const EVERY: Duration = Duration::from_secs(5);
/// When somebody waits for a proof, earlier, but never closer together than this.
const PAUSE: Duration = Duration::from_millis(500);
/// How long one other node may take.
const OFFER_TIMEOUT: Duration = Duration::from_secs(2);

/// Local records: the newest note of each log that this node cosigned, and the two of a forked one.
const COSIGNED: u8 = 0x08;
const FORKED: u8 = 0x09;

/// What this node knows of audit logs, the others' and its own.
pub(crate) struct Following {
    witness: tokio::sync::Mutex<Witness>,
    forked: RwLock<BTreeSet<u16>>,
    fault: Mutex<Option<String>>,
    cosigned: AtomicU64,
    hurry: Notify,
}

/// How far a log is anchored.
#[derive(Debug, Clone)]
pub(crate) struct Anchor {
    /// Size and root.
    pub(crate) head: TreeHead,
    /// The note.
    pub(crate) note: Bytes,
    /// Where in the replicated log.
    pub(crate) log_index: u64,
}

/// A round could not be finished.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoundError {
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Log(#[from] AuditFault),
    #[error(transparent)]
    Note(#[from] BadCheckpoint),
    #[error("the state cannot be read: {0}")]
    State(#[from] Fault),
    #[error("the anchor was not logged: {0}")]
    Anchor(String),
}

impl Following {
    /// From what the node keeps.
    pub(crate) fn open(store: &Store, roster: &Roster, audit: &NodeAudit) -> Result<Self, crate::run::RunError> {
        let local = store.local();
        let (mut notes, mut forked) = (Vec::new(), Vec::new());
        let reader = store.reader();
        let view = ViewAdapter::new(&reader);
        let mut anchored = Vec::new();
        for node in roster.indices() {
            notes.extend(local.get(&key(COSIGNED, node, 0))?.map(|note| (node, note)));
            let both = (local.get(&key(FORKED, node, 1))?, local.get(&key(FORKED, node, 2))?);
            if let (Some(first), Some(second)) = both {
                forked.push((node, (first, second)));
            }
            let contradicted = |anchor: &symbolon_state::records::AnchorRecord| !anchor.forked.is_empty();
            if query::audit_anchor(&view, node)?.is_some_and(|anchor| contradicted(&anchor)) {
                anchored.push(node);
            }
        }
        let witness = Witness::restore(roster.cluster, notes, forked)?;
        let forked = witness.forked().chain(anchored).collect();
        Ok(Self {
            witness: tokio::sync::Mutex::new(witness),
            forked: RwLock::new(forked),
            fault: Mutex::new(None),
            cosigned: AtomicU64::new(audit.cosigned()?.map_or(0, |saved| saved.size)),
            hurry: Notify::new(),
        })
    }

    /// Leaves of this node's log that t others have cosigned.
    pub(crate) fn cosigned(&self) -> u64 {
        self.cosigned.load(Ordering::Relaxed)
    }

    /// What contradicts this node's own log.
    pub(crate) fn fault(&self) -> Option<String> {
        lock(&self.fault).clone()
    }

    /// Nodes whose logs are forked.
    pub(crate) fn forked(&self) -> BTreeSet<u16> {
        self.forked.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether that of `node` is.
    pub(crate) fn is_forked(&self, node: u16) -> bool {
        self.forked
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&node)
    }

    /// Somebody waits for a proof.
    pub(crate) fn hurry(&self) {
        self.hurry.notify_one();
    }

    fn contradicted(&self, what: String) {
        let mut fault = lock(&self.fault);
        if fault.is_none() {
            tracing::error!(
                what,
                "this node's audit log is contradicted; nothing of it is signed any more"
            );
            *fault = Some(what);
        }
    }
}

fn key(kind: u8, log: u16, which: u8) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(&log.to_be_bytes());
    if which > 0 {
        key.push(which);
    }
    key
}

/// The witness's memory: records of the node's own, written durably.
struct Records(Local);

impl Records {
    async fn write(&self, batch: Vec<LocalOp>) -> Result<(), NotRemembered> {
        let written = self.0.write(batch, Durability::Synced).await;
        written.map_err(|fault: StoreFault| NotRemembered {
            reason: fault.to_string(),
        })
    }
}

impl Memory for Records {
    async fn remember(&self, log: u16, note: Bytes) -> Result<(), NotRemembered> {
        self.write(vec![LocalOp::Put(key(COSIGNED, log, 0), note)]).await
    }

    async fn keep_fork(&self, log: u16, first: Bytes, second: Bytes) -> Result<(), NotRemembered> {
        let batch = vec![
            LocalOp::Put(key(FORKED, log, 1), first),
            LocalOp::Put(key(FORKED, log, 2), second),
        ];
        self.write(batch).await
    }
}

/// How far the log of `node` is anchored, as applied here.
pub(crate) fn anchored(member: &Member, node: u16) -> Result<Option<Anchor>, Fault> {
    let reader = member.store.reader();
    let Some(record) = query::audit_anchor(&ViewAdapter::new(&reader), node)? else {
        return Ok(None);
    };
    let checkpoint = Checkpoint::read_unverified(&record.checkpoint).map_err(|_| Fault::Broken {
        rule: "an anchor is a checkpoint",
    })?;
    Ok(Some(Anchor {
        head: checkpoint.head(),
        note: record.checkpoint,
        log_index: record.log_index,
    }))
}

/// Answers an offer of node `from`, as its connection proves.
pub(crate) async fn answer(member: &Arc<Member>, from: u16, offer: &v1::Cosign) -> Result<v1::Cosigned, v1::Error> {
    if let Some(code) = member.standing().refusal() {
        return Err(error(
            code,
            format!("node {} {}", member.node, member.standing().reason()),
            "",
        ));
    }
    let Some(key) = member.checkpoint_key(from, offer.boot_counter) else {
        return Err(error(Code::NotTheNode, "the keys of this boot are not known here", ""));
    };
    let name = audit::witness(member.roster.cluster, member.node);
    let cosigner = Cosigner {
        name: &name,
        key: &member.boot.checkpoint,
        time_s: clocks::wall_ms() / 1000,
    };
    let memory = Records(member.local.clone());
    let mut witness = member.following.witness.lock().await;
    let answered = witness
        .offered(from, &key, offer, cosigner, &memory, member.provider.as_ref())
        .await;
    // A fork counts even if the disk did not take its evidence.
    let caught = witness.forked().any(|log| log == from) && !member.following.is_forked(from);
    drop(witness);
    if caught {
        if let Ok(Answer::Forked { first, second }) = &answered {
            tracing::error!(
                node = from,
                first = %String::from_utf8_lossy(first),
                second = %String::from_utf8_lossy(second),
                "a node signed two histories of its audit log"
            );
        }
        forked(member, from).await;
    }
    let mut reply = v1::Cosigned {
        boot_counter: member.boot.signer.boot_counter,
        ..v1::Cosigned::default()
    };
    match answered {
        Ok(Answer::Cosigned(line)) => reply.signature = line.into(),
        Ok(Answer::Known(note)) => reply.known = note,
        Ok(Answer::Forked { .. }) | Err(Refused::Forked) => {
            return Err(error(Code::Diverged, "two histories of this audit log were shown", ""));
        }
        Err(refused @ (Refused::Note(_) | Refused::Proof)) => {
            return Err(error(Code::Malformed, refused.to_string(), ""));
        }
        Err(refused @ Refused::Memory(_)) => {
            return Err(error(
                Code::DiskFull,
                refused.to_string(),
                "free space on the node's disk",
            ));
        }
    }
    Ok(reply)
}

/// The audit log of `node` is forked: it is excluded, as for two heads.
pub(crate) async fn forked(member: &Member, node: u16) {
    if node == member.node {
        let what = "this node's keys signed two histories of it; another node may run with this node's keys";
        member.following.contradicted(what.to_owned());
        return;
    }
    let new = member
        .following
        .forked
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(node);
    if new {
        tracing::error!(node, "the audit log of a node is forked; excluded");
    }
    member.peers.exclude(node).await;
}

/// Has this node's log cosigned and anchored whenever it has grown.
pub(crate) async fn collect(member: Arc<Member>) {
    for node in member.following.forked() {
        forked(&member, node).await;
    }
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            () = member.following.hurry.notified() => {}
        }
        // Before the boot's keys are logged nobody could check what they sign.
        if member.standing().refusal().is_some() || !member.is_announced() || member.following.fault().is_some() {
            continue;
        }
        if let Err(failed) = round(&member).await {
            tracing::warn!(%failed, "the audit log was not cosigned and anchored this time");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn round(member: &Arc<Member>) -> Result<(), RoundError> {
    let size = member.audit.durable();
    let anchor = compare_anchor(member)?;
    if member.following.fault().is_some() {
        return Ok(());
    }
    let anchored_size = anchor.as_ref().map_or(0, |anchor| anchor.head.size);
    let anchors_count = member.shown.load().feature_level >= levels::AUDIT_ANCHORS;
    let cosigned = member.following.cosigned() >= size;
    if size == 0 || (cosigned && (anchored_size >= size || !anchors_count)) {
        return Ok(());
    }
    // Kept first: after a restart the log must still have what it showed to others.
    member.audit.checkpoint(&member.boot).await?;
    let (note, head) = member.audit.note_at(&member.boot, size)?;
    if !cosigned {
        cosign(member, &note, head).await?;
    }
    if member.following.fault().is_none() && anchors_count && head.size > anchored_size {
        propose(member, note, head, anchor.map(|anchor| anchor.head)).await?;
    }
    Ok(())
}

/// Compares this node's log with its newest anchor. Whoever signs anything of the log does so first: a disk that was put back holds
/// another one, and a checkpoint over that would contradict the anchor.
pub(crate) fn compare_anchor(member: &Member) -> Result<Option<Anchor>, RoundError> {
    let anchor = anchored(member, member.node)?;
    if let Some(anchor) = &anchor
        && !member.audit.has(anchor.head)?
    {
        let size = member.audit.durable();
        contradicted_by(member, "the replicated log holds an anchor", anchor.head, size);
    }
    Ok(anchor)
}

fn contradicted_by(member: &Member, who: &str, head: TreeHead, size: u64) {
    let what = if head.size > size {
        format!("{who} over {} entries; this log has {size}", head.size)
    } else {
        format!("{who} over {} entries that are not those of this log", head.size)
    };
    member.following.contradicted(what);
}

/// Offers the checkpoint to all others; keeps it once t have cosigned.
async fn cosign(member: &Arc<Member>, note: &Bytes, head: TreeHead) -> Result<(), RoundError> {
    let mut asking = JoinSet::new();
    for node in member.peers.nodes().filter(|node| !member.is_excluded(*node)) {
        let (member, note) = (Arc::clone(member), note.clone());
        asking.spawn(async move { (node, offer(&member, node, &note, head).await) });
    }
    let text = String::from_utf8_lossy(note).into_owned();
    let mut collecting = Collecting::new(member.roster.cluster, text);
    while let Some(joined) = asking.join_next().await {
        let Ok((node, answered)) = joined else { continue };
        let (key, line) = match answered {
            Ok(Some(answered)) => answered,
            Ok(None) => continue,
            Err(failed) => {
                tracing::warn!(node, %failed, "a checkpoint was not offered");
                continue;
            }
        };
        if let Err(bad) = collecting.add(node, &key, &line, member.provider.as_ref()) {
            tracing::warn!(node, %bad, "a cosignature does not hold");
        }
    }
    if collecting.count() >= usize::from(member.roster.threshold) {
        let note = collecting.note().to_owned();
        member.audit.save_cosigned(head, note.into()).await?;
        member.following.cosigned.store(head.size, Ordering::Relaxed);
    } else {
        tracing::debug!(size = head.size, by = collecting.count(), "too few have cosigned");
    }
    Ok(())
}

/// Asks one node what it remembers of this log, then shows it how the log went on from there.
async fn offer(
    member: &Arc<Member>,
    node: u16,
    note: &Bytes,
    head: TreeHead,
) -> Result<Option<(Ed25519VerifyingKey, String)>, RoundError> {
    let boot_counter = member.boot.signer.boot_counter;
    let asked = v1::Cosign {
        boot_counter,
        ..v1::Cosign::default()
    };
    let Some(remembered) = ask(member, node, asked).await else {
        return Ok(None);
    };
    let (mut start, mut consistency) = (Bytes::new(), Vec::new());
    if !remembered.known.is_empty() {
        let Some(known) = own_note(member, &remembered.known)? else {
            tracing::warn!(
                node,
                "a node remembers a checkpoint of this log that this node has not signed"
            );
            return Ok(None);
        };
        if !member.audit.has(known)? {
            contradicted_by(member, &format!("node {node} cosigned a checkpoint"), known, head.size);
            return Ok(None);
        }
        if known.size > head.size {
            // It grew meanwhile, in another round.
            return Ok(None);
        }
        start = member.audit.start_at(&member.boot, known.size)?;
        consistency = member.audit.consistency(known.size, head.size)?;
    }
    let offered = v1::Cosign {
        boot_counter,
        checkpoint: note.clone(),
        start,
        consistency,
    };
    let Some(answered) = ask(member, node, offered).await else {
        return Ok(None);
    };
    // Only a boot that is logged: its statement must be there for whoever verifies the proof.
    let shown = member.shown.load();
    let applied = shown
        .boots
        .get(&node)
        .filter(|boot| boot.counter == answered.boot_counter);
    let key = applied.and_then(|boot| boot.checkpoint_key.clone());
    let line = String::from_utf8(answered.signature.to_vec()).unwrap_or_default();
    Ok(key.filter(|_| !line.is_empty()).map(|key| (key, line)))
}

async fn ask(member: &Member, node: u16, offer: v1::Cosign) -> Option<v1::Cosigned> {
    let answered = member
        .peers
        .ask(node, peer_request::Kind::Cosign(offer), OFFER_TIMEOUT)
        .await;
    match answered {
        Ok(peer_response::Result::Cosigned(cosigned)) => Some(cosigned),
        Ok(peer_response::Result::Error(refused)) => {
            tracing::warn!(node, why = refused.message, "a node does not cosign");
            None
        }
        // It is down, or does not know of cosigning yet: the next round asks again.
        Ok(_) | Err(_) => None,
    }
}

/// What a note of this node's says, if one of its boots signed it.
fn own_note(member: &Member, note: &[u8]) -> Result<Option<TreeHead>, RoundError> {
    let origin = audit::origin(member.roster.cluster, member.node);
    let mut keys = vec![member.boot.checkpoint.verifying_key()];
    let reader = member.store.reader();
    for statement in query::boots(&ViewAdapter::new(&reader), member.node)? {
        let key = <[u8; 32]>::try_from(statement.checkpoint_key.as_ref()).ok();
        keys.extend(key.and_then(|key| Ed25519VerifyingKey::from_bytes(&key).ok()));
    }
    let found = keys
        .iter()
        .rev()
        .find_map(|key| Checkpoint::verify(note, &origin, key, member.provider.as_ref()).ok());
    Ok(found.map(|checkpoint| checkpoint.head()))
}

/// Gets the checkpoint into the replicated log.
async fn propose(
    member: &Arc<Member>,
    checkpoint: Bytes,
    head: TreeHead,
    last: Option<TreeHead>,
) -> Result<(), RoundError> {
    let (start, consistency) = match last {
        Some(last) => (
            member.audit.start_at(&member.boot, last.size)?,
            member.audit.consistency(last.size, head.size)?,
        ),
        None => (Bytes::new(), Vec::new()),
    };
    let anchor = v1::AuditAnchor {
        node: member.node.into(),
        boot_counter: member.boot.signer.boot_counter,
        checkpoint,
        start,
        consistency,
    };
    let proposed = submit::propose(member, Kind::AuditAnchor, anchor.encode_to_vec().into()).await;
    proposed
        .map(|_| ())
        .map_err(|refused| RoundError::Anchor(refused.message))
}
