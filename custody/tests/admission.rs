//! What a booted node takes for an answer, and when it has heard enough.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panic"
)]

use symbolon_crypto::provider::Portable;
use symbolon_custody::admission::{Admission, BootId, NoWitness, Stand, answer};
use symbolon_state::testing::World;
use symbolon_wire::v1;

/// The node that booted, by its place; the others answer.
const BOOTED: usize = 0;
const TERM_MAX: u64 = 1_000;

struct Scene {
    world: World,
    /// Of each node's current boot.
    boots: Vec<v1::BootKeys>,
}

impl Scene {
    fn new(nodes: usize) -> Self {
        let mut world = World::new(1, nodes, 1);
        let boots = (0..nodes).map(|place| world.boot_statement(place)).collect();
        Self { world, boots }
    }

    fn admission(&self) -> Admission {
        Admission::new(&self.world.roster, self.boots[BOOTED].clone())
    }

    /// What the node at `place` answers to `asker`.
    fn says(&self, place: usize, asker: &v1::BootKeys, stand: Stand) -> v1::Witnessed {
        let signing = &self.world.nodes[place].signing;
        let signed = answer(
            &self.world.signer(place),
            &self.boots[place],
            asker,
            &stand,
            |message| Ok::<_, std::convert::Infallible>(signing.sign(message)),
        );
        signed.unwrap()
    }

    fn take(&self, admission: &mut Admission, place: usize, answer: &v1::Witnessed) -> Result<(), NoWitness> {
        let node = u16::try_from(place).unwrap() + 1;
        admission.take(node, answer, TERM_MAX, &self.world.roster, &Portable)
    }

    fn hear(&self, admission: &mut Admission, place: usize, stand: Stand) {
        let answer = self.says(place, &self.boots[BOOTED], stand);
        self.take(admission, place, &answer).unwrap();
    }
}

fn stand(term: u64, last: (u64, u64), admitted: bool) -> Stand {
    Stand {
        term,
        last: Some(last),
        admitted,
    }
}

#[test]
fn all_others_are_enough_and_the_furthest_of_each_counts() {
    let scene = Scene::new(3);
    let mut admission = scene.admission();
    assert_eq!(admission.missing(), [2, 3]);
    scene.hear(&mut admission, 1, stand(7, (2, 40), false));
    assert_eq!((admission.missing(), admission.verdict()), (vec![3], None));
    scene.hear(&mut admission, 2, stand(5, (3, 12), false));
    assert_eq!(admission.verdict(), Some(stand(7, (3, 12), true)));
}

#[test]
fn t_that_take_part_are_enough_and_fewer_or_others_are_not() {
    let scene = Scene::new(5);
    let mut admission = scene.admission();
    scene.hear(&mut admission, 1, stand(4, (4, 9), true));
    scene.hear(&mut admission, 2, stand(4, (4, 9), true));
    scene.hear(&mut admission, 3, stand(4, (4, 9), false));
    assert_eq!(admission.verdict(), None, "one of three does not take part itself");
    // Asked again, once it does.
    scene.hear(&mut admission, 3, stand(4, (4, 10), true));
    assert_eq!(admission.verdict(), Some(stand(4, (4, 10), true)));
}

#[test]
fn an_answer_to_another_boot_by_another_node_or_changed_on_its_way_does_not_count() {
    let mut scene = Scene::new(3);
    let earlier = scene.boots[BOOTED].clone();
    scene.world.boot(BOOTED);
    scene.boots[BOOTED] = scene.world.boot_statement(BOOTED);
    let mut admission = scene.admission();
    let said = stand(4, (4, 9), true);

    let replayed = scene.says(1, &earlier, said);
    assert_eq!(scene.take(&mut admission, 1, &replayed), Err(NoWitness::Signature));
    let answer = scene.says(1, &scene.boots[BOOTED], said);
    assert_eq!(
        scene.take(&mut admission, 2, &answer),
        Err(NoWitness::Boot),
        "passed on by another"
    );
    let changes: [fn(&mut v1::Witnessed); 3] = [
        |answer| answer.term -= 1,
        |answer| answer.last = None,
        |answer| answer.admitted = false,
    ];
    for change in changes {
        let mut changed = answer.clone();
        change(&mut changed);
        assert_eq!(scene.take(&mut admission, 1, &changed), Err(NoWitness::Signature));
    }
    let mut nameless = answer.clone();
    nameless.boot = None;
    assert_eq!(scene.take(&mut admission, 1, &nameless), Err(NoWitness::Boot));
    assert_eq!((admission.missing(), admission.verdict()), (vec![2, 3], None));
    assert_eq!(scene.take(&mut admission, 1, &answer), Ok(()));
}

#[test]
fn a_term_that_no_elections_lead_to_is_not_believed() {
    let scene = Scene::new(3);
    let mut admission = scene.admission();
    for absurd in [
        stand(TERM_MAX + 1, (4, 9), true),
        stand(u64::MAX, (4, 9), true),
        stand(4, (5, 9), true),
    ] {
        let answer = scene.says(1, &scene.boots[BOOTED], absurd);
        assert_eq!(
            scene.take(&mut admission, 1, &answer),
            Err(NoWitness::Term),
            "{absurd:?}"
        );
    }
    assert_eq!(admission.missing(), [2, 3]);
    scene.hear(&mut admission, 1, stand(TERM_MAX, (4, 9), true));
}

#[test]
fn boots_are_ordered_by_counter_and_then_by_key() {
    let boot = |counter: u64, key: &'static [u8]| BootId {
        counter,
        key: bytes::Bytes::from_static(key),
    };
    assert!(boot(2, b"a") > boot(1, b"z"));
    assert!(boot(2, b"b") > boot(2, b"a"));
}

#[test]
fn each_seeded_bug_is_found_by_its_test_here() {
    symbolon_sabotage::caught_in(file!());
}
