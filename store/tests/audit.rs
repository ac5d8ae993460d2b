//! The audit log: its tree, its durability, and what it notices when it is opened.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests"
)]

mod common;

use std::time::Duration;

use common::{open, open_in_memory};
use symbolon_crypto::merkle::tile::Tile;
use symbolon_crypto::merkle::{Tree, leaf_hash, verify_consistency, verify_inclusion};
use symbolon_store::{AuditFault, AuditLog, MemoryDisk, SavedCheckpoint, StoreFault};

fn leaf(n: u64) -> Vec<u8> {
    format!("leaf {n}").into_bytes()
}

async fn append(log: &AuditLog, from: u64, count: u64) {
    let leaves: Vec<_> = (from..from + count).map(leaf).collect();
    let appended = log.append(&leaves).unwrap();
    assert_eq!((appended.first, appended.size), (from, from + count));
    appended.durable().await.unwrap();
}

fn tree(size: u64) -> Tree {
    (0..size).map(|n| leaf_hash(&leaf(n))).collect()
}

#[tokio::test]
async fn roots_and_proofs_are_those_of_the_tree_over_the_leaves() {
    let disk = MemoryDisk::new();
    let log = open_in_memory(&disk, 1).audit().unwrap();
    let mut size = 0;
    for count in [1, 1, 3, 200, 51, 1, 255, 600] {
        append(&log, size, count).await;
        size += count;
        assert_eq!(log.root(size).unwrap(), tree(size).root(), "at {size}");
    }
    let root = log.root(size).unwrap();
    for index in [0, 1, 255, 256, 511, 700, size - 1] {
        let path = log.inclusion(index, size).unwrap();
        verify_inclusion(&leaf_hash(&leaf(index)), index, size, &path, &root).unwrap();
    }
    for old in [1, 255, 256, 257, 1000] {
        let path = log.consistency(old, size).unwrap();
        verify_consistency(old, size, &tree(old).root(), &root, &path).unwrap();
    }
    assert_eq!(log.verify().unwrap(), root);
}

#[tokio::test]
async fn a_log_opened_again_goes_on_with_the_same_tree() {
    let disk = MemoryDisk::new();
    let mut size = 0;
    for count in [300, 212, 1, 65_536] {
        let log = open_in_memory(&disk, 1).audit().unwrap();
        assert_eq!(log.size(), size);
        append(&log, size, count).await;
        size += count;
        disk.crash();
    }
    let log = open_in_memory(&disk, 1).audit().unwrap();
    assert_eq!(log.root(size).unwrap(), tree(size).root());
    assert_eq!(log.verify().unwrap(), tree(size).root());
    assert_eq!(log.leaves(size - 2, 10).unwrap(), [leaf(size - 2), leaf(size - 1)]);
    assert!(log.leaves(u64::MAX, 10).unwrap().is_empty());
}

#[tokio::test]
async fn old_leaves_are_forgotten_by_whole_tiles_and_every_root_and_proof_stays() {
    let disk = MemoryDisk::new();
    let log = open_in_memory(&disk, 1).audit().unwrap();
    append(&log, 0, 1_000).await;
    assert_eq!(log.forget(255).await.unwrap(), 0);
    assert_eq!(log.forget(700).await.unwrap(), 512);
    assert_eq!(log.forget(300).await.unwrap(), 512, "what is forgotten stays so");
    append(&log, 1_000, 1).await;
    drop(log);
    disk.crash();

    let log = open_in_memory(&disk, 1).audit().unwrap();
    let (size, root) = (1_001, tree(1_001).root());
    assert_eq!((log.size(), log.kept_from()), (size, 512));
    assert_eq!(log.leaves(512, 1).unwrap(), [leaf(512)]);
    let forgotten = Err(AuditFault::Forgotten { kept_from: 512 });
    assert_eq!(log.leaves(511, 1), forgotten);
    let hashes: Vec<_> = (0..768).map(|n| leaf_hash(&leaf(n))).collect();
    assert_eq!(log.hashes(0, 1_000).unwrap(), hashes);
    assert_eq!(log.hashes(250, 10).unwrap(), hashes[250..260]);
    assert_eq!(
        log.hashes(768, 10).unwrap(),
        Vec::<[u8; 32]>::new(),
        "of a tile that is not full"
    );
    for index in [0, 255, 511, 512, size - 1] {
        let path = log.inclusion(index, size).unwrap();
        verify_inclusion(&leaf_hash(&leaf(index)), index, size, &path, &root).unwrap();
    }
    for old in [1, 300, 512, 1_000] {
        let path = log.consistency(old, size).unwrap();
        verify_consistency(old, size, &tree(old).root(), &root, &path).unwrap();
    }
    assert_eq!(log.verify().unwrap(), root);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaves_that_are_forgotten_while_they_are_read_are_no_gap() {
    let disk = MemoryDisk::new();
    let log = open_in_memory(&disk, 1).audit().unwrap();
    append(&log, 0, 65_536).await;
    let reading = {
        let log = log.clone();
        std::thread::spawn(move || {
            while log.kept_from() < 65_280 {
                match log.leaves(log.kept_from(), 10) {
                    Ok(_) | Err(AuditFault::Forgotten { .. }) => {}
                    Err(fault) => panic!("{fault}"),
                }
            }
        })
    };
    for until in (256..65_536).step_by(256) {
        log.forget(until).await.unwrap();
    }
    reading.join().unwrap();
}

/// Where a log ends is told by its last leaf.
#[tokio::test]
async fn the_newest_leaf_is_never_forgotten() {
    let disk = MemoryDisk::new();
    let log = open_in_memory(&disk, 1).audit().unwrap();
    assert_eq!(log.forget(u64::MAX).await.unwrap(), 0);
    append(&log, 0, 512).await;
    assert_eq!(log.forget(u64::MAX).await.unwrap(), 256);
    drop(log);
    let log = open_in_memory(&disk, 1).audit().unwrap();
    assert_eq!(log.verify().unwrap(), tree(512).root());
}

#[tokio::test]
async fn tiles_hold_the_hashes_that_c2sp_says() {
    let disk = MemoryDisk::new();
    let log = open_in_memory(&disk, 1).audit().unwrap();
    append(&log, 0, 300).await;
    let full = log
        .tile(&Tile {
            level: 0,
            index: 0,
            width: 256,
        })
        .unwrap();
    assert_eq!(full.len(), 256 * 32);
    assert_eq!(full[32 * 7..32 * 8], leaf_hash(&leaf(7)));
    let partial = log
        .tile(&Tile {
            level: 0,
            index: 1,
            width: 44,
        })
        .unwrap();
    assert_eq!(partial[..32], leaf_hash(&leaf(256)));
    assert_eq!(
        log.tile(&Tile {
            level: 1,
            index: 0,
            width: 1
        })
        .unwrap(),
        tree(256).root()
    );
    assert_eq!(
        log.tile(&Tile {
            level: 0,
            index: 1,
            width: 45
        }),
        Err(AuditFault::BeyondEnd { size: 300 })
    );
}

#[tokio::test]
async fn leaves_that_were_not_synced_are_not_in_the_log_after_a_crash() {
    let disk = MemoryDisk::new();
    let store = open_in_memory(&disk, 1);
    let log = store.audit().unwrap();
    append(&log, 0, 5).await;
    disk.set_sync_delay(Duration::from_millis(50));
    let waiting = log.append(&[leaf(5)]).unwrap();
    assert_eq!(log.size(), 5, "not durable yet");
    assert_eq!(log.root(6), Err(AuditFault::BeyondEnd { size: 5 }));
    disk.crash();
    assert_eq!(waiting.durable().await, Err(StoreFault::Stopped));
    assert_eq!(open_in_memory(&disk, 1).audit().unwrap().size(), 5);
}

#[tokio::test]
async fn what_is_written_without_waiting_is_in_the_log_from_the_sync_on() {
    let disk = MemoryDisk::new();
    let log = open_in_memory(&disk, 1).audit().unwrap();
    // Over the end of two tiles, whose hashes are read before they are synced.
    for n in 0..600 {
        assert_eq!(log.write(&[leaf(n)]).unwrap(), n);
    }
    assert_eq!(log.size(), 0, "not durable yet");
    assert_eq!(log.root(1), Err(AuditFault::BeyondEnd { size: 0 }));
    log.sync().await.unwrap();
    assert_eq!(log.root(600).unwrap(), tree(600).root());
    assert_eq!(log.write(&[leaf(600)]).unwrap(), 600);
    disk.crash();
    assert_eq!(log.write(&[leaf(601)]), Err(StoreFault::Stopped));
    let log = open_in_memory(&disk, 1).audit().unwrap();
    assert_eq!(log.verify().unwrap(), tree(600).root());
    assert_eq!(log.write(&[leaf(600)]).unwrap(), 600);
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_written_either() {
    let disk = MemoryDisk::new();
    let log = open_in_memory(&disk, 1).audit().unwrap();
    log.write(&[leaf(0)]).unwrap();
    disk.set_syncs_fail(true);
    assert!(matches!(log.sync().await, Err(StoreFault::Io { .. })));
    disk.set_syncs_fail(false);
    assert_eq!(log.write(&[leaf(1)]), Err(StoreFault::Stopped));
    assert_eq!(log.size(), 0);
}

#[tokio::test]
async fn a_failed_sync_stops_the_log_and_says_so() {
    let disk = MemoryDisk::new();
    let log = open_in_memory(&disk, 1).audit().unwrap();
    append(&log, 0, 2).await;
    disk.set_syncs_fail(true);
    let failed = log.append(&[leaf(2)]).unwrap().durable().await;
    assert!(matches!(failed, Err(StoreFault::Io { .. })), "{failed:?}");
    assert!(log.append(&[leaf(3)]).is_err());
    assert_eq!(log.size(), 2);
}

#[tokio::test]
async fn a_full_disk_refuses_leaves_and_takes_them_again() {
    let disk = MemoryDisk::new();
    let log = open_in_memory(&disk, 1).audit().unwrap();
    append(&log, 0, 2).await;
    disk.set_reserve_used(true);
    assert!(matches!(log.append(&[leaf(2)]), Err(StoreFault::DiskFull { .. })));
    assert!(matches!(log.write(&[leaf(2)]), Err(StoreFault::DiskFull { .. })));
    disk.set_reserve_used(false);
    append(&log, 2, 1).await;
}

#[tokio::test]
async fn a_checkpoint_of_another_history_is_noticed_when_the_log_is_opened() {
    let disk = MemoryDisk::new();
    let store = open_in_memory(&disk, 1);
    let log = store.audit().unwrap();
    append(&log, 0, 3).await;
    let saved = SavedCheckpoint {
        size: 3,
        root: log.root(3).unwrap(),
        note: "note".into(),
    };
    log.save_checkpoint(&saved).await.unwrap();
    assert_eq!(store.audit().unwrap().checkpoint().unwrap(), Some(saved));
    let lie = SavedCheckpoint {
        size: 2,
        root: [0; 32],
        note: "note".into(),
    };
    log.save_checkpoint(&lie).await.unwrap();
    assert_eq!(
        store.audit().unwrap_err(),
        AuditFault::CheckpointContradicts { size: 3, checkpoint: 2 }
    );
    let beyond = SavedCheckpoint { size: 4, ..lie };
    assert_eq!(
        log.save_checkpoint(&beyond).await,
        Err(AuditFault::BeyondEnd { size: 3 })
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_rocksdb_groups_of_appends_share_syncs_and_survive() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), 1);
    let log = store.audit().unwrap();
    let before = store.syncs();
    let waiting: Vec<_> = (0..1000).map(|n| log.append(&[leaf(n)]).unwrap()).collect();
    for appended in waiting {
        appended.durable().await.unwrap();
    }
    let syncs = store.syncs() - before;
    assert!(syncs < 500, "1,000 appends took {syncs} syncs");
    assert_eq!(log.root(1000).unwrap(), tree(1000).root());
    assert!(log.disk_bytes().unwrap() > 0);
    let before = store.syncs();
    for n in 1000..1100 {
        log.write(&[leaf(n)]).unwrap();
    }
    log.sync().await.unwrap();
    assert_eq!(store.syncs() - before, 1, "a hundred writes that nobody waits for");
    drop((log, store));
    let store = open(directory.path(), 1);
    assert_eq!(store.audit().unwrap().verify().unwrap(), tree(1100).root());
}
