//! Every bound of this crate, with its reason.

/// One payload: a value of 1 MiB padded (1,056 KiB), its dealing and a sealing session of seven nodes (7 × 1,120 bytes);
/// the rest is room for names and signatures.
pub const PAYLOAD_BYTES_MAX: usize = 1152 * 1024;

/// One record of the state: a logged payload plus what apply adds to it.
pub const RECORD_BYTES_MAX: usize = 1280 * 1024;

/// One record key: kind ‖ parent id ‖ id with room for composite ids.
pub const RECORD_KEY_BYTES_MAX: usize = 256;

/// One name of the name index: the longest path of the grammar is shorter.
pub const NAME_BYTES_MAX: usize = 4 * 1024;

/// Entries travel and are read in groups of about this size, so that one slow follower costs little memory: the entry
/// that reaches it is the last.
pub const APPEND_BYTES_MAX: usize = 1280 * 1024;

/// Entries of one AppendEntries frame, also what openraft asks for at most (`max_payload_entries`).
pub const APPEND_ENTRIES_MAX: usize = 1024;

/// Records of one snapshot chunk are gathered up to this size.
pub const CHUNK_BYTES_MAX: usize = 1536 * 1024;

/// Records of one snapshot chunk.
pub const CHUNK_RECORDS_MAX: usize = 4096;

/// Evidence for a snapshot: signatures of at most seven nodes, with room.
pub const EVIDENCE_BYTES_MAX: usize = 64 * 1024;

/// One frame: a full group of entries or records, plus one that just did not fit, plus headers.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Voter configurations of one membership: two while joint.
pub const CONFIGS_MAX: usize = 2;

/// Members of one configuration: seven voters, and as many learners while a roster changes.
pub const MEMBERS_MAX: usize = 64;

/// Bytes of the newest entries kept in memory. They serve replication and apply, which nearly always want just these.
pub const TAIL_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Entries applied and written as one batch: bounds the overlay, and how long readers wait for the first of them.
pub const APPLY_ENTRIES_MAX: usize = 256;

/// The same in bytes of payloads: the entry that reaches it is the batch's last. What they write is about as much again.
pub const APPLY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Records that apply knows without reading them: as many as some thousand entries touch.
pub const KNOWN_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Cuts of the log remembered for waiting readers. A reader that missed more of them gives up, as if its time were up.
pub const CUTS_MAX: usize = 256;

/// Proposals under way at once.
pub const PROPOSALS_MAX: usize = 4096;

/// Bytes of proposals under way at once.
pub const PROPOSAL_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Chain values kept without gaps; below them every [`CHAIN_STRIDE`]th remains. More than two marks lie apart, with the entries that stay in
/// the log behind them: whoever lags so far that it needs a snapshot has a state that others can still compare.
pub const CHAIN_KEPT: u64 = 262_144;

/// Entries between two marks, at most.
pub const MARK_ENTRIES_MAX: u64 = 100_000;

/// Chain values at multiples of this index are kept for ever.
pub const CHAIN_STRIDE: u64 = 256;

/// Entries kept in the log although a snapshot holds them, so that a node that was briefly away needs no snapshot.
pub const LOG_KEPT: u64 = 10_000;

/// The same in bytes: with large entries fewer are kept.
pub const LOG_BYTES_KEPT: u64 = 256 * 1024 * 1024;

/// Bytes of one entry that may use the store's reserve, where [`crate::Settings::vital`] names its kind.
pub const VITAL_BYTES_MAX: usize = 4096;

/// KiB of such entries that a member takes at once while its disk is full: those of some hours that it missed.
pub const VITAL_KIB_BURST: u32 = 8 * 1024;

/// And one KiB more in so many ms. An honest leader's take half of that; one that logs them without end would fill the last of each disk.
pub const VITAL_KIB_EVERY_MS: u64 = 500;

/// How far ahead of a member's own term another one may claim to be. Honest members are ahead by the elections that it
/// missed: one a second for half a year. A liar that names the highest term there is would leave none for an election.
pub const TERMS_AHEAD_MAX: u64 = 1 << 24;

/// Records hashed or copied before other tasks get their turn.
pub const RECORDS_PER_TURN: usize = 256;

/// Of the time that a pass over a kept state takes it works one part in so many.
pub const DESCRIBING_SHARE: u32 = 4;

const _: () = assert!(PAYLOAD_BYTES_MAX < APPEND_BYTES_MAX);
const _: () = assert!(RECORD_BYTES_MAX < CHUNK_BYTES_MAX);
const _: () = assert!(APPEND_BYTES_MAX + PAYLOAD_BYTES_MAX + APPEND_ENTRIES_MAX * 64 < FRAME_BYTES_MAX);
const _: () = assert!(CHUNK_BYTES_MAX + RECORD_BYTES_MAX + CHUNK_RECORDS_MAX * 64 < FRAME_BYTES_MAX);
const _: () = assert!(PAYLOAD_BYTES_MAX < APPLY_BYTES_MAX && PAYLOAD_BYTES_MAX < TAIL_BYTES_MAX);
const _: () = assert!(CHAIN_KEPT.is_multiple_of(CHAIN_STRIDE));
const _: () = assert!(2 * MARK_ENTRIES_MAX + LOG_KEPT < CHAIN_KEPT);
