//! Step 6: reads and writes go on while the leader is killed; what was acknowledged is there afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use symbolon_client::{Client, PutOptions};
use symbolon_devcluster::limits::READY_WITHIN;
use symbolon_wire::Code;
use tokio::task::JoinSet;

use super::stage::ensure;
use super::story::{World, client, secret};
use crate::failure::{Error, local};
use crate::verbs::dev::from_cluster;

/// How long the storm rages before the kill, and after it.
const BEFORE: Duration = Duration::from_secs(1);
const AFTER: Duration = Duration::from_secs(3);
/// Writers at once, each with secrets of its own.
const WRITERS: u64 = 4;
/// Writes of one writer at most, so that checking them stays short.
const WRITES_MAX: u64 = 500;
/// Reads at once when everything is checked.
const CHECKERS: usize = 16;
/// How long the restarted node may take to catch up.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(15);

/// What the readers saw.
#[derive(Default)]
struct Reads {
    while_up: AtomicU64,
    while_down: AtomicU64,
    failed: AtomicU64,
    longest_gap_ms: AtomicU64,
}

/// Plays it.
pub(crate) async fn play(world: &mut World) -> Result<String, Error> {
    let (operator, agent) = (client(world, "operator").await?, client(world, "billing-bot").await?);
    let leader = world.cluster.leader(&operator).await.map_err(from_cluster)?;
    let stop = Arc::new(AtomicBool::new(false));
    let down = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(Reads::default());
    let reader = tokio::spawn(read_on(agent.clone(), stop.clone(), down.clone(), reads.clone()));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write_on(operator.clone(), writer, stop.clone()));
    }
    tokio::time::sleep(BEFORE).await;
    let pid = world.cluster.pid(leader).map_err(from_cluster)?;
    world.stage.tell(&format!(
        "{WRITERS} writers and a reader are at work. Node {leader} leads."
    ))?;
    world
        .stage
        .show_command(&format!("kill -9 {pid}     # node {leader}"))?;
    world.cluster.kill(leader).map_err(from_cluster)?;
    down.store(true, Ordering::SeqCst);
    tokio::time::sleep(AFTER).await;
    let new_leader = world.cluster.leader(&operator).await.map_err(from_cluster)?;
    down.store(false, Ordering::SeqCst);
    world
        .stage
        .tell(&format!("Node {new_leader} leads now. Node {leader} is started again."))?;
    world.cluster.start(leader).map_err(from_cluster)?;
    world.cluster.wait_ready(READY_WITHIN).await.map_err(from_cluster)?;
    stop.store(true, Ordering::SeqCst);
    reader.await.map_err(|error| local(error.to_string()))?;
    let mut acknowledged = Vec::new();
    let mut unknown = 0;
    while let Some(written) = writers.join_next().await {
        let written = written.map_err(|error| local(error.to_string()))??;
        acknowledged.extend(written.acknowledged);
        unknown += written.unknown;
    }
    caught_up(&operator, leader).await?;
    world.stage.must(&["status"], None).await?;
    let count = acknowledged.len();
    let lost = check(&agent, acknowledged).await?;
    ensure(lost == 0, format!("{lost} of {count} acknowledged writes are lost"))?;
    let (went_on, failed) = (
        reads.while_down.load(Ordering::SeqCst),
        reads.failed.load(Ordering::SeqCst),
    );
    ensure(went_on > 0, "no read succeeded while the node was down")?;
    ensure(count > 0, "nothing was acknowledged, so nothing could be lost")?;
    Ok(format!(
        "{count} acknowledged writes, 0 lost ({unknown} of unknown outcome); {went_on} reads while it was down and {} otherwise, {failed} failed, longest pause {} ms; node {leader} has caught up",
        reads.while_up.load(Ordering::SeqCst),
        reads.longest_gap_ms.load(Ordering::SeqCst),
    ))
}

/// What one writer was told.
struct Written {
    acknowledged: Vec<(String, u64)>,
    unknown: u64,
}

/// A value that tells by itself where it belongs.
fn value_of(path: &str, number: u64) -> Vec<u8> {
    format!("{path}#{number}").into_bytes()
}

async fn write_on(operator: Client, writer: u64, stop: Arc<AtomicBool>) -> Result<Written, Error> {
    let mut written = Written {
        acknowledged: Vec::new(),
        unknown: 0,
    };
    for number in 0..WRITES_MAX {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let path = format!("prod/stripe/storm/w{writer}-{number}");
        match operator
            .put(&path, &value_of(&path, number), PutOptions::default())
            .await
        {
            Ok(_) => written.acknowledged.push((path, number)),
            Err(error) if error.code == Code::OutcomeUnknown => written.unknown += 1,
            // An election: nothing was promised. Whatever else it was, the next write will show it again.
            Err(error)
                if matches!(
                    error.code,
                    Code::NoQuorum | Code::Unreachable | Code::Timeout | Code::NotFresh
                ) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

async fn read_on(agent: Client, stop: Arc<AtomicBool>, down: Arc<AtomicBool>, reads: Arc<Reads>) {
    let mut last = Instant::now();
    while !stop.load(Ordering::SeqCst) {
        let while_down = down.load(Ordering::SeqCst);
        match agent.get(secret(), None, "storm").await {
            Ok(_) => {
                let gap = u64::try_from(last.elapsed().as_millis()).unwrap_or(u64::MAX);
                reads.longest_gap_ms.fetch_max(gap, Ordering::SeqCst);
                last = Instant::now();
                if while_down { &reads.while_down } else { &reads.while_up }.fetch_add(1, Ordering::SeqCst);
            }
            Err(_) => {
                reads.failed.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

/// Waits until the restarted node has applied what the others had applied by now.
async fn caught_up(operator: &Client, node: u16) -> Result<(), Error> {
    let deadline = Instant::now() + CATCH_UP_WITHIN;
    let mut target = 0;
    loop {
        let mut applied = None;
        for (one, answer) in operator.status().await {
            match answer {
                Ok(status) if one == node && status.state == "serving" => applied = Some(status.applied),
                Ok(status) if target == 0 || one != node => target = target.max(status.applied),
                _ => {}
            }
        }
        if applied.is_some_and(|applied| applied >= target) && target > 0 {
            return Ok(());
        }
        ensure(
            Instant::now() < deadline,
            format!("node {node} has not caught up within {} s", CATCH_UP_WITHIN.as_secs()),
        )?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Reads every acknowledged write back; returns how many are not as they were written.
async fn check(agent: &Client, acknowledged: Vec<(String, u64)>) -> Result<usize, Error> {
    let mut waiting = acknowledged.into_iter();
    let mut reading = JoinSet::new();
    let mut lost = 0;
    loop {
        while reading.len() < CHECKERS {
            let Some((path, number)) = waiting.next() else { break };
            let agent = agent.clone();
            reading.spawn(async move {
                let opened = agent.get(&path, None, "storm check").await;
                opened.map(|opened| opened.value.expose() == value_of(&path, number))
            });
        }
        match reading.join_next().await {
            None => return Ok(lost),
            Some(Ok(Ok(true))) => {}
            Some(Ok(Ok(false))) => lost += 1,
            Some(Ok(Err(error))) if error.code == Code::NotFound => lost += 1,
            Some(Ok(Err(error))) => return Err(error),
            Some(Err(error)) => return Err(local(error.to_string())),
        }
    }
}
