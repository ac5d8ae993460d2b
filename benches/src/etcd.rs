//! etcd beside us: three members of Debian's `etcd-server` on loopback, each with a folder of its own, started and ended
//! here. Its defaults stand: a put is answered after a majority has synced it.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::grpc::{Connection, GrpcError, LeaderRequest, LeaderStatus};
use crate::measure::{self, MeasureError};

/// How long the members have to find each other.
const START: Duration = Duration::from_secs(20);

#[derive(Debug, thiserror::Error)]
pub(crate) enum EtcdError {
    #[error("etcd: {0}")]
    Io(#[from] std::io::Error),
    #[error("etcd: {0}")]
    Grpc(#[from] GrpcError),
    #[error(transparent)]
    Measure(#[from] MeasureError),
    #[error("etcd: no leader within {} s; its members wrote: {log}", START.as_secs())]
    NoLeader { log: String },
}

/// Three members; they end with this.
pub(crate) struct Etcd {
    members: Vec<Child>,
    clients: Vec<SocketAddr>,
    logs: Vec<std::path::PathBuf>,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            // One that has ended by itself is gone already.
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}

/// Free addresses on loopback: taken once and given back, so that another may take them first.
fn addresses(count: usize) -> std::io::Result<Vec<SocketAddr>> {
    let taken: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind(("127.0.0.1", 0)))
        .collect::<std::io::Result<_>>()?;
    taken.iter().map(TcpListener::local_addr).collect()
}

/// Whether there is an etcd to compare with, and which.
pub(crate) fn version() -> Option<String> {
    let told = Command::new("etcd")
        .arg("--version")
        .env_clear()
        .env("PATH", path())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    text.lines().next()?.strip_prefix("etcd Version: ").map(str::to_owned)
}

fn path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}

impl Etcd {
    /// Starts three members below `folder` and waits for their leader.
    pub(crate) async fn start(folder: &Path) -> Result<Self, EtcdError> {
        let (peers, clients) = (addresses(3)?, addresses(3)?);
        let name = |at: usize| format!("member-{}", at + 1);
        let cluster: Vec<String> = (0..)
            .zip(&peers)
            .map(|(at, peer)| format!("{}=http://{peer}", name(at)))
            .collect();
        let mut etcd = Self {
            members: Vec::new(),
            clients: clients.clone(),
            logs: Vec::new(),
        };
        for (at, (peer, client)) in peers.iter().zip(&clients).enumerate() {
            let data = folder.join(name(at));
            std::fs::create_dir_all(&data)?;
            let log = data.join("log");
            let member = Command::new("etcd")
                // Settings of a system-wide etcd come by the environment.
                .env_clear()
                .env("PATH", path())
                .args(["--name", &name(at), "--logger", "zap", "--log-level", "error"])
                .arg("--data-dir")
                .arg(data.join("data"))
                .args(["--listen-peer-urls", &format!("http://{peer}")])
                .args(["--initial-advertise-peer-urls", &format!("http://{peer}")])
                .args(["--listen-client-urls", &format!("http://{client}")])
                .args(["--advertise-client-urls", &format!("http://{client}")])
                .args(["--initial-cluster", &cluster.join(",")])
                .args([
                    "--initial-cluster-state",
                    "new",
                    "--initial-cluster-token",
                    "symbolon-bench",
                ])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(std::fs::File::create(&log)?)
                .spawn()?;
            etcd.members.push(member);
            etcd.logs.push(log);
        }
        etcd.leader().await?;
        Ok(etcd)
    }

    /// The member that leads: it is written to, which is the best case for etcd.
    async fn leader(&self) -> Result<SocketAddr, EtcdError> {
        let until = Instant::now() + START;
        while Instant::now() < until {
            for client in &self.clients {
                if leads(*client).await.unwrap_or(false) {
                    return Ok(*client);
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let log = self
            .logs
            .iter()
            .filter_map(|log| std::fs::read_to_string(log).ok())
            .collect();
        Err(EtcdError::NoLeader { log })
    }

    /// Connections to the leader.
    pub(crate) async fn connections(&self, count: usize) -> Result<Vec<Connection>, EtcdError> {
        let leader = self.leader().await?;
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(Connection::open(leader).await?);
        }
        Ok(connections)
    }

    /// User and system time of all members, µs.
    pub(crate) fn used_us(&self) -> Result<f64, EtcdError> {
        let mut total = 0.0;
        for member in &self.members {
            total += measure::process_us(member.id())?;
        }
        Ok(total)
    }

    /// Resident memory of the largest member, KiB.
    pub(crate) fn memory(&self) -> Result<u64, EtcdError> {
        let mut largest = 0;
        for member in &self.members {
            largest = largest.max(measure::resident_kib(member.id())?);
        }
        Ok(largest)
    }
}

async fn leads(member: SocketAddr) -> Result<bool, GrpcError> {
    let connection = Connection::open(member).await?;
    let status: LeaderStatus = connection
        .call("/etcdserverpb.Maintenance/Status", &LeaderRequest {})
        .await?;
    Ok(status.leader != 0 && status.header.is_some_and(|header| header.member_id == status.leader))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_different_and_on_loopback() {
        let mut found = addresses(6).unwrap();
        assert!(found.iter().all(|one| one.ip().is_loopback() && one.port() != 0));
        found.sort();
        found.dedup();
        assert_eq!(found.len(), 6);
    }
}
