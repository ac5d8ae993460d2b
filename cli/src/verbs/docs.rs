//! `explain`, `completions`, `man`: what can be known without a cluster.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use symbolon_wire::Code;

use crate::args::Arguments;
use crate::catalogue::{advice, document, exit_text};
use crate::failure::{Error, file, usage};
use crate::output::{Output, Record, say, write_all, write_bytes};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  symbolon explain SY0403\n  symbolon explain --all > errors.md")]
pub(crate) struct Explain {
    /// Code, such as SY0403
    #[arg(required_unless_present = "all")]
    code: Option<String>,
    /// The whole catalogue, as Markdown unless -o says otherwise
    #[arg(long, conflicts_with = "code")]
    all: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  symbolon completions bash > ~/.local/share/bash-completion/completions/symbolon")]
pub(crate) struct Completions {
    /// Which shell
    shell: Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  symbolon man /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// Folder for the pages
    folder: PathBuf,
}

/// `explain`.
pub(crate) fn explain(explain: &Explain, output: &Output) -> Result<u8, Error> {
    let Some(text) = &explain.code else {
        match output.for_people() {
            true => write_all(&document())?,
            false => output.list(&Code::ALL.iter().map(|code| entry(*code)).collect::<Vec<_>>(), "")?,
        }
        return Ok(crate::DONE);
    };
    let code = parse(text).ok_or_else(|| {
        usage(format!(
            "'{}' is no code of this version",
            crate::output::printable(text)
        ))
        .next("symbolon explain --all")
    })?;
    output.one(&entry(code))?;
    Ok(crate::DONE)
}

fn entry(code: Code) -> Record {
    Record::new()
        .with("code", code.to_string())
        .with("what", code.title())
        .with("exit", exit_text(code))
        .with("next", advice(code))
}

/// `SY0403`, `sy403`, `403`.
fn parse(text: &str) -> Option<Code> {
    let digits = text
        .strip_prefix("SY")
        .or_else(|| text.strip_prefix("sy"))
        .unwrap_or(text);
    let digits = digits
        .strip_prefix("error[SY")
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(digits);
    Code::from_number(digits.parse().ok()?)
}

/// `completions`.
pub(crate) fn completions(completions: &Completions) -> Result<u8, Error> {
    let mut script = Vec::new();
    clap_complete::generate(completions.shell, &mut Arguments::command(), "symbolon", &mut script);
    write_bytes(&script)?;
    Ok(crate::DONE)
}

/// `man`.
pub(crate) fn man(man: &Man) -> Result<u8, Error> {
    let failed = |error: std::io::Error| file(&man.folder, &error);
    std::fs::create_dir_all(&man.folder).map_err(failed)?;
    clap_mangen::generate_to(Arguments::command(), &man.folder).map_err(failed)?;
    say(&format!("the pages are in {}", man.folder.display()));
    Ok(crate::DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_understood_as_people_write_it() {
        for text in ["SY0403", "sy0403", "403", "0403", "error[SY0403]"] {
            assert_eq!(parse(text), Some(Code::Denied), "{text}");
        }
        for text in ["", "SY", "SY9999", "abc", "-1"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
