//! What readers are given from memory is what the database holds for them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "helpers of tests"
)]

mod common;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use symbolon_consensus::{Changes, Durability, NameKey, Storage, View};
use symbolon_store::{LocalOp, MemoryDisk, Store};

const KEYS: u32 = 6;

fn key(number: u32) -> Vec<u8> {
    vec![b'k', u8::try_from(number).unwrap()]
}

fn name(number: u32) -> NameKey {
    NameKey {
        kind: common::NAME_KIND,
        parent: common::PARENT.to_vec(),
        name: key(number),
    }
}

/// Changes record and name of each number to a value, or removes them.
fn commit(store: &Store, values: &BTreeMap<u32, Option<Bytes>>) {
    let changes = Changes {
        records: values
            .iter()
            .map(|(number, value)| (key(*number), value.clone()))
            .collect(),
        names: values
            .iter()
            .map(|(number, value)| (name(*number), value.clone()))
            .collect(),
    };
    store.commit(changes, &[], Bytes::from_static(b"applied")).unwrap();
}

#[test]
fn a_view_sees_each_record_as_it_was_when_the_view_was_taken() {
    let disk = MemoryDisk::new();
    let store = common::open_in_memory(&disk, 1);
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let mut state: BTreeMap<u32, Bytes> = BTreeMap::new();
    let mut views = VecDeque::new();
    for round in 0..4_000u32 {
        match rng.next_u32() % 4 {
            0 => {
                let mut values = BTreeMap::new();
                for _ in 0..=rng.next_u32() % 2 {
                    let number = rng.next_u32() % KEYS;
                    let put = rng.next_u32() % 4 != 0;
                    values.insert(number, put.then(|| Bytes::copy_from_slice(&round.to_be_bytes())));
                }
                commit(&store, &values);
                for (number, value) in values {
                    match value {
                        Some(value) => state.insert(number, value),
                        None => state.remove(&number),
                    };
                }
            }
            1 => {
                views.push_back((store.reader(), state.clone()));
                if views.len() > 4 {
                    views.pop_front();
                }
            }
            _ if views.is_empty() => {}
            _ => {
                let at = usize::try_from(rng.next_u32()).unwrap() % views.len();
                let (view, state) = &views[at];
                let number = rng.next_u32() % KEYS;
                let expected = state.get(&number).cloned();
                assert_eq!(view.get(&key(number)).unwrap(), expected, "round {round}");
                let named = view.name_get(common::NAME_KIND, common::PARENT, &key(number));
                assert_eq!(named.unwrap(), expected, "round {round}, by name");
            }
        }
    }
}

/// Two records that each commit changes alike.
#[test]
fn readers_beside_a_writer_see_whole_commits_and_none_go_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = common::open(directory.path(), 1);
    let ended = AtomicBool::new(false);
    let newest = [const { AtomicU32::new(0) }; 2];
    let reader = |newest: &AtomicU32| {
        let (mut last, mut seen) = (0, 0);
        while !ended.load(Ordering::Relaxed) {
            let view = store.reader();
            let (first, second) = (view.get(&key(0)).unwrap(), view.get(&key(1)).unwrap());
            assert_eq!(first, second, "half a commit");
            let value = first.map_or(0, |bytes| u32::from_be_bytes(bytes.as_ref().try_into().unwrap()));
            assert!(value >= last, "{value} after {last}");
            seen += u32::from(value > last);
            last = value;
            newest.store(last, Ordering::Relaxed);
        }
        seen
    };
    let seen = std::thread::scope(|scope| {
        let readers = newest.each_ref().map(|newest| scope.spawn(move || reader(newest)));
        for round in 1..=10_000u32 {
            let value = Some(Bytes::copy_from_slice(&round.to_be_bytes()));
            commit(&store, &BTreeMap::from([(0, value.clone()), (1, value)]));
            // Now and then both see one commit: what the first has read is kept, and given to the second. One that has
            // panicked is not waited for.
            let unseen = || newest.iter().any(|newest| newest.load(Ordering::Relaxed) < round);
            while round % 16 == 0 && unseen() && !readers.iter().any(|reader| reader.is_finished()) {
                std::thread::yield_now();
            }
        }
        ended.store(true, Ordering::Relaxed);
        readers.map(|reader| reader.join().unwrap())
    });
    assert!(seen.iter().all(|seen| *seen > 0), "{seen:?}");
}

#[test]
fn each_seeded_bug_is_found_by_its_test_here() {
    symbolon_sabotage::caught_in(file!());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_own_record_is_read_as_the_last_write_left_it_while_others_read_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let stores = [
        common::open_in_memory(&MemoryDisk::new(), 1),
        common::open(folder.path(), 1),
    ];
    for store in stores {
        let (local, stop) = (store.local(), Arc::new(AtomicBool::new(false)));
        let reader = {
            let (local, stop) = (local.clone(), Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    (0..KEYS).for_each(|number| drop(local.get(&key(number)).unwrap()));
                }
            })
        };
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        for round in 0..2_000u32 {
            let number = rng.next_u32() % KEYS;
            let value = (rng.next_u32() % 3 != 0).then(|| Bytes::copy_from_slice(&round.to_be_bytes()));
            let op = match value.clone() {
                Some(value) => LocalOp::Put(key(number), value),
                None => LocalOp::Delete(key(number)),
            };
            match rng.next_u32() % 2 {
                0 => local.write(vec![op], Durability::Lazy).await.unwrap(),
                _ => local.write_now(vec![op]).unwrap(),
            }
            for _ in 0..2 {
                assert_eq!(local.get(&key(number)).unwrap(), value, "round {round}");
            }
        }
        stop.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    }
}
