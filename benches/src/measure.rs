//! What the processes used: CPU, memory, syncs, disk.

use nix::sys::resource::{UsageWho, getrusage};
use std::path::Path;
use symbolon_client::Client;
use symbolon_devcluster::{Cluster, ClusterError};

#[derive(Debug, thiserror::Error)]
pub(crate) enum MeasureError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the kernel does not say what this process used: {0}")]
    Own(nix::Error),
    #[error("/proc of a node cannot be read")]
    Proc,
}

/// Totals so far.
pub(crate) struct Usage {
    pub(crate) nodes_us: f64,
    pub(crate) client_us: f64,
    pub(crate) syncs: u64,
}

/// What was used between two of them.
pub(crate) struct Used {
    pub(crate) nodes_us: f64,
    pub(crate) client_us: f64,
    /// Counted by our nodes only.
    pub(crate) syncs: Option<u64>,
    /// Where the machine counts them.
    pub(crate) instructions: Option<u64>,
}

impl Usage {
    pub(crate) async fn now(cluster: &mut Cluster, operator: &Client) -> Result<Self, MeasureError> {
        let mut nodes_us = 0.0;
        for node in cluster.nodes() {
            nodes_us += process_us(cluster.pid(node)?)?;
        }
        let client_us = own_us()?;
        let syncs = operator
            .status()
            .await
            .into_iter()
            .filter_map(|(_, status)| status.ok())
            .map(|s| s.syncs)
            .sum();
        Ok(Self {
            nodes_us,
            client_us,
            syncs,
        })
    }

    pub(crate) fn since(&self, before: &Self) -> Used {
        Used {
            nodes_us: self.nodes_us - before.nodes_us,
            client_us: self.client_us - before.client_us,
            // A node that did not answer the second time makes the sum smaller.
            syncs: self.syncs.checked_sub(before.syncs),
            instructions: None,
        }
    }
}

/// User and system time of this process, µs.
pub(crate) fn own_us() -> Result<f64, MeasureError> {
    let own = getrusage(UsageWho::RUSAGE_SELF).map_err(MeasureError::Own)?;
    let us = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64;
    Ok(us(own.user_time()) + us(own.system_time()))
}

/// Process ids of the nodes.
pub(crate) fn pids(cluster: &mut Cluster) -> Result<Vec<u32>, MeasureError> {
    let nodes = cluster.nodes();
    nodes.into_iter().map(|node| Ok(cluster.pid(node)?)).collect()
}

/// User and system time of a process, µs; the kernel counts in ticks of 10 ms.
pub(crate) fn process_us(pid: u32) -> Result<f64, MeasureError> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').ok_or(MeasureError::Proc)?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || {
        fields
            .next()
            .and_then(|ticks| ticks.parse::<f64>().ok())
            .ok_or(MeasureError::Proc)
    };
    Ok((ticks()? + ticks()?) * 10_000.0)
}

/// Resident memory of each node, KiB.
fn memory(cluster: &mut Cluster) -> Result<Vec<u64>, MeasureError> {
    pids(cluster)?.into_iter().map(resident_kib).collect()
}

/// KiB resident of the node that holds most.
pub(crate) fn largest(cluster: &mut Cluster) -> Result<u64, MeasureError> {
    Ok(memory(cluster)?.into_iter().max().unwrap_or_default())
}

/// Resident memory of a process, KiB.
pub(crate) fn resident_kib(pid: u32) -> Result<u64, MeasureError> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .ok_or(MeasureError::Proc)?;
    let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok());
    kib.ok_or(MeasureError::Proc)
}

/// Bytes on disk of all nodes' data.
pub(crate) fn disk(cluster: &Cluster) -> Result<u64, MeasureError> {
    cluster
        .nodes()
        .into_iter()
        .map(|node| folder(&cluster.paths().data(node)))
        .sum()
}

fn folder(path: &Path) -> Result<u64, MeasureError> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.metadata()?;
        // Lengths, not blocks: the database reserves blocks for its write-ahead log long before it fills them.
        bytes += if kind.is_dir() {
            folder(&entry.path())?
        } else {
            kind.len()
        };
    }
    Ok(bytes)
}
