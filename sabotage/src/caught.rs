//! That seeded bugs are caught: the tests that are to find them are run again, each with its bug on, and must fail.

use crate::{Bug, Caught, VARIABLE};
use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A test that takes longer hangs, which finds nothing.
const WITHIN: Duration = Duration::from_secs(180);
/// How a test program ends if a test failed.
const FAILED: i32 = 101;

/// Runs the tests of this test program that are to find bugs (`file` is the caller's `file!()`): all of them must pass
/// without, and each must fail with its bug on.
///
/// # Panics
/// If one does not, or if the list names no test in `file`.
#[expect(clippy::panic, reason = "it fails the test that calls it")]
pub fn caught_in(file: &str) {
    let here: Vec<(Bug, &str)> = Bug::ALL
        .iter()
        .filter_map(|bug| match bug.caught() {
            Caught::Fails { file: its, test } if its == file => Some((*bug, test)),
            _ => None,
        })
        .collect();
    assert!(!here.is_empty(), "no seeded bug is found by a test in {file}");
    // One test may find several.
    let honest: BTreeSet<&str> = here.iter().map(|(_, test)| *test).collect();
    if let Some(told) = run(None, &Vec::from_iter(honest)) {
        panic!("without any bug a test fails: {told}");
    }
    let missed: Vec<String> = here
        .iter()
        .filter(|(bug, test)| {
            let told = run(Some(*bug), &[test]);
            !told.is_some_and(|told| told.contains(&format!("test {test} ... FAILED")))
        })
        .map(|(bug, test)| format!("{} is not found by {test}", bug.name()))
        .collect();
    assert!(missed.is_empty(), "{}", missed.join("; "));
}

/// Runs tests of this program by their names; what they print if one of them failed.
#[expect(clippy::panic, reason = "it fails the test that calls it")]
fn run(bug: Option<Bug>, tests: &[&str]) -> Option<String> {
    let program = std::env::current_exe().unwrap_or_else(|error| panic!("this test program: {error}"));
    let mut command = Command::new(program);
    command
        .args(tests)
        .arg("--exact")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    match bug {
        Some(bug) => command.env(VARIABLE, bug.name()),
        None => command.env_remove(VARIABLE),
    };
    let child = command
        .spawn()
        .unwrap_or_else(|error| panic!("this test program again: {error}"));
    let (code, told) = ended(child, bug);
    match code {
        Some(0) if told.contains(&format!("{} passed", tests.len())) => None,
        Some(FAILED) => Some(told),
        code => panic!("{tests:?} ended with {code:?} instead of passing or failing:\n{told}"),
    }
}

/// Its exit status and what it printed. What a test prints is short; it fits the pipe.
#[expect(clippy::panic, reason = "it fails the test that calls it")]
fn ended(mut child: Child, bug: Option<Bug>) -> (Option<i32>, String) {
    let begun = Instant::now();
    let reading = child.stdout.take().map(|mut out| {
        std::thread::spawn(move || {
            let mut text = String::new();
            // A test may print anything; what is no text ends the reading and shows in what is missing.
            let _ = std::io::Read::read_to_string(&mut out, &mut text);
            text
        })
    });
    let errors = child.stderr.take().map(|mut err| {
        std::thread::spawn(move || {
            // Nobody looks at it, but a full pipe would stop the test.
            let _ = std::io::copy(&mut err, &mut std::io::sink());
        })
    });
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begun.elapsed() < WITHIN => std::thread::sleep(Duration::from_millis(10)),
            Ok(None) => {
                // It is ours, and it hangs.
                let _ = child.kill();
                let _ = child.wait();
                panic!("with {bug:?} a test hangs instead of failing");
            }
            Err(error) => panic!("a test program: {error}"),
        }
    };
    let told = reading.and_then(|thread| thread.join().ok()).unwrap_or_default();
    drop(errors);
    (status.code(), told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_fails_is_told_apart_from_one_that_passes_and_from_one_that_is_not_there() {
        let here = "caught::tests::a_subject_that_fails_with_its_bug_on";
        assert_eq!(run(None, &[here]), None);
        let told = run(Some(Bug::SkipSyncs), &[here]).expect("it fails");
        assert!(told.contains(&format!("test {here} ... FAILED")), "{told}");
        assert_eq!(run(Some(Bug::Forge), &[here]), None, "another bug");
        let absent = std::panic::catch_unwind(|| run(None, &["no_such_test"]));
        assert!(absent.is_err(), "a name without a test proves nothing");
    }

    #[test]
    fn a_subject_that_fails_with_its_bug_on() {
        assert!(!Bug::SkipSyncs.on());
    }

    #[test]
    fn a_file_in_which_nothing_is_found_is_refused() {
        assert!(std::panic::catch_unwind(|| caught_in("no/such/file.rs")).is_err());
    }
}
