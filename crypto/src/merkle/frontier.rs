//! Appending with only the right edge of the tree at hand: one hash per complete subtree, at most 64.

use thiserror::Error;

use super::{NodeReader, empty_root, node_hash};
use crate::Hash;

/// The right edge of a tree that only grows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    /// The roots of the complete subtrees, largest first: one per bit that is set in `size`.
    subtrees: Vec<Hash>,
}

/// The hashes are not those of a tree of this size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the right edge of a tree of {size} leaves has {expected} hashes, not {found}")]
pub struct BadFrontier {
    /// Leaves of the tree.
    pub size: u64,
    /// Hashes that belong to that size.
    pub expected: usize,
    /// Hashes given.
    pub found: usize,
}

impl Frontier {
    /// The tree without leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes up a tree again from what [`Frontier::subtrees`] gave.
    ///
    /// # Errors
    /// [`BadFrontier`].
    pub fn restore(size: u64, subtrees: Vec<Hash>) -> Result<Self, BadFrontier> {
        let (expected, found) = (one_bits(size), subtrees.len());
        if expected == found {
            Ok(Self { size, subtrees })
        } else {
            Err(BadFrontier { size, expected, found })
        }
    }

    /// Takes up a tree of `size` leaves again from its stored nodes.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn load<R: NodeReader + ?Sized>(size: u64, reader: &R) -> Result<Self, R::Error> {
        let levels = (0..64u8).rev().filter(|level| size >> level & 1 == 1);
        // Of the subtrees of this level, the last one that lies wholly inside the tree.
        let subtrees = levels
            .map(|level| reader.node(level, (size >> level) - 1))
            .collect::<Result<_, _>>()?;
        Ok(Self { size, subtrees })
    }

    /// Leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the complete subtrees, largest first.
    #[must_use]
    pub fn subtrees(&self) -> &[Hash] {
        &self.subtrees
    }

    /// Appends a leaf, by its hash, and tells `completed` of every subtree that it completes: (level, index, hash), the
    /// leaf itself first.
    pub fn append(&mut self, leaf: Hash, mut completed: impl FnMut(u8, u64, &Hash)) {
        let (mut level, mut index, mut hash) = (0, self.size, leaf);
        completed(level, index, &hash);
        while index & 1 == 1 {
            // A set bit of the size has its subtree on the stack.
            let Some(left) = self.subtrees.pop() else { break };
            hash = node_hash(&left, &hash);
            level += 1;
            index >>= 1;
            completed(level, index, &hash);
        }
        self.subtrees.push(hash);
        self.size += 1;
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut from_the_right = self.subtrees.iter().rev();
        let Some(&smallest) = from_the_right.next() else {
            return empty_root();
        };
        from_the_right.fold(smallest, |right, left| node_hash(left, &right))
    }
}

fn one_bits(size: u64) -> usize {
    (0..64).filter(|bit| size >> bit & 1 == 1).count()
}
