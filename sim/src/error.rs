//! Why a run could not be played.

use symbolon_consensus::{Fatal, StartError, StoreFault};
use symbolon_custody::fragments::HolderError;
use symbolon_store::AuditFault;

/// A node does not start from what its disk holds.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The store.
    #[error("the store does not open: {0}")]
    Store(#[from] StoreFault),
    /// The state.
    #[error("the state cannot be read: {0}")]
    State(#[from] symbolon_state::Fault),
    /// The audit log.
    #[error("the audit log does not open: {0}")]
    Audit(#[from] AuditFault),
    /// An audit leaf.
    #[error("audit leaf {index} does not decode")]
    Leaf {
        /// Which.
        index: u64,
    },
    /// Agreement.
    #[error("agreement does not start: {0}")]
    Start(#[from] StartError),
    /// The keys of the epoch.
    #[error(transparent)]
    Holder(#[from] HolderError),
}

impl BootError {
    /// Whether the disk is to blame, so that the node will start once it is sound and has room.
    pub(crate) fn of_the_disk(&self) -> bool {
        let fault = match self {
            Self::Store(fault)
            | Self::Audit(AuditFault::Store(fault))
            | Self::Start(StartError::Application(Fatal::Store(fault))) => fault,
            _ => return false,
        };
        matches!(
            fault,
            StoreFault::DiskFull { .. } | StoreFault::Io { .. } | StoreFault::Stopped
        )
    }
}

/// A run could not be played; that itself is a finding.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The runtime.
    #[error("the runtime does not start: {0}")]
    Runtime(#[from] std::io::Error),
    /// The fixtures' roster.
    #[error("the roster is no sharing: {0}")]
    Sharing(#[from] symbolon_crypto::dealing::BadSharing),
    /// A node.
    #[error("node {node} does not start: {reason}")]
    Boot {
        /// Which.
        node: u16,
        /// Why.
        reason: BootError,
    },
    /// Something that must happen did not.
    #[error("{what} did not happen within {within_s} s of virtual time")]
    Late {
        /// What.
        what: &'static str,
        /// How long was waited.
        within_s: u64,
    },
}
