//! Anchors of audit logs: what every node takes into the state alike, and what it refuses.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use bytes::Bytes;
use prost::Message;
use symbolon_crypto::Hash;
use symbolon_crypto::checkpoint::Checkpoint;
use symbolon_crypto::merkle::{Tree, consistency_proof, leaf_hash};
use symbolon_crypto::witness::TreeHead;
use symbolon_state::entry::Kind;
use symbolon_state::records::AnchorRecord;
use symbolon_state::testing::World;
use symbolon_state::{Effect, query};
use symbolon_wire::{audit, v1};

/// No leaf differs.
const HONEST: u64 = u64::MAX;

/// A log of so many leaves; from `other` on they are others.
fn tree(size: u64, other: u64) -> Tree {
    let mut tree = Tree::new();
    for leaf in 0..size {
        tree.append(leaf_hash(
            &[leaf.to_be_bytes().as_slice(), &[u8::from(leaf >= other)]].concat(),
        ));
    }
    tree
}

struct Scene {
    world: World,
}

impl Scene {
    /// Three nodes that all support anchors.
    fn new() -> Self {
        Self {
            world: World::new(40, 3, 1),
        }
    }

    fn note(&self, position: usize, size: u64, root: Hash) -> Bytes {
        let signer = self.world.signer(position);
        let key = self.world.nodes[position].checkpoint.as_ref().unwrap();
        let origin = audit::origin(signer.cluster, signer.node);
        Checkpoint::new(&origin, size, root).unwrap().sign(key).into()
    }

    /// An anchor from `old` leaves to `new` of the first node's log, in which leaves from `other` on are others.
    fn anchor(&self, old: u64, new: u64, other: u64) -> v1::AuditAnchor {
        let signer = self.world.signer(0);
        let (start, proof) = match old {
            0 => (Bytes::new(), Vec::new()),
            old => (
                self.note(0, old, tree(old, other).root()),
                consistency_proof(&tree(new, other), old, new).unwrap(),
            ),
        };
        v1::AuditAnchor {
            node: signer.node.into(),
            boot_counter: signer.boot_counter,
            checkpoint: self.note(0, new, tree(new, other).root()),
            start,
            consistency: proof.iter().map(|hash| Bytes::copy_from_slice(hash)).collect(),
        }
    }

    fn apply(&mut self, anchor: &v1::AuditAnchor) -> Vec<Effect> {
        let payload = anchor.encode_to_vec().into();
        self.world.apply(Kind::AuditAnchor.number(), payload).effects
    }

    fn record(&self) -> AnchorRecord {
        let node = self.world.signer(0).node;
        query::audit_anchor(&self.world.records, node)
            .unwrap()
            .unwrap_or_default()
    }

    fn head(&self) -> TreeHead {
        Checkpoint::read_unverified(&self.record().checkpoint).unwrap().head()
    }
}

#[test]
fn a_log_is_anchored_forward_and_the_newest_anchor_stands() {
    let mut scene = Scene::new();
    for (old, new) in [(0, 5), (5, 6), (6, 300)] {
        let anchor = scene.anchor(old, new, HONEST);
        let node = scene.world.signer(0).node;
        assert_eq!(scene.apply(&anchor), [Effect::AuditAnchored { node, size: new }]);
        let expected = TreeHead {
            size: new,
            root: tree(new, HONEST).root(),
        };
        assert_eq!(scene.head(), expected);
        assert_eq!(scene.record().log_index, scene.world.index);
    }
}

#[test]
fn a_new_boot_goes_on_from_the_anchors_of_the_one_before() {
    let mut scene = Scene::new();
    let first = scene.anchor(0, 5, HONEST);
    scene.apply(&first);
    let stale = scene.anchor(5, 9, HONEST);
    scene.world.boot(0);
    assert_eq!(scene.apply(&stale), [], "signed by a boot that is over");
    let next = scene.anchor(5, 9, HONEST);
    assert_eq!(scene.apply(&next).len(), 1);
    assert_eq!(scene.head().size, 9);
}

#[test]
fn a_shorter_log_an_unproved_one_and_one_from_elsewhere_leave_the_anchor_as_it_is() {
    let mut scene = Scene::new();
    let first = scene.anchor(0, 9, HONEST);
    scene.apply(&first);
    let before = scene.record();
    let mut from_nothing = scene.anchor(0, 12, HONEST);
    let mut unproved = scene.anchor(9, 12, HONEST);
    unproved.consistency.pop();
    let mut other_tail = scene.anchor(9, 12, HONEST);
    other_tail.checkpoint = scene.note(0, 12, tree(12, 3).root());
    let cases = [
        ("the same", scene.anchor(0, 9, HONEST)),
        ("shorter", scene.anchor(4, 8, HONEST)),
        ("without a start", from_nothing.clone()),
        ("from another size", scene.anchor(4, 12, HONEST)),
        ("without its proof", unproved),
        ("another log behind the anchor", other_tail),
        ("empty", scene.anchor(0, 0, HONEST)),
    ];
    for (what, anchor) in cases {
        assert_eq!(scene.apply(&anchor), [], "{what}");
        assert_eq!(scene.record(), before, "{what}");
    }
    from_nothing.start = scene.note(0, 9, tree(9, HONEST).root());
    assert_eq!(scene.apply(&from_nothing), [], "the proof is for another start");
}

#[test]
fn two_roots_of_one_size_are_evidence_and_end_the_anchors_of_that_log() {
    for by_start in [false, true] {
        let mut scene = Scene::new();
        let first = scene.anchor(0, 9, HONEST);
        scene.apply(&first);
        let forked = match by_start {
            false => scene.anchor(0, 9, 3),
            true => scene.anchor(9, 12, 3),
        };
        let node = scene.world.signer(0).node;
        assert_eq!(scene.apply(&forked), [Effect::AuditForked { node }]);
        let record = scene.record();
        let second = Checkpoint::read_unverified(&record.forked).unwrap();
        assert_eq!(record.checkpoint, first.checkpoint);
        assert_eq!((second.size(), *second.root()), (9, tree(9, 3).root()));
        let honest = scene.anchor(9, 12, HONEST);
        assert_eq!(scene.apply(&honest), [], "it has lost its word");
        assert_eq!(scene.record(), record);
    }
}

#[test]
fn nobody_anchors_in_anothers_name() {
    let mut scene = Scene::new();
    let genuine = scene.anchor(0, 9, HONEST);
    let by_another_key = v1::AuditAnchor {
        checkpoint: {
            let origin = audit::origin(scene.world.roster.cluster, scene.world.signer(0).node);
            let key = scene.world.nodes[1].checkpoint.as_ref().unwrap();
            Bytes::from(Checkpoint::new(&origin, 9, [1; 32]).unwrap().sign(key))
        },
        ..genuine.clone()
    };
    let of_another_log = v1::AuditAnchor {
        checkpoint: scene.note(1, 9, [1; 32]),
        ..genuine.clone()
    };
    let unknown_node = v1::AuditAnchor {
        node: 9,
        ..genuine.clone()
    };
    let other_boot = v1::AuditAnchor {
        boot_counter: genuine.boot_counter + 1,
        ..genuine.clone()
    };
    let too_long = v1::AuditAnchor {
        consistency: vec![Bytes::copy_from_slice(&[0; 32]); 65],
        ..genuine.clone()
    };
    for anchor in [by_another_key, of_another_log, unknown_node, other_boot, too_long] {
        assert_eq!(scene.apply(&anchor), []);
        assert_eq!(scene.record(), AnchorRecord::default());
    }
    assert_eq!(scene.apply(&genuine).len(), 1);
}

#[test]
fn anchors_do_not_count_before_every_node_supports_them() {
    let mut scene = Scene {
        world: World::at_first_level(40, 3, 1),
    };
    let anchor = scene.anchor(0, 9, HONEST);
    assert_eq!(scene.apply(&anchor), []);
    assert_eq!(scene.record(), AnchorRecord::default());
}
