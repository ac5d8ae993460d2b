//! What a production node does to its own process: no core dumps, not traceable, keys never swapped out.

use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

/// The operating system refused one of them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockdownError {
    /// Core dumps.
    #[error("core dumps cannot be switched off: {0}")]
    CoreDumps(nix::Error),
    /// Locked memory.
    #[error("memory cannot be locked: {0}; raise LimitMEMLOCK= in the unit, or `ulimit -l`")]
    Memory(nix::Error),
}

/// Switches core dumps off, forbids tracing by others of the same user, and locks all memory, present and future, so
/// that no key reaches swap. Pages are locked as they are first used: a thread's stack or an arena costs what it holds,
/// and not what it reserves.
pub(crate) fn production() -> Result<(), LockdownError> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(LockdownError::CoreDumps)?;
    prctl::set_dumpable(false).map_err(LockdownError::CoreDumps)?;
    let as_used = MlockAllFlags::from_bits_retain(nix::libc::MCL_ONFAULT);
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | as_used).map_err(LockdownError::Memory)
}
