//! This node's audit log as the gate needs it, and its checkpoints.

use crate::archive::Archive;
use crate::config::AuditMode;
use crate::member::Boot;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use symbolon_crypto::Hash;
use symbolon_crypto::checkpoint::{BadCheckpoint, Checkpoint};
use symbolon_crypto::witness::TreeHead;
use symbolon_custody::gate::{AuditFailed, AuditLog};
use symbolon_store::{AuditFault, SavedCheckpoint, StoreFault};
use symbolon_wire::audit::origin;

/// Until when what was written without waiting for the disk is durable: the records that a power failure may take.
const SYNC_WITHIN: Duration = Duration::from_millis(50);

/// The audit log of one node.
pub(crate) struct NodeAudit {
    log: symbolon_store::AuditLog,
    mode: AuditMode,
    /// A sync is on its way that covers all that is written until it begins.
    sync_awaited: Arc<AtomicBool>,
    archive: Option<Archive>,
}

/// Entries of the log, as far as they can be had.
pub(crate) enum Entries {
    /// As logged.
    Leaves(Vec<Bytes>),
    /// In the archive alone, and not there now: their hashes.
    Archived(Vec<Bytes>),
}

/// A checkpoint could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    /// The log.
    #[error(transparent)]
    Log(#[from] AuditFault),
    /// The note.
    #[error(transparent)]
    Note(#[from] BadCheckpoint),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl NodeAudit {
    /// Over an open log.
    pub(crate) fn new(log: symbolon_store::AuditLog, mode: AuditMode, archive: Option<Archive>) -> Self {
        Self {
            log,
            mode,
            sync_awaited: Arc::default(),
            archive,
        }
    }

    /// Where old entries go.
    pub(crate) fn archive(&self) -> Option<&Archive> {
        self.archive.as_ref()
    }

    /// Durable leaves.
    pub(crate) fn durable(&self) -> u64 {
        let size = self.log.size();
        #[cfg(feature = "sabotage")]
        let size = crate::sabotage::shown_size(size);
        size
    }

    /// Entries from `from` on, at most `limit`; fewer where they are large, or not all in one place.
    pub(crate) fn entries(&self, from: u64, limit: u64) -> Result<Entries, AuditFault> {
        match self.kept(from, limit) {
            Err(AuditFault::Forgotten { kept_from }) => {
                let hashes = self.log.hashes(from, count(limit.min(kept_from - from)))?;
                let archive = self.archive.as_ref();
                let leaves = archive.map_or_else(Vec::new, |archive| archive.entries(from, &hashes));
                Ok(if leaves.is_empty() {
                    Entries::Archived(self::hashes(&hashes))
                } else {
                    Entries::Leaves(leaves)
                })
            }
            kept => kept.map(Entries::Leaves),
        }
    }

    /// The same of those that are in the database.
    pub(crate) fn kept(&self, from: u64, limit: u64) -> Result<Vec<Bytes>, AuditFault> {
        #[cfg(feature = "sabotage")]
        let limit = limit.min(self.durable().saturating_sub(from));
        let leaves = self.log.leaves(from, count(limit))?;
        Ok(leaves.into_iter().map(Bytes::from).collect())
    }

    /// The first entry that is in the database.
    pub(crate) fn kept_from(&self) -> u64 {
        self.log.kept_from()
    }

    /// Hashes of entries, whole tiles of them.
    pub(crate) fn hashes(&self, from: u64, limit: u64) -> Result<Vec<Hash>, AuditFault> {
        self.log.hashes(from, count(limit))
    }

    /// Takes entries out of the database; returns the first that is left.
    pub(crate) async fn forget(&self, until: u64) -> Result<u64, AuditFault> {
        self.log.forget(until).await
    }

    /// A checkpoint over all that is durable, signed by this boot, and kept: after a restart the log must still have it.
    pub(crate) async fn checkpoint(&self, boot: &Boot) -> Result<Bytes, CheckpointError> {
        let size = self.durable();
        if let Some(saved) = self.log.checkpoint()?
            && saved.size == size
            && size > 0
        {
            return Ok(saved.note);
        }
        let root = self.log.root(size)?;
        let note = note(boot, size, root)?;
        self.log
            .save_checkpoint(&SavedCheckpoint {
                size,
                root,
                note: note.clone(),
            })
            .await?;
        Ok(note)
    }

    /// A checkpoint over the first `size` leaves, signed by this boot; not kept.
    pub(crate) fn note_at(&self, boot: &Boot, size: u64) -> Result<(Bytes, TreeHead), CheckpointError> {
        let root = self.log.root(size)?;
        Ok((note(boot, size, root)?, TreeHead { size, root }))
    }

    /// The same of the tree that a checkpoint shown with it goes on from.
    pub(crate) fn start_at(&self, boot: &Boot, size: u64) -> Result<Bytes, CheckpointError> {
        let root = self.log.root(size)?;
        #[cfg(feature = "sabotage")]
        let root = crate::sabotage::earlier_root(root);
        note(boot, size, root)
    }

    /// Whether the log begins with this tree.
    pub(crate) fn has(&self, head: TreeHead) -> Result<bool, AuditFault> {
        #[cfg(feature = "sabotage")]
        if crate::sabotage::cuts_audit() {
            return Ok(true);
        }
        Ok(head.size <= self.durable() && self.log.root(head.size)? == head.root)
    }

    /// Proof that the tree of `new` leaves goes on from that of `old`.
    pub(crate) fn consistency(&self, old: u64, new: u64) -> Result<Vec<Bytes>, AuditFault> {
        Ok(hashes(&self.log.consistency(old, new)?))
    }

    /// Proof that leaf `index` is in the tree of `size` leaves.
    pub(crate) fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Bytes>, AuditFault> {
        Ok(hashes(&self.log.inclusion(index, size)?))
    }

    /// Makes durable what was written, and what will have been until then, by one sync.
    fn sync_soon(&self) {
        if self.sync_awaited.swap(true, Ordering::AcqRel) {
            return;
        }
        let (log, awaited) = (self.log.clone(), Arc::clone(&self.sync_awaited));
        tokio::spawn(async move {
            tokio::time::sleep(SYNC_WITHIN).await;
            // Before the sync: what is written from here on needs another.
            awaited.store(false, Ordering::Release);
            if let Err(fault) = log.sync().await {
                tracing::error!(%fault, "the audit log takes no more records");
            }
        });
    }

    /// Keeps a note with t cosignatures.
    pub(crate) async fn save_cosigned(&self, head: TreeHead, note: Bytes) -> Result<(), AuditFault> {
        let TreeHead { size, root } = head;
        self.log.save_cosigned(&SavedCheckpoint { size, root, note }).await
    }

    /// The newest of them.
    pub(crate) fn cosigned(&self) -> Result<Option<SavedCheckpoint>, AuditFault> {
        self.log.cosigned()
    }
}

fn note(boot: &Boot, size: u64, root: Hash) -> Result<Bytes, CheckpointError> {
    let name = origin(boot.signer.cluster, boot.signer.node);
    Ok(Checkpoint::new(&name, size, root)?.sign(&boot.checkpoint).into())
}

fn count(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

fn hashes(proof: &[Hash]) -> Vec<Bytes> {
    proof.iter().map(|hash| Bytes::copy_from_slice(hash)).collect()
}

impl AuditLog for NodeAudit {
    async fn append(&self, leaves: Vec<Bytes>) -> Result<u64, AuditFailed> {
        let failed = |fault: StoreFault| AuditFailed {
            reason: fault.to_string(),
        };
        #[cfg(feature = "sabotage")]
        if crate::sabotage::drops_leaves() {
            return Ok(self.log.size());
        }
        let leaves: Vec<Vec<u8>> = leaves.into_iter().map(|leaf| leaf.to_vec()).collect();
        match self.mode {
            AuditMode::Durable => {
                let appended = self.log.append(&leaves).map_err(failed)?;
                let first = appended.first;
                appended.durable().await.map_err(failed)?;
                Ok(first)
            }
            AuditMode::Buffered => {
                let first = self.log.write(&leaves).map_err(failed)?;
                self.sync_soon();
                Ok(first)
            }
        }
    }
}
