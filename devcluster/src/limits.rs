//! Every bound of this crate, with its reason.

use std::time::Duration;

/// How often a condition is looked at while it is waited for. Short against a start (some 300 ms), long against its cost.
pub const POLL: Duration = Duration::from_millis(20);

/// A node that has not become ready by then will not: a cold start takes under a second on two busy cores.
pub const READY_WITHIN: Duration = Duration::from_secs(30);

/// After SIGTERM a node syncs and leaves; then it is killed.
pub const STOP_WITHIN: Duration = Duration::from_secs(10);

/// One step of the ceremony: makes keys in a token, which SoftHSM does in well under a second.
pub const STEP_WITHIN: Duration = Duration::from_secs(30);

/// A loopback request to a node's HTTP port.
pub const HTTP_WITHIN: Duration = Duration::from_secs(2);

/// Longest answer of a node's HTTP port that is read, bytes; metrics are some 20 KiB.
pub const HTTP_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Lines of a dead node's log that an error shows.
pub const LOG_LINES_SHOWN: usize = 12;

/// Bytes at the end of a log that are read to find them.
pub const LOG_TAIL_BYTES: u64 = 16 * 1024;

/// Shorter needles would be found by chance, bytes: 8 random bytes occur in 1 GiB with probability 2^-34.
pub const NEEDLE_BYTES_MIN: usize = 8;

/// Of a longer needle its first so many bytes are searched: each whole occurrence holds them, and cut ones too.
pub const NEEDLE_BYTES_SEARCHED: usize = 64;

/// From this length on the second half is searched by itself, bytes: allocators write into the first bytes of what is freed.
pub const HALF_SEARCHED_FROM: usize = 32;

/// From this length on parts of a needle are searched by themselves, bytes: a leak may be a page or a packet of it.
pub const PARTS_SEARCHED_FROM: usize = 4 * 1024;

/// So many parts, evenly spread; each as long as what is searched of a whole needle.
pub const PARTS_SEARCHED: u8 = 16;

/// Parts with fewer different bytes may be anywhere: padding, rules, blanks.
pub const PART_DISTINCT_MIN: usize = 8;

/// What is read of a file at once.
pub const CHUNK_BYTES: usize = 1024 * 1024;

/// Hits of one needle listed for one place; all are counted.
pub const HITS_LISTED_PER_PLACE: usize = 16;

/// Folders within folders: no cluster has more, and a loop of mounts would.
pub const FOLDER_DEPTH_MAX: usize = 32;

const _: () = assert!(NEEDLE_BYTES_MIN * 2 <= HALF_SEARCHED_FROM);
// A form is at most four times as long as its needle and must fit into one chunk.
const _: () = assert!(NEEDLE_BYTES_SEARCHED * 4 < CHUNK_BYTES);
const _: () = assert!(PARTS_SEARCHED_FROM >= PARTS_SEARCHED as usize * NEEDLE_BYTES_SEARCHED);
