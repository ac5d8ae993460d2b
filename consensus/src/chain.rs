//! The chain over all applied entries (`custody.md`, "Chain").
//!
//! ```text
//! chain_0 = SHA-256(enc("symbolon/v1/chain/start", cluster[16], genesis hash[32]))
//! chain_i = SHA-256(enc("symbolon/v1/chain", chain_(i−1), term u64, log index u64, kind u16, SHA-256(payload)))
//! enc(x1..xk) = u32be(length) ‖ bytes, for each field; integers big-endian
//! ```
//!
//! The payload of a membership entry is [`membership_bytes`], that of a blank entry is empty.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};
use symbolon_crypto::enc::{hash_enc, sha256};

use crate::limits::{CONFIGS_MAX, MEMBERS_MAX};
use crate::types::Membership;

/// Domain label of each step.
const LABEL_STEP: &[u8] = b"symbolon/v1/chain";

/// Domain label of the first value.
const LABEL_START: &[u8] = b"symbolon/v1/chain/start";

/// A value of the chain.
pub type ChainValue = [u8; 32];

/// The chain value before the first entry.
#[must_use]
pub fn start(cluster: &[u8; 16], genesis_hash: &[u8; 32]) -> ChainValue {
    hash_enc(&[LABEL_START, cluster, genesis_hash])
}

/// The chain value after one more entry.
#[must_use]
pub fn step(before: &ChainValue, term: u64, index: u64, kind: u16, payload: &[u8]) -> ChainValue {
    #[cfg(feature = "sabotage")]
    let payload = if symbolon_sabotage::Bug::ChainWithoutPayload.on() {
        &[]
    } else {
        payload
    };
    let (term, index, kind) = (term.to_be_bytes(), index.to_be_bytes(), kind.to_be_bytes());
    hash_enc(&[LABEL_STEP, before, &term, &index, &kind, &sha256(payload)])
}

/// Feeds one field of `enc` into a hash that is too long to gather first. Records are far below 4 GiB (see `limits`).
pub(crate) fn absorb(hash: &mut Sha256, field: &[u8]) {
    let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
    hash.update(length.to_be_bytes());
    hash.update(field);
}

/// The payload of a membership entry, in the chain, in the log and on the wire.
///
/// `enc(voters of configuration 1, …, voters of configuration k, learners)`: each field is the ascending node indices,
/// u64 big-endian, one after the other. k is 1, or 2 while the configuration is joint, or 0 before the first.
pub(crate) fn membership_bytes(membership: &Membership) -> Vec<u8> {
    let mut out = Vec::new();
    let mut field = |ids: Vec<u64>| {
        let length = u32::try_from(ids.len().saturating_mul(8)).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        for id in ids {
            out.extend_from_slice(&id.to_be_bytes());
        }
    };
    for config in membership.get_joint_config() {
        field(config.iter().copied().collect());
    }
    // `learner_ids` walks a BTreeMap, so these ascend as well.
    field(membership.learner_ids().collect());
    out
}

/// Why bytes are not a membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MembershipMalformed {
    /// A field ends before its length, or its length is no multiple of 8.
    #[error("a membership field is cut short")]
    Truncated,
    /// More than two configurations, or more members than a roster can name.
    #[error("a membership has too many configurations or members")]
    TooLarge,
    /// Indices repeat or do not ascend, so that the same membership would have two encodings.
    #[error("membership indices do not strictly ascend")]
    NotAscending,
    /// A voter set is empty, or a learner is a voter too.
    #[error("a membership has an empty voter set, or a learner that is also a voter")]
    Inconsistent,
}

/// Reads [`membership_bytes`] back, refusing every other encoding.
pub(crate) fn membership_from_bytes(bytes: &[u8]) -> Result<Membership, MembershipMalformed> {
    let mut fields = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>().ok_or(MembershipMalformed::Truncated)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| MembershipMalformed::TooLarge)?;
        if length > MEMBERS_MAX * 8 || fields.len() > CONFIGS_MAX {
            return Err(MembershipMalformed::TooLarge);
        }
        let (field, after) = after.split_at_checked(length).ok_or(MembershipMalformed::Truncated)?;
        fields.push(ascending(field)?);
        rest = after;
    }
    let learners = fields.pop().ok_or(MembershipMalformed::Truncated)?;
    let voters: BTreeSet<u64> = fields.iter().flatten().copied().collect();
    if fields.iter().any(BTreeSet::is_empty) || !voters.is_disjoint(&learners) {
        return Err(MembershipMalformed::Inconsistent);
    }
    let nodes: std::collections::BTreeMap<u64, ()> = voters.union(&learners).map(|id| (*id, ())).collect();
    Ok(Membership::new_with_defaults(fields, nodes.into_keys()))
}

fn ascending(field: &[u8]) -> Result<BTreeSet<u64>, MembershipMalformed> {
    let (ids, rest) = field.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(MembershipMalformed::Truncated);
    }
    let mut set = BTreeSet::new();
    for id in ids {
        let id = u64::from_be_bytes(*id);
        if set.last().is_some_and(|last| *last >= id) {
            return Err(MembershipMalformed::NotAscending);
        }
        set.insert(id);
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership(configs: &[&[u64]], learners: &[u64]) -> Membership {
        Membership::new_with_defaults(
            configs.iter().map(|c| c.iter().copied().collect()).collect(),
            configs
                .iter()
                .flat_map(|c| c.iter().copied())
                .chain(learners.iter().copied())
                .collect::<BTreeSet<_>>(),
        )
    }

    #[test]
    fn every_field_of_a_step_changes_the_chain() {
        let base = step(&[1; 32], 2, 3, 16, b"x");
        assert_eq!(base, step(&[1; 32], 2, 3, 16, b"x"));
        for other in [
            step(&[2; 32], 2, 3, 16, b"x"),
            step(&[1; 32], 3, 3, 16, b"x"),
            step(&[1; 32], 2, 4, 16, b"x"),
            step(&[1; 32], 2, 3, 17, b"x"),
            step(&[1; 32], 2, 3, 16, b"y"),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn the_start_value_is_the_hash_of_its_written_out_encoding() {
        let mut written = Vec::new();
        written.extend_from_slice(&[0, 0, 0, 23]);
        written.extend_from_slice(b"symbolon/v1/chain/start");
        written.extend_from_slice(&[0, 0, 0, 16]);
        written.extend_from_slice(&[7; 16]);
        written.extend_from_slice(&[0, 0, 0, 32]);
        written.extend_from_slice(&[9; 32]);
        let expected: [u8; 32] = Sha256::digest(&written).into();
        assert_eq!(start(&[7; 16], &[9; 32]), expected);
    }

    #[test]
    fn memberships_survive_their_encoding() {
        for m in [
            Membership::default(),
            membership(&[&[1, 2, 3]], &[]),
            membership(&[&[1, 2, 3]], &[4, 9]),
            membership(&[&[1, 2, 3], &[2, 3, 4]], &[7]),
        ] {
            assert_eq!(membership_from_bytes(&membership_bytes(&m)).unwrap(), m);
        }
    }

    #[test]
    fn a_uniform_membership_encodes_voters_then_learners() {
        let bytes = membership_bytes(&membership(&[&[1, 2]], &[3]));
        let mut expected = vec![0, 0, 0, 16];
        expected.extend_from_slice(&1u64.to_be_bytes());
        expected.extend_from_slice(&2u64.to_be_bytes());
        expected.extend_from_slice(&[0, 0, 0, 8]);
        expected.extend_from_slice(&3u64.to_be_bytes());
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_membership_with_repeated_or_descending_indices_is_refused() {
        let mut bytes = vec![0, 0, 0, 16];
        bytes.extend_from_slice(&2u64.to_be_bytes());
        bytes.extend_from_slice(&2u64.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        assert_eq!(membership_from_bytes(&bytes), Err(MembershipMalformed::NotAscending));
    }

    #[test]
    fn a_truncated_or_oversized_membership_is_refused() {
        assert_eq!(membership_from_bytes(&[]), Err(MembershipMalformed::Truncated));
        assert_eq!(
            membership_from_bytes(&[0, 0, 0, 8, 1]),
            Err(MembershipMalformed::Truncated)
        );
        assert_eq!(membership_from_bytes(&[0xff; 4]), Err(MembershipMalformed::TooLarge));
        assert_eq!(membership_from_bytes(&[0; 8]), Err(MembershipMalformed::Inconsistent));
    }

    #[test]
    fn a_learner_that_votes_is_refused() {
        let mut bytes = Vec::new();
        for _ in 0..2 {
            bytes.extend_from_slice(&[0, 0, 0, 8]);
            bytes.extend_from_slice(&1u64.to_be_bytes());
        }
        assert_eq!(membership_from_bytes(&bytes), Err(MembershipMalformed::Inconsistent));
    }

    #[test]
    fn each_seeded_bug_is_found_by_its_test_here() {
        symbolon_sabotage::caught_in(file!());
    }
}
