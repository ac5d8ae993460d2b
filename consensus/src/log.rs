//! The log as openraft sees it: an in-memory tail over a [`Storage`].
//!
//! An entry is readable as soon as it is appended and counts as accepted then; openraft acknowledges it only after the
//! store has reported it durable.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex};

use futures::{Stream, stream};
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use tokio::sync::oneshot;

use crate::entry::{decode_entry, decode_log_id, decode_vote, encode_entry, encode_log_id, encode_vote};
use crate::limits::APPEND_BYTES_MAX;
use crate::progress::{Progress, Sample, Unapplied};
use crate::storage::{Durability, LogOp, Slot, Storage, StoreFault};
use crate::sync::lock;
use crate::tail::Tail;
use crate::types::{Entry, LogId, NOBODY, TypeConfig, Vote};

/// The log. Clones share it.
#[derive(Clone)]
pub(crate) struct LogAdapter {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn Storage>,
    tail: Mutex<Tail>,
    vote: Mutex<Option<Vote>>,
    committed: Mutex<Option<LogId>>,
    progress: Arc<Progress>,
    fault: Arc<FaultCell>,
}

/// The first fault that stopped this node. openraft keeps only its text.
#[derive(Debug, Default)]
pub(crate) struct FaultCell(Mutex<Option<StoreFault>>);

impl FaultCell {
    /// Remembers the fault and passes it on as openraft wants it.
    pub(crate) fn note(&self, fault: StoreFault) -> io::Error {
        lock(&self.0).get_or_insert_with(|| fault.clone());
        fault.into()
    }

    pub(crate) fn get(&self) -> Option<StoreFault> {
        lock(&self.0).clone()
    }
}

impl LogAdapter {
    /// Opens the log of `store`.
    pub(crate) fn open(
        store: Arc<dyn Storage>,
        progress: Arc<Progress>,
        fault: Arc<FaultCell>,
    ) -> Result<Self, StoreFault> {
        let loaded = store.load()?;
        let purged = loaded.purged.as_deref().map(decode_log_id).transpose()?;
        let last = match loaded.last {
            Some((index, bytes)) => Some(decode_entry(index, bytes)?.log_id),
            None => None,
        };
        let last = last.max(purged);
        progress.accept(last.map_or(0, |id| id.index));
        let shared = Shared {
            vote: Mutex::new(loaded.vote.as_deref().map(decode_vote).transpose()?),
            committed: Mutex::new(loaded.committed.as_deref().map(decode_log_id).transpose()?),
            tail: Mutex::new(Tail::new(last, purged)),
            store,
            progress,
            fault,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Whether somebody else still holds this log: one of openraft's tasks, or an append on its way to the disk.
    pub(crate) fn in_use(&self) -> bool {
        Arc::strong_count(&self.shared) > 1
    }

    /// The last entry, durable or on its way there.
    pub(crate) fn last(&self) -> Option<LogId> {
        lock(&self.shared.tail).last
    }

    /// Bytes added to the log since this process started.
    pub(crate) fn grown(&self) -> u64 {
        lock(&self.shared.tail).grown
    }

    /// The newest known index after which so many bytes were added.
    pub(crate) fn followed_by(&self, bytes: u64) -> Option<u64> {
        lock(&self.shared.tail).followed_by(bytes)
    }

    /// The durable vote.
    pub(crate) fn vote(&self) -> Vote {
        lock(&self.shared.vote).unwrap_or_else(|| Vote::new(0, NOBODY))
    }

    /// Whether `check` holds for every entry of `sample` that is not applied yet. `false` also if some of them are no
    /// longer in memory.
    pub(crate) fn all_unapplied(&self, sample: Sample, mut check: impl FnMut(&Unapplied) -> bool) -> bool {
        let tail = lock(&self.shared.tail);
        // Read under the lock: entries leave the tail only after they have been applied and evicted.
        let applied = self.shared.progress.applied();
        tail.unapplied(applied, &mut |entry| entry.index > sample.accepted || check(&entry))
    }

    /// Submits and waits until durable.
    async fn submit_and_wait(&self, ops: Vec<LogOp>) -> Result<(), io::Error> {
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |result| {
            // Nobody waits any more if openraft is shutting down.
            let _ = sender.send(result);
        });
        self.shared.store.submit(ops, Durability::Synced, done);
        receiver
            .await
            .unwrap_or(Err(StoreFault::Stopped))
            .map_err(|fault| self.shared.fault.note(fault))
    }

    fn read(&self, from: u64, until: u64, bytes_max: usize) -> Result<Vec<Entry>, StoreFault> {
        if from >= until {
            return Ok(Vec::new());
        }
        let (from, stored_until, recent) = {
            let tail = lock(&self.shared.tail);
            let from = from.max(tail.purged.map_or(0, |id| id.index.saturating_add(1)));
            let in_memory = tail.first().unwrap_or(u64::MAX);
            let recent = tail.range(from.max(in_memory), until, bytes_max);
            if from >= in_memory {
                return Ok(recent);
            }
            (from, until.min(in_memory), recent)
        };
        let stored = self.shared.store.read_log(from, stored_until, bytes_max)?;
        if stored.is_empty() {
            // The log begins in memory.
            return Ok(recent);
        }
        stored
            .into_iter()
            .map(|(index, bytes)| decode_entry(index, bytes))
            .collect()
    }

    /// Everything in the range, however much.
    fn read_all(&self, from: u64, until: u64) -> Result<Vec<Entry>, StoreFault> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let next = entries
                .last()
                .map_or(from, |entry| entry.log_id.index.saturating_add(1));
            let more = self.read(next, until, APPEND_BYTES_MAX)?;
            if more.is_empty() {
                return Ok(entries);
            }
            entries.extend(more);
        }
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let until = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(until) => *until,
        Bound::Unbounded => u64::MAX,
    };
    (from, until)
}

impl RaftLogReader<TypeConfig> for LogAdapter {
    async fn try_get_log_entries<R>(&mut self, range: R) -> Result<Vec<Entry>, io::Error>
    where
        R: RangeBounds<u64> + Clone + Debug + Send,
    {
        let (from, until) = bounds(&range);
        self.read_all(from, until)
            .map_err(|fault| self.shared.fault.note(fault))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.read(start, end, APPEND_BYTES_MAX)
            .map_err(|fault| self.shared.fault.note(fault))
    }

    async fn entries_stream<R>(&mut self, range: R) -> impl Stream<Item = Result<Entry, io::Error>> + Send
    where
        R: RangeBounds<u64> + Clone + Debug + Send,
    {
        let (from, until) = bounds(&range);
        // Group by group, so that catching up on a long log takes no more memory than a short one.
        let groups = stream::unfold((self.clone(), from), move |(log, from)| async move {
            match log.read(from, until, APPEND_BYTES_MAX) {
                Ok(entries) => {
                    let next = entries.last()?.log_id.index.saturating_add(1);
                    let group: Vec<_> = entries.into_iter().map(Ok).collect();
                    Some((group, (log, next)))
                }
                Err(fault) => Some((vec![Err(log.shared.fault.note(fault))], (log, until))),
            }
        });
        Box::pin(futures::StreamExt::flat_map(groups, stream::iter))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(*lock(&self.shared.vote))
    }
}

impl RaftLogStorage<TypeConfig> for LogAdapter {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let tail = lock(&self.shared.tail);
        Ok(LogState {
            last_purged_log_id: tail.purged,
            last_log_id: tail.last,
        })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.submit_and_wait(vec![LogOp::Set {
            slot: Slot::Vote,
            bytes: encode_vote(vote),
        }])
        .await?;
        *lock(&self.shared.vote) = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let Some(id) = committed else { return Ok(()) };
        *lock(&self.shared.committed) = Some(id);
        let fault = Arc::clone(&self.shared.fault);
        // Lost in a crash it costs only time: the leader says again how far the log is committed.
        let done = Box::new(move |result: Result<(), StoreFault>| {
            if let Err(error) = result {
                let _ = fault.note(error);
            }
        });
        let set = LogOp::Set {
            slot: Slot::Committed,
            bytes: encode_log_id(&id),
        };
        self.shared.store.submit(vec![set], Durability::Lazy, done);
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(*lock(&self.shared.committed))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let mut ops = Vec::new();
        let mut last = 0;
        {
            let mut tail = lock(&self.shared.tail);
            for entry in entries {
                let index = entry.log_id.index;
                let bytes = encode_entry(&entry);
                if !tail.push(entry) {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidInput,
                        "appending would leave a hole in the log",
                    ));
                }
                ops.push(LogOp::Append { index, bytes });
                last = index;
            }
        }
        // Before the callback can run: a reader that asks after our acknowledgement must see at least this much.
        self.shared.progress.accept(last);
        let shared = Arc::clone(&self.shared);
        let done = Box::new(move |result: Result<(), StoreFault>| {
            let result = match result {
                Ok(()) => {
                    lock(&shared.tail).durable(last);
                    Ok(())
                }
                Err(fault) => Err(shared.fault.note(fault)),
            };
            callback.io_completed(result);
        });
        self.shared.store.submit(ops, Durability::Synced, done);
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let from = last_log_id.map_or(0, |id| id.index.saturating_add(1));
        let (log_last, purged) = {
            let tail = lock(&self.shared.tail);
            (tail.last, tail.purged)
        };
        if log_last.is_none_or(|last| last.index < from) {
            return Ok(());
        }
        self.shared.progress.cut(from);
        self.submit_and_wait(vec![LogOp::CutFrom { index: from }]).await?;
        // Only now: appends queued before the cut have reported durable, so none of them can vouch for a new entry.
        lock(&self.shared.tail).cut(from, last_log_id.max(purged));
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let ops = vec![
            LogOp::PurgeTo { index: upto.index },
            LogOp::Set {
                slot: Slot::Purged,
                bytes: encode_log_id(&upto),
            },
        ];
        lock(&self.shared.tail).purge(upto);
        self.shared.progress.accept(upto.index);
        self.submit_and_wait(ops).await
    }
}
