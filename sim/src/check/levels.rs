//! A write is acknowledged at level `verified` or `full` only when so many nodes have confirmed, in the log, that their
//! fragment checks; whatever was sent how often.

use super::places;
use crate::history::{Answer, Call, Entry, Event, What};
use std::collections::{BTreeMap, BTreeSet};
use symbolon_crypto::Hash;

pub(super) fn check(events: &[Event]) -> Vec<String> {
    let mut writes: BTreeMap<u64, (Hash, usize)> = BTreeMap::new();
    // The first entry of each dealing: a repetition of its command makes no other one.
    let mut dealt: BTreeMap<Hash, u64> = BTreeMap::new();
    let mut confirmed: BTreeMap<u64, BTreeSet<u16>> = BTreeMap::new();
    let mut violations = Vec::new();
    for (_, what) in places(events) {
        match what {
            What::Called {
                op,
                call: Call::Write {
                    record, confirmed_by, ..
                },
                ..
            } => {
                writes.insert(*op, (*record, *confirmed_by));
            }
            What::Applied {
                index,
                entry: Entry::Dealt(record),
                ..
            } => {
                let first = dealt.entry(*record).or_insert(*index);
                *first = (*first).min(*index);
            }
            What::Applied {
                entry: Entry::Confirmed { node, indices },
                ..
            } => {
                for index in indices {
                    confirmed.entry(*index).or_default().insert(*node);
                }
            }
            What::Answered {
                op,
                answer: Answer::Done { .. },
            } => {
                let Some((record, needed)) = writes.get(op) else {
                    continue;
                };
                let by = dealt.get(record).and_then(|index| confirmed.get(index));
                let found = by.map_or(0, BTreeSet::len);
                if found < *needed {
                    violations.push(format!(
                        "operation {op} was acknowledged with {found} of {needed} confirmations"
                    ));
                }
            }
            _ => {}
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::broken::{KEY, history};
    use super::*;

    fn entry(index: u64, entry: Entry) -> What {
        What::Applied {
            node: 1,
            index,
            chain: [0; 32],
            entry,
        }
    }

    fn confirmed(node: u16, index: u64) -> What {
        let indices = vec![index];
        entry(index + 1, Entry::Confirmed { node, indices })
    }

    fn acknowledged_after(entries: Vec<What>) -> usize {
        let call = Call::Write {
            key: KEY,
            version: 1,
            record: [1; 32],
            value: [2; 32],
            confirmed_by: 3,
        };
        let answer = Answer::Done {
            index: 4,
            chain: [0; 32],
        };
        let mut whats = vec![What::Called { op: 1, agent: 1, call }];
        whats.extend(entries);
        whats.push(What::Answered { op: 1, answer });
        check(&history(whats)).len()
    }

    #[test]
    fn a_write_that_all_have_confirmed_passes() {
        let entries = vec![
            entry(4, Entry::Dealt([1; 32])),
            confirmed(1, 4),
            confirmed(2, 4),
            confirmed(3, 4),
        ];
        assert_eq!(acknowledged_after(entries), 0);
    }

    #[test]
    fn a_write_that_one_has_not_confirmed_is_found() {
        let entries = vec![
            entry(4, Entry::Dealt([1; 32])),
            confirmed(1, 4),
            confirmed(2, 4),
            confirmed(2, 4),
        ];
        assert_eq!(acknowledged_after(entries), 1);
    }

    #[test]
    fn confirmations_of_another_dealing_do_not_count() {
        let entries = vec![
            entry(3, Entry::Dealt([9; 32])),
            entry(4, Entry::Dealt([1; 32])),
            confirmed(1, 3),
            confirmed(2, 3),
            confirmed(3, 3),
        ];
        assert_eq!(acknowledged_after(entries), 1);
    }

    #[test]
    fn a_repetition_does_not_count_for_the_dealing() {
        let entries = vec![
            entry(4, Entry::Dealt([1; 32])),
            entry(9, Entry::Dealt([1; 32])),
            confirmed(1, 9),
            confirmed(2, 9),
            confirmed(3, 9),
        ];
        assert_eq!(acknowledged_after(entries), 1);
    }
}
