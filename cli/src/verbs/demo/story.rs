//! The steps, in order.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::distr::{Alphanumeric, SampleString};
use symbolon_client::{Client, Endpoint, Identity, Options};
use symbolon_devcluster::limits::READY_WITHIN;
use symbolon_devcluster::{Cluster, Spec};
use symbolon_wire::codes::Exit;
use symbolon_wire::tls;
use zeroize::Zeroizing;

use super::leaks::{self, Known};
use super::stage::{Stage, ensure, expect_code};
use super::storm;
use crate::failure::{Error, file, local};
use crate::settings::write_context;
use crate::verbs::dev::{from_cluster, from_create};

/// Where the secret of the story lies.
const SECRET: &str = "prod/stripe/key";

/// The policies of the story.
const POLICIES: &str = r#"@id("operators-manage")
permit(
  principal in Group::"operators",
  action in [Action::"write", Action::"delete", Action::"list", Action::"readMetadata"],
  resource
);

@id("billing-reads-stripe")
permit(principal in Group::"billing", action == Action::"read", resource in Folder::"prod/stripe");

@id("contractors-never") @note("contractors have no production secrets")
forbid(principal in Group::"contractors", action, resource in Folder::"prod");
"#;

/// The line of `POLICIES` on which the last policy begins: what a refusal must name.
const FORBID_PLACE: &str = "policies/demo.cedar:11";

/// The steps that are planned.
const TITLES: [&str; 9] = [
    "three nodes, three tokens",
    "a policy and two agents",
    "a secret is put",
    "the allowed agent reads it",
    "the other agent is refused",
    "kill -9 amid reads and writes",
    "core dumps right after a read",
    "the audit logs verify",
    "nobody ever held it",
];

/// Everything that steps share.
pub(crate) struct World {
    pub(crate) stage: Stage,
    pub(crate) cluster: Cluster,
    /// The user's side: configuration, identities, policies.
    pub(crate) user: PathBuf,
    /// The value of the secret.
    pub(crate) value: Zeroizing<String>,
    /// What was learnt of the secret, and what was dumped.
    pub(crate) known: Known,
}

/// Plays the story; exit code 0 only if every step held.
pub(crate) async fn play(keep: Option<&Path>) -> Result<u8, Error> {
    let temporary = match keep {
        Some(_) => None,
        None => Some(tempfile::tempdir().map_err(|error| local(format!("a temporary folder: {error}")))?),
    };
    let kept = keep
        .map(|folder| std::path::absolute(folder).map_err(|error| file(folder, &error)))
        .transpose()?;
    let root = match (&kept, &temporary) {
        (Some(kept), _) => kept.clone(),
        (None, Some(temporary)) => temporary.path().to_path_buf(),
        (None, None) => return Err(local("no folder to work in")),
    };
    let user = root.join("user");
    fs::create_dir_all(user.join("policies")).map_err(|error| file(&user, &error))?;
    let mut stage = Stage::new(&user, &user.join("config.toml"));

    let [first, ..] = TITLES;
    let since = stage.begin(first)?;
    let cluster = match raise(&stage, &root.join("cluster"), &user).await {
        Ok((cluster, proof)) => {
            stage.held(first, since, proof)?;
            cluster
        }
        Err(error) => {
            stage.failed(first, since, &error)?;
            stage.finish(TITLES.len())?;
            return Ok(Exit::Failure as u8);
        }
    };
    let value = Zeroizing::new(format!("sk_live_{}", Alphanumeric.sample_string(&mut rand::rng(), 40)));
    let mut world = World {
        stage,
        cluster,
        user,
        value,
        known: Known::default(),
    };
    for (number, title) in TITLES.iter().enumerate().skip(1) {
        let since = world.stage.begin(title)?;
        let played = match number {
            1 => policies(&world).await,
            2 => put(&world).await,
            3 => read(&world).await,
            4 => refused(&world).await,
            5 => storm::play(&mut world).await,
            6 => leaks::dump(&mut world).await,
            7 => audit(&world).await,
            _ => leaks::search(&mut world).await,
        };
        match played {
            Ok(proof) => world.stage.held(title, since, proof)?,
            Err(error) => {
                world.stage.failed(title, since, &error)?;
                break;
            }
        }
    }
    let held = world.stage.finish(TITLES.len())?;
    world.cluster.stop_all().await.map_err(from_cluster)?;
    if let Some(kept) = kept {
        crate::output::say(&format!("everything is in {}", kept.display()));
    }
    Ok(if held { crate::DONE } else { Exit::Failure as u8 })
}

/// Step 1.
async fn raise(stage: &Stage, folder: &Path, user: &Path) -> Result<(Cluster, String), Error> {
    stage.tell("Each node makes its keys in a PKCS#11 token of its own; operators and tokens sign the roster.")?;
    let mut cluster = Cluster::create(folder, Spec::default()).await.map_err(from_create)?;
    let root = format!("{}/", folder.display());
    for step in cluster.ceremony() {
        stage.show_command(&step.shown.replace(&root, ""))?;
    }
    cluster.start_all(READY_WITHIN).await.map_err(from_cluster)?;
    for name in ["operator", "billing-bot", "contractor-bot"] {
        let identity = if name == "operator" {
            cluster.paths().identity("op-1")
        } else {
            user.join(format!("{name}.identity"))
        };
        write_context(&user.join("config.toml"), name, cluster.endpoint(), &identity)?;
    }
    stage.must(&["status"], None).await?;
    let operator = cluster.operator().await.map_err(from_cluster)?;
    let mut tokens = Vec::new();
    for (node, answer) in operator.status().await {
        let status = answer?;
        ensure(
            status.tls_group == tls::GROUP,
            format!("node {node} speaks {}", status.tls_group),
        )?;
        tokens.push(status.token);
    }
    let distinct = tokens.iter().collect::<std::collections::BTreeSet<_>>().len();
    ensure(
        distinct == 3,
        format!("the nodes name {distinct} tokens instead of three"),
    )?;
    let pids = cluster
        .nodes()
        .into_iter()
        .map(|node| Ok(cluster.pid(node).map_err(from_cluster)?.to_string()));
    let pids = pids.collect::<Result<Vec<_>, Error>>()?.join(", ");
    Ok((
        cluster,
        format!(
            "processes {pids}; three different tokens; every connection {}",
            tls::GROUP
        ),
    ))
}

/// Step 2.
async fn policies(world: &World) -> Result<String, Error> {
    let path = world.user.join("policies/demo.cedar");
    fs::write(&path, POLICIES).map_err(|error| file(&path, &error))?;
    let stage = &world.stage;
    stage.tell(POLICIES.trim_end())?;
    stage.must(&["policy", "apply", "policies"], None).await?;
    for (name, group) in [("billing-bot", "billing"), ("contractor-bot", "contractors")] {
        let (id, out) = (format!("spiffe://local/agent/{name}"), format!("{name}.identity"));
        stage
            .must(&["identity", "new", &id, "--out", &out, "--field", "principal"], None)
            .await?;
        let public = format!("{out}.pub");
        let register = [
            "agent",
            "register",
            &public,
            "--group",
            group,
            "--owner",
            "demo",
            "--purpose",
            "demo",
            "--expires",
            "1d",
        ];
        stage.must(&register, None).await?;
    }
    Ok("signed by the operator, checked and applied by every node alike".to_owned())
}

/// Step 3.
async fn put(world: &World) -> Result<String, Error> {
    world
        .stage
        .tell("Encrypted, broken into three fragments and sealed to three nodes before it leaves this process.")?;
    world
        .stage
        .must(&["put", SECRET, "-", "--wait", "full"], Some(world.value.as_bytes()))
        .await?;
    Ok("committed by a quorum; all three nodes have opened and checked their fragment".to_owned())
}

/// Step 4.
async fn read(world: &World) -> Result<String, Error> {
    let arguments = [
        "--context",
        "billing-bot",
        "get",
        SECRET,
        "--purpose",
        "nightly invoices",
    ];
    world.stage.show_command(&format!("symbolon {}", arguments.join(" ")))?;
    let shown = world.stage.quietly(&arguments, None).await?;
    expect_code(&shown, 0, &arguments)?;
    ensure(shown.stdout == *world.value, "another value came back than was put")?;
    world.stage.tell(&format!(
        "  ({} bytes, equal to what was put; not shown here)",
        shown.stdout.len()
    ))?;
    Ok("two of three nodes released a fragment each; the key commitment held".to_owned())
}

/// Step 5.
async fn refused(world: &World) -> Result<String, Error> {
    let arguments = ["--context", "contractor-bot", "get", SECRET];
    let shown = world.stage.symbolon(&arguments, None).await?;
    expect_code(&shown, Exit::Denied as i32, &arguments)?;
    ensure(shown.stdout.is_empty(), "something was written to stdout")?;
    ensure(
        shown.stderr.contains(FORBID_PLACE),
        format!("the refusal does not name {FORBID_PLACE}"),
    )?;
    Ok(format!("exit code 4; the refusal names {FORBID_PLACE}"))
}

/// Step 8.
async fn audit(world: &World) -> Result<String, Error> {
    let stage = &world.stage;
    stage.must(&["audit", "tail", "--limit", "4"], None).await?;
    stage.must(&["audit", "verify"], None).await?;
    // A check that cannot fail proves nothing: the same check on a copy with one flipped bit.
    stage
        .must(&["audit", "export", "--node", "1", "--to", "audit-1"], None)
        .await?;
    stage.must(&["audit", "verify", "--dir", "audit-1"], None).await?;
    let flipped = leaks::flip_one_bit(&world.user.join("audit-1"))?;
    stage.tell(&format!("One bit of {} is flipped:", flipped.display()))?;
    let arguments = ["audit", "verify", "--dir", "audit-1"];
    let shown = stage.symbolon(&arguments, None).await?;
    expect_code(&shown, Exit::VerificationFailed as i32, &arguments)?;
    Ok("every leaf, checkpoint and boot of three logs verifies; a flipped bit does not".to_owned())
}

/// Connects in this process as one of the story's people.
pub(crate) async fn client(world: &World, name: &str) -> Result<Client, Error> {
    let endpoint = Endpoint::parse(world.cluster.endpoint())?;
    let path = match name {
        "operator" => world.cluster.paths().identity("op-1"),
        agent => world.user.join(format!("{agent}.identity")),
    };
    Client::connect(endpoint, None, Arc::new(Identity::load(&path)?), Options::default()).await
}

/// Where the secret of the story lies.
pub(crate) fn secret() -> &'static str {
    SECRET
}

#[cfg(test)]
mod tests {
    use super::*;
    use symbolon_policy::{PolicySet, Source};

    #[test]
    fn the_policies_of_the_story_compile_and_the_forbid_stands_where_it_is_said_to() {
        let source = Source {
            name: "policies/demo.cedar".into(),
            text: POLICIES.into(),
        };
        let set = PolicySet::compile(&[source]).unwrap();
        let forbid = set
            .policies()
            .find(|policy| &*policy.id == "contractors-never")
            .unwrap();
        assert_eq!(format!("{}:{}", forbid.file, forbid.line), FORBID_PLACE);
    }
}
