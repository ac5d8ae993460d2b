//! `metadata get`, `metadata set`: texts beside a secret, and how it may be written.

use std::collections::{BTreeMap, BTreeSet};

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Map, Value};
use symbolon_client::{MetadataChange, v1};
use symbolon_wire::Code;
use symbolon_wire::path::Path;

use crate::failure::{Error, usage};
use crate::output::{Record, say};
use crate::progress::while_waiting;
use crate::session::{connect, secret_path};
use crate::settings::Settings;
use crate::verbs::secrets::list_beside;

#[derive(Debug, Subcommand)]
pub(crate) enum Metadata {
    /// Show a secret's metadata and settings
    Get(Get),
    /// Change a secret's metadata or settings
    Set(Set),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  symbolon metadata get prod/stripe/key\n  symbolon metadata get prod/stripe/key -o json"
)]
pub(crate) struct Get {
    /// Path, such as prod/stripe/key
    path: String,
}

#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("change").required(true).multiple(true)
        .args(["entries", "remove", "replace", "max_versions", "cas_required"])),
    after_help = "\
Example:
  symbolon metadata set prod/stripe/key owner=billing rotate=2027-01
  symbolon metadata set prod/stripe/key --remove owner --cas 3
  symbolon metadata set prod/stripe/key --max-versions 5 --cas-required true

Metadata is not encrypted: every node reads it, and so does whoever may readMetadata. Never put a secret there.
--max-versions destroys older versions, those that are there now and each that a newer one pushes out; it asks for
the permission to destroy where fewer are kept than before."
)]
pub(crate) struct Set {
    /// Path, such as prod/stripe/key
    path: String,
    /// Entries to set
    #[arg(value_name = "KEY=TEXT")]
    entries: Vec<String>,
    /// Keys of entries to remove
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    remove: Vec<String>,
    /// Remove all other entries
    #[arg(long)]
    replace: bool,
    /// Keep so many versions, and destroy older ones; 0: as many as there may be
    #[arg(long, value_name = "COUNT")]
    max_versions: Option<u64>,
    /// Whether each put must say which version it follows (put --cas)
    #[arg(long, value_name = "true|false", action = clap::ArgAction::Set)]
    cas_required: Option<bool>,
    /// Only if the metadata is at this version; 0: only if nothing was ever set
    #[arg(long, value_name = "VERSION")]
    cas: Option<u64>,
}

/// `metadata`.
pub(crate) async fn metadata(metadata: &Metadata, settings: &Settings) -> Result<u8, Error> {
    match metadata {
        Metadata::Get(one) => get(one, settings).await,
        Metadata::Set(one) => set(one, settings).await,
    }
}

async fn get(get: &Get, settings: &Settings) -> Result<u8, Error> {
    let path = secret_path(&get.path)?;
    let client = connect(settings).await?;
    let found = while_waiting("reading", client.metadata(path.as_str())).await;
    let found = found.map_err(|error| not_there(error, &path))?;
    if settings.output.for_people() {
        let entries: Vec<Record> = found
            .custom
            .iter()
            .map(|entry| {
                Record::new()
                    .with("key", entry.key.as_str())
                    .with("text", entry.text.as_str())
            })
            .collect();
        settings.output.list(&entries, "no entries")?;
        say(&summary(&found));
    } else {
        settings.output.one(&whole(&path, &found))?;
    }
    Ok(crate::DONE)
}

fn summary(found: &v1::MetadataReply) -> String {
    let settings = found.settings.unwrap_or_default();
    let kept = match settings.max_versions {
        0 => "all versions are kept".to_owned(),
        1 => "the latest version is kept".to_owned(),
        count => format!("the latest {count} versions are kept"),
    };
    let cas = match settings.cas_required {
        true => "writes must say which version they follow (put --cas)",
        false => "writes need not say which version they follow",
    };
    format!("metadata version {}; {kept}; {cas}", found.metadata_version)
}

fn whole(path: &Path, found: &v1::MetadataReply) -> Record {
    let settings = found.settings.unwrap_or_default();
    let entries: Map<String, Value> = found
        .custom
        .iter()
        .map(|entry| (entry.key.clone(), Value::from(entry.text.as_str())))
        .collect();
    Record::new()
        .with("path", path.to_string())
        .with("metadata_version", found.metadata_version)
        .with("max_versions", settings.max_versions)
        .with("cas_required", settings.cas_required)
        .with("entries", Value::Object(entries))
}

async fn set(set: &Set, settings: &Settings) -> Result<u8, Error> {
    let path = secret_path(&set.path)?;
    let change = change(set)?;
    let client = connect(settings).await?;
    let done = while_waiting("writing", client.set_metadata(path.as_str(), &change)).await;
    let done = done.map_err(|error| match error.code {
        Code::Conflict => error.next(format!("symbolon metadata get {path}, then decide on --cas anew")),
        // The change is bad, not the way in which it was told.
        Code::Malformed if error.next.is_none() => error.next("symbolon metadata set --help"),
        _ => not_there(error, &path),
    })?;
    settings.output.one(
        &Record::new()
            .with("path", path.to_string())
            .with("metadata_version", done.version)
            .with("log_index", done.index),
    )?;
    Ok(crate::DONE)
}

fn change(set: &Set) -> Result<MetadataChange, Error> {
    let mut entries = BTreeMap::new();
    for entry in &set.entries {
        let Some((key, text)) = entry.split_once('=') else {
            return Err(usage("an entry is written KEY=TEXT").next("--remove KEY takes one away"));
        };
        if entries.insert(key.to_owned(), text.to_owned()).is_some() {
            return Err(usage(format!("'{key}' is set twice")));
        }
    }
    let remove: BTreeSet<String> = set.remove.iter().cloned().collect();
    if let Some(key) = remove.iter().find(|key| entries.contains_key(*key)) {
        return Err(usage(format!("'{key}' is set and removed at once")));
    }
    Ok(MetadataChange {
        set: entries,
        remove,
        replace: set.replace,
        max_versions: set.max_versions,
        cas_required: set.cas_required,
        cas: set.cas,
    })
}

fn not_there(error: Error, path: &Path) -> Error {
    match error.code {
        Code::NotFound => error.next(list_beside(path)),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(entries: &[&str], remove: &[&str]) -> Result<MetadataChange, Error> {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        change(&Set {
            path: "a/b".to_owned(),
            entries: owned(entries),
            remove: owned(remove),
            replace: false,
            max_versions: None,
            cas_required: None,
            cas: None,
        })
    }

    #[test]
    fn an_entry_is_cut_at_its_first_equals_sign() {
        let set = of(&["url=https://x/?a=b", "empty="], &["old"]).unwrap();
        assert_eq!(set.set.get("url").unwrap(), "https://x/?a=b");
        assert_eq!(set.set.get("empty").unwrap(), "");
        assert!(set.remove.contains("old"));
    }

    #[test]
    fn what_contradicts_itself_is_refused_before_anything_is_sent() {
        assert!(of(&["key"], &[]).unwrap_err().message.contains("KEY=TEXT"));
        assert!(of(&["a=1", "a=2"], &[]).unwrap_err().message.contains("twice"));
        assert!(of(&["a=1"], &["a"]).unwrap_err().message.contains("at once"));
    }

    #[test]
    fn settings_are_told_in_words() {
        let found = v1::MetadataReply {
            metadata_version: 2,
            settings: Some(v1::SecretSettings {
                max_versions: 5,
                cas_required: true,
            }),
            ..v1::MetadataReply::default()
        };
        assert!(summary(&found).contains("latest 5 versions") && summary(&found).contains("--cas"));
        assert!(summary(&v1::MetadataReply::default()).contains("all versions"));
    }
}
