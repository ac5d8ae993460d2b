//! A cluster in one process: members over an in-process network that can be cut.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, of which each binary uses its part"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand_chacha::rand_core::SeedableRng;
use symbolon_consensus::{
    Call, Committed, Consensus, Fatal, Outcome, Payload, Progress, ProposeError, Proposed, Records, Settings,
    SnapshotGuard, SnapshotMeta, SnapshotRefused, StateMachine, StoreFault, Transport, TransportError, View,
};
use symbolon_crypto::provider::Portable;
use symbolon_crypto::secret::Secret;
use symbolon_store::{MemoryDisk, Options, Store};

pub(crate) const CLUSTER: [u8; 16] = [7; 16];
pub(crate) const GENESIS: [u8; 32] = [9; 32];

/// An ordinary write: `key ‖ 0 ‖ value`. Files the key as a name too.
pub(crate) const KIND_PUT: u16 = 16;
/// Marks a snapshot.
pub(crate) const KIND_MARK: u16 = 17;
/// Writes [`MANY`] records at once.
pub(crate) const KIND_MANY: u16 = 18;
pub(crate) const MANY: u32 = 20_000;

pub(crate) const NAME_KIND: u8 = 1;
pub(crate) const PARENT: &[u8] = b"root";

const CLOSES_WITHIN: Duration = Duration::from_secs(10);

pub(crate) fn options(node: u64) -> Options {
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(0xd15c + node);
    // Each opening draws other nonces, as an operating system would.
    let stream = NONCES.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    rng.set_stream(stream);
    let key = Secret::fill(|bytes| bytes.fill(u8::try_from(node).unwrap()));
    let mut options = Options::new(key, Arc::new(Portable), Box::new(rng));
    options.reserve_bytes = 1;
    options
}

static NONCES: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// Opens a store, which a member that was stopped may still hold: a frame on its way to it ends after it.
pub(crate) fn open(path: &Path, node: u64) -> Store {
    let asked = Instant::now();
    loop {
        match Store::open(path, options(node)) {
            Err(StoreFault::Locked) if asked.elapsed() < CLOSES_WITHIN => std::thread::sleep(Duration::from_millis(10)),
            opened => return opened.unwrap(),
        }
    }
}

pub(crate) fn open_in_memory(disk: &MemoryDisk, node: u64) -> Store {
    Store::open_in_memory(disk, options(node)).unwrap()
}

/// A key-value application; remembers what it applied.
#[derive(Default)]
pub(crate) struct Keys {
    pub(crate) applied: Arc<Mutex<Vec<u64>>>,
    pub(crate) published: Arc<Mutex<u64>>,
    pub(crate) restored: Arc<Mutex<Vec<u64>>>,
    /// Set by who wants to know what others saw when an index was published.
    pub(crate) progress: Arc<OnceLock<Arc<Progress>>>,
    pub(crate) seen_before_published: Arc<Mutex<Vec<u64>>>,
}

impl StateMachine for Keys {
    fn apply(&mut self, records: &mut dyn Records, entry: Committed<'_>) -> Result<Outcome, Fatal> {
        self.applied.lock().unwrap().push(entry.index);
        match entry.kind {
            KIND_PUT => {
                let at = entry.payload.iter().position(|b| *b == 0).unwrap();
                let (key, value) = (&entry.payload[..at], &entry.payload[at + 1..]);
                let known = records.get(key)?.is_some();
                records.put(key.to_vec(), Bytes::copy_from_slice(value));
                records.name_put(NAME_KIND, PARENT, key, Bytes::copy_from_slice(key));
                let reply = if known { "replaced" } else { "new" };
                Ok(Outcome {
                    reply: Bytes::from_static(reply.as_bytes()),
                    mark_snapshot: false,
                })
            }
            KIND_MANY => {
                for number in 0..MANY {
                    records.put(number.to_be_bytes().to_vec(), Bytes::from(vec![b'v'; 500]));
                }
                Ok(Outcome::default())
            }
            KIND_MARK => Ok(Outcome {
                reply: Bytes::new(),
                mark_snapshot: true,
            }),
            _ => Ok(Outcome::default()),
        }
    }

    fn published(&mut self, applied: u64) {
        *self.published.lock().unwrap() = applied;
        if let Some(progress) = self.progress.get()
            && progress.applied() >= applied
        {
            self.seen_before_published.lock().unwrap().push(applied);
        }
    }

    fn restored(&mut self, _records: &dyn View, index: u64) -> Result<(), Fatal> {
        self.restored.lock().unwrap().push(index);
        Ok(())
    }

    fn names_of(&self, key: &[u8], _value: &[u8]) -> Vec<(u8, Vec<u8>, Vec<u8>, Bytes)> {
        vec![(NAME_KIND, PARENT.to_vec(), key.to_vec(), Bytes::copy_from_slice(key))]
    }
}

/// Members by index, and which ways are cut.
#[derive(Clone, Default)]
pub(crate) struct Net(Arc<Mutex<NetState>>);

type Says = dyn Fn(Bytes) -> Bytes + Send + Sync;

#[derive(Default)]
struct NetState {
    members: BTreeMap<u64, Consensus>,
    cut: BTreeSet<(u64, u64)>,
    /// What a member answers whatever another one asks, whom it does not hear.
    answers: BTreeMap<(u64, u64), Arc<Says>>,
    delay: Duration,
}

impl Net {
    pub(crate) fn join(&self, node: u64, member: Consensus) {
        self.0.lock().unwrap().members.insert(node, member);
    }

    pub(crate) fn leave(&self, node: u64) -> Option<Consensus> {
        self.0.lock().unwrap().members.remove(&node)
    }

    pub(crate) fn isolate(&self, node: u64, others: &[u64]) {
        let mut state = self.0.lock().unwrap();
        for other in others {
            state.cut.insert((node, *other));
            state.cut.insert((*other, node));
        }
    }

    /// The others hear nothing of it, what it answers them included; it hears them.
    pub(crate) fn mute(&self, node: u64, others: &[u64]) {
        let mut state = self.0.lock().unwrap();
        state.cut.extend(others.iter().map(|other| (node, *other)));
    }

    pub(crate) fn answer(&self, from: u64, to: u64, says: impl Fn(Bytes) -> Bytes + Send + Sync + 'static) {
        self.0.lock().unwrap().answers.insert((from, to), Arc::new(says));
    }

    pub(crate) fn heal(&self) {
        let mut state = self.0.lock().unwrap();
        state.cut.clear();
        state.answers.clear();
    }

    pub(crate) fn set_delay(&self, delay: Duration) {
        self.0.lock().unwrap().delay = delay;
    }

    pub(crate) fn from(&self, node: u64) -> Arc<dyn Transport> {
        Arc::new(Way {
            net: self.clone(),
            from: node,
        })
    }
}

struct Way {
    net: Net,
    from: u64,
}

impl Transport for Way {
    fn call(&self, to: u64, frame: Bytes, timeout: Duration) -> Call<'_> {
        Box::pin(async move {
            let (member, delay) = {
                let state = self.net.0.lock().unwrap();
                if let Some(says) = state.answers.get(&(to, self.from)) {
                    return Ok(says(frame));
                }
                let cut = state.cut.contains(&(self.from, to));
                (state.members.get(&to).filter(|_| !cut).cloned(), state.delay)
            };
            let member = member.ok_or(TransportError::Unreachable { to })?;
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            let reply = tokio::time::timeout(timeout, member.receive(self.from, frame)).await;
            let timeout_ms = u64::try_from(timeout.as_millis()).unwrap();
            let reply = reply.map_err(|_| TransportError::Timeout { to, timeout_ms })?;
            if self.net.0.lock().unwrap().cut.contains(&(to, self.from)) {
                return Err(TransportError::Broken { to });
            }
            Ok(reply)
        })
    }
}

/// Vouches for every snapshot with one word, and takes it over only with that.
pub(crate) struct Word(pub(crate) &'static [u8]);

impl SnapshotGuard for Word {
    fn accept(&self, meta: &SnapshotMeta, evidence: &[u8]) -> Result<(), SnapshotRefused> {
        if evidence == self.0 {
            return Ok(());
        }
        Err(SnapshotRefused::NotVouchedFor {
            index: meta.index,
            reason: "another word",
        })
    }

    fn evidence(&self, _meta: &SnapshotMeta, _to: u64) -> Option<Bytes> {
        Some(Bytes::from_static(self.0))
    }

    fn replaceable(&self, _applied: u64) -> bool {
        true
    }
}

pub(crate) fn settings(node: u64) -> Settings {
    let mut settings = Settings::new(node, CLUSTER, GENESIS);
    settings.log_kept = 2;
    settings
}

pub(crate) async fn start(net: &Net, node: u64, store: &Store) -> Consensus {
    start_with(
        net,
        settings(node),
        store,
        Box::new(Keys::default()),
        Arc::new(Word(b"word")),
    )
    .await
}

pub(crate) async fn start_with(
    net: &Net,
    settings: Settings,
    store: &Store,
    machine: Box<dyn StateMachine>,
    guard: Arc<dyn SnapshotGuard>,
) -> Consensus {
    let node = settings.node;
    let member = Consensus::start(settings, Arc::new(store.clone()), machine, net.from(node), guard)
        .await
        .unwrap();
    net.join(node, member.clone());
    member
}

pub(crate) fn put(key: &str, value: &str) -> Payload {
    let bytes = [key.as_bytes(), &[0], value.as_bytes()].concat();
    Payload {
        kind: KIND_PUT,
        bytes: bytes.into(),
    }
}

pub(crate) fn many() -> Payload {
    Payload {
        kind: KIND_MANY,
        bytes: Bytes::new(),
    }
}

pub(crate) fn mark() -> Payload {
    Payload {
        kind: KIND_MARK,
        bytes: Bytes::new(),
    }
}

/// Waits for something, failing the test after a minute: disks and processors may be slow.
pub(crate) async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    waited
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen in a minute"));
}

/// Which of the members leads, once one that all of them name does.
pub(crate) async fn leader(members: &[&Consensus]) -> u64 {
    let mut found = None;
    eventually("a common leader", || {
        let leaders: BTreeSet<Option<u64>> = members.iter().map(|m| m.leader()).collect();
        found = leaders.first().copied().flatten().filter(|_| leaders.len() == 1);
        found.is_some_and(|leader| members.iter().any(|m| m.node() == leader))
    })
    .await;
    found.unwrap()
}

/// Proposes at whichever member leads, again after a definite refusal; an unknown outcome is returned.
pub(crate) async fn propose(members: &[&Consensus], payload: Payload) -> Result<Proposed, ProposeError> {
    for _ in 0..6000 {
        for member in members {
            match member.propose(payload.clone()).await {
                Err(ProposeError::NotLeader { .. } | ProposeError::Overloaded) => {}
                outcome => return outcome,
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nobody leads");
}

/// Proposes what may be logged twice until it is known that it was: leaders change where the disk is slow.
pub(crate) async fn certainly(members: &[&Consensus], payload: Payload) -> Proposed {
    for _ in 0..20 {
        match propose(members, payload.clone()).await {
            Err(ProposeError::Unknown) => {}
            outcome => return outcome.unwrap(),
        }
    }
    panic!("no outcome is ever known");
}

pub(crate) fn members(nodes: &[u64]) -> BTreeSet<u64> {
    nodes.iter().copied().collect()
}
