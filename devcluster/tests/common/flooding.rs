//! What the floods have in common: raw connections to node 1, and what its process has in memory.

use super::{Running, config};
use prost::Message;
use quinn::crypto::rustls::QuicClientConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use symbolon_client::v1;
use symbolon_wire::frame::{ALPN_CLIENT, server_name};
use symbolon_wire::reply::decode_response;
use symbolon_wire::v1::{request::Kind, response};

/// Whoever gets in at all gets in within this time, however busy the machine is.
pub const IN_TIME: Duration = Duration::from_secs(30);

/// Where node 1 listens.
pub fn first_node(run: &Running) -> SocketAddr {
    run.operator.roster().nodes[0].address.parse().unwrap()
}

/// How to connect to node 1 as a client.
pub fn quic(run: &Running, identity: symbolon_wire::tls::Identity) -> quinn::ClientConfig {
    let crypto = QuicClientConfig::try_from(config(run, identity, ALPN_CLIENT)).unwrap();
    quinn::ClientConfig::new(Arc::new(crypto))
}

/// An endpoint at this address.
pub fn endpoint(address: &str) -> quinn::Endpoint {
    quinn::Endpoint::client(address.parse().unwrap()).unwrap()
}

/// Connects to node 1 and waits for its first message; or why that did not come.
pub async fn enter(
    endpoint: &quinn::Endpoint,
    config: quinn::ClientConfig,
    to: SocketAddr,
) -> Result<quinn::Connection, String> {
    let entering = async {
        let connecting = endpoint.connect_with(config, to, &server_name(1));
        let connection = connecting
            .map_err(|refused| refused.to_string())?
            .await
            .map_err(|refused| format!("connecting: {refused}"))?;
        let greeted = connection.accept_uni().await;
        greeted.map_err(|refused| format!("waiting for its first message: {refused}"))?;
        Ok(connection)
    };
    let entered = tokio::time::timeout(IN_TIME, entering).await;
    entered.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

/// What node 1 answers to one message, whole or in part.
pub async fn ask(connection: &quinn::Connection, bytes: &[u8]) -> Option<response::Result> {
    let (mut send, mut receive) = connection.open_bi().await.ok()?;
    // The node may answer before it has everything.
    let _ = send.write_all(bytes).await;
    let _ = send.finish();
    let frame = receive.read_to_end(1 << 20).await.ok()?;
    decode_response(frame).ok()?.0.result
}

/// Whether a registered key is let in at node 1 and answered as such; or why not.
pub async fn served(endpoint: &quinn::Endpoint, config: quinn::ClientConfig, to: SocketAddr) -> Result<(), String> {
    let status = v1::Request {
        kind: Some(Kind::Status(v1::StatusRequest::default())),
    };
    let connection = enter(endpoint, config, to).await?;
    match tokio::time::timeout(IN_TIME, ask(&connection, &status.encode_to_vec())).await {
        Ok(Some(response::Result::Status(_))) => Ok(()),
        other => Err(format!("no status: {other:?}")),
    }
}

/// Lets an agent try until it is served, and tells how often it was not: its packets may be lost among the others, and
/// what proves its address grows old meanwhile.
pub async fn gets_in(run: &Running, endpoint: &quinn::Endpoint, config: &quinn::ClientConfig) -> usize {
    let (asked, mut again) = (Instant::now(), 0);
    while let Err(why) = served(endpoint, config.clone(), first_node(run)).await {
        // It is never taken for a stranger.
        assert!(!why.contains("nobody has registered"), "{why}");
        println!("after {:.1} s: {why}", asked.elapsed().as_secs_f64());
        again += 1;
        assert!(asked.elapsed() < 2 * IN_TIME, "an agent was kept out\n{}", run.logs());
    }
    again
}

/// What a node's process has in memory, against before.
pub struct Memory {
    node: u16,
    pub before_kib: u64,
}

impl Memory {
    pub fn of(run: &mut Running, node: u16) -> Self {
        let before_kib = resident_kib(run, node);
        Self { node, before_kib }
    }

    /// How much more than before the node has had at its peak.
    pub fn growth_kib(&self, run: &mut Running) -> u64 {
        status_kib(run, self.node, "VmHWM:").saturating_sub(self.before_kib)
    }
}

/// What a node has in memory.
pub fn resident_kib(run: &mut Running, node: u16) -> u64 {
    status_kib(run, node, "VmRSS:")
}

fn status_kib(run: &mut Running, node: u16, field: &str) -> u64 {
    let pid = run.cluster.pid(node).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
