//! Seeded bugs of nodes: the campaign must fail with each of them. A check that cannot fail proves nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::sync::Mutex;
use symbolon_consensus::malice::Lie;
use symbolon_sim::malice::{Scenario, VICTIM, play};
use symbolon_sim::run::Settings;
use symbolon_sim::{Bug, campaign};

const SEEDS: u64 = 20;

/// Invariants that fail in some of the seeds.
fn caught(bug: Bug) -> BTreeSet<&'static str> {
    let settings = Settings {
        bug: Some(bug),
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
    let caught = caught(Bug::AuditNotAwaited);
    assert_eq!(caught, BTreeSet::from(["a durable audit record before each release"]));
}

#[test]
fn nodes_that_answer_from_stale_states_are_caught() {
    // That it also releases after a revocation takes t nodes that lag at once: tests/held_back.rs makes them.
    let caught = caught(Bug::StaleReads);
    assert!(
        caught.contains("reads and writes of one secret are linearizable"),
        "{caught:?}"
    );
}

#[test]
fn nodes_that_go_on_when_they_are_contradicted_are_caught() {
    let with = |bug| {
        let scenario = Scenario {
            lies: vec![Lie::Fork { victim: VICTIM.into() }],
            bug,
            for_ms: 8_000,
            ..Scenario::default()
        };
        play(1, &scenario).unwrap()
    };
    let caught: BTreeSet<&str> = with(Some(Bug::ContradictionIgnored))
        .violations
        .iter()
        .map(|violation| violation.invariant)
        .collect();
    assert!(
        caught.contains("no two honest nodes with different histories both go on"),
        "{caught:?}"
    );
    assert_eq!(with(None).violations, Vec::new());
}
