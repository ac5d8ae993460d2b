//! `agent register|list|remove|rekey`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Subcommand};
use symbolon_client::Client;
use symbolon_wire::Code;
use symbolon_wire::ids::PrincipalKind;
use symbolon_wire::v1::{self, command_body::Payload};

use crate::failure::{Error, usage};
use crate::output::{Record, counted};
use crate::progress::while_waiting;
use crate::session::connect;
use crate::settings::Settings;
use crate::times::{ms, now_ms, parse_duration, show_ms, time};
use crate::verbs::command::{Change, Saving, submit_or_save};
use crate::verbs::identity::Public;

#[derive(Debug, Subcommand)]
pub(crate) enum Agent {
    /// Register an agent by the public half of its identity
    #[command(
        after_help = "Example:\n  symbolon agent register bot.identity.pub --group billing --expires 90d \\\n      \
                            --owner ada@acme --purpose \"nightly invoices\""
    )]
    Register(Register),
    /// List registered principals
    #[command(after_help = "Example:\n  symbolon agent list\n  symbolon agent list -o json")]
    List,
    /// Remove an agent; its id, name and keys are never used again
    #[command(after_help = "Example:\n  symbolon agent remove spiffe://acme/agent/billing-bot")]
    Remove {
        /// SPIFFE ID or principal id
        agent: String,
        #[command(flatten)]
        saving: Saving,
    },
    /// Replace an agent's keys
    #[command(
        after_help = "Example:\n  symbolon identity new spiffe://acme/agent/billing-bot --principal ID --out new.identity\n  \
                            symbolon agent rekey spiffe://acme/agent/billing-bot new.identity.pub\n\n\
                            ID is what symbolon agent list shows as principal."
    )]
    Rekey {
        /// SPIFFE ID or principal id
        agent: String,
        /// Public halves whose keys take the place of all present ones
        #[arg(required = true, value_name = "FILE.pub")]
        keys: Vec<PathBuf>,
        #[command(flatten)]
        saving: Saving,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Register {
    /// Public half of its identity
    #[arg(value_name = "FILE.pub")]
    public: PathBuf,
    /// Who answers for it
    #[arg(long)]
    owner: String,
    /// What it is for
    #[arg(long)]
    purpose: String,
    /// How long it may act, such as 90d
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    expires: Duration,
    /// Groups, as policies name them
    #[arg(long = "group", value_delimiter = ',', value_name = "GROUP")]
    groups: Vec<String>,
    /// What it is
    #[arg(long, value_enum, default_value_t = Kind::Agent)]
    kind: Kind,
    #[command(flatten)]
    saving: Saving,
}

/// Kinds that are registered; operators and nodes stand in the roster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    Agent,
    Workload,
    Gateway,
}

impl Kind {
    fn number(self) -> u32 {
        match self {
            Self::Agent => PrincipalKind::Agent as u32,
            Self::Workload => PrincipalKind::Workload as u32,
            Self::Gateway => PrincipalKind::Gateway as u32,
        }
    }
}

/// `agent`.
pub(crate) async fn agent(verb: &Agent, settings: &Settings) -> Result<u8, Error> {
    match verb {
        Agent::Register(register) => {
            let public = Public::load(&register.public)?;
            let client = connect(settings).await?;
            let expires_ms = now_ms()?.saturating_add(ms(register.expires));
            let groups = match register.groups.as_slice() {
                [] => "no group".to_owned(),
                groups => groups.join(", "),
            };
            let done = format!(
                "{} is registered, in {groups}, until {}",
                public.name,
                show_ms(expires_ms)
            );
            let record = Record::new()
                .with("name", public.name.to_string())
                .with("principal", public.principal.to_string())
                .with("groups", register.groups.clone())
                .with("expires", time(expires_ms));
            let next = format!(
                "symbolon --identity {} get PATH   (what policies allow it: symbolon policy show)",
                private_half(&register.public).display()
            );
            let payload = Payload::Register(v1::RegisterPrincipal {
                id: Bytes::copy_from_slice(public.principal.bytes()),
                tenant: Bytes::copy_from_slice(client.roster().first_tenant.bytes()),
                kind: register.kind.number(),
                name: public.name.to_string(),
                owner: register.owner.clone(),
                purpose: register.purpose.clone(),
                expires_ms,
                groups: register.groups.clone(),
                keys: vec![Bytes::copy_from_slice(public.key.spki())],
            });
            submit(&client, payload, (done, record, next), &register.saving, settings).await
        }
        Agent::List => {
            let client = connect(settings).await?;
            let found = while_waiting("asking for principals", client.principals()).await?;
            let now_ms = now_ms()?;
            let records: Vec<Record> = found.principals.iter().map(|one| listed(one, now_ms)).collect();
            settings.output.list(&records, "nobody is registered")?;
            Ok(crate::DONE)
        }
        Agent::Remove { agent, saving } => {
            let client = connect(settings).await?;
            let found = find(&client, agent).await?;
            let told = (
                format!("{} is removed: new requests get nothing", found.name),
                Record::new()
                    .with("name", found.name.as_str())
                    .with("principal", hex::encode(&found.id)),
                "symbolon agent list".to_owned(),
            );
            let payload = Payload::Remove(v1::RemovePrincipal { id: found.id });
            submit(&client, payload, told, saving, settings).await
        }
        Agent::Rekey { agent, keys, saving } => {
            let publics = keys
                .iter()
                .map(|path| Public::load(path))
                .collect::<Result<Vec<_>, _>>()?;
            let client = connect(settings).await?;
            let found = find(&client, agent).await?;
            let keys = replacing(&found, &publics, now_ms()?)?;
            let refused = found.keys.iter().filter(|key| !keys.contains(key)).count();
            let told = (
                format!(
                    "{} has {} now; {} of its {} before are refused",
                    found.name,
                    counted(keys.len(), "key", "keys"),
                    refused,
                    found.keys.len()
                ),
                Record::new()
                    .with("name", found.name.as_str())
                    .with("principal", hex::encode(&found.id)),
                "symbolon agent list".to_owned(),
            );
            let payload = Payload::Rekey(v1::RekeyPrincipal { id: found.id, keys });
            submit(&client, payload, told, saving, settings).await
        }
    }
}

async fn submit(
    client: &Client,
    payload: Payload,
    (done, record, next): (String, Record, String),
    saving: &Saving,
    settings: &Settings,
) -> Result<u8, Error> {
    let change = Change {
        payload,
        signatures_needed: client.roster().identity_signatures,
        done,
        record,
        next,
    };
    submit_or_save(client, change, saving, settings).await
}

fn expired(principal: &v1::Principal, now_ms: u64) -> bool {
    principal.expires_ms != 0 && principal.expires_ms <= now_ms
}

/// The keys that are to take the place of its present ones, if its holder can act with them.
fn replacing(found: &v1::Principal, publics: &[Public], now_ms: u64) -> Result<Vec<Bytes>, Error> {
    let (name, id) = (&found.name, hex::encode(&found.id));
    let refused = |what: String| {
        usage(what).next(format!(
            "symbolon identity new {name} --principal {id} --out new.identity"
        ))
    };
    if expired(found, now_ms) {
        let what = format!("{name} has expired; with other keys it would be refused as well");
        return Err(usage(what).next("register its successor under a new name: symbolon agent register"));
    }
    let stranger = |public: &&Public| public.principal.bytes().as_slice() != found.id;
    if let Some(other) = publics.iter().find(stranger) {
        return Err(refused(format!(
            "this key was made for principal {}; {name} is registered as {id}",
            other.principal
        )));
    }
    let spki = |public: &Public| Bytes::copy_from_slice(public.key.spki());
    let keys: Vec<Bytes> = publics.iter().map(spki).collect();
    if keys.iter().all(|key| found.keys.contains(key)) && found.keys.iter().all(|key| keys.contains(key)) {
        return Err(refused(format!(
            "{name} has these keys already; nothing would be refused"
        )));
    }
    Ok(keys)
}

/// `bot.identity.pub` lies beside `bot.identity`.
fn private_half(public: &Path) -> PathBuf {
    match public.extension().is_some_and(|extension| extension == "pub") {
        true => public.with_extension(""),
        false => PathBuf::from("FILE"),
    }
}

/// The registered principal of this name or id.
async fn find(client: &Client, agent: &str) -> Result<v1::Principal, Error> {
    let found = while_waiting("asking for principals", client.principals()).await?;
    let known = found
        .principals
        .into_iter()
        .find(|one| one.name == agent || hex::encode(&one.id) == agent);
    known.ok_or_else(|| {
        Error::new(
            Code::NotFound,
            format!("nobody is registered as {}", crate::output::printable(agent)),
        )
        .next("symbolon agent list")
    })
}

fn listed(principal: &v1::Principal, now_ms: u64) -> Record {
    let kind = PrincipalKind::from_number(principal.kind).map_or("unknown", PrincipalKind::name);
    Record::new()
        .with("name", principal.name.as_str())
        .with("kind", kind)
        .with("owner", principal.owner.as_str())
        .with("purpose", principal.purpose.as_str())
        .with("expires", time(principal.expires_ms))
        .with("expired", expired(principal, now_ms))
        .with("groups", principal.groups.clone())
        .with("principal", hex::encode(&principal.id))
        .with("fingerprints", crate::verbs::command::fingerprints(&principal.keys))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_kind_and_a_broken_key_are_shown_as_such() {
        let principal = v1::Principal {
            kind: 99,
            keys: vec![Bytes::from_static(b"x")],
            ..v1::Principal::default()
        };
        let record = format!("{:?}", listed(&principal, 0));
        assert!(record.contains("unknown") && record.contains("not a key"), "{record}");
    }
}
