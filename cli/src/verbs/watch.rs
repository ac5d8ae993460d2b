//! `watch`: one line for each change of a secret, or of those in a folder, as it happens.

use clap::Args;
use serde_json::Value;
use symbolon_client::{Change, ChangeKind, Watch as Watching};
use symbolon_wire::Code;

use crate::failure::{Error, local};
use crate::output::{Format, Record, say};
use crate::progress::while_waiting;
use crate::session::{connect_for_long, secret_path};
use crate::settings::Settings;

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  symbolon watch prod/stripe/key
  symbolon watch prod/ -o json        # a folder, one JSON object a line
  symbolon watch / --after 4711       # everything, from a position on

Told is what was done to which versions, never a value: read it anew with symbolon get. The index of a line is the position
to go on from with --after, once the line is dealt with; without it the watch begins now, and says where on stderr. Each line
is told by t nodes alike. Lost connections, restarts and elections are waited out; where nodes do not remember as far back as
--after, the watch ends with SY0420 and names the position to begin at, after looking at all anew. Ctrl-C ends it, with 0.

A secret is watched by who may readMetadata of it; a folder by who may list it, and of the secrets in it those are told whose
metadata may be read. A version that expires is no change: get and history show when it will.")]
pub(crate) struct Watch {
    /// Path of a secret, such as prod/stripe/key, or a folder with a slash at its end, such as prod/ or /
    #[arg(value_name = "PATH|FOLDER/")]
    path: String,
    /// Tell what changed after this position: the index of a line, or where an earlier watch ended
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
}

/// `watch`.
pub(crate) async fn watch(watch: &Watch, settings: &Settings) -> Result<u8, Error> {
    if settings.output.format == Format::Yaml {
        return Err(crate::failure::usage("a watch has no end, and so is no YAML document").next("-o json"));
    }
    let path = target(&watch.path)?;
    let mut interrupted = interrupts()?;
    let client = connect_for_long(settings).await?;
    let mut watching = while_waiting("connecting", client.watch(&path, watch.after)).await?;
    if watch.after.is_none() {
        say(&format!("watching {path} from position {} on", watching.position()));
    }
    let ended = tokio::select! {
        ended = tell(&mut watching, settings) => ended.map(Some),
        () = interrupted.came() => Ok(None),
    };
    let position = match &ended {
        Err(error) if error.code == Code::TooFarBehind => None,
        Ok(Some(unread)) => Some(*unread),
        _ => Some(watching.position()),
    };
    if let Some(position) = position {
        say(&format!("ended; to go on: symbolon watch {path} --after {position}"));
    }
    ended.map(|_| crate::DONE)
}

/// Until nobody reads any more: the position before the first line that was not read.
async fn tell(watching: &mut Watching, settings: &Settings) -> Result<u64, Error> {
    loop {
        let before = watching.position();
        let change = watching.next().await?;
        if !settings.output.streamed_to_somebody(&record(&change), &line(&change))? {
            return Ok(before);
        }
    }
}

/// A path as it is watched: with a slash at its end, a folder.
fn target(text: &str) -> Result<String, Error> {
    match text.strip_suffix('/') {
        Some("") => Ok("/".to_owned()),
        Some(folder) => Ok(format!("{}/", secret_path(folder)?)),
        None => Ok(secret_path(text)?.to_string()),
    }
}

fn record(change: &Change) -> Record {
    let numbers = |numbers: &[u64]| Value::from(numbers.to_vec());
    Record::new()
        .with("index", change.index)
        .with("change", change.kind.name())
        .with("path", change.path.as_str())
        .with("versions", numbers(&change.versions))
        .with("destroyed", numbers(&change.destroyed))
}

/// For people: `4711  put       prod/stripe/key  version 3`.
fn line(change: &Change) -> String {
    let numbers = |numbers: &[u64]| numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let mut line = format!("{:<8}  {:<8}  {}", change.index, change.kind.name(), change.path);
    match (change.kind, change.versions.as_slice()) {
        (ChangeKind::Metadata, versions) => line.push_str(&format!("  metadata version {}", numbers(versions))),
        (_, []) => {}
        (_, [one]) => line.push_str(&format!("  version {one}")),
        (_, versions) => line.push_str(&format!("  versions {}", numbers(versions))),
    }
    if !change.destroyed.is_empty() {
        line.push_str(&format!("  (destroyed: {})", numbers(&change.destroyed)));
    }
    line
}

/// SIGINT and SIGTERM.
struct Interrupts([tokio::signal::unix::Signal; 2]);

fn interrupts() -> Result<Interrupts, Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let received = |kind| signal(kind).map_err(|error| local(format!("signals cannot be received: {error}")));
    Ok(Interrupts([
        received(SignalKind::interrupt())?,
        received(SignalKind::terminate())?,
    ]))
}

impl Interrupts {
    async fn came(&mut self) {
        let [interrupt, terminate] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change() -> Change {
        Change {
            index: 4711,
            path: "prod/key".to_owned(),
            kind: ChangeKind::Put,
            versions: vec![3],
            destroyed: Vec::new(),
        }
    }

    #[test]
    fn a_line_says_what_was_done_to_which_versions() {
        assert_eq!(line(&change()), "4711      put       prod/key  version 3");
        let destroys = Change {
            destroyed: vec![1, 2],
            ..change()
        };
        assert!(line(&destroys).ends_with("version 3  (destroyed: 1, 2)"));
        let hidden = Change {
            kind: ChangeKind::Delete,
            versions: vec![1, 3],
            ..change()
        };
        assert!(line(&hidden).ends_with("delete    prod/key  versions 1, 3"));
        let metadata = Change {
            kind: ChangeKind::Metadata,
            ..change()
        };
        assert!(line(&metadata).ends_with("metadata version 3"));
    }

    #[test]
    fn a_folder_is_named_with_a_slash_and_errors_name_what_is_wrong() {
        assert_eq!(target("prod/").ok().as_deref(), Some("prod/"));
        assert_eq!(target("/").ok().as_deref(), Some("/"));
        assert_eq!(target("prod/key").ok().as_deref(), Some("prod/key"));
        let wrong = target("prod//").unwrap_err();
        assert!(
            wrong.code == Code::BadPath && wrong.message.contains("'prod/'"),
            "{wrong}"
        );
    }
}
