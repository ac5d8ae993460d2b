//! What the audience sees: steps, commands, outputs, proofs, and the table at the end.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::failure::{Error, colour, local};
use crate::output::{Output, Record, printable, write_all};

/// Lines of a command's output that are shown.
const LINES_SHOWN: usize = 40;

/// One step that was played.
struct Step {
    title: &'static str,
    /// What proves it, or why it did not hold.
    outcome: Result<String, String>,
    took: Duration,
}

/// The stage.
pub(crate) struct Stage {
    folder: PathBuf,
    config: PathBuf,
    painted: bool,
    steps: Vec<Step>,
}

/// What a command did.
pub(crate) struct Shown {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Stage {
    /// Commands run in `folder`, with `config` as the user's configuration.
    pub(crate) fn new(folder: &Path, config: &Path) -> Self {
        let painted = colour(std::io::stdout().is_terminal());
        Self {
            folder: folder.to_path_buf(),
            config: config.to_path_buf(),
            painted,
            steps: Vec::new(),
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.painted {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// Begins a step; everything until its end belongs to it.
    pub(crate) fn begin(&self, title: &str) -> Result<Instant, Error> {
        let heading = format!("━━ {} {title}", self.steps.len() + 1);
        write_all(&format!("\n{}\n", self.paint("1", &heading)))?;
        Ok(Instant::now())
    }

    /// Ends a step that held; `proof` says what shows it.
    pub(crate) fn held(&mut self, title: &'static str, since: Instant, proof: impl Into<String>) -> Result<(), Error> {
        let proof = proof.into();
        write_all(&format!("   {} {proof}\n", self.paint("32", "proof")))?;
        self.steps.push(Step {
            title,
            outcome: Ok(proof),
            took: since.elapsed(),
        });
        Ok(())
    }

    /// Ends a step that did not hold.
    pub(crate) fn failed(&mut self, title: &'static str, since: Instant, error: &Error) -> Result<(), Error> {
        let text = error.to_string().replace('\n', "\n   ");
        write_all(&format!("   {} {text}\n", self.paint("31", "FAILED")))?;
        self.steps.push(Step {
            title,
            outcome: Err(error.message.clone()),
            took: since.elapsed(),
        });
        Ok(())
    }

    /// Says something within a step.
    pub(crate) fn tell(&self, text: &str) -> Result<(), Error> {
        write_all(&text.lines().map(|line| format!("   {line}\n")).collect::<String>())
    }

    /// Shows a command that ran elsewhere.
    pub(crate) fn show_command(&self, command: &str) -> Result<(), Error> {
        write_all(&format!("   {} {command}\n", self.paint("36", "$")))
    }

    /// Runs `symbolon` as a process of its own, as a user would, with `input` on its stdin; shows command and output.
    pub(crate) async fn symbolon(&self, arguments: &[&str], input: Option<&[u8]>) -> Result<Shown, Error> {
        let quoted = arguments.iter().map(|word| {
            if word.contains(' ') {
                format!("\"{word}\"")
            } else {
                (*word).to_owned()
            }
        });
        self.show_command(&format!("symbolon {}", quoted.collect::<Vec<_>>().join(" ")))?;
        let shown = self.quietly(arguments, input).await?;
        let text = format!("{}{}", shown.stdout, shown.stderr);
        let all = text.lines().count();
        for line in text.lines().take(LINES_SHOWN) {
            write_all(&format!("     {}\n", printable(line)))?;
        }
        if all > LINES_SHOWN {
            write_all(&format!("     … {} more lines\n", all - LINES_SHOWN))?;
        }
        Ok(shown)
    }

    /// The same without showing anything.
    pub(crate) async fn quietly(&self, arguments: &[&str], input: Option<&[u8]>) -> Result<Shown, Error> {
        let failed = |error: std::io::Error| local(format!("symbolon could not be run: {error}"));
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SYMBOLON_") {
                command.env_remove(&name);
            }
        }
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env("SYMBOLON_CONFIG", &self.config)
            .env("NO_COLOR", "1");
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(failed)?;
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            stdin.write_all(input).await.map_err(failed)?;
        }
        let output = child.wait_with_output().await.map_err(failed)?;
        Ok(Shown {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// As [`Stage::symbolon`], for a command that must succeed.
    pub(crate) async fn must(&self, arguments: &[&str], input: Option<&[u8]>) -> Result<Shown, Error> {
        let shown = self.symbolon(arguments, input).await?;
        expect_code(&shown, 0, arguments)?;
        Ok(shown)
    }

    /// The table at the end; tells whether all steps held.
    pub(crate) fn finish(&self, planned: usize) -> Result<bool, Error> {
        write_all(&format!("\n{}\n", self.paint("1", "━━ Summary")))?;
        let record = |step: &Step| {
            let (verdict, why) = match &step.outcome {
                Ok(proof) => ("held", proof),
                Err(why) => ("FAILED", why),
            };
            Record::new()
                .with("step", step.title)
                .with("verdict", verdict)
                .with("seconds", format!("{:.1}", step.took.as_secs_f64()))
                .with("what_shows_it", why.as_str())
        };
        Output::default().list(&self.steps.iter().map(record).collect::<Vec<_>>(), "")?;
        let missing = planned.saturating_sub(self.steps.len());
        if missing > 0 {
            write_all(&format!("{missing} more steps were not reached\n"))?;
        }
        std::io::stdout()
            .flush()
            .map_err(|error| local(format!("stdout: {error}")))?;
        Ok(missing == 0 && self.steps.iter().all(|step| step.outcome.is_ok()))
    }
}

/// Refuses another exit code than the expected one.
pub(crate) fn expect_code(shown: &Shown, expected: i32, arguments: &[&str]) -> Result<(), Error> {
    if shown.code == Some(expected) {
        return Ok(());
    }
    let found = shown
        .code
        .map_or_else(|| "a signal".to_owned(), |code| code.to_string());
    let mut error = local(format!(
        "symbolon {} ended with {found} instead of {expected}",
        arguments.join(" ")
    ));
    for line in shown.stderr.lines() {
        error = error.because(line.trim());
    }
    Err(error)
}

/// Refuses what is not so.
pub(crate) fn ensure(holds: bool, otherwise: impl Into<String>) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(local(otherwise)) }
}
