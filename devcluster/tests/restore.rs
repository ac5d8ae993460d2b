//! Nodes that are put back to a backup (docs/operations/backup.md), with the program's own verbs on real processes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Running, decided, running, until};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use symbolon_client::audit::{self, SignedReply, Wanted, prove};
use symbolon_client::{Code, Level, Options, PutOptions};

const RESTORED: u16 = 3;
const OTHERS: [u16; 2] = [1, 2];
const PROVEN_WITHIN: Duration = Duration::from_secs(15);
const READY: Duration = Duration::from_secs(60);

/// `symbolon-node VERB --config … DIRECTION FOLDER`.
fn offline(run: &Running, node: u16, verb: &str, direction: &str, folder: &Path) {
    let done = Command::new(&run.cluster.binaries().node)
        .args([verb, "--config"])
        .arg(run.cluster.paths().config(node))
        .arg(direction)
        .arg(folder)
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{verb}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

fn folder(run: &Running, node: u16) -> PathBuf {
    run.cluster.root().join(format!("backup-{node}"))
}

/// Of a node that is stopped.
fn backup(run: &Running, node: u16) {
    offline(run, node, "backup", "--to", &folder(run, node));
}

/// Of a node that is stopped, its disk lost.
fn restore(run: &Running, node: u16) {
    let data = run.cluster.paths().data(node);
    std::fs::remove_dir_all(&data).unwrap();
    offline(run, node, "restore", "--from", &folder(run, node));
    let mode = std::fs::metadata(&data).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "nobody else may look into it");
}

async fn put(run: &Running, path: &str, value: &str) {
    let options = || PutOptions {
        level: Level::Full,
        ..PutOptions::default()
    };
    let put = decided(|| run.writer.put(path, value.as_bytes(), options())).await;
    put.unwrap_or_else(|error| panic!("{error}\n{}", run.logs()));
}

/// Reads with another node standing still, so that the restored one's fragment is needed: it releases the right one, and is
/// blamed for nothing.
async fn released(run: &mut Running, path: &str, value: &str) -> SignedReply {
    for read in 0..24 {
        let opened = run.read_without(OTHERS[read % 2], path).await;
        let opened = opened.unwrap_or_else(|error| panic!("{error}\n{}", run.logs()));
        assert_eq!(opened.value.expose(), value.as_bytes());
        assert!(opened.culprits.is_empty(), "{:?}", opened.culprits);
        if let Some(receipt) = opened.receipts.iter().find(|receipt| receipt.node == RESTORED) {
            return SignedReply::of(receipt).unwrap();
        }
    }
    panic!("node {RESTORED} was never asked\n{}", run.logs());
}

/// Whether the node says itself that its audit log is shorter than others know it.
async fn contradicted(run: &Running) -> bool {
    let statuses = run.operator.status().await.into_iter();
    let mut own = statuses.filter(|(node, _)| *node == RESTORED);
    own.any(|(_, status)| status.is_ok_and(|status| status.audit_fault.contains("this log has")))
}

/// Whether an earlier boot counts instead: the node has ended, or says so if it had heard of that too late.
async fn gave_way(run: &mut Running) -> bool {
    let health = run.cluster.http(RESTORED, "/health").await;
    let superseded = health.is_ok_and(|health| health.body.contains("superseded"));
    superseded || run.cluster.ended(RESTORED).unwrap().is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_node_serves_on_with_what_it_missed_and_its_shorter_audit_log_is_found_out() {
    let mut run = running().await;
    put(&run, "prod/before", "before").await;
    put(&run, "prod/destroyed", "destroyed").await;
    run.cluster.stop(RESTORED).await.unwrap();
    backup(&run, RESTORED);
    run.cluster.start(RESTORED).unwrap();
    run.cluster.wait_ready(READY).await.unwrap();
    put(&run, "prod/since", "since").await;
    run.writer.destroy("prod/destroyed", &[1]).await.unwrap();
    let wanted = Wanted::Receipt(released(&mut run, "prod/before", "before").await);
    let proven = prove(&run.reader, &wanted, PROVEN_WITHIN).await;
    assert!(proven.is_ok(), "{}\n{}", proven.unwrap_err(), run.logs());

    run.cluster.stop(RESTORED).await.unwrap();
    restore(&run, RESTORED);
    // Its boot counter went back as well: it learns how far it had counted, and counts on from there when started again.
    run.cluster.start(RESTORED).unwrap();
    let mut restarts = 0;
    until("its log is contradicted", READY, async || {
        if gave_way(&mut run).await {
            restarts += 1;
            assert!(restarts < 5, "it does not count on\n{}", run.logs());
            run.cluster.stop(RESTORED).await.unwrap();
            run.cluster.start(RESTORED).unwrap();
        }
        contradicted(&run).await
    })
    .await;

    // What is gone from its audit log stays missing, and whoever looks is told.
    let error = prove(&run.reader, &wanted, PROVEN_WITHIN).await.unwrap_err();
    assert_eq!(error.code, Code::AuditBroken, "{error}");
    let verified = audit::verify(&run.operator, RESTORED).await;
    assert_eq!(verified.unwrap_err().code, Code::AuditBroken);
    // It lost its memory and told no lie: it serves on, and is not excluded.
    for (node, status) in run.operator.status().await {
        let status = status.unwrap();
        let standing = (status.state.as_str(), status.excluded.len());
        assert_eq!(standing, ("serving", 0), "node {node}");
    }
    released(&mut run, "prod/before", "before").await;
    released(&mut run, "prod/since", "since").await;
    let gone = run.read("prod/destroyed", Some(1)).await.unwrap_err();
    assert_eq!(gone.code, Code::NotFound, "{gone}");
    put(&run, "prod/after", "after").await;
    released(&mut run, "prod/after", "after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_restored_from_backups_of_one_moment_is_that_moment_again() {
    let mut run = running().await;
    put(&run, "prod/key", "kept").await;
    run.cluster.stop_all().await.unwrap();
    for node in run.cluster.nodes() {
        backup(&run, node);
    }
    // Twice: a boot more than there will be after the restore.
    run.cluster.start_all(READY).await.unwrap();
    run.cluster.stop_all().await.unwrap();
    run.cluster.start_all(READY).await.unwrap();
    put(&run, "prod/key", "lost").await;
    put(&run, "prod/later", "lost").await;
    run.cluster.stop_all().await.unwrap();
    for node in run.cluster.nodes() {
        restore(&run, node);
    }
    run.cluster.start_all(READY).await.unwrap();

    let client = async |name: &str| {
        let identity = run.cluster.identity(name).unwrap();
        run.cluster.client(identity, Options::default()).await.unwrap()
    };
    // Clients that have seen later boots refuse earlier ones; others cannot know what is lost.
    let refused = run.writer.get("prod/key", None, "").await.unwrap_err();
    assert!(
        refused.to_string().contains("it shows boot 2; boot 3 was seen before"),
        "{refused}"
    );
    let (reader, writer) = (client("reader").await, client("writer").await);
    let read = async |path: &str| decided(|| reader.get(path, None, "")).await;
    assert_eq!(read("prod/key").await.unwrap().value.expose(), b"kept");
    assert_eq!(read("prod/later").await.unwrap_err().code, Code::NotFound);
    let again = decided(|| writer.put("prod/later", b"again", PutOptions::default())).await;
    assert_eq!(again.unwrap().version, 1);
    assert_eq!(read("prod/later").await.unwrap().value.expose(), b"again");
    let operator = run.cluster.operator().await.unwrap();
    for node in run.cluster.nodes() {
        let audited = audit::verify(&operator, node).await;
        assert!(audited.is_ok(), "node {node}: {}", audited.unwrap_err());
    }

    // Until the nodes have booted as often.
    run.cluster.stop_all().await.unwrap();
    run.cluster.start_all(READY).await.unwrap();
    put(&run, "prod/key", "written anew").await;
}
