//! Nodes that keep a false audit log, on real processes: each is found out and named, and the others serve on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Running, running, until};
use std::time::{Duration, Instant};
use symbolon_client::audit::{SignedReply, Wanted, prove};
use symbolon_client::{Code, PutOptions, Who};

const LIAR: u16 = 3;
/// Stand still in turn, so that the liar is asked as well.
const HONEST: [u16; 2] = [1, 2];
const PROVEN_WITHIN: Duration = Duration::from_secs(15);
const ANCHORED_WITHIN: Duration = Duration::from_secs(10);

/// Reads until the liar has answered; what it signed.
async fn receipt_of_the_liar(run: &mut Running) -> SignedReply {
    for read in 0..24 {
        let opened = run.read_without(HONEST[read % 2], "prod/key").await;
        let opened = opened.unwrap_or_else(|error| panic!("{error}\n{}", run.logs()));
        if let Some(receipt) = opened.receipts.iter().find(|receipt| receipt.node == LIAR) {
            return SignedReply::of(receipt).unwrap();
        }
    }
    panic!("the liar was never asked\n{}", run.logs());
}

async fn lying(lie: &str) -> Running {
    let mut run = running().await;
    run.writer.put("prod/key", b"x", PutOptions::default()).await.unwrap();
    run.cluster.kill(LIAR).unwrap();
    run.cluster.start_sabotaged(LIAR, lie).unwrap();
    run.cluster.wait_ready(Duration::from_secs(30)).await.unwrap();
    run
}

/// Whether both honest nodes say that the liar's audit log is forked, and do not count it any more.
async fn caught(run: &Running) -> bool {
    let liar = [u32::from(LIAR)];
    let statuses = run.operator.status().await.into_iter();
    let honest = statuses.filter(|(node, _)| *node != LIAR);
    let sure = honest
        .filter(|(_, status)| matches!(status, Ok(status) if status.audit_forks == liar && status.excluded == liar));
    sure.count() == 2
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_releases_without_writing_it_down_is_named_by_its_own_receipt() {
    let mut run = lying("unrecorded").await;
    let wanted = Wanted::Receipt(receipt_of_the_liar(&mut run).await);
    let error = prove(&run.reader, &wanted, PROVEN_WITHIN).await.unwrap_err();
    assert_eq!(error.code, Code::AuditBroken, "{error}");
    assert!(error.message.contains("node 3 dropped or changed entry"), "{error}");
    let culprit = &error.culprits[0];
    assert_eq!(culprit.who, Who::Node(LIAR));
    assert_eq!(culprit.evidence.len(), 1, "its signed reply shows it to others");

    // The other node's record of the same kind is proven all the same.
    let opened = run.read("prod/key", None).await.unwrap();
    let honest = opened.receipts.iter().find(|receipt| receipt.node != LIAR).unwrap();
    let wanted = Wanted::Receipt(SignedReply::of(honest).unwrap());
    let proven = prove(&run.reader, &wanted, PROVEN_WITHIN).await;
    let (_, proven) = proven.unwrap_or_else(|error| panic!("{error}\n{}", run.logs()));
    assert!(proven.receipted && proven.node != LIAR);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_signs_another_history_of_its_audit_log_is_excluded_with_the_evidence_kept() {
    let mut run = lying("forked-audit").await;
    // Its log has to grow twice: the second checkpoint begins with a false start.
    let begun = Instant::now();
    let mut read = 0;
    while !caught(&run).await {
        assert!(begun.elapsed() < Duration::from_secs(120), "not caught\n{}", run.logs());
        read += 1;
        // Once the liar is excluded, a read may fail while an honest node stands still.
        let _ = run.read_without(HONEST[read % 2], "prod/key").await;
    }
    run.writer.put("prod/key", b"y", PutOptions::default()).await.unwrap();
    assert_eq!(run.read("prod/key", None).await.unwrap().value.expose(), b"y");

    // It stays excluded after a restart of those who caught it: the evidence is on their disks.
    run.cluster.kill(LIAR).unwrap();
    for node in [1, 2] {
        run.cluster.kill(node).unwrap();
        run.cluster.start(node).unwrap();
    }
    until("both know it again", Duration::from_secs(30), async || {
        caught(&run).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hides_the_end_of_its_audit_log_is_named_by_receipt_and_by_anchor() {
    let mut run = running().await;
    run.writer.put("prod/key", b"x", PutOptions::default()).await.unwrap();
    let before = receipt_of_the_liar(&mut run).await;
    let anchored = async || {
        let statuses = run.operator.status().await.into_iter();
        let mut of_liar = statuses.filter(|(node, _)| *node == LIAR);
        of_liar.any(|(_, status)| status.is_ok_and(|status| status.audit_anchored > before.entry))
    };
    // Nobody asked for a proof, which would hurry it.
    until("its log is anchored", ANCHORED_WITHIN, anchored).await;
    run.cluster.kill(LIAR).unwrap();
    run.cluster.start_sabotaged(LIAR, "cut-audit").unwrap();
    run.cluster.wait_ready(Duration::from_secs(30)).await.unwrap();

    // Whoever looks at the whole log: the replicated log holds an anchor over more than it shows.
    let begun = Instant::now();
    let error = loop {
        match symbolon_client::audit::verify(&run.operator, LIAR).await {
            Err(error) => break error,
            // Fewer than t nodes told of the anchor.
            Ok(_) => assert!(begun.elapsed() < Duration::from_secs(30), "not found\n{}", run.logs()),
        }
    };
    assert_eq!(error.code, Code::AuditBroken, "{error}");
    assert_eq!(error.culprits[0].who, Who::Node(LIAR));
    // Whoever was given a receipt for what is hidden.
    let hidden = receipt_of_the_liar(&mut run).await;
    let error = prove(&run.reader, &Wanted::Receipt(hidden), PROVEN_WITHIN)
        .await
        .unwrap_err();
    assert_eq!(error.code, Code::AuditBroken, "{error}");
    let culprit = &error.culprits[0];
    assert_eq!((culprit.who, culprit.evidence.len()), (Who::Node(LIAR), 1));
    // The others' logs verify, and they serve on.
    for node in HONEST {
        let verified = symbolon_client::audit::verify(&run.operator, node).await;
        assert!(verified.is_ok(), "node {node}: {}", verified.unwrap_err());
    }
    run.writer.put("prod/key", b"y", PutOptions::default()).await.unwrap();
    assert_eq!(run.read("prod/key", None).await.unwrap().value.expose(), b"y");
}
