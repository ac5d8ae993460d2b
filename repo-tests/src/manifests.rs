//! Manifests: lints are inherited, every dependency of the workspace stands under a reason.

use toml::Table;

use crate::Finding;

/// Checks that a crate inherits the lints of the workspace.
#[must_use]
pub fn check_lints(file: &str, text: &str) -> Vec<Finding> {
    let inherits = |manifest: &Table| manifest.get("lints")?.get("workspace")?.as_bool();
    match text.parse::<Table>() {
        Ok(manifest) if inherits(&manifest) == Some(true) => Vec::new(),
        Ok(_) => vec![Finding::new(file, "lacks `[lints] workspace = true`")],
        Err(error) => vec![Finding::new(file, format!("is no TOML: {error}"))],
    }
}

/// Checks that each dependency in `[workspace.dependencies]` stands under a comment, with no empty line between it and
/// its group's. Our own crates need no reason.
#[must_use]
pub fn check_reasons(file: &str, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut inside = false;
    let mut reason = false;
    let mut open_brackets = 0_usize;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if open_brackets > 0 {
            open_brackets = (open_brackets + opened(line)).saturating_sub(closed(line));
        } else if line.starts_with('[') {
            inside = line == "[workspace.dependencies]";
            reason = false;
        } else if line.is_empty() {
            reason = false;
        } else if let Some(comment) = line.strip_prefix('#') {
            reason = !comment.trim().is_empty();
        } else {
            open_brackets = opened(line).saturating_sub(closed(line));
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            if inside && !reason && !line.contains("path =") {
                found.push(Finding::new(
                    format!("{file}:{number}"),
                    format!("{name} stands under no reason"),
                ));
            }
        }
    }
    found
}

fn opened(line: &str) -> usize {
    line.matches(['[', '{']).count()
}

fn closed(line: &str) -> usize {
    line.matches([']', '}']).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_that_does_not_inherit_lints_is_found() {
        for text in [
            "",
            "[lints]\nworkspace = false",
            "[lints.rust]\nunsafe_code = \"allow\"",
            "lints = 3",
            "[lints",
        ] {
            assert_eq!(check_lints("a/Cargo.toml", text).len(), 1, "{text:?}");
        }
        assert_eq!(check_lints("a/Cargo.toml", "[lints]\nworkspace = true"), []);
    }

    #[test]
    fn a_dependency_without_a_reason_is_found_with_its_line() {
        let text = "[workspace.dependencies]\nours = { path = \"ours\" }\n\n# Hashes.\nsha2 = \"1\"\nhkdf = \"1\"\n\nserde = \"1\"\n";
        assert_eq!(
            check_reasons("Cargo.toml", text),
            [Finding::new("Cargo.toml:8", "serde stands under no reason")]
        );
    }

    #[test]
    fn an_empty_comment_is_no_reason() {
        assert_eq!(
            check_reasons("Cargo.toml", "[workspace.dependencies]\n#\nserde = \"1\"").len(),
            1
        );
    }

    #[test]
    fn a_dependency_of_several_lines_is_one() {
        let text = "[workspace.dependencies]\n# Why.\na = { features = [\n  \"x\",\n  \"y\",\n] }\nb = \"1\"\n";
        assert_eq!(check_reasons("Cargo.toml", text), []);
    }

    #[test]
    fn other_sections_need_no_reasons() {
        assert_eq!(check_reasons("Cargo.toml", "[profile.dev]\nopt-level = 1\n"), []);
    }
}
