//! Replies are signed once per audit group: one RFC 9162 tree over the group's reply leaves, one signature over its
//! root, a path for each reply. So a signature costs one per group, not one per read.

use symbolon_crypto::Hash;
use symbolon_crypto::merkle::{Tree, leaf_hash};
use symbolon_wire::statements::{ReplyLeaf, Signer};

/// The tree over one group.
pub struct Group {
    tree: Tree,
}

impl Group {
    /// Over the leaves of the group's replies, in order.
    pub fn new(leaves: &[Hash]) -> Self {
        let mut tree = Tree::new();
        for leaf in leaves {
            tree.append(*leaf);
        }
        Self { tree }
    }

    /// What the node signs for the group.
    pub fn statement(&self, signer: &Signer) -> Vec<u8> {
        signer.replies(&self.tree.root())
    }

    /// The path of the reply at `index`; `None` past the end of the group.
    pub fn path(&self, index: u64) -> Option<Vec<Hash>> {
        self.tree.path(index).ok()
    }
}

/// Hash of one reply's leaf.
pub fn leaf(signer: &Signer, reply: &ReplyLeaf<'_>) -> Hash {
    leaf_hash(&signer.reply(reply))
}
