//! Runs a program to its end: a step of the ceremony.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;
use tokio::time::timeout;

use crate::limits::STEP_WITHIN;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started.
    #[error("{} could not be started: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It did not end.
    #[error("{shown} did not end within {} s", STEP_WITHIN.as_secs())]
    Late {
        /// The command line.
        shown: String,
    },
    /// It ended with a failure.
    #[error("{shown} failed ({status}):\n{stderr}")]
    Failed {
        /// The command line.
        shown: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it said.
        stderr: String,
    },
}

/// A step that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// The command line as a person would type it.
    pub shown: String,
    /// What it printed.
    pub stdout: String,
}

/// One program to run.
pub(crate) struct Step<'a> {
    program: &'a Path,
    args: Vec<&'a OsStr>,
    secret_args: Vec<&'a str>,
    variables: Vec<(&'static str, PathBuf)>,
}

impl<'a> Step<'a> {
    pub(crate) fn new(program: &'a Path) -> Self {
        Self {
            program,
            args: Vec::new(),
            secret_args: Vec::new(),
            variables: Vec::new(),
        }
    }

    pub(crate) fn arg(mut self, arg: &'a (impl AsRef<OsStr> + ?Sized)) -> Self {
        self.args.push(arg.as_ref());
        self
    }

    /// An argument that is never shown.
    pub(crate) fn secret(mut self, arg: &'a str) -> Self {
        self.secret_args.push(arg);
        self
    }

    pub(crate) fn variable(mut self, name: &'static str, value: impl Into<PathBuf>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    fn shown(&self) -> String {
        let name = self.program.file_name().unwrap_or(self.program.as_os_str());
        let words = std::iter::once(name).chain(self.args.iter().copied());
        let hidden = self.secret_args.iter().map(|_| " …");
        words
            .map(|word| word.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(" ")
            + &hidden.collect::<String>()
    }

    pub(crate) async fn run(self) -> Result<Ran, CommandError> {
        let shown = self.shown();
        let mut command = Command::new(self.program);
        command
            .args(&self.args)
            .args(&self.secret_args)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        // What the caller's shell has set must not reach into a cluster that is to be made from its folder alone.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SYMBOLON_") {
                command.env_remove(&name);
            }
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let started = |source| CommandError::Start {
            program: self.program.to_path_buf(),
            source,
        };
        let output = match timeout(STEP_WITHIN, command.output()).await {
            Ok(output) => output.map_err(started)?,
            Err(_) => return Err(CommandError::Late { shown }),
        };
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
            return Err(CommandError::Failed {
                shown,
                status: output.status,
                stderr,
            });
        }
        Ok(Ran {
            shown,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failed_step_shows_its_command_line_and_what_it_said() {
        let step = Step::new(Path::new("/bin/sh"))
            .arg("-c")
            .arg("echo no token >&2; exit 3");
        let error = step.run().await.unwrap_err().to_string();
        assert!(
            error.contains("sh -c") && error.contains("no token") && error.contains('3'),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_secret_argument_is_passed_and_not_shown() {
        let step = Step::new(Path::new("/bin/echo")).arg("pin").secret("271828");
        let ran = step.run().await.unwrap();
        assert_eq!(
            (ran.shown.as_str(), ran.stdout.as_str()),
            ("echo pin …", "pin 271828\n")
        );
    }
}
