//! `audit tail|verify|export`: every node keeps its own log; a query is the union over all of them.

use std::path::PathBuf;

use bytes::Bytes;
use clap::{Args, Subcommand};
use symbolon_client::audit::{self, Audited};
use symbolon_client::{AuditPage, AuditRange, Client};
use symbolon_crypto::Hash;
use symbolon_wire::limits::AUDIT_PAGE_MAX;
use symbolon_wire::path::Path;
use symbolon_wire::v1::AuditLeaf;
use symbolon_wire::{Code, audit as leaves};
use tokio::task::JoinSet;

use crate::failure::{Error, usage};
use crate::limits::FOLLOW_EVERY;
use crate::output::{Record, printable, say, write_all};
use crate::progress::while_waiting;
use crate::session::{connect, connect_for_long, endpoint};
use crate::settings::Settings;
use crate::times::{brief as brief_time, now_ms, show_ms, time};
use crate::verbs::prove::Prove;

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Show the latest decisions of one node or of all
    #[command(
        after_help = "Example:\n  symbolon audit tail\n  symbolon audit tail --node 2 --limit 100 -o jsonl\n  symbolon audit tail -f"
    )]
    Tail(Tail),
    /// Recompute the logs from their first entry, and check every checkpoint and boot
    #[command(
        after_help = "Example:\n  symbolon audit verify\n  symbolon audit verify --node 2\n  symbolon audit verify --dir exported/\n  symbolon audit verify --proof key.proof"
    )]
    Verify(Verify),
    /// Prove that a decision stands in its node's log, unchanged, as others have cosigned and anchored it
    #[command(
        after_help = "Example:\n  symbolon get prod/stripe/key --receipt key.receipt --out key.txt\n  \
                      symbolon audit prove key.receipt --to key.proof\n  \
                      symbolon audit prove 3:48213                  # an entry, as errors and audit tail name it\n  \
                      symbolon audit verify --proof key.proof       # offline; so does docs/verify_audit.py"
    )]
    Prove(Prove),
    /// Write one node's log to a new folder, verified, for later proof
    #[command(after_help = "Example:\n  symbolon audit export --node 2 --to exported/")]
    Export(Export),
}

#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// One node instead of all
    #[arg(long, value_name = "N")]
    node: Option<u16>,
    /// So many entries of each node
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=i64::from(AUDIT_PAGE_MAX)), value_name = "N")]
    limit: u32,
    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,
    /// An entry a line, with purpose and source, as -f shows them
    #[arg(long)]
    wide: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// One node instead of all
    #[arg(long, value_name = "N", conflicts_with = "dir")]
    node: Option<u16>,
    /// An exported log instead of the cluster's
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// A file of proofs, as audit prove wrote it, instead of logs
    #[arg(long, value_name = "FILE", conflicts_with_all = ["node", "dir"])]
    proof: Option<PathBuf>,
    /// Hash of the genesis roster that a log or proof in files is checked against, instead of the context's
    #[arg(long, value_name = "HASH", value_parser = genesis_hash)]
    genesis: Option<Hash>,
}

fn genesis_hash(text: &str) -> Result<Hash, String> {
    let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| "a hash has 64 hex digits; `symbolon init check` prints it".to_owned())
}

impl Verify {
    /// What files are checked against.
    fn pinned(&self, settings: &Settings) -> Result<Hash, Error> {
        match self.genesis {
            Some(hash) => Ok(hash),
            None => endpoint(settings)
                .map(|endpoint| *endpoint.genesis())
                .map_err(|error| error.next("--genesis HASH, which `symbolon init check` prints; no cluster is asked")),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Which node
    #[arg(long, value_name = "N")]
    node: u16,
    /// Folder to make
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
}

/// `audit`.
pub(crate) async fn audit(verb: &Audit, settings: &Settings) -> Result<u8, Error> {
    match verb {
        Audit::Tail(tail) => self::tail(tail, settings).await,
        Audit::Verify(verify) => self::verify(verify, settings).await,
        Audit::Prove(prove) => crate::verbs::prove::prove(prove, settings).await,
        Audit::Export(export) => {
            let client = connect_for_long(settings).await?;
            let done = while_waiting(
                "fetching and verifying",
                audit::export(&client, export.node, &export.to),
            )
            .await?;
            say(&format!(
                "symbolon audit verify --dir {} checks it again, offline",
                export.to.display()
            ));
            settings.output.one(&audited(&done))?;
            Ok(crate::DONE)
        }
    }
}

async fn verify(verify: &Verify, settings: &Settings) -> Result<u8, Error> {
    if let Some(proof) = &verify.proof {
        return crate::verbs::prove::verify(proof, &verify.pinned(settings)?, settings);
    }
    if let Some(dir) = &verify.dir {
        let pinned = verify.pinned(settings)?;
        let done = audit::verify_dir(dir, &pinned).map_err(|error| match error.code {
            Code::AuditBroken => error.because(format!(
                "unless {} was changed since it was exported: symbolon audit verify asks the node itself",
                dir.display()
            )),
            _ => error,
        })?;
        settings.output.one(&audited(&done))?;
        return Ok(crate::DONE);
    }
    if verify.genesis.is_some() {
        return Err(usage("--genesis is for a log or a proof in files").next("add --dir FOLDER or --proof FILE"));
    }
    let client = connect_for_long(settings).await?;
    let mut records = Vec::new();
    // A bad log outweighs a node that is not there; both must be seen, so all are tried.
    let mut worst: Option<Error> = None;
    // All at once: those that are not there are waited for once, and not one after the other.
    let mut verifying = JoinSet::new();
    for node in chosen(&client, verify.node)? {
        let client = client.clone();
        verifying.spawn(async move { (node, audit::verify(&client, node).await) });
    }
    let mut verified = while_waiting("verifying the logs", verifying.join_all()).await;
    verified.sort_by_key(|(node, _)| *node);
    for (_, done) in verified {
        match done {
            Ok(done) => records.push(audited(&done)),
            Err(error) => {
                crate::failure::show(&error);
                if worst.as_ref().is_none_or(|worst| worst.code != Code::AuditBroken) {
                    worst = Some(error);
                }
            }
        }
    }
    settings.output.list(&records, "no log could be verified")?;
    Ok(worst.map_or(crate::DONE, |error| error.code.exit() as u8))
}

fn audited(done: &Audited) -> Record {
    Record::new()
        .with("node", done.node)
        .with("verdict", "verified")
        .with("entries", done.size)
        .with("anchored", done.anchored)
        .with("archived", done.archived)
        .with("boots", done.boots)
        .with("root", hex::encode(done.root))
}

/// The nodes that were asked for.
fn chosen(client: &Client, node: Option<u16>) -> Result<Vec<u16>, Error> {
    let all = client.roster().indices();
    match node {
        None => Ok(all),
        Some(node) if all.contains(&node) => Ok(vec![node]),
        Some(node) => Err(usage(format!("the roster has no node {node}")).next(format!("one of {all:?}"))),
    }
}

/// One entry of one log.
struct Entry {
    node: u16,
    index: u64,
    leaf: AuditLeaf,
}

/// What has been read of one log.
struct Cursor {
    node: u16,
    next: Option<u64>,
}

async fn tail(tail: &Tail, settings: &Settings) -> Result<u8, Error> {
    let client = match tail.follow {
        true => connect_for_long(settings).await?,
        false => connect(settings).await?,
    };
    let mut cursors: Vec<Cursor> = chosen(&client, tail.node)?
        .into_iter()
        .map(|node| Cursor { node, next: None })
        .collect();
    let mut entries = round(&client, &mut cursors, tail.limit).await?;
    if !tail.follow {
        show_all(&entries, tail.wide, settings)?;
        return Ok(crate::DONE);
    }
    loop {
        for entry in &entries {
            settings.output.streamed(&record(entry), &line(entry))?;
        }
        tokio::time::sleep(FOLLOW_EVERY).await;
        entries = round(&client, &mut cursors, AUDIT_PAGE_MAX).await?;
    }
}

/// What is new in each log, all together by time. A node that does not answer is told of and asked again; if none
/// answers, that is the error.
async fn round(client: &Client, cursors: &mut [Cursor], limit: u32) -> Result<Vec<Entry>, Error> {
    let (mut entries, mut answered) = (Vec::new(), 0);
    let mut failed = None;
    // All at once: one that is not there must not use up the time of the others.
    let mut asking = JoinSet::new();
    for (place, cursor) in cursors.iter().enumerate() {
        let range = match cursor.next {
            None => AuditRange::Tail { limit },
            Some(index) => AuditRange::From { index, limit },
        };
        let (client, node) = (client.clone(), cursor.node);
        asking.spawn(async move { (place, client.audit(node, range).await) });
    }
    for (place, page) in while_waiting("asking for entries", asking.join_all()).await {
        let Some(cursor) = cursors.get_mut(place) else {
            continue;
        };
        // What one node shows wrongly must not hide what the others show.
        let shown = page.and_then(|page| decoded(cursor.node, page));
        match shown {
            Ok((found, next)) => {
                answered += 1;
                entries.extend(found);
                cursor.next = Some(next);
            }
            Err(error) => {
                say(&format!("warning: node {}: {}", cursor.node, error.message));
                failed = Some(error);
            }
        }
    }
    match failed {
        Some(error) if answered == 0 => Err(error),
        _ => {
            entries.sort_by_key(|entry| (entry.leaf.local_time_ms, entry.node, entry.index));
            Ok(entries)
        }
    }
}

/// The entries of a page, and where the next one begins.
fn decoded(node: u16, page: AuditPage) -> Result<(Vec<Entry>, u64), Error> {
    let mut index = page.from + page.archived.len() as u64;
    let mut entries = Vec::with_capacity(page.leaves.len());
    for leaf in page.leaves {
        let leaf = decode(node, index, leaf)?;
        entries.push(Entry { node, index, leaf });
        index += 1;
    }
    Ok((entries, index))
}

fn decode(node: u16, index: u64, leaf: Bytes) -> Result<AuditLeaf, Error> {
    leaves::decode(leaf).map_err(|bad| {
        Error::new(Code::AuditBroken, format!("entry {index} of node {node}: {bad}"))
            .next(format!("symbolon audit verify --node {node}"))
    })
}

fn show_all(entries: &[Entry], wide: bool, settings: &Settings) -> Result<(), Error> {
    if settings.output.for_people() && wide {
        let lines = entries.iter().map(|entry| format!("{}\n", printable(&line(entry))));
        return write_all(&lines.collect::<String>());
    }
    if settings.output.for_people() {
        let now_ms = now_ms()?;
        let rows: Vec<(Record, String)> = entries.iter().map(|entry| brief(entry, now_ms)).collect();
        return settings.output.folded(&rows, "no entries");
    }
    let records: Vec<Record> = entries.iter().map(record).collect();
    settings.output.list(&records, "no entries")
}

/// What fits into one line, the entry as node:index; and the policies that decided, below it.
fn brief(entry: &Entry, now_ms: u64) -> (Record, String) {
    let leaf = &entry.leaf;
    let who = &leaf.principal_name;
    let record = Record::new()
        .with("utc", brief_time(leaf.local_time_ms, now_ms))
        .with("entry", format!("{}:{}", entry.node, entry.index))
        .with("who", who.strip_prefix("spiffe://").unwrap_or(who))
        .with("action", leaf.action.as_str())
        .with("resource", resource(leaf))
        .with("decision", decision(leaf));
    (record, leaf.policies.join("; "))
}

pub(super) fn decision(leaf: &AuditLeaf) -> String {
    match Code::from_number(leaf.code).filter(|_| !leaf.allowed) {
        Some(code) => format!("refused {code}"),
        None if leaf.allowed => "allowed".to_owned(),
        None => "refused".to_owned(),
    }
}

fn line(entry: &Entry) -> String {
    let leaf = &entry.leaf;
    let who = if leaf.principal_name.is_empty() {
        "unknown"
    } else {
        &leaf.principal_name
    };
    let mut line = format!(
        "{}  {:<10}  {who} {} {}",
        show_ms(leaf.local_time_ms),
        format!("{}:{}", entry.node, entry.index),
        leaf.action,
        resource(leaf),
    );
    if leaf.version > 0 {
        line += &format!(" version {}", leaf.version);
    }
    line += &format!("  {}", decision(leaf));
    if !leaf.purpose.is_empty() {
        line += &format!("  for {:?}", leaf.purpose);
    }
    if !leaf.source.is_empty() {
        line += &format!("  from {}", leaf.source);
    }
    if !leaf.policies.is_empty() {
        line += &format!("  {}", leaf.policies.join("; "));
    }
    line
}

/// What was asked for. Anybody may ask for what is no path: quoted, it does not pass for the rest of the line, or for another one.
fn resource(leaf: &AuditLeaf) -> String {
    if leaf.resource.is_empty() && matches!(leaf.action.as_str(), "list" | "watch") {
        "/".to_owned()
    } else if leaf.resource.is_empty() || Path::parse(&leaf.resource).is_ok() {
        leaf.resource.clone()
    } else {
        format!("{:?}", leaf.resource)
    }
}

/// All that the entry says.
fn record(entry: &Entry) -> Record {
    let leaf = &entry.leaf;
    Record::new()
        .with("node", entry.node)
        .with("entry", entry.index)
        .with("boot", leaf.boot_counter)
        .with("local_time", time(leaf.local_time_ms))
        .with("log_time", time(leaf.log_time_ms))
        .with("principal", hex::encode(&leaf.principal))
        .with("principal_name", leaf.principal_name.as_str())
        .with("client_key", hex::encode(&leaf.client_key))
        .with("source", leaf.source.as_str())
        .with("action", leaf.action.as_str())
        .with("resource", leaf.resource.as_str())
        .with("secret", hex::encode(&leaf.secret))
        .with("version", leaf.version)
        .with("purpose", leaf.purpose.as_str())
        .with("allowed", leaf.allowed)
        .with("outcome", leaf.outcome.as_str())
        .with("code", Code::from_number(leaf.code).map(|code| code.to_string()))
        .with("policies", leaf.policies.clone())
        .with("policy_hash", hex::encode(&leaf.policy_hash))
        .with("state_index", leaf.state_index)
        .with("tls_group", leaf.tls_group.as_str())
        .with("request_hash", hex::encode(&leaf.request_hash))
        .with("inputs_digest", hex::encode(&leaf.inputs_digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_one_line_for_people() {
        let leaf = AuditLeaf {
            local_time_ms: 1_000,
            principal_name: "spiffe://acme/agent/bot".into(),
            action: "read".into(),
            resource: "prod/stripe/key".into(),
            version: 7,
            purpose: "nightly \"run\"".into(),
            source: "10.0.0.9:4100".into(),
            code: 403,
            policies: vec!["forbid \"office-hours\"  policies/billing.cedar:14".into()],
            ..AuditLeaf::default()
        };
        assert_eq!(
            line(&Entry {
                node: 3,
                index: 48_213,
                leaf
            }),
            "1970-01-01T00:00:01.000Z  3:48213     spiffe://acme/agent/bot read prod/stripe/key version 7  refused SY0403  \
             for \"nightly \\\"run\\\"\"  from 10.0.0.9:4100  forbid \"office-hours\"  policies/billing.cedar:14"
        );
    }

    #[test]
    fn what_is_no_path_does_not_pass_for_the_rest_of_an_entry() {
        let asked = |resource: &str| {
            let leaf = AuditLeaf {
                action: "read".into(),
                resource: resource.into(),
                code: 402,
                ..AuditLeaf::default()
            };
            line(&Entry {
                node: 1,
                index: 2,
                leaf,
            })
        };
        let faked = asked("prod/key  allowed  permit \"all\"");
        assert!(
            faked.contains(r#" read "prod/key  allowed  permit \"all\""  refused"#),
            "{faked}"
        );
        let reordered = asked("prod/\u{202e}yek");
        assert!(
            reordered.contains(r#" read "prod/\u{202e}yek"  refused"#),
            "{reordered}"
        );
    }

    #[test]
    fn a_table_of_entries_fits_80_columns_and_keeps_the_policies() {
        let leaf = AuditLeaf {
            local_time_ms: 1_000,
            principal_name: "spiffe://local/billing-bot".into(),
            action: "read".into(),
            resource: "prod/stripe/key".into(),
            code: 403,
            policies: vec!["forbid \"office-hours\"  policies/billing.cedar:14".into()],
            ..AuditLeaf::default()
        };
        let entry = Entry {
            node: 3,
            index: 48_213,
            leaf,
        };
        let (row, below) = brief(&entry, 2_000);
        let text = crate::output::table(&[row]);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(
            text.contains("00:00:01") && text.contains("local/billing-bot"),
            "{text}"
        );
        assert_eq!(below, "forbid \"office-hours\"  policies/billing.cedar:14");
    }

    #[test]
    fn an_entry_that_does_not_decode_is_named() {
        let error = decode(2, 7, Bytes::from_static(b"\xff")).unwrap_err();
        assert_eq!(error.code, Code::AuditBroken);
        assert!(error.message.contains("entry 7 of node 2"), "{error}");
    }
}
