//! The node's own fragments: checked off the path of requests, kept locally, confirmed in the log; as
//! `symbolon-node`'s `fragments`.

use super::{Member, submit};
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use symbolon_consensus::{Durability, StoreFault};
use symbolon_crypto::Hash;
use symbolon_custody::fragments::Checked;
use symbolon_node::machine::ViewAdapter;
use symbolon_state::entry::Kind;
use symbolon_state::keys;
use symbolon_state::query;
use symbolon_state::records::{SessionRecord, VersionRecord};
use symbolon_store::LocalOp;
use symbolon_wire::ids::SecretId;
use symbolon_wire::limits::FRAGMENT_OK_MAX;
use symbolon_wire::v1;
use tokio::sync::mpsc;

const CONFIRM_EVERY: Duration = Duration::from_millis(100);
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Local record kind of own fragments.
const OWN: u8 = 0x01;

/// A dealing to check.
pub(super) struct Dealt {
    pub(super) index: u64,
    pub(super) secret: SecretId,
    pub(super) version: u64,
}

/// Checking failed for a reason of this node's.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckFault {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// The state.
    #[error(transparent)]
    State(#[from] symbolon_state::Fault),
}

fn own_key(record: &VersionRecord) -> Vec<u8> {
    let mut key = vec![OWN];
    key.extend_from_slice(&record.secret);
    key.extend_from_slice(&record.version.to_be_bytes());
    key.extend_from_slice(&record.epoch.to_be_bytes());
    key
}

/// The own fragment of a version at rest; checked now if the background has not come to it yet.
pub(super) fn own_fragment(member: &Member, record: &VersionRecord) -> Result<Option<Bytes>, CheckFault> {
    if let Some(at_rest) = member.local.get(&own_key(record))? {
        return Ok(Some(at_rest));
    }
    // Kept by the background alone: a read that meets a destruction must not bring the fragment back.
    match check(member, record)? {
        Some(Checked::Good { at_rest }) => Ok(Some(Bytes::copy_from_slice(&at_rest))),
        Some(Checked::Complaint { .. }) | None => Ok(None),
    }
}

fn check(member: &Member, record: &VersionRecord) -> Result<Option<Checked>, CheckFault> {
    if let Some(checked) = member.holder.check(record, None)? {
        return Ok(Some(checked));
    }
    let Ok(session) = <[u8; 32]>::try_from(record.session.as_ref()) else {
        return Ok(None);
    };
    let reader = member.store.reader();
    let stored = symbolon_consensus::View::get(&reader, &keys::session(&session))?;
    let session = stored.and_then(|bytes| SessionRecord::decode(bytes).ok());
    Ok(member.holder.check(record, session.as_ref())?)
}

/// Checks dealings as they are applied, and what a restart left unchecked; confirms in the log.
pub(super) async fn work(member: Arc<Member>, mut dealt: mpsc::UnboundedReceiver<Dealt>) {
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    let mut confirm = tokio::time::interval(CONFIRM_EVERY);
    confirm.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut work = Work::default();
    loop {
        tokio::select! {
            biased;
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
    good: BTreeMap<u64, Hash>,
}

impl Work {
    fn take(&mut self, member: &Member, index: u64, secret: SecretId, version: u64) {
        let (found, chain) = {
            let reader = member.store.reader();
            let view = ViewAdapter::new(&reader);
            let chain = query::pending_chain(&view, index);
            (query::version(&view, secret, version), chain)
        };
        let Ok(chain) = chain else { return };
        let record = match found {
            Ok(Some((record, _))) if record.log_index == index => record,
            // A store without power reads nothing any more; the task is about to end.
            Ok(_) | Err(_) => return,
        };
        match check(member, &record) {
            Ok(Some(Checked::Good { at_rest })) => {
                let put = LocalOp::Put(own_key(&record), Bytes::copy_from_slice(&at_rest));
                self.writes.push(put);
                if let Some(chain) = chain {
                    self.good.insert(index, chain);
                }
            }
            // Every dealer is honest here.
            Ok(Some(Checked::Complaint { .. })) => {
                member.blame(format!("the own fragment of entry {index} does not check"));
            }
            // What everybody has confirmed may be older than its session.
            Ok(None) if chain.is_none() => {}
            Ok(None) => member.blame(format!("the sealing session of entry {index} is gone")),
            Err(_) => {}
        }
    }

    /// Own fragments first, durable; then the confirmation that says so.
    async fn confirm(&mut self, member: &Arc<Member>) {
        if !self.writes.is_empty() {
            let writes = self.writes.clone();
            if member.local.write(writes, Durability::Synced).await.is_err() {
                return;
            }
            self.writes.clear();
        }
        let good = self.good.iter().map(|(index, chain)| (*index, *chain));
        let dealings: Vec<(u64, Hash)> = good.take(FRAGMENT_OK_MAX).collect();
        if dealings.is_empty() {
            return;
        }
        let message = v1::FragmentOk {
            node: member.node.into(),
            boot_counter: member.signer.boot_counter,
            indices: dealings.iter().map(|(index, _)| *index).collect(),
            chains: dealings
                .iter()
                .map(|(_, chain)| Bytes::copy_from_slice(chain))
                .collect(),
            signature: Bytes::copy_from_slice(&member.signing.sign(&member.signer.fragment_ok(&dealings))),
        };
        // On failure they stay and are tried again.
        let proposed = submit::propose(member, Kind::FragmentOk, message.encode_to_vec().into()).await;
        if proposed.is_ok() {
            for (index, _) in &dealings {
                self.good.remove(index);
            }
        }
    }

    /// Finds dealings that this node has not confirmed and no effect has told it of.
    async fn sweep(&mut self, member: &Arc<Member>) {
        let mut after = None;
        loop {
            let page = {
                let reader = member.store.reader();
                let view = ViewAdapter::new(&reader);
                query::unconfirmed(&view, member.holder.place(), after, 256)
            };
            let Ok((open, next)) = page else { return };
            for dealing in open {
                if !self.good.contains_key(&dealing.index) {
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
