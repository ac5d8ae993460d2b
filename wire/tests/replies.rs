//! The one frame with key material: `u32be(length) ‖ message ‖ fragment`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panic")]

use proptest::prelude::*;
use symbolon_wire::Message;
use symbolon_wire::frame::{self, FrameError};
use symbolon_wire::limits::RESPONSE_BYTES_MAX;
use symbolon_wire::reply::{ReleasedFragment, decode_response, encode_response};
use symbolon_wire::v1::{self, response::Result as Answer};

fn fragment() -> ReleasedFragment {
    let mut bytes = Box::new([0; 64]);
    for (byte, value) in bytes.iter_mut().zip(0xA0..) {
        *byte = value;
    }
    ReleasedFragment::new(bytes)
}

fn response(answer: Answer) -> v1::Response {
    v1::Response { result: Some(answer) }
}

fn read() -> v1::Response {
    response(Answer::Read(v1::ReadReply {
        node: 1,
        version: 3,
        ..v1::ReadReply::default()
    }))
}

fn refused() -> v1::Response {
    response(Answer::Error(v1::Error {
        code: 403,
        message: "no".to_owned(),
        ..v1::Error::default()
    }))
}

fn frame(message: &v1::Response, tail: &[u8]) -> Vec<u8> {
    let encoded = message.encode_to_vec();
    [&(encoded.len() as u32).to_be_bytes(), encoded.as_slice(), tail].concat()
}

fn refusal(bytes: Vec<u8>) -> FrameError {
    decode_response(bytes).unwrap_err()
}

#[test]
fn a_read_reply_comes_back_with_its_fragment() {
    let encoded = encode_response(&read(), Some(&fragment()));
    let (message, found) = decode_response(encoded.as_ref().to_vec()).unwrap();
    assert_eq!(message, read());
    assert_eq!(found.unwrap().expose(), fragment().expose());
}

#[test]
fn a_refusal_comes_back_without_a_fragment() {
    let encoded = encode_response(&refused(), None);
    let (message, found) = decode_response(encoded.as_ref().to_vec()).unwrap();
    assert_eq!(message, refused());
    assert!(found.is_none());
}

#[test]
fn the_frame_is_a_length_the_message_and_the_fragment() {
    let encoded = encode_response(&read(), Some(&fragment()));
    assert_eq!(encoded.as_ref(), frame(&read(), fragment().expose()));
    assert_eq!(encode_response(&refused(), None).as_ref(), frame(&refused(), &[]));
}

#[test]
fn a_fragment_of_any_other_length_is_refused() {
    for length in [1, 32, 63, 65, 128] {
        assert_eq!(
            refusal(frame(&read(), &vec![7; length])),
            FrameError::NotProtobuf,
            "{length} bytes"
        );
    }
}

#[test]
fn a_refusal_that_carries_a_fragment_is_refused() {
    let others = [
        refused(),
        response(Answer::Status(v1::StatusReply::default())),
        response(Answer::Reported(v1::Reported {})),
        v1::Response::default(),
    ];
    for other in others {
        assert_eq!(refusal(frame(&other, &[7; 64])), FrameError::NotProtobuf);
    }
}

#[test]
fn a_length_that_lies_is_refused() {
    let honest = frame(&read(), fragment().expose());
    let length = u32::from_be_bytes(honest[..4].try_into().unwrap());
    for lie in [0, length - 1, length + 1, length + 64, length + 65, u32::MAX] {
        let mut lying = honest.clone();
        lying[..4].copy_from_slice(&lie.to_be_bytes());
        assert!(decode_response(lying).is_err(), "{lie} instead of {length}");
    }
}

#[test]
fn a_frame_cut_anywhere_is_refused_or_has_no_fragment() {
    let whole = frame(&read(), fragment().expose());
    let message = whole.len() - 64;
    for cut in 0..whole.len() {
        let decoded = decode_response(whole[..cut].to_vec());
        if cut == message {
            assert!(decoded.unwrap().1.is_none());
        } else {
            assert_eq!(decoded.unwrap_err(), FrameError::NotProtobuf, "cut at {cut}");
        }
    }
}

#[test]
fn an_oversized_frame_is_refused_unparsed() {
    let expected = FrameError::TooLarge {
        bytes: RESPONSE_BYTES_MAX + 1,
        limit: RESPONSE_BYTES_MAX,
    };
    assert_eq!(refusal(vec![0; RESPONSE_BYTES_MAX + 1]), expected);
}

#[test]
fn a_request_past_the_limit_of_its_place_is_refused_unparsed() {
    let bytes = bytes::Bytes::from(vec![0xff; 101]);
    assert_eq!(
        frame::decode::<v1::Request>(bytes.clone(), 100).unwrap_err(),
        FrameError::TooLarge { bytes: 101, limit: 100 }
    );
    assert_eq!(
        frame::decode::<v1::Request>(bytes, 101).unwrap_err(),
        FrameError::NotProtobuf
    );
}

#[test]
fn a_fragment_never_shows_itself() {
    let shown = format!("{:?} {:#?}", fragment(), Some(fragment()));
    let (message, found) = decode_response(frame(&read(), fragment().expose())).unwrap();
    let decoded = format!("{message:?} {found:?}");
    for text in [shown, decoded] {
        assert!(text.contains("ReleasedFragment(..)"), "{text}");
        let lower = text.to_lowercase();
        for spelling in ["a0a1a2", "160, 161, 162", "a0, a1, a2", "a0 a1 a2"] {
            assert!(!lower.contains(spelling), "{text}");
        }
    }
}

#[test]
fn an_error_of_a_frame_with_a_fragment_does_not_quote_it() {
    let error = refusal(frame(&read(), &[0xA0; 63]));
    assert!(!format!("{error} {error:?}").to_lowercase().contains("a0"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn nothing_makes_the_decoder_panic(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_response(noise);
    }

    #[test]
    fn a_fragment_comes_out_as_it_went_in(halves in any::<([u8; 32], [u8; 32])>()) {
        let mut bytes = Box::new([0; 64]);
        bytes[..32].copy_from_slice(&halves.0);
        bytes[32..].copy_from_slice(&halves.1);
        let expected = *bytes;
        let encoded = encode_response(&read(), Some(&ReleasedFragment::new(bytes)));
        let (_, found) = decode_response(encoded.as_ref().to_vec()).unwrap();
        let found = found.unwrap();
        prop_assert_eq!(found.expose(), &expected);
    }
}
