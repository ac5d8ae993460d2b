//! Disks whose syncs only pretend: the campaign must fail on them. In a file of its own, because agreement stops with
//! panics when a log that it had acknowledged is gone, and those are expected here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use symbolon_sim::run::{Settings, run};

#[test]
fn with_skipped_syncs_acknowledged_writes_and_audit_records_are_lost() {
    std::panic::set_hook(Box::new(|_| {}));
    let settings = Settings {
        prepare_disk: Some(|disk| disk.set_syncs_skipped(true)),
        ..Settings::default()
    };
    let found: BTreeSet<&str> = (0..3)
        .filter_map(|seed| run(seed, &settings).ok())
        .flat_map(|report| report.violations)
        .map(|violation| violation.invariant)
        .collect();
    // The hook belongs to this process alone; what is asserted from here on is shown again.
    let _ = std::panic::take_hook();
    assert!(found.contains("no acknowledged write is lost"), "{found:?}");
    assert!(
        found.contains("a durable audit record before each release"),
        "{found:?}"
    );
    assert!(
        found.contains("equal chains and state roots at equal index"),
        "{found:?}"
    );
}
