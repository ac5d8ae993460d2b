//! A kept state, unsealed.

use std::sync::Arc;

use bytes::Bytes;
use symbolon_consensus::{Frozen, Record, StoreFault};

use crate::barrier::Barrier;
use crate::engine::Read;
use crate::view::Records;

pub(crate) struct FrozenState {
    pub(crate) index: u64,
    pub(crate) read: Arc<dyn Read>,
    pub(crate) barrier: Arc<Barrier>,
    pub(crate) generation: u32,
}

impl FrozenState {
    fn records(&self) -> Records<'_, dyn Read> {
        Records {
            read: &*self.read,
            barrier: &self.barrier,
            generation: self.generation,
            recent: None,
        }
    }
}

impl Frozen for FrozenState {
    fn index(&self) -> u64 {
        self.index
    }

    fn applied(&self) -> Result<Bytes, StoreFault> {
        self.records().applied()?.ok_or(StoreFault::Corrupt {
            what: "kept state",
            kind: 0,
        })
    }

    fn scan(&self, after: Option<&[u8]>, limit: usize, bytes_max: usize) -> Result<Vec<Record>, StoreFault> {
        self.records().scan(&[], after, limit, bytes_max)
    }
}
