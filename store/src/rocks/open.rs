//! Databases that are open in this process.
//!
//! RocksDB's own threads go on until a database is closed, and the last handle may be dropped by any thread. A process
//! that exits meanwhile destroys locks that they still use, and ends by a signal in place of its exit code.

use std::ops::Deref;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use rocksdb::DB;

use crate::sync::lock;

static OPEN: Mutex<usize> = Mutex::new(0);
static CLOSED: Condvar = Condvar::new();

/// An open database.
pub(super) struct Database {
    // Dropped first: only then it counts as closed.
    db: DB,
    _counted: Counted,
}

impl From<DB> for Database {
    fn from(db: DB) -> Self {
        *lock(&OPEN) += 1;
        Self { db, _counted: Counted }
    }
}

impl Deref for Database {
    type Target = DB;

    fn deref(&self) -> &DB {
        &self.db
    }
}

struct Counted;

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = lock(&OPEN);
        *open = open.saturating_sub(1);
        CLOSED.notify_all();
    }
}

/// Waits until no store is open in this process, for a process that is about to exit; `false` if one still is after
/// `within`.
#[must_use]
pub fn all_closed(within: Duration) -> bool {
    let waited = CLOSED.wait_timeout_while(lock(&OPEN), within, |open| *open > 0);
    let (open, _) = waited.unwrap_or_else(PoisonError::into_inner);
    *open == 0
}
