//! One signature for a group of replies: each has a path that proves it and nothing else.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panic")]

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use symbolon_crypto::Hash;
use symbolon_crypto::enc::{Reader, sha256};
use symbolon_crypto::merkle::{leaf_hash, verify_inclusion};
use symbolon_crypto::provider::{Portable, Verify};
use symbolon_crypto::sign::SigningKey;
use symbolon_custody::replies::{Group, leaf, receipt_leaf};
use symbolon_wire::ids::ClusterId;
use symbolon_wire::statements::{ReplyLeaf, Signer};

const SIGNER: Signer = Signer {
    cluster: ClusterId([1; 16]),
    node: 2,
    boot_counter: 3,
};

fn hash(number: u64) -> Hash {
    sha256(&number.to_be_bytes())
}

fn leaves(size: u64) -> Vec<Hash> {
    (0..size)
        .map(|number| {
            let (one, other) = (hash(number), hash(number + 1_000));
            let reply = ReplyLeaf {
                client_key: &one,
                request_hash: &other,
                record_hash: &one,
                epoch: 0,
                fragment_hash: &other,
                state_index: number,
                record_index: number,
                record_chain: &one,
                anchor_index: 0,
                anchor_chain: &other,
            };
            leaf(&SIGNER, &reply)
        })
        .collect()
}

/// The root that the node signs, as a client takes it out of the statement.
fn root(group: &Group) -> Hash {
    let statement = group.statement(&SIGNER);
    let mut reader = Reader::new(&statement);
    assert_eq!(reader.field().unwrap(), b"symbolon/v1/replies");
    assert_eq!(reader.array().unwrap(), SIGNER.cluster.bytes());
    assert_eq!(reader.u16().unwrap(), SIGNER.node);
    assert_eq!(reader.u64().unwrap(), SIGNER.boot_counter);
    let root = *reader.array().unwrap();
    reader.finish().unwrap();
    root
}

#[test]
fn a_leaf_is_the_statement_of_the_reply_hashed_as_rfc_9162_says() {
    let (one, other) = (hash(1), hash(2));
    let reply = ReplyLeaf {
        client_key: &one,
        request_hash: &other,
        record_hash: &one,
        epoch: 4,
        fragment_hash: &other,
        state_index: 5,
        record_index: 6,
        record_chain: &one,
        anchor_index: 0,
        anchor_chain: &other,
    };
    assert_eq!(leaf(&SIGNER, &reply), leaf_hash(&SIGNER.reply(&reply)));
}

#[test]
fn in_groups_of_every_size_each_path_proves_its_reply_at_its_index_and_no_other() {
    for size in 1..=40 {
        let leaves = leaves(size);
        let group = Group::new(&leaves);
        let root = root(&group);
        for index in 0..size {
            let path = group.path(index).unwrap();
            for (place, leaf) in (0..).zip(&leaves) {
                for claimed in 0..size {
                    let proved = verify_inclusion(leaf, claimed, size, &path, &root).is_ok();
                    assert_eq!(
                        proved,
                        place == index && claimed == index,
                        "{place} as {claimed} by {index} of {size}"
                    );
                }
            }
        }
    }
}

#[test]
fn there_is_no_path_past_the_end_and_none_in_an_empty_group() {
    assert!(Group::new(&[]).path(0).is_none());
    let group = Group::new(&leaves(5));
    assert!(group.path(4).is_some());
    assert!(group.path(5).is_none() && group.path(u64::MAX).is_none());
}

#[test]
fn a_reply_alone_needs_no_path_but_the_signature() {
    let leaves = leaves(1);
    let group = Group::new(&leaves);
    assert_eq!(group.path(0).unwrap(), Vec::<Hash>::new());
    assert_eq!(root(&group), leaves[0]);
}

#[test]
fn the_signature_of_one_group_is_not_that_of_another_boot_node_or_group() {
    let key = SigningKey::generate(&mut ChaCha20Rng::seed_from_u64(1));
    let group = Group::new(&leaves(3));
    let signature = key.sign(&group.statement(&SIGNER));
    let holds = |group: &Group, signer: &Signer| {
        let statement = group.statement(signer);
        Portable.p256(key.verifying_key(), &statement, &signature).is_ok()
    };
    assert!(holds(&group, &SIGNER));
    assert!(!holds(&Group::new(&leaves(4)), &SIGNER));
    for other in [
        Signer { node: 3, ..SIGNER },
        Signer {
            boot_counter: 4,
            ..SIGNER
        },
        Signer {
            cluster: ClusterId([2; 16]),
            ..SIGNER
        },
    ] {
        assert!(!holds(&group, &other));
    }
}

proptest! {
    #[test]
    fn a_changed_path_proves_nothing(size in 2..300_u64, index in 0..300_u64, place in 0..usize::MAX, bit in 0..256_usize) {
        let leaves = leaves(size);
        let group = Group::new(&leaves);
        let index = index % size;
        let mut path = group.path(index).unwrap();
        let place = place % path.len();
        let leaf = &leaves[usize::try_from(index).unwrap()];
        prop_assert!(verify_inclusion(leaf, index, size, &path, &root(&group)).is_ok());
        path[place][bit / 8] ^= 1 << (bit % 8);
        prop_assert!(verify_inclusion(leaf, index, size, &path, &root(&group)).is_err());
        path.truncate(place);
        prop_assert!(verify_inclusion(leaf, index, size, &path, &root(&group)).is_err());
    }
}

#[test]
fn beside_each_reply_stands_its_receipt_under_the_same_signature() {
    for size in 1..=20_u64 {
        let replies = leaves(size);
        let receipts: Vec<Hash> = (0..size)
            .map(|number| receipt_leaf(&SIGNER, &hash(number), number, &hash(number + 1)))
            .collect();
        let pairs: Vec<(Hash, Hash)> = replies.iter().copied().zip(receipts.iter().copied()).collect();
        let group = Group::with_receipts(&pairs);
        let root = root(&group);
        for (index, (reply, receipt)) in (0_u64..).step_by(2).zip(&pairs) {
            let path = group.path(index).unwrap();
            verify_inclusion(reply, index, 2 * size, &path, &root).unwrap();
            assert_eq!(path.first(), Some(receipt), "{index} of {size}");
        }
    }
    let receipt = receipt_leaf(&SIGNER, &hash(1), 2, &hash(3));
    for other in [
        receipt_leaf(&SIGNER, &hash(9), 2, &hash(3)),
        receipt_leaf(&SIGNER, &hash(1), 9, &hash(3)),
        receipt_leaf(&SIGNER, &hash(1), 2, &hash(9)),
        receipt_leaf(&Signer { node: 9, ..SIGNER }, &hash(1), 2, &hash(3)),
    ] {
        assert_ne!(other, receipt);
    }
}
