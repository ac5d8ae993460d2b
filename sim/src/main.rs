//! `symbolon-sim`: plays seeds, and says which of them break an invariant.
#![forbid(unsafe_code)]

use clap::Parser;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use symbolon_sim::campaign;
use symbolon_sim::history::Event;
use symbolon_sim::run::{Report, Settings, Tally, run};

/// Plays the cluster under seeds, with faults.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Seeds to play: `A..B`, B not included.
    #[arg(long, default_value = "0..100", value_parser = seeds)]
    seeds: Range<u64>,
    /// How long workload and faults last in each, virtual seconds.
    #[arg(long, default_value_t = Settings::default().virtual_seconds)]
    virtual_seconds: u64,
    /// Agents that write and read.
    #[arg(long, default_value_t = Settings::default().agents, value_parser = clap::value_parser!(u16).range(2..=20))]
    agents: u16,
    /// One seed in so many is played twice, and must give the same trace; 0: none is.
    #[arg(long, default_value_t = 100)]
    twice_every: u64,
    /// Prints everything that happened.
    #[arg(long)]
    verbose: bool,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (from, until) = text.split_once("..").ok_or("write two numbers: 0..100")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
    Ok(number(from)?..number(until)?)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let settings = Settings {
        virtual_seconds: arguments.virtual_seconds,
        agents: arguments.agents,
        ..Settings::default()
    };
    let started = Instant::now();
    let (total, failed) = (Mutex::new(Tally::default()), AtomicUsize::new(0));
    campaign::play(arguments.seeds.clone(), &settings, |seed, played| {
        let good = match played {
            Ok(report) => {
                total.lock().unwrap_or_else(PoisonError::into_inner).add(report.tally());
                show(&report, &settings, &arguments)
            }
            Err(error) => {
                println!("seed {seed}: {error}");
                false
            }
        };
        failed.fetch_add(usize::from(!good), Ordering::Relaxed);
    });
    let (took, failed) = (started.elapsed().as_secs_f64(), failed.into_inner());
    let seeds = arguments.seeds.end.saturating_sub(arguments.seeds.start);
    println!("{:?}", total.into_inner().unwrap_or_else(PoisonError::into_inner));
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = seeds as f64 / took;
    println!(
        "{seeds} seeds of {} virtual seconds, {failed} failed, {rate:.2} seeds/s",
        settings.virtual_seconds
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Prints what came of a seed; `false` if it failed.
fn show(report: &Report, settings: &Settings, arguments: &Arguments) -> bool {
    let seed = report.seed;
    let mut lines = Vec::new();
    if arguments.verbose {
        let line = |event: &Event| format!("{:>7} ms  {:?}", event.at_ms, event.what);
        lines.extend(report.events.iter().map(line));
        lines.push(format!("seed {seed}: {:?}", report.tally()));
    }
    let mut problems: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    if arguments.twice_every > 0 && seed.is_multiple_of(arguments.twice_every) {
        let again = run(seed, settings).map(|again| again.trace).ok();
        if again != Some(report.trace) {
            problems.push("played again, it gives another trace".to_owned());
        }
    }
    if !problems.is_empty() {
        lines.push(format!("seed {seed}: again with {}", report.command(settings)));
        lines.extend(problems.iter().map(|problem| format!("  {problem}")));
    }
    for line in lines {
        println!("{line}");
    }
    problems.is_empty()
}
