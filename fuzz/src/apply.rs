//! Any log, applied: nobody's entry brings a node down, all nodes come to one state, also those that started anew in the
//! middle or from a snapshot, and a command that is refused leaves nothing but its place in the table of commands.

use bytes::Bytes;
use std::sync::Arc;
use symbolon_state::testing::MemoryRecords;
use symbolon_state::{Applied, Clock, Entry, Fault, Kind, Machine, Records, View, keys, query};
use symbolon_wire::Code;
use symbolon_wire::command::ParsedCommand;

use crate::stage::{Base, Lenient, base, chain};
use crate::steps::{Step, steps};

/// Entries of one input.
const STEPS_MAX: usize = 40;

/// The second node starts anew before each so many-th entry. It reads the policies again, which takes far longer than an entry.
const RESTARTS_EVERY: u64 = 8;

struct Replica {
    records: MemoryRecords,
    machine: Machine,
}

impl Replica {
    fn new(base: &Base) -> Self {
        let (records, machine) = (base.records.clone(), base.machine.clone());
        Self { records, machine }
    }

    /// `None` where the log raises a level that this build does not know: there a node stops.
    fn apply(&mut self, entry: &Entry) -> Option<Applied> {
        let applied = self.machine.apply(&mut self.records, entry);
        if matches!(applied, Err(Fault::NewerLevel { .. })) {
            return None;
        }
        Some(applied.expect("state is whole"))
    }

    /// The same node after a restart, or another that took its snapshot.
    fn anew(&self, base: &Base) -> Self {
        let records = self.records.reindexed().expect("names derive from records");
        let machine =
            Machine::load(&records, Arc::clone(&base.roster), Arc::new(Lenient)).expect("what apply wrote loads");
        Self { records, machine }
    }
}

/// Applies the log that `data` means.
///
/// # Panics
/// When an invariant is broken.
pub fn run(data: &[u8]) {
    let base = base();
    let (mut node, mut other) = (Replica::new(base), Replica::new(base));
    let mut earlier: Vec<(u16, Bytes)> = Vec::new();
    for (index, step) in (base.index + 1..).zip(steps::<Step>(data, STEPS_MAX)) {
        let (kind, payload) = step.entry(base, &earlier);
        earlier.push((kind, payload.clone()));
        let entry = Entry {
            index,
            kind,
            payload,
            chain: chain(index),
        };
        let before = Before::of(&node);
        let applied = node.apply(&entry);
        if let Some(applied) = &applied {
            before.check(&node, &entry, applied);
        }
        if index % RESTARTS_EVERY == 0 {
            other = other.anew(base);
        }
        assert_eq!(other.apply(&entry), applied, "two nodes answer alike: {step:?}");
        assert!(other.records == node.records, "two nodes come to one state: {step:?}");
        if applied.is_none() {
            break;
        }
    }
    readable(base, &node.records);
}

struct Before {
    records: MemoryRecords,
    log_time_ms: u64,
    level: u32,
    policy_version: u64,
}

impl Before {
    fn of(node: &Replica) -> Self {
        Self {
            records: node.records.clone(),
            log_time_ms: log_time_ms(&node.records),
            level: query::feature_level(&node.records).expect("state has a level"),
            policy_version: node.machine.policy_version(),
        }
    }

    fn check(self, node: &Replica, entry: &Entry, applied: &Applied) {
        assert!(log_time_ms(&node.records) >= self.log_time_ms, "log time went back");
        let level = query::feature_level(&node.records).expect("state has a level");
        assert!(level >= self.level, "the feature level fell");
        assert!(
            node.machine.policy_version() >= self.policy_version,
            "an older policy set came back"
        );
        let outcome = &applied.outcome;
        if entry.kind != Kind::Command.number() {
            return;
        }
        if outcome.repeated {
            assert!(self.records == node.records, "a repeated command changed something");
            assert!(outcome.index < entry.index && applied.effects.is_empty());
        } else if outcome.code != 0 {
            assert!(applied.effects.is_empty(), "a refused command had effects");
            self.refused(node, entry, outcome.code);
        }
    }

    /// Before its signatures are checked a command leaves nothing; afterwards the record that it was refused, when that
    /// falls due, and one more in its principal's count.
    fn refused(self, node: &Replica, entry: &Entry, code: u32) {
        if self.records == node.records {
            return;
        }
        let unknown = [
            Code::Malformed,
            Code::WrongCluster,
            Code::BadSignature,
            Code::UnknownKey,
            Code::TooFewSignatures,
            Code::NonceReused,
            Code::TooManyCommands,
        ];
        let command = ParsedCommand::parse(entry.payload.clone()).expect("only a command can leave a record");
        let done = keys::done(command.principal, &command.nonce);
        let early = unknown.iter().any(|one| *one as u32 == code) && self.records.get(&done) == node.records.get(&done);
        assert!(!early, "a command nobody vouched for left a record: {code}");
        let mut expected = self.records;
        let due = keys::due(command.expires_ms, &done);
        for key in [done, due, keys::principal_use(command.principal)] {
            let now = node
                .records
                .get(&key)
                .expect("memory")
                .expect("a refusal is recorded whole");
            expected.put(key, now);
        }
        assert!(expected == node.records, "a refused command changed something: {code}");
    }
}

fn log_time_ms(records: &MemoryRecords) -> u64 {
    Clock::read(records).expect("state has a clock").log_time_ms()
}

/// Whatever was written can be read, and counts agree with what is there.
fn readable(base: &Base, records: &MemoryRecords) {
    let tenant = base.roster.first_tenant;
    query::principals(records, usize::MAX).expect("principals decode");
    query::policies(records).expect("policies decode");
    query::children(records, tenant, "", "", 100).expect("names lead to records");
    query::unconfirmed(records, 0, None, 100).expect("dealings decode");
    let secrets = records.scan(&[keys::SECRET], None, usize::MAX).expect("memory");
    for (key, _) in secrets {
        let id = key.last_chunk::<16>().copied().expect("a secret's key ends in its id");
        let id = symbolon_wire::ids::SecretId(id);
        let secret = query::secret(records, tenant, id)
            .expect("secrets decode")
            .expect("just listed");
        let versions = query::versions(records, id, usize::MAX).expect("versions decode");
        let shown = versions.iter().filter(|(_, state)| !state.deleted).count();
        assert_eq!(shown as u64, secret.visible, "versions that are shown are counted");
        assert_eq!(versions.last().map(|(number, _)| *number), Some(secret.latest));
        assert_eq!(versions.first().map(|(number, _)| *number), Some(secret.oldest));
        for (number, state) in versions {
            let stored = query::version(records, id, number).expect("versions decode");
            assert_eq!(
                stored.is_none(),
                state.destroyed,
                "a destroyed version leaves no dealing, another does"
            );
        }
    }
}
