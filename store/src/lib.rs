//! What a node keeps: RocksDB behind the barrier, and its twin in memory that loses what was not synced.
//!
//! | module | keeps |
//! |---|---|
//! | [`barrier`] | every value sealed, every name hashed, under keys that come from the state key |
//! | [`Store`] | log, state, chain, snapshots (for `symbolon-consensus`), and records of the node's own ([`Local`]) |
//! | [`AuditLog`] | the node's audit log: leaves, tiles, the latest checkpoint |
//! | [`backup`] | offline copies |
//!
//! All of it lies in one database with one write-ahead log, so that one sync makes a log entry and an audit leaf
//! durable together. Syncs are grouped: whatever arrives while one is under way shares the next.
//!
//! The store decides nothing. Specification: `custody.md`, "Barrier".
#![forbid(unsafe_code)]

mod audit;
pub mod backup;
pub mod barrier;
mod engine;
mod frozen;
mod keys;
pub mod limits;
mod local;
mod memory;
mod options;
mod recent;
mod rocks;
mod sabotage;
mod staging;
mod store;
mod sync;
mod view;

pub use audit::{Appended, AuditFault, AuditLog, SavedCheckpoint};
pub use engine::Held;
pub use local::{Local, LocalOp};
pub use memory::MemoryDisk;
pub use options::Options;
pub use rocks::open::all_closed;
pub use store::{Store, StoreView};
pub use symbolon_consensus::{Durability, StoreFault};
