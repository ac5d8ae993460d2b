//! One secret as its clients see it, with the policy that says who may read it: versions that follow each other, each
//! shown, hidden or destroyed; changes that name what they follow.

use super::Object;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// SHA-256 of a value.
pub type Hash = [u8; 32];

/// Clients, by number.
pub type Reader = u16;

/// What is done to versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Hidden from readers.
    Delete,
    /// Shown again.
    Undelete,
    /// Gone for good.
    Destroy,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// The latest version, or one.
    Read {
        /// By whom.
        reader: Reader,
        /// Which; `None` for the latest.
        version: Option<u64>,
    },
    /// To write version `previous + 1`, if `previous` is the latest.
    Write {
        /// What the writer saw last; 0 for nothing.
        previous: u64,
        /// SHA-256 of the value.
        value: Hash,
    },
    /// To change a version, if `latest` is the latest, or whatever is if the author leaves that open.
    Change {
        /// How.
        change: Change,
        /// Which.
        version: u64,
        /// What the author saw last.
        latest: Option<u64>,
    },
    /// To let exactly these read, if the rights are at version `previous`.
    Rights {
        /// What the operators saw last.
        previous: u64,
        /// Who may read then.
        readers: BTreeSet<Reader>,
    },
    /// To remove somebody for good.
    Removed {
        /// Whom.
        reader: Reader,
    },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was done.
    Done,
    /// Refused: something else is the latest.
    Conflict,
    /// There is no such version, or none that is shown.
    NotFound,
    /// The reader may not.
    Denied,
    /// A value was read.
    Value {
        /// Its version.
        version: u64,
        /// SHA-256 of it.
        value: Hash,
    },
}

/// One version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Version {
    value: Hash,
    hidden: bool,
    destroyed: bool,
}

/// A secret and who may read it. Parts that seldom change are shared between configurations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Secret {
    versions: Arc<BTreeMap<u64, Version>>,
    rights: u64,
    readers: Arc<BTreeSet<Reader>>,
    removed: Arc<BTreeSet<Reader>>,
}

/// By what tells most configurations apart; a search hashes many of them.
impl std::hash::Hash for Secret {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.versions.last_key_value().hash(state);
        self.rights.hash(state);
        self.removed.len().hash(state);
    }
}

impl Secret {
    /// Without versions, under rights of this version that let these read.
    #[must_use]
    pub fn new(rights: u64, readers: BTreeSet<Reader>) -> Self {
        Self {
            rights,
            readers: Arc::new(readers),
            ..Self::default()
        }
    }

    fn latest(&self) -> u64 {
        self.versions.last_key_value().map_or(0, |(number, _)| *number)
    }

    fn read(&self, reader: Reader, version: Option<u64>) -> Answer {
        if !self.readers.contains(&reader) || self.removed.contains(&reader) {
            return Answer::Denied;
        }
        let number = version.unwrap_or_else(|| self.latest());
        match self.versions.get(&number) {
            Some(found) if !found.hidden => Answer::Value {
                version: number,
                value: found.value,
            },
            _ => Answer::NotFound,
        }
    }

    /// The answer to a command, and what it makes.
    fn command(&self, call: &Call) -> (Answer, Option<Self>) {
        let mut then = self.clone();
        match call {
            Call::Read { reader, version } => (self.read(*reader, *version), None),
            Call::Write { previous, .. } if *previous != self.latest() => (Answer::Conflict, None),
            Call::Write { previous, value } => {
                let version = Version {
                    value: *value,
                    hidden: false,
                    destroyed: false,
                };
                Arc::make_mut(&mut then.versions).insert(previous + 1, version);
                (Answer::Done, Some(then))
            }
            Call::Change { .. } if self.versions.is_empty() => (Answer::NotFound, None),
            Call::Change {
                latest: Some(latest), ..
            } if *latest != self.latest() => (Answer::Conflict, None),
            Call::Change { change, version, .. } => {
                let Some(changed) = Arc::make_mut(&mut then.versions).get_mut(version) else {
                    return (Answer::NotFound, None);
                };
                match change {
                    Change::Delete => changed.hidden = true,
                    Change::Undelete if changed.destroyed => return (Answer::NotFound, None),
                    Change::Undelete => changed.hidden = false,
                    Change::Destroy => (changed.hidden, changed.destroyed) = (true, true),
                }
                (Answer::Done, Some(then))
            }
            Call::Rights { previous, .. } if *previous != self.rights => (Answer::Conflict, None),
            Call::Rights { previous, readers } => {
                then.rights = previous + 1;
                then.readers = Arc::new(readers.clone());
                (Answer::Done, Some(then))
            }
            Call::Removed { reader } if self.removed.contains(reader) => (Answer::NotFound, None),
            Call::Removed { reader } => {
                Arc::make_mut(&mut then.removed).insert(*reader);
                (Answer::Done, Some(then))
            }
        }
    }
}

impl Object for Secret {
    type Call = Call;
    type Answer = Answer;

    fn after(&self, call: &Call, answer: Option<&Answer>) -> Option<Self> {
        let (right, then) = self.command(call);
        match answer {
            Some(answer) if *answer != right => None,
            Some(_) => Some(then.unwrap_or_else(|| self.clone())),
            None => then,
        }
    }
}
