//! `tests/vectors/dealing.json`, made by an independent implementation in Python: every valid case is reproduced byte
//! for byte, every refused case is refused for its defect.

use serde::Deserialize;

use super::{
    deal::{Coins, Place, deal_with},
    scalar::{self, Polynomial},
    *,
};
use crate::{
    context::{ValueContext, header},
    dealing::open::ValueKeys,
    provider::{Aead, NONCE_0, Portable},
    sealing::fragment_key,
    secret::Secret,
};
use zeroize::Zeroizing;

#[derive(Deserialize, Clone)]
struct Case {
    name: String,
    valid: bool,
    n: u16,
    t: u16,
    indices: Vec<u16>,
    cluster: String,
    tenant: String,
    secret: String,
    version: u64,
    author: String,
    write_nonce: String,
    epoch: u64,
    roster: String,
    content_type: String,
    session: String,
    value: String,
    shared_secrets: Vec<String>,
    gamma: Vec<String>,
    f: Vec<String>,
    b: Vec<String>,
    vctx: String,
    sctx: String,
    header: String,
    data_key: String,
    key_commitment: String,
    ciphertext: String,
    shares: Vec<String>,
    commitments: Vec<String>,
    z: Vec<String>,
    dealing_digest: String,
    sealed: Vec<String>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../../tests/vectors/dealing.json")).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).unwrap()
}

fn array<const N: usize>(hex: &str) -> [u8; N] {
    bytes(hex).try_into().unwrap()
}

fn secrets(hex: &[String]) -> Vec<Secret<32>> {
    hex.iter().map(|hex| Secret::copy_from(&bytes(hex)).unwrap()).collect()
}

fn polynomial(hex: &[String]) -> Polynomial {
    let coefficients = hex
        .iter()
        .map(|hex| Zeroizing::new(scalar::parse(&array(hex)).unwrap()));
    Polynomial::collect(hex.len(), coefficients)
}

/// As the reference's `opens`: every node opens and checks its fragment, the first and the last t open the value.
fn open(case: &Case) -> Result<Vec<u8>, String> {
    let sharing =
        Sharing::new(case.epoch, array(&case.roster), case.n, case.t, case.indices.clone()).map_err(by_name)?;
    let value = ValueContext {
        cluster: &array(&case.cluster),
        tenant: &array(&case.tenant),
        secret: &array(&case.secret),
        version: case.version,
        author: &array(&case.author),
        write_nonce: &array(&case.write_nonce),
    };
    let lists = |list: &[String]| list.iter().map(|hex| bytes(hex)).collect::<Vec<_>>();
    let (commitments, z) = (lists(&case.commitments), lists(&case.z));
    let header = header(&case.content_type);
    let unchecked = Unchecked {
        header: &header,
        ciphertext: &bytes(&case.ciphertext),
        key_commitment: &bytes(&case.key_commitment),
        commitments: &commitments,
        z: &z,
    };
    let dealing = Dealing::parse(&value, &array(&case.author), &sharing, &unchecked).map_err(by_name)?;
    let sealed = parse_sealed(&sharing, &lists(&case.sealed)).map_err(by_name)?;
    let mut fragments = Vec::new();
    for ((&index, sealed), shared) in case.indices.iter().zip(&sealed).zip(&secrets(&case.shared_secrets)) {
        let key = fragment_key(shared, &array(&case.session), dealing.dd(), index);
        let fragment = open_fragment(&Portable, &key, dealing.dd(), sealed).map_err(by_name)?;
        fragments.push(check_fragment(&dealing, index, fragment).map_err(by_name)?);
    }
    let points: Vec<_> = fragments
        .iter()
        .map(|checked| (checked.index(), checked.fragment()))
        .collect();
    let table = LagrangeTable::new(&sharing);
    let t = usize::from(case.t);
    let first = dealing.unlock(&table, &points[..t]).map_err(by_name)?;
    let last = dealing.unlock(&table, &points[points.len() - t..]).map_err(by_name)?;
    assert!(first.expose().ct_eq(last.expose()));
    Ok(first.open(&Portable).map_err(by_name)?.expose().to_vec())
}

/// `Type::Variant` of an error, without its fields.
fn by_name<E: std::fmt::Debug>(error: E) -> String {
    let debug = format!("{error:?}");
    let variant = debug.split([' ', '{']).next().unwrap();
    let kind = std::any::type_name::<E>().rsplit("::").next().unwrap();
    format!("{kind}::{variant}")
}

#[test]
fn every_valid_case_is_reproduced_byte_for_byte() {
    let valid: Vec<_> = cases().into_iter().filter(|case| case.valid).collect();
    assert_eq!(valid.len(), 10);
    for case in valid {
        let sharing = Sharing::new(case.epoch, array(&case.roster), case.n, case.t, case.indices.clone()).unwrap();
        let write = Write {
            cluster: &array(&case.cluster),
            tenant: &array(&case.tenant),
            secret: &array(&case.secret),
            version: case.version,
            author: &array(&case.author),
            content_type: &case.content_type,
        };
        let place = Place::new(&write, &sharing, array(&case.write_nonce));
        let coins = Coins {
            f: polynomial(&case.f),
            b: polynomial(&case.b),
            gamma: secrets(&case.gamma),
        };
        let shared = secrets(&case.shared_secrets);
        let dealt = deal_with(
            &Portable,
            &place,
            &bytes(&case.value),
            &sharing,
            &array(&case.session),
            &shared,
            &coins,
        )
        .unwrap();

        let name = &case.name;
        let all = |list: &[[u8; 32]]| list.iter().map(hex::encode).collect::<Vec<_>>();
        assert_eq!(hex::encode(dealt.vctx), case.vctx, "vctx of {name}");
        assert_eq!(hex::encode(dealt.sctx), case.sctx, "sctx of {name}");
        assert_eq!(hex::encode(&dealt.header), case.header, "header of {name}");
        let keys = ValueKeys::derive(&coins.f.at(0), &dealt.vctx);
        assert_eq!(hex::encode(keys.encrypt.expose()), case.data_key, "data key of {name}");
        assert_eq!(hex::encode(dealt.key_commitment), case.key_commitment, "KC of {name}");
        assert_eq!(hex::encode(&dealt.ciphertext), case.ciphertext, "ciphertext of {name}");
        let shares: Vec<_> = case
            .indices
            .iter()
            .map(|&i| hex::encode(coins.f.at(i).to_bytes()))
            .collect();
        assert_eq!(shares, case.shares, "shares of {name}");
        assert_eq!(all(&dealt.commitments), case.commitments, "commitments of {name}");
        assert_eq!(all(&dealt.z), case.z, "z of {name}");
        assert_eq!(hex::encode(dealt.dd), case.dealing_digest, "dealing digest of {name}");
        let sealed: Vec<_> = dealt.sealed.iter().map(hex::encode).collect();
        assert_eq!(sealed, case.sealed, "sealed fragments of {name}");

        assert_eq!(open(&case), Ok(bytes(&case.value)), "{name}");
    }
}

#[test]
fn every_refused_case_is_refused_for_its_defect() {
    let expected = [
        ("share off the polynomial", "WrongFragment::Commitment"),
        ("share not canonical", "OpenFragmentError::Content(ScalarNotCanonical)"),
        ("gamma too short", "BadDealing::SealedLength"),
        ("commitments of two nodes swapped", "WrongFragment::Commitment"),
        ("z changed after the challenge", "WrongFragment::Commitment"),
        ("z of degree t", "BadDealing::CoefficientCount"),
        ("z too short", "BadDealing::CoefficientCount"),
        ("key commitment of another secret", "UnlockError::KeyCommitment"),
        (
            "ciphertext that does not open after the key commitment held",
            "OpenValueError::Tag(OpenError)",
        ),
        ("padding not zero", "OpenValueError::Padding(NotZero)"),
        ("padding of another size", "OpenValueError::Padding(Size)"),
        ("index zero", "BadSharing::IndexOrder"),
        ("index twice", "BadSharing::IndexOrder"),
        ("indices not ascending", "BadSharing::IndexOrder"),
        ("one commitment missing", "BadDealing::CommitmentCount"),
        (
            "sealed fragments of two nodes swapped",
            "OpenFragmentError::Tag(OpenError)",
        ),
        ("sealed fragment cut", "BadDealing::SealedLength"),
        ("other cluster", "OpenFragmentError::Tag(OpenError)"),
        ("other tenant", "OpenFragmentError::Tag(OpenError)"),
        ("other secret", "OpenFragmentError::Tag(OpenError)"),
        ("other author", "OpenFragmentError::Tag(OpenError)"),
        ("other write_nonce", "OpenFragmentError::Tag(OpenError)"),
        ("other roster", "OpenFragmentError::Tag(OpenError)"),
        ("other session", "OpenFragmentError::Tag(OpenError)"),
        ("other version", "OpenFragmentError::Tag(OpenError)"),
        ("other epoch", "OpenFragmentError::Tag(OpenError)"),
        ("other threshold", "BadSharing::Threshold"),
        ("other content type", "OpenFragmentError::Tag(OpenError)"),
    ];
    let refused: Vec<_> = cases().into_iter().filter(|case| !case.valid).collect();
    let found: Vec<_> = refused
        .iter()
        .map(|case| (case.name.clone(), open(case).unwrap_err()))
        .collect();
    for (name, defect) in &found {
        println!("{name:<64} refused: {defect}");
    }
    let found: Vec<_> = found
        .iter()
        .map(|(name, defect)| (name.as_str(), defect.as_str()))
        .collect();
    assert_eq!(found, expected);
}

/// The associated data of a value holds its header, though no refused case of the file shows it on its own.
#[test]
fn a_value_does_not_open_under_another_header() {
    let case = &cases()[0];
    let aad = open::value_aad(&array(&case.vctx), &header("text/plain"));
    let mut buffer = bytes(&case.ciphertext);
    let key = Secret::copy_from(&bytes(&case.data_key)).unwrap();
    assert!(Portable.open_in_place(&key, &NONCE_0, &aad, &mut buffer).is_err());
    assert!(buffer.is_empty(), "what was left of the buffer is wiped");
}
