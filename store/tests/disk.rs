//! What lies on the disk, and who can open it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests"
)]

mod common;

use std::path::Path;

use bytes::Bytes;
use common::{NAME_KIND, Net, PARENT, members, open, options, propose, put, start};
use symbolon_consensus::{Durability, Taking, View};
use symbolon_store::backup::{BackupError, backup, restore};
use symbolon_store::{LocalOp, Store, StoreFault};

const VALUE: &str = "a-value-that-nobody-may-find-on-disk";
const LEAF: &str = "a-leaf-that-nobody-may-find-on-disk";
const OWN: &str = "an-own-record-that-nobody-may-find";

/// Every byte of every file under `path`.
fn raw(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            bytes.extend(raw(&path));
        } else {
            bytes.extend(std::fs::read(&path).unwrap());
        }
    }
    bytes
}

fn found(needle: &[u8], haystack: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// A store with one of everything, closed.
async fn filled(path: &Path) {
    let net = Net::default();
    let store = open(path, 1);
    let member = start(&net, 1, &store).await;
    member.initialize(members(&[1])).await.unwrap();
    // The application files each key as a name; the name is secret where it is a name.
    propose(&[&member], put("record-key-in-the-clear", VALUE))
        .await
        .unwrap();
    store
        .audit()
        .unwrap()
        .append(&[LEAF.into()])
        .unwrap()
        .durable()
        .await
        .unwrap();
    let own = vec![LocalOp::Put(b"own".to_vec(), Bytes::from_static(OWN.as_bytes()))];
    store.local().write(own, Durability::Synced).await.unwrap();
    net.leave(1);
    member.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_leaf_or_own_record_is_found_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    // Opened and closed again, so that files are written anew from the log.
    drop(open(directory.path(), 1));
    let bytes = raw(directory.path());
    for secret in [VALUE, LEAF, OWN] {
        assert!(!found(secret.as_bytes(), &bytes), "{secret}");
    }
    assert!(
        found(b"record-key-in-the-clear", &bytes),
        "the scan finds what is there in the clear"
    );
}

#[test]
fn no_name_is_found_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), 1);
    let mut changes = symbolon_consensus::Changes::default();
    let key = symbolon_consensus::NameKey {
        kind: NAME_KIND,
        parent: b"a-parent-nobody-may-find".to_vec(),
        name: b"a-name-nobody-may-find".to_vec(),
    };
    changes.names.insert(key, Some(Bytes::from_static(b"id")));
    symbolon_consensus::Storage::commit(&store, changes, &[], Bytes::new()).unwrap();
    let view = store.reader();
    assert_eq!(
        view.names(NAME_KIND, b"a-parent-nobody-may-find", None, 9).unwrap(),
        [(b"a-name-nobody-may-find".to_vec(), Bytes::from_static(b"id"))]
    );
    drop(view);
    drop(store);
    drop(open(directory.path(), 1));
    let bytes = raw(directory.path());
    assert!(!found(b"a-name-nobody", &bytes));
    assert!(!found(b"a-parent-nobody", &bytes));
}

#[test]
fn a_store_opens_with_its_own_state_key_only() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path(), 1));
    assert_eq!(
        Store::open(directory.path(), options(2)).unwrap_err(),
        StoreFault::WrongStateKey
    );
    drop(open(directory.path(), 1));
}

#[test]
fn a_store_opens_once_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let _open = open(directory.path(), 1);
    assert_eq!(
        Store::open(directory.path(), options(1)).unwrap_err(),
        StoreFault::Locked
    );
}

#[test]
fn too_little_free_space_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(1);
    options.reserve_bytes = u64::MAX;
    let store = Store::open(directory.path(), options).unwrap();
    let refused = symbolon_consensus::Storage::writable(&store, Taking::New);
    assert!(
        matches!(
            refused,
            Err(StoreFault::DiskFull {
                reserve_bytes: u64::MAX,
                ..
            })
        ),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_byte_in_a_file_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    let wal = std::fs::read_dir(directory.path().join("db"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .max_by_key(|path| std::fs::metadata(path).unwrap().len())
        .unwrap();
    let mut bytes = std::fs::read(&wal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&wal, bytes).unwrap();
    let opened = Store::open(directory.path(), options(1));
    assert!(matches!(opened, Err(StoreFault::Corrupt { .. })), "{opened:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_put_back_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let (store, copy, back) = (
        directory.path().join("store"),
        directory.path().join("copy"),
        directory.path().join("back"),
    );
    filled(&store).await;
    backup(&store, &copy).unwrap();
    restore(&copy, &back).unwrap();
    assert!(!found(VALUE.as_bytes(), &raw(&copy)));
    let restored = open(&back, 1);
    assert_eq!(
        restored.reader().get(b"record-key-in-the-clear").unwrap().unwrap(),
        VALUE
    );
    assert_eq!(restored.reader().names(NAME_KIND, PARENT, None, 9).unwrap().len(), 1);
    assert_eq!(restored.audit().unwrap().leaves(0, 9).unwrap(), [LEAF.as_bytes()]);
    assert_eq!(restored.local().get(b"own").unwrap().unwrap(), OWN);
    // The backup is untouched by what happens to the restored store.
    drop(restored);
    restore(&copy, &directory.path().join("again")).unwrap();
}

#[test]
fn a_store_in_use_is_not_backed_up() {
    let directory = tempfile::tempdir().unwrap();
    let (store, copy) = (directory.path().join("store"), directory.path().join("copy"));
    let running = open(&store, 1);
    assert!(matches!(
        backup(&store, &copy),
        Err(BackupError::Store(StoreFault::Locked))
    ));
    assert!(!copy.exists(), "no partial backup is left");
    drop(running);
    backup(&store, &copy).unwrap();
}

#[test]
fn nothing_is_overwritten_by_a_backup_or_restore() {
    let directory = tempfile::tempdir().unwrap();
    let (store, copy) = (directory.path().join("store"), directory.path().join("copy"));
    drop(open(&store, 1));
    backup(&store, &copy).unwrap();
    assert!(matches!(backup(&store, &copy), Err(BackupError::TargetExists { .. })));
    assert!(matches!(restore(&copy, &store), Err(BackupError::TargetExists { .. })));
    assert!(matches!(
        restore(&directory.path().join("none"), &directory.path().join("x")),
        Err(BackupError::NoStore { .. })
    ));
}
