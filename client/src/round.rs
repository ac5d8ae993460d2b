//! Asking several nodes at once: so many, nearest first, another when that takes unusually long, another for each that fails
//! or of which nothing at all is heard.

use crate::node::{Failure, Node, Sign};
use crate::spare::Spare;
use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What happened next.
pub(crate) enum Event<T> {
    /// This node answered, or failed to.
    From(u16, Result<T, Failure>),
    /// Nobody answered for a while, or one of them is gone: another may be asked.
    Slow,
    /// All who were asked have answered.
    Idle,
}

/// The nodes that may be asked, and those that were.
pub(crate) struct Round<'a, T> {
    unasked: VecDeque<Arc<Node>>,
    pending: JoinSet<(u16, Result<T, Failure>, Duration)>,
    spare: &'a Spare,
    spare_at: Instant,
    /// When to look whether those that were asked have given any sign of life since, in the order of asking. A node that is
    /// gone is not waited for as long as one that is slow.
    listening: VecDeque<(Instant, Arc<Node>, Sign)>,
    answered: bool,
}

impl<'a, T: Send + 'static> Round<'a, T> {
    /// Nothing is asked yet. `nodes` stand in the order in which to ask them.
    pub(crate) fn new(nodes: Vec<Arc<Node>>, spare: &'a Spare) -> Self {
        Self {
            unasked: nodes.into(),
            pending: JoinSet::new(),
            spare,
            spare_at: Instant::now() + spare.delay(),
            listening: VecDeque::new(),
            answered: false,
        }
    }

    /// Asks the next node, if one is left.
    pub(crate) fn ask<F>(&mut self, ask: impl FnOnce(Arc<Node>) -> F) -> bool
    where
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let Some(node) = self.unasked.pop_front() else {
            return false;
        };
        self.ask_node(node, ask);
        true
    }

    /// Asks this node (again).
    pub(crate) fn ask_node<F>(&mut self, node: Arc<Node>, ask: impl FnOnce(Arc<Node>) -> F)
    where
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let index = node.index;
        let since = Instant::now();
        let sign = node.last_sign();
        self.listening
            .push_back((since + sign.silent_after(), node.clone(), sign));
        let answer = ask(node);
        self.pending
            .spawn(async move { (index, answer.await, since.elapsed()) });
    }

    /// Answers that are still to come.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Whether answers are still to come.
    pub(crate) fn waits(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Waits for what happens next.
    pub(crate) async fn next(&mut self) -> Event<T> {
        loop {
            let look = self.listening.front().map(|(at, ..)| *at);
            let wake = look.map_or(self.spare_at, |at| at.min(self.spare_at));
            let waking = async {
                match self.unasked.is_empty() {
                    true => std::future::pending().await,
                    false => tokio::time::sleep_until(wake).await,
                }
            };
            tokio::select! {
                biased;
                joined = self.pending.join_next() => match joined {
                    Some(Ok((node, answer, took))) => {
                        // A connection that was lost with the answer counts as silent; who asked knows already.
                        self.listening.retain(|(_, asked, _)| asked.index != node);
                        if answer.is_ok() && !std::mem::replace(&mut self.answered, true) {
                            self.spare.answered(took);
                        }
                        return Event::From(node, answer);
                    }
                    // A task that was aborted or panicked gives no answer; the others go on.
                    Some(Err(_)) => {}
                    None => return Event::Idle,
                },
                () = waking => {
                    let now = Instant::now();
                    if self.spare_at <= now {
                        self.spare_at = now + self.spare.delay();
                        return Event::Slow;
                    }
                    if let Some((_, node, sign)) = self.listening.pop_front()
                        && node.silent_since(&sign)
                    {
                        return Event::Slow;
                    }
                }
            }
        }
    }
}

/// Where a set of answers stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// These t (places in the list, latest state first) agree, and nobody shows otherwise from a later state.
    Agreed(Vec<usize>),
    /// Some differ, and no t may be trusted over the others.
    Split,
    /// More are needed.
    Few,
}

/// Groups answers, each given as (what it says, the state index it was given from). A group of t holds if none of its t
/// latest states is older than a state from which somebody said otherwise: then at least one honest node of the t has
/// seen what the others saw, and more.
pub(crate) fn standing<K: PartialEq>(answers: &[(K, u64)], t: usize) -> Standing {
    let mut differ = false;
    for (first, _) in answers {
        let mut members: Vec<(usize, u64)> = Vec::with_capacity(answers.len());
        let mut otherwise = None;
        for (place, (key, state_index)) in answers.iter().enumerate() {
            if key == first {
                members.push((place, *state_index));
            } else {
                otherwise = otherwise.max(Some(*state_index));
            }
        }
        differ |= otherwise.is_some();
        members.sort_by_key(|(place, state_index)| (std::cmp::Reverse(*state_index), *place));
        members.truncate(t);
        let lowest = members.last().map(|(_, state_index)| *state_index);
        #[cfg(feature = "sabotage")]
        let otherwise = if symbolon_sabotage::Bug::LowerVersion.on() {
            None
        } else {
            otherwise
        };
        if members.len() == t && otherwise <= lowest {
            return Standing::Agreed(members.into_iter().map(|(place, _)| place).collect());
        }
    }
    if differ { Standing::Split } else { Standing::Few }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_than_t_answers_are_few() {
        assert_eq!(standing::<u8>(&[], 2), Standing::Few);
        assert_eq!(standing(&[('a', 7)], 2), Standing::Few);
    }

    #[test]
    fn t_equal_answers_agree_the_latest_states_first() {
        assert_eq!(standing(&[('a', 7), ('a', 9)], 2), Standing::Agreed(vec![1, 0]));
        assert_eq!(
            standing(&[('a', 7), ('a', 9), ('a', 8)], 2),
            Standing::Agreed(vec![1, 2])
        );
    }

    #[test]
    fn t_equal_answers_do_not_outvote_one_from_a_later_state() {
        assert_eq!(standing(&[('a', 7), ('b', 9), ('a', 8)], 2), Standing::Split);
        assert_eq!(
            standing(&[('a', 7), ('b', 7), ('a', 8)], 2),
            Standing::Agreed(vec![2, 0])
        );
        assert_eq!(
            standing(&[('a', 6), ('b', 7), ('a', 8)], 2),
            Standing::Split,
            "one of the two is older"
        );
    }

    #[test]
    fn two_different_answers_are_split() {
        assert_eq!(standing(&[('a', 7), ('b', 7)], 2), Standing::Split);
    }

    #[test]
    fn each_seeded_bug_is_found_by_its_test_here() {
        symbolon_sabotage::caught_in(file!());
    }
}
