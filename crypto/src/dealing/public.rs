//! The public half of a dealing, as anyone checks it: counts, lengths and canonical scalars; contexts and digests are
//! computed here and never taken from whoever sent them.

use p256::Scalar;
use thiserror::Error;

use super::{SealedFragment, Sharing, scalar};
use crate::{
    Hash, Id,
    context::{BadHeader, SharingContext, ValueContext, dealing_digest, parse_header, record_hash},
    enc::sha256,
    limits::{CIPHERTEXT_BYTES_MAX, SEALED_FRAGMENT_BYTES, TAG_BYTES},
    padme,
};

/// The public half of a dealing as it arrived: nothing is checked.
#[derive(Debug, Clone, Copy)]
pub struct Unchecked<'a, B> {
    /// The header.
    pub header: &'a [u8],
    /// The encrypted value, with its tag.
    pub ciphertext: &'a [u8],
    /// KC.
    pub key_commitment: &'a [u8],
    /// C_i, one per node in ascending index.
    pub commitments: &'a [B],
    /// The coefficients of z, lowest first.
    pub z: &'a [B],
}

/// What is wrong with a dealing. Its author is at fault, or whoever handed it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadDealing {
    /// The header does not parse.
    #[error(transparent)]
    Header(#[from] BadHeader),
    /// The ciphertext is longer than any.
    #[error("the ciphertext has {found} bytes, more than {CIPHERTEXT_BYTES_MAX}")]
    CiphertextTooLong {
        /// Bytes found.
        found: usize,
    },
    /// The ciphertext is not a padded size and a tag.
    #[error("a ciphertext of {found} bytes is no padded size and a tag")]
    CiphertextSize {
        /// Bytes found.
        found: usize,
    },
    /// KC is 32 bytes.
    #[error("the key commitment has {found} bytes, not 32")]
    KeyCommitmentLength {
        /// Bytes found.
        found: usize,
    },
    /// There is one commitment per node.
    #[error("{found} commitments for {expected} nodes")]
    CommitmentCount {
        /// Nodes.
        expected: usize,
        /// Commitments found.
        found: usize,
    },
    /// A commitment is 32 bytes.
    #[error("the commitment to node {index}'s fragment has {found} bytes, not 32")]
    CommitmentLength {
        /// The node.
        index: u16,
        /// Bytes found.
        found: usize,
    },
    /// z has t coefficients: more would be a polynomial of higher degree, which t fragments do not determine.
    #[error("z has {found} coefficients, not {expected}")]
    CoefficientCount {
        /// The threshold.
        expected: usize,
        /// Coefficients found.
        found: usize,
    },
    /// A coefficient is 32 bytes.
    #[error("coefficient {place} of z has {found} bytes, not 32")]
    CoefficientLength {
        /// Which, from 0.
        place: usize,
        /// Bytes found.
        found: usize,
    },
    /// A coefficient is below q.
    #[error("coefficient {place} of z is not canonical")]
    CoefficientNotCanonical {
        /// Which, from 0.
        place: usize,
    },
    /// There is one sealed fragment per node.
    #[error("{found} sealed fragments for {expected} nodes")]
    SealedCount {
        /// Nodes.
        expected: usize,
        /// Sealed fragments found.
        found: usize,
    },
    /// A sealed fragment is 80 bytes.
    #[error("the sealed fragment of node {index} has {found} bytes, not {SEALED_FRAGMENT_BYTES}")]
    SealedLength {
        /// The node.
        index: u16,
        /// Bytes found.
        found: usize,
    },
}

/// The public half of a dealing, checked, with every hash over it.
#[derive(Debug, Clone)]
pub struct Dealing<'a> {
    sharing: &'a Sharing,
    header: &'a [u8],
    content_type: &'a str,
    ciphertext: &'a [u8],
    key_commitment: Hash,
    commitments: Vec<Hash>,
    z: Vec<Scalar>,
    challenge: Scalar,
    vctx: Hash,
    sctx: Hash,
    dd: Hash,
    record_hash: Hash,
}

impl<'a> Dealing<'a> {
    /// Checks a dealing that `dealer` made of the value that `value` describes.
    ///
    /// # Errors
    /// [`BadDealing`], by defect.
    pub fn parse<B: AsRef<[u8]>>(
        value: &ValueContext<'_>,
        dealer: &Id,
        sharing: &'a Sharing,
        unchecked: &Unchecked<'a, B>,
    ) -> Result<Self, BadDealing> {
        let content_type = parse_header(unchecked.header)?;
        check_ciphertext_size(unchecked.ciphertext.len())?;
        let found = unchecked.key_commitment.len();
        let key_commitment: Hash = unchecked
            .key_commitment
            .try_into()
            .map_err(|_| BadDealing::KeyCommitmentLength { found })?;
        let commitments = parse_commitments(sharing, unchecked.commitments)?;
        let (z, z_bytes) = parse_z(sharing, unchecked.z)?;

        let vctx = value.hash();
        let sctx = SharingContext {
            vctx: &vctx,
            epoch: sharing.epoch(),
            roster_hash: sharing.roster_hash(),
            n: sharing.n(),
            t: sharing.t(),
            dealer,
        }
        .hash();
        let (ciphertext_hash, header_hash) = (sha256(unchecked.ciphertext), sha256(unchecked.header));
        let dd = dealing_digest(
            &sctx,
            &key_commitment,
            &ciphertext_hash,
            &header_hash,
            &commitments,
            &z_bytes,
        );
        Ok(Self {
            sharing,
            header: unchecked.header,
            content_type,
            ciphertext: unchecked.ciphertext,
            challenge: scalar::challenge(&sctx, &commitments),
            record_hash: record_hash(&vctx, &sctx, &dd),
            key_commitment,
            commitments,
            z,
            vctx,
            sctx,
            dd,
        })
    }

    /// How its epoch shares.
    #[must_use]
    pub fn sharing(&self) -> &'a Sharing {
        self.sharing
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &'a [u8] {
        self.header
    }

    /// The content type that the header names.
    #[must_use]
    pub fn content_type(&self) -> &'a str {
        self.content_type
    }

    /// The encrypted value, with its tag.
    #[must_use]
    pub fn ciphertext(&self) -> &'a [u8] {
        self.ciphertext
    }

    /// KC.
    #[must_use]
    pub fn key_commitment(&self) -> &Hash {
        &self.key_commitment
    }

    /// vctx.
    #[must_use]
    pub fn vctx(&self) -> &Hash {
        &self.vctx
    }

    /// sctx.
    #[must_use]
    pub fn sctx(&self) -> &Hash {
        &self.sctx
    }

    /// dd.
    #[must_use]
    pub fn dd(&self) -> &Hash {
        &self.dd
    }

    /// The record hash.
    #[must_use]
    pub fn record_hash(&self) -> &Hash {
        &self.record_hash
    }

    pub(super) fn commitment_of(&self, index: u16) -> Option<&Hash> {
        self.commitments.get(self.sharing.place(index)?)
    }

    pub(super) fn z(&self) -> &[Scalar] {
        &self.z
    }

    pub(super) fn challenge(&self) -> &Scalar {
        &self.challenge
    }
}

fn check_ciphertext_size(found: usize) -> Result<(), BadDealing> {
    if found > CIPHERTEXT_BYTES_MAX {
        return Err(BadDealing::CiphertextTooLong { found });
    }
    match found.checked_sub(TAG_BYTES) {
        Some(padded) if padme::is_padme_size(padded) => Ok(()),
        _ => Err(BadDealing::CiphertextSize { found }),
    }
}

fn parse_commitments<B: AsRef<[u8]>>(sharing: &Sharing, commitments: &[B]) -> Result<Vec<Hash>, BadDealing> {
    let (expected, found) = (usize::from(sharing.n()), commitments.len());
    if found != expected {
        return Err(BadDealing::CommitmentCount { expected, found });
    }
    let parse = |(&index, commitment): (&u16, &B)| {
        let commitment = commitment.as_ref();
        commitment.try_into().map_err(|_| BadDealing::CommitmentLength {
            index,
            found: commitment.len(),
        })
    };
    sharing.indices().iter().zip(commitments).map(parse).collect()
}

type Coefficients = (Vec<Scalar>, Vec<[u8; 32]>);

fn parse_z<B: AsRef<[u8]>>(sharing: &Sharing, z: &[B]) -> Result<Coefficients, BadDealing> {
    let (expected, found) = (usize::from(sharing.t()), z.len());
    if found != expected {
        return Err(BadDealing::CoefficientCount { expected, found });
    }
    let parse = |(place, coefficient): (usize, &B)| {
        let bytes = coefficient.as_ref();
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| BadDealing::CoefficientLength {
            place,
            found: bytes.len(),
        })?;
        let scalar = scalar::parse(&bytes).ok_or(BadDealing::CoefficientNotCanonical { place })?;
        Ok((scalar, bytes))
    };
    z.iter().enumerate().map(parse).collect()
}

/// Checks the sealed fragments of a dealing: one per node, 80 bytes each.
///
/// # Errors
/// [`BadDealing::SealedCount`] or [`BadDealing::SealedLength`].
pub fn parse_sealed<B: AsRef<[u8]>>(sharing: &Sharing, sealed: &[B]) -> Result<Vec<SealedFragment>, BadDealing> {
    let (expected, found) = (usize::from(sharing.n()), sealed.len());
    if found != expected {
        return Err(BadDealing::SealedCount { expected, found });
    }
    let parse = |(&index, sealed): (&u16, &B)| {
        let sealed = sealed.as_ref();
        sealed.try_into().map_err(|_| BadDealing::SealedLength {
            index,
            found: sealed.len(),
        })
    };
    sharing.indices().iter().zip(sealed).map(parse).collect()
}
