//! One fake node: its keys, its QUIC server, its answers.

use super::behaviour::Behaviour;
use super::log::{Log, Version};
use super::signing_key;
use bytes::Bytes;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{AsyncUdpSocket, Runtime, UdpPoller};
use rustls::pki_types::CertificateDer;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use symbolon_crypto::Hash;
use symbolon_crypto::checkpoint::Checkpoint;
use symbolon_crypto::dealing::open_fragment;
use symbolon_crypto::enc::sha256;
use symbolon_crypto::merkle::{Tree, leaf_hash};
use symbolon_crypto::provider::AwsLc;
use symbolon_crypto::sealing::{SealingKeyPair, fragment_key};
use symbolon_crypto::secret::Secret;
use symbolon_crypto::sign::{Ed25519SigningKey, SigningKey};
use symbolon_wire::change::{ChangeKind, Target};
use symbolon_wire::limits::REQUEST_BYTES_MAX;
use symbolon_wire::reply::{ReleasedFragment, encode_response};
use symbolon_wire::roster::Roster;
use symbolon_wire::statements::{ReplyLeaf, Signer};
use symbolon_wire::tls::{GROUP, Leaf, node_leaf, server_config};
use symbolon_wire::v1::request::Kind;
use symbolon_wire::v1::response::Result as Answer;
use symbolon_wire::{Code, Message, v1};

/// Bytes on a connection, and on a stream, that the node has not read.
const WINDOW: u32 = 64 * 1024;

/// Changes a node's first message.
pub type ChangeHello = Arc<dyn Fn(&mut v1::Hello) + Send + Sync>;

/// Changes a node's TLS configuration.
pub type ChangeTls = Arc<dyn Fn(rustls::ServerConfig) -> rustls::ServerConfig + Send + Sync>;

/// A node's keys. Whatever differs from the roster makes it an impostor.
#[derive(Clone)]
pub struct NodeKeys {
    pub index: u16,
    pub identity: Arc<SigningKey>,
    /// Issues the TLS leaf; the identity key, unless this is a look-alike.
    pub issuer: Arc<SigningKey>,
    pub sealing: Arc<SealingKeyPair>,
    pub signing: Arc<SigningKey>,
    pub tls: Arc<SigningKey>,
    pub checkpoint: Arc<Ed25519SigningKey>,
    pub boot_counter: u64,
    /// Changes the first message.
    pub hello: Option<ChangeHello>,
    /// Replaces the TLS configuration.
    pub tls_config: Option<ChangeTls>,
}

impl NodeKeys {
    pub fn generate(index: u16) -> Self {
        let identity = signing_key();
        Self {
            index,
            issuer: identity.clone(),
            identity,
            sealing: Arc::new(SealingKeyPair::from_seed(&Secret::random(&mut rand::rng()))),
            signing: signing_key(),
            tls: signing_key(),
            checkpoint: Arc::new(Ed25519SigningKey::generate(&mut rand::rng())),
            boot_counter: 3,
            hello: None,
            tls_config: None,
        }
    }

    pub fn boot(&self, roster: &Roster) -> v1::BootKeys {
        let signer = self.signer(roster);
        let bytes = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        let (signing, tls) = (self.signing.verifying_key().spki(), self.tls.verifying_key().spki());
        let checkpoint = *self.checkpoint.verifying_key().as_bytes();
        v1::BootKeys {
            node: u32::from(self.index),
            roster_hash: bytes(&roster.hash),
            boot_counter: self.boot_counter,
            signing_key: bytes(signing),
            tls_key: bytes(tls),
            checkpoint_key: bytes(&checkpoint),
            signature: bytes(
                &self
                    .identity
                    .sign(&signer.boot(&roster.hash, signing, tls, &checkpoint)),
            ),
            feature_level: 1,
            feature_signature: bytes(&self.signing.sign(&signer.feature(1))),
        }
    }

    pub fn signer(&self, roster: &Roster) -> Signer {
        Signer {
            cluster: roster.cluster,
            node: self.index,
            boot_counter: self.boot_counter,
        }
    }
}

/// What the server and the test share.
pub struct Shared {
    pub keys: NodeKeys,
    pub roster: Arc<Roster>,
    pub log: Arc<Mutex<Log>>,
    pub behaviour: Mutex<Behaviour>,
    pub seen: Mutex<Vec<&'static str>>,
    pub audit: Mutex<Vec<Bytes>>,
    pub reports: Mutex<Vec<v1::HeadReport>>,
    pub endpoint: quinn::Endpoint,
    wire: Arc<Wire>,
}

impl Shared {
    /// Is gone without a word, as when its machine fails: nothing comes from it any more, nor gets to it.
    pub fn vanish(&self) {
        self.wire.cut.store(true, Ordering::Relaxed);
    }

    pub fn index(&self) -> u16 {
        self.keys.index
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.endpoint.close(0u32.into(), b"");
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A node's socket, which can be cut.
#[derive(Debug)]
struct Wire {
    socket: Arc<dyn AsyncUdpSocket>,
    cut: AtomicBool,
}

impl AsyncUdpSocket for Wire {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.socket.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &quinn::udp::Transmit<'_>) -> io::Result<()> {
        if self.cut.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [io::IoSliceMut<'_>],
        meta: &mut [quinn::udp::RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            let received = self.socket.poll_recv(cx, bufs, meta);
            if received.is_pending() || !self.cut.load(Ordering::Relaxed) {
                return received;
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// Starts a node on `socket`.
pub fn serve(socket: UdpSocket, keys: NodeKeys, roster: Arc<Roster>, log: Arc<Mutex<Log>>) -> Arc<Shared> {
    let issuer = keys.issuer.clone();
    let leaf = node_leaf(
        keys.tls.to_pkcs8_der().unwrap().expose(),
        keys.issuer.verifying_key(),
        &|message| Some(issuer.sign(message)),
        now_s() - 3600,
        now_s() + 3600,
    );
    let mut tls = server_config(leaf.unwrap()).unwrap();
    if let Some(change) = &keys.tls_config {
        tls = change(tls);
    }
    let mut quic = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    // Less than a large value, as a real node has it.
    let mut transport = quinn::TransportConfig::default();
    transport
        .receive_window(WINDOW.into())
        .stream_receive_window(WINDOW.into());
    quic.transport_config(Arc::new(transport));
    let runtime = Arc::new(quinn::TokioRuntime);
    let wire = Arc::new(Wire {
        socket: runtime.wrap_udp_socket(socket).unwrap(),
        cut: AtomicBool::new(false),
    });
    let config = quinn::EndpointConfig::default();
    let endpoint = quinn::Endpoint::new_with_abstract_socket(config, Some(quic), wire.clone(), runtime).unwrap();
    let shared = Arc::new(Shared {
        keys,
        roster,
        log,
        behaviour: Mutex::default(),
        seen: Mutex::default(),
        audit: Mutex::default(),
        reports: Mutex::default(),
        endpoint: endpoint.clone(),
        wire,
    });
    let weak = Arc::downgrade(&shared);
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            let Some(node) = weak.upgrade() else { return };
            tokio::spawn(async move {
                if let Ok(connection) = incoming.await {
                    node.connection(connection).await;
                }
            });
        }
    });
    shared
}

impl Shared {
    async fn connection(self: Arc<Self>, connection: quinn::Connection) {
        let mut hello = v1::Hello {
            protocol: symbolon_wire::PROTOCOL,
            rosters: vec![v1::Roster::decode(self.roster.encoded.clone()).unwrap()],
            boot: Some(self.keys.boot(&self.roster)),
            software: "fake".to_owned(),
        };
        if let Some(change) = &self.keys.hello {
            change(&mut hello);
        }
        let Ok(mut uni) = connection.open_uni().await else {
            return;
        };
        if uni.write_all(&hello.encode_to_vec()).await.is_err() || uni.finish().is_err() {
            return;
        }
        let chain = connection
            .peer_identity()
            .unwrap()
            .downcast::<Vec<CertificateDer<'static>>>()
            .unwrap();
        let client_key = Leaf::parse(&chain[0], now_s()).unwrap().key.fingerprint();
        while let Ok((send, recv)) = connection.accept_bi().await {
            let (node, connection) = (self.clone(), connection.clone());
            tokio::spawn(async move { node.stream(connection, send, recv, client_key).await });
        }
    }

    async fn stream(
        self: Arc<Self>,
        connection: quinn::Connection,
        mut send: quinn::SendStream,
        recv: quinn::RecvStream,
        client_key: Hash,
    ) {
        let Some(bytes) = self.request(&mut send, recv).await else {
            return;
        };
        let behaviour = self.behaviour.lock().unwrap().clone();
        if behaviour.silent {
            let _held = (send, connection.closed().await);
            return;
        }
        tokio::time::sleep(behaviour.delay).await;
        if behaviour.loses_connection {
            connection.close(1u32.into(), b"lost");
            return;
        }
        if behaviour.garbage {
            let _ = send.write_all(b"\xff\xff\xff\xffgarbage").await;
            let _ = send.finish();
            return;
        }
        self.wait_for_news(&bytes).await;
        // It may have been told to misbehave while it waited.
        let behaviour = self.behaviour.lock().unwrap().clone();
        let Some((answer, fragment)) = self.answer(&bytes, client_key, &behaviour) else {
            connection.close(1u32.into(), b"lost");
            return;
        };
        let waits = |kind| matches!(kind, Some(Kind::Submit(submit)) if submit.level > 0);
        if behaviour.holds_levels_back && waits(v1::Request::decode(bytes.as_slice()).unwrap().kind) {
            let _held = (send, connection.closed().await);
            return;
        }
        let response = v1::Response { result: Some(answer) };
        let frame = encode_response(&response, fragment.as_ref());
        if send.write_all(frame.as_ref()).await.is_ok() {
            let _ = send.finish();
            let _ = send.stopped().await;
        }
    }

    /// All of a request; `None` if it does not come, or is refused before.
    async fn request(&self, send: &mut quinn::SendStream, mut recv: quinn::RecvStream) -> Option<Vec<u8>> {
        let refuses_from = self.behaviour.lock().unwrap().refuses_from.clone();
        let mut bytes = Vec::new();
        while let Some(chunk) = recv.read_chunk(REQUEST_BYTES_MAX, true).await.ok()? {
            bytes.extend_from_slice(&chunk.bytes);
            if let Some((from, refusal)) = &refuses_from
                && bytes.len() >= *from
            {
                drop(recv);
                let result = Some(Answer::Error(refusal.clone()));
                let frame = encode_response(&v1::Response { result }, None);
                send.write_all(frame.as_ref()).await.ok()?;
                send.finish().ok()?;
                send.stopped().await.ok()?;
                return None;
            }
        }
        (bytes.len() <= REQUEST_BYTES_MAX).then_some(bytes)
    }

    /// `None`: the connection is lost instead.
    fn answer(
        &self,
        bytes: &[u8],
        client_key: Hash,
        behaviour: &Behaviour,
    ) -> Option<(Answer, Option<ReleasedFragment>)> {
        let kind = v1::Request::decode(bytes).unwrap().kind.unwrap();
        let (name, min_index) = describe(&kind);
        self.seen.lock().unwrap().push(name);
        if let Some(error) = &behaviour.refuse {
            return Some((Answer::Error(error.clone()), None));
        }
        if !self.log.lock().unwrap().principals.contains_key(&client_key) {
            return Some((refusal(Code::UnknownKey, "the key is not registered", 0), None));
        }
        if matches!(kind, Kind::Status(_)) && behaviour.told_ms.is_some() {
            return None;
        }
        let Some(upto) = self.catch_up(min_index, behaviour) else {
            return Some((refusal(Code::NotFresh, "not caught up", 0), None));
        };
        if let Kind::Read(read) = &kind {
            if let Some(error) = behaviour.refuse_bodies.as_ref().filter(|_| read.body) {
                return Some((Answer::Error(error.clone()), None));
            }
            return Some(self.read(read, bytes, client_key, upto, behaviour));
        }
        if let Kind::Watch(watch) = &kind {
            return Some((self.watch(watch, upto, behaviour), None));
        }
        if let Kind::Submit(submit) = &kind {
            return self.submit(submit, behaviour).map(|answer| (answer, None));
        }
        if let (Kind::Outcomes(asked), Some(code)) = (&kind, behaviour.lies_about_writes) {
            let told = Answer::Outcomes(v1::OutcomesReply {
                state_index: upto,
                outcomes: asked.commands.iter().map(|_| lie(code)).collect(),
            });
            return Some((told, None));
        }
        Some((self.query(kind, client_key, upto, behaviour), None))
    }

    fn catch_up(&self, min_index: u64, behaviour: &Behaviour) -> Option<u64> {
        let applied = self.log.lock().unwrap().index;
        match behaviour.lag_at {
            None if behaviour.ignores_min_index => Some(applied),
            None => (applied >= min_index).then_some(applied),
            Some(lag) if lag >= min_index || behaviour.ignores_min_index => Some(lag),
            Some(_) if behaviour.catches_up => (applied >= min_index).then_some(applied),
            Some(_) => None,
        }
    }

    /// Holds an answer to a watch back until there is something to tell, or the wait is over.
    async fn wait_for_news(&self, bytes: &[u8]) {
        let Some(Kind::Watch(watch)) = v1::Request::decode(bytes).unwrap().kind else {
            return;
        };
        let by = tokio::time::Instant::now() + Duration::from_millis(watch.wait_ms.into());
        let quiet = || {
            let behaviour = self.behaviour.lock().unwrap().clone();
            let upto = self.catch_up(0, &behaviour).unwrap();
            match self.watch(&watch, upto, &behaviour) {
                Answer::Watch(reply) => reply.changes.is_empty(),
                _ => false,
            }
        };
        while !watch.now && tokio::time::Instant::now() < by && quiet() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Writes are all that changes.
    fn watch(&self, watch: &v1::WatchRequest, upto: u64, behaviour: &Behaviour) -> Answer {
        if !watch.now && watch.after < behaviour.forgot_until {
            return refusal(Code::TooFarBehind, "forgotten", upto);
        }
        let target = Target::of(watch);
        let log = self.log.lock().unwrap();
        let changed = |version: &&Version| version.log_index > watch.after && version.log_index <= upto;
        let told = log
            .versions
            .iter()
            .filter(changed)
            .filter(|version| target.covers(&version.path));
        let changes = told.map(|version| v1::Change {
            log_index: version.log_index,
            path: version.path.clone(),
            kind: ChangeKind::Put.number(),
            versions: vec![version.stored.version],
            destroyed: Vec::new(),
        });
        let mut reply = v1::WatchReply {
            changes: if watch.now { Vec::new() } else { changes.collect() },
            upto,
        };
        if let Some(change) = behaviour.news.as_ref().filter(|_| !watch.now) {
            change(&mut reply);
        }
        Answer::Watch(reply)
    }

    fn submit(&self, submit: &v1::Submit, behaviour: &Behaviour) -> Option<Answer> {
        if behaviour.loses_commands {
            return None;
        }
        let mut log = self.log.lock().unwrap();
        if let Some(code) = behaviour.lies_about_writes {
            let lie = lie(code);
            return Some(Answer::Submitted(v1::Submitted {
                index: 1,
                chain: lie.chain,
                outcome: lie.outcome,
                ..v1::Submitted::default()
            }));
        }
        let mut submitted = log.submit(submit.command.clone().unwrap());
        if behaviour.never_confirms && submit.level > 0 {
            return Some(refusal(Code::Timeout, "committed, but 1 of 3 have confirmed", 0));
        }
        if behaviour.gone_unconfirmed && submit.level > 0 {
            return Some(refusal(Code::NotFound, "committed, but destroyed meanwhile", 0));
        }
        let outcome = submitted.outcome.as_mut().unwrap();
        if behaviour.confirms_another && submit.level > 0 {
            outcome.record_hash = vec![9; 32].into();
        }
        let code = Code::from_number(outcome.code);
        if let Some(code) = code.filter(|_| behaviour.refuses_as_errors) {
            return Some(refusal(code, &outcome.message, submitted.index));
        }
        (!behaviour.loses_answers).then_some(Answer::Submitted(submitted))
    }

    fn query(&self, kind: Kind, client_key: Hash, upto: u64, behaviour: &Behaviour) -> Answer {
        let log = self.log.lock().unwrap();
        match kind {
            Kind::Resolve(resolve) => {
                let principal = &log.principals[&client_key];
                let found = log.latest(&resolve.path, upto);
                Answer::Resolve(v1::ResolveReply {
                    tenant: Bytes::copy_from_slice(log.roster.first_tenant.bytes()),
                    principal: Bytes::copy_from_slice(&principal.id),
                    secret: found.map(|v| v.stored.secret.clone()).unwrap_or_default(),
                    latest: behaviour
                        .latest
                        .unwrap_or_else(|| found.map_or(0, |v| v.stored.version)),
                    settings: behaviour.settings,
                    log_time_ms: behaviour.told_ms.unwrap_or(log.now_ms),
                    name: principal.name.clone(),
                    state_index: upto,
                    ..v1::ResolveReply::default()
                })
            }
            Kind::Outcomes(asked) => Answer::Outcomes(v1::OutcomesReply {
                state_index: upto,
                outcomes: asked.commands.iter().map(|one| log.recorded(one, upto)).collect(),
            }),
            Kind::List(_) => {
                let mut names: Vec<_> = log
                    .versions
                    .iter()
                    .filter(|v| v.log_index <= upto)
                    .map(|v| v.path.clone())
                    .collect();
                names.sort();
                names.dedup();
                let entries = names
                    .into_iter()
                    .map(|name| v1::ListEntry { name, folder: false })
                    .collect();
                Answer::List(v1::ListReply {
                    entries,
                    more: false,
                    state_index: upto,
                })
            }
            Kind::Metadata(metadata) => match log.latest(&metadata.path, upto) {
                Some(v) => Answer::Metadata(v1::MetadataReply {
                    secret: v.stored.secret.clone(),
                    latest: v.stored.version,
                    state_index: upto,
                    ..v1::MetadataReply::default()
                }),
                None => refusal(Code::NotFound, "no such secret", upto),
            },
            Kind::Policies(_) => Answer::Policies(v1::PoliciesReply {
                version: log.policies.0,
                sources: log.policies.1.clone(),
                state_index: upto,
                ..v1::PoliciesReply::default()
            }),
            Kind::Principals(_) => Answer::Principals(v1::PrincipalsReply {
                principals: Vec::new(),
                state_index: upto,
            }),
            Kind::Status(_) => Answer::Status(v1::StatusReply {
                node: u32::from(self.index()),
                state: "serving".to_owned(),
                leader: 2,
                term: 1,
                applied: upto,
                log_time_ms: behaviour.status_ms.unwrap_or(log.now_ms),
                tls_group: GROUP.to_owned(),
                ..v1::StatusReply::default()
            }),
            Kind::Audit(audit) => {
                drop(log);
                self.audit_page(&audit)
            }
            Kind::Report(report) => {
                self.reports.lock().unwrap().push(report);
                Answer::Reported(v1::Reported {})
            }
            Kind::Anchor(_) if behaviour.anchor.is_some() => Answer::Anchor(behaviour.anchor.clone().unwrap()),
            Kind::Anchor(_) | Kind::Proof(_) => refusal(Code::UnknownVersion, "an older build", 0),
            Kind::Read(_) | Kind::Submit(_) | Kind::Watch(_) => unreachable!("answered before"),
        }
    }

    fn audit_page(&self, audit: &v1::AuditRequest) -> Answer {
        let leaves = self.audit.lock().unwrap();
        let mut tree = Tree::new();
        leaves.iter().for_each(|leaf| tree.append(leaf_hash(leaf)));
        let origin = symbolon_wire::audit::origin(self.roster.cluster, self.index());
        let note = Checkpoint::new(&origin, tree.size(), tree.root())
            .unwrap()
            .sign(&self.keys.checkpoint);
        let from = if audit.tail {
            leaves.len().saturating_sub(audit.limit as usize)
        } else {
            audit.from as usize
        };
        // A small page, so that several are needed.
        let page = leaves
            .iter()
            .skip(from)
            .take((audit.limit as usize).min(4))
            .cloned()
            .collect();
        Answer::Audit(v1::AuditReply {
            from: from as u64,
            leaves: page,
            checkpoint: note.into(),
            boots: vec![self.keys.boot(&self.roster)],
            archived: Vec::new(),
        })
    }

    fn log_decision(&self, client_key: Hash, read: &v1::ReadRequest, upto: u64) -> u64 {
        let leaf = v1::AuditLeaf {
            salt: Bytes::copy_from_slice(&rand::random::<[u8; 16]>()),
            node: u32::from(self.index()),
            boot_counter: self.keys.boot_counter,
            client_key: Bytes::copy_from_slice(&client_key),
            action: "read".to_owned(),
            resource: read.path.clone(),
            purpose: read.purpose.clone(),
            allowed: true,
            state_index: upto,
            tls_group: GROUP.to_owned(),
            ..v1::AuditLeaf::default()
        };
        let mut leaves = self.audit.lock().unwrap();
        leaves.push(symbolon_wire::audit::encode(&leaf));
        leaves.len() as u64 - 1
    }

    /// The fragment, opened for real.
    fn fragment(&self, log: &Log, version: &Version) -> ReleasedFragment {
        let place = self.roster.position(self.index()).unwrap();
        let shared = self.keys.sealing.decapsulate(&log.sessions[&version.session][place]);
        let key = fragment_key(&shared, &version.session, &version.dd, self.index());
        let sealed = version.sealed[place].as_ref().try_into().unwrap();
        let fragment = open_fragment(&AwsLc, &key, &version.dd, sealed).unwrap();
        if version.ok {
            log.with_dealing(&version.stored, |dealing| {
                dealing.verify_fragment(self.index(), &fragment)
            })
            .unwrap();
        }
        ReleasedFragment::new(Box::new(*fragment.expose()))
    }

    fn read(
        &self,
        read: &v1::ReadRequest,
        bytes: &[u8],
        client_key: Hash,
        upto: u64,
        behaviour: &Behaviour,
    ) -> (Answer, Option<ReleasedFragment>) {
        let log = self.log.lock().unwrap();
        let version = match read.version {
            0 => log.latest(&read.path, upto),
            number => log
                .versions
                .iter()
                .find(|v| v.path == read.path && v.stored.version == number && v.log_index <= upto),
        };
        let Some(version) = version else {
            return (refusal(Code::NotFound, "no such version", upto), None);
        };
        let mut fragment = self.fragment(&log, version);
        if behaviour.wrong_fragment {
            fragment = ReleasedFragment::new(Box::new([7; 64]));
        }
        let audit_index = self.log_decision(client_key, read, upto);
        let anchor = upto - upto % 256;
        let mut anchor_chain = log.chain(anchor);
        if behaviour.other_history {
            anchor_chain[0] ^= 1;
        }
        let mut record_hash = version.record_hash;
        if behaviour.other_record {
            record_hash[0] ^= 1;
        }
        let (record_chain, fragment_hash) = (log.chain(version.log_index), sha256(fragment.expose()));
        let request_hash = behaviour.for_request.unwrap_or_else(|| sha256(bytes));
        let signer = self.keys.signer(&self.roster);
        let leaf = signer.reply(&ReplyLeaf {
            client_key: &behaviour.for_client.unwrap_or(client_key),
            request_hash: &request_hash,
            record_hash: &record_hash,
            epoch: version.stored.epoch,
            fragment_hash: &fragment_hash,
            state_index: upto,
            record_index: version.log_index,
            record_chain: &record_chain,
            anchor_index: anchor,
            anchor_chain: &anchor_chain,
        });
        // The middle one of a group of three, each with its receipt beside it.
        let mut audit_leaf = leaf_hash(&self.audit.lock().unwrap()[audit_index as usize]);
        let receipt = signer.receipt(&request_hash, audit_index, &audit_leaf);
        let mut tree = Tree::new();
        [b"before".as_slice(), b"its", &leaf, &receipt, b"after", b"its"]
            .iter()
            .for_each(|leaf| tree.append(leaf_hash(leaf)));
        if behaviour.other_receipt {
            audit_leaf[0] ^= 1;
        }
        let key = if behaviour.forged_signature {
            &self.keys.tls
        } else {
            &self.keys.signing
        };
        let copy = |hash: &[u8]| Bytes::copy_from_slice(hash);
        let mut body = (read.body && !behaviour.no_body).then(|| version.stored.clone());
        if let Some(body) = body.as_mut().filter(|_| behaviour.wrong_body) {
            let mut ciphertext = body.ciphertext.to_vec();
            ciphertext[0] ^= 1;
            body.ciphertext = ciphertext.into();
        }
        let reply = v1::ReadReply {
            node: u32::from(self.index()),
            boot_counter: self.keys.boot_counter,
            record_hash: copy(&record_hash),
            epoch: version.stored.epoch,
            fragment_hash: copy(&fragment_hash),
            state_index: upto,
            record_index: version.log_index,
            record_chain: copy(&record_chain),
            anchor_index: anchor,
            anchor_chain: copy(&anchor_chain),
            version: version.stored.version,
            group_size: 6,
            group_index: 2,
            group_path: tree.path(2).unwrap().iter().map(|hash| copy(hash)).collect(),
            group_signature: copy(&key.sign(&signer.replies(&tree.root()))),
            audit_index,
            audit_leaf: copy(&audit_leaf),
            body,
        };
        if behaviour.swapped_fragment {
            fragment = ReleasedFragment::new(Box::new([7; 64]));
        }
        (Answer::Read(reply), Some(fragment))
    }
}

fn describe(kind: &Kind) -> (&'static str, u64) {
    match kind {
        Kind::Submit(_) => ("submit", 0),
        Kind::Read(read) => ("read", read.min_index),
        Kind::List(list) => ("list", list.min_index),
        Kind::Metadata(metadata) => ("metadata", metadata.min_index),
        Kind::Resolve(resolve) => ("resolve", resolve.min_index),
        Kind::Status(_) => ("status", 0),
        Kind::Audit(_) => ("audit", 0),
        Kind::Policies(policies) => ("policies", policies.min_index),
        Kind::Principals(principals) => ("principals", principals.min_index),
        Kind::Report(_) => ("report", 0),
        Kind::Anchor(anchor) => ("anchor", anchor.min_index),
        Kind::Proof(_) => ("proof", 0),
        Kind::Watch(_) => ("watch", 0),
        Kind::Outcomes(outcomes) => ("outcomes", outcomes.min_index),
    }
}

fn lie(code: u32) -> v1::RecordedOutcome {
    let outcome = v1::Outcome {
        code,
        version: 1,
        record_hash: Bytes::from_static(&[7; 32]),
        index: 1,
        ..v1::Outcome::default()
    };
    v1::RecordedOutcome {
        outcome: Some(outcome),
        chain: Bytes::from_static(&[7; 32]),
    }
}

fn refusal(code: Code, message: &str, state_index: u64) -> Answer {
    Answer::Error(v1::Error {
        code: code as u32,
        message: message.to_owned(),
        state_index,
        ..v1::Error::default()
    })
}
