//! The node's own fragments: checked off the path of requests, kept locally, confirmed in the log.

use crate::member::{Member, count};
use crate::submit;
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use symbolon_consensus::{Durability, StoreFault};
use symbolon_custody::fragments::{Checked, Holder};
use symbolon_state::entry::Kind;
use symbolon_state::keys;
use symbolon_state::query;
use symbolon_state::records::{SessionRecord, VersionRecord};
use symbolon_store::LocalOp;
use symbolon_wire::ids::SecretId;
use symbolon_wire::limits::FRAGMENT_OK_MAX;
use symbolon_wire::v1;
use tokio::sync::mpsc;

/// At most one confirmation per node in this time.
const CONFIRM_EVERY: Duration = Duration::from_millis(100);
/// How often the log is searched for dealings that were missed (a restart, a snapshot).
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Local record kind of own fragments.
const OWN: u8 = 0x01;

/// A dealing to check.
pub(crate) struct Dealt {
    /// Its log index.
    pub(crate) index: u64,
    /// Its secret.
    pub(crate) secret: SecretId,
    /// Its version.
    pub(crate) version: u64,
}

fn own_key(record: &VersionRecord) -> Vec<u8> {
    let mut key = vec![OWN];
    key.extend_from_slice(&record.secret);
    key.extend_from_slice(&record.version.to_be_bytes());
    key.extend_from_slice(&record.epoch.to_be_bytes());
    key
}

/// The own fragment of a version at rest; checked now if the background has not come to it yet.
pub(crate) fn own_fragment(
    member: &Member,
    holder: &Holder,
    record: &VersionRecord,
) -> Result<Option<Bytes>, CheckFault> {
    let key = own_key(record);
    if let Some(at_rest) = member.local.get(&key)? {
        return Ok(Some(at_rest));
    }
    match check(member, holder, record)? {
        Some(Checked::Good { at_rest }) => {
            let at_rest = Bytes::copy_from_slice(&at_rest);
            member.local.write_now(vec![LocalOp::Put(key, at_rest.clone())])?;
            Ok(Some(at_rest))
        }
        Some(Checked::Complaint { .. }) | None => Ok(None),
    }
}

/// Checking failed for a reason of this node's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckFault {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// The state.
    #[error(transparent)]
    State(#[from] symbolon_state::Fault),
}

fn check(member: &Member, holder: &Holder, record: &VersionRecord) -> Result<Option<Checked>, CheckFault> {
    if let Some(checked) = holder.check(record, None)? {
        return Ok(Some(checked));
    }
    let Ok(session) = <[u8; 32]>::try_from(record.session.as_ref()) else {
        return Ok(None);
    };
    let reader = member.store.reader();
    let stored = symbolon_consensus::View::get(&reader, &keys::session(&session))?;
    let session = stored.and_then(|bytes| SessionRecord::decode(bytes).ok());
    Ok(holder.check(record, session.as_ref())?)
}

/// Checks dealings as they are applied, and what a restart left unchecked; confirms in the log.
pub(crate) async fn work(member: Arc<Member>, mut dealt: mpsc::UnboundedReceiver<Dealt>) {
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    let mut confirm = tokio::time::interval(CONFIRM_EVERY);
    confirm.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut work = Work::default();
    loop {
        tokio::select! {
            received = dealt.recv() => match received {
                Some(dealt) => work.take(&member, dealt.index, dealt.secret, dealt.version),
                None => return,
            },
            _ = confirm.tick() => work.confirm(&member).await,
            _ = sweep.tick() => work.sweep(&member).await,
        }
    }
}

#[derive(Default)]
struct Work {
    writes: Vec<LocalOp>,
    good: BTreeSet<u64>,
    complaints: Vec<(u64, [u8; 32])>,
    /// Complained about already in this boot: once is enough.
    complained: BTreeSet<u64>,
}

impl Work {
    fn take(&mut self, member: &Member, index: u64, secret: SecretId, version: u64) {
        let Some(holder) = member.holder.load_full() else {
            return;
        };
        let reader = member.store.reader();
        let view = crate::machine::ViewAdapter::new(&reader);
        let found = query::version(&view, secret, version);
        let record = match found {
            Ok(Some((record, _))) if record.log_index == index => record,
            Ok(_) => return,
            Err(fault) => return tracing::error!(%fault, index, "a dealing cannot be read"),
        };
        match check(member, &holder, &record) {
            Ok(Some(Checked::Good { at_rest })) => {
                self.writes
                    .push(LocalOp::Put(own_key(&record), Bytes::copy_from_slice(&at_rest)));
                self.good.insert(index);
            }
            Ok(Some(Checked::Complaint { fragment_key })) => {
                if self.complained.insert(index) {
                    count(&member.counters.complaints);
                    tracing::warn!(index, "the own fragment of a dealing does not check; complaining");
                    self.complaints.push((index, *fragment_key.expose()));
                }
            }
            Ok(None) => tracing::warn!(index, "the sealing session of a dealing is gone"),
            Err(fault) => tracing::error!(%fault, index, "a dealing cannot be checked"),
        }
    }

    /// Own fragments first, durable; then the confirmation that says so.
    async fn confirm(&mut self, member: &Arc<Member>) {
        if !self.writes.is_empty() {
            let writes = self.writes.clone();
            if let Err(fault) = member.local.write(writes, Durability::Synced).await {
                return tracing::error!(%fault, "own fragments cannot be kept");
            }
            self.writes.clear();
        }
        let indices: Vec<u64> = self.good.iter().copied().take(FRAGMENT_OK_MAX).collect();
        if !indices.is_empty() {
            let signed = member.boot.signing.sign(&member.boot.signer.fragment_ok(&indices));
            let Ok(signature) = signed else {
                return tracing::error!("a confirmation cannot be signed");
            };
            let message = v1::FragmentOk {
                node: member.node.into(),
                boot_counter: member.boot.signer.boot_counter,
                indices: indices.clone(),
                signature: Bytes::copy_from_slice(&signature),
            };
            // On failure they stay and are tried again.
            if submit::propose(member, Kind::FragmentOk, message.encode_to_vec().into())
                .await
                .is_ok()
            {
                for index in &indices {
                    self.good.remove(index);
                }
            }
        }
        for (index, fragment_key) in std::mem::take(&mut self.complaints) {
            let signed = member
                .boot
                .signing
                .sign(&member.boot.signer.complaint(index, &fragment_key));
            let Ok(signature) = signed else {
                return tracing::error!("a complaint cannot be signed");
            };
            let message = v1::Complaint {
                node: member.node.into(),
                boot_counter: member.boot.signer.boot_counter,
                index,
                fragment_key: Bytes::copy_from_slice(&fragment_key),
                signature: Bytes::copy_from_slice(&signature),
            };
            if submit::propose(member, Kind::Complaint, message.encode_to_vec().into())
                .await
                .is_err()
            {
                self.complained.remove(&index);
            }
        }
    }

    /// Finds dealings that this node has not confirmed and no effect has told it of.
    async fn sweep(&mut self, member: &Arc<Member>) {
        let Some(place) = member.holder.load_full().map(|holder| holder.place()) else {
            return;
        };
        let mut after = None;
        loop {
            let page = {
                let reader = member.store.reader();
                let view = crate::machine::ViewAdapter::new(&reader);
                query::unconfirmed(&view, place, after, 256)
            };
            let (open, next) = match page {
                Ok(page) => page,
                Err(fault) => return tracing::error!(%fault, "pending dealings cannot be read"),
            };
            for dealing in open {
                if !self.good.contains(&dealing.index) {
                    self.take(member, dealing.index, dealing.secret, dealing.version);
                }
            }
            if next.is_none() {
                return;
            }
            after = next;
            tokio::task::yield_now().await;
        }
    }
}
