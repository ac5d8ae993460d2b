//! A hundred seeds, as every change must pass them. A seed that fails says how to play it again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Mutex;
use std::time::Instant;
use symbolon_sim::campaign;
use symbolon_sim::run::{Settings, Tally, run};

const SEEDS: u64 = 100;

#[test]
fn no_seed_breaks_an_invariant() {
    let settings = Settings::default();
    let (started, failures) = (Instant::now(), Mutex::new(Vec::new()));
    let total = Mutex::new(Tally::default());
    campaign::play(0..SEEDS, &settings, |seed, report| {
        let report = report.unwrap();
        let tally = report.tally();
        assert!(tally.faults >= 5, "seed {seed}: only {} faults", tally.faults);
        total.lock().unwrap().add(tally);
        if !report.violations.is_empty() {
            let told: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
            let again = report.command(&settings);
            let failure = format!("seed {seed}: {}\n  again: {again}", told.join("; "));
            failures.lock().unwrap().push(failure);
        }
    });
    let took = started.elapsed().as_secs_f64();
    let total = total.into_inner().unwrap();
    println!(
        "{SEEDS} seeds in {took:.0} s, {:.2} seeds/s: {total:?}",
        SEEDS as f64 / took
    );
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    // A campaign in which little happens proves little.
    assert!(
        total.reads > 5_000 && total.writes > 3_000 && total.changes > 1_000,
        "{total:?}"
    );
    assert!(total.snapshots > 30, "{total:?}");
    assert!(
        total.refusals > 1_000 && total.power_cuts > 500 && total.marks > 500,
        "{total:?}"
    );
}

#[test]
fn one_seed_gives_one_trace_and_another_seed_another() {
    let settings = Settings::default();
    for seed in [3, 17, 71] {
        let (first, again) = (run(seed, &settings).unwrap(), run(seed, &settings).unwrap());
        let differ = first.events.iter().zip(&again.events).position(|(a, b)| a != b);
        if let Some(place) = differ {
            panic!(
                "seed {seed} differs at event {place}: {:?} and {:?}",
                first.events[place], again.events[place]
            );
        }
        assert_eq!(first.trace, again.trace, "seed {seed}");
        assert_ne!(first.trace, run(seed + 1, &settings).unwrap().trace);
    }
}
