//! Disks, clocks and tokens that misbehave on demand. For tests alone; nothing that is shipped depends on it.
//!
//! | module | what it does |
//! |---|---|
//! | [`shim`] | puts a shim before a process's disk or clock, or before a node's token |
//! | [`journal`] | reads what that process did to its disk |
//! | [`disk`] | what is left of it after a crash: of the process, or of the power |
//!
//! The shims are C (`shims/`), because they stand in for functions of the C library, one of which takes a variable number
//! of arguments. They run inside the process under test and never inside a release.
#![forbid(unsafe_code)]

pub mod disk;
pub mod journal;
pub mod shim;

pub use disk::{Disk, Keep};
pub use journal::{Event, JournalError};
pub use shim::{ClockShim, DiskFault, DiskShim, TokenFault, TokenShim};
