//! Kept states: RocksDB checkpoints, which share the database's files by hard links.
//!
//! ```text
//! <store>/db                    the database
//! <store>/marks/<index>         a checkpoint of it
//! <store>/marks/<index>.part…   one that is not finished, or half removed; removed when the store opens
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{DB, Options};
use symbolon_consensus::StoreFault;

use super::fault::{file, io};
use super::folder::{make_durably, sync_directory};
use super::open::Database;
use super::{add_held, descriptors};
use crate::engine::{Held, Kept, Pair, Read, Space};
use crate::limits::{FROZEN_CACHE_BYTES, FROZEN_OPEN_FILES_MAX};
use crate::sync::lock;

/// Where kept states lie under a store's directory.
pub(crate) const MARKS: &str = "marks";
const PART: &str = "part";

pub(crate) struct Marks {
    directory: PathBuf,
    kept: Mutex<BTreeMap<u64, Arc<Mark>>>,
}

/// One kept state. Its files go with the last reader once it is no longer wanted.
struct Mark {
    db: Database,
    path: PathBuf,
    unwanted: AtomicBool,
}

impl Drop for Mark {
    fn drop(&mut self) {
        if self.unwanted.load(Ordering::Acquire)
            && let Err(fault) = remove(&self.path)
        {
            // Tried again when the store opens, or keeps this index again.
            tracing::warn!(%fault, "a kept state could not be removed");
        }
    }
}

/// Removes a kept state: first, durably, its name. A crash in the middle would leave half of it under that name, and the
/// store would refuse to open.
fn remove(path: &Path) -> Result<(), StoreFault> {
    let part = path.with_extension(PART);
    if part.exists() {
        std::fs::remove_dir_all(&part).map_err(file("removing a kept state"))?;
    }
    std::fs::rename(path, &part).map_err(file("removing a kept state"))?;
    if let Some(directory) = path.parent() {
        sync_directory(directory)?;
    }
    std::fs::remove_dir_all(&part).map_err(file("removing a kept state"))
}

/// Whether a folder was not finished, by us or by RocksDB, which makes checkpoints under a further name.
fn is_part(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.split_once('.').is_some_and(|(_, rest)| rest.starts_with(PART))
}

fn open(path: PathBuf) -> Result<Arc<Mark>, StoreFault> {
    let mut options = Options::default();
    options.set_max_open_files(FROZEN_OPEN_FILES_MAX);
    // It keeps no log of its own opening.
    options.set_log_level(rocksdb::LogLevel::Fatal);
    let db = DB::open_cf_descriptors_read_only(&options, &path, descriptors(FROZEN_CACHE_BYTES), false)
        .map_err(io("opening a kept state"))?;
    Ok(Arc::new(Mark {
        db: db.into(),
        path,
        unwanted: AtomicBool::new(false),
    }))
}

impl Marks {
    pub(crate) fn open(store: &Path) -> Result<Self, StoreFault> {
        let directory = store.join(MARKS);
        make_durably(&directory)?;
        let mut kept = BTreeMap::new();
        for entry in std::fs::read_dir(&directory).map_err(file("reading a directory"))? {
            let path = entry.map_err(file("reading a directory"))?.path();
            let index = path
                .file_name()
                .and_then(|name| name.to_str())
                .and_then(|name| name.parse::<u64>().ok());
            match index {
                Some(index) => {
                    kept.insert(index, open(path)?);
                }
                None if is_part(&path) => {
                    std::fs::remove_dir_all(&path).map_err(file("removing an unfinished kept state"))?;
                }
                None => {}
            }
        }
        Ok(Self {
            directory,
            kept: Mutex::new(kept),
        })
    }

    pub(crate) fn freeze(&self, db: &DB, index: u64) -> Result<Arc<dyn Read>, StoreFault> {
        let mut kept = lock(&self.kept);
        if let Some(mark) = kept.get(&index) {
            return Ok(Arc::clone(mark) as Arc<dyn Read>);
        }
        let path = self.directory.join(index.to_string());
        let part = self.directory.join(format!("{index}.{PART}"));
        if path.exists() {
            remove(&path)?;
        }
        if part.exists() {
            std::fs::remove_dir_all(&part).map_err(file("removing an unfinished kept state"))?;
        }
        Checkpoint::new(db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(&part))
            .map_err(io("keeping a state"))?;
        std::fs::rename(&part, &path).map_err(file("keeping a state"))?;
        sync_directory(&self.directory)?;
        let mark = open(path)?;
        kept.insert(index, Arc::clone(&mark));
        Ok(mark)
    }

    pub(crate) fn all(&self) -> Vec<Kept> {
        lock(&self.kept)
            .iter()
            .map(|(index, mark)| (*index, Arc::clone(mark) as Arc<dyn Read>))
            .collect()
    }

    pub(crate) fn add_held(&self, held: &mut Held) -> Result<(), StoreFault> {
        lock(&self.kept).values().try_for_each(|mark| add_held(&mark.db, held))
    }

    pub(crate) fn forget(&self, upto: u64, except: &[u64]) {
        let mut kept = lock(&self.kept);
        let old = kept.keys().copied().filter(|index| *index <= upto);
        let unwanted: Vec<u64> = old.filter(|index| !except.contains(index)).collect();
        for mark in unwanted.iter().filter_map(|index| kept.remove(index)) {
            mark.unwanted.store(true, Ordering::Release);
        }
    }
}

impl Read for Mark {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        Read::get(&self.db, space, key)
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::limits::BLOCK_CACHE_BYTES;
    use crate::rocks::{database_options, family};

    /// The nodes' memory grew by 34 MiB with the first mark.
    #[test]
    fn a_kept_state_that_is_read_whole_holds_little_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let db = DB::open_cf_descriptors(&database_options(), &path, descriptors(BLOCK_CACHE_BYTES)).unwrap();
        let state = family(&db, Space::State).unwrap();
        for number in 0_u16..16 * 1024 {
            db.put_cf(state, number.to_be_bytes(), [7; 1024]).unwrap();
        }
        let mut held = Held::default();
        add_held(&db, &mut held).unwrap();
        assert!(held.memtables > 0 && held.cache < BLOCK_CACHE_BYTES as u64, "{held:?}");
        let marks = Marks::open(folder.path()).unwrap();
        marks.freeze(&db, 1).unwrap();
        let mark = Arc::clone(&lock(&marks.kept)[&1]);
        let read = mark.scan(Space::State, &[], &[0xff], usize::MAX, usize::MAX).unwrap();
        assert_eq!(read.len(), 16 * 1024);
        let mut held = Held::default();
        marks.add_held(&mut held).unwrap();
        // Blocks that are in use stand outside the limit.
        assert!(held.cache <= 2 * FROZEN_CACHE_BYTES as u64, "{held:?}");
        assert!(held.readers > 0, "{held:?}");
    }
}
