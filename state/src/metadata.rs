//! What stands beside a secret: texts of its owners', which are no secrets, and how it may be written. A change follows a
//! version of the metadata, so that nobody overwrites what he has not seen.

use crate::access::Subject;
use crate::commands::{Place, Refusal, Success};
use crate::keys;
use crate::machine::{Effect, Machine};
use crate::query;
use crate::records::{MetadataRecord, MetadataText, SecretRecord};
use crate::secrets::{changed, check_tenant, destroy_excess, excess, kept, permitted};
use crate::view::{Fault, Records, store};
use bytes::Bytes;
use std::collections::BTreeMap;
use symbolon_policy::Action;
use symbolon_wire::change::ChangeKind;
use symbolon_wire::limits::{METADATA_ENTRIES_MAX, METADATA_KEY_BYTES_MAX, METADATA_TEXT_BYTES_MAX, VERSIONS_MAX};
use symbolon_wire::path::Path;
use symbolon_wire::{Code, v1};

/// Changes metadata and settings.
pub(crate) fn set(
    machine: &Machine,
    records: &mut dyn Records,
    place: Place<'_>,
    author: &Subject,
    change: &v1::SetMetadata,
) -> Result<Result<Success, Refusal>, Fault> {
    let path = match check_form(author, change) {
        Ok(path) => path,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if let Err(refusal) = permitted(machine, place, author, Action::WriteMetadata, &path, None) {
        return Ok(Err(refusal));
    }
    let Some((id, mut secret)) = query::secret_at(records, author.tenant, &path)? else {
        return Ok(Err(Refusal::new(
            Code::NotFound,
            format!("there is no secret at {path}"),
        )));
    };
    let current = query::metadata(records, id)?;
    if change.secret != id.bytes().as_slice() || change.previous != current.version {
        let what = format!(
            "the metadata of {path} is at version {}; this change follows version {}",
            current.version, change.previous
        );
        return Ok(Err(
            Refusal::new(Code::Conflict, what).next(format!("symbolon metadata get {path}, then change it again"))
        ));
    }
    let entries = match merged(current.entries, change) {
        Ok(entries) => entries,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut effects = vec![Effect::Metadata { secret: id }];
    if let Some(settings) = &change.settings {
        // A standing order to destroy is as much as destroying.
        let destroys = keeps_fewer(&secret, settings, machine.level);
        if let Err(refusal) = if_needed(destroys, || {
            permitted(machine, place, author, Action::Destroy, &path, None)
        }) {
            return Ok(Err(refusal));
        }
        secret.max_versions = settings.max_versions;
        secret.cas_required = settings.cas_required;
        let excess = 0..=excess(&secret, machine.level);
        effects.extend(destroy_excess(records, place.now_ms, &mut secret, id, excess)?);
        store(records, keys::secret(author.tenant, id), &secret);
    }
    let version = current.version + 1;
    effects.push(changed(place, &path, ChangeKind::Metadata, vec![version], &effects));
    let record = MetadataRecord {
        version,
        entries,
        changed_ms: place.now_ms,
        author: Bytes::copy_from_slice(author.id.bytes()),
    };
    store(records, keys::metadata(id), &record);
    Ok(Ok(Success {
        version,
        effects,
        ..Success::default()
    }))
}

fn if_needed(needed: bool, check: impl FnOnce() -> Result<(), Refusal>) -> Result<(), Refusal> {
    if needed { check() } else { Ok(()) }
}

/// Whether fewer versions are kept than before.
fn keeps_fewer(secret: &SecretRecord, settings: &v1::SecretSettings, level: u32) -> bool {
    let kept = |max_versions: u64| match kept(max_versions, level) {
        0 => VERSIONS_MAX,
        kept => kept,
    };
    kept(settings.max_versions) < kept(secret.max_versions)
}

fn check_form(author: &Subject, change: &v1::SetMetadata) -> Result<Path, Refusal> {
    let path = Path::parse(&change.path).map_err(|error| Refusal::new(Code::BadPath, error.to_string()))?;
    check_tenant(author, &change.tenant)?;
    let malformed = |what: String| Refusal::new(Code::Malformed, what);
    if change.set.len() > METADATA_ENTRIES_MAX || change.remove.len() > METADATA_ENTRIES_MAX {
        return Err(Refusal::new(
            Code::TooLarge,
            format!("at most {METADATA_ENTRIES_MAX} entries of metadata at once"),
        ));
    }
    let set: Vec<&str> = change.set.iter().map(|entry| entry.key.as_str()).collect();
    let remove: Vec<&str> = change.remove.iter().map(String::as_str).collect();
    for keys in [&set, &remove] {
        if !keys.is_sorted_by(|one, next| one < next) {
            return Err(malformed("keys of metadata ascend, and none stands twice".to_owned()));
        }
    }
    for key in set.iter().chain(&remove) {
        check_key(key)?;
    }
    if let Some(key) = set.iter().find(|key| remove.contains(key)) {
        return Err(malformed(format!("'{key}' is set and removed at once")));
    }
    for entry in &change.set {
        check_text(&entry.key, &entry.text)?;
    }
    match &change.settings {
        Some(settings) if settings.max_versions > VERSIONS_MAX => Err(Refusal::new(
            Code::TooLarge,
            format!("at most {VERSIONS_MAX} versions of a secret are kept"),
        )),
        _ => Ok(path),
    }
}

fn check_key(key: &str) -> Result<(), Refusal> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte);
    if key.is_empty() || key.len() > METADATA_KEY_BYTES_MAX || !key.bytes().all(allowed) {
        return Err(Refusal::new(
            Code::Malformed,
            format!("a key of metadata has 1 to {METADATA_KEY_BYTES_MAX} of A-Z a-z 0-9 - _ . / :"),
        ));
    }
    Ok(())
}

fn check_text(key: &str, text: &str) -> Result<(), Refusal> {
    if text.len() > METADATA_TEXT_BYTES_MAX {
        let what = format!(
            "'{key}' has {} bytes; at most {METADATA_TEXT_BYTES_MAX} are allowed",
            text.len()
        );
        return Err(Refusal::new(Code::TooLarge, what));
    }
    if text.chars().any(char::is_control) {
        return Err(Refusal::new(
            Code::Malformed,
            format!("'{key}' has a control character; metadata is one line of text"),
        ));
    }
    Ok(())
}

/// The entries after a change, ascending by key.
fn merged(current: Vec<MetadataText>, change: &v1::SetMetadata) -> Result<Vec<MetadataText>, Refusal> {
    let mut entries: BTreeMap<String, String> = BTreeMap::new();
    if !change.replace {
        entries.extend(current.into_iter().map(|entry| (entry.key, entry.text)));
    }
    for key in &change.remove {
        entries.remove(key);
    }
    entries.extend(change.set.iter().map(|entry| (entry.key.clone(), entry.text.clone())));
    if entries.len() > METADATA_ENTRIES_MAX {
        let what = format!(
            "{} entries of metadata; at most {METADATA_ENTRIES_MAX} are allowed",
            entries.len()
        );
        return Err(Refusal::new(Code::TooLarge, what));
    }
    Ok(entries
        .into_iter()
        .map(|(key, text)| MetadataText { key, text })
        .collect())
}
