//! `put --batch`: many values from one file, each written by itself.

use std::fs::File;
use std::io;
use std::path::Path as FilePath;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use symbolon_client::{Code, Level, PutOptions};
use symbolon_crypto::secret::SecretBytes;
use symbolon_wire::path::Path;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::failure::{Error, file, usage};
use crate::limits::BATCH_FILE_BYTES_MAX;
use crate::output::Record;
use crate::progress::while_waiting;
use crate::session::{connect, secret_path};
use crate::settings::Settings;
use crate::times::{ms, parse_duration};
use crate::values;

/// One object of the file. `get PATH PATH -o json` prints such objects; what it tells beside the value is not written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    path: String,
    value: Option<Text>,
    value_base64: Option<Text>,
    content_type: Option<String>,
    /// As `--ttl`.
    ttl: Option<String>,
    /// As `--cas`.
    cas: Option<u64>,
    #[serde(rename = "version")]
    _version: Option<u64>,
    #[serde(rename = "author")]
    _author: Option<String>,
    #[serde(rename = "nodes")]
    _nodes: Option<Vec<u16>>,
}

/// A value, or one in base64.
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
struct Text(String);

type Write = (String, Zeroizing<Vec<u8>>, PutOptions);

/// Writes all that the file holds. Everything in it is checked before the first is written; what is refused later is told
/// beside what was written.
pub(super) async fn put(from: &FilePath, level: Level, settings: &Settings) -> Result<u8, Error> {
    let items = parse(read(from)?.expose())?;
    let mut writes = Vec::with_capacity(items.len());
    for (place, item) in items.into_iter().enumerate() {
        let of_item = |error: Error| error.because(format!("of object {}", place + 1));
        writes.push(write(&item, level).map_err(of_item)?);
    }
    let client = connect(settings).await?;
    let put = while_waiting("writing", client.put_many(&writes)).await;
    let mut records = Vec::with_capacity(put.len());
    let mut failures = Vec::new();
    for ((path, ..), put) in writes.iter().zip(put) {
        match put {
            Ok(put) => records.push(
                Record::new()
                    .with("path", path.as_str())
                    .with("version", put.version)
                    .with("log_index", put.index),
            ),
            Err(error) => failures.push((path, error)),
        }
    }
    settings.output.list(&records, "nothing was written")?;
    match first_of(failures, writes.len()) {
        None => Ok(crate::DONE),
        Some(error) => Err(error),
    }
}

/// The first failure of a batch, with a line for each other.
pub(super) fn first_of<P: std::fmt::Display>(failures: Vec<(P, Error)>, of: usize) -> Option<Error> {
    let failed = failures.len();
    let mut failures = failures.into_iter();
    let (path, mut first) = failures.next()?;
    if of > 1 {
        first.message = format!("{failed} of {of} failed, {path} first: {}", first.message);
    }
    for (path, other) in failures {
        first = first.because(format!("{path}: {} {}", other.code, other.message));
    }
    Some(first)
}

fn read(from: &FilePath) -> Result<SecretBytes, Error> {
    let name = from.display().to_string();
    let bytes = if from == FilePath::new("-") {
        values::read_limited(io::stdin().lock(), "stdin", BATCH_FILE_BYTES_MAX)
    } else {
        let open = File::open(from).map_err(|error| file(from, &error))?;
        values::read_limited(open, &name, BATCH_FILE_BYTES_MAX)
    };
    bytes.map_err(|error| match error.code {
        Code::TooLarge => error.next("split it; each object is written by itself anyway"),
        _ => error,
    })
}

/// A JSON array of objects, or objects one after another, as `-o json` and `-o jsonl` print them. Nothing of the text is
/// repeated in an error.
fn parse(bytes: &[u8]) -> Result<Vec<Item>, Error> {
    let array = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let parsed: Result<Vec<Item>, _> = if array {
        serde_json::from_slice(bytes)
    } else {
        serde_json::Deserializer::from_slice(bytes).into_iter().collect()
    };
    let items = parsed.map_err(|error| {
        usage(format!(
            "line {} column {} is no object of a batch",
            error.line(),
            error.column()
        ))
        .because("one has path, and value or value_base64; it may have content_type, ttl and cas")
        .next("symbolon get PATH PATH -o json   (prints such objects)")
    })?;
    if items.is_empty() {
        return Err(usage("the batch is empty"));
    }
    Ok(items)
}

fn write(item: &Item, level: Level) -> Result<Write, Error> {
    let path: Path = secret_path(&item.path)?;
    let value = match (&item.value, &item.value_base64) {
        (Some(text), None) => Zeroizing::new(text.0.as_bytes().to_vec()),
        (None, Some(encoded)) => Zeroizing::new(
            STANDARD
                .decode(&encoded.0)
                .map_err(|_| usage(format!("value_base64 of {path} is no base64")))?,
        ),
        _ => return Err(usage(format!("{path} needs one of value and value_base64"))),
    };
    if value.is_empty() {
        return Err(usage(format!("the value of {path} is empty")));
    }
    let ttl = item.ttl.as_deref().map(parse_duration).transpose();
    let ttl: Option<Duration> = ttl.map_err(|error| usage(format!("ttl of {path}: {error}")))?;
    let defaults = PutOptions::default();
    let options = PutOptions {
        content_type: item.content_type.clone().unwrap_or(defaults.content_type),
        ttl_ms: ttl.map_or(0, ms),
        cas: item.cas,
        level,
    };
    Ok((path.to_string(), value, options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writes(text: &str) -> Result<Vec<Write>, Error> {
        let items = parse(text.as_bytes())?;
        items.iter().map(|item| write(item, Level::Committed)).collect()
    }

    #[test]
    fn an_array_and_lines_mean_the_same() {
        let lines = "{\"path\":\"a/b\",\"value\":\"one\"}\n{\"path\":\"c\",\"value_base64\":\"AP8=\",\"ttl\":\"30d\",\"cas\":2}\n";
        let array = format!("[{}]", lines.trim().replace('\n', ","));
        for text in [lines, &array] {
            let writes = writes(text).unwrap();
            assert_eq!((writes[0].0.as_str(), writes[0].1.as_slice()), ("a/b", &b"one"[..]));
            assert_eq!(writes[1].1.as_slice(), [0, 255]);
            assert_eq!((writes[1].2.ttl_ms, writes[1].2.cas), (30 * 86_400_000, Some(2)));
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_repeating_a_value() {
        for text in [
            "[{\"path\":\"a/b\",\"value\":\"hunter2\"",
            "[{\"path\":\"a/b\",\"valeu\":\"hunter2\"}]",
            "{\"path\":\"a/b\",\"value\":\"hunter2\",\"value_base64\":\"aHVudGVyMg==\"}",
            "{\"path\":\"a/b\",\"value_base64\":\"hunter2 is no base64\"}",
            "{\"path\":\"a/b\",\"value\":\"\"}",
            "{\"path\":\"a/b\",\"value\":\"hunter2\",\"ttl\":\"soon\"}",
            "{\"path\":\"a/../b\",\"value\":\"hunter2\"}",
            "[]",
        ] {
            let error = writes(text).err().unwrap_or_else(|| panic!("{text} is taken"));
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
