//! Watches on real processes: what is told, to whom, and what restarts and elections cost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use common::{Running, running, until};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use symbolon_client::{Change, ChangeKind, Client, Error, MetadataChange, Options, PutOptions, Watch, v1};
use symbolon_devcluster::AgentSpec;
use symbolon_wire::Code;

const SOON: Duration = Duration::from_secs(60);

/// Groups may list all, and read the metadata of what lies below `prod/open`.
const OPEN: &str = r#"@id("writers") permit(principal in Group::"writers", action, resource);
@id("operators") permit(principal in Group::"operators", action, resource);
@id("watchers-list") permit(principal in Group::"watchers", action == Action::"list", resource);
@id("watchers-open") permit(principal in Group::"watchers", action == Action::"readMetadata", resource in Folder::"prod/open");
"#;
const CLOSED: &str = r#"@id("writers") permit(principal in Group::"writers", action, resource);
@id("operators") permit(principal in Group::"operators", action, resource);
"#;

type Told = (ChangeKind, String, Vec<u64>);

fn told(change: &Change) -> Told {
    (change.kind, change.path.clone(), change.versions.clone())
}

async fn next(watch: &mut Watch) -> Result<Change, Error> {
    tokio::time::timeout(SOON, watch.next()).await.unwrap()
}

/// Watches in the background, and keeps what it is told.
fn keep(mut watch: Watch) -> Arc<Mutex<Vec<Change>>> {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeper = Arc::clone(&kept);
    tokio::spawn(async move {
        while let Ok(change) = watch.next().await {
            keeper.lock().unwrap().push(change);
        }
    });
    kept
}

async fn put(client: &Client, path: &str) {
    client.put(path, b"value", PutOptions::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_is_told_in_order_and_once_over_a_restart_and_a_killed_leader() {
    let mut run = running().await;
    let watch = run.operator.watch("prod/", None).await.unwrap();
    let kept = keep(watch);
    let seen = async |count: usize, kept: &Mutex<Vec<Change>>| {
        until(&format!("{count} changes are told"), SOON, async || {
            kept.lock().unwrap().len() >= count
        })
        .await;
    };
    put(&run.writer, "prod/key").await;
    put(&run.writer, "prod/key").await;
    put(&run.writer, "elsewhere/key").await;
    run.writer.delete("prod/key", &[1]).await.unwrap();
    run.writer.undelete("prod/key", &[1]).await.unwrap();
    seen(4, &kept).await;

    let leader = run.cluster.leader(&run.operator).await.unwrap();
    let follower = run.cluster.nodes().into_iter().find(|node| *node != leader).unwrap();
    run.cluster.kill(follower).unwrap();
    run.writer.destroy("prod/key", &[1]).await.unwrap();
    run.cluster.start(follower).unwrap();
    run.cluster.wait_ready(SOON).await.unwrap();
    put(&run.writer, "prod/db/key").await;
    seen(6, &kept).await;

    let leader = run.cluster.leader(&run.operator).await.unwrap();
    run.cluster.kill(leader).unwrap();
    put(&run.writer, "prod/key").await;
    seen(7, &kept).await;
    run.cluster.start(leader).unwrap();
    run.cluster.wait_ready(SOON).await.unwrap();
    let owner = MetadataChange {
        set: [("owner".to_owned(), "billing".to_owned())].into(),
        ..MetadataChange::default()
    };
    run.writer.set_metadata("prod/key", &owner).await.unwrap();
    put(&run.writer, "prod/key").await;
    seen(9, &kept).await;
    // Nothing comes twice: what is written last is told last.
    put(&run.writer, "prod/last").await;
    seen(10, &kept).await;

    let of = |kind, path: &str, version| (kind, path.to_owned(), vec![version]);
    let expected = [
        of(ChangeKind::Put, "prod/key", 1),
        of(ChangeKind::Put, "prod/key", 2),
        of(ChangeKind::Delete, "prod/key", 1),
        of(ChangeKind::Undelete, "prod/key", 1),
        of(ChangeKind::Destroy, "prod/key", 1),
        of(ChangeKind::Put, "prod/db/key", 1),
        of(ChangeKind::Put, "prod/key", 3),
        of(ChangeKind::Metadata, "prod/key", 1),
        of(ChangeKind::Put, "prod/key", 4),
        of(ChangeKind::Put, "prod/last", 1),
    ];
    let kept = kept.lock().unwrap().clone();
    assert_eq!(kept.iter().map(told).collect::<Vec<_>>(), expected);
    assert!(kept.is_sorted_by(|one, next| one.index < next.index));
}

async fn policies(run: &Running, text: &str) {
    let source = v1::PolicySource {
        name: "watch.cedar".to_owned(),
        text: text.to_owned(),
    };
    run.operator.set_policies(None, vec![source]).await.unwrap();
}

async fn watcher(run: &Running) -> Client {
    let spec = AgentSpec::new("watcher", &["watchers"]);
    let identity = run.cluster.agent(&run.operator, spec).await.unwrap();
    run.cluster.client(identity, Options::default()).await.unwrap()
}

/// Decisions about the watcher that a node wrote down: action, resource, allowed.
async fn decisions(run: &Running, node: u16) -> Vec<(String, String, bool)> {
    let range = symbolon_client::AuditRange::Tail { limit: 1000 };
    let page = run.operator.audit(node, range).await.unwrap();
    let leaves = page
        .leaves
        .iter()
        .map(|leaf| symbolon_wire::audit::decode(leaf.clone()).unwrap());
    leaves
        .filter(|leaf| leaf.principal_name.ends_with("/watcher"))
        .map(|leaf| (leaf.action, leaf.resource, leaf.allowed))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_see_a_secret_is_not_told_of_it_and_each_answer_is_written_down() {
    let run = running().await;
    policies(&run, OPEN).await;
    let watcher = watcher(&run).await;
    let refused = watcher.watch("prod/closed/key", None).await.unwrap_err();
    assert_eq!(refused.code, Code::Denied, "{refused}");
    let mut folder = watcher.watch("prod/", None).await.unwrap();
    let mut secret = watcher.watch("prod/open/key", None).await.unwrap();
    for path in ["prod/closed/key", "prod/open/key", "prod/closed/key", "prod/open/other"] {
        put(&run.writer, path).await;
    }
    for path in ["prod/open/key", "prod/open/other"] {
        assert_eq!(next(&mut folder).await.unwrap().path, path);
    }
    assert_eq!(next(&mut secret).await.unwrap().path, "prod/open/key");
    for (action, resource, allowed) in [
        ("readMetadata", "prod/closed/key", false),
        ("list", "prod", true),
        ("readMetadata", "prod/open/key", true),
    ] {
        let decision = (action.to_owned(), resource.to_owned(), allowed);
        // Two of three nodes answer for the watcher; the third's answer may never be asked for.
        let mut wrote = 0;
        for node in 1..=3 {
            wrote += usize::from(decisions(&run, node).await.contains(&decision));
        }
        assert!(wrote >= 2, "{wrote} nodes wrote {decision:?} down\n{}", run.logs());
    }
    run.audit_logs_verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_loses_the_right_while_waiting_is_told_nothing_more() {
    let run = running().await;
    policies(&run, OPEN).await;
    let watcher = watcher(&run).await;
    let mut folder = watcher.watch("prod/", None).await.unwrap();
    put(&run.writer, "prod/open/key").await;
    assert_eq!(next(&mut folder).await.unwrap().versions, [1]);
    // It waits at all nodes when the right goes.
    assert!(
        tokio::time::timeout(Duration::from_secs(1), folder.next())
            .await
            .is_err()
    );
    policies(&run, CLOSED).await;
    put(&run.writer, "prod/open/key").await;
    let ended = next(&mut folder).await.unwrap_err();
    assert_eq!(ended.code, Code::Denied, "{ended}");
    // The same for one that is no longer registered.
    policies(&run, OPEN).await;
    let mut folder = watcher.watch("prod/", None).await.unwrap();
    assert!(
        tokio::time::timeout(Duration::from_secs(1), folder.next())
            .await
            .is_err()
    );
    run.operator.remove(watcher.identity().principal()).await.unwrap();
    put(&run.writer, "prod/open/key").await;
    let ended = next(&mut folder).await.unwrap_err();
    assert_eq!(ended.code, Code::UnknownKey, "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_of_all_nodes_a_watch_tells_all_or_names_a_position_to_begin_at() {
    let mut run = running().await;
    put(&run.writer, "prod/key").await;
    let mut watch = run.operator.watch("prod/", Some(0)).await.unwrap();
    let first = next(&mut watch).await.unwrap();
    assert_eq!(told(&first), (ChangeKind::Put, "prod/key".to_owned(), vec![1]));
    drop(watch);
    run.cluster.stop_all().await.unwrap();
    run.cluster.start_all(SOON).await.unwrap();
    let operator = run.cluster.operator().await.unwrap();
    let mut watch = operator.watch("prod/", Some(0)).await.unwrap();
    // A node that applies the end of its log once more remembers it; one that need not does not.
    let position = match next(&mut watch).await {
        Ok(again) => {
            assert_eq!(again, first);
            watch.position()
        }
        Err(refused) => {
            assert_eq!(refused.code, Code::TooFarBehind, "{refused}");
            let named = refused.next.clone().unwrap();
            named.rsplit(' ').next().unwrap().parse().unwrap()
        }
    };
    assert!(position >= first.index, "{position}");
    let mut anew = operator.watch("prod/", Some(position)).await.unwrap();
    put(&operator, "prod/key").await;
    assert_eq!(next(&mut anew).await.unwrap().versions, [2]);
}
