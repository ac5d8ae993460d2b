//! One node's process.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::limits::{LOG_LINES_SHOWN, LOG_TAIL_BYTES, POLL, STOP_WITHIN};

/// What can go wrong with a process.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("node {node}: {} could not be started: {source}", program.display())]
    Start {
        /// Which node.
        node: u16,
        /// The program.
        program: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Its log or pid file could not be opened.
    #[error("node {node}: {}: {source}", path.display())]
    File {
        /// Which node.
        node: u16,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It runs already.
    #[error("node {node} runs already")]
    Running {
        /// Which node.
        node: u16,
    },
    /// It does not run.
    #[error("node {node} does not run")]
    NotRunning {
        /// Which node.
        node: u16,
    },
    /// The signal did not reach it.
    #[error("node {node}: {signal} could not be sent: {source}")]
    Signal {
        /// Which node.
        node: u16,
        /// Which signal.
        signal: Signal,
        /// The system's reason.
        source: nix::Error,
    },
    /// Waiting for its end failed.
    #[error("node {node}: its end could not be waited for: {source}")]
    Wait {
        /// Which node.
        node: u16,
        /// The system's reason.
        source: io::Error,
    },
    /// It had to be killed.
    #[error("node {node} did not stop within {} s of SIGTERM and was killed", STOP_WITHIN.as_secs())]
    Stubborn {
        /// Which node.
        node: u16,
    },
}

/// Sends a signal to one process by its id.
///
/// # Errors
/// The system's.
pub fn signal_process(pid: u32, signal: Signal) -> Result<(), nix::Error> {
    let pid = i32::try_from(pid).map_err(|_| nix::Error::ESRCH)?;
    // 0 and negative numbers mean groups: never those.
    if pid <= 0 {
        return Err(nix::Error::ESRCH);
    }
    kill(Pid::from_raw(pid), signal)
}

/// A running node. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    node: u16,
    child: Child,
    pid_file: PathBuf,
}

impl Process {
    /// Starts `program run --config CONFIG`, with both outputs appended to `log`.
    pub(crate) fn start(
        node: u16,
        program: &Path,
        config: &Path,
        log: &Path,
        pid_file: &Path,
        variables: &[(&'static str, PathBuf)],
    ) -> Result<Self, ProcessError> {
        let file = |path: &Path| {
            let path = path.to_path_buf();
            move |source| ProcessError::File { node, path, source }
        };
        let out = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .map_err(file(log))?;
        let err = out.try_clone().map_err(file(log))?;
        let mut command = Command::new(program);
        command
            .arg("run")
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let program = program.to_path_buf();
        let child = command
            .spawn()
            .map_err(|source| ProcessError::Start { node, program, source })?;
        // From here on an error must not leave the child behind: `Process` exists first.
        let process = Self {
            node,
            child,
            pid_file: pid_file.to_path_buf(),
        };
        fs::write(pid_file, process.pid().to_string()).map_err(file(pid_file))?;
        Ok(process)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, ProcessError> {
        self.child.try_wait().map_err(|source| ProcessError::Wait {
            node: self.node,
            source,
        })
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> Result<(), ProcessError> {
        // Once it has been waited for, its id may be another's.
        if self.ended()?.is_some() {
            return Err(ProcessError::NotRunning { node: self.node });
        }
        signal_process(self.pid(), signal).map_err(|source| ProcessError::Signal {
            node: self.node,
            signal,
            source,
        })
    }

    /// SIGTERM, and waits.
    pub(crate) async fn stop(mut self) -> Result<ExitStatus, ProcessError> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        self.signal(Signal::SIGTERM)?;
        let deadline = Instant::now() + STOP_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            tokio::time::sleep(POLL).await;
        }
        // Dropping kills it.
        Err(ProcessError::Stubborn { node: self.node })
    }

    /// SIGKILL, and waits.
    pub(crate) fn kill(mut self) -> Result<ExitStatus, ProcessError> {
        let wait = |source| ProcessError::Wait {
            node: self.node,
            source,
        };
        self.child.kill().map_err(wait)?;
        self.child.wait().map_err(wait)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A stopped process (SIGSTOP) dies of SIGKILL too. If it is dead already, both calls fail and nothing is lost.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.pid_file);
    }
}

/// The process that a pid file names, if it still is a running node.
pub(crate) fn left_behind(pid_file: &Path) -> Option<u32> {
    let pid: u32 = fs::read_to_string(pid_file).ok()?.trim().parse().ok()?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    // The kernel cuts names at 15 bytes.
    name.trim().starts_with("symbolon-node").then_some(pid)
}

/// The last lines of a log, for an error message.
pub(crate) fn last_lines(log: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let from = file.metadata()?.len().saturating_sub(LOG_TAIL_BYTES);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    match read() {
        Ok(text) => {
            let lines: Vec<&str> = text.lines().collect();
            let shown = lines
                .get(lines.len().saturating_sub(LOG_LINES_SHOWN)..)
                .unwrap_or_default();
            shown
                .iter()
                .map(|line| format!("  {}\n", without_colour(line)))
                .collect()
        }
        Err(error) => format!("  ({}: {error})\n", log.display()),
    }
}

/// A line without the sequences that colour it on a terminal (ECMA-48, CSI … m).
fn without_colour(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + part.split_once('m').map_or(part, |(_, rest)| rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(folder: &Path, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = folder.join("symbolon-node");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn start(folder: &Path, text: &str) -> Process {
        let program = script(folder, text);
        Process::start(
            1,
            &program,
            Path::new("c"),
            &folder.join("log"),
            &folder.join("pid"),
            &[],
        )
        .unwrap()
    }

    #[tokio::test]
    async fn a_process_that_obeys_sigterm_stops_and_its_pid_file_goes() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = start(folder.path(), "exec sleep 60");
        assert!(process.ended().unwrap().is_none());
        assert!(folder.path().join("pid").exists());
        process.stop().await.unwrap();
        assert!(!folder.path().join("pid").exists());
    }

    #[test]
    fn dropping_kills_even_a_stopped_process() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = start(folder.path(), "exec sleep 60");
        let pid = process.pid();
        process.signal(Signal::SIGSTOP).unwrap();
        drop(process);
        assert_eq!(signal_process(pid, Signal::SIGCONT), Err(nix::Error::ESRCH));
    }

    #[test]
    fn a_signal_is_never_sent_to_a_group() {
        assert_eq!(signal_process(0, Signal::SIGCONT), Err(nix::Error::ESRCH));
        assert_eq!(signal_process(u32::MAX, Signal::SIGCONT), Err(nix::Error::ESRCH));
    }

    #[test]
    fn a_signal_after_the_end_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = start(folder.path(), "exit 0");
        process.child.wait().unwrap();
        assert!(matches!(
            process.signal(Signal::SIGCONT),
            Err(ProcessError::NotRunning { node: 1 })
        ));
    }

    #[test]
    fn colour_is_taken_out_of_a_log_line() {
        assert_eq!(
            without_colour("\x1b[2m12:00\x1b[0m \x1b[32m INFO\x1b[0m up"),
            "12:00  INFO up"
        );
        assert_eq!(without_colour("plain [m] text"), "plain [m] text");
    }

    #[test]
    fn the_last_lines_of_a_log_are_shown() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        fs::write(&log, (0..100).map(|n| format!("line {n}\n")).collect::<String>()).unwrap();
        let shown = last_lines(&log);
        assert_eq!(shown.lines().count(), LOG_LINES_SHOWN);
        assert!(shown.ends_with("  line 99\n"), "{shown}");
    }
}
