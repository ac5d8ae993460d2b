//! Snapshots: records as of one marked entry, vouched for by others than their sender.
//!
//! State root = SHA-256 over `enc(record key, plaintext record)` of all replicated records in ascending key order
//! (`custody.md`, "Snapshots"). What a node keeps for itself, and the name index, are not in it.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::chain::{ChainValue, absorb, membership_bytes, membership_from_bytes};
use crate::entry::{AppliedState, put_log_id};
use crate::limits::{CHUNK_BYTES_MAX, DESCRIBING_SHARE, RECORDS_PER_TURN};
use crate::records::Record;
use crate::storage::{Frozen, Staging, StoreFault};
use crate::types::{RaftSnapshotMeta, StoredMembership, log_id, term_of};

/// Version of the stored and sent form of [`SnapshotMeta`].
const VERSION: u8 = 1;

/// What a snapshot claims, and what those who vouch for it sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// Which life of the cluster: restoring from a backup begins a new one.
    pub incarnation: u64,
    /// The entry that marks it; all entries up to it are in it.
    pub index: u64,
    /// Raft term of that entry.
    pub term: u64,
    /// Chain value at that entry.
    pub chain: ChainValue,
    /// SHA-256 over all records.
    pub state_root: [u8; 32],
    /// Number of records.
    pub records: u64,
    /// Bytes of record keys and records.
    pub bytes: u64,
    /// The membership in force there.
    pub(crate) membership: StoredMembership,
}

impl SnapshotMeta {
    /// What is signed for it: a hash over all that it claims. Were it the state root alone, whoever sends the snapshot
    /// could choose its term, its membership and its size.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        #[cfg(feature = "sabotage")]
        if symbolon_sabotage::Bug::SnapshotMetaUnsigned.on() {
            return self.state_root;
        }
        let mut hash = Sha256::new();
        absorb(&mut hash, b"symbolon/v1/snapshot/meta");
        absorb(&mut hash, &self.encode());
        hash.finalize().into()
    }

    pub(crate) fn raft(&self) -> RaftSnapshotMeta {
        RaftSnapshotMeta {
            last_log_id: Some(log_id(self.term, self.index)),
            last_membership: self.membership.clone(),
        }
    }

    pub(crate) fn applied(&self) -> AppliedState {
        AppliedState {
            last: log_id(self.term, self.index),
            chain: self.chain,
            membership: self.membership.clone(),
        }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let membership = membership_bytes(self.membership.membership());
        let mut out = BytesMut::with_capacity(128 + membership.len());
        out.put_u8(VERSION);
        out.put_u64(self.incarnation);
        put_log_id(&mut out, &log_id(self.term, self.index));
        out.put_slice(&self.chain);
        out.put_slice(&self.state_root);
        out.put_u64(self.records);
        out.put_u64(self.bytes);
        match self.membership.log_id() {
            Some(id) => {
                out.put_u8(1);
                put_log_id(&mut out, id);
            }
            None => out.put_u8(0),
        }
        out.put_slice(&membership);
        out.freeze()
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        if bytes.try_get_u8().ok()? != VERSION {
            return None;
        }
        let incarnation = bytes.try_get_u64().ok()?;
        let term = bytes.try_get_u64().ok()?;
        let index = bytes.try_get_u64().ok()?;
        let (mut chain, mut state_root) = ([0; 32], [0; 32]);
        bytes.try_copy_to_slice(&mut chain).ok()?;
        bytes.try_copy_to_slice(&mut state_root).ok()?;
        let records = bytes.try_get_u64().ok()?;
        let size = bytes.try_get_u64().ok()?;
        let membership_id = match bytes.try_get_u8().ok()? {
            0 => None,
            1 => Some(log_id(bytes.try_get_u64().ok()?, bytes.try_get_u64().ok()?)),
            _ => return None,
        };
        let membership = StoredMembership::new(membership_id, membership_from_bytes(bytes).ok()?);
        Some(Self {
            incarnation,
            index,
            term,
            chain,
            state_root,
            records,
            bytes: size,
            membership,
        })
    }
}

/// Why a snapshot was not taken over. The state stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotRefused {
    /// The evidence does not vouch for what the snapshot claims.
    #[error("the snapshot at {index} is not vouched for: {reason}")]
    NotVouchedFor {
        /// Its index.
        index: u64,
        /// What is missing, in the words of whoever checked.
        reason: &'static str,
    },
    /// It belongs to another life of the cluster.
    #[error("the snapshot belongs to incarnation {theirs}, this node to {ours}")]
    OtherIncarnation {
        /// The snapshot's.
        theirs: u64,
        /// This node's.
        ours: u64,
    },
    /// The records that arrived are not those that were vouched for.
    #[error("the snapshot at {index} does not have the state root that was vouched for")]
    StateRoot {
        /// Its index.
        index: u64,
    },
    /// It is older than what this node has applied.
    #[error("the snapshot at {index} is not ahead of this node, which has applied, or was given, {applied}")]
    Stale {
        /// Its index.
        index: u64,
        /// This node's.
        applied: u64,
    },
    /// The state that it would replace may be of another history, and nobody could tell afterwards.
    #[error(
        "the other nodes' logs are not known to agree with this node's up to {applied}, which the snapshot at {index} would replace"
    )]
    Unsettled {
        /// Its index.
        index: u64,
        /// What this node has applied.
        applied: u64,
    },
}

/// Who vouches for snapshots, and checks that others did: the node, which knows roster and keys.
pub trait SnapshotGuard: Send + Sync + 'static {
    /// Whether `evidence` vouches for `meta`. Called before any record is taken.
    ///
    /// # Errors
    /// Why it does not.
    fn accept(&self, meta: &SnapshotMeta, evidence: &[u8]) -> Result<(), SnapshotRefused>;

    /// What vouches to the member `to` for this node's own snapshot, at most [`crate::limits::EVIDENCE_BYTES_MAX`] bytes. `None`
    /// until enough have signed whom it believes; nothing is sent before.
    fn evidence(&self, meta: &SnapshotMeta, to: u64) -> Option<Bytes>;

    /// Whether the others' logs agree with this node's up to `applied`, where a snapshot is to replace its state. If that is not
    /// known, they are asked; called again until it is.
    fn replaceable(&self, applied: u64) -> bool;
}

/// Takes over no snapshot and vouches for none: for a cluster that never purges its log.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSnapshots;

impl SnapshotGuard for NoSnapshots {
    fn accept(&self, meta: &SnapshotMeta, _evidence: &[u8]) -> Result<(), SnapshotRefused> {
        Err(SnapshotRefused::NotVouchedFor {
            index: meta.index,
            reason: "this node takes over no snapshots",
        })
    }

    fn evidence(&self, _meta: &SnapshotMeta, _to: u64) -> Option<Bytes> {
        None
    }

    fn replaceable(&self, _applied: u64) -> bool {
        false
    }
}

/// What openraft hands around as a snapshot.
pub(crate) struct SnapshotData {
    pub(crate) meta: SnapshotMeta,
    pub(crate) source: Source,
}

/// Where its records are.
pub(crate) enum Source {
    /// Kept by this node's store.
    Frozen(Arc<dyn Frozen>),
    /// Received from a peer, checked against the state root.
    Staged(Box<dyn Staging>),
}

impl std::fmt::Debug for SnapshotData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SnapshotData(index {})", self.meta.index)
    }
}

/// The state root, record by record.
#[derive(Clone, Default)]
pub(crate) struct StateRoot {
    hash: Sha256,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    last: Option<Vec<u8>>,
}

impl StateRoot {
    /// Adds records. `false` if a key does not come after the one before it.
    pub(crate) fn add(&mut self, records: &[Record]) -> bool {
        for (key, value) in records {
            if self.last.as_ref().is_some_and(|last| last >= key) {
                return false;
            }
            absorb(&mut self.hash, key);
            let hashed: &[u8] = value;
            #[cfg(feature = "sabotage")]
            let hashed = if symbolon_sabotage::Bug::StateRootWithoutValues.on() {
                &[]
            } else {
                hashed
            };
            absorb(&mut self.hash, hashed);
            self.records = self.records.saturating_add(1);
            let size = u64::try_from(key.len().saturating_add(value.len())).unwrap_or(u64::MAX);
            self.bytes = self.bytes.saturating_add(size);
            self.last = Some(key.clone());
        }
        true
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        self.hash.finalize().into()
    }
}

/// Describes a frozen state, which takes a pass over all its records. It may take minutes, and the processors are needed
/// more for what goes on meanwhile: of each stretch of time it works a [`DESCRIBING_SHARE`]th at most.
pub(crate) async fn describe(frozen: &dyn Frozen, incarnation: u64) -> Result<SnapshotMeta, StoreFault> {
    let applied = AppliedState::decode(&frozen.applied()?)?;
    let mut root = StateRoot::default();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let begun = Instant::now();
        let records = frozen.scan(after.as_deref(), RECORDS_PER_TURN, CHUNK_BYTES_MAX)?;
        let Some((last, _)) = records.last() else { break };
        after = Some(last.clone());
        if !root.add(&records) {
            return Err(StoreFault::Corrupt {
                what: "snapshot order",
                kind: 0,
            });
        }
        // On a busy machine the turn took longer, and so does the pause. Virtual time stands still in between.
        let pause = begun.elapsed().saturating_mul(DESCRIBING_SHARE - 1);
        match pause.is_zero() {
            true => tokio::task::yield_now().await,
            false => tokio::time::sleep(pause).await,
        }
    }
    Ok(SnapshotMeta {
        incarnation,
        index: applied.last.index,
        term: term_of(&applied.last),
        chain: applied.chain,
        records: root.records,
        bytes: root.bytes,
        state_root: root.finish(),
        membership: applied.membership,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::time::Duration;

    fn meta(membership: StoredMembership) -> SnapshotMeta {
        SnapshotMeta {
            incarnation: 1,
            index: 2,
            term: 3,
            chain: [4; 32],
            state_root: [5; 32],
            records: 6,
            bytes: 7,
            membership,
        }
    }

    #[test]
    fn metas_survive_their_encoding_and_truncated_ones_do_not_decode() {
        let meta = meta(StoredMembership::new(Some(log_id(1, 1)), Default::default()));
        let bytes = meta.encode();
        assert_eq!(SnapshotMeta::decode(&bytes), Some(meta));
        for length in 0..bytes.len() {
            assert_eq!(SnapshotMeta::decode(&bytes[..length]), None, "{length}");
        }
    }

    #[test]
    fn every_field_of_a_meta_changes_what_is_signed_for_it() {
        let voters = |ids: [u64; 2]| {
            let configs = vec![ids.into_iter().collect()];
            StoredMembership::new(
                Some(log_id(1, 1)),
                crate::types::Membership::new_with_defaults(configs, []),
            )
        };
        let meta = meta(voters([1, 2]));
        assert_eq!(meta.digest(), meta.clone().digest());
        let changes: [fn(&mut SnapshotMeta); 8] = [
            |meta| meta.incarnation = 2,
            |meta| meta.index = 3,
            |meta| meta.term = 2,
            |meta| meta.chain[0] ^= 1,
            |meta| meta.state_root[0] ^= 1,
            |meta| meta.records += 1,
            |meta| meta.bytes = u64::MAX,
            |meta| meta.membership = StoredMembership::default(),
        ];
        for (nth, change) in changes.iter().enumerate() {
            let mut other = meta.clone();
            change(&mut other);
            assert_ne!(other.digest(), meta.digest(), "{nth}");
        }
        let other = SnapshotMeta {
            membership: voters([1, 3]),
            ..meta.clone()
        };
        assert_ne!(other.digest(), meta.digest());
    }

    #[test]
    fn the_state_root_is_the_hash_of_its_written_out_encoding() {
        let records = vec![
            (b"a".to_vec(), Bytes::from_static(b"xy")),
            (b"b".to_vec(), Bytes::new()),
        ];
        let mut root = StateRoot::default();
        assert!(root.add(&records));
        let written: &[u8] = &[0, 0, 0, 1, b'a', 0, 0, 0, 2, b'x', b'y', 0, 0, 0, 1, b'b', 0, 0, 0, 0];
        let expected: [u8; 32] = Sha256::digest(written).into();
        assert_eq!((root.records, root.bytes), (2, 4));
        assert_eq!(root.finish(), expected);
    }

    #[test]
    fn records_out_of_order_or_twice_have_no_state_root() {
        let record = |key: &[u8]| (key.to_vec(), Bytes::new());
        assert!(!StateRoot::default().add(&[record(b"b"), record(b"a")]));
        assert!(!StateRoot::default().add(&[record(b"a"), record(b"a")]));
    }

    /// A state of so many records, given out one at a time, each after a while of work.
    struct Slow {
        records: u8,
        worked: Mutex<Duration>,
    }

    impl Frozen for Slow {
        fn index(&self) -> u64 {
            1
        }

        fn applied(&self) -> Result<Bytes, StoreFault> {
            let applied = AppliedState {
                last: log_id(1, 1),
                chain: [4; 32],
                membership: StoredMembership::default(),
            };
            Ok(applied.encode())
        }

        fn scan(&self, after: Option<&[u8]>, _: usize, _: usize) -> Result<Vec<Record>, StoreFault> {
            let next = after.map_or(0, |key| key[0] + 1);
            if next == self.records {
                return Ok(Vec::new());
            }
            let begun = Instant::now();
            std::thread::sleep(Duration::from_millis(4));
            *self.worked.lock().unwrap() += begun.elapsed();
            Ok(vec![(vec![next], Bytes::new())])
        }
    }

    /// With 100,000 secrets it kept the processors of three nodes for seconds.
    #[tokio::test]
    async fn describing_a_state_rests_for_most_of_the_time_that_it_takes() {
        let slow = Slow {
            records: 20,
            worked: Mutex::default(),
        };
        let begun = Instant::now();
        let described = describe(&slow, 1).await.unwrap();
        let (took, worked) = (begun.elapsed(), *slow.worked.lock().unwrap());
        assert_eq!(described.records, 20);
        assert!(took >= worked * DESCRIBING_SHARE, "{took:?}, of it {worked:?} at work");
    }

    #[test]
    fn each_seeded_bug_is_found_by_its_test_here() {
        symbolon_sabotage::caught_in(file!());
    }
}
