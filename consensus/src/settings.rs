//! What a member of the cluster is told when it starts.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};

use crate::limits::{APPEND_ENTRIES_MAX, LOG_BYTES_KEPT, LOG_KEPT, PROPOSAL_BYTES_MAX, PROPOSALS_MAX, VITAL_BYTES_MAX};
use crate::types::Payload;

/// Settings of one member.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This member's index in the roster.
    pub node: u64,
    /// The cluster's id, for the chain's start.
    pub cluster: [u8; 16],
    /// Hash of roster 0, for the chain's start.
    pub genesis_hash: [u8; 32],
    /// Which life of the cluster this is; 0 until it is restored from a backup.
    pub incarnation: u64,
    /// Who votes, by the roster. Until rosters change, no leader makes it anybody else; empty: not checked.
    pub voters: BTreeSet<u64>,
    /// How often a leader makes itself heard.
    pub heartbeat: Duration,
    /// A follower that hears nothing for the upper bound, and then for a random time between both, stands for election.
    /// With the defaults a lost leader is replaced in 0.8 s to 1.4 s.
    pub election: (Duration, Duration),
    /// A proposal that is not applied by then has an unknown outcome.
    pub propose_timeout: Duration,
    /// One exchange with a peer.
    pub call_timeout: Duration,
    /// Whether this member takes no part before [`crate::Consensus::admit`]: it does not trust its own disk.
    pub awaits_admission: bool,
    /// Entries kept in the log although a snapshot holds them.
    pub log_kept: u64,
    /// The same in bytes, about: with large entries fewer are kept.
    pub log_bytes_kept: u64,
    /// Kinds of entries that may use the store's reserve, if they are small: those without which no room is ever freed.
    pub vital: &'static [u16],
    /// Proposals under way at once.
    pub proposals_max: usize,
    /// Bytes of proposals under way at once.
    pub proposal_bytes_max: usize,
}

impl Settings {
    /// The defaults for one member.
    #[must_use]
    pub fn new(node: u64, cluster: [u8; 16], genesis_hash: [u8; 32]) -> Self {
        Self {
            node,
            cluster,
            genesis_hash,
            incarnation: 0,
            voters: BTreeSet::new(),
            heartbeat: Duration::from_millis(100),
            election: (Duration::from_millis(300), Duration::from_millis(600)),
            propose_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(1),
            awaits_admission: false,
            log_kept: LOG_KEPT,
            log_bytes_kept: LOG_BYTES_KEPT,
            vital: &[],
            proposals_max: PROPOSALS_MAX,
            proposal_bytes_max: PROPOSAL_BYTES_MAX,
        }
    }

    /// openraft's view of it.
    pub(crate) fn raft(&self) -> Result<Config, openraft::ConfigError> {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let config = Config {
            cluster_name: "symbolon".to_owned(),
            heartbeat_interval: ms(self.heartbeat),
            // Every tick sends: a suppressed heartbeat would save little and delay the commit index of idle clusters.
            heartbeat_min_interval: None,
            election_timeout_min: ms(self.election.0),
            election_timeout_max: ms(self.election.1),
            install_snapshot_timeout: ms(self.call_timeout),
            max_payload_entries: u64::try_from(APPEND_ENTRIES_MAX).unwrap_or(u64::MAX),
            // Marks decide what becomes a snapshot, and evidence when; openraft never takes one on its own.
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: self.log_kept,
            enable_pre_vote: Some(true),
            // Switched on when it is admitted.
            enable_elect: !self.awaits_admission,
            // Leadership is earned by an election also after a restart.
            enable_leader_restore: Some(false),
            // A follower whose disk was put back, or that lies, may say that it has less than it had. The leader sends
            // it what it lacks; without this it panics.
            allow_log_reversion: Some(true),
            backoff: "50ms 100ms 200ms ..500ms".to_owned(),
            ..Config::default()
        };
        config.validate()
    }
}

/// Whether a payload may use the store's reserve.
pub(crate) fn is_vital(kinds: &[u16], payload: &Payload) -> bool {
    kinds.contains(&payload.kind) && payload.bytes.len() <= VITAL_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_settings_are_valid_for_openraft() {
        let config = Settings::new(1, [0; 16], [0; 32]).raft().unwrap();
        assert_eq!(config.enable_pre_vote, Some(true));
        assert_eq!(config.snapshot_policy, SnapshotPolicy::Never);
    }
}
