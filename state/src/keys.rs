//! Record keys: kind ‖ parent id ‖ id. Ids are random and say nothing; names stand only in the name index.

use symbolon_crypto::Hash;
use symbolon_wire::ids::{PrincipalId, SecretId, TenantId};

/// Log time and the nodes' readings.
pub const CLOCK: u8 = 0x01;
/// Feature level.
pub const LEVEL: u8 = 0x02;
/// Boot statements: node ‖ counter.
pub const BOOT: u8 = 0x03;
/// Principals.
pub const PRINCIPAL: u8 = 0x04;
/// Which principal a key belongs to.
pub const KEY: u8 = 0x05;
/// Counters of a principal.
pub const PRINCIPAL_USE: u8 = 0x06;
/// Policy sets by version.
pub const POLICY: u8 = 0x07;
/// Secrets: tenant ‖ secret.
pub const SECRET: u8 = 0x08;
/// Versions: secret ‖ version.
pub const VERSION: u8 = 0x09;
/// What changes about a version: secret ‖ version.
pub const VERSION_STATE: u8 = 0x0a;
/// Dealings not yet confirmed by all, by log index.
pub const PENDING: u8 = 0x0b;
/// Sealing sessions.
pub const SESSION: u8 = 0x0c;
/// Counters of a sealing session.
pub const SESSION_USE: u8 = 0x0d;
/// Commands already applied: principal ‖ nonce.
pub const DONE: u8 = 0x0e;
/// What falls due: time ‖ key of the record.
pub const DUE: u8 = 0x0f;
/// Version of the policy set in force.
pub const POLICY_HEAD: u8 = 0x10;
/// Metadata: secret.
pub const METADATA: u8 = 0x11;
/// Anchors of the nodes' audit logs: node.
pub const AUDIT_ANCHOR: u8 = 0x28;
/// Removed principals' names and retired ids stay refused through their records, so there is no kind for them.
///
/// Name index: paths of secrets and folders. Parent: tenant ‖ folder.
pub const NAME_SECRET: u8 = 0x40;
/// Name index: folders. Parent: tenant ‖ folder above.
pub const NAME_FOLDER: u8 = 0x41;
/// Name index: principals. Parent: tenant.
pub const NAME_PRINCIPAL: u8 = 0x42;

fn key(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(kind);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

/// Key of the clock.
pub fn clock() -> Vec<u8> {
    key(CLOCK, &[])
}

/// Key of the feature level.
pub fn level() -> Vec<u8> {
    key(LEVEL, &[])
}

/// Key of one boot statement.
pub fn boot(node: u16, counter: u64) -> Vec<u8> {
    key(BOOT, &[&node.to_be_bytes(), &counter.to_be_bytes()])
}

/// Prefix of a node's boot statements.
pub fn boots(node: u16) -> Vec<u8> {
    key(BOOT, &[&node.to_be_bytes()])
}

/// Key of a principal.
pub fn principal(id: PrincipalId) -> Vec<u8> {
    key(PRINCIPAL, &[id.bytes()])
}

/// Key of a registered key.
pub fn registered_key(fingerprint: &Hash) -> Vec<u8> {
    key(KEY, &[fingerprint])
}

/// Key of a principal's counters.
pub fn principal_use(id: PrincipalId) -> Vec<u8> {
    key(PRINCIPAL_USE, &[id.bytes()])
}

/// Key of one version of the policy set.
pub fn policy(version: u64) -> Vec<u8> {
    key(POLICY, &[&version.to_be_bytes()])
}

/// Key of the version in force.
pub fn policy_head() -> Vec<u8> {
    key(POLICY_HEAD, &[])
}

/// Key of a secret.
pub fn secret(tenant: TenantId, id: SecretId) -> Vec<u8> {
    key(SECRET, &[tenant.bytes(), id.bytes()])
}

/// Key of a version.
pub fn version(id: SecretId, version: u64) -> Vec<u8> {
    key(VERSION, &[id.bytes(), &version.to_be_bytes()])
}

/// Key of what changes about a version.
pub fn version_state(id: SecretId, version: u64) -> Vec<u8> {
    key(VERSION_STATE, &[id.bytes(), &version.to_be_bytes()])
}

/// Prefix of the states of all versions of all secrets, by id and then by number.
pub fn all_version_states() -> Vec<u8> {
    key(VERSION_STATE, &[])
}

/// Prefix of all versions' states of a secret.
pub fn version_states(id: SecretId) -> Vec<u8> {
    key(VERSION_STATE, &[id.bytes()])
}

/// Key of a secret's metadata.
pub fn metadata(id: SecretId) -> Vec<u8> {
    key(METADATA, &[id.bytes()])
}

/// Key of a pending dealing.
pub fn pending(log_index: u64) -> Vec<u8> {
    key(PENDING, &[&log_index.to_be_bytes()])
}

/// Prefix of pending dealings.
pub fn pendings() -> Vec<u8> {
    key(PENDING, &[])
}

/// Key of a sealing session.
pub fn session(id: &Hash) -> Vec<u8> {
    key(SESSION, &[id])
}

/// Key of a sealing session's counters.
pub fn session_use(id: &Hash) -> Vec<u8> {
    key(SESSION_USE, &[id])
}

/// Key of an applied command.
pub fn done(principal: PrincipalId, nonce: &[u8; 32]) -> Vec<u8> {
    key(DONE, &[principal.bytes(), nonce])
}

/// Key of the anchor of a node's audit log.
pub fn audit_anchor(node: u16) -> Vec<u8> {
    key(AUDIT_ANCHOR, &[&node.to_be_bytes()])
}

/// Key under which a record falls due.
pub fn due(at_ms: u64, record: &[u8]) -> Vec<u8> {
    key(DUE, &[&at_ms.to_be_bytes(), record])
}

/// Splits a due key into its time and the record's key.
pub fn split_due(due: &[u8]) -> Option<(u64, &[u8])> {
    let (time, record) = due.get(1..)?.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*time), record))
}

/// Parent of the names in a folder (`""` is the tenant's root).
pub fn folder(tenant: TenantId, folder: &str) -> Vec<u8> {
    let mut parent = tenant.0.to_vec();
    parent.extend_from_slice(folder.as_bytes());
    parent
}
