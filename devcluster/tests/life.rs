//! The rest of a secret's life on real processes: metadata, history, a greatest number of versions, writes that state what
//! they follow.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use common::{POLICIES, Running, running, until};
use std::collections::BTreeSet;
use std::time::Duration;
use symbolon_client::{AuditRange, MetadataChange, PutOptions, v1};
use symbolon_wire::Code;

const SOON: Duration = Duration::from_secs(30);

fn set(entries: &[(&str, &str)]) -> MetadataChange {
    MetadataChange {
        set: entries
            .iter()
            .map(|(key, text)| ((*key).to_owned(), (*text).to_owned()))
            .collect(),
        ..MetadataChange::default()
    }
}

fn cas(version: u64) -> PutOptions {
    PutOptions {
        cas: Some(version),
        ..PutOptions::default()
    }
}

/// What a principal was allowed or refused, as all nodes have recorded it: (action, allowed).
async fn recorded(run: &Running, name: &str) -> BTreeSet<(String, bool)> {
    let mut found = BTreeSet::new();
    for node in run.cluster.nodes() {
        let range = AuditRange::From { index: 0, limit: 500 };
        for leaf in run.operator.audit(node, range).await.unwrap().leaves {
            let leaf = symbolon_wire::audit::decode(leaf).unwrap();
            if leaf.principal_name.ends_with(name) {
                found.insert((leaf.action, leaf.allowed));
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_makes_a_change_is_allowed_or_refused_that_change_and_no_other_is_recorded() {
    let run = running().await;
    let (path, mut expected) = ("prod/key", BTreeSet::new());
    run.writer.put(path, b"x", PutOptions::default()).await.unwrap();
    run.writer.delete(path, &[1]).await.unwrap();
    run.writer.undelete(path, &[1]).await.unwrap();
    run.writer.set_metadata(path, &set(&[("a", "b")])).await.unwrap();
    run.writer.destroy(path, &[1]).await.unwrap();
    for action in ["write", "delete", "undelete", "writeMetadata", "destroy"] {
        expected.insert((action.to_owned(), true));
    }
    assert_eq!(recorded(&run, "writer").await, expected);

    let mut expected = BTreeSet::new();
    let changes = set(&[("a", "b")]);
    for action in ["write", "delete", "undelete", "destroy", "writeMetadata"] {
        let refused = match action {
            "write" => run.reader.put(path, b"y", PutOptions::default()).await.map(drop),
            "delete" => run.reader.delete(path, &[1]).await.map(drop),
            "undelete" => run.reader.undelete(path, &[1]).await.map(drop),
            "destroy" => run.reader.destroy(path, &[1]).await.map(drop),
            _ => run.reader.set_metadata(path, &changes).await.map(drop),
        };
        let refused = refused.unwrap_err();
        assert_eq!(refused.code, Code::Denied, "{refused}");
        assert!(
            refused.message.contains(&format!("may not {action} {path}")),
            "{refused}"
        );
        expected.insert((action.to_owned(), false));
        assert_eq!(recorded(&run, "reader").await, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_is_changed_by_whoever_may_and_survives_a_restart_of_all_nodes() {
    let mut run = running().await;
    run.writer.put("prod/key", b"x", PutOptions::default()).await.unwrap();
    let first = run
        .writer
        .set_metadata("prod/key", &set(&[("owner", "billing")]))
        .await
        .unwrap();
    assert_eq!(first.version, 1);
    let stale = MetadataChange {
        cas: Some(0),
        ..set(&[("owner", "mallory")])
    };
    let refused = run.writer.set_metadata("prod/key", &stale).await.unwrap_err();
    assert_eq!(refused.code, Code::Conflict);
    let refused = run
        .reader
        .set_metadata("prod/key", &set(&[("a", "b")]))
        .await
        .unwrap_err();
    assert_eq!(refused.code, Code::Denied);
    assert_eq!(run.reader.metadata("prod/key").await.unwrap_err().code, Code::Denied);
    let absent = run
        .writer
        .set_metadata("prod/none", &set(&[("a", "b")]))
        .await
        .unwrap_err();
    assert_eq!(absent.code, Code::NotFound);

    run.cluster.stop_all().await.unwrap();
    run.cluster.start_all(Duration::from_secs(60)).await.unwrap();
    let operator = run.cluster.operator().await.unwrap();
    let found = operator.metadata("prod/key").await.unwrap();
    let entries: Vec<(&str, &str)> = found.custom.iter().map(|e| (e.key.as_str(), e.text.as_str())).collect();
    assert_eq!((found.metadata_version, entries), (1, vec![("owner", "billing")]));
    assert!(
        found.versions[0].author_name.ends_with("/writer"),
        "{}",
        found.versions[0].author_name
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_the_greatest_number_of_versions_old_ones_are_never_read_again_nor_after_a_restart() {
    let mut run = running().await;
    for value in ["one", "two", "three"] {
        run.writer
            .put("prod/key", value.as_bytes(), PutOptions::default())
            .await
            .unwrap();
    }
    let keep_two = MetadataChange {
        max_versions: Some(2),
        ..MetadataChange::default()
    };
    run.writer.set_metadata("prod/key", &keep_two).await.unwrap();
    let gone = async |version: u64| {
        let refused = run.read("prod/key", Some(version)).await;
        refused.is_err_and(|error| error.code == Code::NotFound)
    };
    assert!(gone(1).await);
    assert_eq!(
        run.reader.get("prod/key", Some(2), "").await.unwrap().value.expose(),
        b"two"
    );
    run.writer
        .put("prod/key", b"four", PutOptions::default())
        .await
        .unwrap();
    assert!(gone(2).await);
    let undone = run.writer.undelete("prod/key", &[2]).await.unwrap_err();
    assert_eq!(undone.code, Code::NotFound, "destroyed, not hidden");
    let states: Vec<bool> = run
        .operator
        .metadata("prod/key")
        .await
        .unwrap()
        .versions
        .iter()
        .map(|v| v.destroyed)
        .collect();
    assert_eq!(states, [true, true, false, false]);
    run.cluster.stop_all().await.unwrap();
    run.cluster.start_all(Duration::from_secs(60)).await.unwrap();
    let reader = run.cluster.client(
        run.cluster.identity("reader").unwrap(),
        symbolon_client::Options::default(),
    );
    let reader = reader.await.unwrap();
    until("what is kept is read", SOON, async || {
        reader.get("prod/key", Some(3), "").await.is_ok()
    })
    .await;
    assert_eq!(
        reader.get("prod/key", Some(2), "").await.unwrap_err().code,
        Code::NotFound
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_or_a_policy_can_ask_for_writes_that_state_what_they_follow() {
    let run = running().await;
    run.writer.put("prod/key", b"one", PutOptions::default()).await.unwrap();
    let ask = MetadataChange {
        cas_required: Some(true),
        ..MetadataChange::default()
    };
    run.writer.set_metadata("prod/key", &ask).await.unwrap();
    let refused = run
        .writer
        .put("prod/key", b"two", PutOptions::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code, Code::CasRequired, "{refused}");
    assert_eq!(run.writer.put("prod/key", b"two", cas(1)).await.unwrap().version, 2);
    assert_eq!(
        run.writer.put("prod/key", b"three", cas(1)).await.unwrap_err().code,
        Code::Conflict
    );

    let text = format!(
        "{POLICIES}@id(\"stated\") forbid(principal, action == Action::\"write\", resource in Folder::\"strict\") unless {{ context.cas }};"
    );
    let name = "e2e.cedar".to_owned();
    run.operator
        .set_policies(None, vec![v1::PolicySource { name, text }])
        .await
        .unwrap();
    let refused = run
        .writer
        .put("strict/key", b"x", PutOptions::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code, Code::Denied);
    assert!(refused.because.iter().any(|line| line.contains("stated")), "{refused}");
    assert_eq!(run.writer.put("strict/key", b"x", cas(0)).await.unwrap().version, 1);
    run.writer.put("prod/other", b"x", PutOptions::default()).await.unwrap();
}
