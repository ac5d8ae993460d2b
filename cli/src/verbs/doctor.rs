//! `doctor`: this machine's settings and its way to the cluster, one line a check, each with the next step.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clap::Args;
use symbolon_client::Client;
use symbolon_wire::codes::Exit;
use symbolon_wire::{Code, tls};

use crate::failure::{Error, colour};
use crate::limits::{CLOCK_APART_FAIL, CLOCK_APART_WARN};
use crate::output::{Format, Record, write_all};
use crate::session;
use crate::settings::Settings;
use crate::times::{ms, now_ms};
use crate::verbs::status::{Answer, audit_faults};
use crate::verbs::stranger;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  symbolon doctor\n  symbolon --context prod doctor -o json")]
pub(crate) struct Doctor {}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

#[derive(Debug)]
struct Line {
    verdict: Verdict,
    check: &'static str,
    found: String,
    next: Option<String>,
}

/// The checks so far.
#[derive(Debug, Default)]
struct Lines(Vec<Line>);

impl Lines {
    fn add(&mut self, verdict: Verdict, check: &'static str, found: impl Into<String>, next: Option<&str>) {
        self.0.push(Line {
            verdict,
            check,
            found: found.into(),
            next: next.map(str::to_owned),
        });
    }

    fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.add(Verdict::Ok, check, found, None);
    }

    fn fail(&mut self, check: &'static str, error: &Error) {
        let because: String = error.because.iter().map(|reason| format!("; {reason}")).collect();
        self.add(
            Verdict::Fail,
            check,
            format!("{}{because}", error.message),
            error.next.as_deref(),
        );
    }

    fn worst(&self) -> Verdict {
        self.0.iter().map(|line| line.verdict).max().unwrap_or(Verdict::Ok)
    }
}

/// `doctor`.
pub(crate) async fn doctor(settings: &Settings) -> Result<u8, Error> {
    let mut lines = Lines::default();
    configuration(settings, &mut lines);
    let own = identity(settings, &mut lines);
    match session::endpoint(settings) {
        Ok(endpoint) => {
            let hash = hex::encode(endpoint.genesis());
            lines.ok(
                "cluster",
                format!("{} pinned by genesis {hash}", endpoint.hosts().join(", ")),
            );
            if own {
                cluster(settings, &mut lines).await?;
            }
        }
        Err(error) => lines.fail("cluster", &error),
    }
    development(&mut lines);
    show(&lines, settings)?;
    Ok(if lines.worst() == Verdict::Fail {
        Exit::Failure as u8
    } else {
        crate::DONE
    })
}

fn configuration(settings: &Settings, lines: &mut Lines) {
    match settings.files.as_slice() {
        [] => lines.add(
            Verdict::Warn,
            "configuration",
            "no configuration file",
            Some("symbolon dev writes one"),
        ),
        files => {
            let names: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
            lines.ok("configuration", names.join(", "));
        }
    }
    match &settings.context {
        Some(context) => lines.ok("context", context.clone()),
        None => lines.add(
            Verdict::Warn,
            "context",
            "none is chosen",
            Some("--context NAME, or `context = …` in the file"),
        ),
    }
}

fn identity(settings: &Settings, lines: &mut Lines) -> bool {
    let identity = match session::identity(settings) {
        Ok(identity) => identity,
        Err(error) => {
            lines.fail("identity", &error);
            return false;
        }
    };
    lines.ok(
        "identity",
        format!("{} ({})", identity.name(), hex::encode(identity.fingerprint())),
    );
    if let Some(folder) = settings
        .identity
        .as_deref()
        .and_then(Path::parent)
        .filter(|folder| folder.is_absolute())
    {
        let mode = folder.metadata().map(|metadata| metadata.permissions().mode());
        // Whoever may write the folder may put another file in the identity's place.
        match mode {
            Ok(mode) if mode & 0o022 != 0 => {
                let next = format!("chmod go-w {}", folder.display());
                lines.add(
                    Verdict::Warn,
                    "folder",
                    format!("{} can be changed by others", folder.display()),
                    Some(&next),
                );
            }
            Ok(_) => lines.ok("folder", format!("{} belongs to you alone", folder.display())),
            Err(error) => lines.add(Verdict::Warn, "folder", format!("{}: {error}", folder.display()), None),
        }
    }
    true
}

async fn cluster(settings: &Settings, lines: &mut Lines) -> Result<(), Error> {
    let client = match session::connect(settings).await {
        Ok(client) => client,
        Err(error) => {
            lines.fail("connection", &error);
            return Ok(());
        }
    };
    let roster = client.roster();
    let (n, t) = (roster.nodes.len(), roster.threshold);
    lines.ok(
        "roster",
        format!(
            "version {}, {n} nodes, threshold {t}, verified from the pinned genesis",
            roster.version
        ),
    );
    nodes(&client, settings, lines).await
}

async fn nodes(client: &Client, settings: &Settings, lines: &mut Lines) -> Result<(), Error> {
    let mut serving = 0_u16;
    let answers = client.status().await;
    let (n, needed) = (client.roster().nodes.len(), client.roster().threshold);
    let moves = log_time_moves(&answers, needed);
    for (node, answer) in answers {
        let status = match answer {
            Ok(status) => status,
            Err(error) if error.code == Code::UnknownKey => {
                lines.fail("registration", &stranger(error, settings));
                return Ok(());
            }
            Err(error) => {
                let found = format!("node {node}: {}", error.message);
                lines.add(Verdict::Warn, "node", found, error.next.as_deref());
                continue;
            }
        };
        // Compared with a log time that stands still, every clock would be wrong.
        let apart = if moves {
            now_ms()?.abs_diff(status.log_time_ms)
        } else {
            0
        };
        let clock = match moves {
            true => format!("clock {apart} ms apart"),
            false => "clock not compared: log time stands still without a quorum".to_owned(),
        };
        let found = format!("node {node} {}, {}, {clock}", status.state, status.tls_group);
        if status.tls_group != tls::GROUP {
            lines.add(
                Verdict::Fail,
                "node",
                found,
                Some("its connections are not post-quantum: do not use it"),
            );
        } else if apart > ms(CLOCK_APART_FAIL) {
            lines.add(
                Verdict::Fail,
                "node",
                found,
                Some("set this machine's clock and the nodes' (NTP)"),
            );
        } else if status.state != "serving" {
            lines.add(
                Verdict::Warn,
                "node",
                format!("{found}: {}", status.reason),
                Some("look at the node's log"),
            );
        } else if apart > ms(CLOCK_APART_WARN) {
            lines.add(
                Verdict::Warn,
                "node",
                found,
                Some("compare this machine's clock with the nodes' (NTP)"),
            );
        } else {
            lines.ok("node", found);
        }
        for fault in audit_faults(node, &status) {
            let next = "symbolon status; keep that node's disk and log: they are the evidence";
            lines.add(Verdict::Fail, "audit", fault, Some(next));
        }
        serving += u16::from(status.state == "serving");
    }
    match serving >= needed {
        true => lines.ok("quorum", format!("{serving} of {n} nodes serve, {needed} are needed")),
        false => lines.add(
            Verdict::Fail,
            "quorum",
            format!("{serving} of {n} nodes serve, {needed} are needed"),
            Some("symbolon status"),
        ),
    }
    Ok(())
}

/// Whether log time goes on: it does while a quorum has a leader, who logs the nodes' clocks every second.
fn log_time_moves(answers: &[Answer], needed: u16) -> bool {
    let led = |(_, answer): &&Answer| matches!(answer, Ok(status) if status.state == "serving" && status.leader != 0);
    answers.iter().filter(led).count() >= usize::from(needed)
}

/// What only `dev` and `demo` need.
fn development(lines: &mut Lines) {
    let tools = [
        ("softhsm2-util", "apt-get install softhsm2"),
        ("gcore", "apt-get install gdb"),
    ];
    let folders: Vec<std::path::PathBuf> = std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .collect();
    for (tool, next) in tools {
        match folders
            .iter()
            .map(|folder| folder.join(tool))
            .find(|path| path.is_file())
        {
            Some(path) => lines.ok("development", path.display().to_string()),
            None => lines.add(
                Verdict::Warn,
                "development",
                format!("{tool} is not installed; dev and demo need it"),
                Some(next),
            ),
        }
    }
}

fn show(lines: &Lines, settings: &Settings) -> Result<(), Error> {
    if settings.output.format != Format::Table || settings.output.field.is_some() {
        let record = |line: &Line| {
            Record::new()
                .with("verdict", line.verdict.word())
                .with("check", line.check)
                .with("found", line.found.as_str())
                .with("next", line.next.clone())
        };
        return settings
            .output
            .list(&lines.0.iter().map(record).collect::<Vec<_>>(), "");
    }
    let painted = colour(std::io::IsTerminal::is_terminal(&std::io::stdout()));
    let text = lines.0.iter().map(|line| {
        let word = match (painted, line.verdict) {
            (false, verdict) => format!("{:4}", verdict.word()),
            (true, Verdict::Ok) => "\x1b[32mok  \x1b[0m".to_owned(),
            (true, Verdict::Warn) => "\x1b[33mwarn\x1b[0m".to_owned(),
            (true, Verdict::Fail) => "\x1b[31mfail\x1b[0m".to_owned(),
        };
        let next = line
            .next
            .as_ref()
            .map(|next| format!("      next  {}\n", next.replace('\n', "\n            ")))
            .unwrap_or_default();
        format!(
            "{word}  {:13}  {}\n{next}",
            line.check,
            crate::output::printable(&line.found)
        )
    });
    write_all(&text.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use symbolon_wire::v1::StatusReply;

    #[test]
    fn without_a_quorum_log_time_stands_still_and_clocks_are_not_compared() {
        let led = |leader| {
            Ok(StatusReply {
                state: "serving".into(),
                leader,
                ..StatusReply::default()
            })
        };
        let silent = || Err(Error::new(Code::Timeout, "no answer"));
        assert!(log_time_moves(&[(1, led(1)), (2, led(1)), (3, silent())], 2));
        assert!(!log_time_moves(&[(1, led(1)), (2, silent()), (3, silent())], 2));
        assert!(!log_time_moves(&[(1, led(0)), (2, led(0)), (3, led(0))], 2));
    }

    #[test]
    fn the_worst_line_decides() {
        let mut lines = Lines::default();
        assert_eq!(lines.worst(), Verdict::Ok);
        lines.add(Verdict::Warn, "x", "y", None);
        lines.ok("x", "y");
        assert_eq!(lines.worst(), Verdict::Warn);
        lines.fail("x", &Error::new(Code::Local, "what").because("why").next("do"));
        assert_eq!(lines.worst(), Verdict::Fail);
        assert_eq!(lines.0[2].found, "what; why");
        assert_eq!(lines.0[2].next.as_deref(), Some("do"));
    }
}
