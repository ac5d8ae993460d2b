//! Framing on QUIC streams. A request and a response each have a stream direction of their own, so a frame is all the
//! bytes up to its end; what reads it states its limit and stops there.
//!
//! A response is `u32be(length) ‖ message ‖ fragment`, where the fragment (64 bytes) follows only a read reply.

use crate::limits::FIELDS_MAX;
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};

/// ALPN of clients: names the protocol version, so that it is negotiated in the handshake.
pub const ALPN_CLIENT: &[u8] = b"symbolon/1";
/// ALPN between nodes.
pub const ALPN_PEER: &[u8] = b"symbolon-peer/1";

/// The server name that a client asks for: it tells which node is meant, and is compared with nothing but the roster.
pub fn server_name(node: u16) -> String {
    format!("node-{node}.symbolon.invalid")
}

/// A frame that does not decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than the limit that holds here.
    #[error("the message has {bytes} bytes; at most {limit} are allowed")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// More fields than any message has that a client or node makes.
    #[error("the message has more than {limit} fields")]
    TooManyFields {
        /// The limit.
        limit: usize,
    },
    /// Ends early, or is not protobuf.
    #[error("the message is cut short or is not protobuf")]
    NotProtobuf,
}

/// How deep messages lie that repeat others, none of which is what a client or author writes.
pub(crate) const DEPTH: usize = 3;

/// Decodes `bytes`, which may have at most `limit`. Size and number of fields are checked before anything is parsed: two
/// bytes on the wire can be a message of hundreds in memory.
pub fn decode<M: Message + Default>(bytes: bytes::Bytes, limit: usize) -> Result<M, FrameError> {
    if bytes.len() > limit {
        return Err(FrameError::TooLarge {
            bytes: bytes.len(),
            limit,
        });
    }
    check_fields(&bytes, DEPTH, FIELDS_MAX)?;
    M::decode(bytes).map_err(|_| FrameError::NotProtobuf)
}

/// Refuses what may be a message with more than `limit` fields in `depth` messages within each other.
pub(crate) fn check_fields(bytes: &[u8], depth: usize, limit: usize) -> Result<(), FrameError> {
    let mut left = limit;
    count(bytes, depth, &mut left);
    if left == 0 {
        return Err(FrameError::TooManyFields { limit });
    }
    Ok(())
}

/// Takes the fields of what may be a message from those that are `left`. What is none ends soon.
fn count(mut bytes: &[u8], depth: usize, left: &mut usize) {
    while !bytes.is_empty() && *left > 0 {
        *left -= 1;
        let Ok((_, wire_type)) = decode_key(&mut bytes) else {
            return;
        };
        let skipped = match wire_type {
            WireType::Varint => decode_varint(&mut bytes).map(|_| 0),
            WireType::ThirtyTwoBit => Ok(4),
            WireType::SixtyFourBit => Ok(8),
            WireType::LengthDelimited => decode_varint(&mut bytes),
            WireType::StartGroup | WireType::EndGroup => Ok(0),
        };
        let skipped = skipped.ok().and_then(|skipped| usize::try_from(skipped).ok());
        let Some((inner, rest)) = skipped.and_then(|skipped| bytes.split_at_checked(skipped)) else {
            return;
        };
        if wire_type == WireType::LengthDelimited && depth > 1 {
            count(inner, depth - 1, left);
        }
        bytes = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1;
    use crate::v1::peer_request::Kind as PeerKind;
    use crate::v1::request::Kind;

    const LIMIT: usize = 8 * 1024 * 1024;

    fn encoded(message: &impl Message) -> bytes::Bytes {
        message.encode_to_vec().into()
    }

    #[test]
    fn messages_of_countless_empty_ones_are_refused_before_they_are_decoded() {
        let report = v1::HeadReport {
            replies: vec![v1::ReadReply::default(); FIELDS_MAX],
        };
        let request = v1::Request {
            kind: Some(Kind::Report(report)),
        };
        assert_eq!(
            decode::<v1::Request>(encoded(&request), LIMIT),
            Err(FrameError::TooManyFields { limit: FIELDS_MAX })
        );
        let gossip = v1::Gossip {
            boots: vec![v1::BootKeys::default(); FIELDS_MAX],
            ..v1::Gossip::default()
        };
        let request = v1::PeerRequest {
            kind: Some(PeerKind::Gossip(gossip)),
        };
        assert_eq!(
            decode::<v1::PeerRequest>(encoded(&request), LIMIT),
            Err(FrameError::TooManyFields { limit: FIELDS_MAX })
        );
        let command = v1::Command {
            signatures: vec![v1::CommandSignature::default(); FIELDS_MAX],
            ..v1::Command::default()
        };
        let submit = v1::Submit {
            command: Some(command),
            ..v1::Submit::default()
        };
        let request = v1::Request {
            kind: Some(Kind::Submit(submit)),
        };
        assert_eq!(
            decode::<v1::Request>(encoded(&request), LIMIT),
            Err(FrameError::TooManyFields { limit: FIELDS_MAX })
        );
    }

    /// The body of a command is bytes to the message that it comes in.
    #[test]
    fn commands_of_countless_empty_messages_are_refused_before_they_are_decoded() {
        let policies = |sources| {
            let policies = v1::SetPolicies {
                sources: vec![v1::PolicySource::default(); sources],
                ..v1::SetPolicies::default()
            };
            let body = v1::CommandBody {
                payload: Some(v1::command_body::Payload::Policies(policies)),
                ..v1::CommandBody::default()
            };
            encoded(&v1::Command {
                body: encoded(&body),
                ..v1::Command::default()
            })
        };
        let refused = Err(FrameError::TooManyFields { limit: FIELDS_MAX });
        assert_eq!(
            crate::command::ParsedCommand::check_fields(&policies(FIELDS_MAX)),
            refused
        );
        assert_eq!(crate::command::ParsedCommand::check_fields(&policies(10_000)), Ok(()));
    }

    #[test]
    fn answers_of_countless_empty_messages_are_refused_before_they_are_decoded() {
        let answer = |count| {
            let principals = v1::PrincipalsReply {
                principals: vec![v1::Principal::default(); count],
                ..v1::PrincipalsReply::default()
            };
            let response = v1::Response {
                result: Some(v1::response::Result::Principals(principals)),
            };
            let frame = crate::reply::encode_response(&response, None);
            crate::reply::decode_response(frame.as_ref().to_vec()).map(|_| ())
        };
        let limit = crate::limits::RESPONSE_FIELDS_MAX;
        assert_eq!(answer(limit), Err(FrameError::TooManyFields { limit }));
        assert_eq!(answer(10_000), Ok(()));
    }

    #[test]
    fn the_contents_of_large_fields_are_no_fields() {
        let noise = std::iter::successors(Some(1u64), |x| Some(x.wrapping_mul(6_364_136_223_846_793_005) + 1));
        let sealed: Vec<u8> = noise.map(|x| x.to_be_bytes()[0]).take(1024 * 1024).collect();
        let text = "permit(principal, action, resource) when { resource.owner == \"alice\" };\n".repeat(10_000);
        for body in [sealed, text.into_bytes(), vec![0; 1024 * 1024]] {
            let command = v1::Command {
                body: body.into(),
                ..v1::Command::default()
            };
            let request = v1::Request {
                kind: Some(Kind::Submit(v1::Submit {
                    command: Some(command),
                    ..v1::Submit::default()
                })),
            };
            assert!(decode::<v1::Request>(encoded(&request), LIMIT).is_ok());
        }
    }
}
