//! Who vouches: the nodes' boot statements as they are seen, and the signatures of t others without which no snapshot is
//! taken. The simulation uses the same.

use crate::member::lock;
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use symbolon_consensus::{SnapshotGuard, SnapshotMeta, SnapshotRefused};
use symbolon_crypto::provider::Provider;
use symbolon_crypto::sign::{Ed25519VerifyingKey, VerifyingKey};
use symbolon_custody::snapshots::{self, Claim, Collected};
use symbolon_state::BootView;
use symbolon_wire::roster::Roster;
use symbolon_wire::v1;

/// Verified boot statements by node and counter.
#[derive(Debug, Default)]
pub struct Boots(Mutex<BTreeMap<(u16, u64), BootView>>);

impl Boots {
    /// Keeps a statement's keys.
    pub fn keep(&self, node: u16, boot: BootView) {
        lock(&self.0).insert((node, boot.counter), boot);
    }

    /// The signing key of a boot.
    pub fn signing_key(&self, node: u16, counter: u64) -> Option<VerifyingKey> {
        lock(&self.0).get(&(node, counter)).map(|boot| boot.signing_key.clone())
    }

    /// The checkpoint key of a boot.
    pub fn checkpoint_key(&self, node: u16, counter: u64) -> Option<Ed25519VerifyingKey> {
        lock(&self.0).get(&(node, counter))?.checkpoint_key.clone()
    }
}

/// What a signature over a snapshot says.
pub fn claim(meta: &SnapshotMeta) -> Claim {
    Claim {
        index: meta.index,
        chain: meta.chain,
        state_root: meta.state_root,
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
