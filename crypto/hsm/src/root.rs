//! The trait that every root of trust implements.

use std::fmt;

use symbolon_crypto::secret::Secret;

use crate::{
    attributes::{KeyAttributes, Purpose},
    error::RootError,
    label::KeyLabel,
    limits::{SECRET_BYTES, SIGNATURE_BYTES, WRAPPED_BYTES},
    software::SOFTWARE_ROOT_WARNING,
};

/// A secret wrapped by RFC 3394 under a wrapping key.
pub type Wrapped = [u8; WRAPPED_BYTES];

/// What a root of trust is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootKind {
    /// A token behind a PKCS#11 module.
    Pkcs11,
    /// A folder of key files: for development.
    Software,
}

impl RootKind {
    /// What everyone who starts a node on such a root, or asks for its status, must be told.
    #[must_use]
    pub fn warning(self) -> Option<&'static str> {
        match self {
            Self::Pkcs11 => None,
            Self::Software => Some(SOFTWARE_ROOT_WARNING),
        }
    }
}

impl fmt::Display for RootKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pkcs11 => "pkcs11",
            Self::Software => "software",
        })
    }
}

/// What a root says of itself, for status displays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootInfo {
    /// What it is made of.
    pub kind: RootKind,
    /// The token's label.
    pub label: String,
    /// Its serial number.
    pub serial: String,
    /// Its model.
    pub model: String,
    /// Who made it.
    pub manufacturer: String,
}

/// Keeps a node's long-lived keys and uses them for it. No call gives a key out.
///
/// Calls block, for microseconds on SoftHSM and for longer on a network HSM: never make them on the path of a request.
/// Calls from several threads are safe; a root may serialise them.
///
/// # Errors
/// Every method fails with [`RootError::TokenGone`] if the token is no longer there, [`RootError::KeyMissing`] if it
/// holds no such key, and [`RootError::Refused`] if it refuses for a reason of its own.
pub trait RootOfTrust: Send + Sync + fmt::Debug {
    /// What this root is made of.
    fn kind(&self) -> RootKind;

    /// Asks the token what it is, now.
    ///
    /// # Errors
    /// See the trait.
    fn info(&self) -> Result<RootInfo, RootError>;

    /// Makes an ECDSA P-256 key that can sign and nothing else, and reads its attributes back.
    /// Returns its public key as DER SubjectPublicKeyInfo (RFC 5480).
    ///
    /// # Errors
    /// [`RootError::KeyExists`]; [`RootError::WrongAttributes`] if the token made another key than it was asked for
    /// (which is then destroyed).
    fn generate_identity_key(&self, label: &KeyLabel) -> Result<Vec<u8>, RootError>;

    /// Makes an AES-256 key that can wrap and unwrap and nothing else, and reads its attributes back.
    ///
    /// # Errors
    /// As [`RootOfTrust::generate_identity_key`].
    fn generate_wrapping_key(&self, label: &KeyLabel) -> Result<(), RootError>;

    /// The public key of an identity key as DER SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`RootError::BadPublicKey`].
    fn public_key(&self, label: &KeyLabel) -> Result<Vec<u8>, RootError>;

    /// Signs `message` by ECDSA over its SHA-256: r‖s, with the lower of the two possible s.
    ///
    /// # Errors
    /// [`RootError::WrongAttributes`] if the key is no signing key; [`RootError::BadSignature`].
    fn sign(&self, label: &KeyLabel, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], RootError>;

    /// Wraps `secret` by RFC 3394 under a wrapping key, and looks that it can be unwrapped.
    ///
    /// # Errors
    /// [`RootError::WrongAttributes`] if the key is no wrapping key; [`RootError::WrappedRefused`] if what the token gives
    /// out does not open to `secret`.
    fn wrap(&self, label: &KeyLabel, secret: &Secret<SECRET_BYTES>) -> Result<Wrapped, RootError>;

    /// Opens what [`RootOfTrust::wrap`] made.
    ///
    /// # Errors
    /// [`RootError::WrappedLength`]; [`RootError::WrappedRefused`] if it is damaged or was wrapped by another key;
    /// [`RootError::WrongAttributes`] if the key is no wrapping key.
    fn unwrap(&self, label: &KeyLabel, wrapped: &[u8]) -> Result<Secret<SECRET_BYTES>, RootError>;

    /// Destroys the key for ever, its public part too, and looks that it is gone.
    ///
    /// # Errors
    /// [`RootError::StillThere`].
    fn destroy(&self, label: &KeyLabel) -> Result<(), RootError>;

    /// What the root says of the key.
    ///
    /// # Errors
    /// See the trait.
    fn attributes(&self, label: &KeyLabel) -> Result<KeyAttributes, RootError>;

    /// Reads the key's attributes back and refuses it unless it is fit for `purpose` and for nothing else.
    ///
    /// # Errors
    /// [`RootError::WrongAttributes`], naming each.
    fn verify_attributes(&self, label: &KeyLabel, purpose: Purpose) -> Result<(), RootError> {
        let wrong = self.attributes(label)?.wrong_for(purpose);
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(RootError::WrongAttributes {
                label: label.clone(),
                wrong,
            })
        }
    }
}
