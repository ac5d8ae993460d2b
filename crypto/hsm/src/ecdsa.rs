//! Forms of P-256 keys and signatures: what tokens give out, turned into the one form that the project uses.

use p256::{
    ecdsa::{Signature, VerifyingKey, signature::Verifier},
    pkcs8::{DecodePublicKey, EncodePublicKey},
};

use crate::limits::SIGNATURE_BYTES;

/// DER tag and length of an OCTET STRING around an uncompressed point, as CKA_EC_POINT has it (PKCS#11 v2.40, 2.3.3).
const POINT_PREFIX: [u8; 2] = [0x04, 65];

/// A token's CKA_EC_POINT as DER SubjectPublicKeyInfo. Some tokens leave the OCTET STRING around the point out.
pub(crate) fn spki_of_point(point: &[u8]) -> Option<Vec<u8>> {
    let bare = match point.strip_prefix(&POINT_PREFIX) {
        Some(inner) if inner.len() == 65 => inner,
        _ => point,
    };
    spki(&VerifyingKey::from_sec1_bytes(bare).ok()?)
}

/// A public key as DER SubjectPublicKeyInfo.
pub(crate) fn spki(key: &VerifyingKey) -> Option<Vec<u8>> {
    Some(key.to_public_key_der().ok()?.into_vec())
}

/// A token's r‖s with the lower of the two possible s: whoever verifies refuses the other.
pub(crate) fn low_s(signature: &[u8]) -> Option<[u8; SIGNATURE_BYTES]> {
    Some(Signature::from_slice(signature).ok()?.normalize_s().to_bytes().into())
}

/// A public key from DER SubjectPublicKeyInfo.
pub(crate) fn parse_spki(spki: &[u8]) -> Option<VerifyingKey> {
    VerifyingKey::from_public_key_der(spki).ok()
}

/// Whether `signature` is one over `message` by `key`, with low s.
pub(crate) fn verifies(key: &VerifyingKey, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
    Signature::from_slice(signature)
        .is_ok_and(|signature| signature.normalize_s() == signature && key.verify(message, &signature).is_ok())
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::{SigningKey, signature::Signer};

    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_slice(&[7; 32]).unwrap()
    }

    #[test]
    fn a_point_is_read_with_and_without_its_octet_string() {
        let bare = key().verifying_key().to_sec1_point(false);
        let wrapped = [&POINT_PREFIX[..], bare.as_bytes()].concat();
        let expected = spki(key().verifying_key()).unwrap();
        assert_eq!(expected.len(), 91);
        assert_eq!(spki_of_point(bare.as_bytes()), Some(expected.clone()));
        assert_eq!(spki_of_point(&wrapped), Some(expected));
    }

    #[test]
    fn a_point_off_the_curve_is_refused() {
        let mut point = key().verifying_key().to_sec1_point(false).as_bytes().to_vec();
        point[64] ^= 1;
        assert_eq!(spki_of_point(&point), None);
        assert_eq!(spki_of_point(&[]), None);
        assert_eq!(spki_of_point(&[0]), None);
    }

    #[test]
    fn a_high_s_is_lowered_and_the_high_one_does_not_verify() {
        let signature: Signature = key().sign(b"message");
        let low = signature.normalize_s();
        let high = Signature::from_scalars(low.r(), -low.s()).unwrap();
        assert_eq!(low_s(&high.to_bytes()), Some(low.to_bytes().into()));
        assert_eq!(low_s(&low.to_bytes()), Some(low.to_bytes().into()));
        assert!(verifies(key().verifying_key(), b"message", &low.to_bytes().into()));
        assert!(!verifies(key().verifying_key(), b"message", &high.to_bytes().into()));
        assert!(!verifies(key().verifying_key(), b"another", &low.to_bytes().into()));
    }

    #[test]
    fn zeros_and_short_signatures_are_refused() {
        assert_eq!(low_s(&[0; 64]), None);
        assert_eq!(low_s(&[1; 63]), None);
    }
}
