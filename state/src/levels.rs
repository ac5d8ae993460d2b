//! Feature levels: which commands the cluster takes only once all nodes' builds know them (custody.md, "A log that a bad
//! leader cannot bend"). Below its level a command is a no-op on new builds as it is on old ones, so that a rolling upgrade
//! never makes honest nodes differ.
//!
//! Whatever a build does otherwise than the one before it hangs on the level in force alone, never on what the build knows
//! ([`known`]): a function of the level here, which gives the older builds' answer below its level. [`versions_kept`] is the
//! smallest example.

use symbolon_wire::FEATURE_LEVEL;
use symbolon_wire::limits::COMMAND_BYTES_MAX_LEVEL_1;
use symbolon_wire::v1::command_body::Payload;

/// The level from which audit anchors count.
pub const AUDIT_ANCHORS: u32 = 2;

/// The level from which commands may be larger than [`COMMAND_BYTES_MAX_LEVEL_1`].
pub const LARGE_COMMANDS: u32 = 2;

/// The level from which secrets have metadata and settings, and a write may say that it states what it follows, so that
/// policies can ask (`context.cas`).
pub const METADATA: u32 = 2;

/// The level that the next build brings, in tests of rolling upgrades: from it on, a write takes away the version
/// [`NEXT_VERSIONS_KEPT`] before it where the secret's settings say nothing.
#[cfg(feature = "sabotage")]
pub const NEXT: u32 = FEATURE_LEVEL + 1;

/// See [`NEXT`].
#[cfg(feature = "sabotage")]
pub const NEXT_VERSIONS_KEPT: u64 = 3;

/// The highest level that this build knows: what a node announces at each boot, and the last at which it can apply entries.
#[must_use]
pub fn known() -> u32 {
    #[cfg(feature = "sabotage")]
    if symbolon_sabotage::next_build() {
        return NEXT;
    }
    FEATURE_LEVEL
}

/// The most versions that a secret keeps at this level where its settings say nothing; 0: as many as there may be.
#[cfg_attr(
    not(feature = "sabotage"),
    expect(unused_variables, reason = "alike at all levels that ship")
)]
pub(crate) fn versions_kept(level: u32) -> u64 {
    #[cfg(feature = "sabotage")]
    if symbolon_sabotage::next_build() && (level >= NEXT || symbolon_sabotage::Bug::NextAtOnce.on()) {
        return NEXT_VERSIONS_KEPT;
    }
    0
}

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
