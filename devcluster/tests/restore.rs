//! Nodes that are put back to a backup (docs/operations/backup.md), with the program's own verbs on real processes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Running, decided, running, running_as, until};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use symbolon_client::audit::{self, SignedReply, Wanted, prove};
use symbolon_client::{Code, Level, Options, PutOptions, v1};
use symbolon_devcluster::Spec;
use tokio::task::JoinSet;

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

/// Returns its log index.
async fn put(run: &Running, path: &str, value: &str) -> u64 {
    let options = || PutOptions {
        level: Level::Full,
        ..PutOptions::default()
    };
    let put = decided(|| run.writer.put(path, value.as_bytes(), options())).await;
    put.unwrap_or_else(|error| panic!("{error}\n{}", run.logs())).index
}

/// What a node's metric says.
async fn metric(run: &Running, node: u16, name: &str) -> Option<u64> {
    let told = run.cluster.http(node, "/metrics").await.ok()?.body;
    let value = told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value?.parse().ok()
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

/// What the restored node says of itself.
async fn own_word(run: &Running) -> Option<v1::StatusReply> {
    let statuses = run.operator.status().await.into_iter();
    let mut own = statuses.filter(|(node, _)| *node == RESTORED);
    own.find_map(|(_, status)| status.ok())
}

/// Starts the restored node until it serves, at most five times: its boot counter went back as well. It learns how far it had
/// counted, and counts on from there when it is started again.
async fn counts_on(run: &mut Running, what: &str, mut holds: impl FnMut(&v1::StatusReply) -> bool) {
    run.cluster.start(RESTORED).unwrap();
    let (mut restarts, begun) = (0, Instant::now());
    while !own_word(run).await.is_some_and(|status| holds(&status)) {
        assert!(restarts < 5 && begun.elapsed() < READY, "{what}\n{}", run.logs());
        if gave_way(run).await {
            restarts += 1;
            run.cluster.stop(RESTORED).await.unwrap();
            run.cluster.start(RESTORED).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
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
    counts_on(&mut run, "its log is not contradicted", |status| {
        status.audit_fault.contains("this log has")
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

/// More than the log keeps behind a mark, and than two sealing sessions carry.
const WRITTEN_SINCE: u64 = 11_000;
const WRITERS: u64 = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_node_takes_up_the_fragments_that_it_still_can_and_counts_those_that_it_has_lost() {
    // One mark comes while so much is written, and no other for hours after.
    let spec = Spec {
        snapshot_entries: Some(WRITTEN_SINCE - 100),
        ..Spec::default()
    };
    let mut run = running_as(spec).await;
    put(&run, "prod/before", "before").await;
    run.cluster.stop(RESTORED).await.unwrap();
    backup(&run, RESTORED);
    run.cluster.start(RESTORED).unwrap();
    run.cluster.wait_ready(READY).await.unwrap();
    let lost_at = put(&run, "prod/lost", "lost").await;
    // Not there when the mark is set, for which it has to vouch before the restored node takes over a snapshot.
    let [there, away] = OTHERS;
    run.cluster.stop(away).await.unwrap();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let client = run.writer.clone();
        writers.spawn(async move {
            let path = format!("load/{writer}");
            for _ in 0..WRITTEN_SINCE / WRITERS {
                let put = decided(|| client.put(&path, b"x", PutOptions::default())).await;
                put.unwrap();
            }
        });
    }
    writers.join_all().await;
    until("the log is purged of what is to be lost", READY, async || {
        let purged = metric(&run, there, "symbolon_purged_index").await;
        purged.is_some_and(|purged| purged >= lost_at)
    })
    .await;
    run.cluster.start(away).unwrap();
    run.cluster.wait_ready(READY).await.unwrap();
    // By a session of its own, which goes on.
    let identity = run.cluster.identity("writer").unwrap();
    let another = run.cluster.client(identity, Options::default()).await.unwrap();
    let full = PutOptions {
        level: Level::Full,
        ..PutOptions::default()
    };
    another.put("prod/since", b"since", full).await.unwrap();
    // A sealing session goes once all have confirmed what it carried.
    let loaded = (0..WRITERS).map(|writer| format!("load/{writer}"));
    for path in loaded.chain(["prod/lost".to_owned()]) {
        until("all have confirmed all of it", READY, async || {
            let told = run.operator.metadata(&path).await;
            told.is_ok_and(|told| told.versions.iter().all(|version| version.fragments_ok == 0b111))
        })
        .await;
    }

    run.cluster.stop(RESTORED).await.unwrap();
    restore(&run, RESTORED);
    counts_on(&mut run, "it does not say what it has lost", |status| {
        status.state == "serving" && status.fragments_missing > 0
    })
    .await;
    released(&mut run, "prod/before", "before").await;
    released(&mut run, "prod/since", "since").await;
    let lost = metric(&run, RESTORED, "symbolon_fragments_missing").await.unwrap();
    assert!(lost <= WRITTEN_SINCE + 1, "{lost}");
    // The others hold theirs; together with one of them alone it does not give the value.
    assert_eq!(run.read("prod/lost", None).await.unwrap().value.expose(), b"lost");
    run.cluster.pause(there).unwrap();
    let error = run.reader.get("prod/lost", None, "").await.unwrap_err();
    run.cluster.resume(there).unwrap();
    assert!(error.to_string().contains("SY0508"), "{error}");
    put(&run, "prod/lost", "written anew").await;
    released(&mut run, "prod/lost", "written anew").await;
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
