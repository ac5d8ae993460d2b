//! Secrets: `put` as custody.md, "One write", demands it; versions hidden, shown again, destroyed.

use crate::access::{Access, Subject};
use crate::commands::{Place, Refusal, Success};
use crate::dealings::{epoch_changed, open_session, settle_session, use_session};
use crate::keys;
use crate::levels;
use crate::machine::{Effect, Machine};
use crate::names;
use crate::query;
use crate::records::{PendingDealing, SecretRecord, VersionRecord, VersionState};
use crate::view::{Fault, Records, load, store};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use symbolon_crypto::Hash;
use symbolon_crypto::context::ValueContext;
use symbolon_crypto::dealing::{BadSharing, Dealing, Sharing, Unchecked, parse_sealed};
use symbolon_crypto::limits::SUITE;
use symbolon_policy::Action;
use symbolon_wire::change::ChangeKind;
use symbolon_wire::command::ParsedCommand;
use symbolon_wire::ids::{SecretId, TenantId};
use symbolon_wire::limits::{DELETE_VERSIONS_MAX, VERSIONS_MAX};
use symbolon_wire::path::Path;
use symbolon_wire::roster::Roster;
use symbolon_wire::{Code, v1};

/// A longest time to live: 100 years, so that no sum of times can overflow.
const TTL_MS_MAX: u64 = 100 * 366 * 24 * 60 * 60 * 1000;

/// Contexts and digests of a put, computed here and never taken from the command.
struct Digests {
    sctx: Hash,
    dd: Hash,
    record: Hash,
}

pub(crate) fn put(
    machine: &Machine,
    records: &mut dyn Records,
    place: Place<'_>,
    command: &ParsedCommand,
    author: &Subject,
    put: &v1::PutSecret,
) -> Result<Result<Success, Refusal>, Fault> {
    let (path, id) = match check_form(machine, author, put) {
        Ok(checked) => checked,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if let Err(refusal) = permitted(machine, place, author, Action::Write, &path, Some(put.cas)) {
        return Ok(Err(refusal));
    }
    let mut secret = match find_or_new(machine, records, author, &path, id, put)? {
        Ok(secret) => secret,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if secret.cas_required && !put.cas {
        let what = format!("{path} takes only writes that state the version they follow");
        return Ok(Err(
            Refusal::new(Code::CasRequired, what).next(format!("symbolon put {path} --cas {}", secret.latest))
        ));
    }
    let digests = match check_dealing(machine, command, author, put, id) {
        Ok(digests) => digests,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let session = match check_session(machine, records, place, author, put)? {
        Ok(session) => session,
        Err(refusal) => return Ok(Err(refusal)),
    };

    if secret.latest == 0 {
        names::file(records, author.tenant, &path, id)?;
    }
    secret.latest = put.version;
    secret.visible += 1;
    let mut effects = vec![Effect::Dealt {
        index: place.index,
        secret: id,
        version: put.version,
    }];
    if secret.oldest == 0 {
        secret.oldest = put.version;
    } else if put.version - secret.oldest >= VERSIONS_MAX {
        effects.extend(drop_version(records, place.now_ms, &mut secret, id)?);
    }
    // Those before were destroyed with the versions before this one, or with the setting.
    let newest = excess(&secret, machine.level);
    effects.extend(destroy_excess(records, place.now_ms, &mut secret, id, newest..=newest)?);
    effects.push(changed(place, &path, ChangeKind::Put, vec![put.version], &effects));
    store(records, keys::secret(author.tenant, id), &secret);
    write_version(records, place, author, put, command, &digests, id);
    let pending = PendingDealing {
        secret: Bytes::copy_from_slice(id.bytes()),
        version: put.version,
        confirmed: 0,
        session: Bytes::copy_from_slice(&session),
        chain: Bytes::copy_from_slice(place.chain),
    };
    store(records, keys::pending(place.index), &pending);
    Ok(Ok(Success {
        version: put.version,
        record_hash: Bytes::copy_from_slice(&digests.record),
        effects,
    }))
}

/// What watchers are told. `effects` are those of the same entry: versions that were destroyed in passing stand there.
pub(crate) fn changed(
    place: Place<'_>,
    path: &Path,
    kind: ChangeKind,
    versions: Vec<u64>,
    effects: &[Effect],
) -> Effect {
    let destroyed = effects.iter().filter_map(|effect| match effect {
        Effect::Destroyed { version, .. } => Some(*version),
        _ => None,
    });
    Effect::Changed(v1::Change {
        log_index: place.index,
        path: path.as_str().to_owned(),
        kind: kind.number(),
        versions,
        destroyed: destroyed.collect(),
    })
}

fn write_version(
    records: &mut dyn Records,
    place: Place<'_>,
    author: &Subject,
    put: &v1::PutSecret,
    command: &ParsedCommand,
    digests: &Digests,
    id: SecretId,
) {
    let record = VersionRecord {
        suite: put.suite,
        secret: put.secret.clone(),
        version: put.version,
        author: Bytes::copy_from_slice(author.id.bytes()),
        write_nonce: Bytes::copy_from_slice(&command.nonce),
        epoch: put.epoch,
        roster_hash: put.roster_hash.clone(),
        n: put.n,
        t: put.t,
        header: put.header.clone(),
        key_commitment: put.key_commitment.clone(),
        ciphertext: put.ciphertext.clone(),
        commitments: put.commitments.clone(),
        z: put.z.clone(),
        session: put.session.clone(),
        sealed: put.sealed.clone(),
        log_index: place.index,
        chain: Bytes::copy_from_slice(place.chain),
        sctx: Bytes::copy_from_slice(&digests.sctx),
        dd: Bytes::copy_from_slice(&digests.dd),
        record_hash: Bytes::copy_from_slice(&digests.record),
        tenant: put.tenant.clone(),
    };
    store(records, keys::version(id, put.version), &record);
    let state = VersionState {
        created_ms: place.now_ms,
        expires_ms: if put.ttl_ms == 0 { 0 } else { place.now_ms + put.ttl_ms },
        author: record.author,
        ciphertext_bytes: u32::try_from(put.ciphertext.len()).unwrap_or(u32::MAX),
        log_index: place.index,
        ..VersionState::default()
    };
    store(records, keys::version_state(id, put.version), &state);
}

fn check_form(machine: &Machine, author: &Subject, put: &v1::PutSecret) -> Result<(Path, SecretId), Refusal> {
    if put.suite != u32::from(SUITE) {
        return Err(Refusal::new(
            Code::UnknownVersion,
            format!("unknown suite {}", put.suite),
        ));
    }
    let path = Path::parse(&put.path).map_err(|error| Refusal::new(Code::BadPath, error.to_string()))?;
    let id = SecretId::parse(&put.secret).map_err(|e| Refusal::new(Code::Malformed, e.to_string()))?;
    check_tenant(author, &put.tenant)?;
    let roster = &machine.roster;
    let same = put.epoch == roster.version
        && put.roster_hash == roster.hash.as_slice()
        && put.n == u32::from(roster.n())
        && put.t == u32::from(roster.threshold);
    if !same {
        return Err(epoch_changed(roster));
    }
    if put.ttl_ms > TTL_MS_MAX {
        return Err(Refusal::new(
            Code::Malformed,
            format!("a time to live is at most {TTL_MS_MAX} ms"),
        ));
    }
    Ok((path, id))
}

/// A tenant that is not the author's answers like one that does not exist.
pub(crate) fn check_tenant(author: &Subject, tenant: &[u8]) -> Result<(), Refusal> {
    match TenantId::parse(tenant) {
        Ok(tenant) if tenant == author.tenant => Ok(()),
        _ => Err(Refusal::new(Code::NotFound, "no such tenant")),
    }
}

/// Asks the policies. `cas`, of a write: whether its author states the version that it follows.
pub(crate) fn permitted(
    machine: &Machine,
    place: Place<'_>,
    author: &Subject,
    action: Action,
    path: &Path,
    cas: Option<bool>,
) -> Result<(), Refusal> {
    let access = Access {
        subject: author,
        action,
        path: Some(path.as_str()),
        folder: false,
        log_time_ms: place.now_ms,
        cas: cas.filter(|_| machine.level >= levels::METADATA),
        local: None,
    };
    let decision = access.decide(&machine.policies);
    let allowed = decision.allowed();
    #[cfg(feature = "sabotage")]
    let allowed = allowed || symbolon_sabotage::Bug::PolicyNotAskedAtApply.on();
    if allowed {
        return Ok(());
    }
    let what = format!("{} may not {} {path}", author.record.name, action.name());
    Err(Refusal::new(Code::Denied, what).because(decision.explain()))
}

/// The path belongs to that id, or both are new; the version is the next one.
fn find_or_new(
    machine: &Machine,
    records: &mut dyn Records,
    author: &Subject,
    path: &Path,
    id: SecretId,
    put: &v1::PutSecret,
) -> Result<Result<SecretRecord, Refusal>, Fault> {
    let conflict = |latest: u64| {
        Ok(Err(Refusal::new(
            Code::Conflict,
            format!(
                "{path} is at version {latest}; this write makes {} after {}",
                put.version, put.previous
            ),
        )
        .next(format!("symbolon get {path}, then write again"))))
    };
    let secret = match query::secret_at(records, author.tenant, path)? {
        Some((found, secret)) if found == id => secret,
        Some((_, secret)) => return conflict(secret.latest),
        None if records.get(&keys::secret(author.tenant, id))?.is_some() => {
            return Ok(Err(Refusal::new(
                Code::Exists,
                "this secret id belongs to another path",
            )));
        }
        None => SecretRecord {
            id: put.secret.clone(),
            tenant: Bytes::copy_from_slice(machine.roster.first_tenant.bytes()),
            path: path.as_str().to_owned(),
            ..SecretRecord::default()
        },
    };
    let follows = put.previous == secret.latest && Some(put.version) == secret.latest.checked_add(1);
    #[cfg(feature = "sabotage")]
    let follows = follows || symbolon_sabotage::Bug::CheckAndSetIgnored.on();
    if !follows {
        return conflict(secret.latest);
    }
    Ok(Ok(secret))
}

fn check_dealing(
    machine: &Machine,
    command: &ParsedCommand,
    author: &Subject,
    put: &v1::PutSecret,
    secret: SecretId,
) -> Result<Digests, Refusal> {
    let bad = |error: symbolon_crypto::dealing::BadDealing| Refusal::new(Code::BadDealing, error.to_string());
    parse_sealed(&machine.sharing, &put.sealed).map_err(bad)?;
    let value = ValueContext {
        cluster: machine.roster.cluster.bytes(),
        tenant: author.tenant.bytes(),
        secret: secret.bytes(),
        version: put.version,
        author: author.id.bytes(),
        write_nonce: &command.nonce,
    };
    let unchecked = Unchecked {
        header: &put.header,
        ciphertext: &put.ciphertext,
        key_commitment: &put.key_commitment,
        commitments: &put.commitments,
        z: &put.z,
    };
    let dealing = Dealing::parse(&value, author.id.bytes(), &machine.sharing, &unchecked).map_err(bad)?;
    Ok(Digests {
        sctx: *dealing.sctx(),
        dd: *dealing.dd(),
        record: *dealing.record_hash(),
    })
}

fn check_session(
    machine: &Machine,
    records: &mut dyn Records,
    place: Place<'_>,
    author: &Subject,
    put: &v1::PutSecret,
) -> Result<Result<Hash, Refusal>, Fault> {
    let Ok(named) = Hash::try_from(put.session.as_ref()) else {
        return Ok(Err(Refusal::new(Code::BadSession, "a session id has 32 bytes")));
    };
    if let Some(open) = &put.open {
        match open_session(&machine.roster, records, place, author, open)? {
            Ok(id) if id == named => {}
            Ok(id) => {
                // Opened for nothing: take it back, a refused command has no effect.
                let key = keys::session(&id);
                records.delete(keys::due(
                    place.now_ms.saturating_add(symbolon_wire::limits::SESSION_MS_MAX),
                    &key,
                ));
                records.delete(key);
                records.delete(keys::session_use(&id));
                return Ok(Err(Refusal::new(
                    Code::BadSession,
                    "the session inside is not the one that the write names",
                )));
            }
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    Ok(use_session(records, place, author, put.epoch, &named)?.map(|()| named))
}

/// The public part of a stored dealing, for checking fragments against it. Contexts and digests are computed anew.
pub fn dealing_of<'a>(roster: &Roster, sharing: &'a Sharing, record: &'a VersionRecord) -> Result<Dealing<'a>, Fault> {
    let broken = Fault::Broken {
        rule: "a stored dealing was checked when it was written",
    };
    let id = |bytes: &Bytes| <[u8; 16]>::try_from(bytes.as_ref()).map_err(|_| broken.clone());
    let (tenant, secret, author) = (id(&record.tenant)?, id(&record.secret)?, id(&record.author)?);
    let write_nonce = Hash::try_from(record.write_nonce.as_ref()).map_err(|_| broken.clone())?;
    let value = ValueContext {
        cluster: roster.cluster.bytes(),
        tenant: &tenant,
        secret: &secret,
        version: record.version,
        author: &author,
        write_nonce: &write_nonce,
    };
    let unchecked = Unchecked {
        header: &record.header,
        ciphertext: &record.ciphertext,
        key_commitment: &record.key_commitment,
        commitments: &record.commitments,
        z: &record.z,
    };
    Dealing::parse(&value, &author, sharing, &unchecked).map_err(|_| broken)
}

/// The roster as a sharing.
pub fn sharing_of(roster: &Roster) -> Result<Sharing, BadSharing> {
    Sharing::new(
        roster.version,
        roster.hash,
        roster.n(),
        roster.threshold,
        roster.indices(),
    )
}

/// What may be done to versions that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Hidden from readers.
    Delete,
    /// Shown again.
    Undelete,
    /// Gone for good.
    Destroy,
}

impl Change {
    fn action(self) -> Action {
        match self {
            Self::Delete => Action::Delete,
            Self::Undelete => Action::Undelete,
            Self::Destroy => Action::Destroy,
        }
    }

    fn kind(self) -> ChangeKind {
        match self {
            Self::Delete => ChangeKind::Delete,
            Self::Undelete => ChangeKind::Undelete,
            Self::Destroy => ChangeKind::Destroy,
        }
    }

    /// The state of a version afterwards; `None` if nothing changes.
    fn of(self, state: &VersionState) -> Option<VersionState> {
        let (deleted, destroyed) = match self {
            Self::Delete => (true, state.destroyed),
            Self::Undelete => (false, state.destroyed),
            Self::Destroy => (true, true),
        };
        let changed = VersionState {
            deleted,
            destroyed,
            ..state.clone()
        };
        (changed != *state).then_some(changed)
    }
}

/// Forgets the oldest version of a secret that has as many as are kept.
fn drop_version(
    records: &mut dyn Records,
    now_ms: u64,
    secret: &mut SecretRecord,
    id: SecretId,
) -> Result<Vec<Effect>, Fault> {
    let number = secret.oldest;
    let state: Option<VersionState> = load(records, &keys::version_state(id, number))?;
    let mut effects = Vec::new();
    if let Some(state) = state {
        if !state.deleted {
            secret.visible = secret.visible.saturating_sub(1);
        }
        effects.extend(drop_dealing(records, now_ms, id, number, &state)?);
    }
    records.delete(keys::version_state(id, number));
    secret.oldest = number + 1;
    Ok(effects)
}

/// Removes the dealing of a version: nobody holds a fragment of it any more, nor waits for one.
fn drop_dealing(
    records: &mut dyn Records,
    now_ms: u64,
    id: SecretId,
    number: u64,
    state: &VersionState,
) -> Result<Option<Effect>, Fault> {
    if state.destroyed {
        return Ok(None);
    }
    #[cfg(feature = "sabotage")]
    if symbolon_sabotage::Bug::DestroyedStays.on() {
        return Ok(None);
    }
    records.delete(keys::version(id, number));
    let pending = keys::pending(state.log_index);
    if let Some(waiting) = load::<PendingDealing>(records, &pending)? {
        records.delete(pending);
        settle_session(records, now_ms, &waiting.session)?;
    }
    Ok(Some(Effect::Destroyed {
        secret: id,
        version: number,
    }))
}

/// The most versions that a secret keeps; 0: as many as there may be.
pub(crate) fn kept(max_versions: u64, level: u32) -> u64 {
    match max_versions {
        0 => levels::versions_kept(level),
        own => own,
    }
}

/// The newest version that is older than a secret keeps; 0: none is.
pub(crate) fn excess(secret: &SecretRecord, level: u32) -> u64 {
    match kept(secret.max_versions, level) {
        0 => 0,
        kept => secret.latest.saturating_sub(kept),
    }
}

/// Destroys those of the versions `excess` that there are, as `destroy` would.
pub(crate) fn destroy_excess(
    records: &mut dyn Records,
    now_ms: u64,
    secret: &mut SecretRecord,
    id: SecretId,
    excess: RangeInclusive<u64>,
) -> Result<Vec<Effect>, Fault> {
    let mut effects = Vec::new();
    let (from, to) = excess.into_inner();
    for number in from.max(secret.oldest)..=to {
        let state: Option<VersionState> = load(records, &keys::version_state(id, number))?;
        let Some(state) = state.filter(|state| number > 0 && !state.destroyed) else {
            continue;
        };
        if !state.deleted {
            secret.visible = secret.visible.saturating_sub(1);
        }
        effects.extend(drop_dealing(records, now_ms, id, number, &state)?);
        let gone = VersionState {
            deleted: true,
            destroyed: true,
            ..state
        };
        store(records, keys::version_state(id, number), &gone);
    }
    Ok(effects)
}

/// Hides, shows or destroys versions.
pub(crate) fn change(
    machine: &Machine,
    records: &mut dyn Records,
    place: Place<'_>,
    author: &Subject,
    change: Change,
    named: &v1::SecretVersions,
) -> Result<Result<Success, Refusal>, Fault> {
    let path = match Path::parse(&named.path) {
        Ok(path) => path,
        Err(error) => return Ok(Err(Refusal::new(Code::BadPath, error.to_string()))),
    };
    if let Err(refusal) = check_tenant(author, &named.tenant) {
        return Ok(Err(refusal));
    }
    if named.versions.len() > DELETE_VERSIONS_MAX {
        return Ok(Err(Refusal::new(
            Code::TooLarge,
            format!("at most {DELETE_VERSIONS_MAX} versions at once"),
        )));
    }
    if let Err(refusal) = permitted(machine, place, author, change.action(), &path, None) {
        return Ok(Err(refusal));
    }
    let not_found = || Refusal::new(Code::NotFound, format!("{path} has no such version"));
    let Some((id, mut secret)) = query::secret_at(records, author.tenant, &path)? else {
        return Ok(Err(not_found()));
    };
    if named.secret != id.bytes().as_slice() || named.latest != secret.latest {
        let what = format!(
            "{path} is at version {}; this {} knows {}",
            secret.latest,
            change.action().name(),
            named.latest
        );
        return Ok(Err(Refusal::new(Code::Conflict, what)));
    }
    let all = named.versions.is_empty();
    let numbers: Vec<u64> = if all {
        (secret.oldest..=secret.latest).collect()
    } else {
        named.versions.clone()
    };
    let mut after = BTreeMap::new();
    for number in numbers {
        let Some(state) = load::<VersionState>(records, &keys::version_state(id, number))? else {
            return Ok(Err(not_found()));
        };
        if change == Change::Undelete && state.destroyed {
            if all {
                continue;
            }
            let what = format!("version {number} of {path} was destroyed and cannot be shown again");
            return Ok(Err(Refusal::new(Code::NotFound, what)));
        }
        if let Some(changed) = change.of(&state) {
            after.insert(number, (state, changed));
        }
    }
    let mut effects = vec![Effect::Deleted { secret: id }];
    if !after.is_empty() {
        let versions = after.keys().copied().collect();
        effects.push(changed(place, &path, change.kind(), versions, &[]));
    }
    for (number, (before, after)) in after {
        store(records, keys::version_state(id, number), &after);
        match (before.deleted, after.deleted) {
            (false, true) => secret.visible = secret.visible.saturating_sub(1),
            (true, false) => secret.visible += 1,
            _ => {}
        }
        if change == Change::Destroy {
            effects.extend(drop_dealing(records, place.now_ms, id, number, &before)?);
        }
    }
    let version = secret.latest;
    store(records, keys::secret(author.tenant, id), &secret);
    Ok(Ok(Success {
        version,
        effects,
        ..Success::default()
    }))
}
