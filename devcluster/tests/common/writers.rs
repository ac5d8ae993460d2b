//! Writers under a test's faults, and that what was acknowledged to them is there afterwards.

use super::{Running, shared};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use symbolon_client::{Client, PutOptions};

/// What was acknowledged last: path → (version, value).
pub type Acknowledged = BTreeMap<String, (u64, String)>;

/// Writers that write until they are told to stop.
pub struct Writers {
    stop: Arc<AtomicBool>,
    /// So many writes were acknowledged.
    pub written: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<Acknowledged>>,
}

impl Writers {
    pub fn start(client: &Client, tasks: usize) -> Self {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let spawn = |task: usize| {
            let (client, stop, written) = (shared(client), Arc::clone(&stop), Arc::clone(&written));
            tokio::spawn(async move {
                let mut acknowledged = BTreeMap::new();
                for round in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let (path, value) = (
                        format!("prod/load/{task}-{}", round % 5),
                        format!("value {task} {round}"),
                    );
                    // An unknown outcome is no acknowledgement; whatever it became, a later one supersedes it.
                    if let Ok(put) = client.put(&path, value.as_bytes(), PutOptions::default()).await {
                        acknowledged.insert(path, (put.version, value));
                        written.fetch_add(1, Ordering::Relaxed);
                    }
                }
                acknowledged
            })
        };
        Self {
            tasks: (0..tasks).map(spawn).collect(),
            stop,
            written,
        }
    }

    pub async fn stop(self) -> Acknowledged {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = BTreeMap::new();
        for task in self.tasks {
            all.extend(task.await.unwrap());
        }
        all
    }
}

/// Every version that was acknowledged is there as it was written, nothing older is taken for the latest, and no honest
/// node is blamed.
pub async fn all_there(run: &Running, acknowledged: &Acknowledged) {
    for (path, (version, value)) in acknowledged {
        let latest = run.read(path, None).await.unwrap();
        assert!(
            latest.version >= *version,
            "{path}: version {version} was acknowledged, {} is there",
            latest.version
        );
        let that = run.read(path, Some(*version)).await.unwrap();
        assert_eq!(that.value.expose(), value.as_bytes(), "{path} version {version}");
        assert!(
            that.culprits.is_empty(),
            "an honest node was blamed: {:?}",
            that.culprits
        );
    }
}
