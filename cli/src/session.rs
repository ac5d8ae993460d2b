//! From settings to a connection: address, identity, the roster seen before.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use symbolon_client::{Client, Endpoint, Identity, Options};
use symbolon_wire::path::Path;
use symbolon_wire::{Code, limits::ROSTER_BYTES_MAX};

use crate::failure::{Error, local};
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

/// Connects; keeps the roster for the next time.
pub(crate) async fn connect(settings: &Settings) -> Result<Client, Error> {
    let (endpoint, identity) = (endpoint(settings)?, identity(settings)?);
    let cache = roster_file(settings, &endpoint);
    let cached = cached_roster(&cache);
    let options = Options {
        connect_timeout: settings.timeout.min(Options::default().connect_timeout),
        request_timeout: settings.timeout,
        write_within: settings.timeout,
        ..Options::default()
    };
    let known = cached.clone();
    let client = while_waiting("connecting", Client::connect(endpoint, cached, identity, options)).await?;
    if known.as_ref() != Some(&client.roster().encoded) {
        replace_file(&cache, &client.roster().encoded)?;
    }
    Ok(client)
}

/// Where the roster of this cluster is kept: beside the user's configuration, by the hash of its genesis.
pub(crate) fn roster_file(settings: &Settings, endpoint: &Endpoint) -> PathBuf {
    let folder = settings
        .user_file
        .parent()
        .map(std::path::Path::to_path_buf)
        .unwrap_or_default();
    folder
        .join("rosters")
        .join(format!("{}.roster", hex::encode(endpoint.genesis())))
}

/// A roster that was kept. It saves a connection and is verified again; one that cannot be read is as good as none.
fn cached_roster(path: &std::path::Path) -> Option<Bytes> {
    let bytes = std::fs::read(path).ok()?;
    (bytes.len() <= ROSTER_BYTES_MAX).then(|| bytes.into())
}

/// A secret's path, as written.
pub(crate) fn secret_path(text: &str) -> Result<Path, Error> {
    Path::parse(text).map_err(|bad| Error::new(Code::BadPath, format!("'{}': {bad}", crate::output::printable(text))))
}
