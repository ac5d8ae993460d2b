//! The state as openraft sees it: entries applied in batches, chained, and frozen where an entry marks it.

use std::io;
use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::chain::{self, ChainValue};
use crate::entry::{AppliedState, kind_and_bytes};
use crate::known::Known;
use crate::limits::{APPLY_BYTES_MAX, APPLY_ENTRIES_MAX, CHUNK_BYTES_MAX, RECORDS_PER_TURN};
use crate::log::FaultCell;
use crate::machine::{Committed, Fatal, StateMachine};
use crate::progress::Progress;
use crate::records::{NameKey, Overlay};
use crate::snapshot::{SnapshotData, SnapshotMeta, Source, StateRoot, describe};
use crate::storage::{Durability, Frozen, LogOp, Slot, Staging, Storage, StoreFault};
use crate::sync::lock;
use crate::types::{
    Applied, Entry, EntryPayload, LogId, RaftSnapshot, RaftSnapshotMeta, StoredMembership, TypeConfig, term_of,
};

/// The state machine openraft drives.
pub(crate) struct StateAdapter {
    shared: Arc<Shared>,
    /// Driven by one task only; the lock merely makes it shareable in type.
    machine: Mutex<Box<dyn StateMachine>>,
    chain_start: ChainValue,
    /// `None` before the first entry.
    applied: Option<AppliedState>,
    /// Records as they are in the store. Empty after a failure, and when a snapshot takes their place.
    known: Known,
}

/// What outlives one call: shared with snapshot builders and the task that describes marks.
struct Shared {
    store: Arc<dyn Storage>,
    progress: Arc<Progress>,
    fault: Arc<FaultCell>,
    incarnation: u64,
    snapshots: Mutex<Snapshots>,
    /// States that are being described. One mark at a time: each keeps a state, and takes a pass over all of it. None of
    /// them outlives the member.
    describing: Mutex<JoinSet<()>>,
    marks: watch::Sender<Option<SnapshotMeta>>,
}

/// Kept states whose state root is known.
#[derive(Default)]
struct Snapshots {
    /// What replication uses.
    current: Option<Kept>,
    /// The newest mark, which becomes current when the node asks for it.
    marked: Option<Kept>,
}

#[derive(Clone)]
struct Kept {
    meta: SnapshotMeta,
    frozen: Arc<dyn Frozen>,
}

impl Kept {
    fn hand_out(&self) -> RaftSnapshot {
        RaftSnapshot {
            meta: self.meta.raft(),
            snapshot: SnapshotData {
                meta: self.meta.clone(),
                source: Source::Frozen(Arc::clone(&self.frozen)),
            },
        }
    }
}

/// What [`StateAdapter::open`] needs.
pub(crate) struct Opening {
    pub(crate) store: Arc<dyn Storage>,
    pub(crate) machine: Box<dyn StateMachine>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) fault: Arc<FaultCell>,
    pub(crate) chain_start: ChainValue,
    pub(crate) incarnation: u64,
}

impl StateAdapter {
    /// Takes up the state where the store has it. Also returns where newly described marks are announced.
    pub(crate) fn open(opening: Opening) -> Result<(Self, watch::Receiver<Option<SnapshotMeta>>), Fatal> {
        let Opening {
            store,
            mut machine,
            progress,
            fault,
            chain_start,
            incarnation,
        } = opening;
        let applied = store.applied()?.as_deref().map(AppliedState::decode).transpose()?;
        let index = applied.as_ref().map_or(0, |state| state.last.index);
        {
            let view = store.view();
            machine.restored(&*view, index)?;
        }
        progress.accept(index);
        progress.apply(index);
        let (marks, watcher) = watch::channel(None);
        let shared = Shared {
            snapshots: Mutex::default(),
            describing: Mutex::default(),
            store,
            progress,
            fault,
            incarnation,
            marks,
        };
        let adapter = Self {
            shared: Arc::new(shared),
            machine: Mutex::new(machine),
            chain_start,
            applied,
            known: Known::default(),
        };
        adapter.take_up_snapshots()?;
        Ok((adapter, watcher))
    }

    /// Finds the states kept before a restart. One that was not described yet is described again.
    fn take_up_snapshots(&self) -> Result<(), StoreFault> {
        let shared = &self.shared;
        let described = |slot| -> Result<Option<SnapshotMeta>, StoreFault> {
            Ok(shared.store.slot(slot)?.and_then(|bytes| SnapshotMeta::decode(&bytes)))
        };
        let (current, marked) = (described(Slot::Snapshot)?, described(Slot::Mark)?);
        let mut kept = Vec::new();
        let mut snapshots = lock(&shared.snapshots);
        for frozen in shared.store.frozen()? {
            let index = frozen.index();
            let of = |meta: &Option<SnapshotMeta>| meta.clone().filter(|meta| meta.index == index);
            let found = (of(&current), of(&marked));
            if let Some(meta) = found.0.clone() {
                snapshots.current = Some(Kept {
                    meta,
                    frozen: Arc::clone(&frozen),
                });
            }
            if let Some(meta) = found.1.clone() {
                shared.marks.send_replace(Some(meta.clone()));
                snapshots.marked = Some(Kept {
                    meta,
                    frozen: Arc::clone(&frozen),
                });
            }
            let newer = marked.as_ref().is_none_or(|meta| meta.index < index);
            if found == (None, None) && newer {
                shared.describe_in_background(frozen);
            } else if found == (None, None) {
                continue;
            }
            kept.push(index);
        }
        drop(snapshots);
        shared.store.forget_frozen(u64::MAX, &kept)
    }

    /// Tells, by failing to upgrade, when nobody uses the state any more.
    pub(crate) fn usage(&self) -> Weak<dyn Send + Sync> {
        let shared: Arc<dyn Send + Sync> = Arc::<Shared>::clone(&self.shared);
        Arc::downgrade(&shared)
    }

    fn fatal(&self, fatal: Fatal) -> io::Error {
        match fatal {
            Fatal::Store(fault) => self.shared.fault.note(fault),
            other @ (Fatal::Inconsistent { .. } | Fatal::TooOld { .. }) => io::Error::other(other),
        }
    }

    /// Applies a batch up to and with its first marking entry; returns how many entries that were.
    fn apply_batch(&mut self, batch: &[Entry]) -> Result<Vec<Applied>, Fatal> {
        let shared = Arc::clone(&self.shared);
        let machine = self
            .machine
            .get_mut()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut replies = Vec::with_capacity(batch.len());
        let mut chain_values = Vec::with_capacity(batch.len());
        let mut chain = self.applied.as_ref().map_or(self.chain_start, |state| state.chain);
        let mut membership = self
            .applied
            .as_ref()
            .map_or_else(StoredMembership::default, |s| s.membership.clone());
        let mut last: Option<LogId> = None;
        let mut mark = false;

        let view = shared.store.view();
        let mut overlay = Overlay::over(&*view, std::mem::take(&mut self.known));
        for entry in batch {
            let (kind, payload) = kind_and_bytes(&entry.payload);
            let (term, index) = (term_of(&entry.log_id), entry.log_id.index);
            chain = chain::step(&chain, term, index, kind, &payload);
            let committed = Committed {
                term,
                index,
                kind,
                payload: &payload,
                chain,
            };
            let outcome = machine.apply(&mut overlay, committed)?;
            if let EntryPayload::Membership(new) = &entry.payload {
                membership = StoredMembership::new(Some(entry.log_id), new.clone());
            }
            chain_values.push((index, chain));
            replies.push(Applied {
                reply: outcome.reply,
                chain,
            });
            last = Some(entry.log_id);
            mark = outcome.mark_snapshot;
            if mark {
                break;
            }
        }
        let (changes, known) = overlay.into_changes()?;
        drop(view);
        let Some(last) = last else { return Ok(replies) };
        let state = AppliedState {
            last,
            chain,
            membership,
        };
        shared.store.commit(changes, &chain_values, state.encode())?;
        self.known = known;
        self.applied = Some(state);
        // Whoever waits for the index finds there what was decided there: rights, for one. At once: until then readers find records
        // that they cannot use yet, and keeping a state takes a while.
        machine.published(last.index);
        shared.progress.apply(last.index);
        let busy = mark && shared.progress.describing();
        #[cfg(feature = "sabotage")]
        let busy = busy && !symbolon_sabotage::Bug::EveryMarkKept.on();
        if busy {
            // The leader sets marks thousands of entries apart; one that comes sooner is not worth a state of its own.
            tracing::warn!(
                index = last.index,
                "a mark came while the one before was being described"
            );
        } else if mark {
            let frozen = shared.store.freeze(last.index)?;
            shared.describe_in_background(frozen);
        }
        Ok(replies)
    }

    /// Copies a snapshot of another node into a staging, and checks it on the way. openraft's own tests come this way;
    /// between nodes the receiver stages and checks while records arrive.
    async fn stage_copy(&self, meta: &SnapshotMeta, from: &dyn Frozen) -> Result<Box<dyn Staging>, StoreFault> {
        let mut staging = self.shared.store.stage()?;
        let mut root = StateRoot::default();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let records = from.scan(after.as_deref(), RECORDS_PER_TURN, CHUNK_BYTES_MAX)?;
            let Some((last, _)) = records.last() else { break };
            after = Some(last.clone());
            if !root.add(&records) {
                return Err(StoreFault::Corrupt {
                    what: "snapshot order",
                    kind: 0,
                });
            }
            staging.put(&records)?;
            tokio::task::yield_now().await;
        }
        if root.finish() != meta.state_root {
            return Err(StoreFault::Corrupt {
                what: "snapshot",
                kind: 0,
            });
        }
        Ok(staging)
    }

    /// Files the names of staged records.
    async fn stage_names(&mut self, staging: &mut dyn Staging) -> Result<(), StoreFault> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let records = staging.scan(after.as_deref(), RECORDS_PER_TURN, CHUNK_BYTES_MAX)?;
            let Some((last, _)) = records.last() else { return Ok(()) };
            after = Some(last.clone());
            let machine = self
                .machine
                .get_mut()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let names: Vec<(NameKey, Bytes)> = records
                .iter()
                .flat_map(|(key, value)| machine.names_of(key, value))
                .map(|(kind, parent, name, value)| (NameKey { kind, parent, name }, value))
                .collect();
            staging.put_names(&names)?;
            tokio::task::yield_now().await;
        }
    }

    async fn install(&mut self, data: SnapshotData) -> Result<(), Fatal> {
        let SnapshotData { meta, source } = data;
        let mut staging = match source {
            Source::Staged(staging) => staging,
            Source::Frozen(frozen) => self.stage_copy(&meta, &*frozen).await?,
        };
        self.stage_names(&mut *staging).await?;
        let applied = meta.applied();
        self.known = Known::default();
        staging.install(meta.index, meta.chain, applied.encode())?;
        self.applied = Some(applied);
        {
            let view = self.shared.store.view();
            let machine = self
                .machine
                .get_mut()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            machine.restored(&*view, meta.index)?;
        }
        // What is installed is what this node can pass on.
        let frozen = self.shared.store.freeze(meta.index)?;
        self.shared.adopt(Kept { meta, frozen }).await?;
        Ok(())
    }
}

impl Shared {
    /// Computes the state root of a mark while entries go on being applied, then announces it.
    fn describe_in_background(self: &Arc<Self>, frozen: Arc<dyn Frozen>) {
        let (shared, incarnation) = (Arc::downgrade(self), self.incarnation);
        let under_way = self.progress.describe();
        let mut describing = lock(&self.describing);
        // Those that ended take memory until somebody asks for them.
        while describing.try_join_next().is_some() {}
        describing.spawn(async move {
            let _under_way = under_way;
            let index = frozen.index();
            let described = describe(&*frozen, incarnation).await;
            let Some(shared) = shared.upgrade() else { return };
            let described = match described {
                Ok(meta) => shared.remember_mark(Kept { meta, frozen }).await,
                Err(fault) => Err(fault),
            };
            if let Err(fault) = described {
                // The log stays unpurged until a later mark succeeds: safe, and visible in metrics and here.
                tracing::warn!(index, %fault, "the state at this mark could not be described");
            }
        });
    }

    async fn remember_mark(&self, kept: Kept) -> Result<(), StoreFault> {
        if lock(&self.snapshots)
            .marked
            .as_ref()
            .is_some_and(|newer| newer.meta.index >= kept.meta.index)
        {
            return Ok(());
        }
        self.set(Slot::Mark, kept.meta.encode()).await?;
        let meta = kept.meta.clone();
        lock(&self.snapshots).marked = Some(kept);
        self.forget_others()?;
        self.marks.send_replace(Some(meta));
        Ok(())
    }

    /// Makes a kept state the snapshot of replication.
    async fn adopt(&self, kept: Kept) -> Result<(), StoreFault> {
        self.set(Slot::Snapshot, kept.meta.encode()).await?;
        lock(&self.snapshots).current = Some(kept);
        self.forget_others()
    }

    fn forget_others(&self) -> Result<(), StoreFault> {
        let snapshots = lock(&self.snapshots);
        let both = [&snapshots.current, &snapshots.marked];
        let keep: Vec<u64> = both.into_iter().flatten().map(|kept| kept.meta.index).collect();
        drop(snapshots);
        // A mark that is still being described, and a snapshot that was just installed, are newer than both.
        let newest = keep.iter().copied().max().unwrap_or(0);
        self.store.forget_frozen(newest, &keep)
    }

    async fn set(&self, slot: Slot, bytes: Bytes) -> Result<(), StoreFault> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let done = Box::new(move |result| {
            // The task that waits may have been aborted with its node.
            let _ = sender.send(result);
        });
        self.store
            .submit(vec![LogOp::Set { slot, bytes }], Durability::Synced, done);
        receiver.await.unwrap_or(Err(StoreFault::Stopped))
    }
}

/// Builds a snapshot: adopts the newest mark, or freezes the state as it is when openraft cannot do without.
pub(crate) struct Builder {
    shared: Arc<Shared>,
    from: Result<BuildFrom, StoreFault>,
}

enum BuildFrom {
    Mark(Kept),
    Frozen(Arc<dyn Frozen>),
    /// Nothing has been applied: an empty snapshot, which nobody can need and which is not kept.
    Nothing(Arc<dyn Frozen>),
}

fn empty_snapshot(frozen: Arc<dyn Frozen>, incarnation: u64) -> RaftSnapshot {
    let meta = SnapshotMeta {
        incarnation,
        index: 0,
        term: 0,
        chain: ChainValue::default(),
        state_root: StateRoot::default().finish(),
        records: 0,
        bytes: 0,
        membership: StoredMembership::default(),
    };
    RaftSnapshot {
        meta: RaftSnapshotMeta::default(),
        snapshot: SnapshotData {
            meta,
            source: Source::Frozen(frozen),
        },
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<RaftSnapshot, io::Error> {
        let build = async {
            let kept = match self.from.as_ref().map_err(Clone::clone)? {
                BuildFrom::Mark(kept) => kept.clone(),
                BuildFrom::Frozen(frozen) => {
                    let meta = describe(&**frozen, self.shared.incarnation).await?;
                    Kept {
                        meta,
                        frozen: Arc::clone(frozen),
                    }
                }
                BuildFrom::Nothing(frozen) => return Ok(empty_snapshot(Arc::clone(frozen), self.shared.incarnation)),
            };
            self.shared.adopt(kept.clone()).await?;
            Ok(kept.hand_out())
        };
        build.await.map_err(|fault| self.shared.fault.note(fault))
    }
}

/// Bytes of an entry's payload.
fn payload_bytes(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(payload) => payload.bytes.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

impl RaftStateMachine<TypeConfig> for StateAdapter {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok(match &self.applied {
            Some(state) => (Some(state.last), state.membership.clone()),
            None => (None, StoredMembership::default()),
        })
    }

    async fn apply<S>(&mut self, entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + Send,
    {
        let mut entries = entries.fuse();
        loop {
            let mut batch: Vec<Entry> = Vec::new();
            let mut responders: Vec<Option<ApplyResponder<TypeConfig>>> = Vec::new();
            let mut bytes = 0_usize;
            while batch.len() < APPLY_ENTRIES_MAX && bytes < APPLY_BYTES_MAX {
                let Some(next) = entries.next().await else { break };
                let (entry, responder) = next?;
                bytes = bytes.saturating_add(payload_bytes(&entry));
                batch.push(entry);
                responders.push(responder);
            }
            if batch.is_empty() {
                return Ok(());
            }
            let mut rest = batch.as_slice();
            let mut responders = responders.into_iter();
            while !rest.is_empty() {
                let replies = self.apply_batch(rest).map_err(|fatal| self.fatal(fatal))?;
                rest = rest.get(replies.len()..).unwrap_or_default();
                for (reply, responder) in replies.into_iter().zip(responders.by_ref()) {
                    if let Some(responder) = responder {
                        responder.send(reply);
                    }
                }
            }
            // A long batch must not keep heartbeats of a single-threaded runtime waiting.
            tokio::task::yield_now().await;
        }
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<Builder> {
        if force {
            return Some(self.get_snapshot_builder().await);
        }
        let snapshots = lock(&self.shared.snapshots);
        let marked = snapshots.marked.clone()?;
        if snapshots
            .current
            .as_ref()
            .is_some_and(|current| current.meta.index >= marked.meta.index)
        {
            return None;
        }
        Some(Builder {
            shared: Arc::clone(&self.shared),
            from: Ok(BuildFrom::Mark(marked)),
        })
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let from = match &self.applied {
            Some(state) => self.shared.store.freeze(state.last.index).map(BuildFrom::Frozen),
            None => self.shared.store.freeze(0).map(BuildFrom::Nothing),
        };
        Builder {
            shared: Arc::clone(&self.shared),
            from,
        }
    }

    async fn install_snapshot(&mut self, _meta: &RaftSnapshotMeta, snapshot: SnapshotData) -> Result<(), io::Error> {
        let index = snapshot.meta.index;
        self.shared.progress.begin_install(index);
        self.install(snapshot).await.map_err(|fatal| self.fatal(fatal))?;
        // After a failure nothing is answered any more: the node stops in the state in which it began.
        let machine = self
            .machine
            .get_mut()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        machine.published(index);
        self.shared.progress.end_install(index);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<RaftSnapshot>, io::Error> {
        Ok(lock(&self.shared.snapshots).current.as_ref().map(Kept::hand_out))
    }
}
