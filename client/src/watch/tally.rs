//! What each node told of what changed, and what follows from it: a change counts once t nodes tell it alike, and a stretch
//! of the log without one once t nodes say so. One node can thus neither invent nor hide anything, and none is missed.

use crate::error::Misdeed;
use std::collections::{BTreeMap, BTreeSet};
use symbolon_wire::change::Target;
use symbolon_wire::limits::{DELETE_VERSIONS_MAX, VERSIONS_MAX};
use symbolon_wire::path::PATH_BYTES_MAX;
use symbolon_wire::v1;

/// So many versions one act changes at most.
const _: () = assert!(DELETE_VERSIONS_MAX as u64 >= VERSIONS_MAX);

/// What one node told.
#[derive(Debug, Default)]
struct Told {
    /// It has told all up to this log index.
    covered: u64,
    /// What of it others have not agreed to yet.
    changes: BTreeMap<u64, v1::Change>,
}

/// The nodes' answers, merged.
#[derive(Debug)]
pub(crate) struct Tally {
    threshold: usize,
    /// All up to this log index is settled.
    position: u64,
    told: BTreeMap<u16, Told>,
}

/// How far the nodes' answers lead.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// t nodes tell this change, and nothing before it.
    Change(v1::Change),
    /// More must be told first.
    Wait,
    /// What t nodes have told of this entry differs, and none of it t times.
    Split(u64),
}

impl Tally {
    /// Nothing is told yet of what comes after `position`.
    pub(crate) fn new(nodes: impl Iterator<Item = u16>, threshold: usize, position: u64) -> Self {
        let told = nodes.map(|node| (node, Told::default())).collect();
        Self {
            threshold,
            position,
            told,
        }
    }

    /// All up to this log index is settled.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// From where on to ask `node`.
    pub(crate) fn covered(&self, node: u16) -> u64 {
        self.told
            .get(&node)
            .map_or(self.position, |told| told.covered.max(self.position))
    }

    /// Changes told by `node` that others have not agreed to yet.
    pub(crate) fn backlog(&self, node: u16) -> usize {
        self.told.get(&node).map_or(0, |told| told.changes.len())
    }

    /// Forgets what is not settled, so that it can be asked anew.
    pub(crate) fn forget(&mut self) {
        self.told.values_mut().for_each(|told| *told = Told::default());
    }

    /// Takes an answer to what changed at `target` after `after`.
    ///
    /// # Errors
    /// [`Misdeed::NotAnAnswer`]: it answers something else.
    pub(crate) fn take(
        &mut self,
        node: u16,
        target: &Target,
        after: u64,
        reply: v1::WatchReply,
    ) -> Result<(), Misdeed> {
        let ascend = reply.changes.is_sorted_by(|one, next| one.log_index < next.log_index);
        let fits = |change: &v1::Change| {
            change.log_index > after
                && change.log_index <= reply.upto
                && target.covers(&change.path)
                // No act has more, and changes of nodes that agree with nobody are kept for a while.
                && change.path.len() <= PATH_BYTES_MAX
                && change.versions.len().max(change.destroyed.len()) <= DELETE_VERSIONS_MAX
        };
        if !ascend || !reply.changes.iter().all(fits) {
            return Err(Misdeed::NotAnAnswer);
        }
        // An answer to what was asked before the rest was forgotten leaves a gap.
        if after <= self.covered(node)
            && let Some(told) = self.told.get_mut(&node)
        {
            let news = reply.changes.into_iter().map(|change| (change.log_index, change));
            told.changes.extend(news.filter(|(index, _)| *index > self.position));
            told.covered = told.covered.max(reply.upto);
        }
        Ok(())
    }

    /// The next change, or why there is none yet. What is settled moves on.
    pub(crate) fn step(&mut self) -> Step {
        loop {
            let upto = self.covered_by_t();
            if upto <= self.position {
                return Step::Wait;
            }
            let first = self.told.values().filter_map(|told| told.changes.keys().next()).min();
            let Some(index) = first.copied().filter(|index| *index <= upto) else {
                self.settle(upto);
                return Step::Wait;
            };
            match self.agreed(index) {
                None => return Step::Split(index),
                Some(None) => self.settle(index),
                Some(Some(change)) => {
                    self.settle(index);
                    return Step::Change(change);
                }
            }
        }
    }

    /// Up to where t nodes have told all.
    fn covered_by_t(&self) -> u64 {
        let mut covered: Vec<u64> = self.told.values().map(|told| told.covered).collect();
        covered.sort_unstable_by(|one, other| other.cmp(one));
        let place = self.threshold.saturating_sub(1);
        covered.get(place).copied().unwrap_or_default()
    }

    /// What t nodes say of one entry: a change, or that there is none.
    fn agreed(&self, index: u64) -> Option<Option<v1::Change>> {
        let who = self.told.values().filter(|told| told.covered >= index);
        let said: Vec<Option<&v1::Change>> = who.map(|told| told.changes.get(&index)).collect();
        let by_t = |one: &&Option<&v1::Change>| said.iter().filter(|other| other == one).count() >= self.threshold;
        said.iter().find(by_t).map(|change| change.cloned())
    }

    fn settle(&mut self, index: u64) {
        self.position = index;
        for told in self.told.values_mut() {
            told.changes = told.changes.split_off(&index.saturating_add(1));
        }
    }

    /// Who told what of an entry, for people.
    pub(crate) fn differing(&self, index: u64) -> Vec<String> {
        let who = self.told.iter().filter(|(_, told)| told.covered >= index);
        let said: BTreeSet<(u16, String)> = who
            .map(|(node, told)| match told.changes.get(&index) {
                None => (*node, "nothing".to_owned()),
                Some(change) => (*node, format!("a change at {}", crate::error::words(&change.path))),
            })
            .collect();
        said.into_iter()
            .map(|(node, what)| format!("node {node} tells of {what} at log index {index}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> Tally {
        Tally::new(1..=3, 2, 10)
    }

    fn all() -> Target {
        Target::Folder(String::new())
    }

    fn change(log_index: u64, version: u64) -> v1::Change {
        v1::Change {
            log_index,
            path: "prod/key".to_owned(),
            kind: 1,
            versions: vec![version],
            ..v1::Change::default()
        }
    }

    fn says(tally: &mut Tally, node: u16, changes: &[v1::Change], upto: u64) {
        let after = tally.covered(node);
        let changes = changes
            .iter()
            .filter(|change| change.log_index > after)
            .cloned()
            .collect();
        tally
            .take(node, &all(), after, v1::WatchReply { changes, upto })
            .unwrap();
    }

    #[test]
    fn a_change_counts_once_t_nodes_tell_it_and_is_told_once() {
        let mut tally = tally();
        says(&mut tally, 1, &[change(12, 1)], 15);
        assert_eq!(tally.step(), Step::Wait);
        says(&mut tally, 2, &[change(12, 1)], 12);
        assert_eq!(tally.step(), Step::Change(change(12, 1)));
        assert_eq!(tally.step(), Step::Wait);
        says(&mut tally, 3, &[change(12, 1)], 14);
        assert_eq!((tally.step(), tally.position()), (Step::Wait, 14));
    }

    #[test]
    fn one_node_can_neither_invent_nor_hide_nor_alter_a_change() {
        for lie in [
            vec![],
            vec![change(12, 9)],
            vec![change(11, 1), change(12, 1), change(13, 1)],
        ] {
            for first in 1..=3 {
                let mut tally = tally();
                let mut told = Vec::new();
                // The liar is node 1, and first, second or last to answer.
                for node in [1, 2, 3].into_iter().cycle().skip(first).take(3) {
                    let changes = if node == 1 { lie.clone() } else { vec![change(12, 1)] };
                    says(&mut tally, node, &changes, 15);
                    while let Step::Change(change) = tally.step() {
                        told.push(change);
                    }
                }
                assert_eq!((told, tally.position()), (vec![change(12, 1)], 15), "{lie:?}");
            }
        }
    }

    #[test]
    fn a_node_that_claims_to_have_told_all_for_ever_hides_nothing() {
        let mut tally = tally();
        says(&mut tally, 1, &[], u64::MAX);
        says(&mut tally, 2, &[change(12, 1)], 15);
        assert_eq!(tally.step(), Step::Split(12));
        says(&mut tally, 3, &[change(12, 1)], 15);
        assert_eq!(tally.step(), Step::Change(change(12, 1)));
        assert_eq!((tally.step(), tally.position()), (Step::Wait, 15));
    }

    #[test]
    fn what_two_nodes_tell_differently_waits_for_the_third_and_can_be_asked_anew() {
        let mut tally = tally();
        says(&mut tally, 1, &[change(12, 1)], 15);
        says(&mut tally, 2, &[], 15);
        assert_eq!(tally.step(), Step::Split(12));
        assert_eq!(tally.differing(12).len(), 2);
        tally.forget();
        assert_eq!((tally.step(), tally.covered(1)), (Step::Wait, 10));
        says(&mut tally, 1, &[], 15);
        says(&mut tally, 2, &[], 15);
        assert_eq!((tally.step(), tally.position()), (Step::Wait, 15));
    }

    #[test]
    fn an_answer_that_leaves_a_gap_does_not_count() {
        let mut tally = tally();
        let reply = |upto| v1::WatchReply {
            upto,
            ..v1::WatchReply::default()
        };
        tally.take(1, &all(), 12, reply(20)).unwrap();
        tally.take(2, &all(), 12, reply(20)).unwrap();
        assert_eq!((tally.step(), tally.position()), (Step::Wait, 10));
        assert_eq!(tally.covered(1), 10, "what lies between was never told");
    }

    #[test]
    fn a_node_that_lags_is_asked_from_where_the_others_are() {
        let mut tally = tally();
        says(&mut tally, 1, &[change(12, 1)], 30);
        says(&mut tally, 2, &[change(12, 1)], 30);
        while tally.step() != Step::Wait {}
        assert_eq!((tally.position(), tally.covered(3)), (30, 30));
        // An answer to what it was asked before tells of the past: that is settled.
        tally
            .take(
                3,
                &all(),
                10,
                v1::WatchReply {
                    changes: vec![change(12, 1), change(31, 2)],
                    upto: 31,
                },
            )
            .unwrap();
        says(&mut tally, 1, &[change(31, 2)], 31);
        assert_eq!(tally.step(), Step::Change(change(31, 2)));
    }

    #[test]
    fn an_answer_of_the_wrong_form_is_none() {
        let elsewhere = v1::Change {
            path: "other/key".to_owned(),
            ..change(12, 1)
        };
        let folder = Target::Folder("prod".to_owned());
        for changes in [
            vec![change(12, 1), change(12, 2)],
            vec![change(13, 1), change(12, 2)],
            vec![change(10, 1)],
            vec![change(16, 1)],
            vec![elsewhere],
            vec![v1::Change {
                versions: vec![1; DELETE_VERSIONS_MAX + 1],
                ..change(12, 1)
            }],
            vec![v1::Change {
                path: format!("prod/{}", "a".repeat(PATH_BYTES_MAX)),
                ..change(12, 1)
            }],
        ] {
            let taken = tally().take(1, &folder, 10, v1::WatchReply { changes, upto: 15 });
            assert_eq!(taken, Err(Misdeed::NotAnAnswer));
        }
    }
}
