//! Core dumps of running processes, by `gcore` of gdb.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;
use tokio::time::timeout;

use crate::limits::STEP_WITHIN;

/// Why there is no dump.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// gdb is not there.
    #[error("gcore could not be started: {source}; `apt-get install gdb`")]
    Start {
        /// The system's reason.
        source: io::Error,
    },
    /// It did not end.
    #[error("gcore did not finish process {pid} within {} s", STEP_WITHIN.as_secs())]
    Late {
        /// The process.
        pid: u32,
    },
    /// It did not dump, mostly because the process or the kernel forbids tracing.
    #[error(
        "gcore could not dump process {pid}: {said}\n(tracing needs root or kernel.yama.ptrace_scope=0, and a node whose configuration says development = true)"
    )]
    Refused {
        /// The process.
        pid: u32,
        /// What it said.
        said: String,
    },
}

/// Writes everything that the process has mapped to `prefix.PID`; the process goes on afterwards.
///
/// Memory that was asked to stay out of core dumps (locked keys) is included: the dump is to be searched, so it must not
/// leave out what an attacker with a debugger would see.
///
/// # Errors
/// [`DumpError`].
pub async fn core_dump(pid: u32, prefix: &Path) -> Result<PathBuf, DumpError> {
    let mut command = Command::new("gcore");
    command
        .arg("-a")
        .arg("-o")
        .arg(prefix)
        .arg(pid.to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = match timeout(STEP_WITHIN, command.output()).await {
        Ok(output) => output.map_err(|source| DumpError::Start { source })?,
        Err(_) => return Err(DumpError::Late { pid }),
    };
    let mut name = OsString::from(prefix);
    name.push(format!(".{pid}"));
    let path = PathBuf::from(name);
    if output.status.success() && path.is_file() {
        return Ok(path);
    }
    let said = String::from_utf8_lossy(&output.stderr)
        .lines()
        .last()
        .unwrap_or("(nothing)")
        .to_owned();
    Err(DumpError::Refused { pid, said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        // The largest id that Linux gives is 2^22.
        let error = core_dump(4_194_305, &folder.path().join("core")).await.unwrap_err();
        assert!(error.to_string().contains("4194305"), "{error}");
    }
}
