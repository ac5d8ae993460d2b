//! What one running node is: its place, its keys of this boot, its store, and whether it may serve.

use crate::admission::UNANNOUNCED;
use crate::anchor::Anchor;
use crate::audit::NodeAudit;
use crate::changes::Changes;
use crate::clocks;
use crate::cosign::Following;
use crate::fences::Fences;
use crate::guests::Guests;
use crate::holdings::Missing;
use crate::intake::Intake;
use crate::machine::{Shown, ViewAdapter};
use crate::peers::Peers;
use crate::scene;
use crate::vouch::{Boots, Seen};
use crate::watchers::Watchers;
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use symbolon_consensus::{Allowance, Consensus, StoreFault};
use symbolon_crypto::Hash;
use symbolon_crypto::provider::{AwsLc, Remembering};
use symbolon_crypto::sign::{Ed25519SigningKey, Ed25519VerifyingKey, Sign, VerifyingKey};
use symbolon_custody::fragments::Holder;
use symbolon_custody::gate::Scene;
use symbolon_custody::heads::Heads;
use symbolon_custody::readings::Readings;
use symbolon_custody::snapshots::Collected;
use symbolon_state::query;
use symbolon_store::{Local, Store};
use symbolon_wire::Code;
use symbolon_wire::roster::Roster;
use symbolon_wire::statements::Signer;
use symbolon_wire::v1;
use tokio::sync::watch;

/// Whether the node serves, and why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has booted and waits: for the others to say where the log stands, then for its own boot keys in the log.
    Booting(String),
    /// It serves.
    Serving,
    /// Its token is gone: keys are dropped, nothing is released, nothing is agreed to.
    Sealed(String),
    /// Its log is contradicted by others.
    Frozen(u64),
    /// Its state is: t others signed another one at this mark.
    Diverged(u64),
    /// Its store failed.
    Failed(String),
    /// Another boot of this node counts instead, with this counter.
    Superseded(u64),
}

impl Standing {
    /// One word for status displays.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Booting(_) => "booting",
            Self::Serving => "serving",
            Self::Sealed(_) => "sealed",
            Self::Frozen(_) | Self::Diverged(_) => "frozen",
            Self::Failed(_) => "failed",
            Self::Superseded(_) => "superseded",
        }
    }

    /// Why, if it does not serve.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Serving => String::new(),
            Self::Booting(why) | Self::Sealed(why) | Self::Failed(why) => why.clone(),
            Self::Frozen(index) => format!("contradicted by other nodes at log index {index}"),
            Self::Superseded(counter) => {
                format!("boot {counter} of this node counts instead: two processes have its keys")
            }
            Self::Diverged(index) => format!(
                "its state at log index {index} is not the one that t other nodes signed: keep its disk and compare the builds \
                 of all nodes (`symbolon status --wide`)"
            ),
        }
    }

    /// The code with which whatever depends on the log is refused, if it is.
    pub(crate) fn refusal(&self) -> Option<Code> {
        match self {
            Self::Booting(_) => Some(Code::Booting),
            other => other.ended(),
        }
    }

    /// The code with which everything is refused, if this process serves no more, or not while it stays so.
    pub(crate) fn ended(&self) -> Option<Code> {
        match self {
            Self::Serving | Self::Booting(_) => None,
            Self::Sealed(_) => Some(Code::Sealed),
            Self::Frozen(_) | Self::Diverged(_) => Some(Code::Frozen),
            Self::Failed(_) => Some(Code::DiskFull),
            Self::Superseded(_) => Some(Code::Superseded),
        }
    }
}

/// This boot's keys and their statement.
pub(crate) struct Boot {
    /// Signs as this boot.
    pub(crate) signer: Signer,
    /// The public half of `signing`.
    pub(crate) own_key: VerifyingKey,
    /// Heads, ticks, confirmations, reply roots.
    pub(crate) signing: Box<dyn Sign + Send + Sync>,
    /// Checkpoints.
    pub(crate) checkpoint: Ed25519SigningKey,
    /// Certified by the token.
    pub(crate) statement: v1::BootKeys,
}

/// Counters for metrics and status.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) releases: AtomicU64,
    pub(crate) denials: AtomicU64,
    pub(crate) commands: AtomicU64,
    pub(crate) malformed: AtomicU64,
    pub(crate) groups: AtomicU64,
    pub(crate) not_fresh: AtomicU64,
    pub(crate) complaints: AtomicU64,
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What all tasks of the node share.
pub(crate) struct Member {
    /// The verified roster.
    pub(crate) roster: Arc<Roster>,
    /// This node's index.
    pub(crate) node: u16,
    /// Signatures and encryption.
    pub(crate) provider: Arc<Remembering<AwsLc>>,
    /// Signature checks that each of the others may cause by what it tells.
    pub(crate) checks: Allowance,
    /// Refusals of strangers that are recorded.
    pub(crate) strangers: Allowance,
    /// This boot.
    pub(crate) boot: Boot,
    /// The store.
    pub(crate) store: Arc<Store>,
    /// Records of the node's own.
    pub(crate) local: Local,
    /// Agreement.
    pub(crate) consensus: Consensus,
    /// What may arrive at once.
    pub(crate) intake: Intake,
    /// Who is connected.
    pub(crate) guests: Guests,
    /// Which boots of the other nodes it listens to.
    pub(crate) fences: Arc<Fences>,
    /// The other nodes.
    pub(crate) peers: Arc<Peers>,
    /// Its audit log.
    pub(crate) audit: Arc<NodeAudit>,
    /// What readers see of the state.
    pub(crate) shown: Shown,
    /// What was changed last.
    pub(crate) changes: Arc<Changes>,
    /// Who waits for changes.
    pub(crate) watchers: Arc<Watchers>,
    /// Its part in the dealings; gone when sealed.
    pub(crate) holder: ArcSwapOption<Holder>,
    /// Whether it serves.
    pub(crate) standing: watch::Sender<Standing>,
    /// Rises with each confirmation applied.
    pub(crate) confirmed: watch::Sender<u64>,
    /// What the nodes say their logs are, shared with the guard.
    pub(crate) heads: Arc<Mutex<Heads>>,
    /// Signatures over snapshots, shared with the guard.
    pub(crate) snapshots: Arc<Mutex<Collected>>,
    /// Whether somebody needs a snapshot that too few vouch for, shared with the guard.
    pub(crate) mark_wanted: Arc<AtomicBool>,
    /// Boot statements seen, also before they are applied: (node, counter).
    pub(crate) boots_seen: Arc<Boots>,
    /// Audit logs: the others', as this node cosigns them, and its own, as they do.
    pub(crate) following: Following,
    /// Newest clock readings of all nodes.
    pub(crate) readings: Mutex<Readings>,
    /// Fragments that it lost.
    pub(crate) missing: Missing,
    /// Counters.
    pub(crate) counters: Counters,
    /// Describes the token.
    pub(crate) token: String,
    /// When the log moved last, ms on the boot-time clock.
    pub(crate) moved_ms: AtomicU64,
    /// What its replies are tied to.
    pub(crate) anchor: Anchor,
    /// The first message on every connection, encoded.
    pub(crate) hello: Bytes,
}

/// Locks a mutex whose holders do not panic half-way.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Member {
    /// Whether requests are answered now.
    pub(crate) fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Changes the standing; sealed, failed, diverged and superseded are final for this process, and frozen ends with
    /// [`Self::thaw`].
    pub(crate) fn set_standing(&self, standing: Standing) {
        self.standing.send_if_modified(|current| {
            let stays = match current {
                Standing::Sealed(_) | Standing::Failed(_) | Standing::Diverged(_) | Standing::Superseded(_) => true,
                Standing::Frozen(_) => {
                    matches!(standing, Standing::Serving | Standing::Booting(_) | Standing::Frozen(_))
                }
                Standing::Serving | Standing::Booting(_) => false,
            };
            if stays || *current == standing {
                return false;
            }
            self.peers.mute(matches!(
                standing,
                Standing::Frozen(_) | Standing::Diverged(_) | Standing::Superseded(_)
            ));
            *current = standing;
            true
        });
    }

    /// Goes on after it was frozen: t heads agree with this node's log where it was contradicted.
    pub(crate) fn thaw(&self) {
        let standing = if self.is_announced() {
            Standing::Serving
        } else {
            Standing::Booting(UNANNOUNCED.to_owned())
        };
        self.standing.send_if_modified(|current| {
            let frozen = matches!(current, Standing::Frozen(_));
            if frozen {
                self.peers.mute(false);
                *current = standing;
            }
            frozen
        });
    }

    /// Whether this boot's keys are in the log. The key, not only the counter: a disk that was put back counts the same
    /// boot twice.
    pub(crate) fn is_announced(&self) -> bool {
        let shown = self.shown.load();
        let boot = shown.boots.get(&self.node);
        boot.is_some_and(|boot| boot.signing_key == self.boot.own_key)
    }

    /// Verifies and keeps a boot statement; `None` if it is not one.
    pub(crate) fn keep_boot(&self, statement: &v1::BootKeys) -> Option<Seen> {
        self.boots_seen.keep(&self.roster, self.provider.as_ref(), statement)
    }

    /// Keeps the statement of a node's newest logged boot, which it need not have shown here: heads are passed on with it.
    pub(crate) fn keep_logged_boot(&self, node: u16) {
        if let Some(statement) = self.logged_boot(node) {
            self.keep_boot(&statement);
        }
    }

    /// The statement of a node's newest logged boot.
    pub(crate) fn logged_boot(&self, node: u16) -> Option<v1::BootKeys> {
        let reader = self.store.reader();
        query::newest_boot(&ViewAdapter::new(&reader), node).unwrap_or_else(|fault| {
            tracing::error!(%fault, node, "the boots of a node cannot be read");
            None
        })
    }

    /// The key of a node's boot: seen on a connection or in gossip, or applied.
    pub(crate) fn signing_key(&self, node: u16, counter: u64) -> Option<VerifyingKey> {
        let logged = self.logged_key(node, counter);
        logged.or_else(|| self.boots_seen.signing_key(node, counter))
    }

    /// The key of a node's newest logged boot, if that is the one.
    pub(crate) fn logged_key(&self, node: u16, counter: u64) -> Option<VerifyingKey> {
        let applied = self.shown.load();
        let boot = applied.boots.get(&node).filter(|boot| boot.counter == counter);
        boot.map(|boot| boot.signing_key.clone())
    }

    /// The checkpoint key of a node's boot, likewise.
    pub(crate) fn checkpoint_key(&self, node: u16, counter: u64) -> Option<Ed25519VerifyingKey> {
        let applied = self.shown.load();
        let applied = applied.boots.get(&node).filter(|boot| boot.counter == counter);
        applied
            .map(|boot| boot.checkpoint_key.clone())
            .unwrap_or_else(|| self.boots_seen.checkpoint_key(node, counter))
    }

    /// Nodes that were caught with two histories, of the replicated log or of their audit logs.
    pub(crate) fn excluded(&self) -> BTreeSet<u16> {
        let heads: BTreeSet<u16> = lock(&self.heads).excluded().collect();
        heads.into_iter().chain(self.following.forked()).collect()
    }

    /// Whether `node` is one of them.
    pub(crate) fn is_excluded(&self, node: u16) -> bool {
        lock(&self.heads).is_excluded(node) || self.following.is_forked(node)
    }

    /// The place in the log that replies at this state are tied to.
    pub(crate) fn anchor(&self, applied: u64) -> Result<Option<(u64, Hash)>, StoreFault> {
        self.anchor.at(applied, |index| self.consensus.chain_at(index))
    }

    /// Runs `decide` on the newest state.
    pub(crate) fn on_scene<T>(&self, decide: impl FnOnce(&Scene<'_>, u64) -> T) -> Result<T, v1::Error> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|reason| {
            let message = format!("the operating system gives no randomness: {reason}");
            error(Code::Internal, message, "")
        })?;
        let (shown, reader) = scene::newest(&self.shown, &self.store)?;
        let view = ViewAdapter::new(&reader);
        let scene = Scene {
            node: self.node,
            boot_counter: self.boot.signer.boot_counter,
            salt,
            local_time_ms: clocks::wall_ms(),
            log_time_ms: shown.log_time_ms,
            state_index: shown.applied,
            view: &view,
            policies: &shown.policies,
        };
        Ok(decide(&scene, shown.sensitive))
    }
}

/// Who shows a key that no live principal has.
pub(crate) fn unknown_key() -> v1::Error {
    error(
        Code::UnknownKey,
        "the connection's key belongs to no live principal",
        "ask an operator to register it: symbolon agent register",
    )
}

/// An error for the wire.
pub(crate) fn error(code: Code, message: impl Into<String>, next: impl Into<String>) -> v1::Error {
    v1::Error {
        code: code as u32,
        message: message.into(),
        next: next.into(),
        ..v1::Error::default()
    }
}
