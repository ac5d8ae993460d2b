//! Policy sets: replaced whole, versioned, signed by as many operators as the roster asks for.

use crate::commands::Refusal;
use crate::keys;
use crate::query;
use crate::records::{PolicyRecord, PolicyText};
use crate::view::{Fault, Records, View, store};
use std::sync::Arc;
use symbolon_crypto::Hash;
use symbolon_policy::{PolicySet, Source};
use symbolon_wire::limits::{POLICY_BYTES_MAX, POLICY_SOURCES_MAX};
use symbolon_wire::{Code, v1};

/// Compiles the set that is in force.
pub(crate) fn current(view: &(impl View + ?Sized)) -> Result<(u64, Arc<PolicySet>), Fault> {
    let record = query::policies(view)?;
    let sources: Vec<Source> = record
        .sources
        .iter()
        .map(|s| Source {
            name: s.name.clone(),
            text: s.text.clone(),
        })
        .collect();
    // A set that was stored at feature level 1 was checked against the vocabulary of that level.
    let set = PolicySet::compile(&sources)
        .or_else(|_| PolicySet::compile_at(&sources, 1))
        .map_err(|_| Fault::Broken {
            rule: "stored policies compile",
        })?;
    Ok((record.version, Arc::new(set)))
}

/// Checks and stores a set with the vocabulary of a feature level; returns it compiled. What stays as it is `in_force` is not
/// checked again, for all would wait; the verdict is the same where it is (after a restart, at level 1).
pub(crate) fn set(
    records: &mut (impl Records + ?Sized),
    in_force: &PolicySet,
    command: &v1::SetPolicies,
    body_hash: &Hash,
    level: u32,
) -> Result<Result<(u64, Arc<PolicySet>), Refusal>, Fault> {
    let current = query::policies(records)?;
    if command.previous != current.version {
        return Ok(Err(Refusal::new(
            Code::Conflict,
            format!(
                "the policies are at version {}, this change follows version {}",
                current.version, command.previous
            ),
        )));
    }
    let bytes: usize = command
        .sources
        .iter()
        .map(|source| source.name.len() + source.text.len())
        .sum();
    if bytes > POLICY_BYTES_MAX || command.sources.len() > POLICY_SOURCES_MAX {
        return Ok(Err(Refusal::new(
            Code::TooLarge,
            format!(
                "{} files with {bytes} bytes of policies; at most {POLICY_SOURCES_MAX} with {POLICY_BYTES_MAX} are allowed",
                command.sources.len()
            ),
        )));
    }
    let sources: Vec<Source> = command
        .sources
        .iter()
        .map(|s| Source {
            name: s.name.clone(),
            text: s.text.clone(),
        })
        .collect();
    let set = match in_force.recompile(&sources, level) {
        Ok(set) => Arc::new(set),
        Err(error) => return Ok(Err(Refusal::new(Code::BadPolicy, error.recorded()))),
    };
    let version = current.version + 1;
    let record = PolicyRecord {
        version,
        sources: command
            .sources
            .iter()
            .map(|s| PolicyText {
                name: s.name.clone(),
                text: s.text.clone(),
            })
            .collect(),
        command: bytes::Bytes::copy_from_slice(body_hash),
    };
    store(records, keys::policy(version), &record);
    store(records, keys::policy_head(), &record);
    Ok(Ok((version, set)))
}
