//! Proofs of single decisions: how far a log is anchored, and the way from a leaf to what others have signed.

use crate::answers::{Answer, Answering};
use crate::audit::Entries;
use crate::cosign;
use crate::machine::ViewAdapter;
use crate::member::{error, unknown_key};
use crate::release::broken;
use bytes::Bytes;
use std::collections::BTreeSet;
use symbolon_crypto::checkpoint::{KeyId, key_id};
use symbolon_crypto::cosignature::{cosigner_id, signers};
use symbolon_crypto::sign::Ed25519VerifyingKey;
use symbolon_custody::gate;
use symbolon_policy::Action;
use symbolon_state::query;
use symbolon_wire::v1::{self, response};
use symbolon_wire::{Code, audit};

/// Boots of another node among which the signers of a note are looked for, the newest first: notes are made anew every few
/// seconds, and a malicious node logs as many boots as it likes.
const BOOTS_LOOKED_AT_MAX: usize = 1024;

impl Answering<'_> {
    /// Refuses to show a log that is contradicted: it is not the one that was decided by.
    pub(crate) fn unbroken(&self) -> Result<(), v1::Error> {
        let compared = cosign::compare_anchor(self.member);
        compared.map_err(|failed| error(Code::Internal, failed.to_string(), "see the node's log"))?;
        match self.member.following.fault() {
            None => Ok(()),
            Some(what) => {
                let message = format!("the audit log of node {} is contradicted: {what}", self.member.node);
                let next = "keep its disk: what is missing was there; see: symbolon status";
                Err(error(Code::AuditBroken, message, next))
            }
        }
    }

    /// How far the log of a node is anchored, as this node has applied it. Any registered principal may know.
    pub(crate) async fn anchor(&self, request: v1::AnchorRequest) -> Answer {
        self.fresh(request.min_index).await?;
        self.registered()?;
        let log = u16::try_from(request.node)
            .ok()
            .filter(|log| self.member.roster.node(*log).is_some())
            .ok_or_else(|| {
                let message = format!("the roster has no node {}", request.node);
                error(Code::Malformed, message, "see: symbolon status")
            })?;
        let boot = &self.member.boot;
        let mut reply = v1::AnchorReply {
            node: self.member.node.into(),
            boot_counter: boot.signer.boot_counter,
            state_index: self.member.shown.load().applied,
            boots: vec![boot.statement.clone()],
            ..v1::AnchorReply::default()
        };
        if let Some(anchor) = cosign::anchored(self.member, log).map_err(broken)? {
            let head = anchor.head;
            let statement = boot.signer.anchored(log, head.size, &head.root, anchor.log_index);
            let signature = boot.signing.sign(&statement);
            let signature = signature.map_err(|_| error(Code::Internal, "the node cannot sign", "ask another node"))?;
            reply.boots.extend(self.boots_of(&anchor.note, None)?);
            reply.checkpoint = anchor.note;
            reply.log_index = anchor.log_index;
            reply.signature = Bytes::copy_from_slice(&signature);
        }
        Ok(response::Result::Anchor(reply))
    }

    fn registered(&self) -> Result<(), v1::Error> {
        let known = self.on_scene(|scene| {
            let now_ms = gate::later_clock(scene);
            Ok(query::principal_by_key(scene.view, &self.client.key, now_ms)?.is_some())
        })?;
        known.then_some(()).ok_or_else(unknown_key)
    }

    /// The proof of one decision. That there is none yet, or that the log is broken, says nothing of anybody's.
    pub(crate) async fn proof(&self, request: v1::ProofRequest) -> Answer {
        let failed = |reason: String| error(Code::Internal, reason, "see the node's log");
        self.fresh(0).await?;
        let log = &self.member.audit;
        let mut reply = v1::ProofReply {
            size: log.durable(),
            ..v1::ProofReply::default()
        };
        if request.index < log.kept_from() {
            // A whole file is read for it.
            self.registered()?;
        }
        let leaf = match log
            .entries(request.index, 1)
            .map_err(|refused| failed(refused.to_string()))?
        {
            Entries::Leaves(mut leaves) => leaves.pop(),
            Entries::Archived(mut hashes) => {
                self.unbroken()?;
                reply.archived = hashes.pop().unwrap_or_default();
                return Ok(response::Result::Proof(reply));
            }
        };
        let decoded = leaf.clone().and_then(|leaf| audit::decode(leaf).ok());
        let (Some(leaf), Some(decoded)) = (leaf, decoded) else {
            self.registered()?;
            self.unbroken()?;
            return Ok(response::Result::Proof(reply));
        };
        if let Err(contradicted) = self.unbroken() {
            self.registered()?;
            return Err(contradicted);
        }
        if decoded.client_key != self.client.key.as_slice() {
            self.as_operator_or(Action::ReadAudit, |_| Ok(())).await?;
        }
        reply.leaf = leaf;
        let cosigned = log.cosigned().map_err(|refused| failed(refused.to_string()))?;
        let cosigned = cosigned.filter(|saved| saved.size > request.index);
        let anchored = (request.index + 1..=reply.size).contains(&request.anchored);
        let (Some(cosigned), true) = (cosigned, anchored) else {
            self.member.following.hurry();
            return Ok(response::Result::Proof(reply));
        };
        let (smaller, larger) = (cosigned.size.min(request.anchored), cosigned.size.max(request.anchored));
        let paths = log
            .inclusion(request.index, smaller)
            .and_then(|inclusion| Ok((inclusion, log.consistency(smaller, larger)?)));
        (reply.inclusion, reply.consistency) = paths.map_err(|refused| failed(refused.to_string()))?;
        reply.boots = self.boots_of(&cosigned.note, Some(decoded.boot_counter))?;
        reply.cosigned = cosigned.note;
        Ok(response::Result::Proof(reply))
    }

    /// The boots whose keys signed a note, and that of a leaf of this node's.
    fn boots_of(&self, note: &[u8], leaf_boot: Option<u64>) -> Result<Vec<v1::BootKeys>, v1::Error> {
        let member = self.member;
        let cluster = member.roster.cluster;
        let signed_by: BTreeSet<_> = signers(note).unwrap_or_default().into_iter().collect();
        let reader = member.store.reader();
        let view = ViewAdapter::new(&reader);
        let mut boots = Vec::new();
        for node in member.roster.indices() {
            let (origin, witness) = (audit::origin(cluster, node), audit::witness(cluster, node));
            let of_node = |(name, _): &&(String, KeyId)| *name == origin || *name == witness;
            let mut signers: Vec<&(String, KeyId)> = signed_by.iter().filter(of_node).collect();
            let mut leaf_boot = leaf_boot.filter(|_| node == member.node);
            let looked_at = if node == member.node {
                usize::MAX
            } else {
                BOOTS_LOOKED_AT_MAX
            };
            for statement in query::boots_back(&view, node).take(looked_at) {
                if signers.is_empty() && leaf_boot.is_none() {
                    break;
                }
                let statement = statement.map_err(broken)?;
                let key = <[u8; 32]>::try_from(statement.checkpoint_key.as_ref()).ok();
                let key = key.and_then(|key| Ed25519VerifyingKey::from_bytes(&key).ok());
                let unnamed = signers.len();
                if let Some(key) = key {
                    let (as_log, as_witness) = (key_id(&origin, &key), cosigner_id(&witness, &key));
                    signers.retain(|(name, id)| {
                        !(*name == origin && *id == as_log || *name == witness && *id == as_witness)
                    });
                }
                let of_leaf = leaf_boot.take_if(|counter| *counter == statement.boot_counter);
                if of_leaf.is_some() || signers.len() < unnamed {
                    boots.push(statement);
                }
            }
        }
        Ok(boots)
    }
}
