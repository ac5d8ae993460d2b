//! A node as the witness of others' audit logs: it follows forward only, remembers before it signs, and keeps what shows
//! a fork.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panic"
)]

mod common;

use bytes::Bytes;
use common::wait;
use std::sync::Mutex;
use symbolon_crypto::checkpoint::Checkpoint;
use symbolon_crypto::cosignature::verify_cosignature;
use symbolon_crypto::merkle::{Tree, consistency_proof, leaf_hash};
use symbolon_crypto::provider::Portable;
use symbolon_crypto::secret::Secret;
use symbolon_crypto::sign::Ed25519SigningKey;
use symbolon_custody::witness::{Answer, Collecting, Cosigner, Memory, NotRemembered, Refused, Witness};
use symbolon_wire::ids::ClusterId;
use symbolon_wire::{audit, v1};

const CLUSTER: ClusterId = ClusterId([7; 16]);
const LOG: u16 = 2;
const HONEST: u64 = u64::MAX;

fn key(byte: u8) -> Ed25519SigningKey {
    Ed25519SigningKey::from_seed(&Secret::fill(|bytes: &mut [u8; 32]| bytes.fill(byte)))
}

fn tree(size: u64, other: u64) -> Tree {
    let mut tree = Tree::new();
    for leaf in 0..size {
        tree.append(leaf_hash(
            &[leaf.to_be_bytes().as_slice(), &[u8::from(leaf >= other)]].concat(),
        ));
    }
    tree
}

fn note(size: u64, other: u64) -> Bytes {
    let origin = audit::origin(CLUSTER, LOG);
    let checkpoint = Checkpoint::new(&origin, size, tree(size, other).root()).unwrap();
    checkpoint.sign(&key(LOG as u8)).into()
}

/// From `old` leaves to `new` of a log in which leaves from `other` on are others.
fn offer(old: u64, new: u64, other: u64) -> v1::Cosign {
    let (start, proof) = match old {
        0 => (Bytes::new(), Vec::new()),
        old => (
            note(old, other),
            consistency_proof(&tree(new, other), old, new).unwrap(),
        ),
    };
    v1::Cosign {
        boot_counter: 1,
        checkpoint: note(new, other),
        start,
        consistency: proof.iter().map(|hash| Bytes::copy_from_slice(hash)).collect(),
    }
}

/// A memory that can be full.
#[derive(Default)]
struct Disk {
    notes: Mutex<Vec<(u16, Bytes)>>,
    forks: Mutex<Vec<(u16, (Bytes, Bytes))>>,
    full: bool,
}

impl Disk {
    fn taken(&self) -> Result<(), NotRemembered> {
        match self.full {
            true => Err(NotRemembered {
                reason: "full".to_owned(),
            }),
            false => Ok(()),
        }
    }
}

impl Memory for Disk {
    async fn remember(&self, log: u16, note: Bytes) -> Result<(), NotRemembered> {
        self.taken()?;
        let mut notes = self.notes.lock().unwrap();
        notes.retain(|(known, _)| *known != log);
        notes.push((log, note));
        Ok(())
    }

    async fn keep_fork(&self, log: u16, first: Bytes, second: Bytes) -> Result<(), NotRemembered> {
        self.taken()?;
        self.forks.lock().unwrap().push((log, (first, second)));
        Ok(())
    }
}

fn fresh() -> Witness {
    Witness::restore(CLUSTER, [], []).unwrap()
}

fn shown(witness: &mut Witness, disk: &Disk, offer: &v1::Cosign) -> Result<Answer, Refused> {
    let cosigner = Cosigner {
        name: &audit::witness(CLUSTER, 1),
        key: &key(1),
        time_s: 5,
    };
    let logs_key = key(LOG as u8).verifying_key();
    wait(witness.offered(LOG, &logs_key, offer, cosigner, disk, &Portable))
}

fn cosigned(answer: &Result<Answer, Refused>) -> bool {
    matches!(answer, Ok(Answer::Cosigned(_)))
}

#[test]
fn a_log_is_cosigned_forward_and_the_cosignature_holds() {
    let (mut witness, disk) = (fresh(), Disk::default());
    for (old, new) in [(0, 5), (5, 9), (9, 9), (9, 600)] {
        let offer = offer(old, new, HONEST);
        let Ok(Answer::Cosigned(line)) = shown(&mut witness, &disk, &offer) else {
            panic!("{old} to {new} was not cosigned");
        };
        let mut collecting = Collecting::new(CLUSTER, String::from_utf8(offer.checkpoint.to_vec()).unwrap());
        collecting.add(1, &key(1).verifying_key(), &line, &Portable).unwrap();
        collecting.add(1, &key(1).verifying_key(), &line, &Portable).unwrap();
        assert_eq!(collecting.count(), 1, "a node counts once");
        let name = audit::witness(CLUSTER, 1);
        let held = verify_cosignature(collecting.note().as_bytes(), &name, &key(1).verifying_key(), &Portable);
        assert_eq!(held.unwrap().time_s, 5);
        assert_eq!(*disk.notes.lock().unwrap(), [(LOG, offer.checkpoint)], "one note a log");
    }
}

#[test]
fn nothing_is_cosigned_that_cannot_be_remembered() {
    let (mut witness, mut disk) = (fresh(), Disk::default());
    disk.full = true;
    let refused = shown(&mut witness, &disk, &offer(0, 5, HONEST));
    assert!(matches!(refused, Err(Refused::Memory(_))), "{refused:?}");
    assert!(witness.known(LOG).is_empty());
}

#[test]
fn a_smaller_or_unproved_tree_is_not_cosigned_and_what_is_known_is_told() {
    let (mut witness, disk) = (fresh(), Disk::default());
    assert!(cosigned(&shown(&mut witness, &disk, &offer(0, 9, HONEST))));
    let known = Ok(Answer::Known(note(9, HONEST)));
    let mut unproved = offer(9, 12, HONEST);
    unproved.consistency.pop();
    let mut forked_behind = offer(9, 12, HONEST);
    forked_behind.checkpoint = note(12, 3);
    for (what, offer) in [
        ("smaller", offer(0, 8, HONEST)),
        ("smaller and another", offer(0, 8, 3)),
        ("without a start", offer(0, 12, HONEST)),
        ("from another size", offer(4, 12, HONEST)),
        ("without its proof", unproved),
        ("another log behind what is known", forked_behind),
        ("a question", v1::Cosign::default()),
    ] {
        assert_eq!(shown(&mut witness, &disk, &offer), known, "{what}");
    }
    assert!(disk.forks.lock().unwrap().is_empty());
    assert_eq!(*disk.notes.lock().unwrap(), [(LOG, note(9, HONEST))]);
}

#[test]
fn a_fork_is_kept_as_evidence_and_nothing_of_that_log_is_cosigned_again() {
    for (what, forked, second) in [
        ("of the checkpoint", offer(0, 9, 3), note(9, 3)),
        ("of the start", offer(9, 12, 3), note(9, 3)),
    ] {
        let (mut witness, disk) = (fresh(), Disk::default());
        assert!(cosigned(&shown(&mut witness, &disk, &offer(0, 9, HONEST))));
        let first = note(9, HONEST);
        let caught = shown(&mut witness, &disk, &forked);
        assert_eq!(
            caught,
            Ok(Answer::Forked {
                first: first.clone(),
                second: second.clone()
            }),
            "{what}"
        );
        let evidence = disk.forks.lock().unwrap().clone();
        assert_eq!(evidence, [(LOG, (first, second))], "{what}");
        let honest = shown(&mut witness, &disk, &offer(9, 12, HONEST));
        assert_eq!(honest, Err(Refused::Forked), "{what}");
        let mut restarted = Witness::restore(CLUSTER, disk.notes.lock().unwrap().clone(), evidence).unwrap();
        assert_eq!(restarted.forked().collect::<Vec<_>>(), [LOG], "{what}");
        let after = shown(&mut restarted, &disk, &offer(9, 12, HONEST));
        assert_eq!(after, Err(Refused::Forked), "{what}");
    }
}

#[test]
fn after_a_restart_the_witness_goes_on_from_what_it_remembers() {
    let (mut witness, disk) = (fresh(), Disk::default());
    assert!(cosigned(&shown(&mut witness, &disk, &offer(0, 9, HONEST))));
    let mut restarted = Witness::restore(CLUSTER, disk.notes.lock().unwrap().clone(), []).unwrap();
    assert_eq!(
        shown(&mut restarted, &disk, &offer(0, 5, 3)),
        Ok(Answer::Known(note(9, HONEST)))
    );
    assert!(cosigned(&shown(&mut restarted, &disk, &offer(9, 12, HONEST))));
    assert!(Witness::restore(CLUSTER, [(LOG, Bytes::from_static(b"damaged"))], []).is_err());
}

#[test]
fn notes_of_another_log_key_or_length_are_refused() {
    let (mut witness, disk) = (fresh(), Disk::default());
    let root = tree(9, HONEST).root();
    let other_log = Checkpoint::new(&audit::origin(CLUSTER, 3), 9, root).unwrap();
    let own_log = Checkpoint::new(&audit::origin(CLUSTER, LOG), 9, root).unwrap();
    let long = vec!["x".repeat(600)];
    let long = Checkpoint::with_extensions(&audit::origin(CLUSTER, LOG), 9, root, long).unwrap();
    for note in [
        other_log.sign(&key(LOG as u8)),
        own_log.sign(&key(9)),
        long.sign(&key(LOG as u8)),
        "no note".to_owned(),
    ] {
        let offer = v1::Cosign {
            checkpoint: note.clone().into(),
            ..v1::Cosign::default()
        };
        let refused = shown(&mut witness, &disk, &offer);
        assert!(matches!(refused, Err(Refused::Note(_))), "{note}: {refused:?}");
    }
    let mut long_proof = offer(0, 9, HONEST);
    long_proof.consistency = vec![Bytes::from(vec![0; 32]); 65];
    assert_eq!(shown(&mut witness, &disk, &long_proof), Err(Refused::Proof));
    assert!(disk.notes.lock().unwrap().is_empty());
}

#[test]
fn each_seeded_bug_is_found_by_its_test_here() {
    symbolon_sabotage::caught_in(file!());
}
