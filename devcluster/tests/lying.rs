//! A real node that lies: it is named, and the value is read all the same, because two of three are honest.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::running;
use std::time::Duration;
use symbolon_client::{Misdeed, PutOptions, Who};

const LIAR: u16 = 3;
const SECRETS: usize = 8;
/// Slow now and then, so that the liar is asked as well: a client asks two nodes, those that answer fastest.
const SLOW: u16 = 2;
const READS: usize = 24;

/// Restarts a node as a liar, reads until it is found out.
async fn found_out(lie: &str, misdeed: Misdeed) {
    let mut run = running().await;
    for number in 0..SECRETS {
        let (path, value) = (format!("prod/{number}"), format!("value {number}"));
        run.writer
            .put(&path, value.as_bytes(), PutOptions::default())
            .await
            .unwrap();
    }
    run.cluster.kill(LIAR).unwrap();
    run.cluster.start_sabotaged(LIAR, lie).unwrap();
    run.cluster.wait_ready(Duration::from_secs(30)).await.unwrap();

    let mut named = 0;
    for read in 0..READS {
        let number = read % SECRETS;
        let slow = read % 3 == 0;
        if slow {
            run.cluster.pause(SLOW).unwrap();
        }
        let reader = run.reader.clone();
        let path = format!("prod/{number}");
        let reading = tokio::spawn(async move { reader.get(&path, None, "").await });
        if slow {
            tokio::time::sleep(Duration::from_millis(300)).await;
            run.cluster.resume(SLOW).unwrap();
        }
        let opened = reading.await.unwrap();
        let opened = opened.unwrap_or_else(|error| panic!("{lie}: {error}\n{}", run.logs()));
        assert_eq!(opened.value.expose(), format!("value {number}").as_bytes(), "{lie}");
        for culprit in &opened.culprits {
            assert_eq!(
                culprit.who,
                Who::Node(LIAR),
                "{lie}: an honest node was blamed: {culprit}"
            );
            assert_eq!(culprit.what, misdeed, "{lie}");
            named += 1;
        }
    }
    assert!(named > 0, "{lie}: {READS} reads and nobody was named");
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
