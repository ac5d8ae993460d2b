//! What a node does to its own process, and says of its configuration, outside development.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::running;
use std::process::Command;
use std::time::Duration;

const NODE: u16 = 3;
const READY: Duration = Duration::from_secs(60);

/// `name: 123 kB` of `/proc/PID/status`.
fn kib(status: &str, name: &str) -> u64 {
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_production_node_has_its_memory_locked_and_leaves_no_core_or_does_not_start() {
    let mut run = running().await;
    run.cluster.stop(NODE).await.unwrap();
    let path = run.cluster.paths().config(NODE);
    let mut config: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
    config.insert("development".to_owned(), false.into());
    std::fs::write(&path, config.to_string()).unwrap();
    run.cluster.start(NODE).unwrap();
    if let Err(refused) = run.cluster.wait_ready(READY).await {
        // Where the machine lets nobody lock memory.
        assert!(run.logs().contains("memory cannot be locked"), "{refused}");
        return;
    }
    let process = format!("/proc/{}", run.cluster.pid(NODE).unwrap());
    let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
    let (locked, resident) = (kib(&status, "VmLck:"), kib(&status, "VmRSS:"));
    assert!(
        resident > 0 && locked >= resident,
        "{locked} of {resident} KiB are locked"
    );
    let limits = std::fs::read_to_string(format!("{process}/limits")).unwrap();
    let cores = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    let words: Vec<&str> = cores.split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"], "{cores}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_address_is_not_the_one_in_the_roster_is_told_so_before_it_starts() {
    let run = running().await;
    let path = run.cluster.paths().config(NODE);
    let check = || {
        let mut command = Command::new(&run.cluster.binaries().node);
        let checked = command.arg("check-config").arg("--config").arg(&path).output().unwrap();
        assert!(checked.status.success());
        String::from_utf8(checked.stderr).unwrap()
    };
    let before = check();
    assert!(!before.contains("others look for"), "{before}");
    let mut config: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
    let address = config.insert("address".to_owned(), "192.0.2.1:7600".into()).unwrap();
    std::fs::write(&path, config.to_string()).unwrap();
    let told = check();
    let says = format!("others look for this node at {}", address.as_str().unwrap());
    assert!(told.contains(&says) && told.contains("192.0.2.1:7600"), "{told}");
}
