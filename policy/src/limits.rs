//! Every limit of this crate, with its reason. What is past a limit is refused, never cut.

/// Sources in one set. A source is a file that people edit; a thousand of them is past what anyone reviews.
pub const SOURCES_MAX: usize = 1_024;

/// Bytes of one source: one log entry carries it, and reviewers read it.
pub const SOURCE_BYTES_MAX: usize = 256 * 1024;

/// Bytes of all sources together: every node keeps them in its state, and checks all of them when it starts. Cedar's
/// validation takes up to 1.5 µs a byte, so seconds at most.
pub const SET_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Policies in one set: each takes some 5 KiB of memory and 0.3 ms to check. Decisions do not slow down with the number.
pub const POLICIES_MAX: usize = 10_000;

/// Bytes of a source's name, which is a path such as `policies/billing.cedar`.
pub const SOURCE_NAME_BYTES_MAX: usize = 256;

/// Bytes of a policy's `@id`, which people type and read in one line of an explanation.
pub const POLICY_ID_BYTES_MAX: usize = 128;

/// Bytes of a policy's `@note`, which ends one line of an explanation.
pub const POLICY_NOTE_BYTES_MAX: usize = 256;

/// Brackets open at once in one policy. Cedar's parser, printer and validator recurse over them.
pub const NESTING_MAX: usize = 32;

/// Depth of a policy's expression as `scan` measures it; Cedar's own tree is at most about twice as deep.
///
/// Cedar's evaluator gives up with an error when less than 100 KiB of stack remain. That must not happen: it would make
/// two nodes with unlike stacks decide differently. A test checks and evaluates the deepest policies on `STACK_BYTES_MIN`.
pub const DEPTH_MAX: usize = 64;

/// Bytes of stack that must remain where policies are compiled or decided. Threads have 2 MiB unless told otherwise.
pub const STACK_BYTES_MIN: usize = 512 * 1024;

/// Problems that one refusal lists. Whoever sees a hundred mends some and tries again.
pub const PROBLEMS_MAX: usize = 100;

/// Bytes of a principal's, group's or tenant's name: the longest SPIFFE ID (SPIFFE-ID section 2.4 allows 2,048).
pub const NAME_BYTES_MAX: usize = 2_048;

/// Bytes of a path. Not the path grammar, which callers have enforced, but a bound on what one decision costs.
pub const PATH_BYTES_MAX: usize = 1_024;

/// Segments of a path: each is one more ancestor to look up and to build.
pub const PATH_SEGMENTS_MAX: usize = 64;

/// Groups of one principal: each is one more ancestor to look up and to build.
pub const GROUPS_MAX: usize = 64;

/// Policies named as 'nearest' when nothing permits a request: more would not be read.
pub const NEAREST_MAX: usize = 3;

/// Policies looked at to find the nearest ones, so that a refusal costs about as much as a permission.
pub const NEAREST_SCAN_MAX: usize = 64;

const _: () = assert!(SOURCE_BYTES_MAX <= SET_BYTES_MAX);
const _: () = assert!(NESTING_MAX <= DEPTH_MAX);
const _: () = assert!(NEAREST_MAX <= NEAREST_SCAN_MAX);
