//! Commands that need several signatures: saved to a file, passed round, signed, submitted. And commands whose outcome
//! is unknown: the same bytes may be sent again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Subcommand;
use symbolon_client::{Client, Level, Submitted, sign_command};
use symbolon_wire::command::ParsedCommand;
use symbolon_wire::limits::{COMMAND_BYTES_MAX, EXPIRY_AHEAD_SEVERAL_MS_MAX};
use symbolon_wire::v1::{self, command_body::Payload};
use symbolon_wire::{Code, Message};

use crate::failure::{Error, file, usage};
use crate::limits::COLLECT_WITHIN;
use crate::output::{Record, say};
use crate::progress::while_waiting;
use crate::session::{connect, identity};
use crate::settings::{Settings, replace_file};
use crate::times::{ms, parse_duration, show_ms};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what a command would do, and who has signed it
    #[command(after_help = "Example:\n  symbolon command show policies.command")]
    Show {
        /// Command file
        file: PathBuf,
    },
    /// Add your signature, after looking at it
    #[command(after_help = "Example:\n  symbolon command sign policies.command --identity bob.identity")]
    Sign {
        /// Command file
        file: PathBuf,
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
    /// How long others have to sign, at most 7d
    #[arg(long, value_parser = parse_duration, value_name = "TIME", requires = "save")]
    sign_within: Option<Duration>,
}

/// `command`.
pub(crate) async fn command(verb: &Command, settings: &Settings) -> Result<u8, Error> {
    match verb {
        Command::Show { file } => settings.output.one(&shown(&parse(&read(file)?)?))?,
        Command::Sign { file } => {
            let mut message = decode(&read(file)?)?;
            sign_command(&mut message, identity(settings)?.as_ref())?;
            let encoded = Bytes::from(message.encode_to_vec());
            replace_file(file, &encoded)?;
            settings.output.one(&shown(&parse(&encoded)?))?;
        }
        Command::Submit { file } => {
            let message = decode(&read(file)?)?;
            let client = connect(settings).await?;
            let done = while_waiting("submitting", client.submit_signed(message, Level::Committed)).await?;
            settings.output.one(&submitted(&done))?;
        }
    }
    Ok(crate::DONE)
}

/// Signs a change; submits it if one signature is enough, and saves it for the others if it is not.
pub(crate) async fn submit_or_save(
    client: &Client,
    payload: Payload,
    signatures_needed: u32,
    saving: &Saving,
    settings: &Settings,
) -> Result<u8, Error> {
    if let Some(path) = &saving.save {
        let within = saving.sign_within.unwrap_or(COLLECT_WITHIN);
        if ms(within) > EXPIRY_AHEAD_SEVERAL_MS_MAX {
            return Err(usage("a command expires after 7 days at the latest").next("--sign-within 7d"));
        }
        let mut message = client.build_command(payload, within);
        client.sign_command(&mut message)?;
        let encoded = Bytes::from(message.encode_to_vec());
        replace_file(path, &encoded)?;
        say(&format!(
            "{signatures_needed} signatures are needed: symbolon command sign {}",
            path.display()
        ));
        settings.output.one(&shown(&parse(&encoded)?))?;
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
    let mut message = client.build_command(payload, settings.timeout);
    client.sign_command(&mut message)?;
    let done = while_waiting("submitting", client.submit_signed(message, Level::Committed)).await?;
    settings.output.one(&submitted(&done))?;
    Ok(crate::DONE)
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

fn decode(bytes: &Bytes) -> Result<v1::Command, Error> {
    parse(bytes)?;
    v1::Command::decode(bytes.clone()).map_err(|_| Error::new(Code::Malformed, "the file is no command"))
}

fn parse(bytes: &Bytes) -> Result<ParsedCommand, Error> {
    ParsedCommand::parse(bytes.clone()).map_err(|error| Error::new(Code::Malformed, error.to_string()))
}

fn shown(command: &ParsedCommand) -> Record {
    let (kind, what) = match &command.payload {
        Payload::Put(put) => ("put", format!("version {} of {}", put.version, put.path)),
        Payload::Delete(delete) if delete.versions.is_empty() => (
            "delete",
            format!("{}, all up to version {}", delete.path, delete.latest),
        ),
        Payload::Delete(delete) => ("delete", format!("{}, versions {:?}", delete.path, delete.versions)),
        Payload::Policies(policies) => {
            let names: Vec<&str> = policies.sources.iter().map(|source| source.name.as_str()).collect();
            (
                "policy apply",
                format!("follows version {}: {}", policies.previous, names.join(", ")),
            )
        }
        Payload::Register(one) => (
            "agent register",
            format!("{}, owner {}, groups {:?}", one.name, one.owner, one.groups),
        ),
        Payload::Remove(one) => ("agent remove", hex::encode(&one.id)),
        Payload::Rekey(one) => (
            "agent rekey",
            format!("{}, {} keys", hex::encode(&one.id), one.keys.len()),
        ),
        Payload::Session(open) => ("sealing session", format!("epoch {}", open.epoch)),
    };
    Record::new()
        .with("kind", kind)
        .with("what", what)
        .with("cluster", command.cluster.to_string())
        .with("principal", command.principal.to_string())
        .with("expires", show_ms(command.expires_ms))
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

fn submitted(done: &Submitted) -> Record {
    let record = Record::new()
        .with("log_index", done.index)
        .with("repeated", done.repeated);
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

    #[test]
    fn a_file_that_is_no_command_is_refused() {
        assert_eq!(parse(&Bytes::from_static(b"hello")).unwrap_err().code, Code::Malformed);
    }
}
