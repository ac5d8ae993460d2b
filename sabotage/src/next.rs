//! The next build: the same program as if one more feature level had been written. With it a rolling upgrade is tested
//! between two builds that differ, before there is a second one.

use std::cell::Cell;
use std::sync::OnceLock;

/// `1` makes a process the next build.
pub const NEXT_BUILD_VARIABLE: &str = "SYMBOLON_NEXT_BUILD";

thread_local! {
    static HANDED_IN: Cell<Option<bool>> = const { Cell::new(None) };
}

/// What the variable says, read once.
fn variable() -> &'static Result<bool, String> {
    static READ: OnceLock<Result<bool, String>> = OnceLock::new();
    READ.get_or_init(|| parse(&std::env::var(NEXT_BUILD_VARIABLE).unwrap_or_default()))
}

fn parse(text: &str) -> Result<bool, String> {
    match text {
        "" => Ok(false),
        "1" => Ok(true),
        other => Err(format!("{NEXT_BUILD_VARIABLE} is 1 or nothing, not {other:?}")),
    }
}

/// Whether what runs here is the next build: handed in on this thread, or else as the variable says.
///
/// # Panics
/// If the variable says something else: whoever set it would take one build for the other.
#[must_use]
#[expect(clippy::panic, reason = "no build that ships has this crate")]
pub fn next_build() -> bool {
    match (HANDED_IN.get(), variable()) {
        (Some(next), _) => next,
        (None, Ok(next)) => *next,
        (None, Err(wrong)) => panic!("{wrong}"),
    }
}

/// Runs `run` as the next build, or as this one, on this thread only.
pub fn as_build<T>(next: bool, run: impl FnOnce() -> T) -> T {
    struct Before(Option<bool>);
    impl Drop for Before {
        fn drop(&mut self) {
            HANDED_IN.set(self.0);
        }
    }
    let _before = Before(HANDED_IN.replace(Some(next)));
    run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_handed_in_while_that_runs_and_on_that_thread_only() {
        assert!(!next_build());
        as_build(true, || {
            assert!(next_build());
            std::thread::scope(|scope| assert!(!scope.spawn(next_build).join().unwrap()));
            as_build(false, || assert!(!next_build()));
            assert!(next_build());
        });
        assert!(!next_build());
    }

    #[test]
    fn what_the_variable_says_is_1_or_nothing() {
        assert_eq!((parse(""), parse("1")), (Ok(false), Ok(true)));
        assert!(parse("true").unwrap_err().contains(NEXT_BUILD_VARIABLE));
    }
}
