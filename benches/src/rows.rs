//! What is measured, row by row.

use crate::etcd::{self, Etcd};
use crate::instructions;
use crate::load::{self, Doer, Done, Kind, Load, Paths};
use crate::measure::{self, Usage};
use crate::plot::Figures;
use crate::table::Table;
use crate::{BenchError, Cli, Rows, put_options};
use bytes::Bytes;
use std::time::Duration;
use symbolon_client::{Client, Options, v1};
use symbolon_devcluster::{AgentSpec, Cluster, Spec};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// Operations in flight in the rows about something else.
const IN_FLIGHT: usize = 64;
/// Connections to etcd: as its own benchmark tool uses several.
const ETCD_CONNECTIONS: usize = 8;

/// A running cluster and what has been found so far.
pub(crate) struct Bench<'a> {
    pub(crate) cli: &'a Cli,
    folder: TempDir,
    pub(crate) cluster: Cluster,
    pub(crate) operator: Client,
    pub(crate) client: Client,
    pub(crate) value: Bytes,
    pub(crate) paths: Paths,
    /// Clients with identities of their own, kept connected.
    clients: Vec<Client>,
    /// KiB of the largest idle node.
    idle_kib: u64,
    /// Bytes on disk a secret and node.
    disk: u64,
    counts: bool,
    /// Figures for the comparison: in flight, ours and etcd's writes a second.
    ratios: Vec<(usize, f64, f64)>,
}

impl<'a> Bench<'a> {
    pub(crate) async fn start(cli: &'a Cli) -> Result<Self, BenchError> {
        let folder = tempfile::Builder::new().prefix("symbolon-bench").tempdir()?;
        eprintln!("starting three nodes with three SoftHSM tokens …");
        let spec = Spec {
            log_level: "warn",
            ..Spec::default()
        };
        let mut cluster = Cluster::create(folder.path().join("cluster"), spec).await?;
        cluster.start_all(Duration::from_secs(30)).await?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let idle_kib = measure::largest(&mut cluster)?;

        let operator = cluster.operator().await?;
        let all = v1::PolicySource {
            name: "bench.cedar".to_owned(),
            text: "@id(\"bench\") permit(principal, action, resource);".to_owned(),
        };
        operator.set_policies(None, vec![all]).await?;
        let agent = cluster.agent(&operator, AgentSpec::new("bench", &["benches"])).await?;
        let client = cluster.client(agent, Options::default()).await?;
        let counts = match instructions::supported() {
            Ok(()) => true,
            Err(why) => {
                eprintln!("no instructions per operation: {why}");
                false
            }
        };
        let mut bench = Self {
            cli,
            folder,
            cluster,
            operator,
            client,
            value: vec![0x5a; cli.value_bytes].into(),
            paths: Paths {
                root: "bench",
                count: cli.secrets.max(1),
            },
            clients: Vec::new(),
            idle_kib,
            disk: 0,
            counts,
            ratios: Vec::new(),
        };
        bench.fill().await?;
        Ok(bench)
    }

    async fn fill(&mut self) -> Result<(), BenchError> {
        eprintln!("writing {} secrets of {} bytes …", self.paths.count, self.value.len());
        let empty = measure::disk(&self.cluster)?;
        load::fill(&self.client, self.paths, 0, &self.value).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let filled = measure::disk(&self.cluster)?;
        self.disk = filled.saturating_sub(empty) / (3 * self.paths.count as u64);
        Ok(())
    }

    pub(crate) fn doer(&self, kind: Kind) -> Doer {
        Doer::Symbolon {
            client: self.client.clone(),
            kind,
            paths: self.paths,
        }
    }

    /// Runs one load on our cluster and adds its row.
    pub(crate) async fn row(
        &mut self,
        table: &mut Table,
        name: &str,
        in_flight: usize,
        doers: Vec<Doer>,
    ) -> Result<Done, BenchError> {
        eprintln!("{name} at {in_flight} …");
        let load = Load {
            doers,
            in_flight,
            seconds: self.cli.seconds,
            value: self.value.clone(),
        };
        let before = Usage::now(&mut self.cluster, &self.operator).await?;
        let counter = match self.counts {
            true => instructions::Counter::start(&measure::pids(&mut self.cluster)?),
            false => None,
        };
        let done = load.run().await?;
        let counted = counter.and_then(instructions::Counter::stop);
        let mut used = Usage::now(&mut self.cluster, &self.operator).await?.since(&before);
        used.instructions = counted;
        table.add(name, in_flight, &done, &used);
        Ok(done)
    }

    /// Reads and writes at each number in flight; writes in turn with puts to etcd.
    pub(crate) async fn base(&mut self) -> Result<(), BenchError> {
        let etcd = self.etcd().await?;
        let (mut table, mut figures) = (Table::new(), Figures::default());
        for &in_flight in &self.cli.in_flight {
            let doers = vec![self.doer(Kind::Read)];
            let done = self.row(&mut table, "read", in_flight, doers).await?;
            figures.add("read", in_flight, &done);
        }
        for &in_flight in &self.cli.in_flight {
            let doers = vec![self.doer(Kind::Write)];
            let ours = self.row(&mut table, "write", in_flight, doers).await?;
            figures.add("write", in_flight, &ours);
            if let Some(etcd) = &etcd {
                let theirs = self.put(&mut table, etcd, in_flight).await?;
                figures.add("etcd put", in_flight, &theirs);
                self.ratios.push((in_flight, ours.per_second(), theirs.per_second()));
            }
        }
        table.print();
        if let Some(file) = &self.cli.plot {
            figures.draw(file)?;
            println!("plot: {}", file.display());
        }
        println!(
            "CPU-µs: all three nodes together, and the client, an operation. Syncs: all three nodes together, an operation."
        );
        for (in_flight, ours, theirs) in &self.ratios {
            println!(
                "writes against etcd's puts at {in_flight:>4} in flight: {:.2}",
                ours / theirs.max(1e-9)
            );
        }
        if let Some(etcd) = &etcd {
            println!("largest etcd member after the load  {} MiB", etcd.memory()? / 1024);
        }
        Ok(())
    }

    /// etcd's members, if they are wanted and there is an etcd.
    async fn etcd(&self) -> Result<Option<Etcd>, BenchError> {
        if !self.cli.rows.contains(&Rows::Etcd) {
            return Ok(None);
        }
        let Some(version) = etcd::version() else {
            println!("no etcd beside: it is not installed (Debian: apt-get install etcd-server)");
            return Ok(None);
        };
        eprintln!("starting three members of etcd {version} …");
        Ok(Some(Etcd::start(&self.folder.path().join("etcd")).await?))
    }

    async fn put(&self, table: &mut Table, etcd: &Etcd, in_flight: usize) -> Result<Done, BenchError> {
        eprintln!("etcd put at {in_flight} …");
        let connections = etcd.connections(ETCD_CONNECTIONS.min(in_flight)).await?;
        let doers = connections.into_iter().map(|connection| Doer::Etcd {
            connection,
            paths: self.paths,
        });
        let load = Load {
            doers: doers.collect(),
            in_flight,
            seconds: self.cli.seconds,
            value: self.value.clone(),
        };
        let (before, own) = (etcd.used_us()?, measure::own_us()?);
        let done = load.run().await?;
        let used = measure::Used {
            nodes_us: etcd.used_us()? - before,
            client_us: measure::own_us()? - own,
            syncs: None,
            instructions: None,
        };
        table.add("etcd put", in_flight, &done, &used);
        Ok(done)
    }

    /// So many clients, each with an identity and connections of its own.
    pub(crate) async fn connected(&mut self, count: usize) -> Result<Vec<Client>, BenchError> {
        if self.clients.len() < count {
            eprintln!("connecting {count} clients …");
        }
        while self.clients.len() < count {
            let name = format!("client-{}", self.clients.len());
            let agent = AgentSpec::new(&name, &["benches"]);
            let agent = self.cluster.agent(&self.operator, agent).await?;
            self.clients.push(self.cluster.client(agent, Options::default()).await?);
        }
        Ok(self.clients.iter().take(count).cloned().collect())
    }

    /// Many clients with one operation in flight each.
    pub(crate) async fn clients(&mut self) -> Result<(), BenchError> {
        let mut table = Table::new();
        let mut counts = self.cli.clients.clone();
        counts.sort_unstable();
        for count in counts {
            let clients = self.connected(count).await?;
            for kind in [Kind::Read, Kind::Write] {
                let paths = self.paths;
                let doers = clients.iter().map(|client| Doer::Symbolon {
                    client: client.clone(),
                    kind,
                    paths,
                });
                let doers = doers.collect();
                let name = format!("{kind}, {count} clients");
                self.row(&mut table, &name, count, doers).await?;
            }
        }
        table.print();
        Ok(())
    }

    /// Reads over secrets that as many authors wrote, each under a sealing session of its own.
    pub(crate) async fn dealers(&mut self) -> Result<(), BenchError> {
        let count = self.cli.dealers;
        if count == 0 {
            return Ok(());
        }
        eprintln!("writing {count} secrets by {count} authors …");
        let paths = Paths { root: "dealers", count };
        for first in (0..count).step_by(32) {
            let mut authors = JoinSet::new();
            for number in first..count.min(first + 32) {
                let name = format!("dealer-{number}");
                let agent = self
                    .cluster
                    .agent(&self.operator, AgentSpec::new(&name, &["benches"]))
                    .await?;
                let client = self.cluster.client(agent, Options::default()).await?;
                let (path, value) = (paths.path(number), self.value.clone());
                authors.spawn(async move { client.put(&path, &value, put_options()).await });
            }
            while let Some(done) = authors.join_next().await {
                done??;
            }
        }
        let mut table = Table::new();
        for &in_flight in &self.cli.in_flight {
            let doer = Doer::Symbolon {
                client: self.client.clone(),
                kind: Kind::Read,
                paths,
            };
            let name = format!("read, {count} authors");
            self.row(&mut table, &name, in_flight, vec![doer]).await?;
        }
        table.print();
        Ok(())
    }

    /// More and more secrets.
    pub(crate) async fn scale(&mut self) -> Result<(), BenchError> {
        let mut table = Table::new();
        let mut lines = Vec::new();
        let mut counts = self.cli.scale.clone();
        counts.sort_unstable();
        for count in counts {
            if count > self.paths.count {
                eprintln!("writing up to {count} secrets …");
                let first = self.paths.count;
                self.paths.count = count;
                load::fill(&self.client, self.paths, first, &self.value).await?;
            }
            // Fewer than there are already cannot be measured any more.
            let count = self.paths.count;
            for kind in [Kind::Read, Kind::Write] {
                let name = format!("{kind}, {count} secrets");
                let doers = vec![self.doer(kind)];
                self.row(&mut table, &name, IN_FLIGHT, doers).await?;
            }
            let memory = measure::largest(&mut self.cluster)?;
            let disk = measure::disk(&self.cluster)? / 3;
            let restart = self.restart().await?;
            lines.push(format!(
                "at {count} secrets: {} MiB a node, {} MiB on disk, all nodes killed and started to the first value {:.2} s",
                memory / 1024,
                disk >> 20,
                restart.as_secs_f64()
            ));
        }
        table.print();
        lines.iter().for_each(|line| println!("{line}"));
        Ok(())
    }

    pub(crate) fn end_of_load(&mut self) -> Result<(), BenchError> {
        let after = measure::largest(&mut self.cluster)?;
        println!("idle node            {} MiB", self.idle_kib / 1024);
        println!("node after the load  {} MiB", after / 1024);
        println!("disk per secret      {} bytes a node, log included", self.disk);
        Ok(())
    }

    pub(crate) async fn stop(mut self) -> Result<(), BenchError> {
        self.cluster.stop_all().await?;
        Ok(())
    }
}
