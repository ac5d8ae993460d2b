//! The command as a process: what it writes where, and with which exit code; as far as no cluster is needed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_symbolon"));
        command.args(arguments).current_dir(self.path()).env_clear();
        command
            .env("HOME", self.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may refuse before it has read all.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    fn operator(&self, name: &str) {
        let made = self.run(&[
            "operator",
            "new",
            &format!("spiffe://acme/operator/{name}"),
            "--out",
            name,
        ]);
        assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    }

    /// A node's entry with keys of the right form.
    fn entry(&self, index: u16, region: &str) -> String {
        let key = format!("node-key-{index}");
        self.operator(&key);
        let public = fs::read_to_string(self.path().join(format!("{key}.pub"))).unwrap();
        let key = public
            .lines()
            .find_map(|line| line.strip_prefix("key = "))
            .unwrap()
            .to_owned();
        let name = format!("node-{index}.toml");
        let text = format!(
            "# public\nindex = {index}\nregion = \"{region}\"\naddress = \"127.0.0.1:{}\"\nidentity_key = {key}\nsealing_key = \"{}\"\n",
            7600 + index,
            sealing_key()
        );
        fs::write(self.path().join(&name), text).unwrap();
        name
    }
}

/// An X-Wing public key of its own, in hex.
fn sealing_key() -> String {
    let seed = symbolon_crypto::secret::Secret::random(&mut rand::rng());
    hex::encode(
        symbolon_crypto::sealing::SealingKeyPair::from_seed(&seed)
            .public_key()
            .to_bytes(),
    )
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn an_unknown_verb_is_a_usage_error_of_our_shape() {
    let output = World::new().run(&["shtatus"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    insta::assert_snapshot!(text(&output.stderr), @r"
    error[SY0701]: unrecognized subcommand 'shtatus'
      because  a similar subcommand exists: 'status'
      next     symbolon --help
    ");
}

#[test]
fn without_a_cluster_the_error_says_how_to_get_one() {
    let output = World::new().run(&["get", "prod/stripe/key"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    insta::assert_snapshot!(text(&output.stderr), @r"
    error[SY0700]: no cluster is chosen
      because  neither --endpoint nor --context nor a configuration file names one
      next     symbolon dev   (a cluster on this machine), or --endpoint symbolon://host:port?genesis=…
    ");
}

#[test]
fn a_bad_path_is_refused_before_anything_is_read_or_sent() {
    let output = World::new().run_with_input(&["put", "prod/../key", "-"], b"value");
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!(text(&output.stderr), @r"
    error[SY0402]: 'prod/../key': segment 2 is '..', which other systems read as a step
      next     Write paths in lower case: a-z 0-9 - _ . in segments of at most 64 characters, with / between them. The message says what is wrong, and where.
    ");
}

#[test]
fn a_value_on_the_command_line_is_refused_and_not_repeated() {
    let output = World::new().run(&["put", "prod/key", "hunter2"]);
    assert_eq!(output.status.code(), Some(2));
    let shown = text(&output.stderr);
    assert!(
        shown.starts_with("error[SY0701]: ") && shown.contains("@file"),
        "{shown}"
    );
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_value_that_looks_like_an_option_or_stands_in_the_path_is_not_repeated() {
    for arguments in [
        ["put", "prod/key", "--hunter2"].as_slice(),
        &["put", "prod/key=hunter2"],
        &["put", "Hunter2", "-"],
        &["put", "hunter2", "prod/key"],
        &["put", "prod/key", "@hunter2"],
        &["run", "--env", "KEY=hunter2!", "--", "true"],
    ] {
        let output = World::new().run(arguments);
        let shown = text(&output.stderr).to_lowercase();
        assert!(matches!(output.status.code(), Some(1 | 2)), "{arguments:?}: {shown}");
        assert!(
            shown.starts_with("error[sy") && !shown.contains("unter2"),
            "{arguments:?}: {shown}"
        );
    }
}

#[test]
fn a_value_larger_than_the_limit_is_refused() {
    let output = World::new().run_with_input(&["put", "prod/key", "-"], &vec![b'x'; 1024 * 1024 + 1]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).starts_with("error[SY0405]: "),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn help_is_data_and_goes_to_stdout() {
    let output = World::new().run(&["put", "--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("Example:") && output.stderr.is_empty());
}

#[test]
fn a_code_is_explained() {
    let world = World::new();
    insta::assert_snapshot!(text(&world.run(&["explain", "SY0403"]).stdout), @r"
    code  SY0403
    what  denied by policy
    exit  4 (denied by policy)
    next  Where a policy decided, the lines `because` name it by file and line: an operator can change it (`symbolon policy show --text`). Policies, agents and audit logs are otherwise the operators' to see and to change.
    ");
    assert_eq!(world.run(&["explain", "SY9999"]).status.code(), Some(2));
    assert_eq!(
        text(&world.run(&["explain", "403", "--field", "code"]).stdout),
        "SY0403\n"
    );
    let all = text(&world.run(&["explain", "--all", "-o", "jsonl"]).stdout);
    assert!(all.lines().all(|line| line.starts_with("{\"code\":\"SY")), "{all}");
}

#[test]
fn completions_and_manual_pages_are_made_even_with_a_broken_configuration() {
    let world = World::new();
    fs::create_dir_all(world.path().join(".config/symbolon")).unwrap();
    fs::write(world.path().join(".config/symbolon/config.toml"), "nonsense").unwrap();
    assert!(text(&world.run(&["completions", "bash"]).stdout).contains("_symbolon"));
    assert_eq!(world.run(&["man", "pages"]).status.code(), Some(0));
    assert!(world.path().join("pages/symbolon-put.1").is_file());
    let refused = world.run(&["status"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("line 1"), "{}", text(&refused.stderr));
}

#[test]
fn an_identity_is_written_for_its_owner_alone_and_never_overwritten() {
    let world = World::new();
    world.operator("ada");
    assert_eq!(
        fs::metadata(world.path().join("ada")).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        fs::metadata(world.path().join("ada.pub")).unwrap().permissions().mode() & 0o777,
        0o644,
        "the public half is for others"
    );
    let public = fs::read_to_string(world.path().join("ada.pub")).unwrap();
    assert!(
        public.contains("spiffe://acme/operator/ada") && !public.contains("secret"),
        "{public}"
    );
    let again = world.run(&["identity", "new", "spiffe://acme/x", "--out", "ada"]);
    assert_eq!(again.status.code(), Some(1));
    let shown = world.run(&["identity", "show", "--identity", "ada", "--field", "name"]);
    assert_eq!(text(&shown.stdout), "spiffe://acme/operator/ada\n");
}

#[test]
fn a_roster_is_proposed_and_signed_by_its_operators_only() {
    let world = World::new();
    world.operator("ada");
    world.operator("eve");
    let nodes: Vec<String> = (1..=3).map(|index| world.entry(index, &format!("r{index}"))).collect();
    let mut init = vec!["init", "--operator", "ada.pub", "--out", "genesis.roster"];
    nodes.iter().for_each(|node| init.extend(["--node", node]));
    let made = world.run(&init);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    assert_eq!(world.run(&init).status.code(), Some(1), "a roster is never replaced");

    let hash = text(
        &world
            .run(&["init", "check", "genesis.roster", "--field", "hash"])
            .stdout,
    );
    let sign =
        |who: &str, hash: &str| world.run(&["init", "sign", "genesis.roster", "--identity", who, "--hash", hash]);
    let refused = sign("eve", hash.trim());
    assert_eq!(refused.status.code(), Some(4));
    assert!(text(&refused.stderr).contains("its operators are spiffe://acme/operator/ada"));

    let missing = |world: &World| {
        text(
            &world
                .run(&["init", "check", "genesis.roster", "--field", "missing_signatures"])
                .stdout,
        )
    };
    assert_eq!(missing(&world), "spiffe://acme/operator/ada, node 1, node 2, node 3\n");
    let unseen = world.run(&["init", "sign", "genesis.roster", "--identity", "ada"]);
    for refused in [unseen, sign("ada", &"00".repeat(32))] {
        assert_eq!(refused.status.code(), Some(2));
        assert!(
            text(&refused.stderr).contains("nothing was signed"),
            "{}",
            text(&refused.stderr)
        );
    }
    assert_eq!(missing(&world), "spiffe://acme/operator/ada, node 1, node 2, node 3\n");
    let signed = sign("ada", hash.trim());
    assert_eq!(signed.status.code(), Some(0), "{}", text(&signed.stderr));
    let fingerprint = text(
        &world
            .run(&["identity", "show", "--identity", "ada", "--field", "fingerprint"])
            .stdout,
    );
    let shown = text(&signed.stdout);
    assert!(
        fingerprint.trim().len() == 64 && shown.contains(fingerprint.trim()) && shown.contains("sealing fingerprints"),
        "{shown}"
    );
    assert_eq!(missing(&world), "node 1, node 2, node 3\n");
    let endpoint = world.run(&["init", "check", "genesis.roster", "--field", "endpoint"]);
    assert_eq!(text(&endpoint.stdout), "-\n", "no address before all have signed");
}

#[test]
fn a_region_that_could_read_alone_is_refused() {
    let world = World::new();
    world.operator("ada");
    let nodes = [
        world.entry(1, "north"),
        world.entry(2, "north"),
        world.entry(3, "south"),
    ];
    let mut init = vec!["init", "--operator", "ada.pub", "--out", "genesis.roster"];
    nodes.iter().for_each(|node| init.extend(["--node", node]));
    let refused = world.run(&init);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("'north'"), "{}", text(&refused.stderr));
    assert!(!world.path().join("genesis.roster").exists());
}

#[test]
fn policies_are_checked_without_a_cluster() {
    let world = World::new();
    let policy =
        "@id(\"a\")\npermit(principal in Group::\"g\", action == Action::\"read\", resource in Folder::\"prod\");\n";
    fs::write(world.path().join("a.cedar"), policy).unwrap();
    let good = world.run(&["policy", "check", "a.cedar", "-o", "jsonl"]);
    assert_eq!(
        text(&good.stdout),
        "{\"id\":\"a\",\"effect\":\"permit\",\"place\":\"a.cedar:1\",\"note\":\"\"}\n"
    );
    fs::write(
        world.path().join("b.cedar"),
        "permit(principal, action == Action::\"fly\", resource);",
    )
    .unwrap();
    let bad = world.run(&["policy", "check", "a.cedar", "b.cedar"]);
    assert_eq!(bad.status.code(), Some(2));
    assert!(
        text(&bad.stderr).starts_with("error[SY0418]: b.cedar:1:"),
        "{}",
        text(&bad.stderr)
    );
}

#[test]
fn doctor_without_settings_names_what_is_missing_and_fails() {
    let world = World::new();
    let output = world.run(&["doctor", "-o", "jsonl"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    for expected in [
        "\"verdict\":\"fail\",\"check\":\"identity\"",
        "\"verdict\":\"fail\",\"check\":\"cluster\"",
    ] {
        assert!(shown.contains(expected), "{shown}");
    }
}

#[test]
fn a_repository_cannot_choose_where_values_go() {
    let world = World::new();
    fs::write(
        world.path().join(".symbolon.toml"),
        "[contexts.evil]\nendpoint = \"symbolon://evil:1\"\n",
    )
    .unwrap();
    let output = world.run_with_input(&["put", "prod/key", "-"], b"value");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("may only set context"),
        "{}",
        text(&output.stderr)
    );
}

#[cfg(not(feature = "evidence"))]
#[test]
fn a_build_without_evidence_cannot_play_the_demo_and_says_so() {
    let output = World::new().run(&["demo"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("--features evidence"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_local_cluster_that_was_made_half_is_cleared_away() {
    let world = World::new();
    let programs = world.path().join("programs");
    fs::create_dir(&programs).unwrap();
    for name in ["symbolon", "symbolon-node"] {
        fs::write(programs.join(name), "#!/bin/sh\nexit 1\n").unwrap();
        fs::set_permissions(programs.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let cluster = world.path().join("cluster");
    // The second finds nothing in its way that the first has left; the third a folder, which is not its own.
    for run in 0..3 {
        if run == 2 {
            fs::create_dir(&cluster).unwrap();
        }
        let mut dev = world.command(&["dev", "--dir", "cluster", "--software-token"]);
        let failed = dev.env("SYMBOLON_BIN", &programs).output().unwrap();
        let told = text(&failed.stderr);
        assert_eq!(failed.status.code(), Some(1), "{told}");
        assert!(told.contains("symbolon-node prepare"), "{told}");
        let left = fs::read_dir(&cluster).map(|entries| entries.count()).ok();
        assert_eq!(left, (run == 2).then_some(0), "{told}");
    }
}
