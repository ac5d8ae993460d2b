//! Data on stdout: tables for people; JSON, JSON lines and YAML for programs; one field for shells.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;
use symbolon_policy::is_deceptive;

use crate::failure::{Error, local, usage};

/// How data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// One document
    Json,
    /// One JSON object a line
    Jsonl,
    /// One document
    Yaml,
}

/// Named fields in their order. Units stand last in names; times are RFC 3339; bytes are hex.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Record(Vec<(&'static str, Value)>);

impl Record {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    /// These fields alone, in their order here.
    pub(crate) fn only(mut self, names: &[&str]) -> Self {
        self.0.retain(|(name, _)| names.contains(name));
        self
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(field, _)| *field == name).map(|(_, value)| value)
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(name, _)| *name)
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Where data goes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) field: Option<String>,
}

impl Output {
    /// Whether a person reads it, who wants it short.
    pub(crate) fn for_people(&self) -> bool {
        self.format == Format::Table && self.field.is_none()
    }

    /// Writes a table for people, below each record the line that does not fit into it.
    pub(crate) fn folded(&self, rows: &[(Record, String)], nothing: &str) -> Result<(), Error> {
        if rows.is_empty() {
            say(nothing);
        }
        write_all(&fold(rows))
    }

    /// Writes a list; `nothing` is said on stderr if it is empty.
    pub(crate) fn list(&self, records: &[Record], nothing: &str) -> Result<(), Error> {
        if records.is_empty() && self.format == Format::Table {
            say(nothing);
        }
        write_all(&self.render_list(records)?)
    }

    /// Writes one object.
    pub(crate) fn one(&self, record: &Record) -> Result<(), Error> {
        write_all(&self.render_one(record)?)
    }

    /// Writes a record as soon as it comes: a JSON line for programs, a plain line for people.
    pub(crate) fn streamed(&self, record: &Record, line: &str) -> Result<(), Error> {
        match (&self.field, self.format) {
            (None, Format::Table) => write_all(&format!("{}\n", printable(line))),
            (None, _) => write_all(&json_line(record)?),
            (Some(_), _) => self.one(record),
        }
    }

    /// As [`Self::streamed`]; false once nobody reads any more.
    pub(crate) fn streamed_to_somebody(&self, record: &Record, line: &str) -> Result<bool, Error> {
        let text = match (&self.field, self.format) {
            (Some(field), _) => one_field(record, field)?,
            (None, Format::Table) => format!("{}\n", printable(line)),
            (None, _) => json_line(record)?,
        };
        write_or_closed(text.as_bytes())
    }

    fn render_list(&self, records: &[Record]) -> Result<String, Error> {
        if let Some(field) = &self.field {
            return records.iter().map(|record| one_field(record, field)).collect();
        }
        match self.format {
            Format::Table => Ok(table(records)),
            Format::Json => json(&records),
            Format::Jsonl => records.iter().map(json_line).collect(),
            Format::Yaml => yaml(&records),
        }
    }

    fn render_one(&self, record: &Record) -> Result<String, Error> {
        if let Some(field) = &self.field {
            return one_field(record, field);
        }
        match self.format {
            Format::Table => {
                let width = record.names().map(str::len).max().unwrap_or(0);
                let line = |(name, value): &(&str, Value)| format!("{:width$}  {}\n", heading(name), cell(value));
                Ok(record.0.iter().map(line).collect())
            }
            Format::Json => json(record),
            Format::Jsonl => json_line(record),
            Format::Yaml => yaml(record),
        }
    }
}

fn one_field(record: &Record, field: &str) -> Result<String, Error> {
    let value = record.get(field).ok_or_else(|| {
        let names: Vec<&str> = record.names().collect();
        usage(format!("there is no field '{field}'")).next(format!("one of: {}", names.join(", ")))
    })?;
    Ok(format!("{}\n", cell(value)))
}

fn heading(name: &str) -> String {
    name.replace('_', " ")
}

/// A value for people: nothing is `-`, lists are joined.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => printable(text),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// Text from elsewhere must not steer the terminal, nor hide or reorder what is shown.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if is_deceptive(c) { '\u{fffd}' } else { c })
        .collect()
}

/// A table for people.
pub(crate) fn table(records: &[Record]) -> String {
    let Some(first) = records.first() else {
        return String::new();
    };
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(first.names().map(|name| heading(name).to_uppercase()));
    for record in records {
        table.add_row(record.0.iter().map(|(_, value)| cell(value)));
    }
    let lines = table.to_string();
    // Each cell is padded on both sides; people copy lines.
    lines
        .lines()
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line).trim_end()))
        .collect()
}

fn fold(rows: &[(Record, String)]) -> String {
    let records: Vec<Record> = rows.iter().map(|(record, _)| record.clone()).collect();
    let table = table(&records);
    let below = std::iter::once("").chain(rows.iter().map(|(_, below)| below.as_str()));
    let lines = table.lines().zip(below).map(|(line, below)| match below {
        "" => format!("{line}\n"),
        below => format!("{line}\n    {}\n", printable(below)),
    });
    lines.collect()
}

fn json(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string_pretty(value)
        .map(|text| text + "\n")
        .map_err(|error| local(format!("JSON: {error}")))
}

fn json_line(value: &Record) -> Result<String, Error> {
    serde_json::to_string(value)
        .map(|text| text + "\n")
        .map_err(|error| local(format!("JSON: {error}")))
}

fn yaml(value: &impl Serialize) -> Result<String, Error> {
    let text = serde_saphyr::to_string(value).map_err(|error| local(format!("YAML: {error}")))?;
    Ok(if text.ends_with('\n') { text } else { text + "\n" })
}

/// Writes to stdout. Whoever closed the pipe has seen enough: that is no failure.
pub(crate) fn write_all(text: &str) -> Result<(), Error> {
    write_bytes(text.as_bytes())
}

/// As [`write_all`], for values.
pub(crate) fn write_bytes(bytes: &[u8]) -> Result<(), Error> {
    write_or_closed(bytes).map(|_| ())
}

/// Writes to stdout; false if nobody reads it any more.
fn write_or_closed(bytes: &[u8]) -> Result<bool, Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(local(format!("stdout: {error}"))),
    }
}

/// Says something on stderr.
pub(crate) fn say(text: &str) {
    // If stderr is closed, nobody listens.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// So many, by the word for one or for more.
pub(crate) fn counted(count: usize, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn records() -> Vec<Record> {
        vec![
            Record::new()
                .with("name", "stripe")
                .with("version", 3)
                .with("groups", json!(["a", "b"])),
            Record::new()
                .with("name", "db\u{1b}[2J")
                .with("version", Value::Null)
                .with("groups", json!([])),
        ]
    }

    fn output(format: Format) -> Output {
        Output { format, field: None }
    }

    #[test]
    fn a_table_has_headings_and_cannot_steer_the_terminal() {
        insta::assert_snapshot!(output(Format::Table).render_list(&records()).unwrap(), @r"
        NAME    VERSION  GROUPS
        stripe  3        a, b
        db�[2J  -        -
        ");
    }

    #[test]
    fn what_does_not_fit_into_a_table_stands_below_its_line() {
        let [one, two] = <[Record; 2]>::try_from(records()).unwrap();
        insta::assert_snapshot!(fold(&[(one, "permit \"a\"".into()), (two, String::new())]), @r#"
        NAME    VERSION  GROUPS
        stripe  3        a, b
            permit "a"
        db�[2J  -        -
        "#);
    }

    #[test]
    fn one_object_is_shown_line_by_line() {
        insta::assert_snapshot!(output(Format::Table).render_one(&records()[0]).unwrap(), @r"
        name     stripe
        version  3
        groups   a, b
        ");
    }

    #[test]
    fn fields_keep_their_order_in_every_format() {
        insta::assert_snapshot!(output(Format::Jsonl).render_list(&records()).unwrap(), @r#"
        {"name":"stripe","version":3,"groups":["a","b"]}
        {"name":"db\u001b[2J","version":null,"groups":[]}
        "#);
        insta::assert_snapshot!(output(Format::Yaml).render_one(&records()[0]).unwrap(), @r"
        name: stripe
        version: 3
        groups:
        - a
        - b
        ");
        let parsed: Value = serde_json::from_str(&output(Format::Json).render_list(&records()).unwrap()).unwrap();
        assert_eq!(
            parsed,
            json!([{"name": "stripe", "version": 3, "groups": ["a", "b"]},
            {"name": "db\u{1b}[2J", "version": null, "groups": []}])
        );
    }

    #[test]
    fn a_field_is_given_bare_and_a_wrong_one_names_the_others() {
        let bare = Output {
            format: Format::Json,
            field: Some("name".into()),
        };
        assert_eq!(bare.render_one(&records()[0]).unwrap(), "stripe\n");
        let wrong = Output {
            format: Format::Json,
            field: Some("nam".into()),
        };
        let error = wrong.render_one(&records()[0]).unwrap_err().to_string();
        assert!(
            error.contains("'nam'") && error.contains("name, version, groups"),
            "{error}"
        );
    }
}
