//! What a witness makes of an offered tree head, given the one that it remembers of that log (C2SP tlog-witness,
//! "add-checkpoint"): it follows a log forward only. Pure; nodes, the replicated log and auditors judge alike.

use crate::{Hash, merkle::verify_consistency};

/// Size and root of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeHead {
    /// Leaves.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

/// What an offered tree head is to what is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// It goes on from what is remembered.
    Extends,
    /// It is what is remembered.
    Same,
    /// It is smaller: an old one, or the log was cut.
    Behind,
    /// The proof begins elsewhere than at what is remembered: the log must prove anew from there.
    OtherStart,
    /// The proof does not prove that it goes on from there.
    Unproved,
    /// The log says of a size that is remembered that it has another root. Signed twice, this is evidence.
    Forked,
}

/// Judges `offered`. `start` is where `proof` begins, in the log's own words: what it says its tree of that size was.
#[must_use]
pub fn judge(known: Option<TreeHead>, start: Option<TreeHead>, offered: TreeHead, proof: &[Hash]) -> Judged {
    let Some(known) = known else {
        return Judged::Extends;
    };
    let forked = |said: TreeHead| said.size == known.size && said.root != known.root;
    if forked(offered) || start.is_some_and(forked) {
        return Judged::Forked;
    }
    if offered == known {
        return Judged::Same;
    }
    if offered.size < known.size {
        return Judged::Behind;
    }
    if start != Some(known) {
        return Judged::OtherStart;
    }
    #[cfg(feature = "sabotage")]
    if symbolon_sabotage::Bug::ConsistencyUnproved.on() {
        return Judged::Extends;
    }
    match verify_consistency(known.size, offered.size, &known.root, &offered.root, proof) {
        Ok(()) => Judged::Extends,
        Err(_) => Judged::Unproved,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{Frontier, Tree, consistency_proof, leaf_hash};

    /// A log of so many leaves; from `other` on they are others.
    fn tree(size: u8, other: u8) -> Tree {
        let mut tree = Tree::new();
        for leaf in 0..size {
            tree.append(leaf_hash(&[leaf, u8::from(leaf >= other)]));
        }
        tree
    }

    fn head(size: u8, other: u8) -> TreeHead {
        let mut frontier = Frontier::new();
        for leaf in 0..size {
            frontier.append(leaf_hash(&[leaf, u8::from(leaf >= other)]), |_, _, _| {});
        }
        TreeHead {
            size: size.into(),
            root: frontier.root(),
        }
    }

    const HONEST: u8 = u8::MAX;

    fn proof(old: u8, new: u8, other: u8) -> Vec<Hash> {
        consistency_proof(&tree(new, other), old.into(), new.into()).unwrap()
    }

    #[test]
    fn a_log_is_followed_forward_through_every_pair_of_sizes() {
        for old in 1..20 {
            for new in old + 1..24 {
                let (known, offered) = (head(old, HONEST), head(new, HONEST));
                let honest = judge(Some(known), Some(known), offered, &proof(old, new, HONEST));
                assert_eq!(honest, Judged::Extends, "{old} to {new}");
                // The same sizes, but a leaf below the old size is another one.
                let forked = head(new, old - 1);
                let lied = judge(Some(known), Some(known), forked, &proof(old, new, old - 1));
                assert_eq!(lied, Judged::Unproved, "{old} to {new}");
                let said = judge(Some(known), Some(head(old, old - 1)), forked, &proof(old, new, old - 1));
                assert_eq!(said, Judged::Forked, "{old} to {new}");
            }
        }
    }

    #[test]
    fn the_first_head_of_a_log_is_taken_as_it_is() {
        assert_eq!(judge(None, None, head(5, HONEST), &[]), Judged::Extends);
    }

    #[test]
    fn a_smaller_tree_is_behind_and_the_same_size_is_the_same_or_a_fork() {
        let known = Some(head(9, HONEST));
        assert_eq!(judge(known, None, head(8, HONEST), &[]), Judged::Behind);
        assert_eq!(judge(known, None, head(0, HONEST), &[]), Judged::Behind);
        assert_eq!(judge(known, None, head(9, HONEST), &[]), Judged::Same);
        assert_eq!(judge(known, None, head(9, 3), &[]), Judged::Forked);
    }

    #[test]
    fn a_proof_from_elsewhere_or_none_is_asked_for_anew() {
        let (known, offered) = (Some(head(9, HONEST)), head(12, HONEST));
        assert_eq!(judge(known, None, offered, &proof(9, 12, HONEST)), Judged::OtherStart);
        let start = Some(head(8, HONEST));
        assert_eq!(judge(known, start, offered, &proof(8, 12, HONEST)), Judged::OtherStart);
        assert_eq!(judge(known, known, offered, &[]), Judged::Unproved);
    }
}
