//! Closed loops: each of `in_flight` tasks does one operation after the other until time is up.

use crate::put_options;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use symbolon_client::{Client, Error};
use tokio::task::JoinError;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
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
    First(Error),
    #[error("a task of the load failed: {0}")]
    Task(#[from] JoinError),
}

/// One load.
pub(crate) struct Load {
    pub(crate) client: Client,
    pub(crate) kind: Kind,
    pub(crate) in_flight: usize,
    pub(crate) seconds: u64,
    pub(crate) secrets: usize,
    pub(crate) value: Vec<u8>,
}

/// What came of it.
pub(crate) struct Done {
    pub(crate) operations: u64,
    pub(crate) failed: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

fn path(number: usize) -> String {
    format!("bench/{}/{number}", number % 100)
}

/// Writes the secrets that reads choose among.
pub(crate) async fn fill(client: &Client, secrets: usize, value: &[u8]) -> Result<(), LoadError> {
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks: tokio::task::JoinSet<Result<(), LoadError>> = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let (client, next, value) = (client.clone(), Arc::clone(&next), value.to_vec());
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed) as usize;
                if number >= secrets {
                    return Ok(());
                }
                client
                    .put(&path(number), &value, put_options())
                    .await
                    .map_err(LoadError::First)?;
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
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..self.in_flight {
            let (client, value) = (self.client.clone(), self.value.clone());
            let (kind, secrets, stride) = (self.kind, self.secrets, self.in_flight);
            tasks.spawn(async move {
                let mut latencies = Vec::new();
                let mut failures = Vec::new();
                // Each task has secrets of its own, so that writers do not conflict.
                let mut number = task;
                while Instant::now() < until {
                    let begun = Instant::now();
                    let done = match kind {
                        Kind::Read => client.get(&path(number % secrets), None, "bench").await.map(|_| ()),
                        Kind::Write => client
                            .put(&path(number % secrets), &value, put_options())
                            .await
                            .map(|_| ()),
                    };
                    match done {
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
        let seconds = started.elapsed().as_secs_f64();
        latencies.sort_unstable();
        let at = |share: f64| {
            let place = (latencies.len() as f64 * share) as usize;
            latencies
                .get(place.min(latencies.len().saturating_sub(1)))
                .map_or(0.0, Duration::as_secs_f64)
                * 1000.0
        };
        Ok(Done {
            operations: latencies.len() as u64,
            failed,
            seconds,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
        })
    }
}
