//! Confirmations and complaints of the holders.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use bytes::Bytes;
use prost::Message;
use symbolon_crypto::Hash;
use symbolon_crypto::sealing::{SealingKeyPair, fragment_key};
use symbolon_crypto::secret::Secret;
use symbolon_state::entry::Kind;
use symbolon_state::testing::{Author, Put, World};
use symbolon_state::{Effect, query};
use symbolon_wire::ids::SecretId;
use symbolon_wire::v1;

struct Scene {
    world: World,
    agent: Author,
    id: SecretId,
    put: Put,
    index: u64,
}

/// A dealing that was taken, possibly spoilt before it was signed.
fn dealt(spoil: impl FnOnce(&mut Put)) -> Scene {
    let mut world = World::new(5, 3, 1);
    assert_eq!(world.set_policies("permit(principal, action, resource);").code, 0);
    let mut agent = world.agent("agent");
    let id = world.secret_id();
    let mut put = world.put(&mut agent, "a/b", id, 1, b"value");
    spoil(&mut put);
    assert_eq!(world.submit_put(&agent, &put).code, 0);
    let index = world.index;
    Scene {
        world,
        agent,
        id,
        put,
        index,
    }
}

fn confirmed(scene: &Scene) -> u64 {
    let (_, state) = query::version(&scene.world.records, scene.id, 1).unwrap().unwrap();
    query::confirmed(&scene.world.records, &state, 3).unwrap()
}

#[test]
fn each_holder_confirms_once_and_the_session_goes_when_all_have() {
    let mut scene = dealt(|_| {});
    assert_eq!(confirmed(&scene), 0);
    let session = scene.put.message.session.clone();
    for (position, bitmap) in [(0, 0b001), (0, 0b001), (2, 0b101), (1, 0b111)] {
        scene.world.confirm(position, &[scene.index]);
        assert_eq!(confirmed(&scene), bitmap);
    }
    assert!(scene.world.keeps_session(&session), "it can still carry dealings");
    for minute in 1..=61 {
        scene
            .world
            .tick_all(symbolon_state::testing::BIRTH_MS + minute * 60_000);
    }
    assert!(!scene.world.keeps_session(&session), "expired, and nothing pending");
}

#[test]
fn a_session_with_a_pending_dealing_outlives_its_hour() {
    let mut scene = dealt(|_| {});
    let session = scene.put.message.session.clone();
    scene.world.confirm(0, &[scene.index]);
    scene.world.confirm(1, &[scene.index]);
    for minute in 1..=61 {
        scene
            .world
            .tick_all(symbolon_state::testing::BIRTH_MS + minute * 60_000);
    }
    assert!(
        scene.world.keeps_session(&session),
        "the third holder, which is down, still needs it"
    );
    scene.world.confirm(2, &[scene.index]);
    assert!(!scene.world.keeps_session(&session));
}

#[test]
fn a_confirmation_by_another_key_or_out_of_order_counts_nothing() {
    let mut scene = dealt(|_| {});
    let signer = scene.world.signer(0);
    let indices = [scene.index];
    let of = chain(&scene);
    let statement = signer.fragment_ok(&[(scene.index, of)]);
    let forged = v1::FragmentOk {
        node: 1,
        boot_counter: signer.boot_counter,
        indices: indices.to_vec(),
        chains: vec![Bytes::copy_from_slice(&of)],
        signature: Bytes::copy_from_slice(&scene.world.nodes[1].signing.sign(&statement)),
    };
    scene
        .world
        .apply(Kind::FragmentOk.number(), forged.encode_to_vec().into());
    scene.world.confirm(0, &[scene.index, scene.index]);
    assert_eq!(confirmed(&scene), 0);
}

/// A leader that shows a node another history hands on what it says there.
#[test]
fn what_a_holder_says_of_another_history_s_dealing_counts_nothing() {
    let mut scene = dealt(|_| {});
    let (signer, indices) = (scene.world.signer(0), [scene.index]);
    for (of, expected) in [([7; 32], 0), (chain(&scene), 1)] {
        let signature = scene.world.nodes[0]
            .signing
            .sign(&signer.fragment_ok(&[(scene.index, of)]));
        let message = v1::FragmentOk {
            node: 1,
            boot_counter: signer.boot_counter,
            indices: indices.to_vec(),
            chains: vec![Bytes::copy_from_slice(&of)],
            signature: Bytes::copy_from_slice(&signature),
        };
        scene
            .world
            .apply(Kind::FragmentOk.number(), message.encode_to_vec().into());
        assert_eq!(confirmed(&scene), expected);
    }
}

fn chain(scene: &Scene) -> Hash {
    query::pending_chain(&scene.world.records, scene.index)
        .unwrap()
        .unwrap()
}

/// A version that is written over again and again is destroyed before its confirmation is logged; the others of that batch count.
#[test]
fn confirmations_count_beside_one_of_a_dealing_that_is_gone() {
    let mut scene = dealt(|_| {});
    scene.world.confirm(0, &[scene.index, scene.index + 1_000]);
    assert_eq!(confirmed(&scene), 1);
}

#[test]
fn unconfirmed_dealings_are_found_page_by_page() {
    let mut scene = dealt(|_| {});
    for version in 2..=5 {
        scene.world.write(&mut scene.agent, "a/b", scene.id, version, b"more");
        let index = scene.world.index;
        scene.world.confirm(1, &[index]);
    }
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let (page, next) = query::unconfirmed(&scene.world.records, 1, after, 2).unwrap();
        found.extend(page.into_iter().map(|dealing| dealing.version));
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(
        found,
        [1],
        "only the first was not confirmed by this holder, though pages without any lie between"
    );
}

fn complain(scene: &mut Scene, position: usize, fragment_key: &[u8; 32]) -> Vec<Effect> {
    let signer = scene.world.signer(position);
    let signature =
        scene.world.nodes[position]
            .signing
            .sign(&signer.complaint(scene.index, &chain(scene), fragment_key));
    let message = v1::Complaint {
        node: signer.node.into(),
        boot_counter: signer.boot_counter,
        index: scene.index,
        fragment_key: Bytes::copy_from_slice(fragment_key),
        signature: Bytes::copy_from_slice(&signature),
    };
    scene
        .world
        .apply(Kind::Complaint.number(), message.encode_to_vec().into())
        .effects
}

/// K_i as the holder at `position` derives it.
fn key_of(scene: &Scene, position: usize) -> [u8; 32] {
    let seed = Secret::fill(|bytes: &mut [u8; 32]| *bytes = scene.world.nodes[position].seed);
    let ciphertext = scene.put.message.open.as_ref().unwrap().ciphertexts[position]
        .as_ref()
        .try_into()
        .unwrap();
    let shared = SealingKeyPair::from_seed(&seed).decapsulate(&ciphertext);
    let session = scene.put.message.session.as_ref().try_into().unwrap();
    *fragment_key(&shared, &session, &scene.put.dealt.dd, position as u16 + 1).expose()
}

#[test]
fn a_complaint_about_a_good_fragment_blames_the_complainer_and_changes_nothing() {
    let mut scene = dealt(|_| {});
    let key = key_of(&scene, 1);
    let effects = complain(&mut scene, 1, &key);
    assert_eq!(
        effects,
        [Effect::FalseComplaint {
            node: 2,
            index: scene.index
        }]
    );
    let (_, state) = query::version(&scene.world.records, scene.id, 1).unwrap().unwrap();
    assert!(!state.author_at_fault && state.unopenable.is_empty());
}

#[test]
fn a_complaint_whose_tag_fails_blames_nobody() {
    let mut scene = dealt(|put| put.message.sealed[1] = Bytes::from_static(&[9; 80]));
    let key = key_of(&scene, 1);
    complain(&mut scene, 1, &key);
    let (_, state) = query::version(&scene.world.records, scene.id, 1).unwrap().unwrap();
    assert!(!state.author_at_fault);
    assert_eq!(state.unopenable, [2]);
}

#[test]
fn a_complaint_about_bad_content_blames_the_author() {
    use symbolon_crypto::provider::{Aead, NONCE_0, Portable};
    let mut scene = dealt(|_| {});
    // A dealer who seals consistently, under the right key and dd, a fragment that is not on the polynomial.
    let key = key_of(&scene, 1);
    let mut content = [0_u8; 64].to_vec();
    content[31] = 1;
    let key_secret = Secret::fill(|bytes: &mut [u8; 32]| *bytes = key);
    Portable
        .seal_in_place(&key_secret, &NONCE_0, &scene.put.dealt.dd, &mut content)
        .unwrap();
    let record_key = symbolon_state::keys::version(scene.id, 1);
    let (mut record, _) = query::version(&scene.world.records, scene.id, 1).unwrap().unwrap();
    record.sealed[1] = content.into();
    symbolon_state::Records::put(&mut scene.world.records, record_key, record.encode_to_vec().into());
    complain(&mut scene, 1, &key);
    let (_, state) = query::version(&scene.world.records, scene.id, 1).unwrap().unwrap();
    assert!(state.author_at_fault);
}

#[test]
fn each_seeded_bug_is_found_by_its_test_here() {
    symbolon_sabotage::caught_in(file!());
}
