//! Anchors of the nodes' audit logs (authority.md, "Audit"): once (size, root) of a log stands here, no node can show a
//! shorter or another one to whoever compares. Every node follows every log as a witness does, from anchor to anchor.

use crate::machine::{Effect, Machine};
use crate::query;
use crate::records::AnchorRecord;
use crate::view::{Fault, Records, store};
use crate::{keys, levels};
use bytes::Bytes;
use symbolon_crypto::Hash;
use symbolon_crypto::checkpoint::Checkpoint;
use symbolon_crypto::limits::PROOF_HASHES_MAX;
use symbolon_crypto::sign::Ed25519VerifyingKey;
use symbolon_crypto::witness::{Judged, judge};
use symbolon_wire::statements::Signer;
use symbolon_wire::{audit, v1};

/// Longest note in an anchor, bytes: origin, size, root, and one signature.
const NOTE_BYTES_MAX: usize = 512;

impl Machine {
    /// Takes an anchor that goes on from the last one of that log. One that contradicts it, signed by the log's node in
    /// both places, is kept as evidence, and no anchor of that log counts any more. All else is a no-op.
    pub(crate) fn audit_anchor(
        &mut self,
        records: &mut dyn Records,
        index: u64,
        message: &v1::AuditAnchor,
    ) -> Result<Vec<Effect>, Fault> {
        if query::feature_level(records)? < levels::AUDIT_ANCHORS {
            return Ok(Vec::new());
        }
        let Some((signer, _)) = self.node_signer(message.node, message.boot_counter) else {
            return Ok(Vec::new());
        };
        let Some(key) = self
            .boots
            .get(&signer.node)
            .and_then(|boot| boot.checkpoint_key.clone())
        else {
            return Ok(Vec::new());
        };
        let Some(Parts { offered, start, proof }) = self.parts(&signer, &key, message) else {
            return Ok(Vec::new());
        };
        let mut record = query::audit_anchor(records, signer.node)?.unwrap_or_default();
        if !record.forked.is_empty() || offered.size() == 0 {
            return Ok(Vec::new());
        }
        let broken = Fault::Broken {
            rule: "an anchor is a checkpoint",
        };
        let known = match record.checkpoint.is_empty() {
            true => None,
            false => Some(
                Checkpoint::read_unverified(&record.checkpoint)
                    .map_err(|_| broken)?
                    .head(),
            ),
        };
        let key = keys::audit_anchor(signer.node);
        match judge(known, start.as_ref().map(Checkpoint::head), offered.head(), &proof) {
            Judged::Extends => {
                let record = AnchorRecord {
                    checkpoint: message.checkpoint.clone(),
                    log_index: index,
                    forked: Bytes::new(),
                };
                store(records, key, &record);
                Ok(vec![Effect::AuditAnchored {
                    node: signer.node,
                    size: offered.size(),
                }])
            }
            Judged::Forked => {
                let offered_contradicts = known.is_some_and(|known| known.size == offered.size());
                record.forked = match offered_contradicts {
                    true => message.checkpoint.clone(),
                    false => message.start.clone(),
                };
                store(records, key, &record);
                Ok(vec![Effect::AuditForked { node: signer.node }])
            }
            Judged::Same | Judged::Behind | Judged::OtherStart | Judged::Unproved => Ok(Vec::new()),
        }
    }

    /// Both notes, if they are that log's and signed by its boot, and the proof.
    fn parts(&self, signer: &Signer, key: &Ed25519VerifyingKey, message: &v1::AuditAnchor) -> Option<Parts> {
        let origin = audit::origin(signer.cluster, signer.node);
        let read = |note: &Bytes| {
            if note.len() > NOTE_BYTES_MAX {
                return None;
            }
            Checkpoint::verify(note, &origin, key, self.provider.as_ref()).ok()
        };
        let offered = read(&message.checkpoint)?;
        let start = match message.start.is_empty() {
            true => None,
            false => Some(read(&message.start)?),
        };
        if message.consistency.len() > PROOF_HASHES_MAX {
            return None;
        }
        let hashes = message
            .consistency
            .iter()
            .map(|hash| Hash::try_from(hash.as_ref()).ok());
        let proof = hashes.collect::<Option<_>>()?;
        Some(Parts { offered, start, proof })
    }
}

struct Parts {
    offered: Checkpoint,
    start: Option<Checkpoint>,
    proof: Vec<Hash>,
}
