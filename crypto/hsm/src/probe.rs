//! The probe: proof that the root still holds the node's key and still uses it (custody.md, "Root of trust and
//! unseal": once a second; two that fail seal the node).

use symbolon_crypto::enc::enc;

use crate::{ecdsa, error::RootError, label::KeyLabel, root::RootOfTrust};

/// The label of what a probe signs; no other signature of an identity key begins with it.
pub const PROBE_LABEL: &[u8] = b"symbolon/v1/probe";

/// Lets the root sign `enc("symbolon/v1/probe", nonce)` with the identity key `label` and verifies the signature under
/// `public_key`, the one that the roster names (DER SubjectPublicKeyInfo): another token with another key fails too.
/// `nonce` is 32 fresh random bytes, so that no old signature can be replayed.
///
/// # Errors
/// [`RootError::TokenGone`] and the others of [`RootOfTrust::sign`]; [`RootError::BadSignature`] if another key signed;
/// [`RootError::BadExpectedKey`] if `public_key` is none.
pub fn probe(root: &dyn RootOfTrust, label: &KeyLabel, public_key: &[u8], nonce: &[u8; 32]) -> Result<(), RootError> {
    let key = ecdsa::parse_spki(public_key).ok_or_else(|| RootError::BadExpectedKey { label: label.clone() })?;
    let message = enc(&[PROBE_LABEL, nonce]);
    let signature = root.sign(label, &message)?;
    if ecdsa::verifies(&key, &message, &signature) {
        Ok(())
    } else {
        Err(RootError::BadSignature { label: label.clone() })
    }
}
