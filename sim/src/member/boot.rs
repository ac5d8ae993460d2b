//! From a disk to a serving member, in the order of the node's own start.

use super::admission;
use super::fragments::{self, Dealt};
use super::gossip;
use super::release;
use super::watched::Watched;
use super::{Face, Hardware, Member};
use crate::error::BootError;
use crate::history::{Leaf, What};
use crate::limits::LOG_KEPT;
use crate::net::{Asked, Net, NoAnswer, Place};
use crate::site::Site;
use crate::sync::lock;
use crate::tasks::Tasks;
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use symbolon_consensus::{Call, Consensus, Durability, Settings, StoreFault, Transport, TransportError};
use symbolon_crypto::secret::Secret;
use symbolon_crypto::sign::{Ed25519SigningKey, SigningKey};
use symbolon_custody::boot::{self, PublicKeys};
use symbolon_custody::fragments::Holder;
use symbolon_custody::heads::Heads;
use symbolon_node::fences::Fences;
use symbolon_node::machine::{NodeMachine, ViewAdapter, nothing_shown};
use symbolon_node::vouch::{Boots, Guard};
use symbolon_state::entry::Kind;
use symbolon_state::{Effect, query};
use symbolon_store::{AuditLog, LocalOp, Options, Store};
use symbolon_wire::audit;
use symbolon_wire::limits::AUDIT_PAGE_MAX;
use symbolon_wire::statements::Signer;
use symbolon_wire::v1::{self, peer_request, peer_response};
use tokio::sync::mpsc;

/// Local record: how often this node has booted.
const BOOTS: &[u8] = &[0x02];
/// Decisions that may wait; as in the node.
const WAITING_MAX: usize = 4_096;

fn secret(bytes: &[u8; 32]) -> Secret<32> {
    Secret::fill(|to: &mut [u8; 32]| *to = *bytes)
}

/// Opens what the disk holds.
pub(crate) fn open(hardware: &Hardware, site: &Site) -> Result<Store, StoreFault> {
    let nonces = crate::dice::Dice::new(
        u64::from_be_bytes(lock(&hardware.dice).bytes()),
        "nonces of an opened store",
    );
    let mut options = Options::new(
        secret(&hardware.state_key),
        Arc::clone(&site.provider) as _,
        Box::new(nonces.into_rng()),
    );
    options.reserve_bytes = 1;
    Store::open_in_memory(&hardware.disk, options)
}

/// Notes what the audit log holds.
pub(crate) fn note_audit(node: u16, log: &AuditLog, site: &Site) -> Result<(), BootError> {
    let page = usize::try_from(AUDIT_PAGE_MAX).unwrap_or(usize::MAX);
    let mut leaves = Vec::new();
    loop {
        let from = u64::try_from(leaves.len()).unwrap_or(u64::MAX);
        let found = log.leaves(from, page)?;
        if found.is_empty() {
            break;
        }
        for bytes in found {
            let index = u64::try_from(leaves.len()).unwrap_or(u64::MAX);
            let leaf = audit::decode(bytes.into()).map_err(|_| BootError::Leaf { index })?;
            leaves.push(Leaf {
                request: leaf.request_hash.as_ref().try_into().unwrap_or_default(),
                client_key: leaf.client_key.as_ref().try_into().unwrap_or_default(),
                allowed: leaf.allowed && leaf.action == "read",
                version: leaf.version,
            });
        }
    }
    site.recorder.note(What::Kept { node, leaves });
    Ok(())
}

/// Counts this boot, durably, before anything is signed with its keys; above what the log knows, too.
async fn count_boot(store: &Store, node: u16) -> Result<u64, BootError> {
    let local = store.local();
    let counted = local
        .get(BOOTS)?
        .and_then(|bytes| bytes.as_ref().try_into().ok())
        .map_or(0, u64::from_be_bytes);
    let logged = query::newest_boot(&ViewAdapter::new(&store.reader()), node)?;
    let logged = logged.map_or(0, |statement| statement.boot_counter);
    let counter = counted.max(logged) + 1;
    let batch = vec![LocalOp::Put(
        BOOTS.to_vec(),
        Bytes::copy_from_slice(&counter.to_be_bytes()),
    )];
    local.write(batch, Durability::Synced).await?;
    Ok(counter)
}

pub(super) struct Keys {
    pub(super) signing: SigningKey,
    pub(super) statement: v1::BootKeys,
}

/// What a malicious node shows to the others, if it shows each of them another boot.
fn faces(hardware: &Hardware, site: &Site, own: &Signer) -> BTreeMap<u16, Face> {
    let two_faced = site.liar(hardware.node).is_some_and(|liar| liar.two_faced);
    let others = if two_faced {
        site.others(hardware.node)
    } else {
        Vec::new()
    };
    let made = others.into_iter().map(|other| {
        let boot_counter = own.boot_counter.saturating_add(other.into());
        let signer = Signer { boot_counter, ..*own };
        let keys = make_keys(hardware, site, &signer);
        (other, Face { signer, keys })
    });
    made.collect()
}

fn make_keys(hardware: &Hardware, site: &Site, signer: &Signer) -> Keys {
    let (signing, tls, checkpoint) = {
        let mut dice = lock(&hardware.dice);
        let (signing, tls) = (SigningKey::generate(dice.rng()), SigningKey::generate(dice.rng()));
        (signing, tls, Ed25519SigningKey::generate(dice.rng()))
    };
    let keys = PublicKeys {
        signing: signing.verifying_key(),
        tls: tls.verifying_key(),
        checkpoint: &checkpoint.verifying_key(),
    };
    let identity = |message: &[u8]| Ok::<_, Infallible>(hardware.identity.sign(message));
    let level = symbolon_state::levels::known();
    let made = boot::statement(signer, &site.roster, keys, level, identity, |message| {
        Ok(signing.sign(message))
    });
    let Ok(statement) = made;
    Keys { signing, statement }
}

/// Boots a node: what its disk holds, new keys, and all its tasks.
pub(crate) async fn boot(hardware: &Hardware, site: &Arc<Site>) -> Result<Arc<Member>, BootError> {
    let node = hardware.node;
    let store = open(hardware, site)?;
    let audit = store.audit()?;
    note_audit(node, &audit, site)?;
    let (roster, provider) = (Arc::clone(&site.roster), Arc::clone(&site.provider));
    let holder = Holder::new(
        Arc::clone(&roster),
        node,
        secret(&hardware.storage_key),
        &secret(&hardware.seed),
        Arc::clone(&provider) as _,
    )?;
    let signer = Signer {
        cluster: roster.cluster,
        node,
        boot_counter: count_boot(&store, node).await?,
    };
    let Keys { signing, statement } = make_keys(hardware, site, &signer);
    let faces = faces(hardware, site, &signer);
    let own_key = signing.verifying_key().clone();

    let fences = Fences::open(store.local(), &roster)?;
    let (shown, boots_seen) = (nothing_shown(), Arc::new(Boots::default()));
    let snapshots = Arc::new(Mutex::default());
    let heads = Arc::new(Mutex::new(Heads::new(node, roster.threshold)));
    let (effects, happened) = mpsc::unbounded_channel();
    let machine = NodeMachine::new(
        Arc::clone(&roster),
        Arc::clone(&provider) as _,
        Arc::clone(&shown),
        effects,
    );
    let guard = Guard {
        roster: Arc::clone(&roster),
        node,
        provider: Arc::clone(&provider) as _,
        boots: Arc::clone(&boots_seen),
        collected: Arc::clone(&snapshots),
        heads: Arc::clone(&heads),
        wanted: Arc::default(),
    };
    let mut settings = Settings::new(node.into(), roster.cluster.0, roster.hash);
    settings.log_kept = LOG_KEPT;
    settings.awaits_admission = true;
    settings.vital = &Kind::VITAL;
    settings.voters = roster.indices().into_iter().map(u64::from).collect();
    let frozen = Arc::new(AtomicBool::new(false));
    let way = Way {
        net: site.net.clone(),
        node,
        boot: signer.boot_counter,
        frozen: Arc::clone(&frozen),
    };
    let way: Arc<dyn Transport> = match site.liar(node) {
        Some(liar) => liar.lies.over(Arc::new(way)),
        None => Arc::new(way),
    };
    let consensus = Consensus::start(
        settings,
        Arc::new(store.clone()),
        Box::new(Watched::new(machine, node, Arc::clone(site))),
        way,
        Arc::new(guard),
    )
    .await?;
    gossip::keep_boot(site, &boots_seen, &statement);
    gossip::keep_boot(site, &site.hellos, &statement);
    let (jobs, queue) = mpsc::channel(WAITING_MAX);
    let member = Arc::new(Member {
        site: Arc::clone(site),
        node,
        signer,
        signing,
        own_key,
        statement,
        faces,
        local: store.local(),
        store,
        consensus,
        audit,
        shown,
        holder,
        frozen,
        announced: AtomicBool::new(false),
        heads,
        snapshots,
        boots_seen,
        fences,
        readings: Mutex::default(),
        clock: hardware.clock.clone(),
        dice: Mutex::new(crate::dice::Dice::new(
            u64::from_be_bytes(lock(&hardware.dice).bytes()),
            "a member",
        )),
        tasks: Arc::new(Tasks::default()),
        jobs,
        turn: tokio::sync::Mutex::new(()),
    });
    site.recorder.note(What::Started {
        node,
        boot: signer.boot_counter,
    });
    start(&member, queue, happened);
    Ok(member)
}

fn start(member: &Arc<Member>, queue: mpsc::Receiver<release::Job>, happened: mpsc::UnboundedReceiver<Effect>) {
    let (dealt, to_check) = mpsc::unbounded_channel();
    let tasks = &member.tasks;
    tasks.spawn(follow(Arc::clone(member), happened, dealt));
    tasks.spawn(fragments::work(Arc::clone(member), to_check));
    tasks.spawn(release::run(Arc::clone(member), queue));
    let site = &member.site;
    site.net.join(
        member.node,
        member.signer.boot_counter,
        Arc::clone(member) as _,
        Arc::clone(tasks),
    );
    tasks.spawn(gossip::heads(Arc::clone(member)));
    tasks.spawn(gossip::ticks(Arc::clone(member)));
    tasks.spawn(gossip::marks(Arc::clone(member)));
    tasks.spawn(take_part(Arc::clone(member)));
}

/// Joins the others once they have said where the log stands, and gets this boot's keys into the log.
async fn take_part(member: Arc<Member>) {
    if member.consensus.is_admitted() || admission::run(&member).await.is_ok() {
        let voters = member.site.nodes().into_iter().map(u64::from).collect();
        // A node that has stopped is started again by its service manager.
        let _ = member.consensus.initialize(voters).await;
        gossip::announce(Arc::clone(&member)).await;
    }
}

/// Turns what was applied into work.
async fn follow(
    member: Arc<Member>,
    mut happened: mpsc::UnboundedReceiver<Effect>,
    dealt: mpsc::UnboundedSender<Dealt>,
) {
    while let Some(effect) = happened.recv().await {
        match effect {
            Effect::Dealt { index, secret, version } => {
                // The receiver lives as long as the node.
                let _ = dealt.send(Dealt { index, secret, version });
            }
            Effect::FalseComplaint { node, index } => {
                member.blame(format!(
                    "node {node} complained about the good fragment of entry {index}"
                ));
            }
            Effect::Complained { secret, version } => {
                member.blame(format!("version {version} of {secret} was complained about"));
            }
            _ => {}
        }
    }
}

/// Consensus' frames through the simulated network, from one boot: what an earlier boot still wants to say is not sent.
struct Way {
    net: Net,
    node: u16,
    boot: u64,
    frozen: Arc<AtomicBool>,
}

impl Transport for Way {
    fn call(&self, to: u64, frame: Bytes, timeout: Duration) -> Call<'_> {
        Box::pin(async move {
            let node = u16::try_from(to).map_err(|_| TransportError::Unreachable { to })?;
            if self.frozen.load(Ordering::Relaxed) || !self.net.online(self.node, self.boot) {
                return Err(TransportError::Unreachable { to });
            }
            let asked = peer_message(peer_request::Kind::Raft(frame));
            let answer = self.net.ask(Place::Node(self.node), node, asked, timeout).await;
            match answer.map(v1::PeerResponse::decode) {
                Ok(Ok(v1::PeerResponse {
                    result: Some(peer_response::Result::Raft(reply)),
                })) => Ok(reply),
                Ok(_) | Err(NoAnswer::Broken) => Err(TransportError::Broken { to }),
                Err(NoAnswer::Unreachable) => Err(TransportError::Unreachable { to }),
                Err(NoAnswer::Timeout) => {
                    let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
                    Err(TransportError::Timeout { to, timeout_ms })
                }
            }
        })
    }
}

/// A message to another node.
pub(super) fn peer_message(kind: peer_request::Kind) -> Asked {
    Asked::Peer(v1::PeerRequest { kind: Some(kind) }.encode_to_vec().into())
}
