//! Fewer than t fragments without t permits: whoever obtained t fragments of a version was permitted by t nodes, each of
//! which decided from a state in which the policy said yes. What the policy says is computed here from the log, not asked
//! of the gate.

use super::{Rights, places};
use crate::history::{Event, What};
use crate::limits::THRESHOLD;
use std::collections::{BTreeMap, BTreeSet};
use symbolon_crypto::Hash;

#[derive(Default)]
struct Obtained {
    fragments: BTreeSet<u16>,
    permitted: BTreeSet<u16>,
}

pub(super) fn check(events: &[Event]) -> Vec<String> {
    let rights = Rights::of(events);
    let mut obtained: BTreeMap<(u16, Hash), Obtained> = BTreeMap::new();
    for (_, what) in places(events) {
        if let What::Released(release) = what {
            let by = obtained.entry((release.agent, release.record)).or_default();
            by.fragments.insert(release.node);
            if rights.allowed(release.agent, release.key.folder, release.state_index) {
                by.permitted.insert(release.node);
            }
        }
    }
    let without = |by: &Obtained| by.fragments.len() >= THRESHOLD && by.permitted.len() < THRESHOLD;
    let violations = obtained.into_iter().filter(|(_, by)| without(by));
    violations
        .map(|((agent, _), by)| {
            format!(
                "agent {agent} obtained the fragments of nodes {:?}; only {:?} had reason to permit it",
                by.fragments, by.permitted
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::broken::{history, release, revoked_at_9};
    use super::*;

    fn with(releases: Vec<What>) -> Vec<String> {
        let mut whats = revoked_at_9();
        whats.extend(releases);
        check(&history(whats))
    }

    #[test]
    fn t_permitted_fragments_pass() {
        assert_eq!(with(vec![release(1, 0, 5), release(2, 0, 8)]), Vec::<String>::new());
    }

    #[test]
    fn one_fragment_without_a_permit_passes() {
        assert_eq!(with(vec![release(1, 0, 9)]), Vec::<String>::new());
    }

    #[test]
    fn t_fragments_with_one_permit_are_found() {
        assert_eq!(with(vec![release(1, 0, 5), release(2, 0, 9)]).len(), 1);
    }

    #[test]
    fn t_fragments_before_the_agent_was_registered_are_found() {
        assert_eq!(with(vec![release(1, 0, 0), release(2, 0, 0)]).len(), 1);
    }

    #[test]
    fn one_node_that_releases_twice_gives_one_fragment() {
        assert_eq!(with(vec![release(1, 0, 9), release(1, 0, 9)]), Vec::<String>::new());
    }
}
