//! Floods by senders whom nobody has registered: the node's memory stays bounded, and it serves on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use common::{Running, config, running, stranger};
use quinn::crypto::rustls::QuicClientConfig;
use std::net::SocketAddr;
use std::sync::Arc;
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

fn resident_kib(run: &mut Running, node: u16) -> u64 {
    let pid = run.cluster.pid(node).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

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
