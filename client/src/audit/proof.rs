//! The proof of one decision, offline (docs/specs/audit.md, "A proof"): a leaf, in a tree that t other nodes cosigned and
//! that t nodes say the replicated log holds an anchor over; and, with a receipt, that it is the one which the node signed
//! for when it answered. Nothing but the genesis hash is trusted.

use crate::hello::{BadBoot, Boot};
use crate::limits::PROOFS_MAX;
use crate::read::Receipt;
use crate::reply;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use symbolon_crypto::Hash;
use symbolon_crypto::checkpoint::{BadCheckpoint, Checkpoint};
use symbolon_crypto::cosignature::verify_cosignature;
use symbolon_crypto::merkle::{self, leaf_hash, verify_consistency, verify_inclusion};
use symbolon_crypto::provider::{AwsLc, Verify};
use symbolon_wire::roster::{Roster, RosterError};
use symbolon_wire::v1::AuditLeaf;
use symbolon_wire::{Message, audit, v1};

/// The first field of a file of proofs.
pub const PROOF_FORMAT: &str = "symbolon/v1/audit-proof";
/// The first field of a file of receipts.
pub const RECEIPT_FORMAT: &str = "symbolon/v1/receipt";

/// What a read leaves behind: the replies that nodes signed. All bytes are lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptFile {
    /// [`RECEIPT_FORMAT`].
    pub format: String,
    /// Hash of the genesis roster.
    pub genesis: String,
    /// What was read.
    pub path: String,
    /// Its version.
    pub version: u64,
    /// Of each node.
    pub receipts: Vec<SignedReply>,
}

/// A reply that a node signed, and what it answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedReply {
    /// The node.
    pub node: u16,
    /// The decision's index in its audit log.
    pub entry: u64,
    /// The hash of its leaf there.
    pub leaf_hash: String,
    /// The encoded [`v1::ReadReply`], without its body.
    pub reply: String,
    /// SHA-256 of the request.
    pub request_hash: String,
    /// The client key that it was for.
    pub client_key: String,
    /// The encoded statement of the boot that signed it.
    pub boot: String,
}

impl SignedReply {
    /// What a read left behind; `None` from a node that gives no receipts.
    #[must_use]
    pub fn of(receipt: &Receipt) -> Option<Self> {
        Some(Self {
            node: receipt.node,
            entry: receipt.audit_index,
            leaf_hash: hex::encode(receipt.audit_leaf?),
            reply: hex::encode(&receipt.reply),
            request_hash: hex::encode(receipt.request_hash),
            client_key: hex::encode(receipt.client_key),
            boot: hex::encode(&receipt.boot),
        })
    }

    /// Index and hash of the leaf that the node signed for.
    ///
    /// # Errors
    /// [`BadProof::Receipt`] if it did not.
    pub fn signed_for(&self, roster: &Roster) -> Result<(u64, Hash), BadProof> {
        let boot = boot(&self.boot, roster)?;
        let decoded = v1::ReadReply::decode(bytes("receipt.reply", &self.reply)?)
            .map_err(|_| BadProof::Field { field: "receipt.reply" })?;
        let signer = boot.signer;
        if signer.node != self.node
            || decoded.node != u32::from(self.node)
            || decoded.boot_counter != signer.boot_counter
        {
            return Err(BadProof::Receipt("it is of another node or boot"));
        }
        let client_key = hash("receipt.client_key", &self.client_key)?;
        let request_hash = hash("receipt.request_hash", &self.request_hash)?;
        reply::recheck(&boot, &decoded, &client_key, &request_hash).ok_or(BadProof::Receipt("the node did not sign it"))
    }
}

/// Proofs, with the roster that they are verified by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofFile {
    /// [`PROOF_FORMAT`].
    pub format: String,
    /// The encoded genesis roster. It is believed only if its hash is the one that the reader knows.
    pub roster: String,
    /// One for each decision.
    pub proofs: Vec<Proof>,
}

/// The proof of one decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// Whose log.
    pub node: u16,
    /// Index of the leaf.
    pub entry: u64,
    /// The leaf.
    pub leaf: String,
    /// The checkpoint with t cosignatures, a signed note.
    pub cosigned: String,
    /// The checkpoint that the replicated log holds, and who says so.
    pub anchored: Anchored,
    /// Of the leaf in the smaller of the two trees.
    pub inclusion: Vec<String>,
    /// From the smaller to the larger.
    pub consistency: Vec<String>,
    /// Encoded boot statements of all whose keys signed.
    pub boots: Vec<String>,
    /// The reply that the node signed for this decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<SignedReply>,
}

/// An anchor and who says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchored {
    /// The signed note.
    pub checkpoint: String,
    /// Where in the replicated log.
    pub log_index: u64,
    /// Of t nodes.
    pub statements: Vec<Statement>,
}

/// One node's word that it has applied an anchor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// The node.
    pub node: u16,
    /// Its boot.
    pub boot: u64,
    /// By the signing key of that boot.
    pub signature: String,
}

/// A proof that holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Proven {
    /// Whose log.
    pub node: u16,
    /// Index of the leaf.
    pub entry: u64,
    /// The leaf.
    pub leaf: AuditLeaf,
    /// Size of the cosigned tree, and who cosigned it.
    pub cosigned: (u64, Vec<u16>),
    /// Size of the anchored tree, and who says that it is anchored.
    pub anchored: (u64, Vec<u16>),
    /// Where in the replicated log.
    pub log_index: u64,
    /// Whether it is the decision that the node signed for in its reply.
    pub receipted: bool,
}

/// Why a proof does not prove.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadProof {
    /// Another format.
    #[error("the file is of the format '{found}'; this build reads '{PROOF_FORMAT}'")]
    Format {
        /// What it says.
        found: String,
    },
    /// None, or too many.
    #[error("the file holds {found} proofs; 1 to {PROOFS_MAX} are possible")]
    Count {
        /// How many.
        found: usize,
    },
    /// A field is not what it should be.
    #[error("'{field}' does not have its form")]
    Field {
        /// Which.
        field: &'static str,
    },
    /// The roster is not the one whose hash is known.
    #[error("the roster is refused: {0}")]
    Roster(RosterError),
    /// The roster has no such node.
    #[error("the roster has no node {0}")]
    NoNode(u16),
    /// A boot statement.
    #[error("a boot statement is refused: {0}")]
    Boot(BadBoot),
    /// The leaf is none, of another node, or of a boot that nobody vouches for.
    #[error("the entry is none of node {node}'s: {why}")]
    Leaf {
        /// Whose it should be.
        node: u16,
        /// What is wrong.
        why: &'static str,
    },
    /// A checkpoint that the log's node did not sign.
    #[error("the {which} checkpoint does not verify: {why}")]
    Checkpoint {
        /// "cosigned" or "anchored".
        which: &'static str,
        /// What is wrong.
        why: BadCheckpoint,
    },
    /// Too few cosigners.
    #[error("{found} other nodes cosigned the checkpoint; {needed} are needed")]
    Cosigners {
        /// How many did.
        found: usize,
        /// t.
        needed: u16,
    },
    /// Too few say that it is anchored.
    #[error("{found} nodes say that the checkpoint is anchored; {needed} are needed")]
    Anchor {
        /// How many do.
        found: usize,
        /// t.
        needed: u16,
    },
    /// The leaf is not in the tree.
    #[error("the entry is not in the tree: {0}")]
    Inclusion(merkle::BadProof),
    /// The trees are not those of one log.
    #[error("the cosigned and the anchored tree are not of one log: {0}")]
    Consistency(merkle::BadProof),
    /// The reply is not signed by the node, or for another decision.
    #[error("the receipt is not of this decision: {0}")]
    Receipt(&'static str),
}

fn bytes(field: &'static str, text: &str) -> Result<Bytes, BadProof> {
    hex::decode(text)
        .map(Bytes::from)
        .map_err(|_| BadProof::Field { field })
}

fn hash(field: &'static str, text: &str) -> Result<Hash, BadProof> {
    Hash::try_from(bytes(field, text)?.as_ref()).map_err(|_| BadProof::Field { field })
}

fn hashes(field: &'static str, texts: &[String]) -> Result<Vec<Hash>, BadProof> {
    texts.iter().map(|text| hash(field, text)).collect()
}

/// Verifies a file of proofs by nothing but the hash of the genesis roster.
///
/// # Errors
/// [`BadProof`], of the first that does not hold.
pub fn verify_proofs(file: &ProofFile, genesis: &Hash) -> Result<Vec<Proven>, BadProof> {
    if file.format != PROOF_FORMAT {
        return Err(BadProof::Format {
            found: crate::error::words(&file.format),
        });
    }
    if file.proofs.is_empty() || file.proofs.len() > PROOFS_MAX {
        return Err(BadProof::Count {
            found: file.proofs.len(),
        });
    }
    let roster = Roster::genesis(bytes("roster", &file.roster)?, Some(genesis), &AwsLc).map_err(BadProof::Roster)?;
    file.proofs.iter().map(|proof| verify_proof(proof, &roster)).collect()
}

/// Verifies one proof by a roster that is trusted.
///
/// # Errors
/// [`BadProof`].
pub fn verify_proof(proof: &Proof, roster: &Roster) -> Result<Proven, BadProof> {
    let node = proof.node;
    if roster.node(node).is_none() {
        return Err(BadProof::NoNode(node));
    }
    let boots = boots(proof, roster)?;
    let leaf_bytes = bytes("leaf", &proof.leaf)?;
    let hash_of_leaf = leaf_hash(&leaf_bytes);
    let leaf = leaf(leaf_bytes, node, &boots)?;

    let cosigned_note = proof.cosigned.as_bytes();
    let cosigned = checkpoint("cosigned", cosigned_note, roster, node, &boots)?;
    let cosigners = cosigners(cosigned_note, roster, node, &boots);
    if cosigners.len() < usize::from(roster.threshold) {
        return Err(BadProof::Cosigners {
            found: cosigners.len(),
            needed: roster.threshold,
        });
    }
    let anchored = checkpoint("anchored", proof.anchored.checkpoint.as_bytes(), roster, node, &boots)?;
    let anchored_by = anchored_by(&proof.anchored, &anchored, roster, node, &boots)?;
    if anchored_by.len() < usize::from(roster.threshold) {
        return Err(BadProof::Anchor {
            found: anchored_by.len(),
            needed: roster.threshold,
        });
    }

    let (smaller, larger) = match cosigned.size() <= anchored.size() {
        true => (&cosigned, &anchored),
        false => (&anchored, &cosigned),
    };
    let inclusion = hashes("inclusion", &proof.inclusion)?;
    verify_inclusion(&hash_of_leaf, proof.entry, smaller.size(), &inclusion, smaller.root())
        .map_err(BadProof::Inclusion)?;
    let consistency = hashes("consistency", &proof.consistency)?;
    verify_consistency(
        smaller.size(),
        larger.size(),
        smaller.root(),
        larger.root(),
        &consistency,
    )
    .map_err(BadProof::Consistency)?;
    if let Some(receipt) = &proof.receipt {
        receipt_holds(receipt, proof, &hash_of_leaf, roster)?;
    }
    Ok(Proven {
        node,
        entry: proof.entry,
        leaf,
        cosigned: (cosigned.size(), cosigners.into_iter().collect()),
        anchored: (anchored.size(), anchored_by.into_iter().collect()),
        log_index: proof.anchored.log_index,
        receipted: proof.receipt.is_some(),
    })
}

/// The boots that are vouched for by an identity key of the roster.
fn boots(proof: &Proof, roster: &Roster) -> Result<Vec<Boot>, BadProof> {
    proof.boots.iter().map(|text| boot(text, roster)).collect()
}

fn boot(text: &str, roster: &Roster) -> Result<Boot, BadProof> {
    let statement = v1::BootKeys::decode(bytes("boots", text)?).map_err(|_| BadProof::Field { field: "boots" })?;
    let node = u16::try_from(statement.node).map_err(|_| BadProof::Field { field: "boots" })?;
    Boot::verify(roster, node, &statement).map_err(BadProof::Boot)
}

fn leaf(encoded: Bytes, node: u16, boots: &[Boot]) -> Result<AuditLeaf, BadProof> {
    let wrong = |why| BadProof::Leaf { node, why };
    let leaf = audit::decode(encoded).map_err(|_| wrong("it does not have the form of an entry"))?;
    if leaf.node != u32::from(node) {
        return Err(wrong("it says that it is of another node"));
    }
    let vouched = boots
        .iter()
        .any(|boot| boot.signer.node == node && boot.signer.boot_counter == leaf.boot_counter);
    vouched
        .then_some(leaf)
        .ok_or_else(|| wrong("nobody vouches for its boot"))
}

fn checkpoint(
    which: &'static str,
    note: &[u8],
    roster: &Roster,
    node: u16,
    boots: &[Boot],
) -> Result<Checkpoint, BadProof> {
    let origin = audit::origin(roster.cluster, node);
    let mut why = BadCheckpoint::NotSigned;
    for boot in boots.iter().filter(|boot| boot.signer.node == node) {
        match Checkpoint::verify(note, &origin, &boot.checkpoint_key, &AwsLc) {
            Ok(checkpoint) => return Ok(checkpoint),
            Err(BadCheckpoint::NotSigned) => {}
            Err(bad) => why = bad,
        }
    }
    Err(BadProof::Checkpoint { which, why })
}

/// The nodes other than the log's own whose cosignature holds.
fn cosigners(note: &[u8], roster: &Roster, log: u16, boots: &[Boot]) -> BTreeSet<u16> {
    let signed = |boot: &&Boot| {
        let name = audit::witness(roster.cluster, boot.signer.node);
        boot.signer.node != log && verify_cosignature(note, &name, &boot.checkpoint_key, &AwsLc).is_ok()
    };
    boots.iter().filter(signed).map(|boot| boot.signer.node).collect()
}

fn anchored_by(
    anchored: &Anchored,
    checkpoint: &Checkpoint,
    roster: &Roster,
    log: u16,
    boots: &[Boot],
) -> Result<BTreeSet<u16>, BadProof> {
    let field = "anchored.statements";
    let mut by = BTreeSet::new();
    if anchored.statements.len() > roster.nodes.len() {
        return Err(BadProof::Field { field });
    }
    for statement in &anchored.statements {
        let signature = bytes(field, &statement.signature)?;
        let signature = signature.as_ref().try_into().map_err(|_| BadProof::Field { field })?;
        let holds = boots
            .iter()
            .filter(|boot| boot.signer.node == statement.node && boot.signer.boot_counter == statement.boot)
            .any(|boot| {
                let (size, root) = (checkpoint.size(), checkpoint.root());
                let signed = boot.signer.anchored(log, size, root, anchored.log_index);
                AwsLc.p256(&boot.signing_key, &signed, &signature).is_ok()
            });
        if holds {
            by.insert(statement.node);
        }
    }
    Ok(by)
}

fn receipt_holds(receipt: &SignedReply, proof: &Proof, leaf: &Hash, roster: &Roster) -> Result<(), BadProof> {
    let (entry, signed) = receipt.signed_for(roster)?;
    if receipt.node != proof.node || entry != proof.entry {
        return Err(BadProof::Receipt("the node signed for another entry"));
    }
    if signed != *leaf {
        return Err(BadProof::Receipt("the node signed for another leaf"));
    }
    Ok(())
}
