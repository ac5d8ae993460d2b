//! Bounds of the command line, each with its reason.

use std::time::Duration;

/// How long a call may take unless `--timeout` says otherwise: an election takes a second or two, people wait ten.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// What takes longer shows a progress line.
pub(crate) const PROGRESS_AFTER: Duration = Duration::from_secs(1);

/// A configuration file, bytes; more is not one.
pub(crate) const CONFIG_BYTES_MAX: u64 = 256 * 1024;

/// Values shorter than this are not masked, bytes: every `1` in the output would go, and tell where it stood.
pub(crate) const MASKED_BYTES_MIN: usize = 4;

/// Lines of a value that are masked by themselves have at least this many bytes; shorter ones are braces and the like.
pub(crate) const MASKED_LINE_BYTES_MIN: usize = 8;

/// What is read of a child's output at once.
pub(crate) const PIPE_BYTES: usize = 16 * 1024;

/// Bytes of one variable, with its name and what stands between and behind: Linux takes no longer one (`MAX_ARG_STRLEN`).
pub(crate) const VARIABLE_BYTES_MAX: usize = 128 * 1024;

/// Values of one `run`: an environment of more is not one.
pub(crate) const RUN_VALUES_MAX: usize = 256;

/// How often `audit tail -f` asks.
pub(crate) const FOLLOW_EVERY: Duration = Duration::from_millis(500);

/// How far this machine's clock may differ from log time before `doctor` warns: a tick comes every second.
pub(crate) const CLOCK_APART_WARN: Duration = Duration::from_secs(5);

/// From here on nodes stop releasing (custody.md, "Log time").
pub(crate) const CLOCK_APART_FAIL: Duration = Duration::from_secs(60);

/// Log entries that a node may lag behind before `status` warns.
pub(crate) const LAG_WARN: u64 = 1_000;

/// An operator's command that needs several signatures holds so long unless told otherwise.
pub(crate) const COLLECT_WITHIN: Duration = Duration::from_secs(24 * 60 * 60);

/// How much earlier a saved command expires than nodes would allow: their log time may be behind this machine's clock.
pub(crate) const EXPIRY_SPARE: Duration = Duration::from_secs(60);

/// Largest file of proofs or receipts: a leaf, two notes, proofs and boot statements are some 40 KiB each in hex.
pub(crate) const PROOF_FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// A decision is cosigned and anchored within 10 s; a proof waits a little longer.
pub(crate) const PROVEN_WITHIN: Duration = Duration::from_secs(15);

/// A file of `put --batch`: some ten thousand ordinary secrets, or fifty of the largest.
pub(crate) const BATCH_FILE_BYTES_MAX: usize = 64 * 1024 * 1024;
