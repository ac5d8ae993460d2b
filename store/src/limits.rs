//! Every bound of this crate, with its reason.

/// Seals under one segment key. AES-GCM with random 96-bit nonces stays below a collision chance of 2^-32 up to here
/// (NIST SP 800-38D, 8.3).
pub const SEALS_PER_SEGMENT: u64 = 1 << 32;

/// Segments that one opening of the store may use. Together 4·10^12 seals: 1.4 years at 100,000 a second.
pub const SEGMENTS_PER_OPENING: u32 = 1024;

/// Segment keys kept derived. One is enough for writing; old values bring theirs back.
pub const SEGMENT_KEYS_KEPT: usize = 1024;

/// Bytes written under one sync. More would only make the first waiter wait longer.
pub const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Space kept free, so that a full disk is noticed before the database fails on it: enough for a write-ahead log and
/// the memtables to be flushed.
pub const RESERVE_BYTES: u64 = 256 * 1024 * 1024;

/// Memtables of all column families together. Small ones cost CPU: each flush leaves a file that is soon merged again.
pub const MEMTABLE_BYTES: usize = 24 * 1024 * 1024;

/// One memtable.
pub const MEMTABLE_BYTES_EACH: usize = 12 * 1024 * 1024;

/// What a memtable grows by. An idle node has one such block for each column family.
pub const MEMTABLE_BLOCK_BYTES: usize = 256 * 1024;

/// Flushed files of a column family that are merged at once.
pub const MERGED_FILES: i32 = 8;

/// Cached blocks of all column families together.
pub const BLOCK_CACHE_BYTES: usize = 8 * 1024 * 1024;

/// Records that are kept unsealed for readers: of some thousands of secrets of 1 KiB all that a read asks for.
pub const RECENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The largest of them.
pub const RECENT_BYTES_EACH: usize = 64 * 1024;

/// This node's own records that are kept unsealed: fragments of some sixteen thousand versions.
pub const LATELY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The largest of them.
pub const LATELY_BYTES_EACH: usize = 1024;

/// The write-ahead log makes memtables flush when it reaches this size; a restart replays at most this much.
pub const WAL_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Files the database holds open.
pub const OPEN_FILES_MAX: i32 = 256;

/// Cached blocks of a kept state: it is read from one end to the other.
pub const FROZEN_CACHE_BYTES: usize = 1024 * 1024;

/// Files a kept state holds open.
pub const FROZEN_OPEN_FILES_MAX: i32 = 32;

/// Audit leaves read at once.
pub const LEAVES_MAX: usize = 4096;

/// Bytes of audit leaves read at once.
pub const LEAF_READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One audit leaf.
pub const LEAF_BYTES_MAX: usize = 64 * 1024;

const _: () = assert!(MEMTABLE_BYTES_EACH <= MEMTABLE_BYTES);
const _: () = assert!(RESERVE_BYTES > 2 * WAL_BYTES_MAX);
const _: () = assert!(LEAF_BYTES_MAX <= LEAF_READ_BYTES_MAX);
