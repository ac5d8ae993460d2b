//! Group commit: one thread writes and syncs for everybody who waits.
//!
//! Whatever is submitted while a sync is under way shares the next one, log entries and audit leaves alike. The thread
//! first writes, then syncs the write-ahead log; the two are separate so that unsynced writes of applied batches do not
//! wait behind a sync.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use symbolon_consensus::{Done, Durability, StoreFault};

use super::fault::io;
use super::open::Database;
use crate::engine::Op;
use crate::limits::GROUP_BYTES_MAX;
use crate::sync::lock;

struct Submission {
    ops: Vec<Op>,
    durability: Durability,
    done: Done,
}

pub(crate) struct SyncQueue {
    /// `None` while the queue is being dropped: closing the channel ends the thread.
    sender: Mutex<Option<Sender<Submission>>>,
    thread: Option<JoinHandle<()>>,
    state: Arc<State>,
}

struct State {
    db: Arc<Database>,
    syncs: AtomicU64,
    /// After a failed write or sync nobody can know what is on disk: nothing more is written until a restart.
    failed: AtomicBool,
}

impl State {
    fn healthy(&self) -> Result<(), StoreFault> {
        if self.failed.load(Ordering::Acquire) {
            Err(StoreFault::Stopped)
        } else {
            Ok(())
        }
    }

    fn sync(&self) -> Result<(), StoreFault> {
        if crate::sabotage::skips_syncs() {
            return Ok(());
        }
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.db.flush_wal(true).map_err(io("syncing the write-ahead log"))
    }

    fn commit(&self, group: &[Submission]) -> Result<(), StoreFault> {
        self.healthy()?;
        let committed = self.write(group);
        if committed.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        committed
    }

    fn write(&self, group: &[Submission]) -> Result<(), StoreFault> {
        let mut batch = rocksdb::WriteBatch::default();
        for submission in group {
            super::add_to(&mut batch, &self.db, &submission.ops)?;
        }
        self.db.write(batch).map_err(io("writing"))?;
        if group
            .iter()
            .any(|submission| submission.durability == Durability::Synced)
        {
            self.sync()?;
        }
        Ok(())
    }
}

impl SyncQueue {
    pub(crate) fn start(db: Arc<Database>) -> Result<Self, StoreFault> {
        let (sender, receiver) = channel();
        let state = Arc::new(State {
            db,
            syncs: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("store-sync".to_owned())
            .spawn(move || run(&shared, &receiver))
            .map_err(|error| StoreFault::Io {
                operation: "starting the sync thread",
                detail: error.to_string().into(),
            })?;
        Ok(Self {
            sender: Mutex::new(Some(sender)),
            thread: Some(thread),
            state,
        })
    }

    pub(crate) fn submit(&self, ops: Vec<Op>, durability: Durability, done: Done) {
        let submission = Submission { ops, durability, done };
        let refused = match &*lock(&self.sender) {
            Some(sender) => sender.send(submission).err().map(|error| error.0),
            None => Some(submission),
        };
        if let Some(submission) = refused {
            (submission.done)(Err(StoreFault::Stopped));
        }
    }

    pub(crate) fn healthy(&self) -> Result<(), StoreFault> {
        self.state.healthy()
    }

    pub(crate) fn sync_now(&self) -> Result<(), StoreFault> {
        self.state.healthy()?;
        let synced = self.state.sync();
        if synced.is_err() {
            self.state.failed.store(true, Ordering::Release);
        }
        synced
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.state.syncs.load(Ordering::Relaxed)
    }
}

fn run(state: &State, receiver: &Receiver<Submission>) {
    while let Ok(first) = receiver.recv() {
        let mut bytes: usize = first.ops.iter().map(Op::bytes).sum();
        let mut group = vec![first];
        while bytes < GROUP_BYTES_MAX {
            let Ok(next) = receiver.try_recv() else { break };
            bytes = bytes.saturating_add(next.ops.iter().map(Op::bytes).sum());
            group.push(next);
        }
        let result = state.commit(&group);
        if let Err(fault) = &result {
            tracing::error!(%fault, "the store has stopped taking writes");
        }
        for submission in group {
            (submission.done)(result.clone());
        }
    }
}

impl Drop for SyncQueue {
    fn drop(&mut self) {
        drop(lock(&self.sender).take());
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the sync thread ended by a panic");
        }
    }
}
