//! Tokens that stall, lie, disappear and come back, under real nodes: a PKCS#11 module in front of SoftHSM's misbehaves when
//! it is told to (`faults/shims/token.c`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Running, decided, running, shared, until};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use symbolon_client::PutOptions;
use symbolon_faults::{TokenFault, TokenShim};

const SOON: Duration = Duration::from_secs(30);
/// A probe every 700 ms, at most 500 ms of patience, 200 ms, 500 ms more; and what a busy machine adds.
const SEALED_WITHIN: Duration = Duration::from_millis(2_500);
/// For how long a token stalls under load.
const STALLED: Duration = Duration::from_secs(32);
/// Past what a request takes on a busy machine, far below the 30 s that a call of the token takes.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// A cluster one of whose nodes, its leader, has the misbehaving module in front of its token.
async fn misbehaving() -> (Running, u16, TokenShim) {
    let mut run = running().await;
    run.writer.put("prod/key", b"x", PutOptions::default()).await.unwrap();
    let node = run.cluster.leader(&run.operator).await.unwrap();
    run.cluster.stop(node).await.unwrap();
    let path = run.cluster.paths().config(node);
    let mut config: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
    let token = config["token"].as_table_mut().unwrap();
    let behind = PathBuf::from(token["module"].as_str().unwrap());
    token.insert("module".to_owned(), TokenShim::module().to_str().unwrap().into());
    std::fs::write(&path, config.to_string()).unwrap();
    let shim = TokenShim::new(&run.cluster.paths().softhsm_conf(node), &behind).unwrap();
    run.cluster.start(node).unwrap();
    run.cluster.wait_ready(SOON).await.unwrap();
    (run, node, shim)
}

/// Waits until a node has sealed itself, and returns why it says that it did.
async fn sealed(run: &Running, node: u16) -> (Duration, String) {
    let mut why = String::new();
    let took = until("the node seals itself", SOON, async || {
        let Ok(answer) = run.cluster.http(node, "/health").await else {
            return false;
        };
        let said: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        why = said["reason"].as_str().unwrap_or_default().to_owned();
        answer.status == 503 && said["state"].as_str() == Some("sealed")
    })
    .await;
    (took, why)
}

/// Reads and writes until it is told to stop; the longest that one took.
struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<Duration>>,
}

impl Load {
    fn start(run: &Running) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (reader, writer) = (shared(&run.reader), shared(&run.writer));
        let mut tasks = Vec::new();
        for task in 0..4 {
            let (reader, writer, stop) = (Arc::clone(&reader), Arc::clone(&writer), Arc::clone(&stop));
            tasks.push(tokio::spawn(async move {
                let mut longest = Duration::ZERO;
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    if task % 2 == 0 {
                        decided(|| reader.get("prod/key", None, "")).await.unwrap();
                    } else {
                        // While another leader is elected an outcome may stay unknown; how long that takes counts.
                        let _ = writer
                            .put(&format!("prod/load/{task}"), b"y", PutOptions::default())
                            .await;
                    }
                    longest = longest.max(begun.elapsed());
                }
                longest
            }));
        }
        Self { stop, tasks }
    }

    async fn stop(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        let mut longest = Duration::ZERO;
        for task in self.tasks {
            longest = longest.max(task.await.unwrap());
        }
        longest
    }
}

/// Stops the node, starts it again, and waits for what comes of that: it ends without serving.
async fn refuses_to_start(run: &mut Running, node: u16, because: &str) {
    run.cluster.start(node).unwrap();
    until("the node refuses to start", SOON, async || {
        run.cluster.ended(node).unwrap().is_some()
    })
    .await;
    assert!(!run.cluster.ended(node).unwrap().unwrap().success());
    let log = std::fs::read_to_string(run.cluster.paths().log(node)).unwrap();
    let last: Vec<&str> = log.lines().rev().take(5).collect();
    assert!(
        last.iter().any(|line| line.contains(because)),
        "not {because:?}: {last:?}"
    );
}

/// Both ends of a fault: the node serves again after a restart with a sound token, and not before.
async fn comes_back(mut run: Running, node: u16) {
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        run.cluster.http(node, "/health").await.unwrap().status,
        503,
        "a sealed node has dropped its keys: the token alone does not bring it back"
    );
    run.cluster.stop(node).await.unwrap();
    run.cluster.start(node).unwrap();
    run.cluster.wait_ready(SOON).await.unwrap();
    until("it releases again", SOON, async || {
        let opened = run.read("prod/key", None).await.unwrap();
        opened.receipts.iter().any(|receipt| receipt.node == node)
    })
    .await;
    run.audit_logs_verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_stalls_blocks_no_request_and_its_node_seals_itself_and_says_why() {
    let (mut run, node, shim) = misbehaving().await;
    let load = Load::start(&run);
    tokio::time::sleep(Duration::from_millis(500)).await;
    shim.set(Some(TokenFault::Stalls)).unwrap();
    let stalled = Instant::now();
    let (took, why) = sealed(&run, node).await;
    assert!(took < SEALED_WITHIN, "it took {took:?}");
    assert!(why.contains("no answer in 500 ms"), "{why}");
    tokio::time::sleep(STALLED.saturating_sub(stalled.elapsed())).await;
    assert_eq!(run.cluster.http(node, "/health").await.unwrap().status, 503);
    let longest = load.stop().await;
    eprintln!("sealed after {took:?}; the longest request took {longest:?}");
    assert!(longest < ANSWERED_WITHIN, "a request took {longest:?}");

    // It ends although a call still waits for the token.
    let begun = Instant::now();
    run.cluster.stop(node).await.unwrap();
    assert!(
        begun.elapsed() < ANSWERED_WITHIN,
        "it took {:?} to end",
        begun.elapsed()
    );

    // One that starts while its token stalls waits for it, and the others serve on.
    run.cluster.start(node).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(
        run.cluster.http(node, "/health").await.is_err(),
        "it serves nothing yet"
    );
    run.reader.get("prod/key", None, "").await.unwrap();
    shim.set(None).unwrap();
    run.cluster.wait_ready(SOON).await.unwrap();
    run.audit_logs_verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_late_once_does_not_seal_its_node() {
    let (run, node, shim) = misbehaving().await;
    for _ in 0..3 {
        shim.set(Some(TokenFault::Stalls)).unwrap();
        tokio::time::sleep(Duration::from_millis(400)).await;
        shim.set(None).unwrap();
        tokio::time::sleep(Duration::from_millis(1_500)).await;
    }
    assert_eq!(run.cluster.http(node, "/health").await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_signs_wrongly_seals_its_node_and_nothing_that_it_gives_back_wrongly_is_used() {
    let (mut run, node, shim) = misbehaving().await;
    shim.set(Some(TokenFault::Lies)).unwrap();
    let (took, why) = sealed(&run, node).await;
    assert!(took < SEALED_WITHIN, "it took {took:?}");
    assert!(why.contains("does not verify"), "{why}");
    run.read("prod/key", None).await.unwrap();
    run.writer.put("prod/key", b"z", PutOptions::default()).await.unwrap();
    run.cluster.stop(node).await.unwrap();
    // What it unwraps comes back wrapped once more, and that does not open.
    refuses_to_start(&mut run, node, "does not open with this token").await;
    // Another key in place of K_token, of E_0, of E_0 where it is wrapped again, of the sealing seed.
    for (which, because) in [
        (0, "does not open with this token"),
        (1, "but another"),
        (2, "does not open this wrapped secret"),
        (3, "not the one in the roster"),
    ] {
        shim.set(Some(TokenFault::Swaps(which))).unwrap();
        refuses_to_start(&mut run, node, because).await;
    }
    shim.set(None).unwrap();
    run.cluster.start(node).unwrap();
    run.cluster.wait_ready(SOON).await.unwrap();
    let opened = run.reader.get("prod/key", None, "").await.unwrap();
    assert_eq!(opened.value.expose(), b"z");
    run.audit_logs_verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_token_comes_back_serves_again_after_a_restart_and_not_before() {
    let (run, node, shim) = misbehaving().await;
    shim.set(Some(TokenFault::Gone)).unwrap();
    let (took, why) = sealed(&run, node).await;
    assert!(took < SEALED_WITHIN, "it took {took:?}");
    assert!(why.contains("token"), "{why}");
    run.reader.get("prod/key", None, "").await.unwrap();
    shim.set(None).unwrap();
    comes_back(run, node).await;
}
