//! The invariants (proof.md, "Invariants of the simulation"), each a checker over the history. Each has a test that
//! feeds it a broken history, and the campaign has broken configurations that it must catch.

mod audits;
mod blame;
mod chains;
mod levels;
mod permits;
mod recovery;
mod registers;
mod revocations;
mod writes;

use crate::history::{Answer, ChangeKind, Entry, Event, Moment, What};
use crate::limits::VIOLATIONS_MAX;
use std::collections::{BTreeMap, BTreeSet};
use symbolon_crypto::Hash;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// How.
    pub detail: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.invariant, self.detail)
    }
}

type Check = fn(&[Event]) -> Vec<String>;

/// What must hold of every history, also of one that is cut short.
const ALWAYS: [(&str, Check); 6] = [
    ("equal chains and state roots at equal index", chains::check),
    (
        "fewer than t releases to requests that arrive after a revocation was committed",
        revocations::check,
    ),
    ("fewer than t fragments without t permits", permits::check),
    ("reads and writes of one secret are linearizable", registers::check),
    (
        "a write is acknowledged at its level only when so many nodes have confirmed",
        levels::check,
    ),
    ("no honest node and no honest author is blamed", blame::check),
];

/// What must hold once a run has been healed and looked at.
const AT_THE_END: [(&str, Check); 3] = [
    ("no acknowledged write is lost", writes::check),
    ("a durable audit record before each release", audits::check),
    ("a leader within 10 s of healing, health within 60 s", recovery::check),
];

/// Checks all invariants over a whole run.
pub fn all(events: &[Event]) -> Vec<Violation> {
    let mut found = meanwhile(events);
    found.extend(run(&AT_THE_END, events));
    found
}

/// Checks what must hold at any time.
pub fn meanwhile(events: &[Event]) -> Vec<Violation> {
    run(&ALWAYS, events)
}

/// Checks what must hold although one node lies: of what honest nodes did, and of what clients saw if its
/// acknowledgements prove nothing.
pub(crate) fn despite_a_liar(events: &[Event], liar: u16) -> Vec<Violation> {
    const STILL: [(&str, Check); 3] = [
        (
            "fewer than t releases to requests that arrive after a revocation was committed",
            revocations::check,
        ),
        ("fewer than t fragments without t permits", permits::check),
        ("reads and writes of one secret are linearizable", registers::check),
    ];
    let seen: Vec<Event> = events.iter().filter_map(|event| believed(event, liar)).collect();
    let mut found = run(&STILL, &seen);
    found.extend(events.iter().filter_map(|event| match &event.what {
        What::Named { node, what } if *node != liar => Some(Violation {
            invariant: "no client names an honest node",
            detail: format!("node {node}: {what}"),
        }),
        _ => None,
    }));
    let wrong = events.iter().filter_map(|event| match &event.what {
        What::Answered {
            op,
            answer: Answer::Wrong(why),
        } => Some(Violation {
            invariant: "every value that is read opens",
            detail: format!("operation {op}: {why}"),
        }),
        _ => None,
    });
    found.extend(wrong);
    found
}

/// The event without what only the liar says.
fn believed(event: &Event, liar: u16) -> Option<Event> {
    let mut event = event.clone();
    match &mut event.what {
        What::Applied { node, .. } if *node == liar => return None,
        What::Released(release) if release.node == liar => return None,
        What::Answered { answer, .. } if matches!(answer, Answer::Done { .. } | Answer::Refused(_)) => {
            *answer = Answer::Unknown;
        }
        _ => {}
    }
    Some(event)
}

fn run(checks: &[(&'static str, Check)], events: &[Event]) -> Vec<Violation> {
    let mut found = Vec::new();
    for (invariant, check) in checks {
        let details = check(events).into_iter().take(VIOLATIONS_MAX);
        found.extend(details.map(|detail| Violation { invariant, detail }));
    }
    found
}

/// The history, each event with its place.
fn places(events: &[Event]) -> impl Iterator<Item = (Moment, &What)> {
    events.iter().enumerate().map(|(place, event)| (place, &event.what))
}

/// Who may read what, by log index, as the applied commands say.
struct Rights {
    /// When an entry was known to be committed, and what it changed.
    changes: BTreeMap<u64, (Moment, ChangeKind)>,
}

impl Rights {
    /// The first node that applies an entry shows that it is committed. A command that is logged again changes nothing.
    fn of(events: &[Event]) -> Self {
        let mut first: BTreeMap<Hash, u64> = BTreeMap::new();
        let mut changes: BTreeMap<u64, (Moment, ChangeKind)> = BTreeMap::new();
        for (place, what) in places(events) {
            let What::Applied {
                index,
                entry: Entry::Change(change),
                ..
            } = what
            else {
                continue;
            };
            let lowest = first.entry(change.nonce).or_insert(*index);
            *lowest = (*lowest).min(*index);
            changes.entry(*index).or_insert_with(|| (place, change.kind.clone()));
        }
        let effective: BTreeSet<u64> = first.into_values().collect();
        changes.retain(|index, _| effective.contains(index));
        Self { changes }
    }

    /// Log indices from which on `agent` may, or may not, read in `folder`, each with the moment it was committed.
    fn turns(&self, agent: u16, folder: u8) -> Vec<Turn> {
        let (mut granted, mut live) = (false, false);
        let mut turns: Vec<Turn> = Vec::new();
        for (index, (committed, change)) in &self.changes {
            match change {
                ChangeKind::Policies(grants) => granted = grants.allow(agent, folder),
                ChangeKind::Registered(who) if *who == agent => live = true,
                ChangeKind::Removed(who) if *who == agent => live = false,
                ChangeKind::Registered(_) | ChangeKind::Removed(_) => {}
            }
            let allowed = granted && live;
            if turns.last().map_or(allowed, |turn| turn.allowed != allowed) {
                turns.push(Turn {
                    index: *index,
                    committed: *committed,
                    allowed,
                });
            }
        }
        turns
    }

    /// Whether `agent` may read in `folder` at log index `index`.
    fn allowed(&self, agent: u16, folder: u8, index: u64) -> bool {
        let turns = self.turns(agent, folder);
        turns
            .iter()
            .rev()
            .find(|turn| turn.index <= index)
            .is_some_and(|turn| turn.allowed)
    }
}

/// A change of one agent's rights in one folder.
struct Turn {
    index: u64,
    committed: Moment,
    allowed: bool,
}

#[cfg(test)]
pub(crate) mod broken {
    //! Pieces of hand-made histories.

    use super::*;
    use crate::grants::{Grants, Key};
    use crate::history::{Change, Release};

    pub(crate) const KEY: Key = Key { folder: 0, secret: 0 };

    pub(crate) fn history(whats: Vec<What>) -> Vec<Event> {
        let event = |(at_ms, what)| Event { at_ms, what };
        (0..).zip(whats).map(event).collect()
    }

    pub(crate) fn applied(node: u16, index: u64, chain: u8) -> What {
        What::Applied {
            node,
            index,
            chain: [chain; 32],
            entry: Entry::Other,
        }
    }

    pub(crate) fn changed(node: u16, index: u64, kind: ChangeKind) -> What {
        let nonce = [u8::try_from(index).unwrap(); 32];
        What::Applied {
            node,
            index,
            chain: nonce,
            entry: Entry::Change(Change { nonce, kind }),
        }
    }

    /// Agent 1 is registered at index 1, may read everything from 2 on and nothing in folder 0 from 9 on.
    pub(crate) fn revoked_at_9() -> Vec<What> {
        let everything = Grants::everything(1);
        vec![
            changed(1, 1, ChangeKind::Registered(1)),
            changed(1, 2, ChangeKind::Policies(everything.clone())),
            changed(1, 9, ChangeKind::Policies(everything.toggled(1, 0))),
        ]
    }

    pub(crate) fn release(node: u16, arrived: Moment, state_index: u64) -> What {
        What::Released(Release {
            node,
            agent: 1,
            key: KEY,
            version: 1,
            record: [7; 32],
            arrived,
            state_index,
            request: [8; 32],
            client_key: [9; 32],
            audit_index: 0,
        })
    }

    #[test]
    fn an_acknowledgement_proves_nothing_where_one_node_lies_but_a_forged_value_is_found() {
        use crate::history::Call;
        let called = |op, call| What::Called { op, agent: 1, call };
        let done = |op| What::Answered {
            op,
            answer: Answer::Done {
                index: op,
                chain: [0; 32],
            },
        };
        let grant = Call::Change {
            kind: ChangeKind::Policies(Grants::everything(1)),
            previous: 0,
        };
        let write = Call::Write {
            key: KEY,
            version: 1,
            record: [1; 32],
            value: [1; 32],
            confirmed_by: 0,
        };
        let read = |answer| {
            let begun = vec![called(1, grant.clone()), done(1), called(2, write.clone()), done(2)];
            let read = vec![called(3, Call::Read(KEY)), What::Answered { op: 3, answer }];
            history([begun, read].concat())
        };
        let value = |mark: u8| Answer::Value {
            version: 1,
            record: [mark; 32],
            value: [mark; 32],
        };
        let dropped = read(Answer::Nothing);
        assert_eq!(despite_a_liar(&dropped, 3), Vec::new());
        assert!(!registers::check(&dropped).is_empty(), "without a liar it is a loss");
        assert_eq!(despite_a_liar(&read(value(1)), 3), Vec::new());
        assert!(!despite_a_liar(&read(value(9)), 3).is_empty());
        assert!(!despite_a_liar(&read(Answer::Wrong("it does not open".to_owned())), 3).is_empty());
        let named = |node| {
            let what = "its reply does not verify".to_owned();
            despite_a_liar(&history(vec![What::Named { node, what }]), 3)
        };
        assert!(named(3).is_empty() && !named(2).is_empty());
    }

    #[test]
    fn rights_follow_the_log_and_not_its_repetitions() {
        let mut whats = revoked_at_9();
        // The grant is logged again after the revocation, under its old nonce.
        let What::Applied { entry, .. } = whats[1].clone() else {
            panic!("a change");
        };
        whats.push(What::Applied {
            node: 1,
            index: 12,
            chain: [0; 32],
            entry,
        });
        let rights = Rights::of(&history(whats));
        assert!(!rights.allowed(1, 0, 1) && rights.allowed(1, 0, 2) && rights.allowed(1, 0, 8));
        assert!(!rights.allowed(1, 0, 9) && !rights.allowed(1, 0, 12));
        assert!(rights.allowed(1, 1, 12), "the other folder stays open");
    }
}
