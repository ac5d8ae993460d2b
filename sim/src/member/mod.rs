//! One running node: the parts of `symbolon-node` around the same machine, gate, holder, heads and store, in the same
//! order of steps, without sockets, tokens and system clocks.

mod admission;
mod boot;
mod fragments;
mod gossip;
mod release;
mod serve;
mod submit;
mod watched;

pub(crate) use boot::{boot, note_audit, open};

use crate::clock::Clock;
use crate::dice::Dice;
use crate::history::{Recorder, What};
use crate::site::Site;
use crate::sync::lock;
use crate::tasks::Tasks;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use symbolon_consensus::Consensus;
use symbolon_crypto::sign::{SigningKey, VerifyingKey};
use symbolon_custody::fragments::Holder;
use symbolon_custody::gate::Scene;
use symbolon_custody::heads::Heads;
use symbolon_custody::readings::Readings;
use symbolon_custody::snapshots::Collected;
use symbolon_node::fences::Fences;
use symbolon_node::machine::{Shown, ViewAdapter};
use symbolon_node::vouch::Boots;
use symbolon_store::{AuditLog, Local, MemoryDisk, Store};
use symbolon_wire::Code;
use symbolon_wire::statements::Signer;
use symbolon_wire::v1;
use tokio::sync::mpsc;

/// What outlives a boot: the disk, the clock, and what lies in the token.
pub(crate) struct Hardware {
    pub(crate) node: u16,
    pub(crate) disk: MemoryDisk,
    pub(crate) clock: Clock,
    pub(crate) identity: SigningKey,
    /// X-Wing seed of the epoch.
    pub(crate) seed: [u8; 32],
    pub(crate) state_key: [u8; 32],
    /// E_e.
    pub(crate) storage_key: [u8; 32],
    /// The machine's random generator: no boot repeats what an earlier one drew.
    pub(crate) dice: Mutex<Dice>,
}

/// Keys of a boot that is shown to one node.
struct Face {
    signer: Signer,
    keys: boot::Keys,
}

/// What all tasks of one boot share.
pub(crate) struct Member {
    pub(crate) site: Arc<Site>,
    pub(crate) node: u16,
    pub(crate) signer: Signer,
    signing: SigningKey,
    own_key: VerifyingKey,
    statement: v1::BootKeys,
    /// Boots that a malicious node shows to one other node each.
    faces: BTreeMap<u16, Face>,
    pub(crate) store: Store,
    local: Local,
    pub(crate) consensus: Consensus,
    audit: AuditLog,
    pub(crate) shown: Shown,
    holder: Holder,
    /// Also mutes its part in the agreement.
    frozen: Arc<AtomicBool>,
    /// Whether this boot's keys are in the log.
    announced: AtomicBool,
    heads: Arc<Mutex<Heads>>,
    snapshots: Arc<Mutex<Collected>>,
    boots_seen: Arc<Boots>,
    fences: Fences,
    readings: Mutex<Readings>,
    clock: Clock,
    dice: Mutex<Dice>,
    pub(crate) tasks: Arc<Tasks>,
    jobs: mpsc::Sender<release::Job>,
    /// Readers catch up one after the other: tokio wakes those who wait for one signal in an order of its own, which no
    /// seed decides. A reader's target is never below that of the one before it, so nobody waits longer for it.
    turn: tokio::sync::Mutex<()>,
}

impl Member {
    fn recorder(&self) -> &Recorder {
        &self.site.recorder
    }

    /// The code with which requests are refused, if they are.
    fn refusal(&self) -> Option<Code> {
        if self.frozen.load(Ordering::Relaxed) {
            return Some(Code::Frozen);
        }
        self.consensus.fault().map(|_| Code::DiskFull)
    }

    /// Whether it serves.
    pub(crate) fn serving(&self) -> bool {
        self.refusal().is_none() && self.announced.load(Ordering::Relaxed)
    }

    /// Freezes it, or lets it go on; whether that changed anything.
    fn set_frozen(&self, frozen: bool) -> bool {
        self.frozen.swap(frozen, Ordering::Relaxed) != frozen
    }

    fn blame(&self, what: String) {
        self.recorder().note(What::Blamed { by: self.node, what });
    }

    fn leads(&self) -> bool {
        self.consensus.leader() == Some(u64::from(self.node))
    }

    /// The key of a node's boot: seen in gossip, or applied.
    fn signing_key(&self, node: u16, counter: u64) -> Option<VerifyingKey> {
        let logged = self.logged_key(node, counter);
        logged.or_else(|| self.boots_seen.signing_key(node, counter))
    }

    /// The key of a node's newest logged boot, if that is the one.
    fn logged_key(&self, node: u16, counter: u64) -> Option<VerifyingKey> {
        let applied = self.shown.load();
        let boot = applied.boots.get(&node).filter(|boot| boot.counter == counter);
        boot.map(|boot| boot.signing_key.clone())
    }

    /// Runs `decide` on the newest state.
    fn on_scene<T>(&self, decide: impl FnOnce(&Scene<'_>, u64) -> T) -> T {
        let shown = self.shown.load();
        let reader = self.store.reader();
        let view = ViewAdapter::new(&reader);
        let scene = Scene {
            node: self.node,
            boot_counter: self.signer.boot_counter,
            salt: lock(&self.dice).bytes(),
            local_time_ms: self.clock.wall_ms(),
            log_time_ms: shown.log_time_ms,
            state_index: shown.applied,
            view: &view,
            policies: &shown.policies,
        };
        decide(&scene, shown.sensitive)
    }
}

/// An error for the wire.
fn error(code: Code, message: impl Into<String>) -> v1::Error {
    v1::Error {
        code: code as u32,
        message: message.into(),
        ..v1::Error::default()
    }
}
