//! RustCrypto: pure Rust, everywhere.

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use ed25519_dalek::Verifier;
use zeroize::Zeroize;

use super::{Aead, Nonce, OpenError, SealError, Tag, Verify};
use crate::{
    secret::Secret,
    sign::{BadSignature, Ed25519Signature, Ed25519VerifyingKey, P256Signature, VerifyingKey, is_low_s},
};

/// The portable provider.
#[derive(Debug, Clone, Copy, Default)]
pub struct Portable;

impl Aead for Portable {
    fn seal_detached(&self, key: &Secret<32>, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<Tag, SealError> {
        let sealed = Aes256Gcm::new(key.expose().into()).encrypt_inout_detached(nonce.into(), aad, (&mut *data).into());
        sealed.map(Into::into).map_err(|_| {
            data.zeroize();
            SealError
        })
    }

    fn open_detached(
        &self,
        key: &Secret<32>,
        nonce: &Nonce,
        aad: &[u8],
        data: &mut [u8],
        tag: &Tag,
    ) -> Result<(), OpenError> {
        let cipher = Aes256Gcm::new(key.expose().into());
        cipher
            .decrypt_inout_detached(nonce.into(), aad, (&mut *data).into(), tag.into())
            .map_err(|_| {
                data.zeroize();
                OpenError
            })
    }
}

impl Verify for Portable {
    fn p256(&self, key: &VerifyingKey, message: &[u8], signature: &P256Signature) -> Result<(), BadSignature> {
        if !is_low_s(signature) {
            return Err(BadSignature);
        }
        let signature = p256::ecdsa::Signature::from_slice(signature).map_err(|_| BadSignature)?;
        key.point().verify(message, &signature).map_err(|_| BadSignature)
    }

    fn ed25519(
        &self,
        key: &Ed25519VerifyingKey,
        message: &[u8],
        signature: &Ed25519Signature,
    ) -> Result<(), BadSignature> {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        key.key().verify(message, &signature).map_err(|_| BadSignature)
    }
}
