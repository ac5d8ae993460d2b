//! Every bound on what comes from outside, each with its reason. `const` assertions tie those that depend on each other.

use crate::path;
use symbolon_crypto::limits::{CIPHERTEXT_BYTES_MAX, HEADER_BYTES_MAX};

/// Largest command, signatures included: a one-shot write to seven nodes with the longest ciphertext and seven X-Wing
/// ciphertexts. Consensus takes payloads of this size (asserted in `node`).
pub const COMMAND_BYTES_MAX: usize = 1152 * 1024;
/// Largest command at feature level 1, whose builds refuse a larger one: a policy set, or a value of 64 KiB.
pub const COMMAND_BYTES_MAX_LEVEL_1: usize = 352 * 1024;
/// Largest request frame from a client: a command and its signatures.
pub const REQUEST_BYTES_MAX: usize = COMMAND_BYTES_MAX + 4 * 1024;
/// Largest request frame of a key that nobody has registered: it can only be told so, and needs no room for that.
pub const STRANGER_REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Largest response frame to a client: a read reply with the longest ciphertext, a page of a listing or audit log.
pub const RESPONSE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Largest frame between nodes: an append of several commands, or one chunk of a snapshot.
pub const PEER_FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Largest answer between nodes: a vote, a place in the log, an error, a checkpoint. Thousands may be awaited at once, so
/// that a node that never ends its answers would otherwise fill the others' memory.
pub const PEER_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Largest first message of a node (roster chain and boot statement).
pub const HELLO_BYTES_MAX: usize = 256 * 1024;
/// Largest roster body.
pub const ROSTER_BYTES_MAX: usize = 64 * 1024;
/// Signatures on one command: more operators than any roster needs.
pub const SIGNATURES_MAX: usize = 32;
/// Operators in one roster.
pub const OPERATORS_MAX: usize = 32;
/// Keys that one principal may have registered at once.
pub const KEYS_PER_PRINCIPAL_MAX: usize = 4;
/// Groups that one principal may be in.
pub const GROUPS_MAX: usize = 32;
/// Free text (owner, purpose), bytes.
pub const TEXT_BYTES_MAX: usize = 256;
/// Text of all policies together, bytes.
pub const POLICY_BYTES_MAX: usize = 256 * 1024;
/// Policy source files in one set.
pub const POLICY_SOURCES_MAX: usize = 256;
/// Versions that one delete may name.
pub const DELETE_VERSIONS_MAX: usize = 1024;
/// Versions of one secret that are kept; the oldest goes when one more is written.
pub const VERSIONS_MAX: u64 = 1024;
/// Entries of a secret's metadata.
pub const METADATA_ENTRIES_MAX: usize = 64;
/// A key of metadata, bytes.
pub const METADATA_KEY_BYTES_MAX: usize = 128;
/// A text of metadata, bytes: a name, an address, a note; no place for what should be a secret of its own.
pub const METADATA_TEXT_BYTES_MAX: usize = 512;
/// Entries of one page of a listing.
pub const LIST_MAX: u32 = 1000;
/// Audit leaves of one page.
pub const AUDIT_PAGE_MAX: u32 = 1000;
/// Changes that one answer to a watch tells, before policy leaves any out.
pub const WATCH_PAGE_MAX: usize = 256;
/// Bytes of changes that one such answer tells.
pub const WATCH_PAGE_BYTES_MAX: usize = 512 * 1024;
/// How long such an answer may be waited for, milliseconds: shorter than connections may be idle.
pub const WATCH_WAIT_MS_MAX: u32 = 25_000;
/// Fields of one request or answer, those of nested messages included: far more than any has, and few enough to hold.
pub const FIELDS_MAX: usize = 32_768;
/// Fields of one answer to a client: the longest names 10,000 principals.
pub const RESPONSE_FIELDS_MAX: usize = 262_144;
/// Commands whose outcomes one request may ask for.
pub const OUTCOMES_MAX: usize = 64;
/// Fragments that one `FragmentOk` may confirm.
pub const FRAGMENT_OK_MAX: usize = 4096;
/// Dealings that one sealing session may carry (custody.md, "Sealing session").
pub const SESSION_DEALINGS_MAX: u64 = 4096;
/// How long a sealing session may be used, milliseconds of log time.
pub const SESSION_MS_MAX: u64 = 60 * 60 * 1000;
/// A command's expiry may be at most this far ahead of log time, milliseconds.
pub const EXPIRY_AHEAD_MS_MAX: u64 = 10 * 60 * 1000;
/// The same for kinds that need several signatures.
pub const EXPIRY_AHEAD_SEVERAL_MS_MAX: u64 = 7 * 24 * 60 * 60 * 1000;
/// Live idempotency records of one principal; past it that principal alone is refused. 10,000 writes in 10 minutes is
/// 16 writes a second for each; heavy writers register several principals or shorten expiries.
pub const IDEMPOTENCY_PER_PRINCIPAL_MAX: u64 = 2_000_000;

/// What else a write to seven nodes carries: sealed fragments, commitments, coefficients, a sealing session, names, ids.
const WRITE_BYTES_BESIDE: usize = 7 * (1120 + 80 + 64) + HEADER_BYTES_MAX + 8 * 1024;

const _: () = assert!(CIPHERTEXT_BYTES_MAX + WRITE_BYTES_BESIDE < COMMAND_BYTES_MAX);
const _: () = assert!(CIPHERTEXT_BYTES_MAX + WRITE_BYTES_BESIDE < RESPONSE_BYTES_MAX);
const _: () = assert!(POLICY_BYTES_MAX + 64 * 1024 < COMMAND_BYTES_MAX_LEVEL_1);
const _: () = assert!(COMMAND_BYTES_MAX_LEVEL_1 < COMMAND_BYTES_MAX);
const _: () = assert!(
    METADATA_ENTRIES_MAX * (2 * METADATA_KEY_BYTES_MAX + METADATA_TEXT_BYTES_MAX + 16) + 8 * 1024
        < COMMAND_BYTES_MAX_LEVEL_1
);
const _: () = assert!(STRANGER_REQUEST_BYTES_MAX < REQUEST_BYTES_MAX);
const _: () = assert!(REQUEST_BYTES_MAX < PEER_FRAME_BYTES_MAX);
const _: () = assert!(path::PATH_BYTES_MAX < TEXT_BYTES_MAX * 4);
