//! From t fragments to the value: combine, check the key commitment, only then decrypt.

use p256::Scalar;
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use super::{Dealing, Fragment, LagrangeTable, scalar};
use crate::{
    Hash,
    kdf::Prk,
    padme::{self, BadPadding},
    provider::{Aead, NONCE_0, OpenError},
    secret::{Secret, SecretBytes},
};

const DATA_KEY_LABEL: &[u8] = b"symbolon/v1/data-key";
const ENCRYPT_LABEL: &[u8] = b"symbolon/v1/data-key/encrypt";
const COMMIT_LABEL: &[u8] = b"symbolon/v1/data-key/commit";

/// What a dealt scalar gives: the key of the value and the commitment to it.
pub(super) struct ValueKeys {
    pub(super) encrypt: Secret<32>,
    pub(super) commitment: Secret<32>,
}

impl ValueKeys {
    pub(super) fn derive(s: &Scalar, vctx: &Hash) -> Self {
        let prk = Prk::extract(DATA_KEY_LABEL, &[scalar::to_bytes(s).as_slice()]);
        Self {
            encrypt: prk.expand(&[ENCRYPT_LABEL, vctx]),
            commitment: prk.expand(&[COMMIT_LABEL, vctx]),
        }
    }
}

/// Associated data of a value: vctx ‖ header.
pub(super) fn value_aad(vctx: &Hash, header: &[u8]) -> Vec<u8> {
    [vctx.as_slice(), header].concat()
}

/// Fragments do not give the data key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnlockError {
    /// Exactly t fragments are combined.
    #[error("{found} fragments were combined where {needed} are needed")]
    Count {
        /// The threshold.
        needed: u16,
        /// Fragments given.
        found: usize,
    },
    /// The fragments are of t different nodes of the dealing's sharing, and the table is its own.
    #[error("nodes {indices:?} are not {} different holders of this dealing", indices.len())]
    Nodes {
        /// Their indices.
        indices: Vec<u16>,
    },
    /// The combined key is not the committed one: some fragment is wrong, or, if each fits its commitment, the author is
    /// at fault.
    #[error("the fragments of nodes {indices:?} do not combine to the committed key")]
    KeyCommitment {
        /// The nodes whose fragments were combined.
        indices: Vec<u16>,
    },
}

impl<'a> Dealing<'a> {
    /// Combines exactly t fragments, each with the index of its node, and checks the key commitment in constant time.
    /// `table` is that of the dealing's sharing.
    ///
    /// Fragments need not have been checked: a key that passes is the committed one, whoever sent what. If it does not
    /// pass, [`Dealing::culprits`] tells whose fragments are wrong.
    ///
    /// # Errors
    /// [`UnlockError`].
    pub fn unlock<'d>(
        &'d self,
        table: &LagrangeTable,
        fragments: &[(u16, &Fragment)],
    ) -> Result<DataKey<'d, 'a>, UnlockError> {
        let needed = self.sharing().t();
        if fragments.len() != usize::from(needed) {
            return Err(UnlockError::Count {
                needed,
                found: fragments.len(),
            });
        }
        let mut ascending: Vec<_> = fragments.to_vec();
        ascending.sort_by_key(|(index, _)| *index);
        let indices: Vec<u16> = ascending.iter().map(|(index, _)| *index).collect();
        let lagrange = match table.get(&indices) {
            Some(lagrange) if indices.iter().all(|&index| self.sharing().place(index).is_some()) => lagrange,
            _ => return Err(UnlockError::Nodes { indices }),
        };
        let values: Vec<Zeroizing<Scalar>> = ascending.iter().map(|(_, fragment)| fragment.scalar()).collect();
        let keys = ValueKeys::derive(&lagrange.combine(&values), self.vctx());
        let committed = keys.commitment.expose().ct_eq(self.key_commitment());
        #[cfg(feature = "sabotage")]
        let committed = committed | subtle::Choice::from(u8::from(symbolon_sabotage::Bug::KeyCommitmentUnchecked.on()));
        if committed.into() {
            Ok(DataKey {
                dealing: self,
                key: keys.encrypt,
            })
        } else {
            Err(UnlockError::KeyCommitment { indices })
        }
    }

    /// Which of these nodes' fragments are not the ones that were dealt. Empty, after the key commitment failed, means
    /// that the author dealt badly.
    #[must_use]
    pub fn culprits(&self, fragments: &[(u16, &Fragment)]) -> Vec<u16> {
        let wrong = |&&(index, fragment): &&(u16, &Fragment)| self.verify_fragment(index, fragment).is_err();
        fragments.iter().filter(wrong).map(|(index, _)| *index).collect()
    }
}

/// The value does not open though the key is the committed one: its author is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OpenValueError {
    /// The tag fails.
    #[error("the value does not decrypt under its committed key: {0}")]
    Tag(#[from] OpenError),
    /// The padding is not the one that padding makes.
    #[error(transparent)]
    Padding(#[from] BadPadding),
}

/// The data key of one dealing. It exists only once the key commitment has been checked.
#[derive(Debug)]
pub struct DataKey<'d, 'a> {
    dealing: &'d Dealing<'a>,
    key: Secret<32>,
}

impl DataKey<'_, '_> {
    /// Decrypts the value.
    ///
    /// # Errors
    /// [`OpenValueError`].
    pub fn open(&self, aead: &(impl Aead + ?Sized)) -> Result<SecretBytes, OpenValueError> {
        let aad = value_aad(self.dealing.vctx(), self.dealing.header());
        let mut buffer = self.dealing.ciphertext().to_vec();
        aead.open_in_place(&self.key, &NONCE_0, &aad, &mut buffer)?;
        let padded = SecretBytes::from_vec(buffer);
        Ok(padme::unpad(padded.expose())?)
    }

    /// The key itself, for tests that look for it where it must not be.
    #[must_use]
    pub fn expose(&self) -> &Secret<32> {
        &self.key
    }
}
