//! Project Wycheproof's known answers for every primitive in use, on every provider. What our types cannot even express
//! (a signature of 63 bytes) counts as refused; each test says how many cases it ran, so that none passes by running none.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use aes_kw::{KeyInit, KwAes256};
use ml_kem::{MlKem768, kem::Decapsulate};
use symbolon_crypto::{
    own,
    provider::{Portable, Provider},
    sealing::SealingPublicKey,
    secret::Secret,
    sign::{Ed25519VerifyingKey, VerifyingKey, is_low_s, normalise_low_s},
};
use wycheproof::{TestResult, aead, ecdsa, eddsa, hkdf, keywrap, mlkem, xdh};

fn providers() -> Vec<(&'static str, Box<dyn Provider>)> {
    vec![
        ("portable", Box::new(Portable)),
        #[cfg(feature = "aws-lc")]
        ("aws-lc", Box::new(symbolon_crypto::provider::AwsLc)),
    ]
}

#[test]
fn aes_256_gcm() {
    for (name, provider) in providers() {
        let mut run = 0;
        let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
        let groups = set
            .test_groups
            .iter()
            .filter(|g| (g.key_size, g.nonce_size, g.tag_size) == (256, 96, 128));
        for test in groups.flat_map(|group| &group.tests) {
            let key = Secret::copy_from(&test.key).unwrap();
            let nonce = test.nonce.as_slice().try_into().unwrap();
            let sealed = [test.ct.as_slice(), &test.tag].concat();
            let mut opened = sealed.clone();
            let result = provider.open_in_place(&key, nonce, &test.aad, &mut opened);
            if test.result == TestResult::Valid {
                assert_eq!(
                    (result, opened.as_slice()),
                    (Ok(()), test.pt.as_slice()),
                    "{name} {}",
                    test.tc_id
                );
                let mut ours = test.pt.to_vec();
                provider.seal_in_place(&key, nonce, &test.aad, &mut ours).unwrap();
                assert_eq!(ours, sealed, "{name} {}", test.tc_id);
            } else {
                assert!(result.is_err(), "{name} {}: {}", test.tc_id, test.comment);
            }
            run += 1;
        }
        assert_eq!(run, 66, "{name}");
    }
}

#[test]
fn ecdsa_p256_sha256() {
    for (name, provider) in providers() {
        let (mut run, mut high) = (0, 0);
        let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256P1363).unwrap();
        for group in &set.test_groups {
            let key = VerifyingKey::parse(&group.der).unwrap();
            for test in &group.tests {
                run += 1;
                let Ok(mut signature) = <[u8; 64]>::try_from(test.sig.as_slice()) else {
                    assert!(test.result.must_fail(), "{name} {}", test.tc_id);
                    continue;
                };
                if test.result == TestResult::Valid && !is_low_s(&signature) {
                    high += 1;
                    assert!(
                        provider.p256(&key, &test.msg, &signature).is_err(),
                        "{name} {}: high s",
                        test.tc_id
                    );
                    normalise_low_s(&mut signature).unwrap();
                }
                let result = provider.p256(&key, &test.msg, &signature);
                assert_eq!(
                    result.is_ok(),
                    test.result == TestResult::Valid,
                    "{name} {}: {}",
                    test.tc_id,
                    test.comment
                );
            }
        }
        assert!(run == 262 && high > 0, "{name}: {run} run, {high} of them with high s");
    }
}

#[test]
fn ed25519() {
    for (name, provider) in providers() {
        let mut run = 0;
        let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
        for group in &set.test_groups {
            let key = Ed25519VerifyingKey::parse(&group.der).unwrap();
            for test in &group.tests {
                let signature = <[u8; 64]>::try_from(test.sig.as_slice());
                let accepted = signature.is_ok_and(|signature| provider.ed25519(&key, &test.msg, &signature).is_ok());
                assert_eq!(
                    accepted,
                    test.result == TestResult::Valid,
                    "{name} {}: {}",
                    test.tc_id,
                    test.comment
                );
                run += 1;
            }
        }
        assert_eq!(run, 151, "{name}");
    }
}

#[test]
fn hkdf_sha256() {
    let mut run = 0;
    let set = hkdf::TestSet::load(hkdf::TestName::HkdfSha256).unwrap();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut okm = vec![0; test.size];
        let expanded = ::hkdf::Hkdf::<sha2::Sha256>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut okm);
        if test.result == TestResult::Valid {
            assert_eq!(
                (expanded.is_ok(), okm.as_slice()),
                (true, test.okm.as_slice()),
                "{}",
                test.tc_id
            );
        } else {
            assert!(expanded.is_err(), "{}: {}", test.tc_id, test.comment);
        }
        run += 1;
    }
    assert_eq!(run, 86);
}

#[test]
fn aes_256_key_wrap() {
    let (mut run, mut ours) = (0, 0);
    let set = keywrap::TestSet::load(keywrap::TestName::AesKeyWrap).unwrap();
    for test in set
        .test_groups
        .iter()
        .filter(|group| group.key_size == 256)
        .flat_map(|group| &group.tests)
    {
        run += 1;
        let kek = KwAes256::new_from_slice(&test.key).unwrap();
        let mut key = vec![0; test.ct.len()];
        let unwrapped = kek.unwrap_key(&test.ct, &mut key).map(<[u8]>::to_vec).ok();
        // Other sizes than ours, which the library may take more of than RFC 3394 does (none of 0 bytes, say).
        if test.result == TestResult::Valid {
            assert_eq!(unwrapped.as_deref(), Some(test.pt.as_slice()), "{}", test.tc_id);
        }
        let kek = Secret::copy_from(&test.key).unwrap();
        let Ok(wrapped) = test.ct.as_slice().try_into() else {
            continue;
        };
        ours += 1;
        let unwrapped = own::unwrap(&kek, wrapped);
        assert_eq!(
            unwrapped.is_ok(),
            test.result == TestResult::Valid,
            "{}: {}",
            test.tc_id,
            test.comment
        );
        if let Ok(key) = unwrapped {
            assert_eq!(key.expose().as_slice(), test.pt.as_slice());
            assert_eq!(own::wrap(&kek, &key).unwrap().as_slice(), test.ct.as_slice());
        }
    }
    assert_eq!((run, ours), (68, 16));
}

/// The classical half of X-Wing.
#[test]
fn x25519() {
    let mut run = 0;
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let array = |bytes: &[u8]| -> [u8; 32] { bytes.try_into().unwrap() };
        let shared = x25519_dalek::x25519(array(&test.private_key), array(&test.public_key));
        assert_eq!(
            shared.as_slice(),
            test.shared_secret.as_slice(),
            "{}: {}",
            test.tc_id,
            test.comment
        );
        run += 1;
    }
    assert_eq!(run, 518);
}

/// The post-quantum half of X-Wing.
#[test]
fn ml_kem_768() {
    let (mut run, mut refused) = (0, 0);
    let set = mlkem::TestSet::load(mlkem::TestName::MlKem768).unwrap();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        run += 1;
        let seed = test
            .seed
            .as_ref()
            .and_then(|seed| ml_kem::Seed::try_from(seed.as_slice()).ok());
        let ct = test
            .ct
            .as_ref()
            .and_then(|ct| ml_kem::ml_kem_768::Ciphertext::try_from(ct.as_slice()).ok());
        let (Some(seed), Some(ct)) = (seed, ct) else {
            assert!(test.result.must_fail(), "{}: {}", test.tc_id, test.comment);
            refused += 1;
            continue;
        };
        assert_eq!(test.result, TestResult::Valid, "{}: {}", test.tc_id, test.comment);
        let key = ml_kem::DecapsulationKey::<MlKem768>::from_seed(seed);
        let shared = key.decapsulate(&ct);
        assert_eq!(
            shared.as_slice(),
            test.shared_secret.as_ref().unwrap().as_slice(),
            "{}",
            test.tc_id
        );
    }
    assert_eq!((run, refused), (201, 40));
}

/// An ML-KEM key that is not reduced, or of another length, makes no sealing key.
#[test]
fn ml_kem_768_public_keys() {
    let mut run = 0;
    let set = mlkem::TestSet::load(mlkem::TestName::MlKem768Encaps).unwrap();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let key = test.encaps_key.as_ref().unwrap();
        let sealing_key = [key.as_slice(), &[9; 32]].concat();
        let parsed = SealingPublicKey::parse(&sealing_key);
        assert_eq!(
            parsed.is_ok(),
            test.result == TestResult::Valid,
            "{}: {}",
            test.tc_id,
            test.comment
        );
        run += 1;
    }
    assert_eq!(run, 265);
}
