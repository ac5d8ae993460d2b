//! A node that lies, over the real agreement or to clients: who notices, within what time, and what clients see (proof.md, "malicious
//! nodes").
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use symbolon_consensus::malice::Lie;
use symbolon_crypto::provider::Portable;
use symbolon_node::vouch::Boots;
use symbolon_sim::Bug;
use symbolon_sim::malice::{LIAR, Played, Scenario, VICTIM, play};
use symbolon_state::testing::World;

const SEEDS: u64 = 5;
/// The other honest node.
const OTHER: u16 = 1;

/// Plays the scenario under several seeds; what must always hold is checked, the rest is told.
fn played(scenario: &Scenario) -> Vec<Played> {
    (0..SEEDS).map(|seed| once(seed, scenario)).collect()
}

fn once(seed: u64, scenario: &Scenario) -> Played {
    let played = play(seed, scenario).unwrap();
    println!("seed {seed}: {played:?}");
    assert_eq!(played.violations, Vec::new(), "seed {seed}");
    played
}

fn telling(lie: Lie) -> Scenario {
    Scenario {
        lies: vec![lie],
        for_ms: 8_000,
        ..Scenario::default()
    }
}

fn both() -> BTreeSet<u16> {
    BTreeSet::from([OTHER, VICTIM])
}

#[test]
fn an_honest_leader_is_not_noticed_and_loses_nothing() {
    for played in played(&Scenario {
        for_ms: 8_000,
        ..Scenario::default()
    }) {
        assert_eq!((played.told, played.lost, played.diverged_ms), (0, 0, None));
        assert!(played.froze.is_empty() && played.noticed.is_empty());
        assert!(played.acknowledged > 20 && played.reads > 50);
    }
}

#[test]
fn two_followers_that_are_told_different_entries_never_both_go_on() {
    let all = played(&telling(Lie::Fork { victim: VICTIM.into() }));
    // The victim may freeze, by the leader's head, before the other follower has applied as much.
    let diverged = all.iter().filter(|played| played.diverged_ms.is_some()).count();
    assert!(diverged > 0, "the lie made no difference");
    for played in all {
        assert!(played.told > 0);
        let froze_ms = played.froze.get(&VICTIM).expect("the victim goes on");
        // How long both went on is checked in each run; if they never did, this is how long the victim did.
        assert!(*froze_ms <= 1_000, "the victim froze after {froze_ms} ms");
        assert_eq!(played.serving, BTreeSet::from([OTHER]));
    }
}

#[test]
fn two_followers_that_are_told_different_entries_both_freeze_if_the_leader_hides_its_own() {
    for played in played(&Scenario {
        silent: true,
        ..telling(Lie::Fork { victim: VICTIM.into() })
    }) {
        assert!(played.diverged_ms.is_some(), "the lie made no difference");
        assert!(played.serving.len() <= 1, "{:?}", played.serving);
    }
}

#[test]
fn two_followers_to_whom_the_leader_shows_different_boots_never_both_go_on() {
    for played in played(&Scenario {
        two_faced: true,
        ..telling(Lie::Fork { victim: VICTIM.into() })
    }) {
        assert!(played.diverged_ms.is_some(), "the lie made no difference");
        assert!(played.serving.len() <= 1, "{:?}", played.serving);
    }
}

#[test]
fn a_leader_that_logs_another_membership_changes_nobodys() {
    for played in played(&telling(Lie::Alone { member: LIAR.into() })) {
        assert!(played.told > 0);
        assert_eq!(played.voters, BTreeSet::from([OTHER, VICTIM, LIAR]));
    }
}

#[test]
fn a_snapshot_with_another_membership_is_refused() {
    refused_snapshot(Lie::SnapshotAlone { member: LIAR.into() });
}

#[test]
fn a_snapshot_with_another_term_is_refused() {
    refused_snapshot(Lie::SnapshotTerm { member: LIAR.into() });
}

#[test]
fn a_follower_that_claims_a_later_leader_stops_nobody_for_long() {
    let all = played(&Scenario {
        lies: vec![Lie::Depose { member: LIAR.into() }],
        follows: true,
        for_ms: 20_000,
        ..Scenario::default()
    });
    for played in &all {
        assert!(played.told > 0);
        assert_eq!((played.lost, played.diverged_ms), (0, None));
        assert_eq!(played.serving, both());
        assert!(played.acknowledged > 3, "writes do not go on: {}", played.acknowledged);
    }
    let acknowledged: usize = all.iter().map(|played| played.acknowledged).sum();
    assert!(acknowledged > 50, "writes do not go on: {acknowledged}");
}

/// Both followers notice that the leader's log is not theirs, follow it no more, and elect one of themselves. If the lie
/// began while an entry was on its way to one of them, their own logs differ, and at most one of them goes on.
///
/// Returns how many acknowledged writes no honest node has.
fn noticed(lie: Lie) -> usize {
    let (mut lost, mut deposed) = (0, 0);
    for seed in 0..4 * SEEDS {
        // The liar's word on dealings counts no more: a write at a level that needs all three is waited for to its end, 10 s.
        let scenario = Scenario {
            for_ms: 30_000,
            ..telling(lie)
        };
        let played = once(seed, &scenario);
        assert!(played.told > 0);
        lost += played.lost;
        if played.diverged_ms.is_some() {
            assert!(played.serving.len() <= 1, "{:?}", played.serving);
            continue;
        }
        assert_eq!(played.noticed.keys().copied().collect::<BTreeSet<_>>(), both());
        assert!(played.noticed.values().all(|ms| *ms <= 1_000), "{:?}", played.noticed);
        assert_eq!(played.serving, both());
        assert!(played.acknowledged > played.lost + 5, "writes do not go on");
        deposed += 1;
        if deposed == 3 {
            return lost;
        }
    }
    panic!("the scenario shows little: {deposed}");
}

#[test]
fn a_leader_that_acknowledges_and_drops_is_noticed_by_both_followers_and_deposed() {
    assert_eq!(noticed(Lie::Drop), 0, "what the leader alone acknowledged was believed");
}

#[test]
fn a_leader_that_forges_commands_is_noticed_by_both_followers_and_deposed() {
    noticed(Lie::Forge);
}

#[test]
fn a_leader_that_replays_commands_is_noticed_by_both_followers_and_deposed() {
    noticed(Lie::Replay);
}

#[test]
fn a_leader_that_censors_stops_writes_and_tells_nobody_that_they_were_made() {
    for played in played(&Scenario {
        censors: true,
        for_ms: 40_000,
        ..Scenario::default()
    }) {
        assert_eq!(played.acknowledged, 0);
        assert!(played.unknown > 0, "nobody noticed");
        assert!(played.reads > 5, "reads go on");
        assert_eq!((played.lost, played.diverged_ms, played.serving), (0, None, both()));
    }
}

/// Of a snapshot that was lost on its way while the victim was cut off, the answer is awaited for 10 s.
const OFFERED_AGAIN_MS: u64 = 16_000;

/// The victim needs a snapshot and is offered one that lies; it takes over none, and no other harm is done.
fn refused_snapshot(lie: Lie) {
    for played in played(&Scenario {
        starved: true,
        for_ms: OFFERED_AGAIN_MS,
        ..telling(lie)
    }) {
        assert!(played.told > 0, "no snapshot was offered");
        assert_eq!(played.snapshots, 0, "the victim took it over");
        assert_eq!((played.lost, played.diverged_ms), (0, None));
    }
}

#[test]
fn a_victim_takes_over_an_honest_snapshot() {
    for played in played(&Scenario {
        starved: true,
        for_ms: OFFERED_AGAIN_MS,
        ..Scenario::default()
    }) {
        assert!(played.snapshots > 0, "the scenario shows nothing about snapshots");
        assert_eq!(played.serving, both());
    }
}

#[test]
fn a_snapshot_with_a_changed_record_is_refused() {
    refused_snapshot(Lie::ForgedRecords);
}

#[test]
fn a_snapshot_with_a_state_root_that_nobody_signed_is_refused() {
    refused_snapshot(Lie::ForgedRoot);
}

#[test]
fn a_snapshot_of_another_incarnation_is_refused() {
    refused_snapshot(Lie::ForeignSnapshot);
}

/// A node that serves lies: clients read on, name nobody else, and nobody reads what was not written.
fn served(lie: Bug) -> Vec<Played> {
    let all = played(&Scenario {
        serves: Some(lie),
        follows: true,
        for_ms: 8_000,
        ..Scenario::default()
    });
    for played in &all {
        assert!(played.told > 0, "it never lied");
        assert!(played.reads > 20 && played.acknowledged > 5, "{played:?}");
        assert_eq!((played.lost, played.diverged_ms), (0, None));
        assert_eq!(played.serving, both());
        assert!(
            played.froze.is_empty() && played.noticed.is_empty(),
            "the logs are equal"
        );
    }
    all
}

/// The same, and clients name it: who reads from it gets its signed reply as evidence.
fn named(lie: Bug) {
    for played in served(lie) {
        assert!(played.named > 0, "nobody named it: {played:?}");
        assert!(played.named_after_ms.is_some_and(|ms| ms <= 2_000), "{played:?}");
    }
}

#[test]
fn a_node_that_serves_a_wrong_fragment_is_named_by_clients_who_read_on() {
    named(Bug::WrongFragment);
}

#[test]
fn a_node_that_serves_its_fragment_of_another_secret_is_named_by_clients_who_read_on() {
    named(Bug::OtherSecretsFragment);
}

#[test]
fn a_node_that_goes_on_serving_an_old_state_is_named_by_clients_who_ask_for_the_newest() {
    named(Bug::OldState);
}

#[test]
fn a_node_that_serves_another_secret_deceives_nobody() {
    served(Bug::OtherSecret);
}

#[test]
fn a_node_that_serves_an_old_version_as_the_latest_deceives_nobody() {
    served(Bug::OldVersion);
}

#[test]
fn a_node_that_claims_another_epoch_deceives_nobody() {
    served(Bug::OtherEpoch);
}

#[test]
fn a_node_that_claims_a_state_it_does_not_have_deceives_nobody() {
    served(Bug::AheadOfItself);
}

#[test]
fn a_follower_that_acknowledges_what_it_does_not_keep_makes_two_histories_that_do_not_both_go_on() {
    let mut diverged = 0;
    for played in played(&Scenario {
        lies: vec![Lie::Hollow],
        follows: true,
        parted: true,
        for_ms: 6_000,
        ..Scenario::default()
    }) {
        assert!(played.told > 0);
        assert!(played.serving.len() <= 1, "{:?}", played.serving);
        assert!(!played.froze.is_empty(), "nobody noticed: {played:?}");
        diverged += usize::from(played.diverged_ms.is_some());
    }
    assert!(diverged >= 3, "its word counted for nothing");
}

#[test]
fn boots_that_a_node_makes_up_are_not_kept_without_end_and_push_out_nobody_elses() {
    let (mut world, boots) = (World::new(1, 3, 1), Boots::default());
    let others = world.boot_statement(0);
    assert!(boots.keep(&world.roster, &Portable, &others).is_some());
    let (first, last) = (world.signer(2).boot_counter + 1, world.signer(2).boot_counter + 100);
    for _ in first..=last {
        world.boot(2);
        let made_up = world.boot_statement(2);
        assert!(boots.keep(&world.roster, &Portable, &made_up).is_some());
    }
    let node = world.signer(2).node;
    let kept: Vec<u64> = (first..=last)
        .filter(|counter| boots.signing_key(node, *counter).is_some())
        .collect();
    assert_eq!((kept.len(), kept.last()), (64, Some(&last)));
    assert!(boots.signing_key(world.signer(0).node, others.boot_counter).is_some());
}

#[test]
fn each_seeded_bug_is_found_by_its_test_here() {
    symbolon_sabotage::caught_in(file!());
}
