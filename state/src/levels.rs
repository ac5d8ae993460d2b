//! Feature levels: which commands the cluster takes only once all nodes' builds know them (custody.md, "A log that a bad
//! leader cannot bend"). Below its level a command is a no-op on new builds as it is on old ones, so that a rolling upgrade
//! never makes honest nodes differ.

use symbolon_wire::limits::COMMAND_BYTES_MAX_LEVEL_1;
use symbolon_wire::v1::command_body::Payload;

/// The level from which audit anchors count.
pub const AUDIT_ANCHORS: u32 = 2;

/// The level from which commands may be larger than [`COMMAND_BYTES_MAX_LEVEL_1`].
pub const LARGE_COMMANDS: u32 = 2;

/// The level from which secrets have metadata and settings, and a write may say that it states what it follows, so that
/// policies can ask (`context.cas`).
pub const METADATA: u32 = 2;

/// The feature level that a command of `bytes` bytes with this payload needs.
pub fn needed(payload: &Payload, bytes: usize) -> u32 {
    needed_for_size(bytes).max(needed_for_kind(payload))
}

/// The feature level that a command of so many bytes needs, whatever it says.
pub fn needed_for_size(bytes: usize) -> u32 {
    if bytes > COMMAND_BYTES_MAX_LEVEL_1 {
        LARGE_COMMANDS
    } else {
        1
    }
}

fn needed_for_kind(payload: &Payload) -> u32 {
    match payload {
        Payload::Put(put) if put.cas => METADATA,
        Payload::Metadata(_) => METADATA,
        Payload::Put(_)
        | Payload::Delete(_)
        | Payload::Undelete(_)
        | Payload::Destroy(_)
        | Payload::Policies(_)
        | Payload::Register(_)
        | Payload::Remove(_)
        | Payload::Rekey(_)
        | Payload::Session(_) => 1,
    }
}
