//! Values of 1 MiB on real processes: they come back, lagging nodes catch up, memory stays bounded, nothing leaks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use common::{Running, config, known, running, running_as, until};
use quinn::crypto::rustls::QuicClientConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use symbolon_client::{Level, PutOptions, v1};
use symbolon_devcluster::Spec;
use symbolon_devcluster::leak::{Form, Needle, Needles, scan};
use symbolon_wire::frame::{ALPN_CLIENT, server_name};
use symbolon_wire::{Code, Message};
use tokio::task::JoinSet;

const MIB: usize = 1024 * 1024;
const SOON: Duration = Duration::from_secs(30);

/// A value that nothing else looks like, different for each `number`.
fn value(number: u8, bytes: usize) -> Vec<u8> {
    let mut state = u64::from(number) + 1;
    std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(bytes)
    .collect()
}

async fn applied(run: &Running) -> Vec<u64> {
    let statuses = run.operator.status().await;
    statuses
        .into_iter()
        .filter_map(|(_, status)| status.ok().map(|status| status.applied))
        .collect()
}

/// The log is purged behind marks only: few large entries would fill the disks before there are so many of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_entries_bring_a_mark_on_although_they_are_few() {
    let spec = Spec {
        snapshot_mib: Some(1),
        ..Spec::default()
    };
    let run = running_as(spec).await;
    for number in 0..3 {
        let large = value(number, MIB / 2);
        run.writer
            .put("prod/large", &large, PutOptions::default())
            .await
            .unwrap();
    }
    until("all nodes have a mark", SOON, async || {
        let told = run.operator.status().await;
        let marked = told
            .iter()
            .filter(|(_, status)| status.as_ref().is_ok_and(|s| s.mark > 0));
        marked.count() == 3
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_of_one_mebibyte_comes_back_one_byte_more_is_refused_unsent_and_no_part_of_it_is_on_any_disk() {
    let run = running().await;
    let large = value(1, MIB);
    let full = PutOptions {
        level: Level::Full,
        ..PutOptions::default()
    };
    let put = run.writer.put("prod/large", &large, full).await.unwrap();
    assert_eq!(put.version, 1);
    let opened = run.reader.get("prod/large", None, "").await.unwrap();
    assert_eq!(opened.value.expose(), large);
    assert!(opened.culprits.is_empty());

    let before = applied(&run).await;
    let refused = run
        .writer
        .put("prod/larger", &value(2, MIB + 1), PutOptions::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code, Code::TooLarge);
    let told = refused.to_string();
    assert!(told.contains("1048577") && told.contains("1048576"), "{told}");
    let folder = run.operator.list("prod", "", 10).await.unwrap();
    assert_eq!(folder.entries.len(), 1, "nothing was sent: {before:?}");

    let needles = Needles::compile(&[Needle::new("value", &large)]).unwrap();
    let root = run.cluster.paths().root().to_path_buf();
    let report = scan(std::slice::from_ref(&root), &[], &needles);
    assert!(report.places > 10 && report.bytes > 3 * MIB as u64, "{report:?}");
    assert!(report.clean(), "{:?}", report.hits);
    // The search finds a page of it.
    std::fs::write(root.join("planted"), &large[MIB / 2..MIB / 2 + 4096]).unwrap();
    let report = scan(&[root], &[], &needles);
    assert!(
        report.hits.iter().any(|hit| hit.form == Form::RawPart(8)),
        "{:?}",
        report.hits
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_missed_many_large_values_catches_up_and_releases_its_fragments_of_them() {
    const VALUES: u8 = 12;
    let mut run = running().await;
    run.writer.put("prod/first", b"x", PutOptions::default()).await.unwrap();
    run.cluster.kill(3).unwrap();
    let mut writes = JoinSet::new();
    for number in 0..VALUES {
        let writer = run.writer.clone();
        writes.spawn(async move {
            let path = format!("prod/large-{number}");
            writer
                .put(&path, &value(number, MIB), PutOptions::default())
                .await
                .map(|_| path)
        });
    }
    for written in writes.join_all().await {
        written.unwrap();
    }
    run.cluster.start(3).unwrap();
    let target = applied(&run).await.into_iter().max().unwrap();
    until("node 3 has applied what it missed", SOON, async || {
        let statuses = run.operator.status().await;
        statuses
            .iter()
            .any(|(node, status)| *node == 3 && status.as_ref().is_ok_and(|status| status.applied >= target))
    })
    .await;
    // Now it is needed: two of three must answer.
    run.cluster.kill(1).unwrap();
    for number in 0..VALUES {
        let path = format!("prod/large-{number}");
        until("the value is read from nodes 2 and 3", SOON, async || {
            match run.reader.get(&path, None, "").await {
                Ok(opened) => {
                    assert_eq!(opened.value.expose(), value(number, MIB), "{path}");
                    assert!(opened.receipts.iter().all(|receipt| receipt.node != 1));
                    true
                }
                Err(_) => false,
            }
        })
        .await;
    }
}

fn resident_kib(run: &mut Running, node: u16) -> u64 {
    let pid = run.cluster.pid(node).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What 480 reads of 1 MiB whose answers nobody takes may cost a node: without a bound 500 MiB and more. The budget of
/// large replies is 64 MiB; each lies in memory as read and as framed, and up to 4 MiB of each connection are on their way.
const GROWTH_KIB_MAX: u64 = 256 * 1024;
const CONNECTIONS: usize = 12;
const READS_EACH: usize = 40;

/// Asks for the large value on as many streams, and takes no answer.
async fn ask_and_take_nothing(connection: quinn::Connection) -> Vec<quinn::RecvStream> {
    let mut held = Vec::new();
    for _ in 0..READS_EACH {
        let (mut send, receive) = connection.open_bi().await.unwrap();
        let read = v1::ReadRequest {
            nonce: rand::random::<[u8; 32]>().to_vec().into(),
            path: "prod/large".to_owned(),
            body: true,
            ..v1::ReadRequest::default()
        };
        let kind = Some(v1::request::Kind::Read(read));
        send.write_all(&v1::Request { kind }.encode_to_vec()).await.unwrap();
        send.finish().unwrap();
        held.push(receive);
    }
    held
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_answers_that_nobody_takes_are_held_in_bounded_memory_and_others_are_served() {
    let mut run = running().await;
    let large = value(7, MIB);
    run.writer
        .put("prod/large", &large, PutOptions::default())
        .await
        .unwrap();
    run.writer.put("prod/small", b"x", PutOptions::default()).await.unwrap();
    run.reader.get("prod/large", None, "").await.unwrap();
    let before = resident_kib(&mut run, 1);

    let node: SocketAddr = run.operator.roster().nodes[0].address.parse().unwrap();
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let crypto = QuicClientConfig::try_from(config(&run, known(&run, "reader"), ALPN_CLIENT)).unwrap();
    let mut client = quinn::ClientConfig::new(Arc::new(crypto));
    let mut transport = quinn::TransportConfig::default();
    transport
        .stream_receive_window(quinn::VarInt::from_u32(16 * 1024))
        .receive_window(quinn::VarInt::from_u32(64 * 1024));
    client.transport_config(Arc::new(transport));
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let connection = endpoint
            .connect_with(client.clone(), node, &server_name(1))
            .unwrap()
            .await
            .unwrap();
        connection.accept_uni().await.unwrap();
        held.push((ask_and_take_nothing(connection.clone()).await, connection));
    }
    let (mut growth, mut served) = (0, 0);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(6) {
        growth = growth.max(resident_kib(&mut run, 1).saturating_sub(before));
        served += usize::from(run.reader.get("prod/small", None, "").await.is_ok());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("{growth} KiB more on node 1 at most, {served} small reads served meanwhile");
    assert!(growth > 8 * 1024, "a flood that is not one: {growth} KiB");
    assert!(growth < GROWTH_KIB_MAX, "{growth} KiB more than before");
    assert!(served > 0);
    drop(held);
    endpoint.close(0_u32.into(), b"done");
    until("large values are read again", SOON, async || {
        let opened = run.reader.get("prod/large", None, "").await;
        opened.is_ok_and(|opened| opened.value.expose() == large)
    })
    .await;
}
