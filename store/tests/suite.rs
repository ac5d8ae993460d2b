//! openraft's storage suite, over both stores.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests"
)]

mod common;

use std::sync::Arc;

use symbolon_consensus::Storage;
use symbolon_consensus::testing::storage_suite;
use symbolon_store::MemoryDisk;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_on_rocksdb_passes_openrafts_suite() {
    let open = || {
        let directory = tempfile::tempdir().unwrap();
        let store = common::open(directory.path(), 1);
        (directory, Arc::new(store) as Arc<dyn Storage>)
    };
    storage_suite(open).await.unwrap();
}

#[tokio::test]
async fn the_store_in_memory_passes_openrafts_suite() {
    let open = || {
        let disk = MemoryDisk::new();
        let store = common::open_in_memory(&disk, 1);
        (disk, Arc::new(store) as Arc<dyn Storage>)
    };
    storage_suite(open).await.unwrap();
}

#[tokio::test]
async fn the_store_in_memory_passes_openrafts_suite_with_slow_syncs() {
    let open = || {
        let disk = MemoryDisk::new();
        disk.set_sync_delay(std::time::Duration::from_millis(1));
        let store = common::open_in_memory(&disk, 1);
        (disk, Arc::new(store) as Arc<dyn Storage>)
    };
    storage_suite(open).await.unwrap();
}
