//! Read replies: what a node signed for this client and this request (custody.md, "Reading").
//!
//! One RFC 9162 tree covers the replies of an audit group, and the node signs its root once. Verified roots are
//! remembered for each connection, so that a group costs one signature check however many of its replies arrive here.

use crate::error::{Culprit, Error, Evidence, Misdeed, Who};
use crate::hello::Boot;
use crate::limits::GROUPS_KNOWN_MAX;
use crate::node::{Answered, Failure};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use symbolon_crypto::Hash;
use symbolon_crypto::dealing::Fragment;
use symbolon_crypto::enc::sha256;
use symbolon_crypto::limits::PROOF_HASHES_MAX;
use symbolon_crypto::merkle::{inclusion_root, leaf_hash};
use symbolon_crypto::provider::{AwsLc, Verify};
use symbolon_crypto::sign::{BadSignature, P256Signature};
use symbolon_wire::command::{CommandError, fixed};
use symbolon_wire::statements::{ReplyLeaf, Signer};
use symbolon_wire::v1::response::Result as Answer;
use symbolon_wire::{Message, v1};

/// Chain values are anchored at multiples of this (custody.md, "Reading").
const ANCHOR_EVERY: u64 = 256;

/// Group roots whose signature by one boot's signing key has been checked.
#[derive(Debug, Default)]
pub(crate) struct KnownGroups(Mutex<VecDeque<(Hash, P256Signature)>>);

impl KnownGroups {
    /// Checks a group signature, once. The lock is held meanwhile: replies of one group arrive together, and the others
    /// are then spared the 50 µs.
    fn check(&self, boot: &Boot, root: Hash, signature: P256Signature) -> Result<(), BadSignature> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(&(root, signature)) {
            return Ok(());
        }
        AwsLc.p256(&boot.signing_key, &boot.signer.replies(&root), &signature)?;
        if known.len() >= GROUPS_KNOWN_MAX {
            known.pop_front();
        }
        known.push_back((root, signature));
        Ok(())
    }
}

/// A request as one node got it, and who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) client_key: &'a Hash,
    pub(crate) request_hash: &'a Hash,
    pub(crate) min_index: u64,
}

/// A reply whose signature holds. Its fragment and body are still to be checked.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) node: u16,
    pub(crate) boot_counter: u64,
    pub(crate) record_hash: Hash,
    pub(crate) epoch: u64,
    pub(crate) version: u64,
    pub(crate) state_index: u64,
    pub(crate) record_index: u64,
    pub(crate) audit_index: u64,
    /// The hash of that leaf, if the node signed a receipt.
    pub(crate) audit_leaf: Option<Hash>,
    /// (log index, chain there): the record's and the anchor's.
    pub(crate) chain: [(u64, Hash); 2],
    pub(crate) fragment: Fragment,
    pub(crate) body: Option<v1::StoredVersion>,
    /// As signed, without its body.
    pub(crate) signed: v1::ReadReply,
    pub(crate) request_hash: Hash,
    pub(crate) client_key: Hash,
    /// The encoded statement of the boot that signed it.
    pub(crate) boot: Bytes,
}

impl Reply {
    /// Takes an answer to a read, if all that the node signed holds.
    pub(crate) fn verify(answered: Answered, asked: Asked<'_>) -> Result<Self, Failure> {
        let boot = &answered.live.boot;
        let node = boot.signer.node;
        let fault = |what| Failure::AtFault(Error::at_fault(node, what));
        let Answer::Read(mut reply) = answered.answer else {
            return Err(fault(Misdeed::NotAnAnswer));
        };
        let body = reply.body.take();
        let released = answered.fragment.ok_or_else(|| fault(Misdeed::ReplyForm))?;
        let form = Form::parse(&reply).map_err(|_| fault(Misdeed::ReplyForm))?;
        let from_here = reply.node == u32::from(node) && reply.boot_counter == boot.signer.boot_counter;
        // Any anchor will do for comparing; that it is the last one is the node's concern.
        let ordered = reply.record_index <= reply.state_index
            && reply.anchor_index <= reply.state_index
            && reply.anchor_index.is_multiple_of(ANCHOR_EVERY);
        if !from_here || !ordered {
            return Err(fault(Misdeed::ReplyForm));
        }
        if sha256(released.expose()) != form.fragment_hash {
            return Err(fault(Misdeed::FragmentHash));
        }
        let leaf = boot
            .signer
            .reply(&form.leaf(&reply, asked.client_key, asked.request_hash));
        inclusion_root(&leaf_hash(&leaf), reply.group_index, reply.group_size, &form.path)
            .ok()
            .and_then(|root| {
                #[cfg(feature = "sabotage")]
                if symbolon_sabotage::Bug::ReplyUnsigned.on() {
                    return Some(());
                }
                answered.live.groups.check(boot, root, form.signature).ok()
            })
            .ok_or_else(|| fault(Misdeed::ReplySignature))?;
        let audit_leaf = receipt_in(&boot.signer, asked.request_hash, &reply, &form)
            .map_err(|BadReceipt| fault(Misdeed::ReplySignature))?;
        let fragment = Fragment::from_slice(released.expose());
        let evidence = Evidence {
            reply: reply.encode_to_vec().into(),
            request_hash: *asked.request_hash,
            client_key: *asked.client_key,
        };
        let proved = |what| {
            let culprit = Culprit {
                who: Who::Node(node),
                what,
                evidence: vec![evidence.clone()],
            };
            Failure::AtFault(Error::new(symbolon_wire::Code::NodeAtFault, culprit.to_string()).culprit(culprit))
        };
        if reply.state_index < asked.min_index {
            return Err(proved(Misdeed::StaleReply));
        }
        Ok(Self {
            node,
            boot_counter: reply.boot_counter,
            record_hash: form.record_hash,
            epoch: reply.epoch,
            version: reply.version,
            state_index: reply.state_index,
            record_index: reply.record_index,
            audit_index: reply.audit_index,
            audit_leaf,
            chain: [
                (reply.record_index, form.record_chain),
                (reply.anchor_index, form.anchor_chain),
            ],
            // A node checks what it holds before it releases: a scalar that is none is its own doing.
            fragment: fragment.map_err(|_| proved(Misdeed::WrongFragment))?,
            body,
            signed: reply,
            request_hash: *asked.request_hash,
            client_key: *asked.client_key,
            boot: boot.statement.clone(),
        })
    }

    /// The signed reply, for third parties.
    pub(crate) fn evidence(&self) -> Evidence {
        Evidence {
            reply: self.encoded(),
            request_hash: self.request_hash,
            client_key: self.client_key,
        }
    }

    /// The signed reply, encoded, without its body.
    pub(crate) fn encoded(&self) -> Bytes {
        self.signed.encode_to_vec().into()
    }

    /// Blames the node, with its signed reply.
    pub(crate) fn blame(&self, what: Misdeed) -> Culprit {
        Culprit {
            who: Who::Node(self.node),
            what,
            evidence: vec![self.evidence()],
        }
    }
}

/// The receipt is not the reply's neighbour in the tree of its group.
#[derive(Debug)]
pub(crate) struct BadReceipt;

/// The hash of the audit leaf that the node signed for; `None` from a node that gives no receipts. The path has been
/// checked for the reply: its first hash is the leaf beside it.
fn receipt_in(
    signer: &Signer,
    request_hash: &Hash,
    reply: &v1::ReadReply,
    form: &Form,
) -> Result<Option<Hash>, BadReceipt> {
    if reply.audit_leaf.is_empty() {
        return Ok(None);
    }
    let leaf = Hash::try_from(reply.audit_leaf.as_ref()).map_err(|_| BadReceipt)?;
    let receipt = leaf_hash(&signer.receipt(request_hash, reply.audit_index, &leaf));
    let beside = reply.group_index.is_multiple_of(2) && form.path.first() == Some(&receipt);
    beside.then_some(Some(leaf)).ok_or(BadReceipt)
}

/// A signed reply kept as a receipt, checked anew: what it says, if `boot` signed it for this client and request.
pub(crate) fn recheck(
    boot: &Boot,
    reply: &v1::ReadReply,
    client_key: &Hash,
    request_hash: &Hash,
) -> Option<(u64, Hash)> {
    let form = Form::parse(reply).ok()?;
    let leaf = boot.signer.reply(&form.leaf(reply, client_key, request_hash));
    let root = inclusion_root(&leaf_hash(&leaf), reply.group_index, reply.group_size, &form.path).ok()?;
    AwsLc
        .p256(&boot.signing_key, &boot.signer.replies(&root), &form.signature)
        .ok()?;
    let leaf = receipt_in(&boot.signer, request_hash, reply, &form).ok()??;
    Some((reply.audit_index, leaf))
}

/// The fixed-length fields of a reply.
struct Form {
    record_hash: Hash,
    fragment_hash: Hash,
    record_chain: Hash,
    anchor_chain: Hash,
    signature: P256Signature,
    path: Vec<Hash>,
}

impl Form {
    fn leaf<'a>(&'a self, reply: &v1::ReadReply, client_key: &'a Hash, request_hash: &'a Hash) -> ReplyLeaf<'a> {
        ReplyLeaf {
            client_key,
            request_hash,
            record_hash: &self.record_hash,
            epoch: reply.epoch,
            fragment_hash: &self.fragment_hash,
            state_index: reply.state_index,
            record_index: reply.record_index,
            record_chain: &self.record_chain,
            anchor_index: reply.anchor_index,
            anchor_chain: &self.anchor_chain,
        }
    }

    fn parse(reply: &v1::ReadReply) -> Result<Self, CommandError> {
        if reply.group_path.len() > PROOF_HASHES_MAX {
            let found = reply.group_path.len();
            return Err(CommandError::FieldLength {
                field: "group_path",
                expected: PROOF_HASHES_MAX,
                found,
            });
        }
        Ok(Self {
            record_hash: fixed("record_hash", &reply.record_hash)?,
            fragment_hash: fixed("fragment_hash", &reply.fragment_hash)?,
            record_chain: fixed("record_chain", &reply.record_chain)?,
            anchor_chain: fixed("anchor_chain", &reply.anchor_chain)?,
            signature: fixed("group_signature", &reply.group_signature)?,
            path: reply
                .group_path
                .iter()
                .map(|hash| fixed("group_path", hash))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// The lowest log index at which both show a chain value, and not the same one.
fn contradict(one: &Reply, other: &Reply) -> Option<u64> {
    #[cfg(feature = "sabotage")]
    if symbolon_sabotage::Bug::HistoriesNotCompared.on() {
        return None;
    }
    let differs = |(index, chain): &(u64, Hash)| other.chain.iter().any(|(at, value)| at == index && value != chain);
    let differing = one.chain.iter().filter(|shown| differs(shown));
    differing.map(|(index, _)| *index).min()
}

/// Two replies that show different chain values at one log index.
pub(crate) fn divergence(replies: &[Reply]) -> Option<(u64, &Reply, &Reply)> {
    replies.iter().enumerate().find_map(|(place, later)| {
        let earlier = replies.iter().take(place);
        earlier
            .filter_map(|one| contradict(one, later).map(|index| (index, one, later)))
            .next()
    })
}

/// The node of a reply that at least `needed` others contradict.
pub(crate) fn outvoted(replies: &[Reply], needed: usize) -> Option<&Reply> {
    let against = |reply: &Reply| {
        replies
            .iter()
            .filter(|other| contradict(reply, other).is_some())
            .count()
    };
    replies.iter().find(|reply| against(reply) >= needed)
}
