//! Snapshot marks: when the leader sets one, and what every node makes of one that was set. The log is purged behind marks.

use crate::gossip::broadcast;
use crate::member::{Member, Standing, lock};
use crate::submit;
use crate::vouch::claim;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use symbolon_consensus::SnapshotMeta;
use symbolon_custody::snapshots::{self, Contradiction};
use symbolon_state::entry::Kind;
use symbolon_wire::v1;

/// How often marks are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Marks that could have been set while the one before was described, after which the next one is set all the same.
const DESCRIBING_PATIENCE: u64 = 8;
/// A member that needs a snapshot, and believes too few of those that vouch for the last mark, gets one that they can all sign; no
/// more often than this, since every node reads all records for it.
const WANTED_EVERY: Duration = Duration::from_secs(300);
/// The last mark is left so long to nodes that describe it more slowly than the leader: they would pass over the next.
const DESCRIBED_WITHIN: Duration = Duration::from_secs(10);

/// When a leader sets the next mark.
struct MarkPace {
    /// A mark is due so many entries behind the one before,
    entries: u64,
    /// or when the log has grown by so many bytes.
    bytes: u64,
    /// Index of the last mark that this node set, or described when another had set it.
    last: u64,
    /// How far the log had grown by then.
    grown: u64,
    /// The newest mark that this node has described, and since when.
    described: (u64, Instant),
    /// When one was set last because it was wanted.
    wanted: Option<Instant>,
}

impl MarkPace {
    /// The mark at `index` was set, or found described.
    fn follow(&mut self, index: u64, grown: u64) {
        if index > self.last {
            (self.last, self.grown) = (index, grown);
        }
    }

    /// This node knows what the state at `index` is.
    fn describe(&mut self, index: u64, now: Instant) {
        if index > self.described.0 {
            self.described = (index, now);
        }
    }

    /// Whether somebody who wants a mark gets one now; if so, that counts.
    fn grant(&mut self, describing: bool, now: Instant) -> bool {
        let since = |at: Instant| now.saturating_duration_since(at);
        let may = !describing
            && since(self.described.1) >= DESCRIBED_WITHIN
            && self.wanted.is_none_or(|at| since(at) >= WANTED_EVERY);
        if may {
            self.wanted = Some(now);
        }
        may
    }

    /// While this node describes a mark's state it would pass over the next, so that one is set only if this one never comes
    /// to its end.
    fn due(&self, describing: bool, applied: u64, grown: u64) -> bool {
        let times = if describing { DESCRIBING_PATIENCE } else { 1 };
        applied >= self.last.saturating_add(self.entries.saturating_mul(times))
            || grown.saturating_sub(self.grown) >= self.bytes.saturating_mul(times)
    }
}

/// Signs marks as their state root becomes known, and takes them over once t nodes vouch for them; the leader sets a
/// mark every `entries` entries and every `bytes` of them.
pub(crate) async fn work(member: Arc<Member>, entries: u64, bytes: u64) {
    let mut marks = member.consensus.marks();
    let mut every = tokio::time::interval(LOOK_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut signed = 0;
    let mut adopted = 0;
    let mut pace = MarkPace {
        entries,
        bytes,
        last: 0,
        grown: member.consensus.log_grown(),
        described: (0, Instant::now()),
        wanted: None,
    };
    loop {
        every.tick().await;
        if member.standing().refusal().is_some() {
            continue;
        }
        let newest = marks.borrow_and_update().clone();
        if let Some(meta) = &newest {
            pace.describe(meta.index, Instant::now());
            if meta.index > signed && sign_mark(&member, meta) {
                signed = meta.index;
            }
            let contradicted = lock(&member.snapshots).contradicted(member.node, member.roster.threshold);
            if let Some(Contradiction { index, against }) = contradicted {
                tracing::error!(
                    index,
                    ?against,
                    "this node's state is not the one that t others signed; it freezes"
                );
                member.set_standing(Standing::Diverged(index));
                continue;
            }
            let vouching = lock(&member.snapshots).evidence(&claim(meta)).signatures.len();
            if meta.index > adopted && vouching >= usize::from(member.roster.threshold) {
                match member.consensus.adopt_mark().await {
                    Ok(()) => adopted = meta.index,
                    Err(fault) => tracing::error!(%fault, "a snapshot cannot be taken over"),
                }
            }
        }
        let (applied, grown) = (member.shown.load().applied, member.consensus.log_grown());
        pace.follow(newest.map_or(0, |meta| meta.index), grown);
        let leads = member.consensus.leader() == Some(u64::from(member.node));
        let describing = member.consensus.progress().describing();
        let wanted = member.mark_wanted.swap(false, Ordering::Relaxed);
        if leads && (pace.due(describing, applied, grown) || wanted && pace.grant(describing, Instant::now())) {
            match submit::propose_here(&member, Kind::SnapshotMark.number(), Bytes::new()).await {
                Ok(done) => pace.follow(done.index, grown),
                Err(refused) => tracing::warn!(why = refused.message, "no snapshot mark was set"),
            }
        }
    }
}

fn sign_mark(member: &Arc<Member>, meta: &SnapshotMeta) -> bool {
    let (signer, claimed) = (&member.boot.signer, claim(meta));
    let statement = snapshots::statement(signer, &member.roster, &claimed);
    let Ok(signature) = member.boot.signing.sign(&statement) else {
        tracing::error!("a snapshot cannot be signed");
        return false;
    };
    let signed = v1::SnapshotSignature {
        node: member.node.into(),
        boot_counter: signer.boot_counter,
        incarnation: meta.incarnation,
        index: meta.index,
        chain: Bytes::copy_from_slice(&meta.chain),
        state_root: Bytes::copy_from_slice(&claimed.state_root),
        roster_hash: Bytes::copy_from_slice(&member.roster.hash),
        signature: Bytes::copy_from_slice(&signature),
    };
    let own = &member.boot.own_key;
    lock(&member.snapshots).take(signed.clone(), &member.roster, own, member.provider.as_ref());
    broadcast(
        member,
        v1::Gossip {
            snapshots: vec![signed],
            ..v1::Gossip::default()
        },
    );
    true
}

#[cfg(test)]
mod tests {
    use super::{DESCRIBED_WITHIN, DESCRIBING_PATIENCE, MarkPace, WANTED_EVERY};
    use std::time::{Duration, Instant};

    fn behind(last: u64, grown: u64) -> MarkPace {
        MarkPace {
            entries: 100,
            bytes: 1000,
            last,
            grown,
            described: (last, Instant::now()),
            wanted: None,
        }
    }

    #[test]
    fn a_mark_that_is_wanted_waits_for_the_one_before_and_comes_once_in_a_while() {
        let mut pace = behind(200, 5000);
        let begun = pace.described.1;
        let second = Duration::from_secs(1);
        assert!(
            !pace.grant(false, begun + DESCRIBED_WITHIN - second),
            "others may still describe it"
        );
        assert!(!pace.grant(true, begun + DESCRIBED_WITHIN), "this node does");
        assert!(pace.grant(false, begun + DESCRIBED_WITHIN));
        let described = begun + DESCRIBED_WITHIN + second;
        pace.describe(300, described);
        let again = begun + DESCRIBED_WITHIN + WANTED_EVERY;
        assert!(
            !pace.grant(false, again - second),
            "each costs every node a look at all records"
        );
        assert!(pace.grant(false, again));
        pace.describe(300, again + WANTED_EVERY);
        assert!(
            pace.grant(false, again + WANTED_EVERY),
            "known before, it is not described anew"
        );
    }

    #[test]
    fn a_mark_is_due_after_so_many_entries_or_so_many_bytes() {
        let pace = behind(0, 0);
        assert!(!pace.due(false, 99, 999));
        assert!(pace.due(false, 100, 0));
        assert!(pace.due(false, 0, 1000));
    }

    #[test]
    fn no_mark_is_set_while_one_is_described_unless_that_never_ends() {
        let pace = behind(200, 5000);
        let late = 200 + 100 * DESCRIBING_PATIENCE;
        assert!(!pace.due(true, 300, 6000), "it would be passed over");
        assert!(!pace.due(true, late - 1, 5000));
        assert!(pace.due(true, late, 5000), "else the log is never purged again");
        assert!(pace.due(true, 200, 5000 + 1000 * DESCRIBING_PATIENCE));
        assert!(pace.due(false, 300, 5000), "described: the next one as ever");
    }

    #[test]
    fn a_mark_that_another_leader_set_counts_from_its_own_place() {
        let mut pace = behind(0, 0);
        pace.follow(450, 7000);
        assert!(!pace.due(false, 549, 7999), "a new leader sets none at once");
        assert!(pace.due(false, 550, 7000));
        assert!(pace.due(false, 450, 8000));
    }

    #[test]
    fn a_mark_that_was_passed_over_does_not_put_off_the_next_one() {
        let mut pace = behind(0, 0);
        pace.follow(200, 5000);
        // The one before it, which was being described when it was set.
        pace.follow(150, 5500);
        assert!(!pace.due(false, 299, 5999));
        assert!(pace.due(false, 300, 5000));
    }
}
