//! `identity new|show`, `operator new`: keys in files. The private half never leaves its file; the public half lies
//! beside it, for whoever registers it.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use symbolon_client::{Identity as Key, Overwrite};
use symbolon_crypto::sign::VerifyingKey;
use symbolon_wire::Code;
use symbolon_wire::ids::PrincipalId;
use symbolon_wire::path::SpiffeId;

use crate::failure::{Error, file, local, usage};
use crate::output::{Record, say};
use crate::session;
use crate::settings::{Settings, replace_public_file};

#[derive(Debug, Subcommand)]
pub(crate) enum Operator {
    /// Make an operator's identity; its public half goes into the genesis roster
    #[command(
        after_help = "Example:\n  symbolon operator new spiffe://acme/operator/ada --out ada.identity\n  \
                            symbolon init --operator ada.identity.pub …"
    )]
    New(New),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Identity {
    /// Make an identity; an operator registers its public half
    #[command(
        after_help = "Example:\n  symbolon identity new spiffe://acme/agent/billing-bot --out bot.identity\n  \
                            symbolon agent register bot.identity.pub --owner … --purpose … --expires 90d"
    )]
    New {
        #[command(flatten)]
        new: New,
        /// Id under which its name is registered, for new keys in place of the present ones (agent rekey)
        #[arg(long, value_name = "ID")]
        principal: Option<String>,
    },
    /// Show the identity that is in use: name, id and key
    #[command(
        after_help = "Example:\n  symbolon identity show\n  symbolon identity show --identity bot.identity -o json"
    )]
    Show,
}

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct New {
    /// SPIFFE ID, such as spiffe://acme/agent/billing-bot
    name: String,
    /// File to write; beside it, FILE.pub for whoever registers it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// The public half of an identity, as a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PublicFile {
    name: String,
    principal: String,
    key: String,
}

/// A public half that was read and checked.
#[derive(Debug, Clone)]
pub(crate) struct Public {
    pub(crate) name: SpiffeId,
    pub(crate) principal: PrincipalId,
    pub(crate) key: VerifyingKey,
}

impl Public {
    /// Reads `FILE.pub`.
    pub(crate) fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|error| file(path, &error))?;
        let bad = |what: String| {
            local(format!(
                "{} is not the public half of an identity: {what}",
                path.display()
            ))
        };
        let hint = "symbolon identity new writes it beside the identity";
        let parsed: PublicFile = toml::from_str(&text).map_err(|error| bad(error.message().to_owned()).next(hint))?;
        let spki = hex::decode(&parsed.key).map_err(|_| bad("'key' is not hex".to_owned()))?;
        Ok(Self {
            name: SpiffeId::parse(&parsed.name).map_err(|error| bad(format!("'name': {error}")))?,
            principal: principal_id(&parsed.principal)
                .ok_or_else(|| bad("'principal' is not 32 hex digits".to_owned()))?,
            key: VerifyingKey::parse(&spki).map_err(|error| bad(format!("'key': {error}")))?,
        })
    }
}

fn principal_id(text: &str) -> Option<PrincipalId> {
    PrincipalId::parse(&hex::decode(text).ok()?).ok()
}

/// `operator`.
pub(crate) fn operator(verb: Operator, settings: &Settings) -> Result<u8, Error> {
    match verb {
        Operator::New(new) => make(&new, None, settings),
    }
}

/// `identity`.
pub(crate) fn identity(verb: Identity, settings: &Settings) -> Result<u8, Error> {
    match verb {
        Identity::New { new, principal } => make(&new, principal.as_deref(), settings),
        Identity::Show => {
            let key = session::identity(settings)?;
            settings.output.one(&shown(&key))?;
            Ok(crate::DONE)
        }
    }
}

fn make(new: &New, principal: Option<&str>, settings: &Settings) -> Result<u8, Error> {
    let mut key = Key::generate(&new.name, &mut rand::rng()).map_err(|bad| {
        Error::new(
            Code::BadPath,
            format!("'{}': {bad}", crate::output::printable(&new.name)),
        )
    })?;
    if let Some(principal) = principal {
        let bad = || usage("--principal takes an id of 32 hex digits").next("symbolon agent list");
        key = key.registered_as(principal_id(principal).ok_or_else(bad)?);
    }
    key.save(&new.out, Overwrite::Never)?;
    let mut public_path = new.out.clone().into_os_string();
    public_path.push(".pub");
    let public = PublicFile {
        name: key.name().to_owned(),
        principal: key.principal().to_string(),
        key: hex::encode(key.spki()),
    };
    let text = toml::to_string(&public).map_err(|error| local(error.to_string()))?;
    replace_public_file(Path::new(&public_path), text.as_bytes())?;
    say(&format!(
        "{} is secret; {} is what others may have",
        new.out.display(),
        Path::new(&public_path).display()
    ));
    settings.output.one(&shown(&key))?;
    Ok(crate::DONE)
}

fn shown(key: &Key) -> Record {
    Record::new()
        .with("name", key.name())
        .with("principal", key.principal().to_string())
        .with("key", hex::encode(key.spki()))
        .with("fingerprint", hex::encode(key.fingerprint()))
}
