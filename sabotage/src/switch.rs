//! Which bug is on.

use crate::Bug;
use std::cell::Cell;
use std::sync::OnceLock;

/// Names the bug that is on in a process; behind a colon whom it is aimed at, where it is aimed at one node (`fork:2`).
pub const VARIABLE: &str = "SYMBOLON_SABOTAGE";

/// The variable names none of the bugs: a misspelt one must not pass for one that nothing finds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{VARIABLE} names no seeded bug: {found:?}; those there are: {}", names())]
pub struct Unknown {
    /// What it says.
    pub found: String,
}

fn names() -> String {
    let names: Vec<&str> = Bug::ALL.iter().map(|bug| bug.name()).collect();
    names.join(", ")
}

thread_local! {
    static HANDED_IN: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// The bug that the variable names, and behind its colon the victim.
fn parse(text: &str) -> Result<(Bug, u64), Unknown> {
    let unknown = || Unknown { found: text.to_owned() };
    let (name, victim) = text.split_once(':').unwrap_or((text, "0"));
    let bug = Bug::ALL.iter().find(|bug| bug.name() == name).ok_or_else(unknown)?;
    Ok((*bug, victim.parse().map_err(|_| unknown())?))
}

fn variable() -> &'static Result<Option<(Bug, u64)>, Unknown> {
    static READ: OnceLock<Result<Option<(Bug, u64)>, Unknown>> = OnceLock::new();
    READ.get_or_init(|| match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => parse(&text).map(Some),
        _ => Ok(None),
    })
}

/// The bug that is on here: handed in on this thread, or else the process's.
///
/// # Errors
/// [`Unknown`].
pub fn chosen() -> Result<Option<Bug>, Unknown> {
    match HANDED_IN.get() {
        Some(bug) => Ok(Some(bug)),
        None => variable().clone().map(|chosen| chosen.map(|(bug, _)| bug)),
    }
}

/// The node that the process's lie is aimed at; 0 if it is aimed at nobody alone.
#[must_use]
pub fn victim() -> u64 {
    variable()
        .as_ref()
        .ok()
        .copied()
        .flatten()
        .map_or(0, |(_, victim)| victim)
}

/// Runs `run` with `bug` on, if one is given, on this thread only.
pub fn with<T>(bug: Option<Bug>, run: impl FnOnce() -> T) -> T {
    struct Before(Option<Bug>);
    impl Drop for Before {
        fn drop(&mut self) {
            HANDED_IN.set(self.0);
        }
    }
    let _before = Before(HANDED_IN.replace(bug));
    run()
}

impl Bug {
    /// Whether it is on here.
    ///
    /// # Panics
    /// If the variable names no bug: whoever set it would take honest behaviour for a bug that nothing finds.
    #[must_use]
    #[expect(clippy::panic, reason = "no build that ships has this crate")]
    pub fn on(self) -> bool {
        match chosen() {
            Ok(chosen) => chosen == Some(self),
            Err(unknown) => panic!("{unknown}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_found_by_its_name_and_a_misspelt_one_is_refused_with_the_names_there_are() {
        for bug in Bug::ALL {
            assert_eq!(parse(bug.name()), Ok((*bug, 0)));
        }
        assert_eq!(parse("fork:2"), Ok((Bug::Fork, 2)));
        for wrong in ["", "frok", "fork:", "fork:two", "Fork"] {
            let told = parse(wrong).unwrap_err().to_string();
            assert!(told.contains("skip-syncs") && told.contains(wrong), "{told}");
        }
    }

    #[test]
    fn one_that_is_handed_in_is_on_while_that_runs_and_on_that_thread_only() {
        let (one, other) = (Bug::ALL[0], Bug::ALL[1]);
        assert!(!one.on());
        with(Some(one), || {
            assert!(one.on() && !other.on());
            std::thread::scope(|scope| assert!(!scope.spawn(|| one.on()).join().unwrap()));
            with(Some(other), || assert!(!one.on() && other.on()));
            assert!(one.on());
        });
        let panicked = std::panic::catch_unwind(|| with(Some(one), || panic!("a test that fails")));
        assert!(panicked.is_err() && !one.on());
    }
}
