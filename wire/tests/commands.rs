//! Parsing of commands: a body is taken in exactly one form, and every other is refused by the name of its defect.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panic")]

mod common;

use bytes::Bytes;
use common::{bytes, bytes_field, encoded, number_field};
use proptest::prelude::*;
use symbolon_wire::Message;
use symbolon_wire::command::{CommandError, ParsedCommand, encode_body, signing_bytes};
use symbolon_wire::ids::{ClusterId, PrincipalId};
use symbolon_wire::limits::{COMMAND_BYTES_MAX, SIGNATURES_MAX};
use symbolon_wire::v1::{self, command_body::Payload};

const CLUSTER: ClusterId = ClusterId([1; 16]);
const PRINCIPAL: PrincipalId = PrincipalId([2; 16]);

fn delete() -> Payload {
    Payload::Delete(v1::SecretVersions {
        tenant: bytes(&[3; 16]),
        path: "a/b".to_owned(),
        secret: bytes(&[4; 16]),
        versions: vec![1, 2],
        latest: 2,
    })
}

fn body() -> Bytes {
    encode_body(CLUSTER, PRINCIPAL, &[5; 32], 1_000, delete())
}

fn signature(key: u8) -> v1::CommandSignature {
    v1::CommandSignature {
        key: bytes(&[key; 32]),
        signature: bytes(&[7; 64]),
    }
}

fn command(body: Bytes) -> v1::Command {
    v1::Command {
        body,
        signatures: vec![signature(6)],
    }
}

fn refusal_of_body(body: impl Into<Bytes>) -> CommandError {
    ParsedCommand::parse(encoded(&command(body.into()))).unwrap_err()
}

fn refusal(command: &v1::Command) -> CommandError {
    ParsedCommand::parse(encoded(command)).unwrap_err()
}

/// The body with one of its fields changed before it is encoded.
fn changed(change: impl FnOnce(&mut v1::CommandBody)) -> Bytes {
    let mut message = v1::CommandBody::decode(body()).unwrap();
    change(&mut message);
    encoded(&message)
}

#[test]
fn a_command_comes_back_with_its_body_as_sent() {
    let parsed = ParsedCommand::parse(encoded(&command(body()))).unwrap();
    assert_eq!(parsed.body_bytes, body());
    assert_eq!((parsed.cluster, parsed.principal), (CLUSTER, PRINCIPAL));
    assert_eq!((parsed.nonce, parsed.expires_ms), ([5; 32], 1_000));
    assert_eq!(parsed.payload, delete());
    assert_eq!(parsed.signatures.len(), 1);
    assert_eq!(
        (parsed.signatures[0].key, parsed.signatures[0].signature),
        ([6; 32], [7; 64])
    );
}

#[test]
fn what_is_signed_is_the_label_and_the_body_as_sent() {
    let label = b"symbolon/v1/command";
    let mut expected = vec![0, 0, 0, label.len() as u8];
    expected.extend(label);
    expected.extend((body().len() as u32).to_be_bytes());
    expected.extend(body());
    assert_eq!(signing_bytes(&body()), expected);
}

#[test]
fn a_command_one_byte_past_its_limit_is_refused_unparsed() {
    let large = Bytes::from(vec![0xff; COMMAND_BYTES_MAX + 1]);
    let expected = CommandError::TooLarge {
        bytes: COMMAND_BYTES_MAX + 1,
    };
    assert_eq!(ParsedCommand::parse(large).unwrap_err(), expected);
}

#[test]
fn a_command_inside_a_request_has_the_limit_that_apply_has_signatures_included() {
    let beside = encoded(&command(Bytes::from(vec![0xff; COMMAND_BYTES_MAX]))).len() - COMMAND_BYTES_MAX;
    let with_body = |bytes: usize| command(Bytes::from(vec![0xff; bytes]));
    let (fits, exceeds) = (
        with_body(COMMAND_BYTES_MAX - beside),
        with_body(COMMAND_BYTES_MAX - beside + 1),
    );
    assert_eq!(encoded(&fits).len(), COMMAND_BYTES_MAX);
    let refused = |command: v1::Command| {
        let (inside, logged) = (
            ParsedCommand::from_message(command.clone()).unwrap_err(),
            ParsedCommand::parse(encoded(&command)).unwrap_err(),
        );
        assert_eq!(inside, logged);
        inside
    };
    let bytes = COMMAND_BYTES_MAX + 1;
    assert_eq!(refused(exceeds), CommandError::TooLarge { bytes });
    assert_eq!(refused(fits), CommandError::NotProtobuf, "large enough to be looked at");
}

#[test]
fn a_command_at_its_limit_is_parsed() {
    let filled = |path: usize| {
        encoded(&command(changed(|body| {
            body.payload = Some(Payload::Delete(v1::SecretVersions {
                path: "a".repeat(path),
                ..v1::SecretVersions::default()
            }));
        })))
    };
    let room = COMMAND_BYTES_MAX - filled(COMMAND_BYTES_MAX).len().abs_diff(COMMAND_BYTES_MAX);
    let largest = filled(room);
    assert_eq!(largest.len(), COMMAND_BYTES_MAX);
    assert!(ParsedCommand::parse(largest).is_ok());
}

#[test]
fn a_command_cut_anywhere_is_refused() {
    let whole = encoded(&command(body()));
    for cut in 0..whole.len() {
        assert!(ParsedCommand::parse(whole.slice(..cut)).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_body_cut_anywhere_is_refused() {
    let whole = body();
    for cut in 0..whole.len() {
        let refused = refusal_of_body(whole.slice(..cut));
        assert_ne!(refused, CommandError::Unsigned, "cut at {cut}");
    }
}

#[test]
fn a_body_of_another_protocol_is_refused_by_its_number() {
    for found in [0, 2, u32::MAX] {
        let refused = refusal_of_body(changed(|body| body.protocol = found));
        assert_eq!(refused, CommandError::UnknownProtocol { found });
    }
}

#[test]
fn a_body_without_payload_is_refused() {
    assert_eq!(
        refusal_of_body(changed(|body| body.payload = None)),
        CommandError::UnknownKind
    );
}

#[test]
fn a_kind_from_a_later_version_is_called_unknown() {
    let without = changed(|body| body.payload = None);
    for number in [26, 27, 100] {
        let later = [without.to_vec(), bytes_field(number, b"what")].concat();
        assert_eq!(refusal_of_body(later), CommandError::UnknownKind, "field {number}");
    }
}

#[test]
fn an_unknown_field_is_refused() {
    for extra in [number_field(6, 1), bytes_field(15, b"hidden"), number_field(1_000, 0)] {
        let hidden = [body().to_vec(), extra].concat();
        assert_eq!(refusal_of_body(hidden), CommandError::NotCanonical);
    }
}

#[test]
fn an_unknown_field_inside_the_payload_is_refused() {
    let Payload::Delete(inner) = delete() else {
        unreachable!()
    };
    let inner = [inner.encode_to_vec(), number_field(99, 1)].concat();
    let without = changed(|body| body.payload = None);
    let hidden = [without.to_vec(), bytes_field(17, &inner)].concat();
    assert_eq!(refusal_of_body(hidden), CommandError::NotCanonical);
}

#[test]
fn a_repeated_field_is_refused_whether_it_agrees_or_not() {
    for extra in [
        number_field(1, 1),
        bytes_field(2, &[1; 16]),
        bytes_field(3, &[9; 16]),
        bytes_field(4, &[5; 32]),
        number_field(5, 1_000),
    ] {
        let twice = [body().to_vec(), extra].concat();
        assert_eq!(refusal_of_body(twice), CommandError::NotCanonical);
    }
}

#[test]
fn a_second_payload_is_refused() {
    let second = v1::RemovePrincipal { id: bytes(&[9; 16]) };
    let twice = [body().to_vec(), bytes_field(20, &second.encode_to_vec())].concat();
    assert_eq!(refusal_of_body(twice), CommandError::NotCanonical);
}

#[test]
fn an_explicit_default_is_refused() {
    let without = changed(|body| body.expires_ms = 0);
    let explicit = [without.to_vec(), number_field(5, 0)].concat();
    assert_eq!(refusal_of_body(explicit), CommandError::NotCanonical);
}

#[test]
fn fields_out_of_order_are_refused() {
    let without = changed(|body| body.protocol = 0);
    let last = [without.to_vec(), number_field(1, 1)].concat();
    assert_eq!(refusal_of_body(last), CommandError::NotCanonical);
}

#[test]
fn a_number_in_more_bytes_than_it_needs_is_refused() {
    let body = body().to_vec();
    assert_eq!(body[..2], [0x08, 0x01], "protocol 1");
    let padded = [&[0x08, 0x81, 0x00], &body[2..]].concat();
    assert_eq!(refusal_of_body(padded), CommandError::NotCanonical);
}

#[test]
fn numbers_in_an_unpacked_list_are_refused() {
    let delete = v1::SecretVersions::default().encode_to_vec();
    let unpacked = [delete, number_field(4, 1), number_field(4, 2)].concat();
    let without = changed(|body| body.payload = None);
    let body = [without.to_vec(), bytes_field(17, &unpacked)].concat();
    assert_eq!(refusal_of_body(body), CommandError::NotCanonical);
}

#[test]
fn text_that_is_not_utf_8_is_refused() {
    let inner = bytes_field(2, &[0xff, 0xfe]);
    let without = changed(|body| body.payload = None);
    let body = [without.to_vec(), bytes_field(17, &inner)].concat();
    assert_eq!(refusal_of_body(body), CommandError::NotProtobuf);
}

#[test]
fn each_field_of_fixed_length_is_refused_by_name_at_any_other() {
    type Spoil = fn(&mut v1::Command, usize);
    fn respell(command: &mut v1::Command, change: impl FnOnce(&mut v1::CommandBody)) {
        let mut body = v1::CommandBody::decode(command.body.clone()).unwrap();
        change(&mut body);
        command.body = encoded(&body);
    }
    let fields: [(&str, usize, Spoil); 5] = [
        ("cluster", 16, |c, n| respell(c, |b| b.cluster = vec![1; n].into())),
        ("principal", 16, |c, n| respell(c, |b| b.principal = vec![1; n].into())),
        ("nonce", 32, |c, n| respell(c, |b| b.nonce = vec![1; n].into())),
        ("key", 32, |c, n| c.signatures[0].key = vec![1; n].into()),
        ("signature", 64, |c, n| c.signatures[0].signature = vec![1; n].into()),
    ];
    for (field, expected, spoil) in fields {
        for found in [0, 1, expected - 1, expected + 1, 2 * expected] {
            let mut command = command(body());
            spoil(&mut command, found);
            let error = CommandError::FieldLength { field, expected, found };
            assert_eq!(refusal(&command), error);
        }
        let mut command = command(body());
        spoil(&mut command, expected);
        assert!(ParsedCommand::parse(encoded(&command)).is_ok(), "{field}");
    }
}

#[test]
fn an_unsigned_command_is_refused() {
    let unsigned = v1::Command {
        body: body(),
        signatures: Vec::new(),
    };
    assert_eq!(refusal(&unsigned), CommandError::Unsigned);
}

#[test]
fn one_key_that_signs_twice_is_refused() {
    let twice = v1::Command {
        body: body(),
        signatures: vec![
            signature(1),
            signature(2),
            v1::CommandSignature {
                signature: bytes(&[8; 64]),
                ..signature(1)
            },
        ],
    };
    assert_eq!(refusal(&twice), CommandError::SignedTwice);
}

#[test]
fn as_many_signatures_as_the_limit_are_parsed_and_one_more_is_refused() {
    let signed_by = |count: usize| v1::Command {
        body: body(),
        signatures: (0..count).map(|key| signature(key as u8)).collect(),
    };
    assert!(ParsedCommand::parse(encoded(&signed_by(SIGNATURES_MAX))).is_ok());
    let found = SIGNATURES_MAX + 1;
    assert_eq!(refusal(&signed_by(found)), CommandError::TooManySignatures { found });
}

#[test]
fn two_bodies_that_differ_in_one_bit_have_different_hashes() {
    let hash = |expires_ms| {
        let body = changed(|body| body.expires_ms = expires_ms);
        ParsedCommand::parse(encoded(&command(body))).unwrap().body_hash()
    };
    assert_ne!(hash(1_000), hash(1_001));
    assert_eq!(hash(1_000), hash(1_000));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn nothing_makes_the_parser_panic(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
        let noise = Bytes::from(noise);
        let _ = ParsedCommand::parse(noise.clone());
        let _ = ParsedCommand::from_message(command(noise));
    }

    /// There is one body for each meaning: whatever else is done to the bytes, they are refused or mean something else.
    #[test]
    fn a_changed_body_is_refused_or_means_something_else(place in 0..usize::MAX, bit in 0..8_u8) {
        let mut spoilt = body().to_vec();
        let place = place % spoilt.len();
        spoilt[place] ^= 1 << bit;
        if let Ok(parsed) = ParsedCommand::parse(encoded(&command(spoilt.into()))) {
            let meaning = (parsed.cluster, parsed.principal, parsed.nonce, parsed.expires_ms, parsed.payload);
            prop_assert_ne!(meaning, (CLUSTER, PRINCIPAL, [5; 32], 1_000, delete()));
        }
    }
}
