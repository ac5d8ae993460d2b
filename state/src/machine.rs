//! The state machine: one entry in, its outcome and effects out.

use crate::clock::Clock;
use crate::commands::Place;
use crate::dealings;
use crate::entry::{Entry, Kind};
use crate::keys;
use crate::records::{Boot, Level, PrincipalUse};
use crate::view::{Fault, Records, View, load, store};
use crate::{identity, levels, policies, query, secrets};
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeMap;
use std::sync::Arc;
use symbolon_crypto::Hash;
use symbolon_crypto::dealing::Sharing;
use symbolon_crypto::provider::Provider;
use symbolon_crypto::sign::{Ed25519VerifyingKey, VerifyingKey};
use symbolon_policy::PolicySet;
use symbolon_wire::ids::{PrincipalId, SecretId};
use symbolon_wire::limits::SIGNATURES_MAX;
use symbolon_wire::roster::Roster;
use symbolon_wire::statements::Signer;
use symbolon_wire::v1;

/// Records that fall due are dropped at most this many per tick, so that no entry takes long to apply.
const DUE_PER_TICK_MAX: usize = 16_384;
const DUE_PAGE: usize = 64;

/// A node's keys of its current boot.
#[derive(Debug, Clone)]
pub struct BootView {
    /// Counts its boots.
    pub counter: u64,
    /// Signs heads, ticks, confirmations and reply roots.
    pub signing_key: VerifyingKey,
    /// The key that its connections show.
    pub tls_key: VerifyingKey,
    /// Signs checkpoints and cosignatures; `None` if it is no key, so that nothing is signed by it.
    pub checkpoint_key: Option<Ed25519VerifyingKey>,
    /// Highest feature level that its build supports.
    pub feature_level: u32,
}

/// What an entry makes a node do, beside the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A version was dealt: open, check and confirm the own fragment.
    Dealt {
        /// Its log index.
        index: u64,
        /// Its secret.
        secret: SecretId,
        /// Its version.
        version: u64,
    },
    /// A holder confirmed fragments.
    Confirmed,
    /// A complaint counted.
    Complained {
        /// The secret.
        secret: SecretId,
        /// Its version.
        version: u64,
    },
    /// A node complained about a good fragment.
    FalseComplaint {
        /// Which.
        node: u16,
        /// Log index of the dealing.
        index: u64,
    },
    /// Versions were hidden, or shown again.
    Deleted {
        /// The secret.
        secret: SecretId,
    },
    /// Metadata or settings of a secret were changed.
    Metadata {
        /// The secret.
        secret: SecretId,
    },
    /// A version is gone: whatever the node keeps of it itself is to be erased.
    Destroyed {
        /// The secret.
        secret: SecretId,
        /// The version.
        version: u64,
    },
    /// What watchers of a secret are told. What the node itself is to do about it, other effects say.
    Changed(v1::Change),
    /// Another policy set is in force.
    Policies,
    /// A principal was registered, removed or given other keys.
    Principals,
    /// A node booted.
    Booted {
        /// Which.
        node: u16,
        /// Its boot.
        counter: u64,
    },
    /// The feature level rose.
    FeatureLevel {
        /// To this.
        level: u32,
    },
    /// A snapshot is to be taken at this entry.
    SnapshotMark,
    /// A node's audit log was anchored.
    AuditAnchored {
        /// Which.
        node: u16,
        /// Leaves under the anchor.
        size: u64,
    },
    /// A node signed an audit log that contradicts its anchor.
    AuditForked {
        /// Which.
        node: u16,
    },
}

/// The reply of one entry, and its effects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// What the proposer is told.
    pub outcome: v1::Outcome,
    /// What this node does about it.
    pub effects: Vec<Effect>,
}

/// What apply keeps in memory; all of it derived from records.
#[derive(Clone)]
pub struct Machine {
    pub(crate) roster: Arc<Roster>,
    pub(crate) sharing: Sharing,
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) policies: Arc<PolicySet>,
    pub(crate) policy_version: u64,
    pub(crate) level: u32,
    pub(crate) boots: BTreeMap<u16, BootView>,
    /// Up to this key all that fell due is gone. Nothing comes there any more: what is added falls due after log time.
    swept: Option<Vec<u8>>,
}

impl Machine {
    /// Writes the first records of a cluster.
    pub fn genesis(records: &mut dyn Records, roster: &Roster) {
        Clock::genesis(roster).write(records);
        store(records, keys::level(), &Level { level: 1 });
        identity::genesis(records, roster);
    }

    /// Derives what is kept in memory from records.
    pub fn load(view: &(impl View + ?Sized), roster: Arc<Roster>, provider: Arc<dyn Provider>) -> Result<Self, Fault> {
        let (policy_version, policies) = policies::current(view)?;
        let sharing = secrets::sharing_of(&roster).map_err(|_| Fault::Broken {
            rule: "a roster is a sharing",
        })?;
        let mut boots = BTreeMap::new();
        for node in &roster.nodes {
            if let Some(statement) = query::newest_boot(view, node.index)? {
                let boot = boot_view(&statement).ok_or(Fault::Broken {
                    rule: "logged boot keys parse",
                })?;
                boots.insert(node.index, boot);
            }
        }
        Ok(Self {
            roster,
            sharing,
            provider,
            policies,
            policy_version,
            level: known(query::feature_level(view)?)?,
            boots,
            swept: None,
        })
    }

    /// The policies in force, compiled.
    pub fn policies(&self) -> &Arc<PolicySet> {
        &self.policies
    }

    /// Version of the policies in force.
    pub fn policy_version(&self) -> u64 {
        self.policy_version
    }

    /// The feature level in force.
    pub fn level(&self) -> u32 {
        self.level
    }

    /// The nodes' keys of their current boots.
    pub fn boots(&self) -> &BTreeMap<u16, BootView> {
        &self.boots
    }

    /// Applies one entry. An entry that fails a check is a no-op with an outcome that says why.
    pub fn apply(&mut self, records: &mut dyn Records, entry: &Entry) -> Result<Applied, Fault> {
        let now_ms = Clock::read(records)?.log_time_ms();
        let payload = entry.payload.clone();
        let effects = match Kind::from_number(entry.kind) {
            Some(Kind::Command) => {
                let place = Place {
                    index: entry.index,
                    chain: &entry.chain,
                    now_ms,
                };
                let (mut outcome, effects) = self.command(records, place, payload)?;
                if !outcome.repeated {
                    outcome.index = entry.index;
                }
                return Ok(Applied { outcome, effects });
            }
            Some(Kind::BootKeys) => self.decoded(payload, |m, msg| m.boot_keys(records, entry.index, &msg))?,
            Some(Kind::Ticks) => self.decoded(payload, |m, msg| m.ticks(records, &msg))?,
            Some(Kind::FragmentOk) => self.decoded(payload, |m, msg| m.fragment_ok(records, now_ms, &msg))?,
            Some(Kind::Complaint) => self.decoded(payload, |m, msg| m.complaint(records, &msg))?,
            Some(Kind::FeatureLevel) => self.decoded(payload, |m, msg| m.feature_level(records, &msg))?,
            Some(Kind::SnapshotMark) => vec![Effect::SnapshotMark],
            Some(Kind::AuditAnchor) => self.decoded(payload, |m, msg| m.audit_anchor(records, entry.index, &msg))?,
            None => Vec::new(),
        };
        Ok(Applied {
            outcome: v1::Outcome::default(),
            effects,
        })
    }

    /// An entry that does not decode is a no-op.
    fn decoded<M: Message + Default>(
        &mut self,
        payload: Bytes,
        apply: impl FnOnce(&mut Self, M) -> Result<Vec<Effect>, Fault>,
    ) -> Result<Vec<Effect>, Fault> {
        match M::decode(payload) {
            Ok(message) => apply(self, message),
            Err(_) => Ok(Vec::new()),
        }
    }

    /// Takes a node's boot keys if its identity key certifies them and the counter rises.
    fn boot_keys(
        &mut self,
        records: &mut dyn Records,
        index: u64,
        statement: &v1::BootKeys,
    ) -> Result<Vec<Effect>, Fault> {
        let Some((node, view)) = check_boot(&self.roster, self.provider.as_ref(), statement) else {
            return Ok(Vec::new());
        };
        let current = self.boots.get(&node);
        let old = current.is_some_and(|current| current.counter >= view.counter);
        #[cfg(feature = "sabotage")]
        let old = old && !symbolon_sabotage::Bug::BootCounterIgnored.on();
        if old {
            return Ok(Vec::new());
        }
        let counter = view.counter;
        let record = Boot {
            boot_counter: counter,
            statement: statement.encode_to_vec().into(),
            log_index: index,
        };
        store(records, keys::boot(node, counter), &record);
        self.boots.insert(node, view);
        Ok(vec![Effect::Booted { node, counter }])
    }

    fn ticks(&mut self, records: &mut dyn Records, ticks: &v1::Ticks) -> Result<Vec<Effect>, Fault> {
        let mut clock = Clock::read(records)?;
        let mut times: BTreeMap<u64, u64> = BTreeMap::new();
        for tick in ticks.ticks.iter().take(SIGNATURES_MAX) {
            // One that was logged before is used up.
            if !clock.is_newer(tick) {
                continue;
            }
            let Some((signer, _)) = self.node_signer(tick.node, tick.boot_counter) else {
                continue;
            };
            let statement = signer.tick(tick.sequence, tick.time_ms);
            let signed = self.signed_by(&signer, &statement, &tick.signature);
            #[cfg(feature = "sabotage")]
            let signed = signed || symbolon_sabotage::Bug::TickUnsigned.on();
            if signed {
                clock.take(tick);
                // By node: two readings of one are one clock's.
                let of = u64::from(tick.node);
                #[cfg(feature = "sabotage")]
                let of = if symbolon_sabotage::Bug::ReadingsCountAlone.on() {
                    tick.sequence
                } else {
                    of
                };
                times.insert(of, tick.time_ms);
            }
        }
        clock.advance(self.roster.threshold.into(), times.into_values().collect());
        clock.write(records);
        self.drop_due(records, clock.log_time_ms())?;
        Ok(Vec::new())
    }

    /// Drops what has fallen due: idempotency records, and sessions with nothing pending.
    fn drop_due(&mut self, records: &mut dyn Records, now_ms: u64) -> Result<(), Fault> {
        let mut dropped = 0;
        while dropped < DUE_PER_TICK_MAX {
            // Not from the start: until its files are merged, a disk passes over each record that was deleted there, and
            // after minutes of writes that took longer than all else. Short pages: most ticks find nothing due.
            let page = records.scan(&[keys::DUE], self.swept.as_deref(), DUE_PAGE)?;
            let full = page.len() == DUE_PAGE;
            for (due, _) in page {
                let (time, record) = keys::split_due(&due).ok_or(Fault::Corrupt { kind: keys::DUE })?;
                if time > now_ms {
                    return Ok(());
                }
                drop_record(records, now_ms, record)?;
                records.delete(due.clone());
                self.swept = Some(due);
                dropped += 1;
            }
            if !full {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Raises the feature level if every node's current boot supports it.
    fn feature_level(&mut self, records: &mut dyn Records, message: &v1::FeatureLevel) -> Result<Vec<Effect>, Fault> {
        let level = message.level;
        let supported = |node: u16| self.boots.get(&node).is_some_and(|boot| boot.feature_level >= level);
        let all = self.roster.nodes.iter().all(|node| supported(node.index));
        #[cfg(feature = "sabotage")]
        let all = all
            || symbolon_sabotage::Bug::LevelTooEarly.on()
            || symbolon_sabotage::Bug::LevelByMajority.on() && {
                let supporting = self.roster.nodes.iter().filter(|node| supported(node.index));
                supporting.count() >= usize::from(self.roster.threshold)
            };
        if !all || level <= query::feature_level(records)? {
            return Ok(Vec::new());
        }
        self.level = known(level)?;
        store(records, keys::level(), &Level { level });
        Ok(vec![Effect::FeatureLevel { level }])
    }
}

/// The level in force, if this build knows it. One that does not would apply what follows otherwise than all others.
fn known(in_force: u32) -> Result<u32, Fault> {
    let known = levels::known();
    if in_force > known {
        return Err(Fault::NewerLevel { in_force, known });
    }
    Ok(in_force)
}

fn drop_record(records: &mut dyn Records, now_ms: u64, record: &[u8]) -> Result<(), Fault> {
    match record.split_first() {
        Some((&keys::DONE, rest)) => {
            let id = rest.get(..16).and_then(|id| PrincipalId::parse(id).ok());
            let key = keys::principal_use(id.ok_or(Fault::Corrupt { kind: keys::DUE })?);
            let mut uses: PrincipalUse = load(records, &key)?.unwrap_or_default();
            uses.live_commands = uses.live_commands.saturating_sub(1);
            store(records, key, &uses);
            records.delete(record.to_vec());
            Ok(())
        }
        Some((&keys::SESSION, id)) => {
            let id = Hash::try_from(id).map_err(|_| Fault::Corrupt { kind: keys::DUE })?;
            dealings::drop_session(records, now_ms, &id)
        }
        _ => Err(Fault::Corrupt { kind: keys::DUE }),
    }
}

/// The node and keys of a boot statement, if identity and signing key signed it.
pub fn check_boot(roster: &Roster, provider: &dyn Provider, statement: &v1::BootKeys) -> Option<(u16, BootView)> {
    let node = u16::try_from(statement.node).ok()?;
    let member = roster.node(node)?;
    if statement.roster_hash != roster.hash.as_slice() {
        return None;
    }
    let signer = Signer {
        cluster: roster.cluster,
        node,
        boot_counter: statement.boot_counter,
    };
    let signed = signer.boot(
        &roster.hash,
        &statement.signing_key,
        &statement.tls_key,
        &statement.checkpoint_key,
    );
    let signature = statement.signature.as_ref().try_into().ok()?;
    provider.p256(&member.identity, &signed, &signature).ok()?;
    let view = boot_view(statement)?;
    let signature = statement.feature_signature.as_ref().try_into().ok()?;
    provider
        .p256(&view.signing_key, &signer.feature(statement.feature_level), &signature)
        .ok()?;
    Some((node, view))
}

fn boot_view(statement: &v1::BootKeys) -> Option<BootView> {
    let checkpoint_key = <[u8; 32]>::try_from(statement.checkpoint_key.as_ref()).ok()?;
    Some(BootView {
        counter: statement.boot_counter,
        signing_key: VerifyingKey::parse(&statement.signing_key).ok()?,
        tls_key: VerifyingKey::parse(&statement.tls_key).ok()?,
        checkpoint_key: Ed25519VerifyingKey::from_bytes(&checkpoint_key).ok(),
        feature_level: statement.feature_level,
    })
}
