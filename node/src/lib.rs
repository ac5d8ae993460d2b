//! The member daemon of a Symbolon cluster: QUIC, configuration, wiring; boring on purpose. It holds no plaintext.
//!
//! The daemon is [`cli::main`]; [`machine`] is the state machine as consensus drives it [`vouch`] says what is
//! trusted of other nodes, and [`fences`] which of their boots: all three also run in the simulation.
#![forbid(unsafe_code)]

mod admission;
mod anchor;
mod answers;
mod archive;
mod audit;
mod backup;
mod changes;
pub mod cli;
mod clocks;
mod config;
mod cosign;
mod crowd;
pub mod fences;
mod fragments;
mod genesis;
mod gossip;
mod guests;
mod holdings;
mod http;
mod intake;
mod lockdown;
pub mod machine;
mod marks;
mod member;
mod outcomes;
mod peers;
mod probe;
mod proofs;
mod release;
mod run;
#[cfg(feature = "sabotage")]
mod sabotage;
mod scene;
mod server;
mod submit;
mod token;
pub mod unlogged;
pub mod vouch;
mod watch;
mod watchers;

/// What a configuration would put in force, every setting, as `check-config` shows it; or why it is refused. `text` is
/// looked at as if it stood in the file `path`, which is not opened: the fuzzing target of the configuration.
///
/// # Errors
/// What `check-config` says.
pub fn check_config(path: &std::path::Path, text: &str) -> Result<String, String> {
    config::Config::in_force_of(path, text).map_err(|refused| refused.to_string())
}
