//! The mathematics of Symbolon: secrets and fragments, dealing and opening, sealing, value encryption, Merkle trees
//! and checkpoints.
//!
//! The crate does no IO, reads no clock and draws no randomness of its own: a random number generator is always a
//! parameter. (The one exception is the signing nonce inside aws-lc, behind the feature `aws-lc`.) Signature checks and
//! AES-GCM stand behind the traits of [`provider`], so that a faster implementation can be injected.
//!
//! Read in this order: [`enc`] and [`secret`], the two foundations; [`context`], what a value and its sharing are bound
//! to; [`dealing`], one write and one read; [`sealing`], how a fragment reaches its node.
//!
//! The specification is `custody.md` of the design; labels, encodings and order are exactly its own and are frozen by
//! `tests/vectors/dealing.json`.
#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod context;
pub mod cosignature;
pub mod dealing;
pub mod enc;
pub mod hedge;
mod kdf;
pub mod limits;
pub mod merkle;
pub mod own;
pub mod padme;
pub mod provider;
pub mod sealing;
pub mod secret;
pub mod sign;
pub mod witness;

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// An id of a cluster, tenant, principal or secret: 16 random bytes.
pub type Id = [u8; 16];
