//! Who vouches: the nodes' boot statements as they are seen, and the signatures of t others without which no snapshot is
//! taken. The simulation uses the same.

use crate::member::lock;
use bytes::Bytes;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use symbolon_consensus::{SnapshotGuard, SnapshotMeta, SnapshotRefused};
use symbolon_crypto::provider::Provider;
use symbolon_crypto::sign::{Ed25519VerifyingKey, VerifyingKey};
use symbolon_custody::snapshots::{self, Claim, Collected};
use symbolon_state::{BootView, check_boot};
use symbolon_wire::roster::Roster;
use symbolon_wire::v1;

/// Statements of one node that are kept, those of its latest boots: one that makes boots up pushes out nobody else's.
const BOOTS_KEPT: usize = 64;

/// Heads of one message that count; honest nodes send fewer: of each node its newest and contested ones.
pub const HEADS_MAX: usize = 128;
/// Signatures over snapshots of one message that count: those of the latest marks of seven nodes.
pub const SNAPSHOTS_MAX: usize = 64;
/// Boot statements of one message that count.
pub const BOOTS_MAX: usize = 64;

/// Verified boot statements by node. A node may have signed several of one counter: a disk that was put back counts the
/// same boot twice, and a malicious node counts as it likes.
#[derive(Debug, Default)]
pub struct Boots(Mutex<BTreeMap<u16, Vec<Seen>>>);

#[derive(Debug)]
struct Seen {
    boot: BootView,
    statement: v1::BootKeys,
}

impl Boots {
    /// Checks a statement, unless it is known, and keeps it; `None` if it is not one.
    pub fn keep(&self, roster: &Roster, provider: &dyn Provider, statement: &v1::BootKeys) -> Option<(u16, BootView)> {
        let known = u16::try_from(statement.node).ok().and_then(|node| {
            let boots = lock(&self.0);
            let seen = boots.get(&node)?.iter().find(|seen| seen.statement == *statement)?;
            Some((node, seen.boot.clone()))
        });
        if known.is_some() {
            return known;
        }
        let (node, boot) = check_boot(roster, provider, statement)?;
        let mut boots = lock(&self.0);
        let kept = boots.entry(node).or_default();
        // A signature may differ from time to time; the keys are what counts.
        let same = |seen: &Seen| seen.boot.counter == boot.counter && seen.boot.signing_key == boot.signing_key;
        if !kept.iter().any(same) {
            let place = kept.partition_point(|seen| seen.boot.counter <= boot.counter);
            let seen = Seen {
                boot: boot.clone(),
                statement: statement.clone(),
            };
            kept.insert(place, seen);
        }
        if kept.len() > BOOTS_KEPT {
            kept.remove(0);
        }
        Some((node, boot))
    }

    fn of<T>(&self, node: u16, counter: u64, take: impl Fn(&Seen) -> T) -> Vec<T> {
        let boots = lock(&self.0);
        let seen = boots.get(&node).into_iter().flatten();
        seen.filter(|seen| seen.boot.counter == counter).map(take).collect()
    }

    /// The signing keys of a boot: one, of an honest node.
    pub fn signing_keys(&self, node: u16, counter: u64) -> Vec<VerifyingKey> {
        self.of(node, counter, |seen| seen.boot.signing_key.clone())
    }

    /// The signing key of a boot.
    pub fn signing_key(&self, node: u16, counter: u64) -> Option<VerifyingKey> {
        self.signing_keys(node, counter).pop()
    }

    /// The checkpoint key of a boot.
    pub fn checkpoint_key(&self, node: u16, counter: u64) -> Option<Ed25519VerifyingKey> {
        self.of(node, counter, |seen| seen.boot.checkpoint_key.clone()).pop()?
    }

    /// The statements of the boots under which these heads were signed: who gets the heads may have seen none of them, and
    /// could not tell that one node shows each of the others another boot, and another history.
    pub fn behind(&self, heads: &[v1::Head]) -> Vec<v1::BootKeys> {
        #[cfg(feature = "sabotage")]
        if symbolon_sabotage::Bug::BootsNotPassedOn.on() {
            return Vec::new();
        }
        let of = |head: &v1::Head| Some((u16::try_from(head.node).ok()?, head.boot_counter));
        let signers: BTreeSet<(u16, u64)> = heads.iter().filter_map(of).collect();
        signers
            .into_iter()
            .flat_map(|(node, counter)| self.of(node, counter, |seen| seen.statement.clone()))
            .take(BOOTS_MAX)
            .collect()
    }
}

/// What a signature over a snapshot says. In place of the bare state root stands the hash of all that the snapshot claims,
/// the state root among it.
pub fn claim(meta: &SnapshotMeta) -> Claim {
    Claim {
        index: meta.index,
        chain: meta.chain,
        state_root: meta.digest(),
    }
}

/// Checks that t other members vouch for a snapshot before any of it is taken.
pub struct Guard {
    /// The roster.
    pub roster: Arc<Roster>,
    /// This node.
    pub node: u16,
    /// Signature checks.
    pub provider: Arc<dyn Provider>,
    /// Boot statements seen; a node that lags may not have applied the newest.
    pub boots: Arc<Boots>,
    /// Signatures collected.
    pub collected: Arc<Mutex<Collected>>,
}

impl SnapshotGuard for Guard {
    fn accept(&self, meta: &SnapshotMeta, evidence: &[u8]) -> Result<(), SnapshotRefused> {
        let refused = |reason| SnapshotRefused::NotVouchedFor {
            index: meta.index,
            reason,
        };
        let evidence = v1::SnapshotEvidence::decode(evidence).map_err(|_| refused("the evidence does not parse"))?;
        let key_of = |node: u16, counter: u64| self.boots.signing_key(node, counter);
        let checked = snapshots::check(
            &claim(meta),
            &evidence,
            self.node,
            &self.roster,
            key_of,
            self.provider.as_ref(),
        );
        checked.map_err(|_| refused("fewer than t other members signed it"))
    }

    fn evidence(&self, meta: &SnapshotMeta) -> Option<Bytes> {
        let evidence = lock(&self.collected).evidence(&claim(meta));
        let enough = evidence.signatures.len() >= usize::from(self.roster.threshold);
        enough.then(|| evidence.encode_to_vec().into())
    }
}
