//! Reads and writes of one secret are linearizable. Versions follow each other without gaps, so the order of the writes
//! is known, and a history is linearizable if and only if: every version is one value; a read returns what was written,
//! not before its write began, and nothing older than what was known to be written, or read, before it began; and writes
//! that follow each other in time do so in version. Operations with unknown outcome may have happened.

use super::places;
use crate::grants::Key;
use crate::history::{Answer, Call, Event, Moment, What};
use std::collections::BTreeMap;
use symbolon_crypto::Hash;

/// What a write made.
#[derive(Clone, Copy)]
struct Written {
    version: u64,
    record: Hash,
    value: Hash,
}

/// One secret so far.
#[derive(Default)]
struct Register {
    /// By record hash, with the moment at which the write began.
    written: BTreeMap<Hash, (Moment, Written)>,
    /// The record of each version that is known to exist.
    versions: BTreeMap<u64, Hash>,
    /// The highest version that is known to exist.
    known: u64,
}

/// An operation that has begun.
struct Open {
    key: Key,
    /// The highest version that was known to exist when it began.
    known: u64,
    write: Option<Written>,
}

pub(super) fn check(events: &[Event]) -> Vec<String> {
    let mut registers: BTreeMap<Key, Register> = BTreeMap::new();
    let mut open: BTreeMap<u64, Open> = BTreeMap::new();
    let mut violations = Vec::new();
    for (place, what) in places(events) {
        match what {
            What::Called { op, call, .. } => {
                let (key, write) = match call {
                    Call::Read(key) => (*key, None),
                    Call::Write {
                        key,
                        version,
                        record,
                        value,
                        ..
                    } => {
                        let written = Written {
                            version: *version,
                            record: *record,
                            value: *value,
                        };
                        (*key, Some(written))
                    }
                    Call::Change(_) => continue,
                };
                let register = registers.entry(key).or_default();
                if let Some(written) = write {
                    register.written.insert(written.record, (place, written));
                }
                let known = register.known;
                open.insert(*op, Open { key, known, write });
            }
            What::Answered { op, answer } => {
                let Some(opened) = open.remove(op) else { continue };
                let register = registers.entry(opened.key).or_default();
                let problem = match (answer, opened.write) {
                    (Answer::Value { version, record, value }, None) => {
                        register.read(*version, *record, *value, opened.known)
                    }
                    (Answer::Nothing, None) if opened.known > 0 => Some(format!(
                        "was told that there is nothing, though version {} was there",
                        opened.known
                    )),
                    (Answer::Done { .. }, Some(written)) => register.wrote(written, opened.known),
                    _ => None,
                };
                violations.extend(problem.map(|what| format!("operation {op} on {} {what}", opened.key.path())));
            }
            _ => {}
        }
    }
    violations
}

impl Register {
    fn exists(&mut self, version: u64, record: Hash) -> Option<String> {
        self.known = self.known.max(version);
        let first = *self.versions.entry(version).or_insert(record);
        (first != record).then(|| format!("met another value as version {version} than somebody else"))
    }

    fn read(&mut self, version: u64, record: Hash, value: Hash, known: u64) -> Option<String> {
        let Some((_, written)) = self.written.get(&record).copied() else {
            return Some(format!("read version {version}, which nobody had begun to write"));
        };
        if (written.version, written.value) != (version, value) {
            return Some(format!(
                "read as version {version} what was written as {}",
                written.version
            ));
        }
        if version < known {
            return Some(format!(
                "read version {version} though {known} was there before it began"
            ));
        }
        self.exists(version, record)
    }

    fn wrote(&mut self, written: Written, known: u64) -> Option<String> {
        if written.version <= known {
            return Some(format!(
                "wrote version {} though {known} was there before it began",
                written.version
            ));
        }
        self.exists(written.version, written.record)
    }
}

#[cfg(test)]
mod tests {
    use super::super::broken::{KEY, history};
    use super::*;

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

    fn problems(whats: Vec<What>) -> usize {
        check(&history(whats)).len()
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
        assert_eq!(problems(whats), 0);
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
            problems(whats)
        };
        assert_eq!(unknown(value(3, 1, 1)), 0);
        assert_eq!(unknown(value(3, 2, 2)), 0);
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
        assert_eq!(problems(whats), 1);
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
        assert_eq!(problems(whats), 1);
    }

    #[test]
    fn nothing_where_something_was_written_is_found() {
        assert_eq!(
            problems(vec![write(1, 1, 1), done(1), read(2), ended(2, Answer::Nothing)]),
            1
        );
    }

    #[test]
    fn a_value_that_nobody_wrote_is_found() {
        assert_eq!(problems(vec![read(1), value(1, 1, 9)]), 1);
    }

    #[test]
    fn a_value_from_the_future_is_found() {
        assert_eq!(problems(vec![read(1), value(1, 1, 1), write(2, 1, 1), done(2)]), 1);
    }

    #[test]
    fn two_values_of_one_version_are_found() {
        assert_eq!(
            problems(vec![write(1, 1, 1), write(2, 1, 2), done(1), done(2)]),
            1,
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
        assert_eq!(problems(vec![write(1, 1, 1), done(1), read(2), ended(2, answer)]), 1);
    }

    #[test]
    fn a_write_that_makes_an_old_version_is_found() {
        let whats = vec![write(1, 1, 1), done(1), write(2, 1, 1), done(2)];
        assert_eq!(problems(whats), 1);
    }
}
