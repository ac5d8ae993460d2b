//! What the cluster agrees on: `apply(records, entry) → reply and effects`, pure and deterministic.
//!
//! Raft orders entries; it does not author them. Every node checks every signature, sequence and policy here, alike, and
//! a command that fails a check is a recorded no-op. Apply sees only state, log time and the fields inside the signed
//! command: no clock, no source, no randomness. Data stands behind [`view::View`], not in memory; what is kept in memory
//! is derived ([`Machine`]: the compiled policies, the nodes' current boot keys).
#![forbid(unsafe_code)]

mod access;
mod anchors;
mod clock;
mod commands;
mod dealings;
pub mod entry;
mod identity;
pub mod keys;
pub mod levels;
mod machine;
mod metadata;
mod names;
mod policies;
pub mod query;
mod secrets;
#[cfg(feature = "testing")]
#[expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a fixture: what it makes is right, or the test fails"
)]
pub mod testing;
pub mod view;

/// The generated records (`proto/symbolon/state/records.proto`).
#[expect(missing_docs, reason = "generated; the .proto file documents each field")]
pub mod records {
    include!(concat!(env!("OUT_DIR"), "/symbolon.state.rs"));
}

pub use access::{Access, FIRST_TENANT_NAME, LocalContext, Subject};
pub use clock::Clock;
pub use commands::{Rules, told_without_record};
pub use entry::{Entry, Kind};
pub use machine::{Applied, BootView, Effect, Machine, check_boot};
pub use names::{NameEntry, names_of};
pub use secrets::{dealing_of, sharing_of};
pub use view::{Fault, Records, View};
