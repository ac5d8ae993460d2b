//! The three machines: power on, power off.

use crate::clock::Clock;
use crate::dice::Dice;
use crate::error::{BootError, RunError};
use crate::history::What;
use crate::limits::SYNC;
use crate::member::{Hardware, Member, boot};
use crate::site::Site;
use crate::sync::lock;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use symbolon_state::testing::NodeKeys;
use symbolon_store::MemoryDisk;

/// Prepares a disk before anything is on it: for seeded bugs of disks.
pub type PrepareDisk = fn(&MemoryDisk);

/// A node that did not start because of its disk is started again after this.
const RESTART: Duration = Duration::from_millis(500);

/// The machines, and what runs on them.
pub(crate) struct Cluster {
    pub(crate) site: Arc<Site>,
    pub(crate) machines: BTreeMap<u16, Hardware>,
    running: Mutex<BTreeMap<u16, Arc<Member>>>,
    /// Nodes whose power goes when the next fragment has left them, and for how long.
    armed: Mutex<BTreeMap<u16, Duration>>,
    /// Nodes that are being started.
    starting: Mutex<BTreeSet<u16>>,
    troubles: Mutex<Vec<RunError>>,
}

impl Cluster {
    /// Three machines without power.
    pub(crate) fn new(site: Arc<Site>, keys: Vec<NodeKeys>, prepare: Option<PrepareDisk>) -> Arc<Self> {
        let machines = site.nodes().into_iter().zip(keys).map(|(node, keys)| {
            let disk = MemoryDisk::new();
            disk.set_sync_delay(SYNC);
            if let Some(prepare) = prepare {
                prepare(&disk);
            }
            let mut dice = Dice::new(site.seed, &format!("machine {node}"));
            let hardware = Hardware {
                node,
                disk,
                clock: Clock::new(site.epoch),
                identity: keys.identity,
                seed: keys.seed,
                state_key: dice.bytes(),
                storage_key: dice.bytes(),
                dice: Mutex::new(dice),
            };
            (node, hardware)
        });
        let machines = machines.collect();
        let cluster = Arc::new(Self {
            site,
            machines,
            running: Mutex::default(),
            armed: Mutex::default(),
            starting: Mutex::default(),
            troubles: Mutex::default(),
        });
        let weak = Arc::downgrade(&cluster);
        cluster.site.net.after_release(move |node| {
            let Some(cluster) = weak.upgrade() else { return };
            let armed = lock(&cluster.armed).remove(&node);
            if let Some(down) = armed {
                cluster.cut_power_for(node, down);
            }
        });
        cluster
    }

    /// Who runs on a machine.
    pub(crate) fn member(&self, node: u16) -> Option<Arc<Member>> {
        lock(&self.running).get(&node).cloned()
    }

    /// All that run.
    pub(crate) fn members(&self) -> Vec<Arc<Member>> {
        lock(&self.running).values().cloned().collect()
    }

    /// What went wrong while machines were started.
    pub(crate) fn troubles(&self) -> Vec<RunError> {
        std::mem::take(&mut lock(&self.troubles))
    }

    /// The power of a node goes at once: whatever was not synced is lost.
    pub(crate) fn cut_power(&self, node: u16) {
        let Some(member) = lock(&self.running).remove(&node) else {
            return;
        };
        self.site.net.leave(node);
        member.tasks.stop();
        if let Some(machine) = self.machines.get(&node) {
            machine.disk.crash();
        }
        self.site.recorder.note(What::Stopped { node });
        // Ends by itself, its store being gone; this only waits for it.
        tokio::spawn(async move { member.consensus.shutdown().await });
    }

    /// The same, and the machine starts again after `down`.
    pub(crate) fn cut_power_for(self: &Arc<Self>, node: u16, down: Duration) {
        self.cut_power(node);
        let cluster = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(down).await;
            // As a service manager does.
            while !cluster.start_unless_disk(node).await {
                tokio::time::sleep(RESTART).await;
            }
        });
    }

    /// The power of a node goes when the next fragment has left it.
    pub(crate) fn arm(&self, node: u16, down: Duration) {
        lock(&self.armed).insert(node, down);
    }

    /// It does not, if it has not yet.
    pub(crate) fn disarm(&self) {
        lock(&self.armed).clear();
    }

    /// The same as [`Cluster::start`], but that the disk fails or is full is no trouble; `false` if it is so.
    async fn start_unless_disk(&self, node: u16) -> bool {
        match self.try_start(node).await {
            Ok(()) => true,
            Err(reason) if reason.of_the_disk() => false,
            Err(reason) => {
                lock(&self.troubles).push(RunError::Boot { node, reason });
                true
            }
        }
    }

    /// Starts a node that does not run. What goes wrong is kept as trouble.
    pub(crate) async fn start(&self, node: u16) {
        if let Err(reason) = self.try_start(node).await {
            lock(&self.troubles).push(RunError::Boot { node, reason });
        }
    }

    async fn try_start(&self, node: u16) -> Result<(), BootError> {
        let Some(machine) = self.machines.get(&node) else {
            return Ok(());
        };
        if lock(&self.running).contains_key(&node) || !lock(&self.starting).insert(node) {
            return Ok(());
        }
        let started = boot(machine, &self.site).await;
        lock(&self.starting).remove(&node);
        lock(&self.running).insert(node, started?);
        Ok(())
    }

    /// Starts every node that does not run.
    pub(crate) async fn start_all(&self) {
        for node in self.site.nodes() {
            self.start(node).await;
        }
    }

    /// Whether all nodes run.
    pub(crate) fn complete(&self) -> bool {
        lock(&self.running).len() == self.machines.len()
    }

    /// Waits until `done`, looking again and again; `false` if it does not happen in time.
    pub(crate) async fn eventually(&self, within: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let until = tokio::time::Instant::now() + within;
        while !done(self) {
            if tokio::time::Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        true
    }
}
