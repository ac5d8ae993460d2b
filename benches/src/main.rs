//! The load driver behind `make bench`: a real cluster of three processes and one client process on the same machine.
//!
//! Closed loops of reads and writes at fixed numbers in flight. For each: operations a second, latency, CPU-µs an
//! operation for all nodes together and for the client, syncs an operation, and at the end memory a node and bytes on
//! disk a secret. Absolute figures depend on the machine; compare runs taken in turn.
#![forbid(unsafe_code)]

mod load;
mod measure;

use clap::Parser;
use load::{Kind, Load, LoadError};
use measure::Usage;
use std::process::ExitCode;
use std::time::Duration;
use symbolon_client::{Error as ClientError, Options, PutOptions, v1};
use symbolon_devcluster::{AgentError, AgentSpec, Cluster, ClusterError, CreateError, Spec};

/// Measures a local cluster: reads (2 of 3, durable audit) and writes of 1 KiB values.
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
    let folder = tempfile::Builder::new().prefix("symbolon-bench").tempdir()?;
    eprintln!("starting three nodes with three SoftHSM tokens …");
    let mut cluster = Cluster::create(
        folder.path().join("cluster"),
        Spec {
            log_level: "warn",
            ..Spec::default()
        },
    )
    .await?;
    cluster.start_all(Duration::from_secs(30)).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let idle = measure::memory(&mut cluster)?;

    let operator = cluster.operator().await?;
    let all = v1::PolicySource {
        name: "bench.cedar".to_owned(),
        text: "@id(\"bench\") permit(principal, action, resource);".to_owned(),
    };
    operator.set_policies(None, vec![all]).await?;
    let agent = cluster.agent(&operator, AgentSpec::new("bench", &["benches"])).await?;
    let client = cluster.client(agent, Options::default()).await?;

    eprintln!("writing {} secrets of {} bytes …", cli.secrets, cli.value_bytes);
    let empty = measure::disk(&cluster)?;
    let value = vec![0x5a; cli.value_bytes];
    load::fill(&client, cli.secrets, &value).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let filled = measure::disk(&cluster)?;

    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
        "operation",
        "in flight",
        "per second",
        "p50 ms",
        "p99 ms",
        "CPU-µs nodes",
        "CPU-µs client",
        "syncs",
        "failed",
    ]);
    for kind in [Kind::Read, Kind::Write] {
        for &in_flight in &cli.in_flight {
            eprintln!("{kind} at {in_flight} …");
            let load = Load {
                client: client.clone(),
                kind,
                in_flight,
                seconds: cli.seconds,
                secrets: cli.secrets,
                value: value.clone(),
            };
            let before = Usage::now(&mut cluster, &operator).await?;
            let done = load.run().await?;
            let used = Usage::now(&mut cluster, &operator).await?.since(&before);
            let each = |total: f64| format!("{:.1}", total / done.operations.max(1) as f64);
            table.add_row([
                kind.to_string(),
                in_flight.to_string(),
                format!("{:.0}", done.operations as f64 / done.seconds),
                format!("{:.2}", done.p50_ms),
                format!("{:.2}", done.p99_ms),
                each(used.nodes_us),
                each(used.client_us),
                format!("{:.2}", used.syncs as f64 / done.operations.max(1) as f64),
                done.failed.to_string(),
            ]);
        }
    }
    println!("{table}");
    println!(
        "CPU-µs: all three nodes together, and the client, an operation. Syncs: all three nodes together, an operation."
    );
    println!(
        "idle node            {} MiB",
        idle.iter().max().copied().unwrap_or_default() / 1024
    );
    println!(
        "node after the load  {} MiB",
        measure::memory(&mut cluster)?.iter().max().copied().unwrap_or_default() / 1024
    );
    println!(
        "disk per secret      {} bytes a node, log included",
        filled.saturating_sub(empty) / (3 * cli.secrets as u64)
    );
    cluster.stop_all().await?;
    Ok(())
}

/// Options of every write.
fn put_options() -> PutOptions {
    PutOptions::default()
}
