//! `audit prove`, `audit verify --proof`, and the receipts of `get --receipt`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use symbolon_client::Opened;
use symbolon_client::audit::{
    self, PROOF_FORMAT, Proof, ProofFile, Proven, RECEIPT_FORMAT, ReceiptFile, SignedReply, Wanted,
};
use symbolon_crypto::Hash;
use symbolon_wire::Code;
use symbolon_wire::roster::Roster;

use crate::failure::{Error, file, local, usage};
use crate::limits::{PROOF_FILE_BYTES_MAX, PROVEN_WITHIN};
use crate::output::{Record, say};
use crate::progress::while_waiting;
use crate::session::{connect_for_long, endpoint};
use crate::settings::{Settings, new_file};
use crate::times::time;
use crate::verbs::audit::decision;

#[derive(Debug, Args)]
pub(crate) struct Prove {
    /// NODE:ENTRY, or a file that get --receipt wrote
    #[arg(required = true, value_name = "ENTRY|FILE")]
    what: Vec<Target>,
    /// Write the proofs to a new file, which anyone can verify from the genesis hash alone
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// What is to be proven, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Entry { node: u16, entry: u64 },
    File(PathBuf),
}

impl FromStr for Target {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let entry = text.split_once(':').and_then(|(node, entry)| {
            Some(Self::Entry {
                node: node.parse().ok()?,
                entry: entry.parse().ok()?,
            })
        });
        Ok(entry.unwrap_or_else(|| Self::File(text.into())))
    }
}

/// `audit prove`.
pub(crate) async fn prove(prove: &Prove, settings: &Settings) -> Result<u8, Error> {
    let mut wanted = Vec::new();
    for target in &prove.what {
        match target {
            Target::Entry { node, entry } => wanted.push(Wanted::Entry {
                node: *node,
                entry: *entry,
            }),
            Target::File(path) => wanted.extend(read_receipts(path, settings)?),
        }
    }
    if let Some(to) = prove.to.as_ref().filter(|to| to.exists()) {
        return Err(usage(format!("{} exists already", to.display())).next("give a new file's name to --to"));
    }
    let client = connect_for_long(settings).await?;
    let (mut proofs, mut records): (Vec<Proof>, Vec<Record>) = (Vec::new(), Vec::new());
    // One bad log must not hide what the others prove.
    let mut worst: Option<Error> = None;
    for wanted in &wanted {
        let proving = audit::prove(&client, wanted, PROVEN_WITHIN);
        match while_waiting("waiting until it is cosigned and anchored", proving).await {
            Ok((proof, proven)) => {
                records.push(record(&proven));
                proofs.push(proof);
            }
            // What names a node outweighs one that is not there; it is shown last, and gives the exit code.
            Err(error) => match worst.take() {
                Some(worse) if worse.code == Code::AuditBroken => {
                    crate::failure::show(&error);
                    worst = Some(worse);
                }
                before => {
                    before.iter().for_each(crate::failure::show);
                    worst = Some(error);
                }
            },
        }
    }
    if !proofs.is_empty() {
        settings.output.list(&records, "nothing was proven")?;
        if let Some(to) = &prove.to {
            write_proofs(to, client.roster(), proofs)?;
        }
    }
    match worst {
        Some(error) => Err(error),
        None => {
            if prove.to.is_none() {
                say("--to FILE keeps the proof, for whoever has nothing but the genesis hash");
            }
            Ok(crate::DONE)
        }
    }
}

fn write_proofs(to: &Path, roster: &Roster, proofs: Vec<Proof>) -> Result<(), Error> {
    let proof_file = ProofFile {
        format: PROOF_FORMAT.to_owned(),
        roster: hex::encode(&roster.encoded),
        proofs,
    };
    write_json(to, &proof_file)?;
    say(&format!(
        "symbolon audit verify --proof {} checks it again, offline",
        to.display()
    ));
    Ok(())
}

fn write_json(to: &Path, content: &impl serde::Serialize) -> Result<(), Error> {
    let mut text = serde_json::to_string_pretty(content).map_err(|error| local(error.to_string()))?;
    text.push('\n');
    new_file(to, text.as_bytes())
}

/// `audit verify --proof`: offline, from the pinned hash alone.
pub(crate) fn verify(path: &Path, pinned: &Hash, settings: &Settings) -> Result<u8, Error> {
    let text = read(path)?;
    let receipts = serde_json::from_str::<ReceiptFile>(&text).is_ok_and(|file| file.format == RECEIPT_FORMAT);
    if receipts {
        let what = format!("{} holds receipts, which are no proofs yet", path.display());
        return Err(usage(what).next(format!("symbolon audit prove {} --to FILE", path.display())));
    }
    let proof_file: ProofFile = parsed(path, &text, "symbolon audit prove ENTRY --to FILE")?;
    let proven = audit::verify_proofs(&proof_file, pinned).map_err(|bad| {
        Error::new(Code::AuditBroken, format!("{} proves nothing", path.display()))
            .because(bad.to_string())
            .next("take it from whoever made it, or make it anew: symbolon audit prove")
    })?;
    let records: Vec<Record> = proven.iter().map(record).collect();
    settings.output.list(&records, "nothing was proven")?;
    Ok(crate::DONE)
}

fn read(path: &Path) -> Result<String, Error> {
    use std::io::Read;
    let open = std::fs::File::open(path).map_err(|error| file(path, &error))?;
    let mut text = String::new();
    let read = open.take(PROOF_FILE_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| file(path, &error))?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > PROOF_FILE_BYTES_MAX {
        return Err(local(format!(
            "{} is larger than {PROOF_FILE_BYTES_MAX} bytes",
            path.display()
        )));
    }
    Ok(text)
}

fn parsed<T: serde::de::DeserializeOwned>(path: &Path, text: &str, next: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| {
        let what = format!(
            "{} does not have the form of a file of proofs or receipts",
            path.display()
        );
        Error::new(Code::AuditBroken, what)
            .because(error.to_string())
            .next(next)
    })
}

/// Keeps what the nodes signed for a read.
pub(crate) fn keep_receipt(to: &Path, roster: &Roster, path: &str, opened: &Opened) -> Result<(), Error> {
    let receipts: Vec<SignedReply> = opened.receipts.iter().filter_map(SignedReply::of).collect();
    for silent in &opened.receipts {
        if silent.audit_leaf.is_none() {
            say(&format!(
                "warning: node {} gave no receipt; its build may be older",
                silent.node
            ));
        }
    }
    if receipts.is_empty() {
        return Err(local("no node gave a receipt").next("update the nodes, and read again"));
    }
    let receipt_file = ReceiptFile {
        format: RECEIPT_FORMAT.to_owned(),
        genesis: hex::encode(roster.hash),
        path: path.to_owned(),
        version: opened.version,
        receipts,
    };
    write_json(to, &receipt_file)?;
    say(&format!("symbolon audit prove {} proves it", to.display()));
    Ok(())
}

fn read_receipts(path: &Path, settings: &Settings) -> Result<Vec<Wanted>, Error> {
    let next = "symbolon get PATH --receipt FILE, or NODE:ENTRY as errors and symbolon audit tail name it";
    let kept: ReceiptFile = parsed(path, &read(path)?, next)?;
    if kept.format != RECEIPT_FORMAT {
        return Err(local(format!("{} is no file of receipts", path.display())).next(next));
    }
    let pinned = hex::encode(endpoint(settings)?.genesis());
    if kept.genesis != pinned {
        return Err(
            Error::new(Code::WrongCluster, format!("{} is of another cluster", path.display()))
                .because(format!(
                    "its genesis is {}, that in use {pinned}",
                    crate::output::printable(&kept.genesis)
                ))
                .next("--context NAME, or --endpoint"),
        );
    }
    Ok(kept.receipts.into_iter().map(Wanted::Receipt).collect())
}

fn record(proven: &Proven) -> Record {
    let leaf = &proven.leaf;
    let nodes = |nodes: &[u16]| nodes.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    Record::new()
        .with("entry", format!("{}:{}", proven.node, proven.entry))
        .with("verdict", "proven")
        .with("time", time(leaf.local_time_ms))
        .with("who", leaf.principal_name.as_str())
        .with("action", leaf.action.as_str())
        .with("resource", leaf.resource.as_str())
        .with("decision", decision(leaf))
        .with("signed_reply", proven.receipted)
        .with("cosigned_by", nodes(&proven.cosigned.1))
        .with("cosigned_size", proven.cosigned.0)
        .with("anchored_by", nodes(&proven.anchored.1))
        .with("anchored_size", proven.anchored.0)
        .with("log_index", proven.log_index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_told_from_a_file() {
        let target = |text: &str| text.parse::<Target>().unwrap();
        assert_eq!(target("3:48213"), Target::Entry { node: 3, entry: 48_213 });
        for text in ["key.receipt", "3:", ":4", "3:x", "70000:1", "c:/receipt"] {
            assert_eq!(target(text), Target::File(text.into()), "{text}");
        }
    }
}
