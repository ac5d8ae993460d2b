//! The main job on real processes: three nodes with three SoftHSM tokens, killed, paused, and deprived of their tokens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use common::writers::{self, Writers};
use common::{decided, running, running_as, shared, until};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use symbolon_client::{AuditRange, Client, PutOptions, Receipt};
use symbolon_crypto::Hash;
use symbolon_crypto::merkle::leaf_hash;
use symbolon_devcluster::Spec;
use symbolon_wire::Code;
use symbolon_wire::v1;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allowed_agent_reads_what_another_wrote_and_a_refused_one_learns_which_policy_was_nearest() {
    let run = running().await;
    run.writer
        .put("prod/stripe/key", b"sk_live", PutOptions::default())
        .await
        .unwrap();
    let opened = run.reader.get("prod/stripe/key", None, "billing run").await.unwrap();
    assert_eq!(opened.value.expose(), b"sk_live");
    assert!(opened.culprits.is_empty());
    assert_eq!(opened.receipts.len(), 2, "t nodes signed");

    run.writer
        .put("staging/key", b"other", PutOptions::default())
        .await
        .unwrap();
    let refused = run.reader.get("staging/key", None, "").await.unwrap_err();
    assert_eq!(refused.code, Code::Denied);
    assert!(
        refused.because.iter().any(|line| line.contains("e2e.cedar:2")),
        "{refused}"
    );
    let absent = run.reader.get("staging/absent", None, "").await.unwrap_err();
    assert_eq!(absent.code, Code::Denied, "unreadable and absent answer alike");
    run.audit_logs_verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_exchange_group_is_in_status_and_in_every_audit_record() {
    let run = running().await;
    run.writer.put("prod/key", b"x", PutOptions::default()).await.unwrap();
    run.reader.get("prod/key", None, "").await.unwrap();
    for (_, status) in run.operator.status().await {
        assert_eq!(status.unwrap().tls_group, "X25519MLKEM768");
    }
    let mut leaves = 0;
    for node in run.cluster.nodes() {
        let range = symbolon_client::AuditRange::From { index: 0, limit: 100 };
        for leaf in run.operator.audit(node, range).await.unwrap().leaves {
            let leaf = symbolon_wire::audit::decode(leaf).unwrap();
            assert_eq!(leaf.tls_group, "X25519MLKEM768");
            leaves += 1;
        }
    }
    assert!(leaves >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn levels_answer_when_the_fragments_are_checked() {
    let run = running().await;
    for level in [symbolon_client::Level::Verified, symbolon_client::Level::Full] {
        let put = run
            .writer
            .put(
                "prod/key",
                b"x",
                PutOptions {
                    level,
                    ..PutOptions::default()
                },
            )
            .await
            .unwrap();
        let metadata = run.operator.metadata("prod/key").await.unwrap();
        let version = metadata
            .versions
            .iter()
            .find(|version| version.version == put.version)
            .unwrap();
        assert_eq!(version.fragments_ok.count_ones(), 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_versions_and_expired_ones_are_not_read_and_listings_show_only_what_may_be_seen() {
    let run = running().await;
    run.writer.put("prod/a", b"one", PutOptions::default()).await.unwrap();
    run.writer.put("prod/a", b"two", PutOptions::default()).await.unwrap();
    run.writer.delete("prod/a", &[2]).await.unwrap();
    assert_eq!(
        run.reader.get("prod/a", Some(2), "").await.unwrap_err().code,
        Code::NotFound
    );
    assert_eq!(
        run.reader.get("prod/a", Some(1), "").await.unwrap().value.expose(),
        b"one"
    );
    run.writer.undelete("prod/a", &[2]).await.unwrap();
    assert_eq!(
        run.reader.get("prod/a", Some(2), "").await.unwrap().value.expose(),
        b"two"
    );
    assert_eq!(
        run.reader.undelete("prod/a", &[2]).await.unwrap_err().code,
        Code::Denied
    );
    let short = PutOptions {
        ttl_ms: 5_000,
        ..PutOptions::default()
    };
    run.writer.put("prod/short", b"soon gone", short).await.unwrap();
    run.reader.get("prod/short", None, "").await.unwrap();
    until("the version expires", SOON, async || {
        run.reader
            .get("prod/short", None, "")
            .await
            .is_err_and(|error| error.code == Code::NotFound)
    })
    .await;
    let names: Vec<String> = run
        .operator
        .list("prod", "", 10)
        .await
        .unwrap()
        .entries
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    assert_eq!(names, ["a", "short"]);
    assert_eq!(run.reader.list("prod", "", 10).await.unwrap_err().code, Code::Denied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destroyed_version_is_never_read_again_also_after_the_cluster_started_anew() {
    let mut run = running().await;
    run.writer.put("prod/a", b"one", PutOptions::default()).await.unwrap();
    run.writer.put("prod/a", b"two", PutOptions::default()).await.unwrap();
    run.writer.destroy("prod/a", &[1]).await.unwrap();
    let refused = |opened: Result<symbolon_client::Opened, symbolon_client::Error>| {
        assert_eq!(opened.unwrap_err().code, Code::NotFound);
    };
    refused(run.reader.get("prod/a", Some(1), "").await);
    run.cluster.stop_all().await.unwrap();
    run.cluster.start_all(SOON).await.unwrap();
    refused(run.reader.get("prod/a", Some(1), "").await);
    assert_eq!(run.reader.get("prod/a", None, "").await.unwrap().value.expose(), b"two");
    let versions = run.operator.metadata("prod/a").await.unwrap().versions;
    let shown: Vec<(u64, bool)> = versions.iter().map(|v| (v.version, v.destroyed)).collect();
    assert_eq!(shown, [(1, true), (2, false)]);
    run.audit_logs_verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_revocation_is_acknowledged_a_new_read_gets_nothing() {
    let run = running().await;
    run.writer.put("prod/key", b"x", PutOptions::default()).await.unwrap();
    run.reader.get("prod/key", None, "").await.unwrap();
    let id = run.reader.identity().principal();
    run.operator.remove(id).await.unwrap();
    for _ in 0..50 {
        let refused = run.read("prod/key", None).await.unwrap_err();
        assert_eq!(refused.code, Code::UnknownKey, "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_token_disappears_seals_itself_within_two_seconds_and_the_others_serve_on() {
    let mut run = running().await;
    run.writer
        .put("prod/key", b"before", PutOptions::default())
        .await
        .unwrap();
    let leader = run.cluster.leader(&run.operator).await.unwrap();
    let token = run.cluster.paths().token(leader);
    std::fs::rename(&token, token.with_extension("gone")).unwrap();
    let sealed = until("the node seals itself", SOON, async || {
        let answer = run.cluster.http(leader, "/health").await;
        answer.is_ok_and(|answer| answer.status == 503 && answer.body.contains("\"sealed\""))
    })
    .await;
    assert!(sealed < Duration::from_secs(2), "it took {sealed:?}");
    assert_eq!(run.read("prod/key", None).await.unwrap().value.expose(), b"before");
    run.writer
        .put("prod/key", b"after", PutOptions::default())
        .await
        .unwrap();
    assert_eq!(run.read("prod/key", None).await.unwrap().value.expose(), b"after");

    // Without its token it does not start again; with it, it does.
    run.cluster.stop(leader).await.unwrap();
    run.cluster.start(leader).unwrap();
    until("the node refuses to start", SOON, async || {
        run.cluster.ended(leader).unwrap().is_some()
    })
    .await;
    assert!(!run.cluster.ended(leader).unwrap().unwrap().success());
    std::fs::rename(token.with_extension("gone"), &token).unwrap();
    run.cluster.start(leader).unwrap();
    run.cluster.wait_ready(SOON).await.unwrap();
    run.audit_logs_verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_was_stopped_whole_comes_back_with_everything() {
    let mut run = running().await;
    for number in 0..20 {
        run.writer
            .put(&format!("prod/{number}"), b"x", PutOptions::default())
            .await
            .unwrap();
    }
    run.cluster.stop_all().await.unwrap();
    run.cluster.start_all(SOON).await.unwrap();
    for number in 0..20 {
        run.reader.get(&format!("prod/{number}"), None, "").await.unwrap();
    }
    let states: Vec<String> = run
        .operator
        .status()
        .await
        .into_iter()
        .map(|(_, status)| status.unwrap().state)
        .collect();
    assert_eq!(
        states,
        ["serving"; 3],
        "no node freezes over its own restart\n{}",
        run.logs()
    );
    run.audit_logs_verify().await;
}

/// 20 in CI; `SYMBOLON_KILLS=100` for the longer command.
fn kills() -> usize {
    std::env::var("SYMBOLON_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok())
        .unwrap_or(20)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_under_load_loses_no_acknowledged_write_and_every_audit_log_verifies() {
    let mut run = running().await;
    let writers = Writers::start(&run.writer, 8);
    for kill in 0..kills() {
        let before = writers.written.load(Ordering::Relaxed);
        // Every third kill hits the leader, the others each node in turn.
        let victim = match kill % 3 {
            0 => run.cluster.leader(&run.operator).await.unwrap_or(1),
            _ => run.cluster.nodes()[kill % 2],
        };
        run.cluster.kill(victim).unwrap();
        until("writes go on with two of three", SOON, async || {
            writers.written.load(Ordering::Relaxed) > before + 5
        })
        .await;
        run.cluster.start(victim).unwrap();
        run.cluster.wait_ready(SOON).await.unwrap();
    }
    let acknowledged = writers.stop().await;
    assert!(!acknowledged.is_empty());
    writers::all_there(&run, &acknowledged).await;
    let states: Vec<v1::StatusReply> = run
        .operator
        .status()
        .await
        .into_iter()
        .map(|(_, status)| status.unwrap())
        .collect();
    assert!(
        states.iter().all(|status| status.state == "serving"),
        "{states:?}\n{}",
        run.logs()
    );
    run.audit_logs_verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_buffered_audit_kill_9_under_load_loses_no_record_of_what_was_released() {
    let mut run = running_as(Spec {
        audit: "buffered",
        ..Spec::default()
    })
    .await;
    run.writer.put("prod/key", b"x", PutOptions::default()).await.unwrap();
    let mut recorded = Vec::new();
    for victim in [1, 2, 3, 1, 2, 3] {
        let stop = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..32)
            .map(|_| tokio::spawn(receipts(shared(&run.reader), Arc::clone(&stop))))
            .collect();
        tokio::time::sleep(Duration::from_millis(300)).await;
        run.cluster.kill(victim).unwrap();
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            recorded.extend(reader.await.unwrap());
        }
        run.cluster.start(victim).unwrap();
        run.cluster.wait_ready(SOON).await.unwrap();
    }
    for node in run.cluster.nodes() {
        let of_node: Vec<_> = recorded.iter().filter(|receipt| receipt.node == node).collect();
        let last = of_node.iter().map(|receipt| receipt.audit_index).max();
        let log = leaves(&run.operator, node, last.expect("it released something")).await;
        let lost = of_node
            .iter()
            .filter(|receipt| log.get(&receipt.audit_index).copied() != receipt.audit_leaf)
            .count();
        assert_eq!(lost, 0, "node {node} lost {lost} of {} records", of_node.len());
    }
    run.audit_logs_verify().await;
}

/// Reads until told to stop; what nodes signed for.
async fn receipts(reader: Arc<Client>, stop: Arc<AtomicBool>) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        // While a node is being killed a read may fail; it has no receipt then.
        if let Ok(opened) = reader.get("prod/key", None, "").await {
            receipts.extend(opened.receipts);
        }
    }
    receipts
}

/// The hashes of a node's audit log up to the leaf `last`, as far as there are any.
async fn leaves(operator: &Client, node: u16, last: u64) -> BTreeMap<u64, Hash> {
    let (mut hashes, mut next) = (BTreeMap::new(), 0);
    while next <= last {
        let (index, limit) = (next, u32::MAX);
        let page = decided(|| operator.audit(node, AuditRange::From { index, limit })).await;
        let page = page.unwrap();
        if page.leaves.is_empty() {
            break;
        }
        hashes.extend((next..).zip(page.leaves.iter().map(|leaf| leaf_hash(leaf))));
        next += page.leaves.len() as u64;
    }
    hashes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_quorum_says_that_it_is_not_ready_until_it_has_one_again() {
    let mut run = running().await;
    assert!(run.cluster.ready(3).await.unwrap());
    for node in [1, 2] {
        run.cluster.kill(node).unwrap();
    }
    until("it is not ready", SOON, async || !run.cluster.ready(3).await.unwrap()).await;
    assert_eq!(
        run.cluster.http(3, "/health").await.unwrap().status,
        200,
        "it lives: restarting it would help nobody"
    );
    run.cluster.start_all(SOON).await.unwrap();
    assert!(run.cluster.ready(3).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_started_again_releases_nothing_until_all_others_have_told_it_where_the_log_stands() {
    let mut run = running().await;
    run.writer.put("prod/key", b"x", PutOptions::default()).await.unwrap();
    run.cluster.kill(3).unwrap();
    run.cluster.kill(2).unwrap();
    run.cluster.start(2).unwrap();
    let operator = shared(&run.operator);
    until("it waits for node 3", SOON, async || {
        let told = operator.status().await.into_iter().find(|(node, _)| *node == 2);
        told.is_some_and(|(_, status)| status.is_ok_and(|status| status.state == "booting"))
    })
    .await;
    let since = std::time::Instant::now();
    let mut refused = 0;
    while since.elapsed() < Duration::from_secs(3) {
        let error = run.reader.get("prod/key", None, "").await.unwrap_err();
        refused += usize::from(
            error
                .because
                .iter()
                .any(|line| line.contains(&Code::Booting.to_string())),
        );
    }
    assert!(refused > 0, "nobody was told that it boots");
    // Nor does it show or sign what may be an earlier log than the one that the others know.
    let range = symbolon_client::AuditRange::Tail { limit: 10 };
    let hidden = operator.audit(2, range).await.unwrap_err();
    assert!(format!("{hidden:?}").contains("Booting"), "{hidden:?}");
    assert_eq!(run.cluster.http(2, "/ready").await.unwrap().status, 503);
    let metrics = run.cluster.http(2, "/metrics").await.unwrap().body;
    assert!(metrics.contains("releases_total 0\n"), "{metrics}");
    run.cluster.start(3).unwrap();
    run.cluster.wait_ready(SOON).await.unwrap();
    assert_eq!(run.read("prod/key", None).await.unwrap().value.expose(), b"x");
    run.audit_logs_verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_reads_with_restarts_slow_nodes_and_new_versions_blame_no_honest_node() {
    const READS: u64 = 10_000;
    let mut run = running().await;
    for number in 0..5 {
        run.writer
            .put(&format!("prod/load/0-{number}"), b"first", PutOptions::default())
            .await
            .unwrap();
    }
    let writers = Writers::start(&run.writer, 1);
    let (reads, refusals) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..16)
        .map(|reader| {
            let (client, reads, refusals) = (shared(&run.reader), Arc::clone(&reads), Arc::clone(&refusals));
            let done = Arc::clone(&done);
            tokio::spawn(async move {
                let mut blamed = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    match client.get(&format!("prod/load/0-{}", reader % 5), None, "").await {
                        Ok(opened) => {
                            reads.fetch_add(1, Ordering::Relaxed);
                            blamed.extend(opened.culprits);
                        }
                        Err(error) => {
                            refusals.fetch_add(1, Ordering::Relaxed);
                            blamed.extend(error.culprits.clone());
                        }
                    }
                }
                blamed
            })
        })
        .collect();
    let mut victim = 0;
    // Each node is paused and killed at least once, however fast the reads are.
    while reads.load(Ordering::Relaxed) < READS || victim < 3 {
        let node = run.cluster.nodes()[victim % 3];
        victim += 1;
        run.cluster.pause(node).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        run.cluster.resume(node).unwrap();
        run.cluster.kill(node).unwrap();
        run.cluster.start(node).unwrap();
        run.cluster.wait_ready(SOON).await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        let blamed = reader.await.unwrap();
        assert!(blamed.is_empty(), "honest nodes were blamed: {blamed:?}");
    }
    writers.stop().await;
    let (reads, refusals) = (reads.load(Ordering::Relaxed), refusals.load(Ordering::Relaxed));
    // On a busy machine a killed leader and a node that boots beside it take their time; most reads succeed all the same.
    assert!(refusals < reads / 4, "{refusals} reads found no quorum, {reads} did");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_document_lists_the_metrics_of_a_node_and_no_others() {
    let run = running().await;
    let told = run.cluster.http(1, "/metrics").await.unwrap().body;
    let types = told.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let told: BTreeSet<String> = types.map(str::to_owned).collect();
    let listed = include_str!("../../docs/operations/run.md").lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("| `symbolon_")?.split_once("` | ")?;
        let (kind, _) = rest.split_once(" | ")?;
        ["gauge", "counter"]
            .contains(&kind)
            .then(|| format!("symbolon_{name} {kind}"))
    });
    assert_eq!(listed.collect::<BTreeSet<_>>(), told);
    assert!(told.contains("symbolon_store_reader_bytes gauge"), "{told:?}");
}
