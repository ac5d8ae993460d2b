//! No acknowledged write is lost: after every node has lost whatever it had not synced, each of them has applied the log
//! up to the index of the acknowledgement, with the chain that was acknowledged, and has the version that was written. A
//! node that took over a later snapshot does not know the chain; some node does.

use super::places;
use crate::grants::Key;
use crate::history::{Answer, Call, Event, What};
use crate::limits::NODES;
use std::collections::{BTreeMap, BTreeSet};
use symbolon_crypto::Hash;
use symbolon_linear::secret::Change;

/// How many nodes told what they have of an operation, and how many of them know the chain.
#[derive(Clone, Copy, Default)]
struct Seen {
    nodes: usize,
    chains: usize,
}

pub(super) fn check(events: &[Event]) -> Vec<String> {
    let mut writes: BTreeMap<u64, Hash> = BTreeMap::new();
    let mut acknowledged: BTreeMap<u64, (u64, Hash)> = BTreeMap::new();
    let mut found: BTreeMap<u64, Seen> = BTreeMap::new();
    let mut violations = Vec::new();
    let destroyed: BTreeSet<(Key, u64)> = places(events).filter_map(|(_, what)| destroyed(what)).collect();
    for (_, what) in places(events) {
        match what {
            What::Called {
                op,
                call: Call::Write {
                    key, version, record, ..
                },
                ..
            } if !destroyed.contains(&(*key, *version)) => {
                writes.insert(*op, *record);
            }
            What::Answered {
                op,
                answer: Answer::Done { index, chain },
            } => {
                acknowledged.insert(*op, (*index, *chain));
            }
            What::Found {
                node,
                op,
                applied,
                chain,
                record,
            } => {
                let Some((index, expected)) = acknowledged.get(op) else {
                    continue;
                };
                let seen = found.entry(*op).or_default();
                seen.nodes += 1;
                seen.chains += usize::from(chain.is_some());
                if !applied || chain.is_some_and(|chain| chain != *expected) {
                    violations.push(format!(
                        "node {node} has lost entry {index}, acknowledged to operation {op}"
                    ));
                } else if writes.get(op).is_some_and(|written| record.as_ref() != Some(written)) {
                    violations.push(format!(
                        "node {node} has lost the version that operation {op} wrote at {index}"
                    ));
                }
            }
            _ => {}
        }
    }
    // A checker that is not told what nodes have would find nothing.
    for (op, (index, _)) in &acknowledged {
        let seen = found.get(op).copied().unwrap_or_default();
        if seen.nodes < usize::from(NODES) {
            violations.push(format!(
                "only {} nodes were asked for entry {index} of operation {op}",
                seen.nodes
            ));
        } else if seen.chains == 0 {
            violations.push(format!(
                "no node knows the chain at {index}, acknowledged to operation {op}"
            ));
        }
    }
    violations
}

/// The version that somebody wanted to destroy, whether or not it came to that: it may be gone.
fn destroyed(what: &What) -> Option<(Key, u64)> {
    match what {
        What::Called {
            call:
                Call::Alter {
                    key,
                    version,
                    alteration: Change::Destroy,
                    ..
                },
            ..
        } => Some((*key, *version)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::broken::{KEY, history};
    use super::*;

    fn written() -> Vec<What> {
        let call = Call::Write {
            key: KEY,
            version: 1,
            record: [1; 32],
            value: [2; 32],
            confirmed_by: 0,
        };
        let answer = Answer::Done {
            index: 5,
            chain: [3; 32],
        };
        vec![What::Called { op: 1, agent: 1, call }, What::Answered { op: 1, answer }]
    }

    fn found(node: u16, chain: Option<Hash>, record: Option<Hash>) -> What {
        What::Found {
            node,
            op: 1,
            applied: true,
            chain,
            record,
        }
    }

    fn look(third: What) -> Vec<String> {
        let mut whats = written();
        whats.extend([1, 2].map(|node| found(node, Some([3; 32]), Some([1; 32]))));
        whats.push(third);
        check(&history(whats))
    }

    #[test]
    fn what_every_node_has_is_not_lost() {
        assert_eq!(look(found(3, Some([3; 32]), Some([1; 32]))), Vec::<String>::new());
    }

    #[test]
    fn a_node_that_took_over_a_snapshot_need_not_know_the_chain() {
        assert_eq!(look(found(3, None, Some([1; 32]))), Vec::<String>::new());
    }

    #[test]
    fn an_entry_missing_on_one_node_is_found() {
        let behind = What::Found {
            node: 3,
            op: 1,
            applied: false,
            chain: None,
            record: None,
        };
        assert_eq!(look(behind).len(), 1);
    }

    #[test]
    fn another_entry_at_that_index_is_found() {
        assert_eq!(look(found(3, Some([4; 32]), Some([1; 32]))).len(), 1);
    }

    #[test]
    fn a_missing_version_is_found() {
        assert_eq!(look(found(3, Some([3; 32]), None)).len(), 1);
    }

    #[test]
    fn an_entry_whose_chain_nobody_knows_is_found() {
        let mut whats = written();
        whats.extend([1, 2, 3].map(|node| found(node, None, Some([1; 32]))));
        assert_eq!(check(&history(whats)).len(), 1);
    }

    #[test]
    fn an_acknowledgement_that_nobody_looked_for_is_found() {
        assert_eq!(check(&history(written())).len(), 1);
    }
}
