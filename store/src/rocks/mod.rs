//! RocksDB.
//!
//! Every write goes into one write-ahead log and is visible at once; only the sync queue ([`queue`]) makes it durable.
//! Applied batches are written without a sync: after a crash they are applied again from the log.

pub(crate) mod fault;
mod folder;
mod frozen;
pub(crate) mod open;
mod queue;

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBRecoveryMode, Direction, IteratorMode,
    Options, ReadOptions, WriteBatch, properties,
};
use symbolon_consensus::{Done, Durability, StoreFault};

use crate::engine::{Engine, Held, Kept, Op, Pair, Read, Space};
use crate::limits::{
    BLOCK_CACHE_BYTES, MEMTABLE_BLOCK_BYTES, MEMTABLE_BYTES, MEMTABLE_BYTES_EACH, MERGED_FILES, OPEN_FILES_MAX,
    WAL_BYTES_MAX,
};
use fault::{io, missing};
use folder::make_durably;
use frozen::Marks;
use open::Database;
use queue::SyncQueue;

/// Where the database lies under a store's directory.
pub(crate) const DATABASE: &str = "db";

pub(crate) struct RocksEngine {
    // Dropped first: its thread ends before the database closes.
    queue: SyncQueue,
    db: Arc<Database>,
    path: PathBuf,
    marks: Marks,
}

impl RocksEngine {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreFault> {
        let database = path.join(DATABASE);
        // RocksDB syncs what is in its folder, not the name of the folder itself.
        make_durably(&database)?;
        let db = DB::open_cf_descriptors(&database_options(), &database, descriptors(BLOCK_CACHE_BYTES))
            .map_err(io("opening"))?;
        let db = Arc::new(Database::from(db));
        let marks = Marks::open(path)?;
        Ok(Self {
            queue: SyncQueue::start(Arc::clone(&db))?,
            db,
            path: path.to_owned(),
            marks,
        })
    }
}

/// Options of the database itself. Tuned for little memory: a node's data is a few hundred megabytes.
pub(crate) fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    options.set_db_write_buffer_size(MEMTABLE_BYTES);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_max_background_jobs(2);
    // A torn tail is what a crash leaves and was never acknowledged. Damage before it is not a crash: refuse to open.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    // RocksDB's own log: few, small, without statistics.
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1024 * 1024);
    options.set_stats_dump_period_sec(0);
    options.set_skip_stats_update_on_db_open(true);
    options
}

/// Column families and their options, with one cache of so many bytes for all of them: without it each would have one of
/// 32 MiB.
pub(crate) fn descriptors(cache_bytes: usize) -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(cache_bytes);
    let spaces = Space::ALL.iter().map(|space| space.name());
    // RocksDB insists on a family of this name; nothing is kept in it.
    let names = std::iter::once("default").chain(spaces);
    names
        .map(|name| ColumnFamilyDescriptor::new(name, family_options(&cache)))
        .collect()
}

fn family_options(cache: &Cache) -> Options {
    let mut block = BlockBasedOptions::default();
    block.set_block_cache(cache);
    block.set_bloom_filter(10.0, false);
    // Each file's index stays in memory, and names of neighbours begin alike: of sixteen keys, one whole.
    block.set_index_block_restart_interval(16);
    let mut options = Options::default();
    options.set_write_buffer_size(MEMTABLE_BYTES_EACH);
    options.set_arena_block_size(MEMTABLE_BLOCK_BYTES);
    options.set_level_zero_file_num_compaction_trigger(MERGED_FILES);
    options.set_block_based_table_factory(&block);
    // Sealed values do not compress.
    options.set_compression_type(rocksdb::DBCompressionType::None);
    options
}

pub(crate) fn family(db: &DB, space: Space) -> Result<&ColumnFamily, StoreFault> {
    db.cf_handle(space.name()).ok_or_else(|| missing(space))
}

pub(crate) fn add_to(batch: &mut WriteBatch, db: &DB, ops: &[Op]) -> Result<(), StoreFault> {
    for op in ops {
        match op {
            Op::Put { space, key, value } => batch.put_cf(family(db, *space)?, key, value),
            Op::Delete { space, key } => batch.delete_cf(family(db, *space)?, key),
            Op::DeleteRange { space, from, until } => {
                batch.delete_range_cf(family(db, *space)?, from.as_slice(), until.as_slice());
            }
        }
    }
    Ok(())
}

/// One of RocksDB's figures of a space, in bytes.
fn size(db: &DB, space: Space, name: &CStr) -> Result<u64, StoreFault> {
    let size = db.property_int_value_cf(family(db, space)?, name);
    Ok(size.map_err(io("asking for sizes"))?.unwrap_or(0))
}

/// Adds what one database holds.
fn add_held(db: &DB, held: &mut Held) -> Result<(), StoreFault> {
    let add = |sum: &mut u64, space, name| {
        *sum = sum.saturating_add(size(db, space, name)?);
        Ok(())
    };
    for space in Space::ALL {
        add(&mut held.memtables, space, properties::CUR_SIZE_ALL_MEM_TABLES)?;
        add(&mut held.readers, space, properties::ESTIMATE_TABLE_READERS_MEM)?;
    }
    // One for all families.
    add(&mut held.cache, Space::ALL[0], properties::BLOCK_CACHE_USAGE)
}

fn collect(
    pairs: impl Iterator<Item = Result<(Box<[u8]>, Box<[u8]>), rocksdb::Error>>,
    limit: usize,
    bytes_max: usize,
) -> Result<Vec<Pair>, StoreFault> {
    let mut found = Vec::new();
    let mut bytes = 0usize;
    for pair in pairs.take(limit) {
        let (key, value) = pair.map_err(io("reading"))?;
        if bytes >= bytes_max && !found.is_empty() {
            break;
        }
        bytes = bytes.saturating_add(value.len());
        found.push((key.into_vec(), value.into_vec()));
    }
    Ok(found)
}

fn until_option(until: &[u8]) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_iterate_upper_bound(until);
    options
}

impl Read for Database {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        self.get_cf(family(self, space)?, key).map_err(io("reading"))
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        until: &[u8],
        limit: usize,
        bytes_max: usize,
    ) -> Result<Vec<Pair>, StoreFault> {
        let mode = IteratorMode::From(from, Direction::Forward);
        collect(
            self.iterator_cf_opt(family(self, space)?, until_option(until), mode),
            limit,
            bytes_max,
        )
    }

    fn last(&self, space: Space, from: &[u8], until: &[u8]) -> Result<Option<Pair>, StoreFault> {
        let mut iterator = self.iterator_cf_opt(family(self, space)?, until_option(until), IteratorMode::End);
        let pair = iterator.next().transpose().map_err(io("reading"))?;
        Ok(pair
            .filter(|(key, _)| **key >= *from)
            .map(|(key, value)| (key.into_vec(), value.into_vec())))
    }
}

/// The database as it was.
struct AsOf<'a> {
    db: &'a DB,
    snapshot: rocksdb::Snapshot<'a>,
}

impl Read for AsOf<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        self.snapshot
            .get_cf(family(self.db, space)?, key)
            .map_err(io("reading"))
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        until: &[u8],
        limit: usize,
        bytes_max: usize,
    ) -> Result<Vec<Pair>, StoreFault> {
        let mode = IteratorMode::From(from, Direction::Forward);
        let family = family(self.db, space)?;
        collect(
            self.snapshot.iterator_cf_opt(family, until_option(until), mode),
            limit,
            bytes_max,
        )
    }

    fn last(&self, space: Space, from: &[u8], until: &[u8]) -> Result<Option<Pair>, StoreFault> {
        let family = family(self.db, space)?;
        let mut iterator = self
            .snapshot
            .iterator_cf_opt(family, until_option(until), IteratorMode::End);
        let pair = iterator.next().transpose().map_err(io("reading"))?;
        Ok(pair
            .filter(|(key, _)| **key >= *from)
            .map(|(key, value)| (key.into_vec(), value.into_vec())))
    }
}

impl Read for RocksEngine {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        Read::get(&*self.db, space, key)
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        until: &[u8],
        limit: usize,
        bytes_max: usize,
    ) -> Result<Vec<Pair>, StoreFault> {
        self.db.scan(space, from, until, limit, bytes_max)
    }

    fn last(&self, space: Space, from: &[u8], until: &[u8]) -> Result<Option<Pair>, StoreFault> {
        self.db.last(space, from, until)
    }
}

impl Engine for RocksEngine {
    fn snapshot(&self) -> Box<dyn Read + '_> {
        Box::new(AsOf {
            db: &self.db,
            snapshot: self.db.snapshot(),
        })
    }

    fn write(&self, ops: Vec<Op>) -> Result<(), StoreFault> {
        self.queue.healthy()?;
        let mut batch = WriteBatch::default();
        add_to(&mut batch, &self.db, &ops)?;
        self.db.write(batch).map_err(io("writing"))
    }

    fn write_durably(&self, ops: Vec<Op>) -> Result<(), StoreFault> {
        self.write(ops)?;
        self.queue.sync_now()
    }

    fn submit(&self, ops: Vec<Op>, durability: Durability, done: Done) {
        self.queue.submit(ops, durability, done);
    }

    fn freeze(&self, index: u64) -> Result<Arc<dyn Read>, StoreFault> {
        self.marks.freeze(&self.db, index)
    }

    fn frozen(&self) -> Result<Vec<Kept>, StoreFault> {
        Ok(self.marks.all())
    }

    fn forget_frozen(&self, upto: u64, except: &[u64]) -> Result<(), StoreFault> {
        self.marks.forget(upto, except);
        Ok(())
    }

    fn free_bytes(&self) -> Result<u64, StoreFault> {
        let stat = nix::sys::statvfs::statvfs(&self.path).map_err(|errno| StoreFault::Io {
            operation: "asking for free space",
            detail: errno.desc().into(),
        })?;
        Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
    }

    fn space_bytes(&self, space: Space) -> Result<u64, StoreFault> {
        let files = size(&self.db, space, properties::TOTAL_SST_FILES_SIZE)?;
        let memory = size(&self.db, space, properties::CUR_SIZE_ALL_MEM_TABLES)?;
        Ok(files.saturating_add(memory))
    }

    fn held(&self) -> Result<Held, StoreFault> {
        let mut held = Held::default();
        add_held(&self.db, &mut held)?;
        self.marks.add_held(&mut held)?;
        Ok(held)
    }

    fn syncs(&self) -> u64 {
        self.queue.syncs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With each key whole in the index it was 1.4 per cent here, and most of what the memory of nodes grew by.
    #[test]
    fn index_and_filter_of_files_stay_below_half_a_per_cent_of_what_they_hold() {
        const RECORDS: u64 = 64 * 1024;
        const BYTES: u64 = 1024;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let db = DB::open_cf_descriptors(&database_options(), &path, descriptors(BLOCK_CACHE_BYTES)).unwrap();
        let state = family(&db, Space::State).unwrap();
        for record in 0..RECORDS {
            // Fifty versions of each secret.
            let mut key = vec![7; 24];
            key.extend((record / 50).to_be_bytes());
            key.extend((record % 50).to_be_bytes());
            db.put_cf(state, key, [7; BYTES as usize]).unwrap();
        }
        db.flush_cf(state).unwrap();
        let mut held = Held::default();
        add_held(&db, &mut held).unwrap();
        assert!(held.readers > 0, "{held:?}");
        assert!(held.readers < RECORDS * BYTES / 200, "{held:?}");
    }
}
