//! What the nodes say their logs are (custody.md, "Chain"). Two different heads of one node at one index prove that it
//! equivocates: it is excluded. A node goes on while t nodes, itself among them, agree with its log up to an index;
//! contradicted there and with fewer, it freezes. So two honest nodes that differ never both go on.
//!
//! A head tells of the whole log before it, so whoever agrees at a later index agrees at an earlier one
//! (docs/decisions/0020-agreement-further-on-counts.md). A frozen node asks the others for their heads where it is
//! contradicted and where its log ends, and goes on once t agree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use symbolon_crypto::Hash;
use symbolon_crypto::provider::Verify;
use symbolon_crypto::sign::VerifyingKey;
use symbolon_wire::statements::Signer;
use symbolon_wire::v1;

/// Heads of one node that are kept for comparison; at four a second, more than a minute.
const HEADS_PER_NODE: usize = 512;

/// Heads of states that were replaced that are kept. One comes to be with each telling at most, so each is told so many times.
const LEFT_MAX: usize = 4;

/// What a received head, or an own one, leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Nothing new to say.
    Nothing,
    /// This node signed two heads at one index; both are evidence.
    Equivocation {
        /// The node.
        node: u16,
        /// What it signed first.
        first: v1::Head,
        /// What it signed later.
        second: v1::Head,
    },
    /// This node's log is contradicted at an index where fewer than t heads agree with it: it must freeze, and ask.
    Freeze {
        /// Where.
        index: u64,
        /// Nodes that say otherwise.
        against: Vec<u16>,
    },
    /// Another node differs from this one, which t heads support: it is not followed any more.
    Outvoted {
        /// The other node.
        node: u16,
        /// Where.
        index: u64,
    },
}

/// A head, and the statement of the boot that signed it: without it, nobody could check the head who has not seen that boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The head.
    pub head: v1::Head,
    /// The boot statement, if this node has it: the log may have named the key.
    pub boot: Option<Arc<v1::BootKeys>>,
}

impl From<v1::Head> for Told {
    fn from(head: v1::Head) -> Self {
        Self { head, boot: None }
    }
}

/// A head, and whether it has been compared with this node's chain since what counts beside it last changed.
struct Kept {
    told: Told,
    compared: bool,
}

/// Heads received and own, compared.
pub struct Heads {
    own: u16,
    threshold: usize,
    signed: BTreeMap<u16, BTreeMap<u64, Kept>>,
    excluded: BTreeMap<u16, (Told, Told)>,
    /// Where this node is contradicted and fewer than t agree with it.
    contested: BTreeSet<u64>,
    /// Up to where each node's log is this one's: its furthest head that was compared. No node that differs anywhere.
    agreed: BTreeMap<u16, u64>,
    /// Nodes whose log differs from this one's, and the index of the head that showed it first. Chains that differ once
    /// differ ever after, so that their other heads say nothing new.
    differing: BTreeMap<u16, u64>,
    /// Nodes whose log is not the one that this node and t in all agree on.
    outvoted: BTreeSet<u16>,
    /// Where the state of this node ends that a snapshot is to replace.
    replaced: Option<Replaced>,
    /// This node's heads where such states ended, the latest.
    left: BTreeMap<u64, v1::Head>,
}

struct Replaced {
    index: u64,
    /// Nodes that keep no chain value there any more.
    unkept: BTreeSet<u16>,
    /// Whether it is known that it may be.
    settled: bool,
}

impl Heads {
    /// For the node `own`, with threshold t.
    pub fn new(own: u16, threshold: u16) -> Self {
        Self {
            own,
            threshold: threshold.into(),
            signed: BTreeMap::new(),
            excluded: BTreeMap::new(),
            contested: BTreeSet::new(),
            agreed: BTreeMap::new(),
            differing: BTreeMap::new(),
            outvoted: BTreeSet::new(),
            replaced: None,
            left: BTreeMap::new(),
        }
    }

    /// Whether a snapshot may replace this node's state, which ends at `index`: t nodes, itself among them, agree with its log up to
    /// there, and its own head there was signed to be told. A head that is signed afterwards tells nothing of the log before the
    /// snapshot. So the others are asked until then.
    ///
    /// Chain values are not kept for ever. Where t others, one of whom is honest, agree or keep none, and nobody contradicts,
    /// nothing better is to be had.
    pub fn replaceable(&mut self, index: u64) -> bool {
        let known = self.replaced.take().filter(|replaced| replaced.index == index);
        let replaced = self.replaced.insert(known.unwrap_or_else(|| Replaced {
            index,
            unkept: BTreeSet::new(),
            settled: false,
        }));
        let agreeing = self.agreed.iter().filter(|(_, upto)| **upto >= index);
        let agreeing: BTreeSet<u16> = agreeing.map(|(node, _)| *node).collect();
        let nothing_better = self.differing.is_empty() && agreeing.union(&replaced.unkept).count() >= self.threshold;
        let agreed = 1 + agreeing.len() >= self.threshold || nothing_better;
        replaced.settled = agreed && self.left.contains_key(&index);
        replaced.settled
    }

    /// Where this node's head is to be signed for [`Self::leave`].
    pub fn unsigned(&self) -> Option<u64> {
        let replaced = self.replaced.as_ref()?;
        Some(replaced.index).filter(|index| !self.left.contains_key(index))
    }

    /// Keeps this node's head where its state is to be replaced, to be told with later ones.
    pub fn leave(&mut self, head: v1::Head) {
        self.left.insert(head.index, head);
        while self.left.len() > LEFT_MAX {
            self.left.pop_first();
        }
    }

    /// This node's heads where its state was replaced, or is to be.
    pub fn left(&self) -> impl Iterator<Item = &v1::Head> {
        self.left.values()
    }

    /// Node `from`, which is asked for its heads at [`Self::asks`], keeps no chain value at these indices.
    pub fn unkept(&mut self, from: u16, indices: &[u64]) {
        if self.is_excluded(from) {
            return;
        }
        if let Some(replaced) = &mut self.replaced
            && indices.contains(&replaced.index)
        {
            replaced.unkept.insert(from);
        }
    }

    /// Where the other nodes' heads are to be known: where this node is contradicted, and where its state is to be replaced.
    pub fn asks(&self) -> BTreeSet<u64> {
        let replaced = self.replaced.as_ref().filter(|replaced| !replaced.settled);
        let replaced = replaced.map(|replaced| replaced.index);
        self.contested.iter().copied().chain(replaced).collect()
    }

    /// Nodes caught equivocating; their connections are dropped and their heads no longer count.
    pub fn excluded(&self) -> impl Iterator<Item = u16> {
        self.excluded.keys().copied()
    }

    /// Whether `node` was caught equivocating.
    pub fn is_excluded(&self, node: u16) -> bool {
        self.excluded.contains_key(&node)
    }

    /// Nodes that are neither followed nor voted for: their log is not the one that t nodes agree on.
    pub fn outvoted(&self) -> impl Iterator<Item = u16> {
        self.outvoted.iter().copied()
    }

    /// Whether `node` is one of [`Heads::outvoted`].
    pub fn is_outvoted(&self, node: u16) -> bool {
        self.outvoted.contains(&node)
    }

    /// Where this node is contradicted with fewer than t heads for it: while there is such an index it is frozen.
    pub fn contested(&self) -> impl Iterator<Item = u64> {
        self.contested.iter().copied()
    }

    /// Takes a head whose signature [`check`] has accepted. `own_chain` gives this node's chain value at an index, if it
    /// has applied that far and still keeps it.
    pub fn take(&mut self, told: impl Into<Told>, own_chain: impl Fn(u64) -> Option<Hash>) -> Finding {
        let told = told.into();
        let Ok(node) = u16::try_from(told.head.node) else {
            return Finding::Nothing;
        };
        if self.is_excluded(node) {
            return Finding::Nothing;
        }
        let index = told.head.index;
        let kept = self.signed.entry(node).or_default();
        if let Some(Kept { told: first, .. }) = kept.get(&index) {
            let same = first.head.chain == told.head.chain;
            #[cfg(feature = "sabotage")]
            let same = same || symbolon_sabotage::Bug::EquivocationIgnored.on();
            if same {
                return Finding::Nothing;
            }
            let first = first.clone();
            let found = Finding::Equivocation {
                node,
                first: first.head.clone(),
                second: told.head.clone(),
            };
            self.exclude(node, first, told);
            return found;
        }
        kept.insert(index, Kept { told, compared: false });
        if kept.len() > HEADS_PER_NODE {
            // What shows that the logs differ, or that they do not, must not be forgotten.
            let shows = [self.differing.get(&node), self.agreed.get(&node)];
            let oldest = kept.keys().find(|index| !shows.contains(&Some(*index))).copied();
            oldest.map(|oldest| kept.remove(&oldest));
        }
        match own_chain(index) {
            Some(own) => self.compare(index, &own),
            None => Finding::Nothing,
        }
    }

    /// The node's heads no longer count, so whatever they had supported or contradicted is to be compared again
    /// ([`Heads::waiting`]).
    fn exclude(&mut self, node: u16, first: Told, second: Told) {
        self.excluded.insert(node, (first, second));
        self.signed.remove(&node);
        self.differing.remove(&node);
        self.agreed.remove(&node);
        if let Some(replaced) = &mut self.replaced {
            replaced.unkept.remove(&node);
        }
        self.compare_again();
    }

    /// A node does not count any more that may have been one of those who outvoted others.
    fn compare_again(&mut self) {
        self.outvoted.clear();
        for kept in self.signed.values_mut().flat_map(BTreeMap::values_mut) {
            kept.compared = false;
        }
    }

    /// Compares all heads at `index` with this node's chain value there; also called for each index that
    /// [`Heads::waiting`] gives.
    pub fn compare(&mut self, index: u64, own: &Hash) -> Finding {
        let mut against = Vec::new();
        for (node, heads) in &mut self.signed {
            let Some(kept) = heads.get_mut(&index) else { continue };
            kept.compared = true;
            if *node == self.own || self.differing.get(node).is_some_and(|first| *first != index) {
                continue;
            }
            if kept.told.head.chain == own.as_slice() {
                let upto = self.agreed.entry(*node).or_default();
                *upto = index.max(*upto);
            } else {
                against.push(*node);
            }
        }
        let Some(&first) = against.first() else {
            self.contested.remove(&index);
            return Finding::Nothing;
        };
        self.differing.extend(against.iter().map(|node| (*node, index)));
        let supported = against.iter().any(|node| self.agreed.remove(node).is_some());
        if supported {
            self.compare_again();
        }
        let further_on = self.agreed.values().filter(|upto| **upto >= index).count();
        let few = 1 + further_on < self.threshold;
        #[cfg(feature = "sabotage")]
        let few = few && !symbolon_sabotage::Bug::ContradictionIgnored.on();
        if few {
            self.contested.insert(index);
            return Finding::Freeze { index, against };
        }
        self.contested.remove(&index);
        self.outvoted.extend(against);
        Finding::Outvoted { node: first, index }
    }

    /// Indices up to `applied` at which heads wait to be compared: they came before this node had applied that far, or
    /// a node was excluded since. Each is given once, so that an index of which this node keeps no chain value costs
    /// one look; contested ones always.
    pub fn waiting(&mut self, applied: u64) -> Vec<u64> {
        let mut indices = self.contested.clone();
        for heads in self.signed.values_mut() {
            for (index, kept) in heads.range_mut(..=applied) {
                if !std::mem::replace(&mut kept.compared, true) {
                    indices.insert(*index);
                }
            }
        }
        indices.into_iter().collect()
    }

    /// What is passed on: of each node the newest head, and the newest that this node has reached, which one far ahead
    /// must not hide; the one by which it supports this node; those where this node is contested, or its state was replaced; of
    /// excluded nodes what proves it.
    pub fn newest(&self) -> Vec<Told> {
        let named: BTreeSet<u64> = self.contested.iter().chain(self.left.keys()).copied().collect();
        let newest = self.signed.iter().flat_map(|(node, heads)| {
            let reached = heads.iter().rev().find(|(_, kept)| kept.compared);
            let ahead = heads.iter().next_back();
            let furthest = [reached, ahead].map(|one| one.map(|(index, _)| *index));
            let supports = self.agreed.get(node).copied();
            let told: BTreeSet<u64> = furthest.into_iter().flatten().chain(supports).collect();
            let told = told.union(&named).filter_map(|index| heads.get(index));
            told.collect::<Vec<_>>()
        });
        let evidence = self
            .excluded
            .values()
            .flat_map(|(first, second)| [first.clone(), second.clone()]);
        newest.map(|kept| kept.told.clone()).chain(evidence).collect()
    }
}

/// Whether `head` is signed by `key`, the signing key of that node's boot.
pub fn check(head: &v1::Head, signer: &Signer, key: &VerifyingKey, verify: &dyn Verify) -> bool {
    let (Ok(chain), Ok(signature)) = (
        Hash::try_from(head.chain.as_ref()),
        <[u8; 64]>::try_from(head.signature.as_ref()),
    ) else {
        return false;
    };
    #[cfg(feature = "sabotage")]
    if symbolon_sabotage::Bug::HeadUnsigned.on() {
        return true;
    }
    head.node == u32::from(signer.node)
        && head.boot_counter == signer.boot_counter
        && verify.p256(key, &signer.head(head.index, &chain), &signature).is_ok()
}
