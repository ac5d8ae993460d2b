//! How long nobody is served: a killed leader, a node that restarts; and what one read costs when it waits for no disk.

use crate::load::{Doer, Kind};
use crate::measure;
use crate::rows::Bench;
use crate::{BenchError, put_options};
use std::time::{Duration, Instant};

/// A node that has not come back by then is a failure, not a figure.
const BACK_WITHIN: Duration = Duration::from_secs(120);
/// Between two tries of what does not work yet.
const PAUSE: Duration = Duration::from_millis(5);

impl Bench<'_> {
    /// Kills the leader again and again: from the kill to the next acknowledged write, asked for at once and until it
    /// succeeds, as a client does that has a write to make.
    pub(crate) async fn failover(&mut self) -> Result<(), BenchError> {
        let rounds = self.cli.kills;
        let mut took = Vec::with_capacity(rounds);
        for round in 0..rounds {
            let leader = self.cluster.leader(&self.operator).await?;
            eprintln!("killing the leader, {} of {rounds} …", round + 1);
            self.cluster.kill(leader)?;
            let begun = Instant::now();
            while let Err(error) = self.client.put("failover/key", &self.value, put_options()).await {
                if begun.elapsed() > BACK_WITHIN {
                    return Err(error.into());
                }
                tokio::time::sleep(PAUSE).await;
            }
            eprintln!("… written again after {:.2} s", begun.elapsed().as_secs_f64());
            took.push(begun.elapsed());
            self.cluster.start(leader)?;
            self.cluster.wait_ready(BACK_WITHIN).await?;
            // All three take part again before the next one goes.
            self.client
                .put(
                    "failover/key",
                    &self.value,
                    symbolon_client::PutOptions {
                        level: symbolon_client::Level::Full,
                        ..put_options()
                    },
                )
                .await?;
        }
        took.sort_unstable();
        let (median, worst) = (took.get(took.len() / 2), took.last());
        if let (Some(median), Some(worst)) = (median, worst) {
            println!(
                "leader killed to next acknowledged write: {:.2} s in the middle, {:.2} s at worst of {rounds}",
                median.as_secs_f64(),
                worst.as_secs_f64()
            );
        }
        Ok(())
    }

    /// Restarts all nodes after a kill: from the start of the processes to the first value read.
    pub(crate) async fn restart(&mut self) -> Result<Duration, BenchError> {
        for node in self.cluster.nodes() {
            self.cluster.kill(node)?;
        }
        let begun = Instant::now();
        for node in self.cluster.nodes() {
            self.cluster.start(node)?;
        }
        let path = self.paths.path(0);
        while let Err(error) = self.client.get(&path, None, "bench").await {
            if begun.elapsed() > BACK_WITHIN {
                return Err(error.into());
            }
            tokio::time::sleep(PAUSE).await;
        }
        let took = begun.elapsed();
        self.cluster.wait_ready(BACK_WITHIN).await?;
        Ok(took)
    }

    /// One read at a time, from nodes that answer before their audit record is synced.
    pub(crate) async fn buffered(&mut self) -> Result<(), BenchError> {
        self.cluster.stop_all().await?;
        for node in self.cluster.nodes() {
            let config = self.cluster.paths().config(node);
            let text = std::fs::read_to_string(&config)?;
            std::fs::write(&config, text.replace("audit = \"durable\"", "audit = \"buffered\""))?;
        }
        self.cluster.start_all(BACK_WITHIN).await?;
        let mut table = crate::table::Table::new();
        let doers = vec![self.doer(Kind::Read)];
        self.row(&mut table, "read, buffered audit", 1, doers).await?;
        table.print();
        Ok(())
    }

    /// Reads and writes for minutes, and the memory of the largest node beside them.
    pub(crate) async fn soak(&mut self) -> Result<(), BenchError> {
        for minute in 0..self.cli.soak_minutes {
            let doers = vec![self.doer(Kind::Read), self.doer(Kind::Write)];
            let load = crate::load::Load {
                doers,
                in_flight: 32,
                seconds: 60,
                value: self.value.clone(),
            };
            let done = load.run().await?;
            let memory = measure::largest(&mut self.cluster)?;
            let told = self.told().await?;
            println!(
                "minute {:>3}: {:>6.0} operations/s, largest node {} MiB; memtables {}, blocks {}, index and filter of files {}",
                minute + 1,
                done.per_second(),
                memory / 1024,
                most(&told, "symbolon_store_memtable_bytes")? >> 20,
                most(&told, "symbolon_store_cache_bytes")? >> 20,
                most(&told, "symbolon_store_reader_bytes")? >> 20,
            );
        }
        Ok(())
    }

    /// The metrics of each node.
    async fn told(&self) -> Result<Vec<String>, BenchError> {
        let mut told = Vec::new();
        for node in self.cluster.nodes() {
            told.push(self.cluster.http(node, "/metrics").await?.body);
        }
        Ok(told)
    }

    /// Reads at a fixed rate, each by the next of many connected clients, whether or not the one before has answered.
    pub(crate) async fn open_loop(&mut self) -> Result<(), BenchError> {
        let clients = self.connected(self.cli.agents).await?;
        let doers = clients
            .into_iter()
            .map(|client| Doer::Symbolon {
                client,
                kind: Kind::Read,
                paths: self.paths,
            })
            .collect();
        let load = crate::load::OpenLoad {
            doers,
            per_second: self.cli.rate,
            seconds: self.cli.seconds.max(5),
        };
        eprintln!("{} reads a second from {} clients …", self.cli.rate, self.cli.agents);
        // Every client has read once before it counts.
        load.warm_up(&self.value).await?;
        let done = load.run(&self.value).await?;
        println!(
            "open loop, {} reads/s from {} connected agents: p50 {:.2} ms, p99 {:.2} ms, worst {:.2} ms, {} failed of {}",
            self.cli.rate, self.cli.agents, done.p50_ms, done.p99_ms, done.worst_ms, done.failed, done.operations
        );
        Ok(())
    }
}

/// The greatest value that a node tells of one of its metrics.
fn most(told: &[String], metric: &str) -> Result<u64, BenchError> {
    let value = |of: &String| {
        of.lines()
            .find_map(|line| line.strip_prefix(metric)?.trim().parse::<u64>().ok())
            .ok_or_else(|| BenchError::Metric(metric.to_owned()))
    };
    told.iter().try_fold(0, |most, of| Ok(value(of)?.max(most)))
}
