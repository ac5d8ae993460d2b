//! `put`, `get`, `list`.

use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use symbolon_client::{Level, Opened, PutOptions};
use symbolon_crypto::secret::SecretBytes;
use symbolon_policy::is_deceptive;
use symbolon_wire::Code;
use symbolon_wire::limits::LIST_MAX;
use symbolon_wire::path::Path;
use zeroize::Zeroizing;

use crate::failure::{Error, file, local, usage};
use crate::output::{Record, say, write_bytes};
use crate::progress::while_waiting;
use crate::session::{connect, secret_path};
use crate::settings::Settings;
use crate::times::{ms, parse_duration};
use crate::values::{self, Source};
use crate::verbs::{batch, prove};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  symbolon put prod/stripe/key @key.txt\n  \
                        pass show stripe | symbolon put prod/stripe/key - --trim-newline\n  \
                        symbolon put prod/stripe/key               # asks, without echo\n  \
                        symbolon put --batch secrets.json          # what get PATH PATH -o json prints")]
pub(crate) struct Put {
    /// Path, such as prod/stripe/key
    #[arg(required_unless_present = "batch")]
    path: Option<String>,
    /// @file, - for stdin, or nothing for a prompt
    // Parsed by us and not by the parser, which would repeat in its error what may be the value itself.
    #[arg(num_args = 0.., hide_possible_values = true)]
    value: Vec<String>,
    /// Media type, kept with the value
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Hide the version after this time, such as 30d
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    ttl: Option<Duration>,
    /// Only if the latest version is this one; 0: only if there is none
    #[arg(long, value_name = "VERSION")]
    cas: Option<u64>,
    /// When to answer
    #[arg(long, value_enum, default_value_t = Wait::Committed)]
    wait: Wait,
    /// Drop one newline at the end
    #[arg(long)]
    trim_newline: bool,
    /// Many at once, from a file or - for stdin: JSON objects with path and value or value_base64
    #[arg(long, value_name = "FILE", conflicts_with_all = ["path", "value", "content_type", "ttl", "cas", "trim_newline"])]
    batch: Option<PathBuf>,
}

/// Levels of a write (custody.md, "Levels").
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Wait {
    /// A quorum has it
    Committed,
    /// One more than the threshold have checked their fragment: of three nodes all
    Verified,
    /// All nodes have
    Full,
}

impl Wait {
    fn level(self) -> Level {
        match self {
            Self::Committed => Level::Committed,
            Self::Verified => Level::Verified,
            Self::Full => Level::Full,
        }
    }
}

/// `put`.
pub(crate) async fn put(put: &Put, settings: &Settings) -> Result<u8, Error> {
    if let Some(from) = &put.batch {
        return batch::put(from, put.wait.level(), settings).await;
    }
    // The value first: where it stands in the path's place, it is refused before any path is named.
    let source = Source::parse(&put.value)?;
    let path = written_path(put.path.as_deref().unwrap_or_default())?;
    let value = trimmed(values::read(source.as_ref())?, put.trim_newline);
    if value.is_empty() {
        return Err(
            usage("the value is empty").next("symbolon delete hides a secret; an empty one is mostly a mistake")
        );
    }
    let options = PutOptions {
        ttl_ms: put.ttl.map_or(0, ms),
        cas: put.cas,
        level: put.wait.level(),
        ..PutOptions::default()
    };
    let options = match &put.content_type {
        Some(content_type) => PutOptions {
            content_type: content_type.clone(),
            ..options
        },
        None => options,
    };
    let client = connect(settings).await?;
    let done = while_waiting("writing", client.put(path.as_str(), value.expose(), options)).await;
    let done = done.map_err(|error| match error.code {
        Code::Conflict => error.next(format!(
            "symbolon history {path}   (the last line is the latest version), then decide on --cas anew"
        )),
        _ => error,
    })?;
    settings.output.one(
        &Record::new()
            .with("path", path.to_string())
            .with("version", done.version)
            .with("log_index", done.index)
            .with("record_hash", hex::encode(done.record_hash)),
    )?;
    Ok(crate::DONE)
}

/// The path of a write. What is outside the grammar is not repeated: `put path=value` and `put value` are habits, too.
fn written_path(text: &str) -> Result<Path, Error> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_./".contains(c);
    match text.find(|c| !allowed(c)) {
        None => secret_path(text),
        Some(at) => {
            let before = text.get(..at).unwrap_or_default();
            let place = before.len() + 1;
            let error = Error::new(Code::BadPath, format!("'{before}…': character {place} is not allowed"))
                .because("allowed are a-z 0-9 - _ . and / between segments")
                .because("what follows is not repeated here, since it may be a value");
            Err(error.next("symbolon put PATH @file, or - for stdin, or nothing for a prompt"))
        }
    }
}

fn trimmed(value: SecretBytes, trim: bool) -> SecretBytes {
    match value.expose().strip_suffix(b"\n") {
        Some(rest) if trim => SecretBytes::copy_from(rest),
        Some(_) => {
            say("note: the value ends with a newline, which is kept (--trim-newline drops it)");
            value
        }
        None => value,
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  symbolon get prod/stripe/key --reveal\n  symbolon get prod/stripe/key > key.txt\n  \
                        symbolon get prod/stripe/key --out key.txt --version 3 --purpose \"key rotation\"\n  \
                        symbolon get prod/stripe/key --out key.txt --receipt key.receipt\n  \
                        symbolon get prod/stripe/key prod/db/password -o json > secrets.json"
)]
pub(crate) struct Get {
    /// Path, such as prod/stripe/key; several with -o json, jsonl or yaml
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
    /// A version instead of the latest
    #[arg(long, value_name = "VERSION")]
    version: Option<u64>,
    /// Why; stands in the audit logs of the nodes
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    purpose: String,
    /// Show the value on a terminal
    #[arg(long)]
    reveal: bool,
    /// Write it to a new file that only you may read
    #[arg(long, value_name = "FILE", conflicts_with = "reveal")]
    out: Option<PathBuf>,
    /// Keep what the nodes signed for this read, in a new file for symbolon audit prove
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
}

/// `get`.
pub(crate) async fn get(get: &Get, settings: &Settings) -> Result<u8, Error> {
    let [path] = get.paths.as_slice() else {
        return several(get, settings).await;
    };
    let path = secret_path(path)?;
    // Asked before reading: what will not be shown need not be released.
    if get.out.is_none() && !get.reveal && std::io::stdout().is_terminal() {
        let next = format!("symbolon get {path} --reveal, or --out FILE, or a pipe");
        return Err(usage("stdout is a terminal, and a value is shown there only if you ask for it").next(next));
    }
    // What cannot be kept need not be released either.
    for new in [&get.out, &get.receipt].into_iter().flatten() {
        if new.symlink_metadata().is_ok() {
            return Err(local(format!("{} exists already", new.display())).next("give a new file's name"));
        }
    }
    let client = connect(settings).await?;
    let opened = while_waiting("reading", client.get(path.as_str(), get.version, &get.purpose)).await;
    let opened = opened.map_err(|error| nothing_there(error, &path))?;
    warn_of_culprits(&opened);
    if let Some(receipt) = &get.receipt {
        prove::keep_receipt(receipt, client.roster(), path.as_str(), &opened)?;
    }
    if let Some(out) = &get.out {
        let create = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(out);
        let written = create.and_then(|mut new| new.write_all(opened.value.expose()).and_then(|()| new.sync_all()));
        written.map_err(|error| file(out, &error))?;
        say(&format!("version {} of {path} is in {}", opened.version, out.display()));
        return Ok(crate::DONE);
    }
    write_value(&opened, path.as_str(), settings)?;
    Ok(crate::DONE)
}

/// All of them or none: whoever asked for several does not go on with some.
async fn several(get: &Get, settings: &Settings) -> Result<u8, Error> {
    let alone = [
        ("--version", get.version.is_some()),
        ("--out", get.out.is_some()),
        ("--receipt", get.receipt.is_some()),
        ("--reveal", get.reveal),
    ];
    if let Some((option, _)) = alone.iter().find(|(_, given)| *given) {
        return Err(usage(format!("{option} is for one path; here are {}", get.paths.len())));
    }
    if settings.output.for_people() {
        return Err(usage("several values need a form that tells them apart").next("add -o json, jsonl or yaml"));
    }
    let paths: Vec<Path> = get
        .paths
        .iter()
        .map(|path| secret_path(path))
        .collect::<Result<_, _>>()?;
    let client = connect(settings).await?;
    let names: Vec<&str> = paths.iter().map(Path::as_str).collect();
    let read = while_waiting("reading", client.get_many(&names, &get.purpose)).await;
    let mut records = Vec::with_capacity(paths.len());
    let mut failures = Vec::new();
    for (path, opened) in paths.iter().zip(read) {
        match opened {
            Ok(opened) => {
                warn_of_culprits(&opened);
                records.push(record(&opened, path.as_str(), settings)?);
            }
            Err(error) => failures.push((path, nothing_there(error, path))),
        }
    }
    match batch::first_of(failures, paths.len()) {
        None => settings.output.list(&records, "").map(|()| crate::DONE),
        Some(error) => Err(error),
    }
}

fn warn_of_culprits(opened: &Opened) {
    for culprit in &opened.culprits {
        say(&format!("warning: {culprit}; the value is right all the same"));
    }
}

/// Where to look, if there is nothing at a path.
pub(super) fn nothing_there(error: Error, path: &Path) -> Error {
    if error.code != Code::NotFound {
        return error;
    }
    let list = list_beside(path);
    error.next(format!(
        "{list}\n\
         symbolon history {path}   (if it is listed: which versions are deleted or expired)"
    ))
}

pub(super) fn list_beside(path: &Path) -> String {
    let (folder, _) = path.split();
    let verb = format!("symbolon list {folder}");
    format!("{}   (what is there; you may not see all)", verb.trim_end())
}

/// The bare value for people and pipes; an object for programs that ask for one.
fn write_value(opened: &Opened, path: &str, settings: &Settings) -> Result<(), Error> {
    let bytes = opened.value.expose();
    if settings.output.for_people() {
        if !std::io::stdout().is_terminal() {
            return write_bytes(bytes);
        }
        let (shown, exact) = visible(bytes);
        write_bytes(shown.as_bytes())?;
        if !bytes.ends_with(b"\n") {
            write_bytes(b"\n")?;
        }
        if !exact {
            say(
                "note: what would control the terminal is shown as \\u{..} or \\x..; a pipe or --out FILE gets the bytes as they are",
            );
        }
        return Ok(());
    }
    settings.output.one(&record(opened, path, settings)?)
}

/// A value as a terminal may be given it, and whether that is the value itself: its author must not control who reads it.
fn visible(bytes: &[u8]) -> (Zeroizing<String>, bool) {
    // Reserved at once: a string that grows leaves copies behind. The longest escape has ten bytes for a character of one to four.
    let mut shown = Zeroizing::new(String::with_capacity(10 * bytes.len()));
    let mut exact = true;
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if is_deceptive(character) && !matches!(character, '\n' | '\t') {
                shown.extend(character.escape_unicode());
                exact = false;
            } else {
                shown.push(character);
            }
        }
        exact &= chunk.invalid().is_empty();
        shown.extend(chunk.invalid().escape_ascii().map(char::from));
    }
    (shown, exact)
}

fn record(opened: &Opened, path: &str, settings: &Settings) -> Result<Record, Error> {
    let bytes = opened.value.expose();
    let record = Record::new()
        .with("path", path)
        .with("version", opened.version)
        .with("content_type", opened.content_type.clone())
        .with("author", opened.author.to_string())
        .with(
            "nodes",
            opened.receipts.iter().map(|receipt| receipt.node).collect::<Vec<_>>(),
        );
    Ok(match std::str::from_utf8(bytes) {
        Ok(text) => record.with("value", text),
        Err(_) if settings.output.field.as_deref() == Some("value") => {
            return Err(usage("the value is no text, so it cannot be a field")
                .because("its bytes are not UTF-8")
                .next(format!(
                    "symbolon get {path}   (the bytes as they are), or --field value_base64"
                )));
        }
        Err(_) => record.with("value_base64", Zeroizing::new(STANDARD.encode(bytes)).as_str()),
    })
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  symbolon list\n  symbolon list prod/stripe -o json")]
pub(crate) struct List {
    /// Folder; left out: the root
    #[arg(default_value = "", hide_default_value = true)]
    folder: String,
    /// Begin after this name
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    after: String,
    /// At most so many entries
    #[arg(long, default_value_t = LIST_MAX, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    limit: u32,
}

/// `list`.
pub(crate) async fn list(list: &List, settings: &Settings) -> Result<u8, Error> {
    if !list.folder.is_empty() {
        secret_path(&list.folder)?;
    }
    let client = connect(settings).await?;
    let (mut entries, mut after) = (Vec::new(), list.after.clone());
    let mut left = list.limit;
    let mut more = true;
    while more && left > 0 {
        let page = client.list(&list.folder, &after, left.min(LIST_MAX));
        let page = while_waiting("listing", page).await?;
        let Some(last) = page.entries.last() else {
            more = false;
            break;
        };
        after.clone_from(&last.name);
        more = page.more;
        left = left.saturating_sub(u32::try_from(page.entries.len()).unwrap_or(u32::MAX));
        entries.extend(page.entries);
    }
    let records: Vec<Record> = entries
        .iter()
        .map(|entry| {
            Record::new()
                .with("name", entry.name.as_str())
                .with("kind", if entry.folder { "folder" } else { "secret" })
        })
        .collect();
    settings.output.list(&records, "nothing here that you may list")?;
    if more {
        say(&format!("there are more: --after {after}"));
    }
    Ok(crate::DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_terminal_shows_what_would_control_it() {
        let (shown, exact) = visible("line\n\tkey: schlüssel 🔑\n".as_bytes());
        assert_eq!((shown.as_str(), exact), ("line\n\tkey: schlüssel 🔑\n", true));
        let (shown, exact) = visible(b"a\x1b]0;title\x07\r\xff\xe2\x80\xaez");
        assert_eq!(shown.as_str(), r"a\u{1b}]0;title\u{7}\u{d}\xff\u{202e}z");
        assert!(!exact);
    }

    #[test]
    fn what_may_be_a_value_in_the_place_of_a_path_is_not_repeated() {
        for text in ["prod/key=hunter2", "Hunter2", "prod/HUNTER2"] {
            let error = written_path(text).unwrap_err().to_string().to_lowercase();
            assert!(error.contains("sy0402") && !error.contains("hunter2"), "{error}");
        }
        assert!(written_path("prod/../key").unwrap_err().message.contains("segment 2"));
    }

    #[test]
    fn where_nothing_is_the_folder_is_what_to_look_at() {
        let told = |path: &str| {
            let error = nothing_there(Error::new(Code::NotFound, "nothing"), &Path::parse(path).unwrap());
            error.next.clone().unwrap_or_default()
        };
        assert!(told("prod/stripe/key").starts_with("symbolon list prod/stripe   ("));
        assert!(told("key").starts_with("symbolon list   ("));
    }
}
