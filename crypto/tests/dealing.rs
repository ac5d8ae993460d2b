//! Properties of dealing and opening: every t-subset opens, fewer never do, the wrong fragment is named and no other.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use std::sync::LazyLock;

use common::{World, copy, dealing, hedge, pairs, rng, session, sharing, unchecked, write};
use proptest::prelude::*;
use symbolon_crypto::{
    context::{BadHeader, ValueContext, header},
    dealing::{
        BadDealing, BadFragment, BadSharing, DealError, Dealing, Dealt, Fragment, LagrangeTable, Sharing, Unchecked,
        UnlockError, Verdict, deal, judge_complaint, parse_sealed, seal_fragment,
    },
    limits::{CIPHERTEXT_BYTES_MAX, CONTENT_TYPE_BYTES_MAX, VALUE_BYTES_MAX},
    provider::Portable,
    sealing::{SealingKeyPair, SealingSession, fragment_key},
    secret::Secret,
};

const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";

type Roster = (Vec<u16>, Vec<SealingKeyPair>, SealingSession);

/// Rosters of every size, one with sparse indices, each with its nodes and one session: encapsulation is what costs.
static ROSTERS: LazyLock<Vec<Roster>> = LazyLock::new(|| {
    [
        vec![1, 2, 3],
        vec![1, 2, 3, 4, 5],
        vec![2, 3, 7, 300, 65_535],
        vec![1, 2, 3, 4, 5, 6, 7],
    ]
    .into_iter()
    .map(|indices| {
        let pairs = pairs(indices.len());
        let session = session(&common::bound(&indices), &pairs, 1);
        (indices, pairs, session)
    })
    .collect()
});

fn order() -> [u8; 32] {
    hex::decode(ORDER).unwrap().try_into().unwrap()
}

struct Read {
    bound: common::Bound,
    dealt: Dealt,
    fragments: Vec<(u16, Fragment)>,
}

fn read(roster: usize, seed: u64, value: &[u8]) -> Read {
    let (indices, pairs, session) = &ROSTERS[roster];
    let mut bound = common::bound(indices);
    let write = write(&bound, "application/octet-stream");
    let dealt = deal(
        &Portable,
        &mut rng(seed),
        &hedge(),
        &write,
        value,
        &sharing(&bound),
        session,
    )
    .unwrap();
    bound.write_nonce = dealt.write_nonce;
    let open = |(place, &index): (usize, &u16)| {
        let shared = pairs[place].decapsulate(&session.ciphertexts()[place]);
        let key = fragment_key(&shared, session.id(), &dealt.dd, index);
        let sealed = &dealt.sealed[place];
        (
            index,
            symbolon_crypto::dealing::open_fragment(&Portable, &key, &dealt.dd, sealed).unwrap(),
        )
    };
    let fragments = indices.iter().enumerate().map(open).collect();
    Read {
        bound,
        dealt,
        fragments,
    }
}

fn pick<'a>(fragments: &'a [(u16, Fragment)], subset: &[u16]) -> Vec<(u16, &'a Fragment)> {
    subset
        .iter()
        .map(|index| {
            fragments
                .iter()
                .find(|(i, _)| i == index)
                .map(|(i, f)| (*i, f))
                .unwrap()
        })
        .collect()
}

proptest! {
    #[test]
    fn every_t_subset_opens_in_any_order_and_fewer_never_do(
        roster in 0usize..4,
        seed in any::<u64>(),
        value in proptest::collection::vec(any::<u8>(), 0..600),
        random in any::<[u8; 64]>(),
    ) {
        let Read { bound, dealt, fragments } = read(roster, seed, &value);
        let sharing = sharing(&bound);
        let dealing = dealing(&bound, &sharing, &dealt);
        let table = LagrangeTable::new(&sharing);
        for (index, fragment) in &fragments {
            prop_assert_eq!(dealing.verify_fragment(*index, fragment), Ok(()));
        }
        for subset in table.subsets() {
            let mut chosen = pick(&fragments, subset);
            chosen.reverse();
            let opened = dealing.unlock(&table, &chosen).unwrap().open(&Portable).unwrap();
            prop_assert_eq!(opened.expose(), value.as_slice());

            let fewer = &chosen[1..];
            let needed = sharing.t();
            prop_assert_eq!(
                dealing.unlock(&table, fewer).unwrap_err(),
                UnlockError::Count { needed, found: fewer.len() }
            );
            if let Ok(guessed) = Fragment::from_slice(&random) {
                let mut with_a_guess = fewer.to_vec();
                with_a_guess.push((chosen[0].0, &guessed));
                let refused = dealing.unlock(&table, &with_a_guess);
                prop_assert_eq!(refused.unwrap_err(), UnlockError::KeyCommitment { indices: subset.to_vec() });
            }
        }
    }

    #[test]
    fn a_wrong_fragment_is_detected_and_exactly_its_node_named(
        roster in 0usize..4,
        seed in any::<u64>(),
        wrong in proptest::collection::vec(any::<bool>(), 7),
        bit in 0usize..512,
    ) {
        let Read { bound, dealt, mut fragments } = read(roster, seed, b"value");
        let mut culprits = vec![];
        for ((index, fragment), wrong) in fragments.iter_mut().zip(wrong) {
            if wrong {
                let mut bytes = *fragment.expose();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let Ok(changed) = Fragment::from_slice(&bytes) else { continue };
                *fragment = changed;
                culprits.push(*index);
            }
        }
        let sharing = sharing(&bound);
        let dealing = dealing(&bound, &sharing, &dealt);
        let table = LagrangeTable::new(&sharing);
        let all: Vec<_> = fragments.iter().map(|(index, fragment)| (*index, fragment)).collect();
        prop_assert_eq!(dealing.culprits(&all), culprits.clone());
        for subset in table.subsets() {
            let unlocked = dealing.unlock(&table, &pick(&fragments, subset));
            let wrong_in_it = subset.iter().filter(|index| culprits.contains(index)).count();
            match unlocked {
                Err(refused) => {
                    prop_assert!(wrong_in_it > 0 && bit < 256, "honest nodes, or a wrong γ alone, do not stop a reader");
                    prop_assert_eq!(refused, UnlockError::KeyCommitment { indices: subset.to_vec() });
                }
                // γ takes no part in combining, and several errors may cancel out: what opens is still the value.
                Ok(key) => {
                    prop_assert!(wrong_in_it != 1 || bit >= 256, "one wrong scalar always shows");
                    let opened = key.open(&Portable).unwrap();
                    prop_assert_eq!(opened.expose(), b"value");
                }
            }
        }
    }

    #[test]
    fn a_changed_byte_of_the_public_half_is_refused_by_every_node(
        seed in any::<u64>(),
        place in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let Read { bound, mut dealt, fragments } = read(0, seed, b"value");
        let record_hash = dealt.record_hash;
        let (ciphertext, kc) = (dealt.ciphertext.len(), 32);
        let place = place.index(ciphertext + kc + 3 * 32 + 2 * 32);
        let byte = match place {
            p if p < ciphertext => &mut dealt.ciphertext[p],
            p if p < ciphertext + 32 => &mut dealt.key_commitment[p - ciphertext],
            p if p < ciphertext + 128 => &mut dealt.commitments.as_flattened_mut()[p - ciphertext - 32],
            p => &mut dealt.z.as_flattened_mut()[p - ciphertext - 128],
        };
        *byte ^= 1 << bit;
        let sharing = sharing(&bound);
        let value = ValueContext {
            cluster: &bound.cluster, tenant: &bound.tenant, secret: &bound.secret,
            version: bound.version, author: &bound.author, write_nonce: &bound.write_nonce,
        };
        match Dealing::parse(&value, &bound.dealer, &sharing, &unchecked(&dealt)) {
            Err(defect) => {
                let canonical = matches!(defect, BadDealing::CoefficientNotCanonical { .. });
                prop_assert!(canonical, "{defect:?}");
            }
            Ok(changed) => {
                prop_assert_ne!(changed.record_hash(), &record_hash);
                if place >= ciphertext + 32 {
                    let all: Vec<_> = fragments.iter().map(|(index, fragment)| (*index, fragment)).collect();
                    prop_assert_eq!(changed.culprits(&all), vec![1, 2, 3]);
                }
            }
        }
    }
}

#[test]
fn values_of_every_length_around_the_steps_come_back() {
    for length in [
        0,
        1,
        251,
        252,
        253,
        267,
        268,
        269,
        1020,
        1021,
        VALUE_BYTES_MAX - 1,
        VALUE_BYTES_MAX,
    ] {
        let value = vec![0xa5; length];
        let Read {
            bound,
            dealt,
            fragments,
        } = read(0, 1, &value);
        let sharing = sharing(&bound);
        let dealing = dealing(&bound, &sharing, &dealt);
        let key = dealing
            .unlock(&LagrangeTable::new(&sharing), &pick(&fragments, &[1, 3]))
            .unwrap();
        assert_eq!(key.open(&Portable).unwrap().expose(), value, "{length} bytes");
    }
}

#[test]
fn a_value_or_content_type_past_its_limit_is_not_dealt() {
    let (indices, _, session) = &ROSTERS[0];
    let bound = common::bound(indices);
    let deal_it = |value: &[u8], content_type: &str| {
        deal(
            &Portable,
            &mut rng(1),
            &hedge(),
            &write(&bound, content_type),
            value,
            &sharing(&bound),
            session,
        )
    };
    let too_long = deal_it(&vec![0; VALUE_BYTES_MAX + 1], "text/plain").unwrap_err();
    assert!(matches!(too_long, DealError::ValueTooLong(_)));
    let content_type = "x".repeat(CONTENT_TYPE_BYTES_MAX + 1);
    let found = content_type.len();
    assert_eq!(
        deal_it(b"", &content_type).unwrap_err(),
        DealError::ContentTypeTooLong { found }
    );
}

#[test]
fn what_deal_says_of_itself_is_what_everyone_computes() {
    let Read { bound, dealt, .. } = read(3, 1, b"value");
    let sharing = sharing(&bound);
    let dealing = dealing(&bound, &sharing, &dealt);
    assert_eq!(
        (dealing.vctx(), dealing.sctx(), dealing.dd()),
        (&dealt.vctx, &dealt.sctx, &dealt.dd)
    );
    assert_eq!(dealing.record_hash(), &dealt.record_hash);
    assert_eq!(dealing.content_type(), "application/octet-stream");
    assert_eq!(parse_sealed(&sharing, &dealt.sealed).unwrap(), dealt.sealed);
}

#[test]
fn sharings_are_refused_by_defect() {
    let sharing = |n, t, indices: &[u16]| Sharing::new(0, [0; 32], n, t, indices.to_vec()).map(|_| ());
    assert_eq!(sharing(3, 2, &[1, 2, 65_535]), Ok(()));
    for n in [0, 1, 2, 4, 6, 8, 9, u16::MAX] {
        assert_eq!(sharing(n, 2, &[1, 2, 3]), Err(BadSharing::Holders { n }));
    }
    for t in [0, 1, 2, 4, 5] {
        assert_eq!(
            sharing(5, t, &[1, 2, 3, 4, 5]),
            Err(BadSharing::Threshold { n: 5, t, expected: 3 })
        );
    }
    assert_eq!(sharing(3, 2, &[1, 2]), Err(BadSharing::IndexCount { n: 3, found: 2 }));
    assert_eq!(
        sharing(3, 2, &[1, 2, 3, 4]),
        Err(BadSharing::IndexCount { n: 3, found: 4 })
    );
    assert_eq!(sharing(3, 2, &[0, 1, 2]), Err(BadSharing::IndexOrder { index: 0 }));
    assert_eq!(sharing(3, 2, &[1, 1, 2]), Err(BadSharing::IndexOrder { index: 1 }));
    assert_eq!(sharing(3, 2, &[2, 1, 3]), Err(BadSharing::IndexOrder { index: 1 }));
}

/// One defect at a time in the public half, as bytes of any length.
fn parse_with(change: impl Fn(&mut Raw)) -> Result<(), BadDealing> {
    let Read { bound, dealt, .. } = read(1, 1, b"value");
    let mut raw = Raw {
        header: dealt.header.clone(),
        ciphertext: dealt.ciphertext.clone(),
        key_commitment: dealt.key_commitment.to_vec(),
        commitments: dealt.commitments.iter().map(|c| c.to_vec()).collect(),
        z: dealt.z.iter().map(|c| c.to_vec()).collect(),
        sealed: dealt.sealed.iter().map(|c| c.to_vec()).collect(),
    };
    change(&mut raw);
    let sharing = sharing(&bound);
    let value = ValueContext {
        cluster: &bound.cluster,
        tenant: &bound.tenant,
        secret: &bound.secret,
        version: bound.version,
        author: &bound.author,
        write_nonce: &bound.write_nonce,
    };
    let unchecked = Unchecked {
        header: &raw.header,
        ciphertext: &raw.ciphertext,
        key_commitment: &raw.key_commitment,
        commitments: &raw.commitments,
        z: &raw.z,
    };
    Dealing::parse(&value, &bound.dealer, &sharing, &unchecked)?;
    parse_sealed(&sharing, &raw.sealed)?;
    Ok(())
}

struct Raw {
    header: Vec<u8>,
    ciphertext: Vec<u8>,
    key_commitment: Vec<u8>,
    commitments: Vec<Vec<u8>>,
    z: Vec<Vec<u8>>,
    sealed: Vec<Vec<u8>>,
}

#[test]
fn dealings_are_refused_by_defect() {
    type Case = (&'static str, fn(&mut Raw), BadDealing);
    assert_eq!(parse_with(|_| {}), Ok(()));
    let cases: [Case; 16] = [
        (
            "no header",
            |raw| raw.header.clear(),
            BadDealing::Header(BadHeader::Encoding(truncated())),
        ),
        (
            "header of suite 2",
            |raw| raw.header[27] = 2,
            BadDealing::Header(BadHeader::UnknownSuite(2)),
        ),
        (
            "no ciphertext",
            |raw| raw.ciphertext.clear(),
            BadDealing::CiphertextSize { found: 0 },
        ),
        (
            "ciphertext of 255 bytes and a tag",
            |raw| raw.ciphertext.truncate(271),
            BadDealing::CiphertextSize { found: 271 },
        ),
        (
            "ciphertext of 128 bytes and a tag",
            |raw| raw.ciphertext.truncate(144),
            BadDealing::CiphertextSize { found: 144 },
        ),
        (
            "ciphertext past the limit",
            |raw| raw.ciphertext.resize(CIPHERTEXT_BYTES_MAX + 1, 0),
            BadDealing::CiphertextTooLong {
                found: CIPHERTEXT_BYTES_MAX + 1,
            },
        ),
        (
            "key commitment cut",
            |raw| raw.key_commitment.truncate(31),
            BadDealing::KeyCommitmentLength { found: 31 },
        ),
        (
            "one commitment missing",
            |raw| raw.commitments.truncate(4),
            BadDealing::CommitmentCount { expected: 5, found: 4 },
        ),
        (
            "one commitment too many",
            |raw| raw.commitments.push(vec![0; 32]),
            BadDealing::CommitmentCount { expected: 5, found: 6 },
        ),
        (
            "commitment cut",
            |raw| raw.commitments[2].truncate(31),
            BadDealing::CommitmentLength { index: 3, found: 31 },
        ),
        (
            "z too short",
            |raw| raw.z.truncate(2),
            BadDealing::CoefficientCount { expected: 3, found: 2 },
        ),
        (
            "z of degree t",
            |raw| raw.z.push(vec![0; 32]),
            BadDealing::CoefficientCount { expected: 3, found: 4 },
        ),
        (
            "coefficient extended",
            |raw| raw.z[1].push(0),
            BadDealing::CoefficientLength { place: 1, found: 33 },
        ),
        (
            "coefficient equal to the order",
            |raw| raw.z[2] = order().to_vec(),
            BadDealing::CoefficientNotCanonical { place: 2 },
        ),
        (
            "one sealed fragment missing",
            |raw| raw.sealed.truncate(4),
            BadDealing::SealedCount { expected: 5, found: 4 },
        ),
        (
            "sealed fragment cut",
            |raw| raw.sealed[4].truncate(79),
            BadDealing::SealedLength { index: 5, found: 79 },
        ),
    ];
    for (name, change, defect) in cases {
        assert_eq!(parse_with(change), Err(defect), "{name}");
    }
}

fn truncated() -> symbolon_crypto::enc::BadEncoding {
    symbolon_crypto::enc::BadEncoding::Truncated
}

#[test]
fn a_content_type_is_read_from_the_header_alone() {
    assert_eq!(parse_with(|raw| raw.header = header("")), Ok(()));
}

#[test]
fn fragments_are_refused_by_defect() {
    assert_eq!(
        Fragment::from_slice(&[0; 63]).unwrap_err(),
        BadFragment::Length { found: 63 }
    );
    assert_eq!(
        Fragment::from_slice(&[0; 65]).unwrap_err(),
        BadFragment::Length { found: 65 }
    );
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&order());
    assert_eq!(
        Fragment::from_slice(&bytes).unwrap_err(),
        BadFragment::ScalarNotCanonical
    );
    bytes[31] -= 1;
    let fragment = Fragment::from_slice(&bytes).unwrap();
    assert_eq!(fragment.expose(), &bytes);
    assert_eq!(fragment.hash(), symbolon_crypto::enc::sha256(&bytes));
    assert_eq!(format!("{fragment:?}"), "Fragment(..)");
}

#[test]
fn repeated_unknown_or_too_many_nodes_are_not_combined() {
    let Read {
        bound,
        dealt,
        fragments,
    } = read(0, 1, b"value");
    let sharing = sharing(&bound);
    let dealing = dealing(&bound, &sharing, &dealt);
    let table = LagrangeTable::new(&sharing);
    let (one, two, three) = (&fragments[0].1, &fragments[1].1, &fragments[2].1);
    let unlock = |fragments: &[(u16, &Fragment)]| dealing.unlock(&table, fragments).map(|_| ()).unwrap_err();
    assert_eq!(
        unlock(&[(1, one), (1, one)]),
        UnlockError::Nodes { indices: vec![1, 1] }
    );
    assert_eq!(
        unlock(&[(1, one), (4, two)]),
        UnlockError::Nodes { indices: vec![1, 4] }
    );
    assert_eq!(
        unlock(&[(0, one), (1, two)]),
        UnlockError::Nodes { indices: vec![0, 1] }
    );
    assert_eq!(
        unlock(&[(1, one), (2, two), (3, three)]),
        UnlockError::Count { needed: 2, found: 3 }
    );
    assert_eq!(unlock(&[]), UnlockError::Count { needed: 2, found: 0 });
    let swapped = unlock(&[(1, two), (2, one)]);
    assert_eq!(swapped, UnlockError::KeyCommitment { indices: vec![1, 2] });
}

#[test]
fn a_table_of_another_roster_is_not_used() {
    let Read {
        bound,
        dealt,
        fragments,
    } = read(0, 1, b"value");
    let sharing = sharing(&bound);
    let dealing = dealing(&bound, &sharing, &dealt);
    let other = LagrangeTable::new(&Sharing::new(0, [0; 32], 3, 2, vec![2, 3, 9]).unwrap());
    let with_nine = [(3, &fragments[2].1), (9, &fragments[0].1)];
    let unlocked = dealing.unlock(&other, &with_nine).map(|_| ());
    assert_eq!(unlocked, Err(UnlockError::Nodes { indices: vec![3, 9] }));
}

#[test]
fn complaints_are_judged_alike_and_blame_only_who_is_at_fault() {
    let world = World::new(&[1, 2, 3], b"value");
    let sharing = sharing(&world.bound);
    let dealing = dealing(&world.bound, &sharing, &world.dealt);
    let key = fragment_key(
        &world.pairs[0].decapsulate(&world.session.ciphertexts()[0]),
        world.session.id(),
        dealing.dd(),
        1,
    );
    let judge = |index, sealed: &[u8; 80], key: &Secret<32>| judge_complaint(&Portable, &dealing, index, sealed, key);
    assert_eq!(judge(1, &world.dealt.sealed[0], &key), Verdict::Unfounded);
    assert_eq!(judge(9, &world.dealt.sealed[0], &key), Verdict::NoSuchNode);
    assert_eq!(judge(1, &world.dealt.sealed[1], &key), Verdict::NobodyToBlame);
    assert_eq!(
        judge(1, &world.dealt.sealed[0], &Secret::fill(|b| b.fill(9))),
        Verdict::NobodyToBlame
    );

    let other = Fragment::from_slice(&[7; 64]).unwrap();
    let off = seal_fragment(&Portable, &key, dealing.dd(), &other).unwrap();
    assert_eq!(judge(1, &off, &key), Verdict::AuthorAtFault);
    let foreign = seal_fragment(&Portable, &key, dealing.dd(), &copy(&world.fragment(1))).unwrap();
    assert_eq!(
        judge(1, &foreign, &key),
        Verdict::AuthorAtFault,
        "node 2's fragment sealed to node 1"
    );
}

#[test]
fn a_fragment_that_is_no_scalar_is_the_authors_fault() {
    use symbolon_crypto::provider::{Aead, NONCE_0};
    let world = World::new(&[1, 2, 3], b"value");
    let sharing = sharing(&world.bound);
    let dealing = dealing(&world.bound, &sharing, &world.dealt);
    let key = Secret::fill(|b| b.fill(9));
    let mut bytes = [0xff; 64].to_vec();
    Portable
        .seal_in_place(&key, &NONCE_0, dealing.dd(), &mut bytes)
        .unwrap();
    let sealed = bytes.try_into().unwrap();
    assert_eq!(
        judge_complaint(&Portable, &dealing, 1, &sealed, &key),
        Verdict::AuthorAtFault
    );
}
