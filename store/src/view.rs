//! Applied records as the state machine sees them: unsealed, names and all.

use std::collections::BTreeMap;

use bytes::Bytes;
use symbolon_consensus::{Record, StoreFault, View};

use crate::barrier::Barrier;
use crate::engine::{Pair, Read, Space};
use crate::keys;
use crate::recent::AsOf;

/// How many names are read at once while a parent is listed.
const NAMES_PER_READ: usize = 1024;

/// One generation of the state.
pub(crate) struct Records<'a, R: ?Sized> {
    pub(crate) read: &'a R,
    pub(crate) barrier: &'a Barrier,
    pub(crate) generation: u32,
    /// Of the newest state, where that is what `read` sees.
    pub(crate) recent: Option<AsOf<'a>>,
}

impl<R: Read + ?Sized> Records<'_, R> {
    fn unseal(&self, pair: Pair) -> Result<Record, StoreFault> {
        let (key, sealed) = pair;
        let value = self.barrier.open(Space::State, &key, &sealed)?;
        let key = key.get(keys::RECORD_PREFIX_BYTES..).unwrap_or_default().to_vec();
        Ok((key, Bytes::from(value)))
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        self.opened(keys::record(self.generation, key))
    }

    fn opened(&self, key: Vec<u8>) -> Result<Option<Bytes>, StoreFault> {
        if let Some(known) = self.recent.and_then(|recent| recent.get(&key)) {
            return Ok(Some(known));
        }
        let Some(sealed) = self.read.get(Space::State, &key)? else {
            return Ok(None);
        };
        let value = Bytes::from(self.barrier.open(Space::State, &key, &sealed)?);
        if let Some(recent) = self.recent {
            recent.keep(key, &value);
        }
        Ok(Some(value))
    }

    pub(crate) fn applied(&self) -> Result<Option<Bytes>, StoreFault> {
        self.opened(keys::applied(self.generation))
    }

    pub(crate) fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Vec<Record>, StoreFault> {
        let first = keys::record(self.generation, prefix);
        let until = keys::after_prefix(&first);
        let from = match after {
            Some(after) => first.max(keys::after(&keys::record(self.generation, after))),
            None => first,
        };
        let pairs = self.read.scan(Space::State, &from, &until, limit, bytes_max)?;
        pairs.into_iter().map(|pair| self.unseal(pair)).collect()
    }

    pub(crate) fn name_get(&self, kind: u8, parent: &[u8], name: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        let hashed = self.barrier.name(kind, parent, name)?;
        let key = keys::name(self.generation, kind, &self.barrier.parent(kind, parent)?, &hashed);
        let opened = self.opened(key)?;
        opened.map(|opened| Ok(split_named(&opened)?.1)).transpose()
    }

    pub(crate) fn names(
        &self,
        kind: u8,
        parent: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Bytes)>, StoreFault> {
        let prefix = keys::names_prefix(self.generation, kind, &self.barrier.parent(kind, parent)?);
        let until = keys::after_prefix(&prefix);
        let mut from = prefix;
        // The disk orders by hash, which differs from node to node; what is returned must not.
        let mut lowest: BTreeMap<Vec<u8>, Bytes> = BTreeMap::new();
        loop {
            let pairs = self
                .read
                .scan(Space::State, &from, &until, NAMES_PER_READ, usize::MAX)?;
            let Some((last, _)) = pairs.last() else { break };
            from = keys::after(last);
            for (key, sealed) in pairs {
                let opened = self.barrier.open(Space::State, &key, &sealed)?;
                let (name, value) = split_named(&opened)?;
                if after.is_none_or(|after| name > after) {
                    lowest.insert(name.to_vec(), value);
                }
                if lowest.len() > limit {
                    lowest.pop_last();
                }
            }
        }
        Ok(lowest.into_iter().collect())
    }
}

/// What a name's sealed value holds: `length u32 ‖ name ‖ value`.
pub(crate) fn join_named(name: &[u8], value: &[u8]) -> Result<Vec<u8>, StoreFault> {
    let length = u32::try_from(name.len()).map_err(|_| StoreFault::TooLarge {
        what: "name",
        bytes: name.len(),
        bytes_max: symbolon_consensus::limits::NAME_BYTES_MAX,
    })?;
    let mut out = length.to_be_bytes().to_vec();
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    Ok(out)
}

fn split_named(bytes: &[u8]) -> Result<(&[u8], Bytes), StoreFault> {
    let split = || {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
    };
    let (name, value) = split().ok_or(StoreFault::Corrupt { what: "name", kind: 0 })?;
    Ok((name, Bytes::copy_from_slice(value)))
}

/// A consistent view of the applied records. Cheap; holds back compaction while it lives, so it should not live long.
pub struct StoreView<'a> {
    pub(crate) read: Box<dyn Read + 'a>,
    pub(crate) barrier: &'a Barrier,
    pub(crate) generation: u32,
    pub(crate) recent: Option<AsOf<'a>>,
}

impl std::fmt::Debug for StoreView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreView")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl StoreView<'_> {
    /// The index of the last entry that is applied in what it sees; 0 before the first.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn applied_index(&self) -> Result<u64, StoreFault> {
        let applied = self.records().applied()?;
        applied.map_or(Ok(0), |applied| symbolon_consensus::applied_index(&applied))
    }

    fn records(&self) -> Records<'_, dyn Read + '_> {
        Records {
            read: &*self.read,
            barrier: self.barrier,
            generation: self.generation,
            recent: self.recent,
        }
    }
}

impl View for StoreView<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        self.records().get(key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>, StoreFault> {
        self.records().scan(prefix, after, limit, usize::MAX)
    }

    fn name_get(&self, kind: u8, parent: &[u8], name: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        self.records().name_get(kind, parent, name)
    }

    fn names(
        &self,
        kind: u8,
        parent: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Bytes)>, StoreFault> {
        self.records().names(kind, parent, after, limit)
    }
}
