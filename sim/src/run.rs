//! One run: a cluster, its clients, what goes wrong, and the verdict.
//!
//! ```text
//! start ──► workload under faults ──► heal, lead, health ──► power cut everywhere ──► what is left ──► invariants
//! ```

use crate::agent::{Agent, Level, Operator};
use crate::check::{self, Violation};
use crate::cluster::{Cluster, PrepareDisk};
use crate::dice::Dice;
use crate::error::{BootError, RunError};
use crate::faults;
use crate::grants::{FOLDERS, Key};
use crate::history::{Answer, Call, Event, What, trace};
use crate::limits::{HEALTH_WITHIN, LEADER_WITHIN, SYNC};
use crate::member::{Hardware, Member, note_audit, open};
use crate::site::Site;
use crate::world::{World, simulate};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use symbolon_crypto::Hash;
use symbolon_node::machine::ViewAdapter;
use symbolon_sabotage::Bug;
use symbolon_state::query;
use symbolon_wire::path::Path;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The last fault ends with the time for faults; what it leaves behind is over by then.
const LAST_ENDS: Duration = Duration::from_millis(300);

/// How to run a seed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long faults and workload last, virtual seconds.
    pub virtual_seconds: u64,
    /// Agents that write and read.
    pub agents: u16,
    /// A seeded bug, of all nodes.
    pub bug: Option<Bug>,
    /// A seeded bug of disks.
    pub prepare_disk: Option<PrepareDisk>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            virtual_seconds: 20,
            agents: 6,
            bug: None,
            prepare_disk: None,
        }
    }
}

/// What came of a seed.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Everything that happened.
    pub events: Vec<Event>,
    /// A digest of it.
    pub trace: Hash,
    /// Invariants that do not hold.
    pub violations: Vec<Violation>,
    /// Virtual time that passed, ms.
    pub virtual_ms: u64,
}

/// How much happened in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Faults.
    pub faults: usize,
    /// Power cuts among what followed from them.
    pub power_cuts: usize,
    /// Reads that brought a value.
    pub reads: usize,
    /// Reads that found nothing, before the first write.
    pub empty: usize,
    /// Writes that were acknowledged.
    pub writes: usize,
    /// Changes of rights that were acknowledged.
    pub changes: usize,
    /// Reads that were refused.
    pub refusals: usize,
    /// Operations that brought nothing, or whose outcome stayed unknown.
    pub failures: usize,
    /// Fragments that left nodes.
    pub releases: usize,
    /// Marks whose state root was signed.
    pub marks: usize,
    /// Snapshots that nodes took over.
    pub snapshots: usize,
    /// From healing to the first acknowledged write, ms; over several runs the longest.
    pub led_after_ms: u64,
    /// From healing until all nodes served with one log, ms; over several runs the longest.
    pub healthy_after_ms: u64,
}

impl Tally {
    /// Adds another run's.
    pub fn add(&mut self, other: Self) {
        self.faults += other.faults;
        self.power_cuts += other.power_cuts;
        self.reads += other.reads;
        self.empty += other.empty;
        self.writes += other.writes;
        self.changes += other.changes;
        self.refusals += other.refusals;
        self.failures += other.failures;
        self.releases += other.releases;
        self.marks += other.marks;
        self.snapshots += other.snapshots;
        self.led_after_ms = self.led_after_ms.max(other.led_after_ms);
        self.healthy_after_ms = self.healthy_after_ms.max(other.healthy_after_ms);
    }
}

impl Report {
    /// Counts.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        let mut calls: BTreeMap<u64, &Call> = BTreeMap::new();
        let mut healed_ms = 0;
        for event in &self.events {
            match &event.what {
                What::Fault(_) => tally.faults += 1,
                What::Stopped { .. } => tally.power_cuts += 1,
                What::Released(_) => tally.releases += 1,
                What::Healed => healed_ms = event.at_ms,
                What::Led => tally.led_after_ms = event.at_ms.saturating_sub(healed_ms),
                What::Healthy => tally.healthy_after_ms = event.at_ms.saturating_sub(healed_ms),
                What::Marked { .. } => tally.marks += 1,
                What::TookOver { .. } => tally.snapshots += 1,
                What::Called { op, call, .. } => {
                    calls.insert(*op, call);
                }
                What::Answered { op, answer } => match (answer, calls.get(op)) {
                    (Answer::Value { .. }, _) => tally.reads += 1,
                    (Answer::Nothing, _) => tally.empty += 1,
                    (Answer::Done { .. }, Some(Call::Change { .. })) => tally.changes += 1,
                    (Answer::Done { .. }, _) => tally.writes += 1,
                    (Answer::Refused(_), _) => tally.refusals += 1,
                    (Answer::Failed(_) | Answer::Unknown | Answer::Wrong(_), _) => tally.failures += 1,
                },
                _ => {}
            }
        }
        tally
    }

    /// The command that plays this seed again.
    #[must_use]
    pub fn command(&self, settings: &Settings) -> String {
        let (seed, after) = (self.seed, self.seed + 1);
        format!(
            "cargo run -p symbolon-sim -- --seeds {seed}..{after} --virtual-seconds {} --verbose",
            settings.virtual_seconds
        )
    }
}

/// Plays one seed.
///
/// # Errors
/// [`RunError`] if the cluster cannot even be set up, before anything goes wrong.
pub fn run(seed: u64, settings: &Settings) -> Result<Report, RunError> {
    simulate(seed, settings.bug, async {
        let world = World::start(seed, settings.agents, settings.prepare_disk, None).await?;
        Ok(play(world, settings).await)
    })?
}

async fn play(world: World, settings: &Settings) -> Report {
    let World {
        site,
        cluster,
        operator,
        mut agents,
    } = world;
    let seed = site.seed;
    let for_ms = settings.virtual_seconds * 1000;
    let over = Arc::new(AtomicBool::new(false));
    let mut working: Vec<JoinHandle<()>> = Vec::new();
    // One agent stays aside: it tells when writes work again.
    let mut prober = agents.pop();
    for agent in agents {
        working.push(tokio::spawn(work(agent, Arc::clone(&over))));
    }
    let removable = settings.agents.saturating_sub(1);
    working.push(tokio::spawn(operate(operator, removable, Arc::clone(&over))));
    let began = Instant::now();
    for fault in faults::schedule(seed, for_ms) {
        tokio::spawn(faults::play(Arc::clone(&cluster), fault, settings.agents));
    }
    tokio::time::sleep_until(began + Duration::from_millis(for_ms) + LAST_ENDS).await;
    heal(&cluster).await;
    if let Some(prober) = &mut prober {
        recover(&cluster, prober).await;
    }
    over.store(true, Ordering::Relaxed);
    for one in working {
        // A client that panicked shows in the troubles of its operation, which never ended.
        let _ = one.await;
    }
    lose_power(&cluster).await;
    let mut violations = Vec::new();
    let broken = |detail: String| Violation {
        invariant: "a node starts from what its disk holds",
        detail,
    };
    violations.extend(
        cluster
            .troubles()
            .into_iter()
            .map(|trouble| broken(trouble.to_string())),
    );
    violations.extend(keep(&cluster).into_iter().map(broken));
    let events = site.recorder.events();
    violations.extend(check::all(&events));
    Report {
        seed,
        trace: trace(&events),
        virtual_ms: site.epoch.elapsed_ms(),
        violations,
        events,
    }
}

/// An agent's life: reads and writes, one after the other.
pub(crate) async fn work(mut agent: Agent, over: Arc<AtomicBool>) {
    let keys = Key::all();
    while !over.load(Ordering::Relaxed) {
        let pause = agent.dice.between((10, 200));
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let Some(key) = agent.dice.pick(&keys).copied() else {
            return;
        };
        let kind = agent.dice.between((1, 100));
        if kind <= 4 {
            agent.alter(key).await;
        } else if kind <= 34 {
            let level = match agent.dice.between((0, 9)) {
                0 => Level::Verified,
                1 => Level::Full,
                _ => Level::Committed,
            };
            // Reading one's own write is what finds a node that answers from an old state.
            if agent.put(key, level).await && agent.dice.percent(50) {
                agent.read(key).await;
            }
        } else {
            agent.read(key).await;
        }
    }
}

/// The operators' life: they grant and revoke, and now and then remove somebody for ever.
async fn operate(mut operator: Operator, agents: u16, over: Arc<AtomicBool>) {
    let mut dice = Dice::new(operator.seed(), "what operators do");
    let mut removable = agents / 2;
    while !over.load(Ordering::Relaxed) {
        let pause = dice.between((100, 900));
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let agent = u16::try_from(dice.between((1, u64::from(agents)))).unwrap_or(1);
        // What comes of it stands in the history; the operators go on.
        if removable > 0 && dice.one_in(25) {
            removable -= 1;
            operator.remove(agent).await;
        } else {
            let folder = u8::try_from(dice.between((0, u64::from(FOLDERS) - 1))).unwrap_or(0);
            let grants = operator.grants.toggled(agent, folder);
            operator.grant(grants).await;
        }
    }
}

/// Ends all faults and starts whoever does not run.
async fn heal(cluster: &Arc<Cluster>) {
    let site = &cluster.site;
    site.net.heal();
    cluster.disarm();
    for machine in cluster.machines.values() {
        machine.clock.set_right();
        machine.disk.set_sync_delay(SYNC);
        machine.disk.set_syncs_fail(false);
        machine.disk.set_reserve_used(false);
    }
    cluster.start_all().await;
    cluster.eventually(LEADER_WITHIN, Cluster::complete).await;
    site.recorder.note(What::Healed);
}

/// Waits until a write is acknowledged, and until all nodes serve with one log.
async fn recover(cluster: &Arc<Cluster>, prober: &mut Agent) {
    let recorder = &cluster.site.recorder;
    let until = Instant::now() + HEALTH_WITHIN;
    let Some(key) = Key::all().into_iter().next() else {
        return;
    };
    while !prober.put(key, Level::Committed).await {
        if Instant::now() >= until {
            return;
        }
    }
    recorder.note(What::Led);
    let healthy = |cluster: &Cluster| {
        let members = cluster.members();
        let accepted = members
            .iter()
            .map(|member| member.consensus.progress().accepted())
            .max();
        let level = |member: &Arc<Member>| {
            let applied = member.consensus.progress().applied();
            member.serving() && Some(applied + 8) >= accepted
        };
        cluster.complete() && members.iter().all(level)
    };
    if cluster.eventually(HEALTH_WITHIN, healthy).await {
        recorder.note(What::Healthy);
    }
}

/// All nodes lose power at once; what they have of everything that was acknowledged is noted after they have started
/// again.
async fn lose_power(cluster: &Arc<Cluster>) {
    let site = &cluster.site;
    for node in site.nodes() {
        cluster.cut_power(node);
    }
    cluster.start_all().await;
    let mut acknowledged: Vec<(u64, u64)> = Vec::new();
    let mut writes: BTreeMap<u64, (Key, u64)> = BTreeMap::new();
    for event in site.recorder.events() {
        match event.what {
            What::Called {
                op,
                call: Call::Write { key, version, .. },
                ..
            } => {
                writes.insert(op, (key, version));
            }
            What::Answered {
                op,
                answer: Answer::Done { index, .. },
            } => acknowledged.push((op, index)),
            _ => {}
        }
    }
    let last = acknowledged.iter().map(|(_, index)| *index).max().unwrap_or(0);
    let all_there = |cluster: &Cluster| {
        let members = cluster.members();
        cluster.complete()
            && members
                .iter()
                .all(|member| member.consensus.progress().applied() >= last)
    };
    cluster.eventually(HEALTH_WITHIN, all_there).await;
    for member in cluster.members() {
        for (op, index) in &acknowledged {
            let written = writes.get(op).copied();
            site.recorder.note(What::Found {
                node: member.node,
                op: *op,
                applied: member.consensus.progress().applied() >= *index,
                chain: member.consensus.chain_at(*index).ok().flatten(),
                record: written.and_then(|(key, version)| member.record_of(key, version)),
            });
        }
    }
}

/// Cuts the power for good, and notes what the audit logs hold then. Returns what is wrong with them.
fn keep(cluster: &Cluster) -> Vec<String> {
    let mut wrong = Vec::new();
    for (node, machine) in &cluster.machines {
        cluster.cut_power(*node);
        if let Err(fault) = look(machine, &cluster.site) {
            wrong.push(format!("the audit log of node {node}: {fault}"));
        }
    }
    wrong
}

fn look(machine: &Hardware, site: &Site) -> Result<(), BootError> {
    let log = open(machine, site)?.audit()?;
    log.verify()?;
    note_audit(machine.node, &log, site)
}

impl Member {
    /// The record hash of a version.
    fn record_of(&self, key: Key, version: u64) -> Option<Hash> {
        let reader = self.store.reader();
        let view = ViewAdapter::new(&reader);
        let path = Path::parse(&key.path()).ok()?;
        let (id, _) = query::secret_at(&view, self.site.roster.first_tenant, &path).ok()??;
        let (record, _) = query::version(&view, id, version).ok()??;
        record.record_hash.as_ref().try_into().ok()
    }
}
