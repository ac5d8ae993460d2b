//! The scripted run: one of everything that a node does to its store, step by step, and what the store then shows.
//!
//! All that a step writes goes through one write-ahead log, so whatever a crash leaves must be what the first few steps
//! leave: as many as were acknowledged at least, as many as were begun at most. What they leave is told by the twin in
//! memory, which has no files.

use std::path::Path;

use bytes::Bytes;
use symbolon_consensus::{Changes, Durability, LogOp, NameKey, Slot, Storage, StoreFault};
use symbolon_store::{AuditFault, AuditLog, LocalOp, MemoryDisk, SavedCheckpoint, Store};
use tokio::sync::oneshot;

use crate::common::{NAME_KIND, PARENT, options};

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A log entry, synced.
    Append(u64),
    /// Log entries from here on are replaced by another, synced.
    Replace(u64),
    /// A vote, synced.
    Vote(u64),
    /// How far the log is committed, without a sync.
    Committed(u64),
    /// An entry is applied, without a sync.
    Apply(u64),
    /// Audit leaves, synced.
    Leaves(u64),
    /// A checkpoint over the leaves so far, synced.
    Checkpoint,
    /// Audit leaves before this one are forgotten, synced.
    Forget(u64),
    /// A record of the node's own, synced.
    Own(u64),
    /// A record of the node's own, with whatever is synced next.
    OwnLazy(u64),
    /// Old log entries go.
    Purge(u64),
    /// The state is kept under an index.
    Freeze(u64),
    /// Other kept states go.
    KeepFrozen(u64),
    /// A snapshot of a peer replaces the state.
    Install(u64),
    /// The store is closed, and opened again.
    Reopen,
}

/// The run: three rounds of a node's life with restarts, marks, a change of leader and a snapshot of a peer.
pub(crate) fn steps() -> Vec<Step> {
    use Step::*;
    let mut steps = vec![Vote(1)];
    for index in 1..=4 {
        steps.extend([Append(index), Committed(index), Apply(index), Leaves(1)]);
    }
    steps.extend([
        Own(1),
        OwnLazy(2),
        Freeze(4),
        Checkpoint,
        Append(5),
        Apply(5),
        Leaves(300),
    ]);
    steps.extend([
        Reopen,
        Vote(2),
        Append(6),
        Append(7),
        Replace(6),
        Apply(6),
        Purge(3),
        Freeze(6),
        KeepFrozen(6),
    ]);
    steps.extend([
        Leaves(3),
        Forget(256),
        Own(1),
        Install(20),
        Purge(20),
        Append(21),
        Apply(21),
        Checkpoint,
        Reopen,
        Append(22),
        Apply(22),
    ]);
    steps.extend([Freeze(22), Vote(3), Leaves(2), OwnLazy(3), Own(4)]);
    steps
}

/// Whether a step that is done is on the disk.
pub(crate) const fn is_durable(step: Step) -> bool {
    !matches!(
        step,
        Step::Committed(_) | Step::Apply(_) | Step::OwnLazy(_) | Step::Reopen | Step::KeepFrozen(_) | Step::Freeze(_)
    )
}

/// A store and its audit log, as a node has them.
pub(crate) struct Node {
    pub(crate) store: Store,
    audit: AuditLog,
}

fn fault(fault: AuditFault) -> StoreFault {
    match fault {
        AuditFault::Store(fault) => fault,
        other => panic!("{other}"),
    }
}

impl Node {
    pub(crate) fn open(path: &Path) -> Result<Self, AuditFault> {
        Self::of(Store::open(path, options(1))?)
    }

    pub(crate) fn in_memory() -> Self {
        Self::of(Store::open_in_memory(&MemoryDisk::new(), options(1)).unwrap()).unwrap()
    }

    fn of(store: Store) -> Result<Self, AuditFault> {
        let audit = store.audit()?;
        Ok(Self { store, audit })
    }

    async fn log(&self, ops: Vec<LogOp>, durability: Durability) -> Result<(), StoreFault> {
        let (sender, done) = oneshot::channel();
        let done_sender = Box::new(move |result| {
            let _ = sender.send(result);
        });
        self.store.submit(ops, durability, done_sender);
        done.await.unwrap_or(Err(StoreFault::Stopped))
    }

    /// Takes one step; all but [`Step::Reopen`].
    pub(crate) async fn take(&self, place: usize, step: Step) -> Result<(), StoreFault> {
        // No two steps write the same bytes.
        let text = |what: &str, index: u64| Bytes::from(format!("{what} {index} of step {place}"));
        match step {
            Step::Append(index) => {
                let bytes = text("entry", index);
                self.log(vec![LogOp::Append { index, bytes }], Durability::Synced).await
            }
            Step::Replace(index) => {
                let bytes = text("other entry", index);
                let ops = vec![LogOp::CutFrom { index }, LogOp::Append { index, bytes }];
                self.log(ops, Durability::Synced).await
            }
            Step::Vote(term) => self.set(Slot::Vote, text("vote", term), Durability::Synced).await,
            Step::Committed(index) => self.set(Slot::Committed, text("to", index), Durability::Lazy).await,
            Step::Purge(index) => {
                let bytes = text("to", index);
                let slot = Slot::Purged;
                let ops = vec![LogOp::Set { slot, bytes }, LogOp::PurgeTo { index }];
                self.log(ops, Durability::Synced).await
            }
            Step::Apply(index) => {
                let mut changes = Changes::default();
                changes
                    .records
                    .insert(format!("key {}", index % 3).into(), Some(text("value", index)));
                changes
                    .records
                    .insert(format!("key of {index}").into(), Some(text("value", index)));
                if index > 2 {
                    changes.records.insert(format!("key of {}", index - 2).into(), None);
                }
                changes.names.insert(name(index % 4), Some(text("name", index)));
                self.store
                    .commit(changes, &[(index, [place_byte(place); 32])], text("applied", index))
            }
            Step::Leaves(count) => {
                let leaves: Vec<_> = (0..count).map(|n| text("leaf", n).to_vec()).collect();
                self.audit.append(&leaves)?.durable().await
            }
            Step::Checkpoint => {
                let size = self.audit.size();
                let saved = SavedCheckpoint {
                    size,
                    root: self.audit.root(size).map_err(fault)?,
                    note: text("note", size),
                };
                self.audit.save_checkpoint(&saved).await.map_err(fault)
            }
            Step::Forget(until) => {
                let kept_from = self.audit.forget(until).await.map_err(fault)?;
                assert_eq!(kept_from, until);
                Ok(())
            }
            Step::Own(n) => {
                let batch = vec![LocalOp::Put(format!("own {n}").into(), text("own", n))];
                self.store.local().write(batch, Durability::Synced).await
            }
            Step::OwnLazy(n) => {
                let batch = vec![LocalOp::Put(format!("own {n}").into(), text("own", n))];
                self.store.local().write_now(batch)
            }
            Step::Freeze(index) => self.store.freeze(index).map(drop),
            Step::KeepFrozen(index) => self.store.forget_frozen(u64::MAX, &[index]),
            Step::Install(index) => {
                let mut staged = self.store.stage()?;
                for n in 0..40u64 {
                    staged.put(&[(format!("received {n:02}").into(), text("value", n))])?;
                }
                staged.put_names(&[(name(9), text("name", 9))])?;
                staged.install(index, [place_byte(place); 32], text("applied", index))
            }
            Step::Reopen => panic!("whoever holds the store opens it again"),
        }
    }

    async fn set(&self, slot: Slot, bytes: Bytes, durability: Durability) -> Result<(), StoreFault> {
        self.log(vec![LogOp::Set { slot, bytes }], durability).await
    }

    /// Everything that the store shows, but for kept states.
    pub(crate) fn shown(&self) -> Result<Vec<String>, AuditFault> {
        let store = &self.store;
        let loaded = store.load()?;
        let mut shown = vec![format!("{:?} {:?} {:?}", loaded.vote, loaded.committed, loaded.purged)];
        shown.push(format!("last {:?}", loaded.last));
        for (index, bytes) in store.read_log(0, 100, usize::MAX)? {
            shown.push(format!("log {index} {bytes:?}"));
        }
        shown.push(format!("applied {:?}", store.applied()?));
        let view = store.reader();
        for (key, value) in symbolon_consensus::View::scan(&view, &[], None, 1000)? {
            shown.push(format!("record {} {value:?}", String::from_utf8_lossy(&key)));
        }
        for (name, value) in symbolon_consensus::View::names(&view, NAME_KIND, PARENT, None, 1000)? {
            shown.push(format!("name {} {value:?}", String::from_utf8_lossy(&name)));
        }
        drop(view);
        for index in 0..30 {
            if let Some(chain) = store.chain_at(index)? {
                shown.push(format!("chain {index} {}", chain[0]));
            }
        }
        let root = self.audit.verify()?;
        shown.push(format!(
            "audit {} to {} {root:?} {:?}",
            self.audit.kept_from(),
            self.audit.size(),
            self.audit.checkpoint()?
        ));
        for (key, value) in store.local().scan(&[], None, 1000)? {
            shown.push(format!("own {} {value:?}", String::from_utf8_lossy(&key)));
        }
        Ok(shown)
    }

    /// Kept states by index: everything in them.
    pub(crate) fn kept(&self) -> Result<Vec<(u64, String)>, StoreFault> {
        let frozen = self.store.frozen()?;
        let one = |state: std::sync::Arc<dyn symbolon_consensus::Frozen>| {
            let records = state.scan(None, 1000, usize::MAX)?;
            Ok((state.index(), format!("{:?} {records:?}", state.applied()?)))
        };
        frozen.into_iter().map(one).collect()
    }
}

fn place_byte(place: usize) -> u8 {
    u8::try_from(place).unwrap()
}

fn name(n: u64) -> NameKey {
    NameKey {
        kind: NAME_KIND,
        parent: PARENT.to_vec(),
        name: format!("name {n}").into_bytes(),
    }
}
