//! Secret input: from a file, from stdin, or from a prompt without echo; never from the command line, where others see it.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;

use nix::sys::termios::{SetArg, tcgetattr, tcsetattr};
use symbolon_crypto::limits::VALUE_BYTES_MAX;
use symbolon_crypto::secret::SecretBytes;
use symbolon_wire::Code;
use zeroize::Zeroizing;

use crate::failure::{Error, local, usage};

/// The exit code of a program that SIGINT ended, as shells give it.
const INTERRUPTED: i32 = 130;

/// Where a value comes from: `@file`, `-`, or (left out) a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    File(PathBuf),
    Stdin,
}

impl Source {
    /// What was written behind the path; never repeated in an error, since it may be the value itself.
    pub(crate) fn parse(words: &[String]) -> Result<Option<Self>, Error> {
        match words {
            [] => Ok(None),
            [word] if word == "-" => Ok(Some(Self::Stdin)),
            [word] => match word.strip_prefix('@') {
                Some(path) if !path.is_empty() => Ok(Some(Self::File(path.into()))),
                Some(_) => Err(usage("no file behind '@'")),
                None if word.is_empty() => Err(usage("the value is empty").next("use @file, or - for stdin")),
                None => Err(on_the_command_line()),
            },
            _ => Err(on_the_command_line()),
        }
    }
}

fn on_the_command_line() -> Error {
    usage("a value on the command line is seen by others")
        .because("other users of this machine can list it, and the shell keeps it in its history")
        .next("use @file, - for stdin, or leave it out for a prompt; if it was the real one, change it")
}

/// Reads a value, byte for byte.
pub(crate) fn read(source: Option<&Source>) -> Result<SecretBytes, Error> {
    match source {
        Some(Source::File(path)) => {
            // Not named: whoever took '@' for a part of the value has written the value there.
            let opened = File::open(path).map_err(|error| {
                local(format!("the file behind '@' cannot be read: {error}"))
                    .because("it is not repeated here, since it may be a value")
            })?;
            read_limited(opened, "the file behind '@'", VALUE_BYTES_MAX).map_err(no_value)
        }
        Some(Source::Stdin) => read_limited(io::stdin().lock(), "stdin", VALUE_BYTES_MAX).map_err(no_value),
        None if io::stdin().is_terminal() => prompt(),
        None => {
            Err(usage("no value: stdin is not a terminal, so there is no prompt").next("use @file, or - for stdin"))
        }
    }
}

fn no_value(error: Error) -> Error {
    match error.code {
        Code::TooLarge => error.because("no value is larger"),
        _ => error,
    }
}

/// All that `reader` has, if that is at most `bytes_max` bytes.
pub(crate) fn read_limited(mut reader: impl Read, name: &str, bytes_max: usize) -> Result<SecretBytes, Error> {
    // Reserved at once: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(vec![0; bytes_max + 1]);
    let mut filled = 0;
    loop {
        let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) else {
            let what = format!("{name} has more than {bytes_max} bytes");
            return Err(Error::new(Code::TooLarge, what));
        };
        match reader.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(local(format!("{name}: {error}"))),
        }
    }
    Ok(SecretBytes::copy_from(bytes.get(..filled).unwrap_or_default()))
}

/// Lets Ctrl-C end the program with the terminal as it was: the prompt turns its echo off.
fn restore_echo_on_interrupt() {
    let Ok(before) = tcgetattr(io::stdin()) else { return };
    // A thread of its own, because the prompt blocks the program's runtime.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let interrupted = runtime.is_ok_and(|runtime| runtime.block_on(tokio::signal::ctrl_c()).is_ok());
        if interrupted {
            // There is nobody left to tell.
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &before);
            eprintln!();
            std::process::exit(INTERRUPTED);
        }
    });
}

fn prompt() -> Result<SecretBytes, Error> {
    restore_echo_on_interrupt();
    let ask = |text: &str| {
        rpassword::prompt_password(text)
            .map(Zeroizing::new)
            .map_err(|error| local(format!("the prompt: {error}")))
    };
    let (first, again) = (ask("Value (not shown): ")?, ask("Again: ")?);
    if *first != *again {
        return Err(usage("the two differ; nothing was stored"));
    }
    Ok(SecretBytes::copy_from(first.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Option<Source>, Error> {
        Source::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_value_on_the_command_line_is_refused_and_not_repeated() {
        for words in [["hunter2"].as_slice(), &["hunter2", "hunter3"]] {
            let error = parse(words).unwrap_err().to_string();
            assert!(error.contains("@file") && !error.contains("hunter"), "{error}");
        }
    }

    #[test]
    fn a_value_that_begins_with_an_at_sign_is_not_repeated() {
        let error = read(parse(&["@dmin_hunter2"]).unwrap().as_ref())
            .unwrap_err()
            .to_string();
        assert!(error.contains("behind '@'") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn files_and_stdin_are_told_apart() {
        assert_eq!(parse(&["@-"]).unwrap(), Some(Source::File("-".into())));
        assert_eq!(parse(&["-"]).unwrap(), Some(Source::Stdin));
        assert_eq!(parse(&[]).unwrap(), None);
        assert!(parse(&["@"]).is_err());
    }

    #[test]
    fn a_value_is_read_byte_for_byte_up_to_the_limit() {
        let bytes = vec![b'\n'; VALUE_BYTES_MAX];
        assert_eq!(
            read_limited(bytes.as_slice(), "x", VALUE_BYTES_MAX).unwrap().expose(),
            bytes
        );
        let error = read_limited(vec![0; VALUE_BYTES_MAX + 1].as_slice(), "x", VALUE_BYTES_MAX).unwrap_err();
        assert_eq!(error.code, Code::TooLarge);
    }
}
