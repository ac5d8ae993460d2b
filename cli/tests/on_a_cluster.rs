//! The command against real nodes. Needs `symbolon-node`: `cargo build -p symbolon-node`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use symbolon_devcluster::limits::READY_WITHIN;
use symbolon_devcluster::{Cluster, Spec};

const POLICIES: &str = r#"@id("operators")
permit(principal in Group::"operators", action, resource);
@id("bots")
permit(principal in Group::"bots", action == Action::"read", resource in Folder::"prod");
"#;

/// A cluster of two operators, both of whom must sign; and a user's folder.
struct World {
    cluster: Cluster,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let spec = Spec {
            operators: 2,
            signatures_needed: 2,
            ..Spec::default()
        };
        let mut cluster = Cluster::create(folder.path().join("cluster"), spec).await.unwrap();
        cluster.start_all(READY_WITHIN).await.unwrap();
        fs::create_dir(folder.path().join("policies")).unwrap();
        fs::write(folder.path().join("policies/all.cedar"), POLICIES).unwrap();
        Self { cluster, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, identity: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_symbolon"));
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        command
            .env("HOME", self.folder.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .env("SYMBOLON_ENDPOINT", self.cluster.endpoint())
            .env("SYMBOLON_IDENTITY", identity);
        command.stdin(Stdio::null());
        command
    }

    /// As the first operator.
    fn run(&self, arguments: &[&str]) -> Output {
        self.command(&self.cluster.paths().identity("op-1"), arguments)
            .output()
            .unwrap()
    }

    fn run_as(&self, identity: &str, arguments: &[&str]) -> Output {
        self.command(&self.path(identity), arguments).output().unwrap()
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn put(&self, path: &str, value: &[u8]) {
        let mut command = self.command(&self.cluster.paths().identity("op-1"), &["put", path, "-"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(value).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }

    /// Saves a change, has the second operator sign it, submits it.
    fn both_sign(&self, arguments: &[&str]) {
        let alone = self.run(arguments);
        assert_eq!(
            alone.status.code(),
            Some(4),
            "one signature must not be enough: {}",
            text(&alone.stderr)
        );
        let mut saving = arguments.to_vec();
        saving.extend(["--save", "change.command"]);
        self.ok(&saving);
        let early = self.run(&["command", "submit", "change.command"]);
        assert_eq!(early.status.code(), Some(4), "{}", text(&early.stderr));
        // A command that was refused is spent with its nonce: the change is made anew.
        let kept = self.run(&saving);
        assert_eq!(kept.status.code(), Some(1), "a file with signatures is not replaced");
        assert!(text(&kept.stderr).contains("--force"), "{}", text(&kept.stderr));
        saving.push("--force");
        self.ok(&saving);
        let second = self.cluster.paths().identity("op-2");
        let sign = |also: &[&str]| {
            let arguments = [&["command", "sign", "change.command"], also].concat();
            self.command(&second, &arguments).output().unwrap()
        };
        let before = fs::read(self.path("change.command")).unwrap();
        for unseen in [&[][..], &["--body-hash", &"00".repeat(32)]] {
            let refused = sign(unseen);
            assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
            assert!(
                text(&refused.stderr).contains("nothing was signed"),
                "{}",
                text(&refused.stderr)
            );
        }
        assert_eq!(fs::read(self.path("change.command")).unwrap(), before);
        let hash = self.ok(&["command", "show", "change.command", "--field", "body_hash"]);
        let signed = sign(&["--body-hash", hash.trim()]);
        assert_eq!(signed.status.code(), Some(0), "{}", text(&signed.stderr));
        self.ok(&["command", "submit", "change.command"]);
        // The same bytes count once; made anew, they would now be a conflict or exist already.
        let again = self.ok(&["command", "submit", "change.command", "-o", "jsonl"]);
        assert!(
            again.contains("\"kind\":") && again.contains("\"repeated\":true"),
            "{again}"
        );
        fs::remove_file(self.path("change.command")).unwrap();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_user_does_in_a_day_works_and_gives_the_exit_codes_that_are_promised() {
    let mut world = World::new().await;

    let denied = world.run(&["get", "prod/db/password"]);
    assert_eq!(
        denied.status.code(),
        Some(4),
        "the empty policy set denies all: {}",
        text(&denied.stderr)
    );
    assert!(
        text(&denied.stderr).starts_with("error[SY0403]: "),
        "{}",
        text(&denied.stderr)
    );

    world.both_sign(&["policy", "apply", "policies"]);
    assert_eq!(
        world.ok(&["policy", "show", "--field", "place"]),
        "policies/all.cedar:1\npolicies/all.cedar:3\n"
    );
    world.ok(&["identity", "new", "spiffe://acme/agent/bot", "--out", "bot"]);
    let unknown = world.run_as("bot", &["get", "prod/db/password"]);
    assert_eq!(unknown.status.code(), Some(3), "{}", text(&unknown.stderr));
    assert!(
        text(&unknown.stderr).contains("symbolon agent register"),
        "{}",
        text(&unknown.stderr)
    );
    stands_in_no_roster(&world);
    let register = [
        "agent",
        "register",
        "bot.pub",
        "--group",
        "bots",
        "--owner",
        "ada",
        "--purpose",
        "test",
        "--expires",
        "1h",
    ];
    world.both_sign(&register);

    secrets(&world);
    batches(&world);
    another_address(&world);
    metadata(&world);
    watching(&world);
    child_processes(&world);
    audit_logs(&world);
    new_keys(&world);

    assert_eq!(world.ok(&["status", "--field", "state"]), "serving\nserving\nserving\n");
    for node in [1, 2] {
        world.cluster.kill(node).unwrap();
    }
    without_a_quorum(&world);
    world.cluster.kill(3).unwrap();
    without_any_node(&world);
}

/// Keys that change nothing, or that their holder could not act with, are refused; the others serve in place of the old ones.
fn new_keys(world: &World) {
    let name = "spiffe://acme/agent/bot";
    let present = world.run(&["agent", "rekey", name, "bot.pub"]);
    assert_eq!(present.status.code(), Some(2), "{}", text(&present.stderr));
    assert!(
        text(&present.stderr).contains("has these keys already"),
        "{}",
        text(&present.stderr)
    );
    world.ok(&["identity", "new", name, "--out", "stranger"]);
    let stranger = world.run(&["agent", "rekey", name, "stranger.pub"]);
    assert_eq!(stranger.status.code(), Some(2), "{}", text(&stranger.stderr));
    assert!(
        text(&stranger.stderr).contains("was made for principal"),
        "{}",
        text(&stranger.stderr)
    );

    let id = world.ok(&["identity", "show", "--identity", "bot", "--field", "principal"]);
    world.ok(&["identity", "new", name, "--principal", id.trim(), "--out", "bot-2"]);
    world.both_sign(&["agent", "rekey", name, "bot-2.pub"]);
    let get = ["get", "prod/db/password", "--reveal"];
    let new = world.run_as("bot-2", &get);
    assert_eq!(new.status.code(), Some(0), "{}", text(&new.stderr));
    assert_eq!(
        world.run_as("bot", &get).status.code(),
        Some(3),
        "the old key is refused"
    );
    let put = world.run_as("bot-2", &["put", "prod/db/password", "@bot.pub"]);
    assert!(
        text(&put.stderr).contains("may not write"),
        "its id is the registered one: {}",
        text(&put.stderr)
    );
}

fn without_a_quorum(world: &World) {
    fs::write(world.path("value"), "value").unwrap();
    let verbs: [(&[&str], &[i32]); 7] = [
        (&["audit", "verify"], &[6]),
        (&["get", "prod/db/password"], &[6]),
        (&["status"], &[6]),
        (&["list", "prod"], &[6]),
        // Unless the last entry came without word that it is committed: it may be that whoever asks has lost the right.
        (&["audit", "tail"], &[0, 6]),
        // It may have been proposed, or nobody was found who could.
        (&["put", "prod/db/late", "@value"], &[6, 11]),
        (&["delete", "prod/db/password", "--versions", "2"], &[6, 11]),
    ];
    for (verb, codes) in verbs {
        let since = Instant::now();
        let output = world.run(&[&["--timeout", "5s"], verb].concat());
        let (took, code) = (since.elapsed(), output.status.code().unwrap());
        let told = text(&output.stderr);
        assert!(codes.contains(&code), "{verb:?}: {code}: {told}");
        let tails = verb == ["audit", "tail"];
        assert!(!tails || code == 0 || told.contains("error[SY0504]"), "{told}");
        // Without the deadline some take 30 s; a busy machine takes seconds to start a process.
        assert!(took < Duration::from_secs(15), "{verb:?} took {took:?} of 5 s");
    }
    let doctor = text(&world.run(&["--timeout", "3s", "doctor"]).stdout);
    assert!(
        doctor.contains("log time stands still without a quorum") && !doctor.contains("NTP"),
        "{doctor}"
    );
}

fn without_any_node(world: &World) {
    let since = Instant::now();
    let output = world.run(&["--timeout", "2s", "get", "prod/db/password"]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{told}");
    assert!(told.starts_with("error[SY0521]: no node can be reached"), "{told}");
    assert_eq!(
        told.matches("does not answer").count(),
        3,
        "each address with its cause: {told}"
    );
    assert!(told.contains("symbolon doctor"), "{told}");
    // Unless told otherwise it asks for 10 s; a busy machine takes seconds to start a process.
    assert!(since.elapsed() < Duration::from_secs(6), "{:?} of 2 s", since.elapsed());
}

/// The signature of somebody else would not count, so that it is not made.
fn stands_in_no_roster(world: &World) {
    world.ok(&["policy", "apply", "policies", "--save", "theirs.command"]);
    let before = fs::read(world.path("theirs.command")).unwrap();
    let refused = world.run_as("bot", &["command", "sign", "theirs.command"]);
    assert_eq!(refused.status.code(), Some(4), "{}", text(&refused.stderr));
    assert_eq!(fs::read(world.path("theirs.command")).unwrap(), before);
}

/// Hosts that are named are tried, even when the cluster is known already.
fn another_address(world: &World) {
    let (_, genesis) = world.cluster.endpoint().split_once('?').unwrap();
    let endpoint = format!("symbolon://127.0.0.1:9?{genesis}");
    let wrong = world.run(&["--endpoint", &endpoint, "--timeout", "2s", "list"]);
    assert_eq!(wrong.status.code(), Some(6), "{}", text(&wrong.stderr));
    assert!(text(&wrong.stderr).contains("127.0.0.1:9"), "{}", text(&wrong.stderr));
}

fn secrets(world: &World) {
    world.put("prod/db/password", b"correct horse battery staple");
    let read = world.run_as("bot", &["get", "prod/db/password", "--purpose", "test"]);
    assert_eq!(
        (read.status.code(), text(&read.stdout).as_str()),
        (Some(0), "correct horse battery staple")
    );
    assert_eq!(
        world.run_as("bot", &["history", "prod/db/password"]).status.code(),
        Some(4)
    );
    assert_eq!(
        world.ok(&["list", "prod", "-o", "jsonl"]),
        "{\"name\":\"db\",\"kind\":\"folder\"}\n"
    );

    fs::write(world.path("new"), "second").unwrap();
    let conflict = world.run(&["put", "prod/db/password", "@new", "--cas", "7"]);
    assert_eq!(conflict.status.code(), Some(8), "{}", text(&conflict.stderr));
    let next = "next     symbolon history prod/db/password";
    assert!(text(&conflict.stderr).contains(next), "{}", text(&conflict.stderr));
    let absent = world.run(&["get", "prod/db/nothing"]);
    assert_eq!(absent.status.code(), Some(7), "{}", text(&absent.stderr));
    let next = "next     symbolon list prod/db ";
    assert!(text(&absent.stderr).contains(next), "{}", text(&absent.stderr));
    assert_eq!(
        world
            .ok(&["history", "prod/db/password", "-o", "jsonl"])
            .matches("\"expires\":null")
            .count(),
        1
    );
    assert_eq!(
        world.ok(&["put", "prod/db/password", "@new", "--cas", "1", "--field", "version"]),
        "2\n"
    );
    world.ok(&["delete", "prod/db/password", "--versions", "1"]);
    assert_eq!(
        world.ok(&["history", "prod/db/password", "--field", "state"]),
        "hidden\nlive\n"
    );
    assert_eq!(
        world.run(&["get", "prod/db/password", "--version", "1"]).status.code(),
        Some(7)
    );
    world.ok(&["undelete", "prod/db/password", "--versions", "1"]);
    world.ok(&["get", "prod/db/password", "--version", "1", "--out", "again"]);
    let unasked = world.run(&["destroy", "prod/db/password", "--versions", "1"]);
    assert_eq!(unasked.status.code(), Some(2), "who cannot be asked must say --yes");
    world.ok(&["destroy", "prod/db/password", "--versions", "1", "--yes"]);
    assert_eq!(
        world.ok(&["history", "prod/db/password", "--field", "state"]),
        "destroyed\nlive\n"
    );
    let gone = world.run(&["undelete", "prod/db/password", "--versions", "1"]);
    assert_eq!(gone.status.code(), Some(7), "{}", text(&gone.stderr));
    assert_eq!(
        world.ok(&["get", "prod/db/password", "-o", "json", "--field", "value"]),
        "second\n"
    );
    world.ok(&["get", "prod/db/password", "--out", "kept"]);
    assert_eq!(fs::read(world.path("kept")).unwrap(), b"second");
    assert_eq!(
        world.run(&["get", "prod/db/password", "--out", "kept"]).status.code(),
        Some(1),
        "never overwritten"
    );
}

/// What several reads print, a batch of writes takes.
fn batches(world: &World) {
    world.put("prod/batch/text", "text \u{20ac}\n".as_bytes());
    world.put("prod/batch/bytes", &[0, 255, 7]);
    let both = ["get", "prod/batch/text", "prod/batch/bytes"];
    let for_people = world.run(&both);
    assert_eq!(for_people.status.code(), Some(2), "{}", text(&for_people.stderr));
    assert!(for_people.stdout.is_empty() && text(&for_people.stderr).contains("-o json"));
    for format in ["json", "jsonl"] {
        let read = world.ok(&[&both[..], &["-o", format]].concat());
        fs::write(world.path("batch"), read).unwrap();
        world.ok(&["put", "--batch", "batch"]);
    }
    let read = world.run(&["get", "prod/batch/bytes"]);
    assert_eq!(read.stdout, [0, 255, 7]);
    assert_eq!(
        world.ok(&["history", "prod/batch/text", "--field", "version"]),
        "1\n2\n3\n"
    );

    let lines =
        "{\"path\":\"prod/batch/new\",\"value\":\"x\"}\n{\"path\":\"prod/batch/text\",\"value\":\"x\",\"cas\":9}\n";
    fs::write(world.path("batch"), lines).unwrap();
    let partly = world.run(&["put", "--batch", "batch", "-o", "jsonl"]);
    assert_eq!(partly.status.code(), Some(8), "{}", text(&partly.stderr));
    assert!(
        text(&partly.stderr).contains("1 of 2 failed, prod/batch/text first"),
        "{}",
        text(&partly.stderr)
    );
    assert!(text(&partly.stdout).starts_with("{\"path\":\"prod/batch/new\",\"version\":1,"));
    let none = world.run(&["get", "prod/batch/new", "prod/batch/none", "-o", "json"]);
    assert_eq!((none.status.code(), none.stdout.len()), (Some(7), 0), "all or none");
}

fn metadata(world: &World) {
    world.ok(&["metadata", "set", "prod/db/password", "owner=billing", "rotate=2027-01"]);
    let set = world.ok(&[
        "metadata",
        "set",
        "prod/db/password",
        "--remove",
        "rotate",
        "--cas",
        "1",
        "--field",
        "metadata_version",
    ]);
    assert_eq!(set, "2\n");
    let stale = world.run(&["metadata", "set", "prod/db/password", "owner=mallory", "--cas", "1"]);
    assert_eq!(stale.status.code(), Some(8), "{}", text(&stale.stderr));
    assert!(
        text(&stale.stderr).contains("symbolon metadata get prod/db/password"),
        "{}",
        text(&stale.stderr)
    );
    world.ok(&[
        "metadata",
        "set",
        "prod/db/password",
        "--cas-required",
        "true",
        "--max-versions",
        "2",
    ]);
    assert_eq!(
        world.ok(&["metadata", "get", "prod/db/password", "-o", "jsonl"]),
        "{\"path\":\"prod/db/password\",\"metadata_version\":3,\"max_versions\":2,\"cas_required\":true,\"entries\":{\"owner\":\"billing\"}}\n"
    );
    let blind = world.run(&["put", "prod/db/password", "@new"]);
    assert_eq!(blind.status.code(), Some(2), "{}", text(&blind.stderr));
    assert!(text(&blind.stderr).contains("--cas 2"), "{}", text(&blind.stderr));
    world.ok(&["put", "prod/db/password", "@new", "--cas", "2"]);
    let history = world.ok(&["history", "prod/db/password", "-o", "jsonl"]);
    assert_eq!(history.matches("\"state\":\"live\"").count(), 2);
    assert!(
        history.contains("\"bytes_at_most\":252") && history.contains("operator"),
        "{history}"
    );
    let nothing = world.run(&["metadata", "set", "prod/db/password"]);
    assert_eq!(nothing.status.code(), Some(2), "a change of nothing is a mistake");
}

/// One JSON line a change, from where it says that it begins; ended by Ctrl-C as if it were done.
fn watching(world: &World) {
    use std::io::{BufRead, BufReader};
    world.put("prod/watched/key", b"one");
    let operator = world.cluster.paths().identity("op-1");
    let mut child = world
        .command(&operator, &["watch", "prod/watched/", "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut begins = String::new();
    said.read_line(&mut begins).unwrap();
    assert!(begins.starts_with("watching prod/watched/ from position "), "{begins}");
    world.put("prod/watched/key", b"two");
    world.ok(&["delete", "prod/watched/key", "--versions", "1"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut indices = Vec::new();
    for expected in [("put", 2), ("delete", 1)] {
        let line: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(line["path"], "prod/watched/key", "{line}");
        assert_eq!(
            (line["change"].as_str(), line["versions"][0].as_u64()),
            (Some(expected.0), Some(expected.1))
        );
        indices.push(line["index"].as_u64().unwrap());
    }
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut ended = String::new();
    said.read_line(&mut ended).unwrap();
    let go_on = "ended; to go on: symbolon watch prod/watched/ --after ";
    let position: u64 = ended.trim_end().strip_prefix(go_on).unwrap().parse().unwrap();
    assert!(position >= indices[1], "{ended}");
    assert!(lines.next().is_none(), "nothing was told twice");

    // From the first line on: the second once more, for people. Who has seen enough ends it.
    let after = indices[0].to_string();
    let mut child = world
        .command(&operator, &["watch", "prod/watched/key", "--after", &after])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(
        line,
        format!("{:<8}  delete    prod/watched/key  version 1\n", indices[1])
    );
    world.put("prod/watched/key", b"three");
    assert_eq!(child.wait().unwrap().code(), Some(0));

    assert_eq!(world.run_as("bot", &["watch", "prod/watched/"]).status.code(), Some(4));
    let wrong = world.run(&["watch", "prod//"]);
    assert_eq!(wrong.status.code(), Some(2), "{}", text(&wrong.stderr));
}

fn child_processes(world: &World) {
    world.put("prod/db/token", b"tok_0123456789");
    let script = r#"printf 'a %s' tok_01234; sleep 0.2; printf '56789 b %s\n' "$TOKEN"; echo "$TOKEN" >&2; exit 7"#;
    let run = world.run(&["run", "--env", "TOKEN=prod/db/token", "--", "sh", "-c", script]);
    assert_eq!(run.status.code(), Some(7));
    assert_eq!(
        (text(&run.stdout).as_str(), text(&run.stderr).as_str()),
        ("a *** b ***\n", "***\n")
    );
    let ended = world.run(&["run", "--env", "TOKEN=prod/db/token", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(ended.status.code(), Some(137));
    let absent = world.run(&["run", "--env", "TOKEN=prod/db/token", "--", "no-such-program"]);
    assert_eq!(absent.status.code(), Some(127));
    signals_are_passed_on(world);
}

fn signals_are_passed_on(world: &World) {
    use std::io::{BufRead, BufReader};
    let script = r#"trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.05; done"#;
    let operator = world.cluster.paths().identity("op-1");
    let arguments = ["run", "--env", "TOKEN=prod/db/token", "--", "sh", "-c", script];
    let mut child = world
        .command(&operator, &arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    symbolon_devcluster::signal_process(child.id(), nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "caught");
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

fn audit_logs(world: &World) {
    let verified = world.ok(&["audit", "verify", "--field", "verdict"]);
    assert_eq!(verified, "verified\nverified\nverified\n");
    let refused = world.ok(&["audit", "tail", "--limit", "1000", "-o", "jsonl"]);
    assert!(
        refused.lines().any(|line| line.contains("\"code\":\"SY0403\"")),
        "refusals are recorded"
    );
    assert!(!refused.contains("correct horse"), "values are not");
    world.ok(&["audit", "export", "--node", "2", "--to", "log-2"]);
    world.ok(&["audit", "verify", "--dir", "log-2"]);
    fs::rename(world.path("log-2/boots"), world.path("boots")).unwrap();
    let partial = world.run(&["audit", "verify", "--dir", "log-2"]);
    assert_eq!(partial.status.code(), Some(9), "{}", text(&partial.stderr));
    assert!(
        text(&partial.stderr).contains("boots is missing"),
        "{}",
        text(&partial.stderr)
    );
    fs::rename(world.path("boots"), world.path("log-2/boots")).unwrap();
    let leaves = world.path("log-2/leaves");
    let mut bytes = fs::read(&leaves).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&leaves, bytes).unwrap();
    let broken = world.run(&["audit", "verify", "--dir", "log-2"]);
    assert_eq!(broken.status.code(), Some(9), "{}", text(&broken.stderr));
}
