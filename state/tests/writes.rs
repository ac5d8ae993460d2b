//! `put` and `delete`, as custody.md, "One write", demands them: what is taken, and every way of being refused.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use bytes::Bytes;
use symbolon_state::query;
use symbolon_state::testing::{Author, Put, World};
use symbolon_wire::Code;
use symbolon_wire::ids::SecretId;
use symbolon_wire::path::Path;
use symbolon_wire::v1::{self, command_body::Payload};

const ALL: &str = r#"@id("all") permit(principal, action, resource);"#;

struct Scene {
    world: World,
    agent: Author,
    id: SecretId,
}

fn scene() -> Scene {
    let mut world = World::new(1, 3, 1);
    assert_eq!(world.set_policies(ALL).code, 0);
    let agent = world.agent("writer");
    let id = world.secret_id();
    Scene { world, agent, id }
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

/// Deals version 1 at `a/b`, changes the message, and gives the code with which it is refused.
fn refused(change: impl FnOnce(&mut v1::PutSecret)) -> u32 {
    let Scene {
        mut world,
        mut agent,
        id,
    } = scene();
    let mut put = world.put(&mut agent, "a/b", id, 1, b"value");
    change(&mut put.message);
    let before = world.records.clone();
    let outcome = world.submit_put(&agent, &put);
    let found = query::secret_at(&world.records, world.roster.first_tenant, &path("a/b")).unwrap();
    assert!(found.is_none(), "a refused write left a secret behind");
    // The idempotency record is all that a refused command leaves.
    let kinds: Vec<u8> = world
        .records
        .all()
        .filter(|(key, value)| before.all().all(|(k, v)| (k, v) != (*key, *value)))
        .map(|(key, _)| key[0])
        .collect();
    let allowed = [
        symbolon_state::keys::DONE,
        symbolon_state::keys::DUE,
        symbolon_state::keys::PRINCIPAL_USE,
    ];
    assert!(
        kinds.iter().all(|kind| allowed.contains(kind)),
        "records of kinds {kinds:x?} changed"
    );
    outcome.code
}

#[test]
fn a_first_write_is_found_by_path_and_version() {
    let Scene {
        mut world,
        mut agent,
        id,
    } = scene();
    let outcome = world.write(&mut agent, "prod/stripe/key", id, 1, b"sk");
    assert_eq!(outcome.version, 1);
    let (found, secret) = query::secret_at(&world.records, world.roster.first_tenant, &path("prod/stripe/key"))
        .unwrap()
        .unwrap();
    assert_eq!((found, secret.latest), (id, 1));
    let (record, state) = query::version(&world.records, id, 1).unwrap().unwrap();
    assert_eq!(record.record_hash, outcome.record_hash);
    assert_eq!((record.log_index, state.created_ms), (world.index, world.log_time_ms()));
}

#[test]
fn versions_follow_one_another_without_gaps() {
    let Scene {
        mut world,
        mut agent,
        id,
    } = scene();
    world.write(&mut agent, "a/b", id, 1, b"one");
    world.write(&mut agent, "a/b", id, 2, b"two");
    let skipped = world.put(&mut agent, "a/b", id, 4, b"four");
    assert_eq!(world.submit_put(&agent, &skipped).code, Code::Conflict as u32);
    let again = world.put(&mut agent, "a/b", id, 2, b"two again");
    assert_eq!(world.submit_put(&agent, &again).code, Code::Conflict as u32);
}

#[test]
fn a_path_keeps_its_secret_id() {
    let Scene {
        mut world,
        mut agent,
        id,
    } = scene();
    world.write(&mut agent, "a/b", id, 1, b"one");
    let other = world.secret_id();
    let put = world.put(&mut agent, "a/b", other, 1, b"intruder");
    assert_eq!(world.submit_put(&agent, &put).code, Code::Conflict as u32);
    let put = world.put(&mut agent, "a/elsewhere", id, 1, b"moved");
    assert_eq!(world.submit_put(&agent, &put).code, Code::Exists as u32);
}

#[test]
fn two_writers_of_one_version_get_one_success_and_one_conflict() {
    let Scene {
        mut world,
        mut agent,
        id,
    } = scene();
    let mut other = world.agent("other-writer");
    world.write(&mut agent, "a/b", id, 1, b"base");
    let mine = world.put(&mut agent, "a/b", id, 2, b"mine");
    let theirs = world.put(&mut other, "a/b", id, 2, b"theirs");
    assert_eq!(world.submit_put(&agent, &mine).code, 0);
    assert_eq!(world.submit_put(&other, &theirs).code, Code::Conflict as u32);
}

#[test]
fn the_same_bytes_again_give_the_recorded_outcome_and_no_second_version() {
    let Scene {
        mut world,
        mut agent,
        id,
    } = scene();
    let put = world.put(&mut agent, "a/b", id, 1, b"value");
    let command = world.put_command(&agent, &put);
    let first = world.submit(&command);
    let second = world.submit(&command);
    assert!(second.repeated && !first.repeated);
    assert_eq!(
        first,
        symbolon_wire::v1::Outcome {
            repeated: false,
            ..second
        },
        "the index of the first time, too"
    );
    assert_eq!(query::versions(&world.records, id, 10).unwrap().len(), 1);
}

#[test]
fn a_retry_with_changed_bytes_under_one_nonce_is_refused() {
    let Scene {
        mut world,
        mut agent,
        id,
    } = scene();
    let mut put = world.put(&mut agent, "a/b", id, 1, b"value");
    assert_eq!(world.submit_put(&agent, &put).code, 0);
    put.message.ttl_ms = 5;
    assert_eq!(world.submit_put(&agent, &put).code, Code::NonceReused as u32);
}

#[test]
fn another_suite_is_refused() {
    assert_eq!(refused(|put| put.suite = 2), Code::UnknownVersion as u32);
}

#[test]
fn another_tenant_is_refused() {
    assert_eq!(
        refused(|put| put.tenant = Bytes::from_static(&[7; 16])),
        Code::NotFound as u32
    );
}

#[test]
fn another_epoch_is_refused() {
    assert_eq!(refused(|put| put.epoch = 1), Code::EpochChanged as u32);
}

#[test]
fn another_roster_is_refused() {
    assert_eq!(
        refused(|put| put.roster_hash = Bytes::from_static(&[7; 32])),
        Code::EpochChanged as u32
    );
}

#[test]
fn another_number_of_nodes_is_refused() {
    assert_eq!(refused(|put| put.n = 5), Code::EpochChanged as u32);
}

#[test]
fn another_threshold_is_refused() {
    assert_eq!(refused(|put| put.t = 1), Code::EpochChanged as u32);
}

#[test]
fn one_commitment_missing_is_refused() {
    assert_eq!(refused(|put| drop(put.commitments.pop())), Code::BadDealing as u32);
}

#[test]
fn a_short_commitment_is_refused() {
    assert_eq!(
        refused(|put| put.commitments[0] = Bytes::from_static(&[1; 31])),
        Code::BadDealing as u32
    );
}

#[test]
fn z_of_a_higher_degree_is_refused() {
    assert_eq!(
        refused(|put| put.z.push(Bytes::from_static(&[0; 32]))),
        Code::BadDealing as u32
    );
}

#[test]
fn z_that_is_not_canonical_is_refused() {
    assert_eq!(
        refused(|put| put.z[0] = Bytes::from_static(&[0xff; 32])),
        Code::BadDealing as u32
    );
}

#[test]
fn one_sealed_fragment_missing_is_refused() {
    assert_eq!(refused(|put| drop(put.sealed.pop())), Code::BadDealing as u32);
}

#[test]
fn a_cut_sealed_fragment_is_refused() {
    assert_eq!(
        refused(|put| put.sealed[2] = Bytes::from_static(&[1; 79])),
        Code::BadDealing as u32
    );
}

#[test]
fn a_short_key_commitment_is_refused() {
    assert_eq!(
        refused(|put| put.key_commitment = Bytes::from_static(&[1; 16])),
        Code::BadDealing as u32
    );
}

#[test]
fn a_ciphertext_that_is_no_padded_size_is_refused() {
    assert_eq!(
        refused(|put| put.ciphertext = vec![1; 300].into()),
        Code::BadDealing as u32
    );
}

#[test]
fn an_empty_ciphertext_is_refused() {
    assert_eq!(refused(|put| put.ciphertext = Bytes::new()), Code::BadDealing as u32);
}

#[test]
fn a_header_of_another_rule_is_refused() {
    assert_eq!(
        refused(|put| put.header = Bytes::from_static(b"header")),
        Code::BadDealing as u32
    );
}

#[test]
fn an_unknown_session_is_refused() {
    let code = refused(|put| {
        put.open = None;
        put.session = Bytes::from_static(&[7; 32]);
    });
    assert_eq!(code, Code::BadSession as u32);
}

#[test]
fn a_session_inside_that_is_not_the_one_named_is_refused() {
    assert_eq!(
        refused(|put| put.session = Bytes::from_static(&[7; 32])),
        Code::BadSession as u32
    );
}

#[test]
fn a_session_for_fewer_nodes_is_refused() {
    assert_eq!(
        refused(|put| drop(put.open.as_mut().unwrap().ciphertexts.pop())),
        Code::BadSession as u32
    );
}

#[test]
fn every_wrong_spelling_of_a_path_is_refused() {
    let spellings = [
        "",
        "/a",
        "a/",
        "a//b",
        "a/./b",
        "a/../b",
        "%2e%2e/b",
        "A/b",
        "a b",
        "a\0b",
        "а/b",
        "a/\u{202e}b",
    ];
    for spelling in spellings {
        assert_eq!(
            refused(|put| put.path = spelling.to_owned()),
            Code::BadPath as u32,
            "{spelling:?}"
        );
    }
    assert_eq!(refused(|put| put.path = "a/".repeat(10_000)), Code::BadPath as u32);
}

#[test]
fn a_session_of_another_dealer_is_refused() {
    let Scene {
        mut world,
        mut agent,
        id,
    } = scene();
    let mut other = world.agent("other");
    let id_other = world.secret_id();
    let first = world.put(&mut other, "other/one", id_other, 1, b"x");
    assert_eq!(world.submit_put(&other, &first).code, 0);
    let mut put = world.put(&mut agent, "a/b", id, 1, b"value");
    put.message.open = None;
    put.message.session = first.message.session.clone();
    assert_eq!(world.submit_put(&agent, &put).code, Code::BadSession as u32);
}

#[test]
fn a_session_opened_by_a_refused_write_is_not_kept() {
    let Scene {
        mut world,
        mut agent,
        id,
    } = scene();
    let mut put = world.put(&mut agent, "a/b", id, 1, b"value");
    let real = put.message.session.clone();
    put.message.session = Bytes::from_static(&[7; 32]);
    assert_eq!(world.submit_put(&agent, &put).code, Code::BadSession as u32);
    assert!(!world.keeps_session(&real));
}

#[test]
fn an_expired_session_is_refused() {
    let Scene {
        mut world,
        mut agent,
        id,
    } = scene();
    world.write(&mut agent, "a/b", id, 1, b"one");
    // Log time follows a minute at a time.
    for minute in 1..=61 {
        world.tick_all(symbolon_state::testing::BIRTH_MS + minute * 60_000);
    }
    let put = world.put(&mut agent, "a/b", id, 2, b"two");
    assert_eq!(world.submit_put(&agent, &put).code, Code::BadSession as u32);
}

#[test]
fn a_session_is_used_up_after_its_dealings() {
    let Scene {
        mut world,
        mut agent,
        id,
    } = scene();
    let first = world.put(&mut agent, "a/b", id, 1, b"1");
    assert_eq!(world.submit_put(&agent, &first).code, 0);
    let session: [u8; 32] = first.message.session.as_ref().try_into().unwrap();
    let uses = symbolon_state::records::SessionUse {
        dealings: 4_096,
        pending: 1,
    };
    let key = symbolon_state::keys::session_use(&session);
    symbolon_state::Records::put(&mut world.records, key, prost::Message::encode_to_vec(&uses).into());
    let put = world.put(&mut agent, "a/b", id, 2, b"2");
    assert_eq!(world.submit_put(&agent, &put).code, Code::BadSession as u32);
}

#[test]
fn an_author_in_the_dealing_who_is_not_the_signer_changes_the_record_hash() {
    // The author stands in no field of the command: nodes take the signer, so the dealing of another never matches.
    let Scene {
        mut world,
        mut agent,
        id,
    } = scene();
    let other = world.agent("other");
    let put = world.put(&mut agent, "a/b", id, 1, b"value");
    let outcome = world.submit_put(&other, &put);
    assert_eq!(outcome.code, Code::BadSession as u32, "the session names the dealer");
}

#[test]
fn a_write_that_policy_does_not_permit_names_the_policies() {
    let mut world = World::new(2, 3, 1);
    let text = "@id(\"no-prod\")\nforbid(principal, action == Action::\"write\", resource in Folder::\"prod\");\npermit(principal, action, resource);";
    assert_eq!(world.set_policies(text).code, 0);
    let mut agent = world.agent("writer");
    let id = world.secret_id();
    let put = world.put(&mut agent, "prod/key", id, 1, b"value");
    let outcome = world.submit_put(&agent, &put);
    assert_eq!(outcome.code, Code::Denied as u32);
    assert!(
        outcome.because[0].contains("no-prod") && outcome.because[0].contains("test.cedar:1"),
        "{outcome:?}"
    );
    // The refused write carried the first agent's session inside.
    let mut other = world.agent("other-writer");
    let production = world.put(&mut other, "production/key", id, 1, b"value");
    assert_eq!(
        world.submit_put(&other, &production).code,
        0,
        "a folder is not a prefix of its name"
    );
}

#[test]
fn without_policies_nobody_may_write() {
    let mut world = World::new(3, 3, 1);
    let mut agent = world.agent("writer");
    let id = world.secret_id();
    let put = world.put(&mut agent, "a/b", id, 1, b"value");
    assert_eq!(world.submit_put(&agent, &put).code, Code::Denied as u32);
}

fn deleting(world: &World, id: SecretId, versions: &[u64], latest: u64) -> Payload {
    Payload::Delete(v1::SecretVersions {
        tenant: Bytes::copy_from_slice(world.roster.first_tenant.bytes()),
        path: "a/b".to_owned(),
        secret: Bytes::copy_from_slice(id.bytes()),
        versions: versions.to_vec(),
        latest,
    })
}

#[test]
fn delete_hides_versions_and_destroys_none() {
    let Scene {
        mut world,
        mut agent,
        id,
    } = scene();
    world.write(&mut agent, "a/b", id, 1, b"one");
    world.write(&mut agent, "a/b", id, 2, b"two");
    let payload = deleting(&world, id, &[1], 2);
    let command = world.command(payload, &[&agent]);
    assert_eq!(world.submit(&command).code, 0);
    let (_, first) = query::version(&world.records, id, 1).unwrap().expect("kept");
    let (_, second) = query::version(&world.records, id, 2).unwrap().expect("kept");
    assert!(!query::visible(&first, 0) && query::visible(&second, 0));
}

#[test]
fn a_delete_that_does_not_know_the_latest_version_is_a_conflict() {
    let Scene {
        mut world,
        mut agent,
        id,
    } = scene();
    world.write(&mut agent, "a/b", id, 1, b"one");
    world.write(&mut agent, "a/b", id, 2, b"two");
    let payload = deleting(&world, id, &[], 1);
    let command = world.command(payload, &[&agent]);
    assert_eq!(world.submit(&command).code, Code::Conflict as u32);
}

#[test]
fn deleting_a_version_that_is_not_there_changes_nothing() {
    let Scene {
        mut world,
        mut agent,
        id,
    } = scene();
    world.write(&mut agent, "a/b", id, 1, b"one");
    let payload = deleting(&world, id, &[1, 9], 1);
    let command = world.command(payload, &[&agent]);
    assert_eq!(world.submit(&command).code, Code::NotFound as u32);
    let (_, first) = query::version(&world.records, id, 1).unwrap().unwrap();
    assert!(query::visible(&first, 0));
}

#[test]
fn a_version_past_its_time_to_live_is_not_shown() {
    let Scene {
        mut world,
        mut agent,
        id,
    } = scene();
    let mut put: Put = world.put(&mut agent, "a/b", id, 1, b"one");
    put.message.ttl_ms = 1_000;
    assert_eq!(world.submit_put(&agent, &put).code, 0);
    let (_, state) = query::version(&world.records, id, 1).unwrap().unwrap();
    let end = world.log_time_ms() + 1_000;
    assert!(query::visible(&state, end - 1) && !query::visible(&state, end) && !query::visible(&state, end + 1));
}

#[test]
fn listings_show_secrets_and_folders_once() {
    let Scene {
        mut world, mut agent, ..
    } = scene();
    for path in ["prod/a", "prod/deep/b", "prod/deep/c", "top"] {
        let id = world.secret_id();
        world.write(&mut agent, path, id, 1, b"x");
    }
    let tenant = world.roster.first_tenant;
    let names = |folder: &str, after: &str| {
        let children = query::children(&world.records, tenant, folder, after, 10).unwrap();
        let named = children.page.into_iter().map(|child| (child.name, child.folder));
        named.collect::<Vec<_>>()
    };
    assert_eq!(names("", ""), [("prod".to_owned(), true), ("top".to_owned(), false)]);
    assert_eq!(names("prod", ""), [("a".to_owned(), false), ("deep".to_owned(), true)]);
    assert_eq!(names("prod", "a"), [("deep".to_owned(), true)]);
}

/// Many secrets that one may not see stood before a folder of a later name, whose name the next page began behind.
#[test]
fn pages_of_a_folder_show_every_child_once_whatever_their_kinds() {
    let Scene {
        mut world, mut agent, ..
    } = scene();
    let secrets = ["a", "b", "c", "d", "x"];
    let folders = ["b/1", "c/1", "w/1", "x/1", "y/1"];
    for path in secrets.iter().chain(&folders) {
        let id = world.secret_id();
        world.write(&mut agent, path, id, 1, b"x");
    }
    let tenant = world.roster.first_tenant;
    let page = |after: &str, limit| query::children(&world.records, tenant, "", after, limit).unwrap();
    let whole = page("", 100);
    assert_eq!((whole.page.len(), whole.more), (10, false));
    for limit in 1..8 {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let children = page(&after, limit);
            found.extend(children.page);
            match found.last() {
                Some(last) if children.more => after.clone_from(&last.name),
                _ => break,
            }
        }
        assert_eq!(found, whole.page, "{limit} at a time");
    }
}

#[test]
fn the_name_index_is_derived_from_records_alone() {
    let Scene {
        mut world, mut agent, ..
    } = scene();
    for path in ["prod/a", "prod/deep/b", "top"] {
        let id = world.secret_id();
        world.write(&mut agent, path, id, 1, b"x");
    }
    assert_eq!(world.records.reindexed().unwrap(), world.records);
}

#[test]
fn each_seeded_bug_is_found_by_its_test_here() {
    symbolon_sabotage::caught_in(file!());
}
