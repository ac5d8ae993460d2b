//! Equal chains at equal index, on all nodes and through all their boots; equal state roots at marks.

use super::places;
use crate::history::{Event, What};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use symbolon_crypto::Hash;

pub(super) fn check(events: &[Event]) -> Vec<String> {
    let (mut chains, mut roots) = (BTreeMap::new(), BTreeMap::new());
    let mut violations = Vec::new();
    for (_, what) in places(events) {
        match what {
            What::Applied { node, index, chain, .. } => {
                violations.extend(compare(&mut chains, "chains", *node, *index, *chain))
            }
            What::Marked { node, index, root } => {
                violations.extend(compare(&mut roots, "state roots", *node, *index, *root));
            }
            _ => {}
        }
    }
    violations
}

fn compare(known: &mut BTreeMap<u64, (u16, Hash)>, of: &str, node: u16, index: u64, value: Hash) -> Option<String> {
    match known.entry(index) {
        Entry::Vacant(place) => {
            place.insert((node, value));
            None
        }
        Entry::Occupied(place) => {
            let (other, expected) = place.get();
            (value != *expected).then(|| format!("the {of} of nodes {other} and {node} differ at index {index}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::broken::{applied, history};
    use super::*;

    #[test]
    fn one_log_on_all_nodes_passes() {
        let whats = vec![applied(1, 1, 1), applied(2, 1, 1), applied(2, 2, 5), applied(1, 2, 5)];
        assert_eq!(check(&history(whats)), Vec::<String>::new());
    }

    #[test]
    fn two_entries_at_one_index_are_found() {
        let whats = vec![applied(1, 1, 1), applied(2, 1, 2)];
        assert_eq!(check(&history(whats)).len(), 1);
    }

    #[test]
    fn a_node_that_applies_something_else_after_a_restart_is_found() {
        let whats = vec![applied(1, 1, 1), What::Stopped { node: 1 }, applied(1, 1, 2)];
        assert_eq!(check(&history(whats)).len(), 1);
    }

    #[test]
    fn two_state_roots_at_one_mark_are_found() {
        let marked = |node, root| What::Marked {
            node,
            index: 4,
            root: [root; 32],
        };
        assert_eq!(check(&history(vec![marked(1, 1), marked(2, 1)])), Vec::<String>::new());
        assert_eq!(check(&history(vec![marked(1, 1), marked(2, 2)])).len(), 1);
    }
}
