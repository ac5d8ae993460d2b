//! `run -- CMD`: values into the child's environment, masked in its output; its exit code and our signals passed on.
//!
//! The child's stdout and stderr are pipes, so it sees no terminal there; its stdin is ours.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;
use nix::sys::signal::Signal;
use symbolon_crypto::secret::SecretBytes;
use symbolon_devcluster::signal_process;
use symbolon_wire::path::Path;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as Arriving, SignalKind, signal};
use tokio::task::JoinHandle;

use crate::failure::{Error, local, usage};
use crate::limits::{MASKED_BYTES_MIN, PIPE_BYTES, RUN_VALUES_MAX, VARIABLE_BYTES_MAX};
use crate::mask::Masked;
use crate::output::say;
use crate::progress::while_waiting;
use crate::session::connect;
use crate::settings::Settings;

/// What a shell gives for a command that it cannot find or run.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  symbolon run --env STRIPE_KEY=prod/stripe/key -- ./invoice --month 11\n\n\
                        The values are masked in the command's output, also in hex and base64. Other programs of the\n\
                        same user can still read its environment while it runs."
)]
pub(crate) struct Run {
    /// Variable and path of its value; give each
    #[arg(long = "env", value_name = "NAME=PATH", required = true)]
    env: Vec<Binding>,
    /// Why; stands in the audit logs of the nodes
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    purpose: String,
    /// Do not mask the command's output
    #[arg(long)]
    no_mask: bool,
    /// Command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// `NAME=path/of/secret`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Binding {
    name: String,
    path: Path,
}

impl FromStr for Binding {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, path) = text.split_once('=').ok_or("write it as NAME=path/of/secret")?;
        let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if name.is_empty() || !letters || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err("a variable's name has letters, digits and _, and does not begin with a digit".to_owned());
        }
        let path = Path::parse(path).map_err(|bad| bad.to_string())?;
        Ok(Self {
            name: name.to_owned(),
            path,
        })
    }
}

/// `run`.
pub(crate) async fn run(run: &Run, settings: &Settings) -> Result<u8, Error> {
    if run.env.len() > RUN_VALUES_MAX {
        return Err(usage(format!("at most {RUN_VALUES_MAX} values")));
    }
    let client = connect(settings).await?;
    let mut values: Vec<(&str, SecretBytes)> = Vec::with_capacity(run.env.len());
    for Binding { name, path } in &run.env {
        let opened = while_waiting("reading", client.get(path.as_str(), None, &run.purpose)).await?;
        fits_a_variable(name, path, opened.value.expose())?;
        values.push((name, opened.value));
    }
    let (masked, told) = Masked::new(values.iter().filter(|_| !run.no_mask).map(|(_, value)| value.expose()));
    for ((name, _), _) in values.iter().zip(told).filter(|(_, masked)| !masked) {
        say(&format!(
            "warning: the value of {name} is shorter than {MASKED_BYTES_MIN} bytes and is not masked"
        ));
    }
    let Some((program, arguments)) = run.command.split_first() else {
        return Err(usage("no command"));
    };
    // Installed before the child starts, so that no signal falls between.
    let mut signals = Signals::install()?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::inherit())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, value) in values {
        command.env(name, OsString::from_vec(value.expose().to_vec()));
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            say(&format!("{}: {error}", program.to_string_lossy()));
            return Ok(if error.kind() == io::ErrorKind::NotFound {
                NOT_FOUND
            } else {
                NOT_EXECUTABLE
            });
        }
    };
    // It holds copies of the values, the child has its own.
    drop(command);
    let masked = Arc::new(masked);
    let out = child
        .stdout
        .take()
        .map(tokio::process::ChildStdout::into_owned_fd)
        .transpose();
    let err = child
        .stderr
        .take()
        .map(tokio::process::ChildStderr::into_owned_fd)
        .transpose();
    let pipes = |error: io::Error| local(format!("the command's output: {error}"));
    let out = forward(out.map_err(pipes)?, io::stdout(), &masked);
    let err = forward(err.map_err(pipes)?, io::stderr(), &masked);
    let status = wait(&mut child, &mut signals)
        .await
        .map_err(|error| local(format!("the command's end: {error}")))?;
    for copied in [out.await, err.await] {
        copied.map_err(|error| local(error.to_string()))?.map_err(pipes)?;
    }
    Ok(code(status))
}

/// What the operating system would refuse, with less to say.
fn fits_a_variable(name: &str, path: &Path, value: &[u8]) -> Result<(), Error> {
    let next = "symbolon get PATH --out FILE, and give the command the file";
    if value.contains(&0) {
        return Err(local(format!("{path} holds a zero byte, which no variable can")).next(next));
    }
    // NAME=value and a zero byte.
    let most = VARIABLE_BYTES_MAX.saturating_sub(name.len() + 2);
    if value.len() > most {
        let what = format!(
            "{path} has {} bytes; a variable {name} holds at most {most}",
            value.len()
        );
        return Err(local(what).next(next));
    }
    Ok(())
}

/// Copies on a thread of its own: a slow reader of ours must hold up neither the other stream nor signals.
fn forward(from: Option<OwnedFd>, to: impl Write + Send + 'static, masked: &Arc<Masked>) -> JoinHandle<io::Result<()>> {
    let masked = masked.clone();
    tokio::task::spawn_blocking(move || from.map_or(Ok(()), |from| copy(File::from(from), to, &masked)))
}

/// The child's own code, or what shells give for a signal.
fn code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// Copies until the end, masking. Once our own reader is gone, the child notices by its next write.
fn copy(mut from: impl Read, mut to: impl Write, masked: &Masked) -> io::Result<()> {
    let mut stream = masked.stream();
    let mut chunk = vec![0; PIPE_BYTES];
    let mut shown = Vec::new();
    loop {
        let read = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        shown.clear();
        stream.push(chunk.get(..read).unwrap_or_default(), &mut shown);
        match to.write_all(&shown).and_then(|()| to.flush()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    shown.clear();
    stream.finish(&mut shown);
    match to.write_all(&shown).and_then(|()| to.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Signals that are passed on.
struct Signals(Vec<(Signal, Arriving)>);

impl Signals {
    fn install() -> Result<Self, Error> {
        let forwarded = [
            (Signal::SIGHUP, SignalKind::hangup()),
            (Signal::SIGINT, SignalKind::interrupt()),
            (Signal::SIGQUIT, SignalKind::quit()),
            (Signal::SIGTERM, SignalKind::terminate()),
            (Signal::SIGUSR1, SignalKind::user_defined1()),
            (Signal::SIGUSR2, SignalKind::user_defined2()),
        ];
        let installed = forwarded.into_iter().map(|(which, kind)| Ok((which, signal(kind)?)));
        installed
            .collect::<io::Result<Vec<_>>>()
            .map(Self)
            .map_err(|error| local(format!("signals: {error}")))
    }

    async fn next(&mut self) -> Signal {
        std::future::poll_fn(|context| {
            for (which, arriving) in &mut self.0 {
                if arriving.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*which);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

async fn wait(child: &mut Child, signals: &mut Signals) -> io::Result<ExitStatus> {
    use std::io::IsTerminal;
    // The terminal's Ctrl-C and Ctrl-\ go to the whole foreground group: the child has had them, and must not get two.
    let foreground = io::stdin().is_terminal();
    loop {
        tokio::select! {
            status = child.wait() => return status,
            which = signals.next() => {
                let from_terminal = foreground && matches!(which, Signal::SIGINT | Signal::SIGQUIT);
                if let Some(pid) = child.id().filter(|_| !from_terminal) {
                    // A child that has just ended cannot be told; the next turn sees its end.
                    let _ = signal_process(pid, which);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_has_a_variable_and_a_path() {
        let binding: Binding = "STRIPE_KEY=prod/stripe/key".parse().unwrap();
        assert_eq!(
            (binding.name.as_str(), binding.path.as_str()),
            ("STRIPE_KEY", "prod/stripe/key")
        );
        for bad in ["prod/stripe/key", "=a", "1A=a", "A B=a", "A=", "A=../b", "A=B"] {
            assert!(bad.parse::<Binding>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_child_that_a_signal_ended_gives_the_code_that_shells_give() {
        assert_eq!(code(ExitStatus::from_raw(9)), 137);
        assert_eq!(code(ExitStatus::from_raw(7 << 8)), 7);
    }

    #[test]
    fn a_value_that_no_variable_can_hold_is_refused_with_its_path() {
        let path = Path::parse("prod/large").unwrap();
        let most = 128 * 1024 - "KEY".len() - 2;
        fits_a_variable("KEY", &path, &vec![b'x'; most]).unwrap();
        let error = fits_a_variable("KEY", &path, &vec![b'x'; most + 1]).unwrap_err();
        assert!(
            error.message.contains("prod/large") && error.message.contains("131067"),
            "{error}"
        );
        assert!(fits_a_variable("KEY", &path, b"a\0b").is_err());
    }

    #[test]
    fn the_largest_variable_is_one_that_the_system_takes() {
        let starts = |bytes: usize| {
            let value = OsString::from_vec(vec![b'x'; bytes]);
            std::process::Command::new("true").env("KEY", value).status().is_ok()
        };
        let most = VARIABLE_BYTES_MAX - "KEY".len() - 2;
        assert!(starts(most) && !starts(most + 1));
    }

    #[test]
    fn what_is_copied_is_masked() {
        let (masked, _) = Masked::new([b"hunter2hunter2".as_slice()]);
        let mut shown = Vec::new();
        copy(b"a hunter2hunter2 b".as_slice(), &mut shown, &masked).unwrap();
        assert_eq!(shown, b"a *** b");
    }
}
