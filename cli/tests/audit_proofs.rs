//! Receipts and proofs against real nodes, verified by this build and by `docs/verify_audit.py`, which was written from the
//! formats in `docs/specs/` alone. Needs `symbolon-node` and python3 with its package `cryptography` (scripts/setup).
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use symbolon_devcluster::limits::READY_WITHIN;
use symbolon_devcluster::{Cluster, Spec};

const POLICIES: &str = r#"@id("operators")
permit(principal in Group::"operators", action, resource);
@id("bots")
permit(principal in Group::"bots", action == Action::"read", resource in Folder::"prod");
"#;

/// A decision is anchored within so long of its making; what the design promises.
const ANCHORED_WITHIN: Duration = Duration::from_secs(10);

struct World {
    cluster: Cluster,
    folder: tempfile::TempDir,
}

impl World {
    /// A cluster with a secret, and two agents: `bot`, who may read it, and `other`, who may read nothing there.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut cluster = Cluster::create(folder.path().join("cluster"), Spec::default())
            .await
            .unwrap();
        cluster.start_all(READY_WITHIN).await.unwrap();
        let world = Self { cluster, folder };
        fs::write(world.path("all.cedar"), POLICIES).unwrap();
        fs::write(world.path("value"), "a value").unwrap();
        world.ok(&["policy", "apply", "all.cedar"]);
        for (agent, group) in [("bot", "bots"), ("other", "others")] {
            world.ok(&[
                "identity",
                "new",
                &format!("spiffe://acme/agent/{agent}"),
                "--out",
                agent,
            ]);
            let key = format!("{agent}.pub");
            let register = ["agent", "register", &key, "--group", group, "--owner", "ada"];
            world.ok(&[&register[..], &["--purpose", "test", "--expires", "1h"]].concat());
        }
        world.ok(&["put", "prod/key", "@value", "--wait", "full"]);
        // Some records on every node, so that every path has hashes.
        for node in ["1", "2", "3"].repeat(2) {
            let refused = world.run_as("other", &["audit", "tail", "--node", node]);
            assert_ne!(refused.status.code(), Some(0), "node {node} shows its log to everyone");
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run_as(&self, identity: &str, arguments: &[&str]) -> Output {
        let identity = match identity {
            "op-1" => self.cluster.paths().identity("op-1"),
            agent => self.path(agent),
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_symbolon"));
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        command
            .env("HOME", self.folder.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .env("SYMBOLON_ENDPOINT", self.cluster.endpoint())
            .env("SYMBOLON_IDENTITY", identity);
        command.stdin(Stdio::null()).output().unwrap()
    }

    fn ok_as(&self, identity: &str, arguments: &[&str]) -> String {
        let output = self.run_as(identity, arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn ok(&self, arguments: &[&str]) -> String {
        self.ok_as("op-1", arguments)
    }

    /// What `docs/verify_audit.py` says of a file.
    fn python(&self, name: &str) -> Output {
        let (_, genesis) = self.cluster.endpoint().split_once("?genesis=").unwrap();
        self.python_by(genesis, name)
    }

    /// The same, for whoever knows another genesis hash.
    fn python_by(&self, genesis: &str, name: &str) -> Output {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/verify_audit.py");
        let mut command = Command::new("python3");
        command.arg("-B").arg(script).arg(self.path(name)).arg(genesis);
        let output = command.output().unwrap();
        let missing = text(&output.stderr).contains("ModuleNotFoundError");
        assert!(!missing, "run scripts/setup: {}", text(&output.stderr));
        output
    }

    /// Both verifiers refuse the file, and say so.
    fn both_refuse(&self, what: &str, file: &Value) {
        fs::write(self.path("forged.proof"), file.to_string()).unwrap();
        let ours = self.run_as("bot", &["audit", "verify", "--proof", "forged.proof"]);
        assert_eq!(ours.status.code(), Some(9), "{what}: {}", text(&ours.stdout));
        let theirs = self.python("forged.proof");
        assert_eq!(theirs.status.code(), Some(1), "{what}: {}", text(&theirs.stdout));
        let why = text(&theirs.stderr);
        assert!(
            why.starts_with("refused: ") && !why.contains("Traceback"),
            "{what}: {why}"
        );
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The file with one of its proofs changed.
fn changed(file: &Value, change: impl FnOnce(&mut Value)) -> Value {
    let mut file = file.clone();
    change(&mut file["proofs"][0]);
    file
}

/// The hex text with the byte in its middle changed.
fn flipped(hex_text: &Value) -> Value {
    let mut bytes = hex::decode(hex_text.as_str().unwrap()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    Value::String(hex::encode(bytes))
}

/// The note with another size in its second line.
fn resized(note: &Value) -> Value {
    let mut lines: Vec<String> = note.as_str().unwrap().split('\n').map(str::to_owned).collect();
    let size: u64 = lines[1].parse().unwrap();
    lines[1] = (size + 1).to_string();
    Value::String(lines.join("\n"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_is_proven_to_anyone_and_every_forged_proof_is_refused_by_both_verifiers() {
    let world = World::new().await;
    let read = [
        "get",
        "prod/key",
        "--out",
        "copy",
        "--receipt",
        "key.receipt",
        "--purpose",
        "a test",
    ];
    world.ok_as("bot", &read);
    let begun = Instant::now();
    let table = world.ok_as(
        "bot",
        &["audit", "prove", "key.receipt", "--to", "key.proof", "-o", "jsonl"],
    );
    assert!(begun.elapsed() < ANCHORED_WITHIN, "{:?}", begun.elapsed());
    let records: Vec<Value> = table.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 2, "one for each of the t nodes: {table}");
    for record in &records {
        assert_eq!(record["verdict"], "proven");
        assert_eq!(record["signed_reply"], true);
        assert_eq!(
            (&record["action"], &record["resource"]),
            (&"read".into(), &"prod/key".into())
        );
        assert_eq!(record["decision"], "allowed");
        let own = record["entry"].as_str().unwrap().split(':').next().unwrap();
        let cosigners = record["cosigned_by"].as_str().unwrap();
        assert_eq!(cosigners.split(',').count(), 2, "t others: {cosigners}");
        assert!(
            !cosigners.contains(own),
            "a node does not cosign its own log: {cosigners}"
        );
    }

    world.ok_as("other", &["audit", "verify", "--proof", "key.proof"]);
    offline(&world);
    let genuine = world.python("key.proof");
    assert_eq!(genuine.status.code(), Some(0), "{}", text(&genuine.stderr));
    assert_eq!(
        text(&genuine.stdout).matches("as the node signed").count(),
        2,
        "{}",
        text(&genuine.stdout)
    );

    let file: Value = serde_json::from_slice(&fs::read(world.path("key.proof")).unwrap()).unwrap();
    every_forgery(&world, &file);
    others_see_nothing(&world, &file);
    a_refusal_is_proven(&world);
}

fn every_forgery(world: &World, file: &Value) {
    let refuse = |what: &str, change: &dyn Fn(&mut Value)| world.both_refuse(what, &changed(file, change));
    refuse("another leaf", &|proof| proof["leaf"] = flipped(&proof["leaf"]));
    refuse("another entry", &|proof| {
        proof["entry"] = (proof["entry"].as_u64().unwrap() + 1).into()
    });
    refuse("another node", &|proof| {
        proof["node"] = (proof["node"].as_u64().unwrap() % 3 + 1).into()
    });
    refuse("another path", &|proof| {
        proof["inclusion"][0] = flipped(&proof["inclusion"][0]);
    });
    refuse("a path cut short", &|proof| {
        proof["inclusion"].as_array_mut().unwrap().pop();
    });
    refuse("a longer path", &|proof| {
        let more = proof["leaf"].as_str().unwrap()[..64].to_owned();
        proof["inclusion"].as_array_mut().unwrap().push(more.into());
    });
    refuse("a proof of consistency for nothing", &|proof| {
        let more = proof["leaf"].as_str().unwrap()[..64].to_owned();
        proof["consistency"].as_array_mut().unwrap().push(more.into());
    });
    refuse("another size of the cosigned tree", &|proof| {
        proof["cosigned"] = resized(&proof["cosigned"])
    });
    refuse("another size of the anchored tree", &|proof| {
        proof["anchored"]["checkpoint"] = resized(&proof["anchored"]["checkpoint"]);
    });
    refuse("one cosigner too few", &|proof| {
        let note = proof["cosigned"].as_str().unwrap().trim_end();
        proof["cosigned"] = format!("{}\n", note.rsplit_once('\n').unwrap().0).into();
    });
    refuse("one cosigner twice", &|proof| {
        let note = proof["cosigned"].as_str().unwrap().trim_end();
        let (rest, _) = note.rsplit_once('\n').unwrap();
        let (_, line) = rest.rsplit_once('\n').unwrap();
        proof["cosigned"] = format!("{rest}\n{line}\n").into();
    });
    refuse("too few who say that it is anchored", &|proof| {
        proof["anchored"]["statements"].as_array_mut().unwrap().truncate(1);
    });
    refuse("one of them more than once", &|proof| {
        let statements = proof["anchored"]["statements"].as_array_mut().unwrap();
        let first = statements[0].clone();
        statements.iter_mut().for_each(|statement| *statement = first.clone());
    });
    refuse("another place in the replicated log", &|proof| {
        let index = proof["anchored"]["log_index"].as_u64().unwrap();
        proof["anchored"]["log_index"] = (index + 1).into();
    });
    refuse("boots that nobody vouches for", &|proof| {
        for boot in proof["boots"].as_array_mut().unwrap() {
            *boot = flipped(boot);
        }
    });
    refuse("no boots", &|proof| proof["boots"] = Value::Array(Vec::new()));
    refuse("another signed reply", &|proof| {
        proof["receipt"]["reply"] = flipped(&proof["receipt"]["reply"]);
    });
    refuse("a reply to another request", &|proof| {
        proof["receipt"]["request_hash"] = flipped(&proof["receipt"]["request_hash"]);
    });
    let receipt_of_the_other = file["proofs"][1]["receipt"].clone();
    refuse("the reply of another node", &|proof| {
        proof["receipt"] = receipt_of_the_other.clone()
    });

    the_receipt_of_another_read(world, file);
    let mut other_roster = file.clone();
    other_roster["roster"] = flipped(&file["roster"]);
    world.both_refuse("another roster", &other_roster);
    let other_genesis = "0".repeat(64);
    let endpoint = format!("symbolon://127.0.0.1:9?genesis={other_genesis}");
    let ours = world.run_as(
        "bot",
        &["--endpoint", &endpoint, "audit", "verify", "--proof", "key.proof"],
    );
    assert_eq!(ours.status.code(), Some(9), "{}", text(&ours.stdout));
    let theirs = world.python_by(&other_genesis, "key.proof");
    assert_eq!(theirs.status.code(), Some(1), "{}", text(&theirs.stdout));
    let mut nothing = file.clone();
    nothing["proofs"] = Value::Array(Vec::new());
    world.both_refuse("no proofs", &nothing);
}

/// Whoever has the file and the genesis hash, and neither cluster nor configuration.
fn offline(world: &World) {
    let (_, genesis) = world.cluster.endpoint().split_once("?genesis=").unwrap();
    let verify = |file: &str, genesis: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_symbolon"));
        command.args(["audit", "verify", "--proof", file]).args(genesis);
        let command = command.current_dir(world.folder.path()).env_clear();
        command.env("HOME", "/nowhere").output().unwrap()
    };
    let genuine = verify("key.proof", &["--genesis", genesis]);
    assert_eq!(genuine.status.code(), Some(0), "{}", text(&genuine.stderr));
    let other = verify("key.proof", &["--genesis", &"0".repeat(64)]);
    assert_eq!(other.status.code(), Some(9), "{}", text(&other.stderr));
    let unpinned = verify("key.proof", &[]);
    assert!(
        text(&unpinned.stderr).contains("--genesis HASH"),
        "{}",
        text(&unpinned.stderr)
    );
    let receipt = verify("key.receipt", &["--genesis", genesis]);
    assert!(
        text(&receipt.stderr).contains("symbolon audit prove key.receipt --to FILE"),
        "{}",
        text(&receipt.stderr)
    );
}

/// Properly signed by the same node, but for another of its entries. Any two reads share a node.
fn the_receipt_of_another_read(world: &World, file: &Value) {
    world.ok_as(
        "bot",
        &["get", "prod/key", "--out", "again", "--receipt", "again.receipt"],
    );
    let again: Value = serde_json::from_slice(&fs::read(world.path("again.receipt")).unwrap()).unwrap();
    let mut forged = file.clone();
    let mut swapped = 0;
    for proof in forged["proofs"].as_array_mut().unwrap() {
        let receipts = again["receipts"].as_array().unwrap();
        if let Some(other) = receipts.iter().find(|other| other["node"] == proof["node"]) {
            proof["receipt"] = other.clone();
            proof["receipt"]["entry"] = proof["entry"].clone();
            swapped += 1;
        }
    }
    assert!(swapped > 0);
    world.both_refuse("the receipt of another read", &forged);
}

/// A decision is shown to whoever asked for it, and to whoever may read the log.
fn others_see_nothing(world: &World, file: &Value) {
    let entry = format!("{}:{}", file["proofs"][0]["node"], file["proofs"][0]["entry"]);
    let refused = world.run_as("other", &["audit", "prove", &entry]);
    assert_eq!(refused.status.code(), Some(4), "{}", text(&refused.stderr));
    world.ok(&["audit", "prove", &entry]);
    let beyond = world.run_as("op-1", &["audit", "prove", "1:1000000"]);
    assert_eq!(beyond.status.code(), Some(7), "{}", text(&beyond.stderr));
    // A receipt that was tampered with blames nobody.
    let mut receipt: Value = serde_json::from_slice(&fs::read(world.path("key.receipt")).unwrap()).unwrap();
    for reply in receipt["receipts"].as_array_mut().unwrap() {
        reply["entry"] = 1_000_000.into();
        reply["reply"] = flipped(&reply["reply"]);
    }
    fs::write(world.path("forged.receipt"), receipt.to_string()).unwrap();
    let forged = world.run_as("op-1", &["audit", "prove", "forged.receipt"]);
    assert_eq!(forged.status.code(), Some(9), "{}", text(&forged.stderr));
    let told = text(&forged.stderr);
    assert!(
        told.contains("the receipt cannot be believed") && !told.contains("dropped"),
        "{told}"
    );
}

fn a_refusal_is_proven(world: &World) {
    let denied = world.run_as("other", &["get", "prod/key", "--out", "nothing"]);
    assert_eq!(denied.status.code(), Some(4), "{}", text(&denied.stderr));
    let told = text(&denied.stderr);
    let proof = told
        .lines()
        .find_map(|line| line.trim().strip_prefix("proof    symbolon audit prove "));
    let entry = proof.unwrap_or_else(|| panic!("no proof is named: {told}"));
    let proven = world.ok_as(
        "other",
        &["audit", "prove", entry, "--to", "refusal.proof", "-o", "jsonl"],
    );
    assert!(proven.contains("\"decision\":\"refused SY0403\""), "{proven}");
    let theirs = world.python("refusal.proof");
    assert_eq!(theirs.status.code(), Some(0), "{}", text(&theirs.stderr));
}
