//! Puts the shims between a process and its disk or its clock, and between a node and its token.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What is to go wrong, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// The process is killed before change `at`.
    Stop {
        /// Which change, from 0.
        at: u64,
    },
    /// Change `at` fails with EIO, once. A sync that fails loses what it should have made durable.
    Fails {
        /// Which change, from 0.
        at: u64,
    },
    /// Change `at` and each later one that takes room fails with ENOSPC.
    Full {
        /// Which change, from 0.
        at: u64,
    },
    /// One bit of what read `at` returns is flipped.
    Flips {
        /// Which read, from 0.
        at: u64,
        /// Chooses the bit.
        seed: u64,
    },
}

/// A watched folder.
#[derive(Debug, Clone)]
pub struct DiskShim {
    root: PathBuf,
    journal: PathBuf,
}

impl DiskShim {
    /// Watches `root`, which must exist, and writes every change to `journal`, which lies elsewhere.
    #[must_use]
    pub fn new(root: &Path, journal: &Path) -> Self {
        Self {
            root: root.to_owned(),
            journal: journal.to_owned(),
        }
    }

    /// The file to which the process writes notes: each write to it becomes [`crate::Event::Note`], in order with the
    /// changes, and is no change itself. It must exist.
    #[must_use]
    pub fn notes(&self) -> PathBuf {
        self.root.join(".notes")
    }

    /// Puts the shim between `command` and its disk.
    pub fn attach<'a>(&self, command: &'a mut Command, fault: Option<DiskFault>) -> &'a mut Command {
        command
            .env("LD_PRELOAD", env!("SYMBOLON_SHIM_DISK"))
            .env("SYMBOLON_DISK_ROOT", &self.root)
            .env("SYMBOLON_DISK_JOURNAL", &self.journal)
            .env("SYMBOLON_DISK_NOTES", self.notes());
        let (kind, at, seed) = match fault {
            None => return command,
            Some(DiskFault::Stop { at }) => ("stop", at, 0),
            Some(DiskFault::Fails { at }) => ("eio", at, 0),
            Some(DiskFault::Full { at }) => ("enospc", at, 0),
            Some(DiskFault::Flips { at, seed }) => ("flip", at, seed),
        };
        command
            .env("SYMBOLON_DISK_FAULT", kind)
            .env("SYMBOLON_DISK_AT", at.to_string())
            .env("SYMBOLON_DISK_SEED", seed.to_string())
    }
}

/// What a token does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    /// It does not answer, for at most 30 s a call.
    Stalls,
    /// It says that it was removed.
    Gone,
    /// What it signs and wraps has one bit changed.
    Lies,
    /// The so-manieth key that it unwraps in a process, from 0, is another.
    Swaps(u32),
}

/// A PKCS#11 module in front of SoftHSM's, for the process whose `SOFTHSM2_CONF` is `conf`.
#[derive(Debug, Clone)]
pub struct TokenShim {
    conf: PathBuf,
}

impl TokenShim {
    /// Prepares the module for use in front of `behind`. Does nothing wrong yet.
    ///
    /// # Errors
    /// If the file beside `conf` that names `behind` cannot be written.
    pub fn new(conf: &Path, behind: &Path) -> std::io::Result<Self> {
        let shim = Self { conf: conf.to_owned() };
        std::fs::write(shim.beside("module"), behind.as_os_str().as_encoded_bytes())?;
        Ok(shim)
    }

    /// The module to load.
    #[must_use]
    pub fn module() -> &'static Path {
        Path::new(env!("SYMBOLON_SHIM_TOKEN"))
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.conf.clone().into_os_string();
        name.push(".");
        name.push(suffix);
        name.into()
    }

    /// From the next call on the token does this, or nothing wrong.
    ///
    /// # Errors
    /// If the file that says so cannot be replaced.
    pub fn set(&self, fault: Option<TokenFault>) -> std::io::Result<()> {
        let word = match fault {
            None => "well".to_owned(),
            Some(TokenFault::Stalls) => "stall".to_owned(),
            Some(TokenFault::Gone) => "gone".to_owned(),
            Some(TokenFault::Lies) => "lie".to_owned(),
            Some(TokenFault::Swaps(which)) => format!("swap {which}"),
        };
        // The module must never read half a word.
        std::fs::write(self.beside("fault.new"), word)?;
        std::fs::rename(self.beside("fault.new"), self.beside("fault"))
    }
}

/// A wall clock that is wrong when it is told to.
#[derive(Debug, Clone)]
pub struct ClockShim {
    file: PathBuf,
}

impl ClockShim {
    /// A clock that is right until `file` says otherwise.
    #[must_use]
    pub fn new(file: &Path) -> Self {
        Self { file: file.to_owned() }
    }

    /// What a process needs in its environment to have this clock.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, PathBuf); 2] {
        [
            ("LD_PRELOAD", PathBuf::from(env!("SYMBOLON_SHIM_CLOCK"))),
            ("SYMBOLON_CLOCK", self.file.clone()),
        ]
    }

    /// From now on the clock is off by this much, ms.
    ///
    /// # Errors
    /// If the file that says so cannot be replaced.
    pub fn set_off_ms(&self, off_ms: i64) -> std::io::Result<()> {
        let fresh = self.file.with_extension("new");
        std::fs::write(&fresh, off_ms.to_string())?;
        std::fs::rename(fresh, &self.file)
    }
}
