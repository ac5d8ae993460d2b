//! What clients of real processes saw is linearizable: reads, writes, deletions and changes of rights, with nodes killed
//! and stopped in between. 10^5 operations; more by `SYMBOLON_OPERATIONS`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{POLICIES, Running, running, shared};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use symbolon_client::{Client, Code, Error, Options, PutOptions, v1};
use symbolon_crypto::enc::sha256;
use symbolon_devcluster::AgentSpec;
use symbolon_linear::secret::{Answer, Call, Change, Secret};
use symbolon_linear::{Operation, check};

type Op = Operation<Call, Answer>;

const SOON: Duration = Duration::from_secs(30);
const CLIENTS: usize = 32;
/// Operations on one secret, about: enough that clients meet, few enough that the checker is quick.
const PER_SECRET: u64 = 2_000;
/// Always allowed to read.
const STEADY: u16 = 1;
/// Allowed to read, and not, in turn.
const FICKLE: u16 = 2;

fn operations() -> u64 {
    let asked = std::env::var("SYMBOLON_OPERATIONS").ok();
    asked.map_or(100_000, |number| number.parse().expect("a number of operations"))
}

/// What happened, and in which order it began and ended.
#[derive(Default)]
struct History {
    moments: AtomicU64,
    /// Operations so far.
    ended: AtomicU64,
    /// By secret; `None`: concerns all of them.
    operations: Mutex<Vec<(Option<u64>, Op)>>,
}

impl History {
    async fn record(
        &self,
        secret: Option<u64>,
        call: Call,
        doing: impl Future<Output = Result<Answer, Error>>,
    ) -> Option<Answer> {
        let began = self.moments.fetch_add(1, Ordering::SeqCst);
        let answered = doing.await;
        let at = self.moments.fetch_add(1, Ordering::SeqCst);
        let ended = match answered {
            Ok(answer) => Some((at, answer)),
            Err(error) => {
                assert_eq!(error.culprits, Vec::new(), "an honest node was blamed: {error}");
                match (error.code, &call) {
                    (Code::Conflict, _) => Some((at, Answer::Conflict)),
                    (Code::NotFound, _) => Some((at, Answer::NotFound)),
                    (Code::Denied, Call::Read { .. }) => Some((at, Answer::Denied)),
                    (Code::OutcomeUnknown, _) => None,
                    // Without effect, and says nothing of the secret.
                    (Code::NoQuorum | Code::NotFresh | Code::Unreachable | Code::Timeout | Code::Overloaded, _) => {
                        return None;
                    }
                    (code, _) => panic!("{call:?}: {code} {error}"),
                }
            }
        };
        let answer = ended.as_ref().map(|(_, answer)| answer.clone());
        self.ended.fetch_add(1, Ordering::Relaxed);
        self.operations
            .lock()
            .unwrap()
            .push((secret, Operation { call, began, ended }));
        answer
    }
}

fn path(secret: u64) -> String {
    format!("prod/linear/{secret}")
}

async fn read(history: &History, client: &Client, reader: u16, secret: u64, version: Option<u64>) -> Option<u64> {
    let reading = async {
        let opened = client.get(&path(secret), version, "").await?;
        assert_eq!(opened.culprits, Vec::new(), "an honest node was blamed");
        Ok(Answer::Value {
            version: opened.version,
            value: sha256(opened.value.expose()),
        })
    };
    match history
        .record(Some(secret), Call::Read { reader, version }, reading)
        .await
    {
        Some(Answer::Value { version, .. }) => Some(version),
        _ => None,
    }
}

async fn write(history: &History, client: &Client, secret: u64, previous: u64) {
    let value = format!("{secret} {previous} {}", rand::random::<u64>());
    let call = Call::Write {
        previous,
        value: sha256(value.as_bytes()),
    };
    let writing = async {
        let options = PutOptions {
            cas: Some(previous),
            ..PutOptions::default()
        };
        let put = client.put(&path(secret), value.as_bytes(), options).await?;
        assert_eq!(put.version, previous + 1);
        Ok(Answer::Done)
    };
    history.record(Some(secret), call, writing).await;
}

async fn change(history: &History, client: &Client, secret: u64, version: u64, change: Change) {
    let call = Call::Change {
        change,
        version,
        latest: None,
    };
    let changing = async {
        match change {
            Change::Delete => client.delete(&path(secret), &[version]).await?,
            Change::Undelete => client.undelete(&path(secret), &[version]).await?,
            Change::Destroy => client.destroy(&path(secret), &[version]).await?,
        };
        Ok(Answer::Done)
    };
    history.record(Some(secret), call, changing).await;
}

/// One client after another operation, until enough have been made.
async fn work(history: Arc<History>, writer: Arc<Client>, steady: Arc<Client>, fickle: Arc<Client>, operations: u64) {
    let secrets = (operations / PER_SECRET).max(1);
    while history.ended.load(Ordering::Relaxed) < operations {
        let secret = rand::random_range(0..secrets);
        let kind: usize = rand::random_range(0..100);
        match kind {
            0..75 => {
                read(&history, &steady, STEADY, secret, None).await;
            }
            75..82 => {
                read(&history, &fickle, FICKLE, secret, None).await;
            }
            82..97 => {
                // A write wants to know what it follows; metadata tells also what is hidden.
                let known = latest_version(&writer, secret).await;
                if let Some(latest) = known {
                    write(&history, &writer, secret, latest).await;
                }
            }
            kind => {
                if let Some(latest) = latest_version(&writer, secret).await
                    && latest > 0
                {
                    let how = [Change::Delete, Change::Undelete, Change::Destroy][kind - 97];
                    change(&history, &writer, secret, latest, how).await;
                }
            }
        }
    }
}

/// The latest version as one node knows it; 0 if there is none.
async fn latest_version(client: &Client, secret: u64) -> Option<u64> {
    match client.metadata(&path(secret)).await {
        Ok(metadata) => Some(metadata.latest),
        Err(error) if error.code == Code::NotFound => Some(0),
        Err(_) => None,
    }
}

/// Operators grant the fickle reader's right and revoke it, again and again.
async fn govern(history: Arc<History>, operator: Client, operations: u64) {
    let mut version = operator.policies().await.unwrap().version;
    let mut may = false;
    while history.ended.load(Ordering::Relaxed) < operations {
        let readers = if may {
            BTreeSet::from([STEADY, FICKLE])
        } else {
            BTreeSet::from([STEADY])
        };
        let call = Call::Rights {
            previous: version,
            readers,
        };
        let changing = async {
            operator.set_policies(Some(version), sources(may)).await?;
            Ok(Answer::Done)
        };
        if let Some(Answer::Done) = history.record(None, call, changing).await {
            version += 1;
            may = !may;
        } else if let Ok(reply) = operator.policies().await {
            // Whether an unknown change happened shows in the version that is in force.
            may ^= reply.version > version;
            version = reply.version;
        }
        tokio::time::sleep(Duration::from_millis(rand::random_range(50..500))).await;
    }
}

fn sources(fickle: bool) -> Vec<v1::PolicySource> {
    let grant =
        r#"@id("fickle") permit(principal in Group::"fickle", action == Action::"read", resource in Folder::"prod");"#;
    let text = if fickle {
        format!("{POLICIES}{grant}\n")
    } else {
        POLICIES.to_owned()
    };
    vec![v1::PolicySource {
        name: "e2e.cedar".to_owned(),
        text,
    }]
}

/// Kills or stops one node after the other while clients work.
async fn disturb(run: &mut Running, history: &History, operations: u64) -> usize {
    let mut faults = 0;
    while history.ended.load(Ordering::Relaxed) < operations {
        let node = match run.cluster.leader(&run.operator).await {
            Ok(leader) if faults % 2 == 0 => leader,
            _ => run.cluster.nodes()[faults % 3],
        };
        if faults % 3 == 0 {
            run.cluster.pause(node).unwrap();
            tokio::time::sleep(Duration::from_millis(2_500)).await;
            run.cluster.resume(node).unwrap();
        } else {
            run.cluster.kill(node).unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
            run.cluster.start(node).unwrap();
        }
        run.cluster.wait_ready(SOON).await.unwrap();
        faults += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    faults
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_of_real_processes_saw_is_linearizable() {
    let mut run = running().await;
    let fickle = AgentSpec::new("fickle", &["fickle"]);
    let fickle = run.cluster.agent(&run.operator, fickle).await.unwrap();
    let fickle = Arc::new(run.cluster.client(fickle, Options::default()).await.unwrap());
    let (writer, steady) = (shared(&run.writer), shared(&run.reader));
    let (history, operations) = (Arc::new(History::default()), operations());
    let rights = run.operator.policies().await.unwrap().version;
    let mut working: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (history, writer) = (Arc::clone(&history), Arc::clone(&writer));
            let (steady, fickle) = (Arc::clone(&steady), Arc::clone(&fickle));
            tokio::spawn(work(history, writer, steady, fickle, operations))
        })
        .collect();
    working.push(tokio::spawn(govern(
        Arc::clone(&history),
        run.operator.clone(),
        operations,
    )));
    let faults = disturb(&mut run, &history, operations).await;
    for one in working {
        one.await.unwrap();
    }
    let all = history.operations.lock().unwrap().clone();
    let unknown = all.iter().filter(|(_, one)| one.ended.is_none()).count();
    let secrets: BTreeSet<u64> = all.iter().filter_map(|(secret, _)| *secret).collect();
    eprintln!(
        "{} operations on {} secrets, {unknown} of unknown outcome, {faults} faults",
        all.len(),
        secrets.len()
    );
    assert!(faults > 0, "nothing was disturbed");
    for kind in ["Read", "Write", "Change", "Rights", "Denied", "NotFound", "Conflict"] {
        assert!(
            all.iter().any(|(_, one)| format!("{one:?}").contains(kind)),
            "no {kind} in the history"
        );
    }
    for secret in secrets {
        let of_secret: Vec<Op> = all
            .iter()
            .filter(|(about, _)| about.is_none_or(|about| about == secret))
            .map(|(_, one)| one.clone())
            .collect();
        let initial = Secret::new(rights, BTreeSet::from([STEADY]));
        check(initial, &of_secret).unwrap_or_else(|fault| panic!("{}: {fault}", path(secret)));
    }
}
