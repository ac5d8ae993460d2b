//! Framing on QUIC streams. A request and a response each have a stream direction of their own, so a frame is all the
//! bytes up to its end; what reads it states its limit and stops there.
//!
//! A response is `u32be(length) ‖ message ‖ fragment`, where the fragment (64 bytes) follows only a read reply.

use prost::Message;

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
    /// Ends early, or is not protobuf.
    #[error("the message is cut short or is not protobuf")]
    NotProtobuf,
}

/// Decodes `bytes`, which may have at most `limit`; the size is checked before anything is parsed.
pub fn decode<M: Message + Default>(bytes: bytes::Bytes, limit: usize) -> Result<M, FrameError> {
    if bytes.len() > limit {
        return Err(FrameError::TooLarge {
            bytes: bytes.len(),
            limit,
        });
    }
    M::decode(bytes).map_err(|_| FrameError::NotProtobuf)
}
