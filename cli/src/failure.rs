//! Errors on the command line: what, why, what next. One type with the library, whose `Display` is their shape.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use symbolon_wire::Code;
use symbolon_wire::codes::Exit;

pub(crate) use symbolon_client::Error;

/// A file or setting of this machine.
pub(crate) fn local(message: impl Into<String>) -> Error {
    Error::new(Code::Local, message)
}

/// A command line that cannot be meant.
pub(crate) fn usage(message: impl Into<String>) -> Error {
    Error::new(Code::Usage, message)
}

/// A file that could not be read or written.
pub(crate) fn file(path: &std::path::Path, error: &io::Error) -> Error {
    local(format!("{}: {error}", path.display()))
}

/// Prints an error to stderr.
pub(crate) fn show(error: &Error) {
    let text = error.to_string();
    let mut stderr = io::stderr().lock();
    // If stderr is gone, the exit code still tells; there is nobody left to tell more.
    let _ = writeln!(stderr, "{}", paint(&text, colour(stderr.is_terminal())));
}

/// Whether to use colour: `NO_COLOR` (no-color.org) wins over the terminal.
pub(crate) fn colour(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The word `error[SY…]` in red.
fn paint(text: &str, colour: bool) -> String {
    match (colour, text.split_once(": ")) {
        (true, Some((head, rest))) => format!("\x1b[1;31m{head}\x1b[0m: {rest}"),
        _ => text.to_owned(),
    }
}

/// Help and version are data; everything else that the parser says becomes an error of our shape.
pub(crate) fn from_clap(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match error.print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(Exit::Failure as u8),
        },
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(Exit::Usage as u8)
        }
        _ => {
            show(&usage_error(&error.render().to_string()));
            ExitCode::from(Exit::Usage as u8)
        }
    }
}

/// The parser's text: its first paragraph is what, tips are why, and the usage line leads to the help.
fn usage_error(text: &str) -> Error {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let (what, rest) = text.split_once("\n\n").unwrap_or((text, ""));
    let what: Vec<&str> = what.lines().map(str::trim).collect();
    let mut error = usage(what.join(" "));
    for line in rest.lines().map(str::trim) {
        if let Some(tip) = line.strip_prefix("tip: ") {
            error = error.because(tip);
        }
    }
    // `Usage: symbolon put [OPTIONS] <PATH>` → `symbolon put --help`
    let usage_line = rest.lines().find_map(|line| line.trim().strip_prefix("Usage: "));
    let words = usage_line.unwrap_or("symbolon").split(' ');
    let command: Vec<&str> = words
        .take_while(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-'))
        .collect();
    error.next(format!("{} --help", command.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Arguments;
    use clap::Parser;

    fn shown(arguments: &[&str]) -> String {
        usage_error(&Arguments::try_parse_from(arguments).unwrap_err().render().to_string()).to_string()
    }

    #[test]
    fn a_usage_error_has_the_shape_of_every_other_and_leads_to_the_help() {
        insta::assert_snapshot!(shown(&["symbolon", "put"]), @r"
        error[SY0701]: the following required arguments were not provided: <PATH>
          next     symbolon put --help
        ");
        insta::assert_snapshot!(shown(&["symbolon", "agent", "regster"]), @r"
        error[SY0701]: unrecognized subcommand 'regster'
          because  a similar subcommand exists: 'register'
          next     symbolon agent --help
        ");
    }

    #[test]
    fn colour_is_only_on_the_head() {
        assert_eq!(
            paint("error[SY0700]: a: b", true),
            "\x1b[1;31merror[SY0700]\x1b[0m: a: b"
        );
        assert_eq!(paint("error[SY0700]: a: b", false), "error[SY0700]: a: b");
    }
}
