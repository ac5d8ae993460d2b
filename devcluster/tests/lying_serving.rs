//! A real node that serves other secrets, old versions, old states, or claims what it does not have: clients read the right
//! value all the same, and nobody else is blamed (docs/malice.md).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Running, serving};
use symbolon_client::Misdeed;

const LIAR: u16 = 3;

/// Whether the liar has told its lie: one that was never told proves nothing.
fn told(run: &Running) -> bool {
    let log = std::fs::read_to_string(run.cluster.paths().log(LIAR)).unwrap();
    log.contains("a lie was told")
}

/// Reads from a cluster with this liar; every culprit is the liar and did this.
async fn named(lie: &str, misdeed: Misdeed) {
    let mut run = serving::lying(LIAR, lie).await;
    let caught = serving::read(&mut run, LIAR, "").await;
    assert!(
        !caught.is_empty() && told(&run),
        "{lie}: nobody was named\n{}",
        run.logs()
    );
    assert!(
        caught.iter().all(|culprit| culprit.what == misdeed),
        "{lie}: {caught:?}"
    );
    assert!(
        caught.iter().all(|culprit| culprit.evidence.len() == 1),
        "its signed reply"
    );
}

/// The same, but a lie that nobody can prove: the value is read, and nobody is blamed.
async fn outvoted(lie: &str) {
    let mut run = serving::lying(LIAR, lie).await;
    let caught = serving::read(&mut run, LIAR, "").await;
    assert!(told(&run), "{lie}: the liar was not asked\n{}", run.logs());
    assert_eq!(caught, Vec::new(), "{lie}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_releases_its_fragment_of_another_secret_is_named() {
    named("other-secrets-fragment", Misdeed::WrongFragment).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_serves_another_secret_is_named() {
    named("other-secret", Misdeed::OtherHistory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_claims_another_epoch_is_outvoted() {
    outvoted("other-epoch").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_claims_a_state_it_does_not_have_moves_nobody() {
    outvoted("ahead-of-itself").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_serves_an_old_version_as_the_latest_is_never_settled_for() {
    let mut run = serving::lying(LIAR, "old-version").await;
    // It has answered for every secret, and remembers.
    assert_eq!(serving::read(&mut run, LIAR, "").await, Vec::new());
    assert!(!told(&run));
    serving::write(&run, " anew").await;
    let caught = serving::read(&mut run, LIAR, " anew").await;
    assert!(told(&run), "the liar was not asked\n{}", run.logs());
    assert_eq!(
        caught,
        Vec::new(),
        "that a version was hidden meanwhile cannot be excluded"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_goes_on_serving_an_old_state_is_named() {
    let mut run = serving::lying(LIAR, "old-state").await;
    assert_eq!(serving::read(&mut run, LIAR, "").await, Vec::new());
    serving::write(&run, " anew").await;
    let caught = serving::read(&mut run, LIAR, " anew").await;
    assert!(!caught.is_empty() && told(&run), "nobody was named\n{}", run.logs());
    assert!(
        caught.iter().all(|culprit| culprit.what == Misdeed::StaleReply),
        "{caught:?}"
    );
}
