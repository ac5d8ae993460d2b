//! What a node looks up to answer: pure over a view, shared by apply and by the release path.

use crate::access::Subject;
use crate::dealings;
use crate::keys;
use crate::records::{
    AnchorRecord, Boot, Done, KeyOwner, Level, MetadataRecord, PendingDealing, PolicyRecord, PrincipalRecord,
    SecretRecord, VersionRecord, VersionState,
};
use crate::view::{Fault, View, decode, load};
use prost::Message;
use symbolon_crypto::Hash;
use symbolon_wire::command::CommandId;
use symbolon_wire::ids::{PrincipalId, PrincipalKind, SecretId, TenantId};
use symbolon_wire::path::Path;
use symbolon_wire::v1;

/// The live principal that `client_key` belongs to at log time `now_ms`.
pub fn principal_by_key(view: &(impl View + ?Sized), client_key: &Hash, now_ms: u64) -> Result<Option<Subject>, Fault> {
    let Some(owner) = load::<KeyOwner>(view, &keys::registered_key(client_key))? else {
        return Ok(None);
    };
    let retired = owner.retired;
    #[cfg(feature = "sabotage")]
    let retired = retired && !symbolon_sabotage::Bug::RemovedStaysLive.on();
    if retired {
        return Ok(None);
    }
    let id = PrincipalId::parse(&owner.principal).map_err(|_| Fault::Broken {
        rule: "a key belongs to a principal",
    })?;
    principal(view, id, now_ms)
}

/// The principal with this id, if it is live at log time `now_ms`.
pub fn principal(view: &(impl View + ?Sized), id: PrincipalId, now_ms: u64) -> Result<Option<Subject>, Fault> {
    let Some(record) = load::<PrincipalRecord>(view, &keys::principal(id))? else {
        return Ok(None);
    };
    let expired = record.expires_ms != 0 && record.expires_ms <= now_ms;
    let removed = record.removed;
    #[cfg(feature = "sabotage")]
    let removed = removed && !symbolon_sabotage::Bug::RemovedStaysLive.on();
    if removed || expired {
        return Ok(None);
    }
    Subject::from_record(record).map(Some)
}

/// All principals that were not removed, ascending by id.
pub fn principals(view: &(impl View + ?Sized), limit: usize) -> Result<Vec<PrincipalRecord>, Fault> {
    let found = view.scan(&[keys::PRINCIPAL], None, limit)?;
    let decoded = found
        .into_iter()
        .map(|(key, value)| decode::<PrincipalRecord>(&key, value));
    decoded
        .filter(|record| !matches!(record, Ok(record) if record.removed))
        .collect()
}

/// The secret at `path`.
pub fn secret_at(
    view: &(impl View + ?Sized),
    tenant: TenantId,
    path: &Path,
) -> Result<Option<(SecretId, SecretRecord)>, Fault> {
    let (folder, name) = path.split();
    let parent = keys::folder(tenant, folder);
    let Some(id) = view.name_get(keys::NAME_SECRET, &parent, name.as_bytes())? else {
        return Ok(None);
    };
    let id = SecretId::parse(&id).map_err(|_| Fault::Broken {
        rule: "a path stands for a secret id",
    })?;
    let record = secret(view, tenant, id)?.ok_or(Fault::Broken {
        rule: "a named secret has a record",
    })?;
    Ok(Some((id, record)))
}

/// The secret with this id.
pub fn secret(view: &(impl View + ?Sized), tenant: TenantId, id: SecretId) -> Result<Option<SecretRecord>, Fault> {
    load(view, &keys::secret(tenant, id))
}

/// A secret's metadata; version 0 before anything was set.
pub fn metadata(view: &(impl View + ?Sized), id: SecretId) -> Result<MetadataRecord, Fault> {
    Ok(load(view, &keys::metadata(id))?.unwrap_or_default())
}

/// The name of a principal that is or was registered; empty for one that never was.
pub fn principal_name(view: &(impl View + ?Sized), id: &[u8]) -> Result<String, Fault> {
    let Ok(id) = PrincipalId::parse(id) else {
        return Ok(String::new());
    };
    Ok(load::<PrincipalRecord>(view, &keys::principal(id))?.map_or_else(String::new, |record| record.name))
}

/// One version with what may change about it.
pub fn version(
    view: &(impl View + ?Sized),
    id: SecretId,
    number: u64,
) -> Result<Option<(VersionRecord, VersionState)>, Fault> {
    let Some(record) = load(view, &keys::version(id, number))? else {
        return Ok(None);
    };
    let state = version_state(view, id, number)?.ok_or(Fault::Broken {
        rule: "a version has its state",
    })?;
    Ok(Some((record, state)))
}

/// What changes about a version.
pub fn version_state(view: &(impl View + ?Sized), id: SecretId, number: u64) -> Result<Option<VersionState>, Fault> {
    load(view, &keys::version_state(id, number))
}

/// Whether a version may be shown at log time `now_ms`: neither deleted nor expired.
pub fn visible(state: &VersionState, now_ms: u64) -> bool {
    #[cfg(feature = "sabotage")]
    if symbolon_sabotage::Bug::TimeToLiveIgnored.on() {
        return !state.deleted;
    }
    !state.deleted && (state.expires_ms == 0 || state.expires_ms > now_ms)
}

/// Bitmap, by position in the roster, of the holders that confirmed their fragment.
pub fn confirmed(view: &(impl View + ?Sized), state: &VersionState, n: u16) -> Result<u64, Fault> {
    let all = (1_u64 << n) - 1;
    Ok(load::<PendingDealing>(view, &keys::pending(state.log_index))?.map_or(all, |pending| pending.confirmed))
}

/// What was recorded for a command, with the log index of that; `None` if nothing was, or other bytes under its nonce.
pub fn outcome(view: &(impl View + ?Sized), command: &CommandId) -> Result<Option<v1::Outcome>, Fault> {
    let done = load::<Done>(view, &keys::done(command.principal, &command.nonce))?;
    let done = done.filter(|done| done.body_hash == command.body_hash.as_slice());
    let decoded = done.map(|done| {
        let outcome = v1::Outcome::decode(done.outcome).map_err(|_| Fault::Corrupt { kind: keys::DONE })?;
        Ok(v1::Outcome {
            index: done.index,
            ..outcome
        })
    });
    decoded.transpose()
}

/// How many holders have confirmed their fragment of a version; `None` if it was destroyed or forgotten since.
pub fn confirmations(view: &(impl View + ?Sized), id: SecretId, number: u64, n: u16) -> Result<Option<usize>, Fault> {
    match version_state(view, id, number)? {
        Some(state) if !state.destroyed => Ok(Some(confirmed(view, &state, n)?.count_ones() as usize)),
        _ => Ok(None),
    }
}

/// How far the audit log of `node` is anchored.
pub fn audit_anchor(view: &(impl View + ?Sized), node: u16) -> Result<Option<AnchorRecord>, Fault> {
    load(view, &keys::audit_anchor(node))
}

/// A dealing that a holder has not confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unconfirmed {
    /// Its log index.
    pub index: u64,
    /// Its secret.
    pub secret: SecretId,
    /// Its version.
    pub version: u64,
}

/// What a holder signs with its word on the dealing at a log index: the chain value there. `None` once all have confirmed it, or its
/// version is destroyed.
pub fn pending_chain(view: &(impl View + ?Sized), index: u64) -> Result<Option<Hash>, Fault> {
    dealings::pending_chain(view, index)
}

/// One page of dealings that `position` has not confirmed, after log index `after`, and where the next page starts.
pub fn unconfirmed(
    view: &(impl View + ?Sized),
    position: usize,
    after: Option<u64>,
    limit: usize,
) -> Result<(Vec<Unconfirmed>, Option<u64>), Fault> {
    let after = after.map(keys::pending);
    let mut open = Vec::new();
    let page = view.scan(&keys::pendings(), after.as_deref(), limit)?;
    let full = page.len() == limit;
    let mut last = None;
    for (key, value) in page {
        let pending: PendingDealing = decode(&key, value)?;
        let broken = Fault::Broken {
            rule: "a pending dealing has an index and a secret",
        };
        let (_, index) = key.split_last_chunk::<8>().ok_or(broken.clone())?;
        let index = u64::from_be_bytes(*index);
        last = Some(index);
        if pending.confirmed & (1 << position) == 0 {
            let secret = SecretId::parse(&pending.secret).map_err(|_| broken)?;
            open.push(Unconfirmed {
                index,
                secret,
                version: pending.version,
            });
        }
    }
    Ok((open, last.filter(|_| full)))
}

/// One child of a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Child {
    /// Its name, without the folder.
    pub name: String,
    /// A folder, not a secret.
    pub folder: bool,
}

/// Children of a folder, and whether it has more behind the last of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Children {
    /// Ascending by name, secrets before folders of the same name. Up to the last name it is all that there is.
    pub page: Vec<Child>,
    /// There may be more.
    pub more: bool,
}

/// The children of a folder (`""`: the tenant's root) with names strictly after `after`; at most `limit` secrets and as many folders.
pub fn children(
    view: &(impl View + ?Sized),
    tenant: TenantId,
    folder: &str,
    after: &str,
    limit: usize,
) -> Result<Children, Fault> {
    let parent = keys::folder(tenant, folder);
    let after = (!after.is_empty()).then_some(after.as_bytes());
    let (mut page, mut ends) = (Vec::new(), Vec::new());
    for (kind, folder) in [(keys::NAME_SECRET, false), (keys::NAME_FOLDER, true)] {
        let found = view.names(kind, &parent, after, limit)?;
        let cut = found.len() == limit;
        for (name, _) in found {
            let name = String::from_utf8(name).map_err(|_| Fault::Broken { rule: "names are text" })?;
            page.push(Child { name, folder });
        }
        let last = page.last().filter(|_| cut);
        ends.extend(last.map(|last| last.name.clone()));
    }
    // Of a kind that has more, some may stand before the last name of the other.
    let known_upto = ends.into_iter().min();
    page.sort_unstable();
    page.retain(|child| known_upto.as_ref().is_none_or(|upto| child.name <= *upto));
    Ok(Children {
        page,
        more: known_upto.is_some(),
    })
}

/// Versions of a secret, ascending.
pub fn versions(view: &(impl View + ?Sized), id: SecretId, limit: usize) -> Result<Vec<(u64, VersionState)>, Fault> {
    let found = view.scan(&keys::version_states(id), None, limit)?;
    found
        .into_iter()
        .map(|(key, value)| {
            let (_, number) = key.split_last_chunk::<8>().ok_or(Fault::Broken {
                rule: "a version has a number",
            })?;
            Ok((u64::from_be_bytes(*number), decode(&key, value)?))
        })
        .collect()
}

/// A version of a secret.
pub type VersionId = (SecretId, u64);

/// One page of the versions of all secrets, by id and then by number, after `after`.
pub fn all_versions(
    view: &(impl View + ?Sized),
    after: Option<VersionId>,
    limit: usize,
) -> Result<Vec<(VersionId, VersionState)>, Fault> {
    let prefix = keys::all_version_states();
    let after = after.map(|(id, number)| keys::version_state(id, number));
    let found = view.scan(&prefix, after.as_deref(), limit)?;
    let broken = Fault::Broken {
        rule: "a version has a secret and a number",
    };
    found
        .into_iter()
        .map(|(key, value)| {
            let of = key
                .strip_prefix(prefix.as_slice())
                .and_then(|of| of.split_last_chunk::<8>());
            let (id, number) = of.ok_or(broken.clone())?;
            let id = SecretId::parse(id).map_err(|_| broken.clone())?;
            Ok(((id, u64::from_be_bytes(*number)), decode(&key, value)?))
        })
        .collect()
}

/// The policy set in force: version 0 is the empty one.
pub fn policies(view: &(impl View + ?Sized)) -> Result<PolicyRecord, Fault> {
    Ok(load(view, &keys::policy_head())?.unwrap_or_default())
}

/// The feature level in force.
pub fn feature_level(view: &(impl View + ?Sized)) -> Result<u32, Fault> {
    Ok(load::<Level>(view, &keys::level())?.map_or(1, |level| level.level))
}

/// All boot statements of a node, oldest first. A malicious node may have logged very many: for other nodes there are
/// [`newest_boot`] and [`boots_back`].
pub fn boots(view: &(impl View + ?Sized), node: u16) -> Result<Vec<v1::BootKeys>, Fault> {
    let found = view.scan(&keys::boots(node), None, usize::MAX)?;
    found.into_iter().map(|(key, value)| boot(&key, value)).collect()
}

/// The statement of a node's newest boot.
pub fn newest_boot(view: &(impl View + ?Sized), node: u16) -> Result<Option<v1::BootKeys>, Fault> {
    boots_back(view, node).next().transpose()
}

/// The boot statements of a node, newest first. Each costs one look-up where boots are counted without gaps, as honest nodes
/// count them, and a few dozen at most.
pub fn boots_back(view: &(impl View + ?Sized), node: u16) -> impl Iterator<Item = Result<v1::BootKeys, Fault>> {
    let mut upto = Some(u64::MAX);
    std::iter::from_fn(move || {
        let found = boot_upto(view, node, upto?);
        upto = match &found {
            Ok(Some(statement)) => statement.boot_counter.checked_sub(1),
            Ok(None) | Err(_) => None,
        };
        found.transpose()
    })
}

/// The newest boot of a node whose counter is at most `upto`. Records are read in ascending order only, so this halves the
/// range in which it can be.
fn boot_upto(view: &(impl View + ?Sized), node: u16, upto: u64) -> Result<Option<v1::BootKeys>, Fault> {
    let key = keys::boot(node, upto);
    if let Some(value) = view.get(&key)? {
        return boot(&key, value).map(Some);
    }
    let first_after = |counter: Option<u64>| {
        let after = counter.map(|counter| keys::boot(node, counter));
        let found = view.scan(&keys::boots(node), after.as_deref(), 1)?;
        let found = found.into_iter().next();
        let statement = found.map(|(key, value)| boot(&key, value)).transpose()?;
        Ok::<_, Fault>(statement.filter(|statement| statement.boot_counter < upto))
    };
    let Some(mut newest) = first_after(None)? else {
        return Ok(None);
    };
    // None of a counter from `end` to `upto`.
    let mut end = upto;
    while end - newest.boot_counter > 1 {
        let middle = newest.boot_counter + (end - newest.boot_counter) / 2;
        match first_after(Some(middle - 1))? {
            Some(later) => newest = later,
            None => end = middle,
        }
    }
    Ok(Some(newest))
}

fn boot(key: &[u8], value: bytes::Bytes) -> Result<v1::BootKeys, Fault> {
    let boot: Boot = decode(key, value)?;
    v1::BootKeys::decode(boot.statement).map_err(|_| Fault::Corrupt { kind: keys::BOOT })
}

/// Whether `kind` may be registered by command; operators and nodes stand in the roster.
pub fn registrable(kind: PrincipalKind) -> bool {
    matches!(
        kind,
        PrincipalKind::Agent | PrincipalKind::Workload | PrincipalKind::Gateway
    )
}
