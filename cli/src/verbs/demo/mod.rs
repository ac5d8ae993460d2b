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

use std::path::{Path, PathBuf};

use clap::Args;

use crate::failure::{Error, file, usage};

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  symbolon demo\n  symbolon demo --keep ./evidence     # leaves disks, logs and core dumps there"
)]
pub(crate) struct Demo {
    /// Work in this new folder and leave everything there
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
}

/// A folder that is empty or not there: the demo makes all that it shows.
fn unused(folder: &Path) -> Result<(), Error> {
    let mut entries = match folder.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(file(folder, &error)),
    };
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(usage(format!("{} is not empty", folder.display()))
            .because("the demo begins with a cluster of its own, and keeps what an earlier one left")
            .next("symbolon demo --keep NEW-FOLDER")),
    }
}

/// `demo`.
#[cfg(feature = "evidence")]
pub(crate) async fn demo(demo: &Demo) -> Result<u8, Error> {
    demo.keep.as_deref().map_or(Ok(()), unused)?;
    story::play(demo.keep.as_deref()).await
}

/// `demo`, in a build that must not know how.
#[cfg(not(feature = "evidence"))]
pub(crate) async fn demo(demo: &Demo) -> Result<u8, Error> {
    demo.keep.as_deref().map_or(Ok(()), unused)?;
    let kept = demo
        .keep
        .as_ref()
        .map(|folder| format!(" --keep {}", folder.display()))
        .unwrap_or_default();
    Err(crate::failure::local("this build cannot show the evidence")
        .because("the demo searches for data keys and fragments, which only a client built with the feature 'evidence' tells")
        .next(format!("make demo, or cargo run -p symbolon-cli --features evidence -- demo{kept}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_used_is_refused_and_another_recommended() {
        let folder = tempfile::tempdir().unwrap();
        unused(folder.path()).unwrap();
        unused(&folder.path().join("new")).unwrap();
        std::fs::write(folder.path().join("left"), "").unwrap();
        let error = unused(folder.path()).unwrap_err().to_string();
        assert!(error.contains("symbolon demo --keep NEW-FOLDER"), "{error}");
    }
}
