//! One suite for every provider: the same bytes, the same refusals.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::rng;
use symbolon_crypto::{
    enc::sha256,
    provider::{Nonce, OpenError, Portable, Provider},
    secret::Secret,
    sign::{BadSignature, Ed25519SigningKey, Sign, SigningKey, is_low_s, normalise_low_s},
};

const NONCE: Nonce = [7; 12];

fn key(byte: u8) -> Secret<32> {
    Secret::fill(|b| b.fill(byte))
}

fn aead_agrees_with_the_portable_one(provider: &dyn Provider) {
    for length in [0, 1, 15, 16, 17, 64, 1000, 67_584] {
        let plain: Vec<u8> = (0..length).map(|i: u32| i as u8).collect();
        for aad in [&b""[..], &[1; 13], &[2; 100]] {
            let (mut ours, mut reference) = (plain.clone(), plain.clone());
            provider.seal_in_place(&key(1), &NONCE, aad, &mut ours).unwrap();
            symbolon_crypto::provider::Aead::seal_in_place(&Portable, &key(1), &NONCE, aad, &mut reference).unwrap();
            assert_eq!(ours, reference, "{length} bytes");
            provider.open_in_place(&key(1), &NONCE, aad, &mut ours).unwrap();
            assert_eq!(ours, plain, "{length} bytes");
        }
    }
}

fn every_changed_bit_is_refused_and_the_buffer_wiped(provider: &dyn Provider) {
    let mut sealed = b"plaintext".to_vec();
    provider.seal_in_place(&key(1), &NONCE, b"aad", &mut sealed).unwrap();
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let (data, tag) = changed.split_last_chunk_mut::<16>().unwrap();
        assert_eq!(
            provider.open_detached(&key(1), &NONCE, b"aad", data, tag),
            Err(OpenError),
            "bit {bit}"
        );
        assert_eq!(data, [0; 9], "bit {bit}: nothing is left of the plaintext");
    }
    let refuse = |key: &Secret<32>, nonce: &Nonce, aad: &[u8], mut buf: Vec<u8>| {
        assert_eq!(provider.open_in_place(key, nonce, aad, &mut buf), Err(OpenError));
        assert!(buf.is_empty());
    };
    refuse(&key(2), &NONCE, b"aad", sealed.clone());
    refuse(&key(1), &[8; 12], b"aad", sealed.clone());
    refuse(&key(1), &NONCE, b"add", sealed.clone());
    refuse(&key(1), &NONCE, b"aad", sealed[..sealed.len() - 1].to_vec());
    refuse(&key(1), &NONCE, b"aad", vec![0; 15]);
    refuse(&key(1), &NONCE, b"aad", vec![]);
}

fn p256_accepts_good_and_refuses_bad_signatures(provider: &dyn Provider) {
    for seed in 0..8 {
        let key = SigningKey::generate(&mut rng(seed));
        let signature = key.sign(b"message");
        assert_eq!(provider.p256(key.verifying_key(), b"message", &signature), Ok(()));
        assert_eq!(key.sign_digest(&sha256(b"message")), signature);
        assert_eq!(
            provider.p256(key.verifying_key(), b"massage", &signature),
            Err(BadSignature)
        );
        let other = SigningKey::generate(&mut rng(seed + 100));
        assert_eq!(
            provider.p256(other.verifying_key(), b"message", &signature),
            Err(BadSignature)
        );
        for bit in (0..512).step_by(7) {
            let mut changed = signature;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                provider.p256(key.verifying_key(), b"message", &changed),
                Err(BadSignature),
                "bit {bit}"
            );
        }
        assert_eq!(
            provider.p256(key.verifying_key(), b"message", &[0; 64]),
            Err(BadSignature)
        );
    }
}

/// The twin (r, q − s) of a valid signature is valid ECDSA, and refused here.
fn high_s_is_refused(provider: &dyn Provider) {
    let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    let key = SigningKey::generate(&mut rng(1));
    let low = key.sign(b"message");
    let mut high = low;
    let mut borrow = 0i16;
    for place in (0..32).rev() {
        let difference = i16::from(order[place]) - i16::from(low[32 + place]) - borrow;
        borrow = i16::from(difference < 0);
        high[32 + place] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    assert!(is_low_s(&low) && !is_low_s(&high));
    assert_eq!(provider.p256(key.verifying_key(), b"message", &high), Err(BadSignature));
    normalise_low_s(&mut high).unwrap();
    assert_eq!(high, low, "it was the twin");
}

fn ed25519_accepts_good_and_refuses_bad_signatures(provider: &dyn Provider) {
    let key = Ed25519SigningKey::generate(&mut rng(1));
    let signature = key.sign(b"message");
    assert_eq!(provider.ed25519(&key.verifying_key(), b"message", &signature), Ok(()));
    assert_eq!(
        provider.ed25519(&key.verifying_key(), b"massage", &signature),
        Err(BadSignature)
    );
    let other = Ed25519SigningKey::generate(&mut rng(2));
    assert_eq!(
        provider.ed25519(&other.verifying_key(), b"message", &signature),
        Err(BadSignature)
    );
    for bit in 0..512 {
        let mut changed = signature;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            provider.ed25519(&key.verifying_key(), b"message", &changed),
            Err(BadSignature),
            "bit {bit}"
        );
    }
}

fn suite(provider: &dyn Provider) {
    aead_agrees_with_the_portable_one(provider);
    every_changed_bit_is_refused_and_the_buffer_wiped(provider);
    p256_accepts_good_and_refuses_bad_signatures(provider);
    high_s_is_refused(provider);
    ed25519_accepts_good_and_refuses_bad_signatures(provider);
}

fn signer_suite(signer: &dyn Sign) {
    use symbolon_crypto::provider::Verify;
    for i in 0..32u8 {
        let signature = signer.sign(&[i]).unwrap();
        assert!(is_low_s(&signature));
        assert_eq!(Portable.p256(signer.verifying_key(), &[i], &signature), Ok(()));
        let signature = signer.sign_digest(&sha256(&[i])).unwrap();
        assert!(is_low_s(&signature));
        assert_eq!(Portable.p256(signer.verifying_key(), &[i], &signature), Ok(()));
    }
}

#[test]
fn the_portable_provider_conforms() {
    suite(&Portable);
    signer_suite(&SigningKey::generate(&mut rng(1)));
}

#[cfg(feature = "aws-lc")]
#[test]
fn the_aws_lc_provider_conforms() {
    use symbolon_crypto::provider::{AwsLc, AwsLcSigningKey};
    suite(&AwsLc);
    let key = SigningKey::generate(&mut rng(1));
    let signer = AwsLcSigningKey::new(&key).unwrap();
    assert_eq!(signer.verifying_key(), key.verifying_key());
    signer_suite(&signer);
}
