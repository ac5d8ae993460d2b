//! The software root: keys in files, for development.
//!
//! Whoever reads its folder has the keys. It exists so that the project can be tried without a token, and so that the
//! conformance suite runs on two implementations; [`DevelopmentOnly`] keeps it out of anything else.

mod files;

use std::{fmt, path::Path};

use aes_kw::{KeyInit, KwAes256};
use p256::{
    ecdsa::{Signature, SigningKey, signature::Signer},
    elliptic_curve::Generate,
};
use symbolon_crypto::secret::Secret;

use self::files::Files;
use crate::{
    attributes::{KeyAttributes, Purpose, WrongAttribute},
    ecdsa,
    error::RootError,
    label::KeyLabel,
    limits::{SECRET_BYTES, SIGNATURE_BYTES, WRAPPED_BYTES},
    root::{RootInfo, RootKind, RootOfTrust, Wrapped},
};

/// What must be shown wherever a software root is used.
pub const SOFTWARE_ROOT_WARNING: &str = "DEVELOPMENT ONLY: this node's root of trust is a folder of plain key files. \
     Whoever can read that folder is this node and opens everything that it keeps.";

/// How a program was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// For trying things out: `symbolon dev`, demos, tests.
    Dev,
    /// For anything else.
    Production,
}

/// The proof that a program runs in dev mode and knows what a software root is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DevelopmentOnly(());

impl DevelopmentOnly {
    /// Acknowledges [`SOFTWARE_ROOT_WARNING`].
    ///
    /// # Errors
    /// [`RootError::DevelopmentOnly`] unless `mode` is [`Mode::Dev`].
    pub fn acknowledge(mode: Mode) -> Result<Self, RootError> {
        match mode {
            Mode::Dev => Ok(Self(())),
            Mode::Production => Err(RootError::DevelopmentOnly),
        }
    }
}

/// Keys in the files of one folder. Nothing is kept in memory between calls, so that a folder that disappears is noticed
/// as a token that disappears is.
pub struct SoftwareRoot {
    files: Files,
}

impl SoftwareRoot {
    /// Opens the folder, and makes it if it is not there. Show [`SOFTWARE_ROOT_WARNING`] to whoever starts this.
    ///
    /// # Errors
    /// [`RootError::KeyFile`]; [`RootError::KeyFileOpenToOthers`] if others may enter the folder.
    pub fn open(_acknowledged: DevelopmentOnly, folder: &Path) -> Result<Self, RootError> {
        Ok(Self {
            files: Files::open(folder)?,
        })
    }

    fn signing_key(&self, label: &KeyLabel) -> Result<SigningKey, RootError> {
        self.expect_purpose(label, Purpose::Identity)?;
        self.files.identity(label)
    }

    fn wrapping_key(&self, label: &KeyLabel) -> Result<KwAes256, RootError> {
        self.expect_purpose(label, Purpose::Wrapping)?;
        Ok(KwAes256::new(self.files.wrapping(label)?.expose().into()))
    }

    fn expect_purpose(&self, label: &KeyLabel, expected: Purpose) -> Result<(), RootError> {
        let found = self.files.purpose(label)?;
        if found == expected {
            return Ok(());
        }
        let wrong = vec![WrongAttribute::Class {
            expected: expected.class(),
            found: found.class(),
        }];
        Err(RootError::WrongAttributes {
            label: label.clone(),
            wrong,
        })
    }
}

impl RootOfTrust for SoftwareRoot {
    fn kind(&self) -> RootKind {
        RootKind::Software
    }

    fn info(&self) -> Result<RootInfo, RootError> {
        self.files.check()?;
        Ok(RootInfo {
            kind: RootKind::Software,
            label: self.files.folder().display().to_string(),
            serial: "none".to_owned(),
            model: "key files, development only".to_owned(),
            manufacturer: "Symbolon".to_owned(),
        })
    }

    fn generate_identity_key(&self, label: &KeyLabel) -> Result<Vec<u8>, RootError> {
        let key = SigningKey::try_generate().map_err(RootError::Randomness)?;
        self.files.put_identity(label, &key)?;
        self.public_key(label)
    }

    fn generate_wrapping_key(&self, label: &KeyLabel) -> Result<(), RootError> {
        let key = Secret::try_fill(|bytes| getrandom::fill(bytes))?;
        self.files.put_wrapping(label, &key)
    }

    fn public_key(&self, label: &KeyLabel) -> Result<Vec<u8>, RootError> {
        let key = self.signing_key(label)?;
        ecdsa::spki(key.verifying_key()).ok_or_else(|| RootError::BadPublicKey { label: label.clone() })
    }

    fn sign(&self, label: &KeyLabel, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], RootError> {
        let key = self.signing_key(label)?;
        let refused = |_| RootError::BadSignature { label: label.clone() };
        let signature: Signature = key.try_sign(message).map_err(refused)?;
        Ok(signature.normalize_s().to_bytes().into())
    }

    fn wrap(&self, label: &KeyLabel, secret: &Secret<SECRET_BYTES>) -> Result<Wrapped, RootError> {
        let mut wrapped = [0; WRAPPED_BYTES];
        let key = self.wrapping_key(label)?;
        match key.wrap_key(secret.expose(), &mut wrapped) {
            Ok(_) => Ok(wrapped),
            Err(_) => Err(RootError::WrappedRefused { label: label.clone() }),
        }
    }

    fn unwrap(&self, label: &KeyLabel, wrapped: &[u8]) -> Result<Secret<SECRET_BYTES>, RootError> {
        let wrapped: &Wrapped = wrapped
            .try_into()
            .map_err(|_| RootError::WrappedLength { found: wrapped.len() })?;
        let key = self.wrapping_key(label)?;
        Secret::try_fill(|bytes| match key.unwrap_key(wrapped, bytes) {
            Ok(_) => Ok(()),
            Err(_) => Err(RootError::WrappedRefused { label: label.clone() }),
        })
    }

    fn destroy(&self, label: &KeyLabel) -> Result<(), RootError> {
        self.files.destroy(label)
    }

    /// What this root enforces: no call gives a key out, and each key serves the one purpose that its file states. That
    /// the files themselves can be read is what [`SOFTWARE_ROOT_WARNING`] says.
    fn attributes(&self, label: &KeyLabel) -> Result<KeyAttributes, RootError> {
        Ok(KeyAttributes::ideal(self.files.purpose(label)?))
    }
}

impl fmt::Debug for SoftwareRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftwareRoot")
            .field("folder", &self.files.folder())
            .finish()
    }
}
