//! From settings to a connection: address, identity, the roster seen before.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use symbolon_client::{Client, Endpoint, Identity, Options};
use symbolon_crypto::enc::sha256;
use symbolon_crypto::provider::AwsLc;
use symbolon_wire::path::Path;
use symbolon_wire::roster::Roster;
use symbolon_wire::{Code, limits::ROSTER_BYTES_MAX};

use crate::failure::{Error, local};
use crate::output::say;
use crate::progress::while_waiting;
use crate::settings::{Settings, replace_file};

/// The address of the chosen cluster.
pub(crate) fn endpoint(settings: &Settings) -> Result<Endpoint, Error> {
    let text = settings.endpoint.as_deref().ok_or_else(|| {
        local("no cluster is chosen")
            .because("neither --endpoint nor --context nor a configuration file names one")
            .next("symbolon dev   (a cluster on this machine), or --endpoint symbolon://host:port?genesis=…")
    })?;
    Ok(Endpoint::parse(text)?)
}

/// The chosen identity.
pub(crate) fn identity(settings: &Settings) -> Result<Arc<Identity>, Error> {
    let path = settings.identity.as_deref().ok_or_else(|| {
        local("no identity is chosen")
            .because("neither --identity nor the context names a file")
            .next("symbolon identity new spiffe://your-domain/agent/name --out name.identity")
    })?;
    Ok(Arc::new(Identity::load(path)?))
}

/// Connects; keeps the roster for the next time. `--timeout` bounds all that is asked, from here on.
pub(crate) async fn connect(settings: &Settings) -> Result<Client, Error> {
    connect_until(settings, Instant::now().checked_add(settings.timeout)).await
}

/// As [`connect`], for what takes as long as a log is long: `--timeout` bounds each answer.
pub(crate) async fn connect_for_long(settings: &Settings) -> Result<Client, Error> {
    connect_until(settings, None).await
}

async fn connect_until(settings: &Settings, until: Option<Instant>) -> Result<Client, Error> {
    let (endpoint, identity) = (endpoint(settings)?, identity(settings)?);
    let cache = roster_file(settings, &endpoint);
    let cached = cached_roster(&cache);
    let options = Options {
        // Half of it at most is spent on nodes that are not there; the rest is for those that are.
        connect_timeout: (settings.timeout / 2).min(Options::default().connect_timeout),
        request_timeout: settings.timeout,
        write_within: settings.timeout,
        until,
        ..Options::default()
    };
    let known = cached.clone();
    let connected = while_waiting("connecting", Client::connect(endpoint, cached, identity, options)).await;
    let client = connected.map_err(|error| not_running(error, settings))?;
    if known.as_ref() != Some(&client.roster().encoded)
        && let Err(error) = replace_file(&cache, &client.roster().encoded)
    {
        // It saves a round trip the next time, no more.
        say(&format!(
            "warning: the cluster's roster is fetched each time, as it cannot be kept: {}",
            error.message
        ));
    }
    Ok(client)
}

/// A cluster of `symbolon dev` that does not answer was mostly stopped.
fn not_running(error: Error, settings: &Settings) -> Error {
    match &settings.dev_folder {
        Some(folder) if error.code == Code::Unreachable => error.next(format!(
            "symbolon dev --dir {}   (starts it again, with its data)",
            folder.display()
        )),
        _ => error,
    }
}

/// The roster of the chosen cluster: as it was kept, so that this works offline, or from its nodes.
pub(crate) async fn roster(settings: &Settings) -> Result<Roster, Error> {
    let endpoint = endpoint(settings)?;
    let kept = cached_roster(&roster_file(settings, &endpoint));
    match kept.and_then(|bytes| Roster::genesis(bytes, Some(endpoint.genesis()), &AwsLc).ok()) {
        Some(roster) => Ok(roster),
        None => Ok(connect(settings).await?.roster().clone()),
    }
}

/// Where the roster of this cluster is kept: beside the user's configuration, by its whole address. An address with other
/// hosts is asked for the roster anew: whoever names hosts wants those to be tried.
pub(crate) fn roster_file(settings: &Settings, endpoint: &Endpoint) -> PathBuf {
    let folder = settings
        .user_file
        .parent()
        .map(std::path::Path::to_path_buf)
        .unwrap_or_default();
    folder.join("rosters").join(format!(
        "{}.roster",
        hex::encode(sha256(endpoint.to_string().as_bytes()))
    ))
}

/// A roster that was kept. It saves a connection and is verified again; one that cannot be read is as good as none.
fn cached_roster(path: &std::path::Path) -> Option<Bytes> {
    let bytes = std::fs::read(path).ok()?;
    (bytes.len() <= ROSTER_BYTES_MAX).then(|| bytes.into())
}

/// A secret's or folder's path, as written.
pub(crate) fn secret_path(text: &str) -> Result<Path, Error> {
    Path::parse(text).map_err(|bad| {
        let shown = crate::output::printable(text);
        let trimmed = text.trim_end_matches('/');
        if trimmed != text && Path::parse(trimmed).is_ok() {
            return Error::new(Code::BadPath, format!("'{shown}': names have no trailing slash"))
                .next(format!("write {trimmed}"));
        }
        Error::new(Code::BadPath, format!("'{shown}': {bad}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailing_slash_is_named_as_such_with_the_right_spelling() {
        let error = secret_path("prod/stripe/").unwrap_err();
        assert_eq!(error.message, "'prod/stripe/': names have no trailing slash");
        assert_eq!(error.next.as_deref(), Some("write prod/stripe"));
        assert!(secret_path("/").unwrap_err().message.contains("no '/' at either end"));
    }
}
