//! Metadata and settings of a secret: who may change them, in which order, and what they do to writes and versions.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panic"
)]

use bytes::Bytes;
use symbolon_state::entry::Kind;
use symbolon_state::records::{MetadataRecord, SecretRecord};
use symbolon_state::testing::{Author, World};
use symbolon_state::{Effect, query};
use symbolon_wire::ids::SecretId;
use symbolon_wire::limits::{METADATA_ENTRIES_MAX, METADATA_KEY_BYTES_MAX, METADATA_TEXT_BYTES_MAX, VERSIONS_MAX};
use symbolon_wire::v1::{self, command_body::Payload};
use symbolon_wire::{Code, Message};

const PATH: &str = "a/b";
const ALL: &str = "@id(\"all\") permit(principal, action, resource);";

struct Scene {
    world: World,
    agent: Author,
    id: SecretId,
}

fn scene_at(mut world: World, policy: &str) -> Scene {
    assert_eq!(world.set_policies(policy).code, 0);
    let mut agent = world.agent("agent");
    let id = world.secret_id();
    world.write(&mut agent, PATH, id, 1, b"one");
    Scene { world, agent, id }
}

fn scene(policy: &str) -> Scene {
    scene_at(World::new(11, 3, 1), policy)
}

fn entry(key: &str, text: &str) -> v1::MetadataEntry {
    v1::MetadataEntry {
        key: key.to_owned(),
        text: text.to_owned(),
    }
}

impl Scene {
    fn change(&self, previous: u64) -> v1::SetMetadata {
        v1::SetMetadata {
            tenant: Bytes::copy_from_slice(self.world.roster.first_tenant.bytes()),
            path: PATH.to_owned(),
            secret: Bytes::copy_from_slice(self.id.bytes()),
            previous,
            ..v1::SetMetadata::default()
        }
    }

    fn submit(&mut self, change: v1::SetMetadata) -> (v1::Outcome, Vec<Effect>) {
        let command = self.world.command(Payload::Metadata(change), &[&self.agent]);
        let applied = self.world.apply(Kind::Command.number(), command.encode_to_vec().into());
        (applied.outcome, applied.effects)
    }

    fn set(&mut self, previous: u64, entries: &[(&str, &str)]) -> v1::Outcome {
        let set = entries.iter().map(|(key, text)| entry(key, text)).collect();
        let change = v1::SetMetadata {
            set,
            ..self.change(previous)
        };
        self.submit(change).0
    }

    fn settle(&mut self, previous: u64, max_versions: u64, cas_required: bool) -> (v1::Outcome, Vec<Effect>) {
        let settings = Some(v1::SecretSettings {
            max_versions,
            cas_required,
        });
        let change = v1::SetMetadata {
            settings,
            ..self.change(previous)
        };
        self.submit(change)
    }

    fn metadata(&self) -> MetadataRecord {
        query::metadata(&self.world.records, self.id).unwrap()
    }

    fn entries(&self) -> Vec<(String, String)> {
        let entries = self.metadata().entries.into_iter();
        entries.map(|entry| (entry.key, entry.text)).collect()
    }

    fn secret(&self) -> SecretRecord {
        let tenant = self.world.roster.first_tenant;
        query::secret(&self.world.records, tenant, self.id).unwrap().unwrap()
    }

    fn write(&mut self, version: u64) {
        self.world.write(&mut self.agent, PATH, self.id, version, b"more");
    }

    /// The versions that can still be opened.
    fn kept(&self) -> Vec<u64> {
        let versions = query::versions(&self.world.records, self.id, 2000).unwrap();
        let kept = versions.into_iter().filter(|(_, state)| !state.destroyed);
        kept.map(|(number, _)| number)
            .inspect(|number| assert!(query::version(&self.world.records, self.id, *number).unwrap().is_some()))
            .collect()
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(key, text)| ((*key).to_owned(), (*text).to_owned()))
        .collect()
}

#[test]
fn entries_are_set_replaced_and_removed_and_each_change_follows_the_last() {
    let mut scene = scene(ALL);
    assert_eq!(scene.set(0, &[("env", "prod"), ("owner", "billing")]).version, 1);
    assert_eq!(scene.set(1, &[("owner", "ops")]).version, 2);
    assert_eq!(scene.entries(), pairs(&[("env", "prod"), ("owner", "ops")]));
    let removal = v1::SetMetadata {
        remove: vec!["env".to_owned(), "never-there".to_owned()],
        ..scene.change(2)
    };
    let (outcome, effects) = scene.submit(removal);
    assert_eq!((outcome.code, outcome.version), (0, 3));
    assert_eq!(effects[0], Effect::Metadata { secret: scene.id });
    assert_eq!(scene.entries(), pairs(&[("owner", "ops")]));
    let replacement = v1::SetMetadata {
        replace: true,
        set: vec![entry("note", "new")],
        ..scene.change(3)
    };
    scene.submit(replacement);
    assert_eq!(scene.entries(), pairs(&[("note", "new")]));
    let record = scene.metadata();
    assert_eq!(record.author, scene.agent.id.bytes().as_slice());
    assert_eq!(record.changed_ms, scene.world.log_time_ms());
}

#[test]
fn a_change_that_follows_another_version_than_the_latest_is_a_conflict() {
    let mut scene = scene(ALL);
    scene.set(0, &[("owner", "billing")]);
    for previous in [0, 2, u64::MAX] {
        let outcome = scene.set(previous, &[("owner", "mallory")]);
        assert_eq!(outcome.code, Code::Conflict as u32, "{previous}");
        assert!(outcome.message.contains("at version 1"), "{}", outcome.message);
    }
    assert_eq!(scene.entries(), pairs(&[("owner", "billing")]));
    let elsewhere = v1::SetMetadata {
        secret: Bytes::copy_from_slice(&[9; 16]),
        ..scene.change(1)
    };
    assert_eq!(
        scene.submit(elsewhere).0.code,
        Code::Conflict as u32,
        "the path belongs to another id"
    );
    let absent = v1::SetMetadata {
        path: "a/c".to_owned(),
        ..scene.change(0)
    };
    assert_eq!(scene.submit(absent).0.code, Code::NotFound as u32);
}

#[test]
fn what_exceeds_a_limit_or_is_no_line_of_text_is_refused_and_changes_nothing() {
    let mut scene = scene(ALL);
    let long_key = "k".repeat(METADATA_KEY_BYTES_MAX + 1);
    let long_text = "t".repeat(METADATA_TEXT_BYTES_MAX + 1);
    for (key, text, code) in [
        ("", "x", Code::Malformed),
        ("a b", "x", Code::Malformed),
        ("ключ", "x", Code::Malformed),
        (long_key.as_str(), "x", Code::Malformed),
        ("a", "one\ntwo", Code::Malformed),
        ("a", "\u{1b}[31m", Code::Malformed),
        ("a", long_text.as_str(), Code::TooLarge),
    ] {
        assert_eq!(scene.set(0, &[(key, text)]).code, code as u32, "{key:?} = {text:?}");
    }
    for keys in [["b", "a"], ["a", "a"]] {
        let set = keys.map(|key| entry(key, "x")).to_vec();
        let unordered = v1::SetMetadata { set, ..scene.change(0) };
        assert_eq!(scene.submit(unordered).0.code, Code::Malformed as u32, "{keys:?}");
    }
    let both = v1::SetMetadata {
        set: vec![entry("a", "x")],
        remove: vec!["a".to_owned()],
        ..scene.change(0)
    };
    assert_eq!(scene.submit(both).0.code, Code::Malformed as u32);
    assert_eq!(scene.settle(0, VERSIONS_MAX + 1, false).0.code, Code::TooLarge as u32);
    assert_eq!(scene.metadata(), MetadataRecord::default());

    let names: Vec<String> = (0..=METADATA_ENTRIES_MAX)
        .map(|number| format!("key-{number:03}"))
        .collect();
    let all: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    assert_eq!(
        scene.set(0, &all[..METADATA_ENTRIES_MAX]).code,
        0,
        "as many as there may be"
    );
    assert_eq!(
        scene.set(1, &all[METADATA_ENTRIES_MAX..]).code,
        Code::TooLarge as u32,
        "and one more"
    );
    assert_eq!(scene.entries().len(), METADATA_ENTRIES_MAX);
}

#[test]
fn metadata_has_a_permission_of_its_own() {
    let mut reader = scene("permit(principal, action in [Action::\"write\", Action::\"readMetadata\"], resource);");
    assert_eq!(reader.set(0, &[("a", "x")]).code, Code::Denied as u32);
    let mut keeper = scene("permit(principal, action in [Action::\"write\", Action::\"writeMetadata\"], resource);");
    assert_eq!(keeper.set(0, &[("a", "x")]).code, 0);
    // To keep fewer versions is to destroy the others.
    assert_eq!(keeper.settle(1, 5, false).0.code, Code::Denied as u32);
    assert_eq!(keeper.settle(1, 0, true).0.code, 0);
    assert_eq!(keeper.secret().max_versions, 0);
}

#[test]
fn with_a_greatest_number_of_versions_older_ones_are_destroyed_now_and_with_each_new_one() {
    let mut scene = scene(ALL);
    for version in 2..=5 {
        scene.write(version);
    }
    let gone = |id, version| Effect::Destroyed { secret: id, version };
    let (outcome, effects) = scene.settle(0, 3, false);
    assert_eq!(outcome.code, 0, "{}", outcome.message);
    assert!(
        effects.contains(&gone(scene.id, 1)) && effects.contains(&gone(scene.id, 2)),
        "{effects:?}"
    );
    assert_eq!(scene.kept(), [3, 4, 5]);
    assert_eq!(scene.secret().visible, 3);
    let put = scene.world.put(&mut scene.agent, PATH, scene.id, 6, b"six");
    let command = scene.world.put_command(&scene.agent, &put);
    let applied = scene
        .world
        .apply(Kind::Command.number(), command.encode_to_vec().into());
    assert!(applied.effects.contains(&gone(scene.id, 3)), "{:?}", applied.effects);
    assert_eq!(scene.kept(), [4, 5, 6]);
    assert_eq!(scene.secret().visible, 3);
    // More room brings nothing back, and is filled from then on.
    assert_eq!(scene.settle(1, 4, false).0.code, 0);
    scene.write(7);
    assert_eq!(scene.kept(), [4, 5, 6, 7]);
    scene.write(8);
    assert_eq!(scene.kept(), [5, 6, 7, 8]);
    assert_eq!(scene.settle(2, 1, false).0.code, 0);
    assert_eq!(scene.kept(), [8]);
    assert_eq!(
        query::unconfirmed(&scene.world.records, 0, None, 100).unwrap().0.len(),
        1,
        "nobody waits for the others"
    );
}

#[test]
fn a_hidden_version_that_makes_room_is_counted_once() {
    let mut scene = scene(ALL);
    scene.write(2);
    let hidden = v1::SecretVersions {
        tenant: Bytes::copy_from_slice(scene.world.roster.first_tenant.bytes()),
        path: PATH.to_owned(),
        secret: Bytes::copy_from_slice(scene.id.bytes()),
        versions: vec![1],
        latest: 2,
    };
    let command = scene.world.command(Payload::Delete(hidden), &[&scene.agent]);
    scene.world.submit(&command);
    assert_eq!(scene.secret().visible, 1);
    scene.settle(0, 1, false);
    assert_eq!((scene.secret().visible, scene.kept()), (1, vec![2]));
}

#[test]
fn a_secret_that_asks_for_it_takes_only_writes_that_state_what_they_follow() {
    let mut scene = scene(ALL);
    scene.settle(0, 0, true);
    let mut put = scene.world.put(&mut scene.agent, PATH, scene.id, 2, b"two");
    let refused = scene.world.submit_put(&scene.agent, &put);
    assert_eq!(refused.code, Code::CasRequired as u32, "{}", refused.message);
    assert!(refused.next.contains("--cas 1"), "{}", refused.next);
    put = scene.world.put(&mut scene.agent, PATH, scene.id, 2, b"two");
    put.message.cas = true;
    assert_eq!(scene.world.submit_put(&scene.agent, &put).version, 2);
    scene.settle(1, 0, false);
    scene.write(3);
}

#[test]
fn a_policy_can_ask_for_writes_that_state_what_they_follow() {
    let policy = "permit(principal, action, resource);
        @id(\"stated\") forbid(principal, action == Action::\"write\", resource in Folder::\"prod\") unless { context.cas };";
    let mut scene = scene(policy);
    let id = scene.world.secret_id();
    let plain = scene.world.put(&mut scene.agent, "prod/key", id, 1, b"x");
    let refused = scene.world.submit_put(&scene.agent, &plain);
    assert_eq!(refused.code, Code::Denied as u32);
    assert!(
        refused.because.iter().any(|line| line.contains("stated")),
        "{:?}",
        refused.because
    );
    let mut stated = scene.world.put(&mut scene.agent, "prod/key", id, 1, b"x");
    stated.message.cas = true;
    assert_eq!(scene.world.submit_put(&scene.agent, &stated).code, 0);
    scene.write(2);
}

#[test]
fn at_the_first_feature_level_none_of_it_exists_and_policies_cannot_ask_for_it() {
    let mut scene = scene_at(World::at_first_level(12, 3, 1), ALL);
    let before = scene.world.records.clone();
    assert_eq!(scene.set(0, &[("a", "x")]).code, Code::UnknownVersion as u32);
    let mut stated = scene.world.put(&mut scene.agent, PATH, scene.id, 2, b"two");
    stated.message.cas = true;
    assert_eq!(
        scene.world.submit_put(&scene.agent, &stated).code,
        Code::UnknownVersion as u32
    );
    assert!(
        scene.world.records == before,
        "an older build records nothing of it either"
    );
    let asks = "forbid(principal, action == Action::\"write\", resource) unless { context.cas };";
    assert_eq!(scene.world.set_policies(asks).code, Code::BadPolicy as u32);
    // What an older build may store is decided as it decides, whatever the level that it is asked at.
    let careful = "permit(principal, action == Action::\"write\", resource) unless { context has cas };";
    assert_eq!(scene.world.set_policies(careful).code, 0);
    scene.write(2);
    scene.world.raise_level(2);
    let put = scene.world.put(&mut scene.agent, PATH, scene.id, 3, b"x");
    assert_eq!(scene.world.submit_put(&scene.agent, &put).code, Code::Denied as u32);
}
