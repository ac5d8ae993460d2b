//! An audit log in a directory, to be verified anywhere, offline, from the pinned genesis hash alone:
//!
//! | file | content |
//! |---|---|
//! | `genesis.roster` | the signed genesis roster |
//! | `boots` | the node's boot statements, each as u32be(length) ‖ protobuf |
//! | `checkpoint` | the signed note that covers the leaves |
//! | `leaves` | the leaves, each as u32be(length) ‖ protobuf; length 0 for one that is in an archive which the node did not have |
//! | `hashes` | the leaves' RFC 9162 hashes, 32 bytes each: they lead to the same root, so a changed leaf can be named |

use super::{Audited, Defect, Verifier, walk};
use crate::client::Client;
use crate::error::Error;
use crate::hello::Boot;
use crate::limits::EXPORT_BYTES_MAX;
use bytes::Bytes;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::Path;
use symbolon_crypto::Hash;
use symbolon_crypto::limits::NOTE_BYTES_MAX;
use symbolon_crypto::merkle::Frontier;
use symbolon_crypto::provider::AwsLc;
use symbolon_wire::audit::LEAF_BYTES_MAX;
use symbolon_wire::framed::{read_array, read_framed, write_framed};
use symbolon_wire::limits::ROSTER_BYTES_MAX;
use symbolon_wire::roster::Roster;
use symbolon_wire::{Code, Message, v1};

const ROSTER: &str = "genesis.roster";
const BOOTS: &str = "boots";
const CHECKPOINT: &str = "checkpoint";
const LEAVES: &str = "leaves";
const HASHES: &str = "hashes";

/// Longest boot statement, bytes.
const BOOT_BYTES_MAX: usize = 1024;

/// Most boots that are looked at: one a minute for two years.
const BOOTS_MAX: usize = 1 << 20;

fn failed(path: &Path, error: &io::Error) -> Error {
    Error::new(Code::Local, format!("{}: {error}", path.display()))
}

/// A file of an export that cannot be read: what lacks a part of itself proves nothing.
fn broken(path: &Path, error: &io::Error) -> Error {
    let what = match error.kind() {
        ErrorKind::NotFound => "is missing",
        ErrorKind::UnexpectedEof => "is cut short",
        ErrorKind::InvalidData => "is damaged",
        _ => return failed(path, error),
    };
    Error::new(
        Code::AuditBroken,
        format!("this is no whole export: {} {what}", path.display()),
    )
    .next("symbolon audit export --node N --to NEW-FOLDER, or take it from whoever made it")
}

/// Fetches, verifies and writes the log of `node` into `dir`, which must not exist yet.
///
/// # Errors
/// As [`super::verify`]; [`Code::Local`] naming the file. What was written until then stays, for inspection.
pub async fn export(client: &Client, node: u16, dir: &Path) -> Result<Audited, Error> {
    fs::create_dir(dir).map_err(|error| failed(dir, &error))?;
    let create = |name: &str| {
        let path = dir.join(name);
        File::create_new(&path)
            .map(BufWriter::new)
            .map_err(|error| failed(&path, &error))
    };
    let (mut leaves, mut hashes) = (create(LEAVES)?, create(HASHES)?);
    let walked = walk(client, node, |leaf, hash| {
        write_framed(&mut leaves, leaf.map_or(&[], |leaf| leaf)).map_err(|error| failed(&dir.join(LEAVES), &error))?;
        hashes
            .write_all(hash)
            .map_err(|error| failed(&dir.join(HASHES), &error))
    })
    .await?;
    let mut boots = create(BOOTS)?;
    for statement in &walked.first.statements {
        write_framed(&mut boots, &statement.encode_to_vec()).map_err(|error| failed(&dir.join(BOOTS), &error))?;
    }
    for (name, file) in [(LEAVES, leaves), (HASHES, hashes), (BOOTS, boots)] {
        let synced = file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all());
        synced.map_err(|error| failed(&dir.join(name), &error))?;
    }
    for (name, bytes) in [
        (CHECKPOINT, &walked.first.checkpoint),
        (ROSTER, &client.roster().encoded),
    ] {
        fs::write(dir.join(name), bytes).map_err(|error| failed(&dir.join(name), &error))?;
    }
    Ok(walked.audited)
}

/// Verifies an exported log, trusting nothing but the hash of the genesis roster.
///
/// # Errors
/// [`Code::AuditBroken`] with the first bad entry where it can be told; [`Code::NotTheNode`] if roster or boot
/// statements do not verify; [`Code::Local`] naming what cannot be read.
pub fn verify_dir(dir: &Path, pinned: &Hash) -> Result<Audited, Error> {
    let found = dir.read_dir().map_err(|error| failed(dir, &error))?;
    if found.count() == 0 {
        return Err(Error::new(Code::Local, format!("{} is empty", dir.display()))
            .next("give the folder that symbolon audit export wrote"));
    }
    let roster = read_whole(&dir.join(ROSTER), ROSTER_BYTES_MAX)?;
    let roster = Roster::genesis(roster, Some(pinned), &AwsLc)
        .map_err(|bad| Error::new(Code::NotTheNode, format!("{ROSTER}: {bad}")))?;
    let (node, boots) = read_boots(&dir.join(BOOTS), &roster)?;
    let mut verifier = Verifier::new(roster.cluster, node);
    verifier.vouch(&boots);
    let told = |defect: Defect| defect.told(node);
    let note = read_whole(&dir.join(CHECKPOINT), NOTE_BYTES_MAX)?;
    let checkpoint = verifier.checkpoint(&note).map_err(told)?;

    let path = dir.join(HASHES);
    let mut frontier = Frontier::new();
    let mut hashes = open(&path)?;
    while let Some(hash) = read_array::<32>(&mut hashes).map_err(|error| broken(&path, &error))? {
        frontier.append(hash, |_, _, _| {});
    }
    // Hashes that lead to the signed root are those of the true leaves; others say nothing.
    let true_hashes = frontier.size() == checkpoint.size() && frontier.root() == *checkpoint.root();
    let mut hashes = open(&path)?;

    let path = dir.join(LEAVES);
    let mut leaves = open(&path)?;
    while let Some(leaf) = read_framed(&mut leaves, LEAF_BYTES_MAX).map_err(|error| broken(&path, &error))? {
        let index = verifier.size();
        if index >= checkpoint.size() {
            return Err(told(Defect::Changed { index }));
        }
        let expected = read_array::<32>(&mut hashes).map_err(|error| broken(&dir.join(HASHES), &error))?;
        if let (true, Some(hash)) = (leaf.is_empty(), expected) {
            verifier.push_hash(hash);
            continue;
        }
        let pushed = verifier.push(leaf);
        let changed = matches!(&pushed, Ok(hash) if expected != Some(*hash));
        if true_hashes && (changed || pushed.is_err()) {
            return Err(told(Defect::Changed { index }));
        }
        pushed.map_err(told)?;
    }
    let audited = verifier.finish(&checkpoint).map_err(told)?;
    if true_hashes {
        return Ok(audited);
    }
    Err(Error::new(
        Code::AuditBroken,
        format!("{HASHES} was changed: the leaves are whole, and these are not their hashes"),
    )
    .next("export the log again: symbolon audit export"))
}

/// The boot statements, all of one node, verified.
fn read_boots(path: &Path, roster: &Roster) -> Result<(u16, Vec<Boot>), Error> {
    let refused = |why: String| Error::new(Code::NotTheNode, format!("{BOOTS}: {why}"));
    let mut file = open(path)?;
    let (mut node, mut boots) = (None, Vec::new());
    while let Some(bytes) = read_framed(&mut file, BOOT_BYTES_MAX).map_err(|error| broken(path, &error))? {
        let statement = v1::BootKeys::decode(bytes).map_err(|_| refused("a statement does not parse".to_owned()))?;
        let index =
            u16::try_from(statement.node).map_err(|_| refused(format!("there is no node {}", statement.node)))?;
        let of = *node.get_or_insert(index);
        boots.push(Boot::verify(roster, of, &statement).map_err(|bad| refused(bad.to_string()))?);
        if boots.len() > BOOTS_MAX {
            return Err(refused(format!("more than {BOOTS_MAX} statements")));
        }
    }
    node.map(|node| (node, boots))
        .ok_or_else(|| refused("there is no statement".to_owned()))
}

fn open(path: &Path) -> Result<BufReader<File>, Error> {
    let file = File::open(path).map_err(|error| broken(path, &error))?;
    let bytes = file.metadata().map_err(|error| failed(path, &error))?.len();
    if bytes > EXPORT_BYTES_MAX {
        let what = format!(
            "{} has {bytes} bytes; at most {EXPORT_BYTES_MAX} are read",
            path.display()
        );
        return Err(Error::new(Code::TooLarge, what));
    }
    Ok(BufReader::new(file))
}

fn read_whole(path: &Path, most: usize) -> Result<Bytes, Error> {
    let file = File::open(path).map_err(|error| broken(path, &error))?;
    let mut bytes = Vec::new();
    file.take(most as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(path, &error))?;
    if bytes.len() > most {
        return Err(Error::new(
            Code::TooLarge,
            format!("{} has more than {most} bytes", path.display()),
        ));
    }
    Ok(bytes.into())
}
