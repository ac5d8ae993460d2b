//! The writer's side: break one data key into n fragments and seal them.

use p256::Scalar;
use rand_core::CryptoRng;
use thiserror::Error;

use super::{
    Fragment, SealedFragment, Sharing,
    fragment::{commitment, seal_fragment},
    open::{ValueKeys, value_aad},
    scalar::{self, Polynomial},
};
use crate::{
    Hash, Id,
    context::{SharingContext, ValueContext, dealing_digest, header, record_hash},
    enc::sha256,
    hedge::{Hedge, Seed},
    limits::{CONTENT_TYPE_BYTES_MAX, VALUE_BYTES_MAX},
    padme::{self, ValueTooLong},
    provider::{Aead, NONCE_0, SealError},
    sealing::{SealingSession, fragment_key},
    secret::Secret,
};

/// What is to be written.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    /// The cluster.
    pub cluster: &'a Id,
    /// The tenant.
    pub tenant: &'a Id,
    /// The secret.
    pub secret: &'a Id,
    /// The version that this write makes, from 1.
    pub version: u64,
    /// The principal who writes and deals.
    pub author: &'a Id,
    /// What the value is, for its readers; public.
    pub content_type: &'a str,
}

/// One write, ready to be signed and sent. Everything in it is public.
#[derive(Debug, Clone)]
pub struct Dealt {
    /// The write nonce, which becomes the command's nonce.
    pub write_nonce: [u8; 32],
    /// The header.
    pub header: Vec<u8>,
    /// The encrypted value, with its tag.
    pub ciphertext: Vec<u8>,
    /// KC.
    pub key_commitment: Hash,
    /// C_i, one per node in ascending index.
    pub commitments: Vec<Hash>,
    /// The coefficients of z, lowest first.
    pub z: Vec<[u8; 32]>,
    /// One per node in ascending index.
    pub sealed: Vec<SealedFragment>,
    /// vctx.
    pub vctx: Hash,
    /// sctx.
    pub sctx: Hash,
    /// dd.
    pub dd: Hash,
    /// The record hash.
    pub record_hash: Hash,
}

/// A write cannot be dealt.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DealError {
    /// The value is too long.
    #[error(transparent)]
    ValueTooLong(#[from] ValueTooLong),
    /// The content type is too long.
    #[error("the content type has {found} bytes, more than {CONTENT_TYPE_BYTES_MAX}")]
    ContentTypeTooLong {
        /// Bytes found.
        found: usize,
    },
    /// The sealing session belongs to another cluster.
    #[error("the sealing session is of another cluster")]
    SessionOfAnotherCluster,
    /// The sealing session belongs to another dealer.
    #[error("the sealing session is of another dealer")]
    SessionOfAnotherDealer,
    /// The sealing session belongs to another epoch or roster.
    #[error("the sealing session is of epoch {session}, the roster of epoch {roster}")]
    SessionOfAnotherEpoch {
        /// The session's.
        session: u64,
        /// The sharing's.
        roster: u64,
    },
    /// The sealing session reaches other nodes.
    #[error("the sealing session reaches other nodes than the roster names")]
    SessionOfOtherNodes,
    /// The library failed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// Deals one version of a secret: draws hedged randomness, encrypts `value`, breaks its key, seals the fragments to the
/// nodes of `sharing` under `session`.
///
/// A retry sends the same bytes again; calling this again makes a wholly new write.
///
/// # Errors
/// [`DealError`].
pub fn deal(
    aead: &(impl Aead + ?Sized),
    rng: &mut (impl CryptoRng + ?Sized),
    hedge: &Hedge,
    write: &Write<'_>,
    value: &[u8],
    sharing: &Sharing,
    session: &SealingSession,
) -> Result<Dealt, DealError> {
    check_session(write, sharing, session)?;
    let found = write.content_type.len();
    if found > CONTENT_TYPE_BYTES_MAX {
        return Err(DealError::ContentTypeTooLong { found });
    }
    let seed = hedge.value_seed(rng, value, write.tenant, write.secret, write.version);
    let place = Place::new(write, sharing, seed.write_nonce());
    let coins = Coins::from_seed(&seed, &place, sharing);
    deal_with(aead, &place, value, sharing, session.id(), session.shared(), &coins)
}

fn check_session(write: &Write<'_>, sharing: &Sharing, session: &SealingSession) -> Result<(), DealError> {
    let scope = session.scope();
    if scope.cluster != *write.cluster {
        return Err(DealError::SessionOfAnotherCluster);
    }
    if scope.dealer != *write.author {
        return Err(DealError::SessionOfAnotherDealer);
    }
    if scope.epoch != sharing.epoch() || scope.roster_hash != *sharing.roster_hash() {
        return Err(DealError::SessionOfAnotherEpoch {
            session: scope.epoch,
            roster: sharing.epoch(),
        });
    }
    if session.indices() != sharing.indices() {
        return Err(DealError::SessionOfOtherNodes);
    }
    Ok(())
}

/// What the write is bound to.
pub(super) struct Place {
    write_nonce: [u8; 32],
    header: Vec<u8>,
    vctx: Hash,
    sctx: Hash,
}

impl Place {
    pub(super) fn new(write: &Write<'_>, sharing: &Sharing, write_nonce: [u8; 32]) -> Self {
        let &Write {
            cluster,
            tenant,
            secret,
            version,
            author,
            content_type,
        } = write;
        let vctx = ValueContext {
            cluster,
            tenant,
            secret,
            version,
            author,
            write_nonce: &write_nonce,
        }
        .hash();
        let sctx = SharingContext {
            vctx: &vctx,
            epoch: sharing.epoch(),
            roster_hash: sharing.roster_hash(),
            n: sharing.n(),
            t: sharing.t(),
            dealer: author,
        }
        .hash();
        Self {
            write_nonce,
            header: header(content_type),
            vctx,
            sctx,
        }
    }
}

/// Everything random about a dealing.
pub(super) struct Coins {
    /// f: t coefficients, the secret scalar first.
    pub(super) f: Polynomial,
    /// b: t coefficients.
    pub(super) b: Polynomial,
    /// γ_i per node.
    pub(super) gamma: Vec<Secret<32>>,
}

impl Coins {
    fn from_seed(seed: &Seed, place: &Place, sharing: &Sharing) -> Self {
        let (vctx, sctx, header_hash) = (&place.vctx, &place.sctx, &sha256(&place.header));
        let t = sharing.t();
        let secret = std::iter::once_with(|| seed.secret(vctx, header_hash));
        let f = secret.chain((1..t).map(|k| seed.coefficient(sctx, header_hash, k)));
        let b = (0..t).map(|k| seed.mask(sctx, header_hash, k));
        Self {
            f: Polynomial::collect(usize::from(t), f),
            b: Polynomial::collect(usize::from(t), b),
            gamma: sharing
                .indices()
                .iter()
                .map(|&index| seed.gamma(sctx, header_hash, index))
                .collect(),
        }
    }
}

/// The dealing itself, with its randomness given: what the vectors freeze.
pub(super) fn deal_with(
    aead: &(impl Aead + ?Sized),
    place: &Place,
    value: &[u8],
    sharing: &Sharing,
    session: &Hash,
    shared: &[Secret<32>],
    coins: &Coins,
) -> Result<Dealt, DealError> {
    let Place {
        write_nonce,
        header,
        vctx,
        sctx,
    } = place;

    let s = coins.f.at(0);
    let keys = ValueKeys::derive(&s, vctx);
    let key_commitment = *keys.commitment.expose();
    let mut ciphertext = padme::pad(value, VALUE_BYTES_MAX)?.into_vec();
    aead.seal_in_place(&keys.encrypt, &NONCE_0, &value_aad(vctx, header), &mut ciphertext)?;

    let fragments: Vec<(u16, Fragment)> = sharing
        .indices()
        .iter()
        .zip(&coins.gamma)
        .map(|(&index, gamma)| (index, Fragment::from_parts(&coins.f.at(index), gamma)))
        .collect();
    let commit = |(index, fragment): &(u16, Fragment)| commitment(sctx, *index, fragment, &coins.b.at(*index));
    let commitments: Vec<Hash> = fragments.iter().map(commit).collect();

    let d = scalar::challenge(sctx, &commitments);
    let masked = |(b_k, f_k): (&Scalar, &Scalar)| -> [u8; 32] { (*b_k + d * f_k).to_bytes().into() };
    let z: Vec<[u8; 32]> = coins
        .b
        .coefficients()
        .iter()
        .zip(coins.f.coefficients())
        .map(masked)
        .collect();

    let dd = dealing_digest(
        sctx,
        &key_commitment,
        &sha256(&ciphertext),
        &sha256(header),
        &commitments,
        &z,
    );
    let seal = |((index, fragment), shared): (&(u16, Fragment), &Secret<32>)| {
        seal_fragment(aead, &fragment_key(shared, session, &dd, *index), &dd, fragment)
    };
    let sealed = fragments.iter().zip(shared).map(seal).collect::<Result<Vec<_>, _>>()?;

    Ok(Dealt {
        write_nonce: *write_nonce,
        header: header.clone(),
        ciphertext,
        key_commitment,
        commitments,
        z,
        sealed,
        record_hash: record_hash(vctx, sctx, &dd),
        vctx: *vctx,
        sctx: *sctx,
        dd,
    })
}
