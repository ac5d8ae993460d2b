//! One write and one read (custody.md, "One write" and "Reading").
//!
//! A writer [`deal`]s: it draws a scalar s, derives the data key from it, encrypts the value, breaks s into one fragment
//! per node with Shamir's scheme, and publishes hash commitments and one masked polynomial z that prove the breaking (the
//! Π_LA of Baghery, ePrint 2023/1669). Anyone parses the public half into a [`Dealing`], which recomputes every hash.
//! A node opens its fragment with [`open_fragment`] and checks it with [`check_fragment`]. A reader collects t fragments,
//! [`Dealing::unlock`]s the data key, which exists only once the key commitment holds, and opens the value.
//!
//! Scalar arithmetic is `p256`'s, in constant time; indices, counts and everything published are not secret. The
//! polynomials are evaluated here and not in `vsss-rs`, whose vectors of coefficients are not wiped; it is the
//! independent cross-check of the tests.

mod complaint;
mod deal;
mod fragment;
mod lagrange;
mod open;
mod public;
pub(crate) mod scalar;
#[cfg(test)]
mod vectors;

use thiserror::Error;

use crate::{Hash, limits::HOLDERS};

pub use complaint::{Verdict, judge_complaint};
pub use deal::{DealError, Dealt, Write, deal};
pub use fragment::{
    BadFragment, CheckedFragment, Fragment, OpenFragmentError, SealedFragment, WrongFragment, check_fragment,
    open_fragment, seal_fragment,
};
pub use lagrange::{Lagrange, LagrangeTable};
pub use open::{DataKey, OpenValueError, UnlockError};
pub use public::{BadDealing, Dealing, Unchecked, parse_sealed};

/// How one epoch shares: its roster, its nodes, its threshold. Valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sharing {
    epoch: u64,
    roster_hash: Hash,
    t: u16,
    indices: Vec<u16>,
}

/// What is wrong with a sharing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadSharing {
    /// n is 3, 5 or 7.
    #[error("{n} fragment holders; only 3, 5 or 7 are allowed")]
    Holders {
        /// The number given.
        n: u16,
    },
    /// t is ⌊n/2⌋+1.
    #[error("threshold {t} of {n}; it must be {expected}")]
    Threshold {
        /// Fragment holders.
        n: u16,
        /// The threshold given.
        t: u16,
        /// The threshold that belongs to n.
        expected: u16,
    },
    /// There are as many indices as holders.
    #[error("{found} node indices for {n} fragment holders")]
    IndexCount {
        /// Fragment holders.
        n: u16,
        /// Indices given.
        found: usize,
    },
    /// Indices ascend from 1 or above; zero would be the secret itself.
    #[error("node index {index} is zero, repeated or out of order")]
    IndexOrder {
        /// The index at fault.
        index: u16,
    },
}

impl Sharing {
    /// Checks and takes over the numbers of one epoch; `indices` are those of the nodes, ascending.
    ///
    /// # Errors
    /// [`BadSharing`].
    pub fn new(epoch: u64, roster_hash: Hash, n: u16, t: u16, indices: Vec<u16>) -> Result<Self, BadSharing> {
        if !HOLDERS.contains(&n) {
            return Err(BadSharing::Holders { n });
        }
        let expected = n / 2 + 1;
        if t != expected {
            return Err(BadSharing::Threshold { n, t, expected });
        }
        if indices.len() != usize::from(n) {
            return Err(BadSharing::IndexCount {
                n,
                found: indices.len(),
            });
        }
        let mut last = 0;
        for &index in &indices {
            if index <= last {
                return Err(BadSharing::IndexOrder { index });
            }
            last = index;
        }
        Ok(Self {
            epoch,
            roster_hash,
            t,
            indices,
        })
    }

    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The hash of its roster.
    #[must_use]
    pub fn roster_hash(&self) -> &Hash {
        &self.roster_hash
    }

    /// Fragments: 3, 5 or 7.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "there are at most seven indices")]
    pub fn n(&self) -> u16 {
        self.indices.len() as u16
    }

    /// Fragments needed: ⌊n/2⌋+1.
    #[must_use]
    pub fn t(&self) -> u16 {
        self.t
    }

    /// The nodes' indices, ascending.
    #[must_use]
    pub fn indices(&self) -> &[u16] {
        &self.indices
    }

    /// The place of a node among the indices, and so of its commitment and sealed fragment.
    #[must_use]
    pub fn place(&self, index: u16) -> Option<usize> {
        self.indices.binary_search(&index).ok()
    }
}
