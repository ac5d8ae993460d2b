//! One member of the cluster, as the node holds it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use openraft::ReadPolicy;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{ClientWriteError, RaftError};
use tokio::sync::{Semaphore, watch};

use crate::apply::{Opening, StateAdapter};
use crate::chain::{self, ChainValue};
use crate::gate::{Gate, Standpoint};
use crate::limits::{PAYLOAD_BYTES_MAX, TERMS_AHEAD_MAX};
use crate::log::{FaultCell, LogAdapter};
use crate::network::Network;
use crate::progress::{Progress, Sample, Unapplied};
use crate::receive::{Receiver, enter_term};
use crate::settings::is_vital;
use crate::snapshot::{SnapshotGuard, SnapshotMeta, SnapshotRefused};
use crate::storage::{Storage, StoreFault, Taking};
use crate::transport::Transport;
use crate::types::{KIND_APPLICATION, Payload, Raft, TypeConfig};
use crate::{Fatal, Settings, StateMachine};

/// How often a stopping member looks whether its tasks are gone.
const IDLE_POLL: Duration = Duration::from_millis(1);

/// How long it waits for them. They end within one exchange with a peer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// A running member. Cheap to clone; [`Consensus::shutdown`] ends it.
#[derive(Clone)]
pub struct Consensus {
    inner: Arc<Inner>,
}

struct Inner {
    raft: Raft,
    log: LogAdapter,
    state: Weak<dyn Send + Sync>,
    store: Arc<dyn Storage>,
    progress: Arc<Progress>,
    gate: Arc<Gate>,
    fault: Arc<FaultCell>,
    receiver: Receiver,
    marks: watch::Receiver<Option<SnapshotMeta>>,
    settings: Settings,
    proposals: Semaphore,
    proposal_kib: Semaphore,
}

impl fmt::Debug for Consensus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consensus")
            .field("node", &self.inner.settings.node)
            .finish_non_exhaustive()
    }
}

/// Why a member does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store, or the application on top of it.
    #[error(transparent)]
    Application(#[from] Fatal),
    /// Settings that contradict each other.
    #[error("the timing settings contradict each other: {0}")]
    Settings(#[from] openraft::ConfigError),
    /// openraft finds log and state inconsistent.
    #[error("log and state do not fit together: {detail}; restore this node from the cluster")]
    Inconsistent {
        /// Its words.
        detail: String,
    },
}

impl From<StoreFault> for StartError {
    fn from(fault: StoreFault) -> Self {
        Self::Application(Fatal::Store(fault))
    }
}

/// Why a cluster was not initialized.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InitializeError {
    /// It has been before. Harmless where every node tries.
    #[error("the cluster is already initialized")]
    Already,
    /// This node is not among the members.
    #[error("this node is not one of the members")]
    NotAMember,
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

/// Why a booted member was not admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdmitError {
    /// The member has stopped.
    #[error("the node has stopped")]
    Stopped,
    /// It could not raise its term to the one that others have reached.
    #[error("term {term} could not be taken over from the other nodes; start the node again")]
    Term {
        /// The others' term.
        term: u64,
    },
}

/// A committed and applied proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// Its place in the log.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// The chain up to and with it.
    pub chain: ChainValue,
    /// What apply answered.
    pub reply: Bytes,
}

/// Why a proposal has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Not proposed: another node leads.
    #[error("this node does not lead")]
    NotLeader {
        /// Who does, if known.
        leader: Option<u64>,
    },
    /// Not proposed: too much is under way. Try again after a pause.
    #[error("too many proposals are under way")]
    Overloaded,
    /// Not proposed: the payload exceeds its limit, or its kind is not the application's.
    #[error("a payload of kind {kind} with {bytes} bytes cannot be proposed")]
    Unacceptable {
        /// Its kind.
        kind: u16,
        /// Its size.
        bytes: usize,
    },
    /// Not proposed: the store has no room.
    #[error(transparent)]
    NoRoom(StoreFault),
    /// Proposed, and may still commit or never. Only an idempotent repetition is safe.
    #[error("the outcome is unknown: the proposal may still be committed")]
    Unknown,
    /// The node has stopped; as for the outcome, unknown.
    #[error("the node has stopped{}", .fault.as_ref().map(|f| format!(": {f}")).unwrap_or_default())]
    Fatal {
        /// What stopped it, if the store did.
        fault: Option<StoreFault>,
    },
}

/// What a member knows of itself and its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its term.
    pub term: u64,
    /// Who leads, if known.
    pub leader: Option<u64>,
    /// Last index in its log.
    pub last: u64,
    /// Last index applied.
    pub applied: u64,
    /// Last index its snapshot holds.
    pub snapshot: Option<u64>,
    /// Last index purged from its log.
    pub purged: Option<u64>,
    /// Voters in force.
    pub voters: BTreeSet<u64>,
    /// Learners in force.
    pub learners: BTreeSet<u64>,
    /// On a leader: how far each member's log is known to reach.
    pub replicated: Vec<(u64, Option<u64>)>,
    /// Whether it runs. A stopped member answers nobody.
    pub running: bool,
}

impl Consensus {
    /// Starts a member over its store. It takes part as soon as the cluster is, or has been, initialized.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        settings: Settings,
        store: Arc<dyn Storage>,
        machine: Box<dyn StateMachine>,
        transport: Arc<dyn Transport>,
        guard: Arc<dyn SnapshotGuard>,
    ) -> Result<Self, StartError> {
        let progress = Arc::new(Progress::default());
        let fault = Arc::new(FaultCell::default());
        let log = LogAdapter::open(Arc::clone(&store), Arc::clone(&progress), Arc::clone(&fault))?;
        let (state, marks) = StateAdapter::open(Opening {
            store: Arc::clone(&store),
            machine,
            progress: Arc::clone(&progress),
            fault: Arc::clone(&fault),
            chain_start: chain::start(&settings.cluster, &settings.genesis_hash),
            incarnation: settings.incarnation,
        })?;
        let usage = state.usage();
        let gate = Arc::new(if settings.awaits_admission {
            Gate::default()
        } else {
            Gate::open_from_the_start()
        });
        let network = Network {
            node: settings.node,
            transport,
            guard: Arc::clone(&guard),
            gate: Arc::clone(&gate),
            call_timeout: settings.call_timeout,
            believed: crate::network::believed(),
        };
        let config = Arc::new(settings.raft()?);
        let started = Raft::new(settings.node, config, network, log.clone(), state).await;
        let raft = started.map_err(|error| match fault.get() {
            Some(fault) => fault.into(),
            None => StartError::Inconsistent {
                detail: error.to_string(),
            },
        })?;
        let receiver = Receiver {
            node: settings.node,
            raft: raft.clone(),
            store: Arc::clone(&store),
            progress: Arc::clone(&progress),
            guard,
            gate: Arc::clone(&gate),
            incarnation: settings.incarnation,
            voters: settings.voters.clone(),
            vital: settings.vital,
            incoming: tokio::sync::Mutex::new(None),
            heard: tokio::sync::Mutex::default(),
            last_refusal: std::sync::Mutex::new(None),
            terms: crate::receive::terms(),
            reserve: crate::receive::reserve(),
            paid: std::sync::Mutex::default(),
        };
        let proposals = Semaphore::new(settings.proposals_max);
        let proposal_kib = Semaphore::new(settings.proposal_bytes_max.div_ceil(1024));
        let inner = Inner {
            raft,
            log,
            state: usage,
            store,
            progress,
            gate,
            fault,
            receiver,
            marks,
            settings,
            proposals,
            proposal_kib,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Makes `members` the first voters. Every member of a new cluster may call it, with the same members.
    ///
    /// # Errors
    /// [`InitializeError`].
    pub async fn initialize(&self, members: BTreeSet<u64>) -> Result<(), InitializeError> {
        use openraft::errors::InitializeError as Refused;
        match self.inner.raft.initialize(members).await {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(Refused::NotAllowed(_))) => Err(InitializeError::Already),
            Err(RaftError::APIError(Refused::NotInMembers(_))) => Err(InitializeError::NotAMember),
            Err(RaftError::Fatal(_)) => Err(InitializeError::Stopped),
        }
    }

    /// Where this member stands, as it tells a booted one: its own log and term. What it was told itself is not passed on: an
    /// end of the log that nobody has would bar one member after the other.
    ///
    /// # Errors
    /// [`AdmitError::Stopped`].
    pub async fn standpoint(&self) -> Result<Standpoint, AdmitError> {
        let term = self.inner.raft.with_raft_state(|state| state.vote_ref().leader_id.term);
        let term = term.await.map_err(|_| AdmitError::Stopped)?;
        Ok(Standpoint::of(term, self.inner.log.last()))
    }

    /// The highest term that this member believes others to be in.
    ///
    /// # Errors
    /// [`AdmitError::Stopped`].
    pub async fn credible_term(&self) -> Result<u64, AdmitError> {
        let own = self.standpoint().await?.term;
        Ok(own.saturating_add(TERMS_AHEAD_MAX))
    }

    /// Lets a booted member take part, after others have told where they stand; `heard` is the furthest of that. From now
    /// on it grants no vote in terms up to that one, durably, and none, until it boots again, to a candidate whose log is
    /// behind.
    ///
    /// # Errors
    /// [`AdmitError`].
    pub async fn admit(&self, heard: Standpoint) -> Result<(), AdmitError> {
        let inner = &self.inner;
        if self.standpoint().await?.term < heard.term {
            let entered = enter_term(&inner.raft, heard.term).await;
            entered.map_err(|_| AdmitError::Stopped)?;
        }
        let own = self.standpoint().await?;
        if own.term < heard.term {
            return Err(AdmitError::Term { term: heard.term });
        }
        inner.gate.open(heard.max(own));
        inner.raft.runtime_config().elect(true);
        Ok(())
    }

    /// Whether this member takes part.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        self.inner.gate.bars().is_some()
    }

    /// Takes no part any more, in this process: a newer boot of this member does.
    pub fn retire(&self) {
        self.inner.gate.close();
        self.inner.raft.runtime_config().elect(false);
    }

    /// Proposes an entry and waits until it is committed and applied here.
    ///
    /// # Errors
    /// [`ProposeError`], which tells whether the entry can still commit.
    pub async fn propose(&self, payload: Payload) -> Result<Proposed, ProposeError> {
        let inner = &self.inner;
        let (kind, bytes) = (payload.kind, payload.bytes.len());
        if kind < KIND_APPLICATION || bytes > PAYLOAD_BYTES_MAX {
            return Err(ProposeError::Unacceptable { kind, bytes });
        }
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let _one = inner.proposals.try_acquire().map_err(|_| ProposeError::Overloaded)?;
        let _size = inner
            .proposal_kib
            .try_acquire_many(kib)
            .map_err(|_| ProposeError::Overloaded)?;
        if !is_vital(inner.settings.vital, &payload) {
            let room = inner.store.writable(Taking::New);
            room.map_err(|fault| match inner.fault.get() {
                Some(stopped) => ProposeError::Fatal { fault: Some(stopped) },
                None => ProposeError::NoRoom(fault),
            })?;
        }
        let write = inner.raft.client_write(payload);
        let Ok(written) = tokio::time::timeout(inner.settings.propose_timeout, write).await else {
            return Err(ProposeError::Unknown);
        };
        match written {
            Ok(response) => Ok(Proposed {
                index: response.log_id.index,
                term: crate::types::term_of(&response.log_id),
                chain: response.data.chain,
                reply: response.data.reply,
            }),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => Err(ProposeError::NotLeader {
                leader: forward.leader_id,
            }),
            // The entry was in our log and gave way to another leader's, which may or may not hold it.
            Err(RaftError::APIError(_)) => Err(ProposeError::Unknown),
            Err(RaftError::Fatal(_)) => Err(ProposeError::Fatal {
                fault: inner.fault.get(),
            }),
        }
    }

    /// Answers a frame of member `from`, as its channel authenticates it.
    pub async fn receive(&self, from: u64, frame: Bytes) -> Bytes {
        let own = self.inner.log.vote();
        self.inner.receiver.receive(from, frame, own).await
    }

    /// This member's index.
    #[must_use]
    pub fn node(&self) -> u64 {
        self.inner.receiver.node()
    }

    /// Who leads, as far as this member knows.
    #[must_use]
    pub fn leader(&self) -> Option<u64> {
        self.inner.raft.metrics().borrow_watched().current_leader
    }

    /// Whether this member leads, as a quorum says now, and has applied all that was committed before.
    pub async fn leads(&self) -> bool {
        let asked = self.inner.raft.ensure_linearizable(ReadPolicy::ReadIndex);
        let told = tokio::time::timeout(self.inner.settings.call_timeout, asked).await;
        matches!(told, Ok(Ok(_)))
    }

    /// Waits until `leader` is no longer the one that this member follows.
    pub async fn leader_left(&self, leader: u64) {
        // These change with the leader and the term only, not with each entry.
        let mut metrics = self.inner.raft.server_metrics();
        while metrics.borrow_watched().current_leader == Some(leader) {
            if metrics.changed().await.is_err() {
                // The agreement has ended; whoever waits here waits for something else, too.
                return std::future::pending().await;
            }
        }
    }

    /// Where this member stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let replication = metrics.replication.iter().flatten();
        Status {
            term: metrics.current_term,
            leader: metrics.current_leader,
            last: metrics.last_log_index.unwrap_or(0),
            applied: self.inner.progress.applied(),
            snapshot: metrics.snapshot.as_ref().map(|id| id.index),
            purged: metrics.purged.as_ref().map(|id| id.index),
            voters: membership.voter_ids().collect(),
            learners: membership.learner_ids().collect(),
            replicated: replication
                .map(|(node, id)| (*node, id.as_ref().map(|id| id.index)))
                .collect(),
            running: metrics.running_state.is_ok(),
        }
    }

    /// Waits until [`Consensus::status`] may have changed. `false` once the member has stopped.
    pub async fn status_changed(&self, watch: &mut StatusWatch) -> bool {
        watch.0.changed().await.is_ok()
    }

    /// Begins to watch the status.
    #[must_use]
    pub fn watch_status(&self) -> StatusWatch {
        StatusWatch(self.inner.raft.metrics())
    }

    /// Waits until agreement has ended here: shut down, failed ([`Consensus::fault`]), or by a panic.
    pub async fn ended(&self) {
        let mut watch = self.watch_status();
        while self.status_changed(&mut watch).await {}
    }

    /// How far this member has come.
    #[must_use]
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.inner.progress)
    }

    /// Whether `check` holds for every entry of `sample` that is not applied yet, so that waiting for them may be
    /// skipped (`custody.md`, "Freshness", step 3). `false` as well if one of them is no longer in memory or a snapshot
    /// is being installed.
    pub fn all_unapplied(&self, sample: Sample, check: impl FnMut(&Unapplied) -> bool) -> bool {
        !self.inner.progress.installing() && self.inner.log.all_unapplied(sample, check)
    }

    /// The chain value at `index`, if this member has applied it and still keeps it.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn chain_at(&self, index: u64) -> Result<Option<ChainValue>, StoreFault> {
        self.inner.store.chain_at(index)
    }

    /// The newest mark whose state root is known: what a node signs, so that others can take over the snapshot.
    #[must_use]
    pub fn marks(&self) -> watch::Receiver<Option<SnapshotMeta>> {
        self.inner.marks.clone()
    }

    /// Makes the newest mark the snapshot of this member and purges the log behind it. To be called once the mark is
    /// vouched for; a member that needs a snapshot before that has to wait.
    ///
    /// # Errors
    /// [`StoreFault`] if the member has stopped.
    pub async fn adopt_mark(&self) -> Result<(), StoreFault> {
        let stopped = |_| self.fault().unwrap_or(StoreFault::Stopped);
        let trigger = self.inner.raft.trigger();
        trigger.snapshot().await.map_err(stopped)?;
        match self.inner.log.followed_by(self.inner.settings.log_bytes_kept) {
            // No further than the snapshot that is there by then; the next mark gets the rest.
            Some(upto) => trigger.purge_log(upto).await.map_err(stopped),
            None => Ok(()),
        }
    }

    /// Bytes added to the log since this process started.
    #[must_use]
    pub fn log_grown(&self) -> u64 {
        self.inner.log.grown()
    }

    /// Asks for an election now, without waiting for a timeout.
    ///
    /// # Errors
    /// [`StoreFault`] if the member has stopped.
    pub async fn stand_for_election(&self) -> Result<(), StoreFault> {
        self.inner
            .raft
            .trigger()
            .elect(true)
            .await
            .map_err(|_| self.fault().unwrap_or(StoreFault::Stopped))
    }

    /// What stopped this member, if the store did.
    #[must_use]
    pub fn fault(&self) -> Option<StoreFault> {
        self.inner.fault.get()
    }

    /// Why the last offered snapshot was refused.
    #[must_use]
    pub fn last_snapshot_refusal(&self) -> Option<SnapshotRefused> {
        crate::sync::lock(&self.inner.receiver.last_refusal).clone()
    }

    /// Stops the member and waits until it no longer touches its store. The store closes with the last clone of this
    /// handle and of the store.
    pub async fn shutdown(&self) {
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::error!(%error, "agreement ended by a panic");
        }
        // openraft does not wait for its replication tasks, which hold the log and so the store open.
        let idle = async {
            while self.inner.log.in_use() || self.inner.state.strong_count() > 0 {
                tokio::time::sleep(IDLE_POLL).await;
            }
        };
        if tokio::time::timeout(IDLE_TIMEOUT, idle).await.is_err() {
            tracing::warn!("a task of agreement still holds the store");
        }
    }
}

/// See [`Consensus::watch_status`].
pub struct StatusWatch(openraft::type_config::alias::WatchReceiverOf<TypeConfig, openraft::RaftMetrics<TypeConfig>>);

impl fmt::Debug for StatusWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StatusWatch")
    }
}
