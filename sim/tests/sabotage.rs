//! Seeded bugs: the campaign must fail with each of them. A check that cannot fail proves nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use symbolon_sim::Breaks;
use symbolon_sim::run::{Settings, run};

/// Invariants that fail in the first of `seeds` in which one does.
fn caught(seeds: u64, settings: &Settings) -> BTreeSet<&'static str> {
    for seed in 0..seeds {
        // A cluster that does not even start with the bug has been caught as well, but not by an invariant.
        let Ok(report) = run(seed, settings) else { continue };
        if !report.violations.is_empty() {
            return report.violations.iter().map(|violation| violation.invariant).collect();
        }
    }
    BTreeSet::new()
}

#[test]
fn with_skipped_syncs_acknowledged_writes_are_lost() {
    let settings = Settings {
        prepare_disk: Some(|disk| disk.set_syncs_skipped(true)),
        ..Settings::default()
    };
    let caught = caught(3, &settings);
    assert!(caught.contains("no acknowledged write is lost"), "{caught:?}");
    assert!(
        caught.contains("a durable audit record before each release"),
        "{caught:?}"
    );
}

#[test]
fn nodes_that_do_not_wait_for_their_audit_record_are_caught() {
    let settings = Settings {
        breaks: Breaks {
            audit_not_awaited: true,
            ..Breaks::default()
        },
        ..Settings::default()
    };
    let caught = caught(20, &settings);
    assert!(
        caught.contains("a durable audit record before each release"),
        "{caught:?}"
    );
}

#[test]
fn nodes_that_answer_from_stale_states_are_caught() {
    let settings = Settings {
        breaks: Breaks {
            stale_reads: true,
            ..Breaks::default()
        },
        ..Settings::default()
    };
    let caught = caught(20, &settings);
    assert!(!caught.is_empty());
}
