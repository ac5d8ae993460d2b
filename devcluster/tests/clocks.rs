//! A node whose wall clock jumps by an hour, as a real process: a shim stands between it and its clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Running, running, until};
use std::time::{Duration, Instant};
use symbolon_client::{PutOptions, Who};
use symbolon_faults::ClockShim;

const SOON: Duration = Duration::from_secs(30);
const HOUR_MS: i64 = 3_600_000;
const ODD: u16 = 2;

/// Which nodes answered a read, and that it brought the value.
async fn read(run: &Running) -> Vec<u16> {
    let opened = run.read("prod/key", None).await.unwrap();
    assert_eq!(opened.value.expose(), b"x");
    assert!(
        opened
            .culprits
            .iter()
            .all(|culprit| !matches!(culprit.who, Who::Node(_))),
        "{:?}",
        opened.culprits
    );
    opened.receipts.iter().map(|receipt| receipt.node).collect()
}

async fn logged(run: &Running, what: &str) {
    let begun = Instant::now();
    while !std::fs::read_to_string(run.cluster.paths().log(ODD))
        .unwrap()
        .contains(what)
    {
        assert!(
            begun.elapsed() < SOON,
            "node {ODD} does not log {what:?}\n{}",
            run.logs()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn apart_ms(run: &Running) -> u64 {
    let metrics = run.cluster.http(ODD, "/metrics").await.unwrap().body;
    let line = metrics
        .lines()
        .find(|line| line.starts_with("symbolon_clock_apart_ms "))
        .unwrap();
    line.split(' ').next_back().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_clock_jumps_an_hour_says_so_releases_nothing_and_recovers() {
    let mut run = running().await;
    run.writer.put("prod/key", b"x", PutOptions::default()).await.unwrap();
    let clock = ClockShim::new(&run.cluster.root().join("clock"));
    run.cluster.stop(ODD).await.unwrap();
    run.cluster.start_with(ODD, clock.variables()).unwrap();
    run.cluster.wait_ready(SOON).await.unwrap();
    until("it releases", SOON, async || read(&run).await.contains(&ODD)).await;
    for off_ms in [HOUR_MS, -HOUR_MS] {
        clock.set_off_ms(off_ms).unwrap();
        logged(&run, "too far apart").await;
        assert!(apart_ms(&run).await > 3_500_000);
        for _ in 0..30 {
            assert!(!read(&run).await.contains(&ODD), "{off_ms} ms off, it released");
        }
        // Log time does not follow one clock, and writes go on.
        run.writer.put("prod/other", b"y", PutOptions::default()).await.unwrap();
        clock.set_off_ms(0).unwrap();
        logged(&run, "agree again").await;
        assert!(apart_ms(&run).await < 60_000);
        until("it releases again", SOON, async || read(&run).await.contains(&ODD)).await;
        // So that the next jump is seen in the log anew.
        std::fs::write(run.cluster.paths().log(ODD), "").unwrap();
    }
    run.audit_logs_verify().await;
}
