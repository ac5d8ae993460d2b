//! What watchers are told of an entry: what it changed, and nothing of what it did not.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panic"
)]

use bytes::Bytes;
use prost::Message;
use symbolon_state::Effect;
use symbolon_state::entry::Kind;
use symbolon_state::testing::{Author, World};
use symbolon_wire::change::ChangeKind;
use symbolon_wire::ids::SecretId;
use symbolon_wire::v1::{self, command_body::Payload};

const PATH: &str = "a/b";

struct Scene {
    world: World,
    agent: Author,
    id: SecretId,
}

fn scene() -> Scene {
    let mut world = World::new(3, 3, 1);
    let agent = world.agent("writer");
    let policy = "@id(\"all\") permit(principal, action, resource);";
    assert_eq!(world.set_policies(policy).code, 0);
    assert_eq!(world.raise_level(2).outcome.code, 0);
    let id = world.secret_id();
    Scene { world, agent, id }
}

impl Scene {
    /// Applies a command: whether it succeeded, and what watchers are told.
    fn apply(&mut self, command: &v1::Command) -> (bool, Vec<v1::Change>) {
        let applied = self.world.apply(Kind::Command.number(), command.encode_to_vec().into());
        let told = applied.effects.into_iter().filter_map(|effect| match effect {
            Effect::Changed(change) => Some(change),
            _ => None,
        });
        let index = applied.outcome.index;
        let told: Vec<v1::Change> = told.collect();
        for change in &told {
            assert_eq!((change.log_index, change.path.as_str()), (index, PATH));
        }
        assert!(told.len() <= 1, "an entry is one change");
        (applied.outcome.code == 0, told)
    }

    fn put(&mut self, version: u64) -> (bool, Vec<v1::Change>) {
        let put = self.world.put(&mut self.agent, PATH, self.id, version, b"value");
        let command = self.world.put_command(&self.agent, &put);
        self.apply(&command)
    }

    fn change(
        &mut self,
        change: fn(v1::SecretVersions) -> Payload,
        versions: &[u64],
        latest: u64,
    ) -> (bool, Vec<v1::Change>) {
        let named = v1::SecretVersions {
            tenant: Bytes::copy_from_slice(self.world.roster.first_tenant.bytes()),
            path: PATH.to_owned(),
            secret: Bytes::copy_from_slice(self.id.bytes()),
            versions: versions.to_vec(),
            latest,
        };
        let command = self.world.command(change(named), &[&self.agent]);
        self.apply(&command)
    }

    fn keep(&mut self, previous: u64, max_versions: u64) -> (bool, Vec<v1::Change>) {
        let change = v1::SetMetadata {
            tenant: Bytes::copy_from_slice(self.world.roster.first_tenant.bytes()),
            path: PATH.to_owned(),
            secret: Bytes::copy_from_slice(self.id.bytes()),
            previous,
            settings: Some(v1::SecretSettings {
                max_versions,
                cas_required: false,
            }),
            ..v1::SetMetadata::default()
        };
        let command = self.world.command(Payload::Metadata(change), &[&self.agent]);
        self.apply(&command)
    }
}

fn said((done, told): (bool, Vec<v1::Change>)) -> (ChangeKind, Vec<u64>, Vec<u64>) {
    assert!(done);
    let change = &told[0];
    (
        ChangeKind::from_number(change.kind),
        change.versions.clone(),
        change.destroyed.clone(),
    )
}

#[test]
fn each_act_is_told_with_the_versions_that_it_changed() {
    let mut scene = scene();
    for version in 1..=3 {
        assert_eq!(said(scene.put(version)), (ChangeKind::Put, vec![version], vec![]));
    }
    assert_eq!(
        said(scene.change(Payload::Delete, &[2], 3)),
        (ChangeKind::Delete, vec![2], vec![])
    );
    // Only those that were not hidden yet.
    assert_eq!(
        said(scene.change(Payload::Delete, &[], 3)),
        (ChangeKind::Delete, vec![1, 3], vec![])
    );
    assert_eq!(
        said(scene.change(Payload::Undelete, &[3], 3)),
        (ChangeKind::Undelete, vec![3], vec![])
    );
    assert_eq!(
        said(scene.change(Payload::Destroy, &[1, 2], 3)),
        (ChangeKind::Destroy, vec![1, 2], vec![])
    );
}

#[test]
fn what_has_no_effect_is_not_told() {
    let mut scene = scene();
    scene.put(1);
    assert_eq!(scene.change(Payload::Undelete, &[1], 1), (true, vec![]));
    assert_eq!(scene.put(1), (false, vec![]), "a conflict");
    assert_eq!(
        scene.change(Payload::Delete, &[7], 1),
        (false, vec![]),
        "no such version"
    );
    let put = scene.world.put(&mut scene.agent, PATH, scene.id, 2, b"value");
    let command = scene.world.put_command(&scene.agent, &put);
    assert_eq!(scene.apply(&command).1.len(), 1);
    let again = scene
        .world
        .apply(Kind::Command.number(), command.encode_to_vec().into());
    assert!(
        again.outcome.repeated && again.effects.is_empty(),
        "the same command again"
    );
}

#[test]
fn versions_that_go_because_no_more_are_kept_are_told_with_what_made_them_go() {
    let mut scene = scene();
    for version in 1..=4 {
        scene.put(version);
    }
    assert_eq!(said(scene.keep(0, 2)), (ChangeKind::Metadata, vec![1], vec![1, 2]));
    assert_eq!(said(scene.put(5)), (ChangeKind::Put, vec![5], vec![3]));
}
