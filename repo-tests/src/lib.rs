//! Rules that the repository itself must keep, as tests (layout.md, "Rules that a test checks").
//!
//! Each module is one rule: a function from plain data to [`Finding`]s, with tests of its own that show it a breach.
//! `tests/repository.rs` runs them all on this repository. Nothing here needs RocksDB or the network.
#![forbid(unsafe_code)]

pub mod arrows;
pub mod bans;
pub mod claims;
pub mod licences;
pub mod links;
pub mod manifests;
pub mod purity;
pub mod repository;
pub mod sabotage;
pub mod source;
pub mod texts;
pub mod unsafe_code;

use std::fmt;

/// One breach of one rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Where: a file, with a line if there is one, or a crate.
    pub place: String,
    /// What is wrong there, and what would be right.
    pub what: String,
}

impl Finding {
    /// A finding.
    pub fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            what: what.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}
