//! A rolling upgrade on real processes, between two builds that differ in what comes with a level: the programs that ship,
//! and the next build (`sabotage/src/next.rs`), of which from its level on a write takes away the version three before it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::writers::{self, Writers};
use common::{Running, running_as, shared, until};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use symbolon_client::{Client, PutOptions, v1};
use symbolon_devcluster::Spec;
use symbolon_wire::{Code, FEATURE_LEVEL};

/// Past this something hangs; a step takes a second or two.
const SOON: Duration = Duration::from_secs(120);
const NEXT: u32 = FEATURE_LEVEL + 1;

async fn start() -> Running {
    let spec = Spec {
        snapshot_entries: Some(50),
        ..Spec::default()
    };
    running_as(spec).await
}

/// What the nodes that answer say of themselves.
async fn statuses(run: &Running) -> BTreeMap<u16, v1::StatusReply> {
    let told = run.operator.status().await;
    told.into_iter()
        .filter_map(|(node, status)| Some((node, status.ok()?)))
        .collect()
}

/// Waits for a mark after all that was done before, at which all nodes have told their state roots; they must be one.
async fn states_are_alike(run: &Running) {
    let told = statuses(run).await;
    let since = told.values().map(|status| status.applied).max().unwrap();
    let mut roots: BTreeMap<u64, BTreeMap<u16, bytes::Bytes>> = BTreeMap::new();
    until("all nodes have told their state at one mark", SOON, async || {
        for (node, status) in statuses(run).await {
            assert_eq!(status.reason, "", "node {node}\n{}", run.logs());
            if status.mark > since {
                roots.entry(status.mark).or_default().insert(node, status.state_root);
            }
        }
        roots.values().any(|roots| roots.len() == 3)
    })
    .await;
    for (mark, roots) in roots {
        let first = roots.values().next().unwrap();
        assert!(roots.values().all(|root| root == first), "at {mark}: {roots:?}");
    }
}

/// Writes four versions of a secret of its own; whether the first is still there, which the next build takes away.
async fn the_first_of_four_stays(run: &Running, probe: &str) -> bool {
    let path = format!("prod/probe/{probe}");
    let mut latest = 0;
    while latest < 4 {
        // While a leader is sought, an outcome may stay unknown.
        if let Ok(put) = run.writer.put(&path, b"value", PutOptions::default()).await {
            latest = put.version;
        }
    }
    assert_eq!(run.read(&path, None).await.unwrap().version, latest);
    match run.read(&path, Some(latest - 3)).await {
        Ok(opened) => {
            assert_eq!(opened.value.expose(), b"value");
            true
        }
        Err(error) if error.code == Code::NotFound => false,
        Err(error) => panic!("{error}\n{}", run.logs()),
    }
}

/// Who reads one secret until told to stop; it is always there, and no honest node is blamed.
struct Readers {
    stop: Arc<AtomicBool>,
    opened: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Readers {
    fn start(client: &Client, path: &'static str, value: &'static [u8]) -> Self {
        let (stop, opened) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let task = |_| {
            let (client, stop, count) = (shared(client), Arc::clone(&stop), Arc::clone(&opened));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    match client.get(path, None, "").await {
                        Ok(opened) => {
                            assert_eq!(opened.value.expose(), value);
                            assert!(opened.culprits.is_empty(), "{:?}", opened.culprits);
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        // Between two leaders nobody can say that it is fresh.
                        Err(error) => assert!(
                            matches!(
                                error.code,
                                Code::NotFresh | Code::NoQuorum | Code::Unreachable | Code::Timeout
                            ),
                            "{error}"
                        ),
                    }
                }
            })
        };
        Self {
            tasks: (0..2).map(task).collect(),
            stop,
            opened,
        }
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

/// Stops a node in order and starts it as the next build, or as this one; the load goes on.
async fn restart(run: &mut Running, node: u16, next: bool, writers: &Writers, readers: &Readers) {
    run.cluster.stop(node).await.unwrap();
    let load = || {
        (
            writers.written.load(Ordering::Relaxed),
            readers.opened.load(Ordering::Relaxed),
        )
    };
    let before = load();
    until("the load goes on with two of three", SOON, async || {
        let now = load();
        now.0 > before.0 + 3 && now.1 > before.1 + 3
    })
    .await;
    if next {
        run.cluster.start_next_build(node, None).unwrap();
    } else {
        run.cluster.start(node).unwrap();
    }
    run.cluster.wait_ready(SOON).await.unwrap();
    let knows = if next { NEXT } else { FEATURE_LEVEL };
    until("it answers as that build", SOON, async || {
        statuses(run).await.get(&node).map(|status| status.build_level) == Some(knows)
    })
    .await;
}

async fn levels(run: &Running) -> Vec<u32> {
    statuses(run)
        .await
        .values()
        .map(|status| status.feature_level)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_after_the_other_is_upgraded_under_load_and_only_then_all_do_what_is_new() {
    let mut run = start().await;
    run.writer
        .put("prod/steady", b"steady", PutOptions::default())
        .await
        .unwrap();
    let writers = Writers::start(&run.writer, 3);
    let readers = Readers::start(&run.reader, "prod/steady", b"steady");
    states_are_alike(&run).await;

    // There and back again: nothing has happened.
    restart(&mut run, 1, true, &writers, &readers).await;
    assert!(the_first_of_four_stays(&run, "there").await);
    states_are_alike(&run).await;
    restart(&mut run, 1, false, &writers, &readers).await;
    assert_eq!(levels(&run).await, [FEATURE_LEVEL; 3]);
    states_are_alike(&run).await;

    for node in [1, 2] {
        restart(&mut run, node, true, &writers, &readers).await;
        assert!(the_first_of_four_stays(&run, &format!("step-{node}")).await);
        states_are_alike(&run).await;
        assert_eq!(levels(&run).await, [FEATURE_LEVEL; 3], "node 3 is old");
    }
    restart(&mut run, 3, true, &writers, &readers).await;
    until("the level rises by itself", SOON, async || {
        levels(&run).await == [NEXT; 3]
    })
    .await;
    assert!(!the_first_of_four_stays(&run, "after").await, "\n{}", run.logs());
    states_are_alike(&run).await;

    // Back is no way any more: the old build says so and ends; as the next build the node goes on where it stopped.
    run.cluster.stop(2).await.unwrap();
    run.cluster.start(2).unwrap();
    until("the old build ends", SOON, async || {
        let ended = run.cluster.ended(2).unwrap();
        ended.inspect(|status| assert_eq!(status.code(), Some(1))).is_some()
    })
    .await;
    let log = std::fs::read_to_string(run.cluster.paths().log(2)).unwrap();
    for told in [
        format!("feature level {NEXT} is in force, and this build knows levels up to {FEATURE_LEVEL}"),
        format!("run a build that knows level {NEXT}"),
    ] {
        assert!(log.contains(&told), "{told} is not in\n{log}");
    }
    run.cluster.start_next_build(2, None).unwrap();
    run.cluster.wait_ready(SOON).await.unwrap();
    assert!(!the_first_of_four_stays(&run, "again").await);
    states_are_alike(&run).await;

    readers.stop().await;
    let acknowledged = writers.stop().await;
    assert!(acknowledged.len() > 10, "{}", acknowledged.len());
    writers::all_there(&run, &acknowledged).await;
    run.audit_logs_verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_does_what_comes_with_a_level_before_it_is_in_force_freezes_and_the_others_go_on() {
    const ODD: u16 = 3;
    let mut run = start().await;
    run.cluster.stop(ODD).await.unwrap();
    run.cluster.start_next_build(ODD, Some("next-at-once")).unwrap();
    run.cluster.wait_ready(SOON).await.unwrap();
    assert!(the_first_of_four_stays(&run, "odd").await, "two of three still have it");
    let writers = Writers::start(&run.writer, 3);
    until("the odd node freezes", SOON, async || {
        statuses(&run).await.get(&ODD).is_some_and(|status| {
            status.state == "frozen" && status.reason.contains("is not the one that t other nodes signed")
        })
    })
    .await;
    let before = writers.written.load(Ordering::Relaxed);
    until("the others go on", SOON, async || {
        writers.written.load(Ordering::Relaxed) > before + 10
    })
    .await;
    let acknowledged = writers.stop().await;
    writers::all_there(&run, &acknowledged).await;
    for (node, status) in statuses(&run).await {
        let state = if node == ODD { "frozen" } else { "serving" };
        assert_eq!(status.state, state, "node {node}\n{}", run.logs());
    }
}
