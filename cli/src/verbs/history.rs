//! `history`: the versions of a secret, what became of each, and who wrote it.

use clap::Args;
use symbolon_crypto::limits::TAG_BYTES;
use symbolon_crypto::padme::LENGTH_BYTES;
use symbolon_wire::{Code, v1};

use crate::failure::Error;
use crate::output::Record;
use crate::progress::while_waiting;
use crate::session::{connect, secret_path};
use crate::settings::Settings;
use crate::times::{now_ms, time};
use crate::verbs::secrets::list_beside;

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  symbolon history prod/stripe/key
  symbolon history prod/stripe/key -o json

live versions can be read; hidden ones again after symbolon undelete; expired and destroyed ones never. Sizes are padded:
no node knows how long a value is, only that it is no longer than this.")]
pub(crate) struct History {
    /// Path, such as prod/stripe/key
    path: String,
}

/// `history`.
pub(crate) async fn history(history: &History, settings: &Settings) -> Result<u8, Error> {
    let path = secret_path(&history.path)?;
    let client = connect(settings).await?;
    let found = while_waiting("reading", client.metadata(path.as_str())).await;
    let found = found.map_err(|error| match error.code {
        Code::NotFound => error.next(list_beside(&path)),
        _ => error,
    })?;
    let (n, now_ms) = (client.roster().n(), now_ms()?);
    let records: Vec<Record> = found.versions.iter().map(|version| line(version, n, now_ms)).collect();
    settings.output.list(&records, "no versions")?;
    Ok(crate::DONE)
}

fn line(version: &v1::VersionInfo, n: u16, now_ms: u64) -> Record {
    let author = match version.author_name.as_str() {
        "" => hex::encode(&version.author),
        name => name.to_owned(),
    };
    Record::new()
        .with("version", version.version)
        .with("state", standing(version, now_ms))
        .with("created", time(version.created_ms))
        .with("expires", time(version.expires_ms))
        .with("author", author)
        .with("bytes_at_most", bytes_at_most(version.ciphertext_bytes))
        .with(
            "fragments_checked",
            format!("{}/{n}", version.fragments_ok.count_ones()),
        )
        .with("log_index", version.log_index)
}

/// The longest value that a ciphertext of this length may hold.
fn bytes_at_most(ciphertext_bytes: u32) -> u64 {
    u64::from(ciphertext_bytes).saturating_sub((TAG_BYTES + LENGTH_BYTES) as u64)
}

/// Whether a version can be read: by this machine's clock, which is what its user compares with.
fn standing(version: &v1::VersionInfo, now_ms: u64) -> &'static str {
    match version {
        version if version.destroyed => "destroyed",
        version if version.deleted => "hidden",
        version if version.expires_ms != 0 && version.expires_ms <= now_ms => "expired",
        _ => "live",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_past_its_time_to_live_is_shown_as_expired() {
        let version = |expires_ms, deleted| v1::VersionInfo {
            expires_ms,
            deleted,
            ..v1::VersionInfo::default()
        };
        assert_eq!(standing(&version(0, false), 10), "live");
        assert_eq!(standing(&version(11, false), 10), "live");
        assert_eq!(standing(&version(10, false), 10), "expired");
        assert_eq!(standing(&version(10, true), 10), "hidden");
        let destroyed = v1::VersionInfo {
            destroyed: true,
            ..version(10, true)
        };
        assert_eq!(standing(&destroyed, 10), "destroyed");
    }

    #[test]
    fn the_size_shown_is_that_of_the_longest_value_with_this_padding() {
        assert_eq!(bytes_at_most(256 + 16), 252);
        assert_eq!(bytes_at_most(0), 0);
    }
}
