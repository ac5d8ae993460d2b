//! Floods, most of them by senders whom nobody has registered: the node's memory stays bounded, and it serves on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::flooding::{IN_TIME, Memory, endpoint, enter, first_node, gets_in, quic, resident_kib, served};
use common::{Running, config, known, lossy, running, stranger, until};
use quinn::crypto::rustls::QuicClientConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use symbolon_client::PutOptions;
use symbolon_wire::frame::{ALPN_CLIENT, server_name};
use symbolon_wire::limits::STRANGER_REQUEST_BYTES_MAX;
use tokio::task::JoinSet;

/// Connections that are tried at once: more than the node keeps of strangers.
const CONNECTIONS: usize = 1_500;
/// Endpoints to try them from.
const ENDPOINTS: usize = 8;
/// What the flood may cost a node in memory: its budgets and windows, and what 1,024 connections take.
const GROWTH_KIB_MAX: u64 = 192 * 1024;

/// Connections of strangers that are under way at once.
const DIALLING: usize = 256;
/// What 4,096 connections and closed ones may take, at 24 KiB each, and what has arrived and waits (8 MiB), in KiB.
const FLOOD_KIB_MAX: u64 = 4_096 * 24 + 8 * 1024;

/// Opens a connection and, on as many streams as the node allows, sends all of a request but its end.
async fn hold(endpoint: quinn::Endpoint, config: quinn::ClientConfig, node: SocketAddr, name: String) -> bool {
    let Ok(connecting) = endpoint.connect_with(config, node, &name) else {
        return false;
    };
    let Ok(Ok(connection)) = tokio::time::timeout(Duration::from_secs(20), connecting).await else {
        return false;
    };
    let mut held = Vec::new();
    let most = vec![0x0a; STRANGER_REQUEST_BYTES_MAX - 1];
    while let Ok(Ok((mut send, receive))) = tokio::time::timeout(Duration::from_millis(500), connection.open_bi()).await
    {
        let sent = tokio::time::timeout(Duration::from_millis(500), send.write_all(&most)).await;
        held.push((send, receive));
        if sent.is_err() || held.len() > 64 {
            break;
        }
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    !held.is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_strangers_who_never_end_their_requests_is_held_in_bounded_memory_and_agents_are_served() {
    let mut run = running().await;
    run.writer.put("prod/key", b"x", PutOptions::default()).await.unwrap();
    run.reader.get("prod/key", None, "").await.unwrap();
    let before = resident_kib(&mut run, 1);

    let node: SocketAddr = run.operator.roster().nodes[0].address.parse().unwrap();
    let crypto = QuicClientConfig::try_from(config(&run, stranger(), ALPN_CLIENT)).unwrap();
    let client = quinn::ClientConfig::new(Arc::new(crypto));
    let endpoints: Vec<quinn::Endpoint> = (0..ENDPOINTS)
        .map(|_| quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap())
        .collect();
    let mut flood = JoinSet::new();
    for number in 0..CONNECTIONS {
        let endpoint = endpoints[number % ENDPOINTS].clone();
        flood.spawn(hold(endpoint, client.clone(), node, server_name(1)));
    }

    let (mut peak, mut held, mut served, mut refused) = (before, 0, 0, 0);
    let begun = Instant::now();
    let mut reads = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            done = flood.join_next() => match done {
                Some(done) => held += usize::from(done.unwrap()),
                None => break,
            },
            _ = reads.tick() => {
                match run.reader.get("prod/key", None, "").await {
                    Ok(opened) => { assert_eq!(opened.value.expose(), b"x"); served += 1 }
                    Err(_) => refused += 1,
                }
                peak = peak.max(resident_kib(&mut run, 1));
            }
        }
    }
    let growth = peak - before;
    println!(
        "{held} of {CONNECTIONS} held streams open for {:.0} s; node 1: {before} KiB before, {growth} KiB more at most; \
         {served} reads served, {refused} refused",
        begun.elapsed().as_secs_f64()
    );
    assert!(held > 100, "a flood that is not one: {held} connections");
    assert!(growth < GROWTH_KIB_MAX, "{growth} KiB more than before");
    assert!(served > 0 && refused == 0, "{served} reads served, {refused} refused");
    // Afterwards it takes new connections as before.
    run.reader.get("prod/key", None, "").await.unwrap();
    let fresh = run.cluster.operator().await.unwrap();
    assert!(fresh.status().await.iter().all(|(_, status)| status.is_ok()));
}

/// Strangers who connect from these addresses, ask nothing and stay for as long as the node lets them.
struct Flood {
    tried: Arc<AtomicUsize>,
    entered: Arc<AtomicUsize>,
    _dialling: JoinSet<()>,
}

impl Flood {
    fn begin(run: &Running, addresses: &[String]) -> Self {
        let (client, node) = (quic(run, stranger()), first_node(run));
        let endpoints: Vec<_> = addresses.iter().map(|address| endpoint(address)).collect();
        let endpoints = Arc::new(endpoints);
        let (tried, entered) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut dialling = JoinSet::new();
        for _ in 0..DIALLING {
            let (tried, entered) = (Arc::clone(&tried), Arc::clone(&entered));
            let (endpoints, client) = (Arc::clone(&endpoints), client.clone());
            dialling.spawn(async move {
                let mut held = JoinSet::new();
                loop {
                    let number = tried.fetch_add(1, Ordering::Relaxed);
                    let endpoint = &endpoints[number % endpoints.len()];
                    if let Ok(connection) = enter(endpoint, client.clone(), node).await {
                        entered.fetch_add(1, Ordering::Relaxed);
                        held.spawn(async move { connection.closed().await });
                    }
                    while held.try_join_next().is_some() {}
                }
            });
        }
        Self {
            tried,
            entered,
            _dialling: dialling,
        }
    }

    fn entered(&self) -> usize {
        self.entered.load(Ordering::Relaxed)
    }

    fn tried(&self) -> usize {
        self.tried.load(Ordering::Relaxed)
    }
}

/// While so many strangers and more connect from these addresses, agents connect anew and read, and a node that was killed comes back,
/// which takes an answer of node 1's.
async fn others_get_in_while_strangers_connect(strangers: usize, addresses: &[String]) {
    let mut run = running().await;
    run.writer.put("prod/key", b"x", PutOptions::default()).await.unwrap();
    let memory = Memory::of(&mut run, 1);
    let (agent, own) = (quic(&run, known(&run, "reader")), endpoint("127.0.0.1:0"));
    let leader = run.cluster.leader(&run.operator).await.unwrap();
    let comes_back = if leader == 2 { 3 } else { 2 };
    let begun = Instant::now();
    let flood = Flood::begin(&run, addresses);
    let (mut let_in, mut again, mut back) = (0, 0, None);
    let mut killed = None;
    while flood.entered() < strangers || back.is_none() {
        assert!(
            begun.elapsed() < 4 * IN_TIME,
            "{} entered; back: {back:?}\n{}",
            flood.entered(),
            run.logs()
        );
        again += gets_in(&run, &own, &agent).await;
        let_in += 1;
        until("a read", IN_TIME, async || {
            let read = run.reader.get("prod/key", None, "").await;
            read.is_ok_and(|opened| opened.value.expose() == b"x")
        })
        .await;
        match killed {
            // From here on all places are taken.
            None if flood.entered() > 2_000 => {
                run.cluster.kill(comes_back).unwrap();
                run.cluster.start(comes_back).unwrap();
                killed = Some(Instant::now());
            }
            Some(since) if back.is_none() && run.cluster.ready(comes_back).await.unwrap_or(false) => {
                back = Some(since.elapsed());
            }
            _ => {}
        }
    }
    let (entered, growth) = (flood.entered(), memory.growth_kib(&mut run));
    let seconds = begun.elapsed().as_secs_f64();
    let tried = flood.tried();
    drop(flood);
    println!(
        "{entered} of {tried} strangers from {} addresses entered in {seconds:.0} s; node 1: {} KiB before, {growth} KiB more \
         at most; an agent connected anew {let_in} times and had to try again {again} times; node {comes_back} was back \
         after {:.1} s",
        addresses.len(),
        memory.before_kib,
        back.unwrap_or_default().as_secs_f64()
    );
    assert!(growth < FLOOD_KIB_MAX, "{growth} KiB more than before");
    run.writer.put("prod/key", b"y", PutOptions::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_and_a_node_get_in_while_ten_thousand_strangers_connect_from_one_address() {
    others_get_in_while_strangers_connect(10_000, &["127.0.0.1:0".to_owned()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_and_a_node_get_in_while_strangers_connect_from_more_addresses_than_there_are_places() {
    let addresses: Vec<String> = (0..1_250)
        .map(|n| format!("127.0.{}.{}:0", 1 + n / 250, 1 + n % 250))
        .collect();
    others_get_in_while_strangers_connect(5_000, &addresses).await;
}

/// Connections that are begun and left, each from a socket of its own: three times as many as there are places for
/// handshakes.
const HALF_DONE: usize = 1_500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_are_left_half_done_keep_nobody_out() {
    let mut run = running().await;
    run.writer.put("prod/key", b"x", PutOptions::default()).await.unwrap();
    let (memory, node) = (Memory::of(&mut run, 1), first_node(&run));
    let (agent, own) = (quic(&run, known(&run, "reader")), endpoint("127.0.0.1:0"));
    let (client, whole) = (quic(&run, stranger()), Arc::new(AtomicUsize::new(0)));
    let mut leaving = JoinSet::new();
    for _ in 0..HALF_DONE {
        let (client, whole, sent) = (client.clone(), Arc::clone(&whole), AtomicUsize::new(0));
        leaving.spawn(async move {
            // Two datagrams of a first message, and once more with the proof of the address; then nothing.
            let endpoint = lossy::endpoint("127.0.0.1:0", move |_| sent.fetch_add(1, Ordering::Relaxed) >= 4);
            let entered = tokio::time::timeout(Duration::from_secs(6), enter(&endpoint, client, node)).await;
            whole.fetch_add(usize::from(matches!(entered, Ok(Ok(_)))), Ordering::Relaxed);
        });
        // So that they are not lost already in the node's socket.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let (mut let_in, mut most) = (0, 0);
    while !leaving.is_empty() {
        while leaving.try_join_next().is_some() {}
        served(&own, agent.clone(), node).await.unwrap();
        let_in += 1;
        most = most.max(connections(&run).await);
    }
    let (whole, growth) = (whole.load(Ordering::Relaxed), memory.growth_kib(&mut run));
    println!(
        "{HALF_DONE} connections, {whole} of them whole; the node worked on {most} at most; {growth} KiB more than before; an \
         agent connected anew {let_in} times"
    );
    assert!(most > 256, "a flood that is not one: {most} connections");
    assert!(
        most - whole as u64 <= 512 + 64,
        "{most} connections, {whole} of them whole"
    );
    assert!(growth < FLOOD_KIB_MAX, "{growth} KiB more than before");
}

/// Connections that node 1 works on, by its own account.
async fn connections(run: &Running) -> u64 {
    let metrics = run.cluster.http(1, "/metrics").await.unwrap().body;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("symbolon_connections "));
    line.unwrap().parse().unwrap()
}
