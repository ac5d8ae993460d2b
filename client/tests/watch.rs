//! Watches: told in order, once, by t nodes alike, whatever one node says or fails to say.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
mod common;

use common::Cluster;
use common::behaviour::ChangeNews;
use std::sync::Arc;
use std::time::Duration;
use symbolon_client::{Change, ChangeKind, Client, Code, PutOptions, Watch};
use symbolon_wire::v1;

/// What a busy machine does not exceed.
const SOON: Duration = Duration::from_secs(20);

async fn put(client: &Client, path: &str) {
    client.put(path, b"value", PutOptions::default()).await.unwrap();
}

async fn next(watch: &mut Watch) -> Change {
    tokio::time::timeout(SOON, watch.next()).await.unwrap().unwrap()
}

/// The next so many, as (path, versions).
async fn told(watch: &mut Watch, count: usize) -> Vec<(String, Vec<u64>)> {
    let mut told = Vec::new();
    while told.len() < count {
        let change = next(watch).await;
        assert_eq!((change.kind, change.index), (ChangeKind::Put, watch.position()));
        told.push((change.path, change.versions));
    }
    told
}

/// Nothing more is told for a while in which it would have been.
async fn nothing_more(watch: &mut Watch) {
    let more = tokio::time::timeout(Duration::from_millis(300), watch.next()).await;
    assert!(more.is_err(), "{more:?}");
}

fn of(path: &str, version: u64) -> (String, Vec<u64>) {
    (path.to_owned(), vec![version])
}

#[tokio::test]
async fn a_watch_tells_of_its_secret_or_folder_from_now_on_or_from_a_position() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    put(&client, "prod/key").await;
    let mut secret = client.watch("prod/key", None).await.unwrap();
    let mut folder = client.watch("prod/", None).await.unwrap();
    let begun = folder.position();
    for path in ["prod/key", "production/key", "prod/db/key", "prod/key"] {
        put(&client, path).await;
    }
    assert_eq!(told(&mut secret, 2).await, [of("prod/key", 2), of("prod/key", 3)]);
    let all = [of("prod/key", 2), of("prod/db/key", 1), of("prod/key", 3)];
    assert_eq!(told(&mut folder, 3).await, all);
    nothing_more(&mut folder).await;
    let mut again = client.watch("prod/", Some(begun)).await.unwrap();
    assert_eq!(told(&mut again, 1).await, all[..1]);
    let mut rest = client.watch("prod/", Some(again.position())).await.unwrap();
    assert_eq!(told(&mut rest, 2).await, all[1..]);
}

/// Node 1 changes what it tells; a watch of two versions is told as it should be.
async fn withstands(lie: ChangeNews) {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    cluster.behave(1, |node| node.news = Some(lie));
    let mut watch = client.watch("prod/", None).await.unwrap();
    put(&client, "prod/key").await;
    assert_eq!(told(&mut watch, 1).await, [of("prod/key", 1)]);
    put(&client, "prod/key").await;
    assert_eq!(told(&mut watch, 1).await, [of("prod/key", 2)]);
    nothing_more(&mut watch).await;
}

#[tokio::test]
async fn a_node_cannot_hide_a_change() {
    withstands(Arc::new(|reply| reply.changes.clear())).await;
    withstands(Arc::new(|reply| (reply.changes, reply.upto) = (Vec::new(), u64::MAX))).await;
}

#[tokio::test]
async fn a_node_cannot_invent_a_change() {
    withstands(Arc::new(|reply| {
        let invented = v1::Change {
            log_index: reply.upto + 1,
            path: "prod/other".to_owned(),
            kind: 4,
            versions: vec![1],
            ..v1::Change::default()
        };
        reply.upto += 1;
        reply.changes.push(invented);
    }))
    .await;
}

#[tokio::test]
async fn a_node_cannot_alter_a_change() {
    withstands(Arc::new(|reply| {
        reply.changes.iter_mut().for_each(|change| change.versions = vec![9])
    }))
    .await;
    withstands(Arc::new(|reply| {
        reply.changes.iter_mut().for_each(|change| change.kind = 2)
    }))
    .await;
}

#[tokio::test]
async fn what_only_one_node_tells_is_not_believed_while_the_others_are_away() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let mut watch = client.watch("prod/", None).await.unwrap();
    put(&client, "prod/key").await;
    cluster.behave(2, |node| node.silent = true);
    cluster.behave(3, |node| node.silent = true);
    put_by_log(&cluster).await;
    let mut seen = Vec::new();
    // The first was told by all before two fell silent, or not at all.
    while let Ok(change) = tokio::time::timeout(Duration::from_millis(300), watch.next()).await {
        seen.push(change.unwrap().versions);
    }
    assert!(seen.is_empty() || seen == [vec![1]], "{seen:?}");
}

/// A change that the silent nodes have, too.
async fn put_by_log(cluster: &Cluster) {
    let mut log = cluster.log.lock().unwrap();
    let mut version = log.versions.last().unwrap().clone();
    log.index += 1;
    version.log_index = log.index;
    version.stored.version += 1;
    log.versions.push(version);
}

#[tokio::test]
async fn lost_connections_cost_no_change_and_repeat_none() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let mut watch = client.watch("prod/", None).await.unwrap();
    for version in 1..=6 {
        let node = u16::try_from(version % 3 + 1).unwrap();
        cluster.behave(node, |node| node.loses_connection = true);
        put_version(&client, &cluster, version).await;
        assert_eq!(told(&mut watch, 1).await, [of("prod/key", version)]);
        cluster.behave(node, |node| node.loses_connection = false);
    }
    nothing_more(&mut watch).await;
}

async fn put_version(client: &Client, cluster: &Cluster, version: u64) {
    match version {
        1 => put(client, "prod/key").await,
        _ => put_by_log(cluster).await,
    }
}

#[tokio::test]
async fn a_node_that_forgot_helps_again_once_the_others_have_led_past_it() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let mut watch = client.watch("prod/", None).await.unwrap();
    put(&client, "prod/key").await;
    // Started anew, it remembers what comes from here on; the others lead there without waiting for news.
    let stands = cluster.log.lock().unwrap().index;
    cluster.behave(1, |node| node.forgot_until = stands);
    assert_eq!(told(&mut watch, 1).await, [of("prod/key", 1)]);
    cluster.behave(2, |node| node.silent = true);
    put_by_log(&cluster).await;
    assert_eq!(told(&mut watch, 1).await, [of("prod/key", 2)]);
}

#[tokio::test]
async fn a_position_that_t_nodes_do_not_remember_is_refused_with_one_to_begin_at() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    put(&client, "prod/key").await;
    let stands = cluster.log.lock().unwrap().index;
    for node in [1, 2] {
        cluster.behave(node, |node| node.forgot_until = stands);
    }
    let mut watch = client.watch("prod/", Some(1)).await.unwrap();
    let error = tokio::time::timeout(SOON, watch.next()).await.unwrap().unwrap_err();
    assert_eq!(error.code, Code::TooFarBehind, "{error}");
    let next = error.next.clone().unwrap();
    assert!(next.ends_with(&format!("watch from position {stands}")), "{next}");
    let mut anew = client.watch("prod/", Some(stands)).await.unwrap();
    put(&client, "prod/key").await;
    assert_eq!(told(&mut anew, 1).await, [of("prod/key", 2)]);
}

#[tokio::test]
async fn one_node_cannot_end_a_watch() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let mut watch = client.watch("prod/", None).await.unwrap();
    put(&client, "prod/key").await;
    next(&mut watch).await;
    for code in [Code::TooFarBehind, Code::Denied, Code::UnknownKey, Code::Overloaded] {
        let refusal = v1::Error {
            code: code as u32,
            state_index: u64::MAX,
            ..v1::Error::default()
        };
        cluster.behave(1, |node| node.refuse = Some(refusal));
        put_by_log(&cluster).await;
        next(&mut watch).await;
    }
}

#[tokio::test]
async fn a_watch_ends_once_rights_are_withdrawn() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    put(&client, "prod/key").await;
    let mut watch = client.watch("prod/", None).await.unwrap();
    nothing_more(&mut watch).await;
    let denied = v1::Error {
        code: Code::Denied as u32,
        message: "no longer".to_owned(),
        ..v1::Error::default()
    };
    cluster.all_behave(|node| node.refuse = Some(denied.clone()));
    let error = client.watch("prod/", None).await.unwrap_err();
    assert_eq!(error.code, Code::Denied, "who may not watch is told at once");
    // The nodes were asked before, and would have news.
    put_by_log(&cluster).await;
    let ended = tokio::time::timeout(SOON, watch.next()).await.unwrap().unwrap_err();
    assert_eq!(ended.code, Code::Denied, "{ended}");
}
