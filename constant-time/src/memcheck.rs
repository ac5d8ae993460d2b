//! One operation under memcheck, and what it reports.

use std::fmt;
use std::process::Command;

/// Frames of a report that are kept, from the innermost.
const FRAMES: usize = 8;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MemcheckError {
    #[error("valgrind cannot be started ({0}); install it: apt-get install valgrind")]
    Start(std::io::Error),
    #[error("'{case}' failed under valgrind: {said}")]
    Failed { case: String, said: String },
}

/// One place at which something depends on a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// A branch; otherwise an address.
    pub(crate) branch: bool,
    /// Functions and lines, innermost first.
    pub(crate) frames: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "  {} depends on a secret:",
            if self.branch { "a branch" } else { "an address" }
        )?;
        self.frames.iter().try_for_each(|frame| write!(f, "\n    {frame}"))
    }
}

/// Runs the operation `case` of this program.
pub(crate) fn run(case: &str) -> Result<Vec<Report>, MemcheckError> {
    let own = std::env::current_exe().map_err(MemcheckError::Start)?;
    let done = Command::new("valgrind")
        .args([
            "--tool=memcheck",
            "--quiet",
            "--leak-check=no",
            "--error-limit=no",
            "--num-callers=40",
            "--log-fd=2",
        ])
        .arg(own)
        .args(["once", case])
        .output()
        .map_err(MemcheckError::Start)?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    if !done.status.success() {
        let case = case.to_owned();
        return Err(MemcheckError::Failed { case, said });
    }
    Ok(parse(&said))
}

/// Reads reports: a headline, then `at` and `by` lines; `==pid==` before each.
fn parse(text: &str) -> Vec<Report> {
    let mut reports: Vec<Report> = Vec::new();
    for line in text.lines() {
        let Some((_, line)) = line.strip_prefix("==").and_then(|rest| rest.split_once("== ")) else {
            continue;
        };
        let line = line.trim();
        if let Some(branch) = headline(line) {
            reports.push(Report {
                branch,
                frames: Vec::new(),
            });
        } else if let (Some(frame), Some(report)) = (frame(line), reports.last_mut()) {
            report.frames.push(short(frame));
        }
    }
    // One place reached from many is one.
    reports.iter_mut().for_each(|report| report.frames.truncate(FRAMES));
    let mut places: Vec<Report> = Vec::new();
    for report in reports {
        if !places.contains(&report) {
            places.push(report);
        }
    }
    places
}

/// Without the types that a function is made for.
fn short(frame: &str) -> String {
    let mut depth = 0_usize;
    let mut text = String::new();
    for (at, character) in frame.char_indices() {
        match character {
            '<' if at > 0 => depth += 1,
            '>' if depth > 0 => depth -= 1,
            _ if depth == 0 => text.push(character),
            _ => {}
        }
    }
    text
}

fn headline(line: &str) -> Option<bool> {
    if line.starts_with("Conditional jump or move depends on uninitialised") {
        Some(true)
    } else if line.starts_with("Use of uninitialised value") || line.contains("contains uninitialised byte") {
        Some(false)
    } else {
        None
    }
}

/// `at 0x10F2: function (file.rs:12)`.
fn frame(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("at 0x").or_else(|| line.strip_prefix("by 0x"))?;
    rest.split_once(": ").map(|(_, frame)| frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read_with_their_frames() {
        let text = "==7== Conditional jump or move depends on uninitialised value(s)\n==7==    at 0x10A: leak (a.rs:3)\n\
                    ==7==    by 0x10B: main (b.rs:4)\n==7== \n==7== Use of uninitialised value of size 8\n\
                    ==7==    at 0x10C: table (c.rs:5)\n";
        let found = parse(text);
        let frames: Vec<&[String]> = found.iter().map(|one| one.frames.as_slice()).collect();
        assert_eq!(found.iter().map(|one| one.branch).collect::<Vec<_>>(), [true, false]);
        assert_eq!(
            frames,
            [
                ["leak (a.rs:3)".to_owned(), "main (b.rs:4)".to_owned()].as_slice(),
                &["table (c.rs:5)".to_owned()]
            ]
        );
    }
}
