//! The QUIC endpoint: accepts connections, introduces itself, reads one request a stream, answers it.

use crate::admission;
use crate::answers::Answering;
use crate::clocks;
use crate::cosign;
use crate::crowd::Place;
use crate::gossip;
use crate::intake::{self, Arrived, Budgets, LargeReply, NotArrived, Room};
use crate::member::{Member, count, error, unknown_key};
use crate::outcomes;
use crate::release::{Client, Releases, failed};
use crate::submit::{self, known};
use crate::vouch::Seen;
use bytes::Bytes;
use prost::Message;
use quinn::{Connection, Endpoint, Incoming, RecvStream, SendStream, VarInt};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use symbolon_consensus::Allowance;
use symbolon_crypto::enc::sha256;
use symbolon_custody::admission::BootId;
use symbolon_custody::gate;
use symbolon_state::query;
use symbolon_wire::Code;
use symbolon_wire::frame::{ALPN_PEER, decode};
use symbolon_wire::limits::{PEER_FRAME_BYTES_MAX, REQUEST_BYTES_MAX, STRANGER_REQUEST_BYTES_MAX};
use symbolon_wire::reply::{ResponseFrame, encode_response};
use symbolon_wire::tls::Leaf;
use symbolon_wire::v1::{self, peer_request, peer_response, request, response};
use tokio::sync::oneshot;

/// Open connections past which a client must first prove its address (RFC 9000, 8.1.2).
const UNPROVEN_MAX: usize = 64;
/// First packets that wait to be looked at, bytes of what follows one of them, and of what follows all.
const ARRIVALS_MAX: usize = 4_096;
const ARRIVAL_BYTES: u64 = 16 * 1024;
const ARRIVALS_BYTES: u64 = 8 * 1024 * 1024;
/// Streams that one client may have open.
const CLIENT_STREAMS: u32 = 256;
/// Streams that a peer may have open: appends and forwarded commands.
const PEER_STREAMS: u32 = 4_096;
/// Bytes on one client connection that the node has not read: bounds what gapped streams can hold. That gaps cost more
/// than their bytes is bounded by quinn: a stream in more than 1,024 pieces ends its connection.
const CLIENT_WINDOW: u32 = 1024 * 1024;
/// The same of another node.
pub(crate) const PEER_WINDOW: u32 = 16 * 1024 * 1024;
/// The same for a key that nobody has registered, and the streams that it may have open.
const STRANGER_WINDOW: u32 = 64 * 1024;
const STRANGER_STREAMS: u32 = 4;
/// Bytes on one connection that its client has not acknowledged.
const SEND_WINDOW: u64 = 4 * 1024 * 1024;
/// A client takes an answer whole within this time; then it is given up, with the room that it took.
const ANSWER: Duration = Duration::from_secs(30);
/// The same of another node, which has room for it: only one that is gone, or means harm, takes longer.
const PEER_ANSWER: Duration = Duration::from_secs(10);
/// A handshake takes at most this long.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// What a node says first.
const INTRODUCTION_BYTES_MAX: usize = 64 * 1024;
/// A stranger who asks nothing for so long is let go.
const STRANGER_IDLE: Duration = Duration::from_secs(10);

/// Refusals of keys that nobody has registered that are recorded: a thousand at once, and one in ten seconds. All are refused
/// alike; recorded without end they would fill the disk and keep agents waiting.
pub(crate) fn strangers() -> Allowance {
    Allowance::new(1_000, Duration::from_secs(10))
}

/// Transport settings of the endpoint. Every connection begins as a stranger's.
pub(crate) fn transport() -> quinn::TransportConfig {
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(STRANGER_STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(1))
        .receive_window(VarInt::from_u32(STRANGER_WINDOW))
        .stream_receive_window(VarInt::from_u32(1024 * 1024))
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(Duration::from_secs(10)));
    transport
}

/// Bounds what has arrived before it is accepted.
pub(crate) fn bound_arrivals(server: &mut quinn::ServerConfig) {
    server
        .max_incoming(ARRIVALS_MAX)
        .incoming_buffer_size(ARRIVAL_BYTES)
        .incoming_buffer_size_total(ARRIVALS_BYTES);
}

/// Accepts until the endpoint closes.
pub(crate) async fn serve(member: Arc<Member>, endpoint: Endpoint, releases: Releases) {
    while let Some(incoming) = endpoint.accept().await {
        let open = endpoint.open_connections();
        if open > UNPROVEN_MAX && !incoming.remote_address_validated() {
            // The client comes back with a token that proves its address.
            if let Err(unretried) = incoming.retry() {
                unretried.into_incoming().refuse();
            }
            continue;
        }
        if !member.guests.has_room(open) {
            incoming.ignore();
            continue;
        }
        let handshake = member.guests.handshake(incoming.remote_address().ip());
        let (member, releases) = (Arc::clone(&member), releases.clone());
        tokio::spawn(async move {
            count(&member.counters.connections);
            connection(&member, incoming, handshake, &releases).await;
            member.counters.connections.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// The place of a handshake, and what completes when another needs it.
type Handshake = (Place<oneshot::Sender<()>>, oneshot::Receiver<()>);

async fn connection(member: &Arc<Member>, incoming: Incoming, (place, wanted): Handshake, releases: &Releases) {
    let source = incoming.remote_address().ip();
    let Ok(connecting) = incoming.accept() else { return };
    let connected = tokio::select! {
        connected = tokio::time::timeout(HANDSHAKE, connecting) => connected,
        _ = wanted => return,
    };
    let Ok(Ok(connection)) = connected else {
        tracing::debug!(%source, "a handshake failed");
        return;
    };
    let Some((leaf, peer)) = shown_by(&connection) else {
        return connection.close(2_u32.into(), b"certificate");
    };
    if peer {
        drop(place);
        return serve_peer(member, &connection, &leaf).await;
    }
    let client = Client {
        key: leaf.key.fingerprint(),
        source,
        room: Arc::new(Room::new()),
    };
    let seat = seat(member, &connection, &client);
    drop(place);
    serve_client(member, &connection, releases, client, seat).await;
}

/// The place of a client's connection: a stranger's until its key is registered. A registered key takes none of the
/// strangers', so that no flood of them keeps it out.
struct Seat {
    stranger: bool,
    _place: Place<Connection>,
}

fn seat(member: &Member, connection: &Connection, client: &Client) -> Seat {
    if !is_registered(member, client) {
        return Seat {
            stranger: true,
            _place: member.guests.stranger(client.source, connection),
        };
    }
    connection.set_receive_window(VarInt::from_u32(CLIENT_WINDOW));
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(CLIENT_STREAMS));
    Seat {
        stranger: false,
        _place: member.guests.client(client.key, connection),
    }
}

/// Answers a client's requests. Until its key is registered it is a stranger and gets little room.
async fn serve_client(
    member: &Arc<Member>,
    connection: &Connection,
    releases: &Releases,
    client: Client,
    mut seat: Seat,
) {
    if introduce(member, connection).await.is_none() {
        return;
    }
    loop {
        greet(member, connection, &client, &mut seat);
        let accepting = connection.accept_bi();
        let accepted = if seat.stranger {
            match tokio::time::timeout(STRANGER_IDLE, accepting).await {
                Ok(accepted) => accepted,
                Err(_) => return connection.close(5_u32.into(), b"idle, by a key that nobody has registered"),
            }
        } else {
            accepting.await
        };
        let Ok((send, receive)) = accepted else { return };
        // Once more: it may have been registered while it was silent.
        greet(member, connection, &client, &mut seat);
        let (budgets, bytes_max) = match seat.stranger {
            false => (member.intake.of_client(&client.room), REQUEST_BYTES_MAX),
            true => (member.intake.of_strangers(), STRANGER_REQUEST_BYTES_MAX),
        };
        let (member, releases, client) = (Arc::clone(member), releases.clone(), client.clone());
        let (stranger, streams) = (seat.stranger, (send, receive));
        tokio::spawn(async move {
            request(&member, &releases, client, stranger, (&budgets, bytes_max), streams).await;
        });
    }
}

/// Gives a client its room as soon as its key is registered.
fn greet(member: &Member, connection: &Connection, client: &Client, seat: &mut Seat) {
    if seat.stranger && is_registered(member, client) {
        *seat = self::seat(member, connection, client);
    }
}

fn is_registered(member: &Member, client: &Client) -> bool {
    let found = member.on_scene(|scene, _| query::principal_by_key(scene.view, &client.key, gate::later_clock(scene)));
    matches!(found, Ok(Ok(Some(_))))
}

/// The certificate of the connection, and whether it speaks the peers' protocol.
fn shown_by(connection: &Connection) -> Option<(Leaf, bool)> {
    let certificates = connection.peer_identity()?;
    let certificates = certificates
        .downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>()
        .ok()?;
    let leaf = Leaf::parse(certificates.first()?, clocks::wall_ms() / 1000).ok()?;
    let data = connection
        .handshake_data()?
        .downcast::<quinn::crypto::rustls::HandshakeData>()
        .ok()?;
    Some((leaf, data.protocol.as_deref() == Some(ALPN_PEER)))
}

/// The first message on every connection: roster chain and boot statement. `None` if it is not taken.
async fn introduce(member: &Member, connection: &Connection) -> Option<()> {
    let saying = async {
        let mut send = connection.open_uni().await.ok()?;
        send.write_chunk(member.hello.clone()).await.ok()?;
        // A stream that the peer has already closed needs no end.
        let _ = send.finish();
        Some(())
    };
    tokio::time::timeout(HANDSHAKE, saying).await.ok()?
}

async fn request(
    member: &Arc<Member>,
    releases: &Releases,
    client: Client,
    stranger: bool,
    (budgets, bytes_max): (&Budgets, usize),
    (mut send, mut receive): (SendStream, RecvStream),
) {
    count(&member.counters.requests);
    // `_large` lives until the client has taken the answer.
    let (frame, _large) = match intake::whole(&mut receive, bytes_max, budgets).await {
        Ok(Arrived { bytes, held }) => {
            let gone = send.stopped();
            let answered = answer(member, releases, client, stranger, bytes, gone).await;
            drop(held);
            match answered {
                Some(answered) => answered,
                None => return,
            }
        }
        Err(NotArrived::Gone) => return,
        Err(refused) => (failed(not_arrived(member, refused, bytes_max)), None),
    };
    // Whether the client still listens is its affair.
    match tokio::time::timeout(ANSWER, send.write_all(frame.as_ref())).await {
        Ok(Ok(())) => drop(send.finish()),
        Ok(Err(_)) => {}
        Err(_) => drop(send.reset(1_u32.into())),
    }
}

/// What is said of a request that did not arrive.
fn not_arrived(member: &Member, refused: NotArrived, bytes_max: usize) -> v1::Error {
    match refused {
        NotArrived::TooLarge if bytes_max < REQUEST_BYTES_MAX => error(
            Code::UnknownKey,
            format!("the connection's key belongs to no live principal, and may send at most {bytes_max} bytes"),
            "ask an operator to register it: symbolon agent register",
        ),
        NotArrived::TooLarge => {
            count(&member.counters.malformed);
            let message = format!("a request has at most {bytes_max} bytes");
            error(Code::TooLarge, message, "send a smaller value")
        }
        NotArrived::Late => error(
            Code::Timeout,
            "the request did not arrive whole in time",
            "send it again",
        ),
        NotArrived::Full | NotArrived::Gone => error(
            Code::Overloaded,
            "too many requests arrive at once",
            "try again after a pause",
        ),
    }
}

/// An answer, and the room that it takes.
type Answered = (ResponseFrame, Option<LargeReply>);

/// `gone` completes when nobody waits for the answer any more: what only waits then ends, with `None`. All else is brought
/// to its end.
async fn answer(
    member: &Arc<Member>,
    releases: &Releases,
    client: Client,
    stranger: bool,
    bytes: Bytes,
    gone: impl Future,
) -> Option<Answered> {
    let request_hash = sha256(&bytes);
    let kind = match parse(member, bytes) {
        Ok(kind) if stranger && is_recorded(&kind) && !member.strangers.take(0) => {
            count(&member.counters.denials);
            return Some((failed(unknown_key()), None));
        }
        Ok(request::Kind::Read(read)) => return Some(releases.read(member, client, request_hash, read).await),
        Ok(kind) => kind,
        Err(refused) => return Some((failed(refused), None)),
    };
    let answering = Answering {
        member,
        releases,
        client: &client,
        request_hash: &request_hash,
    };
    let answered = match kind {
        request::Kind::Watch(watch) => tokio::select! {
            answered = answering.watch(watch) => answered,
            _ = gone => return None,
        },
        kind => answer_of(&answering, kind).await,
    };
    let frame = match answered {
        Ok(result) => encode_response(&v1::Response { result: Some(result) }, None),
        Err(refused) => failed(refused),
    };
    Some((frame, None))
}

/// Whether a refusal of it is a record of the audit log.
fn is_recorded(kind: &request::Kind) -> bool {
    use request::Kind::{Anchor, Outcomes, Report, Status, Submit};
    !matches!(kind, Submit(_) | Outcomes(_) | Status(_) | Anchor(_) | Report(_))
}

/// What is asked.
fn parse(member: &Member, bytes: Bytes) -> Result<request::Kind, v1::Error> {
    let malformed = |message: String| {
        count(&member.counters.malformed);
        error(Code::Malformed, message, "update the client")
    };
    let request: v1::Request = decode(bytes, REQUEST_BYTES_MAX).map_err(|refused| malformed(refused.to_string()))?;
    match request.kind {
        Some(request::Kind::Read(read)) if read.nonce.len() != 32 => {
            Err(malformed("a read needs a nonce of 32 bytes".to_owned()))
        }
        Some(kind) => Ok(kind),
        None => {
            count(&member.counters.malformed);
            let message = "this node does not know this kind of request";
            Err(error(Code::UnknownVersion, message, "update the node"))
        }
    }
}

/// Everything but reads and watches.
async fn answer_of(answering: &Answering<'_>, kind: request::Kind) -> Result<response::Result, v1::Error> {
    let Answering { member, client, .. } = answering;
    let standing = member.standing();
    if let (Some(code), false) = (standing.ended(), matches!(kind, request::Kind::Status(_))) {
        let message = format!("node {}: {}", member.node, standing.reason());
        return Err(error(code, message, "see: symbolon status"));
    }
    match kind {
        request::Kind::Submit(command) => submit::submit(member, &client.key, command)
            .await
            .map(response::Result::Submitted),
        request::Kind::Outcomes(asked) => outcomes::outcomes(member, &client.key, asked).await,
        request::Kind::List(list) => answering.list(list).await,
        request::Kind::Metadata(metadata) => answering.metadata(metadata).await,
        request::Kind::Resolve(resolve) => answering.resolve(resolve).await,
        request::Kind::Status(_) => answering.status(),
        request::Kind::Audit(audit) => answering.audit(audit).await,
        request::Kind::Anchor(anchor) => answering.anchor(anchor).await,
        request::Kind::Proof(proof) => answering.proof(proof).await,
        request::Kind::Policies(policies) => answering.policies(policies).await,
        request::Kind::Principals(principals) => answering.principals(principals).await,
        request::Kind::Report(report) => {
            known(member, &client.key)?;
            gossip::report(member, &report);
            Ok(response::Result::Reported(v1::Reported {}))
        }
        // Answered by paths of their own.
        request::Kind::Read(_) | request::Kind::Watch(_) => Err(error(Code::Internal, "a request went astray", "")),
    }
}

/// A connection that speaks the peers' protocol: who it is must be shown first, by a boot statement whose TLS key is the
/// connection's and whose identity key issued the certificate. Whoever shows a certificate of a node's has that node's
/// place for it and needs no stranger's, so that a node that comes back during a flood is let in.
async fn serve_peer(member: &Arc<Member>, connection: &Connection, leaf: &Leaf) {
    let certified = |identity| leaf.issued_by(identity, member.provider.as_ref()).is_ok();
    let refuse = || {
        tracing::warn!(source = %connection.remote_address(), "a connection claims to be a node and is not");
        connection.close(3_u32.into(), b"not a node");
    };
    let claimed = member.roster.nodes.iter().find(|node| certified(&node.identity));
    let Some(claimed) = claimed.map(|node| node.index) else {
        return refuse();
    };
    let _place = member.guests.peer(claimed, connection);
    let Some((node, statement, budgets)) = introduced(member, connection, leaf, claimed).await else {
        return refuse();
    };
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(PEER_STREAMS));
    connection.set_receive_window(VarInt::from_u32(PEER_WINDOW));
    let statement = Arc::new(statement);
    while let Ok((send, receive)) = connection.accept_bi().await {
        if member.is_excluded(node) {
            return connection.close(1_u32.into(), b"equivocation");
        }
        let (member, budgets, statement) = (Arc::clone(member), budgets.clone(), Arc::clone(&statement));
        tokio::spawn(async move { peer_request(&member, (node, &statement), &budgets, send, receive).await });
    }
}

/// Which boot it is of the node whose identity key issued the certificate, and the budget of what it sends.
async fn introduced(
    member: &Arc<Member>,
    connection: &Connection,
    leaf: &Leaf,
    certified: u16,
) -> Option<(u16, v1::BootKeys, Budgets)> {
    introduce(member, connection).await?;
    let first = tokio::time::timeout(HANDSHAKE, connection.accept_bi()).await.ok()?;
    let (mut send, mut receive) = first.ok()?;
    let strangers = member.intake.of_strangers();
    let arrived = intake::whole(&mut receive, INTRODUCTION_BYTES_MAX, &strangers).await;
    let request: v1::PeerRequest = decode(arrived.ok()?.bytes, INTRODUCTION_BYTES_MAX).ok()?;
    let Some(peer_request::Kind::Gossip(v1::Gossip {
        boot: Some(statement), ..
    })) = request.kind
    else {
        return None;
    };
    let Seen { node, boot, .. } = member.keep_boot(&statement)?;
    if node != certified {
        return None;
    }
    if let Some(newer) = member.fences.superseding(node, &BootId::of(&statement)) {
        send.write_all(&admission::refusal(newer)).await.ok()?;
        send.finish().ok()?;
        // So that it hears why before the connection ends.
        let _ = tokio::time::timeout(HANDSHAKE, send.stopped()).await;
        return None;
    }
    let applied = member.shown.load().boots.get(&node).map_or(0, |boot| boot.counter);
    if boot.tls_key != leaf.key || boot.counter < applied || node == member.node || member.is_excluded(node) {
        return None;
    }
    let done = peer_response::Result::Gossip(v1::GossipAck {});
    let frame = v1::PeerResponse { result: Some(done) }.encode_to_vec();
    send.write_all(&frame).await.ok()?;
    send.finish().ok()?;
    Some((node, statement, member.intake.of_peer(node)?))
}

async fn peer_request(
    member: &Arc<Member>,
    (node, statement): (u16, &v1::BootKeys),
    budgets: &Budgets,
    mut send: SendStream,
    mut receive: RecvStream,
) {
    // `held` lives as long as the message is worked on.
    let Arrived { bytes, held: _held } = match intake::whole(&mut receive, PEER_FRAME_BYTES_MAX, budgets).await {
        Ok(arrived) => arrived,
        Err(NotArrived::TooLarge) => {
            count(&member.counters.malformed);
            return tracing::warn!(node, "a node sent more than {PEER_FRAME_BYTES_MAX} bytes at once");
        }
        Err(_) => return,
    };
    let Some(frame) = peer_answer(member, (node, statement), bytes).await else {
        return;
    };
    // Whether it still listens is its affair, and no reason to wait.
    match tokio::time::timeout(PEER_ANSWER, send.write_all(&frame)).await {
        Ok(Ok(())) => drop(send.finish()),
        Ok(Err(_)) => {}
        Err(_) => drop(send.reset(1_u32.into())),
    }
}

/// Nothing of this is held while the answer is on its way: a node that does not take it would keep the others waiting.
async fn peer_answer(member: &Arc<Member>, (node, statement): (u16, &v1::BootKeys), bytes: Bytes) -> Option<Bytes> {
    // While it lives, no newer boot of that node is told where this one stands.
    let passed = match member.fences.pass(node, &BootId::of(statement)).await {
        Ok(passed) => passed,
        Err(newer) => return Some(admission::refusal(*newer)),
    };
    let request = decode::<v1::PeerRequest>(bytes, PEER_FRAME_BYTES_MAX).map(|request| request.kind);
    let result = match request {
        Ok(Some(peer_request::Kind::Witness(_))) => {
            drop(passed);
            admission::answer(member, node, statement).await
        }
        Ok(Some(peer_request::Kind::Raft(frame))) => {
            if member.standing().ended().is_some() || crate::member::lock(&member.heads).is_outvoted(node) {
                return None;
            }
            #[cfg(feature = "sabotage")]
            let answered = crate::sabotage::answer(&frame);
            #[cfg(not(feature = "sabotage"))]
            let answered = None;
            peer_response::Result::Raft(match answered {
                Some(lie) => lie,
                None => member.consensus.receive(node.into(), frame).await,
            })
        }
        Ok(Some(peer_request::Kind::Propose(propose))) => {
            drop(passed);
            match submit::propose_for(member, propose).await {
                Ok(submitted) => peer_response::Result::Submitted(submitted),
                Err(refused) => peer_response::Result::Error(refused),
            }
        }
        Ok(Some(peer_request::Kind::Gossip(gossip))) => {
            gossip::take(member, node, gossip);
            peer_response::Result::Gossip(v1::GossipAck {})
        }
        Ok(Some(peer_request::Kind::Cosign(offer))) => match cosign::answer(member, node, &offer).await {
            Ok(cosigned) => peer_response::Result::Cosigned(cosigned),
            Err(refused) => peer_response::Result::Error(refused),
        },
        Ok(None) | Err(_) => {
            count(&member.counters.malformed);
            peer_response::Result::Error(error(Code::Malformed, "the message does not parse", ""))
        }
    };
    Some(v1::PeerResponse { result: Some(result) }.encode_to_vec().into())
}
