//! Offline copies of a stopped node's store.
//!
//! A backup is a RocksDB checkpoint beside a copy of nothing else: kept states are made again by the next mark. It is as
//! sealed as the store and opens only with the node's state key. A restored node is behind, and may have forgotten
//! entries that it once acknowledged: it must rejoin the cluster before it counts again.

use std::path::{Path, PathBuf};

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{DB, Options};
use symbolon_consensus::StoreFault;

use crate::limits::BLOCK_CACHE_BYTES;
use crate::rocks::{DATABASE, database_options, descriptors};

/// Why a backup was not made or not put back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store, which another process may have open.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// There is no store there.
    #[error("{path} holds no store")]
    NoStore {
        /// Where it should be.
        path: PathBuf,
    },
    /// The target exists. Nothing is ever overwritten.
    #[error("{path} exists; give a path that does not")]
    TargetExists {
        /// The target.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Copies the store under `store` to `to`, which must not exist. On one file system the copy shares the files.
///
/// # Errors
/// [`BackupError`]; the store is untouched, and a partial target removed.
pub fn backup(store: &Path, to: &Path) -> Result<(), BackupError> {
    let database = present(store)?;
    absent(to)?;
    std::fs::create_dir_all(to).map_err(file(to))?;
    let copied = || -> Result<(), StoreFault> {
        let mut options = database_options();
        options.create_if_missing(false);
        // Opening takes the lock that a running node holds.
        let db = DB::open_cf_descriptors(&options, &database, descriptors(BLOCK_CACHE_BYTES))
            .map_err(crate::rocks::fault::io("opening the store"))?;
        Checkpoint::new(&db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(to.join(DATABASE)))
            .map_err(crate::rocks::fault::io("copying the store"))
    };
    copied().map_err(|fault| {
        if let Err(error) = std::fs::remove_dir_all(to) {
            tracing::warn!(%error, "a partial backup could not be removed");
        }
        BackupError::Store(fault)
    })
}

/// Puts the backup under `from` back as a store under `store`, which must not exist.
///
/// # Errors
/// [`BackupError`]; a partial target is removed.
pub fn restore(from: &Path, store: &Path) -> Result<(), BackupError> {
    let database = present(from)?;
    absent(store)?;
    // A backup that is in use is no backup; the same lock says so.
    DB::open_cf_for_read_only(&Options::default(), &database, ["default"], false)
        .map_err(crate::rocks::fault::io("opening the backup"))?;
    let target = store.join(DATABASE);
    copy_directory(&database, &target).inspect_err(|_| {
        if let Err(error) = std::fs::remove_dir_all(store) {
            tracing::warn!(%error, "a partial store could not be removed");
        }
    })
}

fn present(store: &Path) -> Result<PathBuf, BackupError> {
    let database = store.join(DATABASE);
    if database.join("CURRENT").is_file() {
        Ok(database)
    } else {
        Err(BackupError::NoStore { path: store.to_owned() })
    }
}

fn absent(target: &Path) -> Result<(), BackupError> {
    if target.exists() {
        Err(BackupError::TargetExists {
            path: target.to_owned(),
        })
    } else {
        Ok(())
    }
}

fn file(path: &Path) -> impl Fn(std::io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::File {
        path: path.clone(),
        source,
    }
}

/// Copies files rather than linking them: a store must not share files with what is to outlive it.
fn copy_directory(from: &Path, to: &Path) -> Result<(), BackupError> {
    std::fs::create_dir_all(to).map_err(file(to))?;
    for entry in std::fs::read_dir(from).map_err(file(from))? {
        let source = entry.map_err(file(from))?.path();
        let Some(name) = source.file_name() else { continue };
        if name == "LOCK" {
            continue;
        }
        let target = to.join(name);
        std::fs::copy(&source, &target).map_err(file(&source))?;
        std::fs::File::open(&target)
            .and_then(|copied| copied.sync_all())
            .map_err(file(&target))?;
    }
    std::fs::File::open(to)
        .and_then(|directory| directory.sync_all())
        .map_err(file(to))
}
