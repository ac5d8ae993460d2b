//! Audit leaves: one encoding each, bounded, and a salt that hides what a hash would confirm.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panic")]

mod common;

use bytes::Bytes;
use common::{bytes, bytes_field, number_field};
use proptest::prelude::*;
use symbolon_crypto::enc::sha256;
use symbolon_wire::audit::{BadLeaf, LEAF_BYTES_MAX, decode, encode, origin};
use symbolon_wire::ids::ClusterId;
use symbolon_wire::v1::AuditLeaf;

fn leaf() -> AuditLeaf {
    AuditLeaf {
        salt: bytes(&[1; 16]),
        node: 2,
        boot_counter: 3,
        principal_name: "spiffe://acme/bot".to_owned(),
        action: "read".to_owned(),
        resource: "prod/stripe/key".to_owned(),
        allowed: true,
        policies: vec!["permit \"a\"  p.cedar:1".to_owned()],
        ..AuditLeaf::default()
    }
}

#[test]
fn a_leaf_comes_back_as_it_was_logged() {
    assert_eq!(decode(encode(&leaf())).unwrap(), leaf());
    assert_eq!(decode(encode(&AuditLeaf::default())).unwrap(), AuditLeaf::default());
}

#[test]
fn a_leaf_cut_anywhere_is_refused_or_says_less() {
    let whole = encode(&leaf());
    for cut in 0..whole.len() {
        if let Ok(found) = decode(whole.slice(..cut)) {
            assert_ne!(found, leaf(), "cut at {cut}");
        }
    }
}

#[test]
fn a_leaf_at_its_limit_is_taken_and_one_byte_more_refused() {
    let filled = |purpose: usize| {
        encode(&AuditLeaf {
            purpose: "a".repeat(purpose),
            ..leaf()
        })
    };
    let purpose = LEAF_BYTES_MAX - (filled(1_000).len() - 1_000);
    assert_eq!(filled(purpose).len(), LEAF_BYTES_MAX);
    assert!(decode(filled(purpose)).is_ok());
    assert_eq!(decode(filled(purpose + 1)).unwrap_err(), BadLeaf);
}

#[test]
fn an_unknown_repeated_or_default_field_is_refused() {
    for extra in [
        number_field(99, 1),
        bytes_field(10, b"list"),
        number_field(15, 1),
        number_field(17, 0),
    ] {
        let hidden = Bytes::from([encode(&leaf()).to_vec(), extra].concat());
        assert_eq!(decode(hidden).unwrap_err(), BadLeaf);
    }
}

#[test]
fn bytes_that_are_not_protobuf_are_refused() {
    assert_eq!(decode(Bytes::from_static(b"\xff\xff")).unwrap_err(), BadLeaf);
}

#[test]
fn two_leaves_that_differ_in_salt_alone_share_no_hash() {
    let other = AuditLeaf {
        salt: bytes(&[2; 16]),
        ..leaf()
    };
    assert_ne!(sha256(&encode(&other)), sha256(&encode(&leaf())));
}

#[test]
fn the_origin_names_cluster_and_node_in_one_line() {
    let text = origin(ClusterId([0xC1; 16]), 3);
    assert_eq!(text, "symbolon.invalid/c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1/audit/3");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
        let noise = Bytes::from(noise);
        if let Ok(leaf) = decode(noise.clone()) {
            prop_assert_eq!(encode(&leaf), noise);
        }
    }
}
