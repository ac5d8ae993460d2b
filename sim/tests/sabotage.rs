//! Seeded bugs of nodes: the campaign must fail with each of them. A check that cannot fail proves nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::sync::Mutex;
use symbolon_sim::run::Settings;
use symbolon_sim::{Breaks, campaign};

const SEEDS: u64 = 20;

/// Invariants that fail in some of the seeds.
fn caught(breaks: Breaks) -> BTreeSet<&'static str> {
    let settings = Settings {
        breaks,
        ..Settings::default()
    };
    let found = Mutex::new(BTreeSet::new());
    campaign::play(0..SEEDS, &settings, |_, report| {
        let violations = report.unwrap().violations;
        let invariants = violations.into_iter().map(|violation| violation.invariant);
        found.lock().unwrap().extend(invariants);
    });
    found.into_inner().unwrap()
}

#[test]
fn nodes_that_do_not_wait_for_their_audit_record_are_caught() {
    let caught = caught(Breaks {
        audit_not_awaited: true,
        ..Breaks::default()
    });
    assert_eq!(caught, BTreeSet::from(["a durable audit record before each release"]));
}

#[test]
fn nodes_that_answer_from_stale_states_are_caught() {
    let caught = caught(Breaks {
        stale_reads: true,
        ..Breaks::default()
    });
    assert!(
        caught.contains("fewer than t releases to requests that arrive after a revocation was committed"),
        "{caught:?}"
    );
}
