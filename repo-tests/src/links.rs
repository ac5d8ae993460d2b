//! What texts point at is there: relative links of documents, and paths of the repository in backticks anywhere.

use crate::Finding;

/// `files` are those of the repository, from its root.
pub fn check(file: &str, text: &str, files: &[String]) -> Vec<Finding> {
    let there = |path: &str| {
        let path = path.trim_end_matches('/');
        let inside = |one: &String| one.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        files.iter().any(|one| one == path || inside(one))
    };
    let top_level = |path: &str| {
        path.split_once('/')
            .is_some_and(|(top, _)| there(top) && !top.starts_with('.'))
    };
    let lines = text.lines().enumerate();
    let pointed = lines.flat_map(|(number, line)| {
        let linked = links(line).filter_map(|link| resolve(file, link));
        let linked = linked.filter(|_| file.ends_with(".md"));
        let quoted = line
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|quoted| is_path(quoted) && top_level(quoted));
        let quoted = quoted.map(str::to_owned).collect::<Vec<_>>();
        linked
            .chain(quoted)
            .map(move |path| (number + 1, path))
            .collect::<Vec<_>>()
    });
    pointed
        .filter(|(_, path)| !there(path))
        .map(|(number, path)| {
            Finding::new(
                format!("{file}:{number}"),
                format!("points at {path}, which is not there"),
            )
        })
        .collect()
}

/// Targets of links on one line, without what follows a `#`; none to other hosts.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let targets = targets.map(|(target, _)| target.split_once('#').map_or(target, |(path, _)| path));
    targets.filter(|target| !target.is_empty() && !target.contains("://"))
}

/// From the repository's root; `None` outside it.
fn resolve(file: &str, link: &str) -> Option<String> {
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut path: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(link.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(path.pop()?),
            part => path.push(part),
        }
    }
    Some(path.join("/"))
}

fn is_path(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Folders that the repository does not have, so that this file itself points at nothing.
    fn found(file: &str, text: &str) -> usize {
        let files = ["README.md", "texts/one.md", "texts/deep/two.md", "tool/src/read/mod.rs"];
        check(file, text, &files.map(str::to_owned)).len()
    }

    #[test]
    fn what_is_there_is_found() {
        let text =
            "[a](one.md#part) [b](../README.md) [c](deep/) [d](https://example.org/x) [e](#here) `tool/src/read/`";
        assert_eq!(found("texts/index.md", text), 0);
        assert_eq!(
            found(
                "texts/deep/index.md",
                "[a](../one.md), `no/path/of/ours`, `docs` and `a/b c`"
            ),
            0
        );
    }

    #[test]
    fn what_is_not_there_is_told() {
        assert_eq!(found("texts/index.md", "[a](two.md) and [b](../texts/none.md)"), 2);
        assert_eq!(found("texts/index.md", "`tool/src/read.rs`"), 1);
        assert_eq!(found("tool/src/lib.rs", "//! `texts/none.md`, [`not::a_link`](x)"), 1);
    }
}
