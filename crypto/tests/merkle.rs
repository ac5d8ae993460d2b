//! Merkle trees against the definitions of RFC 9162, for every size up to 70 and every pair of sizes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use proptest::prelude::*;
use symbolon_crypto::{
    Hash,
    merkle::{
        BadFrontier, BadProof, Frontier, ProofError, Tree, consistency_proof, empty_root, inclusion_proof, leaf_hash,
        node_hash, root_at, verify_consistency, verify_inclusion,
    },
};

const SIZES: u64 = 70;

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

fn tree(count: u64) -> Tree {
    leaves(count).into_iter().collect()
}

fn largest_power_of_two_below(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

/// MTH of RFC 9162, 2.1.1, word for word, over leaf hashes.
fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(largest_power_of_two_below(leaves.len()));
            node_hash(&mth(left), &mth(right))
        }
    }
}

/// PATH of RFC 9162, 2.1.3.1.
fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return vec![];
    }
    let k = largest_power_of_two_below(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut inner, other) = if m < k {
        (path(m, left), mth(right))
    } else {
        (path(m - k, right), mth(left))
    };
    inner.push(other);
    inner
}

/// SUBPROOF of RFC 9162, 2.1.4.1.
fn subproof(m: usize, leaves: &[Hash], complete: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if complete { vec![] } else { vec![mth(leaves)] };
    }
    let k = largest_power_of_two_below(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut inner, other) = if m <= k {
        (subproof(m, left, complete), mth(right))
    } else {
        (subproof(m - k, right, false), mth(left))
    };
    inner.push(other);
    inner
}

/// The eight leaves and roots that Certificate Transparency implementations share.
#[test]
fn roots_are_those_of_certificate_transparency() {
    let leaves = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    assert_eq!(
        hex::encode(empty_root()),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    let mut tree = Tree::new();
    for (leaf, root) in leaves.iter().zip(roots) {
        tree.append(leaf_hash(&hex::decode(leaf).unwrap()));
        assert_eq!(hex::encode(tree.root()), root);
    }
}

#[test]
fn every_root_path_and_consistency_proof_is_that_of_the_definition() {
    let leaves = leaves(SIZES);
    let whole = tree(SIZES);
    for new in 0..=SIZES {
        let upto = &leaves[..usize::try_from(new).unwrap()];
        assert_eq!(root_at(&whole, new), Ok(mth(upto)), "root of {new}");
        assert_eq!(tree(new).root(), mth(upto), "appended root of {new}");
        for old in 0..=new {
            let m = usize::try_from(old).unwrap();
            let proof = consistency_proof(&whole, old, new).unwrap();
            if old > 0 {
                assert_eq!(proof, subproof(m, upto, true), "consistency of {old} and {new}");
            }
            let (old_root, new_root) = (mth(&leaves[..m]), mth(upto));
            assert_eq!(
                verify_consistency(old, new, &old_root, &new_root, &proof),
                Ok(()),
                "{old} and {new}"
            );
            if old < new {
                let proof = inclusion_proof(&whole, old, new).unwrap();
                assert_eq!(proof, path(m, upto), "path of {old} in {new}");
                assert_eq!(
                    verify_inclusion(&leaves[m], old, new, &proof, &new_root),
                    Ok(()),
                    "{old} in {new}"
                );
            }
        }
    }
}

#[test]
fn a_changed_cut_extended_or_misplaced_inclusion_proof_is_refused() {
    let leaves = leaves(SIZES);
    for size in 1..=SIZES {
        let tree = tree(size);
        let root = tree.root();
        for index in 0..size {
            let leaf = &leaves[usize::try_from(index).unwrap()];
            let good = tree.path(index).unwrap();
            for place in 0..good.len() {
                let mut changed = good.clone();
                changed[place][0] ^= 1;
                assert_eq!(
                    verify_inclusion(leaf, index, size, &changed, &root),
                    Err(BadProof::Root)
                );
            }
            if !good.is_empty() {
                assert!(verify_inclusion(leaf, index, size, &good[1..], &root).is_err());
                assert!(verify_inclusion(leaf, index, size, &good[..good.len() - 1], &root).is_err());
            }
            let longer = [good.as_slice(), &[[0; 32]]].concat();
            assert_eq!(
                verify_inclusion(leaf, index, size, &longer, &root),
                Err(BadProof::Length)
            );
            assert!(
                verify_inclusion(&[9; 32], index, size, &good, &root).is_err(),
                "another leaf"
            );
            assert!(
                verify_inclusion(leaf, index, size, &good, &[9; 32]).is_err(),
                "another root"
            );
            assert_eq!(
                verify_inclusion(leaf, size, size, &good, &root),
                Err(BadProof::OutOfRange)
            );
            if size > 1 {
                let elsewhere = (index + 1) % size;
                assert!(
                    verify_inclusion(leaf, elsewhere, size, &good, &root).is_err(),
                    "{index} as {elsewhere}"
                );
            }
        }
    }
}

#[test]
fn a_changed_cut_extended_or_misplaced_consistency_proof_is_refused() {
    let whole = tree(SIZES);
    let root = |size| root_at(&whole, size).unwrap();
    for new in 1..=SIZES {
        for old in 1..new {
            let good = consistency_proof(&whole, old, new).unwrap();
            for place in 0..good.len() {
                let mut changed = good.clone();
                changed[place][31] ^= 1;
                assert_eq!(
                    verify_consistency(old, new, &root(old), &root(new), &changed),
                    Err(BadProof::Root)
                );
            }
            assert!(verify_consistency(old, new, &root(old), &root(new), &good[..good.len() - 1]).is_err());
            assert!(verify_consistency(old, new, &root(old), &root(new), &good[1..]).is_err());
            let longer = [good.as_slice(), &[[0; 32]]].concat();
            assert_eq!(
                verify_consistency(old, new, &root(old), &root(new), &longer),
                Err(BadProof::Length)
            );
            assert!(
                verify_consistency(old, new, &[9; 32], &root(new), &good).is_err(),
                "another old root"
            );
            assert!(
                verify_consistency(old, new, &root(old), &[9; 32], &good).is_err(),
                "another new root"
            );
            assert!(
                verify_consistency(new, old, &root(new), &root(old), &good).is_err(),
                "backwards"
            );
        }
        assert_eq!(
            verify_consistency(new, new, &root(new), &[9; 32], &[]),
            Err(BadProof::Root),
            "a fork"
        );
        assert_eq!(
            verify_consistency(new, new, &root(new), &root(new), &[[0; 32]]),
            Err(BadProof::Length)
        );
    }
    assert_eq!(
        verify_consistency(0, 5, &[9; 32], &root(5), &[]),
        Err(BadProof::Root),
        "no empty tree has that root"
    );
    let long = vec![[0; 32]; 65];
    assert_eq!(
        verify_consistency(1, 2, &root(1), &root(2), &long),
        Err(BadProof::Length)
    );
    assert_eq!(
        verify_inclusion(&[0; 32], 0, u64::MAX, &long, &[0; 32]),
        Err(BadProof::Length)
    );
}

#[test]
fn the_largest_sizes_do_not_overflow() {
    for size in [u64::MAX, u64::MAX - 1, 1 << 63] {
        for index in [0, size / 2, size - 1] {
            assert!(verify_inclusion(&[0; 32], index, size, &[[0; 32]; 64], &[0; 32]).is_err());
            assert!(verify_consistency(index.max(1), size, &[0; 32], &[0; 32], &[[0; 32]; 64]).is_err());
        }
    }
}

#[test]
fn proofs_outside_the_tree_are_not_made() {
    let tree = tree(5);
    assert_eq!(tree.path(5), Err(ProofError::OutOfRange { asked: 5, size: 5 }));
    assert_eq!(
        consistency_proof(&tree, 6, 5),
        Err(ProofError::OutOfRange { asked: 6, size: 5 })
    );
    assert!(
        matches!(inclusion_proof(&tree, 0, 8), Err(ProofError::Read(_))),
        "a tree that is not there yet"
    );
}

#[test]
fn a_frontier_is_taken_up_again_at_every_size() {
    let leaves = leaves(SIZES);
    let whole = tree(SIZES);
    for size in 0..=SIZES {
        let mut frontier = Frontier::load(size, &whole).unwrap();
        assert_eq!(frontier.root(), root_at(&whole, size).unwrap());
        let restored = Frontier::restore(size, frontier.subtrees().to_vec());
        assert_eq!(restored.as_ref(), Ok(&frontier));
        for leaf in &leaves[usize::try_from(size).unwrap()..] {
            frontier.append(*leaf, |_, _, _| {});
        }
        assert_eq!(frontier.root(), whole.root(), "from {size}");
    }
    let wrong = Frontier::restore(5, vec![[0; 32]]);
    assert_eq!(
        wrong,
        Err(BadFrontier {
            size: 5,
            expected: 2,
            found: 1
        })
    );
}

proptest! {
    #[test]
    fn a_large_tree_proves_any_leaf_and_any_earlier_size(size in 71u64..3000, at in any::<prop::sample::Index>()) {
        let tree = tree(size);
        let index = u64::try_from(at.index(usize::try_from(size).unwrap())).unwrap();
        let leaf = leaf_hash(&index.to_be_bytes());
        prop_assert_eq!(verify_inclusion(&leaf, index, size, &tree.path(index).unwrap(), &tree.root()), Ok(()));
        let old_root = root_at(&tree, index).unwrap();
        let proof = consistency_proof(&tree, index, size).unwrap();
        prop_assert_eq!(verify_consistency(index, size, &old_root, &tree.root(), &proof), Ok(()));
    }
}

#[test]
fn each_seeded_bug_is_found_by_its_test_here() {
    symbolon_sabotage::caught_in(file!());
}
