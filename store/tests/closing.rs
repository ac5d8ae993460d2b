//! A process that is about to exit can wait until its stores are closed. By itself in a process: the count is of all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::open;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use symbolon_store::all_closed;

#[test]
fn all_is_closed_once_the_last_handle_is_gone_whichever_thread_held_it() {
    assert!(all_closed(Duration::ZERO));
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), 1);
    let (held, let_go) = (store.clone(), Arc::new(AtomicBool::new(false)));
    drop(store);
    assert!(!all_closed(Duration::from_millis(50)), "a handle is left");
    let flag = Arc::clone(&let_go);
    let last = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        flag.store(true, Ordering::SeqCst);
        drop(held);
    });
    assert!(all_closed(Duration::from_secs(60)));
    assert!(let_go.load(Ordering::SeqCst), "closed before the handle was let go");
    last.join().unwrap();
}
