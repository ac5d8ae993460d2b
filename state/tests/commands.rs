//! Who may command: signatures, principals, expiry, idempotency, policies and clocks.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use bytes::Bytes;
use prost::Message;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::ops::Bound;
use symbolon_state::testing::{Author, BIRTH_MS, MemoryRecords, World, sign};
use symbolon_state::{Entry, Fault, Kind, Records, View, query};
use symbolon_wire::Code;
use symbolon_wire::command::encode_body;
use symbolon_wire::ids::{ClusterId, PrincipalKind};
use symbolon_wire::v1::{self, command_body::Payload};

const ALL: &str = r#"permit(principal, action, resource);"#;

fn session(world: &mut World, author: &mut Author) -> Payload {
    Payload::Session(world.open_session(author))
}

fn world() -> (World, Author) {
    let mut world = World::new(7, 3, 2);
    assert_eq!(world.set_policies(ALL).code, 0);
    let agent = world.agent("agent");
    (world, agent)
}

#[test]
fn a_command_for_another_cluster_is_refused() {
    let (mut world, mut agent) = world();
    let payload = session(&mut world, &mut agent);
    let body = encode_body(ClusterId([9; 16]), agent.id, &[1; 32], world.now_ms + 1000, payload);
    assert_eq!(world.submit(&sign(body, &[&agent])).code, Code::WrongCluster as u32);
}

#[test]
fn a_command_by_a_stranger_is_refused() {
    let (mut world, _) = world();
    let mut stranger = world.stranger();
    let payload = session(&mut world, &mut stranger);
    let command = world.command(payload, &[&stranger]);
    assert_eq!(world.submit(&command).code, Code::UnknownKey as u32);
}

#[test]
fn a_signature_over_other_bytes_is_refused() {
    let (mut world, mut agent) = world();
    let payload = session(&mut world, &mut agent);
    let mut command = world.command(payload, &[&agent]);
    let mut signature = command.signatures[0].signature.to_vec();
    signature[5] ^= 1;
    command.signatures[0].signature = signature.into();
    assert_eq!(world.submit(&command).code, Code::BadSignature as u32);
}

#[test]
fn a_key_of_another_principal_does_not_sign_for_this_one() {
    let (mut world, mut agent) = world();
    let other = world.agent("other");
    let payload = session(&mut world, &mut agent);
    let body = encode_body(world.roster.cluster, agent.id, &[1; 32], world.now_ms + 1000, payload);
    assert_eq!(world.submit(&sign(body, &[&other])).code, Code::BadSignature as u32);
}

/// [`World::submit`] compares what is told with what apply does, here and in all other tests.
#[test]
fn what_leaves_no_record_is_told_before_it_is_logged() {
    let (mut world, mut agent) = world();
    let told = |world: &World, command: &v1::Command| world.told(command).map(|told| (told.code, told.repeated));
    let payload = session(&mut world, &mut agent);
    let command = world.command(payload.clone(), &[&agent]);
    let mut forged = command.clone();
    forged.signatures[0].signature = vec![1; 64].into();
    assert_eq!(told(&world, &forged), Some((Code::BadSignature as u32, false)));
    assert_eq!(told(&world, &command), None);
    assert_eq!(world.submit(&command).code, 0);
    assert_eq!(told(&world, &command), Some((0, true)));
    let body = encode_body(world.roster.cluster, agent.id, &[1; 32], world.now_ms - 1000, payload);
    let expired = sign(body, &[&agent]);
    assert_eq!(told(&world, &expired), Some((Code::Expired as u32, false)));
    let stranger = world.stranger();
    let payload = session(&mut world, &mut agent);
    let unknown = world.command(payload, &[&stranger]);
    assert_eq!(told(&world, &unknown), Some((Code::UnknownKey as u32, false)));
}

/// A copy that comes late, or that a node hands to the next leader, is not refused for what has changed since the first.
#[test]
fn the_same_command_again_is_told_what_came_of_it_also_after_its_author_was_removed() {
    let (mut world, mut agent) = world();
    let payload = session(&mut world, &mut agent);
    let command = world.command(payload, &[&agent]);
    let first = world.submit(&command);
    assert_eq!((first.code, first.repeated), (0, false));
    let remove = v1::RemovePrincipal {
        id: Bytes::copy_from_slice(agent.id.bytes()),
    };
    assert_eq!(world.by_operators(Payload::Remove(remove)).code, 0);
    let again = world.submit(&command);
    assert_eq!((again.code, again.repeated, again.index), (0, true, first.index));
    let mut other = command;
    other.body = [&other.body[..], &[0]].concat().into();
    assert_ne!(world.submit(&other).code, 0, "other bytes are another command");
}

#[test]
fn expiry_is_judged_by_log_time_at_its_edges() {
    let (mut world, mut agent) = world();
    let now = world.log_time_ms();
    let cases = [
        (now, true),
        (now + 1, false),
        (now + 600_000, false),
        (now + 600_001, true),
    ];
    for (number, (expires, refused)) in (1_u8..).zip(cases) {
        let payload = session(&mut world, &mut agent);
        let body = encode_body(world.roster.cluster, agent.id, &[number; 32], expires, payload);
        let code = world.submit(&sign(body, &[&agent])).code;
        assert_eq!(
            code == Code::Expired as u32,
            refused,
            "expiry {expires} at {now}: {code}"
        );
    }
}

#[test]
fn a_body_with_an_unknown_field_is_refused() {
    let (mut world, mut agent) = world();
    let payload = session(&mut world, &mut agent);
    let body = encode_body(world.roster.cluster, agent.id, &[1; 32], world.now_ms + 1000, payload);
    let mut longer = body.to_vec();
    longer.extend_from_slice(&[0xf8, 0x07, 0x01]); // field 127, varint 1
    assert_eq!(
        world.submit(&sign(longer.into(), &[&agent])).code,
        Code::Malformed as u32
    );
}

#[test]
fn bytes_that_are_no_command_are_a_recorded_no_op() {
    let (mut world, _) = world();
    let before = world.records.clone();
    for junk in [&b""[..], &[0xff; 64], b"\x0a\xff\xff\xff\xff\x0f"] {
        let applied = world.apply(Kind::Command.number(), Bytes::copy_from_slice(junk));
        assert_eq!(applied.outcome.code, Code::Malformed as u32);
    }
    let applied = world.apply(999, Bytes::from_static(b"a kind of the future"));
    assert_eq!(applied.effects, []);
    assert_eq!(world.records, before);
}

#[test]
fn policies_need_as_many_operators_as_the_roster_says() {
    let (mut world, agent) = world();
    let previous = world.machine.policy_version();
    let set = || {
        Payload::Policies(v1::SetPolicies {
            previous,
            sources: Vec::new(),
        })
    };
    let operators = std::mem::take(&mut world.operators);
    let one = world.command(set(), &[&operators[0]]);
    assert_eq!(world.submit(&one).code, Code::TooFewSignatures as u32);
    let by_agent = world.command(set(), &[&agent]);
    assert_eq!(world.submit(&by_agent).code, Code::BadSignature as u32);
    let both = world.command(set(), &[&operators[0], &operators[1]]);
    assert_eq!(world.submit(&both).code, 0);
}

#[test]
fn one_operator_does_not_count_twice() {
    let (mut world, _) = world();
    let previous = world.machine.policy_version();
    let operators = std::mem::take(&mut world.operators);
    let payload = Payload::Policies(v1::SetPolicies {
        previous,
        sources: Vec::new(),
    });
    let mut command = world.command(payload, &[&operators[0]]);
    command.signatures.push(command.signatures[0].clone());
    assert_eq!(world.submit(&command).code, Code::Malformed as u32);
}

#[test]
fn policies_that_do_not_compile_are_refused_with_their_place() {
    let (mut world, _) = world();
    let outcome = world.set_policies("permit(principal, action, resource)\n  when { nonsense };");
    assert_eq!(outcome.code, Code::BadPolicy as u32);
    assert!(outcome.message.contains("test.cedar"), "{}", outcome.message);
}

/// Some 3.5 MB of them, if nothing bounded what Cedar says: more than any record may have, so that no node could go on.
#[test]
fn policies_that_are_refused_in_countless_words_are_refused_in_bounded_ones() {
    let mut world = World::new(4, 3, 3);
    let attributes: String = (0..999).map(|number| format!(", a{number:03}: context")).collect();
    let text = format!("permit(principal, action, resource) when {{ {{p: principal{attributes}}} }};");
    let outcome = world.set_policies(&text);
    assert_eq!(outcome.code, Code::BadPolicy as u32);
    assert!(outcome.message.starts_with("test.cedar:1"), "{}", outcome.message);
    assert!(outcome.message.ends_with('…'), "there was more");
    assert!(outcome.encoded_len() < 16 * 1024, "{} bytes", outcome.encoded_len());
}

/// Cedar suggests a name, and of equally near ones another in each process.
#[test]
fn what_is_recorded_of_bad_policies_holds_no_suggestion() {
    let mut world = World::new(4, 3, 3);
    for text in [
        "permit(principal == User::\"x\", action, resource);",
        "permit(principal, action == Action::\"get\", resource);",
    ] {
        let source = symbolon_policy::Source {
            name: "test.cedar".to_owned(),
            text: text.to_owned(),
        };
        let told = symbolon_policy::PolicySet::compile(&[source]).unwrap_err().to_string();
        assert!(told.contains("did you mean"), "{told}");
        let outcome = world.set_policies(text);
        assert_eq!(outcome.code, Code::BadPolicy as u32);
        assert!(!outcome.message.contains("did you mean"), "{}", outcome.message);
    }
}

#[test]
fn a_policy_change_that_follows_another_version_is_a_conflict() {
    let (mut world, _) = world();
    let outcome = world.by_operators(Payload::Policies(v1::SetPolicies {
        previous: 0,
        sources: Vec::new(),
    }));
    assert_eq!(outcome.code, Code::Conflict as u32);
}

#[test]
fn a_principal_without_owner_purpose_or_expiry_is_refused() {
    let (mut world, _) = world();
    let candidate = world.stranger();
    let changes: [fn(&mut v1::RegisterPrincipal); 7] = [
        |r| r.owner.clear(),
        |r| r.purpose = "  ".to_owned(),
        |r| r.expires_ms = 0,
        |r| r.expires_ms = BIRTH_MS - 1,
        |r| r.keys.clear(),
        |r| r.name = "not-a-spiffe-id".to_owned(),
        |r| r.kind = 77,
    ];
    for change in changes {
        let mut registration = world.registration(&candidate, "candidate");
        change(&mut registration);
        assert_ne!(world.by_operators(Payload::Register(registration)).code, 0);
    }
    let good = world.registration(&candidate, "candidate");
    assert_eq!(world.by_operators(Payload::Register(good)).code, 0);
}

#[test]
fn nobody_registers_an_operator_a_node_or_the_operators_group() {
    let (mut world, _) = world();
    let candidate = world.stranger();
    for kind in [PrincipalKind::Operator, PrincipalKind::Node] {
        let mut registration = world.registration(&candidate, "candidate");
        registration.kind = kind as u32;
        assert_eq!(
            world.by_operators(Payload::Register(registration)).code,
            Code::Denied as u32
        );
    }
    let mut registration = world.registration(&candidate, "candidate");
    registration.groups = vec!["operators".to_owned()];
    assert_eq!(
        world.by_operators(Payload::Register(registration)).code,
        Code::Denied as u32
    );
}

#[test]
fn a_removed_principal_its_name_and_its_key_never_come_back() {
    let (mut world, mut agent) = world();
    let remove = v1::RemovePrincipal {
        id: Bytes::copy_from_slice(agent.id.bytes()),
    };
    assert_eq!(world.by_operators(Payload::Remove(remove)).code, 0);
    let payload = session(&mut world, &mut agent);
    let command = world.command(payload, &[&agent]);
    assert_eq!(world.submit(&command).code, Code::UnknownKey as u32);
    let again = world.registration(&agent, "agent-reborn");
    assert_eq!(world.by_operators(Payload::Register(again)).code, Code::Exists as u32);
    let other = world.stranger();
    let mut same_name = world.registration(&other, "agent");
    assert_eq!(
        world.by_operators(Payload::Register(same_name.clone())).code,
        Code::Exists as u32
    );
    same_name.name = "spiffe://test/new".to_owned();
    same_name.keys = vec![Bytes::copy_from_slice(agent.key.verifying_key().spki())];
    assert_eq!(
        world.by_operators(Payload::Register(same_name)).code,
        Code::Exists as u32
    );
}

#[test]
fn a_replaced_key_stops_working_and_the_new_one_works() {
    let (mut world, agent) = world();
    let mut fresh = world.stranger();
    let rekey = v1::RekeyPrincipal {
        id: Bytes::copy_from_slice(agent.id.bytes()),
        keys: vec![Bytes::copy_from_slice(fresh.key.verifying_key().spki())],
    };
    assert_eq!(world.by_operators(Payload::Rekey(rekey)).code, 0);
    let now = world.log_time_ms();
    assert!(
        query::principal_by_key(&world.records, &agent.fingerprint(), now)
            .unwrap()
            .is_none()
    );
    fresh.id = agent.id;
    let payload = session(&mut world, &mut fresh);
    let command = world.command(payload, &[&fresh]);
    assert_eq!(world.submit(&command).code, 0);
}

#[test]
fn an_expired_principal_is_nobody_from_its_last_millisecond_on() {
    let (mut world, _) = world();
    let candidate = world.stranger();
    let mut registration = world.registration(&candidate, "short-lived");
    registration.expires_ms = BIRTH_MS + 5_000;
    assert_eq!(world.by_operators(Payload::Register(registration)).code, 0);
    let live = |at| {
        query::principal_by_key(&world.records, &candidate.fingerprint(), at)
            .unwrap()
            .is_some()
    };
    assert!(live(BIRTH_MS + 4_999) && !live(BIRTH_MS + 5_000) && !live(BIRTH_MS + 5_001));
}

#[test]
fn idempotency_records_go_when_the_command_has_expired() {
    let (mut world, mut agent) = world();
    let payload = session(&mut world, &mut agent);
    let command = world.command(payload, &[&agent]);
    assert_eq!(world.submit(&command).code, 0);
    assert!(world.has_kind(symbolon_state::keys::DONE));
    world.tick_all(BIRTH_MS + 59_000);
    assert!(world.has_kind(symbolon_state::keys::DONE), "too early");
    world.tick_all(BIRTH_MS + 61_000);
    assert!(!world.has_kind(symbolon_state::keys::DONE));
    assert_eq!(
        world.submit(&command).code,
        Code::Expired as u32,
        "and cannot be replayed after"
    );
}

/// Records on a disk that never merges its files: what was deleted is passed over by whoever reads across it.
struct Unmerged<'a> {
    records: &'a mut MemoryRecords,
    deleted: &'a mut BTreeSet<Vec<u8>>,
    passed_over: Cell<usize>,
}

impl View for Unmerged<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        self.records.get(key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, Bytes)>, Fault> {
        let found = self.records.scan(prefix, after, limit)?;
        let from = after.unwrap_or(prefix).to_vec();
        let until = found.last().map_or(vec![prefix[0] + 1], |(last, _)| last.clone());
        let between = (Bound::Excluded(from), Bound::Excluded(until));
        let passed = self.deleted.range(between).count();
        self.passed_over.set(self.passed_over.get() + passed);
        Ok(found)
    }

    fn name_get(&self, kind: u8, parent: &[u8], name: &[u8]) -> Result<Option<Bytes>, Fault> {
        self.records.name_get(kind, parent, name)
    }

    fn names(
        &self,
        kind: u8,
        parent: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Bytes)>, Fault> {
        self.records.names(kind, parent, after, limit)
    }
}

impl Records for Unmerged<'_> {
    fn put(&mut self, key: Vec<u8>, value: Bytes) {
        self.records.put(key, value);
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.deleted.insert(key.clone());
        self.records.delete(key);
    }

    fn name_put(&mut self, kind: u8, parent: &[u8], name: &[u8], value: Bytes) {
        self.records.name_put(kind, parent, name, value);
    }

    fn name_delete(&mut self, kind: u8, parent: &[u8], name: &[u8]) {
        self.records.name_delete(kind, parent, name);
    }
}

// After five minutes of writes, when the first of them expired, three nodes did nothing else any more.
#[test]
fn what_expired_before_is_not_passed_over_again_at_each_tick() {
    let (mut world, mut agent) = world();
    let mut deleted = BTreeSet::new();
    for minute in 1..=3 {
        for _ in 0..200 {
            let payload = session(&mut world, &mut agent);
            let command = world.command(payload, &[&agent]);
            assert_eq!(world.submit(&command).code, 0);
        }
        world.now_ms = BIRTH_MS + minute * 61_000;
        let ticks = (0..3).map(|position| world.tick(position, world.now_ms)).collect();
        let entry = Entry {
            index: 1_000_000 + minute,
            kind: Kind::Ticks.number(),
            payload: v1::Ticks { ticks }.encode_to_vec().into(),
            chain: [0; 32],
        };
        let mut disk = Unmerged {
            records: &mut world.records,
            deleted: &mut deleted,
            passed_over: Cell::new(0),
        };
        world.machine.apply(&mut disk, &entry).unwrap();
        assert_eq!(disk.passed_over.get(), 0, "in minute {minute}");
        assert!(deleted.len() as u64 >= minute * 400, "records and when they fall due");
    }
}

/// Applies one entry of clock readings; log time after it.
fn log_ticks(world: &mut World, ticks: Vec<v1::Tick>) -> u64 {
    world.apply(Kind::Ticks.number(), v1::Ticks { ticks }.encode_to_vec().into());
    world.log_time_ms()
}

#[test]
fn log_time_is_the_lower_median_and_never_goes_back() {
    let (mut world, _) = world();
    let mut after = |at: &[(usize, u64)]| {
        let ticks = at.iter().map(|(position, at)| world.tick(*position, BIRTH_MS + at));
        let ticks = ticks.collect();
        log_ticks(&mut world, ticks) - BIRTH_MS
    };
    assert_eq!(after(&[(0, 50_000)]), 0, "one clock alone moves nothing");
    assert_eq!(after(&[(1, 3_000)]), 0, "nor beside what another showed before");
    assert_eq!(after(&[(0, 51_000), (1, 4_000)]), 4_000);
    assert_eq!(after(&[(0, 52_000), (1, 2_000), (2, 5_000)]), 5_000);
    assert_eq!(after(&[(0, 1_000), (1, 3_000), (2, 2_000)]), 5_000);
}

#[test]
fn a_reading_that_was_logged_before_does_not_count_again_beside_another() {
    let (mut world, _) = world();
    let (ahead, beside) = (world.tick(0, BIRTH_MS + 9_000), world.tick(1, BIRTH_MS + 9_000));
    for ticks in [vec![ahead.clone()], vec![ahead, beside]] {
        assert_eq!(log_ticks(&mut world, ticks), BIRTH_MS);
    }
}

// A node that lies, beside one that went down while its clock was an hour ahead.
#[test]
fn one_node_does_not_move_log_time_step_by_step_towards_a_clock_that_was_wrong() {
    let (mut world, _) = world();
    let ticks = vec![world.tick(0, BIRTH_MS + 1_000), world.tick(1, BIRTH_MS + 3_600_000)];
    log_ticks(&mut world, ticks);
    for second in 2..100 {
        let lie = world.log_time_ms() + 59_000;
        let ticks = vec![world.tick(0, BIRTH_MS + second * 1_000), world.tick(2, lie)];
        assert_eq!(log_ticks(&mut world, ticks), BIRTH_MS + second * 1_000);
    }
}

#[test]
fn clocks_that_were_an_hour_ahead_one_after_the_other_and_are_right_again_do_not_hold_log_time_up() {
    let mut world = World::new(3, 3, 1);
    let hour = 3_600_000;
    let at = BIRTH_MS + 1_000;
    for wrong in 0..2 {
        let ticks = vec![world.tick(wrong, at + hour)];
        log_ticks(&mut world, ticks);
        world.tick_all(at);
    }
    assert_eq!(world.log_time_ms(), at);
    let ticks = vec![world.tick(0, at), world.tick(1, at + 5_000), world.tick(2, at + 5_000)];
    let older = ticks[0].clone();
    assert_eq!(log_ticks(&mut world, ticks), at + 5_000);
    log_ticks(&mut world, vec![older.clone()]);
    let again = vec![older, world.tick(1, at + 4_000)];
    log_ticks(&mut world, again);
    let ticks = vec![world.tick(0, at + 9_000), world.tick(1, at + 9_000)];
    assert_eq!(
        log_ticks(&mut world, ticks),
        at + 9_000,
        "a reading of before that is told again changes nothing"
    );
}

#[test]
fn after_a_long_outage_t_clocks_must_agree_before_log_time_jumps() {
    let (mut world, _) = world();
    let hour = 3_600_000;
    let ticks = vec![world.tick(0, BIRTH_MS + hour), world.tick(1, BIRTH_MS + 5 * hour)];
    assert_eq!(log_ticks(&mut world, ticks), BIRTH_MS, "they are four hours apart");
    let ticks = vec![
        world.tick(0, BIRTH_MS + hour + 1_000),
        world.tick(1, BIRTH_MS + 5 * hour),
        world.tick(2, BIRTH_MS + hour + 5_000),
    ];
    assert_eq!(
        log_ticks(&mut world, ticks),
        BIRTH_MS + hour + 1_000,
        "the lowest of t that agree"
    );
}

// The second clock's node is down, or cut off, before it can tell that its clock is right again.
#[test]
fn two_clocks_that_are_an_hour_ahead_at_different_times_do_not_move_log_time() {
    let (mut world, _) = world();
    let hour = 3_600_000;
    let ticks = vec![world.tick(0, BIRTH_MS + 1_000), world.tick(1, BIRTH_MS + hour)];
    log_ticks(&mut world, ticks);
    let ticks = vec![world.tick(0, BIRTH_MS + 5_000), world.tick(2, BIRTH_MS + hour + 5_000)];
    log_ticks(&mut world, ticks);
    assert!(world.log_time_ms() <= BIRTH_MS + 5_000, "{}", world.log_time_ms());
    let twice = vec![
        world.tick(2, BIRTH_MS + hour + 6_000),
        world.tick(2, BIRTH_MS + hour + 7_000),
    ];
    log_ticks(&mut world, twice);
    assert!(
        world.log_time_ms() <= BIRTH_MS + 5_000,
        "one node's readings are one clock's"
    );
}

#[test]
fn a_tick_of_an_earlier_boot_or_by_another_node_counts_nothing() {
    let (mut world, _) = world();
    let old = world.tick(0, BIRTH_MS + 1_000);
    world.boot(0);
    let mut forged = world.tick(1, BIRTH_MS + 1_000);
    forged.node = 3;
    let ticks = vec![old, forged, world.tick(1, BIRTH_MS + 1_000)];
    assert_eq!(log_ticks(&mut world, ticks), BIRTH_MS);
}

#[test]
fn boot_keys_need_the_identity_key_and_a_higher_counter() {
    let (mut world, _) = world();
    let counter = |world: &World| world.machine.boots()[&1].counter;
    let mut forged = world.boot_statement(0);
    forged.boot_counter = 9;
    world.apply(Kind::BootKeys.number(), forged.encode_to_vec().into());
    assert_eq!(counter(&world), 1, "the signature covers the counter");
    let replayed = world.boot_statement(0);
    assert!(
        world
            .apply(Kind::BootKeys.number(), replayed.encode_to_vec().into())
            .effects
            .is_empty()
    );
    world.boot(0);
    assert_eq!(counter(&world), 2);
}

/// A malicious node counts its boots as it likes, and logs as many.
#[test]
fn boots_are_found_from_the_newest_back_however_they_are_counted() {
    let (mut world, _) = world();
    let counters = [1, 2, 3, 4, 5, 100, 101, 4_000_000_000, u64::MAX - 1, u64::MAX];
    for counter in counters.into_iter().skip(1) {
        world.nodes[0].boots = counter - 1;
        world.boot(0);
    }
    let found = query::boots_back(&world.records, 1).map(|found| found.unwrap().boot_counter);
    assert!(found.eq(counters.into_iter().rev()));
    let newest = |node| {
        query::newest_boot(&world.records, node)
            .unwrap()
            .map(|boot| boot.boot_counter)
    };
    assert_eq!((newest(1), newest(2), newest(9)), (Some(u64::MAX), Some(1), None));
}

#[test]
fn the_feature_level_rises_only_when_every_node_supports_it() {
    let mut world = World::at_first_level(7, 3, 1);
    let raise = |world: &mut World, level| {
        world.apply(
            Kind::FeatureLevel.number(),
            v1::FeatureLevel { level }.encode_to_vec().into(),
        );
        query::feature_level(&world.records).unwrap()
    };
    boot_with_level(&mut world, 2, 1);
    assert_eq!(raise(&mut world, 2), 1, "one node is old");
    boot_with_level(&mut world, 2, 2);
    assert_eq!(raise(&mut world, 2), 2);
    assert_eq!(raise(&mut world, 1), 2, "never down");
}

fn boot_with_level(world: &mut World, position: usize, level: u32) {
    world.nodes[position].boots += 1;
    let mut statement = world.boot_statement(position);
    let signer = world.signer(position);
    statement.feature_level = level;
    statement.feature_signature = Bytes::copy_from_slice(&world.nodes[position].signing.sign(&signer.feature(level)));
    let applied = world.apply(Kind::BootKeys.number(), statement.encode_to_vec().into());
    assert_eq!(applied.effects.len(), 1);
}

#[test]
fn equal_logs_give_equal_records() {
    let run = || {
        let mut world = World::new(11, 5, 1);
        world.set_policies(ALL);
        let mut agent = world.agent("agent");
        for version in 1..=5 {
            let id = symbolon_wire::ids::SecretId([4; 16]);
            world.write(&mut agent, "a/b", id, version, b"value");
        }
        world.tick_all(BIRTH_MS + 120_000);
        world.records
    };
    assert_eq!(run(), run());
}

#[test]
fn a_machine_loaded_from_records_goes_on_like_the_one_that_wrote_them() {
    let (mut world, mut agent) = world();
    let id = world.secret_id();
    world.write(&mut agent, "a/b", id, 1, b"one");
    let provider = std::sync::Arc::new(symbolon_crypto::provider::Portable);
    world.machine =
        symbolon_state::Machine::load(&world.records, std::sync::Arc::clone(&world.roster), provider).unwrap();
    world.write(&mut agent, "a/b", id, 2, b"two");
    assert!(!world.tick_all(BIRTH_MS + 2_000).effects.iter().any(|_| true));
    assert_eq!(world.log_time_ms(), BIRTH_MS + 2_000, "boot keys were loaded too");
}

#[test]
fn each_seeded_bug_is_found_by_its_test_here() {
    symbolon_sabotage::caught_in(file!());
}
