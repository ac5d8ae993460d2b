//! Files that others hand over: an exported audit log, an identity.

use arbitrary::{Arbitrary, Unstructured};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::LazyLock;
use symbolon_client::audit::{Audited, verify_dir};
use symbolon_client::{Identity, Overwrite};
use symbolon_crypto::Hash;
use symbolon_crypto::checkpoint::Checkpoint;
use symbolon_crypto::merkle::{Tree, leaf_hash};
use symbolon_wire::framed::write_framed;
use symbolon_wire::{Message, audit, v1};
use tempfile::TempDir;

use crate::stage::{PATH, rng, world};

/// The node whose log it is: its place in the roster, and its number.
const NODE: (usize, u16) = (1, 2);
/// Entries of each of its two boots.
const ENTRIES: u8 = 3;
/// Edits of one export.
const EDITS: usize = 8;
/// What an export consists of.
const NAMES: [&str; 5] = ["genesis.roster", "boots", "checkpoint", "leaves", "hashes"];

/// The only log that its node ever signed.
struct Export {
    pinned: Hash,
    files: [Vec<u8>; 5],
    size: u64,
    root: Hash,
}

static HONEST: LazyLock<Export> = LazyLock::new(Export::new);

impl Export {
    fn new() -> Self {
        let (mut world, ..) = world();
        let (position, node) = NODE;
        let (mut boots, mut leaves, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
        let mut tree = Tree::new();
        let piece = |to: &mut Vec<u8>, bytes: &[u8]| write_framed(to, bytes).expect("memory takes all");
        for _ in 0..2 {
            world.nodes.get_mut(position).expect("three nodes").boots += 1;
            let statement = world.boot_statement(position);
            piece(&mut boots, &statement.encode_to_vec());
            for number in 0..ENTRIES {
                let leaf = audit::encode(&v1::AuditLeaf {
                    salt: vec![number; 16].into(),
                    node: node.into(),
                    boot_counter: statement.boot_counter,
                    action: "read".to_owned(),
                    resource: PATH.to_owned(),
                    ..v1::AuditLeaf::default()
                });
                let hash = leaf_hash(&leaf);
                tree.append(hash);
                piece(&mut leaves, &leaf);
                hashes.extend(hash);
            }
        }
        let origin = audit::origin(world.roster.cluster, node);
        let checkpoint = Checkpoint::new(&origin, tree.size(), tree.root()).expect("a log's checkpoint");
        let key = world.nodes.get(position).and_then(|node| node.checkpoint.as_ref());
        let note = checkpoint.sign(key.expect("it booted")).into_bytes();
        Self {
            pinned: world.roster.hash,
            size: tree.size(),
            root: tree.root(),
            files: [world.roster.encoded.to_vec(), boots, note, leaves, hashes],
        }
    }
}

#[derive(Arbitrary, Debug)]
enum Edit {
    Flip {
        at: u16,
        bit: u8,
    },
    Cut {
        at: u16,
        bytes: u16,
    },
    Insert {
        at: u16,
        bytes: Vec<u8>,
    },
    /// Bytes of the file as it was, once more.
    Again {
        from: u16,
        bytes: u16,
        at: u16,
    },
    Replace {
        all: Vec<u8>,
    },
}

impl Edit {
    fn make(&self, file: &mut Vec<u8>, honest: &[u8]) {
        let place = |at: u16, length: usize| usize::from(at) % (length + 1);
        match self {
            Self::Flip { at, bit } => {
                let at = place(*at, file.len());
                if let Some(byte) = file.get_mut(at) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            Self::Cut { at, bytes } => {
                let at = place(*at, file.len());
                let end = at + place(*bytes, file.len() - at);
                file.drain(at..end);
            }
            Self::Insert { at, bytes } => {
                let at = place(*at, file.len());
                file.splice(at..at, bytes.iter().copied());
            }
            Self::Again { from, bytes, at } => {
                let from = place(*from, honest.len());
                let again = honest.get(from..).unwrap_or_default();
                let again = again.get(..place(*bytes, again.len())).unwrap_or_default();
                let at = place(*at, file.len());
                file.splice(at..at, again.iter().copied());
            }
            Self::Replace { all } => file.clone_from(all),
        }
    }
}

/// An export of an audit log that somebody changed. Signatures are checked: what verifies is the log that was signed.
pub(crate) fn export(data: &[u8]) {
    let Ok(edits) = Vec::<(u8, Edit)>::arbitrary(&mut Unstructured::new(data)) else {
        return;
    };
    let honest = &*HONEST;
    let mut files = honest.files.clone();
    for (which, edit) in edits.iter().take(EDITS) {
        let which = usize::from(*which) % NAMES.len();
        if let (Some(file), Some(original)) = (files.get_mut(which), honest.files.get(which)) {
            edit.make(file, original);
        }
    }
    let folder = TempDir::new().expect("a folder");
    for (name, bytes) in NAMES.iter().zip(&files) {
        write(&folder.path().join(name), bytes);
    }
    match verify_dir(folder.path(), &honest.pinned) {
        Ok(Audited { node, size, root, .. }) => {
            assert_eq!((node, size, root), (NODE.1, honest.size, honest.root), "another log");
        }
        Err(why) => assert!(files != honest.files, "what nobody changed was refused: {why}"),
    }
}

/// An identity file: what is taken is written so that it is taken again as the same.
pub(crate) fn identity(data: &[u8]) {
    let folder = TempDir::new().expect("a folder");
    let [given, saved] = ["given", "saved"].map(|name| folder.path().join(name));
    write(&given, data);
    let Ok(first) = Identity::load(&given) else { return };
    first
        .save(&saved, Overwrite::Never)
        .expect("what is read can be written");
    let second = Identity::load(&saved).expect("what is written can be read");
    assert_eq!(
        (second.principal(), second.name(), second.spki()),
        (first.principal(), first.name(), first.spki()),
        "an identity survives its file"
    );
}

/// The file of a new identity.
pub(crate) fn identity_seed() -> Vec<u8> {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("saved");
    let identity = Identity::generate("spiffe://acme/billing-bot", &mut rng(10)).expect("a name");
    identity
        .save(&file, Overwrite::Never)
        .expect("a file of a folder of our own");
    std::fs::read(&file).expect("it was written")
}

fn write(path: &Path, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(bytes));
    written.expect("a file of a folder of our own");
}
