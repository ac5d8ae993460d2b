//! `symbolon-sim`: plays seeds, and says which of them break an invariant.
#![forbid(unsafe_code)]

use clap::Parser;
use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;
use symbolon_sim::run::{Report, Settings, run};

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
    let (mut played, mut failed) = (0_u32, 0_u32);
    for seed in arguments.seeds.clone() {
        played += 1;
        let good = match run(seed, &settings) {
            Ok(report) => show(&report, &settings, &arguments),
            Err(error) => {
                println!("seed {seed}: {error}");
                false
            }
        };
        failed += u32::from(!good);
    }
    let took = started.elapsed().as_secs_f64();
    println!(
        "{played} seeds of {} virtual seconds, {failed} failed, {:.2} seeds/s",
        settings.virtual_seconds,
        f64::from(played) / took
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Prints what came of a seed; `false` if it failed.
fn show(report: &Report, settings: &Settings, arguments: &Arguments) -> bool {
    if arguments.verbose {
        for event in &report.events {
            println!("{:>7} ms  {:?}", event.at_ms, event.what);
        }
    }
    let seed = report.seed;
    println!(
        "seed {seed}: {} {:?}",
        hex::encode(report.trace.get(..4).unwrap_or_default()),
        report.tally()
    );
    let mut good = report.violations.is_empty();
    for violation in &report.violations {
        println!("  {violation}");
    }
    if arguments.twice_every > 0 && seed.is_multiple_of(arguments.twice_every) {
        let again = run(seed, settings).map(|again| again.trace).ok();
        if again != Some(report.trace) {
            println!("  played again, seed {seed} gives another trace");
            good = false;
        }
    }
    if !good {
        println!("  again: {}", report.command(settings));
    }
    good
}
