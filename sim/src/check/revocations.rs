//! Fewer than t releases to requests that arrive after a revocation was committed.
//!
//! An entry is known to be committed when the first node applies it, which is before anybody is told. A release counts
//! against a revocation if its request arrived later, and it was not decided from a state in which the right had been
//! granted again.

use super::{Rights, places};
use crate::history::{Event, Release, What};
use crate::limits::THRESHOLD;
use std::collections::{BTreeMap, BTreeSet};
use symbolon_crypto::Hash;

pub(super) fn check(events: &[Event]) -> Vec<String> {
    let rights = Rights::of(events);
    let mut of_reader: BTreeMap<(u16, u8), Vec<&Release>> = BTreeMap::new();
    for (_, what) in places(events) {
        if let What::Released(release) = what {
            let reader = (release.agent, release.key.folder);
            of_reader.entry(reader).or_default().push(release);
        }
    }
    let mut violations = Vec::new();
    for ((agent, folder), releases) in of_reader {
        let turns = rights.turns(agent, folder);
        for (nth, turn) in turns.iter().enumerate().filter(|(_, turn)| !turn.allowed) {
            let granted_again = turns.get(nth + 1).map_or(u64::MAX, |next| next.index);
            let mut nodes: BTreeMap<Hash, BTreeSet<u16>> = BTreeMap::new();
            for release in &releases {
                if release.arrived > turn.committed && release.state_index < granted_again {
                    nodes.entry(release.record).or_default().insert(release.node);
                }
            }
            for (_, nodes) in nodes.into_iter().filter(|(_, nodes)| nodes.len() >= THRESHOLD) {
                let index = turn.index;
                violations.push(format!(
                    "nodes {nodes:?} released one version to agent {agent} for requests that arrived after entry {index} \
                     had revoked its right to folder {folder}"
                ));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::broken::{changed, history, release, revoked_at_9};
    use super::*;
    use crate::grants::Grants;
    use crate::history::ChangeKind;

    /// The revocation is the third thing that happened.
    const AFTER: usize = 3;
    const BEFORE: usize = 2;

    fn with(releases: Vec<What>) -> Vec<String> {
        let mut whats = revoked_at_9();
        whats.extend(releases);
        check(&history(whats))
    }

    #[test]
    fn one_stale_node_is_not_enough() {
        let releases = vec![release(1, AFTER, 8), release(1, AFTER, 8), release(2, BEFORE, 8)];
        assert_eq!(with(releases), Vec::<String>::new());
    }

    #[test]
    fn releases_to_requests_that_had_arrived_before_are_allowed() {
        let releases = vec![release(1, BEFORE, 8), release(2, BEFORE, 8), release(3, BEFORE, 8)];
        assert_eq!(with(releases), Vec::<String>::new());
    }

    #[test]
    fn t_stale_nodes_are_found() {
        assert_eq!(with(vec![release(1, AFTER, 8), release(3, AFTER, 8)]).len(), 1);
    }

    #[test]
    fn t_nodes_that_ignore_the_policy_are_found() {
        assert_eq!(with(vec![release(1, AFTER, 9), release(2, AFTER, 11)]).len(), 1);
    }

    #[test]
    fn releases_after_the_right_was_granted_again_are_allowed() {
        let grant = changed(1, 15, ChangeKind::Policies(Grants::everything(1)));
        let fresh = vec![grant.clone(), release(1, AFTER + 1, 15), release(2, AFTER + 1, 16)];
        assert_eq!(with(fresh), Vec::<String>::new());
        let stale = vec![grant, release(1, AFTER + 1, 14), release(2, AFTER + 1, 14)];
        assert_eq!(with(stale).len(), 1);
    }

    #[test]
    fn t_releases_to_a_removed_agent_are_found() {
        let mut whats = revoked_at_9();
        whats[2] = changed(1, 9, ChangeKind::Removed(1));
        whats.extend([release(1, AFTER, 8), release(2, AFTER, 8)]);
        assert_eq!(check(&history(whats)).len(), 1);
    }
}
