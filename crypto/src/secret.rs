//! Types for key material: boxed, so that moving one leaves no copy behind; wiped on drop; redacted in `Debug`.
//!
//! A secret can neither be cloned, compared with `==`, printed nor serialised. One loud method, `expose`, opens it.
//!
//! ```
//! use symbolon_crypto::secret::Secret;
//! let secret = Secret::<32>::fill(|bytes| bytes.fill(7));
//! assert_eq!(format!("{secret:?}"), "Secret<32>(..)");
//! assert!(secret.ct_eq(&Secret::<32>::fill(|bytes| bytes.fill(7))));
//! ```
//!
//! ```compile_fail,E0599
//! use symbolon_crypto::secret::Secret;
//! let secret = Secret::<32>::fill(|bytes| bytes.fill(7));
//! let second = secret.clone();
//! ```
//!
//! ```compile_fail,E0382
//! use symbolon_crypto::secret::Secret;
//! let secret = Secret::<32>::fill(|bytes| bytes.fill(7));
//! let (first, second) = (secret, secret);
//! ```
//!
//! ```compile_fail,E0369
//! use symbolon_crypto::secret::Secret;
//! let secret = Secret::<32>::fill(|bytes| bytes.fill(7));
//! let same = secret == secret;
//! ```
//!
//! ```compile_fail,E0277
//! use symbolon_crypto::secret::Secret;
//! let secret = Secret::<32>::fill(|bytes| bytes.fill(7));
//! println!("{secret}");
//! ```
//!
//! ```compile_fail,E0277
//! use symbolon_crypto::secret::Secret;
//! fn hashable<T: std::hash::Hash>(_: &T) {}
//! let secret = Secret::<32>::fill(|bytes| bytes.fill(7));
//! hashable(&secret);
//! ```
//!
//! ```compile_fail,E0277
//! use symbolon_crypto::secret::Secret;
//! let secret = Secret::<32>::fill(|bytes| bytes.fill(7));
//! let text = serde_json::to_string(&secret);
//! ```
//!
//! The same holds for [`SecretBytes`]:
//!
//! ```
//! use symbolon_crypto::secret::SecretBytes;
//! let secret = SecretBytes::from_vec(vec![7; 3]);
//! assert_eq!(format!("{secret:?}"), "SecretBytes(..)");
//! ```
//!
//! ```compile_fail,E0599
//! use symbolon_crypto::secret::SecretBytes;
//! let secret = SecretBytes::from_vec(vec![7; 3]);
//! let second = secret.clone();
//! ```
//!
//! ```compile_fail,E0369
//! use symbolon_crypto::secret::SecretBytes;
//! let secret = SecretBytes::from_vec(vec![7; 3]);
//! let same = secret == secret;
//! ```
//!
//! ```compile_fail,E0277
//! use symbolon_crypto::secret::SecretBytes;
//! let secret = SecretBytes::from_vec(vec![7; 3]);
//! println!("{secret}");
//! ```
//!
//! ```compile_fail,E0277
//! use symbolon_crypto::secret::SecretBytes;
//! let secret = SecretBytes::from_vec(vec![7; 3]);
//! let text = serde_json::to_string(&secret);
//! ```

use std::fmt;

use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroize;

/// A secret that should have `expected` bytes has `found`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a secret of {expected} bytes was given {found}")]
pub struct WrongLength {
    /// Bytes that belong there.
    pub expected: usize,
    /// Bytes found.
    pub found: usize,
}

/// A secret of `N` bytes.
pub struct Secret<const N: usize>(Box<[u8; N]>);

impl<const N: usize> Secret<N> {
    /// A secret that `write` fills in place; it is given zeros.
    #[must_use]
    pub fn fill(write: impl FnOnce(&mut [u8; N])) -> Self {
        let mut secret = Self(Box::new([0; N]));
        write(&mut secret.0);
        secret
    }

    /// As [`Secret::fill`], for a `write` that may fail; what it wrote until then is wiped.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn try_fill<E>(write: impl FnOnce(&mut [u8; N]) -> Result<(), E>) -> Result<Self, E> {
        let mut secret = Self(Box::new([0; N]));
        write(&mut secret.0)?;
        Ok(secret)
    }

    /// `N` random bytes.
    #[must_use]
    pub fn random(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        Self::fill(|bytes| rng.fill_bytes(bytes))
    }

    /// A copy of `bytes`; wiping the original is the caller's business.
    ///
    /// # Errors
    /// [`WrongLength`].
    pub fn copy_from(bytes: &[u8]) -> Result<Self, WrongLength> {
        Self::try_fill(|secret| {
            let bytes: &[u8; N] = bytes.try_into().map_err(|_| WrongLength {
                expected: N,
                found: bytes.len(),
            })?;
            secret.copy_from_slice(bytes);
            Ok(())
        })
    }

    /// The bytes. Whoever copies them wipes the copy.
    #[must_use]
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// Whether both hold the same bytes, in time that does not depend on them.
    #[must_use]
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret<{N}>(..)")
    }
}

/// A secret of any length. It never grows, since growing would leave a copy behind.
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Takes over a vector; from now on its whole capacity is wiped on drop.
    #[must_use]
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// A copy of `bytes`; wiping the original is the caller's business.
    #[must_use]
    pub fn copy_from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// A secret of `len` bytes that `write` fills in place; it is given zeros.
    #[must_use]
    pub fn fill(len: usize, write: impl FnOnce(&mut [u8])) -> Self {
        let mut secret = Self(vec![0; len]);
        write(&mut secret.0);
        secret
    }

    /// The bytes. Whoever copies them wipes the copy.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether both hold the same bytes, in time that does not depend on them (but on their lengths).
    #[must_use]
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }

    /// The vector itself, for encryption in place: afterwards it holds no secret any more.
    pub(crate) fn into_vec(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_of_another_length_is_refused() {
        assert_eq!(
            Secret::<32>::copy_from(&[1; 31]).unwrap_err(),
            WrongLength {
                expected: 32,
                found: 31
            }
        );
        assert_eq!(Secret::<32>::copy_from(&[1; 32]).unwrap().expose(), &[1; 32]);
    }

    #[test]
    fn nested_in_other_types_it_stays_redacted() {
        #[derive(Debug)]
        struct Outer {
            _key: Secret<32>,
            _value: SecretBytes,
        }
        let outer = Outer {
            _key: Secret::fill(|b| b.fill(0x41)),
            _value: SecretBytes::copy_from(b"AAAA"),
        };
        assert_eq!(
            format!("{outer:?}"),
            "Outer { _key: Secret<32>(..), _value: SecretBytes(..) }"
        );
        assert!(!format!("{outer:#?}").contains("65"));
    }

    #[test]
    fn one_changed_bit_makes_secrets_differ() {
        let one = Secret::<4>::fill(|b| b.copy_from_slice(&[1, 2, 3, 4]));
        let other = Secret::<4>::fill(|b| b.copy_from_slice(&[1, 2, 3, 5]));
        assert!(one.ct_eq(&one) && !one.ct_eq(&other));
        assert!(!SecretBytes::copy_from(b"ab").ct_eq(&SecretBytes::copy_from(b"abc")));
    }
}
