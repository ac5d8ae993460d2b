//! The provider of the real nodes, which here remembers signatures that hold: three nodes and all clients check the same
//! ones, again and again, and that would be most of a run's time.

use crate::sync::lock;
use std::collections::BTreeSet;
use std::sync::Mutex;
use symbolon_crypto::Hash;
use symbolon_crypto::enc::{enc, sha256};
use symbolon_crypto::provider::{Aead, AwsLc, Nonce, OpenError, SealError, Tag, Verify};
use symbolon_crypto::secret::Secret;
use symbolon_crypto::sign::{BadSignature, Ed25519Signature, Ed25519VerifyingKey, P256Signature, VerifyingKey};

/// aws-lc, with a memory. One for a whole run.
#[derive(Default)]
pub(crate) struct Remembering {
    good: Mutex<BTreeSet<Hash>>,
}

impl Verify for Remembering {
    fn p256(&self, key: &VerifyingKey, message: &[u8], signature: &P256Signature) -> Result<(), BadSignature> {
        let checked = sha256(&enc(&[key.spki(), message, signature]));
        if lock(&self.good).contains(&checked) {
            return Ok(());
        }
        AwsLc.p256(key, message, signature)?;
        lock(&self.good).insert(checked);
        Ok(())
    }

    fn ed25519(
        &self,
        key: &Ed25519VerifyingKey,
        message: &[u8],
        signature: &Ed25519Signature,
    ) -> Result<(), BadSignature> {
        AwsLc.ed25519(key, message, signature)
    }
}

impl Aead for Remembering {
    fn seal_detached(&self, key: &Secret<32>, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<Tag, SealError> {
        AwsLc.seal_detached(key, nonce, aad, data)
    }

    fn open_detached(
        &self,
        key: &Secret<32>,
        nonce: &Nonce,
        aad: &[u8],
        data: &mut [u8],
        tag: &Tag,
    ) -> Result<(), OpenError> {
        AwsLc.open_detached(key, nonce, aad, data, tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;
    use symbolon_crypto::sign::SigningKey;

    #[test]
    fn a_remembered_signature_vouches_for_nothing_else() {
        let mut dice = Dice::new(1, "signatures");
        let (key, other) = (SigningKey::generate(dice.rng()), SigningKey::generate(dice.rng()));
        let (provider, signature) = (Remembering::default(), key.sign(b"message"));
        let check = |key: &SigningKey, message: &[u8], signature: &P256Signature| {
            provider.p256(key.verifying_key(), message, signature).is_ok()
        };
        assert!(check(&key, b"message", &signature));
        assert!(check(&key, b"message", &signature));
        assert!(!check(&key, b"another", &signature));
        assert!(!check(&other, b"message", &signature));
        assert!(!check(&key, b"message", &other.sign(b"message")));
    }
}
