//! The node's own fragments: checked off the path of requests, kept locally, confirmed in the log.

use crate::member::{Member, count};
use crate::submit;
use bytes::Bytes;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use symbolon_consensus::{Durability, StoreFault};
use symbolon_crypto::Hash;
use symbolon_custody::fragments::{Checked, Holder};
use symbolon_state::entry::Kind;
use symbolon_state::keys;
use symbolon_state::query;
use symbolon_state::records::{SessionRecord, VersionRecord};
use symbolon_store::{Local, LocalOp};
use symbolon_wire::ids::SecretId;
use symbolon_wire::limits::FRAGMENT_OK_MAX;
use symbolon_wire::v1;
use tokio::sync::mpsc;

/// At most one confirmation per node in this time.
const CONFIRM_EVERY: Duration = Duration::from_millis(100);
/// How often the log is searched for dealings that were missed (a restart, a snapshot).
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Local record kind of own fragments.
pub(crate) const OWN: u8 = 0x01;

/// What was applied and concerns own fragments.
pub(crate) enum News {
    /// One is to be checked and kept.
    Dealt(Dealt),
    /// Those of a version are to be erased.
    Destroyed {
        /// Its secret.
        secret: SecretId,
        /// The version.
        version: u64,
    },
}

/// A dealing to check.
pub(crate) struct Dealt {
    /// Its log index.
    pub(crate) index: u64,
    /// Its secret.
    pub(crate) secret: SecretId,
    /// Its version.
    pub(crate) version: u64,
}

/// What the keys of own fragments of one version begin with.
pub(crate) fn own_keys(secret: &[u8], version: u64) -> Vec<u8> {
    [&[OWN][..], secret, &version.to_be_bytes()].concat()
}

pub(crate) fn own_key(record: &VersionRecord) -> Vec<u8> {
    let of_version = own_keys(&record.secret, record.version);
    [&of_version[..], &record.epoch.to_be_bytes()].concat()
}

/// The version that an own fragment belongs to.
pub(crate) fn version_of(key: &[u8]) -> Option<(SecretId, u64)> {
    let (secret, rest) = key.strip_prefix(&[OWN])?.split_first_chunk::<16>()?;
    let (version, _epoch) = rest.split_first_chunk::<8>()?;
    Some((SecretId::parse(secret).ok()?, u64::from_be_bytes(*version)))
}

/// The own fragment of a version at rest; checked now if the background has not come to it yet.
pub(crate) fn own_fragment(
    member: &Member,
    holder: &Holder,
    record: &VersionRecord,
) -> Result<Option<Bytes>, CheckFault> {
    if let Some(at_rest) = member.local.get(&own_key(record))? {
        return Ok(Some(at_rest));
    }
    // Kept by the background alone: a read that meets a destruction must not bring the fragment back.
    match check(member, holder, record)? {
        Some(Checked::Good { at_rest }) => Ok(Some(Bytes::copy_from_slice(&at_rest))),
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
    Ok(holder.check(record, session_of(member, record)?.as_ref())?)
}

/// The sealing session of a dealing, if it is still there.
pub(crate) fn session_of(member: &Member, record: &VersionRecord) -> Result<Option<SessionRecord>, StoreFault> {
    let Ok(session) = <[u8; 32]>::try_from(record.session.as_ref()) else {
        return Ok(None);
    };
    let reader = member.store.reader();
    let stored = symbolon_consensus::View::get(&reader, &keys::session(&session))?;
    Ok(stored.and_then(|bytes| SessionRecord::decode(bytes).ok()))
}

/// Checks dealings as they are applied, and what a restart left unchecked; confirms in the log.
pub(crate) async fn work(member: Arc<Member>, mut news: mpsc::UnboundedReceiver<News>) {
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    let mut confirm = tokio::time::interval(CONFIRM_EVERY);
    confirm.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut work = Work::default();
    loop {
        tokio::select! {
            received = news.recv() => match received {
                Some(News::Dealt(dealt)) => work.take(&member, dealt.index, dealt.secret, dealt.version),
                Some(News::Destroyed { secret, version }) => work.erase(&member, secret, version),
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
    /// Dealings that were found good, by log index, each with the chain value there: what is said of them is of that history.
    good: BTreeMap<u64, Hash>,
    complaints: Vec<(u64, Hash, [u8; 32])>,
    /// Complained about already in this boot, with the chain value there as well: once is enough.
    complained: BTreeSet<(u64, Hash)>,
}

impl Work {
    fn take(&mut self, member: &Member, index: u64, secret: SecretId, version: u64) {
        let Some(holder) = member.holder.load_full() else {
            return;
        };
        let reader = member.store.reader();
        let view = crate::machine::ViewAdapter::new(&reader);
        let found = query::version(&view, secret, version);
        // Of the same state as the record: a snapshot may put another dealing in its place before anything is said.
        let chain = query::pending_chain(&view, index);
        let (record, chain) = match (found, chain) {
            (Ok(Some((record, _))), Ok(chain)) if record.log_index == index => (record, chain),
            (Ok(_), Ok(_)) => return,
            (Err(fault), _) | (_, Err(fault)) => {
                return tracing::error!(%fault, index, "a dealing cannot be read");
            }
        };
        if chain.is_some_and(|chain| self.complained.contains(&(index, chain))) {
            return;
        }
        match check(member, &holder, &record) {
            Ok(Some(Checked::Good { at_rest })) => {
                // Kept also where nothing is left to be said: a restored node finds dealings that it has confirmed before it was.
                self.writes
                    .push(LocalOp::Put(own_key(&record), Bytes::copy_from_slice(&at_rest)));
                if let Some(chain) = chain {
                    self.good.insert(index, chain);
                }
            }
            Ok(Some(Checked::Complaint { fragment_key })) => {
                let Some(chain) = chain else { return };
                self.complained.insert((index, chain));
                count(&member.counters.complaints);
                tracing::warn!(index, "the own fragment of a dealing does not check; complaining");
                self.complaints.push((index, chain, *fragment_key.expose()));
            }
            Ok(None) => {
                tracing::warn!(index, "the sealing session of a dealing is gone");
                member.missing.look_again();
            }
            Err(fault) => tracing::error!(%fault, index, "a dealing cannot be checked"),
        }
    }

    /// Forgets what this node keeps of a version.
    fn erase(&mut self, member: &Member, secret: SecretId, version: u64) {
        let prefix = own_keys(secret.bytes(), version);
        let of_it = |write: &LocalOp| matches!(write, LocalOp::Put(key, _) if key.starts_with(&prefix));
        self.writes.retain(|write| !of_it(write));
        match erasures(&member.local, &prefix) {
            Ok(erasures) => self.writes.extend(erasures),
            Err(fault) => {
                tracing::error!(%fault, version, "an own fragment cannot be erased; it will be at the next start")
            }
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
        let good = self.good.iter().map(|(index, chain)| (*index, *chain));
        let dealings: Vec<(u64, Hash)> = good.take(FRAGMENT_OK_MAX).collect();
        if !dealings.is_empty() {
            let signed = member.boot.signing.sign(&member.boot.signer.fragment_ok(&dealings));
            let Ok(signature) = signed else {
                return tracing::error!("a confirmation cannot be signed");
            };
            let message = v1::FragmentOk {
                node: member.node.into(),
                boot_counter: member.boot.signer.boot_counter,
                indices: dealings.iter().map(|(index, _)| *index).collect(),
                signature: Bytes::copy_from_slice(&signature),
                chains: dealings
                    .iter()
                    .map(|(_, chain)| Bytes::copy_from_slice(chain))
                    .collect(),
            };
            // On failure they stay and are tried again.
            if submit::propose(member, Kind::FragmentOk, message.encode_to_vec().into())
                .await
                .is_ok()
            {
                for (index, _) in &dealings {
                    self.good.remove(index);
                }
            }
        }
        for (index, chain, fragment_key) in std::mem::take(&mut self.complaints) {
            let statement = member.boot.signer.complaint(index, &chain, &fragment_key);
            let signed = member.boot.signing.sign(&statement);
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
                self.complained.remove(&(index, chain));
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

/// What erases all own fragments under `prefix`.
fn erasures(local: &Local, prefix: &[u8]) -> Result<Vec<LocalOp>, StoreFault> {
    // One for each epoch.
    let kept = local.scan(prefix, None, usize::MAX)?;
    Ok(kept.into_iter().map(|(key, _)| LocalOp::Delete(key)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng;
    use symbolon_crypto::provider::AwsLc;
    use symbolon_crypto::secret::Secret;
    use symbolon_store::{MemoryDisk, Options, Store};

    fn record(secret: u8, version: u64, epoch: u64) -> VersionRecord {
        VersionRecord {
            secret: vec![secret; 16].into(),
            version,
            epoch,
            ..VersionRecord::default()
        }
    }

    fn store() -> Store {
        let rng = Box::new(rand_chacha::ChaCha20Rng::from_seed([1; 32]));
        let options = Options::new(Secret::fill(|bytes: &mut [u8; 32]| bytes.fill(7)), Arc::new(AwsLc), rng);
        Store::open_in_memory(&MemoryDisk::default(), options).unwrap()
    }

    #[test]
    fn erasing_a_version_takes_its_fragments_of_every_epoch_and_no_other() {
        let store = store();
        let local = store.local();
        let of_it = [record(1, 2, 0), record(1, 2, 1)];
        let others = [record(1, 1, 0), record(1, 3, 0), record(2, 2, 0), record(1, 0x0200, 0)];
        for kept in of_it.iter().chain(&others) {
            local
                .write_now(vec![LocalOp::Put(own_key(kept), Bytes::from_static(b"fragment"))])
                .unwrap();
        }
        let erasing = erasures(&local, &own_keys(&[1; 16], 2)).unwrap();
        assert_eq!(erasing.len(), 2);
        local.write_now(erasing).unwrap();
        assert!(of_it.iter().all(|gone| local.get(&own_key(gone)).unwrap().is_none()));
        assert!(others.iter().all(|kept| local.get(&own_key(kept)).unwrap().is_some()));
    }

    #[test]
    fn the_key_of_an_own_fragment_tells_its_version() {
        let (secret, version) = version_of(&own_key(&record(9, 0x0102, 3))).unwrap();
        assert_eq!((secret.bytes(), version), (&[9; 16], 0x0102));
        assert_eq!(version_of(&[OWN; 10]), None);
    }
}
