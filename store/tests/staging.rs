//! Snapshots on their way into a store: what is in force changes at once and as a whole, to what was checked.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use bytes::Bytes;
use symbolon_consensus::{Record, Staging, Storage, StoreFault, View};
use symbolon_store::{MemoryDisk, Store};

const CHAIN: [u8; 32] = [7; 32];

fn record(value: &'static str) -> Record {
    (b"record".to_vec(), Bytes::from_static(value.as_bytes()))
}

fn in_force(store: &Store) -> Option<Bytes> {
    store.reader().get(b"record").unwrap()
}

fn install(staging: Box<dyn Staging>) {
    staging.install(5, CHAIN, Bytes::from_static(b"applied")).unwrap();
}

fn nobody_writes_into_what_was_checked(store: &Store) {
    let checked = Bytes::from_static(b"checked");
    let mut first = store.stage().unwrap();
    first.put(&[record("checked")]).unwrap();
    // A leader that offers another snapshot between the last piece of the first and its installation.
    let mut second = store.stage();
    if let Ok(second) = &mut second {
        second.put(&[record("made up")]).unwrap();
    }
    install(first);
    assert_eq!(in_force(store), Some(checked.clone()));
    if let Ok(second) = &mut second {
        second.put(&[record("made up")]).unwrap();
    }
    assert_eq!(in_force(store), Some(checked.clone()));
    let refused = second.map(drop);
    assert_eq!(in_force(store), Some(checked.clone()), "cleared with what came second");
    assert_eq!(refused, Err(StoreFault::Staging));
    // The place is free again, also after one that was dropped.
    for _ in 0..2 {
        let mut next = store.stage().unwrap();
        next.put(&[record("next")]).unwrap();
        assert_eq!(in_force(store), Some(checked.clone()));
    }
    let mut last = store.stage().unwrap();
    last.put(&[record("last")]).unwrap();
    install(last);
    assert_eq!(in_force(store), Some(Bytes::from_static(b"last")));
}

#[test]
fn a_second_snapshot_is_not_written_into_one_that_was_checked_nor_into_the_state_in_force() {
    let directory = tempfile::tempdir().unwrap();
    nobody_writes_into_what_was_checked(&common::open(directory.path(), 1));
    nobody_writes_into_what_was_checked(&common::open_in_memory(&MemoryDisk::new(), 1));
}

#[test]
fn each_seeded_bug_is_found_by_its_test_here() {
    symbolon_sabotage::caught_in(file!());
}
