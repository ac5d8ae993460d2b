//! Whether this node holds its own fragment of every version. A disk that was put back, or a snapshot in place of entries, leaves some
//! that belong to nothing any more, which are erased, and lacks others: these are taken up while their sealing sessions live,
//! and counted where they are gone for good.

use crate::fragments::{CheckFault, Dealt, News, OWN, own_keys, session_of, version_of};
use crate::machine::ViewAdapter;
use crate::member::Member;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use symbolon_consensus::{Durability, StoreFault};
use symbolon_state::query;
use symbolon_store::{Local, LocalOp, Store};
use symbolon_wire::ids::SecretId;
use tokio::sync::{Notify, mpsc};

/// Versions looked at in one go, and the pause after them: the search must not hold up a node that starts.
const PAGE: usize = 256;
const PAUSE: Duration = Duration::from_millis(50);
/// While some are missing, they are counted anew this often: they may have been destroyed since.
const COUNTED_EVERY: Duration = Duration::from_secs(600);

/// How many versions lack this node's fragment for good, as last counted.
#[derive(Default)]
pub(crate) struct Missing {
    counted: AtomicU64,
    again: Notify,
}

impl Missing {
    /// The number.
    pub(crate) fn counted(&self) -> u64 {
        self.counted.load(Ordering::Relaxed)
    }

    /// One could not be taken up: they are to be counted anew.
    pub(crate) fn look_again(&self) {
        self.again.notify_one();
    }
}

/// Looks at a start, when a snapshot was taken over, and when a fragment could not be taken up.
pub(crate) async fn compare(member: Arc<Member>, news: mpsc::UnboundedSender<News>) {
    let mut restarts = member.changes.restarts();
    loop {
        restarts.mark_unchanged();
        if let Err(fault) = erase_gone(&member.store, &member.local).await {
            tracing::error!(%fault, "own fragments of versions that are gone cannot be erased");
        }
        match take_up(&member, &news).await {
            Ok(missing) => {
                if missing > 0 {
                    tracing::warn!(
                        missing,
                        "versions lack this node's fragment: it lost them, and others hold theirs"
                    );
                }
                member.missing.counted.store(missing, Ordering::Relaxed);
            }
            Err(fault) => tracing::error!(%fault, "own fragments cannot be compared with the versions that there are"),
        }
        tokio::select! {
            changed = restarts.changed() => if changed.is_err() { return },
            () = member.missing.again.notified() => {}
            () = tokio::time::sleep(COUNTED_EVERY), if member.missing.counted() > 0 => {}
        }
    }
}

/// Has what is missing and can still be opened opened and kept; counts what cannot.
async fn take_up(member: &Member, news: &mpsc::UnboundedSender<News>) -> Result<u64, CheckFault> {
    let (mut after, mut missing) = (None, 0);
    loop {
        let page = {
            let reader = member.store.reader();
            query::all_versions(&ViewAdapter::new(&reader), after, PAGE)?
        };
        let Some((last, ..)) = page.last() else {
            return Ok(missing);
        };
        after = Some(*last);
        let now_ms = member.shown.load().log_time_ms;
        for ((secret, version), state) in page {
            let over = state.expires_ms != 0 && state.expires_ms <= now_ms;
            if state.destroyed || state.author_at_fault || over || holds(&member.local, secret, version)? {
                continue;
            }
            let found = {
                let reader = member.store.reader();
                query::version(&ViewAdapter::new(&reader), secret, version)?
            };
            let Some((record, _)) = found else { continue };
            if session_of(member, &record)?.is_some() {
                let index = record.log_index;
                // Nobody listens any more only while the node stops.
                let _ = news.send(News::Dealt(Dealt { index, secret, version }));
            } else if !holds(&member.local, secret, version)? {
                // Not kept meanwhile either: a session goes once all have confirmed, and this node keeps its fragment before it does.
                missing += 1;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn holds(local: &Local, secret: SecretId, version: u64) -> Result<bool, StoreFault> {
    Ok(!local.scan(&own_keys(secret.bytes(), version), None, 1)?.is_empty())
}

/// A node may have stopped between applying that a version is gone and erasing its fragments, or have taken over a snapshot in place of
/// the entries that say so.
async fn erase_gone(store: &Store, local: &Local) -> Result<(), StoreFault> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = local.scan(&[OWN], after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        let gone: Vec<LocalOp> = {
            let reader = store.reader();
            let view = ViewAdapter::new(&reader);
            let is_gone = |key: &Vec<u8>| {
                let of = version_of(key);
                of.is_some_and(|(secret, version)| matches!(query::version(&view, secret, version), Ok(None)))
            };
            let keys = page.into_iter().map(|(key, _)| key);
            keys.filter(is_gone).map(LocalOp::Delete).collect()
        };
        if !gone.is_empty() {
            local.write(gone, Durability::Synced).await?;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fragments::own_key;
    use bytes::Bytes;
    use prost::Message;
    use rand_core::SeedableRng;
    use symbolon_consensus::{Changes, Storage};
    use symbolon_crypto::provider::AwsLc;
    use symbolon_crypto::secret::Secret;
    use symbolon_state::keys;
    use symbolon_state::records::{VersionRecord, VersionState};
    use symbolon_store::{MemoryDisk, Options};

    fn record(version: u64) -> VersionRecord {
        VersionRecord {
            secret: vec![1; 16].into(),
            version,
            ..VersionRecord::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn fragments_of_versions_that_the_state_does_not_have_are_erased_and_no_other() {
        let rng = Box::new(rand_chacha::ChaCha20Rng::from_seed([1; 32]));
        let options = Options::new(Secret::fill(|bytes: &mut [u8; 32]| bytes.fill(7)), Arc::new(AwsLc), rng);
        let store = Store::open_in_memory(&MemoryDisk::default(), options).unwrap();
        let local = store.local();
        let (there, gone) = (record(2), record(3));
        for kept in [&there, &gone] {
            let fragment = LocalOp::Put(own_key(kept), Bytes::from_static(b"fragment"));
            local.write_now(vec![fragment]).unwrap();
        }
        let id = SecretId([1; 16]);
        let records = [
            (keys::version(id, 2), there.encode_to_vec()),
            (keys::version_state(id, 2), VersionState::default().encode_to_vec()),
        ];
        let changes = Changes {
            records: records
                .into_iter()
                .map(|(key, value)| (key, Some(value.into())))
                .collect(),
            ..Changes::default()
        };
        store.commit(changes, &[], Bytes::from_static(b"applied")).unwrap();
        erase_gone(&store, &local).await.unwrap();
        assert!(local.get(&own_key(&there)).unwrap().is_some());
        assert!(local.get(&own_key(&gone)).unwrap().is_none());
    }
}
