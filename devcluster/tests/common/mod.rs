//! What every end-to-end test starts from: one cluster at a time, of real processes with real SoftHSM tokens.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};
use symbolon_client::{Client, Options, v1};
use symbolon_devcluster::{AgentSpec, Cluster, Spec};
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
    let turn = TURN.lock().await;
    let folder = tempfile::Builder::new().prefix("symbolon-e2e").tempdir().unwrap();
    let mut cluster = Cluster::create(folder.path().join("cluster"), Spec::default())
        .await
        .unwrap();
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

/// Waits until `holds`; the condition, never a time, decides.
pub async fn until(what: &str, within: Duration, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    begun.elapsed()
}

/// Shares a client among tasks.
pub fn shared(client: &Client) -> Arc<Client> {
    Arc::new(client.clone())
}
