//! `init`: the genesis roster of a new cluster, signed by every operator and by every node's token.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::{Args, Subcommand};
use serde::Deserialize;
use symbolon_client::Endpoint;
use symbolon_crypto::enc::sha256;
use symbolon_wire::v1;

use crate::agree::{self, Signing};
use crate::failure::{Error, file, local, usage};
use crate::genesis::Draft;
use crate::output::{Record, say};
use crate::session;
use crate::settings::{Settings, replace_file};
use crate::times::now_ms;
use crate::verbs::command::fingerprints;
use crate::verbs::identity::Public;

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Example:\n  symbolon init --operator ada.identity.pub --operator bob.identity.pub --signatures 2 \\\n      \
                  --node node-1.toml --node node-2.toml --node node-3.toml --out genesis.roster\n  \
                  symbolon init sign genesis.roster --identity ada.identity       # each operator: shows it and asks\n  \
                  symbolon-node sign-genesis --config node.toml genesis.roster    # on each node\n  \
                  symbolon init check genesis.roster                              # prints the address"
)]
pub(crate) struct Init {
    #[command(subcommand)]
    step: Option<Step>,
    #[command(flatten)]
    propose: Propose,
}

#[derive(Debug, Args)]
struct Propose {
    /// Public half of an operator's identity; give each
    #[arg(long = "operator", value_name = "FILE.pub")]
    operators: Vec<PathBuf>,
    /// Entry that `symbolon-node prepare` wrote; give each of 3, 5 or 7
    #[arg(long = "node", value_name = "FILE")]
    nodes: Vec<PathBuf>,
    /// Operator signatures that a change of policies, identities or roster needs
    #[arg(long, value_name = "M")]
    signatures: Option<u32>,
    /// The same for policies alone
    #[arg(long, value_name = "M")]
    policy_signatures: Option<u32>,
    /// The same for identities alone
    #[arg(long, value_name = "M")]
    identity_signatures: Option<u32>,
    /// Roster to write
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Step {
    /// Show what it says, and add an operator's signature if you agree
    #[command(
        after_help = "Example:\n  symbolon init sign genesis.roster --identity ada.identity   # shows it and asks\n  \
                      symbolon init sign genesis.roster --identity ada.identity --hash HASH   # what init check named"
    )]
    Sign {
        /// The roster
        roster: PathBuf,
        /// Sign only this, as init check names it, and do not ask
        #[arg(long, value_name = "HASH")]
        hash: Option<String>,
    },
    /// Show what it says and who has signed; once all have, its address
    #[command(after_help = "Example:\n  symbolon init check genesis.roster --field endpoint")]
    Check {
        /// The roster
        roster: PathBuf,
    },
}

/// What `symbolon-node prepare` writes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    index: u16,
    region: String,
    address: String,
    identity_key: String,
    sealing_key: String,
}

/// `init`.
pub(crate) fn init(init: Init, settings: &Settings) -> Result<u8, Error> {
    match init.step {
        None => propose(&init.propose, settings),
        Some(Step::Sign { roster, hash }) => sign(&roster, hash.as_deref(), settings),
        Some(Step::Check { roster }) => {
            let draft = load(&roster)?;
            settings.output.one(&shown(&draft)?)?;
            Ok(crate::DONE)
        }
    }
}

fn propose(propose: &Propose, settings: &Settings) -> Result<u8, Error> {
    let out = propose
        .out
        .as_deref()
        .ok_or_else(|| usage("--out is missing").next("symbolon init --help"))?;
    if out.exists() {
        let message = format!("{} exists; a genesis roster is never replaced", out.display());
        return Err(local(message).next("choose another file, or remove it if no node has started from it"));
    }
    if propose.operators.is_empty() || propose.nodes.is_empty() {
        return Err(usage("a roster needs at least one --operator and three --node").next("symbolon init --help"));
    }
    let operators = propose
        .operators
        .iter()
        .map(|path| operator(path))
        .collect::<Result<Vec<_>, _>>()?;
    let mut nodes = propose
        .nodes
        .iter()
        .map(|path| node(path))
        .collect::<Result<Vec<_>, _>>()?;
    nodes.sort_by_key(|node| node.index);
    let threshold = u32::try_from(nodes.len() / 2 + 1).map_err(|_| usage("too many nodes"))?;
    let all = u32::try_from(operators.len()).map_err(|_| usage("too many operators"))?;
    let needed = propose.signatures.unwrap_or(all);
    let body = v1::RosterBody {
        protocol: symbolon_wire::PROTOCOL,
        cluster: random_id(),
        version: 0,
        previous: Bytes::new(),
        created_ms: now_ms()?,
        suite: u32::from(symbolon_crypto::limits::SUITE),
        threshold,
        operators,
        operators_needed: needed,
        policy_signatures: propose.policy_signatures.unwrap_or(needed),
        identity_signatures: propose.identity_signatures.unwrap_or(needed),
        first_tenant: random_id(),
        nodes,
    };
    let draft = Draft::propose(&body)?;
    replace_file(out, &draft.encode())?;
    say("every operator and every node must sign it: symbolon init sign, symbolon-node sign-genesis");
    settings.output.one(&shown(&draft)?)?;
    Ok(crate::DONE)
}

fn random_id() -> Bytes {
    Bytes::copy_from_slice(&rand::random::<[u8; 16]>())
}

fn operator(path: &Path) -> Result<v1::Operator, Error> {
    let public = Public::load(path)?;
    Ok(v1::Operator {
        id: Bytes::copy_from_slice(public.principal.bytes()),
        key: Bytes::copy_from_slice(public.key.spki()),
        name: public.name.to_string(),
    })
}

fn node(path: &Path) -> Result<v1::RosterNode, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| file(path, &error))?;
    let bad = |what: &str| {
        local(format!("{} is not a node's entry: {what}", path.display())).next("symbolon-node prepare writes it")
    };
    let entry: Entry = toml::from_str(&text).map_err(|error| bad(error.message()))?;
    let decoded = |name: &str, text: &str| hex::decode(text).map_err(|_| bad(&format!("'{name}' is not hex")));
    Ok(v1::RosterNode {
        index: u32::from(entry.index),
        identity_key: decoded("identity_key", &entry.identity_key)?.into(),
        sealing_key: decoded("sealing_key", &entry.sealing_key)?.into(),
        region: entry.region,
        address: entry.address,
    })
}

fn sign(path: &Path, hash: Option<&str>, settings: &Settings) -> Result<u8, Error> {
    let mut draft = load(path)?;
    let identity = session::identity(settings)?;
    draft.names(&identity)?;
    let signing = Signing {
        hash: hex::encode(draft.hash()),
        what: "the roster of that hash",
        look: format!("symbolon init check {}", path.display()),
        named: format!("symbolon init sign {} --hash HASH", path.display()),
    };
    agree::agreed(&signing, hash, settings, || settings.output.one(&shown(&draft)?))?;
    draft.sign(&identity)?;
    replace_file(path, &draft.encode())?;
    settings.output.one(&shown(&draft)?)?;
    Ok(crate::DONE)
}

fn load(path: &Path) -> Result<Draft, Error> {
    let bytes = std::fs::read(path).map_err(|error| file(path, &error))?;
    Draft::parse(bytes.into()).map_err(|error| error.because(path.display().to_string()))
}

/// What the roster says, for those who sign it. The address comes last, and only once every signature holds.
fn shown(draft: &Draft) -> Result<Record, Error> {
    let body = draft.body();
    let nodes = body
        .nodes
        .iter()
        .map(|node| format!("{} {} {}", node.index, node.address, node.region));
    let operators = body.operators.iter().map(|operator| operator.name.clone());
    let missing = draft.missing();
    let endpoint = if missing.is_empty() {
        let finished = draft.finish()?;
        let hosts: Vec<&str> = finished.nodes.iter().map(|node| node.address.as_str()).collect();
        let endpoint = format!("symbolon://{}?genesis={}", hosts.join(","), hex::encode(finished.hash));
        // An address that no client would take must not be what the ceremony ends with.
        Some(Endpoint::parse(&endpoint)?.to_string())
    } else {
        None
    };
    Ok(Record::new()
        .with("cluster", hex::encode(&body.cluster))
        .with("hash", hex::encode(draft.hash()))
        .with("nodes", nodes.collect::<Vec<_>>())
        .with(
            "node_fingerprints",
            fingerprints(body.nodes.iter().map(|node| &node.identity_key)),
        )
        .with(
            "sealing_fingerprints",
            body.nodes
                .iter()
                .map(|node| hex::encode(sha256(&node.sealing_key)))
                .collect::<Vec<_>>(),
        )
        .with("threshold", body.threshold)
        .with("operators", operators.collect::<Vec<_>>())
        .with(
            "operator_fingerprints",
            fingerprints(body.operators.iter().map(|operator| &operator.key)),
        )
        .with("operators_needed", body.operators_needed)
        .with("policy_signatures", body.policy_signatures)
        .with("identity_signatures", body.identity_signatures)
        .with("missing_signatures", missing)
        .with("endpoint", endpoint))
}
