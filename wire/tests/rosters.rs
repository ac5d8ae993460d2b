//! Rosters: one that keeps the rules is taken, and every breach of one rule is refused by its name.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panic")]

mod common;

use bytes::Bytes;
use common::{Founding, bytes, bytes_field, encoded, number_field, sealing_key};
use symbolon_crypto::provider::Portable;
use symbolon_crypto::sign::SigningKey;
use symbolon_wire::Message;
use symbolon_wire::command::CommandError;
use symbolon_wire::limits::{OPERATORS_MAX, ROSTER_BYTES_MAX, TEXT_BYTES_MAX};
use symbolon_wire::path::BadPath;
use symbolon_wire::roster::{Roster, RosterDraft, RosterError};
use symbolon_wire::statements::{roster_hash, roster_signature};
use symbolon_wire::v1;

fn genesis(message: &v1::Roster) -> Result<Roster, RosterError> {
    Roster::genesis(encoded(message), None, &Portable)
}

/// Changes the body, has everyone sign it, and gives the refusal.
fn refusal(spoil: impl FnOnce(&mut v1::RosterBody)) -> RosterError {
    let mut founding = Founding::of(3);
    spoil(&mut founding.body);
    genesis(&founding.signed()).unwrap_err()
}

#[test]
fn a_roster_of_three_five_or_seven_that_all_have_signed_is_taken() {
    for (n, t) in [(3, 2), (5, 3), (7, 4)] {
        let founding = Founding::of(n);
        let roster = genesis(&founding.signed()).unwrap();
        assert_eq!((usize::from(roster.n()), roster.threshold), (n, t));
        assert_eq!(roster.hash, roster_hash(&founding.body_bytes()));
        assert_eq!(roster.cluster.bytes().as_slice(), founding.body.cluster.as_ref());
        assert_eq!((roster.version, roster.created_ms), (0, founding.body.created_ms));
        assert_eq!(
            (
                roster.operators_needed,
                roster.policy_signatures,
                roster.identity_signatures
            ),
            (2, 2, 1)
        );
        assert_eq!(roster.operators.len(), 2);
        assert_eq!(roster.indices(), (1..=n as u16).collect::<Vec<_>>());
        assert_eq!(roster.position(n as u16), Some(n - 1));
        assert_eq!(roster.position(n as u16 + 1), None);
        assert_eq!(roster.node(1).unwrap().sealing_key, sealing_key(1));
    }
}

#[test]
fn indices_may_have_gaps_but_places_have_none() {
    let mut founding = Founding::of(3);
    for (node, index) in founding.body.nodes.iter_mut().zip([2, 7, 65_535]) {
        node.index = index;
    }
    let roster = genesis(&founding.signed()).unwrap();
    assert_eq!(
        (roster.position(2), roster.position(7), roster.position(65_535)),
        (Some(0), Some(1), Some(2))
    );
}

#[test]
fn the_pinned_hash_is_taken_and_every_other_refused() {
    let signed = Founding::of(3).signed();
    let hash = roster_hash(&signed.body);
    assert!(Roster::genesis(encoded(&signed), Some(&hash), &Portable).is_ok());
    for bit in 0..256 {
        let mut other = hash;
        other[bit / 8] ^= 1 << (bit % 8);
        let expected = RosterError::WrongHash {
            found: hex::encode(hash),
            expected: hex::encode(other),
        };
        let refused = Roster::genesis(encoded(&signed), Some(&other), &Portable).unwrap_err();
        assert_eq!(refused, expected);
    }
}

#[test]
fn another_cluster_s_roster_signed_by_all_is_refused_by_the_pinned_hash() {
    let ours = roster_hash(&Founding::of(3).body_bytes());
    let mut theirs = Founding::of(3);
    theirs.body.cluster = bytes(&[0xEE; 16]);
    let refused = Roster::genesis(encoded(&theirs.signed()), Some(&ours), &Portable).unwrap_err();
    assert!(matches!(refused, RosterError::WrongHash { .. }));
}

#[test]
fn an_oversized_roster_is_refused_unparsed() {
    let found = Bytes::from(vec![0xff; ROSTER_BYTES_MAX + 1]);
    let expected = RosterError::TooLarge {
        bytes: ROSTER_BYTES_MAX + 1,
    };
    assert_eq!(Roster::genesis(found.clone(), None, &Portable).unwrap_err(), expected);
    assert_eq!(RosterDraft::parse(found, &Portable).unwrap_err(), expected);
}

#[test]
fn a_roster_cut_anywhere_is_refused() {
    let whole = encoded(&Founding::of(3).signed());
    for cut in (0..whole.len()).step_by(7) {
        assert!(
            Roster::genesis(whole.slice(..cut), None, &Portable).is_err(),
            "cut at {cut}"
        );
    }
}

#[test]
fn bytes_that_are_not_protobuf_are_refused() {
    let noise = Bytes::from_static(b"\xff\xff\xff");
    assert_eq!(
        Roster::genesis(noise, None, &Portable).unwrap_err(),
        RosterError::NotCanonical
    );
}

#[test]
fn an_unknown_field_beside_the_body_is_refused() {
    let extended = [encoded(&Founding::of(3).signed()).to_vec(), number_field(9, 1)].concat();
    assert_eq!(
        Roster::genesis(extended.into(), None, &Portable).unwrap_err(),
        RosterError::NotCanonical
    );
}

#[test]
fn an_unknown_or_repeated_field_in_the_body_is_refused_though_all_signed_it() {
    let founding = Founding::of(3);
    for extra in [number_field(99, 1), number_field(1, 1), bytes_field(2, &[0xC1; 16])] {
        let body = [founding.body_bytes().to_vec(), extra].concat();
        let refused = genesis(&founding.signed_over(body.into())).unwrap_err();
        assert_eq!(refused, RosterError::NotCanonical);
    }
}

#[test]
fn another_protocol_is_refused_by_its_number() {
    assert_eq!(
        refusal(|body| body.protocol = 2),
        RosterError::Unknown { protocol: 2, suite: 1 }
    );
}

#[test]
fn another_suite_is_refused_by_its_number() {
    assert_eq!(
        refusal(|body| body.suite = 2),
        RosterError::Unknown { protocol: 1, suite: 2 }
    );
}

#[test]
fn a_field_of_another_length_is_refused_by_its_name() {
    type Spoil = fn(&mut v1::RosterBody);
    let fields: [(&str, usize, Spoil); 4] = [
        ("cluster", 16, |body| body.cluster = vec![1; 15].into()),
        ("first_tenant", 16, |body| body.first_tenant = vec![1; 15].into()),
        ("operator", 16, |body| body.operators[0].id = vec![1; 15].into()),
        ("sealing_key", 1216, |body| {
            body.nodes[0].sealing_key = vec![1; 1215].into()
        }),
    ];
    for (field, expected, spoil) in fields {
        let error = CommandError::FieldLength {
            field,
            expected,
            found: expected - 1,
        };
        assert_eq!(refusal(spoil), RosterError::Field(error));
    }
}

#[test]
fn a_key_that_is_not_p_256_is_refused_by_its_owner() {
    let operator = refusal(|body| body.operators[1].key = vec![0; 91].into());
    let whose = "spiffe://acme/operator/2".to_owned();
    assert_eq!(operator, RosterError::BadKey { whose });
    let node = refusal(|body| body.nodes[2].identity_key = Bytes::new());
    let whose = "node 3".to_owned();
    assert_eq!(node, RosterError::BadKey { whose });
}

#[test]
fn a_sealing_key_that_x_wing_does_not_know_is_refused() {
    // Coefficients of an ML-KEM key are below 3,329; these are 4,095.
    let refused = refusal(|body| body.nodes[1].sealing_key = vec![0xff; 1216].into());
    assert_eq!(refused, RosterError::BadSealingKey { node: 2 });
}

#[test]
fn two_nodes_with_one_sealing_key_are_refused() {
    let refused = refusal(|body| body.nodes[2].sealing_key = body.nodes[0].sealing_key.clone());
    assert_eq!(refused, RosterError::SharedKey { node: 3 });
}

#[test]
fn two_nodes_with_one_identity_key_are_refused() {
    let refused = refusal(|body| body.nodes[1].identity_key = body.nodes[0].identity_key.clone());
    assert_eq!(refused, RosterError::SharedKey { node: 2 });
}

#[test]
fn any_number_of_nodes_but_three_five_and_seven_is_refused() {
    for found in [0, 1, 2, 4, 6, 8] {
        assert_eq!(
            genesis(&Founding::of(found).signed()).unwrap_err(),
            RosterError::BadSize { found }
        );
    }
}

#[test]
fn any_threshold_but_a_majority_is_refused() {
    for (n, expected) in [(3, 2), (5, 3), (7, 4)] {
        for found in (0..=n).chain([u32::MAX]).filter(|t| *t != u32::from(expected)) {
            let mut founding = Founding::of(n as usize);
            founding.body.threshold = found;
            assert_eq!(
                genesis(&founding.signed()).unwrap_err(),
                RosterError::BadThreshold { found, expected }
            );
        }
    }
}

#[test]
fn indices_that_are_zero_too_large_repeated_or_falling_are_refused() {
    for (indices, found) in [
        ([0, 1, 2], 0),
        ([1, 1, 2], 1),
        ([1, 3, 2], 2),
        ([1, 2, 65_536], 65_536),
        ([65_537, 65_538, 65_539], 65_537),
    ] {
        let refused = refusal(|body| {
            for (node, index) in body.nodes.iter_mut().zip(indices) {
                node.index = index;
            }
        });
        assert_eq!(refused, RosterError::BadIndex { found }, "{indices:?}");
    }
}

#[test]
fn a_roster_without_operators_is_refused() {
    assert_eq!(refusal(|body| body.operators.clear()), RosterError::BadOperators);
}

#[test]
fn more_operators_than_the_limit_are_refused() {
    let refused = refusal(|body| {
        let one = body.operators[0].clone();
        body.operators = vec![one; OPERATORS_MAX + 1];
    });
    assert_eq!(refused, RosterError::BadOperators);
}

#[test]
fn an_operator_that_stands_twice_by_id_key_or_name_is_refused() {
    let by_id = refusal(|body| body.operators[1].id = body.operators[0].id.clone());
    let by_key = refusal(|body| body.operators[1].key = body.operators[0].key.clone());
    let by_name = refusal(|body| body.operators[1].name = body.operators[0].name.clone());
    for refused in [by_id, by_key, by_name] {
        assert_eq!(refused, RosterError::BadOperators);
    }
}

#[test]
fn an_operator_with_a_name_outside_the_grammar_is_refused() {
    let refused = refusal(|body| body.operators[0].name = "spiffe://acme/../root".to_owned());
    let expected = RosterError::BadOperatorName {
        name: "spiffe://acme/../root".to_owned(),
        reason: BadPath::DotSegment { segment: 2, dots: ".." },
    };
    assert_eq!(refused, expected);
}

#[test]
fn asking_for_no_signatures_or_more_than_there_are_operators_is_refused() {
    type Spoil = fn(&mut v1::RosterBody, u32);
    let counts: [Spoil; 3] = [
        |body, count| body.operators_needed = count,
        |body, count| body.policy_signatures = count,
        |body, count| body.identity_signatures = count,
    ];
    for spoil in counts {
        for count in [0, 3, u32::MAX] {
            let refused = refusal(|body| spoil(body, count));
            assert_eq!(refused, RosterError::BadCount { count, operators: 2 });
        }
    }
}

#[test]
fn a_node_without_a_region_is_refused() {
    assert_eq!(
        refusal(|body| body.nodes[1].region.clear()),
        RosterError::NoRegion { node: 2 }
    );
}

#[test]
fn a_region_or_address_past_its_limit_is_refused() {
    let bytes = TEXT_BYTES_MAX + 1;
    let long = "a".repeat(bytes);
    let region = refusal(|body| body.nodes[0].region = long.clone());
    let (field, node) = ("region", 1);
    assert_eq!(region, RosterError::TextTooLong { field, node, bytes });
    let address = refusal(|body| body.nodes[2].address = long.clone());
    let (field, node) = ("address", 3);
    assert_eq!(address, RosterError::TextTooLong { field, node, bytes });
}

#[test]
fn placements_where_a_lost_region_leaves_t_nodes_are_taken() {
    for regions in [
        "abc", "abcde", "aabbc", "aabcd", "abcdefg", "aaabbbc", "aabbccd", "aaabbcc",
    ] {
        let founding = Founding::of(regions.len()).placed(regions);
        assert!(genesis(&founding.signed()).is_ok(), "{regions}");
    }
}

#[test]
fn placements_where_one_region_holds_too_many_are_refused() {
    for (regions, region, nodes, max) in [
        ("aab", "a", 2, 1),
        ("aaa", "a", 3, 1),
        ("aaabc", "a", 3, 2),
        ("abbbb", "b", 4, 2),
        ("aaaabcd", "a", 4, 3),
        ("aaabbbb", "b", 4, 3),
        ("ccccccc", "c", 7, 3),
    ] {
        let founding = Founding::of(regions.len()).placed(regions);
        let expected = RosterError::BadPlacement {
            region: region.to_owned(),
            nodes,
            n: regions.len(),
            max,
        };
        assert_eq!(genesis(&founding.signed()).unwrap_err(), expected, "{regions}");
    }
}

/// The rule in its own words, for every placement of three, five and seven nodes on three regions.
#[test]
fn a_placement_is_taken_if_and_only_if_no_region_holds_t_and_losing_any_leaves_t() {
    for n in [3_usize, 5, 7] {
        let t = n / 2 + 1;
        let founding = Founding::of(n);
        for number in 0..3_usize.pow(n as u32) {
            let places: Vec<usize> = (0..n as u32).map(|node| number / 3_usize.pow(node) % 3).collect();
            let good = (0..3).all(|region| {
                let held = places.iter().filter(|place| **place == region).count();
                held < t && n - held >= t
            });
            let mut body = founding.body.clone();
            for (node, place) in body.nodes.iter_mut().zip(&places) {
                node.region = format!("region-{place}");
            }
            assert_eq!(Roster::check_body(encoded(&body)).is_ok(), good, "{places:?}");
        }
    }
}

#[test]
fn a_later_version_is_not_genesis() {
    let refused = refusal(|body| {
        body.version = 1;
        body.previous = vec![7; 32].into();
    });
    assert_eq!(refused, RosterError::NotGenesis { version: 1 });
}

#[test]
fn genesis_with_a_predecessor_is_refused() {
    assert_eq!(
        refusal(|body| body.previous = vec![7; 32].into()),
        RosterError::NotGenesis { version: 0 }
    );
}

fn bad_signature(whose: &str) -> RosterError {
    RosterError::BadSignature {
        whose: whose.to_owned(),
    }
}

#[test]
fn each_missing_signature_is_refused_by_whose_it_is() {
    let whole = Founding::of(3).signed();
    for (place, whose) in ["spiffe://acme/operator/1", "spiffe://acme/operator/2"]
        .into_iter()
        .enumerate()
    {
        let mut signed = whole.clone();
        signed.operators.remove(place);
        assert_eq!(genesis(&signed).unwrap_err(), bad_signature(whose));
    }
    for (place, whose) in ["node 1", "node 2", "node 3"].into_iter().enumerate() {
        let mut signed = whole.clone();
        signed.nodes.remove(place);
        assert_eq!(genesis(&signed).unwrap_err(), bad_signature(whose));
    }
}

#[test]
fn a_signature_by_another_key_is_refused_by_whose_it_is() {
    let founding = Founding::of(3);
    let stranger = SigningKey::generate(&mut common::rng(99));
    let forged = bytes(&stranger.sign(&roster_signature(&roster_hash(&founding.body_bytes()))));
    let mut signed = founding.signed();
    signed.operators[1].signature = forged.clone();
    assert_eq!(genesis(&signed).unwrap_err(), bad_signature("spiffe://acme/operator/2"));
    let mut signed = founding.signed();
    signed.nodes[2].signature = forged;
    assert_eq!(genesis(&signed).unwrap_err(), bad_signature("node 3"));
}

#[test]
fn one_member_s_signature_does_not_pass_for_another_s() {
    let mut signed = Founding::of(3).signed();
    signed.nodes[1].signature = signed.nodes[0].signature.clone();
    assert_eq!(genesis(&signed).unwrap_err(), bad_signature("node 2"));
    let mut signed = Founding::of(3).signed();
    signed.operators[0].signature = signed.nodes[0].signature.clone();
    assert_eq!(genesis(&signed).unwrap_err(), bad_signature("spiffe://acme/operator/1"));
}

#[test]
fn signatures_over_another_body_are_refused() {
    let mut signed = Founding::of(3).signed();
    let mut body = v1::RosterBody::decode(signed.body.clone()).unwrap();
    body.operators_needed = 1;
    signed.body = encoded(&body);
    assert!(matches!(
        genesis(&signed).unwrap_err(),
        RosterError::BadSignature { .. }
    ));
}

#[test]
fn a_signature_over_the_hash_without_its_label_is_refused() {
    let founding = Founding::of(3);
    let mut signed = founding.signed();
    signed.nodes[0].signature = bytes(&founding.nodes[0].sign(&roster_hash(&founding.body_bytes())));
    assert_eq!(genesis(&signed).unwrap_err(), bad_signature("node 1"));
}

#[test]
fn a_signature_of_another_length_is_refused() {
    for length in [0, 63, 65, 72] {
        let mut signed = Founding::of(3).signed();
        signed.nodes[0].signature = vec![1; length].into();
        assert_eq!(genesis(&signed).unwrap_err(), bad_signature("node 1"));
    }
}

#[test]
fn the_twin_of_a_signature_with_high_s_is_refused() {
    // The order q of P-256; q − s of a low s is the high one, which plain ECDSA would take as well.
    let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    let mut signed = Founding::of(3).signed();
    let mut twin = signed.nodes[0].signature.to_vec();
    let mut borrow = 0_i16;
    for place in (0..32).rev() {
        let digit = i16::from(order[place]) - i16::from(twin[32 + place]) - borrow;
        borrow = i16::from(digit < 0);
        twin[32 + place] = (digit + 256 * borrow) as u8;
    }
    signed.nodes[0].signature = twin.into();
    assert_eq!(genesis(&signed).unwrap_err(), bad_signature("node 1"));
}

/// A forged signature in front of the right one must not hide behind it, nor an added one pass for a member's.
#[test]
fn a_forged_signature_before_the_right_one_is_refused() {
    let mut signed = Founding::of(3).signed();
    let forged = v1::NodeSignature {
        node: 1,
        signature: vec![1; 64].into(),
    };
    signed.nodes.insert(0, forged);
    assert_eq!(genesis(&signed).unwrap_err(), bad_signature("node 1"));
}

#[test]
fn a_draft_needs_the_operators_and_not_yet_the_nodes() {
    let founding = Founding::of(3);
    let mut message = founding.signed();
    let signatures = std::mem::take(&mut message.nodes);
    let draft = RosterDraft::parse(encoded(&message), &Portable).unwrap();
    assert_eq!(draft.hash(), roster_hash(&founding.body_bytes()));
    assert_eq!(draft.node(2).unwrap().address, "10.0.0.2:7600");
    assert!(draft.node(4).is_none());
    assert_eq!(
        genesis(&message).unwrap_err(),
        bad_signature("node 1"),
        "a draft is no roster"
    );

    // In any order, one of them twice: what comes out is the roster that all signed.
    let mut signed = message;
    for place in [2, 0, 1, 0] {
        let draft = RosterDraft::parse(encoded(&signed), &Portable).unwrap();
        signed = draft.with_node(signatures[place].clone());
    }
    assert_eq!(signed, founding.signed());
    assert!(genesis(&signed).is_ok());
}

#[test]
fn a_draft_that_an_operator_has_not_signed_is_refused() {
    let mut message = Founding::of(3).signed();
    message.operators.remove(1);
    let refused = RosterDraft::parse(encoded(&message), &Portable).unwrap_err();
    assert_eq!(refused, bad_signature("spiffe://acme/operator/2"));
}

#[test]
fn a_draft_that_breaks_a_rule_is_refused_before_anyone_signs() {
    let founding = Founding::of(3).placed("aab");
    let mut message = founding.signed();
    message.nodes.clear();
    let draft = RosterDraft::parse(encoded(&message), &Portable).unwrap_err();
    assert!(matches!(draft, RosterError::BadPlacement { .. }));
    let body = Roster::check_body(founding.body_bytes()).unwrap_err();
    assert_eq!(draft, body);
}
