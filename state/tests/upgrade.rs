//! Two builds that differ in what comes with a level, over one log: alike below it, stopped or alike from it on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use bytes::Bytes;
use std::sync::Arc;
use symbolon_crypto::enc::sha256;
use symbolon_crypto::provider::Portable;
use symbolon_sabotage::as_build;
use symbolon_state::testing::{Author, MemoryRecords, World};
use symbolon_state::{Applied, Effect, Entry, Fault, Kind, Machine, levels, query};
use symbolon_wire::ids::SecretId;
use symbolon_wire::v1::{self, command_body::Payload};
use symbolon_wire::{FEATURE_LEVEL, Message};

const PATHS: [&str; 2] = ["prod/one", "prod/two"];
const LOGS: u64 = 16;
const ENTRIES: usize = 60;

/// Numbers that follow from a seed.
struct Dice(u64, u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.1 += 1;
        let drawn = sha256(&[self.0.to_be_bytes(), self.1.to_be_bytes()].concat());
        u64::from_be_bytes(*drawn.first_chunk().unwrap()) % end
    }
}

/// The state of one node, kept by one build.
struct Replica {
    next: bool,
    records: MemoryRecords,
    machine: Machine,
}

impl Replica {
    /// A node that starts as that build on a state.
    fn start(world: &World, records: MemoryRecords, next: bool) -> Result<Self, Fault> {
        let machine = as_build(next, || {
            Machine::load(&records, Arc::clone(&world.roster), Arc::new(Portable))
        })?;
        Ok(Self { next, records, machine })
    }

    fn apply(&mut self, entry: &Entry) -> Result<Applied, Fault> {
        as_build(self.next, || self.machine.apply(&mut self.records, entry))
    }
}

/// The log, written by a world that applies it as the next build does, and others that apply it beside.
struct Log {
    world: World,
    author: Author,
    secrets: [(SecretId, u64); 2],
    replicas: Vec<Replica>,
}

impl Log {
    /// Of a cluster whose nodes all run this build, with one replica of each build.
    fn new(mut world: World) -> Self {
        assert_eq!(world.set_policies("permit(principal, action, resource);").code, 0);
        let author = world.agent("author");
        let secrets = [(world.secret_id(), 0), (world.secret_id(), 0)];
        let replicas = [false, true].map(|next| Replica::start(&world, world.records.clone(), next).unwrap());
        Self {
            world,
            author,
            secrets,
            replicas: replicas.into(),
        }
    }

    /// Applies an entry everywhere; whoever went on came to the same.
    fn apply(&mut self, kind: Kind, payload: Bytes) -> Applied {
        let applied = as_build(true, || self.world.apply(kind.number(), payload.clone()));
        let index = self.world.index;
        let entry = Entry {
            index,
            kind: kind.number(),
            payload,
            chain: sha256(&index.to_be_bytes()),
        };
        for replica in &mut self.replicas {
            let build = if replica.next { "the next" } else { "this" };
            assert_eq!(
                replica.apply(&entry).as_ref(),
                Ok(&applied),
                "{build} build, entry {index}"
            );
            assert!(
                replica.records == self.world.records,
                "{build} build has another state after entry {index}"
            );
        }
        applied
    }

    fn command(&mut self, payload: Payload) -> v1::Outcome {
        let command = self.world.command(payload, &[&self.author]);
        self.apply(Kind::Command, command.encode_to_vec().into()).outcome
    }

    fn write(&mut self, number: usize) -> v1::Outcome {
        let (id, latest) = self.secrets[number];
        let put = self
            .world
            .put(&mut self.author, PATHS[number], id, latest + 1, b"value");
        let command = self.world.put_command(&self.author, &put);
        let outcome = self.apply(Kind::Command, command.encode_to_vec().into()).outcome;
        if outcome.code == 0 {
            self.secrets[number].1 = outcome.version;
        }
        outcome
    }

    fn settle(&mut self, number: usize, max_versions: u64) -> v1::Outcome {
        let (id, _) = self.secrets[number];
        let previous = query::metadata(&self.world.records, id).unwrap().version;
        let settings = v1::SecretSettings {
            max_versions,
            cas_required: false,
        };
        self.command(Payload::Metadata(v1::SetMetadata {
            tenant: Bytes::copy_from_slice(self.world.roster.first_tenant.bytes()),
            path: PATHS[number].to_owned(),
            secret: Bytes::copy_from_slice(id.bytes()),
            previous,
            settings: Some(settings),
            ..v1::SetMetadata::default()
        }))
    }

    fn versions(&self, number: usize, version: u64) -> v1::SecretVersions {
        let (id, latest) = self.secrets[number];
        v1::SecretVersions {
            tenant: Bytes::copy_from_slice(self.world.roster.first_tenant.bytes()),
            path: PATHS[number].to_owned(),
            secret: Bytes::copy_from_slice(id.bytes()),
            versions: vec![version],
            latest,
        }
    }

    /// A node starts again, as this or the next build.
    fn boot(&mut self, position: usize, next: bool) {
        self.world.nodes[position].boots += 1;
        let statement = as_build(next, || self.world.boot_statement(position));
        self.apply(Kind::BootKeys, statement.encode_to_vec().into());
    }

    fn raise(&mut self, level: u32) -> Vec<Effect> {
        let raise = v1::FeatureLevel { level };
        self.apply(Kind::FeatureLevel, raise.encode_to_vec().into()).effects
    }

    /// An entry of any kind. Node 1 stays at this build.
    fn anything(&mut self, dice: &mut Dice) {
        let number = usize::try_from(dice.below(2)).unwrap();
        let version = 1 + dice.below(self.secrets[number].1 + 1);
        match dice.below(14) {
            0..=6 => drop(self.write(number)),
            7 => drop(self.settle(number, [0, 1, 2, 5][usize::try_from(dice.below(4)).unwrap()])),
            8 => drop(self.command(Payload::Delete(self.versions(number, version)))),
            9 => drop(self.command(Payload::Undelete(self.versions(number, version)))),
            10 => drop(self.command(Payload::Destroy(self.versions(number, version)))),
            11 => {
                let position = 1 + usize::try_from(dice.below(2)).unwrap();
                self.boot(position, dice.below(2) == 1);
            }
            12 => drop(self.raise(u32::try_from(dice.below(5)).unwrap())),
            _ => {
                let later = self.world.now_ms + 1_000;
                let ticks = (0..3).map(|position| self.world.tick(position, later)).collect();
                self.world.now_ms = later;
                self.apply(Kind::Ticks, v1::Ticks { ticks }.encode_to_vec().into());
            }
        }
    }

    /// All nodes start as the next build, and its level comes into force.
    fn upgrade(&mut self) {
        for position in 0..self.world.nodes.len() {
            self.boot(position, true);
        }
        // From here on a node of this build is none of those that go on.
        self.replicas.retain(|replica| replica.next);
        assert_eq!(self.raise(levels::NEXT), [Effect::FeatureLevel { level: levels::NEXT }]);
    }

    fn destroyed(&self, number: usize) -> Vec<u64> {
        let versions = query::versions(&self.world.records, self.secrets[number].0, 100).unwrap();
        let gone = versions.into_iter().filter(|(_, state)| state.destroyed);
        gone.map(|(version, _)| version).collect()
    }
}

#[test]
fn below_the_level_two_builds_apply_every_log_alike() {
    for seed in 0..LOGS {
        let mut dice = Dice(seed, 0);
        let world = match seed % 2 {
            0 => World::new(seed, 3, 1),
            _ => World::at_first_level(seed, 3, 1),
        };
        let mut log = Log::new(world);
        for _ in 0..ENTRIES {
            log.anything(&mut dice);
        }
        for number in [0, 1] {
            assert!(
                log.secrets[number].1 > levels::NEXT_VERSIONS_KEPT,
                "seed {seed}: too few"
            );
        }
        assert!(log.world.machine.level() <= FEATURE_LEVEL, "node 1 is of this build");
    }
}

#[test]
fn a_node_that_was_upgraded_comes_to_the_state_of_one_that_always_was_the_next_build() {
    for seed in 100..100 + LOGS {
        let mut dice = Dice(seed, 0);
        let mut log = Log::new(World::new(seed, 3, 1));
        for _ in 0..ENTRIES / 2 {
            log.anything(&mut dice);
        }
        let old = log.replicas.remove(0);
        assert!(!old.next);
        let upgraded = Replica::start(&log.world, old.records, true).unwrap();
        log.replicas.push(upgraded);
        log.upgrade();
        for _ in 0..ENTRIES / 2 {
            log.anything(&mut dice);
        }
        assert_eq!(log.replicas.len(), 2);
        assert_eq!(
            log.world.machine.level(),
            levels::NEXT,
            "whatever was booted and raised"
        );
    }
}

#[test]
fn from_the_level_on_the_next_build_s_behaviour_holds_and_the_level_never_goes_down() {
    let mut log = Log::new(World::new(1, 3, 1));
    for _ in 0..6 {
        assert_eq!(log.write(0).code, 0);
    }
    for position in 0..2 {
        log.boot(position, true);
        assert_eq!(log.raise(levels::NEXT), [], "node 3 runs this build");
        assert_eq!(log.write(0).code, 0);
    }
    assert_eq!(log.destroyed(0), [0; 0], "of eight versions none is gone");
    log.upgrade();
    assert_eq!(
        log.destroyed(0),
        [0; 0],
        "what is there stays until something is written"
    );
    log.write(0);
    assert_eq!(log.destroyed(0), [6]);

    // A node that went back to this build could not follow; the others keep the level whatever it says.
    log.boot(1, false);
    for level in 0..=FEATURE_LEVEL {
        assert_eq!(log.raise(level), []);
    }
    assert_eq!(query::feature_level(&log.world.records), Ok(levels::NEXT));
    log.write(0);
    assert_eq!(log.destroyed(0), [6, 7]);
    // Settings of its own go before what holds for all.
    assert_eq!(log.settle(0, 2).code, 0);
    assert_eq!(log.destroyed(0), [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn in_no_mixture_of_builds_does_the_level_rise_and_no_node_stops() {
    for n in [3, 5] {
        let mut log = Log::new(World::new(2, n, 1));
        let all = (1_u32 << n) - 1;
        for mixture in 0..all {
            for position in 0..n {
                log.boot(position, mixture >> position & 1 == 1);
            }
            assert_eq!(log.raise(levels::NEXT), [], "{mixture:b} of {n}");
            assert_eq!(log.world.machine.level(), FEATURE_LEVEL);
        }
        log.upgrade();
    }
}

#[test]
fn a_node_of_the_old_build_that_comes_late_stops_at_the_level_and_names_it() {
    let mut log = Log::new(World::new(3, 3, 1));
    let mut late = log.replicas.remove(0);
    log.upgrade();
    let raise = Entry {
        index: log.world.index,
        kind: Kind::FeatureLevel.number(),
        payload: v1::FeatureLevel { level: levels::NEXT }.encode_to_vec().into(),
        chain: sha256(&log.world.index.to_be_bytes()),
    };
    // It has not seen that the others announced the next build; then it has.
    assert_eq!(late.apply(&raise).unwrap().effects, []);
    late.records = log.world.records.clone();
    let stopped = Replica::start(&log.world, late.records.clone(), false).err();
    let fault = Fault::NewerLevel {
        in_force: levels::NEXT,
        known: FEATURE_LEVEL,
    };
    assert_eq!(stopped.as_ref(), Some(&fault));
    let told = fault.to_string();
    for part in [
        "feature level 3 is in force",
        "levels up to 2",
        "run a build that knows level 3",
    ] {
        assert!(told.contains(part), "{told}");
    }
    // As the next build it goes on where it stopped.
    let late = Replica::start(&log.world, late.records, true).unwrap();
    log.replicas.push(late);
    assert_eq!(log.write(1).code, 0);
}

#[test]
fn each_seeded_bug_is_found_by_its_test_here() {
    symbolon_sabotage::caught_in(file!());
}
