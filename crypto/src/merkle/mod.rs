//! Merkle trees as RFC 9162 hashes them: the audit log of a node, and the groups of replies that one signature covers.
//!
//! A tree is read through [`NodeReader`], which gives the hashes of complete subtrees; that of a log lies in tiles
//! ([`tile`]), that of a small batch in memory ([`Tree`]). [`Frontier`] appends with only the right edge at hand.

mod frontier;
mod proof;
pub mod tile;
mod tree;

use sha2::{Digest, Sha256};

use crate::Hash;

pub use frontier::{BadFrontier, Frontier};
pub use proof::{
    BadProof, ProofError, consistency_proof, inclusion_proof, inclusion_root, root_at, verify_consistency,
    verify_inclusion,
};
pub use tree::{MissingNode, Tree};

/// In front of a leaf (RFC 9162, 2.1.1); another byte than in front of a node, so that neither passes for the other.
const LEAF_PREFIX: u8 = 0x00;
/// In front of an inner node.
const NODE_PREFIX: u8 = 0x01;

/// The hash of a leaf.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    let prefix = LEAF_PREFIX;
    #[cfg(feature = "sabotage")]
    let prefix = if symbolon_sabotage::Bug::LeafAsNode.on() {
        NODE_PREFIX
    } else {
        prefix
    };
    Sha256::new()
        .chain_update([prefix])
        .chain_update(leaf)
        .finalize()
        .into()
}

/// The hash of an inner node.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new()
        .chain_update([NODE_PREFIX])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// The root of the tree without leaves.
#[must_use]
pub fn empty_root() -> Hash {
    Sha256::digest(b"").into()
}

/// Gives the hashes of complete subtrees.
pub trait NodeReader {
    /// What goes wrong when reading.
    type Error;

    /// The hash over the leaves `index`·2^`level` up to (`index`+1)·2^`level`, all of which exist; level 0 is the
    /// leaf hashes themselves.
    ///
    /// # Errors
    /// Those of the storage.
    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}
