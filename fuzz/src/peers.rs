//! What nodes answer each other, and what a node that cosigns the others' audit logs is shown.

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use std::sync::{LazyLock, Mutex};
use symbolon_crypto::checkpoint::Checkpoint;
use symbolon_crypto::merkle::{Tree, consistency_proof, leaf_hash};
use symbolon_crypto::provider::Portable;
use symbolon_crypto::sign::Ed25519SigningKey;
use symbolon_custody::admission::Admission;
use symbolon_custody::witness::{Answer, Collecting, Cosigner, Memory, NotRemembered, Witness};
use symbolon_wire::limits::PEER_FRAME_BYTES_MAX;
use symbolon_wire::{Message, audit, frame, v1};

use crate::stage::{Lenient, base, rng, wait};

/// Terms that the booted node believes.
const TERM_MAX: u64 = 1_000;

/// A node's answer; what it says to a node that boots, and a cosignature, are taken as a node takes them.
pub(crate) fn answer(data: &[u8]) {
    let Ok(response) = frame::decode::<v1::PeerResponse>(Bytes::copy_from_slice(data), PEER_FRAME_BYTES_MAX) else {
        return;
    };
    let again = frame::decode::<v1::PeerResponse>(response.encode_to_vec().into(), usize::MAX);
    assert_eq!(again.as_ref(), Ok(&response), "an answer survives its encoding");
    let base = base();
    match response.result {
        Some(v1::peer_response::Result::Witnessed(witnessed)) => {
            let own = base.boots.first().expect("three nodes").clone();
            let mut admission = Admission::new(&base.roster, own);
            for from in 1..=3 {
                let before = admission.missing();
                if admission
                    .take(from, &witnessed, TERM_MAX, &base.roster, &Lenient)
                    .is_ok()
                {
                    assert!(before.contains(&from), "no node answers itself");
                    assert!(witnessed.term <= TERM_MAX, "a term that no elections lead to");
                }
            }
            let verdict = admission.verdict();
            assert!(verdict.is_none(), "one node's word was enough: {verdict:?}");
        }
        Some(v1::peer_response::Result::Cosigned(cosigned)) => {
            let note = String::from_utf8(crate::notes::note(7)).expect("a note is text");
            let mut collecting = Collecting::new(base.roster.cluster, note);
            let key = Ed25519SigningKey::generate(&mut rng(6)).verifying_key();
            if let Ok(line) = std::str::from_utf8(&cosigned.signature) {
                let _ = collecting.add(2, &key, line, &Lenient);
            }
        }
        _ => {}
    }
}

/// The log whose checkpoints are offered.
const LOG: u16 = 2;
/// Leaves that both histories of it share.
const SHARED: u64 = 5;
/// Leaves of the longest.
const LEAVES: u64 = 24;

static KEY: LazyLock<Ed25519SigningKey> = LazyLock::new(|| Ed25519SigningKey::generate(&mut rng(8)));

fn tree(size: u64, other: bool) -> Tree {
    let mut tree = Tree::new();
    for leaf in 0..size {
        let differs = other && leaf >= SHARED;
        tree.append(leaf_hash(&[&leaf.to_be_bytes()[..], &[u8::from(differs)]].concat()));
    }
    tree
}

/// A place in one of the two histories.
#[derive(Arbitrary, Debug, Clone, Copy)]
struct Place {
    size: u8,
    other: bool,
}

impl Place {
    fn size(self) -> u64 {
        u64::from(self.size) % (LEAVES + 1)
    }

    /// Whether it lies where the histories differ.
    fn side(self) -> Option<bool> {
        (self.size() > SHARED).then_some(self.other)
    }

    fn note(self) -> Bytes {
        let origin = audit::origin(base().roster.cluster, LOG);
        let checkpoint = Checkpoint::new(&origin, self.size(), tree(self.size(), self.other).root());
        checkpoint.map_or_else(|_| Bytes::new(), |one| one.sign(&KEY).into())
    }
}

#[derive(Arbitrary, Debug)]
enum Proof {
    Honest,
    Made(Vec<[u8; 32]>),
    Raw(Vec<Vec<u8>>),
}

#[derive(Arbitrary, Debug)]
struct Offer {
    to: Place,
    from: Option<Place>,
    proof: Proof,
    /// In place of the note.
    raw: Option<Vec<u8>>,
    full: bool,
    /// The witness starts anew from its memory before.
    restarts: bool,
}

impl Offer {
    fn message(&self) -> v1::Cosign {
        let hashes = match &self.proof {
            Proof::Honest => {
                let from = self.from.map_or(0, Place::size);
                let honest = consistency_proof(&tree(self.to.size(), self.to.other), from, self.to.size());
                honest.unwrap_or_default().iter().map(|hash| hash.to_vec()).collect()
            }
            Proof::Made(hashes) => hashes.iter().map(|hash| hash.to_vec()).collect(),
            Proof::Raw(all) => all.clone(),
        };
        v1::Cosign {
            boot_counter: 1,
            checkpoint: self.raw.clone().map_or_else(|| self.to.note(), Bytes::from),
            start: self.from.map(Place::note).unwrap_or_default(),
            consistency: hashes.into_iter().map(Bytes::from).collect(),
        }
    }
}

#[derive(Default)]
struct Disk {
    note: Mutex<Option<Bytes>>,
    fork: Mutex<Option<(Bytes, Bytes)>>,
    full: Mutex<bool>,
}

impl Disk {
    fn keep<T>(&self, place: &Mutex<Option<T>>, what: T) -> Result<(), NotRemembered> {
        if *self.full.lock().expect("not poisoned") {
            return Err(NotRemembered {
                reason: "full".to_owned(),
            });
        }
        *place.lock().expect("not poisoned") = Some(what);
        Ok(())
    }

    fn restored(&self) -> Witness {
        let note = self.note.lock().expect("not poisoned").clone();
        let fork = self.fork.lock().expect("not poisoned").clone();
        let (notes, forks) = (note.map(|note| (LOG, note)), fork.map(|fork| (LOG, fork)));
        Witness::restore(base().roster.cluster, notes, forks).expect("what was remembered is read again")
    }
}

impl Memory for Disk {
    async fn remember(&self, _: u16, note: Bytes) -> Result<(), NotRemembered> {
        self.keep(&self.note, note)
    }

    async fn keep_fork(&self, _: u16, first: Bytes, second: Bytes) -> Result<(), NotRemembered> {
        self.keep(&self.fork, (first, second))
    }
}

/// Offers of one log, which has two histories: whatever comes in whatever order, only one of them is cosigned, never
/// backwards, and nothing that is not remembered.
pub(crate) fn witness(data: &[u8]) {
    let Ok(offers) = Vec::<Offer>::arbitrary(&mut Unstructured::new(data)) else {
        return;
    };
    let (disk, cosigner) = (Disk::default(), Ed25519SigningKey::generate(&mut rng(9)));
    let mut witness = disk.restored();
    let (mut side, mut size) = (None, 0);
    for offer in offers.iter().take(32) {
        *disk.full.lock().expect("not poisoned") = offer.full;
        if offer.restarts {
            witness = disk.restored();
        }
        let (message, cosigner) = (
            offer.message(),
            Cosigner {
                name: "symbolon.invalid/fuzz/node/1",
                key: &cosigner,
                time_s: 1_800_000_000,
            },
        );
        let key = KEY.verifying_key();
        let answered = wait(witness.offered(LOG, &key, &message, cosigner, &disk, &Portable));
        if let Ok(Answer::Cosigned(_)) = answered {
            assert!(offer.raw.is_none(), "a note that the log did not sign");
            let remembered = disk.note.lock().expect("not poisoned").clone();
            assert_eq!(
                remembered.as_ref(),
                Some(&message.checkpoint),
                "cosigned and not remembered"
            );
            assert!(offer.to.size() >= size, "a smaller tree than before");
            size = offer.to.size();
            assert!(side.is_none() || offer.to.side() == side, "two histories were cosigned");
            side = side.or(offer.to.side());
        }
    }
}
