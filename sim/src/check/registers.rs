//! Reads, writes, deletions and changes of rights are linearizable, secret by secret.

use super::places;
use crate::grants::Key;
use crate::history::{Answer, Call, ChangeKind, Event, Moment, What};
use std::collections::{BTreeMap, BTreeSet};
use symbolon_linear::Operation;
use symbolon_linear::secret::{self, Secret};
use symbolon_wire::Code;

pub(super) fn check(events: &[Event]) -> Vec<String> {
    let agents = agents(events);
    let operations = operations(events);
    let mut violations = Vec::new();
    for key in Key::all() {
        let of_key: Vec<_> = operations.iter().filter_map(|one| about(one, key, &agents)).collect();
        // Every agent counts as registered from the beginning: nobody reads before he is.
        if let Err(fault) = symbolon_linear::check(Secret::new(0, BTreeSet::new()), &of_key) {
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
            previous: version.saturating_sub(1),
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

#[cfg(test)]
mod tests {
    use super::super::broken::{KEY, history};
    use super::*;
    use crate::grants::Grants;
    use symbolon_linear::secret::Change as Alteration;

    fn write(op: u64, version: u64, mark: u8) -> What {
        let call = Call::Write {
            key: KEY,
            version,
            record: [mark; 32],
            value: [mark; 32],
            confirmed_by: 0,
        };
        What::Called { op, agent: 1, call }
    }

    fn read(op: u64) -> What {
        What::Called {
            op,
            agent: 2,
            call: Call::Read(KEY),
        }
    }

    fn ended(op: u64, answer: Answer) -> What {
        What::Answered { op, answer }
    }

    fn done(op: u64) -> What {
        let answer = Answer::Done {
            index: op,
            chain: [0; 32],
        };
        ended(op, answer)
    }

    fn value(op: u64, version: u64, mark: u8) -> What {
        let answer = Answer::Value {
            version,
            record: [mark; 32],
            value: [mark; 32],
        };
        ended(op, answer)
    }

    /// Whether something is found wrong with it, after everybody was granted everything.
    fn broken(whats: Vec<What>) -> bool {
        let grant = Call::Change {
            kind: ChangeKind::Policies(Grants::everything(2)),
            previous: 0,
        };
        let granted = What::Called {
            op: 100,
            agent: 1_000,
            call: grant,
        };
        let whats = [vec![granted, done(100)], whats].concat();
        !check(&history(whats)).is_empty()
    }

    #[test]
    fn reads_and_writes_in_order_pass() {
        let whats = vec![
            read(0),
            ended(0, Answer::Nothing),
            write(1, 1, 1),
            read(2),
            done(1),
            value(2, 1, 1),
            write(3, 2, 2),
            read(4),
            value(4, 1, 1),
            done(3),
            read(5),
            value(5, 2, 2),
        ];
        assert!(!broken(whats));
    }

    #[test]
    fn a_write_with_unknown_outcome_may_be_read_or_not() {
        let unknown = |then| {
            let mut whats = vec![
                write(1, 1, 1),
                done(1),
                write(2, 2, 2),
                ended(2, Answer::Unknown),
                read(3),
            ];
            whats.push(then);
            broken(whats)
        };
        assert!(!unknown(value(3, 1, 1)));
        assert!(!unknown(value(3, 2, 2)));
    }

    #[test]
    fn a_stale_read_is_found() {
        let whats = vec![
            write(1, 1, 1),
            done(1),
            write(2, 2, 2),
            done(2),
            read(3),
            value(3, 1, 1),
        ];
        assert!(broken(whats));
    }

    #[test]
    fn a_read_that_goes_back_is_found() {
        let whats = vec![
            write(1, 1, 1),
            done(1),
            write(2, 2, 2),
            read(3),
            value(3, 2, 2),
            read(4),
            value(4, 1, 1),
        ];
        assert!(broken(whats));
    }

    #[test]
    fn nothing_where_something_was_written_is_found() {
        assert!(broken(vec![
            write(1, 1, 1),
            done(1),
            read(2),
            ended(2, Answer::Nothing)
        ]));
    }

    #[test]
    fn a_value_that_nobody_wrote_is_found() {
        assert!(broken(vec![read(1), value(1, 1, 9)]));
    }

    #[test]
    fn a_value_from_the_future_is_found() {
        assert!(broken(vec![read(1), value(1, 1, 1), write(2, 1, 1), done(2)]));
    }

    #[test]
    fn two_values_of_one_version_are_found() {
        assert!(
            broken(vec![write(1, 1, 1), write(2, 1, 2), done(1), done(2)]),
            "both were acknowledged"
        );
    }

    #[test]
    fn another_value_under_the_right_record_is_found() {
        let answer = Answer::Value {
            version: 1,
            record: [1; 32],
            value: [7; 32],
        };
        assert!(broken(vec![write(1, 1, 1), done(1), read(2), ended(2, answer)]));
    }

    #[test]
    fn a_write_that_makes_an_old_version_is_found() {
        let whats = vec![write(1, 1, 1), done(1), write(2, 1, 1), done(2)];
        assert!(broken(whats));
    }

    fn altered(op: u64, alteration: Alteration) -> What {
        let call = Call::Alter {
            key: KEY,
            alteration,
            version: 1,
            latest: 1,
        };
        What::Called { op, agent: 1, call }
    }

    #[test]
    fn a_deleted_version_that_is_still_read_is_found() {
        let deleted = |then| {
            let deleting = vec![
                write(1, 1, 1),
                done(1),
                altered(2, Alteration::Delete),
                done(2),
                read(3),
            ];
            broken([deleting, vec![then]].concat())
        };
        assert!(deleted(value(3, 1, 1)));
        assert!(!deleted(ended(3, Answer::Nothing)));
    }

    #[test]
    fn a_read_after_an_acknowledged_revocation_and_a_denial_before_it_are_found() {
        let revoke = Call::Change {
            kind: ChangeKind::Policies(Grants::default()),
            previous: 1,
        };
        let revoking = What::Called {
            op: 5,
            agent: 1_000,
            call: revoke,
        };
        let denied = |op| ended(op, Answer::Refused(Code::Denied));
        let written = vec![write(1, 1, 1), done(1)];
        let revoked = |then| broken([written.clone(), vec![revoking.clone(), done(5), read(6), then]].concat());
        assert!(revoked(value(6, 1, 1)));
        assert!(!revoked(denied(6)));
        assert!(broken([written.clone(), vec![read(6), denied(6)]].concat()));
    }
}
