//! Feature levels: until all nodes' builds know a command, it has no effect on any of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use symbolon_state::testing::World;
use symbolon_state::{Effect, Fault, Machine, Records};
use symbolon_wire::limits::COMMAND_BYTES_MAX_LEVEL_1;
use symbolon_wire::{Code, FEATURE_LEVEL, Message};

const PATH: &str = "prod/large";

fn permissive(world: &mut World) {
    assert_eq!(world.set_policies("permit(principal, action, resource);").code, 0);
}

fn boot_at(world: &mut World, position: usize, level: u32) {
    world.nodes[position].boots += 1;
    let mut statement = world.boot_statement(position);
    let signer = world.signer(position);
    statement.feature_level = level;
    let signature = world.nodes[position].signing.sign(&signer.feature(level));
    statement.feature_signature = signature.to_vec().into();
    world.apply(
        symbolon_state::Kind::BootKeys.number(),
        statement.encode_to_vec().into(),
    );
}

#[test]
fn a_large_value_is_refused_without_a_trace_until_the_level_rises_and_taken_then() {
    let mut world = World::at_first_level(1, 3, 1);
    permissive(&mut world);
    let mut author = world.agent("author");
    let secret = world.secret_id();
    let put = world.put(&mut author, PATH, secret, 1, &vec![7; 512 * 1024]);
    let command = world.put_command(&author, &put);
    assert!(command.encoded_len() > COMMAND_BYTES_MAX_LEVEL_1);
    let before = world.records.clone();
    let refused = world.submit(&command);
    assert_eq!(refused.code, Code::UnknownVersion as u32, "{}", refused.message);
    assert!(refused.message.contains("feature level 2"), "{}", refused.message);
    assert!(
        world.records == before,
        "an older build that does not know the command records nothing either"
    );

    assert_eq!(world.raise_level(2).effects, [Effect::FeatureLevel { level: 2 }]);
    assert_eq!(world.submit(&command).version, 1);
}

#[test]
fn the_level_stays_while_one_nodes_build_does_not_know_it() {
    let mut world = World::at_first_level(2, 3, 1);
    boot_at(&mut world, 1, 1);
    assert_eq!(world.raise_level(2).effects, []);
    assert_eq!(world.machine.level(), 1);
    boot_at(&mut world, 1, 2);
    world.raise_level(2);
    assert_eq!(world.machine.level(), 2);
}

#[test]
fn a_build_that_does_not_know_a_level_stops_at_the_entry_that_raises_it_and_loads_no_state_of_it() {
    let mut world = World::new(5, 3, 1);
    let newer = FEATURE_LEVEL + 1;
    for position in 0..3 {
        boot_at(&mut world, position, newer);
    }
    let raise = symbolon_wire::v1::FeatureLevel { level: newer }.encode_to_vec();
    let stopped = world.try_apply(symbolon_state::Kind::FeatureLevel.number(), raise.into());
    let fault = Fault::NewerLevel {
        in_force: newer,
        known: FEATURE_LEVEL,
    };
    assert_eq!(stopped.unwrap_err(), fault);

    let level = symbolon_state::records::Level { level: newer }.encode_to_vec();
    world.records.put(symbolon_state::keys::level(), level.into());
    let provider = std::sync::Arc::new(symbolon_crypto::provider::Portable);
    let loaded = Machine::load(&world.records, world.roster.clone(), provider);
    assert_eq!(loaded.err(), Some(fault));
}

#[test]
fn the_level_is_kept_over_a_restart() {
    let world = World::new(3, 3, 1);
    let provider = std::sync::Arc::new(symbolon_crypto::provider::Portable);
    let loaded = Machine::load(&world.records, world.roster.clone(), provider).unwrap();
    assert_eq!(loaded.level(), symbolon_wire::FEATURE_LEVEL);
}
