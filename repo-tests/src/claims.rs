//! What SECURITY.md and docs/proofs.md claim, they prove by tests that exist.
//!
//! A test is named in backticks, `folder::name`, with the crate's folder in front. Comments and strings of the sources
//! are looked at as lines, which is enough: a name that is commented out has no `fn` at the beginning of its line.

use crate::Finding;

/// Claims of the design (trust.md), each with a row of its own.
pub const CLAIMS: usize = 22;

/// What a row without a proof must say.
const OPEN: &str = "not yet";

/// A test that a document names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named<'a> {
    /// Its line, from 1.
    pub line: usize,
    /// Its crate's folder; of a crate in a crate, the last part.
    pub folder: &'a str,
    /// Its function.
    pub test: &'a str,
}

/// Every test that `text` names.
#[must_use]
pub fn named(text: &str) -> Vec<Named<'_>> {
    let mut found = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        // What stands between backticks is every second piece.
        for piece in content.split('`').skip(1).step_by(2) {
            if let Some((folder, test)) = piece.split_once("::")
                && is_name(folder)
                && is_name(test)
            {
                found.push(Named { line, folder, test });
            }
        }
    }
    found
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-')
}

/// The tests in one source: functions under an attribute `test`, of whatever harness.
#[must_use]
pub fn tests_of(source: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut attribute = false;
    for line in source.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            attribute = true;
        } else if attribute && !line.starts_with('#') && !line.starts_with("//") {
            attribute = false;
            let function = line.trim_start_matches("async ").strip_prefix("fn ");
            found.extend(function.and_then(|rest| rest.split('(').next()));
        }
    }
    found
}

/// Checks that each test that `text` names exists. `tests` are (file, name) of all there are.
#[must_use]
pub fn check_named(file: &str, text: &str, tests: &[(&str, &str)]) -> Vec<Finding> {
    let exists = |named: &Named<'_>| {
        let inside = |path: &str| path.split('/').any(|part| part == named.folder);
        tests.iter().any(|(path, test)| *test == named.test && inside(path))
    };
    let missing = named(text).into_iter().filter(|named| !exists(named));
    missing
        .map(|named| {
            let what = format!("names the test {}::{}, which does not exist", named.folder, named.test);
            Finding::new(format!("{file}:{}", named.line), what)
        })
        .collect()
}

/// Checks that `text` has one row for each claim, in order, and that each names a test or says that there is none yet.
#[must_use]
pub fn check_rows(file: &str, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut expected = 1;
    for (line, content) in (1..).zip(text.lines()) {
        let cell = content.strip_prefix("| ").and_then(|rest| rest.split(" |").next());
        let Some(number) = cell.and_then(|cell| cell.parse::<usize>().ok()) else {
            continue;
        };
        let place = format!("{file}:{line}");
        if number != expected {
            found.push(Finding::new(
                &place,
                format!("claim {number} stands where {expected} belongs"),
            ));
        }
        expected = number + 1;
        if named(content).is_empty() && !content.contains(OPEN) {
            found.push(Finding::new(
                place,
                format!("claim {number} names no test and does not say \"{OPEN}\""),
            ));
        }
    }
    if expected != CLAIMS + 1 {
        found.push(Finding::new(file, format!("has no row for claim {expected}")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "
        #[test]
        fn plain() {}
        #[tokio::test(start_paused = true)]
        async fn with_a_runtime() {}
        #[test]
        #[ignore = \"slow\"]
        // Why.
        fn under_several_attributes() {}
        fn helper() {}
        // #[test]
        // fn commented_out() {}
    ";

    #[test]
    fn tests_are_told_from_helpers_and_comments() {
        assert_eq!(
            tests_of(SOURCE),
            ["plain", "with_a_runtime", "under_several_attributes"]
        );
    }

    #[test]
    fn names_stand_in_backticks_with_their_crate() {
        let text = "`store::a_b` and `x.rs`\nnot store::c, but `crypto::d_1`, `Type::new` and `a::b::c`";
        let named = named(text);
        let short: Vec<_> = named.iter().map(|one| (one.line, one.folder, one.test)).collect();
        assert_eq!(short, [(1, "store", "a_b"), (2, "crypto", "d_1")]);
    }

    #[test]
    fn a_test_that_does_not_exist_is_found_with_its_line() {
        let tests = [("store/tests/crash.rs", "it_holds"), ("crypto/hsm/src/pin.rs", "a_pin")];
        assert_eq!(check_named("SECURITY.md", "`store::it_holds` `hsm::a_pin`", &tests), []);
        for (wrong, why) in [
            ("`store::it_hold`", "another name"),
            ("`client::it_holds`", "another crate"),
            ("`stor::it_holds`", "part of a folder"),
        ] {
            let found = check_named("SECURITY.md", &format!("\n{wrong}"), &tests);
            assert_eq!(found.len(), 1, "{why}");
            assert_eq!(found[0].place, "SECURITY.md:2", "{why}");
        }
    }

    fn rows(numbers: impl Iterator<Item = usize>) -> String {
        numbers.map(|n| format!("| {n} | claim | `a::b` |\n")).collect()
    }

    #[test]
    fn every_claim_has_a_row_and_every_row_a_test_or_an_admission() {
        let all = rows(1..=CLAIMS);
        assert_eq!(check_rows("SECURITY.md", &format!("| | head |\n|---|---|\n{all}")), []);
        assert_eq!(
            check_rows("SECURITY.md", &rows(1..CLAIMS)).len(),
            1,
            "the last is missing"
        );
        assert_eq!(
            check_rows("SECURITY.md", &rows((1..=CLAIMS).filter(|n| *n != 7))).len(),
            1,
            "one is missing"
        );
        let without = all.replace("| 5 | claim | `a::b` |", "| 5 | claim | surely |");
        assert_eq!(check_rows("SECURITY.md", &without).len(), 1);
        let open = all.replace("| 5 | claim | `a::b` |", "| 5 | claim | not yet: epochs |");
        assert_eq!(check_rows("SECURITY.md", &open), []);
    }
}
