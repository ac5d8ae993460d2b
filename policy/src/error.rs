//! Why a set of sources is refused. Whoever wrote the named place is at fault.

use std::fmt;

use crate::limits::{
    DEPTH_MAX, NESTING_MAX, POLICIES_MAX, POLICY_ID_BYTES_MAX, POLICY_NOTE_BYTES_MAX, SET_BYTES_MAX, SOURCE_BYTES_MAX,
    SOURCE_NAME_BYTES_MAX, SOURCES_MAX,
};
use crate::place::Place;
use crate::request::PathDefect;

/// Why sources do not make a policy set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Too many sources.
    #[error("{count} sources; at most {SOURCES_MAX} make a set")]
    SourcesTooMany {
        /// How many there are.
        count: usize,
    },
    /// A source's name cannot be one.
    #[error("{name:?} cannot name a source: the name {defect}")]
    SourceName {
        /// The name.
        name: String,
        /// What is wrong with it.
        defect: SourceNameDefect,
    },
    /// Two sources have names that are equal, or differ only in case.
    #[error("the sources {first:?} and {second:?} have names that differ at most in case; rename one")]
    SourceDuplicate {
        /// The one name.
        first: String,
        /// The other.
        second: String,
    },
    /// One source is too long.
    #[error("{file} has {bytes} bytes; at most {SOURCE_BYTES_MAX} are allowed, so split it")]
    SourceTooLong {
        /// Its name.
        file: String,
        /// Its length.
        bytes: usize,
    },
    /// All sources together are too long.
    #[error("the sources have more than {SET_BYTES_MAX} bytes together, passed in {file}")]
    SetTooLong {
        /// The source with which the limit is passed, in the order of names.
        file: String,
    },
    /// Too many policies.
    #[error("more than {POLICIES_MAX} policies, passed in {file}")]
    PoliciesTooMany {
        /// The source with which the limit is passed, in the order of names.
        file: String,
    },
    /// A character that a reader does not see, or sees elsewhere.
    #[error("{place}: the character U+{:04X} hides or reorders text; remove it", u32::from(*character))]
    DeceptiveCharacter {
        /// Where.
        place: Place,
        /// Which.
        character: char,
    },
    /// Brackets nested too deeply.
    #[error("{place}: more than {NESTING_MAX} brackets are open here; split the policy")]
    NestedTooDeeply {
        /// Where the limit is passed.
        place: Place,
    },
    /// An expression too deep.
    #[error(
        "{place}: the expression is deeper than {DEPTH_MAX} operators here; split the policy, or use a set: [\"a\", \"b\"].contains(…)"
    )]
    TooDeep {
        /// Where the limit is passed.
        place: Place,
    },
    /// A template; the log holds static policies only.
    #[error("{place}: a slot makes this a template; write the entity out")]
    Template {
        /// The slot.
        place: Place,
    },
    /// What is written is not Cedar.
    #[error("{0}")]
    Syntax(Problems),
    /// Cedar's strict validation against our schema refuses it, or warns: a policy that can never apply, or names that
    /// mix scripts to look like others.
    #[error("{0}")]
    Invalid(Problems),
    /// A policy's `@id` or `@note` cannot be shown in one line.
    #[error(
        "{place}: @{annotation} is empty, too long (@id {POLICY_ID_BYTES_MAX}, @note {POLICY_NOTE_BYTES_MAX} bytes), or has a hidden character"
    )]
    Annotation {
        /// The policy.
        place: Place,
        /// `id` or `note`.
        annotation: &'static str,
    },
    /// Two policies have ids that are equal, or differ only in case.
    #[error("{second}: the policy {id:?} has, at most in case, the id of the one at {first}; rename one")]
    IdDuplicate {
        /// The second's id.
        id: String,
        /// The one policy.
        first: Place,
        /// The other.
        second: Place,
    },
    /// A policy names a secret or folder that cannot be.
    #[error("{place}: {entity} can never be, so the policy would not do what it says: the path {defect}")]
    ImpossiblePath {
        /// The policy.
        place: Place,
        /// The entity, as written.
        entity: String,
        /// What is wrong with its path.
        defect: LiteralDefect,
    },
    /// A policy names a principal, group or tenant that cannot be.
    #[error("{place}: {entity} can never be: its name is empty, too long or has a hidden character")]
    ImpossibleName {
        /// The policy.
        place: Place,
        /// The entity, as written.
        entity: String,
    },
}

impl CompileError {
    /// In words that are the same in every process, for what all nodes must record alike: without Cedar's help, which suggests
    /// of equally near names whichever a hash map gives it first.
    #[must_use]
    pub fn recorded(&self) -> String {
        match self {
            Self::Syntax(problems) | Self::Invalid(problems) => problems.without_help(),
            other => other.to_string(),
        }
    }

    /// A stable code for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::SourcesTooMany { .. } => "policy-sources-too-many",
            Self::SourceName { .. } => "policy-source-name",
            Self::SourceDuplicate { .. } => "policy-source-duplicate",
            Self::SourceTooLong { .. } => "policy-source-too-long",
            Self::SetTooLong { .. } => "policy-set-too-long",
            Self::PoliciesTooMany { .. } => "policy-policies-too-many",
            Self::DeceptiveCharacter { .. } => "policy-deceptive-character",
            Self::NestedTooDeeply { .. } => "policy-nested-too-deeply",
            Self::TooDeep { .. } => "policy-too-deep",
            Self::Template { .. } => "policy-template",
            Self::Syntax(_) => "policy-syntax",
            Self::Invalid(_) => "policy-invalid",
            Self::Annotation { .. } => "policy-annotation",
            Self::IdDuplicate { .. } => "policy-id-duplicate",
            Self::ImpossiblePath { .. } => "policy-impossible-path",
            Self::ImpossibleName { .. } => "policy-impossible-name",
        }
    }
}

/// What is wrong with a source's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceNameDefect {
    /// Too long.
    #[error("is longer than {SOURCE_NAME_BYTES_MAX} bytes")]
    TooLong,
    /// Not a canonical path.
    #[error("{0}")]
    Path(PathDefect),
}

/// What is wrong with a path that a policy names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LiteralDefect {
    /// Not a canonical path.
    #[error("{0}")]
    Path(PathDefect),
    /// Wildcards mean nothing in names.
    #[error("has a `*`, which is no wildcard here; write `resource in Folder::\"…\"`")]
    Wildcard,
}

/// What Cedar said, in the order of files and lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    listed: Vec<Problem>,
    more: usize,
}

impl Problems {
    /// `None` if there are none.
    pub(crate) fn new(mut problems: Vec<Problem>) -> Option<Self> {
        problems.sort();
        // One that differs in its help alone is the same, or how many there are would hang on the help.
        problems.dedup_by(|a, b| a.place == b.place && a.message == b.message);
        let more = problems.len().saturating_sub(crate::limits::PROBLEMS_MAX);
        problems.truncate(crate::limits::PROBLEMS_MAX);
        if problems.is_empty() {
            None
        } else {
            Some(Self { listed: problems, more })
        }
    }

    fn without_help(&self) -> String {
        let without = |problem: &Problem| Problem {
            help: None,
            ..problem.clone()
        };
        let listed = self.listed.iter().map(without).collect();
        Self { listed, ..*self }.to_string()
    }

    /// The problems, at most [`PROBLEMS_MAX`](crate::limits::PROBLEMS_MAX); never none.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.listed.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.listed.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        if self.more > 0 {
            write!(f, "\n{} more", self.more)?;
        }
        Ok(())
    }
}

/// One thing that Cedar objects to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What, in Cedar's words.
    pub message: String,
    /// What to do, in Cedar's words, where it has any.
    pub help: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}
