//! Signed snapshots: a receiver takes a state only on the word of t other roster members (custody.md, "Snapshots").

use std::collections::BTreeMap;
use symbolon_crypto::Hash;
use symbolon_crypto::provider::Verify;
use symbolon_crypto::sign::VerifyingKey;
use symbolon_wire::roster::Roster;
use symbolon_wire::statements::Signer;
use symbolon_wire::v1;

/// Signatures of one node that are kept, those of the latest marks. Counted for each node, so that one that signs marks
/// which do not exist pushes out nobody else's.
const MARKS_KEPT: usize = 8;

/// What a snapshot claims to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Index of its last entry.
    pub index: u64,
    /// Chain value there.
    pub chain: Hash,
    /// Hash over all that the snapshot claims: the root of all replicated records, its term, membership and size.
    pub state_root: Hash,
}

/// Why a snapshot is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotRefused {
    /// Too few members vouch for it.
    #[error("{found} of {needed} members vouch for the snapshot at {index}")]
    TooFew {
        /// Its index.
        index: u64,
        /// How many do.
        found: usize,
        /// t.
        needed: usize,
    },
}

/// The bytes that a member signs for a claim. Incarnation is the roster version in which the cluster's log began.
pub fn statement(signer: &Signer, roster: &Roster, claim: &Claim) -> Vec<u8> {
    signer.snapshot(0, claim.index, &claim.chain, &claim.state_root, &roster.hash)
}

/// Whether `signed` is by `key` over `claim`.
fn vouches(
    signed: &v1::SnapshotSignature,
    signer: &Signer,
    key: &VerifyingKey,
    roster: &Roster,
    claim: &Claim,
    verify: &dyn Verify,
) -> bool {
    let Ok(signature) = <[u8; 64]>::try_from(signed.signature.as_ref()) else {
        return false;
    };
    verify.p256(key, &statement(signer, roster, claim), &signature).is_ok()
}

fn claim_of(signed: &v1::SnapshotSignature) -> Option<Claim> {
    Some(Claim {
        index: signed.index,
        chain: signed.chain.as_ref().try_into().ok()?,
        state_root: signed.state_root.as_ref().try_into().ok()?,
    })
}

/// Checks that t members other than `receiver` signed exactly this claim. `key_of` gives a node's signing key of a boot.
pub fn check(
    claim: &Claim,
    evidence: &v1::SnapshotEvidence,
    receiver: u16,
    roster: &Roster,
    key_of: impl Fn(u16, u64) -> Option<VerifyingKey>,
    verify: &dyn Verify,
) -> Result<(), SnapshotRefused> {
    let mut vouching: Vec<u16> = Vec::new();
    for signed in &evidence.signatures {
        let Ok(node) = u16::try_from(signed.node) else { continue };
        if node == receiver || vouching.contains(&node) || roster.node(node).is_none() {
            continue;
        }
        let signer = Signer {
            cluster: roster.cluster,
            node,
            boot_counter: signed.boot_counter,
        };
        let Some(key) = key_of(node, signed.boot_counter) else {
            continue;
        };
        if vouches(signed, &signer, &key, roster, claim, verify) {
            vouching.push(node);
        }
    }
    let needed = usize::from(roster.threshold);
    #[cfg(feature = "sabotage")]
    let needed = if symbolon_sabotage::Bug::SnapshotUnvouched.on() {
        0
    } else {
        needed
    };
    if vouching.len() < needed {
        return Err(SnapshotRefused::TooFew {
            index: claim.index,
            found: vouching.len(),
            needed,
        });
    }
    Ok(())
}

/// t other members signed another state than this node's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// The mark.
    pub index: u64,
    /// Who signed the other state, ascending.
    pub against: Vec<u16>,
}

/// Signatures collected for the latest marks.
#[derive(Default)]
pub struct Collected {
    by_node: BTreeMap<u16, BTreeMap<u64, v1::SnapshotSignature>>,
}

impl Collected {
    /// Keeps a signature if it is by `key`, its node's signing key of that boot: one for each node and mark.
    pub fn take(&mut self, signed: v1::SnapshotSignature, roster: &Roster, key: &VerifyingKey, verify: &dyn Verify) {
        let (Ok(node), Some(claim)) = (u16::try_from(signed.node), claim_of(&signed)) else {
            return;
        };
        let signer = Signer {
            cluster: roster.cluster,
            node,
            boot_counter: signed.boot_counter,
        };
        // It is passed on as it came: what no signature covers must not be of any length.
        if signed.roster_hash != roster.hash[..] || roster.node(node).is_none() {
            return;
        }
        if !vouches(&signed, &signer, key, roster, &claim, verify) {
            return;
        }
        let marks = self.by_node.entry(node).or_default();
        marks.insert(signed.index, signed);
        while marks.len() > MARKS_KEPT {
            marks.pop_first();
        }
    }

    /// What vouches for `claim`.
    pub fn evidence(&self, claim: &Claim) -> v1::SnapshotEvidence {
        let signed = self.by_node.values().filter_map(|marks| marks.get(&claim.index));
        let signatures = signed
            .filter(|signed| claim_of(signed).as_ref() == Some(claim))
            .cloned()
            .collect();
        v1::SnapshotEvidence { signatures }
    }

    /// The newest mark at which t other members signed one state, and `own` another: whose log is theirs and whose state is
    /// not has applied it otherwise. Fewer than t prove nothing: who differs may be the one that is wrong.
    pub fn contradicted(&self, own: u16, threshold: u16) -> Option<Contradiction> {
        #[cfg(feature = "sabotage")]
        if symbolon_sabotage::Bug::OtherStateIgnored.on() {
            return None;
        }
        let mine = self.by_node.get(&own)?.values().rev();
        let mut claims = mine.filter_map(claim_of);
        claims.find_map(|mine| {
            let others = self.by_node.iter().filter(|(node, _)| **node != own);
            let signed = others.filter_map(|(node, marks)| Some((*node, claim_of(marks.get(&mine.index)?)?)));
            let differing: Vec<(u16, Claim)> = signed.filter(|(_, claim)| *claim != mine).collect();
            differing.iter().find_map(|(_, one)| {
                let alike = differing.iter().filter(|(_, claim)| claim == one);
                let against: Vec<u16> = alike.map(|(node, _)| *node).collect();
                (against.len() >= usize::from(threshold)).then_some(Contradiction {
                    index: mine.index,
                    against,
                })
            })
        })
    }

    /// All that are kept, to pass on.
    pub fn all(&self) -> Vec<v1::SnapshotSignature> {
        self.by_node
            .values()
            .flat_map(|marks| marks.values().cloned())
            .collect()
    }
}
