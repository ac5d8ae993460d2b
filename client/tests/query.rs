//! Lists, metadata, policies, status: asked of t nodes and compared. And audit logs, verified.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
mod common;

use bytes::Bytes;
use common::{Cluster, impatient, options};
use std::fs;
use symbolon_client::{
    AuditRange, Client, Code, Error, PutOptions, audit, build_command, sign_command, v1, v1::command_body::Payload,
};
use symbolon_crypto::checkpoint::Checkpoint;
use symbolon_crypto::merkle::{Tree, leaf_hash};
use symbolon_wire::Message;

async fn with_secrets() -> (Cluster, Client) {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    for path in ["a", "b"] {
        client.put(path, b"value", PutOptions::default()).await.unwrap();
    }
    (cluster, client)
}

fn names(list: &v1::ListReply) -> Vec<&str> {
    list.entries.iter().map(|entry| entry.name.as_str()).collect()
}

#[tokio::test]
async fn a_list_is_what_t_nodes_show_alike() {
    let (_cluster, client) = with_secrets().await;
    assert_eq!(names(&client.list("", "", 100).await.unwrap()), ["a", "b"]);
    assert_eq!(client.list("a//b", "", 100).await.unwrap_err().code, Code::BadPath);
}

#[tokio::test]
async fn a_node_that_lags_does_not_shorten_a_list() {
    let (cluster, client) = with_secrets().await;
    for late in 1..=3 {
        cluster.all_behave(|node| node.lag_at = None);
        cluster.behave(late, |node| (node.lag_at, node.catches_up) = (Some(1001), true));
        for _ in 0..4 {
            assert_eq!(
                names(&client.list("", "", 100).await.unwrap()),
                ["a", "b"],
                "node {late} lags"
            );
        }
    }
}

#[tokio::test]
async fn nodes_that_do_not_catch_up_fail_a_list() {
    let (cluster, _client) = with_secrets().await;
    let client = cluster.client_of(cluster.bot.clone(), impatient()).await.unwrap();
    cluster.behave(1, |node| node.lag_at = Some(1001));
    cluster.behave(2, |node| node.silent = true);
    let error = client.list("", "", 100).await.unwrap_err();
    assert!(matches!(error.code, Code::NotFresh | Code::NoQuorum), "{error}");
}

#[tokio::test]
async fn metadata_tells_the_latest_version_and_absence_is_absence() {
    let (_cluster, client) = with_secrets().await;
    assert_eq!(client.metadata("a").await.unwrap().latest, 1);
    assert_eq!(client.metadata("c").await.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn policies_follow_the_set_they_name() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client_of(cluster.operator.clone(), options()).await.unwrap();
    let policy = v1::PolicySource {
        name: "a.cedar".to_owned(),
        text: "permit(principal, action, resource);".to_owned(),
    };
    assert_eq!(
        client.set_policies(None, vec![policy.clone()]).await.unwrap().version,
        1
    );
    assert_eq!(
        client
            .set_policies(Some(0), vec![policy.clone()])
            .await
            .unwrap_err()
            .code,
        Code::Conflict
    );
    assert_eq!(client.set_policies(Some(1), vec![]).await.unwrap().version, 2);
    assert_eq!(client.policies().await.unwrap().version, 2);
}

#[tokio::test]
async fn status_tells_of_every_node_also_of_one_that_is_down() {
    let (cluster, _client) = with_secrets().await;
    let client = cluster.client_of(cluster.bot.clone(), impatient()).await.unwrap();
    cluster.behave(2, |node| node.silent = true);
    let status = client.status().await;
    assert_eq!(status.iter().map(|(node, _)| *node).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(status[0].1.as_ref().unwrap().tls_group, "X25519MLKEM768");
    assert_eq!(status[1].1.as_ref().unwrap_err().code, Code::Timeout);
}

#[tokio::test]
async fn writes_go_to_the_leader_once_it_is_known() {
    let (cluster, client) = with_secrets().await;
    client.status().await;
    let before = cluster.count(2, "submit");
    for _ in 0..5 {
        client.put("a", b"value", PutOptions::default()).await.unwrap();
    }
    assert_eq!(cluster.count(2, "submit") - before, 5, "node 2 leads");
}

#[tokio::test]
async fn a_command_is_signed_by_several_over_the_same_bytes() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client_of(cluster.operator.clone(), options()).await.unwrap();
    let payload = Payload::Policies(v1::SetPolicies {
        previous: 0,
        sources: vec![],
    });
    let expires_ms = cluster.log.lock().unwrap().now_ms + 60_000;
    let mut command = build_command(
        cluster.roster.cluster,
        cluster.operator.principal(),
        payload,
        expires_ms,
    );
    sign_command(&mut command, &cluster.operator).unwrap();
    assert_eq!(
        sign_command(&mut command, &cluster.operator).unwrap_err().code,
        Code::Exists
    );
    // Through a file and back.
    let command = v1::Command::decode(Bytes::from(command.encode_to_vec())).unwrap();
    let submitted = client
        .submit_signed(command.clone(), symbolon_client::Level::Committed)
        .await
        .unwrap();
    assert_eq!((submitted.version, submitted.repeated), (1, false));
    let again = client
        .submit_signed(command, symbolon_client::Level::Committed)
        .await
        .unwrap();
    assert_eq!((again.index, again.repeated), (submitted.index, true));
}

/// A cluster whose nodes have each logged some decisions.
async fn with_decisions() -> (Cluster, Client) {
    let (cluster, client) = with_secrets().await;
    for _ in 0..20 {
        client.get("a", None, "to fill the logs").await.unwrap();
    }
    (cluster, client)
}

fn log_of(cluster: &Cluster) -> (u16, usize) {
    let node = cluster
        .nodes
        .iter()
        .max_by_key(|node| node.audit.lock().unwrap().len())
        .unwrap();
    let size = node.audit.lock().unwrap().len();
    assert!(size >= 10);
    (node.index(), size)
}

fn change_log(cluster: &Cluster, node: u16, change: impl FnOnce(&mut Vec<Bytes>)) {
    change(&mut cluster.nodes[usize::from(node) - 1].audit.lock().unwrap());
}

fn leaf(cluster: &Cluster, node: u16, index: usize, change: impl FnOnce(&mut v1::AuditLeaf)) {
    change_log(cluster, node, |leaves| {
        let mut leaf = v1::AuditLeaf::decode(leaves[index].clone()).unwrap();
        change(&mut leaf);
        leaves[index] = leaf.encode_to_vec().into();
    });
}

#[tokio::test]
async fn an_audit_log_verifies_over_several_pages() {
    let (cluster, client) = with_decisions().await;
    let (node, size) = log_of(&cluster);
    let audited = audit::verify(&client, node).await.unwrap();
    assert_eq!((audited.node, audited.size), (node, size as u64));
    let tail = client.audit(node, AuditRange::Tail { limit: 2 }).await.unwrap();
    assert_eq!((tail.from, tail.leaves.len()), (size as u64 - 2, 2));
    assert_eq!(
        client.audit(9, AuditRange::Tail { limit: 1 }).await.unwrap_err().code,
        Code::Usage
    );
}

#[tokio::test]
async fn a_bad_entry_is_named_by_its_index() {
    let (cluster, client) = with_decisions().await;
    let (node, _) = log_of(&cluster);
    let whole = cluster.nodes[usize::from(node) - 1].audit.lock().unwrap().clone();
    let restore = || change_log(&cluster, node, |leaves| leaves.clone_from(&whole));
    leaf(&cluster, node, 6, |leaf| leaf.node = 9);
    let error = audit::verify(&client, node).await.unwrap_err();
    assert_eq!((error.code, error.audit), (Code::AuditBroken, Some((node, 6))));
    restore();
    leaf(&cluster, node, 5, |leaf| leaf.boot_counter = 99);
    assert_eq!(audit::verify(&client, node).await.unwrap_err().audit, Some((node, 5)));
    restore();
    change_log(&cluster, node, |leaves| leaves[7] = Bytes::from_static(b"\xff"));
    assert_eq!(audit::verify(&client, node).await.unwrap_err().audit, Some((node, 7)));
    restore();
    audit::verify(&client, node).await.unwrap();
}

/// Others hold it to a note that it has signed: it takes that back neither by saying nothing while another one is down, nor by signing
/// anew.
#[tokio::test]
async fn a_log_that_was_rewritten_does_not_verify_though_only_one_other_node_shows_what_it_was() {
    let (cluster, client) = with_decisions().await;
    let (node, size) = log_of(&cluster);
    let keys = |node: u16| cluster.nodes[usize::from(node) - 1].keys.clone();
    let others: Vec<u16> = (1..=3).filter(|other| *other != node).collect();
    let shown = |by: u16, log_index: u64| {
        let leaves = cluster.nodes[usize::from(node) - 1].audit.lock().unwrap().clone();
        let mut tree = Tree::new();
        leaves
            .iter()
            .take(size - 1)
            .for_each(|leaf| tree.append(leaf_hash(leaf)));
        let origin = symbolon_wire::audit::origin(cluster.roster.cluster, node);
        let note = Checkpoint::new(&origin, tree.size(), tree.root()).unwrap();
        let (of, by) = (keys(node), keys(by));
        let said = by
            .signer(&cluster.roster)
            .anchored(node, tree.size(), &tree.root(), log_index);
        v1::AnchorReply {
            checkpoint: note.sign(&of.checkpoint).into(),
            log_index,
            boot_counter: by.boot_counter,
            signature: Bytes::copy_from_slice(&by.signing.sign(&said)),
            boots: vec![of.boot(&cluster.roster), by.boot(&cluster.roster)],
            ..v1::AnchorReply::default()
        }
    };
    let honest = shown(others[0], 10);
    cluster.behave(others[0], |node| node.anchor = Some(honest));
    audit::verify(&client, node).await.unwrap();

    leaf(&cluster, node, 3, |leaf| leaf.purpose = "another".to_owned());
    let broken = |error: &Error| error.code == Code::AuditBroken && error.to_string().contains("anchored");
    let error = audit::verify(&client, node).await.unwrap_err();
    assert!(broken(&error), "it says nothing: {error}");
    let own = shown(node, 20);
    cluster.behave(node, |node| node.anchor = Some(own));
    let error = audit::verify(&client, node).await.unwrap_err();
    assert!(broken(&error), "it signs anew: {error}");
}

#[tokio::test]
async fn an_exported_log_verifies_offline_from_the_pinned_hash() {
    let (cluster, client) = with_decisions().await;
    let (node, size) = log_of(&cluster);
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("export");
    let exported = audit::export(&client, node, &dir).await.unwrap();
    assert_eq!(audit::verify_dir(&dir, &cluster.roster.hash).unwrap(), exported);
    assert_eq!(exported.size, size as u64);
    assert_eq!(
        audit::export(&client, node, &dir).await.unwrap_err().code,
        Code::Local,
        "nothing is overwritten"
    );
    assert_eq!(audit::verify_dir(&dir, &[7; 32]).unwrap_err().code, Code::NotTheNode);
}

#[tokio::test]
async fn a_changed_cut_or_forged_export_is_refused() {
    let (cluster, client) = with_decisions().await;
    let (node, size) = log_of(&cluster);
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("export");
    audit::export(&client, node, &dir).await.unwrap();
    let verify = || audit::verify_dir(&dir, &cluster.roster.hash);
    let leaves = fs::read(dir.join("leaves")).unwrap();
    let starts: Vec<usize> = std::iter::successors(Some(0), |at| {
        let length = u32::from_be_bytes(leaves[*at..*at + 4].try_into().unwrap()) as usize;
        Some(at + 4 + length).filter(|next| *next < leaves.len())
    })
    .collect();
    assert_eq!(starts.len(), size);

    let mut changed = leaves.clone();
    // Inside the salt of entry 4: still a leaf, but another one.
    changed[starts[4] + 4 + 6] ^= 1;
    fs::write(dir.join("leaves"), &changed).unwrap();
    let error = verify().unwrap_err();
    assert_eq!(
        (error.code, error.audit),
        (Code::AuditBroken, Some((node, 4))),
        "{error}"
    );

    fs::write(dir.join("leaves"), &leaves[..starts[8]]).unwrap();
    assert_eq!(verify().unwrap_err().audit, Some((node, 8)), "cut after entry 7");
    fs::write(dir.join("leaves"), &leaves[..starts[8] + 3]).unwrap();
    assert_eq!(verify().unwrap_err().code, Code::AuditBroken, "cut inside a length");
    fs::rename(dir.join("boots"), folder.path().join("boots")).unwrap();
    let error = verify().unwrap_err();
    assert_eq!(error.code, Code::AuditBroken, "{error}");
    assert!(error.message.contains("boots is missing"), "{error}");
    fs::rename(folder.path().join("boots"), dir.join("boots")).unwrap();

    // Leaves and hashes changed alike: the root tells, but not where.
    fs::write(dir.join("leaves"), &changed).unwrap();
    let exported = fs::read(dir.join("hashes")).unwrap();
    let mut hashes = exported.clone();
    let end = starts.get(5).copied().unwrap_or(changed.len());
    hashes[4 * 32..5 * 32].copy_from_slice(&symbolon_crypto::merkle::leaf_hash(&changed[starts[4] + 4..end]));
    fs::write(dir.join("hashes"), &hashes).unwrap();
    let error = verify().unwrap_err();
    assert_eq!((error.code, error.audit), (Code::AuditBroken, None), "{error}");

    fs::write(dir.join("leaves"), &leaves).unwrap();
    let error = verify().unwrap_err();
    assert!(
        error.code == Code::AuditBroken && error.message.starts_with("hashes was changed"),
        "{error}"
    );
    fs::write(dir.join("hashes"), &exported).unwrap();
    verify().unwrap();
    let note = fs::read_to_string(dir.join("checkpoint")).unwrap();
    fs::write(
        dir.join("checkpoint"),
        note.replacen(&size.to_string(), &(size - 1).to_string(), 1),
    )
    .unwrap();
    assert_eq!(
        verify().unwrap_err().code,
        Code::AuditBroken,
        "the checkpoint's signature does not hold"
    );
}
