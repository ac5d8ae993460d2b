//! One node's fragment (s_i, γ_i): opening it, checking it, carrying it.

use std::fmt;

use p256::Scalar;
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{Dealing, scalar};
use crate::{
    Hash,
    enc::sha256,
    limits::{FRAGMENT_BYTES, SEALED_FRAGMENT_BYTES, TAG_BYTES},
    provider::{Aead, NONCE_0, OpenError, SealError},
    secret::Secret,
};

const COMMITMENT_LABEL: &[u8] = b"symbolon/v1/dealing/commitment";

/// A fragment encrypted to its node: 64 bytes and a tag.
pub type SealedFragment = [u8; SEALED_FRAGMENT_BYTES];

/// One node's fragment in the clear: s_i ‖ γ_i, with s_i below q. Redacted, wiped on drop, never cloned.
pub struct Fragment(Secret<FRAGMENT_BYTES>);

/// The bytes are no fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadFragment {
    /// Not 64 bytes.
    #[error("a fragment has {FRAGMENT_BYTES} bytes, not {found}")]
    Length {
        /// Bytes found.
        found: usize,
    },
    /// s_i is not below q: whoever dealt it wrote one scalar in two ways.
    #[error("the fragment's scalar is not canonical")]
    ScalarNotCanonical,
}

impl Fragment {
    /// Takes s_i ‖ γ_i.
    ///
    /// # Errors
    /// [`BadFragment::ScalarNotCanonical`].
    pub fn new(bytes: Secret<FRAGMENT_BYTES>) -> Result<Self, BadFragment> {
        let fragment = Self(bytes);
        match scalar::parse(fragment.scalar_bytes()).map(Zeroizing::new) {
            Some(_) => Ok(fragment),
            None => Err(BadFragment::ScalarNotCanonical),
        }
    }

    /// Takes a copy of s_i ‖ γ_i; wiping the original is the caller's business.
    ///
    /// # Errors
    /// [`BadFragment`].
    pub fn from_slice(bytes: &[u8]) -> Result<Self, BadFragment> {
        Self::new(Secret::copy_from(bytes).map_err(|wrong| BadFragment::Length { found: wrong.found })?)
    }

    pub(super) fn from_parts(s_i: &Scalar, gamma: &Secret<32>) -> Self {
        Self(Secret::fill(|bytes| {
            let (s, g) = bytes.split_at_mut(32);
            s.copy_from_slice(scalar::to_bytes(s_i).as_slice());
            g.copy_from_slice(gamma.expose());
        }))
    }

    /// s_i ‖ γ_i. Whoever copies them wipes the copy.
    #[must_use]
    pub fn expose(&self) -> &[u8; FRAGMENT_BYTES] {
        self.0.expose()
    }

    /// SHA-256(s_i ‖ γ_i), by which a release is recorded without being shown: γ_i hides s_i.
    #[must_use]
    pub fn hash(&self) -> Hash {
        sha256(self.0.expose())
    }

    fn scalar_bytes(&self) -> &[u8; 32] {
        #[expect(clippy::expect_used, reason = "a fragment has 64 bytes")]
        self.0.expose().first_chunk().expect("32 bytes of 64")
    }

    fn gamma(&self) -> &[u8; 32] {
        #[expect(clippy::expect_used, reason = "a fragment has 64 bytes")]
        self.0.expose().last_chunk().expect("32 bytes of 64")
    }

    pub(super) fn scalar(&self) -> Zeroizing<Scalar> {
        #[expect(clippy::expect_used, reason = "`new` checked it")]
        Zeroizing::new(scalar::parse(self.scalar_bytes()).expect("a canonical scalar"))
    }
}

impl fmt::Debug for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fragment(..)")
    }
}

/// C_i.
pub(super) fn commitment(sctx: &Hash, index: u16, fragment: &Fragment, b_i: &Scalar) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(COMMITMENT_LABEL);
    hasher.update(sctx);
    hasher.update(index.to_be_bytes());
    hasher.update(fragment.scalar_bytes());
    hasher.update(scalar::to_bytes(b_i).as_slice());
    hasher.update(fragment.gamma());
    hasher.finalize().into()
}

/// Seals a fragment under a key that encrypts nothing else, bound to `dd`.
///
/// # Errors
/// [`SealError`] if the library fails.
pub fn seal_fragment(
    aead: &(impl Aead + ?Sized),
    key: &Secret<32>,
    dd: &Hash,
    fragment: &Fragment,
) -> Result<SealedFragment, SealError> {
    let mut sealed = [0; SEALED_FRAGMENT_BYTES];
    let (data, tag) = sealed.split_at_mut(FRAGMENT_BYTES);
    data.copy_from_slice(fragment.expose());
    tag.copy_from_slice(&aead.seal_detached(key, &NONCE_0, dd, data)?);
    Ok(sealed)
}

/// A sealed fragment does not give a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OpenFragmentError {
    /// The tag fails: another key, session, dealing, node, or damage. Nobody can be blamed for it.
    #[error("the sealed fragment does not open: {0}")]
    Tag(#[from] OpenError),
    /// It opens to something that is no fragment: the dealer is at fault.
    #[error("the sealed fragment opens to something else: {0}")]
    Content(#[from] BadFragment),
}

/// Opens a sealed fragment with its K_i. It is still to be checked.
///
/// # Errors
/// [`OpenFragmentError`].
pub fn open_fragment(
    aead: &(impl Aead + ?Sized),
    key: &Secret<32>,
    dd: &Hash,
    sealed: &SealedFragment,
) -> Result<Fragment, OpenFragmentError> {
    let (data, tag) = sealed.split_at(FRAGMENT_BYTES);
    let tag: &[u8; TAG_BYTES] = tag.try_into().map_err(|_| OpenError)?;
    let bytes = Secret::try_fill(|bytes: &mut [u8; FRAGMENT_BYTES]| {
        bytes.copy_from_slice(data);
        aead.open_detached(key, &NONCE_0, dd, bytes, tag)
    })?;
    Ok(Fragment::new(bytes)?)
}

/// A fragment is not the one that was dealt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WrongFragment {
    /// The dealing has no node of this index.
    #[error("node {index} holds no fragment of this dealing")]
    UnknownNode {
        /// The index.
        index: u16,
    },
    /// It does not fit the commitment.
    #[error("the fragment of node {index} does not fit its commitment")]
    Commitment {
        /// The node that holds or sent it.
        index: u16,
    },
}

impl WrongFragment {
    /// The node whose fragment it is.
    #[must_use]
    pub fn culprit(&self) -> u16 {
        match *self {
            Self::UnknownNode { index } | Self::Commitment { index } => index,
        }
    }
}

impl Dealing<'_> {
    /// Checks that a fragment is the one dealt to the node `index`: with b_i = z(i) − d·s_i it must fit C_i.
    ///
    /// # Errors
    /// [`WrongFragment`], which names the node.
    pub fn verify_fragment(&self, index: u16, fragment: &Fragment) -> Result<(), WrongFragment> {
        let expected = self.commitment_of(index).ok_or(WrongFragment::UnknownNode { index })?;
        let masked = scalar::evaluate(self.z(), index);
        let b_i = Zeroizing::new(*masked - *self.challenge() * *fragment.scalar());
        // Both sides are hashes that the log publishes: nothing to learn from how long this takes.
        let fits = commitment(self.sctx(), index, fragment, &b_i) == *expected;
        #[cfg(feature = "sabotage")]
        let fits = fits || symbolon_sabotage::Bug::FragmentUnchecked.on();
        if fits {
            Ok(())
        } else {
            Err(WrongFragment::Commitment { index })
        }
    }
}

/// A fragment that fits its commitment, with the index of its node. Only [`check_fragment`] makes one.
#[derive(Debug)]
pub struct CheckedFragment {
    index: u16,
    fragment: Fragment,
}

impl CheckedFragment {
    /// The index of its node.
    #[must_use]
    pub fn index(&self) -> u16 {
        self.index
    }

    /// The fragment.
    #[must_use]
    pub fn fragment(&self) -> &Fragment {
        &self.fragment
    }

    /// The fragment alone, the check forgotten.
    #[must_use]
    pub fn into_fragment(self) -> Fragment {
        self.fragment
    }
}

/// [`Dealing::verify_fragment`], with the answer in the type.
///
/// # Errors
/// [`WrongFragment`], which names the node.
pub fn check_fragment(dealing: &Dealing<'_>, index: u16, fragment: Fragment) -> Result<CheckedFragment, WrongFragment> {
    dealing.verify_fragment(index, &fragment)?;
    Ok(CheckedFragment { index, fragment })
}
