//! Every time and bound of the simulation, with its reason. Times are virtual.

use std::time::Duration;

/// Nodes of the simulated cluster, and fragments needed.
pub const NODES: u16 = 3;
/// t = ⌊n/2⌋ + 1.
pub const THRESHOLD: usize = 2;

/// One way through the network takes this long, ms: three regions of one continent.
pub(crate) const WAY_MS: (u64, u64) = (1, 5);
/// One message in so many takes a detour, so that later ones overtake it.
pub(crate) const DETOUR_ONE_IN: u64 = 40;
/// How long a detour takes, ms: past a heartbeat, short of an election.
pub(crate) const DETOUR_MS: (u64, u64) = (20, 250);
/// A message that got lost is forgotten after this; every caller has given up before.
pub(crate) const LOST_MS: u64 = 60_000;

/// One sync of a sound disk.
pub(crate) const SYNC: Duration = Duration::from_millis(2);
/// A sound clock is off by at most this, ms: well inside what log time tolerates.
pub(crate) const CLOCK_OFF_MS: u64 = 2_000;

/// A cluster that was just started elects a leader and takes its first commands within this.
pub(crate) const SETUP: Duration = Duration::from_secs(30);
/// After healing there is a leader within this (proof.md, "Invariants of the simulation").
pub(crate) const LEADER_WITHIN: Duration = Duration::from_secs(10);
/// After healing all nodes serve, with one log, within this (proof.md).
pub(crate) const HEALTH_WITHIN: Duration = Duration::from_secs(60);

/// A client waits so long for one answer: past the 2 s in which a node answers or says `NotFresh`, and past the time
/// that a proposal may take.
pub(crate) const REQUEST_WITHIN: Duration = Duration::from_secs(6);
/// A reader asks one node more when t have not answered by then.
pub(crate) const SPARE_AFTER: Duration = Duration::from_millis(60);
/// Nodes that differ must agree within this, or the read fails (custody.md, "Reading", rule 3).
pub(crate) const FRESH_WITHIN: Duration = Duration::from_secs(2);
/// A command is offered again, with the same bytes, for this long; then its outcome stays unknown.
pub(crate) const SUBMIT_WITHIN: Duration = Duration::from_secs(12);
/// A pause between two offers of one command.
pub(crate) const OFFER_PAUSE: Duration = Duration::from_millis(150);
/// A command is valid for this long, ms.
pub(crate) const COMMAND_LIFE_MS: u64 = 60_000;

/// Decisions that share one audit sync at most; as in the node.
pub(crate) const GROUP_MAX: usize = 256;
/// A snapshot mark is set every so many entries: often, so that nodes that were away need snapshots.
pub(crate) const MARK_EVERY: u64 = 20;
/// Entries kept in the log although a snapshot holds them: few, for the same reason.
pub(crate) const LOG_KEPT: u64 = 4;

/// Violations of one seed that are reported; the first ones tell the story.
pub(crate) const VIOLATIONS_MAX: usize = 20;

const _: () = assert!(THRESHOLD == NODES as usize / 2 + 1);
