//! Heads: who is caught, who freezes, and that two honest nodes which differ never both go on.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panic"
)]

use bytes::Bytes;
use std::sync::Arc;
use symbolon_crypto::Hash;
use symbolon_crypto::enc::hash_enc;
use symbolon_crypto::provider::Portable;
use symbolon_custody::heads::{Finding, Heads, Told, check};
use symbolon_state::testing::World;
use symbolon_wire::statements::Signer;
use symbolon_wire::v1::{BootKeys, Head};

/// The chain value at an index in one of the histories that the tests tell.
fn chain(history: u8, index: u64) -> Hash {
    hash_enc(&[&[history], &index.to_be_bytes()])
}

const A: u8 = b'a';
const B: u8 = b'b';

fn head(node: u16, index: u64, history: u8) -> Head {
    Head {
        node: node.into(),
        boot_counter: 1,
        index,
        chain: Bytes::copy_from_slice(&chain(history, index)),
        signature: Bytes::new(),
    }
}

fn known(_: u64) -> Option<Hash> {
    None
}

/// What a node on history A knows that has applied everything.
fn on_a(index: u64) -> Option<Hash> {
    Some(chain(A, index))
}

fn newest(heads: &Heads) -> Vec<Head> {
    heads.newest().into_iter().map(|told| told.head).collect()
}

fn excluded(heads: &Heads) -> Vec<u16> {
    heads.excluded().collect()
}

fn contested(heads: &Heads) -> Vec<u64> {
    heads.contested().collect()
}

#[test]
fn heads_that_agree_find_nothing() {
    let mut heads = Heads::new(1, 2);
    for index in 1..10 {
        for node in [2, 3] {
            assert_eq!(heads.take(head(node, index, A), on_a), Finding::Nothing);
        }
    }
    assert_eq!((contested(&heads), excluded(&heads)), (vec![], vec![]));
}

#[test]
fn two_heads_of_one_node_at_one_index_exclude_it_and_both_are_kept_as_evidence() {
    let mut heads = Heads::new(1, 2);
    heads.take(head(2, 5, A), known);
    let found = heads.take(head(2, 5, B), known);
    let expected = Finding::Equivocation {
        node: 2,
        first: head(2, 5, A),
        second: head(2, 5, B),
    };
    assert_eq!(found, expected);
    assert!(heads.is_excluded(2) && !heads.is_excluded(3));
    assert_eq!(excluded(&heads), [2]);
    assert_eq!(newest(&heads), [head(2, 5, A), head(2, 5, B)], "for the others to see");
}

#[test]
fn equivocation_across_a_reboot_is_equivocation() {
    let mut heads = Heads::new(1, 2);
    heads.take(head(2, 5, A), known);
    let later = Head {
        boot_counter: 2,
        ..head(2, 5, B)
    };
    assert!(matches!(
        heads.take(later, known),
        Finding::Equivocation { node: 2, .. }
    ));
}

#[test]
fn the_same_head_again_is_no_equivocation() {
    let mut heads = Heads::new(1, 2);
    for _ in 0..3 {
        assert_eq!(heads.take(head(2, 5, A), known), Finding::Nothing);
    }
    assert_eq!(
        heads.take(head(2, 6, B), known),
        Finding::Nothing,
        "nor is one at another index"
    );
    assert!(excluded(&heads).is_empty());
}

#[test]
fn heads_of_an_excluded_node_are_ignored() {
    let mut heads = Heads::new(1, 2);
    heads.take(head(2, 5, A), known);
    heads.take(head(2, 5, B), known);
    for history in [A, B] {
        assert_eq!(heads.take(head(2, 6, history), on_a), Finding::Nothing);
    }
    assert!(contested(&heads).is_empty(), "it no longer contradicts");
    let contradicted = heads.take(head(3, 6, B), on_a);
    let expected = Finding::Freeze {
        index: 6,
        against: vec![3],
    };
    assert_eq!(contradicted, expected, "nor does it support");
}

#[test]
fn a_node_alone_against_one_freezes() {
    let mut heads = Heads::new(1, 2);
    let expected = Finding::Freeze {
        index: 7,
        against: vec![2],
    };
    assert_eq!(heads.take(head(2, 7, B), on_a), expected);
    assert_eq!(contested(&heads), [7]);
}

#[test]
fn a_node_that_t_heads_support_goes_on_and_names_the_other() {
    for (threshold, supporters) in [(2, vec![2]), (3, vec![2, 3]), (4, vec![2, 3, 4])] {
        let mut heads = Heads::new(1, threshold);
        for node in supporters {
            assert_eq!(heads.take(head(node, 7, A), on_a), Finding::Nothing);
        }
        assert_eq!(heads.take(head(7, 7, B), on_a), Finding::Outvoted { node: 7, index: 7 });
        assert!(contested(&heads).is_empty());
        assert!(
            heads.is_outvoted(7) && !heads.is_outvoted(2),
            "only the other is not followed"
        );
    }
}

#[test]
fn a_node_is_not_outvoted_by_one_that_turns_out_to_equivocate() {
    let mut heads = Heads::new(1, 2);
    heads.take(head(2, 7, A), on_a);
    heads.take(head(3, 7, B), on_a);
    assert!(heads.is_outvoted(3));
    heads.take(head(2, 7, B), on_a);
    assert!(heads.is_excluded(2) && !heads.is_outvoted(3));
    let found = heads.compare(7, &chain(A, 7));
    assert!(matches!(found, Finding::Freeze { index: 7, .. }), "{found:?}");
}

#[test]
fn one_supporter_too_few_freezes() {
    for (threshold, supporters) in [(3, vec![2]), (4, vec![2, 3])] {
        let mut heads = Heads::new(1, threshold);
        for node in supporters {
            heads.take(head(node, 7, A), on_a);
        }
        assert!(matches!(heads.take(head(7, 7, B), on_a), Finding::Freeze { .. }));
    }
}

#[test]
fn support_further_on_counts_and_support_before_does_not() {
    let mut heads = Heads::new(1, 2);
    heads.take(head(2, 6, A), on_a);
    assert!(matches!(
        heads.take(head(3, 7, B), on_a),
        Finding::Freeze { index: 7, .. }
    ));
    let mut heads = Heads::new(1, 2);
    heads.take(head(2, 8, A), on_a);
    assert_eq!(heads.take(head(3, 7, B), on_a), Finding::Outvoted { node: 3, index: 7 });
}

/// Whoever took over a snapshot cannot say what the log was before it.
#[test]
fn a_false_head_where_the_others_keep_no_chain_value_freezes_nobody_for_good() {
    let mut heads = Heads::new(1, 2);
    assert!(matches!(heads.take(head(3, 7, B), on_a), Finding::Freeze { .. }));
    heads.take(head(2, 5_000, A), on_a);
    assert_eq!(heads.waiting(5_000), [7]);
    assert_eq!(heads.compare(7, &chain(A, 7)), Finding::Outvoted { node: 3, index: 7 });
    assert!(contested(&heads).is_empty());
}

#[test]
fn the_head_by_which_a_node_supports_this_one_is_kept_and_passed_on() {
    let mut heads = Heads::new(1, 2);
    heads.take(head(2, 8, A), on_a);
    heads.take(head(3, 7, B), on_a);
    for index in 1_000..3_000 {
        heads.take(head(2, index, A), known);
    }
    assert!(newest(&heads).contains(&head(2, 8, A)));
    for index in heads.waiting(u64::MAX) {
        // Of these this node keeps no chain value.
        assert!(index == 8 || index >= 1_000);
    }
    assert!(newest(&heads).contains(&head(2, 8, A)));
}

/// A node that makes boots up makes others forget the ones that count, but not behind a head that they keep.
#[test]
fn heads_are_passed_on_with_the_boots_that_signed_them() {
    let mut heads = Heads::new(1, 2);
    let boot = |counter| {
        Some(Arc::new(BootKeys {
            boot_counter: counter,
            ..BootKeys::default()
        }))
    };
    let told = |head, counter| Told {
        head,
        boot: boot(counter),
    };
    heads.take(told(head(2, 8, A), 3), on_a);
    heads.take(told(head(3, 7, A), 4), on_a);
    heads.take(told(head(3, 7, B), 5), on_a);
    let boots = heads.newest().into_iter().map(|told| told.boot);
    assert!(boots.eq([boot(3), boot(4), boot(5)]), "of evidence, too");
}

#[test]
fn a_node_that_differs_anywhere_supports_nowhere() {
    let mut heads = Heads::new(1, 2);
    heads.take(head(2, 9, A), on_a);
    assert_eq!(heads.take(head(3, 7, B), on_a), Finding::Outvoted { node: 3, index: 7 });
    assert!(matches!(
        heads.take(head(2, 8, B), on_a),
        Finding::Freeze { index: 8, .. }
    ));
    assert!(!heads.is_outvoted(3));
    assert!(
        heads.waiting(9).contains(&7),
        "it was outvoted by one that does not count"
    );
    assert!(matches!(heads.compare(7, &chain(A, 7)), Finding::Freeze { .. }));
    heads.take(head(2, 10, A), on_a);
    assert_eq!(contested(&heads), [7, 8]);
}

#[test]
fn a_node_s_own_head_sent_back_to_it_supports_nothing() {
    let mut heads = Heads::new(1, 2);
    heads.take(head(1, 7, A), on_a);
    assert!(matches!(heads.take(head(2, 7, B), on_a), Finding::Freeze { .. }));
}

#[test]
fn support_before_does_not_thaw_a_frozen_node_and_support_at_that_index_does() {
    let mut heads = Heads::new(1, 2);
    heads.take(head(2, 7, B), on_a);
    heads.take(head(3, 6, A), on_a);
    assert_eq!(contested(&heads), [7]);
    assert_eq!(newest(&heads), [head(2, 7, B), head(3, 6, A)], "told to all");
    assert_eq!(heads.take(head(3, 7, A), on_a), Finding::Outvoted { node: 2, index: 7 });
    assert!(contested(&heads).is_empty());
}

#[test]
fn a_node_that_was_outvoted_cannot_freeze_the_others_again() {
    let mut heads = Heads::new(1, 2);
    heads.take(head(3, 7, A), on_a);
    heads.take(head(2, 7, B), on_a);
    for index in 8..20 {
        assert_eq!(heads.take(head(2, index, B), on_a), Finding::Nothing);
    }
    assert!(contested(&heads).is_empty());
}

#[test]
fn a_node_that_was_outvoted_counts_again_when_a_supporter_is_excluded() {
    let mut heads = Heads::new(1, 2);
    heads.take(head(3, 7, A), on_a);
    heads.take(head(2, 7, B), on_a);
    heads.take(head(2, 8, B), on_a);
    heads.take(head(3, 7, B), on_a);
    assert_eq!(excluded(&heads), [3]);
    assert_eq!(heads.waiting(7), [7]);
    assert!(matches!(heads.compare(7, &chain(A, 7)), Finding::Freeze { .. }));
    assert_eq!(contested(&heads), [7]);
}

#[test]
fn whatever_one_node_signs_it_contests_one_index_only() {
    let mut heads = Heads::new(1, 2);
    for index in (1..1_000).rev() {
        heads.take(head(2, index, B), on_a);
    }
    assert_eq!(contested(&heads), [999]);
    let mut heads = Heads::new(1, 2);
    for index in 1..1_000 {
        heads.take(head(2, index, B), known);
    }
    for index in heads.waiting(u64::MAX) {
        heads.compare(index, &chain(A, index));
    }
    assert_eq!(heads.contested().count(), 1);
}

#[test]
fn heads_sent_later_do_not_make_a_frozen_node_forget_why() {
    let mut heads = Heads::new(1, 2);
    heads.take(head(2, 7, B), on_a);
    for index in 1_000..3_000 {
        heads.take(head(2, index, B), known);
    }
    assert!(heads.waiting(7).contains(&7));
    assert!(matches!(heads.compare(7, &chain(A, 7)), Finding::Freeze { .. }));
}

#[test]
fn when_the_only_one_who_contradicts_is_excluded_the_node_goes_on() {
    let mut heads = Heads::new(1, 2);
    heads.take(head(2, 7, B), on_a);
    heads.take(head(2, 9, A), known);
    heads.take(head(2, 9, B), known);
    assert_eq!(excluded(&heads), [2]);
    assert_eq!(heads.waiting(7), [7]);
    assert_eq!(heads.compare(7, &chain(A, 7)), Finding::Nothing);
    assert!(contested(&heads).is_empty());
}

#[test]
fn heads_that_came_early_wait_until_the_node_has_applied_that_far() {
    let mut heads = Heads::new(1, 2);
    for index in [5, 9, 7] {
        assert_eq!(heads.take(head(2, index, B), known), Finding::Nothing);
    }
    heads.take(head(3, 7, B), known);
    assert_eq!(heads.waiting(4), Vec::<u64>::new());
    assert_eq!(heads.waiting(8), [5, 7]);
    assert_eq!(heads.waiting(8), Vec::<u64>::new(), "each once");
    let frozen = heads.compare(7, &chain(A, 7));
    let expected = Finding::Freeze {
        index: 7,
        against: vec![2, 3],
    };
    assert_eq!(frozen, expected);
    assert_eq!(heads.waiting(u64::MAX), [7, 9], "what is contested always");
}

#[test]
fn a_head_that_was_compared_when_it_came_does_not_wait() {
    let mut heads = Heads::new(1, 2);
    heads.take(head(2, 5, A), on_a);
    assert_eq!(heads.waiting(10), Vec::<u64>::new());
}

/// A head may arrive while the node applies its index: compared too early by one side, too late by the other.
#[test]
fn a_head_that_came_just_before_its_index_was_applied_is_not_missed() {
    let mut heads = Heads::new(1, 2);
    assert_eq!(heads.waiting(5), Vec::<u64>::new());
    heads.take(head(2, 5, B), known);
    assert_eq!(heads.waiting(5), [5]);
}

#[test]
fn when_a_supporter_is_excluded_what_it_supported_is_compared_again() {
    let mut heads = Heads::new(1, 2);
    assert_eq!(heads.take(head(2, 7, A), on_a), Finding::Nothing);
    assert!(matches!(
        heads.take(head(3, 7, B), on_a),
        Finding::Outvoted { node: 3, .. }
    ));
    assert!(matches!(
        heads.take(head(2, 7, B), on_a),
        Finding::Equivocation { node: 2, .. }
    ));
    assert_eq!(heads.waiting(7), [7]);
    let expected = Finding::Freeze {
        index: 7,
        against: vec![3],
    };
    assert_eq!(heads.compare(7, &chain(A, 7)), expected);
}

#[test]
fn a_head_far_ahead_does_not_hide_the_ones_that_can_be_compared() {
    let mut heads = Heads::new(1, 2);
    heads.take(head(2, 7, A), on_a);
    heads.take(head(2, u64::MAX, A), known);
    assert_eq!(newest(&heads), [head(2, 7, A), head(2, u64::MAX, A)]);
    heads.take(head(2, 8, A), on_a);
    assert_eq!(newest(&heads), [head(2, 8, A), head(2, u64::MAX, A)]);
}

#[test]
fn memory_is_bounded_whatever_a_node_signs() {
    let mut heads = Heads::new(1, 2);
    for index in 0..2_000 {
        heads.take(head(2, index * 3, A), known);
        heads.take(head(3, u64::MAX - index, A), known);
    }
    let waiting = heads.waiting(u64::MAX);
    assert_eq!(waiting.len(), 2 * 512);
    assert!(newest(&heads).len() <= 4);
    // The latest are kept, so a flood far ahead costs its sender only.
    assert!(waiting.contains(&(1_999 * 3)) && !waiting.contains(&0));
}

#[test]
fn a_node_number_that_no_node_can_have_is_ignored() {
    let mut heads = Heads::new(1, 2);
    let alien = Head {
        node: 65_536 + 2,
        ..head(2, 5, B)
    };
    assert_eq!(heads.take(alien, on_a), Finding::Nothing);
    assert!(newest(&heads).is_empty());
}

#[test]
fn a_head_counts_only_with_the_signature_of_its_node_boot_and_cluster() {
    let mut world = World::new(1, 3, 1);
    world.boot(0);
    let signer = world.signer(0);
    let key = world.nodes[0].signing.verifying_key().clone();
    let sign = |index: u64, chain: &Hash| Head {
        node: 1,
        boot_counter: 2,
        index,
        chain: Bytes::copy_from_slice(chain),
        signature: Bytes::copy_from_slice(&world.nodes[0].signing.sign(&signer.head(index, chain))),
    };
    let good = sign(5, &chain(A, 5));
    let holds = |head: &Head, signer: &Signer| check(head, signer, &key, &Portable);
    assert!(holds(&good, &signer));

    let mut other = sign(6, &chain(A, 6));
    other.index = 5;
    assert!(!holds(&other, &signer), "another index");
    let mut other = sign(5, &chain(B, 5));
    other.chain = good.chain.clone();
    assert!(!holds(&other, &signer), "another chain");
    let other = Head {
        node: 2,
        ..good.clone()
    };
    assert!(!holds(&other, &signer), "another node");
    let other = Head {
        boot_counter: 1,
        ..good.clone()
    };
    assert!(!holds(&other, &signer), "another boot");
    let signers = [
        Signer { node: 2, ..signer },
        Signer {
            boot_counter: 1,
            ..signer
        },
        Signer {
            cluster: symbolon_wire::ids::ClusterId([9; 16]),
            ..signer
        },
    ];
    for other in signers {
        assert!(!holds(&good, &other), "{other:?}");
    }
    let theirs = world.nodes[1].signing.verifying_key();
    assert!(!check(&good, &signer, theirs, &Portable), "another key");
    for length in [0, 31, 33] {
        let mut other = good.clone();
        other.chain = vec![1; length].into();
        assert!(!holds(&other, &signer), "a chain value of {length} bytes");
    }
    let mut other = good.clone();
    other.signature.truncate(63);
    assert!(!holds(&other, &signer), "a cut signature");
}

#[test]
fn each_seeded_bug_is_found_by_its_test_here() {
    symbolon_sabotage::caught_in(file!());
}

/// A snapshot is to replace the state of node 1, which ends at 7.
#[test]
fn a_state_is_replaced_once_t_nodes_agree_with_the_log_up_to_its_end() {
    let mut heads = Heads::new(1, 2);
    assert!(!heads.replaceable(7), "nobody was asked yet");
    assert_eq!(Vec::from_iter(heads.asks()), [7]);
    heads.take(head(2, 6, A), on_a);
    assert!(!heads.replaceable(7), "of 7 it says nothing");
    heads.take(head(3, 9, A), |index| (index <= 7).then(|| chain(A, index)));
    assert!(!heads.replaceable(7), "nor can it be told whether 9 follows it");
    heads.take(head(2, 7, A), on_a);
    assert!(!heads.replaceable(7), "nobody was told its own head there");
    assert_eq!(heads.unsigned(), Some(7));
    heads.leave(head(1, 7, A));
    assert!(heads.replaceable(7));
    assert!(heads.asks().is_empty());
    // Asked for another snapshot right behind it, which is not replaced either before its head is told.
    assert!(!heads.replaceable(8), "it has moved");
    assert_eq!(heads.unsigned(), Some(8));
    assert_eq!(
        Vec::from_iter(heads.left().cloned()),
        [head(1, 7, A)],
        "told all the same"
    );
    for index in 8..100 {
        heads.leave(head(1, index, A));
    }
    assert_eq!(heads.left().count(), 4);
}

#[test]
fn a_state_that_is_contradicted_is_not_replaced() {
    let mut heads = Heads::new(1, 2);
    assert!(!heads.replaceable(7));
    assert!(matches!(heads.take(head(3, 7, B), on_a), Finding::Freeze { .. }));
    heads.unkept(2, &[7]);
    heads.unkept(3, &[7]);
    assert!(!heads.replaceable(7));
}

/// Whoever alone agreed with a history that was replaced is to be seen by the others.
#[test]
fn what_others_said_of_a_replaced_state_is_passed_on_after_later_heads() {
    let mut heads = Heads::new(1, 2);
    heads.leave(head(1, 7, A));
    heads.take(head(2, 7, A), on_a);
    assert!(heads.replaceable(7));
    assert!(!heads.replaceable(8), "another snapshot follows it");
    for index in 8..20 {
        heads.take(head(2, index, A), on_a);
    }
    assert!(newest(&heads).contains(&head(2, 7, A)));
}

#[test]
fn where_chain_values_are_kept_no_more_t_others_have_to_say_so() {
    let mut heads = Heads::new(1, 2);
    heads.leave(head(1, 7, A));
    assert!(!heads.replaceable(7));
    heads.unkept(2, &[6, 8]);
    heads.unkept(3, &[7]);
    assert!(!heads.replaceable(7), "one may lie");
    heads.unkept(2, &[7, 8]);
    assert!(heads.replaceable(7));
    heads.take(head(2, 5, A), known);
    heads.take(head(2, 5, B), known);
    assert!(!heads.replaceable(7), "what an excluded node says counts no more");
}
