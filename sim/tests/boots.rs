//! Boot statements that nodes keep of each other: few of a node that makes them up, and those shown with a head count anyway.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panic")]

use symbolon_crypto::provider::Portable;
use symbolon_crypto::sign::SigningKey;
use symbolon_node::vouch::Boots;
use symbolon_state::testing::World;
use symbolon_wire::v1::BootKeys;

/// A boot of the first node under a new key.
fn boot(world: &mut World, counter: u64) -> BootKeys {
    world.nodes[0].signing = SigningKey::generate(&mut world.rng);
    world.nodes[0].boots = counter;
    world.boot_statement(0)
}

#[test]
fn of_many_boots_of_one_counter_the_last_are_kept() {
    let (mut world, boots) = (World::new(1, 3, 1), Boots::default());
    let shown: Vec<BootKeys> = (0..10).map(|_| boot(&mut world, 7)).collect();
    for statement in &shown {
        assert!(boots.keep(&world.roster, &Portable, statement).is_some());
    }
    let kept: Vec<BootKeys> = boots
        .of_boot(1, 7)
        .iter()
        .map(|seen| (*seen.statement).clone())
        .collect();
    assert_eq!(kept, shown[6..]);
}

#[test]
fn a_boot_that_others_pushed_out_is_checked_when_it_is_shown_again() {
    let (mut world, boots) = (World::new(1, 3, 1), Boots::default());
    let first = boot(&mut world, 7);
    for counter in 8..100 {
        let made_up = boot(&mut world, counter);
        boots.keep(&world.roster, &Portable, &made_up).unwrap();
    }
    assert_eq!(
        boots
            .keep(&world.roster, &Portable, &first)
            .map(|seen| seen.boot.counter),
        Some(7)
    );
    assert!(
        boots.of_boot(1, 7).is_empty(),
        "it is not kept, and counts with what it comes with"
    );
    let mut forged = first;
    forged.boot_counter = 200;
    assert!(boots.keep(&world.roster, &Portable, &forged).is_none());
}
