//! Behind `make constant-time`: runs each operation under valgrind's memcheck with its secrets marked as never written.
//! Memcheck follows them through every computation and reports each branch and each address that depends on them, for
//! all their values at once; nothing is timed, so a busy machine changes no answer. Two operations that leak on purpose,
//! one by a branch and one by a table, must be found in the same run. docs/constant-time.md says what this shows.

mod allowed;
mod cases;
mod mark;
mod memcheck;

use cases::{CASES, Case, Expected};
use memcheck::{MemcheckError, Report};
use std::process::ExitCode;

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Memcheck(#[from] MemcheckError),
    #[error("there is no operation '{0}'; there are: {all}", all = names())]
    NoCase(String),
    #[error("this runs under valgrind; start it without arguments")]
    NotWatched,
    #[error("{0} of the operations do not do what they should")]
    Wrong(usize),
    #[error("allowed and no longer found, take it out of the list: {0}")]
    Stale(String),
}

fn names() -> String {
    let names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
    names.join(", ")
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ran = match arguments.as_slice() {
        [] => all(),
        [once, name] if once == "once" => run_once(name),
        [name, ..] => {
            find(name).map(|case| println!("run without arguments; '{}' is one of the operations", case.name))
        }
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn find(name: &str) -> Result<&'static Case, Failure> {
    let found = CASES.iter().find(|case| case.name == name);
    found.ok_or_else(|| Failure::NoCase(name.to_owned()))
}

fn run_once(name: &str) -> Result<(), Failure> {
    let case = find(name)?;
    if !mark::watched() {
        return Err(Failure::NotWatched);
    }
    (case.run)();
    Ok(())
}

fn all() -> Result<(), Failure> {
    let mut wrong = 0;
    let mut used = Vec::new();
    println!(
        "{:<18} {:>9} {:>8} {:>8}  verdict",
        "operation", "branches", "tables", "allowed"
    );
    for case in CASES {
        let reports = memcheck::run(case.name)?;
        let (excused, rest): (Vec<&Report>, Vec<&Report>) = reports.iter().partition(|report| {
            let found = allowed::of(case.name, report);
            used.extend(found);
            found.is_some()
        });
        let leaks = !rest.is_empty();
        let as_expected = leaks == (case.expected == Expected::Leak);
        wrong += usize::from(!as_expected);
        let verdict = match (case.expected, as_expected) {
            (Expected::None, true) => "holds",
            (Expected::None, false) => "LEAKS",
            (Expected::Leak, true) => "planted, found",
            (Expected::Leak, false) => "PLANTED, MISSED",
        };
        let (branches, tables) = (
            rest.iter().filter(|one| one.branch).count(),
            rest.iter().filter(|one| !one.branch).count(),
        );
        println!(
            "{:<18} {branches:>9} {tables:>8} {:>8}  {verdict}",
            case.name,
            excused.len()
        );
        if case.expected == Expected::None {
            rest.iter().for_each(|report| println!("{report}"));
        }
    }
    println!("branches, tables: places at which a branch, or an address, depends on a secret. Allowed:");
    for (number, one) in allowed::ALLOWED
        .iter()
        .enumerate()
        .filter(|(number, _)| used.contains(number))
    {
        println!("  {:>2}. {}, {}: {}", number + 1, one.case, one.frame, one.why);
    }
    if wrong > 0 {
        return Err(Failure::Wrong(wrong));
    }
    let stale = (0..).zip(allowed::ALLOWED).find(|(number, _)| !used.contains(number));
    match stale {
        Some((_, stale)) => Err(Failure::Stale(format!("{} in {}", stale.frame, stale.case))),
        None => Ok(()),
    }
}
