//! How a booted node comes to take part (docs/decisions/0016-witnessed-boot.md). It does not trust its disk, which may
//! lack what the node once acknowledged or promised, and asks every other node where the log stands. Whoever answers
//! takes nothing from the asker's earlier boots any more. Admitted is who has heard from all others, or from t that take
//! part themselves.

use bytes::Bytes;
use std::collections::BTreeMap;
use symbolon_crypto::provider::Provider;
use symbolon_state::check_boot;
use symbolon_wire::roster::Roster;
use symbolon_wire::statements::Signer;
use symbolon_wire::v1;

/// A boot, in the order in which one supersedes another: its counter, then its signing key, which is drawn at the boot
/// and so is its nonce. Two processes that counted the same boot differ in the key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootId {
    /// Counts the node's boots.
    pub counter: u64,
    /// SubjectPublicKeyInfo of the boot's signing key.
    pub key: Bytes,
}

impl BootId {
    /// The boot that a statement is about.
    pub fn of(statement: &v1::BootKeys) -> Self {
        Self {
            counter: statement.boot_counter,
            key: statement.signing_key.clone(),
        }
    }
}

/// Where a node says that the log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stand {
    /// The highest term that it knows of.
    pub term: u64,
    /// Term and index of the end of the furthest log that it knows of; `None` before the first entry.
    pub last: Option<(u64, u64)>,
    /// It takes part itself.
    pub admitted: bool,
}

/// Answers `asker`: signs `stand` with this boot's signing key, over both nonces.
pub fn answer<E>(
    signer: &Signer,
    own: &v1::BootKeys,
    asker: &v1::BootKeys,
    stand: &Stand,
    sign: impl FnOnce(&[u8]) -> Result<[u8; 64], E>,
) -> Result<v1::Witnessed, E> {
    let signature = sign(&signed(signer, own, asker, stand))?;
    Ok(v1::Witnessed {
        boot: Some(own.clone()),
        term: stand.term,
        last: stand.last.map(|(term, index)| v1::LogPlace { term, index }),
        admitted: stand.admitted,
        signature: Bytes::copy_from_slice(&signature),
    })
}

fn signed(signer: &Signer, own: &v1::BootKeys, asker: &v1::BootKeys, stand: &Stand) -> Vec<u8> {
    // A node's index fits, or its statement would not have checked.
    let node = u16::try_from(asker.node).unwrap_or(u16::MAX);
    let asker = (node, asker.boot_counter, asker.signing_key.as_ref());
    signer.witness(&own.signing_key, asker, stand.term, stand.last, stand.admitted)
}

/// Why an answer does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoWitness {
    /// The boot statement in it is missing, wrong, or another node's.
    #[error("the answer carries no boot statement of the node that was asked")]
    Boot,
    /// It claims a term further ahead than elections lead to.
    #[error("the answer claims a term that no elections lead to")]
    Term,
    /// The signature is not by that boot, or not for this one.
    #[error("the answer is not signed for this boot")]
    Signature,
}

/// What a booted node has heard so far.
pub struct Admission {
    own: v1::BootKeys,
    threshold: usize,
    heard: BTreeMap<u16, Option<Stand>>,
}

impl Admission {
    /// For the node and boot of the statement `own`.
    pub fn new(roster: &Roster, own: v1::BootKeys) -> Self {
        let others = roster.nodes.iter().map(|node| node.index);
        let heard = others
            .filter(|node| u32::from(*node) != own.node)
            .map(|node| (node, None));
        Self {
            threshold: roster.threshold.into(),
            heard: heard.collect(),
            own,
        }
    }

    /// Nodes that have not answered.
    pub fn missing(&self) -> Vec<u16> {
        let missing = self.heard.iter().filter(|(_, stand)| stand.is_none());
        missing.map(|(node, _)| *node).collect()
    }

    /// Takes the answer of the node `from`, as its channel authenticates it; terms up to `term_max` are believed.
    ///
    /// # Errors
    /// [`NoWitness`]; nothing was taken.
    pub fn take(
        &mut self,
        from: u16,
        answer: &v1::Witnessed,
        term_max: u64,
        roster: &Roster,
        provider: &dyn Provider,
    ) -> Result<(), NoWitness> {
        let statement = answer.boot.as_ref().ok_or(NoWitness::Boot)?;
        let (node, boot) = check_boot(roster, provider, statement).ok_or(NoWitness::Boot)?;
        let slot = self
            .heard
            .get_mut(&from)
            .filter(|_| node == from)
            .ok_or(NoWitness::Boot)?;
        let signer = Signer {
            cluster: roster.cluster,
            node,
            boot_counter: boot.counter,
        };
        let stand = Stand {
            term: answer.term,
            last: answer.last.as_ref().map(|last| (last.term, last.index)),
            admitted: answer.admitted,
        };
        let signature = answer.signature.as_ref().try_into().map_err(|_| NoWitness::Signature)?;
        let message = signed(&signer, statement, &self.own, &stand);
        let checked = provider.p256(&boot.signing_key, &message, &signature);
        #[cfg(feature = "sabotage")]
        let checked = checked.or(if symbolon_sabotage::Bug::AnswerToAnyBoot.on() {
            Ok(())
        } else {
            Err(())
        });
        checked.map_err(|_| NoWitness::Signature)?;
        if stand.term > term_max || stand.last.is_some_and(|(term, _)| term > stand.term) {
            return Err(NoWitness::Term);
        }
        *slot = Some(stand);
        Ok(())
    }

    /// The furthest that the others stand, once enough have said it: all, or t of those that take part.
    ///
    /// Why these are enough: whatever this node acknowledged or promised before it booted counted only together with t − 1
    /// others, and one of those is among any t of the others, n − 1 = t + (t − 2).
    pub fn verdict(&self) -> Option<Stand> {
        let stands = self.heard.values().flatten();
        let taking_part = stands.clone().filter(|stand| stand.admitted).count();
        let enough = self.threshold;
        #[cfg(feature = "sabotage")]
        let enough = if symbolon_sabotage::Bug::OneWitnessIsEnough.on() {
            1
        } else {
            enough
        };
        if !self.missing().is_empty() && taking_part < enough {
            return None;
        }
        let furthest = stands.fold(Stand::default(), |furthest, stand| Stand {
            term: furthest.term.max(stand.term),
            last: furthest.last.max(stand.last),
            admitted: true,
        });
        Some(furthest)
    }
}
