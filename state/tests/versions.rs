//! Versions hidden, shown again and destroyed: who may, what is left, and what cannot come back.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panic"
)]

use bytes::Bytes;
use prost::Message;
use symbolon_state::entry::Kind;
use symbolon_state::records::VersionState;
use symbolon_state::testing::{Author, World};
use symbolon_state::{Effect, query};
use symbolon_wire::Code;
use symbolon_wire::ids::SecretId;
use symbolon_wire::limits::VERSIONS_MAX;
use symbolon_wire::v1::{self, command_body::Payload};

const PATH: &str = "a/b";

struct Scene {
    world: World,
    agent: Author,
    id: SecretId,
}

/// An agent who may do everything, or what `actions` name, and a secret of two versions.
fn scene(policy: &str) -> Scene {
    let mut world = World::new(3, 3, 1);
    let mut agent = world.agent("writer");
    assert_eq!(world.set_policies(policy).code, 0);
    let id = world.secret_id();
    world.write(&mut agent, PATH, id, 1, b"one");
    world.write(&mut agent, PATH, id, 2, b"two");
    Scene { world, agent, id }
}

const ALL: &str = "@id(\"all\") permit(principal, action, resource);";

impl Scene {
    fn named(&self, versions: &[u64]) -> v1::SecretVersions {
        v1::SecretVersions {
            tenant: Bytes::copy_from_slice(self.world.roster.first_tenant.bytes()),
            path: PATH.to_owned(),
            secret: Bytes::copy_from_slice(self.id.bytes()),
            versions: versions.to_vec(),
            latest: 2,
        }
    }

    /// Applies a command; its code and what it made the node do.
    fn change(&mut self, change: fn(v1::SecretVersions) -> Payload, versions: &[u64]) -> (u32, Vec<Effect>) {
        let command = self.world.command(change(self.named(versions)), &[&self.agent]);
        let applied = self.world.apply(Kind::Command.number(), command.encode_to_vec().into());
        (applied.outcome.code, applied.effects)
    }

    fn state(&self, version: u64) -> VersionState {
        query::version_state(&self.world.records, self.id, version)
            .unwrap()
            .unwrap()
    }

    fn has_dealing(&self, version: u64) -> bool {
        query::version(&self.world.records, self.id, version).unwrap().is_some()
    }

    fn visible(&self) -> u64 {
        let tenant = self.world.roster.first_tenant;
        query::secret(&self.world.records, tenant, self.id)
            .unwrap()
            .unwrap()
            .visible
    }

    fn waiting(&self) -> usize {
        query::unconfirmed(&self.world.records, 0, None, 100).unwrap().0.len()
    }
}

#[test]
fn hidden_versions_are_shown_again() {
    let mut scene = scene(ALL);
    assert_eq!(scene.change(Payload::Delete, &[]).0, 0);
    assert_eq!(scene.visible(), 0);
    assert_eq!(scene.change(Payload::Undelete, &[2]).0, 0);
    assert!(scene.state(1).deleted && !scene.state(2).deleted);
    assert_eq!(scene.visible(), 1);
    assert_eq!(
        scene.change(Payload::Undelete, &[1, 2]).0,
        0,
        "one that is shown stays so"
    );
    assert_eq!(scene.visible(), 2);
}

#[test]
fn a_destroyed_version_leaves_no_dealing_nobody_waits_for_it_and_each_node_is_told_to_erase_its_fragment() {
    let mut scene = scene(ALL);
    assert_eq!(scene.waiting(), 2);
    let (code, effects) = scene.change(Payload::Destroy, &[1]);
    assert_eq!(code, 0);
    let gone = Effect::Destroyed {
        secret: scene.id,
        version: 1,
    };
    assert!(effects.contains(&gone), "{effects:?}");
    assert!(!scene.has_dealing(1) && scene.has_dealing(2));
    assert!(scene.state(1).destroyed && scene.state(1).deleted);
    assert_eq!((scene.visible(), scene.waiting()), (1, 1));
}

#[test]
fn a_hidden_version_is_destroyed_too_and_counted_once() {
    let mut scene = scene(ALL);
    scene.change(Payload::Delete, &[1]);
    assert_eq!(scene.visible(), 1);
    assert_eq!(scene.change(Payload::Destroy, &[]).0, 0);
    assert_eq!(scene.visible(), 0);
    let (code, effects) = scene.change(Payload::Destroy, &[1, 2, 2]);
    assert_eq!(code, 0, "destroying what is destroyed changes nothing");
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Destroyed { .. })));
}

#[test]
fn what_was_destroyed_cannot_be_shown_again() {
    let mut scene = scene(ALL);
    scene.change(Payload::Delete, &[2]);
    scene.change(Payload::Destroy, &[1]);
    assert_eq!(scene.change(Payload::Undelete, &[2, 1]).0, Code::NotFound as u32);
    assert!(scene.state(2).deleted, "a refused command changes nothing");
    assert_eq!(scene.change(Payload::Undelete, &[]).0, 0, "all means all that are left");
    assert!(scene.state(1).deleted && !scene.state(2).deleted);
}

#[test]
fn after_all_versions_were_destroyed_the_next_one_follows_the_last() {
    let mut scene = scene(ALL);
    scene.change(Payload::Destroy, &[]);
    scene.world.write(&mut scene.agent, PATH, scene.id, 3, b"three");
    assert_eq!(scene.visible(), 1);
    assert!(scene.has_dealing(3));
}

#[test]
fn each_change_needs_a_permission_of_its_own() {
    type Change = fn(v1::SecretVersions) -> Payload;
    let changes: [(&str, Change); 3] = [
        ("delete", Payload::Delete),
        ("undelete", Payload::Undelete),
        ("destroy", Payload::Destroy),
    ];
    for (allowed, _) in changes {
        let policy =
            format!("@id(\"p\") permit(principal, action in [Action::\"write\", Action::\"{allowed}\"], resource);");
        let mut scene = scene(&policy);
        for (name, change) in changes {
            let expected = if name == allowed { 0 } else { Code::Denied as u32 };
            assert_eq!(scene.change(change, &[1]).0, expected, "{name} with {allowed}");
        }
    }
}

#[test]
fn a_version_that_makes_room_for_a_newer_one_goes_as_if_destroyed() {
    let mut scene = scene(ALL);
    for version in 3..=VERSIONS_MAX {
        scene.world.write(&mut scene.agent, PATH, scene.id, version, b"x");
    }
    let before = scene.waiting();
    let put = scene
        .world
        .put(&mut scene.agent, PATH, scene.id, VERSIONS_MAX + 1, b"x");
    let command = scene.world.put_command(&scene.agent, &put);
    let applied = scene
        .world
        .apply(Kind::Command.number(), command.encode_to_vec().into());
    assert_eq!(applied.outcome.code, 0, "{}", applied.outcome.message);
    let gone = Effect::Destroyed {
        secret: scene.id,
        version: 1,
    };
    assert!(applied.effects.contains(&gone), "{:?}", applied.effects);
    assert_eq!(scene.waiting(), before, "one more to wait for, one less");
}

#[test]
fn each_seeded_bug_is_found_by_its_test_here() {
    symbolon_sabotage::caught_in(file!());
}
