//! RocksDB's errors in our words. They are strings; only their beginnings are stable.

use symbolon_consensus::StoreFault;

use crate::engine::Space;

/// Maps an error of `operation`.
pub(crate) fn io(operation: &'static str) -> impl Fn(rocksdb::Error) -> StoreFault {
    move |error| {
        let message = error.to_string();
        if message.contains("No space left on device") {
            return StoreFault::DiskFull {
                free_bytes: 0,
                reserve_bytes: 0,
            };
        }
        match error.kind() {
            rocksdb::ErrorKind::Corruption => StoreFault::Corrupt {
                what: "database file",
                kind: 0,
            },
            rocksdb::ErrorKind::IOError if message.contains("lock") || message.contains("LOCK") => StoreFault::Locked,
            _ => StoreFault::Io {
                operation,
                detail: message.into(),
            },
        }
    }
}

/// Maps an error of the file system.
pub(crate) fn file(operation: &'static str) -> impl Fn(std::io::Error) -> StoreFault {
    move |error| {
        if error.kind() == std::io::ErrorKind::StorageFull {
            return StoreFault::DiskFull {
                free_bytes: 0,
                reserve_bytes: 0,
            };
        }
        StoreFault::Io {
            operation,
            detail: error.to_string().into(),
        }
    }
}

/// A column family that the database was opened with is not there.
pub(crate) fn missing(space: Space) -> StoreFault {
    StoreFault::Corrupt {
        what: space.name(),
        kind: 0,
    }
}
