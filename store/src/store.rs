//! The store of one node.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use symbolon_consensus::chain::ChainValue;
use symbolon_consensus::limits::{CHAIN_KEPT, CHAIN_STRIDE};
use symbolon_consensus::{
    Changes, Done, Durability, Frozen, Loaded, LogOp, NameKey, Slot, Staging, Storage, StoreFault, Taking, View,
};

use crate::audit::AuditLog;
use crate::barrier::Barrier;
use crate::engine::{Engine, Held, Op, Read, Space};
use crate::frozen::FrozenState;
use crate::keys;
use crate::local::{Lately, Local};
use crate::memory::{MemoryDisk, MemoryEngine};
use crate::options::Options;
use crate::recent::Recent;
use crate::rocks::RocksEngine;
use crate::staging::{StagedState, clear_generation};
use crate::sync::read;
use crate::view::{Records, join_named};

pub use crate::view::StoreView;

/// Everything a node keeps, behind the barrier. Clones share it; the database closes with the last of them.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) barrier: Arc<Barrier>,
    /// Of the state in force. Read-locked while a view is taken, so that a switch is never seen half.
    pub(crate) generation: RwLock<u32>,
    /// Whether a snapshot is on its way into the next one.
    pub(crate) staging: AtomicBool,
    /// Records that readers asked for lately.
    pub(crate) recent: Recent,
    /// Own records that were asked for lately.
    pub(crate) lately: Arc<Lately>,
    reserve_bytes: u64,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("barrier", &self.inner.barrier)
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// A sealed write.
    pub(crate) fn put(&self, space: Space, key: Vec<u8>, plain: &[u8]) -> Result<Op, StoreFault> {
        let value = self.barrier.seal(space, &key, plain)?;
        Ok(Op::Put { space, key, value })
    }

    /// An unsealed read.
    pub(crate) fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        let sealed = self.engine.get(space, key)?;
        sealed.map(|sealed| self.barrier.open(space, key, &sealed)).transpose()
    }

    pub(crate) fn writable(&self, what: Taking) -> Result<(), StoreFault> {
        let free_bytes = self.engine.free_bytes()?;
        let reserve_bytes = match what {
            Taking::New => self.reserve_bytes,
            Taking::Replicated => self.reserve_bytes.div_ceil(2),
        };
        if free_bytes < reserve_bytes {
            return Err(StoreFault::DiskFull {
                free_bytes,
                reserve_bytes,
            });
        }
        Ok(())
    }

    fn name_key(&self, generation: u32, key: &NameKey) -> Result<Vec<u8>, StoreFault> {
        let parent = self.barrier.parent(key.kind, &key.parent)?;
        let name = self.barrier.name(key.kind, &key.parent, &key.name)?;
        Ok(keys::name(generation, key.kind, &parent, &name))
    }

    fn log_op(&self, op: LogOp) -> Result<Op, StoreFault> {
        let space = Space::Log;
        match op {
            LogOp::Append { index, bytes } => self.put(space, keys::index(index), &bytes),
            LogOp::CutFrom { index } => Ok(Op::DeleteRange {
                space,
                from: keys::index(index),
                until: keys::INDEX_END.to_vec(),
            }),
            LogOp::PurgeTo { index } => {
                let until = index
                    .checked_add(1)
                    .map_or_else(|| keys::INDEX_END.to_vec(), keys::index);
                Ok(Op::DeleteRange {
                    space,
                    from: keys::index(0),
                    until,
                })
            }
            LogOp::Set { slot, bytes } => self.put(Space::Local, keys::slot(slot), &bytes),
        }
    }
}

impl Store {
    /// Opens, or creates, a node's database under `path`.
    ///
    /// # Errors
    /// [`StoreFault::WrongStateKey`], [`StoreFault::Locked`], or what the database reports.
    pub fn open(path: &Path, options: Options) -> Result<Self, StoreFault> {
        Self::over(Box::new(RocksEngine::open(path)?), options)
    }

    /// Opens what a simulated disk holds.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_in_memory(disk: &MemoryDisk, options: Options) -> Result<Self, StoreFault> {
        Self::over(Box::new(MemoryEngine::open(disk)), options)
    }

    fn over(engine: Box<dyn Engine>, options: Options) -> Result<Self, StoreFault> {
        let reserve_bytes = options.reserve_bytes;
        let header = engine.get(Space::Local, keys::HEADER)?;
        let (barrier, header) = Barrier::raise(options, header.as_deref())?;
        engine.write_durably(vec![Op::Put {
            space: Space::Local,
            key: keys::HEADER.to_vec(),
            value: header,
        }])?;
        let inner = Inner {
            engine,
            barrier: Arc::new(barrier),
            generation: RwLock::new(0),
            staging: AtomicBool::new(false),
            recent: Recent::default(),
            lately: Arc::default(),
            reserve_bytes,
        };
        let generation = generation(&*inner.engine, &inner.barrier)?;
        *crate::sync::write(&inner.generation) = generation;
        // What an interrupted installation left.
        if let Some(next) = generation.checked_add(1) {
            inner.engine.write(vec![clear_generation(next)])?;
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A consistent view of the applied records.
    #[must_use]
    pub fn reader(&self) -> StoreView<'_> {
        let recent = self.inner.recent.now();
        StoreView {
            recent: Some(recent),
            ..self.plain_view()
        }
    }

    fn plain_view(&self) -> StoreView<'_> {
        let generation = read(&self.inner.generation);
        StoreView {
            read: self.inner.engine.snapshot(),
            barrier: &self.inner.barrier,
            generation: *generation,
            recent: None,
        }
    }

    /// Records of this node alone.
    #[must_use]
    pub fn local(&self) -> Local {
        Local::new(Arc::clone(&self.inner))
    }

    /// Opens the node's audit log. One handle is to be opened and shared.
    ///
    /// # Errors
    /// [`crate::AuditFault`] if its tree does not agree with its leaves or its checkpoint.
    pub fn audit(&self) -> Result<AuditLog, crate::AuditFault> {
        AuditLog::open(Arc::clone(&self.inner))
    }

    /// Syncs of the database so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.inner.engine.syncs()
    }

    /// Bytes free on the store's disk.
    ///
    /// # Errors
    /// [`StoreFault::Io`].
    pub fn free_bytes(&self) -> Result<u64, StoreFault> {
        self.inner.engine.free_bytes()
    }

    /// Memory that the database holds.
    ///
    /// # Errors
    /// [`StoreFault::Io`].
    pub fn held(&self) -> Result<Held, StoreFault> {
        self.inner.engine.held()
    }

    fn freeze_with(&self, index: u64, read: Arc<dyn Read>) -> Result<Arc<dyn Frozen>, StoreFault> {
        let barrier = Arc::clone(&self.inner.barrier);
        let generation = generation(&*read, &barrier)?;
        Ok(Arc::new(FrozenState {
            index,
            read,
            barrier,
            generation,
        }))
    }
}

/// The generation in force in a database; 0 in an empty one.
fn generation(read: &(impl Read + ?Sized), barrier: &Barrier) -> Result<u32, StoreFault> {
    let Some(sealed) = read.get(Space::Local, keys::GENERATION)? else {
        return Ok(0);
    };
    let bytes = barrier.open(Space::Local, keys::GENERATION, &sealed)?;
    let bytes = bytes.as_array().ok_or(StoreFault::Corrupt {
        what: "generation",
        kind: 2,
    })?;
    Ok(u32::from_be_bytes(*bytes))
}

impl Storage for Store {
    fn load(&self) -> Result<Loaded, StoreFault> {
        let last = self.inner.engine.last(Space::Log, &keys::index(0), keys::INDEX_END)?;
        let last = match last {
            Some((key, sealed)) => {
                let index = keys::index_of(&key).ok_or(StoreFault::Corrupt { what: "log", kind: 0 })?;
                Some((index, Bytes::from(self.inner.barrier.open(Space::Log, &key, &sealed)?)))
            }
            None => None,
        };
        Ok(Loaded {
            vote: self.slot(Slot::Vote)?,
            committed: self.slot(Slot::Committed)?,
            purged: self.slot(Slot::Purged)?,
            last,
        })
    }

    fn slot(&self, slot: Slot) -> Result<Option<Bytes>, StoreFault> {
        Ok(self.inner.get(Space::Local, &keys::slot(slot))?.map(Bytes::from))
    }

    fn submit(&self, ops: Vec<LogOp>, durability: Durability, done: Done) {
        match ops.into_iter().map(|op| self.inner.log_op(op)).collect() {
            Ok(ops) => self.inner.engine.submit(ops, durability, done),
            Err(fault) => done(Err(fault)),
        }
    }

    fn read_log(&self, from: u64, until: u64, bytes_max: usize) -> Result<Vec<(u64, Bytes)>, StoreFault> {
        let (first, end) = (keys::index(from), keys::index(until));
        let pairs = self
            .inner
            .engine
            .scan(Space::Log, &first, &end, usize::MAX, bytes_max)?;
        let mut entries: Vec<(u64, Bytes)> = Vec::with_capacity(pairs.len());
        for (key, sealed) in pairs {
            let index = keys::index_of(&key).ok_or(StoreFault::Corrupt { what: "log", kind: 0 })?;
            if entries
                .last()
                .is_some_and(|(before, _)| before.checked_add(1) != Some(index))
            {
                return Err(StoreFault::Corrupt {
                    what: "log order",
                    kind: 0,
                });
            }
            entries.push((index, Bytes::from(self.inner.barrier.open(Space::Log, &key, &sealed)?)));
        }
        Ok(entries)
    }

    fn applied(&self) -> Result<Option<Bytes>, StoreFault> {
        let generation = *read(&self.inner.generation);
        Records {
            read: &*self.inner.engine,
            barrier: &self.inner.barrier,
            generation,
            recent: None,
        }
        .applied()
    }

    fn view(&self) -> Box<dyn View + '_> {
        // Apply knows records of its own.
        Box::new(self.plain_view())
    }

    fn commit(&self, changes: Changes, chain: &[(u64, ChainValue)], applied: Bytes) -> Result<(), StoreFault> {
        let inner = &self.inner;
        let generation = *read(&inner.generation);
        let space = Space::State;
        let mut ops = Vec::with_capacity(changes.records.len() + changes.names.len() + 2 * chain.len() + 1);
        for (key, value) in changes.records {
            let key = keys::record(generation, &key);
            ops.push(match value {
                Some(value) => inner.put(space, key, &value)?,
                None => Op::Delete { space, key },
            });
        }
        for (name, value) in changes.names {
            let key = inner.name_key(generation, &name)?;
            ops.push(match value {
                Some(value) => inner.put(space, key, &join_named(&name.name, &value)?)?,
                None => Op::Delete { space, key },
            });
        }
        for (index, value) in chain {
            ops.push(inner.put(Space::Chain, keys::index(*index), value)?);
            if let Some(old) = index
                .checked_sub(CHAIN_KEPT)
                .filter(|old| !old.is_multiple_of(CHAIN_STRIDE))
            {
                ops.push(Op::Delete {
                    space: Space::Chain,
                    key: keys::index(old),
                });
            }
        }
        ops.push(inner.put(space, keys::applied(generation), &applied)?);
        let committing = inner.recent.commit(ops.iter().filter_map(state_key));
        inner.engine.write(ops)?;
        committing.done();
        Ok(())
    }

    fn chain_at(&self, index: u64) -> Result<Option<ChainValue>, StoreFault> {
        let corrupt = StoreFault::Corrupt { what: "chain", kind: 0 };
        match self.inner.get(Space::Chain, &keys::index(index))? {
            Some(bytes) => bytes.as_array().copied().map(Some).ok_or(corrupt),
            None => Ok(None),
        }
    }

    fn freeze(&self, index: u64) -> Result<Arc<dyn Frozen>, StoreFault> {
        self.freeze_with(index, self.inner.engine.freeze(index)?)
    }

    fn frozen(&self) -> Result<Vec<Arc<dyn Frozen>>, StoreFault> {
        self.inner
            .engine
            .frozen()?
            .into_iter()
            .map(|(index, read)| self.freeze_with(index, read))
            .collect()
    }

    fn forget_frozen(&self, upto: u64, except: &[u64]) -> Result<(), StoreFault> {
        self.inner.engine.forget_frozen(upto, except)
    }

    fn stage(&self) -> Result<Box<dyn Staging>, StoreFault> {
        Ok(Box::new(StagedState::begin(Arc::clone(&self.inner))?))
    }

    fn writable(&self, what: Taking) -> Result<(), StoreFault> {
        self.inner.writable(what)
    }
}

/// The key under which an operation changes the state, if it does.
fn state_key(op: &Op) -> Option<&[u8]> {
    match op {
        Op::Put { space, key, .. } | Op::Delete { space, key } if *space == Space::State => Some(key),
        _ => None,
    }
}
