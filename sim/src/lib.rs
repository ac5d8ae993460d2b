//! `state`, `custody` and `consensus` under one seed, with faults.
//!
//! One seed makes one run: three nodes (the real agreement, state machine, release gate, fragments and heads, over the
//! real store's twin in memory), agents that write and read, operators that grant and revoke, and whatever goes wrong:
//! power cuts that lose what was not synced, cut, slow, lossy and repeating ways, slow disks, wrong clocks. Time is
//! virtual, everything runs on one thread, all randomness comes from the seed; so a seed that fails, fails again.
//!
//! | module | is |
//! |---|---|
//! | [`run`] | one run, from genesis to the verdict |
//! | [`campaign`] | many of them |
//! | [`check`] | the invariants, over the [`history`] |
//! | [`faults`] | what goes wrong |
//! | [`malice`] | a leader that lies |
//! | [`clocks`] | clocks that jump or stand still |
//! | [`schedule`] | one follower held back, at every point of a policy change |
//! | `member` | a node: `symbolon-node` without sockets, tokens and system clocks |
//! | `agent` | clients and operators |
//! | `net`, `cluster`, `clock`, `dice` | network, machines, time, randomness |
//!
//! What is left out: TLS and QUIC (their randomness cannot be seeded; they are tested through real processes), the
//! token. Specification: `proof.md`.
#![forbid(unsafe_code)]

mod agent;
pub mod campaign;
pub mod check;
mod clock;
pub mod clocks;
mod cluster;
mod dice;
mod error;
pub mod faults;
pub mod grants;
pub mod history;
pub mod limits;
pub mod malice;
mod member;
mod net;
pub mod run;
pub mod schedule;
mod site;
mod sync;
mod tasks;
mod world;

pub use cluster::PrepareDisk;
pub use error::{BootError, RunError};
pub use net::{Place, Rule};
pub use symbolon_sabotage::Bug;
