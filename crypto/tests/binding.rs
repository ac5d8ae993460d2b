//! A fragment opens and counts only where it was dealt: every field of both contexts, the session and the node.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::{Bound, World, copy, dealing, hedge, pairs, rng, scope, session, sharing, write};
use std::collections::HashSet;
use symbolon_crypto::{
    Hash,
    dealing::{
        DataKey, DealError, Dealt, LagrangeTable, OpenFragmentError, OpenValueError, UnlockError, WrongFragment, deal,
    },
    own::{open_own_fragment, seal_own_fragment},
    provider::Portable,
    sealing::{SessionScope, fragment_key},
    secret::Secret,
};

fn world() -> World {
    World::new(&[1, 2, 3], b"value")
}

/// Whoever moves a dealing to another place fails three times: the sealed fragment does not open there; the fragment, had
/// anyone opened it, does not fit its commitment there; and t such fragments do not give the key there.
fn assert_refused_when_moved(change: impl Fn(&mut Bound)) {
    let world = world();
    let mut elsewhere = world.bound.clone();
    change(&mut elsewhere);
    assert_ne!(elsewhere, world.bound, "the change must be one");

    for place in 0..3 {
        let opened = world.open_as(place, &elsewhere, &scope(&world.bound));
        assert!(
            matches!(opened, Err(OpenFragmentError::Tag(_))),
            "the session of the old place"
        );
        let opened = world.open_as(place, &elsewhere, &scope(&elsewhere));
        assert!(
            matches!(opened, Err(OpenFragmentError::Tag(_))),
            "a session said to be of the new place"
        );
    }

    let sharing = sharing(&elsewhere);
    let moved = dealing(&elsewhere, &sharing, &world.dealt);
    assert_ne!(moved.dd(), &world.dealt.dd);
    assert_ne!(moved.record_hash(), &world.dealt.record_hash);
    for (place, &index) in elsewhere.indices.iter().enumerate() {
        let refused = moved.verify_fragment(index, &world.fragment(place));
        assert_eq!(refused, Err(WrongFragment::Commitment { index }));
    }
}

/// As above, and the key commitment fails too: it hangs on the value's context.
fn assert_key_refused_when_moved(change: impl Fn(&mut Bound)) {
    assert_refused_when_moved(&change);
    let world = world();
    let mut elsewhere = world.bound.clone();
    change(&mut elsewhere);
    let sharing = sharing(&elsewhere);
    let moved = dealing(&elsewhere, &sharing, &world.dealt);
    let unlocked = moved.unlock(
        &LagrangeTable::new(&sharing),
        &[(1, &world.fragment(0)), (2, &world.fragment(1))],
    );
    assert_eq!(
        unlocked.unwrap_err(),
        UnlockError::KeyCommitment { indices: vec![1, 2] }
    );
}

#[test]
fn a_fragment_moved_to_another_cluster_is_refused() {
    assert_key_refused_when_moved(|bound| bound.cluster = [9; 16]);
}

#[test]
fn a_fragment_moved_to_another_tenant_is_refused() {
    assert_key_refused_when_moved(|bound| bound.tenant = [9; 16]);
}

#[test]
fn a_fragment_moved_to_another_secret_is_refused() {
    assert_key_refused_when_moved(|bound| bound.secret = [9; 16]);
}

#[test]
fn a_fragment_moved_to_another_version_is_refused() {
    assert_key_refused_when_moved(|bound| bound.version += 1);
}

#[test]
fn a_fragment_moved_to_another_author_is_refused() {
    assert_key_refused_when_moved(|bound| bound.author = [9; 16]);
}

#[test]
fn a_fragment_moved_to_another_write_nonce_is_refused() {
    assert_key_refused_when_moved(|bound| bound.write_nonce = [9; 32]);
}

#[test]
fn a_fragment_moved_to_another_epoch_is_refused() {
    assert_refused_when_moved(|bound| bound.epoch += 1);
}

#[test]
fn a_fragment_moved_to_another_roster_is_refused() {
    assert_refused_when_moved(|bound| bound.roster_hash = [9; 32]);
}

#[test]
fn a_fragment_moved_to_another_dealer_is_refused() {
    assert_refused_when_moved(|bound| bound.dealer = [9; 16]);
}

#[test]
fn a_fragment_moved_to_another_number_of_nodes_and_threshold_is_refused() {
    use symbolon_crypto::context::SharingContext;
    let world = world();
    let sctx = |n, t| {
        SharingContext {
            vctx: &world.dealt.vctx,
            epoch: world.bound.epoch,
            roster_hash: &world.bound.roster_hash,
            n,
            t,
            dealer: &world.bound.dealer,
        }
        .hash()
    };
    assert_eq!(sctx(3, 2), world.dealt.sctx);
    assert_ne!(sctx(5, 2), world.dealt.sctx);
    assert_ne!(sctx(3, 3), world.dealt.sctx);
}

#[test]
fn a_fragment_moved_to_another_node_is_refused() {
    let mut world = world();
    world.dealt.sealed.swap(0, 1);
    for place in 0..2 {
        let opened = world.open_as(place, &world.bound, &scope(&world.bound));
        assert!(matches!(opened, Err(OpenFragmentError::Tag(_))));
    }
    world.dealt.sealed.swap(0, 1);
    let sharing = sharing(&world.bound);
    let dealing = dealing(&world.bound, &sharing, &world.dealt);
    let refused = dealing.verify_fragment(2, &world.fragment(0));
    assert_eq!(
        refused,
        Err(WrongFragment::Commitment { index: 2 }),
        "opened by node 1, shown as node 2's"
    );
    assert_eq!(
        dealing.verify_fragment(4, &world.fragment(0)),
        Err(WrongFragment::UnknownNode { index: 4 })
    );
}

#[test]
fn a_fragment_at_rest_moved_to_another_secret_version_or_epoch_is_refused() {
    let world = world();
    let epoch_key = Secret::fill(|b| b.fill(8));
    let Dealt { sctx, dd, .. } = &world.dealt;
    let sealed = seal_own_fragment(&Portable, &epoch_key, sctx, dd, &world.fragment(0)).unwrap();
    assert!(open_own_fragment(&Portable, &epoch_key, sctx, dd, &sealed).is_ok());
    let changes: [fn(&mut Bound); 3] = [
        |bound| bound.secret = [9; 16],
        |bound| bound.version += 1,
        |bound| bound.epoch += 1,
    ];
    for change in changes {
        let mut elsewhere = world.bound.clone();
        change(&mut elsewhere);
        let sharing = sharing(&elsewhere);
        let moved = dealing(&elsewhere, &sharing, &world.dealt);
        let opened = open_own_fragment(&Portable, &epoch_key, moved.sctx(), moved.dd(), &sealed);
        assert!(matches!(opened, Err(OpenFragmentError::Tag(_))));
    }
}

#[test]
fn a_value_under_another_header_is_refused() {
    let mut world = world();
    let fragments: Vec<_> = (0..2).map(|place| world.fragment(place)).collect();
    world.dealt.header = symbolon_crypto::context::header("text/html");
    let sharing = sharing(&world.bound);
    let moved = dealing(&world.bound, &sharing, &world.dealt);
    let table = LagrangeTable::new(&sharing);
    let key = moved.unlock(&table, &[(1, &fragments[0]), (2, &fragments[1])]).unwrap();
    assert!(matches!(key.open(&Portable), Err(OpenValueError::Tag(_))));
    assert_ne!(
        moved.dd(),
        &world.dealt.dd,
        "and no node would release it: the dealing digest differs"
    );
}

#[test]
fn a_session_of_another_dealer_cluster_epoch_roster_or_of_other_nodes_is_refused() {
    let world = world();
    let deal_under = |change: fn(&mut Bound)| {
        let mut other = world.bound.clone();
        change(&mut other);
        let session = session(&other, &world.pairs, 1);
        let write = write(&world.bound, "text/plain");
        deal(
            &Portable,
            &mut rng(2),
            &hedge(),
            &write,
            b"value",
            &sharing(&world.bound),
            &session,
        )
        .map(|_| ())
    };
    assert_eq!(deal_under(|_| {}), Ok(()));
    assert_eq!(
        deal_under(|bound| bound.dealer = [9; 16]),
        Err(DealError::SessionOfAnotherDealer)
    );
    assert_eq!(
        deal_under(|bound| bound.cluster = [9; 16]),
        Err(DealError::SessionOfAnotherCluster)
    );
    let other_epoch = Err(DealError::SessionOfAnotherEpoch { session: 7, roster: 6 });
    assert_eq!(deal_under(|bound| bound.epoch += 1), other_epoch);
    let other_roster = Err(DealError::SessionOfAnotherEpoch { session: 6, roster: 6 });
    assert_eq!(deal_under(|bound| bound.roster_hash = [9; 32]), other_roster);
    assert_eq!(
        deal_under(|bound| bound.indices = vec![1, 2, 4]),
        Err(DealError::SessionOfOtherNodes)
    );
}

#[test]
fn a_session_said_to_be_another_dealers_opens_nothing() {
    let world = world();
    let of = |change: fn(&mut SessionScope)| {
        let mut scope = scope(&world.bound);
        change(&mut scope);
        world.open_as(0, &world.bound, &scope).map(|_| ())
    };
    assert!(of(|_| {}).is_ok());
    assert!(matches!(
        of(|scope| scope.dealer = [9; 16]),
        Err(OpenFragmentError::Tag(_))
    ));
    assert!(matches!(
        of(|scope| scope.cluster = [9; 16]),
        Err(OpenFragmentError::Tag(_))
    ));
    assert!(matches!(of(|scope| scope.epoch += 1), Err(OpenFragmentError::Tag(_))));
    assert!(matches!(
        of(|scope| scope.roster_hash = [9; 32]),
        Err(OpenFragmentError::Tag(_))
    ));
}

/// Every key that a dealing uses: those of its fragments, and that of its value.
fn keys(bound: &Bound, dealt: &Dealt) -> (Vec<[u8; 32]>, [u8; 32], Vec<[u8; 64]>) {
    let world = World {
        bound: Bound {
            write_nonce: dealt.write_nonce,
            ..bound.clone()
        },
        pairs: pairs(3),
        session: session(bound, &pairs(3), 1),
        dealt: dealt.clone(),
    };
    let fragment_keys = world
        .session
        .ciphertexts()
        .iter()
        .zip(&world.pairs)
        .zip(1..)
        .map(|((ct, pair), index)| *fragment_key(&pair.decapsulate(ct), world.session.id(), &dealt.dd, index).expose());
    let fragments: Vec<_> = (0..3).map(|place| world.fragment(place)).collect();
    let sharing = sharing(&world.bound);
    let dealing = dealing(&world.bound, &sharing, dealt);
    let table = LagrangeTable::new(&sharing);
    let data_key: DataKey<'_, '_> = dealing
        .unlock(&table, &[(1, &fragments[0]), (3, &fragments[2])])
        .unwrap();
    (
        fragment_keys.collect(),
        *data_key.expose().expose(),
        fragments.iter().map(|f| *f.expose()).collect(),
    )
}

/// A machine is cloned, random number generator, counter and all: whatever its twin does otherwise, no key is used twice.
#[test]
fn a_retry_with_changed_bytes_never_reuses_a_key() {
    let base = common::bound(&[1, 2, 3]);
    let deal_as = |bound: &Bound, value: &[u8], content_type: &str| {
        let session = session(bound, &pairs(3), 1);
        let write = write(bound, content_type);
        deal(
            &Portable,
            &mut rng(2),
            &hedge(),
            &write,
            value,
            &sharing(bound),
            &session,
        )
        .unwrap()
    };
    let first = deal_as(&base, b"value", "text/plain");
    let again = deal_as(&base, b"value", "text/plain");
    assert_eq!(
        (&first.sealed, &first.ciphertext, first.dd),
        (&again.sealed, &again.ciphertext, again.dd)
    );

    let (first_fragment_keys, first_data_key, first_fragments) = keys(&base, &first);
    let changed = |change: fn(&mut Bound)| {
        let mut bound = base.clone();
        change(&mut bound);
        bound
    };
    let retries = [
        ("value", base.clone(), &b"other"[..], "text/plain"),
        ("content type", base.clone(), b"value", "text/html"),
        ("epoch", changed(|b| b.epoch += 1), b"value", "text/plain"),
        ("roster", changed(|b| b.roster_hash = [9; 32]), b"value", "text/plain"),
        ("cluster", changed(|b| b.cluster = [9; 16]), b"value", "text/plain"),
        ("tenant", changed(|b| b.tenant = [9; 16]), b"value", "text/plain"),
        ("secret", changed(|b| b.secret = [9; 16]), b"value", "text/plain"),
        ("version", changed(|b| b.version += 1), b"value", "text/plain"),
        (
            "author",
            changed(|b| (b.author, b.dealer) = ([9; 16], [9; 16])),
            b"value",
            "text/plain",
        ),
    ];
    for (name, bound, value, content_type) in retries {
        let retry = deal_as(&bound, value, content_type);
        let (fragment_keys, data_key, fragments) = keys(&bound, &retry);
        for (one, other) in first_fragment_keys.iter().zip(&fragment_keys) {
            assert_ne!(one, other, "fragment key after another {name}");
        }
        for (one, other) in first_fragments.iter().zip(&fragments) {
            assert_ne!(
                one[..32],
                other[..32],
                "the same polynomial would be masked twice after another {name}"
            );
            assert_ne!(one[32..], other[32..], "γ after another {name}");
        }
        if data_key == first_data_key {
            assert_eq!(
                retry.ciphertext, first.ciphertext,
                "one data key for two ciphertexts after another {name}"
            );
        }
    }
}

#[test]
fn two_writes_of_one_process_share_nothing_though_the_generator_repeats() {
    let bound = common::bound(&[1, 2, 3]);
    let (session, hedge) = (session(&bound, &pairs(3), 1), hedge());
    let write = write(&bound, "text/plain");
    let dealt: Vec<Dealt> = (0..4)
        .map(|_| {
            deal(
                &Portable,
                &mut rng(2),
                &hedge,
                &write,
                b"value",
                &sharing(&bound),
                &session,
            )
            .unwrap()
        })
        .collect();
    let distinct = |of: fn(&Dealt) -> Hash| dealt.iter().map(of).collect::<HashSet<_>>().len();
    assert_eq!(distinct(|dealt| dealt.write_nonce), 4);
    assert_eq!(distinct(|dealt| dealt.key_commitment), 4);
    assert_eq!(distinct(|dealt| dealt.dd), 4);
}

#[test]
fn fragments_of_two_dealings_of_one_value_do_not_mix() {
    let bound = common::bound(&[1, 2, 3]);
    let (session, hedge) = (session(&bound, &pairs(3), 1), hedge());
    let write = write(&bound, "text/plain");
    let worlds: Vec<World> = (0..2)
        .map(|_| {
            let dealt = deal(
                &Portable,
                &mut rng(2),
                &hedge,
                &write,
                b"value",
                &sharing(&bound),
                &session,
            )
            .unwrap();
            let bound = Bound {
                write_nonce: dealt.write_nonce,
                ..bound.clone()
            };
            World {
                bound: bound.clone(),
                pairs: pairs(3),
                session: common::session(&bound, &pairs(3), 1),
                dealt,
            }
        })
        .collect();
    let sharing = sharing(&worlds[0].bound);
    let first = dealing(&worlds[0].bound, &sharing, &worlds[0].dealt);
    let (own, foreign) = (worlds[0].fragment(0), copy(&worlds[1].fragment(1)));
    let mixed = [(1, &own), (2, &foreign)];
    let unlocked = first.unlock(&LagrangeTable::new(&sharing), &mixed);
    assert_eq!(
        unlocked.unwrap_err(),
        UnlockError::KeyCommitment { indices: vec![1, 2] }
    );
    assert_eq!(first.culprits(&mixed), [2]);
}

#[test]
fn each_seeded_bug_is_found_by_its_test_here() {
    symbolon_sabotage::caught_in(file!());
}
