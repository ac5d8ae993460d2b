//! A real node that lies: it is named, and the value is read all the same, because two of three are honest.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Running, running, serving};
use std::time::Duration;
use symbolon_client::{Code, Misdeed, PutOptions};

const LIAR: u16 = 3;

/// Restarts a node as a liar, reads until it is found out.
async fn found_out(lie: &str, misdeed: Misdeed) {
    let mut run = serving::lying(LIAR, lie).await;
    let caught = serving::read(&mut run, LIAR, "").await;
    assert!(!caught.is_empty(), "{lie}: nobody was named");
    for culprit in &caught {
        assert_eq!(culprit.what, misdeed, "{lie}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_signs_a_wrong_fragment_is_named_and_the_value_still_read() {
    found_out("wrong-fragment", Misdeed::WrongFragment).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_sends_another_fragment_than_it_signed_is_named_and_the_value_still_read() {
    found_out("other-fragment-than-signed", Misdeed::FragmentHash).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_sends_another_ciphertext_is_named_and_the_value_still_read() {
    found_out("wrong-body", Misdeed::WrongBody).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_signs_another_history_is_outvoted_and_named() {
    found_out("other-history", Misdeed::OtherHistory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_signs_heads_of_another_history_is_outvoted_and_the_others_go_on() {
    let mut run = running().await;
    run.cluster.kill(LIAR).unwrap();
    run.cluster.start_sabotaged(LIAR, "other-heads").unwrap();
    // The liar may freeze what it contradicts only until the honest nodes have compared their own heads there.
    for round in 0..200 {
        run.writer
            .put("prod/key", format!("{round}").as_bytes(), PutOptions::default())
            .await
            .unwrap_or_else(|error| panic!("round {round}: {error}\n{}", run.logs()));
        // While the honest nodes ask each other, for some milliseconds, they release nothing.
        let mut opened = run.reader.get("prod/key", None, "").await;
        let until = std::time::Instant::now() + Duration::from_secs(5);
        while opened.is_err() && std::time::Instant::now() < until {
            opened = run.reader.get("prod/key", None, "").await;
        }
        let opened = opened.unwrap_or_else(|error| panic!("round {round}: {error}\n{}", run.logs()));
        assert_eq!(opened.value.expose(), format!("{round}").as_bytes());
        if round > 20 && outvoted(&run, 1) && outvoted(&run, 2) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for node in [1, 2] {
        assert!(outvoted(&run, node), "node {node} has not noticed\n{}", run.logs());
    }
    let states = run.operator.status().await;
    for (node, status) in states.into_iter().filter(|(node, _)| *node != LIAR) {
        assert_eq!(status.unwrap().state, "serving", "node {node}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_as_large_as_a_message_keep_nothing_else_from_being_told() {
    let mut run = running().await;
    run.cluster.kill(LIAR).unwrap();
    common::until("another node leads", Duration::from_secs(30), async || {
        let put = run.writer.put("prod/key", b"before", PutOptions::default()).await;
        put.is_ok()
            && run
                .cluster
                .leader(&run.operator)
                .await
                .is_ok_and(|leader| leader != LIAR)
    })
    .await;
    run.cluster.start_sabotaged(LIAR, "fat-statements").unwrap();
    let told = || log(&run, LIAR).matches("a lie was told").count();
    common::until("it lies", Duration::from_secs(60), async || told() >= 3).await;
    run.writer
        .put("prod/key", b"after", PutOptions::default())
        .await
        .unwrap();
    let opened = run.read("prod/key", None).await.unwrap();
    assert_eq!(opened.value.expose(), b"after");
    for node in [1, 2] {
        // Too large as a message, and too large as an entry.
        for unheard in ["at once", "cannot be proposed"] {
            assert!(
                !log(&run, node).contains(unheard),
                "node {node}: {unheard}\n{}",
                run.logs()
            );
        }
    }
}

fn log(run: &Running, node: u16) -> String {
    std::fs::read_to_string(run.cluster.paths().log(node)).unwrap()
}

/// Whether the node found the liar's log to differ from the one that t nodes agree on.
fn outvoted(run: &Running, node: u16) -> bool {
    log(run, node).contains("differs from the one that t nodes agree on")
}

/// Whether the node has seen its own log contradicted.
fn contradicted(run: &Running, node: u16) -> bool {
    log(run, node).contains("this node's log is contradicted")
}

/// Makes the liar lead, by pausing whoever else does, until it has lied and is `caught`. Clock readings alone would do: they
/// are entries too. Who leads is no proof of a lie: a liar may have lied and been deposed, or been deposed before it lied.
async fn lead(run: &mut Running, caught: impl Fn(&Running) -> bool) {
    let begun = std::time::Instant::now();
    while !caught(run) {
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody lied\n{}", run.logs());
        if leads(run).await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Whether the liar leads, or nobody does; pauses who else does, so that another election comes.
async fn leads(run: &mut Running) -> bool {
    match run.cluster.leader(&run.operator).await {
        Ok(leader) if leader != LIAR => {
            run.cluster.pause(leader).unwrap();
            tokio::time::sleep(Duration::from_millis(2_500)).await;
            run.cluster.resume(leader).unwrap();
            false
        }
        Ok(_) | Err(_) => true,
    }
}

/// The liar leads and lies: both others notice, follow it no more, and go on without it. `false` if the lie met an entry
/// that only one of them had: then their logs differ, and they do not both go on.
async fn deposed(lie: &str) -> bool {
    let mut run = running().await;
    run.writer
        .put("prod/key", b"before", PutOptions::default())
        .await
        .unwrap();
    run.cluster.kill(LIAR).unwrap();
    run.cluster.start_sabotaged(LIAR, lie).unwrap();
    run.cluster.wait_ready(Duration::from_secs(30)).await.unwrap();
    // Either it is contradicted itself before it has heard the other, or at once finds the liar's log to differ.
    let caught = |run: &Running, node| contradicted(run, node) || outvoted(run, node);
    lead(&mut run, |run| [1, 2].iter().any(|node| caught(run, *node))).await;
    let noticed = || outvoted(&run, 1) && outvoted(&run, 2);
    let states = async || {
        let told = run.operator.status().await;
        let honest = told.into_iter().filter(|(node, _)| *node != LIAR);
        honest
            .map(|(_, status)| status.map(|status| status.state).ok())
            .collect::<Vec<_>>()
    };
    common::until(&format!("{lie}: they notice"), Duration::from_secs(30), async || {
        noticed() || states().await.iter().all(|state| state.as_deref() == Some("frozen"))
    })
    .await;
    if !noticed() {
        return false;
    }
    let honest = async || {
        run.cluster
            .leader(&run.operator)
            .await
            .is_ok_and(|leader| leader != LIAR)
    };
    common::until("one of them leads", Duration::from_secs(30), honest).await;
    for round in 0..10 {
        let value = format!("after {round}");
        let put = run
            .writer
            .put("prod/key", value.as_bytes(), PutOptions::default())
            .await;
        put.unwrap_or_else(|error| panic!("{lie}: {error}\n{}", run.logs()));
        let opened = run.reader.get("prod/key", None, "").await;
        let opened = opened.unwrap_or_else(|error| panic!("{lie}: {error}\n{}", run.logs()));
        assert_eq!(opened.value.expose(), value.as_bytes(), "{lie}");
    }
    let told: Vec<_> = run.operator.status().await;
    for (node, status) in told.into_iter().filter(|(node, _)| *node != LIAR) {
        let status = status.unwrap();
        assert_eq!(status.state, "serving", "{lie}: node {node}");
        assert_eq!(status.outvoted, [u32::from(LIAR)], "{lie}: node {node}");
    }
    true
}

async fn deposed_once_of(attempts: usize, lie: &str) {
    for _ in 0..attempts {
        if deposed(lie).await {
            return;
        }
    }
    panic!("{lie}: both followers froze {attempts} times; nothing is shown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_drops_what_it_acknowledges_is_deposed_and_the_others_serve_on() {
    deposed_once_of(4, "drop").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_forges_commands_is_deposed_and_the_others_serve_on() {
    deposed_once_of(4, "forge").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_says_done_and_hands_commands_to_nobody_revokes_all_the_same() {
    let mut run = running().await;
    run.cluster.kill(LIAR).unwrap();
    run.cluster.start_sabotaged(LIAR, "done-by-nobody").unwrap();
    run.cluster.wait_ready(Duration::from_secs(30)).await.unwrap();
    // A client that knows who leads hands its commands to that node first: the others may never be asked.
    let lied = |run: &Running| log(run, LIAR).contains("a lie was told");
    let (begun, mut round) = (std::time::Instant::now(), 0);
    while round < 10 || !lied(&run) {
        round += 1;
        assert!(
            begun.elapsed() < Duration::from_secs(90),
            "the liar is never asked\n{}",
            run.logs()
        );
        while !lied(&run) && !leads(&mut run).await {}
        // From what nodes say of themselves the client learns who leads.
        run.writer.status().await;
        let path = format!("prod/key-{round}");
        let put = run.writer.put(&path, b"value", PutOptions::default()).await;
        put.unwrap_or_else(|error| panic!("{error}\n{}", run.logs()));
        assert_eq!(run.read(&path, None).await.unwrap().value.expose(), b"value");
        common::decided(|| run.writer.delete(&path, &[])).await.unwrap();
        let gone = run.read(&path, None).await.unwrap_err();
        assert_eq!(gone.code, Code::NotFound, "{gone}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_is_told_other_entries_freezes_and_never_both_followers_go_on() {
    let mut run = running().await;
    run.cluster.kill(LIAR).unwrap();
    run.cluster.start_sabotaged(LIAR, "fork:2").unwrap();
    // Both others have to answer its boot; while one of them is paused, it would never take part.
    run.cluster.wait_ready(Duration::from_secs(30)).await.unwrap();
    lead(&mut run, |run| contradicted(run, 2)).await;
    let state = async |node: u16| {
        let told = run.operator.status().await;
        let of_node = told.into_iter().find(|(index, _)| *index == node);
        of_node.and_then(|(_, status)| status.ok()).map(|status| status.state)
    };
    common::until("the victim freezes", Duration::from_secs(30), async || {
        state(2).await.as_deref() == Some("frozen")
    })
    .await;
    common::until("the other goes on", Duration::from_secs(30), async || {
        state(1).await.as_deref() == Some("serving")
    })
    .await;
    for _ in 0..20 {
        assert_eq!(state(2).await.as_deref(), Some("frozen"), "{}", run.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_agreement_ends_by_a_panic_ends_itself_and_the_others_serve_on() {
    let mut run = running().await;
    run.cluster.kill(LIAR).unwrap();
    run.cluster.start_sabotaged(LIAR, "panic-at-apply").unwrap();
    run.writer.put("prod/key", b"x", PutOptions::default()).await.unwrap();
    let begun = std::time::Instant::now();
    let status = loop {
        if let Some(status) = run.cluster.ended(LIAR).unwrap() {
            break status;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "it runs on\n{}", run.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(status.code(), Some(1), "{}", run.logs());
    let log = log(&run, LIAR);
    assert!(log.contains("agreement ended by a panic"), "{log}");
    assert_eq!(run.read("prod/key", None).await.unwrap().value.expose(), b"x");
}
