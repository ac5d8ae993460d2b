//! Where faster implementations are injected: AES-256-GCM and signature checks.
//!
//! [`Portable`] is built on RustCrypto and runs everywhere; [`AwsLc`] (feature `aws-lc`) is 2.7 to 5 times faster. Both
//! pass the same conformance tests: same ciphertexts, same refusals.

#[cfg(feature = "aws-lc")]
mod aws_lc;
mod portable;
mod remembering;

use thiserror::Error;
use zeroize::Zeroize;

#[cfg(feature = "aws-lc")]
pub use aws_lc::{AwsLc, AwsLcSigningKey};
pub use portable::Portable;
pub use remembering::Remembering;

use crate::{
    limits::TAG_BYTES,
    secret::Secret,
    sign::{BadSignature, Ed25519Signature, Ed25519VerifyingKey, P256Signature, VerifyingKey},
};

/// A 96-bit nonce.
pub type Nonce = [u8; 12];

/// A 128-bit tag.
pub type Tag = [u8; TAG_BYTES];

/// Nonce 0, for keys that encrypt exactly one message.
pub const NONCE_0: Nonce = [0; 12];

/// The message is longer than AES-GCM allows (64 GiB), or the library failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the message could not be encrypted")]
pub struct SealError;

/// The tag does not fit: another key, nonce, associated data or ciphertext.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the ciphertext is not authentic")]
pub struct OpenError;

/// AES-256-GCM (NIST SP 800-38D) with a 96-bit nonce and a 128-bit tag.
pub trait Aead {
    /// Encrypts `data` in place and gives the tag.
    ///
    /// # Errors
    /// [`SealError`]; `data` is wiped then.
    fn seal_detached(&self, key: &Secret<32>, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<Tag, SealError>;

    /// Checks the tag and decrypts `data` in place.
    ///
    /// # Errors
    /// [`OpenError`]; `data` is wiped then.
    fn open_detached(
        &self,
        key: &Secret<32>,
        nonce: &Nonce,
        aad: &[u8],
        data: &mut [u8],
        tag: &Tag,
    ) -> Result<(), OpenError>;

    /// Encrypts `buf` in place and appends the tag. The plaintext is not left behind where the vector has to grow.
    ///
    /// # Errors
    /// [`SealError`]; `buf` is wiped and emptied then.
    fn seal_in_place(&self, key: &Secret<32>, nonce: &Nonce, aad: &[u8], buf: &mut Vec<u8>) -> Result<(), SealError> {
        if buf.capacity() - buf.len() < TAG_BYTES {
            let mut larger = Vec::with_capacity(buf.len() + TAG_BYTES);
            larger.extend_from_slice(buf);
            std::mem::swap(buf, &mut larger);
            larger.zeroize();
        }
        match self.seal_detached(key, nonce, aad, buf) {
            Ok(tag) => {
                buf.extend_from_slice(&tag);
                Ok(())
            }
            Err(error) => {
                buf.zeroize();
                Err(error)
            }
        }
    }

    /// Checks the tag at the end of `buf`, decrypts the rest in place and cuts the tag off.
    ///
    /// # Errors
    /// [`OpenError`]; `buf` is wiped and emptied then.
    fn open_in_place(&self, key: &Secret<32>, nonce: &Nonce, aad: &[u8], buf: &mut Vec<u8>) -> Result<(), OpenError> {
        let opened = match buf.split_last_chunk_mut::<TAG_BYTES>() {
            Some((data, tag)) => self.open_detached(key, nonce, aad, data, tag),
            None => Err(OpenError),
        };
        match opened {
            Ok(()) => buf.truncate(buf.len() - TAG_BYTES),
            Err(_) => buf.zeroize(),
        }
        opened
    }
}

/// Signature checks.
pub trait Verify {
    /// Checks an ECDSA signature over SHA-256 of `message`. High s is refused, always.
    ///
    /// # Errors
    /// [`BadSignature`].
    fn p256(&self, key: &VerifyingKey, message: &[u8], signature: &P256Signature) -> Result<(), BadSignature>;

    /// Checks an Ed25519 signature (RFC 8032, without cofactor; S must be canonical).
    ///
    /// # Errors
    /// [`BadSignature`].
    fn ed25519(
        &self,
        key: &Ed25519VerifyingKey,
        message: &[u8],
        signature: &Ed25519Signature,
    ) -> Result<(), BadSignature>;
}

/// All that a node or client needs of one implementation.
pub trait Provider: Aead + Verify + Send + Sync {}

impl<T: Aead + Verify + Send + Sync> Provider for T {}
