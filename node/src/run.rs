//! From configuration to a serving member: token, keys, store, boot keys, agreement, endpoint.

use crate::admission;
use crate::anchor::Anchor;
use crate::archive::{self, Archive, ArchiveError};
use crate::audit::NodeAudit;
use crate::clocks;
use crate::config::Config;
use crate::cosign::{self, Following};
use crate::fences::Fences;
use crate::fragments::{self, Dealt, News};
use crate::gossip;
use crate::guests::Guests;
use crate::holdings::{self, Missing};
use crate::http;
use crate::intake::Intake;
use crate::machine::{NodeMachine, ViewAdapter, nothing_shown};
use crate::marks;
use crate::member::{Boot, Counters, Member, Standing};
use crate::peers::{Peers, RaftTransport};
use crate::probe;
use crate::release::Releases;
use crate::server;
use crate::token::{KeyFile, Token, TokenError, random_secret, rng};
use crate::vouch::{Boots, Guard};
use arc_swap::ArcSwapOption;
use aws_lc_rs::hmac;
use bytes::Bytes;
use prost::Message;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use symbolon_consensus::{
    AdmitError, Consensus, Durability, InitializeError, Settings, StartError, StoreFault, Transport,
};
use symbolon_crypto::own;
use symbolon_crypto::provider::{AwsLc, AwsLcSigningKey, Provider, Remembering};
use symbolon_crypto::secret::Secret;
use symbolon_crypto::sign::{Ed25519SigningKey, SigningKey};
use symbolon_custody::boot::{self, PublicKeys};
use symbolon_custody::fragments::{Holder, HolderError};
use symbolon_custody::heads::Heads;
use symbolon_state::entry::Kind;
use symbolon_state::{Effect, levels, query};
use symbolon_store::{AuditFault, Local, LocalOp, Options, Store};
use symbolon_wire::frame::ALPN_PEER;
use symbolon_wire::roster::{Roster, RosterError};
use symbolon_wire::statements::Signer;
use symbolon_wire::tls::{self, TlsError};
use symbolon_wire::v1;
use tokio::sync::{mpsc, watch};

/// A node's leaf is valid for this long from its boot, s. Connections outlive it; a node that runs longer boots anew.
const LEAF_S: u64 = 10 * 366 * 24 * 60 * 60;
/// Clocks of clients may be behind by this much, s.
const LEAF_BACK_S: u64 = 60 * 60;
/// Local record: how often this node has booted.
const BOOTS: &[u8] = &[0x02];
/// Local records: E_e and the sealing seed of an epoch, wrapped by W_e.
const EPOCH_KEY: u8 = 0x03;
const EPOCH_SEED: u8 = 0x04;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// Agreement panicked.
    #[error("agreement ended by a panic; the log says where. The node must be started again")]
    Ended,
    /// The configuration names no roster.
    #[error("`genesis` is not set: make a roster with `symbolon init`, then set its path")]
    NoGenesis,
    /// The roster file.
    #[error("{}: {reason}", path.display())]
    RosterFile {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        reason: std::io::Error,
    },
    /// The roster.
    #[error("the genesis roster is refused: {0}")]
    Roster(#[from] RosterError),
    /// This node's token is not the one that the roster names.
    #[error("the identity key in the token is not the one that the roster names for node {0}")]
    OtherIdentity(u16),
    /// The token or the key file.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The keys of the epoch.
    #[error(transparent)]
    Holder(#[from] HolderError),
    /// The epoch's keys are not there.
    #[error("the keys of epoch {0} are missing from the store; restore this node from a backup")]
    EpochKeysMissing(u64),
    /// The token, or who stands before it, gives another E_e than it was given.
    #[error("the token does not give back the key of this node's fragments of epoch {0}, but another")]
    OtherEpochKey(u64),
    /// The store.
    #[error("the store does not open: {0}")]
    Store(#[from] StoreFault),
    /// The state.
    #[error("the state cannot be read: {0}")]
    State(#[from] symbolon_state::Fault),
    /// The audit log.
    #[error("the audit log does not open: {0}")]
    Audit(#[from] AuditFault),
    /// Where old audit entries go.
    #[error("archive.folder: {0}")]
    Archive(#[from] ArchiveError),
    /// What this node remembers of the others' audit logs.
    #[error("what this node cosigned cannot be read: {0}")]
    Cosigned(#[from] symbolon_crypto::checkpoint::BadCheckpoint),
    /// Agreement.
    #[error("agreement does not start: {0}")]
    Consensus(#[from] StartError),
    /// The way into agreement.
    #[error("this node is not admitted: {0}")]
    Admit(#[from] AdmitError),
    /// Another boot counts.
    #[error(
        "another boot of this node counts: number {counter}. If its disk was put back, start it again, and it counts on \
         from there; if a second process runs with its keys, end that one first"
    )]
    Superseded {
        /// Its number.
        counter: u64,
    },
    /// Initialising the cluster.
    #[error("the cluster cannot be initialised: {0}")]
    Initialize(#[from] InitializeError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Keys of this boot.
    #[error("the keys of this boot cannot be made")]
    BootKeys,
    /// The endpoint.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        reason: std::io::Error,
    },
    /// The runtime.
    #[error("the runtime does not start: {0}")]
    Runtime(std::io::Error),
    /// Process protection.
    #[error(transparent)]
    Lockdown(#[from] crate::lockdown::LockdownError),
}

impl From<symbolon_hsm::RootError> for RunError {
    fn from(error: symbolon_hsm::RootError) -> Self {
        Self::Token(error.into())
    }
}

/// Reads and verifies the configured roster.
pub(crate) fn roster(config: &Config) -> Result<Arc<Roster>, RunError> {
    let path = config.genesis.clone().ok_or(RunError::NoGenesis)?;
    let encoded = std::fs::read(&path).map_err(|reason| RunError::RosterFile { path, reason })?;
    Ok(Arc::new(Roster::genesis(encoded.into(), None, &AwsLc)?))
}

/// Where others look for this node, if it is not where its configuration says that they reach it.
pub(crate) fn looked_for_elsewhere(config: &Config, roster: &Roster) -> Option<String> {
    let (says, own) = (&roster.node(config.node)?.address, config.advertised());
    (*says != own).then(|| format!("others look for this node at {says}, as the roster says; `address` here is {own}"))
}

/// The node's own keys, unwrapped.
struct Keys {
    state_key: Secret<32>,
    token: Arc<Token>,
}

fn unseal(config: &Config, roster: &Roster) -> Result<Keys, RunError> {
    let token = Token::open(config)?;
    token.verify()?;
    let member = roster.node(config.node).ok_or(RunError::OtherIdentity(config.node))?;
    if token.root.public_key(&token.identity)? != member.identity.spki() {
        return Err(RunError::OtherIdentity(config.node));
    }
    let state_key = token.state_key(&config.data, roster.cluster, config.node)?;
    Ok(Keys {
        state_key,
        token: Arc::new(token),
    })
}

/// How the store is opened.
fn options(state_key: Secret<32>) -> Result<Options, TokenError> {
    Ok(Options::new(state_key, Arc::new(AwsLc), Box::new(rng()?)))
}

/// E_e and the seed, out of the barrier; made, or moved inside it, at first boot.
pub(crate) async fn epoch_keys(
    config: &Config,
    store: &Store,
    token: &Token,
    epoch: u64,
) -> Result<(Secret<32>, Secret<32>), RunError> {
    let local = store.local();
    let key = |kind: u8| [&[kind][..], &epoch.to_be_bytes()].concat();
    let (e_e, seed) = (local.get(&key(EPOCH_KEY))?, local.get(&key(EPOCH_SEED))?);
    let mut file = KeyFile::read(&config.data)?;
    if let (Some(wrapped), Some(seed)) = (&e_e, &seed) {
        let e_e = token.root.unwrap(&token.wrapping, wrapped)?;
        // One key has one wrapping (RFC 3394): another in its place would seal fragments that the right one never opens.
        if token.root.wrap(&token.wrapping, &e_e)?[..] != wrapped[..] {
            return Err(RunError::OtherEpochKey(epoch));
        }
        // The first start was cut before it took the seed from here.
        if file.seed.take().is_some() {
            file.write(&config.data)?;
        }
        return Ok((e_e, token.root.unwrap(&token.wrapping, seed)?));
    }
    let wrapped_seed = file.seed.take().ok_or(RunError::EpochKeysMissing(epoch))?;
    let e_e = random_secret()?;
    let wrapped = token.root.wrap(&token.wrapping, &e_e)?;
    let batch = vec![
        LocalOp::Put(key(EPOCH_KEY), Bytes::copy_from_slice(&wrapped)),
        LocalOp::Put(key(EPOCH_SEED), Bytes::copy_from_slice(&wrapped_seed)),
    ];
    local.write(batch, Durability::Synced).await?;
    file.write(&config.data)?;
    let seed = token.root.unwrap(&token.wrapping, &wrapped_seed)?;
    Ok((e_e, seed))
}

/// Counts this boot, durably, before anything is signed with its keys. It rises above what the log knows, too: a disk
/// that was put back may have forgotten boots.
async fn count_boot(store: &Store, node: u16) -> Result<u64, RunError> {
    let local = store.local();
    let counted = local
        .get(BOOTS)?
        .and_then(|bytes| bytes.as_ref().try_into().ok())
        .map_or(0, u64::from_be_bytes);
    let logged = query::newest_boot(&ViewAdapter::new(&store.reader()), node)?;
    let logged = logged.map_or(0, |statement| statement.boot_counter);
    let counter = counted.max(logged) + 1;
    remember_boots(&local, counter).await?;
    Ok(counter)
}

/// Remembers how often this node has booted.
pub(crate) async fn remember_boots(local: &Local, counter: u64) -> Result<(), StoreFault> {
    let counter = Bytes::copy_from_slice(&counter.to_be_bytes());
    local
        .write(vec![LocalOp::Put(BOOTS.to_vec(), counter)], Durability::Synced)
        .await
}

fn make_boot(roster: &Roster, token: &Token, signer: Signer) -> Result<(Boot, tls::Identity), RunError> {
    let mut rng = rng()?;
    let (signing, tls_key) = (SigningKey::generate(&mut rng), SigningKey::generate(&mut rng));
    let checkpoint = Ed25519SigningKey::generate(&mut rng);
    let own_key = signing.verifying_key().clone();
    let statement = boot::statement(
        &signer,
        roster,
        PublicKeys {
            signing: &own_key,
            tls: tls_key.verifying_key(),
            checkpoint: &checkpoint.verifying_key(),
        },
        levels::known(),
        |message| token.root.sign(&token.identity, message).map_err(RunError::from),
        |message| Ok(signing.sign(message)),
    )?;
    let identity = &roster
        .node(signer.node)
        .ok_or(RunError::OtherIdentity(signer.node))?
        .identity;
    let pkcs8 = tls_key.to_pkcs8_der().map_err(|_| RunError::BootKeys)?;
    let now_s = clocks::wall_ms() / 1000;
    let sign = |message: &[u8]| token.root.sign(&token.identity, message).ok();
    let leaf = tls::node_leaf(
        pkcs8.expose(),
        identity,
        &sign,
        now_s.saturating_sub(LEAF_BACK_S),
        now_s + LEAF_S,
    )?;
    let signing = AwsLcSigningKey::new(&signing).map_err(|_| RunError::BootKeys)?;
    Ok((
        Boot {
            signer,
            own_key,
            signing: Box::new(signing),
            checkpoint,
            statement,
        },
        leaf,
    ))
}

/// The endpoint. Connection ids and stateless resets hang on keys of the node's, so that after a restart it tells
/// everyone at once that their connections are gone (RFC 9000, 10.3), instead of leaving them to time out.
fn endpoint(config: &Config, leaf: &tls::Identity, quic: &Secret<32>) -> Result<quinn::Endpoint, RunError> {
    let crypto = tls::server_config(tls::Identity {
        certificate: leaf.certificate.clone(),
        key: leaf.key.clone_key(),
    })?;
    let crypto = QuicServerConfig::try_from(crypto).map_err(|_| RunError::BootKeys)?;
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    server.transport_config(Arc::new(server::transport()));
    server::bound_arrivals(&mut server);
    let reset = own::sub_key(quic, "symbolon/v1/quic-reset", &[]);
    let reset = hmac::Key::new(hmac::HMAC_SHA256, reset.expose());
    let ids = own::sub_key(quic, "symbolon/v1/quic-ids", &[]);
    let ids = ids
        .expose()
        .first_chunk::<8>()
        .map_or(0, |ids| u64::from_be_bytes(*ids));
    let mut endpoint = quinn::EndpointConfig::new(Arc::new(reset));
    endpoint.cid_generator(move || Box::new(quinn_proto::HashedConnectionIdGenerator::from_key(ids)));
    let failed = |reason| RunError::Listen {
        address: config.listen,
        reason,
    };
    let socket = std::net::UdpSocket::bind(config.listen).map_err(failed)?;
    quinn::Endpoint::new(endpoint, Some(server), socket, Arc::new(quinn::TokioRuntime)).map_err(failed)
}

fn peers(
    roster: &Arc<Roster>,
    fences: &Arc<Fences>,
    endpoint: &quinn::Endpoint,
    leaf: &tls::Identity,
    statement: &v1::BootKeys,
) -> Result<(Arc<Peers>, Refusals), RunError> {
    let mut configs = Vec::new();
    for other in roster
        .nodes
        .iter()
        .filter(|other| u32::from(other.index) != statement.node)
    {
        let own = tls::Identity {
            certificate: leaf.certificate.clone(),
            key: leaf.key.clone_key(),
        };
        let crypto = tls::client_config(own, ALPN_PEER, Some(other.identity.clone()), Arc::new(AwsLc))?;
        let crypto = QuicClientConfig::try_from(crypto).map_err(|_| RunError::BootKeys)?;
        let mut client = quinn::ClientConfig::new(Arc::new(crypto));
        let mut transport = server::transport();
        transport.receive_window(quinn::VarInt::from_u32(server::PEER_WINDOW));
        client.transport_config(Arc::new(transport));
        configs.push((other.index, other.address.clone(), client));
    }
    let known = (Arc::clone(roster), Arc::clone(fences));
    let (peers, refusals) = Peers::new(endpoint.clone(), configs, statement, known);
    Ok((Arc::new(peers), refusals))
}

/// What others refuse this boot with.
type Refusals = mpsc::UnboundedReceiver<v1::BootKeys>;

/// Right signatures that are not checked anew: of the commands under way, and of what the other nodes tell of each other.
const SIGNATURES_REMEMBERED: usize = 8192;

/// Runs the node until it is told to stop.
pub(crate) async fn run(config: Config) -> Result<(), RunError> {
    let roster = roster(&config)?;
    if let Some(warning) = looked_for_elsewhere(&config, &roster) {
        tracing::warn!("{warning}");
    }
    let keys = unseal(&config, &roster)?;
    let quic = own::sub_key(&keys.state_key, "symbolon/v1/quic", &[]);
    let store = Arc::new(Store::open(&config.data.join("db"), options(keys.state_key)?)?);
    let (e_e, seed) = epoch_keys(&config, &store, &keys.token, roster.version).await?;
    let remembering = Arc::new(Remembering::new(AwsLc, SIGNATURES_REMEMBERED));
    let provider: Arc<dyn Provider> = Arc::clone(&remembering) as _;
    let holder = Holder::new(Arc::clone(&roster), config.node, e_e, &seed, Arc::clone(&provider))?;
    drop(seed);
    let signer = Signer {
        cluster: roster.cluster,
        node: config.node,
        boot_counter: count_boot(&store, config.node).await?,
    };
    let (boot, leaf) = make_boot(&roster, &keys.token, signer)?;
    let endpoint = endpoint(&config, &leaf, &quic)?;
    let fences = Arc::new(Fences::open(store.local(), &roster)?);
    let (peers, refusals) = peers(&roster, &fences, &endpoint, &leaf, &boot.statement)?;

    let (shown, boots_seen) = (nothing_shown(), Arc::new(Boots::default()));
    let (snapshots, mark_wanted) = (Arc::new(Mutex::default()), Arc::default());
    let heads = Arc::new(Mutex::new(Heads::new(config.node, roster.threshold)));
    let (effects, happened) = mpsc::unbounded_channel();
    let machine = NodeMachine::new(Arc::clone(&roster), Arc::clone(&provider), Arc::clone(&shown), effects);
    let changes = machine.changes();
    let guard = Guard {
        roster: Arc::clone(&roster),
        node: config.node,
        provider: Arc::clone(&provider),
        boots: Arc::clone(&boots_seen),
        collected: Arc::clone(&snapshots),
        heads: Arc::clone(&heads),
        wanted: Arc::clone(&mark_wanted),
    };
    let mut settings = Settings::new(config.node.into(), roster.cluster.0, roster.hash);
    settings.awaits_admission = true;
    settings.vital = &Kind::VITAL;
    settings.log_bytes_kept = config.snapshot_bytes();
    settings.voters = roster.nodes.iter().map(|node| node.index.into()).collect();
    let transport: Arc<dyn Transport> = Arc::new(RaftTransport(Arc::clone(&peers)));
    #[cfg(feature = "sabotage")]
    let transport = crate::sabotage::transport(transport);
    let consensus = Consensus::start(
        settings,
        Arc::clone(&store) as _,
        Box::new(machine),
        transport,
        Arc::new(guard),
    )
    .await?;
    boots_seen.keep(&roster, &AwsLc, &boot.statement);
    let info = keys.token.root.info()?;
    let hello = v1::Hello {
        protocol: symbolon_wire::PROTOCOL,
        rosters: vec![v1::Roster::decode(roster.encoded.clone()).map_err(|_| RosterError::NotCanonical)?],
        boot: Some(boot.statement.clone()),
        software: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let archive = config.archive.as_ref();
    let archive = archive
        .map(|archive| Archive::open(&archive.folder, archive.keep.time()))
        .transpose()?;
    let audit = Arc::new(NodeAudit::new(store.audit()?, config.audit, archive));
    let following = Following::open(&store, &roster, &audit)?;
    let member = Arc::new(Member {
        node: config.node,
        provider: remembering,
        checks: gossip::checks(),
        strangers: server::strangers(),
        boot,
        local: store.local(),
        audit,
        following,
        store,
        consensus,
        intake: Intake::new(&roster),
        guests: Guests::new(roster.nodes.len()),
        fences,
        peers,
        shown,
        changes,
        watchers: Arc::default(),
        holder: ArcSwapOption::from_pointee(holder),
        standing: watch::Sender::new(Standing::Booting("opening its store".to_owned())),
        confirmed: watch::Sender::new(0),
        heads,
        snapshots,
        mark_wanted,
        boots_seen,
        readings: Mutex::default(),
        missing: Missing::default(),
        counters: Counters::default(),
        anchor: Anchor::default(),
        moved_ms: AtomicU64::new(0),
        token: format!("{} {} ({})", info.kind, info.label, info.model),
        hello: hello.encode_to_vec().into(),
        roster,
    });
    serve(config, member, endpoint, keys.token, happened, refusals).await
}

async fn serve(
    config: Config,
    member: Arc<Member>,
    endpoint: quinn::Endpoint,
    token: Arc<Token>,
    happened: mpsc::UnboundedReceiver<Effect>,
    refusals: Refusals,
) -> Result<(), RunError> {
    let (news, heard) = mpsc::unbounded_channel();
    tokio::spawn(follow(Arc::clone(&member), happened, news.clone()));
    tokio::spawn(fragments::work(Arc::clone(&member), heard));
    tokio::spawn(holdings::compare(Arc::clone(&member), news));
    let releases = Releases::start(Arc::clone(&member));
    tokio::spawn(server::serve(Arc::clone(&member), endpoint.clone(), releases));
    if let Some(http) = &config.http {
        let (member, listen) = (Arc::clone(&member), http.listen);
        tokio::spawn(async move {
            if let Err(reason) = http::serve(member, listen).await {
                tracing::error!(%reason, %listen, "health and metrics are not served");
            }
        });
    }
    for node in member.roster.indices() {
        member.keep_logged_boot(node);
    }
    tokio::spawn(gossip::heads(Arc::clone(&member)));
    tokio::spawn(gossip::ticks(Arc::clone(&member)));
    #[cfg(feature = "sabotage")]
    tokio::spawn(crate::sabotage::harass(Arc::clone(&member)));
    tokio::spawn(marks::work(
        Arc::clone(&member),
        config.snapshot_entries,
        config.snapshot_bytes(),
    ));
    tokio::spawn(cosign::collect(Arc::clone(&member)));
    tokio::spawn(archive::work(Arc::clone(&member)));
    tokio::spawn(probe::watch(Arc::clone(&member), token));
    tokio::spawn(announce_standing(Arc::clone(&member)));
    tracing::info!(node = member.node, boot = member.boot.signer.boot_counter, listen = %config.listen, token = member.token, group = tls::GROUP, "started");
    tokio::select! {
        () = stopped() => {}
        () = ended(&member) => return Err(RunError::Ended),
        refused = take_part(&member) => refused?,
        refused = admission::watch(&member, refusals) => refused?,
    }
    // The service manager may not be there.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!("stopping");
    member.consensus.shutdown().await;
    endpoint.close(0_u32.into(), b"stopping");
    // So that the others hear of it; whoever does not answer learns it from a reset.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(1), endpoint.wait_idle()).await;
    Ok(())
}

/// Joins the others once they have said where the log stands, and gets this boot's keys into the log. Ends only by an
/// error.
async fn take_part(member: &Arc<Member>) -> Result<(), RunError> {
    admission::run(member).await?;
    let voters = member.roster.nodes.iter().map(|node| u64::from(node.index)).collect();
    match member.consensus.initialize(voters).await {
        Ok(()) | Err(InitializeError::Already) => {}
        Err(refused) => return Err(refused.into()),
    }
    gossip::announce(Arc::clone(member)).await;
    std::future::pending().await
}

/// Waits until agreement has ended by a panic. Where the node sealed itself or the store failed, it stays, refuses, and
/// says why.
async fn ended(member: &Member) {
    member.consensus.ended().await;
    if let Some(fault) = member.consensus.fault() {
        member.set_standing(Standing::Failed(fault.to_string()));
    }
    if member.standing().ended().is_some() {
        std::future::pending::<()>().await;
    }
}

/// Turns what was applied into work.
async fn follow(member: Arc<Member>, mut happened: mpsc::UnboundedReceiver<Effect>, news: mpsc::UnboundedSender<News>) {
    let mut restarts = member.changes.restarts();
    loop {
        let effect = tokio::select! {
            effect = happened.recv() => effect,
            // A snapshot has boots, and tells of none.
            changed = restarts.changed() => match changed {
                Ok(()) => {
                    admission::give_way(&member);
                    continue;
                }
                Err(_) => None,
            },
        };
        let Some(effect) = effect else { return };
        match effect {
            Effect::Dealt { index, secret, version } => {
                // The receiver lives as long as the node.
                let _ = news.send(News::Dealt(Dealt { index, secret, version }));
            }
            Effect::Confirmed => member.confirmed.send_modify(|count| *count += 1),
            Effect::FalseComplaint { node, index } => {
                tracing::error!(node, index, "a node complained about a good fragment");
            }
            Effect::Complained { version, .. } => tracing::warn!(version, "a dealing was complained about"),
            Effect::FeatureLevel { level } => tracing::info!(level, "the feature level rose"),
            Effect::Booted { node, counter } => {
                tracing::info!(node, counter, "a node booted");
                member.keep_logged_boot(node);
                // It may have been the last that did not know the next level.
                if member.consensus.leader() == Some(u64::from(member.node)) {
                    gossip::raise_level(&member).await;
                }
                if node == member.node {
                    admission::give_way(&member);
                }
            }
            Effect::Destroyed { secret, version } => {
                let _ = news.send(News::Destroyed { secret, version });
                // Nobody confirms it any more: whoever waits for that is to know.
                member.confirmed.send_modify(|count| *count += 1);
            }
            Effect::AuditForked { node } => cosign::forked(&member, node).await,
            Effect::AuditAnchored { node, size } => tracing::debug!(node, size, "an audit log was anchored"),
            Effect::Deleted { .. }
            | Effect::Metadata { .. }
            | Effect::Changed(_)
            | Effect::Policies
            | Effect::Principals
            | Effect::SnapshotMark => {}
        }
    }
}

/// Tells the service manager, and notices a store that failed.
async fn announce_standing(member: Arc<Member>) {
    let mut standing = member.standing.subscribe();
    let mut every = tokio::time::interval(std::time::Duration::from_millis(500));
    let mut applied = 0;
    loop {
        tokio::select! {
            changed = standing.changed() => if changed.is_err() { return },
            _ = every.tick() => {
                if std::mem::replace(&mut applied, member.shown.load().applied) != applied {
                    member.moved_ms.store(clocks::boot_ms(), Ordering::Relaxed);
                }
                if let Some(fault) = member.consensus.fault() {
                    member.set_standing(Standing::Failed(fault.to_string()));
                }
                continue;
            }
        }
        let now = standing.borrow_and_update().clone();
        tracing::info!(state = now.word(), reason = now.reason(), "standing");
        let status = format!("{} {}", now.word(), now.reason());
        let mut states = vec![sd_notify::NotifyState::Status(&status)];
        if now == Standing::Serving {
            states.push(sd_notify::NotifyState::Ready);
        }
        // The service manager may not be there.
        let _ = sd_notify::notify(&states);
    }
}

/// Waits for SIGTERM or SIGINT.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("signals cannot be received; end the process to stop the node");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
