//! Whether a booted member takes part yet, and below which bars it never does (`docs/decisions/0016-witnessed-boot.md`).
//!
//! A booted member does not know whether its disk is the newest that it ever had. Until others have told it where they
//! stand, no frame reaches openraft and none leaves it. From then on it grants no vote in terms up to the highest that it
//! heard of, and none to a candidate, itself included, whose log is behind the furthest that it heard of.

use std::sync::Mutex;

use crate::sync::lock;
use crate::types::{LogId, log_id, term_of};

/// Where a member stands: what it tells a booted one, and what a booted one was told at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standpoint {
    /// The highest term.
    pub term: u64,
    /// Term and index of the last entry of the furthest log; `None` before the first entry.
    pub last: Option<(u64, u64)>,
}

impl Standpoint {
    /// The further of both, field by field.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            term: self.term.max(other.term),
            last: self.last.max(other.last),
        }
    }

    pub(crate) fn of(term: u64, last: Option<LogId>) -> Self {
        let last = last.map(|id| (term_of(&id), id.index));
        Self { term, last }
    }

    pub(crate) fn last_id(&self) -> Option<LogId> {
        self.last.map(|(term, index)| log_id(term, index))
    }
}

/// Closed until the member is admitted; then it holds the bars.
#[derive(Debug, Default)]
pub(crate) struct Gate(Mutex<Option<Standpoint>>);

impl Gate {
    /// A member that need not wait, and knows of nothing but its own log.
    pub(crate) fn open_from_the_start() -> Self {
        Self(Mutex::new(Some(Standpoint::default())))
    }

    pub(crate) fn open(&self, bars: Standpoint) {
        let mut state = lock(&self.0);
        *state = Some(state.unwrap_or_default().max(bars));
    }

    /// For good: the member never takes part again.
    pub(crate) fn close(&self) {
        *lock(&self.0) = None;
    }

    /// `None` while it waits.
    pub(crate) fn bars(&self) -> Option<Standpoint> {
        *lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_standpoints_the_further_counts_field_by_field() {
        let a = Standpoint {
            term: 3,
            last: Some((2, 9)),
        };
        let b = Standpoint {
            term: 1,
            last: Some((3, 4)),
        };
        let further = Standpoint {
            term: 3,
            last: Some((3, 4)),
        };
        assert_eq!((a.max(b), b.max(a)), (further, further));
        assert_eq!(Standpoint::default().max(a), a);
    }

    #[test]
    fn a_gate_is_closed_until_it_is_opened_and_after_it_was_closed() {
        let gate = Gate::default();
        assert_eq!(gate.bars(), None);
        gate.open(Standpoint { term: 4, last: None });
        assert_eq!(gate.bars().map(|bars| bars.term), Some(4));
        gate.close();
        assert_eq!(gate.bars(), None);
    }
}
