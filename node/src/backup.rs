//! Offline backup: the store and the wrapped keys of a stopped node. It opens only with this node's token, and a restored
//! node has forgotten what it acknowledged since; `docs/operations/backup.md` says when that is safe.

use crate::config::Config;
use std::path::{Path, PathBuf};
use symbolon_store::backup::{self, BackupError};

/// Why a backup was not made or not put back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OfflineError {
    /// The store.
    #[error(transparent)]
    Store(#[from] BackupError),
    /// The wrapped keys.
    #[error("{}: {reason}", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
}

fn copy(from: &Path, to: &Path) -> Result<(), OfflineError> {
    let failed = |reason| OfflineError::Keys {
        path: from.to_owned(),
        reason,
    };
    std::fs::copy(from, to).map_err(failed)?;
    std::fs::File::open(to).and_then(|file| file.sync_all()).map_err(failed)
}

/// Copies a stopped node's data to `to`.
pub(crate) fn backup(config: &Config, to: &Path) -> Result<(), OfflineError> {
    backup::backup(&config.data.join("db"), &to.join("db"))?;
    copy(&config.data.join("keys"), &to.join("keys"))?;
    println!("copied node {} to {}", config.node, to.display());
    println!(
        "It opens only with this node's token. After the epoch's keys are destroyed it cannot be restored, and no"
    );
    println!("backup survives the loss of more than n - t tokens.");
    Ok(())
}

/// Puts a backup back as a stopped node's data.
pub(crate) fn restore(config: &Config, from: &Path) -> Result<(), OfflineError> {
    crate::token::make_folder(&config.data).map_err(|reason| OfflineError::Keys {
        path: config.data.clone(),
        reason,
    })?;
    backup::restore(&from.join("db"), &config.data.join("db"))?;
    copy(&from.join("keys"), &config.data.join("keys"))?;
    println!("restored node {} from {}", config.node, from.display());
    println!("It has forgotten what it acknowledged since the backup: start it only while the other nodes are up.");
    Ok(())
}
