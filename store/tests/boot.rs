//! A member that boots with an old disk, on RocksDB: what was acknowledged stays, because the member asks where the log
//! stands before it takes part; and is lost where it does not.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests"
)]

mod common;

use common::{Keys, Net, Word, eventually, leader, members, open, propose, put, settings, start_with};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use symbolon_consensus::{Consensus, ProposeError, Standpoint, Storage};
use symbolon_store::Store;

/// Long enough for several elections.
const WHILE: Duration = Duration::from_secs(4);

async fn boot(net: &Net, node: u64, store: &Store, awaits_admission: bool) -> Consensus {
    let mut settings = settings(node);
    settings.awaits_admission = awaits_admission;
    start_with(net, settings, store, Box::new(Keys::default()), Arc::new(Word(b"word"))).await
}

/// Lets `booted` hear where the others stand, and take part.
async fn admit(booted: &Consensus, others: &[&Consensus]) {
    let mut heard = Standpoint::default();
    for other in others {
        heard = heard.max(other.standpoint().await.unwrap());
    }
    booted.admit(heard).await.unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &place);
        } else {
            std::fs::copy(entry.path(), place).unwrap();
        }
    }
}

async fn stop(net: &Net, member: Consensus) {
    net.leave(member.node());
    member.shutdown().await;
}

struct Rolled {
    net: Net,
    _directories: Vec<tempfile::TempDir>,
    /// Down, and holds the write.
    leader: u64,
    leader_path: std::path::PathBuf,
    /// Up; cut off when the write was made.
    behind: Consensus,
    /// Its disk was put back to before the write, which it had acknowledged.
    rolled_path: std::path::PathBuf,
    rolled: u64,
}

/// A write that the leader and one follower acknowledged; then the follower's disk is put back, and the leader is down.
async fn rolled_back() -> Rolled {
    let net = Net::default();
    let directories: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let path = |node: u64| directories[usize::try_from(node).unwrap() - 1].path().join("db");
    let mut running = Vec::new();
    for node in 1..=3 {
        running.push(boot(&net, node, &open(&path(node), node), false).await);
    }
    running[0].initialize(members(&[1, 2, 3])).await.unwrap();
    let all: Vec<&Consensus> = running.iter().collect();
    let first = propose(&all, put("a", "before")).await.unwrap();
    eventually("everybody has applied", || {
        all.iter().all(|m| m.progress().applied() >= first.index)
    })
    .await;
    let leads = leader(&all).await;
    drop(all);

    // The follower ends cleanly; this is the disk that is put back later.
    let rolled = (1..=3).find(|node| *node != leads).unwrap();
    let at = running.iter().position(|m| m.node() == rolled).unwrap();
    stop(&net, running.remove(at)).await;
    let backup = directories[0].path().join("backup");
    copy(&path(rolled), &backup);

    let back = boot(&net, rolled, &open(&path(rolled), rolled), false).await;
    let behind = (1..=3).find(|node| *node != leads && *node != rolled).unwrap();
    net.isolate(behind, &[leads, rolled]);
    let one = running.iter().find(|m| m.node() == leads).unwrap();
    propose(&[one, &back], put("a", "acknowledged")).await.unwrap();

    stop(&net, back).await;
    std::fs::remove_dir_all(path(rolled)).unwrap();
    copy(&backup, &path(rolled));
    let at = running.iter().position(|m| m.node() == leads).unwrap();
    stop(&net, running.remove(at)).await;
    net.heal();
    Rolled {
        leader: leads,
        leader_path: path(leads),
        rolled,
        rolled_path: path(rolled),
        behind: running.remove(0),
        net,
        _directories: directories,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_was_put_back_does_not_make_an_acknowledged_write_disappear() {
    let case = rolled_back().await;
    let store = open(&case.rolled_path, case.rolled);
    let rolled = boot(&case.net, case.rolled, &store, true).await;
    tokio::time::sleep(WHILE).await;
    let term = rolled.status().term;
    // The one that was cut off may still name its old leader, which is down.
    let both = [case.behind.node(), case.rolled];
    for member in [&case.behind, &rolled] {
        let leads = member.leader().is_some_and(|leader| both.contains(&leader));
        assert!(!leads, "two that lack the write elected a leader");
    }
    assert!(matches!(
        rolled.propose(put("a", "later")).await,
        Err(ProposeError::NotLeader { .. })
    ));
    assert_eq!(
        rolled.status().term,
        term,
        "a member that waits does not stand for election"
    );

    // The one that holds the write comes back, waits likewise, and both hear from all.
    let leader_store = open(&case.leader_path, case.leader);
    let back = boot(&case.net, case.leader, &leader_store, true).await;
    let (for_rolled, for_back) = ([&case.behind, &back], [&case.behind, &rolled]);
    admit(&rolled, &for_rolled).await;
    admit(&back, &for_back).await;
    let after = propose(&[&case.behind, &rolled, &back], put("b", "1")).await.unwrap();
    eventually("the others have applied", || {
        [&case.behind, &rolled, &back]
            .iter()
            .all(|m| m.progress().applied() >= after.index)
    })
    .await;
    assert_eq!(store.view().get(b"a").unwrap().unwrap(), "acknowledged");
    assert_eq!(leader_store.view().get(b"a").unwrap().unwrap(), "acknowledged");
}

/// What the test above would miss if nothing could go wrong: the same, trusting the disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_wait_the_acknowledged_write_is_lost() {
    let case = rolled_back().await;
    let store = open(&case.rolled_path, case.rolled);
    let rolled = boot(&case.net, case.rolled, &store, false).await;
    let after = propose(&[&case.behind, &rolled], put("b", "1")).await.unwrap();
    eventually("it has applied", || rolled.progress().applied() >= after.index).await;
    assert_eq!(store.view().get(b"a").unwrap().unwrap(), "before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_three_come_up_again_after_they_were_down_at_once() {
    let net = Net::default();
    let directories: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    for round in 0..2 {
        let mut running = Vec::new();
        for (node, directory) in (1..).zip(&directories) {
            running.push(boot(&net, node, &open(directory.path(), node), true).await);
        }
        for booted in &running {
            let others: Vec<_> = running.iter().filter(|m| m.node() != booted.node()).collect();
            admit(booted, &others).await;
            // All but the first may have heard of the first one's term, and need not.
            let _ = booted.initialize(members(&[1, 2, 3])).await;
        }
        let all: Vec<&Consensus> = running.iter().collect();
        let reply = propose(&all, put("a", &round.to_string())).await.unwrap().reply;
        assert_eq!(reply, if round == 0 { "new" } else { "replaced" });
        for member in running {
            stop(&net, member).await;
        }
    }
}
