//! Errors on the command line: what, why, what next. One type with the library, whose `Display` is their shape.

use std::error::Error as _;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use symbolon_wire::Code;
use symbolon_wire::codes::Exit;

use crate::args::Arguments;
use crate::habits;
use crate::output::printable;

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
    // Nodes' words are in it.
    let lines: Vec<String> = error.to_string().lines().map(printable).collect();
    let text = lines.join("\n");
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

/// Help and version are data; everything else that the parser says about these words becomes an error of our shape.
pub(crate) fn from_clap(error: &clap::Error, words: &[OsString]) -> ExitCode {
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
            show(&usage_error(error, words));
            ExitCode::from(Exit::Usage as u8)
        }
    }
}

/// The parser's text: its first paragraph is what, tips are why; what next is the help of the verb.
fn usage_error(error: &clap::Error, words: &[OsString]) -> Error {
    let (verbs, rest) = verbs_of(words);
    let help = format!(
        "symbolon {}",
        [verbs.as_slice(), &["--help".to_owned()]].concat().join(" ")
    );
    if error.kind() == ErrorKind::InvalidSubcommand && verbs.is_empty() {
        let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
        if let (Some((why, next)), Some(word)) = (habits::meant(&rest), rest.first()) {
            return usage(format!("there is no verb '{}'", printable(word)))
                .because(why)
                .next(next);
        }
    }
    if matches!(verbs.first().map(String::as_str), Some("put" | "run")) && repeats(error.kind()) {
        return unrepeated(error).next(help);
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let (what, rest) = text.split_once("\n\n").unwrap_or((text, ""));
    let what: Vec<&str> = what.lines().map(str::trim).collect();
    let tips = rest.lines().filter_map(|line| line.trim().strip_prefix("tip: "));
    tips.fold(usage(what.join(" ")), Error::because).next(help)
}

/// The verbs that the words begin with, and what follows them.
fn verbs_of(words: &[OsString]) -> (Vec<String>, Vec<String>) {
    let mut root = Arguments::command();
    root.build();
    let (mut command, mut verbs) = (&root, Vec::new());
    let mut words = words.iter().skip(1).map(|word| word.to_string_lossy().into_owned());
    while let Some(word) = words.next() {
        if word.starts_with('-') {
            if takes_value(command, &word) {
                words.next();
            }
            continue;
        }
        match command.find_subcommand(&word) {
            Some(found) => {
                command = found;
                verbs.push(word);
            }
            None => return (verbs, std::iter::once(word).chain(words).collect()),
        }
    }
    (verbs, Vec::new())
}

/// Whether the word after this option is its value.
fn takes_value(command: &clap::Command, option: &str) -> bool {
    let named = |arg: &&clap::Arg| match option.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => arg.get_short().is_some_and(|short| option == format!("-{short}")),
    };
    let found = command.get_arguments().find(named);
    found.is_some_and(|arg| arg.get_action().takes_values())
}

/// Whether the parser's text repeats what was written.
fn repeats(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnknownArgument
            | ErrorKind::InvalidValue
            | ErrorKind::ValueValidation
            | ErrorKind::TooManyValues
            | ErrorKind::InvalidSubcommand
    )
}

/// What is wrong, without what was written: with verbs that take values, it may be one. It must not reach a log.
fn unrepeated(error: &clap::Error) -> Error {
    let text = |kind: ContextKind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let told = match (error.kind(), text(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, _) | (_, None) => usage("an argument is not known"),
        (_, Some(argument)) => {
            let told = usage(format!("what was given for '{argument}' cannot be used"));
            // Our own parsers' words: they name a place or a form, never what stood there.
            error
                .source()
                .into_iter()
                .fold(told, |told, why| told.because(why.to_string()))
        }
    };
    let told = match text(ContextKind::SuggestedArg) {
        Some(similar) => told.because(format!("a similar one exists: '{similar}'")),
        None => told,
    };
    told.because("it is not repeated here, since it may be a value; values come from @file, - or a prompt")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn shown(arguments: &[&str]) -> String {
        let words: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        usage_error(&Arguments::try_parse_from(arguments).unwrap_err(), &words).to_string()
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
    fn a_usage_error_leads_to_the_help_of_its_verb() {
        for (arguments, help) in [
            (
                ["symbolon", "--context", "dev", "agent", "register"].as_slice(),
                "symbolon agent register --help",
            ),
            (&["symbolon", "get", "a", "--version", "x"], "symbolon get --help"),
            (&["symbolon", "-o", "xml", "status"], "symbolon status --help"),
            (&["symbolon", "--nonsense"], "symbolon --help"),
        ] {
            let shown = shown(arguments);
            assert!(shown.ends_with(&format!("next     {help}")), "{arguments:?}: {shown}");
        }
    }

    #[test]
    fn a_word_of_another_tool_leads_to_our_verb() {
        insta::assert_snapshot!(shown(&["symbolon", "kv", "get", "prod/key"]), @r"
        error[SY0701]: there is no verb 'kv'
          because  what other tools call 'kv get' is 'get' here
          next     symbolon get --help
        ");
    }

    #[test]
    fn what_may_be_a_value_is_not_repeated() {
        for arguments in [
            ["symbolon", "put", "prod/key", "-hunter2"].as_slice(),
            &["symbolon", "put", "prod/key", "--hunter2"],
            &["symbolon", "put", "--hunter2", "prod/key"],
            &["symbolon", "put", "prod/key", "--hunter2=hunter3"],
            &["symbolon", "put", "prod/key", "--ttl", "5hunter2"],
            &["symbolon", "put", "prod/key", "--cas", "hunter2"],
            &["symbolon", "put", "prod/key", "--wait", "hunter2"],
            &["symbolon", "put", "prod/key", "--trim-newline=hunter2"],
            &["symbolon", "run", "--env", "KEY=Hunter2", "--", "true"],
            &["symbolon", "run", "--env", "hunter2", "--", "true"],
        ] {
            let shown = shown(arguments);
            assert!(!shown.to_lowercase().contains("hunter"), "{arguments:?}: {shown}");
        }
        let similar = shown(&["symbolon", "put", "prod/key", "--tll", "5m"]);
        assert!(similar.contains("a similar one exists: '--ttl'"), "{similar}");
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
