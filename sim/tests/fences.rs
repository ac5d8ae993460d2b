//! What a node takes from older boots of the others once it has told a newer one where it stands: nothing.
#![allow(clippy::unwrap_used, reason = "tests fail by panic")]

use rand_core::SeedableRng as _;
use std::sync::Arc;
use std::time::Duration;
use symbolon_crypto::provider::Portable;
use symbolon_crypto::secret::Secret;
use symbolon_custody::admission::BootId;
use symbolon_node::fences::Fences;
use symbolon_state::testing::World;
use symbolon_store::{MemoryDisk, Options, Store};
use symbolon_wire::v1::BootKeys;

/// The node that boots again, as its statements name it.
const NODE: u16 = 1;

fn open(disk: &MemoryDisk, world: &World) -> (Store, Fences) {
    let rng = Box::new(rand_chacha::ChaCha20Rng::from_seed([1; 32]));
    let key = Secret::fill(|bytes: &mut [u8; 32]| bytes.fill(7));
    let store = Store::open_in_memory(disk, Options::new(key, Arc::new(Portable), rng)).unwrap();
    let fences = Fences::open(store.local(), &world.roster).unwrap();
    (store, fences)
}

/// Two boots of one node, the older first.
fn boots(world: &mut World) -> [BootKeys; 2] {
    let older = world.boot_statement(0);
    world.boot(0);
    [older, world.boot_statement(0)]
}

#[tokio::test]
async fn a_fence_stands_after_the_power_went_the_moment_it_was_raised() {
    let (disk, mut world) = (MemoryDisk::new(), World::new(1, 3, 1));
    let [older, newer] = boots(&mut world);
    let (store, fences) = open(&disk, &world);
    assert_eq!(fences.raise(NODE, &newer).await.unwrap(), None);
    disk.crash();
    drop((store, fences));
    let (_store, fences) = open(&disk, &world);
    assert_eq!(fences.superseding(NODE, &BootId::of(&older)), Some(newer.clone()));
    assert_eq!(
        fences.raise(NODE, &older).await.unwrap(),
        Some(newer),
        "and is not lowered"
    );
}

#[tokio::test(start_paused = true)]
async fn a_fence_waits_for_frames_in_hand_and_lets_none_of_an_older_boot_pass_afterwards() {
    let (disk, mut world) = (MemoryDisk::new(), World::new(1, 3, 1));
    let [older, newer] = boots(&mut world);
    let (_store, fences) = open(&disk, &world);
    let of_older = BootId::of(&older);
    let frame = fences.pass(NODE, &of_older).await.unwrap();
    let mut rising = Box::pin(fences.raise(NODE, &newer));
    let raised = tokio::time::timeout(Duration::from_secs(1), &mut rising).await;
    assert!(raised.is_err(), "it rose while a frame was worked on");
    drop(frame);
    assert_eq!(rising.await.unwrap(), None);
    assert_eq!(fences.pass(NODE, &of_older).await.unwrap_err().as_ref(), &newer);
    assert!(fences.pass(NODE, &BootId::of(&newer)).await.is_ok());
    assert!(
        fences.pass(2, &of_older).await.is_ok(),
        "another node's boots are their own"
    );
}

#[test]
fn each_seeded_bug_is_found_by_its_test_here() {
    symbolon_sabotage::caught_in(file!());
}
