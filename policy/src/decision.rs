//! What was decided, by which policies, and how to say it to people.

use std::fmt;
use std::sync::Arc;

use crate::request::InputDefect;

/// Whether a policy permits or forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Allows what nothing forbids.
    Permit,
    /// Denies, whatever is permitted.
    Forbid,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Permit => "permit",
            Self::Forbid => "forbid",
        })
    }
}

/// One policy, as people find it. Cheap to clone. Shown as `forbid "office-hours"  policies/billing.cedar:14`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRef {
    /// Its `@id`, or `<file>#<number in the file, from 1>`. Unique in its set.
    pub id: Arc<str>,
    /// Its source's name.
    pub file: Arc<str>,
    /// The line on which it begins, from 1.
    pub line: u32,
    /// Whether it permits or forbids.
    pub effect: Effect,
    /// Its `@note`: what its author wants those to read whom it concerns.
    pub note: Option<Arc<str>>,
}

impl fmt::Display for PolicyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}  {}:{}", self.effect, &*self.id, self.file, self.line)
    }
}

/// Why a request was allowed or not. All but [`Reason::Allowed`] are denials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// At least one policy permits, none forbids, none failed.
    Allowed,
    /// At least one policy forbids.
    Forbid,
    /// None forbids, but the evaluation of at least one that may apply failed, or the request is malformed.
    EvaluationError,
    /// No policy permits: the default.
    NoPolicy,
}

/// What went wrong in a decision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecisionError {
    /// A policy whose scope matches could not be evaluated.
    #[error("{policy}   (evaluation failed: {message})")]
    Policy {
        /// The policy.
        policy: PolicyRef,
        /// Why, in Cedar's words.
        message: String,
    },
    /// The request is malformed; no policy was asked.
    #[error("the request is malformed: {0}")]
    Input(#[from] InputDefect),
    /// Cedar did not take the request. This is a defect of this crate.
    #[error("the request could not be put to Cedar: {message}")]
    Build {
        /// Why, in Cedar's words.
        message: String,
    },
}

/// A policy that would have permitted, but for one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearMiss {
    /// The policy.
    pub policy: PolicyRef,
    /// The thing.
    pub miss: Miss,
}

/// What kept a policy from applying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// Its scope matches; its `when` or `unless` does not hold.
    Condition,
    /// Principal and action match; it is for another resource, shown as written.
    Resource(String),
}

/// The answer to one request. Only [`PolicySet::decide`](crate::PolicySet::decide) makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a decision that nobody looks at protects nothing"]
pub struct Decision {
    pub(crate) reason: Reason,
    pub(crate) determining: Vec<PolicyRef>,
    pub(crate) errors: Vec<DecisionError>,
    pub(crate) nearest: Vec<NearMiss>,
    pub(crate) set_hash: [u8; 32],
    pub(crate) inputs_digest: [u8; 32],
}

impl Decision {
    /// Whether the request is allowed.
    #[must_use]
    pub fn allowed(&self) -> bool {
        self.reason == Reason::Allowed
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The policies that decided, in the order of files and lines: those that forbid if any does, else those that permit
    /// if the request is allowed, else none.
    #[must_use]
    pub fn determining(&self) -> &[PolicyRef] {
        &self.determining
    }

    /// What failed. Anything here makes a denial.
    #[must_use]
    pub fn errors(&self) -> &[DecisionError] {
        &self.errors
    }

    /// For [`Reason::NoPolicy`], policies that came close; a few, in a fixed order.
    #[must_use]
    pub fn nearest(&self) -> &[NearMiss] {
        &self.nearest
    }

    /// [`PolicySet::hash`](crate::PolicySet::hash) of the set that decided.
    #[must_use]
    pub fn set_hash(&self) -> &[u8; 32] {
        &self.set_hash
    }

    /// SHA-256 over everything in the request that could enter the decision.
    #[must_use]
    pub fn inputs_digest(&self) -> &[u8; 32] {
        &self.inputs_digest
    }

    /// The decision for people, one line a policy, never with a value:
    ///
    /// ```text
    /// forbid "office-hours"  policies/billing.cedar:14   (allowed 07:00-19:00 UTC)
    /// ```
    #[must_use]
    pub fn explain(&self) -> Vec<String> {
        let decided = self.determining.iter().map(|policy| match &policy.note {
            Some(note) => format!("{policy}   ({note})"),
            None => policy.to_string(),
        });
        let failed = self.errors.iter().map(ToString::to_string);
        let nothing = (self.reason == Reason::NoPolicy).then(|| "no policy permits it".to_owned());
        let near = self
            .nearest
            .iter()
            .map(|NearMiss { policy, miss }| match (miss, &policy.note) {
                (Miss::Resource(resource), _) => format!("nearest: {policy}   (it is for {resource})"),
                (Miss::Condition, Some(note)) => format!("nearest: {policy}   (its condition does not hold: {note})"),
                (Miss::Condition, None) => format!("nearest: {policy}   (its condition does not hold)"),
            });
        decided.chain(failed).chain(nothing).chain(near).collect()
    }
}
