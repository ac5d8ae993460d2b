//! The member daemon of a Symbolon cluster: QUIC, configuration, wiring; boring on purpose. It holds no plaintext.
//!
//! The daemon is [`cli::main`]; [`machine`] is the state machine as consensus drives it and [`vouch`] says what is
//! trusted of other nodes: both also run in the simulation.
#![forbid(unsafe_code)]

mod answers;
mod audit;
mod backup;
pub mod cli;
mod clocks;
mod config;
mod cosign;
mod fragments;
mod genesis;
mod gossip;
mod http;
mod intake;
mod lockdown;
pub mod machine;
mod member;
mod peers;
mod probe;
mod proofs;
mod release;
mod run;
#[cfg(feature = "sabotage")]
mod sabotage;
mod server;
mod submit;
mod token;
pub mod vouch;
