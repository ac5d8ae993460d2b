//! Checking a node's audit log (authority.md, "Audit"): every leaf has its form and is of this node and of a boot that
//! its identity key vouches for; the leaves lead to the root of a checkpoint that such a boot signed (RFC 9162, C2SP
//! tlog-checkpoint). What is found wrong is named by its index.

mod export;
mod proof;
mod prove;

pub use export::{export, verify_dir};
pub use proof::{
    Anchored, BadProof, PROOF_FORMAT, Proof, ProofFile, Proven, RECEIPT_FORMAT, ReceiptFile, SignedReply, Statement,
    verify_proof, verify_proofs,
};
pub use prove::{Wanted, prove};

use crate::client::Client;
use crate::error::{Culprit, Error, Misdeed, Who};
use crate::hello::Boot;
use crate::limits::{ANCHOR_ATTEMPTS, PROOF_PAUSE};
use crate::query::{AuditPage, AuditRange};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use symbolon_crypto::Hash;
use symbolon_crypto::checkpoint::{BadCheckpoint, Checkpoint};
use symbolon_crypto::merkle::{Frontier, leaf_hash};
use symbolon_crypto::provider::AwsLc;
use symbolon_wire::ids::ClusterId;
use symbolon_wire::limits::AUDIT_PAGE_MAX;
use symbolon_wire::{Code, audit};

/// What is wrong with an audit log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// A leaf that is none.
    #[error("entry {index} does not have the form of an entry")]
    Form {
        /// Its index.
        index: u64,
    },
    /// A leaf of another node.
    #[error("entry {index} is of node {found}")]
    OtherNode {
        /// Its index.
        index: u64,
        /// Whose it says it is.
        found: u32,
    },
    /// No boot statement with this counter.
    #[error("entry {index} is of boot {found}, for which the node's identity key does not vouch")]
    UnknownBoot {
        /// Its index.
        index: u64,
        /// The counter.
        found: u64,
    },
    /// Boots go up.
    #[error("entry {index} is of boot {found} and follows one of boot {before}")]
    BootWentBack {
        /// Its index.
        index: u64,
        /// The counter.
        found: u64,
        /// That of the entry before.
        before: u64,
    },
    /// The leaf is not the one that the tree has there.
    #[error("entry {index} was changed")]
    Changed {
        /// Its index.
        index: u64,
    },
    /// The checkpoint does not verify.
    #[error("the checkpoint does not verify: {0}")]
    Checkpoint(BadCheckpoint),
    /// The log does not begin with the tree that the replicated log holds an anchor over.
    #[error(
        "the log does not begin with the {size} entries that are anchored: at least one was changed, or it was cut"
    )]
    Anchor {
        /// Leaves under the anchor.
        size: u64,
    },
    /// Fewer leaves than the checkpoint covers.
    #[error("the log ends at entry {found}; its checkpoint covers {size}")]
    CutShort {
        /// Leaves there are.
        found: u64,
        /// Leaves there should be.
        size: u64,
    },
    /// The leaves lead to another root. Which of them was changed cannot be told from the leaves alone.
    #[error("the {size} entries do not lead to the root of the checkpoint: at least one was changed")]
    Root {
        /// Leaves that the checkpoint covers.
        size: u64,
    },
}

impl Defect {
    /// The index of the first bad entry, where it can be told.
    #[must_use]
    pub fn first_bad(&self) -> Option<u64> {
        match *self {
            Self::Form { index }
            | Self::OtherNode { index, .. }
            | Self::UnknownBoot { index, .. }
            | Self::BootWentBack { index, .. }
            | Self::Changed { index } => Some(index),
            Self::CutShort { found, .. } => Some(found),
            Self::Checkpoint(_) | Self::Anchor { .. } | Self::Root { .. } => None,
        }
    }

    pub(crate) fn told(&self, node: u16) -> Error {
        let culprit = Culprit {
            who: Who::Node(node),
            what: Misdeed::BrokenAudit,
            evidence: Vec::new(),
        };
        let mut error = Error::new(
            Code::AuditBroken,
            format!("the audit log of node {node} does not verify"),
        )
        .because(self.to_string())
        .culprit(culprit);
        error.audit = self.first_bad().map(|index| (node, index));
        error
    }
}

/// A log that verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    /// The node.
    pub node: u16,
    /// Entries that the checkpoint covers.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// Boots that wrote them.
    pub boots: usize,
    /// How many of them are in an archive that the node does not have now: known by their hashes alone, which lead to the
    /// root.
    pub archived: u64,
    /// How many of them the replicated log holds an anchor over, as t nodes say; `None` offline, or where fewer answer.
    pub anchored: Option<u64>,
}

/// Takes a log leaf by leaf.
#[derive(Debug)]
pub struct Verifier {
    cluster: ClusterId,
    node: u16,
    /// By their counters.
    boots: BTreeMap<u64, Boot>,
    last_boot: u64,
    archived: u64,
    frontier: Frontier,
}

impl Verifier {
    /// For the log of `node`, from its first leaf.
    #[must_use]
    pub fn new(cluster: ClusterId, node: u16) -> Self {
        Self {
            cluster,
            node,
            boots: BTreeMap::new(),
            last_boot: 0,
            archived: 0,
            frontier: Frontier::new(),
        }
    }

    /// Boots of this node, verified; leaves and checkpoints of others are refused.
    pub fn vouch(&mut self, boots: &[Boot]) {
        for boot in boots {
            let counter = boot.signer.boot_counter;
            self.boots.entry(counter).or_insert_with(|| boot.clone());
        }
    }

    /// Leaves taken so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Takes the next leaf.
    ///
    /// # Errors
    /// [`Defect`], which names it.
    pub fn push(&mut self, leaf: Bytes) -> Result<Hash, Defect> {
        let index = self.size();
        let hash = leaf_hash(&leaf);
        let decoded = audit::decode(leaf).map_err(|_| Defect::Form { index })?;
        if decoded.node != u32::from(self.node) {
            return Err(Defect::OtherNode {
                index,
                found: decoded.node,
            });
        }
        let found = decoded.boot_counter;
        if !self.boots.contains_key(&found) {
            return Err(Defect::UnknownBoot { index, found });
        }
        if found < self.last_boot {
            return Err(Defect::BootWentBack {
                index,
                found,
                before: self.last_boot,
            });
        }
        self.last_boot = found;
        self.frontier.append(hash, |_, _, _| {});
        Ok(hash)
    }

    /// Takes the next leaf by its hash alone.
    pub fn push_hash(&mut self, hash: Hash) {
        self.archived += 1;
        self.frontier.append(hash, |_, _, _| {});
    }

    /// Reads a checkpoint that one of the boots signed.
    ///
    /// # Errors
    /// [`Defect::Checkpoint`].
    pub fn checkpoint(&self, note: &[u8]) -> Result<Checkpoint, Defect> {
        let origin = audit::origin(self.cluster, self.node);
        let mut why = BadCheckpoint::NotSigned;
        // The newest boot is likeliest to have signed it.
        for boot in self.boots.values().rev() {
            match Checkpoint::verify(note, &origin, &boot.checkpoint_key, &AwsLc) {
                Ok(checkpoint) => return Ok(checkpoint),
                Err(BadCheckpoint::NotSigned) => {}
                Err(bad) => why = bad,
            }
        }
        Err(Defect::Checkpoint(why))
    }

    /// Compares the leaves taken so far with a checkpoint over exactly as many.
    ///
    /// # Errors
    /// [`Defect::CutShort`] or [`Defect::Root`].
    pub fn finish(&self, checkpoint: &Checkpoint) -> Result<Audited, Defect> {
        let (found, size) = (self.size(), checkpoint.size());
        if found != size {
            return Err(Defect::CutShort { found, size });
        }
        let root = self.frontier.root();
        if root != *checkpoint.root() {
            return Err(Defect::Root { size });
        }
        Ok(Audited {
            node: self.node,
            size,
            root,
            boots: self.boots.len(),
            archived: self.archived,
            anchored: None,
        })
    }
}

/// Fetches the whole log of a node and verifies it up to the checkpoint of the first page, and against its anchor: what
/// the node has rewritten, it has signed anew, but others have not.
///
/// # Errors
/// [`Code::AuditBroken`], with the first bad entry where it can be told; what the node answers.
pub async fn verify(client: &Client, node: u16) -> Result<Audited, Error> {
    walk(client, node, |_, _| Ok(())).await.map(|walked| walked.audited)
}

/// The size of a log's anchor, if t nodes say alike what it is, while it moves after some attempts; and all that its node has signed as
/// anybody shows: roots by size.
async fn anchor(client: &Client, node: u16) -> (Option<u64>, BTreeMap<u64, BTreeSet<Hash>>) {
    let mut signed: BTreeMap<u64, BTreeSet<Hash>> = BTreeMap::new();
    for _ in 0..ANCHOR_ATTEMPTS {
        let anchors = prove::anchors_of(client, node).await;
        // One that shows a note is enough to hold the log to it: its own node cannot take that back by saying nothing.
        for head in anchors.signed {
            signed.entry(head.size).or_default().insert(head.root);
        }
        match anchors.agreed {
            Ok(Some(agreed)) => return (Some(agreed.size), signed),
            Ok(None) => tokio::time::sleep(PROOF_PAUSE).await,
            // Too few answer for an anchor; whoever reads the verdict sees that there was none.
            Err(_) => break,
        }
    }
    (None, signed)
}

/// What a walk over a log ended with.
struct Walked {
    audited: Audited,
    /// The page whose checkpoint the log was verified against.
    first: AuditPage,
}

enum Entry<'a> {
    Leaf(&'a Bytes),
    Archived(&'a Hash),
}

/// Fetches and verifies; `each` is given every leaf with its hash, and of those in an archive the hash alone.
async fn walk(
    client: &Client,
    node: u16,
    mut each: impl FnMut(Option<&Bytes>, &Hash) -> Result<(), Error>,
) -> Result<Walked, Error> {
    let told = |defect: Defect| defect.told(node);
    let mut verifier = Verifier::new(client.roster().cluster, node);
    // Before the checkpoint, which must then cover it.
    let (anchored, signed) = anchor(client, node).await;
    let fetch = |index| {
        client.audit(
            node,
            AuditRange::From {
                index,
                limit: AUDIT_PAGE_MAX,
            },
        )
    };
    let first = fetch(0).await?;
    verifier.vouch(&first.boots);
    let checkpoint = verifier.checkpoint(&first.checkpoint).map_err(told)?;
    let mut page = first.clone();
    loop {
        let leaves = page.leaves.iter().map(Entry::Leaf);
        for entry in page.archived.iter().map(Entry::Archived).chain(leaves) {
            if verifier.size() == checkpoint.size() {
                break;
            }
            match entry {
                Entry::Leaf(leaf) => {
                    let hash = verifier.push(leaf.clone()).map_err(told)?;
                    each(Some(leaf), &hash)?;
                }
                Entry::Archived(hash) => {
                    verifier.push_hash(*hash);
                    each(None, hash)?;
                }
            }
            let size = verifier.size();
            let other = |root: &Hash| *root != verifier.frontier.root();
            if signed.get(&size).is_some_and(|roots| roots.iter().any(other)) {
                return Err(told(Defect::Anchor { size }));
            }
        }
        if verifier.size() >= checkpoint.size() || (page.leaves.is_empty() && page.archived.is_empty()) {
            break;
        }
        page = fetch(verifier.size()).await?;
        verifier.vouch(&page.boots);
    }
    let mut audited = verifier.finish(&checkpoint).map_err(told)?;
    if let Some((size, _)) = signed.last_key_value().filter(|(size, _)| **size > audited.size) {
        return Err(told(Defect::Anchor { size: *size }));
    }
    audited.anchored = anchored;
    Ok(Walked { audited, first })
}
