//! Demanding a proof (authority.md, "Audit": the client gets a receipt with every release and can later demand the
//! inclusion proof). A node whose log lacks what it signed for is named, with its signed reply.

use super::proof::{Anchored, Proof, Proven, SignedReply, Statement, verify_proof};
use crate::client::Client;
use crate::error::{Culprit, Error, Evidence, Misdeed, Who};
use crate::hello::Boot;
use crate::limits::{ANCHOR_WITHIN, DURABLE_WITHIN, PROOF_PAUSE};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use symbolon_crypto::Hash;
use symbolon_crypto::checkpoint::Checkpoint;
use symbolon_crypto::merkle::leaf_hash;
use symbolon_crypto::provider::{AwsLc, Verify};
use symbolon_crypto::witness::TreeHead;
use symbolon_wire::roster::Roster;
use symbolon_wire::v1::request::Kind;
use symbolon_wire::{Code, Message, audit, v1};

/// Which decision is to be proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// An entry of a node's log, as errors and `audit tail` name it.
    Entry {
        /// The node.
        node: u16,
        /// The index.
        entry: u64,
    },
    /// The one that a node signed for.
    Receipt(SignedReply),
}

/// What t nodes say of a log's anchor.
pub(super) struct Agreed {
    note: Bytes,
    pub(super) size: u64,
    pub(super) root: Hash,
    log_index: u64,
    statements: Vec<Statement>,
    boots: Vec<v1::BootKeys>,
}

/// Gets the proof of one decision and verifies it, waiting so long for it to be cosigned and anchored.
///
/// # Errors
/// [`Code::AuditBroken`] naming the node if its log lacks the decision, or has another in its place; [`Code::NotFound`]
/// if there is no such entry; [`Code::Timeout`] if the log was not cosigned and anchored in time, saying by whom not; what
/// the node answers.
pub async fn prove(client: &Client, wanted: &Wanted, within: Duration) -> Result<(Proof, Proven), Error> {
    let (node, entry, receipt) = match wanted {
        Wanted::Entry { node, entry } => (*node, *entry, None),
        Wanted::Receipt(receipt) => (receipt.node, receipt.entry, Some(receipt)),
    };
    if client.roster().node(node).is_none() {
        return Err(Error::new(Code::Usage, format!("the roster has no node {node}")));
    }
    let demand = Demand {
        client,
        node,
        entry,
        receipt,
    };
    demand.run(within).await
}

struct Demand<'a> {
    client: &'a Client,
    node: u16,
    entry: u64,
    receipt: Option<&'a SignedReply>,
}

impl Demand<'_> {
    async fn run(&self, within: Duration) -> Result<(Proof, Proven), Error> {
        let begun = Instant::now();
        loop {
            let anchor = anchor_of(self.client, self.node).await?;
            let asked = self.ask(anchor.as_ref().map_or(0, |anchor| anchor.size)).await;
            let reply = asked.map_err(|refused| self.denied(refused))?;
            if let Ok(hash) = Hash::try_from(reply.archived.as_ref()) {
                return Err(self.archived(&hash));
            }
            let durable_by = begun + DURABLE_WITHIN;
            let again = format!("symbolon audit prove {}:{}   (again, in 10 s)", self.node, self.entry);
            let (missing, next) = match &anchor {
                _ if reply.leaf.is_empty() && Instant::now() >= durable_by => {
                    return Err(self.absent(&reply, anchor.as_ref()));
                }
                Some(anchor) if anchor.size > reply.size => return Err(self.absent(&reply, Some(anchor))),
                _ if reply.leaf.is_empty() => ("the record is not on the node's disk yet".to_owned(), again),
                Some(anchor) if anchor.size > self.entry && !reply.cosigned.is_empty() => {
                    return self.verified(anchor, reply);
                }
                Some(anchor) if anchor.size > self.entry => {
                    let missing = format!(
                        "fewer than {} others have cosigned a checkpoint over this entry",
                        self.client.roster().threshold
                    );
                    (
                        missing,
                        "symbolon status   (shows who is down; ask again once they are back)".to_owned(),
                    )
                }
                _ => (
                    "the replicated log holds no anchor over this entry yet".to_owned(),
                    again,
                ),
            };
            if begun.elapsed() + PROOF_PAUSE >= within {
                let message = format!("entry {} of node {} cannot be proven yet", self.entry, self.node);
                return Err(Error::new(Code::Timeout, message).because(missing).next(next));
            }
            tokio::time::sleep(PROOF_PAUSE).await;
        }
    }

    /// The node has the hash of the entry alone: what it must be once it is back.
    fn archived(&self, hash: &Hash) -> Error {
        let signed = self.receipt.map(|receipt| self.signed(receipt));
        match signed {
            Some(Err(unbelievable)) => return unbelievable,
            Some(Ok((entry, signed))) if entry != self.entry || signed != *hash => {
                return self.at_fault(format!(
                    "it signed that this read is its entry {entry} with the hash {}; its log has {} there",
                    hex::encode(signed),
                    hex::encode(hash)
                ));
            }
            Some(Ok(_)) | None => {}
        }
        let message = format!(
            "entry {} of node {} is archived, and the archive is not there",
            self.entry, self.node
        );
        Error::new(Code::NotFound, message)
            .because(format!("its log holds the hash {} in its place", hex::encode(hash)))
            .next("have the file that holds it put back into the node's archive folder, then ask again")
    }

    async fn ask(&self, anchored: u64) -> Result<v1::ProofReply, Error> {
        let request = v1::ProofRequest {
            index: self.entry,
            anchored,
        };
        self.client.inner.ask_node(self.node, Kind::Proof(request)).await
    }

    fn verified(&self, anchor: &Agreed, reply: v1::ProofReply) -> Result<(Proof, Proven), Error> {
        let mut boots: Vec<String> = Vec::new();
        for statement in reply.boots.iter().chain(&anchor.boots) {
            let encoded = hex::encode(statement.encode_to_vec());
            if !boots.contains(&encoded) {
                boots.push(encoded);
            }
        }
        self.same_leaf(&reply)?;
        let proof = Proof {
            node: self.node,
            entry: self.entry,
            leaf: hex::encode(&reply.leaf),
            cosigned: String::from_utf8_lossy(&reply.cosigned).into_owned(),
            anchored: Anchored {
                checkpoint: String::from_utf8_lossy(&anchor.note).into_owned(),
                log_index: anchor.log_index,
                statements: anchor.statements.clone(),
            },
            inclusion: reply.inclusion.iter().map(hex::encode).collect(),
            consistency: reply.consistency.iter().map(hex::encode).collect(),
            boots,
            receipt: self.receipt.cloned(),
        };
        match verify_proof(&proof, self.client.roster()) {
            Ok(proven) => Ok((proof, proven)),
            Err(bad) => Err(self.at_fault(format!("what it sent does not prove the entry: {bad}"))),
        }
    }

    /// Whoever asked for a decision may have its proof. A node that says that it is not theirs, after it signed that it
    /// is, has put another in its place.
    fn denied(&self, refused: Error) -> Error {
        let own = |receipt: &&SignedReply| {
            receipt.client_key == hex::encode(self.client.identity().fingerprint()) && self.signed(receipt).is_ok()
        };
        match self.receipt.filter(own) {
            Some(receipt) if refused.code == Code::Denied => self.at_fault(format!(
                "it signed that entry {} is about a read of {}, and says now that it is not",
                receipt.entry,
                self.client.identity().name()
            )),
            _ => refused,
        }
    }

    /// Whether the leaf is the one that the node signed for. That it did is checked first: nobody is blamed for what
    /// somebody else wrote into a file.
    fn same_leaf(&self, reply: &v1::ProofReply) -> Result<(), Error> {
        let Some(receipt) = self.receipt else { return Ok(()) };
        let (entry, signed) = self.signed(receipt)?;
        if entry == self.entry && signed == leaf_hash(&reply.leaf) {
            return Ok(());
        }
        Err(self.at_fault(format!(
            "it signed that this read is its entry {entry} with the hash {}; its log has {} there",
            hex::encode(signed),
            hex::encode(leaf_hash(&reply.leaf))
        )))
    }

    fn signed(&self, receipt: &SignedReply) -> Result<(u64, Hash), Error> {
        receipt.signed_for(self.client.roster()).map_err(|bad| {
            Error::new(Code::AuditBroken, "the receipt cannot be believed")
                .because(bad.to_string())
                .next("use the file as symbolon get --receipt wrote it")
        })
    }

    /// The log has no such entry: a mistake of the asker's, unless the node signed for it or it lies below an anchor.
    fn absent(&self, reply: &v1::ProofReply, anchor: Option<&Agreed>) -> Error {
        let size = reply.size;
        if let Some(anchor) = anchor.filter(|anchor| anchor.size > size.min(self.entry)) {
            return self.at_fault(format!("its log has {size} entries; {} are anchored", anchor.size));
        }
        if let Some(receipt) = self.receipt {
            return match self.signed(receipt) {
                Ok((entry, _)) => self.at_fault(format!(
                    "it signed that this read is its entry {entry}; its log ends at {size}"
                )),
                Err(unbelievable) => unbelievable,
            };
        }
        let message = format!("node {} has no entry {}; its log has {size}", self.node, self.entry);
        Error::new(Code::NotFound, message).next(format!("symbolon audit tail --node {}", self.node))
    }

    fn at_fault(&self, why: String) -> Error {
        let evidence = self.receipt.and_then(|receipt| {
            let hash = |text: &str| Hash::try_from(hex::decode(text).ok()?).ok();
            Some(Evidence {
                reply: hex::decode(&receipt.reply).ok()?.into(),
                request_hash: hash(&receipt.request_hash)?,
                client_key: hash(&receipt.client_key)?,
            })
        });
        let culprit = Culprit {
            who: Who::Node(self.node),
            what: Misdeed::BrokenAudit,
            evidence: evidence.into_iter().collect(),
        };
        let message = format!(
            "node {} dropped or changed entry {} of its audit log",
            self.node, self.entry
        );
        Error::new(Code::AuditBroken, message)
            .because(why)
            .culprit(culprit)
            .next(format!(
                "symbolon audit export --node {} --to FOLDER, and show both",
                self.node
            ))
    }
}

/// The newest anchor of the log that t nodes vouch for alike; `None` if there is none yet.
pub(super) async fn anchor_of(client: &Client, log: u16) -> Result<Option<Agreed>, Error> {
    anchors_of(client, log).await.agreed
}

/// What nodes show of a log's anchor.
pub(super) struct Anchors {
    /// As [`anchor_of`].
    pub(super) agreed: Result<Option<Agreed>, Error>,
    /// Sizes and roots of notes that the log's own node signed, which bind it whoever shows them.
    pub(super) signed: Vec<TreeHead>,
}

/// As [`anchor_of`], and all that any node showed.
pub(super) async fn anchors_of(client: &Client, log: u16) -> Anchors {
    let request = v1::AnchorRequest {
        node: log.into(),
        min_index: 0,
    };
    let answers = client
        .inner
        .ask_all::<v1::AnchorReply>(Kind::Anchor(request), ANCHOR_WITHIN)
        .await;
    let threshold = usize::from(client.roster().threshold);
    let mut agreed: BTreeMap<(u64, u64, Hash), Agreed> = BTreeMap::new();
    let (mut answered, mut failures) = (0, Vec::new());
    for (node, answer) in answers {
        let reply = match answer {
            Ok(reply) => reply,
            Err(error) => {
                failures.push(error);
                continue;
            }
        };
        answered += 1;
        let Ok(checkpoint) = Checkpoint::read_unverified(&reply.checkpoint) else {
            continue;
        };
        // A liar must not spoil the honest ones'.
        if !vouched(client.roster(), log, node, &reply, &checkpoint) {
            continue;
        }
        let key = (checkpoint.size(), reply.log_index, *checkpoint.root());
        let said = agreed.entry(key).or_insert_with(|| Agreed {
            note: reply.checkpoint.clone(),
            size: checkpoint.size(),
            root: *checkpoint.root(),
            log_index: reply.log_index,
            statements: Vec::new(),
            boots: Vec::new(),
        });
        said.statements.push(Statement {
            node,
            boot: reply.boot_counter,
            signature: hex::encode(&reply.signature),
        });
        said.boots.extend(reply.boots);
    }
    let head = |agreed: &Agreed| TreeHead {
        size: agreed.size,
        root: agreed.root,
    };
    let signed = agreed.values().map(head).collect();
    let agreed = match failures.into_iter().next() {
        Some(error) if answered < threshold => Err(error),
        _ => Ok(agreed
            .into_values()
            .rfind(|agreed| agreed.statements.len() >= threshold)),
    };
    Anchors { agreed, signed }
}

/// Whether a node signed what it says of an anchor, and the log's node the note.
fn vouched(roster: &Roster, log: u16, node: u16, reply: &v1::AnchorReply, checkpoint: &Checkpoint) -> bool {
    let verified = |statement: &v1::BootKeys| {
        let of = u16::try_from(statement.node).ok()?;
        Boot::verify(roster, of, statement).ok()
    };
    let boots: Option<Vec<Boot>> = reply.boots.iter().map(verified).collect();
    let (Some(boots), Ok(signature)) = (boots, reply.signature.as_ref().try_into()) else {
        return false;
    };
    let own = |boot: &&Boot| boot.signer.node == node && boot.signer.boot_counter == reply.boot_counter;
    let said = boots.iter().find(own).is_some_and(|own| {
        let (size, root) = (checkpoint.size(), checkpoint.root());
        let signed = own.signer.anchored(log, size, root, reply.log_index);
        AwsLc.p256(&own.signing_key, &signed, &signature).is_ok()
    });
    let origin = audit::origin(roster.cluster, log);
    let logs = boots.iter().filter(|boot| boot.signer.node == log);
    let signed = |boot: &Boot| Checkpoint::verify(&reply.checkpoint, &origin, &boot.checkpoint_key, &AwsLc).is_ok();
    said && logs.into_iter().any(signed)
}
