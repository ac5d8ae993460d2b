//! Proofs of RFC 9162: that a leaf is in a tree (2.1.3), and that one tree begins with another (2.1.4).

use thiserror::Error;

use super::{NodeReader, empty_root, node_hash};
use crate::{Hash, limits::PROOF_HASHES_MAX};

/// A proof cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProofError<E> {
    /// The leaf or the older tree is not in the tree.
    #[error("{asked} is outside a tree of {size} leaves")]
    OutOfRange {
        /// The leaf index, or the size of the older tree.
        asked: u64,
        /// The size of the tree.
        size: u64,
    },
    /// Reading a hash failed.
    #[error("a hash of the tree could not be read: {0}")]
    Read(E),
}

/// A proof does not prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadProof {
    /// The sizes or the index cannot be those of any proof.
    #[error("the leaf or the older tree lies outside the tree")]
    OutOfRange,
    /// Too few or too many hashes for these sizes.
    #[error("the proof has another number of hashes than its sizes ask for")]
    Length,
    /// The hashes lead to another root.
    #[error("the proof leads to another root")]
    Root,
}

/// The root over the first `size` leaves.
///
/// # Errors
/// Those of the reader.
pub fn root_at<R: NodeReader + ?Sized>(reader: &R, size: u64) -> Result<Hash, R::Error> {
    if size == 0 {
        Ok(empty_root())
    } else {
        range_hash(reader, 0, size)
    }
}

/// The hash over the leaves `low` up to `high`; `low` is a multiple of the largest power of two below their number.
fn range_hash<R: NodeReader + ?Sized>(reader: &R, low: u64, high: u64) -> Result<Hash, R::Error> {
    let count = high - low;
    if count.is_power_of_two() {
        #[expect(clippy::cast_possible_truncation, reason = "a logarithm of a u64 is below 64")]
        let level = count.trailing_zeros() as u8;
        return reader.node(level, low >> level);
    }
    let middle = low + split(count);
    Ok(node_hash(
        &range_hash(reader, low, middle)?,
        &range_hash(reader, middle, high)?,
    ))
}

/// k: the largest power of two below `count`, which is at least 2.
fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

/// PATH(index, D_size): proves the leaf `index` in the tree of the first `size` leaves.
///
/// # Errors
/// [`ProofError`].
pub fn inclusion_proof<R: NodeReader + ?Sized>(
    reader: &R,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, ProofError<R::Error>> {
    if index >= size {
        return Err(ProofError::OutOfRange { asked: index, size });
    }
    let (mut low, mut high) = (0, size);
    let mut path = Vec::new();
    while high - low > 1 {
        let middle = low + split(high - low);
        let sibling = if index < middle { (middle, high) } else { (low, middle) };
        path.push(range_hash(reader, sibling.0, sibling.1).map_err(ProofError::Read)?);
        if index < middle { high = middle } else { low = middle }
    }
    path.reverse();
    Ok(path)
}

/// PROOF(old, D_new): proves that the tree of `new` leaves begins with that of `old` leaves. Empty for `old` = 0, which
/// every tree begins with.
///
/// # Errors
/// [`ProofError`].
pub fn consistency_proof<R: NodeReader + ?Sized>(
    reader: &R,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, ProofError<R::Error>> {
    if old > new {
        return Err(ProofError::OutOfRange { asked: old, size: new });
    }
    if old == 0 || old == new {
        return Ok(vec![]);
    }
    let (mut low, mut high) = (0, new);
    let mut path = Vec::new();
    // Down to the subtree that ends where the old tree ends; unless that is the whole old tree, its hash is needed.
    while high != old {
        let middle = low + split(high - low);
        let sibling = if old <= middle { (middle, high) } else { (low, middle) };
        path.push(range_hash(reader, sibling.0, sibling.1).map_err(ProofError::Read)?);
        if old <= middle { high = middle } else { low = middle }
    }
    if low != 0 {
        path.push(range_hash(reader, low, high).map_err(ProofError::Read)?);
    }
    path.reverse();
    Ok(path)
}

/// RFC 9162, 2.1.3.2: checks that the leaf with this hash is the leaf `index` of the tree of `size` leaves and this root.
///
/// # Errors
/// [`BadProof`].
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> Result<(), BadProof> {
    if inclusion_root(leaf, index, size, path)? == *root {
        Ok(())
    } else {
        Err(BadProof::Root)
    }
}

/// The root to which `path` leads from the leaf `index` of a tree of `size` leaves: for whoever knows the root only by a
/// signature over it.
///
/// # Errors
/// [`BadProof::OutOfRange`] or [`BadProof::Length`].
pub fn inclusion_root(leaf: &Hash, index: u64, size: u64, path: &[Hash]) -> Result<Hash, BadProof> {
    if index >= size {
        return Err(BadProof::OutOfRange);
    }
    if path.len() > PROOF_HASHES_MAX {
        return Err(BadProof::Length);
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return Err(BadProof::Length);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            // A right edge that has no sibling at this level goes up without one.
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last == 0 { Ok(hash) } else { Err(BadProof::Length) }
}

/// RFC 9162, 2.1.4.2: checks that the tree of `new` leaves and `new_root` begins with that of `old` leaves and `old_root`.
///
/// # Errors
/// [`BadProof`].
pub fn verify_consistency(old: u64, new: u64, old_root: &Hash, new_root: &Hash, path: &[Hash]) -> Result<(), BadProof> {
    if old > new {
        return Err(BadProof::OutOfRange);
    }
    if path.len() > PROOF_HASHES_MAX {
        return Err(BadProof::Length);
    }
    if old == 0 || old == new {
        return match path {
            [] if old == new && old_root != new_root => Err(BadProof::Root),
            [] if old == 0 && *old_root != empty_root() => Err(BadProof::Root),
            [] => Ok(()),
            _ => Err(BadProof::Length),
        };
    }
    // If the old tree is one complete subtree, its root is the first hash and is not sent.
    let mut hashes = path.iter();
    let first = if old.is_power_of_two() {
        old_root
    } else {
        hashes.next().ok_or(BadProof::Length)?
    };
    let (mut node, mut last) = (old - 1, new - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in hashes {
        if last == 0 {
            return Err(BadProof::Length);
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    match last {
        0 if old_hash == *old_root && new_hash == *new_root => Ok(()),
        0 => Err(BadProof::Root),
        _ => Err(BadProof::Length),
    }
}
