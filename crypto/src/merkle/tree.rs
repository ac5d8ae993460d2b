//! A whole tree in memory: the replies of one audit group, or a log in a test.

use super::{Frontier, NodeReader, ProofError, inclusion_proof};
use crate::Hash;

/// A tree with all its complete subtrees.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// By level, by index.
    levels: Vec<Vec<Hash>>,
    frontier: Frontier,
}

/// The tree has no such complete subtree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tree has no complete subtree {index} at level {level}")]
pub struct MissingNode {
    /// The level asked for; 0 is the leaves.
    pub level: u8,
    /// The index within the level.
    pub index: u64,
}

impl Tree {
    /// The tree without leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a leaf, by its hash.
    pub fn append(&mut self, leaf: Hash) {
        let levels = &mut self.levels;
        self.frontier
            .append(leaf, |level, _, hash| match levels.get_mut(usize::from(level)) {
                Some(level) => level.push(*hash),
                None => levels.push(vec![*hash]),
            });
    }

    /// Leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// The path that proves the leaf `index` under [`Tree::root`].
    ///
    /// # Errors
    /// [`ProofError::OutOfRange`] for a leaf that is not in the tree.
    pub fn path(&self, index: u64) -> Result<Vec<Hash>, ProofError<MissingNode>> {
        inclusion_proof(self, index, self.size())
    }
}

impl FromIterator<Hash> for Tree {
    fn from_iter<I: IntoIterator<Item = Hash>>(leaves: I) -> Self {
        let mut tree = Self::new();
        leaves.into_iter().for_each(|leaf| tree.append(leaf));
        tree
    }
}

impl NodeReader for Tree {
    type Error = MissingNode;

    fn node(&self, level: u8, index: u64) -> Result<Hash, MissingNode> {
        let place = usize::try_from(index).ok();
        let hash = self.levels.get(usize::from(level)).and_then(|nodes| nodes.get(place?));
        hash.copied().ok_or(MissingNode { level, index })
    }
}
