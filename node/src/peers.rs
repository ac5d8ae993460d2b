//! Connections to the other nodes: one to each, opened when needed, pinned to the roster's identity key.

use crate::clocks;
use crate::fences::Fences;
use bytes::Bytes;
use futures::future::BoxFuture;
use prost::Message;
use quinn::{ClientConfig, Connection, Endpoint};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use symbolon_consensus::{Call, Transport, TransportError};
use symbolon_crypto::provider::AwsLc;
use symbolon_custody::admission::BootId;
use symbolon_quic::exchange;
use symbolon_state::check_boot;
use symbolon_wire::frame::{decode, server_name};
use symbolon_wire::limits::PEER_ANSWER_BYTES_MAX;
use symbolon_wire::roster::Roster;
use symbolon_wire::tls::Leaf;
use symbolon_wire::v1::{self, peer_request, peer_response};
use tokio::sync::{Mutex, mpsc};

/// After a failed attempt a peer is left alone for this long.
const PAUSE: Duration = Duration::from_millis(200);
/// A handshake takes at most this long.
const HANDSHAKE: Duration = Duration::from_secs(2);
/// What a node says first on a connection.
const HELLO_BYTES_MAX: usize = 256 * 1024;

/// One other node.
struct Peer {
    address: String,
    config: ClientConfig,
    state: Mutex<PeerState>,
}

#[derive(Default)]
struct PeerState {
    connection: Option<Connection>,
    failed: Option<Instant>,
    excluded: bool,
}

/// The other nodes.
pub(crate) struct Peers {
    endpoint: Endpoint,
    peers: BTreeMap<u16, Peer>,
    /// Nothing of consensus is sent: a frozen leader must not go on holding the others' votes.
    muted: AtomicBool,
    /// Sent first on every connection: this node's boot statement.
    introduction: Bytes,
    roster: Arc<Roster>,
    fences: Arc<Fences>,
    /// Statements with which others refuse this boot.
    refused: mpsc::UnboundedSender<v1::BootKeys>,
}

/// Why a peer did not answer a request of the application's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PeerError {
    /// No connection, or it broke before the request was sent whole.
    #[error("node {0} cannot be reached")]
    Unreachable(u16),
    /// It was sent, and no answer came.
    #[error("node {0} did not answer")]
    NoAnswer(u16),
}

impl Peers {
    /// `configs` holds address and TLS configuration of each other node.
    pub(crate) fn new(
        endpoint: Endpoint,
        configs: Vec<(u16, String, ClientConfig)>,
        introduction: &v1::BootKeys,
        (roster, fences): (Arc<Roster>, Arc<Fences>),
    ) -> (Self, mpsc::UnboundedReceiver<v1::BootKeys>) {
        let (refused, refusals) = mpsc::unbounded_channel();
        let hello = v1::Gossip {
            boot: Some(introduction.clone()),
            ..v1::Gossip::default()
        };
        let introduction = v1::PeerRequest {
            kind: Some(peer_request::Kind::Gossip(hello)),
        };
        let peers = configs
            .into_iter()
            .map(|(node, address, config)| {
                (
                    node,
                    Peer {
                        address,
                        config,
                        state: Mutex::default(),
                    },
                )
            })
            .collect();
        let peers = Self {
            endpoint,
            peers,
            muted: AtomicBool::new(false),
            introduction: introduction.encode_to_vec().into(),
            roster,
            fences,
            refused,
        };
        (peers, refusals)
    }

    /// Stops sending what consensus says, or starts again.
    pub(crate) fn mute(&self, muted: bool) {
        self.muted.store(muted, Ordering::Relaxed);
    }

    /// Indices of the other nodes.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = u16> + '_ {
        self.peers.keys().copied()
    }

    async fn connection(&self, node: u16) -> Option<Connection> {
        let peer = self.peers.get(&node)?;
        let mut state = peer.state.lock().await;
        if let Some(connection) = &state.connection
            && connection.close_reason().is_none()
        {
            return Some(connection.clone());
        }
        state.connection = None;
        if state.excluded || state.failed.is_some_and(|at| at.elapsed() < PAUSE) {
            return None;
        }
        match tokio::time::timeout(HANDSHAKE, self.connect(node, peer)).await {
            Ok(Some(connection)) => {
                state.failed = None;
                state.connection = Some(connection.clone());
                Some(connection)
            }
            _ => {
                state.failed = Some(Instant::now());
                None
            }
        }
    }

    async fn connect(&self, node: u16, peer: &Peer) -> Option<Connection> {
        let address: SocketAddr = tokio::net::lookup_host(&peer.address).await.ok()?.next()?;
        let connecting = self
            .endpoint
            .connect_with(peer.config.clone(), address, &server_name(node))
            .ok()?;
        let connection = connecting.await.ok()?;
        if !self.is_newest(node, &connection).await {
            connection.close(6_u32.into(), b"superseded");
            return None;
        }
        let answer = tell(&connection, self.introduction.clone()).await?;
        if let Some(peer_response::Result::Superseded(newer)) = answer.result {
            self.hear(newer);
            return None;
        }
        Some(connection)
    }

    /// Whether whoever answers as `node` is its newest boot, as far as this node knows: of two processes with one identity
    /// the older may stand at the address.
    async fn is_newest(&self, node: u16, connection: &Connection) -> bool {
        let Some(newest) = self.fences.newest(node) else {
            return true;
        };
        let Some(leaf) = shown_by(connection) else { return false };
        if newest.tls_key == leaf.key.spki().as_slice() {
            return true;
        }
        // Another boot: newer ones say so in what every node says first.
        let Ok(mut receive) = connection.accept_uni().await else {
            return false;
        };
        let Ok(hello) = receive.read_to_end(HELLO_BYTES_MAX).await else {
            return false;
        };
        let hello: Result<v1::Hello, _> = decode(hello.into(), HELLO_BYTES_MAX);
        let Some(statement) = hello.ok().and_then(|hello| hello.boot) else {
            return false;
        };
        let checked = check_boot(&self.roster, &AwsLc, &statement);
        checked.is_some_and(|(of, boot)| of == node && boot.tls_key == leaf.key)
            && BootId::of(&statement) > BootId::of(&newest)
    }

    fn hear(&self, newer: v1::BootKeys) {
        // Whoever listens lives as long as the node.
        let _ = self.refused.send(newer);
    }

    /// Ends the connection to `node` if it leads to a boot that is not its newest.
    pub(crate) async fn leave_older(&self, node: u16) {
        let Some(peer) = self.peers.get(&node) else { return };
        let mut state = peer.state.lock().await;
        state.failed = None;
        let newest = self.fences.newest(node);
        let older = |connection: &mut Connection| match (&newest, shown_by(connection)) {
            (Some(newest), Some(leaf)) => newest.tls_key != leaf.key.spki().as_slice(),
            _ => false,
        };
        if let Some(connection) = state.connection.take_if(older) {
            connection.close(6_u32.into(), b"superseded");
        }
    }

    /// Drops the connection to `node` and opens none again: it was caught equivocating.
    pub(crate) async fn exclude(&self, node: u16) {
        let Some(peer) = self.peers.get(&node) else { return };
        let mut state = peer.state.lock().await;
        state.excluded = true;
        if let Some(connection) = state.connection.take() {
            connection.close(1_u32.into(), b"equivocation");
        }
    }

    /// Sends one request and waits for its answer.
    pub(crate) async fn ask(
        &self,
        node: u16,
        kind: peer_request::Kind,
        timeout: Duration,
    ) -> Result<peer_response::Result, PeerError> {
        let request: Bytes = v1::PeerRequest { kind: Some(kind) }.encode_to_vec().into();
        let connection = self.connection(node).await.ok_or(PeerError::Unreachable(node))?;
        let answer = tokio::time::timeout(timeout, tell(&connection, request)).await;
        match answer {
            Ok(Some(answer)) => match answer.result {
                Some(peer_response::Result::Superseded(newer)) => {
                    self.hear(newer);
                    Err(PeerError::NoAnswer(node))
                }
                answer => answer.ok_or(PeerError::NoAnswer(node)),
            },
            Ok(None) => Err(PeerError::NoAnswer(node)),
            Err(_) => {
                // A node that is down, paused or cut off: what is under way may still come, what follows starts anew.
                self.forget(node, &connection).await;
                Err(PeerError::NoAnswer(node))
            }
        }
    }

    /// Uses `connection` for nothing more.
    async fn forget(&self, node: u16, connection: &Connection) {
        let Some(peer) = self.peers.get(&node) else { return };
        let mut state = peer.state.lock().await;
        if state
            .connection
            .as_ref()
            .is_some_and(|current| current.stable_id() == connection.stable_id())
        {
            state.connection = None;
        }
    }
}

/// The certificate that the other end showed.
fn shown_by(connection: &Connection) -> Option<Leaf> {
    let certificates = connection.peer_identity()?;
    let certificates = certificates
        .downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>()
        .ok()?;
    Leaf::parse(certificates.first()?, clocks::wall_ms() / 1000).ok()
}

/// What the other node answers, if it does.
async fn tell(connection: &Connection, request: Bytes) -> Option<v1::PeerResponse> {
    let answer = exchange(connection, request, PEER_ANSWER_BYTES_MAX).await.ok()?;
    decode(answer.into(), PEER_ANSWER_BYTES_MAX).ok()
}

/// Consensus' frames over the same connections.
pub(crate) struct RaftTransport(pub Arc<Peers>);

impl Transport for RaftTransport {
    fn call(&self, to: u64, frame: Bytes, timeout: Duration) -> Call<'_> {
        let call: BoxFuture<'_, Result<Bytes, TransportError>> = Box::pin(async move {
            let node = u16::try_from(to).map_err(|_| TransportError::Unreachable { to })?;
            if self.0.muted.load(Ordering::Relaxed) {
                return Err(TransportError::Unreachable { to });
            }
            match self.0.ask(node, peer_request::Kind::Raft(frame), timeout).await {
                Ok(peer_response::Result::Raft(reply)) => Ok(reply),
                Ok(_) => Err(TransportError::Broken { to }),
                Err(PeerError::Unreachable(_)) => Err(TransportError::Unreachable { to }),
                Err(PeerError::NoAnswer(_)) => {
                    let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
                    Err(TransportError::Timeout { to, timeout_ms })
                }
            }
        });
        call
    }
}
