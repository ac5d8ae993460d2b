//! `crypto`, `wire`, `policy`, `state` and `custody` open nothing, read no clock and draw no randomness: what they do
//! depends on what they are given, so that it can be simulated from a seed and is alike on every node.

use crate::{Finding, source};

/// Folders of pure crates.
pub const PURE: [&str; 5] = ["crypto", "wire", "policy", "state", "custody"];

/// Names that no path of a pure crate may hold, and what they stand for.
const NAMES: &[(&str, &str)] = &[
    ("tokio", "a runtime"),
    ("SystemTime", "a clock"),
    ("Instant", "a clock"),
    ("thread_rng", "ambient randomness"),
    ("ThreadRng", "ambient randomness"),
    ("OsRng", "ambient randomness"),
    ("SysRng", "ambient randomness"),
    ("SystemRandom", "ambient randomness"),
    ("getrandom", "ambient randomness"),
    ("from_os_rng", "ambient randomness"),
    ("try_generate", "ambient randomness"),
];

/// Beginnings of paths that a pure crate may not use, and what they stand for.
const PATHS: &[(&[&str], &str)] = &[
    (&["std", "fs"], "files"),
    (&["std", "net"], "the network (addresses alone are in core::net)"),
    (&["std", "process"], "processes"),
    (&["std", "env"], "the environment"),
    (&["rand", "rng"], "ambient randomness"),
    (&["rand", "random"], "ambient randomness"),
];

/// What `state` may not use besides: it must do the same on every node, down to the last bit and the order of steps.
const NOT_IN_STATE: &[(&str, &str)] = &[
    ("HashMap", "an order that differs from run to run (use BTreeMap)"),
    ("HashSet", "an order that differs from run to run (use BTreeSet)"),
    ("f32", "floating point"),
    ("f64", "floating point"),
    ("async", "asynchrony"),
    ("await", "asynchrony"),
];

/// Files that may use one of these names, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[];

/// Checks one source file, named relative to the repository.
#[must_use]
pub fn check(file: &str, text: &str) -> Vec<Finding> {
    let Some(folder) = pure_folder(file) else {
        return Vec::new();
    };
    let paths = match source::paths(text) {
        Ok(paths) => paths,
        Err(error) => return vec![Finding::new(file, format!("can not be read as Rust: {error}"))],
    };
    let mut found = Vec::new();
    for path in paths {
        let mut breach = |name: &str, what: &str| {
            if !EXCEPTIONS
                .iter()
                .any(|(excepted, excepted_name, _)| *excepted == file && *excepted_name == name)
            {
                found.push(Finding::new(
                    format!("{file}:{}", path.line),
                    format!("uses {name}: {what} has no place in {folder}"),
                ));
            }
        };
        let own = if folder == "state" { NOT_IN_STATE } else { &[] };
        for (name, what) in NAMES.iter().chain(own) {
            if path.segments.iter().any(|segment| segment == name) {
                breach(name, what);
            }
        }
        for (start, what) in PATHS {
            if path.segments.windows(start.len()).any(|window| window == *start) {
                breach(&start.join("::"), what);
            }
        }
    }
    found
}

/// The pure crate whose library `file` belongs to. Tests, benches and build scripts are not the library; `crypto/hsm`
/// is a crate of its own.
fn pure_folder(file: &str) -> Option<&'static str> {
    let folder = PURE
        .into_iter()
        .find(|folder| file.starts_with(&format!("{folder}/src/")))?;
    let only_for_tests = file.ends_with("/tests.rs") || file.contains("/tests/");
    (file.ends_with(".rs") && !only_for_tests).then_some(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_forbidden_name_is_found_in_each_pure_crate() {
        for folder in PURE {
            for (name, _) in NAMES {
                let found = check(&format!("{folder}/src/lib.rs"), &format!("fn f() {{ {name}::x(); }}"));
                assert_eq!(found.len(), 1, "{name} in {folder}");
                assert_eq!(found[0].place, format!("{folder}/src/lib.rs:1"));
            }
        }
    }

    #[test]
    fn each_forbidden_path_is_found_alone_and_in_a_group() {
        for (path, _) in PATHS {
            let (first, second) = (path[0], path[1]);
            for text in [
                format!("use {first}::{second};"),
                format!("use {first}::{{x, {second}::{{a, b as c}}}};"),
            ] {
                assert!(!check("wire/src/a/b.rs", &text).is_empty(), "{text}");
            }
        }
    }

    #[test]
    fn addresses_are_no_network() {
        assert_eq!(check("policy/src/lib.rs", "use core::net::IpAddr;"), []);
    }

    #[test]
    fn state_may_not_use_what_differs_between_nodes() {
        for (name, _) in NOT_IN_STATE {
            let text = format!("fn f() {{ let x: {name} = y; }}");
            assert_eq!(check("state/src/lib.rs", &text).len(), 1, "{name}");
            assert_eq!(check("policy/src/lib.rs", &text), [], "{name}");
        }
    }

    #[test]
    fn tests_of_pure_crates_may_use_anything() {
        let text = "use std::fs; use std::time::Instant;";
        for file in [
            "crypto/tests/vectors.rs",
            "crypto/src/dealing/tests.rs",
            "crypto/benches/deal.rs",
        ] {
            assert_eq!(check(file, text), [], "{file}");
        }
        assert_eq!(
            check("crypto/src/lib.rs", "#[cfg(test)] mod tests { use std::fs; }"),
            []
        );
    }

    #[test]
    fn other_crates_may_use_anything() {
        for file in ["node/src/main.rs", "crypto/hsm/src/lib.rs", "client/src/lib.rs"] {
            assert_eq!(check(file, "use std::fs; use tokio::net;"), [], "{file}");
        }
    }

    #[test]
    fn a_file_that_is_no_rust_is_found() {
        assert_eq!(check("state/src/lib.rs", "fn f( {").len(), 1);
    }
}
