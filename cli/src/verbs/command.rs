//! Commands that need several signatures: saved to a file, passed round, signed, submitted. And commands whose outcome
//! is unknown: the same bytes may be sent again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Subcommand;
use symbolon_client::{Client, Identity, Level, Options, Submitted, sign_command};
use symbolon_crypto::sign::VerifyingKey;
use symbolon_wire::command::ParsedCommand;
use symbolon_wire::ids::PrincipalKind;
use symbolon_wire::limits::{COMMAND_BYTES_MAX, EXPIRY_AHEAD_MS_MAX, EXPIRY_AHEAD_SEVERAL_MS_MAX};
use symbolon_wire::roster::Roster;
use symbolon_wire::v1::{self, command_body::Payload};
use symbolon_wire::{Code, Message};

use crate::agree::{self, Signing};
use crate::failure::{Error, file, usage};
use crate::limits::{COLLECT_WITHIN, EXPIRY_SPARE};
use crate::output::{Record, printable, say, write_all};
use crate::progress::while_waiting;
use crate::session::{connect, identity, roster};
use crate::settings::{Settings, new_file, replace_file};
use crate::times::{ms, parse_duration, time};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what a command would do, and who has signed it
    #[command(after_help = "Example:\n  symbolon command show policies.command")]
    Show {
        /// Command file
        file: PathBuf,
    },
    /// Show it, and add your signature if you agree
    #[command(
        after_help = "Example:\n  symbolon command sign policies.command --identity bob.identity   # shows it and asks\n  \
                      symbolon command sign policies.command --body-hash HASH           # what command show named"
    )]
    Sign {
        /// Command file
        file: PathBuf,
        /// Sign only this, as command show names it, and do not ask
        #[arg(long, value_name = "HASH")]
        body_hash: Option<String>,
    },
    /// Submit it; the same bytes may be submitted again
    #[command(after_help = "Example:\n  symbolon command submit policies.command")]
    Submit {
        /// Command file
        file: PathBuf,
    },
}

/// How a change that operators sign leaves this machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Saving {
    /// Write the signed command to this file instead, for others to sign
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// How long others have to sign, at most 7d (24h if left out); where one signature is enough, at most 10m
    #[arg(long, value_parser = parse_duration, value_name = "TIME", requires = "save")]
    sign_within: Option<Duration>,
    /// Replace the file if there is one
    #[arg(long, requires = "save")]
    force: bool,
}

impl Saving {
    /// How long the saved command holds: never longer than nodes would take it.
    fn within(&self, signatures_needed: u32) -> Result<Duration, Error> {
        let (most_ms, most) = match signatures_needed {
            0 | 1 => (EXPIRY_AHEAD_MS_MAX, "10m"),
            _ => (EXPIRY_AHEAD_SEVERAL_MS_MAX, "7d"),
        };
        if self.sign_within.is_some_and(|within| ms(within) > most_ms) {
            let needed = signatures(signatures_needed);
            return Err(usage(format!(
                "a command that needs {needed} expires after {most} at the latest"
            ))
            .next(format!("--sign-within {most}, or less")));
        }
        let most = Duration::from_millis(most_ms).saturating_sub(EXPIRY_SPARE);
        Ok(self.sign_within.unwrap_or(COLLECT_WITHIN).min(most))
    }

    /// Writes the command; a file that is there may hold the signatures of others.
    fn write(&self, path: &Path, command: &[u8]) -> Result<(), Error> {
        if self.force {
            return replace_file(path, command);
        }
        let written = new_file(path, command);
        written.map_err(|error| match path.exists() {
            true => error
                .because("it may hold signatures of others")
                .next(format!("symbolon command show {}; --force replaces it", path.display())),
            false => error,
        })
    }
}

/// A change that operators sign.
pub(crate) struct Change {
    pub(crate) payload: Payload,
    /// Operators who must sign it.
    pub(crate) signatures_needed: u32,
    /// What is so when it is done, for people.
    pub(crate) done: String,
    /// The same, field by field.
    pub(crate) record: Record,
    /// What to do then.
    pub(crate) next: String,
}

/// `1 signature`, `2 signatures`.
fn signatures(count: u32) -> String {
    match count {
        1 => "1 signature".to_owned(),
        count => format!("{count} signatures"),
    }
}

/// `command`.
pub(crate) async fn command(verb: &Command, settings: &Settings) -> Result<u8, Error> {
    match verb {
        Command::Show { file } => show(&parse(&read(file)?)?, settings)?,
        Command::Sign { file, body_hash } => {
            // Read once: what is signed is what is shown, whatever becomes of the file meanwhile.
            let mut message = decode(&read(file)?)?;
            let identity = identity(settings)?;
            let parsed = parse(&Bytes::from(message.encode_to_vec()))?;
            may_sign(&parsed, &identity, &roster(settings).await?)?;
            agreed(&parsed, file, body_hash.as_deref(), settings)?;
            sign_command(&mut message, &identity)?;
            let encoded = Bytes::from(message.encode_to_vec());
            replace_file(file, &encoded)?;
            settings
                .output
                .one(&shown(&parse(&encoded)?, settings.output.for_people()))?;
        }
        Command::Submit { file } => {
            let bytes = read(file)?;
            let (message, (kind, what)) = (decode(&bytes)?, meaning(&parse(&bytes)?));
            let client = connect(settings).await?;
            let done = while_waiting("submitting", client.submit_signed(message, Level::Committed)).await;
            let done = done.map_err(|error| match error.code {
                Code::Expired => error.next(
                    "make it anew with --save FILE --force, and submit it in time (--sign-within TIME); \
                     if it has just been made, compare clocks: symbolon doctor",
                ),
                _ => error,
            })?;
            let when = if done.repeated {
                "was done before, and counts once"
            } else {
                "is done"
            };
            say(&format!("{kind} {when}: {}", printable(&what)));
            let record = Record::new().with("kind", kind).with("what", what);
            settings.output.one(&submitted(record, &done))?;
        }
    }
    Ok(crate::DONE)
}

/// Shows a command, and for people the whole text of policies below it.
fn show(command: &ParsedCommand, settings: &Settings) -> Result<(), Error> {
    let people = settings.output.for_people();
    settings.output.one(&shown(command, people))?;
    match &command.payload {
        Payload::Policies(policies) if people => write_all(&texts(&policies.sources)),
        _ => Ok(()),
    }
}

/// Each policy file, line by line.
fn texts(sources: &[v1::PolicySource]) -> String {
    let lines = sources.iter().flat_map(|source| {
        let heading = format!("\n--- {} ---\n", printable(&source.name));
        let lines = lines(&source.text).map(|line| format!("{}\n", printable(&line.replace('\t', "    "))));
        std::iter::once(heading).chain(lines)
    });
    lines.collect()
}

/// Lines as whoever reads policies by machine tells them apart: a carriage return alone ends a comment, too.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_terminator('\n')
        .flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

/// Whether whoever signs has seen what is signed.
fn agreed(command: &ParsedCommand, path: &Path, body_hash: Option<&str>, settings: &Settings) -> Result<(), Error> {
    let signing = Signing {
        hash: hex::encode(command.body_hash()),
        what: "the command of that body hash",
        look: format!("symbolon command show {}", path.display()),
        named: format!("symbolon command sign {} --body-hash HASH", path.display()),
    };
    agree::agreed(&signing, body_hash, settings, || show(command, settings))
}

/// Signs a change; submits it if one signature is enough, and saves it for the others if it is not.
pub(crate) async fn submit_or_save(
    client: &Client,
    change: Change,
    saving: &Saving,
    settings: &Settings,
) -> Result<u8, Error> {
    let signatures_needed = change.signatures_needed;
    if let Some(path) = &saving.save {
        let mut message = client.build_command(change.payload, saving.within(signatures_needed)?);
        client.sign_command(&mut message)?;
        let encoded = Bytes::from(message.encode_to_vec());
        saving.write(path, &encoded)?;
        let (needed, file) = (signatures(signatures_needed), path.display());
        say(&match signatures_needed {
            0 | 1 => format!(
                "saved, nothing is changed yet; {needed} is needed, and it is there\n  next     symbolon command submit {file}"
            ),
            _ => format!(
                "saved, nothing is changed yet; {needed} are needed, yours is there\n  \
                 next     the others look at it (symbolon command show {file}) and sign it: symbolon command sign {file}\n  \
                 then     symbolon command submit {file}"
            ),
        });
        settings
            .output
            .one(&shown(&parse(&encoded)?, settings.output.for_people()))?;
        return Ok(crate::DONE);
    }
    if signatures_needed > 1 {
        let error = Error::new(
            Code::TooFewSignatures,
            format!("this change needs {signatures_needed} operators' signatures"),
        );
        return Err(error.next(
            "give --save FILE, let the others run symbolon command sign FILE, then symbolon command submit FILE",
        ));
    }
    let mut message = client.build_command(change.payload, Options::default().command_life);
    client.sign_command(&mut message)?;
    let done = while_waiting("submitting", client.submit_signed(message, Level::Committed)).await?;
    say(&format!("{}\n  next     {}", change.done, change.next));
    settings.output.one(&submitted(change.record, &done))?;
    Ok(crate::DONE)
}

/// Refuses a signature that nodes would refuse: whoever signs in vain should learn it now and not from the others.
fn may_sign(command: &ParsedCommand, identity: &Identity, roster: &Roster) -> Result<(), Error> {
    if command.cluster != roster.cluster {
        let told = format!(
            "the command is for cluster {}, this is {}",
            command.cluster, roster.cluster
        );
        return Err(Error::new(Code::WrongCluster, told).next("symbolon --context NAME command sign FILE"));
    }
    let operator = roster
        .operators
        .iter()
        .any(|one| one.id == identity.principal() && one.key.spki() == identity.spki());
    let refused = |what: String| {
        let names: Vec<&str> = roster.operators.iter().map(|one| one.name.as_str()).collect();
        Error::new(Code::BadSignature, what).because(format!("the operators are {}", names.join(", ")))
    };
    match command.payload {
        Payload::Policies(_) | Payload::Register(_) | Payload::Remove(_) | Payload::Rekey(_) if operator => Ok(()),
        Payload::Policies(_) | Payload::Register(_) | Payload::Remove(_) | Payload::Rekey(_) => {
            let told = refused(format!(
                "{} is no operator of this cluster: its signature would not count",
                identity.name()
            ));
            Err(told.next("choose an operator's identity with --identity FILE"))
        }
        Payload::Put(_)
        | Payload::Delete(_)
        | Payload::Undelete(_)
        | Payload::Destroy(_)
        | Payload::Metadata(_)
        | Payload::Session(_) => Err(Error::new(
            Code::BadSignature,
            "this command is signed by its author alone, and has been",
        )
        .next("symbolon command submit FILE")),
    }
}

/// Keeps a command whose outcome is unknown, and says how to send the same bytes again.
pub(crate) fn keep_unknown(error: Error, settings: &Settings) -> Error {
    let Some(bytes) = error.unknown_outcome_command.clone() else {
        return error;
    };
    let folder = settings
        .user_file
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
        .join("unknown");
    let name = hex::encode(symbolon_crypto::enc::sha256(&bytes).get(..8).unwrap_or_default());
    let path = folder.join(format!("{name}.command"));
    match replace_file(&path, &bytes) {
        Ok(()) => error.next(format!(
            "symbolon command submit {}   (sends the same bytes, which count once)",
            path.display()
        )),
        Err(why) => error.because(format!("the command could not be kept: {}", why.message)),
    }
}

fn read(path: &Path) -> Result<Bytes, Error> {
    let bytes = std::fs::read(path).map_err(|error| file(path, &error))?;
    if bytes.len() > COMMAND_BYTES_MAX {
        return Err(Error::new(
            Code::TooLarge,
            format!("{} is no command: it has {} bytes", path.display(), bytes.len()),
        ));
    }
    Ok(bytes.into())
}

fn no_command(why: &str) -> Error {
    usage(format!("the file is no command: {why}")).next("name a file that --save wrote")
}

fn decode(bytes: &Bytes) -> Result<v1::Command, Error> {
    parse(bytes)?;
    v1::Command::decode(bytes.clone()).map_err(|_| no_command("it does not decode"))
}

fn parse(bytes: &Bytes) -> Result<ParsedCommand, Error> {
    ParsedCommand::parse(bytes.clone()).map_err(|error| no_command(&error.to_string()))
}

fn which_versions(named: &v1::SecretVersions) -> String {
    if named.versions.is_empty() {
        return format!("{}, all up to version {}", named.path, named.latest);
    }
    format!("{}, versions {:?}", named.path, named.versions)
}

fn metadata(change: &v1::SetMetadata) -> String {
    let keys = change.set.iter().map(|entry| format!("sets {}", entry.key));
    let gone = change.remove.iter().map(|key| format!("removes {key}"));
    let rest = change.replace.then(|| "removes all others".to_owned());
    let settings = change.settings.map(|settings| {
        format!(
            "max versions {}, cas required {}",
            settings.max_versions, settings.cas_required
        )
    });
    let parts: Vec<String> = keys.chain(gone).chain(rest).chain(settings).collect();
    format!(
        "of {}, follows version {}: {}",
        change.path,
        change.previous,
        parts.join(", ")
    )
}

/// What a command does: its kind, and to what.
fn meaning(command: &ParsedCommand) -> (&'static str, String) {
    match &command.payload {
        Payload::Put(put) => ("put", format!("version {} of {}", put.version, put.path)),
        Payload::Delete(named) => ("delete", which_versions(named)),
        Payload::Undelete(named) => ("undelete", which_versions(named)),
        Payload::Destroy(named) => ("destroy", which_versions(named)),
        Payload::Metadata(change) => ("metadata set", metadata(change)),
        Payload::Policies(policies) => {
            let names: Vec<&str> = policies.sources.iter().map(|source| source.name.as_str()).collect();
            (
                "policy apply",
                format!("follows version {}: {}", policies.previous, names.join(", ")),
            )
        }
        Payload::Register(one) => (
            "agent register",
            format!("{}, owner {:?}, groups {:?}", one.name, one.owner, one.groups),
        ),
        Payload::Remove(one) => ("agent remove", hex::encode(&one.id)),
        Payload::Rekey(one) => (
            "agent rekey",
            format!("{}, keys {}", hex::encode(&one.id), fingerprints(&one.keys).join(", ")),
        ),
        Payload::Session(open) => ("sealing session", format!("epoch {}", open.epoch)),
    }
}

/// SHA-256 of each key, as `symbolon identity show` and `agent list` name it.
pub(super) fn fingerprints<'a>(keys: impl IntoIterator<Item = &'a Bytes>) -> Vec<String> {
    let named = keys.into_iter().map(|spki| match VerifyingKey::parse(spki) {
        Ok(key) => hex::encode(key.fingerprint()),
        Err(_) => "not a key".to_owned(),
    });
    named.collect()
}

/// All that a command holds: who signs it must find nothing in it afterwards. For people, policies follow it line by line.
fn shown(command: &ParsedCommand, people: bool) -> Record {
    let (kind, what) = meaning(command);
    let record = Record::new().with("kind", kind).with("what", what);
    let record = match &command.payload {
        Payload::Policies(policies) if !people => {
            let files = policies.sources.iter();
            let files = files.map(|source| serde_json::json!({ "name": source.name, "text": source.text }));
            record.with("policies", files.collect::<Vec<_>>())
        }
        Payload::Register(one) => record
            .with("id", hex::encode(&one.id))
            .with("tenant", hex::encode(&one.tenant))
            .with(
                "agent_kind",
                PrincipalKind::from_number(one.kind).map_or("unknown", PrincipalKind::name),
            )
            .with("name", one.name.as_str())
            .with("owner", one.owner.as_str())
            .with("purpose", one.purpose.as_str())
            .with("agent_expires", time(one.expires_ms))
            .with("groups", one.groups.clone())
            .with("fingerprints", fingerprints(&one.keys)),
        Payload::Rekey(one) => record
            .with("id", hex::encode(&one.id))
            .with("fingerprints", fingerprints(&one.keys)),
        _ => record,
    };
    record
        .with("cluster", command.cluster.to_string())
        .with("principal", command.principal.to_string())
        .with("expires", time(command.expires_ms))
        .with(
            "signed_by",
            command
                .signatures
                .iter()
                .map(|one| hex::encode(one.key))
                .collect::<Vec<_>>(),
        )
        .with("body_hash", hex::encode(command.body_hash()))
}

fn submitted(record: Record, done: &Submitted) -> Record {
    let record = record.with("log_index", done.index).with("repeated", done.repeated);
    // Kinds that make no version say 0.
    if done.version == 0 {
        record
    } else {
        record.with("version", done.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saving(sign_within: Option<Duration>, force: bool) -> Saving {
        Saving {
            save: None,
            sign_within,
            force,
        }
    }

    /// Who is asked for a second signature gave it for names of files, or a count of keys.
    #[test]
    fn nothing_that_is_signed_stays_unshown() {
        let command = |payload| {
            let body = symbolon_wire::command::encode_body(
                symbolon_wire::ids::ClusterId([1; 16]),
                symbolon_wire::ids::PrincipalId([2; 16]),
                &[3; 32],
                4,
                payload,
            );
            let signature = v1::CommandSignature {
                key: Bytes::copy_from_slice(&[5; 32]),
                signature: Bytes::copy_from_slice(&[6; 64]),
            };
            let command = v1::Command {
                body,
                signatures: vec![signature],
            };
            parse(&command.encode_to_vec().into()).unwrap()
        };
        let policies = v1::SetPolicies {
            previous: 1,
            sources: vec![v1::PolicySource {
                name: "all.cedar".into(),
                text: "permit(principal, action, resource);\r\n\u{202e}// harmless\rforbid(principal, action, resource);\n".into(),
            }],
        };
        let structured = format!("{:?}", shown(&command(Payload::Policies(policies.clone())), false));
        assert!(
            structured.contains("permit(principal, action, resource)"),
            "{structured}"
        );
        let people = texts(&policies.sources);
        assert!(people.contains("\npermit(principal, action, resource);\n"), "{people}");
        assert!(!people.contains('\u{202e}'), "{people}");
        assert!(
            people.contains("harmless\nforbid(principal"),
            "what ends a comment is no part of it: {people}"
        );
        assert_eq!(people.matches('\u{fffd}').count(), 1, "{people}");

        let key = symbolon_crypto::sign::SigningKey::generate(&mut rand::rng());
        let key = key.verifying_key();
        let (spki, fingerprint) = (Bytes::copy_from_slice(key.spki()), hex::encode(key.fingerprint()));
        let register = v1::RegisterPrincipal {
            id: Bytes::copy_from_slice(&[7; 16]),
            kind: 1,
            name: "spiffe://local/bot".into(),
            owner: "ada, groups [\"none\"]".into(),
            purpose: "reads".into(),
            groups: vec!["admins".into()],
            keys: vec![spki.clone()],
            ..v1::RegisterPrincipal::default()
        };
        let rekey = v1::RekeyPrincipal {
            id: Bytes::copy_from_slice(&[7; 16]),
            keys: vec![spki],
        };
        for payload in [Payload::Register(register), Payload::Rekey(rekey)] {
            let told = format!("{:?}", shown(&command(payload), true));
            assert!(told.contains(&fingerprint) && told.contains(&"07".repeat(16)), "{told}");
        }
    }

    #[test]
    fn a_saved_command_holds_as_long_as_nodes_would_take_it() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        for sign_within in [None, Some(minutes(10))] {
            let within = saving(sign_within, false).within(1).unwrap();
            assert_eq!(within, minutes(9), "nodes whose log time is behind take it, too");
        }
        assert_eq!(saving(None, false).within(2).unwrap(), COLLECT_WITHIN);
        assert!(saving(Some(minutes(11)), false).within(1).is_err());
        assert!(saving(Some(minutes(11)), false).within(2).is_ok());
        assert!(saving(Some(minutes(8 * 24 * 60)), false).within(2).is_err());
    }

    #[test]
    fn a_file_with_signatures_is_replaced_only_if_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.command");
        saving(None, false).write(&path, b"one").unwrap();
        let error = saving(None, false).write(&path, b"two").unwrap_err().to_string();
        assert!(
            error.contains("signatures of others") && error.contains("--force"),
            "{error}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        saving(None, true).write(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
    }

    #[test]
    fn a_file_that_is_no_command_is_refused() {
        assert_eq!(parse(&Bytes::from_static(b"hello")).unwrap_err().code, Code::Usage);
    }
}
