//! `demo`: the whole story on a cluster of real processes, each step with the command that a user would type, its output,
//! and what proves it; at the end a search for everything that no node may ever have held.
//!
//! It needs to know the data key and the fragments of its own secret, to search for them. Only a client built with the
//! feature `evidence` tells them, and no release is.

#[cfg(feature = "evidence")]
mod leaks;
#[cfg(feature = "evidence")]
mod stage;
#[cfg(feature = "evidence")]
mod storm;
#[cfg(feature = "evidence")]
mod story;

use std::path::PathBuf;

use clap::Args;

use crate::failure::Error;

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  symbolon demo\n  symbolon demo --keep ./evidence     # leaves disks, logs and core dumps there"
)]
pub(crate) struct Demo {
    /// Work in this new folder and leave everything there
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
}

/// `demo`.
#[cfg(feature = "evidence")]
pub(crate) async fn demo(demo: &Demo) -> Result<u8, Error> {
    story::play(demo.keep.as_deref()).await
}

/// `demo`, in a build that must not know how.
#[cfg(not(feature = "evidence"))]
pub(crate) async fn demo(demo: &Demo) -> Result<u8, Error> {
    let kept = demo
        .keep
        .as_ref()
        .map(|folder| format!(" --keep {}", folder.display()))
        .unwrap_or_default();
    Err(crate::failure::local("this build cannot show the evidence")
        .because("the demo searches for data keys and fragments, which only a client built with the feature 'evidence' tells")
        .next(format!("make demo, or cargo run -p symbolon-cli --features evidence -- demo{kept}")))
}
