//! Principals: registered by operators, before they act.

use crate::commands::Refusal;
use crate::keys;
use crate::query::{self, registrable};
use crate::records::{KeyOwner, PrincipalRecord};
use crate::view::{Fault, Records, View, load, store};
use bytes::Bytes;
use symbolon_crypto::sign::VerifyingKey;
use symbolon_wire::ids::{PrincipalId, PrincipalKind, TenantId};
use symbolon_wire::limits::{GROUPS_MAX, KEYS_PER_PRINCIPAL_MAX, TEXT_BYTES_MAX};
use symbolon_wire::path::{Path, SpiffeId};
use symbolon_wire::roster::Roster;
use symbolon_wire::{Code, v1};

/// Operators of the roster, written at genesis.
pub(crate) fn genesis(records: &mut (impl Records + ?Sized), roster: &Roster) {
    for operator in &roster.operators {
        let record = PrincipalRecord {
            id: Bytes::copy_from_slice(operator.id.bytes()),
            tenant: Bytes::copy_from_slice(roster.first_tenant.bytes()),
            kind: PrincipalKind::Operator as u32,
            name: operator.name.clone(),
            owner: operator.name.clone(),
            purpose: "operator".to_owned(),
            expires_ms: 0,
            groups: vec!["operators".to_owned()],
            keys: vec![Bytes::copy_from_slice(operator.key.spki())],
            removed: false,
        };
        store(records, keys::principal(operator.id), &record);
        let owner = KeyOwner {
            principal: record.id.clone(),
            retired: false,
        };
        store(records, keys::registered_key(&operator.key.fingerprint()), &owner);
        name(records, roster.first_tenant, &operator.name, operator.id);
    }
}

fn name(records: &mut (impl Records + ?Sized), tenant: TenantId, name: &str, id: PrincipalId) {
    records.name_put(
        keys::NAME_PRINCIPAL,
        tenant.bytes(),
        name.as_bytes(),
        Bytes::copy_from_slice(id.bytes()),
    );
}

/// Registers a principal.
pub(crate) fn register(
    records: &mut (impl Records + ?Sized),
    roster: &Roster,
    command: &v1::RegisterPrincipal,
    now_ms: u64,
) -> Result<Result<(), Refusal>, Fault> {
    let checked = check_form(roster, command, now_ms);
    let (id, tenant) = match checked {
        Ok(checked) => checked,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if records.get(&keys::principal(id))?.is_some() {
        return Ok(Err(Refusal::new(
            Code::Exists,
            "this principal id exists or has existed",
        )));
    }
    if records
        .name_get(keys::NAME_PRINCIPAL, tenant.bytes(), command.name.as_bytes())?
        .is_some()
    {
        return Ok(Err(Refusal::new(
            Code::Exists,
            format!("{} is registered already", command.name),
        )));
    }
    if let Err(refusal) = add_keys(records, id, &command.keys, &[])? {
        return Ok(Err(refusal));
    }
    let record = PrincipalRecord {
        id: command.id.clone(),
        tenant: command.tenant.clone(),
        kind: command.kind,
        name: command.name.clone(),
        owner: command.owner.clone(),
        purpose: command.purpose.clone(),
        expires_ms: command.expires_ms,
        groups: command.groups.clone(),
        keys: command.keys.clone(),
        removed: false,
    };
    store(records, keys::principal(id), &record);
    name(records, tenant, &command.name, id);
    Ok(Ok(()))
}

fn check_form(
    roster: &Roster,
    command: &v1::RegisterPrincipal,
    now_ms: u64,
) -> Result<(PrincipalId, TenantId), Refusal> {
    let malformed = |what: &str| Refusal::new(Code::Malformed, what);
    let id = PrincipalId::parse(&command.id).map_err(|_| malformed("a principal id has 16 bytes"))?;
    let tenant = TenantId::parse(&command.tenant).map_err(|_| malformed("a tenant id has 16 bytes"))?;
    if tenant != roster.first_tenant {
        return Err(Refusal::new(Code::NotFound, "no such tenant"));
    }
    match PrincipalKind::from_number(command.kind) {
        Some(kind) if registrable(kind) => {}
        Some(kind) => {
            return Err(Refusal::new(
                Code::Denied,
                format!("a {} stands in the roster and is not registered", kind.name()),
            ));
        }
        None => return Err(malformed("unknown kind of principal")),
    }
    SpiffeId::parse(&command.name).map_err(|error| Refusal::new(Code::BadPath, format!("name: {error}")))?;
    for (what, text) in [("owner", &command.owner), ("purpose", &command.purpose)] {
        if text.trim().is_empty() {
            return Err(Refusal::new(Code::Malformed, format!("a principal needs an {what}"))
                .next("state it; it cannot be empty"));
        }
        if text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control) {
            return Err(Refusal::new(
                Code::TooLarge,
                format!("{what}: at most {TEXT_BYTES_MAX} bytes without control characters"),
            ));
        }
    }
    if command.expires_ms <= now_ms {
        return Err(Refusal::new(
            Code::Malformed,
            "a principal needs an expiry in the future",
        ));
    }
    if command.groups.len() > GROUPS_MAX {
        return Err(Refusal::new(Code::TooLarge, format!("at most {GROUPS_MAX} groups")));
    }
    for group in &command.groups {
        Path::parse(group).map_err(|error| Refusal::new(Code::BadPath, format!("group: {error}")))?;
        if group == "operators" {
            return Err(Refusal::new(Code::Denied, "the group 'operators' is the roster's"));
        }
    }
    Ok((id, tenant))
}

/// Files keys under a principal: each belongs to one, for ever. `own` are keys that it has already.
fn add_keys(
    records: &mut (impl Records + ?Sized),
    id: PrincipalId,
    found: &[Bytes],
    own: &[Bytes],
) -> Result<Result<(), Refusal>, Fault> {
    if found.is_empty() || found.len() > KEYS_PER_PRINCIPAL_MAX {
        return Ok(Err(Refusal::new(
            Code::Malformed,
            format!("a principal has 1 to {KEYS_PER_PRINCIPAL_MAX} keys"),
        )));
    }
    let mut fresh = Vec::new();
    for spki in found {
        let Ok(key) = VerifyingKey::parse(spki) else {
            return Ok(Err(Refusal::new(
                Code::Malformed,
                "a key is not a P-256 SubjectPublicKeyInfo",
            )));
        };
        let at = keys::registered_key(&key.fingerprint());
        if own.contains(spki) {
            continue;
        }
        if fresh.contains(&at) || records.get(&at)?.is_some() {
            return Ok(Err(Refusal::new(
                Code::Exists,
                "a key is, or was, registered; each belongs to one principal for ever",
            )));
        }
        fresh.push(at);
    }
    for at in fresh {
        store(
            records,
            at,
            &KeyOwner {
                principal: Bytes::copy_from_slice(id.bytes()),
                retired: false,
            },
        );
    }
    Ok(Ok(()))
}

fn retire_keys(records: &mut (impl Records + ?Sized), id: PrincipalId, spkis: &[Bytes]) -> Result<(), Fault> {
    for spki in spkis {
        let key = VerifyingKey::parse(spki).map_err(|_| Fault::Broken {
            rule: "registered keys parse",
        })?;
        let owner = KeyOwner {
            principal: Bytes::copy_from_slice(id.bytes()),
            retired: true,
        };
        store(records, keys::registered_key(&key.fingerprint()), &owner);
    }
    Ok(())
}

fn registered(
    view: &(impl View + ?Sized),
    id: &[u8],
) -> Result<Result<(PrincipalId, PrincipalRecord), Refusal>, Fault> {
    let Ok(id) = PrincipalId::parse(id) else {
        return Ok(Err(Refusal::new(Code::Malformed, "a principal id has 16 bytes")));
    };
    match load::<PrincipalRecord>(view, &keys::principal(id))? {
        Some(record) if record.removed => Ok(Err(Refusal::new(Code::NotFound, "this principal was removed"))),
        Some(record) if PrincipalKind::from_number(record.kind).is_some_and(registrable) => Ok(Ok((id, record))),
        Some(_) => Ok(Err(Refusal::new(Code::Denied, "this principal stands in the roster"))),
        None => Ok(Err(Refusal::new(Code::NotFound, "no such principal"))),
    }
}

/// Removes a principal; its id, its name and its keys stay refused.
pub(crate) fn remove(
    records: &mut (impl Records + ?Sized),
    command: &v1::RemovePrincipal,
) -> Result<Result<(), Refusal>, Fault> {
    let (id, mut record) = match registered(records, &command.id)? {
        Ok(found) => found,
        Err(refusal) => return Ok(Err(refusal)),
    };
    retire_keys(records, id, &record.keys)?;
    record.removed = true;
    store(records, keys::principal(id), &record);
    Ok(Ok(()))
}

/// Replaces a principal's keys; those that go are retired.
pub(crate) fn rekey(
    records: &mut (impl Records + ?Sized),
    command: &v1::RekeyPrincipal,
) -> Result<Result<(), Refusal>, Fault> {
    let (id, mut record) = match registered(records, &command.id)? {
        Ok(found) => found,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if let Err(refusal) = add_keys(records, id, &command.keys, &record.keys)? {
        return Ok(Err(refusal));
    }
    let gone: Vec<Bytes> = record
        .keys
        .iter()
        .filter(|key| !command.keys.contains(key))
        .cloned()
        .collect();
    retire_keys(records, id, &gone)?;
    record.keys.clone_from(&command.keys);
    store(records, keys::principal(id), &record);
    Ok(Ok(()))
}

/// The live principal that owns `fingerprint`, with its key.
pub(crate) fn signer(
    view: &(impl View + ?Sized),
    fingerprint: &symbolon_crypto::Hash,
    now_ms: u64,
) -> Result<Option<(crate::Subject, VerifyingKey)>, Fault> {
    let Some(subject) = query::principal_by_key(view, fingerprint, now_ms)? else {
        return Ok(None);
    };
    let keys = subject
        .record
        .keys
        .iter()
        .filter_map(|spki| VerifyingKey::parse(spki).ok());
    let key = keys.into_iter().find(|key| key.fingerprint() == *fingerprint);
    Ok(key.map(|key| (subject, key)))
}
