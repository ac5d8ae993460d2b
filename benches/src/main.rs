//! The load driver behind `make bench`: a real cluster of three processes and one client process on the same machine, and
//! beside it, taken in turn, three members of etcd.
//!
//! Closed loops of reads and writes at fixed numbers in flight. For each: operations a second, latency, CPU-µs an
//! operation for all nodes together and for the client, instructions where they are counted, syncs an operation, and at
//! the end memory a node and bytes on disk a secret. Absolute figures depend on the machine; compare runs taken in turn.
#![forbid(unsafe_code)]

mod etcd;
mod grpc;
mod instructions;
mod load;
mod measure;
mod outages;
mod plot;
mod rows;
mod table;

use clap::{Parser, ValueEnum};
use load::LoadError;
use rows::Bench;
use std::path::PathBuf;
use std::process::ExitCode;
use symbolon_client::{Error as ClientError, PutOptions};
use symbolon_devcluster::{AgentError, ClusterError, CreateError};

/// Measures a local cluster: reads (2 of 3, durable audit) and writes of 1 KiB values, and puts to etcd beside them.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Seconds of load for each figure
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// In flight at once
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256")]
    in_flight: Vec<usize>,
    /// Bytes of each value
    #[arg(long, default_value_t = 1024)]
    value_bytes: usize,
    /// Secrets that reads choose among
    #[arg(long, default_value_t = 1000)]
    secrets: usize,
    /// What is measured beside the base
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "etcd,clients,open,scale,dealers,failover,buffered"
    )]
    rows: Vec<Rows>,
    /// Connected clients, each with one operation in flight
    #[arg(long, value_delimiter = ',', default_value = "1,10,100,1000")]
    clients: Vec<usize>,
    /// Secrets kept, ascending; a million takes many minutes and gigabytes
    #[arg(long, value_delimiter = ',', default_value = "1000,10000")]
    scale: Vec<usize>,
    /// Reads a second of the open loop
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// Connected agents of the open loop
    #[arg(long, default_value_t = 1000)]
    agents: usize,
    /// How often the leader is killed
    #[arg(long, default_value_t = 10)]
    kills: usize,
    /// Minutes of load, with the memory of each
    #[arg(long, default_value_t = 60)]
    soak_minutes: u32,
    /// Draws reads, writes and etcd's puts over the number in flight, as SVG
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Authors, each of one secret that is read
    #[arg(long, default_value_t = 1000)]
    dealers: usize,
}

/// Rows beside those of the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Rows {
    /// Only the base
    None,
    /// Puts to three members of etcd
    Etcd,
    /// One to many connected clients
    Clients,
    /// Few to many secrets
    Scale,
    /// Reads of secrets that many authors wrote
    Dealers,
    /// Reads at a fixed rate from many connected agents
    Open,
    /// The leader killed again and again
    Failover,
    /// Single reads that wait for no disk
    Buffered,
    /// Memory under load for an hour
    Soak,
}

#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error(transparent)]
    Create(#[from] CreateError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Measure(#[from] measure::MeasureError),
    #[error(transparent)]
    Plot(#[from] plot::PlotError),
    #[error(transparent)]
    Etcd(#[from] etcd::EtcdError),
    #[error("a node does not tell {0}")]
    Metric(String),
    #[error("a task failed: {0}")]
    Task(#[from] tokio::task::JoinError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let ran = runtime
        .map_err(BenchError::from)
        .and_then(|runtime| runtime.block_on(run(&cli)));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: &Cli) -> Result<(), BenchError> {
    let mut bench = Bench::start(cli).await?;
    bench.base().await?;
    let chosen = |rows: Rows| cli.rows.contains(&rows);
    if chosen(Rows::Clients) {
        bench.clients().await?;
    }
    if chosen(Rows::Open) {
        bench.open_loop().await?;
    }
    if chosen(Rows::Dealers) {
        bench.dealers().await?;
    }
    if chosen(Rows::Scale) {
        bench.scale().await?;
    }
    if chosen(Rows::Failover) {
        bench.failover().await?;
    }
    if chosen(Rows::Soak) {
        bench.soak().await?;
    }
    bench.end_of_load()?;
    if chosen(Rows::Buffered) {
        bench.buffered().await?;
    }
    bench.stop().await
}

/// Options of every write.
fn put_options() -> PutOptions {
    PutOptions::default()
}
