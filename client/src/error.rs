//! What went wrong, why, and what next (edge.md, "Command line"): one error for every call, with a stable code, the
//! reasons as given, and whoever is at fault with the evidence.

use crate::limits::{NODE_LINES_MAX, NODE_TEXT_BYTES_MAX};
use bytes::Bytes;
use std::fmt;
use std::ops::{Deref, DerefMut};
use symbolon_crypto::Hash;
use symbolon_wire::ids::PrincipalId;
use symbolon_wire::{Code, v1};

/// Who is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// A node, by its roster index.
    Node(u16),
    /// Whoever wrote a value.
    Author(PrincipalId),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "node {node}"),
            Self::Author(author) => write!(f, "author {author}"),
        }
    }
}

/// What was done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misdeed {
    /// Certificate, boot statement or roster do not hold together.
    #[error("could not prove who it is")]
    NotTheNode,
    /// The frame does not decode, or answers another question.
    #[error("sent an answer that is none")]
    NotAnAnswer,
    /// A reply without a fragment, or a field of the wrong form.
    #[error("sent a reply of the wrong form")]
    ReplyForm,
    /// The reply is not signed for this client and this request.
    #[error("sent a reply that it has not signed for this client and this request")]
    ReplySignature,
    /// The fragment is not the one whose hash it signed.
    #[error("sent another fragment than the one that it signed")]
    FragmentHash,
    /// The fragment does not fit its commitment.
    #[error("sent a wrong fragment")]
    WrongFragment,
    /// The body is not the one whose record hash it signed.
    #[error("sent another ciphertext, header or commitments than those of the record that it signed")]
    WrongBody,
    /// It answered from a state older than asked for.
    #[error("answered from an older state than it was asked for")]
    StaleReply,
    /// Its history contradicts another node's.
    #[error("shows another history than others")]
    OtherHistory,
    /// It confirmed a write that is not the one that was sent.
    #[error("confirmed another write than the one that was sent")]
    WrongOutcome,
    /// Its audit log does not verify.
    #[error("keeps an audit log that does not verify")]
    BrokenAudit,
    /// The author's fragments fit their commitments but not the key.
    #[error("dealt fragments that do not give the committed key")]
    BadDealing,
    /// The author's value does not open under its committed key.
    #[error("encrypted a value that does not open under its committed key")]
    BadCiphertext,
}

/// What shows it to others: a reply that the node signed, and what it was an answer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The encoded [`v1::ReadReply`], without its body.
    pub reply: Bytes,
    /// SHA-256 of the request.
    pub request_hash: Hash,
    /// The client key that it was for.
    pub client_key: Hash,
}

/// Someone at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Culprit {
    /// Who.
    pub who: Who,
    /// What was done.
    pub what: Misdeed,
    /// What shows it; empty where only this connection saw it.
    pub evidence: Vec<Evidence>,
}

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.who, self.what)
    }
}

/// The content of an [`Error`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The catalogue's code; gives the exit code.
    pub code: Code,
    /// What.
    pub message: String,
    /// Why, one reason a line.
    pub because: Vec<String>,
    /// What to do next.
    pub next: Option<String>,
    /// Where the decision stands: node and index in its audit log.
    pub audit: Option<(u16, u64)>,
    /// Who is at fault.
    pub culprits: Vec<Culprit>,
    /// With [`Code::OutcomeUnknown`]: the encoded command. The same bytes may be sent again.
    pub unknown_outcome_command: Option<Bytes>,
}

/// Why a call failed. Displays as the whole message of edge.md: what, because, next, proof.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Report>);

impl Error {
    /// An error without reasons yet.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(Report {
            code,
            message: message.into(),
            because: Vec::new(),
            next: None,
            audit: None,
            culprits: Vec::new(),
            unknown_outcome_command: None,
        }))
    }

    /// Adds a reason.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.0.because.push(reason.into());
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.0.next = Some(next.into());
        self
    }

    /// Names someone.
    #[must_use]
    pub fn culprit(mut self, culprit: Culprit) -> Self {
        self.0.culprits.push(culprit);
        self
    }

    /// A node at fault without evidence that others could check.
    pub(crate) fn at_fault(node: u16, what: Misdeed) -> Self {
        let code = match what {
            Misdeed::NotTheNode => Code::NotTheNode,
            _ => Code::NodeAtFault,
        };
        let culprit = Culprit {
            who: Who::Node(node),
            what,
            evidence: Vec::new(),
        };
        Self::new(code, culprit.to_string()).culprit(culprit)
    }

    /// What a node answered. Its words are cut and stripped of control characters: they go to a terminal.
    pub(crate) fn from_node(node: u16, error: v1::Error) -> Self {
        let audit = error.audit_index.checked_sub(1).map(|index| (node, index));
        Self::from_words(error.code, &error.message, error.because, &error.next, audit)
    }

    /// What apply recorded for a command that it refused.
    pub(crate) fn from_outcome(outcome: v1::Outcome) -> Self {
        Self::from_words(outcome.code, &outcome.message, outcome.because, &outcome.next, None)
    }

    /// Message and reasons, as a reason of another error.
    pub(crate) fn in_one_line(&self) -> String {
        let lines = std::iter::once(&self.0.message).chain(&self.0.because);
        lines.map(String::as_str).collect::<Vec<_>>().join(": ")
    }

    fn from_words(code: u32, message: &str, because: Vec<String>, next: &str, audit: Option<(u16, u64)>) -> Self {
        let mut error = match Code::from_number(code) {
            Some(code) => Self::new(code, words(message)),
            None => Self::new(Code::Internal, words(message)).because(format!("the node gave the unknown code {code}")),
        };
        error
            .0
            .because
            .extend(because.iter().take(NODE_LINES_MAX).map(|line| words(line)));
        error.0.next = (!next.is_empty()).then(|| words(next));
        error.0.audit = audit;
        error
    }
}

/// A node's text, fit for a terminal.
pub(crate) fn words(text: &str) -> String {
    let end = text
        .char_indices()
        .map(|(at, c)| at + c.len_utf8())
        .take_while(|end| *end <= NODE_TEXT_BYTES_MAX)
        .last();
    let cut = text.get(..end.unwrap_or(0)).unwrap_or_default();
    cut.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

impl Deref for Error {
    type Target = Report;

    fn deref(&self) -> &Report {
        &self.0
    }
}

impl DerefMut for Error {
    fn deref_mut(&mut self) -> &mut Report {
        &mut self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.code, self.message)?;
        for reason in &self.because {
            write!(f, "\n  because  {reason}")?;
        }
        for culprit in self
            .culprits
            .iter()
            .map(ToString::to_string)
            .filter(|culprit| *culprit != self.message)
        {
            write!(f, "\n  because  {culprit}")?;
        }
        if let Some(next) = &self.next {
            // Several ways out stand below each other.
            write!(f, "\n  next     {}", next.replace('\n', "\n           "))?;
        }
        if let Some((node, index)) = self.audit {
            match self.code {
                // Where a log is broken there is nothing to prove, only something to look at.
                Code::AuditBroken => write!(f, "\n  proof    symbolon audit tail --node {node}   (entry {index})")?,
                _ => write!(f, "\n  proof    symbolon audit prove {node}:{index}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_what_why_what_next_and_where_it_stands() {
        let error = Error::from_node(
            3,
            v1::Error {
                code: 403,
                message: "billing-bot may not read prod/stripe/key".to_owned(),
                because: vec!["forbid \"office-hours\"  policies/billing.cedar:14".to_owned()],
                next: "symbolon grant request prod/stripe/key".to_owned(),
                audit_index: 48_214,
                state_index: 7,
            },
        );
        assert_eq!(
            error.to_string(),
            "error[SY0403]: billing-bot may not read prod/stripe/key\n  \
             because  forbid \"office-hours\"  policies/billing.cedar:14\n  \
             next     symbolon grant request prod/stripe/key\n  \
             proof    symbolon audit prove 3:48213"
        );
    }

    #[test]
    fn a_culprit_is_named_once() {
        let error = Error::at_fault(2, Misdeed::WrongFragment);
        assert_eq!(error.to_string(), "error[SY0601]: node 2 sent a wrong fragment");
    }

    #[test]
    fn a_node_cannot_move_the_cursor_of_a_terminal_or_flood_it() {
        let message = format!("\x1b[2J{}", "ä".repeat(NODE_TEXT_BYTES_MAX));
        let because = vec!["x\ny".to_owned(); NODE_LINES_MAX + 1];
        let error = Error::from_node(
            1,
            v1::Error {
                code: 403,
                message,
                because,
                ..v1::Error::default()
            },
        );
        assert!(error.message.starts_with("\u{fffd}[2J"));
        assert!(error.message.len() <= NODE_TEXT_BYTES_MAX + "\u{fffd}".len());
        assert_eq!(error.because, vec!["x\u{fffd}y"; NODE_LINES_MAX]);
    }

    #[test]
    fn an_unknown_code_is_an_internal_failure_that_says_so() {
        let error = Error::from_node(
            1,
            v1::Error {
                code: 9999,
                ..v1::Error::default()
            },
        );
        assert_eq!(error.code, Code::Internal);
        assert_eq!(error.because, ["the node gave the unknown code 9999"]);
    }
}
