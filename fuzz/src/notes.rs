//! Checkpoints as signed notes, and proofs over the tree beneath them.

use arbitrary::{Arbitrary, Unstructured};
use std::sync::LazyLock;
use symbolon_client::audit::{ProofFile, verify_proof, verify_proofs};
use symbolon_crypto::checkpoint::Checkpoint;
use symbolon_crypto::merkle::{Frontier, Tree, inclusion_root, leaf_hash, verify_consistency, verify_inclusion};
use symbolon_crypto::sign::{Ed25519SigningKey, Ed25519VerifyingKey};

use crate::stage::{Lenient, ORIGIN, base, rng};

static LOG_KEY: LazyLock<Ed25519VerifyingKey> =
    LazyLock::new(|| Ed25519SigningKey::generate(&mut rng(5)).verifying_key());

/// The note of one checkpoint under the key that the target knows.
pub(crate) fn note(size: u64) -> Vec<u8> {
    let key = Ed25519SigningKey::generate(&mut rng(5));
    Checkpoint::new(ORIGIN, size, leaf_hash(b"leaf")).map_or_else(|_| Vec::new(), |one| one.sign(&key).into_bytes())
}

/// A signed note. Signatures count as right if their first byte is even, so that what stands behind them is reached.
pub(crate) fn checkpoint(data: &[u8]) {
    let Ok(found) = Checkpoint::verify(data, ORIGIN, &LOG_KEY, &Lenient) else {
        return;
    };
    assert_eq!(found.origin(), ORIGIN, "another log's checkpoint is refused");
    let text = found.text();
    assert!(data.starts_with(text.as_bytes()), "what was read is what was signed");
}

#[derive(Arbitrary, Debug)]
struct Proofs {
    index: u64,
    old: u64,
    size: u64,
    roots: [[u8; 32]; 2],
    path: Vec<[u8; 32]>,
    leaves: u8,
    at: u8,
    flip: Option<(u8, u8)>,
}

/// Proofs of RFC 9162: those made by hand are answered in bounded time, honest ones hold, changed ones do not.
pub(crate) fn proof(data: &[u8]) {
    let Ok(proofs) = Proofs::arbitrary(&mut Unstructured::new(data)) else {
        return;
    };
    let [first, second] = &proofs.roots;
    let _ = verify_inclusion(first, proofs.index, proofs.size, &proofs.path, second);
    let _ = verify_consistency(proofs.old, proofs.size, first, second, &proofs.path);
    if let Ok(frontier) = Frontier::restore(proofs.size, proofs.path.clone()) {
        assert_eq!(frontier.size(), proofs.size);
        let _ = frontier.root();
    }
    honest(&proofs);
}

fn honest(proofs: &Proofs) {
    let mut tree = Tree::new();
    let leaves: Vec<[u8; 32]> = (0..=proofs.leaves).map(|number| leaf_hash(&[number])).collect();
    for leaf in &leaves {
        tree.append(*leaf);
    }
    let at = u64::from(proofs.at) % tree.size();
    let leaf = leaf_hash(&[u8::try_from(at).expect("below 256")]);
    let mut path = tree.path(at).expect("a leaf of the tree");
    assert_eq!(
        inclusion_root(&leaf, at, tree.size(), &path),
        Ok(tree.root()),
        "an honest proof holds"
    );
    if let Some((place, bit)) = proofs.flip
        && !path.is_empty()
    {
        let place = usize::from(place) % path.len();
        if let Some(byte) = path.get_mut(place).and_then(|hash| hash.get_mut(usize::from(bit / 8))) {
            *byte ^= 1 << (bit % 8);
        }
        assert!(
            verify_inclusion(&leaf, at, tree.size(), &path, &tree.root()).is_err(),
            "a changed proof does not"
        );
    }
}

/// A file of proofs, as whoever verifies one was sent it: by the pinned hash of the roster, and by a roster that is known.
/// Signatures are checked: nothing that was made up proves anything.
pub(crate) fn proof_file(data: &[u8]) {
    let Ok(file) = serde_json::from_slice::<ProofFile>(data) else {
        return;
    };
    let again = serde_json::to_vec(&file).ok();
    let again = again.and_then(|text| serde_json::from_slice(&text).ok());
    assert_eq!(again.as_ref(), Some(&file), "a file survives its encoding");
    let roster = &base().roster;
    assert!(verify_proofs(&file, &roster.hash).is_err(), "nobody anchored anything");
    for proof in &file.proofs {
        assert!(verify_proof(proof, roster).is_err(), "nobody anchored anything");
        if let Some(receipt) = &proof.receipt {
            let _ = receipt.signed_for(roster);
        }
    }
}
