//! Replies are signed once per audit group: one RFC 9162 tree over the group's reply leaves, one signature over its
//! root, a path for each reply. So a signature costs one per group, not one per read.
//!
//! Beside each reply's leaf stands that of its receipt: where the decision stands in the node's audit log. It costs no
//! signature of its own, and whoever checks the reply alone need not know of it.

use crate::gate::{Receipt, Refusal};
use bytes::Bytes;
use symbolon_crypto::Hash;
use symbolon_crypto::merkle::{Tree, leaf_hash};
use symbolon_state::records::VersionRecord;
use symbolon_wire::statements::{ReplyLeaf, Signer};
use symbolon_wire::v1;

/// A refusal as the asker sees it: with where it was written down, and the state that it was decided upon.
pub fn refused(refusal: Refusal, receipt: &Receipt) -> v1::Error {
    v1::Error {
        code: refusal.code as u32,
        message: refusal.message,
        because: refusal.because,
        next: refusal.next,
        audit_index: receipt.index() + 1,
        state_index: receipt.state_index(),
    }
}

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

    /// Over the leaves of the group's replies, in order, each with its receipt's beside it: reply i is leaf 2i.
    pub fn with_receipts(leaves: &[(Hash, Hash)]) -> Self {
        let pairs: Vec<Hash> = leaves.iter().flat_map(|(reply, receipt)| [*reply, *receipt]).collect();
        Self::new(&pairs)
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

/// Hash of the leaf of a reply to this client's request; `None` if a field of the reply has a wrong length.
pub fn leaf_of(signer: &Signer, client_key: &Hash, request_hash: &Hash, reply: &v1::ReadReply) -> Option<Hash> {
    let hash = |bytes: &Bytes| Hash::try_from(bytes.as_ref()).ok();
    let fields = ReplyLeaf {
        client_key,
        request_hash,
        record_hash: &hash(&reply.record_hash)?,
        epoch: reply.epoch,
        fragment_hash: &hash(&reply.fragment_hash)?,
        state_index: reply.state_index,
        record_index: reply.record_index,
        record_chain: &hash(&reply.record_chain)?,
        anchor_index: reply.anchor_index,
        anchor_chain: &hash(&reply.anchor_chain)?,
    };
    Some(leaf(signer, &fields))
}

/// Hash of the leaf of a receipt: the decision about this request is leaf `audit_index`, with this hash, of the signer's
/// audit log.
pub fn receipt_leaf(signer: &Signer, request_hash: &Hash, audit_index: u64, audit_leaf: &Hash) -> Hash {
    leaf_hash(&signer.receipt(request_hash, audit_index, audit_leaf))
}

/// What a client needs of a record to open its value, beside fragments.
pub fn body(record: &VersionRecord) -> v1::StoredVersion {
    v1::StoredVersion {
        suite: record.suite,
        tenant: record.tenant.clone(),
        secret: record.secret.clone(),
        version: record.version,
        author: record.author.clone(),
        write_nonce: record.write_nonce.clone(),
        epoch: record.epoch,
        roster_hash: record.roster_hash.clone(),
        n: record.n,
        t: record.t,
        header: record.header.clone(),
        key_commitment: record.key_commitment.clone(),
        ciphertext: record.ciphertext.clone(),
        commitments: record.commitments.clone(),
        z: record.z.clone(),
    }
}
