//! What stands beside a secret: texts that are no secrets, and how it may be written. None of it is encrypted: every node
//! reads it, and so does whoever may `readMetadata`.

use crate::client::Client;
use crate::error::Error;
use crate::limits::CONFLICT_ATTEMPTS;
use crate::resolve::{Change, Resolved};
use crate::submit::Submitted;
use crate::write::pause;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use symbolon_wire::path::Path;
use symbolon_wire::v1::command_body::Payload;
use symbolon_wire::{Code, v1};

/// A change of a secret's metadata and settings. What it does not name stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetadataChange {
    /// Entries to set, by key.
    pub set: BTreeMap<String, String>,
    /// Keys of entries to remove.
    pub remove: BTreeSet<String>,
    /// Whether all other entries go.
    pub replace: bool,
    /// How many versions are kept: older ones are destroyed. 0: as many as there may be.
    pub max_versions: Option<u64>,
    /// Whether writes must state the version that they follow.
    pub cas_required: Option<bool>,
    /// The version of the metadata that this change follows: made only if that is still the latest (0: only if nothing was
    /// ever set). `None`: whatever is latest.
    pub cas: Option<u64>,
}

impl Client {
    /// Changes the metadata or settings of the secret at `path`. The answer's version is that of the metadata.
    ///
    /// # Errors
    /// [`Code::BadPath`]; what apply recorded: [`Code::NotFound`] where there is no secret, [`Code::Conflict`] with `cas`,
    /// [`Code::Denied`] also where fewer versions would be kept and the author may not `destroy`; what [`Client::get`]
    /// gives for nodes.
    pub async fn set_metadata(&self, path: &str, change: &MetadataChange) -> Result<Submitted, Error> {
        let path = Path::parse(path).map_err(|bad| Error::new(Code::BadPath, bad.to_string()))?;
        let what = format!("change the metadata of {path}");
        let mut attempt = 0;
        loop {
            attempt += 1;
            let found = self.inner.resolve(&path, Change::WriteMetadata).await?;
            if found.known.latest == 0 {
                return Err(Error::new(Code::NotFound, format!("there is no secret at {path}")));
            }
            let message = message(&path, &found, change);
            match self.inner.command(&what, Payload::Metadata(message)).await {
                Err(error) if error.code == Code::Conflict && change.cas.is_none() && attempt < CONFLICT_ATTEMPTS => {
                    pause(attempt).await;
                }
                done => return done,
            }
        }
    }
}

fn message(path: &Path, found: &Resolved, change: &MetadataChange) -> v1::SetMetadata {
    let entries = change.set.iter().map(|(key, text)| v1::MetadataEntry {
        key: key.clone(),
        text: text.clone(),
    });
    let settings = v1::SecretSettings {
        max_versions: change.max_versions.unwrap_or(found.settings.max_versions),
        cas_required: change.cas_required.unwrap_or(found.settings.cas_required),
    };
    let changes_settings = change.max_versions.is_some() || change.cas_required.is_some();
    v1::SetMetadata {
        tenant: Bytes::copy_from_slice(found.known.tenant.bytes()),
        path: path.as_str().to_owned(),
        secret: Bytes::copy_from_slice(found.known.secret.bytes()),
        previous: change.cas.unwrap_or(found.metadata_version),
        replace: change.replace,
        set: entries.collect(),
        remove: change.remove.iter().cloned().collect(),
        settings: changes_settings.then_some(settings),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::Known;
    use symbolon_wire::ids::{SecretId, TenantId};

    fn found() -> Resolved {
        Resolved {
            known: Known {
                tenant: TenantId([1; 16]),
                secret: SecretId([2; 16]),
                latest: 3,
            },
            metadata_version: 7,
            settings: v1::SecretSettings {
                max_versions: 5,
                cas_required: true,
            },
        }
    }

    #[test]
    fn a_setting_that_is_not_named_stays_as_it_is() {
        let path = Path::parse("a/b").unwrap();
        let of = |change: MetadataChange| message(&path, &found(), &change);
        let one = of(MetadataChange {
            max_versions: Some(9),
            ..MetadataChange::default()
        });
        let (max_versions, cas_required) = (9, true);
        assert_eq!(
            one.settings,
            Some(v1::SecretSettings {
                max_versions,
                cas_required
            })
        );
        assert_eq!(one.previous, 7, "it follows what was found");
        let stated = of(MetadataChange {
            set: [("owner".to_owned(), "billing".to_owned())].into(),
            cas: Some(4),
            ..MetadataChange::default()
        });
        assert_eq!((stated.previous, stated.settings), (4, None));
    }
}
