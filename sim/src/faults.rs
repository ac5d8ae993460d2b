//! What goes wrong in a run, and when: drawn from the seed before it begins.

use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::history::What;
use crate::limits::{CLOCK_OFF_MS, NODES, SYNC};
use crate::net::{Place, Rule};
use std::sync::Arc;
use std::time::Duration;

/// A node whose disk failed starts again after this.
const SWAP: Duration = Duration::from_millis(100);
/// A clock that jumps, jumps by an hour, ms.
const HOUR_MS: i64 = 3_600_000;
/// One node's clock is wrong for at most this long, ms.
const CLOCK_MS: u64 = 90_000;

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A node loses power, and whatever was not synced.
    PowerCut(u16),
    /// All nodes do, at once.
    PowerCutEverywhere,
    /// A node loses power right after its next fragment has left it.
    PowerCutAfterRelease(u16),
    /// A node and the others do not hear each other; clients still reach it.
    Isolated(u16),
    /// A node does not hear the others.
    Deaf(u16),
    /// The others do not hear a node.
    Mute(u16),
    /// Nobody reaches a node, and it reaches nobody.
    Unplugged(u16),
    /// One way between two nodes is cut.
    CutWay(u16, u16),
    /// Everything to and from a node takes longer, ms.
    Slow(u16, u64),
    /// One way between two nodes takes longer, ms.
    SlowWay(u16, u16, u64),
    /// So many of a hundred messages get lost, everywhere.
    Lossy(u64),
    /// So many of a hundred requests come twice, everywhere.
    Twice(u64),
    /// A node's disk takes this long for a sync, ms.
    SlowDisk(u16, u64),
    /// A node's disk fails its syncs, until the node starts again on a sound one.
    BadDisk(u16),
    /// A node's disk has room for its reserve only.
    FullDisk(u16),
    /// A node's wall clock is off by this much, ms.
    ClockOff(u16, i64),
    /// A node's wall clock stands still.
    ClockStill(u16),
    /// The wall clocks of all nodes are off by this much, ms. Never ahead: log time would follow them for good.
    ClocksOff(i64),
    /// The wall clocks of all nodes stand still.
    ClocksStill,
    /// A node stands for election though nobody is missing.
    Election(u16),
}

/// A fault, when it begins and how long it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheduled {
    /// When, virtual ms after the workload began.
    pub at_ms: u64,
    /// For how long, ms.
    pub lasts_ms: u64,
    /// What.
    pub fault: Fault,
}

/// Draws the faults of a run of `for_ms`. The last moments are left in peace, so that healing is seen.
pub fn schedule(seed: u64, for_ms: u64) -> Vec<Scheduled> {
    let mut dice = Dice::new(seed, "faults");
    let mut faults = Vec::new();
    let mut at_ms = dice.between((200, 1_000));
    let mut clocks_right_from_ms = 0;
    while at_ms < for_ms {
        // One fault of clocks at a time: t nodes whose clocks are ahead alike take log time with them for good.
        let fault = loop {
            let fault = draw(&mut dice);
            if !fault.is_of_clocks() || at_ms >= clocks_right_from_ms {
                break fault;
            }
        };
        let lasts_ms = match fault {
            // An outage long enough to need an election, or a snapshot.
            Fault::PowerCut(_) | Fault::PowerCutEverywhere | Fault::PowerCutAfterRelease(_) => {
                dice.between((50, 4_000))
            }
            // Long enough that clock and log time part by more than is tolerated, if the run lasts so long.
            Fault::ClockOff(..) | Fault::ClockStill(_) => dice.between((1_000, CLOCK_MS)),
            _ => dice.between((200, 4_000)),
        };
        if fault.is_of_clocks() {
            clocks_right_from_ms = at_ms + lasts_ms;
        }
        faults.push(Scheduled {
            at_ms,
            lasts_ms: lasts_ms.min(for_ms - at_ms),
            fault,
        });
        at_ms += dice.between((200, 2_500));
    }
    faults
}

fn draw(dice: &mut Dice) -> Fault {
    let node = |dice: &mut Dice| u16::try_from(dice.between((1, u64::from(NODES)))).unwrap_or(1);
    let a = node(dice);
    let b = if a == NODES { 1 } else { a + 1 };
    let (from, to) = if dice.percent(50) { (a, b) } else { (b, a) };
    match dice.between((1, 100)) {
        1..=12 => Fault::PowerCut(a),
        13..=14 => Fault::BadDisk(a),
        15..=18 => Fault::PowerCutEverywhere,
        19..=30 => Fault::PowerCutAfterRelease(a),
        31..=40 => Fault::Isolated(a),
        41..=46 => Fault::Deaf(a),
        47..=52 => Fault::Mute(a),
        53..=54 => Fault::FullDisk(a),
        55..=59 => Fault::Unplugged(a),
        60..=66 => Fault::CutWay(from, to),
        67..=72 => Fault::Slow(a, dice.between((20, 600))),
        73..=79 => Fault::SlowWay(from, to, dice.between((50, 1_800))),
        80..=84 => Fault::Lossy(dice.between((2, 25))),
        85..=88 => Fault::Twice(dice.between((5, 50))),
        89..=93 => Fault::SlowDisk(a, dice.between((10, 400))),
        94..=96 => {
            let far = match dice.percent(50) {
                true => HOUR_MS,
                false => i64::try_from(dice.between((CLOCK_OFF_MS, 90_000))).unwrap_or(0),
            };
            Fault::ClockOff(a, if dice.percent(50) { far } else { -far })
        }
        97 => Fault::ClockStill(a),
        98 if dice.percent(50) => Fault::ClocksStill,
        98 => Fault::ClocksOff(-HOUR_MS),
        _ => Fault::Election(a),
    }
}

impl Fault {
    /// Whether it makes clocks wrong.
    const fn is_of_clocks(self) -> bool {
        matches!(
            self,
            Self::ClockOff(..) | Self::ClockStill(_) | Self::ClocksOff(_) | Self::ClocksStill
        )
    }

    /// The rules that it puts on the network.
    fn rules(self, clients: u16) -> Vec<Rule> {
        let node = Place::Node;
        let others = |a: u16| (1..=NODES).filter(move |other| *other != a);
        let deaf = |a: u16| others(a).map(move |other| Rule::Cut(node(other), node(a)));
        let mute = |a: u16| others(a).map(move |other| Rule::Cut(node(a), node(other)));
        let alone = |a: u16| deaf(a).chain(mute(a));
        match self {
            Self::Isolated(a) => alone(a).collect(),
            Self::Deaf(a) => deaf(a).collect(),
            Self::Mute(a) => mute(a).collect(),
            Self::Unplugged(a) => {
                let clients = (1..=clients).map(Place::Client);
                let cut = clients.flat_map(|client| [Rule::Cut(client, node(a)), Rule::Cut(node(a), client)]);
                alone(a).chain(cut).collect()
            }
            Self::CutWay(a, b) => vec![Rule::Cut(node(a), node(b))],
            Self::SlowWay(a, b, ms) => vec![Rule::Slow(node(a), node(b), ms)],
            Self::Slow(a, ms) => {
                let both = |other| {
                    [
                        Rule::Slow(node(a), node(other), ms),
                        Rule::Slow(node(other), node(a), ms),
                    ]
                };
                others(a).flat_map(both).collect()
            }
            Self::Lossy(percent) => vec![Rule::Lossy(percent)],
            Self::Twice(percent) => vec![Rule::Twice(percent)],
            _ => Vec::new(),
        }
    }
}

/// Lets one fault happen, and ends it.
pub(crate) async fn play(cluster: Arc<Cluster>, scheduled: Scheduled, clients: u16) {
    let Scheduled { at_ms, lasts_ms, fault } = scheduled;
    tokio::time::sleep(Duration::from_millis(at_ms)).await;
    let (net, lasts) = (&cluster.site.net, Duration::from_millis(lasts_ms));
    cluster
        .site
        .recorder
        .note(What::Fault(format!("{fault:?} for {lasts_ms} ms")));
    let machine = |node: u16| cluster.machines.get(&node);
    match fault {
        Fault::PowerCut(node) => return cluster.cut_power_for(node, lasts),
        Fault::PowerCutEverywhere => {
            for node in cluster.site.nodes() {
                cluster.cut_power_for(node, lasts);
            }
            return;
        }
        Fault::PowerCutAfterRelease(node) => return cluster.arm(node, lasts),
        Fault::SlowDisk(node, ms) => {
            if let Some(machine) = machine(node) {
                machine.disk.set_sync_delay(Duration::from_millis(ms));
            }
        }
        Fault::BadDisk(node) => {
            if let Some(machine) = machine(node) {
                machine.disk.set_syncs_fail(true);
            }
        }
        Fault::FullDisk(node) => {
            if let Some(machine) = machine(node) {
                machine.disk.set_reserve_used(true);
            }
        }
        Fault::ClockOff(node, off_ms) => {
            if let Some(machine) = machine(node) {
                machine.clock.set_off_ms(off_ms);
            }
        }
        Fault::ClockStill(node) => {
            if let Some(machine) = machine(node) {
                machine.clock.stand_still();
            }
        }
        Fault::ClocksOff(off_ms) => {
            for machine in cluster.machines.values() {
                machine.clock.set_off_ms(off_ms);
            }
        }
        Fault::ClocksStill => {
            for machine in cluster.machines.values() {
                machine.clock.stand_still();
            }
        }
        Fault::Election(node) => {
            if let Some(member) = cluster.member(node) {
                // A node without power does not stand.
                let _ = member.consensus.stand_for_election().await;
            }
        }
        _ => {}
    }
    let rules: Vec<_> = fault.rules(clients).into_iter().map(|rule| net.impose(rule)).collect();
    tokio::time::sleep(lasts).await;
    for rule in rules {
        net.lift(rule);
    }
    match fault {
        Fault::SlowDisk(node, _) => {
            if let Some(machine) = machine(node) {
                machine.disk.set_sync_delay(SYNC);
            }
        }
        Fault::BadDisk(node) => {
            if let Some(machine) = machine(node) {
                machine.disk.set_syncs_fail(false);
            }
            cluster.cut_power_for(node, SWAP);
        }
        Fault::FullDisk(node) => {
            if let Some(machine) = machine(node) {
                machine.disk.set_reserve_used(false);
            }
        }
        Fault::ClockOff(node, _) | Fault::ClockStill(node) => {
            if let Some(machine) = machine(node) {
                machine.clock.set_right();
            }
        }
        Fault::ClocksOff(_) | Fault::ClocksStill => {
            for machine in cluster.machines.values() {
                machine.clock.set_right();
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::discriminant;

    #[test]
    fn twenty_seconds_see_at_least_five_faults() {
        for seed in 0..200 {
            let faults = schedule(seed, 20_000);
            assert!(faults.len() >= 5, "seed {seed}: {}", faults.len());
            assert!(faults.iter().all(|one| one.at_ms + one.lasts_ms <= 20_000));
        }
    }

    #[test]
    fn clocks_are_wrong_for_one_reason_at_a_time() {
        for seed in 0..300 {
            let faults = schedule(seed, 300_000);
            let of_clocks: Vec<_> = faults.iter().filter(|one| one.fault.is_of_clocks()).collect();
            for pair in of_clocks.windows(2) {
                assert!(
                    pair[0].at_ms + pair[0].lasts_ms <= pair[1].at_ms,
                    "seed {seed}: {pair:?}"
                );
            }
        }
    }

    #[test]
    fn every_kind_of_fault_happens() {
        let all: Vec<Fault> = (0..600)
            .flat_map(|seed| schedule(seed, 20_000))
            .map(|one| one.fault)
            .collect();
        let mut kinds: Vec<_> = all.iter().map(discriminant).collect();
        kinds.dedup();
        let mut distinct = Vec::new();
        for kind in kinds {
            if !distinct.contains(&kind) {
                distinct.push(kind);
            }
        }
        assert_eq!(distinct.len(), 20);
    }
}
