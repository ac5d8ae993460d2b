//! Commands: a body, and one or more signatures over it (custody.md, "A log that a bad leader cannot bend").
//!
//! Each signer signs `enc("symbolon/v1/command", body)` with the body exactly as sent. A body that does not re-encode
//! to the same bytes is refused, so that unknown and repeated fields cannot hide.

use crate::Code;
use crate::frame::{self, DEPTH, FrameError};
use crate::ids::{ClusterId, PrincipalId};
use crate::limits::{COMMAND_BYTES_MAX, FIELDS_MAX, SIGNATURES_MAX};
use crate::v1::{self, command_body::Payload};
use bytes::Bytes;
use prost::Message;
use symbolon_crypto::Hash;
use symbolon_crypto::enc::{enc, sha256};

const SIGNING_LABEL: &[u8] = b"symbolon/v1/command";

/// Why the bytes are not a command. None of these depends on state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Longer than its limit; refused before parsing.
    #[error("the command has {bytes} bytes; at most {COMMAND_BYTES_MAX} are allowed")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Not protobuf.
    #[error("the command is cut short or is not protobuf")]
    NotProtobuf,
    /// The body does not re-encode to the same bytes.
    #[error("the command body is not in canonical form (an unknown or repeated field, or an explicit default)")]
    NotCanonical,
    /// Protocol version.
    #[error("the command is of protocol {found}; this node speaks {}", crate::PROTOCOL)]
    UnknownProtocol {
        /// What it says.
        found: u32,
    },
    /// A field of fixed length has another.
    #[error("field '{field}' must have {expected} bytes and has {found}")]
    FieldLength {
        /// The field.
        field: &'static str,
        /// What it must have.
        expected: usize,
        /// What it has.
        found: usize,
    },
    /// No payload, or of a kind that this build does not know.
    #[error("the command is of a kind that this node does not know")]
    UnknownKind,
    /// No signature.
    #[error("the command carries no signature")]
    Unsigned,
    /// More signatures than any roster needs.
    #[error("the command carries {found} signatures; at most {SIGNATURES_MAX} are allowed")]
    TooManySignatures {
        /// How many.
        found: usize,
    },
    /// One key signs twice.
    #[error("one key signs twice")]
    SignedTwice,
}

/// One signature of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandSignature {
    /// SHA-256 of the signer's SubjectPublicKeyInfo.
    pub key: Hash,
    /// Over [`signing_bytes`].
    pub signature: [u8; 64],
}

/// A command whose form has been checked; its signatures have not.
#[derive(Debug, Clone)]
pub struct ParsedCommand {
    /// The body exactly as sent.
    pub body_bytes: Bytes,
    /// The cluster that it is for.
    pub cluster: ClusterId,
    /// Who commands.
    pub principal: PrincipalId,
    /// 32 random bytes; for a put also the write nonce.
    pub nonce: [u8; 32],
    /// Log time after which it is void, ms.
    pub expires_ms: u64,
    /// What is commanded.
    pub payload: Payload,
    /// Its signatures, no key twice.
    pub signatures: Vec<CommandSignature>,
}

impl ParsedCommand {
    /// Parses an encoded [`v1::Command`]. Sizes are checked before parsing.
    pub fn parse(encoded: Bytes) -> Result<Self, CommandError> {
        if encoded.len() > COMMAND_BYTES_MAX {
            return Err(CommandError::TooLarge { bytes: encoded.len() });
        }
        let command = v1::Command::decode(encoded).map_err(|_| CommandError::NotProtobuf)?;
        Self::from_message(command)
    }

    /// The same for a command that arrived inside another message. The limit is that of [`ParsedCommand::parse`]: of the
    /// whole command, so that nothing is taken here that apply refuses.
    pub fn from_message(command: v1::Command) -> Result<Self, CommandError> {
        let bytes = command.encoded_len();
        if bytes > COMMAND_BYTES_MAX {
            return Err(CommandError::TooLarge { bytes });
        }
        let body = v1::CommandBody::decode(command.body.clone()).map_err(|_| CommandError::NotProtobuf)?;
        if body.protocol != crate::PROTOCOL {
            return Err(CommandError::UnknownProtocol { found: body.protocol });
        }
        // Before the canonical form: a kind from a later version reads as an unknown field, and is to be called what it is.
        if body.payload.is_none() {
            return Err(CommandError::UnknownKind);
        }
        if body.encode_to_vec() != command.body {
            return Err(CommandError::NotCanonical);
        }
        let signatures = parse_signatures(&command.signatures)?;
        Ok(Self {
            cluster: ClusterId(fixed("cluster", &body.cluster)?),
            principal: PrincipalId(fixed("principal", &body.principal)?),
            nonce: fixed("nonce", &body.nonce)?,
            expires_ms: body.expires_ms,
            payload: body.payload.ok_or(CommandError::UnknownKind)?,
            body_bytes: command.body,
            signatures,
        })
    }

    /// Refuses an encoded command whose body holds more fields than any has, before it is decoded. Apply takes it, though it costs a node
    /// some memory for a moment: what it makes of a command never changes.
    ///
    /// # Errors
    /// [`FrameError::TooManyFields`].
    pub fn check_fields(command: &[u8]) -> Result<(), FrameError> {
        frame::check_fields(command, DEPTH + 1, FIELDS_MAX)
    }

    /// SHA-256 of the body: what idempotency compares.
    pub fn body_hash(&self) -> Hash {
        sha256(&self.body_bytes)
    }

    /// Which command it is.
    pub fn id(&self) -> CommandId {
        CommandId {
            principal: self.principal,
            nonce: self.nonce,
            body_hash: self.body_hash(),
        }
    }
}

/// Which command it is: what apply records an outcome under, and what a repetition must match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandId {
    /// Who commands.
    pub principal: PrincipalId,
    /// Its nonce.
    pub nonce: [u8; 32],
    /// SHA-256 of its body.
    pub body_hash: Hash,
}

impl CommandId {
    /// Of a command whose form is not checked otherwise.
    pub fn of(command: &v1::Command) -> Result<Self, CommandError> {
        let body = v1::CommandBody::decode(command.body.clone()).map_err(|_| CommandError::NotProtobuf)?;
        Ok(Self {
            principal: PrincipalId(fixed("principal", &body.principal)?),
            nonce: fixed("nonce", &body.nonce)?,
            body_hash: sha256(&command.body),
        })
    }

    /// As it is asked for.
    pub fn to_message(self) -> v1::CommandRef {
        v1::CommandRef {
            principal: Bytes::copy_from_slice(self.principal.bytes()),
            nonce: Bytes::copy_from_slice(&self.nonce),
            body_hash: Bytes::copy_from_slice(&self.body_hash),
        }
    }

    /// What is asked for.
    pub fn from_message(asked: &v1::CommandRef) -> Result<Self, CommandError> {
        Ok(Self {
            principal: PrincipalId(fixed("principal", &asked.principal)?),
            nonce: fixed("nonce", &asked.nonce)?,
            body_hash: fixed("body_hash", &asked.body_hash)?,
        })
    }
}

/// Whether apply may refuse with this code before it looks the nonce up: then nothing is recorded.
pub fn may_leave_no_record(code: Code) -> bool {
    use Code::{
        BadSignature, Expired, Malformed, NonceReused, TooFewSignatures, TooManyCommands, UnknownKey, UnknownVersion,
        WrongCluster,
    };
    matches!(
        code,
        BadSignature
            | Expired
            | Malformed
            | NonceReused
            | TooFewSignatures
            | TooManyCommands
            | UnknownKey
            | UnknownVersion
            | WrongCluster
    )
}

fn parse_signatures(found: &[v1::CommandSignature]) -> Result<Vec<CommandSignature>, CommandError> {
    if found.is_empty() {
        return Err(CommandError::Unsigned);
    }
    if found.len() > SIGNATURES_MAX {
        return Err(CommandError::TooManySignatures { found: found.len() });
    }
    let mut signatures: Vec<CommandSignature> = Vec::with_capacity(found.len());
    for one in found {
        let key = fixed("key", &one.key)?;
        if signatures.iter().any(|earlier| earlier.key == key) {
            return Err(CommandError::SignedTwice);
        }
        signatures.push(CommandSignature {
            key,
            signature: fixed("signature", &one.signature)?,
        });
    }
    Ok(signatures)
}

/// A field of fixed length, or an error that names it.
pub fn fixed<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], CommandError> {
    bytes.try_into().map_err(|_| CommandError::FieldLength {
        field,
        expected: N,
        found: bytes.len(),
    })
}

/// What each signer of a command signs.
pub fn signing_bytes(body: &[u8]) -> Vec<u8> {
    enc(&[SIGNING_LABEL, body])
}

/// Encodes a body; the bytes are what is signed, sent and kept.
pub fn encode_body(
    cluster: ClusterId,
    principal: PrincipalId,
    nonce: &[u8; 32],
    expires_ms: u64,
    payload: Payload,
) -> Bytes {
    let body = v1::CommandBody {
        protocol: crate::PROTOCOL,
        cluster: Bytes::copy_from_slice(&cluster.0),
        principal: Bytes::copy_from_slice(&principal.0),
        nonce: Bytes::copy_from_slice(nonce),
        expires_ms,
        payload: Some(payload),
    };
    body.encode_to_vec().into()
}
