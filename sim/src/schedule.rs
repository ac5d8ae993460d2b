//! One follower held back, at every point of a policy change, while a reader asks all nodes again and again: at no point
//! may requests that arrive after the change was committed bring t releases.
//!
//! The dangerous moment: the leader and one follower have the change, the other follower does not. The held one releases
//! by the old policy, which nobody can help; so the follower that has the change, but has not heard that it is
//! committed, must not, whatever happens to the leader then.

use crate::agent::{Level, Operated, Sender};
use crate::check::{self, Violation};
use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::error::RunError;
use crate::grants::Key;
use crate::history::{ChangeKind, Entry, Event, Moment, What};
use crate::limits::{REQUEST_WITHIN, SETUP};
use crate::net::{Place, Rule};
use crate::site::Site;
use crate::world::{World, simulate};
use bytes::Bytes;
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use symbolon_sabotage::Bug;
use symbolon_wire::v1::{self, request};

/// The change is proposed so long after reading begins, ms.
pub const CHANGE_AT_MS: u64 = 30;
/// Reading goes on for so long after it, ms: past an election, and past the 2 s after which a node gives up.
const READ_FOR_MS: u64 = 3_500;
/// The reader asks all nodes every so many ms around the change, and then less often.
const OFTEN_MS: u64 = 6;
const OFTEN_FOR_MS: u64 = 150;
const SELDOM_MS: u64 = 80;
/// A node that is slow to hear takes this long, ms: past an election.
const LATE_MS: u64 = 1_600;

/// A follower that starts again is away for this long.
const RESTART: Duration = Duration::from_millis(10);

/// How the follower is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// It does not hear the leader.
    DeafToLeader,
    /// It hears the leader late.
    LateFromLeader,
    /// It and the other nodes do not hear each other.
    Isolated,
}

/// What happens when the change has been committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Nothing,
    /// The leader and the other nodes do not hear each other any more; clients still reach it.
    LeaderIsolated,
    /// The leader loses power.
    LeaderOff,
    /// The held follower is let go, and the other one is held back instead.
    Swapped,
    /// The leader is isolated, and the follower that has the change starts again: it has the change in its log only.
    OtherRestarts,
}

/// What is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    /// The policy that let the reader read.
    Policy,
    /// The reader.
    Reader,
}

/// One interleaving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scenario {
    /// Which follower is held back: the lower (0) or the higher (1) index.
    pub follower: usize,
    /// How.
    pub hold: Hold,
    /// From when on, ms after reading begins; the change is proposed at [`CHANGE_AT_MS`].
    pub from_ms: u64,
    /// What happens then.
    pub then: Then,
    /// What is revoked.
    pub revoked: Revoked,
}

/// Every follower, every way of holding it, at points before, during and after the change.
pub fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for follower in [0, 1] {
        for hold in [Hold::DeafToLeader, Hold::LateFromLeader, Hold::Isolated] {
            for then in [
                Then::Nothing,
                Then::LeaderIsolated,
                Then::LeaderOff,
                Then::Swapped,
                Then::OtherRestarts,
            ] {
                for (point, from_ms) in [0, 20, 25, 28, 30, 31, 32, 33, 34, 36, 38, 41, 45, 55]
                    .into_iter()
                    .enumerate()
                {
                    let revoked = if point % 3 == 1 {
                        Revoked::Reader
                    } else {
                        Revoked::Policy
                    };
                    all.push(Scenario {
                        follower,
                        hold,
                        from_ms,
                        then,
                        revoked,
                    });
                }
            }
        }
    }
    all
}

/// What came of an interleaving.
#[derive(Debug)]
pub struct Played {
    /// Invariants that do not hold.
    pub violations: Vec<Violation>,
    /// The change was committed.
    pub committed: bool,
    /// The change was acknowledged.
    pub acknowledged: bool,
    /// Releases to requests that arrived after it was committed. Fewer than t nodes may do that, but some do: else the
    /// interleaving would show nothing.
    pub stale: usize,
}

/// Plays one interleaving.
///
/// # Errors
/// [`RunError`] if the cluster cannot be set up.
pub fn play(seed: u64, scenario: Scenario, bug: Option<Bug>) -> Result<Played, RunError> {
    simulate(seed, bug, async {
        let world = World::start(seed, 2, None, None).await?;
        perform(world, scenario).await
    })?
}

/// The followers in ascending index, and the leader, once all agree who that is and have one log.
async fn parts(cluster: &Cluster) -> Option<(u16, Vec<u16>)> {
    let mut found = None;
    let settled = |cluster: &Cluster| {
        let members = cluster.members();
        let leader = members.first().and_then(|member| member.consensus.leader());
        let applied = members.first().map(|member| member.consensus.progress().applied());
        let same = members.iter().all(|member| {
            let progress = member.consensus.progress();
            let level = Some(progress.applied()) == applied && progress.accepted() == progress.applied();
            member.serving() && level && member.consensus.leader() == leader
        });
        found = leader.and_then(|leader| u16::try_from(leader).ok()).filter(|_| same);
        found.is_some()
    };
    cluster.eventually(SETUP, settled).await;
    found.map(|leader| (leader, cluster.site.others(leader)))
}

async fn perform(world: World, scenario: Scenario) -> Result<Played, RunError> {
    let World {
        site,
        cluster,
        mut operator,
        mut agents,
    } = world;
    let late = |what| RunError::Late {
        what,
        within_s: SETUP.as_secs(),
    };
    let key = Key { folder: 0, secret: 0 };
    let (Some(reader), Some(mut writer)) = (agents.pop(), agents.pop()) else {
        return Err(late("two agents"));
    };
    if !writer.put(key, Level::Full).await {
        return Err(late("the write"));
    }
    let (leader, followers) = parts(&cluster).await.ok_or_else(|| late("agreement on a leader"))?;
    let (held, other) = match (followers.as_slice(), scenario.follower) {
        ([low, high], 0) => (*low, *high),
        ([low, high], _) => (*high, *low),
        _ => return Err(late("two followers")),
    };
    operator.first = Some(leader);
    let before = site.recorder.now();
    let reading = tokio::spawn(read_on(reader.sender(), key, reader.dice.clone()));
    let holding = tokio::spawn(hold(Arc::clone(&cluster), scenario, leader, held, other, before));
    tokio::time::sleep(Duration::from_millis(CHANGE_AT_MS)).await;
    let agent = reader.identity.agent;
    let changed = async {
        match scenario.revoked {
            Revoked::Policy => {
                let grants = operator.grants.toggled(agent, key.folder);
                operator.grant(grants).await
            }
            Revoked::Reader => operator.remove(agent).await,
        }
    };
    // A change that the leader took with it stays unknown for a while; reading does not wait for that.
    let reads_last = Duration::from_millis(READ_FOR_MS + 2_500);
    let operated = tokio::time::timeout(reads_last, changed).await;
    // Neither can fail but by a panic, which the history would show.
    let _ = tokio::join!(reading, holding);
    let events = site.recorder.events();
    let committed = commit_of(&events, before);
    Ok(Played {
        violations: check::meanwhile(&events),
        committed: committed.is_some(),
        acknowledged: operated == Ok(Operated::Done),
        stale: committed.map_or(0, |committed| stale(&events, committed)),
    })
}

/// Whether a node applied a revocation. None other happens after the world has started.
fn revokes(event: &Event) -> bool {
    let What::Applied {
        entry: Entry::Change(change),
        ..
    } = &event.what
    else {
        return false;
    };
    matches!(change.kind, ChangeKind::Policies(_) | ChangeKind::Removed(_))
}

/// When the revocation was known to be committed.
fn commit_of(events: &[Event], after: Moment) -> Option<Moment> {
    let mut places = events.iter().enumerate().skip(after);
    places.find(|(_, event)| revokes(event)).map(|(place, _)| place)
}

fn stale(events: &[Event], committed: Moment) -> usize {
    let late = |event: &&Event| matches!(&event.what, What::Released(release) if release.arrived > committed);
    events.iter().filter(late).count()
}

fn alone(site: &Site, node: u16) -> Vec<Rule> {
    let ways = |other| {
        let (a, b) = (Place::Node(node), Place::Node(other));
        [Rule::Cut(a, b), Rule::Cut(b, a)]
    };
    site.others(node).into_iter().flat_map(ways).collect()
}

/// Holds the follower back from its moment on, and does the rest once the change is committed.
async fn hold(cluster: Arc<Cluster>, scenario: Scenario, leader: u16, held: u16, other: u16, before: Moment) {
    let site = &cluster.site;
    let rules_for = |node: u16| match scenario.hold {
        Hold::DeafToLeader => vec![Rule::Cut(Place::Node(leader), Place::Node(node))],
        Hold::LateFromLeader => vec![Rule::Slow(Place::Node(leader), Place::Node(node), LATE_MS)],
        Hold::Isolated => alone(site, node),
    };
    tokio::time::sleep(Duration::from_millis(scenario.from_ms)).await;
    let imposed: Vec<_> = rules_for(held).into_iter().map(|rule| site.net.impose(rule)).collect();
    for _ in 0..READ_FOR_MS {
        if site.recorder.has(before, revokes) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    match scenario.then {
        Then::Nothing => {}
        Then::LeaderIsolated | Then::OtherRestarts => {
            for rule in alone(site, leader) {
                site.net.impose(rule);
            }
            if scenario.then == Then::OtherRestarts {
                cluster.cut_power_for(other, RESTART);
            }
        }
        Then::LeaderOff => cluster.cut_power(leader),
        Then::Swapped => {
            for rule in imposed {
                site.net.lift(rule);
            }
            for rule in rules_for(other) {
                site.net.impose(rule);
            }
        }
    }
}

/// Asks every node for its fragment, again and again.
async fn read_on(sender: Sender, key: Key, mut dice: Dice) {
    let mut asked = tokio::task::JoinSet::new();
    let mut passed_ms = 0;
    while passed_ms < CHANGE_AT_MS + READ_FOR_MS {
        for node in sender.site.nodes() {
            let request = v1::ReadRequest {
                nonce: Bytes::copy_from_slice(&dice.bytes::<32>()),
                path: key.path(),
                purpose: "schedule".to_owned(),
                ..v1::ReadRequest::default()
            };
            let request = v1::Request {
                kind: Some(request::Kind::Read(request)),
            };
            let (sender, bytes) = (sender.clone(), Bytes::from(request.encode_to_vec()));
            asked.spawn(async move {
                // What matters is what leaves the node, which the history has.
                let _ = sender.ask(node, bytes, REQUEST_WITHIN).await;
            });
        }
        let pause = if passed_ms < CHANGE_AT_MS + OFTEN_FOR_MS {
            OFTEN_MS
        } else {
            SELDOM_MS
        };
        passed_ms += pause;
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    while asked.join_next().await.is_some() {}
}
