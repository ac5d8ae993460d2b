//! How the cluster agrees: openraft over opaque bytes, a [`StateMachine`] that applies them, and a chain over
//! everything that was applied.
//!
//! Raft orders and replicates; it does not author, and this crate cannot tell a secret from a membership change. It
//! guards three things of its own:
//!
//! * **Durability before acknowledgement.** An entry counts only after the [`Storage`] has reported it durable.
//! * **One history.** Every applied entry extends [`chain`]; two nodes with one head have applied the same entries.
//! * **Freshness.** [`Progress`] tells, without a leader, up to where a node must have applied before it may answer.
//!
//! Peers are members of the cluster and may still be malicious: what a frame claims is checked before openraft, which
//! trusts its peers, sees it ([`wire`](frame)).
//!
//! Specification: `custody.md`, "A log that a bad leader cannot bend" and "Freshness without the leader".
#![forbid(unsafe_code)]

mod allowance;
mod apply;
pub mod chain;
mod entry;
pub mod frame;
mod gate;
mod handle;
mod known;
pub mod limits;
mod log;
mod machine;
#[cfg(feature = "sabotage")]
pub mod malice;
mod network;
mod progress;
mod receive;
mod records;
mod runtime;
mod settings;
mod snapshot;
mod storage;
mod sync;
mod tail;
mod takeover;
#[cfg(feature = "testing")]
pub mod testing;
mod transport;
mod types;

pub use allowance::Allowance;
pub use entry::applied_index;
pub use gate::Standpoint;
pub use handle::{AdmitError, Consensus, InitializeError, ProposeError, Proposed, StartError, Status, StatusWatch};
pub use known::Known;
pub use machine::{Committed, Fatal, Outcome, StateMachine};
pub use progress::{NotReached, Progress, Sample, Unapplied};
pub use records::{Changes, NameKey, Record, Records, View};
pub use runtime::{Runtime, SeedGuard};
pub use settings::Settings;
pub use snapshot::{NoSnapshots, SnapshotGuard, SnapshotMeta, SnapshotRefused};
pub use storage::{Done, Durability, Frozen, Loaded, LogOp, Slot, Staging, Storage, StoreFault, Taking};
pub use transport::{Call, Transport, TransportError};
pub use types::{KIND_APPLICATION, KIND_BLANK, KIND_MEMBERSHIP, Payload};
