//! A leader that lies: what the honest nodes make of it, and what clients see.
//!
//! The liar is a node like the others whose messages are bent on their way out ([`symbolon_consensus::malice`]). It never
//! freezes; it signs heads of its true log, or none. What must hold whatever it does: no two honest nodes whose histories
//! differ both go on for longer than a second once they can hear each other; nobody reads what nobody wrote, nor two
//! values of one version; fewer than t fragments leave without t permits; and reads are linearizable, but that its
//! acknowledgements prove nothing.

use crate::check::{self, Violation};
use crate::cluster::Cluster;
use crate::error::RunError;
use crate::history::{Answer, Event, What};
use crate::limits::SETUP;
use crate::net::{Place, Rule};
use crate::run::work;
use crate::site::Liar;
use crate::world::{World, simulate};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use symbolon_consensus::malice::{Lie, Lies};
use symbolon_crypto::Hash;
use symbolon_custody::malice::Lying;
use symbolon_sabotage::Bug;

/// Who lies.
pub const LIAR: u16 = 3;
/// The follower that is lied to where one is, or that is cut off until it needs a snapshot.
pub const VICTIM: u16 = 2;
/// Honest nodes whose histories differ notice within this (trust.md, claim 22).
const NOTICED_WITHIN_MS: u64 = 1_000;

/// What the leader does.
#[derive(Debug, Clone, Default)]
pub struct Scenario {
    /// What it tells the others.
    pub lies: Vec<Lie>,
    /// It signs no heads.
    pub silent: bool,
    /// It shows each of the others another boot, and signs for each the history that this one has.
    pub two_faced: bool,
    /// It lets no command pass.
    pub censors: bool,
    /// It follows, and does not lead.
    pub follows: bool,
    /// What it serves to clients in place of what it should: a lie of `symbolon_custody::malice`.
    pub serves: Option<Bug>,
    /// The victim is cut off from the other nodes before, until it needs a snapshot.
    pub starved: bool,
    /// The honest nodes do not hear each other for the first half of the time, `for_ms` each.
    pub parted: bool,
    /// A seeded bug of all nodes, so that the checks can be seen to fail.
    pub bug: Option<Bug>,
    /// How long it lies, virtual ms.
    pub for_ms: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Played {
    /// Frames that the liar bent.
    pub told: u64,
    /// How often a client named the liar, and how long after the first lie it did so first, ms.
    pub named: usize,
    /// When it did so first.
    pub named_after_ms: Option<u64>,
    /// Honest nodes that froze, and how long after the first lie, ms.
    pub froze: BTreeMap<u16, u64>,
    /// Honest nodes that noticed that the liar's log is not theirs, and how long after the first lie, ms.
    pub noticed: BTreeMap<u16, u64>,
    /// How long histories of two honest nodes differed before at most one of them went on; `None` if they never did.
    pub diverged_ms: Option<u64>,
    /// Honest nodes that serve at the end.
    pub serving: BTreeSet<u16>,
    /// Who may vote in the end, as all honest nodes see it together.
    pub voters: BTreeSet<u16>,
    /// Writes that were asked for and acknowledged while it lied.
    pub acknowledged: usize,
    /// Writes that were acknowledged while it lied, and that no honest node has.
    pub lost: usize,
    /// Operations without an answer.
    pub unknown: usize,
    /// Reads that brought a value while it lied.
    pub reads: usize,
    /// Snapshots that the victim took over.
    pub snapshots: usize,
    /// What does not hold.
    pub violations: Vec<Violation>,
}

/// Plays a scenario.
///
/// # Errors
/// [`RunError`] if the cluster cannot be set up with the liar as its leader.
pub fn play(seed: u64, scenario: &Scenario) -> Result<Played, RunError> {
    simulate(seed, scenario.bug, async {
        let liar = Liar {
            node: LIAR,
            lies: Lies::new(scenario.lies.clone()),
            silent: scenario.silent,
            two_faced: scenario.two_faced,
            censors: scenario.censors,
            serving: scenario.serves.and_then(Lying::telling).map(Arc::new),
        };
        let world = World::start(seed, 4, None, Some(liar.clone())).await?;
        perform(world, &liar.lies, scenario).await
    })?
}

async fn perform(world: World, lies: &Lies, scenario: &Scenario) -> Result<Played, RunError> {
    let World {
        site, cluster, agents, ..
    } = world;
    lead_by(&cluster, |leader| (leader == LIAR) != scenario.follows).await?;
    let over = Arc::new(AtomicBool::new(false));
    let working: Vec<_> = agents
        .into_iter()
        .map(|agent| tokio::spawn(work(agent, Arc::clone(&over))))
        .collect();
    // There is something to read.
    tokio::time::sleep(Duration::from_secs(3)).await;
    if scenario.starved {
        starve(&cluster, VICTIM).await?;
    }
    let from = site.recorder.now();
    let began_ms = site.epoch.elapsed_ms();
    lies.begin();
    if scenario.parted {
        part(&cluster, Duration::from_millis(scenario.for_ms)).await;
    }
    let heard_ms = site.epoch.elapsed_ms();
    tokio::time::sleep(Duration::from_millis(scenario.for_ms)).await;
    over.store(true, Ordering::Relaxed);
    for one in working {
        // A client that panicked shows in its operation, which never ended.
        let _ = one.await;
    }
    let honest: BTreeSet<u16> = site.nodes().into_iter().filter(|node| *node != LIAR).collect();
    let mut played = Played {
        told: lies.told(),
        serving: serving(&cluster, &honest),
        voters: voters(&cluster, &honest),
        ..Played::default()
    };
    let events = site.recorder.events();
    played.count(&events, from, began_ms, &honest);
    played.judge(&events, &honest, heard_ms);
    Ok(played)
}

/// Waits until all agree on a leader that will do: who will not is cut off until another one leads.
async fn lead_by(cluster: &Arc<Cluster>, will_do: impl Fn(u16) -> bool) -> Result<(), RunError> {
    let until = tokio::time::Instant::now() + SETUP;
    let agreed = |cluster: &Cluster| {
        let members = cluster.members();
        let leader = members.first().and_then(|member| member.consensus.leader());
        let same = members
            .iter()
            .all(|member| member.serving() && member.consensus.leader() == leader);
        leader.filter(|_| same).and_then(|leader| u16::try_from(leader).ok())
    };
    while tokio::time::Instant::now() < until {
        match agreed(cluster) {
            Some(leader) if will_do(leader) => return Ok(()),
            Some(leader) => cut_off(cluster, leader, tokio::time::sleep(Duration::from_secs(2))).await,
            None => {}
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(RunError::Late {
        what: "the election that the scenario needs",
        within_s: SETUP.as_secs(),
    })
}

/// The honest nodes do not hear each other for a while; all others do.
async fn part(cluster: &Cluster, lasts: Duration) {
    let net = &cluster.site.net;
    let honest: Vec<u16> = cluster.site.others(LIAR);
    let ways = honest.iter().flat_map(|from| honest.iter().map(move |to| (*from, *to)));
    let cut = ways.filter(|(from, to)| from != to);
    let rules: Vec<_> = cut
        .map(|(from, to)| net.impose(Rule::Cut(Place::Node(from), Place::Node(to))))
        .collect();
    tokio::time::sleep(lasts).await;
    for rule in rules {
        net.lift(rule);
    }
}

/// A node and the other nodes do not hear each other until `until` ends.
async fn cut_off<T>(cluster: &Cluster, node: u16, until: impl Future<Output = T>) -> T {
    let net = &cluster.site.net;
    let alone = cluster.site.others(node).into_iter().flat_map(|other| {
        let (here, there) = (Place::Node(node), Place::Node(other));
        [Rule::Cut(here, there), Rule::Cut(there, here)]
    });
    let rules: Vec<_> = alone.map(|rule| net.impose(rule)).collect();
    let done = until.await;
    for rule in rules {
        net.lift(rule);
    }
    done
}

/// Cuts a node off until the others no longer keep the entries that it lacks, so that it needs a snapshot.
async fn starve(cluster: &Cluster, node: u16) -> Result<(), RunError> {
    let gone = |cluster: &Cluster| {
        let statuses = cluster
            .members()
            .into_iter()
            .map(|one| (one.node, one.consensus.status()));
        let (own, others): (Vec<_>, Vec<_>) = statuses.partition(|(of, _)| *of == node);
        let last = own.first().map_or(0, |(_, status)| status.last);
        others.iter().all(|(_, status)| status.purged > Some(last))
    };
    if cut_off(cluster, node, cluster.eventually(SETUP, gone)).await {
        return Ok(());
    }
    Err(RunError::Late {
        what: "the snapshot that the scenario needs",
        within_s: SETUP.as_secs(),
    })
}

fn serving(cluster: &Cluster, honest: &BTreeSet<u16>) -> BTreeSet<u16> {
    let members = cluster.members().into_iter();
    let serving = members.filter(|member| honest.contains(&member.node) && member.serving());
    serving.map(|member| member.node).collect()
}

/// Members that every honest node takes for voters.
fn voters(cluster: &Cluster, honest: &BTreeSet<u16>) -> BTreeSet<u16> {
    let members = cluster.members().into_iter();
    let seen: Vec<BTreeSet<u64>> = members
        .filter(|member| honest.contains(&member.node))
        .map(|member| member.consensus.status().voters)
        .collect();
    let all = seen
        .iter()
        .flatten()
        .filter(|voter| seen.iter().all(|one| one.contains(voter)));
    all.filter_map(|voter| u16::try_from(*voter).ok()).collect()
}

impl Played {
    fn count(&mut self, events: &[Event], from: usize, began_ms: u64, honest: &BTreeSet<u16>) {
        let mut acknowledged: BTreeSet<Hash> = BTreeSet::new();
        let mut there: BTreeSet<Hash> = BTreeSet::new();
        let mut records: BTreeMap<u64, (Hash, bool)> = BTreeMap::new();
        for (place, event) in events.iter().enumerate() {
            let after_ms = event.at_ms.saturating_sub(began_ms);
            match &event.what {
                What::Applied {
                    node,
                    entry: crate::history::Entry::Dealt(record),
                    ..
                } if honest.contains(node) => {
                    there.insert(*record);
                }
                What::Called {
                    op,
                    call: crate::history::Call::Write { record, .. },
                    ..
                } => {
                    records.insert(*op, (*record, place >= from));
                }
                What::Named { node: LIAR, .. } => {
                    self.named += 1;
                    self.named_after_ms.get_or_insert(after_ms);
                }
                What::Froze { node, .. } => {
                    self.froze.entry(*node).or_insert(after_ms);
                }
                What::Outvoted { node: LIAR, by, .. } => {
                    self.noticed.entry(*by).or_insert(after_ms);
                }
                What::TookOver { node: VICTIM, .. } if place >= from => self.snapshots += 1,
                What::Answered { op, answer } if place >= from => match answer {
                    Answer::Done { .. } => {
                        if let Some((record, meanwhile)) = records.get(op) {
                            acknowledged.insert(*record);
                            self.acknowledged += usize::from(*meanwhile);
                        }
                    }
                    Answer::Value { .. } => self.reads += 1,
                    Answer::Unknown => self.unknown += 1,
                    _ => {}
                },
                _ => {}
            }
        }
        self.lost = acknowledged.difference(&there).count();
    }

    /// `heard_ms`: from when on the honest nodes can hear each other.
    fn judge(&mut self, events: &[Event], honest: &BTreeSet<u16>, heard_ms: u64) {
        let longest = events.last().map_or(0, |event| event.at_ms);
        self.diverged_ms = both_went_on(events, honest, heard_ms, longest);
        if let Some(ms) = self.diverged_ms.filter(|ms| *ms > NOTICED_WITHIN_MS) {
            self.violations.push(Violation {
                invariant: "no two honest nodes with different histories both go on",
                detail: format!("they did for {ms} ms"),
            });
        }
        self.violations.extend(check::despite_a_liar(events, LIAR));
    }
}

/// For how long, from `heard_ms` on, two honest nodes with different histories both went on at most, ms; `None` if
/// histories never differed.
fn both_went_on(events: &[Event], honest: &BTreeSet<u16>, heard_ms: u64, end_ms: u64) -> Option<u64> {
    let mut chains: BTreeMap<u64, BTreeMap<u16, Hash>> = BTreeMap::new();
    let mut frozen: BTreeSet<u16> = BTreeSet::new();
    let mut differ = false;
    let mut both_since: Option<u64> = None;
    let mut longest: Option<u64> = None;
    for event in events {
        match &event.what {
            What::Applied { node, index, chain, .. } if honest.contains(node) => {
                let at = chains.entry(*index).or_default();
                at.insert(*node, *chain);
                differ |= at.values().any(|other| other != chain);
            }
            What::Froze { node, .. } if honest.contains(node) => {
                frozen.insert(*node);
            }
            What::Thawed { node } => {
                frozen.remove(node);
            }
            _ => {}
        }
        let both = differ && honest.difference(&frozen).count() > 1;
        if both {
            both_since.get_or_insert(event.at_ms);
        } else if let Some(since) = both_since.take() {
            longest = longest.max(Some(event.at_ms.saturating_sub(since.max(heard_ms))));
        }
    }
    if let Some(since) = both_since {
        longest = longest.max(Some(end_ms.saturating_sub(since.max(heard_ms))));
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::broken::applied;

    fn timed(whats: Vec<(u64, What)>) -> Vec<Event> {
        whats.into_iter().map(|(at_ms, what)| Event { at_ms, what }).collect()
    }

    #[test]
    fn nodes_that_differ_count_until_one_of_them_freezes() {
        let honest = BTreeSet::from([1, 2]);
        let differ = vec![(10, applied(1, 5, 1)), (20, applied(2, 5, 2))];
        assert_eq!(both_went_on(&timed(differ.clone()), &honest, 0, 90), Some(70));
        assert_eq!(
            both_went_on(&timed(differ.clone()), &honest, 60, 90),
            Some(30),
            "heard later"
        );
        let frozen = [differ.clone(), vec![(50, What::Froze { node: 2, index: 5 })]].concat();
        assert_eq!(both_went_on(&timed(frozen.clone()), &honest, 0, 90), Some(30));
        let thawed = [frozen, vec![(60, What::Thawed { node: 2 })]].concat();
        assert_eq!(both_went_on(&timed(thawed), &honest, 0, 100), Some(40));
        let liar = vec![(10, applied(1, 5, 1)), (20, applied(LIAR, 5, 2))];
        assert_eq!(both_went_on(&timed(liar), &honest, 0, 90), None);
    }
}
