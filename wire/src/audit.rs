//! Audit leaves: one decision each (authority.md, "Audit"). The leaf is the encoded message, salt included; the tree
//! hashes it as RFC 9162 says. The salt keeps a leaf's hash from confirming a guess of its content.

use crate::v1::AuditLeaf;
use bytes::Bytes;
use prost::Message;

/// Longest leaf, bytes.
pub const LEAF_BYTES_MAX: usize = 8 * 1024;

/// A leaf that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit leaf is too long, cut short, or not in canonical form")]
pub struct BadLeaf;

/// Encodes a leaf for the log.
pub fn encode(leaf: &AuditLeaf) -> Bytes {
    leaf.encode_to_vec().into()
}

/// Decodes a leaf from a log.
pub fn decode(bytes: Bytes) -> Result<AuditLeaf, BadLeaf> {
    if bytes.len() > LEAF_BYTES_MAX {
        return Err(BadLeaf);
    }
    let leaf = AuditLeaf::decode(bytes.clone()).map_err(|_| BadLeaf)?;
    if leaf.encode_to_vec() != bytes {
        return Err(BadLeaf);
    }
    Ok(leaf)
}

/// The name under which a node cosigns the checkpoints of others (C2SP tlog-cosignature).
pub fn witness(cluster: crate::ids::ClusterId, node: u16) -> String {
    format!("symbolon.invalid/{cluster}/witness/{node}")
}

/// The node that cosigns under `name`.
pub fn witness_node(cluster: crate::ids::ClusterId, name: &str) -> Option<u16> {
    let node = name.rsplit_once('/')?.1.parse().ok()?;
    (witness(cluster, node) == name).then_some(node)
}

/// The origin line of a node's checkpoints (C2SP tlog-checkpoint).
pub fn origin(cluster: crate::ids::ClusterId, node: u16) -> String {
    format!("symbolon.invalid/{cluster}/audit/{node}")
}
