//! Signature keys. P-256: ECDSA over SHA-256, 64 bytes r‖s with low s (custody.md, "Suite 1"). Ed25519 (RFC 8032) for
//! checkpoints. Keys are written as DER SubjectPublicKeyInfo, in one form only.

use std::fmt;

use p256::{
    ecdsa::signature::hazmat::PrehashSigner,
    elliptic_curve::Generate,
    pkcs8::{DecodePrivateKey, EncodePrivateKey},
};
use rand_core::CryptoRng;
use thiserror::Error;

use crate::{
    Hash,
    enc::{Hex, sha256},
    secret::{Secret, SecretBytes},
};

/// A P-256 signature: r ‖ s, each 32 bytes big-endian, s ≤ ⌊q/2⌋.
pub type P256Signature = [u8; 64];

/// An Ed25519 signature.
pub type Ed25519Signature = [u8; 64];

/// The signature does not hold. Deliberately says no more: what is wrong with a forgery helps only its maker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the signature is not valid")]
pub struct BadSignature;

/// The signer (a library or a token) could not sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the signing key could not sign")]
pub struct SignError;

/// What is wrong with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadKey {
    /// Not the one form that is accepted: a named curve, an uncompressed point, nothing after it.
    #[error("the key is not the canonical SubjectPublicKeyInfo of its algorithm")]
    NotCanonical,
    /// The coordinates are not those of a point of the curve.
    #[error("the key is not a point of its curve")]
    NotOnCurve,
    /// A point of small order, under which one signature fits many messages.
    #[error("the key is a point of small order")]
    SmallOrder,
    /// The private key is not PKCS#8 of this algorithm.
    #[error("the private key is not a PKCS#8 document of its algorithm")]
    NotPkcs8,
}

/// A P-256 SubjectPublicKeyInfo is this (RFC 5480: id-ecPublicKey, prime256v1, a bit string of 66 bytes) …
const P256_SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// … and an uncompressed SEC1 point: 04 ‖ X ‖ Y.
const P256_POINT_BYTES: usize = 65;
const SEC1_UNCOMPRESSED: u8 = 0x04;

/// A P-256 SubjectPublicKeyInfo, in bytes.
pub const P256_SPKI_BYTES: usize = P256_SPKI_PREFIX.len() + P256_POINT_BYTES;

/// An Ed25519 SubjectPublicKeyInfo is this (RFC 8410) and the 32 bytes of the key.
const ED25519_SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// An Ed25519 SubjectPublicKeyInfo, in bytes.
pub const ED25519_SPKI_BYTES: usize = ED25519_SPKI_PREFIX.len() + 32;

/// ⌊q/2⌋ for the order q of P-256.
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xde, 0x73, 0x7d,
    0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
];

/// Whether s ≤ ⌊q/2⌋. A signature with high s is refused everywhere: its twin with low s would be a second valid one.
#[must_use]
pub fn is_low_s(signature: &P256Signature) -> bool {
    let (_, s) = signature.split_at(32);
    s <= HALF_ORDER.as_slice()
}

/// Makes s low, for signers that do not (tokens, aws-lc).
///
/// # Errors
/// [`BadSignature`] if r or s is zero or not below the order.
pub fn normalise_low_s(signature: &mut P256Signature) -> Result<(), BadSignature> {
    let parsed = p256::ecdsa::Signature::from_slice(signature).map_err(|_| BadSignature)?;
    *signature = parsed.normalize_s().to_bytes().into();
    Ok(())
}

/// A P-256 public key.
#[derive(Clone)]
pub struct VerifyingKey {
    spki: [u8; P256_SPKI_BYTES],
    point: p256::ecdsa::VerifyingKey,
}

impl VerifyingKey {
    /// Parses a SubjectPublicKeyInfo; exactly the 91 bytes that [`VerifyingKey::spki`] gives are accepted.
    ///
    /// # Errors
    /// [`BadKey::NotCanonical`] or [`BadKey::NotOnCurve`].
    pub fn parse(spki: &[u8]) -> Result<Self, BadKey> {
        let spki: [u8; P256_SPKI_BYTES] = spki.try_into().map_err(|_| BadKey::NotCanonical)?;
        let sec1 = spki.strip_prefix(&P256_SPKI_PREFIX).ok_or(BadKey::NotCanonical)?;
        if sec1.first() != Some(&SEC1_UNCOMPRESSED) {
            return Err(BadKey::NotCanonical);
        }
        let point = p256::ecdsa::VerifyingKey::from_sec1_bytes(sec1).map_err(|_| BadKey::NotOnCurve)?;
        Ok(Self { spki, point })
    }

    /// Builds a key from an uncompressed SEC1 point, 04 ‖ X ‖ Y, as tokens give it.
    ///
    /// # Errors
    /// As [`VerifyingKey::parse`].
    pub fn from_sec1(point: &[u8; P256_POINT_BYTES]) -> Result<Self, BadKey> {
        Self::parse(&[P256_SPKI_PREFIX.as_slice(), point].concat())
    }

    /// The DER SubjectPublicKeyInfo.
    #[must_use]
    pub fn spki(&self) -> &[u8; P256_SPKI_BYTES] {
        &self.spki
    }

    /// The uncompressed SEC1 point, 65 bytes.
    #[must_use]
    pub fn sec1(&self) -> &[u8] {
        let (_, sec1) = self.spki.split_at(P256_SPKI_PREFIX.len());
        sec1
    }

    /// SHA-256 of the SubjectPublicKeyInfo; for a client's certificate this is the "client key".
    #[must_use]
    pub fn fingerprint(&self) -> Hash {
        sha256(&self.spki)
    }

    pub(crate) fn point(&self) -> &p256::ecdsa::VerifyingKey {
        &self.point
    }
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        self.spki == other.spki
    }
}

impl Eq for VerifyingKey {}

impl std::hash::Hash for VerifyingKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.spki.hash(state);
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VerifyingKey").field(&Hex(self.sec1())).finish()
    }
}

/// Whatever signs with P-256: a key in memory, aws-lc's, a token's.
pub trait Sign {
    /// Signs SHA-256 of `message`.
    ///
    /// # Errors
    /// [`SignError`] if the library or token fails.
    fn sign(&self, message: &[u8]) -> Result<P256Signature, SignError> {
        self.sign_digest(&sha256(message))
    }

    /// Signs a digest.
    ///
    /// # Errors
    /// As [`Sign::sign`].
    fn sign_digest(&self, digest: &Hash) -> Result<P256Signature, SignError>;

    /// The key that verifies.
    fn verifying_key(&self) -> &VerifyingKey;
}

/// A P-256 key in memory. Signs deterministically (RFC 6979), in constant time.
pub struct SigningKey {
    key: Box<p256::ecdsa::SigningKey>,
    verifying: VerifyingKey,
}

impl SigningKey {
    /// Draws a key.
    #[must_use]
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        Self::from_key(p256::ecdsa::SigningKey::generate_from_rng(rng))
    }

    /// Reads a PKCS#8 document (RFC 5958). A public key inside must be the one that belongs to it.
    ///
    /// # Errors
    /// [`BadKey::NotPkcs8`].
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, BadKey> {
        p256::ecdsa::SigningKey::from_pkcs8_der(der)
            .map(Self::from_key)
            .map_err(|_| BadKey::NotPkcs8)
    }

    /// The PKCS#8 document of this key, its public key included.
    ///
    /// # Errors
    /// [`BadKey::NotPkcs8`] if the encoder fails, which no key is known to make it do.
    pub fn to_pkcs8_der(&self) -> Result<SecretBytes, BadKey> {
        let document = self.key.to_pkcs8_der().map_err(|_| BadKey::NotPkcs8)?;
        Ok(SecretBytes::copy_from(document.as_bytes()))
    }

    /// The key that verifies.
    #[must_use]
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying
    }

    /// Signs SHA-256 of `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> P256Signature {
        self.sign_digest(&sha256(message))
    }

    /// Signs a digest.
    #[must_use]
    pub fn sign_digest(&self, digest: &Hash) -> P256Signature {
        #[expect(
            clippy::expect_used,
            reason = "RFC 6979 draws nonces until one gives a signature: there is no failing case"
        )]
        let signature: p256::ecdsa::Signature = self.key.sign_prehash(digest).expect("a signature");
        signature.normalize_s().to_bytes().into()
    }

    /// The private scalar, for another provider's form of the same key.
    #[cfg(feature = "aws-lc")]
    pub(crate) fn scalar(&self) -> Secret<32> {
        use zeroize::Zeroize;
        let mut scalar = self.key.to_bytes();
        let secret = Secret::fill(|bytes| bytes.copy_from_slice(&scalar));
        scalar.as_mut_slice().zeroize();
        secret
    }

    fn from_key(key: p256::ecdsa::SigningKey) -> Self {
        let point = *key.verifying_key();
        let mut spki = [0; P256_SPKI_BYTES];
        let (prefix, sec1) = spki.split_at_mut(P256_SPKI_PREFIX.len());
        prefix.copy_from_slice(&P256_SPKI_PREFIX);
        sec1.copy_from_slice(point.to_sec1_point(false).as_bytes());
        Self {
            key: Box::new(key),
            verifying: VerifyingKey { spki, point },
        }
    }
}

impl Sign for SigningKey {
    fn sign_digest(&self, digest: &Hash) -> Result<P256Signature, SignError> {
        Ok(Self::sign_digest(self, digest))
    }

    fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(.., {:?})", self.verifying)
    }
}

/// An Ed25519 public key: canonical, and not of small order, so that every provider verifies alike under it.
#[derive(Clone, PartialEq, Eq)]
pub struct Ed25519VerifyingKey {
    key: ed25519_dalek::VerifyingKey,
}

impl Ed25519VerifyingKey {
    /// Parses the 32 bytes of RFC 8032.
    ///
    /// # Errors
    /// [`BadKey::NotOnCurve`], [`BadKey::NotCanonical`] or [`BadKey::SmallOrder`].
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, BadKey> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| BadKey::NotOnCurve)?;
        if key.to_edwards().compress().as_bytes() != bytes {
            return Err(BadKey::NotCanonical);
        }
        if key.is_weak() {
            return Err(BadKey::SmallOrder);
        }
        Ok(Self { key })
    }

    /// Parses a SubjectPublicKeyInfo; exactly the 44 bytes that [`Ed25519VerifyingKey::spki`] gives are accepted.
    ///
    /// # Errors
    /// As [`Ed25519VerifyingKey::from_bytes`].
    pub fn parse(spki: &[u8]) -> Result<Self, BadKey> {
        let key = spki.strip_prefix(&ED25519_SPKI_PREFIX).ok_or(BadKey::NotCanonical)?;
        Self::from_bytes(key.try_into().map_err(|_| BadKey::NotCanonical)?)
    }

    /// The 32 bytes of RFC 8032.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// The DER SubjectPublicKeyInfo.
    #[must_use]
    pub fn spki(&self) -> [u8; ED25519_SPKI_BYTES] {
        let mut spki = [0; ED25519_SPKI_BYTES];
        let (prefix, key) = spki.split_at_mut(ED25519_SPKI_PREFIX.len());
        prefix.copy_from_slice(&ED25519_SPKI_PREFIX);
        key.copy_from_slice(self.key.as_bytes());
        spki
    }

    pub(crate) fn key(&self) -> &ed25519_dalek::VerifyingKey {
        &self.key
    }
}

impl fmt::Debug for Ed25519VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ed25519VerifyingKey")
            .field(&Hex(self.as_bytes()))
            .finish()
    }
}

/// An Ed25519 key in memory.
pub struct Ed25519SigningKey {
    key: Box<ed25519_dalek::SigningKey>,
}

impl Ed25519SigningKey {
    /// Draws a key.
    #[must_use]
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        Self::from_seed(&Secret::random(rng))
    }

    /// The key of a seed (RFC 8032, 5.1.5).
    #[must_use]
    pub fn from_seed(seed: &Secret<32>) -> Self {
        Self {
            key: Box::new(ed25519_dalek::SigningKey::from_bytes(seed.expose())),
        }
    }

    /// The key that verifies.
    #[must_use]
    pub fn verifying_key(&self) -> Ed25519VerifyingKey {
        Ed25519VerifyingKey {
            key: self.key.verifying_key(),
        }
    }

    /// Signs `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Ed25519Signature {
        use ed25519_dalek::Signer;
        self.key.sign(message).to_bytes()
    }
}

impl fmt::Debug for Ed25519SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ed25519SigningKey(.., {:?})", self.verifying_key())
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;

    fn key(seed: u64) -> SigningKey {
        SigningKey::generate(&mut ChaCha20Rng::seed_from_u64(seed))
    }

    #[test]
    fn a_key_survives_its_spki_and_its_pkcs8() {
        let key = key(1);
        let parsed = VerifyingKey::parse(key.verifying_key().spki()).unwrap();
        assert_eq!(&parsed, key.verifying_key());
        assert_eq!(
            VerifyingKey::from_sec1(parsed.sec1().try_into().unwrap()).unwrap(),
            parsed
        );
        let again = SigningKey::from_pkcs8_der(key.to_pkcs8_der().unwrap().expose()).unwrap();
        assert_eq!(again.verifying_key(), key.verifying_key());
        assert_eq!(again.sign(b"m"), key.sign(b"m"));
    }

    #[test]
    fn every_changed_byte_of_the_spki_prefix_is_refused() {
        let spki = *key(1).verifying_key().spki();
        for place in 0..=P256_SPKI_PREFIX.len() {
            let mut changed = spki;
            changed[place] ^= 1;
            assert_eq!(VerifyingKey::parse(&changed), Err(BadKey::NotCanonical), "byte {place}");
        }
    }

    #[test]
    fn a_compressed_hybrid_cut_or_extended_key_is_refused() {
        let spki = *key(1).verifying_key().spki();
        let mut hybrid = spki;
        hybrid[26] = 0x06;
        assert_eq!(VerifyingKey::parse(&hybrid), Err(BadKey::NotCanonical));
        assert_eq!(VerifyingKey::parse(&spki[..90]), Err(BadKey::NotCanonical));
        assert_eq!(
            VerifyingKey::parse(&[&spki[..], &[0]].concat()),
            Err(BadKey::NotCanonical)
        );
        let compressed = [
            &hex::decode("3039301306072a8648ce3d020106082a8648ce3d030107032200").unwrap()[..],
            &[2; 33],
        ];
        assert_eq!(VerifyingKey::parse(&compressed.concat()), Err(BadKey::NotCanonical));
    }

    #[test]
    fn a_point_off_the_curve_is_refused() {
        let mut spki = *key(1).verifying_key().spki();
        spki[90] ^= 1;
        assert_eq!(VerifyingKey::parse(&spki), Err(BadKey::NotOnCurve));
        let mut x_too_large = spki;
        x_too_large[27..59].fill(0xff);
        assert_eq!(VerifyingKey::parse(&x_too_large), Err(BadKey::NotOnCurve));
    }

    #[test]
    fn signatures_have_low_s_and_a_high_one_can_be_made_low() {
        for seed in 0..20 {
            let signature = key(seed).sign(b"message");
            assert!(is_low_s(&signature));
            let parsed = p256::ecdsa::Signature::from_slice(&signature).unwrap();
            let high = p256::ecdsa::Signature::from_scalars(parsed.r(), -parsed.s()).unwrap();
            let mut bytes: P256Signature = high.to_bytes().into();
            assert!(!is_low_s(&bytes));
            normalise_low_s(&mut bytes).unwrap();
            assert_eq!(bytes, signature);
        }
    }

    #[test]
    fn zero_and_oversized_scalars_cannot_be_normalised() {
        assert_eq!(normalise_low_s(&mut [0; 64]), Err(BadSignature));
        assert_eq!(normalise_low_s(&mut [0xff; 64]), Err(BadSignature));
    }

    #[test]
    fn half_the_order_is_the_last_low_s() {
        let mut signature = [0; 64];
        signature[32..].copy_from_slice(&HALF_ORDER);
        assert!(is_low_s(&signature));
        signature[63] += 1;
        assert!(!is_low_s(&signature));
        let half_and_one = p256::Scalar::from_repr_bytes(&signature[32..]);
        assert_eq!(half_and_one.double(), p256::Scalar::ONE, "2·(⌊q/2⌋+1) = q+1");
    }

    trait FromReprBytes {
        fn from_repr_bytes(bytes: &[u8]) -> Self;
    }

    impl FromReprBytes for p256::Scalar {
        fn from_repr_bytes(bytes: &[u8]) -> Self {
            use p256::elliptic_curve::ff::PrimeField;
            let bytes: [u8; 32] = bytes.try_into().unwrap();
            Self::from_repr(bytes.into()).unwrap()
        }
    }

    #[test]
    fn reproduces_the_p256_sha256_signature_of_rfc_6979_a_2_5() {
        use p256::pkcs8::EncodePrivateKey;
        let scalar = hex::decode("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721").unwrap();
        let secret = p256::SecretKey::from_slice(&scalar).unwrap();
        let key = SigningKey::from_pkcs8_der(secret.to_pkcs8_der().unwrap().as_bytes()).unwrap();
        let mut expected: P256Signature = hex::decode(
            "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716\
             f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
        )
        .unwrap()
        .try_into()
        .unwrap();
        normalise_low_s(&mut expected).unwrap();
        assert_eq!(key.sign(b"sample"), expected);
    }

    #[test]
    fn an_ed25519_key_survives_its_spki() {
        let key = Ed25519SigningKey::generate(&mut ChaCha20Rng::seed_from_u64(1)).verifying_key();
        assert_eq!(Ed25519VerifyingKey::parse(&key.spki()).unwrap(), key);
        assert_eq!(Ed25519VerifyingKey::parse(&key.spki()[..43]), Err(BadKey::NotCanonical));
        assert_eq!(Ed25519VerifyingKey::parse(key.as_bytes()), Err(BadKey::NotCanonical));
    }

    #[test]
    fn small_order_and_non_canonical_ed25519_keys_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(Ed25519VerifyingKey::from_bytes(&identity), Err(BadKey::SmallOrder));
        assert_eq!(Ed25519VerifyingKey::from_bytes(&[0; 32]), Err(BadKey::SmallOrder));
        // y = p + 1, which is the identity again.
        let mut unreduced = [0xff; 32];
        (unreduced[0], unreduced[31]) = (0xee, 0x7f);
        assert_eq!(Ed25519VerifyingKey::from_bytes(&unreduced), Err(BadKey::NotCanonical));
    }

    #[test]
    fn debug_shows_no_private_key() {
        let key = key(1);
        let pkcs8 = hex::encode(key.to_pkcs8_der().unwrap().expose());
        let scalar = &pkcs8[72..136];
        assert!(!format!("{key:?}").contains(scalar));
    }
}
