//! Every bound of the client, each with its reason.

use std::time::Duration;

/// Hosts in one address: more than any roster has nodes, few enough to try one after the other.
pub const HOSTS_MAX: usize = 16;

/// Largest identity file, bytes: a PKCS#8 key, two ids and a name have about 700.
pub const IDENTITY_FILE_BYTES_MAX: usize = 16 * 1024;

/// How long those who have not told log time are waited for once t nodes have.
pub const OTHERS_WITHIN: Duration = Duration::from_millis(250);

/// Log times that lie no further apart are taken for the same: nodes answer from states of about the same moment.
pub const TIMES_APART_MS_MAX: u64 = 10_000;

/// How long nodes may take to reach the highest state index shown before a read fails (custody.md, "Reading", 3).
pub const FRESH_WITHIN: Duration = Duration::from_secs(2);

/// Wholly new writes after version conflicts before the conflict is the caller's: 16 writers that always collide get
/// through with all but certainty.
pub const CONFLICT_ATTEMPTS: u32 = 16;

/// New sealing sessions for one write: a session that the cluster has just taken is refused only in a race.
pub const SESSION_ATTEMPTS: u32 = 3;

/// How long a sealing session is used: nodes refuse it an hour after they applied it, by log time; the rest is for
/// clocks that differ.
pub const SESSION_USED_WITHIN: Duration = Duration::from_secs(50 * 60);

/// Bytes of large commands on their way to the nodes at once; others wait. A node takes 16 MiB on one connection, and the
/// same bytes may go to a second node meanwhile.
pub const COMMANDS_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Commands up to this size do not count: as many as a connection has streams are no burden.
pub const COMMAND_LARGE_FROM: usize = 64 * 1024;

/// A large command is handed to one more node only after this time: it takes a while by its size alone, and each further
/// copy that is proposed is one more entry of the log.
pub const LARGE_SPARE_DELAY: Duration = Duration::from_secs(3);

/// How long one node may take with a large command.
pub const LARGE_WITHIN: Duration = Duration::from_secs(15);

/// Paths whose secret id and latest version are remembered; past it those not in use are forgotten.
pub const PATHS_KNOWN_MAX: usize = 65_536;

/// Verified group signatures remembered for one connection: groups that are being answered at one time.
pub const GROUPS_KNOWN_MAX: usize = 64;

/// A node's text in an error message, bytes; longer is cut. It goes to a terminal.
pub const NODE_TEXT_BYTES_MAX: usize = 1024;

/// Lines of a node's reasons that are kept.
pub const NODE_LINES_MAX: usize = 32;

/// A connection that failed is not tried again for this long: what fails at once must not be dialled in a loop.
pub const REDIAL_AFTER: Duration = Duration::from_millis(250);

/// A node of which nothing at all was heard for this long after it was asked is not waited for alone, and after a request
/// was given up its connection is dead: a node that lives acknowledges within a round trip.
pub const SILENT_FOR: Duration = Duration::from_millis(250);

/// A node that failed is asked last for this long.
pub const ASKED_LAST_FOR: Duration = Duration::from_secs(1);

/// A spare is asked after this time at the latest, however long answers usually take: what stands still costs no more.
pub const SPARE_DELAY_MAX: Duration = Duration::from_secs(2);

/// Pause between rounds of a write that no node takes, doubled up to [`RETRY_PAUSE_MAX`]: an election takes a second.
pub const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// The longest such pause.
pub const RETRY_PAUSE_MAX: Duration = Duration::from_millis(500);

/// What is left of a write's time, or a quarter of a shorter one, to be told what came of it when too few confirm it in time.
pub const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// How long telling the nodes of a divergence may take.
pub const REPORT_WITHIN: Duration = Duration::from_secs(1);

/// How far a certificate's dates reach before and after now: clocks differ, and one is made for each connection.
pub const CERTIFICATE_SPAN: Duration = Duration::from_secs(24 * 60 * 60);

/// Files of an exported audit log, bytes together; a log of 10 million decisions has about 5 GB.
pub const EXPORT_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;

const _: () = assert!(SESSION_USED_WITHIN.as_millis() < symbolon_wire::limits::SESSION_MS_MAX as u128);
const _: () = assert!(symbolon_wire::limits::COMMAND_BYTES_MAX < COMMANDS_BYTES_MAX);

/// How long it is waited for one node's word on an anchor, when others may do.
pub const ANCHOR_WITHIN: Duration = Duration::from_secs(2);

/// How often nodes are asked for an anchor on which t agree, before a log is verified without one.
pub const ANCHOR_ATTEMPTS: u32 = 3;

/// Pause before it is asked again whether a log has been cosigned and anchored.
pub const PROOF_PAUSE: Duration = Duration::from_millis(500);

/// How long a record may be on its way to the disk before its node is said to have dropped it: with
/// `audit = "buffered"` it may come after the answer.
pub const DURABLE_WITHIN: Duration = Duration::from_secs(3);

/// Proofs in one file: more than any cluster has nodes.
pub const PROOFS_MAX: usize = 64;

/// Operations of one batch under way at once: what one connection carries well, and far from what a node allows a client.
pub const BATCH_IN_FLIGHT: usize = 64;

/// How long a node is asked to wait for news before it says that there are none.
pub const WATCH_WAIT: Duration = Duration::from_secs(20);

/// A node that failed a watch is asked again after this time.
pub const WATCH_REST: Duration = Duration::from_millis(500);

/// Nodes that tell different things of one entry are asked again after this time: rights may have changed in between.
pub const WATCH_DOUBT: Duration = Duration::from_secs(1);

/// A watch fails when t nodes have agreed on nothing, not even that there is no news, for so long. It can go on after that.
pub const WATCH_STALLED_AFTER: Duration = Duration::from_secs(40);

/// Changes told by one node that others have not confirmed yet; past it, that node is asked for no more.
pub const WATCH_BACKLOG_MAX: usize = 1024;

const _: () = assert!(WATCH_WAIT.as_millis() <= symbolon_wire::limits::WATCH_WAIT_MS_MAX as u128);
const _: () = assert!(WATCH_WAIT.as_millis() * 3 / 2 < WATCH_STALLED_AFTER.as_millis());
