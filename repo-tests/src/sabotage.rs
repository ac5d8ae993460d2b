//! Every seeded bug of `sabotage/` is where the list says, names a test that exists and stands in docs/malice.md; and no
//! build that ships has any of them.

use symbolon_sabotage::{Bug, Caught};

use crate::{Finding, claims};

/// What ships, and what measures it.
pub const SHIPPED: [&str; 3] = ["symbolon-cli", "symbolon-node", "symbolon-benches"];
/// The crate that only the feature brings in.
pub const SWITCHBOARD: &str = "symbolon-sabotage";
/// The document that lists them for people.
pub const DOCUMENT: &str = "docs/malice.md";
/// The list itself.
const LIST: &str = "sabotage/src/bugs.rs";
/// Runs the tests of one program again, each with its bug on.
const AGAIN: &str = "symbolon_sabotage::caught_in(file!())";

/// Checks one bug; `text` gives a file, if there is one of that name.
#[must_use]
pub fn check(bug: Bug, text: impl Fn(&str) -> Option<String>) -> Vec<Finding> {
    let told = |what: String| Finding::new(LIST, format!("{}: {what}", bug.name()));
    let (file, test) = bug.caught().by();
    let function = test.rsplit("::").next().unwrap_or(test);
    let mut found = Vec::new();
    match text(bug.site()) {
        Some(site) if site.contains(&format!("Bug::{bug:?}")) => {}
        Some(_) => found.push(told(format!("{} does not have it", bug.site()))),
        None => found.push(told(format!("there is no {}", bug.site()))),
    }
    let source = text(file).unwrap_or_default();
    if !claims::tests_of(&source).contains(&function) {
        found.push(told(format!("{file} has no test {function}")));
    }
    if matches!(bug.caught(), Caught::Fails { .. }) && !source.contains(AGAIN) {
        found.push(told(format!("{file} does not run {function} with it")));
    }
    let (document, name) = (text(DOCUMENT).unwrap_or_default(), format!("`{}`", bug.name()));
    let row = document.lines().find(|line| line.starts_with(&format!("| {name} |")));
    if !row.is_some_and(|row| row.contains(&format!("::{function}`"))) {
        found.push(told(format!(
            "{DOCUMENT} has no row with {name} and the test {function}"
        )));
    }
    found
}

/// Checks that none of the packages that are linked is the switchboard.
#[must_use]
pub fn check_linked(linked: &[String]) -> Vec<Finding> {
    let there = linked.iter().any(|name| name == SWITCHBOARD);
    let told = "what ships has the seeded bugs in it: a manifest switches the feature `sabotage` on";
    there.then(|| Finding::new("Cargo.toml", told)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUG: Bug = Bug::LateGrant;

    /// A repository in which one file is another.
    fn found(changed: &str, to: &str) -> usize {
        let (file, test) = BUG.caught().by();
        check(BUG, |name| {
            let right = match name {
                _ if name == changed => to.to_owned(),
                _ if name == BUG.site() => "symbolon_sabotage::Bug::LateGrant.on()".to_owned(),
                _ if name == file => format!("#[test]\nfn {test}() {{}}\n{AGAIN}"),
                DOCUMENT => format!("| `late-grant` | `custody::{test}` |"),
                _ => return None,
            };
            Some(right)
        })
        .len()
    }

    #[test]
    fn a_bug_that_is_nowhere_found_by_nothing_never_switched_on_or_undocumented_is_told() {
        let (file, test) = BUG.caught().by();
        assert_eq!(found("", ""), 0);
        assert_eq!(found(BUG.site(), "nothing"), 1);
        assert_eq!(found(file, AGAIN), 1, "no such test");
        assert_eq!(
            found(file, &format!("#[test]\nfn {test}() {{}}")),
            1,
            "never run with it"
        );
        assert_eq!(found(DOCUMENT, "| `late-grant` | |"), 1);
    }

    #[test]
    fn a_build_that_has_the_switchboard_is_told() {
        assert_eq!(check_linked(&["symbolon-crypto".to_owned()]), []);
        assert_eq!(check_linked(&[SWITCHBOARD.to_owned()]).len(), 1);
    }
}
