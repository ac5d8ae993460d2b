//! Reads, writes, deletions and changes of rights are linearizable, secret by secret.

use super::places;
use crate::grants::Key;
use crate::history::{Answer, Call, ChangeKind, Event, Moment, What};
use std::collections::{BTreeMap, BTreeSet};
use symbolon_linear::Operation;
use symbolon_linear::secret::{self, Secret, linearizable};
use symbolon_wire::Code;

pub(super) fn check(events: &[Event]) -> Vec<String> {
    let agents = agents(events);
    let operations = operations(events);
    let mut violations = Vec::new();
    for key in Key::all() {
        let of_key: Vec<_> = operations.iter().filter_map(|one| about(one, key, &agents)).collect();
        // Every agent counts as registered from the beginning: nobody reads before he is.
        if let Err(fault) = linearizable(Secret::new(0, BTreeSet::new()), &of_key) {
            violations.push(format!("{}: {fault}", key.path()));
        }
    }
    violations.extend(forged(events));
    violations
}

/// An operation as the history tells it.
struct Told<'a> {
    agent: u16,
    call: &'a Call,
    began: Moment,
    ended: Option<(Moment, &'a Answer)>,
}

fn agents(events: &[Event]) -> BTreeSet<u16> {
    let asked = places(events).filter_map(|(_, what)| match what {
        What::Called { agent, .. } => Some(*agent),
        _ => None,
    });
    asked.collect()
}

fn operations(events: &[Event]) -> Vec<Told<'_>> {
    let mut told: BTreeMap<u64, Told<'_>> = BTreeMap::new();
    for (place, what) in places(events) {
        match what {
            What::Called { op, agent, call } => {
                let begun = Told {
                    agent: *agent,
                    call,
                    began: place,
                    ended: None,
                };
                told.insert(*op, begun);
            }
            What::Answered { op, answer } => {
                if let Some(begun) = told.get_mut(op) {
                    begun.ended = Some((place, answer));
                }
            }
            _ => {}
        }
    }
    told.into_values().collect()
}

/// What the operation says about `key`; `None` if nothing.
fn about(told: &Told<'_>, key: Key, agents: &BTreeSet<u16>) -> Option<Operation<secret::Call, secret::Answer>> {
    let call = match told.call {
        Call::Read(of) if *of == key => secret::Call::Read {
            reader: told.agent,
            version: None,
        },
        Call::Write {
            key: of,
            version,
            value,
            ..
        } if *of == key => secret::Call::Write {
            previous: version - 1,
            value: *value,
        },
        Call::Alter {
            key: of,
            alteration,
            version,
            latest,
        } if *of == key => secret::Call::Change {
            change: *alteration,
            version: *version,
            latest: Some(*latest),
        },
        Call::Change { kind, previous } => match kind {
            ChangeKind::Policies(grants) => secret::Call::Rights {
                previous: *previous,
                readers: agents
                    .iter()
                    .copied()
                    .filter(|agent| grants.allow(*agent, key.folder))
                    .collect(),
            },
            ChangeKind::Registered(_) => return None,
            ChangeKind::Removed(reader) => secret::Call::Removed { reader: *reader },
        },
        _ => return None,
    };
    let Some((at, answer)) = told.ended else {
        return Some(unknown(call, told.began));
    };
    let answer = match answer {
        Answer::Value { version, value, .. } => secret::Answer::Value {
            version: *version,
            value: *value,
        },
        Answer::Nothing => secret::Answer::NotFound,
        Answer::Done { .. } => secret::Answer::Done,
        Answer::Refused(Code::Conflict) => secret::Answer::Conflict,
        // It was written, and destroyed before enough nodes had confirmed it.
        Answer::Refused(Code::NotFound) if matches!(call, secret::Call::Write { .. }) => {
            return Some(unknown(call, told.began));
        }
        Answer::Refused(Code::NotFound) => secret::Answer::NotFound,
        Answer::Refused(Code::Denied | Code::UnknownKey) if matches!(call, secret::Call::Read { .. }) => {
            secret::Answer::Denied
        }
        // Refused for a reason that has nothing to do with the secret; or it brought nothing.
        Answer::Refused(_) | Answer::Failed(_) => return None,
        Answer::Unknown | Answer::Wrong(_) => return Some(unknown(call, told.began)),
    };
    Some(Operation {
        call,
        began: moment(told.began),
        ended: Some((moment(at), answer)),
    })
}

fn unknown(call: secret::Call, began: Moment) -> Operation<secret::Call, secret::Answer> {
    Operation {
        call,
        began: moment(began),
        ended: None,
    }
}

fn moment(place: Moment) -> u64 {
    u64::try_from(place).unwrap_or(u64::MAX)
}

/// Reads of something that nobody wrote under that record.
fn forged(events: &[Event]) -> Vec<String> {
    let mut written = BTreeMap::new();
    let mut violations = Vec::new();
    for (_, what) in places(events) {
        match what {
            What::Called {
                call: Call::Write {
                    version, record, value, ..
                },
                ..
            } => {
                written.insert(*record, (*version, *value));
            }
            What::Answered {
                op,
                answer: Answer::Value { version, record, value },
            } if written.get(record) != Some(&(*version, *value)) => violations.push(format!(
                "operation {op} read as version {version} what nobody had begun to write under that record"
            )),
            _ => {}
        }
    }
    violations
}
