//! The store's twin in memory, whose disk loses what was not synced.
//!
//! A [`MemoryDisk`] outlives the stores opened on it, as a disk outlives processes. Writes are visible at once and
//! durable only after a sync, in order, as behind RocksDB's one write-ahead log. [`MemoryDisk::crash`] drops the rest and
//! cuts off every store that is still open. Delays run on the runtime's clock, so a simulation can make them virtual.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use symbolon_consensus::{Done, Durability, StoreFault};

use crate::engine::{Engine, Held, Kept, Op, Pair, Read, Space};
use crate::sabotage;
use crate::sync::lock;

type Map = BTreeMap<(Space, Vec<u8>), Vec<u8>>;

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    disk: Arc<Mutex<Disk>>,
}

impl std::fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let disk = lock(&self.disk);
        f.debug_struct("MemoryDisk")
            .field("unsynced", &disk.journal.len())
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Disk {
    /// What a crash leaves.
    durable: Map,
    /// What readers see. Shared with snapshots; copied when written while one is held.
    visible: Arc<Map>,
    /// Visible but not durable, oldest first.
    journal: VecDeque<Vec<Op>>,
    /// How many batches were ever written; the journal's last is this one.
    written: u64,
    frozen: BTreeMap<u64, Arc<Map>>,
    /// Waiting for the next sync.
    waiting: Vec<Done>,
    syncing: bool,
    syncs: u64,
    /// Counts crashes. A store opened before the last one is cut off.
    life: u64,
    stopped: bool,
    faults: Faults,
}

#[derive(Clone, Copy, Default)]
struct Faults {
    sync_delay: Duration,
    fail_syncs: bool,
    full: bool,
    reserve_used: bool,
    skip_syncs: bool,
}

fn apply(map: &mut Map, ops: &[Op]) {
    for op in ops {
        match op {
            Op::Put { space, key, value } => {
                map.insert((*space, key.clone()), value.clone());
            }
            Op::Delete { space, key } => {
                map.remove(&(*space, key.clone()));
            }
            Op::DeleteRange { space, from, until } => {
                let range = (
                    Bound::Included((*space, from.clone())),
                    Bound::Excluded((*space, until.clone())),
                );
                let gone: Vec<_> = if from < until {
                    map.range(range).map(|(key, _)| key.clone()).collect()
                } else {
                    Vec::new()
                };
                for key in gone {
                    map.remove(&key);
                }
            }
        }
    }
}

impl Disk {
    fn write(&mut self, ops: Vec<Op>) -> Result<u64, StoreFault> {
        if self.stopped {
            return Err(StoreFault::Stopped);
        }
        if self.faults.full {
            return Err(StoreFault::DiskFull {
                free_bytes: 0,
                reserve_bytes: 0,
            });
        }
        apply(Arc::make_mut(&mut self.visible), &ops);
        self.journal.push_back(ops);
        self.written = self.written.saturating_add(1);
        Ok(self.written)
    }

    /// Makes everything written up to batch `upto` durable.
    fn sync(&mut self, upto: u64) -> Result<(), StoreFault> {
        if self.stopped {
            return Err(StoreFault::Stopped);
        }
        if self.faults.fail_syncs {
            self.stopped = true;
            return Err(StoreFault::Io {
                operation: "syncing",
                detail: "the simulated disk fails".into(),
            });
        }
        self.syncs = self.syncs.saturating_add(1);
        if sabotage::skips_syncs() || self.faults.skip_syncs {
            return Ok(());
        }
        let length = u64::try_from(self.journal.len()).unwrap_or(u64::MAX);
        let already = self.written.saturating_sub(length);
        for _ in already..upto {
            let Some(ops) = self.journal.pop_front() else { break };
            apply(&mut self.durable, &ops);
        }
        Ok(())
    }
}

impl MemoryDisk {
    /// An empty disk without faults or delays.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The machine stops: what was not synced is gone, and every store open on this disk is cut off.
    pub fn crash(&self) {
        let waiting = {
            let mut disk = lock(&self.disk);
            disk.visible = Arc::new(disk.durable.clone());
            disk.journal.clear();
            disk.life = disk.life.saturating_add(1);
            disk.syncing = false;
            std::mem::take(&mut disk.waiting)
        };
        fail(waiting, &StoreFault::Stopped);
    }

    /// How long each sync takes from now on. Zero completes submissions at once.
    pub fn set_sync_delay(&self, delay: Duration) {
        lock(&self.disk).faults.sync_delay = delay;
    }

    /// Whether syncs fail from now on. After one has, the store stops until it is opened again.
    pub fn set_syncs_fail(&self, fail: bool) {
        let mut disk = lock(&self.disk);
        disk.faults.fail_syncs = fail;
    }

    /// Whether only the reserve is left from now on: the store refuses to take on more, and nothing fails.
    pub fn set_reserve_used(&self, used: bool) {
        lock(&self.disk).faults.reserve_used = used;
    }

    /// Whether the disk is full to the last byte from now on: writes fail.
    pub fn set_full(&self, full: bool) {
        lock(&self.disk).faults.full = full;
    }

    /// Whether syncs only pretend from now on. A seeded bug: with it, acknowledged writes are lost in a crash.
    #[cfg(feature = "sabotage")]
    pub fn set_syncs_skipped(&self, skipped: bool) {
        lock(&self.disk).faults.skip_syncs = skipped;
    }

    /// Batches that a crash would lose.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        lock(&self.disk).journal.len()
    }

    /// Everything on the disk as it would be found by whoever steals it: keys and sealed values, unsynced ones too.
    #[must_use]
    pub fn raw(&self) -> Vec<u8> {
        let disk = lock(&self.disk);
        let maps = std::iter::once(&disk.visible).chain(disk.frozen.values());
        maps.flat_map(|map| map.iter())
            .flat_map(|((_, key), value)| [key.as_slice(), value.as_slice()].concat())
            .collect()
    }

    /// Syncs for everybody who waits, until nobody does.
    async fn sync_loop(self, life: u64) {
        loop {
            // What arrives during a sync shares the next one.
            let (delay, upto, group) = {
                let mut disk = lock(&self.disk);
                if disk.life != life {
                    return;
                }
                if disk.waiting.is_empty() {
                    disk.syncing = false;
                    return;
                }
                (disk.faults.sync_delay, disk.written, std::mem::take(&mut disk.waiting))
            };
            tokio::time::sleep(delay).await;
            let result = {
                let mut disk = lock(&self.disk);
                if disk.life == life {
                    disk.sync(upto)
                } else {
                    Err(StoreFault::Stopped)
                }
            };
            for done in group {
                done(result.clone());
            }
        }
    }
}

fn fail(waiting: Vec<Done>, fault: &StoreFault) {
    for done in waiting {
        done(Err(fault.clone()));
    }
}

/// A store's hold on the disk, until the next crash.
pub(crate) struct MemoryEngine {
    disk: MemoryDisk,
    life: u64,
}

impl MemoryEngine {
    pub(crate) fn open(disk: &MemoryDisk) -> Self {
        let mut guard = lock(&disk.disk);
        // As a process that starts anew: a failed sync of the last one is history.
        guard.stopped = false;
        let life = guard.life;
        drop(guard);
        Self {
            disk: disk.clone(),
            life,
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Disk) -> Result<T, StoreFault>) -> Result<T, StoreFault> {
        let mut disk = lock(&self.disk.disk);
        if disk.life != self.life {
            return Err(StoreFault::Stopped);
        }
        act(&mut disk)
    }

    fn visible(&self) -> Result<Arc<Map>, StoreFault> {
        self.with(|disk| Ok(Arc::clone(&disk.visible)))
    }
}

impl Read for Map {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        Ok(BTreeMap::get(self, &(space, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        until: &[u8],
        limit: usize,
        bytes_max: usize,
    ) -> Result<Vec<Pair>, StoreFault> {
        if from >= until {
            return Ok(Vec::new());
        }
        let range = (
            Bound::Included((space, from.to_vec())),
            Bound::Excluded((space, until.to_vec())),
        );
        let mut bytes = 0usize;
        let mut found = Vec::new();
        for ((_, key), value) in self.range(range).take(limit) {
            if bytes >= bytes_max && !found.is_empty() {
                break;
            }
            bytes = bytes.saturating_add(value.len());
            found.push((key.clone(), value.clone()));
        }
        Ok(found)
    }

    fn last(&self, space: Space, from: &[u8], until: &[u8]) -> Result<Option<Pair>, StoreFault> {
        if from >= until {
            return Ok(None);
        }
        let range = (
            Bound::Included((space, from.to_vec())),
            Bound::Excluded((space, until.to_vec())),
        );
        Ok(self
            .range(range)
            .next_back()
            .map(|((_, key), value)| (key.clone(), value.clone())))
    }
}

/// The disk as it was, or the reason why it cannot be read.
struct AsOf(Result<Arc<Map>, StoreFault>);

impl AsOf {
    fn map(&self) -> Result<&Map, StoreFault> {
        self.0.as_deref().map_err(Clone::clone)
    }
}

impl Read for AsOf {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        Read::get(self.map()?, space, key)
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        until: &[u8],
        limit: usize,
        bytes_max: usize,
    ) -> Result<Vec<Pair>, StoreFault> {
        self.map()?.scan(space, from, until, limit, bytes_max)
    }

    fn last(&self, space: Space, from: &[u8], until: &[u8]) -> Result<Option<Pair>, StoreFault> {
        Read::last(self.map()?, space, from, until)
    }
}

impl Read for MemoryEngine {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        self.with(|disk| Read::get(&*disk.visible, space, key))
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        until: &[u8],
        limit: usize,
        bytes_max: usize,
    ) -> Result<Vec<Pair>, StoreFault> {
        self.with(|disk| disk.visible.scan(space, from, until, limit, bytes_max))
    }

    fn last(&self, space: Space, from: &[u8], until: &[u8]) -> Result<Option<Pair>, StoreFault> {
        self.with(|disk| Read::last(&*disk.visible, space, from, until))
    }
}

impl Engine for MemoryEngine {
    fn snapshot(&self) -> Box<dyn Read + '_> {
        Box::new(AsOf(self.visible()))
    }

    fn write(&self, ops: Vec<Op>) -> Result<(), StoreFault> {
        self.with(|disk| disk.write(ops)).map(|_| ())
    }

    fn write_durably(&self, ops: Vec<Op>) -> Result<(), StoreFault> {
        self.with(|disk| {
            let written = disk.write(ops)?;
            disk.sync(written)
        })
    }

    fn submit(&self, ops: Vec<Op>, durability: Durability, done: Done) {
        let outcome = self.with(|disk| {
            let written = disk.write(ops)?;
            let waits = durability == Durability::Synced && !disk.faults.sync_delay.is_zero();
            if durability == Durability::Synced && !waits {
                disk.sync(written)?;
            }
            Ok(waits)
        });
        match outcome {
            Ok(true) => {}
            Ok(false) => return done(Ok(())),
            Err(fault) => return done(Err(fault)),
        }
        let mut disk = lock(&self.disk.disk);
        disk.waiting.push(done);
        if !std::mem::replace(&mut disk.syncing, true) {
            drop(disk);
            tokio::spawn(self.disk.clone().sync_loop(self.life));
        }
    }

    fn freeze(&self, index: u64) -> Result<Arc<dyn Read>, StoreFault> {
        self.with(|disk| {
            if let Some(map) = disk.frozen.get(&index) {
                return Ok(Arc::new(AsOf(Ok(Arc::clone(map)))) as Arc<dyn Read>);
            }
            let written = disk.written;
            // As with a checkpoint, which flushes: what is kept is durable.
            disk.sync(written)?;
            let map = Arc::clone(&disk.visible);
            disk.frozen.insert(index, Arc::clone(&map));
            Ok(Arc::new(AsOf(Ok(map))) as Arc<dyn Read>)
        })
    }

    fn frozen(&self) -> Result<Vec<Kept>, StoreFault> {
        let keep = |(index, map): (&u64, &Arc<Map>)| (*index, Arc::new(AsOf(Ok(Arc::clone(map)))) as Arc<dyn Read>);
        self.with(|disk| Ok(disk.frozen.iter().map(keep).collect()))
    }

    fn forget_frozen(&self, upto: u64, except: &[u64]) -> Result<(), StoreFault> {
        self.with(|disk| {
            disk.frozen.retain(|index, _| *index > upto || except.contains(index));
            Ok(())
        })
    }

    fn free_bytes(&self) -> Result<u64, StoreFault> {
        self.with(|disk| {
            if disk.stopped {
                return Err(StoreFault::Stopped);
            }
            Ok(if disk.faults.full || disk.faults.reserve_used {
                0
            } else {
                u64::MAX
            })
        })
    }

    fn held(&self) -> Result<Held, StoreFault> {
        Ok(Held::default())
    }

    fn space_bytes(&self, space: Space) -> Result<u64, StoreFault> {
        self.with(|disk| {
            let pairs = disk.visible.iter().filter(|((of, _), _)| *of == space);
            let bytes: usize = pairs
                .map(|((_, key), value)| key.len().saturating_add(value.len()))
                .sum();
            Ok(u64::try_from(bytes).unwrap_or(u64::MAX))
        })
    }

    fn syncs(&self) -> u64 {
        lock(&self.disk.disk).syncs
    }
}
