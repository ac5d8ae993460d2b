//! A cluster with one agent, one secret, policies and an audit log in memory.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests; each file uses a part"
)]

use bytes::Bytes;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use symbolon_crypto::Hash;
use symbolon_crypto::provider::Portable;
use symbolon_crypto::secret::Secret;
use symbolon_custody::fragments::{Checked, Holder};
use symbolon_custody::gate::{self, Asker, AuditFailed, AuditLog, Permit, Receipt, Recorded, Refusal, Ruling, Scene};
use symbolon_state::records::{SessionRecord, VersionRecord};
use symbolon_state::testing::{Author, Put, World};
use symbolon_state::{View, keys, query};
use symbolon_wire::Message;
use symbolon_wire::ids::SecretId;
use symbolon_wire::v1::AuditLeaf;

pub const PATH: &str = "prod/stripe/key";
pub const VALUE: &[u8] = b"sk_live_canary_51f0";
pub const REQUEST_HASH: Hash = [0xAA; 32];
pub const TLS_GROUP: &str = "X25519MLKEM768";

pub const POLICIES: &str = r#"@id("agent")
permit(principal == Agent::"spiffe://test/agent", action, resource);
@id("office-hours")
@note("not from the guest network")
forbid(principal, action == Action::"read", resource)
when { context.sourceAddress.isInRange(ip("192.168.7.0/24")) };
"#;

/// Runs a future that never waits for anything outside.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
    }
}

/// An audit log in memory; `full` takes nothing.
#[derive(Default)]
pub struct Log {
    pub leaves: Mutex<Vec<Bytes>>,
    pub appends: Mutex<usize>,
    pub full: bool,
}

impl AuditLog for Log {
    async fn append(&self, leaves: Vec<Bytes>) -> Result<u64, AuditFailed> {
        if self.full {
            return Err(AuditFailed {
                reason: "no space left".to_owned(),
            });
        }
        let mut kept = self.leaves.lock().unwrap();
        let first = kept.len() as u64;
        kept.extend(leaves);
        *self.appends.lock().unwrap() += 1;
        Ok(first)
    }
}

impl Log {
    pub fn decoded(&self) -> Vec<AuditLeaf> {
        let leaves = self.leaves.lock().unwrap();
        leaves
            .iter()
            .map(|leaf| symbolon_wire::audit::decode(leaf.clone()).unwrap())
            .collect()
    }
}

/// What a request is made of, beside its path.
pub struct Ask {
    pub client_key: Hash,
    pub source: IpAddr,
    pub purpose: String,
    pub local_time_ms: u64,
    pub log_time_ms: u64,
    pub salt: [u8; 16],
}

/// A cluster of three with a secret of one version.
pub struct Stage {
    pub world: World,
    pub agent: Author,
    pub id: SecretId,
    pub put: Put,
}

impl Stage {
    pub fn new() -> Self {
        Self::of(3)
    }

    pub fn of(n: usize) -> Self {
        let mut world = World::new(11, n, 1);
        let outcome = world.set_policies(POLICIES);
        assert_eq!(outcome.code, 0, "{}", outcome.message);
        let mut agent = world.agent("agent");
        let id = world.secret_id();
        let put = world.put(&mut agent, PATH, id, 1, VALUE);
        let outcome = world.submit_put(&agent, &put);
        assert_eq!(outcome.code, 0, "{}", outcome.message);
        Self { world, agent, id, put }
    }

    pub fn ask(&self) -> Ask {
        Ask {
            client_key: self.agent.fingerprint(),
            source: IpAddr::from([10, 0, 0, 7]),
            purpose: "billing".to_owned(),
            local_time_ms: self.world.log_time_ms(),
            log_time_ms: self.world.log_time_ms(),
            salt: [0x5A; 16],
        }
    }

    /// Calls `rule` with the scene and the asker that `ask` describes.
    pub fn with<T>(&self, ask: &Ask, rule: impl FnOnce(&Scene<'_>, &Asker<'_>) -> T) -> T {
        let scene = Scene {
            node: 2,
            boot_counter: 1,
            salt: ask.salt,
            local_time_ms: ask.local_time_ms,
            log_time_ms: ask.log_time_ms,
            state_index: self.world.index,
            view: &self.world.records,
            policies: self.world.machine.policies(),
        };
        let asker = Asker {
            client_key: &ask.client_key,
            source: ask.source,
            tls_group: TLS_GROUP,
            request_hash: &REQUEST_HASH,
            purpose: &ask.purpose,
        };
        rule(&scene, &asker)
    }

    pub fn rule(&self, ask: &Ask, path: &str, version: u64) -> Ruling {
        self.with(ask, |scene, asker| gate::rule_read(scene, asker, path, version))
            .unwrap()
    }

    /// Rules and records: what was said, and the one leaf that it left.
    pub fn read(&self, ask: &Ask, path: &str, version: u64) -> (Recorded, AuditLeaf) {
        recorded(self.rule(ask, path, version))
    }

    pub fn permitted(&self, path: &str, version: u64) -> (Permit, Receipt) {
        match self.read(&self.ask(), path, version).0 {
            Recorded::Permitted(permit, receipt) => (permit, receipt),
            other => panic!("{other:?}"),
        }
    }

    pub fn refused(&self, ask: &Ask, path: &str, version: u64) -> (Refusal, AuditLeaf) {
        match self.read(ask, path, version) {
            (Recorded::Refused(refusal, _), leaf) => (refusal, leaf),
            other => panic!("{other:?}"),
        }
    }

    pub fn write(&mut self, version: u64, value: &[u8]) {
        self.world.write(&mut self.agent, PATH, self.id, version, value);
    }

    pub fn record(&self, version: u64) -> VersionRecord {
        query::version(&self.world.records, self.id, version)
            .unwrap()
            .unwrap()
            .0
    }

    pub fn session(&self, record: &VersionRecord) -> SessionRecord {
        let id = record.session.as_ref().try_into().unwrap();
        let found = self.world.records.get(&keys::session(&id)).unwrap().unwrap();
        SessionRecord::decode(found).unwrap()
    }

    /// The holder at a position; its epoch storage key is filled with the position and one.
    pub fn holder(&self, position: usize) -> Holder {
        self.holder_with(position, position as u8 + 1)
    }

    pub fn holder_with(&self, position: usize, storage_key: u8) -> Holder {
        let node = self.world.roster.nodes[position].index;
        let seed = Secret::fill(|bytes: &mut [u8; 32]| *bytes = self.world.nodes[position].seed);
        Holder::new(
            Arc::clone(&self.world.roster),
            node,
            Secret::fill(|bytes| bytes.fill(storage_key)),
            &seed,
            Arc::new(Portable),
        )
        .unwrap()
    }

    /// The own fragment of the holder at a position, checked and sealed for its disk.
    pub fn at_rest(&self, position: usize, version: u64) -> Bytes {
        let record = self.record(version);
        let checked = self.holder(position).check(&record, Some(&self.session(&record)));
        match checked.unwrap() {
            Some(Checked::Good { at_rest }) => Bytes::copy_from_slice(&at_rest),
            other => panic!("{other:?}"),
        }
    }
}

/// Records one ruling in a log of its own.
pub fn recorded(ruling: Ruling) -> (Recorded, AuditLeaf) {
    let log = Log::default();
    let mut recorded = wait(gate::record(&log, vec![ruling])).unwrap();
    let mut leaves = log.decoded();
    assert_eq!((recorded.len(), leaves.len()), (1, 1), "one decision, one leaf");
    (recorded.remove(0), leaves.remove(0))
}
