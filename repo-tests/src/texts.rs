//! Files as text: their length, and what of the machine they were written on must not be in them.

use crate::Finding;

/// The longest file, in lines: past it a file wants splitting by topic (layout.md).
pub const LINES_MAX: usize = 800;

/// Kinds of files that people write and read.
const WRITTEN: [&str; 10] = [
    "rs",
    "proto",
    "cedar",
    "cedarschema",
    "md",
    "py",
    "sh",
    "toml",
    "yml",
    "yaml",
];

/// Beginnings of paths of the machines that this is developed on. Written in two halves, since this file is checked too.
const MACHINE_PATHS: [(&str, &str); 4] = [("/wo", "rk/"), ("/ro", "ot/"), ("/tmp", "/co/"), ("/tmp/", "brief")];

/// Settings that send a build to another registry than the public one. They belong to a machine, not to the project.
const REGISTRY_SETTINGS: [(&str, &str); 5] = [
    ("replace-", "with"),
    ("[sour", "ce."),
    ("[regis", "tries"),
    ("index-", "url"),
    ("GOPROXY", "="),
];

/// The only place from where `Cargo.lock` may take crates.
const PUBLIC_REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks one file, named relative to the repository.
#[must_use]
pub fn check(file: &str, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let lines = text.lines().count();
    let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension);
    if WRITTEN.contains(&extension) && lines > LINES_MAX {
        found.push(Finding::new(
            file,
            format!("has {lines} lines; past {LINES_MAX} it wants splitting by topic"),
        ));
    }
    for (number, line) in (1..).zip(text.lines()) {
        let place = || format!("{file}:{number}");
        for (one, two) in MACHINE_PATHS {
            let path = [one, two].concat();
            if names_path(line, &path) {
                found.push(Finding::new(place(), format!("names {path}, a path of one machine")));
            }
        }
        for (one, two) in REGISTRY_SETTINGS {
            let setting = [one, two].concat();
            if line.contains(&setting) {
                found.push(Finding::new(place(), format!("sets a registry ({setting})")));
            }
        }
    }
    found
}

/// Whether `line` names an absolute path that begins with `path`: `src/work/` does not.
fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|before| before.is_alphanumeric() || "_-.~*}".contains(before))
    })
}

/// Checks that `Cargo.lock` takes every crate from the public registry.
#[must_use]
pub fn check_lock(file: &str, text: &str) -> Vec<Finding> {
    let sources = (1..).zip(text.lines()).filter_map(|(number, line)| {
        let source = line.strip_prefix("source = \"")?.strip_suffix('"')?;
        (source != PUBLIC_REGISTRY)
            .then(|| Finding::new(format!("{file}:{number}"), format!("takes a crate from {source}")))
    });
    sources.collect()
}

/// Checks that the README names the commands that a newcomer needs, and that the Makefile has them.
#[must_use]
pub fn check_commands(readme: &str, makefile: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for target in ["demo", "test"] {
        if !readme.contains(&format!("make {target}")) {
            found.push(Finding::new("README.md", format!("does not name `make {target}`")));
        }
        if !makefile.lines().any(|line| line.starts_with(&format!("{target}:"))) {
            found.push(Finding::new("Makefile", format!("has no target {target}")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_one_line_too_long_is_found() {
        assert_eq!(check("a/src/lib.rs", &"\n".repeat(LINES_MAX)), []);
        assert_eq!(check("a/src/lib.rs", &"\n".repeat(LINES_MAX + 1)).len(), 1);
        assert_eq!(
            check("a/tests/vectors.json", &"\n".repeat(LINES_MAX + 1)),
            [],
            "data is not written by hand"
        );
    }

    #[test]
    fn each_machine_path_is_found_with_its_line() {
        for (one, two) in MACHINE_PATHS {
            for line in ["run {}x", "\"{}x\"", "({}x)", "`{}x`", "cd {}", "PATH={}bin"] {
                let text = format!("\n{}", line.replace("{}", &[one, two].concat()));
                let found = check("docs/guide.md", &text);
                assert_eq!(found.len(), 1, "{text}");
                assert_eq!(found[0].place, "docs/guide.md:2");
            }
        }
    }

    #[test]
    fn a_relative_path_that_only_sounds_alike_passes() {
        assert_eq!(
            check(
                "docs/guide.md",
                "docs/work/plan.md, ../work/x, the-root/y, ~/work/z, {dir}/root/k"
            ),
            []
        );
    }

    #[test]
    fn each_setting_of_a_registry_is_found() {
        for (one, two) in REGISTRY_SETTINGS {
            assert_eq!(check(".cargo/config.toml", &[one, two].concat()).len(), 1, "{one}{two}");
        }
    }

    #[test]
    fn a_crate_from_elsewhere_is_found_in_the_lock_file() {
        let public = format!("[[package]]\nname = \"a\"\nsource = \"{PUBLIC_REGISTRY}\"\n");
        assert_eq!(check_lock("Cargo.lock", &public), []);
        for source in [
            "registry+https://mirror.example/index",
            "git+https://example.org/a?rev=1#2",
        ] {
            let found = check_lock("Cargo.lock", &format!("{public}source = \"{source}\"\n"));
            assert_eq!(
                found,
                [Finding::new("Cargo.lock:4", format!("takes a crate from {source}"))]
            );
        }
    }

    #[test]
    fn a_readme_without_the_two_commands_is_found() {
        let makefile = "demo: build\n\ttrue\ntest:\n\ttrue\n";
        assert_eq!(check_commands("Run `make demo`, then `make test`.", makefile), []);
        assert_eq!(check_commands("Run `make demo`.", makefile).len(), 1);
        assert_eq!(check_commands("Run `make demo`, then `make test`.", "demo:\n").len(), 1);
        assert_eq!(check_commands("", "").len(), 4);
    }
}
