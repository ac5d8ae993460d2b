//! Another provider, with a memory of the P-256 signatures that it found right.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::{Aead, Nonce, OpenError, SealError, Tag, Verify};
use crate::{
    Hash,
    enc::hash_enc,
    secret::Secret,
    sign::{BadSignature, Ed25519Signature, Ed25519VerifyingKey, P256Signature, VerifyingKey},
};

/// Checks a signature once where the same one is checked soon again: before a command is logged and when it is applied, or
/// whenever another node passes it on. What it remembers is a hash of key, message and signature.
#[derive(Debug)]
pub struct Remembering<P> {
    inner: P,
    capacity: usize,
    good: Mutex<Good>,
}

#[derive(Debug, Default)]
struct Good {
    known: HashSet<Hash>,
    in_order: VecDeque<Hash>,
}

impl<P> Remembering<P> {
    /// Remembers the last `capacity` right signatures.
    pub fn new(inner: P, capacity: usize) -> Self {
        Self {
            inner,
            capacity,
            good: Mutex::default(),
        }
    }

    fn good(&self) -> std::sync::MutexGuard<'_, Good> {
        // Nothing that holds the lock can leave it half changed.
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: Verify> Verify for Remembering<P> {
    fn p256(&self, key: &VerifyingKey, message: &[u8], signature: &P256Signature) -> Result<(), BadSignature> {
        let checked = hash_enc(&[key.spki(), message, signature]);
        if self.good().known.contains(&checked) {
            return Ok(());
        }
        self.inner.p256(key, message, signature)?;
        let mut good = self.good();
        if good.known.insert(checked) {
            good.in_order.push_back(checked);
        }
        if good.in_order.len() > self.capacity
            && let Some(oldest) = good.in_order.pop_front()
        {
            good.known.remove(&oldest);
        }
        Ok(())
    }

    fn ed25519(
        &self,
        key: &Ed25519VerifyingKey,
        message: &[u8],
        signature: &Ed25519Signature,
    ) -> Result<(), BadSignature> {
        self.inner.ed25519(key, message, signature)
    }
}

impl<P: Aead> Aead for Remembering<P> {
    fn seal_detached(&self, key: &Secret<32>, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<Tag, SealError> {
        self.inner.seal_detached(key, nonce, aad, data)
    }

    fn open_detached(
        &self,
        key: &Secret<32>,
        nonce: &Nonce,
        aad: &[u8],
        data: &mut [u8],
        tag: &Tag,
    ) -> Result<(), OpenError> {
        self.inner.open_detached(key, nonce, aad, data, tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Portable;
    use crate::sign::SigningKey;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Verify for Counting {
        fn p256(&self, key: &VerifyingKey, message: &[u8], signature: &P256Signature) -> Result<(), BadSignature> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Portable.p256(key, message, signature)
        }

        fn ed25519(&self, _: &Ed25519VerifyingKey, _: &[u8], _: &Ed25519Signature) -> Result<(), BadSignature> {
            Err(BadSignature)
        }
    }

    fn key(seed: u8) -> SigningKey {
        use rand_core::SeedableRng;
        SigningKey::generate(&mut rand_chacha::ChaCha20Rng::from_seed([seed; 32]))
    }

    #[test]
    fn a_remembered_signature_vouches_for_nothing_else() {
        let (key, other, provider) = (key(1), key(2), Remembering::new(Counting::default(), 8));
        let signature = key.sign(b"message");
        let check = |key: &SigningKey, message: &[u8], signature: &P256Signature| {
            provider.p256(key.verifying_key(), message, signature).is_ok()
        };
        assert!(check(&key, b"message", &signature));
        assert!(check(&key, b"message", &signature));
        assert_eq!(provider.inner.0.load(Ordering::Relaxed), 1, "checked once");
        assert!(!check(&key, b"another", &signature));
        assert!(!check(&other, b"message", &signature));
        for _ in 0..2 {
            assert!(
                !check(&key, b"message", &other.sign(b"message")),
                "what is wrong is never remembered"
            );
        }
    }

    #[test]
    fn what_it_remembers_is_bounded() {
        let (key, provider) = (key(1), Remembering::new(Portable, 4));
        for message in 0..10_u8 {
            provider
                .p256(key.verifying_key(), &[message], &key.sign(&[message]))
                .unwrap();
        }
        let good = provider.good();
        assert_eq!((good.known.len(), good.in_order.len()), (4, 4));
    }
}
