//! Writing: versions, conflicts, sessions, and outcomes that are not known.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
mod common;

use common::{Cluster, impatient, options};
use std::time::{Duration, Instant};
use symbolon_client::{Client, Code, Level, MetadataChange, Misdeed, Options, PutOptions, Who, v1};
use symbolon_wire::Message;

const PATH: &str = "prod/stripe/key";

fn full() -> PutOptions {
    PutOptions {
        level: Level::Full,
        ..PutOptions::default()
    }
}

fn cas(previous: u64) -> PutOptions {
    PutOptions {
        cas: Some(previous),
        ..PutOptions::default()
    }
}

/// Writes so many paths at once.
async fn write_many(client: &Client, count: usize) {
    let mut writes = tokio::task::JoinSet::new();
    for i in 0..count {
        let client = client.clone();
        writes.spawn(async move {
            client
                .put(&format!("many/{i}"), b"value", PutOptions::default())
                .await
                .unwrap()
        });
    }
    writes.join_all().await;
}

#[tokio::test]
async fn a_sequence_of_writes_to_one_path_asks_once_what_stands_there() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    for version in 1..=5 {
        let put = client.put(PATH, b"value", PutOptions::default()).await.unwrap();
        assert_eq!((put.version, put.repeated), (version, false));
    }
    assert_eq!((1..=3).map(|node| cluster.count(node, "resolve")).sum::<usize>(), 1);
    let log = cluster.log.lock().unwrap();
    assert_eq!(log.sessions.len(), 1, "one sealing session serves them all");
    let (first, last) = (&log.versions[0], &log.versions[4]);
    assert_eq!(first.stored.secret, last.stored.secret);
    assert_ne!(
        first.stored.ciphertext, last.stored.ciphertext,
        "equal values are encrypted anew"
    );
    assert_ne!(first.stored.write_nonce, last.stored.write_nonce);
}

#[tokio::test]
async fn nothing_that_the_cluster_holds_contains_the_value() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let value = b"sk_live_51H8-a-canary-that-must-not-be-seen";
    client.put(PATH, value, PutOptions::default()).await.unwrap();
    let held = cluster.log.lock().unwrap().everything();
    assert!(
        !held
            .windows(16)
            .any(|window| value.windows(16).any(|part| part == window))
    );
}

#[tokio::test]
async fn writers_of_one_client_do_not_conflict_and_those_of_two_get_through() {
    let cluster = Cluster::start(3).await;
    let clients = [cluster.client().await, cluster.client().await];
    let mut writes = tokio::task::JoinSet::new();
    for i in 0..20 {
        let client = clients[i % 2].clone();
        writes.spawn(async move { client.put(PATH, b"value", PutOptions::default()).await.unwrap().version });
    }
    let mut versions = writes.join_all().await;
    versions.sort_unstable();
    assert_eq!(versions, (1..=20).collect::<Vec<u64>>());
}

#[tokio::test]
async fn writes_to_many_paths_at_once_share_one_session() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    write_many(&client, 50).await;
    assert_eq!(cluster.log.lock().unwrap().sessions.len(), 1);
}

#[tokio::test]
async fn compare_and_set_writes_only_after_the_version_it_names() {
    let cluster = Cluster::start(3).await;
    let (client, other) = (cluster.client().await, cluster.client().await);
    assert_eq!(client.put(PATH, b"v", cas(3)).await.unwrap_err().code, Code::Conflict);
    assert_eq!(client.put(PATH, b"v", cas(0)).await.unwrap().version, 1);
    assert_eq!(other.put(PATH, b"v", cas(0)).await.unwrap_err().code, Code::Conflict);
    assert_eq!(other.put(PATH, b"v", cas(1)).await.unwrap().version, 2);
    assert_eq!(client.put(PATH, b"v", cas(1)).await.unwrap_err().code, Code::Conflict);
    assert_eq!(cluster.log.lock().unwrap().versions.len(), 2);
}

#[tokio::test]
async fn a_conflict_without_compare_and_set_makes_a_wholly_new_write() {
    let cluster = Cluster::start(3).await;
    let (client, other) = (cluster.client().await, cluster.client().await);
    client.put(PATH, b"one", PutOptions::default()).await.unwrap();
    other.put(PATH, b"two", PutOptions::default()).await.unwrap();
    // `client` believes that version 1 is the latest.
    assert_eq!(
        client.put(PATH, b"three", PutOptions::default()).await.unwrap().version,
        3
    );
    assert_eq!(client.get(PATH, None, "").await.unwrap().value.expose(), b"three");
}

#[tokio::test]
async fn a_session_that_the_cluster_does_not_know_is_replaced() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    client.put(PATH, b"one", PutOptions::default()).await.unwrap();
    cluster.log.lock().unwrap().refuse_next.push(Code::BadSession);
    assert_eq!(
        client.put(PATH, b"two", PutOptions::default()).await.unwrap().version,
        2
    );
    assert_eq!(cluster.log.lock().unwrap().sessions.len(), 2);
    assert_eq!(client.get(PATH, None, "").await.unwrap().value.expose(), b"two");
}

#[tokio::test]
async fn a_refused_first_write_leaves_no_session_behind() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    cluster.log.lock().unwrap().refuse_next.push(Code::Denied);
    assert_eq!(
        client.put(PATH, b"one", PutOptions::default()).await.unwrap_err().code,
        Code::Denied
    );
    assert_eq!(
        client.put(PATH, b"one", PutOptions::default()).await.unwrap().version,
        1
    );
}

#[tokio::test]
async fn an_answer_that_is_lost_is_asked_for_again_with_the_same_bytes() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    cluster.behave(1, |node| node.loses_answers = true);
    cluster.behave(2, |node| node.loses_answers = true);
    cluster.behave(3, |node| node.delay = Duration::from_millis(30));
    let put = client.put(PATH, b"value", PutOptions::default()).await.unwrap();
    assert_eq!(
        (put.version, put.repeated),
        (1, true),
        "it had been applied when node 3 was asked"
    );
    assert_eq!(cluster.log.lock().unwrap().versions.len(), 1, "it counted once");
}

#[tokio::test]
async fn when_every_answer_is_lost_the_outcome_is_unknown_and_the_same_bytes_settle_it() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client_of(cluster.bot.clone(), impatient()).await.unwrap();
    client.put("warm/up", b"value", PutOptions::default()).await.unwrap();
    cluster.all_behave(|node| node.loses_answers = true);
    let error = client.put(PATH, b"value", PutOptions::default()).await.unwrap_err();
    assert_eq!(error.code, Code::OutcomeUnknown);
    let command = v1::Command::decode(error.unknown_outcome_command.clone().unwrap()).unwrap();
    cluster.all_behave(|node| node.loses_answers = false);
    let submitted = client.submit_signed(command, Level::Committed).await.unwrap();
    assert_eq!((submitted.version, submitted.repeated), (1, true));
    assert_eq!(client.get(PATH, None, "").await.unwrap().value.expose(), b"value");
    assert_eq!(
        client.put(PATH, b"next", PutOptions::default()).await.unwrap().version,
        2
    );
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_and_that_is_now_refused_as_expired_is_still_unknown() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    client.put("warm/up", b"value", PutOptions::default()).await.unwrap();
    cluster.all_behave(|node| node.loses_answers = true);
    let writing = client.clone();
    let write = tokio::spawn(async move { writing.put(PATH, b"value", PutOptions::default()).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster.log.lock().unwrap().now_ms += 3_600_000;
    cluster.all_behave(|node| node.loses_answers = false);
    let error = write.await.unwrap().unwrap_err();
    assert_eq!(error.code, Code::OutcomeUnknown, "{error}");
    assert_eq!(
        cluster.log.lock().unwrap().versions.len(),
        2,
        "and in truth it was applied"
    );
}

#[tokio::test]
async fn a_node_that_loses_commands_does_not_keep_a_write_from_the_others() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    cluster.behave(1, |node| node.loses_commands = true);
    cluster.behave(2, |node| node.loses_commands = true);
    assert_eq!(
        client.put(PATH, b"value", PutOptions::default()).await.unwrap().version,
        1
    );
}

#[tokio::test]
async fn a_write_that_no_node_takes_is_a_failure_and_not_an_unknown_outcome() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client_of(cluster.bot.clone(), impatient()).await.unwrap();
    client.put("warm/up", b"value", PutOptions::default()).await.unwrap();
    let no_leader = v1::Error {
        code: Code::NoQuorum as u32,
        message: "no leader".to_owned(),
        ..v1::Error::default()
    };
    cluster.all_behave(|node| node.refuse = Some(no_leader.clone()));
    let error = client
        .put("warm/up", b"value", PutOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.code, Code::NoQuorum);
    assert!(error.unknown_outcome_command.is_none());
}

#[tokio::test]
async fn a_write_waits_for_a_leader() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    client.put(PATH, b"one", PutOptions::default()).await.unwrap();
    let no_leader = v1::Error {
        code: Code::NoQuorum as u32,
        ..v1::Error::default()
    };
    cluster.all_behave(|node| node.refuse = Some(no_leader.clone()));
    let writing = client.clone();
    let write = tokio::spawn(async move { writing.put(PATH, b"two", PutOptions::default()).await });
    tokio::time::sleep(Duration::from_millis(400)).await;
    cluster.all_behave(|node| node.refuse = None);
    assert_eq!(write.await.unwrap().unwrap().version, 2);
}

#[tokio::test]
async fn a_silent_node_costs_a_write_one_wait_and_the_bytes_count_once() {
    let cluster = Cluster::start(3).await;
    let quick = Options {
        write_spare_delay: Duration::from_millis(100),
        ..options()
    };
    for silent in 1..=3 {
        cluster.all_behave(|node| node.silent = false);
        let client = cluster.client_of(cluster.bot.clone(), quick.clone()).await.unwrap();
        cluster.behave(silent, |node| node.silent = true);
        let since = Instant::now();
        let put = client.put(PATH, b"value", PutOptions::default()).await.unwrap();
        assert_eq!(put.version, u64::from(silent));
        assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    }
}

#[tokio::test]
async fn a_node_that_is_gone_is_not_waited_for_as_long_as_one_that_is_slow() {
    for gone in 0..3 {
        let cluster = Cluster::start(3).await;
        let client = cluster.client().await;
        client.put(PATH, b"one", PutOptions::default()).await.unwrap();
        cluster.nodes[gone].vanish();
        let since = Instant::now();
        let put = client.put(PATH, b"two", PutOptions::default()).await.unwrap();
        assert_eq!(put.version, 2);
        assert!(
            since.elapsed() < options().write_spare_delay / 2,
            "{:?}",
            since.elapsed()
        );
    }
}

#[tokio::test]
async fn a_node_that_confirms_another_write_is_named() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    cluster.all_behave(|node| node.lies_about_writes = Some(0));
    let error = client.put(PATH, b"value", PutOptions::default()).await.unwrap_err();
    assert_eq!(error.code, Code::NodeAtFault);
    assert!(matches!(error.culprits[0].who, Who::Node(_)));
    assert_eq!(error.culprits[0].what, Misdeed::WrongOutcome);
}

#[tokio::test]
async fn a_node_that_says_done_and_hands_the_command_to_nobody_is_not_believed() {
    told_without_effect(0).await;
}

#[tokio::test]
async fn a_node_that_says_refused_and_hands_the_command_to_nobody_is_not_believed() {
    told_without_effect(Code::Denied as u32).await;
}

/// Nobody keeps a record of such a refusal, and who makes it up can log the command later.
#[tokio::test]
async fn a_refusal_that_leaves_no_record_takes_more_than_one_node() {
    told_without_effect(Code::Expired as u32).await;
    told_without_effect(Code::TooManyCommands as u32).await;
}

/// Each node in turn lies, whichever is asked first and whichever is asked whether that is true.
async fn told_without_effect(code: u32) {
    for liar in 1..=3 {
        let cluster = Cluster::start(3).await;
        let client = cluster.client().await;
        cluster.behave(liar, |node| node.lies_about_writes = Some(code));
        for version in 1..=8 {
            let put = client.put(PATH, b"value", PutOptions::default()).await.unwrap();
            assert_eq!(put.version, version);
            assert_eq!(
                cluster.log.lock().unwrap().versions.len(),
                usize::try_from(version).unwrap()
            );
        }
    }
}

/// With a version that another one must follow, the caller was told that somebody else wrote; without, that none can follow.
#[tokio::test]
async fn what_one_node_makes_up_of_a_path_keeps_nobody_from_writing_there() {
    for liar in 1..=3 {
        for latest in [u64::MAX, 0, 7] {
            let cluster = Cluster::start(3).await;
            let client = cluster.client().await;
            client.put(PATH, b"value", PutOptions::default()).await.unwrap();
            cluster.behave(liar, |node| node.latest = Some(latest));
            for (version, cas) in [(2, None), (3, Some(2))] {
                // Another client knows nothing of the path yet.
                let client = cluster.client().await;
                let options = PutOptions {
                    cas,
                    ..PutOptions::default()
                };
                let put = client.put(PATH, b"value", options).await;
                assert_eq!(put.unwrap().version, version, "{latest} of {liar}");
            }
        }
    }
}

#[tokio::test]
async fn a_node_that_tells_a_wrong_time_and_then_nothing_does_not_hold_writes_up() {
    for liar in 1..=3 {
        let cluster = Cluster::start(3).await;
        cluster.behave(liar, |node| node.told_ms = Some(0));
        for _ in 0..4 {
            let client = cluster.client().await;
            let since = Instant::now();
            client.put(PATH, b"value", PutOptions::default()).await.unwrap();
            assert!(since.elapsed() < options().request_timeout, "{:?}", since.elapsed());
        }
    }
}

#[tokio::test]
async fn a_wrong_time_is_not_believed_because_an_honest_node_is_slow() {
    for (liar, slow) in [(1, 2), (2, 3), (3, 1)] {
        let cluster = Cluster::start(3).await;
        let client = cluster.client().await;
        client.put(PATH, b"value", PutOptions::default()).await.unwrap();
        cluster.behave(liar, |node| node.status_ms = Some(0));
        cluster.behave(slow, |node| node.delay = Duration::from_secs(1));
        cluster.log.lock().unwrap().now_ms += 3_600_000;
        let put = client.put(PATH, b"value", PutOptions::default()).await;
        put.unwrap_or_else(|error| panic!("node {liar} lies: {error}"));
    }
}

/// Honest nodes say that it is expired, and the client is to sign it anew: one that claims to have it done keeps nobody from that.
#[tokio::test]
async fn a_node_that_claims_to_have_done_what_is_expired_keeps_nobody_from_writing() {
    // Node 2 leads, and is asked first: a liar that is asked first may have handed the command to anybody.
    for liar in [1, 3] {
        let cluster = Cluster::start(3).await;
        let client = cluster.client().await;
        client.status().await;
        client.put(PATH, b"value", PutOptions::default()).await.unwrap();
        cluster.behave(liar, |node| node.lies_about_writes = Some(0));
        for version in 2..=4 {
            cluster.log.lock().unwrap().now_ms += 3_600_000;
            let put = client.put(PATH, b"value", PutOptions::default()).await;
            let put = put.unwrap_or_else(|error| panic!("node {liar} lies: {error}"));
            assert_eq!(put.version, version);
        }
    }
}

/// It stands, or stood: made again, it would be in the place of what others have written since.
#[tokio::test]
async fn a_write_whose_version_was_gone_before_it_was_confirmed_is_not_made_again() {
    for cas in [None, Some(0)] {
        let cluster = Cluster::start(3).await;
        cluster.all_behave(|node| node.gone_unconfirmed = true);
        let options = PutOptions {
            cas,
            level: Level::Verified,
            ..PutOptions::default()
        };
        let refused = cluster.client().await.put(PATH, b"value", options).await.unwrap_err();
        assert_eq!(refused.code, Code::NotFound, "{refused}");
        assert_eq!(cluster.log.lock().unwrap().versions.len(), 1);
    }
}

/// Each costs the log an entry as large as the value.
#[tokio::test]
async fn a_write_that_t_nodes_say_is_refused_rightly_is_not_dealt_again() {
    let cluster = Cluster::start(3).await;
    cluster
        .client()
        .await
        .put(PATH, b"value", PutOptions::default())
        .await
        .unwrap();
    let before = cluster.log.lock().unwrap().index;
    let refused = cluster.client().await.put(PATH, b"value", cas(7)).await.unwrap_err();
    assert_eq!(refused.code, Code::Conflict, "{refused}");
    assert_eq!(cluster.log.lock().unwrap().index, before + 1);
}

#[tokio::test]
async fn settings_that_one_node_makes_up_are_not_written_back() {
    for liar in 1..=3 {
        let cluster = Cluster::start(3).await;
        let client = cluster.client().await;
        client.put(PATH, b"value", PutOptions::default()).await.unwrap();
        let settings = v1::SecretSettings {
            max_versions: 1,
            ..v1::SecretSettings::default()
        };
        cluster.behave(liar, |node| node.settings = Some(settings));
        let change = MetadataChange {
            cas_required: Some(true),
            ..MetadataChange::default()
        };
        client.set_metadata(PATH, &change).await.unwrap();
        let changed = cluster.log.lock().unwrap().metadata.pop().unwrap().settings.unwrap();
        assert_eq!(
            (changed.max_versions, changed.cas_required),
            (0, true),
            "node {liar} lies"
        );
    }
}

#[tokio::test]
async fn an_outcome_that_nobody_else_confirms_is_unknown() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client_of(cluster.bot.clone(), impatient()).await.unwrap();
    client.put(PATH, b"value", PutOptions::default()).await.unwrap();
    cluster.all_behave(|node| node.lies_about_writes = Some(0));
    cluster.behave(1, |node| node.lies_about_writes = Some(Code::Denied as u32));
    cluster.behave(2, |node| node.silent = true);
    let error = client.put(PATH, b"value", PutOptions::default()).await.unwrap_err();
    assert_eq!(error.code, Code::OutcomeUnknown, "{error}");
    assert!(error.unknown_outcome_command.is_some());
    assert!(
        error.because.iter().any(|line| line.contains("too few others confirm")),
        "{error}"
    );
}

#[tokio::test]
async fn many_writes_at_once_are_confirmed_together() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    client.put(PATH, b"value", PutOptions::default()).await.unwrap();
    let asked = || (1..=3).map(|node| cluster.count(node, "outcomes")).sum::<usize>();
    assert_eq!(asked(), 1);
    cluster.all_behave(|node| node.delay = Duration::from_millis(20));
    write_many(&client, 64).await;
    assert!(asked() < 48, "{} questions", asked());
}

#[tokio::test]
async fn nodes_that_are_all_busy_are_not_all_asked_what_they_recorded() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    cluster.all_behave(|node| node.delay = options().spare_delay * 3);
    client.put(PATH, b"value", PutOptions::default()).await.unwrap();
    let asked = || (1..=3).map(|node| cluster.count(node, "outcomes")).sum::<usize>();
    let before = asked();
    for _ in 0..5 {
        client.put(PATH, b"value", PutOptions::default()).await.unwrap();
    }
    assert!(asked() - before < 8, "{} questions for 5 writes", asked() - before);
}

#[tokio::test]
async fn a_node_that_does_not_say_what_it_recorded_is_soon_asked_last() {
    let cluster = Cluster::start(3).await;
    let quick = Options {
        write_spare_delay: options().spare_delay,
        ..options()
    };
    let client = cluster.client_of(cluster.bot.clone(), quick).await.unwrap();
    let ten = async || {
        let since = Instant::now();
        for _ in 0..10 {
            client.put(PATH, b"value", PutOptions::default()).await.unwrap();
        }
        since.elapsed()
    };
    let usual = ten().await;
    for silent in [1, 3] {
        cluster.all_behave(|node| node.silent = false);
        cluster.behave(silent, |node| node.silent = true);
        for _ in 0..2 {
            client.put(PATH, b"value", PutOptions::default()).await.unwrap();
        }
        let (took, waits) = (ten().await, options().spare_delay * 5);
        assert!(
            took < usual * 2 + waits,
            "{took:?} with node {silent} silent, {usual:?} without"
        );
    }
}

#[tokio::test]
async fn an_outcome_told_as_an_error_with_its_log_index_is_an_outcome() {
    let cluster = Cluster::start(3).await;
    cluster.all_behave(|node| node.refuses_as_errors = true);
    let (client, other) = (cluster.client().await, cluster.client().await);
    client.put(PATH, b"one", PutOptions::default()).await.unwrap();
    other.put(PATH, b"two", PutOptions::default()).await.unwrap();
    let submits = || (1..=3).map(|node| cluster.count(node, "submit")).sum::<usize>();
    let before = submits();
    assert_eq!(
        client.put(PATH, b"three", PutOptions::default()).await.unwrap().version,
        3
    );
    assert_eq!(
        submits() - before,
        2,
        "one node's word for the conflict, then a new write"
    );
}

#[tokio::test]
async fn a_write_that_is_not_confirmed_in_time_stands_and_says_so() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    cluster.all_behave(|node| node.never_confirms = true);
    let error = client.put(PATH, b"value", full()).await.unwrap_err();
    assert_eq!(error.code, Code::Timeout, "{error}");
    assert!(error.because[0].contains("version 1"), "{error}");
    assert_eq!(client.get(PATH, None, "").await.unwrap().value.expose(), b"value");
}

/// Whoever asked for it relies on it: the value survives the loss of any n - t nodes only once they hold it.
#[tokio::test]
async fn that_all_nodes_have_confirmed_takes_the_word_of_t() {
    for level in [Level::Verified, Level::Full] {
        for liar in 1..=3 {
            let cluster = Cluster::start(3).await;
            let client = cluster.client().await;
            cluster.all_behave(|node| node.never_confirms = true);
            cluster.behave(liar, |node| node.never_confirms = false);
            let options = PutOptions {
                level,
                ..PutOptions::default()
            };
            let error = client.put(PATH, b"value", options).await.unwrap_err();
            assert_eq!(error.code, Code::Timeout, "{error}");
            assert!(
                error.because[0].contains("it stands all the same, as version 1"),
                "{error}"
            );
            assert_eq!(cluster.log.lock().unwrap().versions.len(), 1, "it is written once");
        }
    }
}

#[tokio::test]
async fn that_others_have_confirmed_another_write_does_not_count() {
    let cluster = Cluster::start(5).await;
    let client = cluster.client().await;
    cluster.all_behave(|node| node.never_confirms = true);
    for node in 1..=2 {
        cluster.behave(node, |node| node.never_confirms = false);
    }
    for node in 3..=5 {
        cluster.behave(node, |node| {
            node.never_confirms = false;
            node.confirms_another = true;
        });
    }
    let error = client.put(PATH, b"value", full()).await.unwrap_err();
    assert_eq!(error.code, Code::Timeout, "{error}");
    // Three of five are enough.
    cluster.behave(3, |node| node.confirms_another = false);
    client.put(PATH, b"value", full()).await.unwrap();
}

#[tokio::test]
async fn a_write_that_others_say_is_gone_before_they_confirmed_it_is_not_said_to_stand() {
    // Who is asked first, and has not confirmed it, says itself that it is gone.
    let mut told = 0;
    for confirming in 1..=3 {
        let cluster = Cluster::start(3).await;
        let client = cluster.client().await;
        cluster.all_behave(|node| node.gone_unconfirmed = true);
        cluster.behave(confirming, |node| node.gone_unconfirmed = false);
        let error = client.put(PATH, b"value", full()).await.unwrap_err();
        if error.code == Code::Timeout {
            assert!(error.because[0].contains("says that it is gone since"), "{error}");
            told += 1;
        } else {
            assert_eq!(error.code, Code::NotFound, "{error}");
        }
    }
    assert!(told > 0, "who has confirmed it was never asked first");
}

/// A node waits for the others longer than the client does.
#[tokio::test]
async fn a_write_that_nobody_confirms_while_the_client_waits_stands_and_says_so() {
    let cluster = Cluster::start(3).await;
    let patience = Options {
        write_within: Duration::from_secs(4),
        ..options()
    };
    let client = cluster.client_of(cluster.bot.clone(), patience).await.unwrap();
    cluster.all_behave(|node| node.holds_levels_back = true);
    let error = client.put(PATH, b"value", full()).await.unwrap_err();
    assert_eq!(error.code, Code::Timeout, "{error}");
    assert!(
        error.because[0].contains("it stands all the same, as version 1"),
        "{error}"
    );
}

#[tokio::test]
async fn a_client_whose_clock_is_wrong_writes_by_log_time() {
    let cluster = Cluster::start(3).await;
    // The log's time is in 2023, three years before this test was written.
    assert!(cluster.log.lock().unwrap().now_ms < 1_800_000_000_000);
    let client = cluster.client().await;
    assert_eq!(
        client.put(PATH, b"value", PutOptions::default()).await.unwrap().version,
        1
    );
}

#[tokio::test]
async fn delete_names_versions_and_finds_out_what_stands_there() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    assert_eq!(client.delete(PATH, &[]).await.unwrap_err().code, Code::NotFound);
    client.put(PATH, b"value", PutOptions::default()).await.unwrap();
    client.delete(PATH, &[1]).await.unwrap();
    client.delete(PATH, &[]).await.unwrap();
}

#[tokio::test]
async fn a_write_that_is_too_large_is_refused_here() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let long = PutOptions {
        content_type: "x".repeat(5000),
        ..PutOptions::default()
    };
    assert_eq!(client.put(PATH, b"value", long).await.unwrap_err().code, Code::TooLarge);
    assert_eq!(
        client
            .put("a/../b", b"value", PutOptions::default())
            .await
            .unwrap_err()
            .code,
        Code::BadPath
    );
    assert_eq!((1..=3).map(|node| cluster.count(node, "resolve")).sum::<usize>(), 0);
}

#[tokio::test]
async fn one_deadline_bounds_connecting_asking_and_writing_together() {
    let cluster = Cluster::start(3).await;
    for node in &cluster.nodes[1..] {
        node.endpoint.close(0u32.into(), b"gone");
    }
    cluster.behave(1, |node| node.loses_commands = true);
    let started = Instant::now();
    let bounded = Options {
        connect_timeout: Duration::from_millis(500),
        until: started.checked_add(Duration::from_secs(2)),
        ..options()
    };
    let client = cluster.client_of(cluster.bot.clone(), bounded).await.unwrap();
    let error = client.put(PATH, b"value", PutOptions::default()).await.unwrap_err();
    assert_eq!(error.code, Code::OutcomeUnknown, "{error}");
    let late = client.get(PATH, None, "").await.unwrap_err();
    assert!(
        matches!(late.code, Code::NoQuorum | Code::Unreachable),
        "nothing was sent that could have an effect: {late}"
    );
    // Asking or writing alone may take 20 s.
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_batch_keeps_its_order_and_what_fails_in_it_leaves_the_rest_alone() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let mut writes = Vec::new();
    for number in 0..150 {
        writes.push((
            format!("prod/{}", number % 100),
            format!("value {number}"),
            PutOptions::default(),
        ));
    }
    writes.push(("prod/../key".to_owned(), String::new(), PutOptions::default()));
    writes.push(("prod/0".to_owned(), "late".to_owned(), cas(9)));
    let put = client.put_many(&writes).await;
    for (number, put) in put.iter().take(150).enumerate() {
        assert_eq!(put.as_ref().unwrap().version, 1 + number as u64 / 100, "write {number}");
    }
    let refused = |place: usize| put[place].as_ref().unwrap_err().code;
    assert_eq!((refused(150), refused(151)), (Code::BadPath, Code::Conflict));

    let mut paths: Vec<String> = (0..100).map(|number| format!("prod/{number}")).collect();
    paths.insert(7, "prod/none".to_owned());
    let mut got = client.get_many(&paths, "batch").await;
    assert_eq!(got.remove(7).unwrap_err().code, Code::NotFound);
    for (number, opened) in got.into_iter().enumerate() {
        let last = if number < 50 { number + 100 } else { number };
        assert_eq!(opened.unwrap().value.expose(), format!("value {last}").as_bytes());
    }
}

#[test]
fn each_seeded_bug_is_found_by_its_test_here() {
    symbolon_sabotage::caught_in(file!());
}

/// Several at once, so that each waits for the windows that the others fill.
#[tokio::test]
async fn a_node_that_refuses_a_write_before_it_has_all_of_it_is_heard() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    client.put(PATH, b"value", PutOptions::default()).await.unwrap();
    let refusal = v1::Error {
        code: Code::UnknownKey as u32,
        message: "the connection's key belongs to no live principal".to_owned(),
        ..v1::Error::default()
    };
    cluster.all_behave(|node| node.refuses_from = Some((64 * 1024, refusal.clone())));
    let value = vec![7; 512 * 1024];
    let writes = (0..8).map(|number| {
        let (client, value, path) = (&client, &value, format!("prod/large/{number}"));
        async move { client.put(&path, value, PutOptions::default()).await }
    });
    for written in futures::future::join_all(writes).await {
        let error = written.unwrap_err();
        assert_eq!(error.code, Code::UnknownKey, "{error}");
    }
}
