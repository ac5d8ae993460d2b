//! The release gate: what is allowed, what is refused, and that each decision leaves its leaf.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panic"
)]

mod common;

use common::{Ask, Log, PATH, POLICIES, REQUEST_HASH, Stage, TLS_GROUP, VALUE, recorded, wait};
use std::net::IpAddr;
use symbolon_custody::freshness::Deadline;
use symbolon_custody::gate::{
    self, CLOCKS_APART_MS_MAX, GrantError, Recorded, Refusal, ReleaseGrant, rule_answer, shown,
};
use symbolon_policy::Action;
use symbolon_state::testing::BIRTH_MS;
use symbolon_wire::Code;
use symbolon_wire::v1::{self, AuditLeaf, command_body::Payload};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

fn guest(stage: &Stage) -> Ask {
    Ask {
        source: IpAddr::from([192, 168, 7, 9]),
        ..stage.ask()
    }
}

fn stranger(stage: &mut Stage) -> Ask {
    Ask {
        client_key: stage.world.stranger().fingerprint(),
        ..stage.ask()
    }
}

/// Registered, and permitted nothing.
fn outsider(stage: &mut Stage) -> Ask {
    let outsider = stage.world.agent("outsider");
    Ask {
        client_key: outsider.fingerprint(),
        ..stage.ask()
    }
}

#[test]
fn a_permitted_read_leads_to_a_grant_for_that_version() {
    let stage = Stage::new();
    let expected = stage.record(1);
    for version in [0, 1] {
        let ruling = stage.rule(&stage.ask(), PATH, version);
        assert_eq!(ruling.release_of(), Some(expected.record_hash.as_ref()));
        let (Recorded::Permitted(permit, receipt), leaf) = recorded(ruling) else {
            panic!("it is permitted");
        };
        assert_eq!(permit.record_hash(), expected.record_hash);
        assert!(leaf.allowed);
        let grant = ReleaseGrant::new(permit, &receipt, Deadline::start(0), 0).unwrap();
        assert_eq!(grant.record(), &expected);
    }
}

#[test]
fn latest_is_the_newest_version_and_an_older_one_can_be_asked_for() {
    let mut stage = Stage::new();
    stage.write(2, b"second");
    for (asked, given) in [(0, 2), (1, 1), (2, 2)] {
        let (permit, _) = stage.permitted(PATH, asked);
        assert_eq!(permit.record_hash(), stage.record(given).record_hash);
    }
}

#[test]
fn permit_and_receipt_of_different_decisions_make_no_grant() {
    let stage = Stage::new();
    let log = Log::default();
    let other = Ask {
        salt: [0x5B; 16],
        ..stage.ask()
    };
    let rulings = vec![stage.rule(&stage.ask(), PATH, 1), stage.rule(&other, PATH, 1)];
    let mut both = wait(gate::record(&log, rulings)).unwrap().into_iter();
    let (Some(Recorded::Permitted(one, _)), Some(Recorded::Permitted(_, other))) = (both.next(), both.next()) else {
        panic!("both are permitted");
    };
    // They differ in nothing but the salt of their leaves.
    let refused = ReleaseGrant::new(one, &other, Deadline::start(0), 0).unwrap_err();
    assert_eq!(refused, GrantError::Mismatch);
}

#[test]
fn the_receipt_of_a_refusal_makes_no_grant() {
    let mut stage = Stage::new();
    let (permit, _) = stage.permitted(PATH, 1);
    let ask = stranger(&mut stage);
    let (Recorded::Refused(_, receipt), _) = stage.read(&ask, PATH, 1) else {
        panic!("a stranger");
    };
    let refused = ReleaseGrant::new(permit, &receipt, Deadline::start(0), 0).unwrap_err();
    assert_eq!(refused, GrantError::Mismatch);
}

#[test]
fn a_decision_older_than_two_seconds_makes_no_grant() {
    let stage = Stage::new();
    let sampled = 10_000;
    for (now_ms, expected) in [
        (sampled, None),
        (sampled + 1_999, None),
        (sampled + 2_000, Some(GrantError::TooLate)),
        (u64::MAX, Some(GrantError::TooLate)),
    ] {
        let (permit, receipt) = stage.permitted(PATH, 1);
        let grant = ReleaseGrant::new(permit, &receipt, Deadline::start(sampled), now_ms);
        assert_eq!(grant.err(), expected, "at {now_ms}");
    }
}

#[test]
fn a_leaf_says_who_what_when_from_where_and_by_which_policy() {
    let stage = Stage::new();
    let ask = Ask {
        local_time_ms: BIRTH_MS + 7,
        ..stage.ask()
    };
    let (_, leaf) = stage.read(&ask, PATH, 0);
    let inputs_digest = leaf.inputs_digest.clone();
    assert_eq!(inputs_digest.len(), 32);
    let expected = AuditLeaf {
        salt: vec![0x5A; 16].into(),
        node: 2,
        boot_counter: 1,
        local_time_ms: BIRTH_MS + 7,
        log_time_ms: BIRTH_MS,
        principal: stage.agent.id.bytes().to_vec().into(),
        principal_name: "spiffe://test/agent".to_owned(),
        client_key: stage.agent.fingerprint().to_vec().into(),
        source: "10.0.0.7".to_owned(),
        action: "read".to_owned(),
        resource: PATH.to_owned(),
        secret: stage.id.bytes().to_vec().into(),
        version: 1,
        purpose: "billing".to_owned(),
        allowed: true,
        outcome: "allowed".to_owned(),
        code: 0,
        policy_hash: stage.world.machine.policies().hash().to_vec().into(),
        policies: vec!["permit \"agent\"  test.cedar:1".to_owned()],
        state_index: stage.world.index,
        tls_group: TLS_GROUP.to_owned(),
        request_hash: REQUEST_HASH.to_vec().into(),
        inputs_digest,
    };
    assert_eq!(leaf, expected);
}

#[test]
fn a_leaf_holds_neither_the_value_nor_a_fragment_nor_what_is_sealed() {
    let stage = Stage::new();
    let log = Log::default();
    wait(gate::record(&log, vec![stage.rule(&stage.ask(), PATH, 1)])).unwrap();
    let leaf = log.leaves.lock().unwrap()[0].clone();
    let record = stage.record(1);
    let mut needles: Vec<Vec<u8>> = vec![
        VALUE.to_vec(),
        record.ciphertext.to_vec(),
        record.key_commitment.to_vec(),
    ];
    needles.extend(record.sealed.iter().chain(&record.z).map(|bytes| bytes.to_vec()));
    for position in 0..3 {
        let (permit, receipt) = stage.permitted(PATH, 1);
        let grant = ReleaseGrant::new(permit, &receipt, Deadline::start(0), 0).unwrap();
        let released = stage
            .holder(position)
            .release(grant, &stage.at_rest(position, 1))
            .unwrap();
        needles.extend(released.fragment.expose().chunks(32).map(<[u8]>::to_vec));
    }
    assert_eq!(needles.len(), 3 + 3 + 2 + 6);
    let contains = |needle: &[u8]| leaf.windows(needle.len()).any(|window| window == needle);
    for needle in needles {
        assert!(!contains(&needle) && !contains(hex::encode(&needle).as_bytes()));
    }
    assert!(contains(PATH.as_bytes()), "what is there is found");
}

/// Every way to be refused, the code it gives, and whether the principal is known by then.
fn refusals() -> Vec<(&'static str, Code, bool, Refusal, AuditLeaf)> {
    let mut all = Vec::new();
    let mut add = |name, code, known, (refusal, leaf)| all.push((name, code, known, refusal, leaf));
    let mut stage = Stage::new();
    let ask = stranger(&mut stage);
    add("unknown key", Code::UnknownKey, false, stage.refused(&ask, PATH, 0));
    let ask = Ask {
        local_time_ms: stage.world.log_time_ms() + CLOCKS_APART_MS_MAX + 1,
        ..stage.ask()
    };
    add("clock apart", Code::ClockApart, false, stage.refused(&ask, PATH, 0));
    let ask = stage.ask();
    add("bad path", Code::BadPath, true, stage.refused(&ask, "prod/../key", 0));
    add(
        "no such path",
        Code::NotFound,
        true,
        stage.refused(&ask, "prod/none", 0),
    );
    add("no such version", Code::NotFound, true, stage.refused(&ask, PATH, 2));
    add("forbidden", Code::Denied, true, stage.refused(&guest(&stage), PATH, 0));
    let ask = outsider(&mut stage);
    add("not permitted", Code::Denied, true, stage.refused(&ask, PATH, 0));
    all
}

#[test]
fn every_refusal_has_its_code_and_leaves_a_leaf_that_says_so() {
    for (name, code, known, refusal, leaf) in refusals() {
        assert_eq!(refusal.code, code, "{name}");
        assert!(!refusal.message.is_empty(), "{name}");
        assert!(!leaf.allowed, "{name}");
        assert_eq!(
            (leaf.code, leaf.outcome.as_str()),
            (code as u32, code.title()),
            "{name}"
        );
        assert_eq!(leaf.principal.is_empty(), !known, "{name}");
        assert_eq!(leaf.principal_name.is_empty(), !known, "{name}");
        assert!(
            leaf.secret.is_empty() && leaf.version == 0,
            "{name}: nothing was released"
        );
        assert_eq!(
            (leaf.action.as_str(), leaf.request_hash.len(), leaf.salt.len()),
            ("read", 32, 16),
            "{name}"
        );
        assert_eq!(leaf.client_key.len(), 32, "{name}: also of whom nobody knows");
    }
}

#[test]
fn a_refused_ruling_would_release_nothing() {
    let mut stage = Stage::new();
    let ask = stranger(&mut stage);
    assert_eq!(stage.rule(&ask, PATH, 0).release_of(), None);
    assert_eq!(stage.rule(&guest(&stage), PATH, 0).release_of(), None);
}

#[test]
fn clocks_sixty_seconds_apart_release_and_one_millisecond_more_refuses_in_both_directions() {
    let stage = Stage::new();
    let log_time_ms = stage.world.log_time_ms();
    let at = |local_time_ms| {
        let ask = Ask {
            local_time_ms,
            ..stage.ask()
        };
        stage.rule(&ask, PATH, 0).release_of().is_some()
    };
    assert!(at(log_time_ms + CLOCKS_APART_MS_MAX) && at(log_time_ms - CLOCKS_APART_MS_MAX));
    assert!(!at(log_time_ms + CLOCKS_APART_MS_MAX + 1) && !at(log_time_ms - CLOCKS_APART_MS_MAX - 1));
    assert!(!at(0) && !at(u64::MAX));
}

#[test]
fn a_principal_has_expired_when_either_clock_says_so() {
    let mut stage = Stage::new();
    let author = stage.world.stranger();
    let expires_ms = BIRTH_MS + DAY_MS;
    let registration = v1::RegisterPrincipal {
        expires_ms,
        name: "spiffe://test/short".to_owned(),
        ..stage.world.registration(&author, "short")
    };
    assert_eq!(stage.world.by_operators(Payload::Register(registration)).code, 0);
    let code = |local_time_ms, log_time_ms| {
        let ask = Ask {
            client_key: author.fingerprint(),
            local_time_ms,
            log_time_ms,
            ..stage.ask()
        };
        stage.refused(&ask, PATH, 0).0.code
    };
    // While it lives it is known, and denied for want of a policy.
    assert_eq!(code(expires_ms - 1, expires_ms - 1), Code::Denied);
    assert_eq!(
        code(expires_ms, expires_ms - 1),
        Code::UnknownKey,
        "by this node's clock"
    );
    assert_eq!(code(expires_ms - 1, expires_ms), Code::UnknownKey, "by log time");
    assert_eq!(code(expires_ms, expires_ms), Code::UnknownKey);
}

#[test]
fn a_removed_principal_and_a_replaced_key_are_unknown() {
    let mut stage = Stage::new();
    let old = stage.ask();
    let new = stage.world.stranger();
    let rekey = v1::RekeyPrincipal {
        id: stage.agent.id.bytes().to_vec().into(),
        keys: vec![new.key.verifying_key().spki().to_vec().into()],
    };
    assert_eq!(stage.world.by_operators(Payload::Rekey(rekey)).code, 0);
    assert_eq!(stage.refused(&old, PATH, 0).0.code, Code::UnknownKey, "the old key");
    let ask = Ask {
        client_key: new.fingerprint(),
        ..stage.ask()
    };
    assert!(stage.rule(&ask, PATH, 0).release_of().is_some(), "the new key");
    let remove = v1::RemovePrincipal {
        id: stage.agent.id.bytes().to_vec().into(),
    };
    assert_eq!(stage.world.by_operators(Payload::Remove(remove)).code, 0);
    assert_eq!(stage.refused(&ask, PATH, 0).0.code, Code::UnknownKey, "the principal");
}

#[test]
fn a_removed_an_expired_and_an_unknown_asker_are_answered_alike() {
    let mut stage = Stage::new();
    let ask = stranger(&mut stage);
    let (unknown, _) = stage.refused(&ask, PATH, 0);
    let remove = v1::RemovePrincipal {
        id: stage.agent.id.bytes().to_vec().into(),
    };
    assert_eq!(stage.world.by_operators(Payload::Remove(remove)).code, 0);
    assert_eq!(stage.refused(&stage.ask(), PATH, 0).0, unknown);
}

#[test]
fn each_second_spelling_of_a_path_is_refused_before_policies_are_asked() {
    let stage = Stage::new();
    let long = "a".repeat(600);
    for path in [
        "",
        "/prod/stripe/key",
        "prod/stripe/key/",
        "prod//stripe/key",
        "prod/./stripe/key",
        "prod/x/../stripe/key",
        "prod/stripe/%6bey",
        "Prod/stripe/key",
        "prod/stripe/kеy",
        "prod/stripe/key\0",
        "prod/stripe/key\n",
        "prod\\stripe\\key",
        long.as_str(),
    ] {
        let (refusal, leaf) = stage.refused(&stage.ask(), path, 0);
        assert_eq!(refusal.code, Code::BadPath, "{path:?}");
        assert!(leaf.policies.is_empty() && leaf.inputs_digest.is_empty(), "{path:?}");
    }
}

#[test]
fn to_who_may_not_read_a_secret_looks_the_same_before_it_exists_and_after_it_went() {
    let mut stage = Stage::new();
    let ask = outsider(&mut stage);
    let path = "prod/stripe/later";
    let (before, _) = stage.refused(&ask, path, 0);
    let id = stage.world.secret_id();
    stage.world.write(&mut stage.agent, path, id, 1, b"value");
    assert_eq!(stage.refused(&ask, path, 0).0, before);
    let delete = v1::SecretVersions {
        tenant: stage.world.roster.first_tenant.bytes().to_vec().into(),
        path: path.to_owned(),
        secret: id.bytes().to_vec().into(),
        versions: Vec::new(),
        latest: 1,
    };
    let command = stage.world.command(Payload::Delete(delete), &[&stage.agent]);
    assert_eq!(stage.world.submit(&command).code, 0);
    assert_eq!(stage.refused(&ask, path, 0).0, before);
    assert_eq!(stage.refused(&ask, path, 1).0.code, Code::Denied);
    assert_eq!(stage.refused(&ask, path, 2).0.code, Code::Denied);
}

fn delete(stage: &mut Stage, versions: Vec<u64>, latest: u64) {
    let delete = v1::SecretVersions {
        tenant: stage.world.roster.first_tenant.bytes().to_vec().into(),
        path: PATH.to_owned(),
        secret: stage.id.bytes().to_vec().into(),
        versions,
        latest,
    };
    let command = stage.world.command(Payload::Delete(delete), &[&stage.agent]);
    let outcome = stage.world.submit(&command);
    assert_eq!(outcome.code, 0, "{}", outcome.message);
}

#[test]
fn a_deleted_version_is_not_found_as_one_that_never_was() {
    let mut stage = Stage::new();
    stage.write(2, b"second");
    let never = stage.refused(&stage.ask(), PATH, 3).0;
    delete(&mut stage, vec![2], 2);
    let deleted = stage.refused(&stage.ask(), PATH, 2).0;
    assert_eq!(deleted.code, Code::NotFound);
    assert_eq!(deleted.message.replace('2', "3"), never.message);
    assert_eq!((deleted.because, deleted.next), (never.because, never.next));
    assert_eq!(
        stage.refused(&stage.ask(), PATH, 0).0.code,
        Code::NotFound,
        "the latest is deleted"
    );
    assert!(
        stage.rule(&stage.ask(), PATH, 1).release_of().is_some(),
        "the first is not"
    );
}

#[test]
fn a_version_past_its_time_to_live_is_not_found_by_either_clock() {
    let mut stage = Stage::new();
    let mut put = stage.world.put(&mut stage.agent, PATH, stage.id, 2, b"short");
    put.message.ttl_ms = 10_000;
    let outcome = stage.world.submit_put(&stage.agent, &put);
    assert_eq!(outcome.code, 0, "{}", outcome.message);
    let start = stage.world.log_time_ms();
    let found = |local: u64, log: u64| {
        let ask = Ask {
            local_time_ms: start + local,
            log_time_ms: start + log,
            ..stage.ask()
        };
        let ruling = stage.rule(&ask, PATH, 2);
        ruling.release_of().is_some()
    };
    assert!(found(0, 0) && found(9_999, 9_999));
    assert!(!found(10_000, 0), "by this node's clock");
    assert!(!found(0, 10_000), "by log time");
}

#[test]
fn a_denial_names_the_policy_that_forbids_with_file_line_and_note() {
    let stage = Stage::new();
    let (refusal, leaf) = stage.refused(&guest(&stage), PATH, 0);
    assert_eq!(
        refusal.because,
        ["forbid \"office-hours\"  test.cedar:3   (not from the guest network)"]
    );
    assert_eq!(leaf.policies, ["forbid \"office-hours\"  test.cedar:3"]);
    assert_eq!(refusal.message, format!("spiffe://test/agent may not read {PATH}"));
    assert!(!refusal.next.is_empty());
}

#[test]
fn a_denial_for_want_of_a_policy_says_that_none_permits() {
    let mut stage = Stage::new();
    let ask = outsider(&mut stage);
    let (refusal, leaf) = stage.refused(&ask, PATH, 0);
    assert_eq!(refusal.because[0], "no policy permits it");
    assert!(leaf.policies.is_empty());
    assert_eq!(leaf.inputs_digest.len(), 32);
}

#[test]
fn a_policy_that_fails_to_evaluate_denies() {
    let mut stage = Stage::new();
    let text = format!(
        "{POLICIES}\n@id(\"broken\")\nforbid(principal, action == Action::\"read\", resource) when {{ context.logTime * context.logTime > 0 }};"
    );
    assert_eq!(stage.world.set_policies(&text).code, 0);
    let (refusal, _) = stage.refused(&stage.ask(), PATH, 0);
    assert_eq!(refusal.code, Code::Denied);
    assert!(
        refusal.because.iter().any(|line| line.contains("evaluation failed")),
        "{:?}",
        refusal.because
    );
}

#[test]
fn a_second_look_after_a_change_of_policy_or_a_new_version_sees_it() {
    let mut stage = Stage::new();
    let (permit, _) = stage.permitted(PATH, 0);
    let again = stage.rule(&stage.ask(), PATH, 0);
    assert!(permit.stands_by(&again));
    stage.write(2, b"second");
    let again = stage.rule(&stage.ask(), PATH, 0);
    assert!(!permit.stands_by(&again), "the latest is another");
    let again = stage.rule(&stage.ask(), PATH, 1);
    assert!(permit.stands_by(&again));
    assert_eq!(stage.world.set_policies("").code, 0);
    let again = stage.rule(&stage.ask(), PATH, 1);
    assert!(!permit.stands_by(&again), "policy says otherwise now");
    assert_eq!(again.release_of(), None);
}

#[test]
fn a_group_of_decisions_is_one_append_and_each_gets_its_own_index() {
    let mut stage = Stage::new();
    let log = Log::default();
    let other = stranger(&mut stage);
    wait(gate::record(&log, vec![stage.rule(&other, PATH, 0)])).unwrap();
    let rulings = vec![
        stage.rule(&stage.ask(), PATH, 0),
        stage.rule(&other, PATH, 0),
        stage.rule(&stage.ask(), "prod/none", 0),
    ];
    let said: Vec<(&str, u64)> = wait(gate::record(&log, rulings))
        .unwrap()
        .iter()
        .map(|one| match one {
            Recorded::Permitted(_, receipt) => ("permitted", receipt.index()),
            Recorded::Answered(_, receipt) => ("answered", receipt.index()),
            Recorded::Refused(_, receipt) => ("refused", receipt.index()),
        })
        .collect();
    assert_eq!(said, [("permitted", 1), ("refused", 2), ("refused", 3)]);
    assert_eq!(*log.appends.lock().unwrap(), 2);
    assert_eq!(log.decoded()[1].code, 0);
    assert_eq!(log.decoded()[3].code, Code::NotFound as u32);
}

#[test]
fn when_the_audit_log_takes_nothing_no_decision_comes_back() {
    let mut stage = Stage::new();
    let other = stranger(&mut stage);
    let log = Log {
        full: true,
        ..Log::default()
    };
    let rulings = vec![stage.rule(&stage.ask(), PATH, 0), stage.rule(&other, PATH, 0)];
    let failed = wait(gate::record(&log, rulings)).unwrap_err();
    assert_eq!(failed.reason, "no space left");
    assert!(log.leaves.lock().unwrap().is_empty());
}

#[test]
fn a_leaf_stays_readable_whatever_the_asker_sends() {
    let stage = Stage::new();
    for text in [
        "a".repeat(10_000_000),
        "\u{1F511}".repeat(100_000),
        "\n\0\u{7f}".repeat(1_000),
    ] {
        let ask = Ask {
            purpose: text.clone(),
            ..stage.ask()
        };
        let (refusal, leaf) = stage.refused(&ask, &text, 0);
        assert_eq!(refusal.code, Code::BadPath);
        assert!(leaf.purpose.len() <= 512 && leaf.resource.len() <= 512);
        assert!(!leaf.purpose.chars().any(char::is_control));
        let (_, leaf) = stage.read(&ask, PATH, 0);
        assert!(leaf.allowed, "a purpose is noted, not judged");
    }
}

#[test]
fn a_leaf_stays_readable_however_many_policies_decide() {
    let mut stage = Stage::new();
    let name = "n".repeat(100);
    let text: String = (0..200)
        .map(|number| format!("@id(\"{name}{number}\")\npermit(principal, action, resource);\n"))
        .collect();
    assert_eq!(stage.world.set_policies(&text).code, 0);
    let (_, leaf) = stage.read(&stage.ask(), PATH, 0);
    assert!(leaf.policies[0].contains(&format!("{name}0")));
    let named = leaf.policies.len() - 1;
    assert!(named >= 20, "{named}");
    assert_eq!(leaf.policies[named], format!("and {} more", 200 - named));
}

#[test]
fn an_answer_without_key_material_is_ruled_and_recorded_too() {
    let mut stage = Stage::new();
    let outsider = outsider(&mut stage);
    for (action, path, folder) in [
        (Action::List, Some("prod/stripe"), true),
        (Action::List, Some(""), true),
        (Action::ReadMetadata, Some(PATH), false),
        (Action::ReadPolicy, None, false),
        (Action::ReadAudit, None, false),
        (Action::ReadStatus, None, false),
    ] {
        let rule = |ask: &Ask| {
            stage
                .with(ask, |scene, asker| rule_answer(scene, asker, action, path, folder))
                .unwrap()
        };
        let (said, leaf) = recorded(rule(&stage.ask()));
        let Recorded::Answered(subject, _) = said else {
            panic!("{action:?} is permitted")
        };
        assert_eq!(subject.id, stage.agent.id);
        assert_eq!((leaf.allowed, leaf.action.as_str()), (true, action.name()));
        assert_eq!(leaf.resource, path.unwrap_or("(cluster)"));

        let (said, leaf) = recorded(rule(&outsider));
        let Recorded::Refused(refusal, _) = said else {
            panic!("{action:?} is not permitted")
        };
        assert_eq!((refusal.code, leaf.code), (Code::Denied, Code::Denied as u32));
        assert!(!leaf.allowed);
    }
}

#[test]
fn an_answer_about_a_bad_path_is_refused_and_so_is_one_to_a_stranger() {
    let mut stage = Stage::new();
    let stranger = stranger(&mut stage);
    let rule = |ask: &Ask, path: &str| {
        let ruling = stage.with(ask, |scene, asker| {
            rule_answer(scene, asker, Action::List, Some(path), true)
        });
        match recorded(ruling.unwrap()) {
            (Recorded::Refused(refusal, _), _) => refusal.code,
            other => panic!("{other:?}"),
        }
    };
    for path in ["prod/", "prod/..", "PROD", "/"] {
        assert_eq!(rule(&stage.ask(), path), Code::BadPath, "{path}");
    }
    assert_eq!(rule(&stranger, "prod"), Code::UnknownKey);
}

#[test]
fn a_listing_shows_only_what_the_asker_may_see() {
    let mut stage = Stage::new();
    let text = "permit(principal, action == Action::\"list\", resource in Folder::\"prod/stripe\");";
    assert_eq!(stage.world.set_policies(text).code, 0);
    let ask = stage.ask();
    let subject = symbolon_state::query::principal_by_key(&stage.world.records, &ask.client_key, ask.log_time_ms)
        .unwrap()
        .unwrap();
    let sees = |path: &str, folder: bool| {
        stage.with(&ask, |scene, asker| {
            shown(scene, asker, &subject, Action::List, path, folder)
        })
    };
    assert!(sees(PATH, false) && sees("prod/stripe/x", true));
    assert!(!sees("prod/paypal/key", false) && !sees("prod", true) && !sees("prod/stripe2/key", false));
}

#[test]
fn each_seeded_bug_is_found_by_its_test_here() {
    symbolon_sabotage::caught_in(file!());
}
