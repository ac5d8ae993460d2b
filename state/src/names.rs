//! The name index, derived from records: snapshots carry records only, and the receiver files the names anew.

use crate::keys;
use crate::records::{PrincipalRecord, SecretRecord};
use crate::view::{Fault, Records, decode};
use bytes::Bytes;
use symbolon_wire::ids::{SecretId, TenantId};
use symbolon_wire::path::Path;

/// One name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameEntry {
    /// Which index.
    pub kind: u8,
    /// What the name is unique in.
    pub parent: Vec<u8>,
    /// The name.
    pub name: Vec<u8>,
    /// What it stands for.
    pub value: Bytes,
}

/// The names that a record stands for.
pub fn names_of(key: &[u8], value: &Bytes) -> Result<Vec<NameEntry>, Fault> {
    let corrupt = |kind| Fault::Corrupt { kind };
    match key.first() {
        Some(&keys::SECRET) => {
            let record: SecretRecord = decode(key, value.clone())?;
            let tenant = TenantId::parse(&record.tenant).map_err(|_| corrupt(keys::SECRET))?;
            let id = SecretId::parse(&record.id).map_err(|_| corrupt(keys::SECRET))?;
            let path = Path::parse(&record.path).map_err(|_| corrupt(keys::SECRET))?;
            Ok(path_names(tenant, &path, id))
        }
        Some(&keys::PRINCIPAL) => {
            let record: PrincipalRecord = decode(key, value.clone())?;
            Ok(vec![NameEntry {
                kind: keys::NAME_PRINCIPAL,
                parent: record.tenant.to_vec(),
                name: record.name.into_bytes(),
                value: record.id,
            }])
        }
        _ => Ok(Vec::new()),
    }
}

/// A secret's name in its folder, and each folder's in the one above.
fn path_names(tenant: TenantId, path: &Path, id: SecretId) -> Vec<NameEntry> {
    let (folder, name) = path.split();
    let secret = NameEntry {
        kind: keys::NAME_SECRET,
        parent: keys::folder(tenant, folder),
        name: name.as_bytes().to_vec(),
        value: Bytes::copy_from_slice(id.bytes()),
    };
    let folders = path.folders().map(|folder| {
        let (above, name) = folder.rsplit_once('/').unwrap_or(("", folder));
        NameEntry {
            kind: keys::NAME_FOLDER,
            parent: keys::folder(tenant, above),
            name: name.as_bytes().to_vec(),
            value: Bytes::new(),
        }
    });
    std::iter::once(secret).chain(folders).collect()
}

/// Files the names of a new secret.
pub(crate) fn file(records: &mut dyn Records, tenant: TenantId, path: &Path, id: SecretId) -> Result<(), Fault> {
    for entry in path_names(tenant, path, id) {
        // Folders are shared: most exist already.
        if entry.kind == keys::NAME_SECRET || records.name_get(entry.kind, &entry.parent, &entry.name)?.is_none() {
            records.name_put(entry.kind, &entry.parent, &entry.name, entry.value);
        }
    }
    Ok(())
}
