//! A snapshot that a leader sends: offered, taken piece by piece, and put in the place of this member's state.

use std::time::Duration;

use openraft::raft::AppendEntriesRequest;
use tokio::sync::MutexGuard;

use crate::frame::{Refusal, Reply};
use crate::receive::{Heard, Receiver, check_leader};
use crate::records::Record;
use crate::snapshot::{SnapshotData, SnapshotMeta, SnapshotRefused, Source, StateRoot};
use crate::storage::{Staging, StoreFault, Taking};
use crate::sync::lock;
use crate::types::{LogId, RaftSnapshot, Vote, log_id, term_of};

/// How long a received snapshot waits until the others' logs are known to agree with the state that it replaces: half as long as its
/// sender waits for an answer.
const SETTLES_WITHIN: Duration = Duration::from_secs(5);
const SETTLING_POLL: Duration = Duration::from_millis(25);

/// A snapshot on its way.
pub(crate) struct Incoming {
    from: u64,
    transfer: u64,
    vote: Vote,
    meta: SnapshotMeta,
    next: u32,
    root: StateRoot,
    staging: Box<dyn Staging>,
}

impl Receiver {
    pub(crate) async fn offer(
        &self,
        from: u64,
        vote: Vote,
        transfer: u64,
        meta: SnapshotMeta,
        evidence: &[u8],
    ) -> Result<Reply, Refusal> {
        check_leader(from, &vote)?;
        // A snapshot holds nothing newer than the term of the leader that sends it.
        if meta.term > vote.leader_id.term {
            return Err(Refusal::Inconsistent);
        }
        let ours = self.vote().await?;
        if ours > vote {
            return Ok(Reply::Installed { vote: ours });
        }
        // A leader's heartbeats come first. Another one would only end the transfer of the one that is followed.
        if ours != vote {
            return Err(Refusal::Inconsistent);
        }
        if meta.incarnation == self.incarnation && meta.index <= self.progress.applied() {
            // Its leader has not heard that it was taken over, or that entries were, and gives nothing else before it does.
            let own = self.store.chain_at(meta.index).map_err(|_| Refusal::Stopped)?;
            return match own {
                Some(own) if own != meta.chain => Err(Refusal::Contradicts),
                _ => Ok(Reply::Installed { vote: ours }),
            };
        }
        if let Err(refused) = self.acceptable(&meta, evidence) {
            tracing::warn!(from, %refused, "an offered snapshot was refused");
            *lock(&self.last_refusal) = Some(refused);
            return Err(Refusal::Snapshot);
        }
        let room = self.store.writable(Taking::Replicated);
        room.map_err(|_| Refusal::NoRoom)?;
        // Whether it may be replaced takes the others' word: they are asked while the records come.
        let _asked = self.is_replaceable(self.progress.applied());
        let mut incoming = self.incoming.lock().await;
        // The old staging goes first: the store has room for one.
        *incoming = None;
        let staging = self.store.stage().map_err(|fault| match fault {
            StoreFault::Staging => Refusal::Snapshot,
            _ => Refusal::NoRoom,
        })?;
        *incoming = Some(Incoming {
            from,
            transfer,
            vote,
            meta,
            next: 0,
            root: StateRoot::default(),
            staging,
        });
        Ok(Reply::Taken)
    }

    fn acceptable(&self, meta: &SnapshotMeta, evidence: &[u8]) -> Result<(), SnapshotRefused> {
        if meta.incarnation != self.incarnation {
            return Err(SnapshotRefused::OtherIncarnation {
                theirs: meta.incarnation,
                ours: self.incarnation,
            });
        }
        self.guard.accept(meta, evidence)
    }

    pub(crate) async fn chunk(
        &self,
        from: u64,
        transfer: u64,
        number: u32,
        last: bool,
        records: Vec<Record>,
    ) -> Result<Reply, Refusal> {
        let mut slot = self.incoming.lock().await;
        let expected = slot
            .as_ref()
            .is_some_and(|i| i.from == from && i.transfer == transfer && i.next == number);
        let Some(mut incoming) = slot.take_if(|_| expected) else {
            return Err(Refusal::NoTransfer);
        };
        if !incoming.root.add(&records) || incoming.root.bytes > incoming.meta.bytes {
            return Err(self.refuse(SnapshotRefused::StateRoot {
                index: incoming.meta.index,
            }));
        }
        incoming.staging.put(&records).map_err(|_| Refusal::NoRoom)?;
        if !last {
            incoming.next = incoming.next.saturating_add(1);
            *slot = Some(incoming);
            return Ok(Reply::Taken);
        }
        drop(slot);
        let Incoming {
            vote,
            meta,
            root,
            staging,
            ..
        } = incoming;
        if root.finish() != meta.state_root {
            return Err(self.refuse(SnapshotRefused::StateRoot { index: meta.index }));
        }
        let snapshot = RaftSnapshot {
            meta: meta.raft(),
            snapshot: SnapshotData {
                meta: meta.clone(),
                source: Source::Staged(staging),
            },
        };
        let mut heard = self.settled(&vote, &meta).await?;
        heard.begin(None);
        self.cut_before(vote, log_id(meta.term, meta.index)).await?;
        let response = self
            .raft
            .install_full_snapshot(vote, snapshot)
            .await
            .map_err(|_| Refusal::Stopped)?;
        Ok(Reply::Installed { vote: response.vote })
    }

    /// Waits until all that is committed here is applied, and the others' logs agree with it: by what a snapshot has replaced nobody
    /// can tell any more that this member was given another history. Nothing more is heard while what is returned lives.
    async fn settled(&self, vote: &Vote, meta: &SnapshotMeta) -> Result<MutexGuard<'_, Heard>, Refusal> {
        let until = tokio::time::Instant::now() + SETTLES_WITHIN;
        let id = log_id(meta.term, meta.index);
        loop {
            let heard = self.heard.lock().await;
            // Of what was heard before, all is in openraft's hands by now.
            let committed = self.raft.with_raft_state(|state| state.local_committed().copied());
            let committed = committed.await.map_err(|_| Refusal::Stopped)?;
            let committed_index = committed.map_or(0, |id| id.index);
            if committed.is_some_and(|committed| committed.index >= id.index || committed >= id) {
                // Entries overtook it. The state is ahead already, or will be, and openraft would stop on an older snapshot.
                return Err(self.refuse(SnapshotRefused::Stale {
                    index: id.index,
                    applied: committed_index,
                }));
            }
            if let Some(given) = heard.given(vote).filter(|given| *given > id) {
                // openraft takes it that a leader never gives anything before what it gave: what follows the snapshot would count as on
                // disk before it is.
                return Err(self.refuse(SnapshotRefused::Stale {
                    index: id.index,
                    applied: given.index,
                }));
            }
            let applied = self.progress.applied();
            if applied >= committed_index && self.is_replaceable(applied) {
                return Ok(heard);
            }
            drop(heard);
            if tokio::time::Instant::now() >= until {
                return Err(self.refuse(SnapshotRefused::Unsettled {
                    index: id.index,
                    applied,
                }));
            }
            tokio::time::sleep(SETTLING_POLL).await;
        }
    }

    fn is_replaceable(&self, applied: u64) -> bool {
        #[cfg(feature = "sabotage")]
        if symbolon_sabotage::Bug::ReplacedUncompared.on() {
            return true;
        }
        applied == 0 || self.guard.replaceable(applied)
    }

    /// Cuts entries that are not committed and, though they end before the snapshot `id`, are of a later term: openraft and the log
    /// order by term first, and would keep them as the log's end.
    async fn cut_before(&self, vote: Vote, id: LogId) -> Result<(), Refusal> {
        let first = self.raft.with_raft_state(move |state| {
            let last = state
                .log_ids
                .last()
                .filter(|last| last.index < id.index && **last > id)?;
            let from = state
                .local_committed()
                .map_or(0, |committed| committed.index.saturating_add(1));
            Some(from.min(last.index)).and_then(|from| state.log_ids.get(from))
        });
        let Some(first) = first.await.map_err(|_| Refusal::Stopped)? else {
            return Ok(());
        };
        // openraft cuts where a leader names another entry than the one that there is.
        let other = log_id(term_of(&first).wrapping_sub(1), first.index);
        let cut = self.raft.append_entries(AppendEntriesRequest {
            vote,
            prev_log_id: Some(other),
            entries: Vec::new(),
            leader_commit: None,
        });
        cut.await.map_err(|_| Refusal::Stopped)?;
        Ok(())
    }

    fn refuse(&self, refused: SnapshotRefused) -> Refusal {
        tracing::warn!(%refused, "a received snapshot was refused");
        *lock(&self.last_refusal) = Some(refused);
        Refusal::Snapshot
    }
}
