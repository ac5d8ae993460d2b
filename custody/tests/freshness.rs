//! What need not be waited for: a table of every kind of entry and command, and a deadline of two seconds.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panic")]

use bytes::Bytes;
use proptest::prelude::*;
use symbolon_custody::freshness::{Deadline, FRESH_MS_MAX, Interest, harmless};
use symbolon_state::Kind;
use symbolon_wire::Message;
use symbolon_wire::command::encode_body;
use symbolon_wire::ids::{ClusterId, PrincipalId, SecretId};
use symbolon_wire::v1::{self, command_body::Payload};

const PATH: &str = "prod/stripe/key";
const ASKER: PrincipalId = PrincipalId([1; 16]);
const OTHER: PrincipalId = PrincipalId([2; 16]);
const SECRET: SecretId = SecretId([3; 16]);
const OTHER_SECRET: SecretId = SecretId([4; 16]);

fn interest() -> Interest<'static> {
    Interest {
        client_key: &[9; 32],
        principal: Some(ASKER),
        path: PATH,
        secret: Some(SECRET),
    }
}

fn command(author: PrincipalId, payload: Payload) -> Bytes {
    let body = encode_body(ClusterId([7; 16]), author, &[5; 32], 1_000, payload);
    v1::Command {
        body,
        signatures: Vec::new(),
    }
    .encode_to_vec()
    .into()
}

fn put(path: &str, secret: SecretId) -> Payload {
    Payload::Put(v1::PutSecret {
        path: path.to_owned(),
        secret: secret.bytes().to_vec().into(),
        ..v1::PutSecret::default()
    })
}

fn session() -> Payload {
    Payload::Session(v1::OpenSession::default())
}

fn harmless_command(author: PrincipalId, payload: Payload) -> bool {
    harmless(Kind::Command.number(), &command(author, payload), &interest())
}

#[test]
fn a_put_is_harmless_only_to_another_secret_and_another_path_whoever_writes() {
    for author in [ASKER, OTHER] {
        for (path, secret, expected) in [
            ("prod/other", OTHER_SECRET, true),
            ("prod/other", SECRET, false),
            (PATH, OTHER_SECRET, false),
            (PATH, SECRET, false),
        ] {
            assert_eq!(
                harmless_command(author, put(path, secret)),
                expected,
                "{path} {secret} by {author}"
            );
        }
    }
}

#[test]
fn a_put_that_opens_its_session_is_judged_as_the_put() {
    let with_session = |path: &str, secret: SecretId| {
        let Payload::Put(mut message) = put(path, secret) else {
            unreachable!()
        };
        message.open = Some(v1::OpenSession::default());
        Payload::Put(message)
    };
    assert!(harmless_command(OTHER, with_session("prod/other", OTHER_SECRET)));
    assert!(!harmless_command(OTHER, with_session(PATH, OTHER_SECRET)));
}

#[test]
fn a_session_is_harmless_only_of_another_principal() {
    assert!(harmless_command(OTHER, session()));
    assert!(!harmless_command(ASKER, session()));
}

/// One of each kind that is not on the allow-list, by the asker and by others, about the same object and others: a new
/// kind of command must be added here, or this does not compile.
#[test]
fn every_other_command_is_waited_for_whoever_it_is_about() {
    fn is_listed(payload: &Payload) -> bool {
        match payload {
            Payload::Put(_) | Payload::Session(_) => true,
            Payload::Delete(_)
            | Payload::Undelete(_)
            | Payload::Destroy(_)
            | Payload::Metadata(_)
            | Payload::Policies(_)
            | Payload::Register(_)
            | Payload::Remove(_)
            | Payload::Rekey(_) => false,
        }
    }
    for author in [ASKER, OTHER] {
        for (path, secret) in [(PATH, SECRET), ("prod/other", OTHER_SECRET)] {
            for about in [ASKER, OTHER] {
                let id = Bytes::copy_from_slice(about.bytes());
                let named = v1::SecretVersions {
                    path: path.to_owned(),
                    secret: secret.bytes().to_vec().into(),
                    ..v1::SecretVersions::default()
                };
                let commands = [
                    Payload::Delete(named.clone()),
                    Payload::Undelete(named.clone()),
                    Payload::Destroy(named),
                    Payload::Metadata(v1::SetMetadata {
                        path: path.to_owned(),
                        secret: secret.bytes().to_vec().into(),
                        ..v1::SetMetadata::default()
                    }),
                    Payload::Policies(v1::SetPolicies::default()),
                    Payload::Register(v1::RegisterPrincipal {
                        id: id.clone(),
                        ..v1::RegisterPrincipal::default()
                    }),
                    Payload::Remove(v1::RemovePrincipal { id: id.clone() }),
                    Payload::Rekey(v1::RekeyPrincipal { id, keys: Vec::new() }),
                ];
                for payload in commands {
                    assert!(!is_listed(&payload));
                    let shown = format!("{payload:?}");
                    assert!(!harmless_command(author, payload), "{shown}");
                }
            }
        }
    }
}

#[test]
fn of_the_other_entries_only_a_confirmation_and_an_audit_anchor_are_harmless() {
    for number in 0..=u16::MAX {
        let expected = [Kind::FragmentOk.number(), Kind::AuditAnchor.number()].contains(&number);
        assert_eq!(harmless(number, &Bytes::new(), &interest()), expected, "kind {number}");
    }
}

#[test]
fn consensus_entries_and_kinds_from_later_versions_are_waited_for() {
    for number in [0, 1, 15, 23, 1_000] {
        let payload = command(OTHER, put("prod/other", OTHER_SECRET));
        assert!(!harmless(number, &payload, &interest()), "kind {number}");
    }
}

#[test]
fn without_a_known_principal_or_secret_every_command_is_waited_for() {
    let unknown = [
        Interest {
            principal: None,
            ..interest()
        },
        Interest {
            secret: None,
            ..interest()
        },
    ];
    for interest in unknown {
        for payload in [put("prod/other", OTHER_SECRET), session()] {
            let entry = command(OTHER, payload);
            assert!(!harmless(Kind::Command.number(), &entry, &interest));
        }
    }
}

#[test]
fn a_command_cut_anywhere_is_waited_for() {
    let whole = command(OTHER, put("prod/other", OTHER_SECRET));
    assert!(harmless(Kind::Command.number(), &whole, &interest()));
    for cut in 0..whole.len() {
        assert!(
            !harmless(Kind::Command.number(), &whole.slice(..cut), &interest()),
            "cut at {cut}"
        );
    }
}

#[test]
fn a_body_without_payload_or_of_an_unknown_kind_is_waited_for() {
    for extra in [&[][..], &[0xba, 0x01, 0x00]] {
        let mut body = v1::CommandBody {
            protocol: 1,
            principal: OTHER.bytes().to_vec().into(),
            ..v1::CommandBody::default()
        }
        .encode_to_vec();
        body.extend(extra);
        let command = v1::Command {
            body: body.into(),
            signatures: Vec::new(),
        };
        assert!(!harmless(
            Kind::Command.number(),
            &command.encode_to_vec().into(),
            &interest()
        ));
    }
}

#[test]
fn an_answer_may_be_sent_for_two_seconds_and_not_one_millisecond_more() {
    let deadline = Deadline::start(5_000);
    for (now_ms, holds, left_ms) in [
        (5_000, true, 2_000),
        (6_000, true, 1_000),
        (6_999, true, 1),
        (7_000, false, 0),
        (9_000, false, 0),
        (u64::MAX, false, 0),
    ] {
        assert_eq!(
            (deadline.holds(now_ms), deadline.left_ms(now_ms)),
            (holds, left_ms),
            "at {now_ms}"
        );
    }
    assert_eq!(FRESH_MS_MAX, 2_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn noise_is_waited_for(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(!harmless(Kind::Command.number(), &noise.into(), &interest()));
    }

    /// Whatever path and id a put names, it is waited for exactly if it could be the one that is read.
    #[test]
    fn a_put_is_judged_by_path_and_id(path in "[a-z]{1,3}(/[a-z]{1,3}){0,2}", asked in "[a-z]{1,3}(/[a-z]{1,3}){0,2}", same in any::<bool>()) {
        let interest = Interest { path: &asked, ..interest() };
        let entry = command(OTHER, put(&path, if same { SECRET } else { OTHER_SECRET }));
        prop_assert_eq!(harmless(Kind::Command.number(), &entry, &interest), path != asked && !same);
    }

    #[test]
    fn the_time_left_is_zero_exactly_when_the_deadline_has_passed(start in 0..u64::MAX / 2, passed in 0..10_000_u64) {
        let deadline = Deadline::start(start);
        prop_assert_eq!(deadline.holds(start + passed), deadline.left_ms(start + passed) > 0);
    }
}
