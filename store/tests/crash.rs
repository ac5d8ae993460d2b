//! Crashes, bad disks and partitions, on disks in memory and virtual time. One seed gives one history.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests"
)]

mod common;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use common::{Net, eventually, leader, members, open_in_memory, propose, put, start};
use symbolon_consensus::{Consensus, ProposeError, Runtime, Storage, StoreFault};
use symbolon_store::{MemoryDisk, Store};

/// Runs on one thread, with paused time and one seed.
fn simulate<T>(seed: u64, run: impl Future<Output = T>) -> T {
    let _seeded = Runtime::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(run)
}

struct Three {
    net: Net,
    disks: Vec<MemoryDisk>,
    stores: Vec<Store>,
    members: Vec<Consensus>,
}

async fn three() -> Three {
    let net = Net::default();
    net.set_delay(Duration::from_millis(1));
    let disks: Vec<_> = (0..3).map(|_| MemoryDisk::new()).collect();
    let (mut stores, mut running) = (Vec::new(), Vec::new());
    for (node, disk) in (1..).zip(&disks) {
        let store = open_in_memory(disk, node);
        disk.set_sync_delay(Duration::from_millis(2));
        running.push(start(&net, node, &store).await);
        stores.push(store);
    }
    running[0].initialize(members(&[1, 2, 3])).await.unwrap();
    Three {
        net,
        disks,
        stores,
        members: running,
    }
}

impl Three {
    fn all(&self) -> Vec<&Consensus> {
        self.members.iter().collect()
    }

    /// Loses what was not synced at node `at` (from 0), and starts it again.
    async fn crash(&mut self, at: usize) {
        let node = u64::try_from(at).unwrap() + 1;
        let member = self.net.leave(node).unwrap();
        self.disks[at].crash();
        member.shutdown().await;
        self.stores[at] = open_in_memory(&self.disks[at], node);
        self.members[at] = start(&self.net, node, &self.stores[at]).await;
    }
}

#[test]
fn acknowledged_writes_survive_the_crash_of_any_one_member() {
    for at in 0..3 {
        simulate(7 + u64::try_from(at).unwrap(), async move {
            let mut three = three().await;
            for n in 0..20 {
                propose(&three.all(), put(&format!("k{n}"), "v")).await.unwrap();
                if n == 10 {
                    three.crash(at).await;
                }
            }
            three.crash(at).await;
            let last = propose(&three.all(), put("last", "v")).await.unwrap();
            eventually("all applied", || {
                three.members.iter().all(|m| m.progress().applied() >= last.index)
            })
            .await;
            for store in &three.stores {
                for n in 0..20 {
                    assert!(
                        store.view().get(format!("k{n}").as_bytes()).unwrap().is_some(),
                        "k{n} is lost"
                    );
                }
            }
        });
    }
}

#[test]
fn acknowledged_writes_survive_a_crash_of_all_members_at_once() {
    simulate(3, async {
        let mut three = three().await;
        for n in 0..20 {
            propose(&three.all(), put(&format!("k{n}"), "v")).await.unwrap();
        }
        crash_all(&mut three).await;
        propose(&three.all(), put("last", "v")).await.unwrap();
        assert_eq!(lost(&three).await, 0);
    });
}

async fn crash_all(three: &mut Three) {
    let old: Vec<_> = (1..=3).map(|node| three.net.leave(node).unwrap()).collect();
    for disk in &three.disks {
        disk.crash();
    }
    for member in old {
        member.shutdown().await;
    }
    for (at, node) in (1..=3u64).enumerate() {
        three.stores[at] = open_in_memory(&three.disks[at], node);
        three.members[at] = start(&three.net, node, &three.stores[at]).await;
    }
}

/// How many of 20 acknowledged writes are gone.
async fn lost(three: &Three) -> usize {
    let applied = three.members.iter().map(|m| m.progress().accepted()).max().unwrap();
    eventually("all applied", || {
        three.members.iter().all(|m| m.progress().applied() >= applied)
    })
    .await;
    let view = three.stores[0].view();
    (0..20)
        .filter(|n| view.get(format!("k{n}").as_bytes()).unwrap().is_none())
        .count()
}

/// The seeded bug that the tests above would miss if they proved nothing.
#[cfg(feature = "sabotage")]
#[test]
fn with_skipped_syncs_acknowledged_writes_are_lost() {
    simulate(3, async {
        let mut three = three().await;
        propose(&three.all(), put("first", "v")).await.unwrap();
        for disk in &three.disks {
            disk.set_syncs_skipped(true);
        }
        for n in 0..20 {
            propose(&three.all(), put(&format!("k{n}"), "v")).await.unwrap();
        }
        crash_all(&mut three).await;
        propose(&three.all(), put("last", "v")).await.unwrap();
        assert!(lost(&three).await > 0, "the build that skips syncs must lose writes");
    });
}

#[test]
fn a_member_whose_sync_fails_stops_and_the_others_go_on() {
    simulate(11, async {
        let mut three = three().await;
        propose(&three.all(), put("a", "1")).await.unwrap();
        let leads = usize::try_from(leader(&three.all()).await).unwrap() - 1;
        let bad = (leads + 1) % 3;
        three.disks[bad].set_syncs_fail(true);
        propose(&three.all(), put("a", "2")).await.unwrap();
        eventually("it stops", || !three.members[bad].status().running).await;
        assert!(matches!(
            three.members[bad].fault(),
            Some(StoreFault::Io {
                operation: "syncing",
                ..
            })
        ));
        let refused = three.members[bad].propose(put("a", "3")).await;
        assert!(
            matches!(refused, Err(ProposeError::Fatal { fault: Some(_) })),
            "{refused:?}"
        );

        three.disks[bad].set_syncs_fail(false);
        three.crash(bad).await;
        let last = propose(&three.all(), put("a", "4")).await.unwrap();
        eventually("it is back", || three.members[bad].progress().applied() >= last.index).await;
        assert_eq!(three.stores[bad].view().get(b"a").unwrap().unwrap(), "4");
    });
}

#[test]
fn a_full_disk_refuses_proposals_by_name_and_takes_them_again_when_freed() {
    simulate(12, async {
        let three = three().await;
        propose(&three.all(), put("a", "1")).await.unwrap();
        let leads = usize::try_from(leader(&three.all()).await).unwrap() - 1;
        three.disks[leads].set_reserve_used(true);
        let refused = three.members[leads].propose(put("a", "2")).await;
        assert!(
            matches!(refused, Err(ProposeError::NoRoom(StoreFault::DiskFull { .. }))),
            "{refused:?}"
        );
        three.disks[leads].set_reserve_used(false);
        assert_eq!(propose(&three.all(), put("a", "3")).await.unwrap().reply, "replaced");
    });
}

#[test]
fn a_follower_with_a_full_disk_falls_behind_without_stopping() {
    simulate(13, async {
        let three = three().await;
        let first = propose(&three.all(), put("a", "1")).await.unwrap();
        let leads = usize::try_from(leader(&three.all()).await).unwrap() - 1;
        let full = (leads + 1) % 3;
        eventually("all have it", || {
            three.members.iter().all(|m| m.progress().applied() >= first.index)
        })
        .await;
        three.disks[full].set_reserve_used(true);
        let last = propose(&three.all(), put("a", "2")).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(three.members[full].status().running);
        assert!(three.members[full].progress().applied() < last.index);
        three.disks[full].set_reserve_used(false);
        eventually("it catches up", || {
            three.members[full].progress().applied() >= last.index
        })
        .await;
    });
}

#[test]
fn a_proposal_of_a_leader_cut_off_is_unknown_and_its_entry_gives_way() {
    simulate(14, async {
        let three = three().await;
        propose(&three.all(), put("a", "1")).await.unwrap();
        let old = leader(&three.all()).await;
        let others: Vec<u64> = (1..=3).filter(|node| *node != old).collect();
        let old_member = three.members[usize::try_from(old).unwrap() - 1].clone();
        let progress = old_member.progress();
        let applied = progress.applied();
        three.net.isolate(old, &others);

        let asked = tokio::spawn({
            let old_member = old_member.clone();
            async move { old_member.propose(put("lost", "x")).await }
        });
        eventually("accepted, not applied", || progress.accepted() > applied).await;
        let sample = progress.sample();
        assert!(!old_member.all_unapplied(sample, |entry| entry.kind != common::KIND_PUT));
        assert!(old_member.all_unapplied(sample, |entry| entry.payload.starts_with(b"lost")));

        let rest: Vec<&Consensus> = three.all().into_iter().filter(|m| m.node() != old).collect();
        let kept = propose(&rest, put("a", "2")).await.unwrap();
        three.net.heal();
        let reached = progress.wait_applied(sample, Duration::from_secs(10)).await;
        assert!(
            reached.is_ok(),
            "a cut lowers the target of those who waited: {reached:?}"
        );
        assert_eq!(asked.await.unwrap(), Err(ProposeError::Unknown));
        eventually("healed", || progress.applied() >= kept.index).await;
        let store = &three.stores[usize::try_from(old).unwrap() - 1];
        assert_eq!(store.view().get(b"lost").unwrap(), None);
        assert_eq!(store.view().get(b"a").unwrap().unwrap(), "2");
        assert_eq!(old_member.chain_at(kept.index).unwrap(), Some(kept.chain));
    });
}

#[test]
fn an_isolated_member_does_not_depose_the_leader_when_it_returns() {
    simulate(15, async {
        let three = three().await;
        propose(&three.all(), put("a", "1")).await.unwrap();
        let leads = leader(&three.all()).await;
        let away = (1..=3).find(|node| *node != leads).unwrap();
        let others: Vec<u64> = (1..=3).filter(|node| *node != away).collect();
        let term = three.members[0].status().term;
        three.net.isolate(away, &others);
        tokio::time::sleep(Duration::from_secs(20)).await;
        three.net.heal();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(leader(&three.all()).await, leads);
        assert!(
            three.members.iter().all(|m| m.status().term == term),
            "pre-vote keeps the term"
        );
    });
}

async fn history(seed_note: &'static str) -> Vec<String> {
    let mut three = three().await;
    let mut seen = Vec::new();
    let start = tokio::time::Instant::now();
    for n in 0..30 {
        let done = propose(&three.all(), put(&format!("k{n}"), seed_note)).await.unwrap();
        seen.push(format!(
            "{:?} {} {} {:x?}",
            start.elapsed(),
            done.index,
            done.term,
            &done.chain[..4]
        ));
        if n % 10 == 5 {
            let leads = usize::try_from(leader(&three.all()).await).unwrap() - 1;
            three.crash(leads).await;
        }
    }
    seen
}

#[test]
fn one_seed_gives_one_history_and_another_seed_another() {
    let first = simulate(42, history("x"));
    let again = simulate(42, history("x"));
    let other = simulate(43, history("x"));
    assert_eq!(first, again);
    assert_ne!(first, other);
}

#[test]
fn a_wrong_state_key_is_refused_by_name() {
    let disk = MemoryDisk::new();
    drop(open_in_memory(&disk, 1));
    assert_eq!(
        Store::open_in_memory(&disk, common::options(2)).unwrap_err(),
        StoreFault::WrongStateKey
    );
    let _ = Arc::new(open_in_memory(&disk, 1));
}
