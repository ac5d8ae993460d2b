//! Not a test of speed, which a shared machine cannot give: prints what a load costs. `cargo test -p symbolon-store
//! --test load -- --ignored --nocapture`

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests"
)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Net, leader, members, open, propose, put, start};
use symbolon_consensus::Consensus;

fn status(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after = stat.rsplit_once(") ").unwrap().1;
    let ticks: u64 = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|t| t.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 10)
}

#[ignore = "prints figures; run by hand"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_writes_cost() {
    let net = Net::default();
    let directories: Vec<_> = (0..3).map(|_| tempfile::tempdir_in(".").unwrap()).collect();
    let stores: Vec<_> = (1..).zip(&directories).map(|(node, d)| open(d.path(), node)).collect();
    let mut running = Vec::new();
    for (node, store) in (1..).zip(&stores) {
        running.push(start(&net, node, store).await);
    }
    running[0].initialize(members(&[1, 2, 3])).await.unwrap();
    let all: Vec<&Consensus> = running.iter().collect();
    propose(&all, put("warm", "up")).await.unwrap();
    let leading = running[usize::try_from(leader(&all).await - 1).unwrap()].clone();
    println!("idle, three members in one process: {} KiB resident", status("VmRSS:"));
    for in_flight in [1usize, 16, 64, 256] {
        let (done, syncs) = (Arc::new(AtomicU64::new(0)), stores[0].syncs());
        let (began, used) = (Instant::now(), cpu());
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..in_flight {
            let (leading, done) = (leading.clone(), Arc::clone(&done));
            tasks.spawn(async move {
                let mut n = 0;
                while began.elapsed() < Duration::from_secs(3) {
                    leading
                        .propose(put(&format!("{task}-{n}"), &"v".repeat(2048)))
                        .await
                        .unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                    n += 1;
                }
            });
        }
        tasks.join_all().await;
        let (done, took) = (done.load(Ordering::Relaxed), began.elapsed());
        println!(
            "{in_flight:>3} in flight: {:>6.0} writes/s, {:>4.0} µs CPU a write over all members, {:.3} syncs a write and member",
            done as f64 / took.as_secs_f64(),
            (cpu() - used).as_micros() as f64 / done as f64,
            (stores[0].syncs() - syncs) as f64 / done as f64,
        );
    }
    println!(
        "afterwards: {} KiB resident, peak {} KiB",
        status("VmRSS:"),
        status("VmHWM:")
    );
}
