//! Linearizability: whether operations that overlapped in time can be put in one order, each between its beginning and
//! its end, in which every answer is right (Herlihy, Wing, TOPLAS 1990; the search of Wing and Gong, JPDC 1993, with
//! Lowe's memory of configurations, CCPE 2017).
//!
//! An operation whose outcome is unknown may have taken effect at any time after it began, or never. A history is checked
//! for one object at a time, which is enough (locality); [`secret`] is the object that the cluster offers.
#![forbid(unsafe_code)]

pub mod secret;

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::hash::Hash;

/// Configurations that a search may visit, for each operation of the history: far more than histories of a sound cluster
/// need, few enough that a hopeless search ends.
const CONFIGURATIONS_PER_OPERATION: usize = 20_000;

/// What an object is and does, one operation after the other.
pub trait Object: Clone + Eq + Hash {
    /// What can be asked of it.
    type Call: fmt::Debug;
    /// What it can answer.
    type Answer: fmt::Debug;

    /// The object after `call` was answered by `answer`, or by whatever it answers if that is unknown; `None` if it
    /// answers otherwise, or if a call of unknown outcome changes nothing.
    #[must_use]
    fn after(&self, call: &Self::Call, answer: Option<&Self::Answer>) -> Option<Self>;
}

/// One operation, as its client saw it. Moments only need an order.
#[derive(Debug, Clone)]
pub struct Operation<C, A> {
    /// What was asked.
    pub call: C,
    /// When it began.
    pub began: u64,
    /// When it ended, and how; `None` if its outcome is unknown.
    pub ended: Option<(u64, A)>,
}

/// Why a history does not pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No order explains the answers.
    #[error("after {explained} operations no order explains the answer to {operation}")]
    NotLinearizable {
        /// How many operations the longest explanation holds.
        explained: usize,
        /// The operation that ends first among those that it cannot hold.
        operation: String,
    },
    /// The search was given up: whether an order exists is not known.
    #[error("no order was found among {configurations} configurations; whether there is one is not known")]
    Undecided {
        /// How many were tried.
        configurations: usize,
    },
}

/// Where a search stands: which operations are in the order so far, and the object after them.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Configuration<S> {
    /// All answered operations before this one, by beginning, are in.
    first: usize,
    /// Answered ones after it that are in too.
    ahead: BTreeSet<usize>,
    /// Unknown ones that are in.
    guessed: BTreeSet<usize>,
    object: S,
}

struct Search<'a, S: Object> {
    /// By beginning.
    answered: Vec<&'a Operation<S::Call, S::Answer>>,
    /// By beginning.
    unknown: Vec<&'a Operation<S::Call, S::Answer>>,
}

/// Which operation comes next in an order.
#[derive(Clone, Copy)]
enum Next {
    Answered(usize),
    Unknown(usize),
}

/// Whether the operations on one object that is `initial` at first are linearizable.
///
/// # Errors
/// [`Fault`].
pub fn check<S: Object>(initial: S, operations: &[Operation<S::Call, S::Answer>]) -> Result<(), Fault> {
    let (mut answered, mut unknown): (Vec<_>, Vec<_>) = operations.iter().partition(|one| one.ended.is_some());
    answered.sort_by_key(|one| one.began);
    unknown.sort_by_key(|one| one.began);
    Search::<S> { answered, unknown }.run(initial)
}

impl<S: Object> Search<'_, S> {
    fn run(&self, initial: S) -> Result<(), Fault> {
        let configurations_max = (self.answered.len() + 1).saturating_mul(CONFIGURATIONS_PER_OPERATION);
        let start = Configuration {
            first: 0,
            ahead: BTreeSet::new(),
            guessed: BTreeSet::new(),
            object: initial,
        };
        let mut seen: HashSet<Configuration<S>> = HashSet::new();
        let mut best = (0, start.clone());
        let mut stack = vec![(self.next(&start), start)];
        while let Some((choices, at)) = stack.last_mut() {
            if at.first == self.answered.len() {
                return Ok(());
            }
            let Some(choice) = choices.pop() else {
                stack.pop();
                continue;
            };
            let Some(then) = self.step(at, choice) else { continue };
            if !seen.insert(then.clone()) {
                continue;
            }
            if seen.len() >= configurations_max {
                let configurations = seen.len();
                return Err(Fault::Undecided { configurations });
            }
            let explained = then.first + then.ahead.len();
            if explained > best.0 {
                best = (explained, then.clone());
            }
            stack.push((self.next(&then), then));
        }
        let (explained, at) = best;
        let stuck = self.open(&at).min_by_key(|(_, one)| end(one));
        Err(Fault::NotLinearizable {
            explained,
            operation: stuck.map(|(_, one)| format!("{one:?}")).unwrap_or_default(),
        })
    }

    /// Answered operations that are not in the order yet.
    fn open(&self, at: &Configuration<S>) -> impl Iterator<Item = (usize, &Operation<S::Call, S::Answer>)> {
        let later = self.answered.iter().copied().enumerate().skip(at.first);
        later.filter(|(place, _)| !at.ahead.contains(place))
    }

    /// What may come next: whatever began before the first open operation ended. The best guess comes last.
    fn next(&self, at: &Configuration<S>) -> Vec<Next> {
        let mut first_end = u64::MAX;
        let mut answered = Vec::new();
        for (place, one) in self.open(at) {
            if one.began > first_end {
                break;
            }
            first_end = first_end.min(end(one));
            answered.push((end(one), place));
        }
        answered.sort_unstable_by(|a, b| b.cmp(a));
        let begun = self.unknown.iter().enumerate();
        let begun = begun.take_while(|(_, one)| one.began < first_end);
        let open = begun.filter(|(place, _)| !at.guessed.contains(place));
        let unknown = open.map(|(place, _)| Next::Unknown(place));
        unknown
            .chain(answered.into_iter().map(|(_, place)| Next::Answered(place)))
            .collect()
    }

    fn step(&self, at: &Configuration<S>, next: Next) -> Option<Configuration<S>> {
        let (Next::Answered(place) | Next::Unknown(place)) = next;
        let list = match next {
            Next::Answered(_) => &self.answered,
            Next::Unknown(_) => &self.unknown,
        };
        let one = list.get(place)?;
        let answer = one.ended.as_ref().map(|(_, answer)| answer);
        let object = at.object.after(&one.call, answer)?;
        let mut then = Configuration { object, ..at.clone() };
        match next {
            Next::Unknown(place) => {
                then.guessed.insert(place);
            }
            Next::Answered(place) => {
                then.ahead.insert(place);
                while then.ahead.remove(&then.first) {
                    then.first += 1;
                }
            }
        }
        Some(then)
    }
}

fn end<C, A>(one: &Operation<C, A>) -> u64 {
    one.ended.as_ref().map_or(u64::MAX, |(at, _)| *at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Holds one number.
    #[derive(Clone, PartialEq, Eq, Hash)]
    struct Cell(u8);

    #[derive(Debug, Clone, Copy)]
    enum Ask {
        Set(u8),
        Get,
    }

    impl Object for Cell {
        type Call = Ask;
        type Answer = u8;

        fn after(&self, call: &Ask, answer: Option<&u8>) -> Option<Self> {
            match (call, answer) {
                (Ask::Set(to), _) => Some(Self(*to)),
                (Ask::Get, Some(read)) => (*read == self.0).then(|| self.clone()),
                (Ask::Get, None) => None,
            }
        }
    }

    fn op(call: Ask, began: u64, ended: Option<(u64, u8)>) -> Operation<Ask, u8> {
        Operation { call, began, ended }
    }

    #[test]
    fn overlapping_operations_may_take_any_order_and_others_may_not() {
        let set = op(Ask::Set(1), 1, Some((5, 0)));
        let during = |read| vec![set.clone(), op(Ask::Get, 2, Some((4, read)))];
        assert_eq!(check(Cell(0), &during(0)), Ok(()));
        assert_eq!(check(Cell(0), &during(1)), Ok(()));
        let after = |read| vec![set.clone(), op(Ask::Get, 6, Some((7, read)))];
        assert_eq!(check(Cell(0), &after(1)), Ok(()));
        assert!(check(Cell(0), &after(0)).is_err());
    }

    #[test]
    fn what_began_early_may_be_late_in_the_order() {
        let history = [
            op(Ask::Set(1), 1, Some((20, 0))),
            op(Ask::Set(2), 2, Some((19, 0))),
            op(Ask::Get, 3, Some((4, 0))),
            op(Ask::Get, 5, Some((6, 2))),
            op(Ask::Get, 7, Some((8, 1))),
        ];
        assert_eq!(check(Cell(0), &history), Ok(()));
        let mut back = history.to_vec();
        back.push(op(Ask::Get, 9, Some((10, 0))));
        assert!(check(Cell(0), &back).is_err(), "nothing sets it back");
    }

    #[test]
    fn an_unknown_operation_happened_late_or_never_but_not_before_it_began() {
        let unknown = op(Ask::Set(1), 5, None);
        let read = |at, value| op(Ask::Get, at, Some((at + 1, value)));
        let history = |reads: &[Operation<Ask, u8>]| {
            let mut all = vec![unknown.clone()];
            all.extend_from_slice(reads);
            check(Cell(0), &all)
        };
        assert_eq!(history(&[read(10, 0), read(20, 0)]), Ok(()));
        assert_eq!(history(&[read(10, 0), read(20, 1)]), Ok(()));
        assert!(history(&[read(2, 1)]).is_err(), "it had not begun");
        assert!(history(&[read(10, 1), read(20, 0)]).is_err(), "it happens once");
    }

    #[test]
    fn a_fault_names_the_operation_that_nothing_explains() {
        let history = [op(Ask::Set(1), 1, Some((2, 0))), op(Ask::Get, 3, Some((4, 7)))];
        let Err(Fault::NotLinearizable { explained, operation }) = check(Cell(0), &history) else {
            panic!("a value that nobody set");
        };
        assert_eq!(explained, 1);
        assert!(operation.contains("Get"), "{operation}");
    }
}
