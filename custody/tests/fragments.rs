//! A node's own fragments: what it checks, what it keeps, and every way in which a fragment can be the wrong one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panic"
)]

mod common;

use bytes::Bytes;
use common::{PATH, Stage, VALUE};
use std::sync::Arc;
use symbolon_crypto::dealing::{Fragment, LagrangeTable, Verdict, judge_complaint};
use symbolon_crypto::enc::sha256;
use symbolon_crypto::provider::{Aead, NONCE_0, Portable};
use symbolon_crypto::sealing::{SealingKeyPair, fragment_key};
use symbolon_crypto::secret::Secret;
use symbolon_custody::fragments::{Checked, Holder, HolderError, NoValidFragment, Released};
use symbolon_custody::freshness::Deadline;
use symbolon_custody::gate::ReleaseGrant;
use symbolon_state::records::VersionRecord;
use symbolon_state::testing::World;
use symbolon_state::{Fault, dealing_of, sharing_of};
use symbolon_wire::roster::Roster;

fn grant(stage: &Stage, path: &str, version: u64) -> ReleaseGrant {
    let (permit, receipt) = stage.permitted(path, version);
    ReleaseGrant::new(permit, &receipt, Deadline::start(0), 0).unwrap()
}

fn release(stage: &Stage, position: usize, version: u64) -> Released {
    let at_rest = stage.at_rest(position, version);
    stage
        .holder(position)
        .release(grant(stage, PATH, version), &at_rest)
        .unwrap()
}

fn check(stage: &Stage, position: usize, record: &VersionRecord) -> Checked {
    let session = stage.session(record);
    stage.holder(position).check(record, Some(&session)).unwrap().unwrap()
}

/// The complaint that the holder at `position` makes, and how everyone judges it.
fn verdict(stage: &Stage, position: usize, record: &VersionRecord) -> Verdict {
    let Checked::Complaint { fragment_key } = check(stage, position, record) else {
        panic!("the fragment is good");
    };
    let sharing = sharing_of(&stage.world.roster).unwrap();
    let dealing = dealing_of(&stage.world.roster, &sharing, record).unwrap();
    let sealed = record.sealed[position].as_ref().try_into().unwrap();
    let index = stage.world.roster.nodes[position].index;
    judge_complaint(&Portable, &dealing, index, &sealed, &fragment_key)
}

/// K_i, as the author of the dealing and its holder know it.
fn key_of(stage: &Stage, position: usize) -> Secret<32> {
    let seed = Secret::fill(|bytes: &mut [u8; 32]| *bytes = stage.world.nodes[position].seed);
    let open = stage.put.message.open.as_ref().unwrap();
    let ciphertext = open.ciphertexts[position].as_ref().try_into().unwrap();
    let shared = SealingKeyPair::from_seed(&seed).decapsulate(&ciphertext);
    let session = stage.put.message.session.as_ref().try_into().unwrap();
    let index = stage.world.roster.nodes[position].index;
    fragment_key(&shared, &session, &stage.put.dealt.dd, index)
}

/// Seals what is no fragment of the dealing, under the right key, as only its author can.
fn sealed_by_the_author(stage: &Stage, position: usize, content: &[u8]) -> Bytes {
    let mut content = content.to_vec();
    let key = key_of(stage, position);
    Portable
        .seal_in_place(&key, &NONCE_0, &stage.put.dealt.dd, &mut content)
        .unwrap();
    content.into()
}

#[test]
fn what_t_holders_release_opens_the_value_for_every_set_of_t() {
    for n in [3, 5, 7] {
        let stage = Stage::of(n);
        let record = stage.record(1);
        let released: Vec<(u16, Fragment)> = (0..n)
            .map(|position| {
                let released = release(&stage, position, 1);
                assert_eq!(released.hash, sha256(released.fragment.expose()));
                let fragment = Fragment::from_slice(released.fragment.expose()).unwrap();
                (stage.world.roster.nodes[position].index, fragment)
            })
            .collect();
        let sharing = sharing_of(&stage.world.roster).unwrap();
        let dealing = dealing_of(&stage.world.roster, &sharing, &record).unwrap();
        let table = LagrangeTable::new(&sharing);
        for subset in table.subsets() {
            let chosen: Vec<(u16, &Fragment)> = released
                .iter()
                .filter(|(index, _)| subset.contains(index))
                .map(|(index, fragment)| (*index, fragment))
                .collect();
            let value = dealing.unlock(&table, &chosen).unwrap().open(&Portable).unwrap();
            assert_eq!(value.expose(), VALUE, "{subset:?} of {n}");
        }
        assert!(dealing.unlock(&table, &[(released[0].0, &released[0].1)]).is_err());
    }
}

#[test]
fn a_released_fragment_does_not_show_itself() {
    let stage = Stage::new();
    let released = release(&stage, 0, 1);
    let shown = format!("{released:?} {:?}", stage.holder(0)).to_lowercase();
    let hash = format!("{:?}", released.hash);
    let shown = shown.replace(&hash, "");
    for half in released.fragment.expose().chunks(8) {
        assert!(!shown.contains(&hex::encode(half)));
        assert!(!shown.contains(format!("{half:?}").trim_matches(['[', ']'])));
    }
    let Checked::Complaint { fragment_key } = ({
        let mut record = stage.record(1);
        record.sealed[0] = vec![9; 80].into();
        check(&stage, 0, &record)
    }) else {
        panic!("the tag fails");
    };
    assert!(!format!("{fragment_key:?}").contains(&hex::encode(&fragment_key.expose()[..4])));
}

#[test]
fn without_the_session_nothing_is_said_and_once_seen_it_is_kept() {
    let stage = Stage::new();
    let holder = stage.holder(0);
    let record = stage.record(1);
    assert!(holder.check(&record, None).unwrap().is_none());
    let session = stage.session(&record);
    assert!(matches!(
        holder.check(&record, Some(&session)),
        Ok(Some(Checked::Good { .. }))
    ));
    assert!(matches!(holder.check(&record, None), Ok(Some(Checked::Good { .. }))));
}

#[test]
fn a_kept_session_serves_the_author_s_later_dealings() {
    let mut stage = Stage::new();
    stage.write(2, b"second");
    let holder = stage.holder(1);
    let first = stage.record(1);
    holder.check(&first, Some(&stage.session(&first))).unwrap();
    assert!(matches!(
        holder.check(&stage.record(2), None),
        Ok(Some(Checked::Good { .. }))
    ));
}

#[test]
fn another_dealer_s_session_is_not_taken_for_the_dealing_s_and_spoils_nothing() {
    let mut stage = Stage::new();
    let mut other = stage.world.agent("agent2");
    let text = "permit(principal, action, resource);";
    assert_eq!(stage.world.set_policies(text).code, 0);
    let id = stage.world.secret_id();
    stage.world.write(&mut other, "prod/other", id, 1, b"theirs");
    let (theirs, _) = symbolon_state::query::version(&stage.world.records, id, 1)
        .unwrap()
        .unwrap();
    let foreign = stage.session(&theirs);
    let record = stage.record(1);
    let holder = stage.holder(0);
    let refused = holder.check(&record, Some(&foreign)).unwrap_err();
    assert_eq!(
        refused,
        Fault::Broken {
            rule: "a session is kept under its id"
        }
    );
    let own = stage.session(&record);
    assert!(matches!(
        holder.check(&record, Some(&own)),
        Ok(Some(Checked::Good { .. }))
    ));
}

#[test]
fn a_session_with_any_part_changed_is_not_taken() {
    let stage = Stage::new();
    let record = stage.record(1);
    let good = stage.session(&record);
    let mut spoilt = vec![good.clone(); 6];
    spoilt[0].dealer = vec![9; 16].into();
    spoilt[1].dealer = vec![9; 15].into();
    spoilt[2].epoch = 1;
    spoilt[3].ciphertexts.swap(0, 1);
    spoilt[4].ciphertexts.truncate(2);
    let mut bytes = spoilt[5].ciphertexts[2].to_vec();
    bytes[0] ^= 1;
    spoilt[5].ciphertexts[2] = bytes.into();
    for session in spoilt {
        assert!(stage.holder(0).check(&record, Some(&session)).is_err());
    }
}

#[test]
fn a_fragment_sealed_for_another_node_blames_nobody() {
    let stage = Stage::new();
    for (place, from) in [(0, 1), (1, 2), (2, 0)] {
        let mut record = stage.record(1);
        record.sealed[place] = record.sealed[from].clone();
        assert_eq!(verdict(&stage, place, &record), Verdict::NobodyToBlame);
    }
}

#[test]
fn a_fragment_moved_from_another_version_blames_nobody() {
    let mut stage = Stage::new();
    stage.write(2, VALUE);
    let mut record = stage.record(1);
    record.sealed = stage.record(2).sealed;
    for position in 0..3 {
        assert_eq!(verdict(&stage, position, &record), Verdict::NobodyToBlame);
    }
}

#[test]
fn a_fragment_moved_from_another_secret_blames_nobody() {
    let mut stage = Stage::new();
    let id = stage.world.secret_id();
    stage.world.write(&mut stage.agent, "prod/other", id, 1, VALUE);
    let (other, _) = symbolon_state::query::version(&stage.world.records, id, 1)
        .unwrap()
        .unwrap();
    let mut record = stage.record(1);
    record.sealed = other.sealed;
    for position in 0..3 {
        assert_eq!(verdict(&stage, position, &record), Verdict::NobodyToBlame);
    }
}

/// Re-filing: the whole dealing of one secret under the name of another, by whoever can write the disk.
#[test]
fn a_whole_dealing_refiled_under_another_name_opens_for_no_node() {
    type Refile = fn(&mut VersionRecord);
    let stage = Stage::new();
    let refiled: [(&str, Refile); 7] = [
        ("tenant", |record| record.tenant = vec![9; 16].into()),
        ("secret", |record| record.secret = vec![9; 16].into()),
        ("version", |record| record.version = 2),
        ("author", |record| record.author = vec![9; 16].into()),
        ("write nonce", |record| record.write_nonce = vec![9; 32].into()),
        ("header", |record| {
            record.header = symbolon_crypto::context::header("text/html").into()
        }),
        ("key commitment", |record| record.key_commitment = vec![9; 32].into()),
    ];
    for (name, refile) in refiled {
        let mut record = stage.record(1);
        refile(&mut record);
        for position in 0..3 {
            assert_eq!(verdict(&stage, position, &record), Verdict::NobodyToBlame, "{name}");
        }
    }
}

#[test]
fn a_changed_ciphertext_commitment_or_coefficient_opens_for_no_node() {
    let stage = Stage::new();
    let flip = |bytes: &mut Bytes| {
        let mut changed = bytes.to_vec();
        *changed.last_mut().unwrap() ^= 1;
        *bytes = changed.into();
    };
    for part in 0..3 {
        let mut record = stage.record(1);
        match part {
            0 => flip(&mut record.ciphertext),
            1 => flip(&mut record.commitments[1]),
            _ => flip(&mut record.z[0]),
        }
        assert_eq!(verdict(&stage, 0, &record), Verdict::NobodyToBlame);
    }
}

#[test]
fn a_record_that_no_apply_would_write_is_a_fault_and_not_a_complaint() {
    type Break = fn(&mut VersionRecord);
    let stage = Stage::new();
    let broken: [(&str, Break); 8] = [
        ("too few sealed fragments", |record| record.sealed.truncate(0)),
        ("a short sealed fragment", |record| record.sealed[0].truncate(79)),
        ("a short session id", |record| record.session.truncate(31)),
        ("too few commitments", |record| record.commitments.truncate(2)),
        ("a scalar that is not canonical", |record| {
            record.z[0] = vec![0xff; 32].into()
        }),
        ("a short nonce", |record| record.write_nonce.truncate(31)),
        ("a short secret id", |record| record.secret.truncate(15)),
        ("another epoch's roster", |record| {
            record.roster_hash = vec![9; 32].into()
        }),
    ];
    for (name, spoil) in broken {
        let mut record = stage.record(1);
        let session = stage.session(&record);
        spoil(&mut record);
        assert!(stage.holder(0).check(&record, Some(&session)).is_err(), "{name}");
    }
}

/// The same nodes with the same keys in another roster, as in another epoch, and in another cluster.
fn other_roster(stage: &Stage, cluster: bool) -> Arc<Roster> {
    use symbolon_wire::Message;
    use symbolon_wire::statements::{roster_hash, roster_signature};
    use symbolon_wire::v1;
    let world: &World = &stage.world;
    let old = v1::Roster::decode(world.roster.encoded.clone()).unwrap();
    let mut body = v1::RosterBody::decode(old.body).unwrap();
    body.created_ms += 1;
    if cluster {
        body.cluster = vec![9; 16].into();
    }
    let body: Bytes = body.encode_to_vec().into();
    let statement = roster_signature(&roster_hash(&body));
    let message = v1::Roster {
        body,
        operators: world
            .operators
            .iter()
            .map(|operator| v1::OperatorSignature {
                operator: operator.id.bytes().to_vec().into(),
                signature: operator.key.sign(&statement).to_vec().into(),
            })
            .collect(),
        nodes: (1..)
            .zip(&world.nodes)
            .map(|(node, keys)| v1::NodeSignature {
                node,
                signature: keys.identity.sign(&statement).to_vec().into(),
            })
            .collect(),
    };
    Arc::new(Roster::genesis(message.encode_to_vec().into(), None, &Portable).unwrap())
}

#[test]
fn a_dealing_of_another_epoch_or_cluster_is_not_this_holder_s() {
    let stage = Stage::new();
    let seed = || Secret::fill(|bytes: &mut [u8; 32]| *bytes = stage.world.nodes[0].seed);
    for cluster in [false, true] {
        let roster = other_roster(&stage, cluster);
        let key = Secret::fill(|bytes: &mut [u8; 32]| bytes.fill(1));
        let holder = Holder::new(Arc::clone(&roster), 1, key, &seed(), Arc::new(Portable)).unwrap();
        let mut record = stage.record(1);
        let session = stage.session(&record);
        let expected = Fault::Broken {
            rule: "a holder is asked about dealings of its own epoch",
        };
        assert_eq!(holder.check(&record, Some(&session)).unwrap_err(), expected);
        // Relabelled, the session is not the one that the dealing names.
        record.roster_hash = Bytes::copy_from_slice(&roster.hash);
        assert!(holder.check(&record, Some(&session)).is_err());
    }
}

#[test]
fn content_that_is_not_the_fragment_blames_the_author() {
    let stage = Stage::new();
    let mut wrong_scalar = [0; 64];
    wrong_scalar[31] = 1;
    let mut not_canonical = [0xff; 64];
    not_canonical[63] = 0;
    for content in [wrong_scalar, not_canonical] {
        let mut record = stage.record(1);
        record.sealed[1] = sealed_by_the_author(&stage, 1, &content);
        assert_eq!(verdict(&stage, 1, &record), Verdict::AuthorAtFault);
        assert!(
            matches!(check(&stage, 0, &record), Checked::Good { .. }),
            "the others' are good"
        );
    }
}

#[test]
fn a_complaint_reveals_the_key_of_that_fragment_alone() {
    let stage = Stage::new();
    let mut record = stage.record(1);
    record.sealed[1] = vec![9; 80].into();
    let Checked::Complaint { fragment_key } = check(&stage, 1, &record) else {
        panic!("the tag fails");
    };
    assert!(fragment_key.ct_eq(&key_of(&stage, 1)));
    for other in [0, 2] {
        assert!(!fragment_key.ct_eq(&key_of(&stage, other)));
    }
}

#[test]
fn each_bit_of_a_fragment_at_rest_counts() {
    let stage = Stage::new();
    let good = stage.at_rest(0, 1);
    assert_eq!(good.len(), 80);
    for place in 0..good.len() {
        let mut changed = good.to_vec();
        changed[place] ^= 1;
        let refused = stage.holder(0).release(grant(&stage, PATH, 1), &changed.into());
        assert_eq!(refused.unwrap_err(), NoValidFragment::DoesNotOpen, "byte {place}");
    }
}

#[test]
fn a_fragment_at_rest_of_another_length_does_not_open() {
    let stage = Stage::new();
    let good = stage.at_rest(0, 1);
    for length in [0, 1, 64, 79] {
        let refused = stage.holder(0).release(grant(&stage, PATH, 1), &good.slice(..length));
        assert_eq!(refused.unwrap_err(), NoValidFragment::DoesNotOpen, "{length} bytes");
    }
    let longer = [good.as_ref(), &[0]].concat().into();
    assert!(stage.holder(0).release(grant(&stage, PATH, 1), &longer).is_err());
}

#[test]
fn a_fragment_at_rest_of_another_version_secret_node_or_epoch_does_not_open() {
    let mut stage = Stage::new();
    stage.write(2, VALUE);
    let id = stage.world.secret_id();
    stage.world.write(&mut stage.agent, "prod/other", id, 1, VALUE);
    let own = stage.at_rest(0, 1);
    let wrong = |holder: Holder, path: &str, version: u64, at_rest: &Bytes| {
        let refused = holder.release(grant(&stage, path, version), at_rest);
        assert_eq!(refused.unwrap_err(), NoValidFragment::DoesNotOpen);
    };
    wrong(stage.holder(0), PATH, 2, &own);
    wrong(stage.holder(0), PATH, 1, &stage.at_rest(0, 2));
    wrong(stage.holder(0), "prod/other", 1, &own);
    wrong(stage.holder(0), PATH, 1, &stage.at_rest(1, 1));
    wrong(stage.holder_with(0, 99), PATH, 1, &own);
    assert!(stage.holder(0).release(grant(&stage, PATH, 1), &own).is_ok());
}

/// What another node dealt for its own disk does not pass for ours even if its storage key were ours.
#[test]
fn a_fragment_as_it_came_sealed_is_none_at_rest() {
    let stage = Stage::new();
    let sealed = stage.record(1).sealed[0].clone();
    let refused = stage.holder(0).release(grant(&stage, PATH, 1), &sealed);
    assert_eq!(refused.unwrap_err(), NoValidFragment::DoesNotOpen);
}

#[test]
fn a_holder_needs_its_place_and_its_own_sealing_seed() {
    let stage = Stage::new();
    let roster = &stage.world.roster;
    let made = |node: u16, seed: usize| {
        let seed = Secret::fill(|bytes: &mut [u8; 32]| *bytes = stage.world.nodes[seed].seed);
        let key = Secret::fill(|bytes: &mut [u8; 32]| bytes.fill(1));
        Holder::new(Arc::clone(roster), node, key, &seed, Arc::new(Portable))
    };
    let holder = made(3, 2).unwrap();
    assert_eq!((holder.node(), holder.place()), (3, 2));
    assert_eq!(made(4, 2).unwrap_err(), HolderError::NotInRoster { node: 4 });
    assert_eq!(made(0, 2).unwrap_err(), HolderError::NotInRoster { node: 0 });
    assert_eq!(made(3, 1).unwrap_err(), HolderError::OtherSealingKey { node: 3 });
}

#[test]
fn each_seeded_bug_is_found_by_its_test_here() {
    symbolon_sabotage::caught_in(file!());
}
