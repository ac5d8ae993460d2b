//! A local cluster of real processes: `symbolon-node` three times, each with a token of its own, on 127.0.0.1.
//!
//! Serves `symbolon dev`, `symbolon demo` and every end-to-end test. [`Cluster::create`] walks through the same ceremony
//! as an operator, with the same commands; [`Cluster`] then starts, stops, kills, pauses and inspects the processes.
//! [`leak`] searches files, core dumps and process environments for secrets; [`dump`] takes the core dumps.
//!
//! Everything lies under one folder (see [`Paths`]), with tokens and PINs apart from the nodes' data, as on separate
//! media. The processes die with their [`Cluster`]: `Drop` kills them. If this process itself is killed by SIGKILL they
//! stay behind; [`Cluster::open`] notices and says so (asking the kernel to end them with their parent needs `unsafe`,
//! and would also end them with the thread that started them).
//!
//! Nothing here sleeps for a fixed time and hopes: every wait is for a condition, has a deadline, and names what was
//! missing when it passed.
#![forbid(unsafe_code)]

mod agent;
mod binaries;
mod cluster;
mod command;
mod config;
mod create;
pub mod dump;
pub mod http;
pub mod leak;
pub mod limits;
mod paths;
mod process;
mod token;

pub use agent::{AgentError, AgentSpec};
pub use binaries::{Binaries, FOLDER_VARIABLE, NotFound};
pub use cluster::{Cluster, ClusterError, OpenError};
pub use command::{CommandError, Ran};
pub use create::{CreateError, Spec, TokenKind};
pub use paths::Paths;
pub use process::{ProcessError, signal_process};
pub use token::TokenError;
