//! Where things lie: keys as they are on disk, in the clear. They hold ids and indices, never names.
//!
//! ```text
//! log     index u64
//! state   generation u32 ‖ 1 ‖ record key
//!         generation u32 ‖ 2 ‖ index kind u8 ‖ HMAC(parent)[32] ‖ HMAC(name)[32]
//!         generation u32 ‖ 3                                                        how far it is applied
//! local   0                                                                         header
//!         1 ‖ slot u8
//!         2                                                                         generation of the state in force
//!         3 ‖ key                                                                   the node's own records
//! audit   1 ‖ index u64                                                             leaf
//!         2 ‖ tile level u8 ‖ tile index u64                                        full tile: 256 hashes
//!         3                                                                         latest checkpoint
//!         4                                                                         latest with t cosignatures
//!         5                                                                         first leaf that is kept, u64
//! chain   index u64
//! ```
//!
//! A snapshot is received as another generation; switching over changes one value.

use symbolon_consensus::Slot;

pub(crate) const HEADER: &[u8] = &[0];
pub(crate) const GENERATION: &[u8] = &[2];
pub(crate) const CHECKPOINT: &[u8] = &[3];
pub(crate) const COSIGNED: &[u8] = &[4];
pub(crate) const KEPT_FROM: &[u8] = &[5];

const PART_RECORD: u8 = 1;
const PART_NAME: u8 = 2;
const PART_APPLIED: u8 = 3;

/// Bytes before a record key.
pub(crate) const RECORD_PREFIX_BYTES: usize = 5;

pub(crate) fn index(index: u64) -> Vec<u8> {
    index.to_be_bytes().to_vec()
}

/// Reads back what [`index`] or the end of [`leaf`] says.
pub(crate) fn index_of(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

/// After the last index.
pub(crate) const INDEX_END: &[u8] = &[0xff; 9];

pub(crate) fn record(generation: u32, key: &[u8]) -> Vec<u8> {
    part(generation, PART_RECORD, &[key])
}

pub(crate) fn name(generation: u32, kind: u8, parent: &[u8; 32], name: &[u8; 32]) -> Vec<u8> {
    part(generation, PART_NAME, &[&[kind], parent, name])
}

pub(crate) fn names_prefix(generation: u32, kind: u8, parent: &[u8; 32]) -> Vec<u8> {
    part(generation, PART_NAME, &[&[kind], parent])
}

pub(crate) fn applied(generation: u32) -> Vec<u8> {
    part(generation, PART_APPLIED, &[])
}

/// Everything of one generation begins with this.
pub(crate) fn generation(generation: u32) -> Vec<u8> {
    generation.to_be_bytes().to_vec()
}

fn part(generation: u32, part: u8, rest: &[&[u8]]) -> Vec<u8> {
    let mut key = generation.to_be_bytes().to_vec();
    key.push(part);
    for piece in rest {
        key.extend_from_slice(piece);
    }
    key
}

pub(crate) fn slot(slot: Slot) -> Vec<u8> {
    vec![1, slot as u8]
}

pub(crate) fn local(key: &[u8]) -> Vec<u8> {
    let mut out = vec![3];
    out.extend_from_slice(key);
    out
}

pub(crate) fn leaf(index: u64) -> Vec<u8> {
    let mut key = vec![1];
    key.extend_from_slice(&index.to_be_bytes());
    key
}

pub(crate) fn tile(level: u8, index: u64) -> Vec<u8> {
    let mut key = vec![2, level];
    key.extend_from_slice(&index.to_be_bytes());
    key
}

/// The first key after all that begin with `prefix`; empty prefixes have none, and are not used.
pub(crate) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // Only a prefix of nothing but 0xff ends here; nothing sorts after this.
    vec![u8::MAX; prefix.len().saturating_add(1)]
}

/// The first key after `key`.
pub(crate) fn after(key: &[u8]) -> Vec<u8> {
    let mut next = key.to_vec();
    next.push(0);
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_after_a_prefix_is_the_first_beyond_it() {
        assert_eq!(after_prefix(&[1, 2]), [1, 3]);
        assert_eq!(after_prefix(&[1, 0xff]), [2]);
        assert!(after_prefix(&[0xff]).as_slice() > &[0xff, 0xfe][..]);
    }

    #[test]
    fn parts_of_a_generation_do_not_overlap() {
        let record = record(7, &[0xff; 8]);
        let name = name(7, 0, &[0; 32], &[0; 32]);
        assert!(record < name && name < applied(7) && applied(7) < generation(8));
    }
}
