//! What every end-to-end test starts from: one cluster at a time, of real processes with real SoftHSM tokens.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

pub mod flooding;
pub mod lossy;
pub mod serving;
pub mod writers;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use symbolon_client::{Client, Code, Error, Opened, Options, v1};
use symbolon_crypto::provider::AwsLc;
use symbolon_crypto::sign::SigningKey;
use symbolon_devcluster::{AgentSpec, Cluster, Spec};
use symbolon_wire::tls;
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

/// One cluster at a time: the machine has two cores, and its figures are asserted.
static TURN: Mutex<()> = Mutex::const_new(());

/// Policies that let the group `writers` do all and `readers` read below `prod`.
pub const POLICIES: &str = r#"@id("writers") permit(principal in Group::"writers", action, resource);
@id("readers") permit(principal in Group::"readers", action == Action::"read", resource in Folder::"prod");
@id("operators") permit(principal in Group::"operators", action, resource);
"#;

/// A running cluster and who uses it.
pub struct Running {
    /// The cluster.
    pub cluster: Cluster,
    /// Its operator.
    pub operator: Client,
    /// An agent of the group `writers`.
    pub writer: Client,
    /// An agent of the group `readers`.
    pub reader: Client,
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// Starts three nodes, sets the policies, registers two agents.
pub async fn running() -> Running {
    running_as(Spec::default()).await
}

/// The same with a cluster of this kind.
pub async fn running_as(spec: Spec) -> Running {
    let turn = TURN.lock().await;
    let folder = tempfile::Builder::new().prefix("symbolon-e2e").tempdir().unwrap();
    let mut cluster = Cluster::create(folder.path().join("cluster"), spec).await.unwrap();
    cluster.start_all(Duration::from_secs(60)).await.unwrap();
    let operator = cluster.operator().await.unwrap();
    operator
        .set_policies(
            None,
            vec![v1::PolicySource {
                name: "e2e.cedar".to_owned(),
                text: POLICIES.to_owned(),
            }],
        )
        .await
        .unwrap();
    let writer = cluster
        .agent(&operator, AgentSpec::new("writer", &["writers"]))
        .await
        .unwrap();
    let reader = cluster
        .agent(&operator, AgentSpec::new("reader", &["readers"]))
        .await
        .unwrap();
    let writer = cluster.client(writer, Options::default()).await.unwrap();
    let reader = cluster.client(reader, Options::default()).await.unwrap();
    Running {
        cluster,
        operator,
        writer,
        reader,
        folder,
        _turn: turn,
    }
}

impl Running {
    /// Every node's audit log verifies, from its first leaf on.
    pub async fn audit_logs_verify(&self) {
        for node in self.cluster.nodes() {
            let audited = symbolon_client::audit::verify(&self.operator, node).await;
            assert!(audited.is_ok(), "node {node}: {}", audited.unwrap_err());
        }
    }

    /// Reads; see [`decided`].
    pub async fn read(&self, path: &str, version: Option<u64>) -> Result<Opened, Error> {
        decided(|| self.reader.get(path, version, "")).await
    }

    /// Reads while a node does not answer, so that the client asks the third. A node that stood still for a fixed time would
    /// answer in time on a machine that is slow anyway, where a client waits longer before it asks.
    pub async fn read_without(&mut self, node: u16, path: &str) -> Result<Opened, Error> {
        self.cluster.pause(node).unwrap();
        let (reader, owned) = (self.reader.clone(), path.to_owned());
        let mut reading = tokio::spawn(async move { reader.get(&owned, None, "").await });
        let read = tokio::time::timeout(Duration::from_secs(2), &mut reading).await;
        self.cluster.resume(node).unwrap();
        let read = match read {
            Ok(read) => read.unwrap(),
            // The node may lead, or be needed against one that lies.
            Err(_) => reading.await.unwrap(),
        };
        match read {
            Err(_) => self.read(path, None).await,
            read => read,
        }
    }

    /// What the nodes logged, for a failing test.
    pub fn logs(&self) -> String {
        let read = |node| std::fs::read_to_string(self.cluster.paths().log(node)).unwrap_or_default();
        self.cluster
            .nodes()
            .into_iter()
            .map(|node| format!("--- node {node}\n{}", read(node)))
            .collect()
    }
}

/// Does it, again while nobody can say what is fresh: between two leaders, whose change a slow disk may bring about; or which of two
/// nodes lies, until the third has answered.
pub async fn decided<T, F: Future<Output = Result<T, Error>>>(mut done: impl FnMut() -> F) -> Result<T, Error> {
    let begun = Instant::now();
    loop {
        match done().await {
            Err(error)
                if matches!(error.code, Code::NotFresh | Code::NoQuorum | Code::Diverged)
                    && begun.elapsed() < Duration::from_secs(60) => {}
            done => return done,
        }
    }
}

/// Waits until `holds`; the condition, never a time, decides.
pub async fn until(what: &str, within: Duration, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    begun.elapsed()
}

/// The TLS identity of someone whom nobody knows.
pub fn stranger() -> tls::Identity {
    stranger_at(now_s() - 60, now_s() + 600)
}

/// Seconds since the epoch.
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The same, valid from and until then.
pub fn stranger_at(not_before_s: u64, not_after_s: u64) -> tls::Identity {
    let key = SigningKey::generate(&mut rand::rng());
    tls::self_signed(key.to_pkcs8_der().unwrap().expose(), not_before_s, not_after_s).unwrap()
}

/// The TLS identity of a registered agent, from its identity file.
pub fn known(run: &Running, name: &str) -> tls::Identity {
    use base64::Engine;
    let text = std::fs::read_to_string(run.cluster.paths().identity(name)).unwrap();
    let (_, pem) = text.split_once("-----BEGIN PRIVATE KEY-----").unwrap();
    let (pem, _) = pem.split_once("-----END PRIVATE KEY-----").unwrap();
    let pem: String = pem.split_whitespace().collect();
    let der = base64::engine::general_purpose::STANDARD.decode(pem).unwrap();
    tls::self_signed(&der, now_s() - 60, now_s() + 600).unwrap()
}

/// How to connect to node 1 as someone.
pub fn config(run: &Running, identity: tls::Identity, alpn: &[u8]) -> rustls::ClientConfig {
    let expected = run.operator.roster().nodes.first().unwrap().identity.clone();
    tls::client_config(identity, alpn, Some(expected), Arc::new(AwsLc)).unwrap()
}

/// Shares a client among tasks.
pub fn shared(client: &Client) -> Arc<Client> {
    Arc::new(client.clone())
}
