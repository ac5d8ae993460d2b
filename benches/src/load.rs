//! Closed loops: each of `in_flight` tasks does one operation after the other until time is up.

use crate::grpc::{Connection, GrpcError, PutRequest, PutResponse};
use crate::put_options;
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use symbolon_client::{Client, Error};
use tokio::task::{JoinError, JoinSet};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("the first failure of the load: {0}")]
    First(#[from] Failure),
    #[error("a task of the load failed: {0}")]
    Task(#[from] JoinError),
}

/// One operation that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Symbolon(#[from] Error),
    #[error("etcd: {0}")]
    Etcd(#[from] GrpcError),
}

/// The secrets that are chosen among: `count` of them below `root`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paths {
    pub(crate) root: &'static str,
    pub(crate) count: usize,
}

impl Paths {
    /// The path of one, in one of a hundred folders.
    pub(crate) fn path(self, number: usize) -> String {
        let number = number % self.count.max(1);
        format!("{}/{}/{number}", self.root, number % 100)
    }
}

/// Who does what; clones share a connection.
#[derive(Clone)]
pub(crate) enum Doer {
    Symbolon { client: Client, kind: Kind, paths: Paths },
    Etcd { connection: Connection, paths: Paths },
}

impl Doer {
    async fn once(&self, number: usize, value: &Bytes) -> Result<(), Failure> {
        match self {
            Self::Symbolon { client, kind, paths } => {
                let path = paths.path(number);
                match kind {
                    Kind::Read => client.get(&path, None, "bench").await.map(|_| ())?,
                    Kind::Write => client.put(&path, value, put_options()).await.map(|_| ())?,
                }
            }
            Self::Etcd { connection, paths } => {
                let put = PutRequest {
                    key: paths.path(number).into_bytes().into(),
                    value: value.clone(),
                };
                connection.call::<PutResponse>("/etcdserverpb.KV/Put", &put).await?;
            }
        }
        Ok(())
    }
}

/// One load: task `i` uses doer `i` modulo their number.
pub(crate) struct Load {
    pub(crate) doers: Vec<Doer>,
    pub(crate) in_flight: usize,
    pub(crate) seconds: u64,
    pub(crate) value: Bytes,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) operations: u64,
    pub(crate) failed: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) worst_ms: f64,
}

impl Done {
    pub(crate) fn per_second(&self) -> f64 {
        self.operations as f64 / self.seconds
    }
}

/// How often a write is tried that only fills.
const FILL_TRIES: u32 = 3;

/// Writes the secrets from `first` on that reads choose among.
pub(crate) async fn fill(client: &Client, paths: Paths, first: usize, value: &Bytes) -> Result<(), LoadError> {
    let next = Arc::new(AtomicU64::new(first as u64));
    let mut tasks: JoinSet<Result<(), LoadError>> = JoinSet::new();
    for _ in 0..64 {
        let (client, next, value) = (client.clone(), Arc::clone(&next), value.clone());
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed) as usize;
                if number >= paths.count {
                    return Ok(());
                }
                let path = paths.path(number);
                // A leader may change on the way; a second version harms nothing here.
                let mut tries = 0;
                while let Err(error) = client.put(&path, &value, put_options()).await {
                    tries += 1;
                    if tries == FILL_TRIES {
                        return Err(LoadError::First(error.into()));
                    }
                    eprintln!("again: {path}: {error}");
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

impl Load {
    pub(crate) async fn run(self) -> Result<Done, LoadError> {
        let started = Instant::now();
        let until = started + Duration::from_secs(self.seconds);
        let mut tasks = JoinSet::new();
        for (task, doer) in (0..self.in_flight).zip(self.doers.iter().cycle()) {
            let (doer, value, stride) = (doer.clone(), self.value.clone(), self.in_flight);
            tasks.spawn(async move {
                let mut latencies = Vec::new();
                let mut failures = Vec::new();
                // Each task has secrets of its own, so that writers do not conflict.
                let mut number = task;
                while Instant::now() < until {
                    let begun = Instant::now();
                    match doer.once(number, &value).await {
                        Ok(()) => latencies.push(begun.elapsed()),
                        Err(error) => failures.push(error),
                    }
                    number += stride;
                }
                (latencies, failures)
            });
        }
        let (mut latencies, mut failed, mut first) = (Vec::new(), 0, None);
        while let Some(done) = tasks.join_next().await {
            let (mut some, failures) = done?;
            latencies.append(&mut some);
            failed += failures.len() as u64;
            first = first.or(failures.into_iter().next());
        }
        if let (true, Some(error)) = (latencies.is_empty(), first) {
            return Err(LoadError::First(error));
        }
        Ok(Done::of(latencies, failed, started.elapsed()))
    }
}

/// Operations at a fixed rate, by one doer after the other: latencies count from when each was due, so that one that is
/// held up cannot hide those behind it.
pub(crate) struct OpenLoad {
    pub(crate) doers: Vec<Doer>,
    pub(crate) per_second: u32,
    pub(crate) seconds: u64,
}

impl OpenLoad {
    /// One operation by each doer.
    pub(crate) async fn warm_up(&self, value: &Bytes) -> Result<(), LoadError> {
        for (number, doer) in self.doers.iter().enumerate() {
            doer.once(number, value).await?;
        }
        Ok(())
    }

    pub(crate) async fn run(&self, value: &Bytes) -> Result<Done, LoadError> {
        let each = Duration::from_secs(1) / self.per_second.max(1);
        let count = u64::from(self.per_second) * self.seconds;
        let mut tasks = JoinSet::new();
        let started = tokio::time::Instant::now();
        for (number, doer) in (0..count).zip(self.doers.iter().cycle()) {
            let due = started + each * u32::try_from(number).unwrap_or(u32::MAX);
            tokio::time::sleep_until(due).await;
            let (doer, value) = (doer.clone(), value.clone());
            tasks.spawn(async move {
                let done = doer.once(number as usize, &value).await;
                done.map(|()| due.elapsed())
            });
        }
        let (mut latencies, mut failed, mut first) = (Vec::new(), 0, None);
        while let Some(done) = tasks.join_next().await {
            match done? {
                Ok(latency) => latencies.push(latency),
                Err(error) => {
                    failed += 1;
                    first = first.or(Some(error));
                }
            }
        }
        if let (true, Some(error)) = (latencies.is_empty(), first) {
            return Err(LoadError::First(error));
        }
        Ok(Done::of(latencies, failed, started.elapsed()))
    }
}

impl Done {
    fn of(mut latencies: Vec<Duration>, failed: u64, took: Duration) -> Self {
        latencies.sort_unstable();
        let at = |share: f64| {
            let place = (latencies.len() as f64 * share) as usize;
            let found = latencies.get(place.min(latencies.len().saturating_sub(1)));
            found.map_or(0.0, Duration::as_secs_f64) * 1000.0
        };
        Self {
            operations: latencies.len() as u64,
            failed,
            seconds: took.as_secs_f64(),
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            worst_ms: at(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_and_rates_are_those_of_the_latencies() {
        let latencies = (1..=100).rev().map(Duration::from_millis).collect();
        let done = Done::of(latencies, 3, Duration::from_secs(2));
        assert_eq!((done.operations, done.failed), (100, 3));
        assert!((done.per_second() - 50.0).abs() < 1e-9);
        assert!((done.p50_ms - 51.0).abs() < 1e-9 && (done.p99_ms - 100.0).abs() < 1e-9);
    }

    #[test]
    fn paths_are_as_many_as_there_are_secrets() {
        let paths = Paths {
            root: "bench",
            count: 250,
        };
        let mut all: Vec<String> = (0..500).map(|number| paths.path(number)).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 250);
    }
}
