//! Records of a snapshot under way: a generation of the state that is not in force yet.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use symbolon_consensus::chain::ChainValue;
use symbolon_consensus::{NameKey, Record, Staging, StoreFault};

use crate::engine::{Op, Space};
use crate::keys;
use crate::store::Inner;
use crate::sync::write;
use crate::view::{Records, join_named};

pub(crate) struct StagedState {
    store: Arc<Inner>,
    generation: u32,
    /// From then on the records may be in force.
    installing: bool,
    _turn: Turn,
}

/// The right to write into the next generation. A second one beside it would write into what the first has had checked,
/// and go on when that is in force.
struct Turn(Arc<Inner>);

impl Turn {
    fn take(store: &Arc<Inner>) -> Result<Self, StoreFault> {
        let taken = store.staging.swap(true, Ordering::AcqRel);
        #[cfg(feature = "sabotage")]
        let taken = taken && !symbolon_sabotage::Bug::StagingShared.on();
        if taken {
            return Err(StoreFault::Staging);
        }
        Ok(Self(Arc::clone(store)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.staging.store(false, Ordering::Release);
    }
}

impl StagedState {
    pub(crate) fn begin(store: Arc<Inner>) -> Result<Self, StoreFault> {
        let turn = Turn::take(&store)?;
        let current = *crate::sync::read(&store.generation);
        let generation = current.checked_add(1).ok_or(StoreFault::Corrupt {
            what: "generation",
            kind: 0,
        })?;
        let staged = Self {
            store,
            generation,
            installing: false,
            _turn: turn,
        };
        staged.clear()?;
        Ok(staged)
    }

    fn clear(&self) -> Result<(), StoreFault> {
        self.store.engine.write(vec![clear_generation(self.generation)])
    }

    fn seal(&self, key: Vec<u8>, plain: &[u8]) -> Result<Op, StoreFault> {
        let value = self.store.barrier.seal(Space::State, &key, plain)?;
        Ok(Op::Put {
            space: Space::State,
            key,
            value,
        })
    }
}

pub(crate) fn clear_generation(generation: u32) -> Op {
    let from = keys::generation(generation);
    Op::DeleteRange {
        space: Space::State,
        until: keys::after_prefix(&from),
        from,
    }
}

impl Staging for StagedState {
    fn put(&mut self, records: &[Record]) -> Result<(), StoreFault> {
        let sealed = records
            .iter()
            .map(|(key, value)| self.seal(keys::record(self.generation, key), value));
        self.store.engine.write(sealed.collect::<Result<_, _>>()?)
    }

    fn put_names(&mut self, names: &[(NameKey, Bytes)]) -> Result<(), StoreFault> {
        let barrier = &self.store.barrier;
        let sealed = names.iter().map(|(key, value)| {
            let parent = barrier.parent(key.kind, &key.parent)?;
            let name = barrier.name(key.kind, &key.parent, &key.name)?;
            self.seal(
                keys::name(self.generation, key.kind, &parent, &name),
                &join_named(&key.name, value)?,
            )
        });
        self.store.engine.write(sealed.collect::<Result<_, _>>()?)
    }

    fn scan(&self, after: Option<&[u8]>, limit: usize, bytes_max: usize) -> Result<Vec<Record>, StoreFault> {
        let records = Records {
            read: &*self.store.engine,
            barrier: &self.store.barrier,
            generation: self.generation,
            recent: None,
        };
        records.scan(&[], after, limit, bytes_max)
    }

    fn install(mut self: Box<Self>, index: u64, chain: ChainValue, applied: Bytes) -> Result<(), StoreFault> {
        let store = Arc::clone(&self.store);
        let replacing = store.recent.replace();
        let mut generation = write(&store.generation);
        let ops = vec![
            self.seal(keys::applied(self.generation), &applied)?,
            store.put(Space::Chain, keys::index(index), &chain)?,
            store.put(Space::Local, keys::GENERATION.to_vec(), &self.generation.to_be_bytes())?,
            clear_generation(*generation),
        ];
        // If that fails, nobody knows whether it was done: what is not in force is cleared when the store is next opened.
        self.installing = true;
        store.engine.write_durably(ops)?;
        *generation = self.generation;
        replacing.done();
        Ok(())
    }
}

impl Drop for StagedState {
    fn drop(&mut self) {
        if !self.installing
            && let Err(fault) = self.clear()
        {
            // Cleared when the store is next opened.
            tracing::warn!(%fault, "a dropped snapshot could not be cleared away");
        }
    }
}
