//! Snapshots are taken on the word of t others, each counted once, and of nobody else.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panic")]

use bytes::Bytes;
use symbolon_crypto::provider::Portable;
use symbolon_crypto::sign::VerifyingKey;
use symbolon_custody::snapshots::{Claim, Collected, SnapshotRefused, check, statement};
use symbolon_state::testing::World;
use symbolon_wire::statements::Signer;
use symbolon_wire::v1::{SnapshotEvidence, SnapshotSignature};

fn claim() -> Claim {
    Claim {
        index: 1_000,
        chain: [0xC0; 32],
        state_root: [0x50; 32],
    }
}

/// The signature of the node at `position` over `claim`.
fn signed(world: &World, position: usize, claim: &Claim) -> SnapshotSignature {
    signed_as(world, position, &world.signer(position), claim)
}

/// The same under another name or boot.
fn signed_as(world: &World, position: usize, signer: &Signer, claim: &Claim) -> SnapshotSignature {
    let signature = world.nodes[position]
        .signing
        .sign(&statement(signer, &world.roster, claim));
    SnapshotSignature {
        node: signer.node.into(),
        boot_counter: signer.boot_counter,
        incarnation: 0,
        index: claim.index,
        chain: Bytes::copy_from_slice(&claim.chain),
        state_root: Bytes::copy_from_slice(&claim.state_root),
        roster_hash: Bytes::copy_from_slice(&world.roster.hash),
        signature: Bytes::copy_from_slice(&signature),
    }
}

fn keys(world: &World) -> impl Fn(u16, u64) -> Option<VerifyingKey> {
    let boots = world.machine.boots().clone();
    move |node, counter| {
        let boot = boots.get(&node)?;
        (boot.counter == counter).then(|| boot.signing_key.clone())
    }
}

/// How many vouch for the claim, as node 1 counts them.
fn vouching(world: &World, signatures: Vec<SnapshotSignature>) -> Result<(), usize> {
    let evidence = SnapshotEvidence { signatures };
    match check(&claim(), &evidence, 1, &world.roster, keys(world), &Portable) {
        Ok(()) => Ok(()),
        Err(SnapshotRefused::TooFew { index, found, needed }) => {
            assert_eq!((index, needed), (1_000, usize::from(world.roster.threshold)));
            Err(found)
        }
    }
}

#[test]
fn t_others_are_enough_and_one_fewer_is_not() {
    for (n, t) in [(3, 2), (5, 3), (7, 4)] {
        let world = World::new(1, n, 1);
        let others: Vec<SnapshotSignature> = (1..n).map(|position| signed(&world, position, &claim())).collect();
        assert_eq!(vouching(&world, others.clone()), Ok(()));
        assert_eq!(vouching(&world, others[..t].to_vec()), Ok(()));
        assert_eq!(vouching(&world, others[others.len() - t..].to_vec()), Ok(()));
        assert_eq!(vouching(&world, others[..t - 1].to_vec()), Err(t - 1));
        assert_eq!(vouching(&world, Vec::new()), Err(0));
    }
}

#[test]
fn the_receiver_s_own_signature_is_not_counted() {
    let world = World::new(1, 3, 1);
    let with_own = vec![signed(&world, 0, &claim()), signed(&world, 1, &claim())];
    assert_eq!(vouching(&world, with_own), Err(1));
}

#[test]
fn one_member_s_signature_counts_once_however_often_it_comes() {
    let world = World::new(1, 3, 1);
    let one = signed(&world, 1, &claim());
    assert_eq!(vouching(&world, vec![one; 100]), Err(1));
}

#[test]
fn a_bad_signature_before_the_good_one_of_the_same_member_does_not_hide_it() {
    let world = World::new(1, 3, 1);
    let good = signed(&world, 1, &claim());
    let bad = SnapshotSignature {
        signature: vec![1; 64].into(),
        ..good.clone()
    };
    assert_eq!(vouching(&world, vec![bad, good, signed(&world, 2, &claim())]), Ok(()));
}

#[test]
fn signatures_over_another_index_chain_or_root_are_not_counted() {
    let world = World::new(1, 3, 1);
    let others = [
        Claim { index: 999, ..claim() },
        Claim {
            chain: [0xC1; 32],
            ..claim()
        },
        Claim {
            state_root: [0x51; 32],
            ..claim()
        },
    ];
    for other in others {
        let mut about_another = signed(&world, 1, &other);
        assert_eq!(
            vouching(&world, vec![about_another.clone(), signed(&world, 2, &claim())]),
            Err(1)
        );
        // What stands beside the signature does not matter; what is signed does.
        about_another.index = claim().index;
        about_another.chain = claim().chain.to_vec().into();
        about_another.state_root = claim().state_root.to_vec().into();
        assert_eq!(
            vouching(&world, vec![about_another, signed(&world, 2, &claim())]),
            Err(1)
        );
    }
}

#[test]
fn signatures_of_another_cluster_s_nodes_are_not_counted() {
    let (ours, theirs) = (World::new(1, 3, 1), World::new(2, 3, 1));
    let foreign = vec![signed(&theirs, 1, &claim()), signed(&theirs, 2, &claim())];
    assert_eq!(vouching(&ours, foreign), Err(0));
}

#[test]
fn a_signature_under_another_member_s_name_is_not_counted() {
    let world = World::new(1, 3, 1);
    let renamed = SnapshotSignature {
        node: 3,
        ..signed(&world, 1, &claim())
    };
    assert_eq!(vouching(&world, vec![signed(&world, 1, &claim()), renamed]), Err(1));
}

#[test]
fn a_node_outside_the_roster_is_not_counted_though_somebody_knows_its_key() {
    let world = World::new(1, 3, 1);
    let outsider = Signer {
        node: 9,
        ..world.signer(2)
    };
    let past_u16 = SnapshotSignature {
        node: 65_536 + 3,
        ..signed(&world, 2, &claim())
    };
    let key_of = |node: u16, _: u64| {
        let position = if node == 9 { 2 } else { usize::from(node) - 1 };
        Some(world.nodes[position].signing.verifying_key().clone())
    };
    let vouched_for = |other: SnapshotSignature| {
        let signatures = vec![other, signed(&world, 1, &claim())];
        check(
            &claim(),
            &SnapshotEvidence { signatures },
            1,
            &world.roster,
            key_of,
            &Portable,
        )
        .is_ok()
    };
    let outside = signed_as(&world, 2, &outsider, &claim());
    assert!(!vouched_for(outside.clone()) && !vouched_for(past_u16));
    assert!(vouched_for(signed(&world, 2, &claim())));

    let mut collected = Collected::default();
    collected.take(
        outside,
        &world.roster,
        world.nodes[2].signing.verifying_key(),
        &Portable,
    );
    assert!(collected.all().is_empty());
}

#[test]
fn a_signature_by_the_key_of_an_earlier_boot_is_not_counted() {
    let mut world = World::new(1, 3, 1);
    let old = signed(&world, 1, &claim());
    world.boot(1);
    assert_eq!(vouching(&world, vec![old.clone(), signed(&world, 2, &claim())]), Err(1));
    let relabelled = SnapshotSignature { boot_counter: 2, ..old };
    assert_eq!(vouching(&world, vec![relabelled, signed(&world, 2, &claim())]), Err(1));
    assert_eq!(
        vouching(&world, vec![signed(&world, 1, &claim()), signed(&world, 2, &claim())]),
        Ok(())
    );
}

#[test]
fn a_signature_of_another_length_is_not_counted() {
    let world = World::new(1, 3, 1);
    for length in [0, 63, 65] {
        let mut cut = signed(&world, 1, &claim());
        let mut bytes = cut.signature.to_vec();
        bytes.resize(length, 0);
        cut.signature = bytes.into();
        assert_eq!(
            vouching(&world, vec![cut, signed(&world, 2, &claim())]),
            Err(1),
            "{length} bytes"
        );
    }
}

fn take(collected: &mut Collected, world: &World, signature: SnapshotSignature) {
    let position = usize::try_from(signature.node).unwrap() - 1;
    let key = world.nodes[position].signing.verifying_key();
    collected.take(signature, &world.roster, key, &Portable);
}

#[test]
fn nothing_is_passed_on_with_what_no_signature_covers_made_large() {
    let world = World::new(1, 3, 1);
    let mut collected = Collected::default();
    let large = SnapshotSignature {
        roster_hash: vec![0; 1 << 20].into(),
        ..signed(&world, 1, &claim())
    };
    take(&mut collected, &world, large);
    assert!(collected.all().is_empty());
}

#[test]
fn what_is_collected_for_a_claim_is_evidence_for_it_and_for_no_other() {
    let world = World::new(1, 3, 1);
    let mut collected = Collected::default();
    let other = Claim {
        state_root: [9; 32],
        ..claim()
    };
    take(&mut collected, &world, signed(&world, 0, &other));
    take(&mut collected, &world, signed(&world, 1, &claim()));
    take(&mut collected, &world, signed(&world, 2, &claim()));
    assert_eq!(collected.evidence(&claim()).signatures.len(), 2);
    assert_eq!(collected.evidence(&other).signatures.len(), 1);
    assert_eq!(collected.all().len(), 3);
    let evidence = collected.evidence(&claim());
    assert!(check(&claim(), &evidence, 1, &world.roster, keys(&world), &Portable).is_ok());
    let nothing = Claim {
        index: 1_001,
        ..claim()
    };
    assert!(collected.evidence(&nothing).signatures.is_empty());
}

#[test]
fn forged_foreign_and_misshapen_signatures_are_not_kept() {
    let (world, theirs) = (World::new(1, 3, 1), World::new(2, 3, 1));
    let mut collected = Collected::default();
    let good = signed(&world, 1, &claim());
    let bad = [
        SnapshotSignature {
            signature: vec![1; 64].into(),
            ..good.clone()
        },
        SnapshotSignature {
            state_root: vec![9; 32].into(),
            ..good.clone()
        },
        SnapshotSignature {
            chain: vec![9; 31].into(),
            ..good.clone()
        },
        SnapshotSignature {
            boot_counter: 7,
            ..good.clone()
        },
        signed(&theirs, 1, &claim()),
        signed(&world, 2, &claim()),
    ];
    let key = world.nodes[1].signing.verifying_key();
    for one in bad {
        collected.take(one, &world.roster, key, &Portable);
    }
    assert!(collected.all().is_empty());
    collected.take(good, &world.roster, key, &Portable);
    assert_eq!(collected.all().len(), 1);
}

#[test]
fn the_latest_eight_marks_are_kept_and_older_ones_forgotten() {
    let world = World::new(1, 3, 1);
    let mut collected = Collected::default();
    let at = |index| Claim { index, ..claim() };
    for index in 1..=20 {
        take(&mut collected, &world, signed(&world, 1, &at(index)));
    }
    let kept: Vec<u64> = collected.all().iter().map(|signature| signature.index).collect();
    assert_eq!(kept, (13..=20).collect::<Vec<_>>());
}

#[test]
fn a_member_that_signs_marks_far_ahead_pushes_out_nobody_else_s() {
    let world = World::new(1, 3, 1);
    let mut collected = Collected::default();
    for ahead in 0..100 {
        let far = Claim {
            index: u64::MAX - ahead,
            ..claim()
        };
        take(&mut collected, &world, signed(&world, 0, &far));
    }
    for position in [1, 2] {
        take(&mut collected, &world, signed(&world, position, &claim()));
    }
    assert_eq!(collected.evidence(&claim()).signatures.len(), 2);
    assert!(collected.all().len() <= 10, "and memory is bounded");
}

/// What the node at `own` finds once the nodes at those positions have signed these state roots at one mark.
fn contradicted(world: &World, own: usize, roots: &[(usize, u8)]) -> Option<Vec<u16>> {
    let mut collected = Collected::default();
    for (position, root) in roots {
        let claim = Claim {
            state_root: [*root; 32],
            ..claim()
        };
        take(&mut collected, world, signed(world, *position, &claim));
    }
    let found = collected.contradicted(world.roster.nodes[own].index, world.roster.threshold);
    found.map(|found| {
        assert_eq!(found.index, claim().index);
        found.against
    })
}

#[test]
fn a_node_whose_state_t_others_contradict_knows_it_and_nobody_else_is_stopped() {
    let three = World::new(1, 3, 1);
    let roots = [(0, 1), (1, 1), (2, 9)];
    assert_eq!(contradicted(&three, 2, &roots), Some(vec![1, 2]));
    assert_eq!(contradicted(&three, 0, &roots), None);
    assert_eq!(contradicted(&three, 1, &roots), None);
    let five = World::new(1, 5, 1);
    let roots = [(0, 9), (1, 1), (2, 8), (3, 1), (4, 1)];
    assert_eq!(contradicted(&five, 0, &roots), Some(vec![2, 4, 5]));
    assert_eq!(contradicted(&five, 2, &roots), Some(vec![2, 4, 5]));
    assert_eq!(contradicted(&five, 1, &roots), None);
}

#[test]
fn fewer_than_t_or_others_that_differ_among_themselves_stop_nobody() {
    let three = World::new(1, 3, 1);
    assert_eq!(
        contradicted(&three, 2, &[(1, 1), (2, 9)]),
        None,
        "one liar is not enough"
    );
    assert_eq!(contradicted(&three, 2, &[(0, 1), (1, 2), (2, 9)]), None);
    assert_eq!(
        contradicted(&three, 2, &[(0, 1), (1, 1)]),
        None,
        "it has not said itself"
    );
    let five = World::new(1, 5, 1);
    assert_eq!(contradicted(&five, 0, &[(0, 9), (1, 1), (2, 1)]), None);
}

#[test]
fn an_older_mark_that_is_contradicted_is_found_though_a_newer_one_is_not_signed_by_others_yet() {
    let world = World::new(1, 3, 1);
    let mut collected = Collected::default();
    let other = Claim {
        state_root: [9; 32],
        ..claim()
    };
    let newer = Claim {
        index: claim().index + 1,
        ..other.clone()
    };
    take(&mut collected, &world, signed(&world, 2, &other));
    take(&mut collected, &world, signed(&world, 2, &newer));
    for position in [0, 1] {
        take(&mut collected, &world, signed(&world, position, &claim()));
    }
    let found = collected.contradicted(3, world.roster.threshold).unwrap();
    assert_eq!((found.index, found.against), (claim().index, vec![1, 2]));
}

#[test]
fn each_seeded_bug_is_found_by_its_test_here() {
    symbolon_sabotage::caught_in(file!());
}
