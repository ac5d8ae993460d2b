//! What both ends of a connection share: protobuf messages, ids, the path grammar, signed commands, node statements,
//! audit leaves and error codes. Versioned; each encoding is frozen by a snapshot (`tests/frozen.rs`).
//!
//! Signatures are over the bytes as received, and those bytes are kept: nothing here re-encodes what was signed.
//! No type here holds plaintext key material, except [`reply::ReleasedFragment`], which is redacted and wiped.
#![forbid(unsafe_code)]

pub mod audit;
pub mod change;
pub mod codes;
pub mod command;
pub mod frame;
pub mod framed;
pub mod ids;
pub mod limits;
pub mod path;
pub mod reply;
pub mod roster;
pub mod statements;
#[cfg(feature = "tls")]
pub mod tls;

/// The generated messages (`proto/symbolon/v1/wire.proto`).
#[expect(missing_docs, reason = "generated; the .proto file documents each field")]
#[expect(clippy::large_enum_variant, reason = "generated; one of them lives at a time")]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/symbolon.v1.rs"));
}

pub use codes::Code;
pub use prost::Message;

/// The protocol version that this build speaks. Negotiated by ALPN ([`frame::ALPN_CLIENT`], [`frame::ALPN_PEER`]).
pub const PROTOCOL: u32 = 1;

/// The highest feature level that this build supports. A log entry raises the cluster's level once all nodes support it,
/// so that a rolling upgrade never makes honest nodes differ.
///
/// 1: the first. 2: audit anchors count; commands above [`limits::COMMAND_BYTES_MAX_LEVEL_1`], and so values above 64 KiB;
/// metadata, settings of secrets, writes that state the version they follow.
pub const FEATURE_LEVEL: u32 = 2;
