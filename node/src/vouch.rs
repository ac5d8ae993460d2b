//! Who vouches: the nodes' boot statements as they are seen, and the signatures of t others without which no snapshot is
//! taken. The simulation uses the same.

use crate::member::lock;
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use symbolon_consensus::{SnapshotGuard, SnapshotMeta, SnapshotRefused};
use symbolon_crypto::provider::Provider;
use symbolon_crypto::sign::{Ed25519VerifyingKey, VerifyingKey};
use symbolon_custody::heads::{Heads, Told};
use symbolon_custody::snapshots::{self, Claim, Collected};
use symbolon_state::{BootView, check_boot};
use symbolon_wire::roster::Roster;
use symbolon_wire::v1;

/// Statements of one node that are kept, those of its latest boots: one that makes boots up pushes out nobody else's. What it
/// signs beyond that counts only together with the statement.
const BOOTS_KEPT: usize = 64;
/// Statements of one counter that are kept, the last ones: of an honest node there is one, and two if its disk was put back.
const BOOTS_OF_ONE_COUNTER_KEPT: usize = 4;

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

/// A boot statement that was checked.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Whose.
    pub node: u16,
    /// The keys in it.
    pub boot: BootView,
    /// As it was signed.
    pub statement: Arc<v1::BootKeys>,
}

impl Boots {
    /// Checks a statement, unless it is known, and keeps it; `None` if it is not one.
    pub fn keep(&self, roster: &Roster, provider: &dyn Provider, statement: &v1::BootKeys) -> Option<Seen> {
        let known = u16::try_from(statement.node).ok().and_then(|node| {
            let boots = lock(&self.0);
            let mut seen = boots.get(&node)?.iter();
            seen.find(|seen| *seen.statement == *statement).cloned()
        });
        if known.is_some() {
            return known;
        }
        let (node, boot) = check_boot(roster, provider, statement)?;
        let seen = Seen {
            node,
            boot,
            statement: Arc::new(statement.clone()),
        };
        let (counter, key) = (seen.boot.counter, &seen.boot.signing_key);
        let mut boots = lock(&self.0);
        let kept = boots.entry(node).or_default();
        // A signature may differ from time to time; the keys are what counts.
        let same = |known: &Seen| known.boot.counter == counter && known.boot.signing_key == *key;
        if !kept.iter().any(same) {
            let (from, upto) = (
                kept.partition_point(|known| known.boot.counter < counter),
                kept.partition_point(|known| known.boot.counter <= counter),
            );
            kept.insert(upto, seen.clone());
            if upto - from >= BOOTS_OF_ONE_COUNTER_KEPT {
                kept.remove(from);
            }
        }
        if kept.len() > BOOTS_KEPT {
            kept.remove(0);
        }
        Some(seen)
    }

    /// The statements of a boot: one, of an honest node.
    pub fn of_boot(&self, node: u16, counter: u64) -> Vec<Seen> {
        self.of(node, counter, Seen::clone)
    }

    fn of<T>(&self, node: u16, counter: u64, take: impl Fn(&Seen) -> T) -> Vec<T> {
        let boots = lock(&self.0);
        let seen = boots.get(&node).into_iter().flatten();
        seen.filter(|seen| seen.boot.counter == counter).map(take).collect()
    }

    /// The signing key of a boot.
    pub fn signing_key(&self, node: u16, counter: u64) -> Option<VerifyingKey> {
        self.of(node, counter, |seen| seen.boot.signing_key.clone()).pop()
    }

    /// The checkpoint key of a boot.
    pub fn checkpoint_key(&self, node: u16, counter: u64) -> Option<Ed25519VerifyingKey> {
        self.of(node, counter, |seen| seen.boot.checkpoint_key.clone()).pop()?
    }
}

/// What a message passes on: heads, and the statements of the boots that signed them. Who gets the heads may have seen none of
/// those, and could not tell that one node shows each of the others another boot, and another history.
pub fn pass_on(told: Vec<Told>) -> (Vec<v1::Head>, Vec<v1::BootKeys>) {
    let mut boots: Vec<Arc<v1::BootKeys>> = Vec::new();
    for boot in told.iter().filter_map(|told| told.boot.as_ref()) {
        if !boots.contains(boot) {
            boots.push(Arc::clone(boot));
        }
    }
    #[cfg(feature = "sabotage")]
    if symbolon_sabotage::Bug::BootsNotPassedOn.on() {
        boots.clear();
    }
    let boots = boots.into_iter().take(BOOTS_MAX).map(Arc::unwrap_or_clone).collect();
    (told.into_iter().map(|told| told.head).collect(), boots)
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
    /// What the nodes say their logs are.
    pub heads: Arc<Mutex<Heads>>,
    /// Set where somebody needs a snapshot that too few vouch for.
    pub wanted: Arc<AtomicBool>,
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

    fn evidence(&self, meta: &SnapshotMeta, to: u64) -> Option<Bytes> {
        let evidence = lock(&self.collected).evidence(&claim(meta));
        // Its own word, which it may have forgotten, does not count to it.
        let others = evidence.signatures.iter().filter(|signed| u64::from(signed.node) != to);
        if others.count() < usize::from(self.roster.threshold) {
            self.wanted.store(true, Ordering::Relaxed);
            return None;
        }
        Some(evidence.encode_to_vec().into())
    }

    fn replaceable(&self, applied: u64) -> bool {
        lock(&self.heads).replaceable(applied)
    }
}
