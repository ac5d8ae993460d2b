//! What nodes and operators sign: frozen bytes, distinct labels, and no statement that reads as one of another kind.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panic")]

use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fmt::Write;
use symbolon_crypto::Hash;
use symbolon_crypto::enc::Reader;
use symbolon_wire::command::signing_bytes;
use symbolon_wire::ids::ClusterId;
use symbolon_wire::statements::{ReplyLeaf, Signer, roster_hash, roster_signature};

const SIGNER: Signer = Signer {
    cluster: ClusterId([0xC1; 16]),
    node: 2,
    boot_counter: 3,
};

fn hash(byte: u8) -> Hash {
    [byte; 32]
}

fn reply(hashes: &[Hash; 5], numbers: [u64; 4]) -> ReplyLeaf<'_> {
    ReplyLeaf {
        client_key: &hashes[0],
        request_hash: &hashes[1],
        record_hash: &hashes[2],
        epoch: numbers[0],
        fragment_hash: &hashes[3],
        state_index: numbers[1],
        record_index: numbers[2],
        record_chain: &hashes[4],
        anchor_index: numbers[3],
        anchor_chain: &hashes[4],
    }
}

/// Every statement of the crate, with the kind that it is of.
fn all(signer: &Signer) -> Vec<(&'static str, Vec<u8>)> {
    let hashes = [hash(1), hash(2), hash(3), hash(4), hash(5)];
    vec![
        (
            "boot",
            signer.boot(&hash(1), b"signing key", b"tls key", b"checkpoint key"),
        ),
        ("feature", signer.feature(7)),
        ("tick", signer.tick(8, 1_800_000_000_000)),
        ("head", signer.head(9, &hash(2))),
        ("fragment-ok", signer.fragment_ok(&[(4, hash(6)), (5, hash(7))])),
        ("complaint", signer.complaint(6, &hash(4), &hash(3))),
        ("snapshot", signer.snapshot(0, 10, &hash(1), &hash(2), &hash(3))),
        ("anchored", signer.anchored(3, 11, &hash(4), 12)),
        (
            "witness",
            signer.witness(b"own key", (1, 4, b"asker's key"), 5, Some((4, 17)), true),
        ),
        ("receipt", signer.receipt(&hash(1), 13, &hash(2))),
        ("replies", signer.replies(&hash(4))),
        ("reply", signer.reply(&reply(&hashes, [1, 2, 3, 4]))),
        ("command", signing_bytes(b"body")),
        ("roster-signature", roster_signature(&hash(5))),
    ]
}

fn fields(statement: &[u8]) -> Vec<Vec<u8>> {
    let mut reader = Reader::new(statement);
    let mut fields = Vec::new();
    while let Ok(field) = reader.field() {
        fields.push(field.to_vec());
    }
    reader.finish().unwrap();
    fields
}

#[test]
fn every_statement_is_what_it_was() {
    let mut text = String::new();
    for (kind, statement) in all(&SIGNER) {
        writeln!(text, "{kind} = {}", hex::encode(statement)).unwrap();
    }
    writeln!(text, "roster hash = {}", hex::encode(roster_hash(b"body"))).unwrap();
    insta::assert_snapshot!("statements_v1", text);
}

#[test]
fn each_kind_has_a_label_of_its_own_with_the_version() {
    let mut labels = BTreeSet::new();
    for (kind, statement) in all(&SIGNER) {
        let label = String::from_utf8(fields(&statement)[0].clone()).unwrap();
        assert_eq!(label, format!("symbolon/v1/{kind}"));
        assert!(labels.insert(label), "{kind}");
    }
    assert!(
        !labels.contains("symbolon/v1/roster"),
        "a roster's hash is not a statement about it"
    );
}

#[test]
fn every_statement_of_a_node_names_cluster_node_and_boot() {
    let nodes = all(&SIGNER)
        .into_iter()
        .filter(|(kind, _)| !matches!(*kind, "command" | "roster-signature"));
    for (kind, statement) in nodes {
        for other in [
            Signer {
                cluster: ClusterId([0xC2; 16]),
                ..SIGNER
            },
            Signer { node: 1, ..SIGNER },
            Signer {
                boot_counter: 4,
                ..SIGNER
            },
        ] {
            let theirs = all(&other).into_iter().find(|(other, _)| *other == kind).unwrap().1;
            assert_ne!(theirs, statement, "{kind}");
            assert_eq!(theirs.len(), statement.len(), "{kind}: fixed widths");
        }
    }
}

#[test]
fn a_boot_statement_has_the_roster_before_the_counter() {
    let boot = fields(&SIGNER.boot(&hash(9), b"signing", b"tls", b"checkpoint"));
    let expected: [&[u8]; 8] = [
        b"symbolon/v1/boot",
        &[0xC1; 16],
        &[0, 2],
        &hash(9),
        &[0, 0, 0, 0, 0, 0, 0, 3],
        b"signing",
        b"tls",
        b"checkpoint",
    ];
    assert_eq!(boot, expected);
}

/// A certificate is signed by the key that signs boot statements and rosters: neither may pass for the other.
#[test]
fn no_statement_begins_as_a_certificate_does() {
    const DER_SEQUENCE: u8 = 0x30;
    for (kind, statement) in all(&SIGNER) {
        assert_ne!(statement[0], DER_SEQUENCE, "{kind}");
    }
}

#[test]
fn each_field_of_a_reply_changes_its_leaf() {
    let hashes = [hash(1), hash(2), hash(3), hash(4), hash(5)];
    let base = SIGNER.reply(&reply(&hashes, [1, 2, 3, 4]));
    for place in 0..5 {
        let mut other = hashes;
        other[place][31] ^= 1;
        assert_ne!(SIGNER.reply(&reply(&other, [1, 2, 3, 4])), base, "hash {place}");
    }
    for place in 0..4 {
        let mut other = [1, 2, 3, 4];
        other[place] ^= 1;
        assert_ne!(SIGNER.reply(&reply(&hashes, other)), base, "number {place}");
    }
    let anchor = ReplyLeaf {
        anchor_chain: &hashes[0],
        ..reply(&hashes, [1, 2, 3, 4])
    };
    assert_ne!(SIGNER.reply(&anchor), base);
}

#[test]
fn confirming_nothing_one_or_two_dealings_are_three_statements() {
    let (one, two) = ((1, hash(1)), (2, hash(2)));
    let statements: BTreeSet<Vec<u8>> = [&[][..], &[one], &[one, two], &[(12, hash(1))], &[(1, hash(2))]]
        .iter()
        .map(|dealings| SIGNER.fragment_ok(dealings))
        .collect();
    assert_eq!(statements.len(), 5);
}

fn signer() -> impl Strategy<Value = Signer> {
    (any::<[u8; 16]>(), any::<u16>(), any::<u64>()).prop_map(|(cluster, node, boot_counter)| Signer {
        cluster: ClusterId(cluster),
        node,
        boot_counter,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// Whatever stands in the fields, statements of two kinds differ: the first field says which it is.
    #[test]
    fn no_statement_of_one_kind_is_one_of_another(
        one in signer(),
        other in signer(),
        number in any::<u64>(),
        chain in any::<[u8; 32]>(),
        noise in proptest::collection::vec(any::<u8>(), 0..200),
        indices in proptest::collection::vec(any::<u64>(), 0..8),
    ) {
        let statements = [
            one.boot(&chain, &noise, &noise, &noise),
            one.feature(number as u32),
            one.tick(number, number),
            one.head(number, &chain),
            one.fragment_ok(&indices.iter().map(|index| (*index, chain)).collect::<Vec<_>>()),
            one.complaint(number, &chain, &noise),
            one.snapshot(number, number, &chain, &chain, &chain),
            one.replies(&chain),
            signing_bytes(&noise),
            roster_signature(&chain),
        ];
        let others = all(&other);
        for (place, statement) in statements.iter().enumerate() {
            for later in &statements[place + 1..] {
                prop_assert_ne!(statement, later);
            }
            let label = fields(statement)[0].clone();
            for (kind, theirs) in &others {
                let same_kind = label == ["symbolon/v1/", kind].concat().into_bytes();
                prop_assert!(theirs != statement || same_kind);
            }
        }
    }

    /// A command's body is the author's to choose: it can hold a whole statement and still is none.
    #[test]
    fn a_body_that_holds_a_statement_signs_only_a_command(signer in signer()) {
        for (_, statement) in all(&signer) {
            let signed = signing_bytes(&statement);
            prop_assert!(all(&signer).iter().all(|(_, other)| *other != signed));
        }
    }
}
