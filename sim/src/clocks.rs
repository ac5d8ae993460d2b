//! Clocks that jump by an hour or stand still, of one node or of all, while a reader asks every node every second for a
//! secret that stays and for one that expires.

use crate::agent::{Level, Sender};
use crate::check::{self, Violation};
use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::error::RunError;
use crate::grants::Key;
use crate::history::What;
use crate::limits::{REQUEST_WITHIN, SETUP};
use crate::member::Hardware;
use crate::world::{World, simulate};
use bytes::Bytes;
use prost::Message;
use std::time::Duration;
use symbolon_wire::Code;
use symbolon_wire::v1::{self, request, response};

const HOUR_MS: i64 = 3_600_000;
/// The node whose clock is wrong if one is. Which of them leads differs with the seed.
pub const ODD: u16 = 2;

/// The clocks are wrong from here on, seconds after the writes.
pub const WRONG_FROM_S: u64 = 5;
/// They are right again from here on: past the minute after which a clock that stands still is too far from log time.
pub const RIGHT_FROM_S: u64 = 110;
/// The second secret expires then, ms of log time after it was written.
pub const EXPIRES_AFTER_MS: u64 = 40_000;
/// Asking ends.
const UNTIL_S: u64 = 140;

/// Whose clocks are wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// That of [`ODD`].
    One,
    /// All.
    All,
}

/// What is wrong with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// They jump an hour ahead.
    Ahead,
    /// They jump an hour back.
    Back,
    /// They stand still.
    Still,
}

/// Which secret was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The one that stays.
    Lasting,
    /// The one that expires.
    Expiring,
}

/// What a node said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It released its fragment.
    Released,
    /// It refused.
    Refused(Code),
    /// Nothing.
    Nothing,
}

/// One question and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Seconds after the writes, by a clock that is right.
    pub at_s: u64,
    /// Which node.
    pub node: u16,
    /// For what.
    pub which: Which,
    /// Its answer.
    pub told: Told,
}

/// What came of it.
#[derive(Debug)]
pub struct Played {
    /// Invariants that do not hold.
    pub violations: Vec<Violation>,
    /// Everything that was asked.
    pub asked: Vec<Asked>,
}

/// Plays one case. With `again`, clocks that were an hour ahead and then right are an hour ahead once more for the last
/// ten seconds: as if that hour had passed.
///
/// # Errors
/// [`RunError`] if the cluster cannot be set up.
pub fn play(seed: u64, who: Who, how: How, again: bool) -> Result<Played, RunError> {
    simulate(seed, None, async {
        let world = World::start(seed, 1, None, None).await?;
        perform(world, who, how, again).await
    })?
}

fn disturb(cluster: &Cluster, who: Who, disturb: impl Fn(&Hardware)) {
    for (node, machine) in &cluster.machines {
        if who == Who::All || *node == ODD {
            disturb(machine);
        }
    }
}

async fn perform(world: World, who: Who, how: How, again: bool) -> Result<Played, RunError> {
    let World {
        site,
        cluster,
        mut agents,
        ..
    } = world;
    let late = || RunError::Late {
        what: "the writes",
        within_s: SETUP.as_secs(),
    };
    let mut agent = agents.pop().ok_or_else(late)?;
    let (lasting, expiring) = (Key { folder: 0, secret: 0 }, Key { folder: 1, secret: 0 });
    let written = agent.put(lasting, Level::Full).await;
    if !written || !agent.put_for(expiring, Level::Full, EXPIRES_AFTER_MS).await {
        return Err(late());
    }
    let mut asked = Vec::new();
    for at_s in 0..UNTIL_S {
        match at_s {
            WRONG_FROM_S => {
                site.recorder.note(What::Fault(format!("clocks: {who:?} {how:?}")));
                disturb(&cluster, who, |machine| match how {
                    How::Ahead => machine.clock.set_off_ms(HOUR_MS),
                    How::Back => machine.clock.set_off_ms(-HOUR_MS),
                    How::Still => machine.clock.stand_still(),
                });
            }
            RIGHT_FROM_S => disturb(&cluster, who, |machine| machine.clock.set_right()),
            at_s if again && at_s == UNTIL_S - 10 => {
                disturb(&cluster, who, |machine| machine.clock.set_off_ms(HOUR_MS));
            }
            _ => {}
        }
        for node in site.nodes() {
            for (which, key) in [(Which::Lasting, lasting), (Which::Expiring, expiring)] {
                let told = ask(&agent.sender(), node, key, &mut agent.dice).await;
                asked.push(Asked {
                    at_s,
                    node,
                    which,
                    told,
                });
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(Played {
        violations: check::meanwhile(&site.recorder.events()),
        asked,
    })
}

async fn ask(sender: &Sender, node: u16, key: Key, dice: &mut Dice) -> Told {
    let request = v1::ReadRequest {
        nonce: Bytes::copy_from_slice(&dice.bytes::<32>()),
        path: key.path(),
        purpose: "clocks".to_owned(),
        ..v1::ReadRequest::default()
    };
    let request = v1::Request {
        kind: Some(request::Kind::Read(request)),
    };
    let bytes = Bytes::from(request.encode_to_vec());
    match sender.ask(node, bytes, REQUEST_WITHIN).await {
        Ok((response::Result::Read(_), Some(_))) => Told::Released,
        Ok((response::Result::Error(error), _)) => {
            Told::Refused(Code::from_number(error.code).unwrap_or(Code::Internal))
        }
        Ok(_) | Err(_) => Told::Nothing,
    }
}
