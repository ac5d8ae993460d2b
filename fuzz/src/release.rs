//! Requests, permits, receipts and grants in any order: nothing leaves without a policy that permits, a durable record of
//! that decision, and time left; and it is the fragment of what was permitted.

use arbitrary::Arbitrary;
use bytes::Bytes;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, Mutex};
use symbolon_crypto::enc::sha256;
use symbolon_crypto::provider::Portable;
use symbolon_crypto::secret::Secret;
use symbolon_custody::fragments::{Checked, Holder};
use symbolon_custody::freshness::{Deadline, FRESH_MS_MAX};
use symbolon_custody::gate::{
    Asker, AuditFailed, AuditLog, GrantError, Permit, Receipt, Recorded, ReleaseGrant, Ruling, Scene, record,
    rule_answer, rule_read,
};
use symbolon_policy::{Action, PolicySet};
use symbolon_state::records::SessionRecord;
use symbolon_state::testing::{BIRTH_MS, MemoryRecords, World};
use symbolon_state::{View, keys, query};
use symbolon_wire::ids::SecretId;
use symbolon_wire::v1::{self, command_body::Payload};
use symbolon_wire::{Message, audit};

use crate::stage::{PATH, POLICIES, wait, world};
use crate::steps::steps;

/// Steps of one input.
const STEPS_MAX: usize = 64;

/// One state of the cluster.
struct Moment {
    records: MemoryRecords,
    policies: PolicySet,
    log_time_ms: u64,
}

struct Stage {
    /// Both versions there; the second hidden; the agent removed; no policy.
    moments: Vec<Moment>,
    /// Keys of the agent that may, of one that may as well, and of nobody.
    keys: [[u8; 32]; 3],
    holder: Holder,
    /// Own fragments at rest by version, and what they hold.
    at_rest: Vec<(Bytes, [u8; 32])>,
}

static STAGE: LazyLock<Stage> = LazyLock::new(Stage::new);

impl Moment {
    fn of(world: &World, policies: &str) -> Self {
        let source = symbolon_policy::Source {
            name: "test.cedar".to_owned(),
            text: policies.to_owned(),
        };
        Self {
            records: world.records.clone(),
            policies: PolicySet::compile(&[source]).expect("policies of the stage"),
            log_time_ms: world.log_time_ms(),
        }
    }
}

impl Stage {
    fn new() -> Self {
        let (mut world, [agent, other], [_, next], secret) = world();
        let outcome = world.submit_put(&agent, &next);
        assert_eq!(outcome.code, 0, "{}", outcome.message);
        let holder = holder(&world);
        let at_rest = (1..=2)
            .map(|version| own_fragment(&world, &holder, secret, version))
            .collect();
        let mut moments = vec![Moment::of(&world, POLICIES)];
        let hide = Payload::Delete(v1::SecretVersions {
            tenant: Bytes::copy_from_slice(world.roster.first_tenant.bytes()),
            path: PATH.to_owned(),
            secret: Bytes::copy_from_slice(secret.bytes()),
            versions: vec![2],
            latest: 2,
        });
        let hide = world.command(hide, &[&agent]);
        let outcome = world.submit(&hide);
        assert_eq!(outcome.code, 0, "{}", outcome.message);
        moments.push(Moment::of(&world, POLICIES));
        let id = Bytes::copy_from_slice(agent.id.bytes());
        let outcome = world.by_operators(Payload::Remove(v1::RemovePrincipal { id }));
        assert_eq!(outcome.code, 0, "{}", outcome.message);
        moments.push(Moment::of(&world, POLICIES));
        moments.push(Moment::of(&world, ""));
        Self {
            moments,
            keys: [agent.fingerprint(), other.fingerprint(), [0xEE; 32]],
            holder,
            at_rest,
        }
    }

    /// What the gate must say, told without it: whether this key may read that version at that moment.
    fn may(&self, moment: usize, key: usize, version: u64, source: IpAddr) -> Option<u64> {
        let found = match (moment, version) {
            (0, 0) => 2,
            (1, 0 | 2) => return None,
            (_, version @ 1..=2) => version,
            (_, 0) => 0,
            _ => return None,
        };
        let allowed = matches!((moment, key), (0 | 1, 0 | 1) | (2, 1));
        let guest = matches!(source, IpAddr::V4(v4) if v4.octets().starts_with(&[192, 168, 7]));
        // After the second version was hidden, the latest is one that nobody reads.
        (allowed && !guest && found != 0 && !(moment >= 1 && found == 2)).then_some(found)
    }
}

fn holder(world: &World) -> Holder {
    let keys = world.nodes.first().expect("three nodes");
    let node = world.roster.nodes.first().expect("three nodes").index;
    let seed = Secret::fill(|bytes: &mut [u8; 32]| *bytes = keys.seed);
    let storage = Secret::fill(|bytes| bytes.fill(1));
    Holder::new(Arc::clone(&world.roster), node, storage, &seed, Arc::new(Portable)).expect("its own keys")
}

fn own_fragment(world: &World, holder: &Holder, secret: SecretId, version: u64) -> (Bytes, [u8; 32]) {
    let (record, _) = query::version(&world.records, secret, version)
        .expect("memory")
        .expect("was written");
    let id = record.session.as_ref().try_into().expect("32 bytes");
    let session = world
        .records
        .get(&keys::session(&id))
        .expect("memory")
        .expect("is kept");
    let session = SessionRecord::decode(session).expect("a session");
    let Ok(Some(Checked::Good { at_rest })) = holder.check(&record, Some(&session)) else {
        unreachable!("an honest dealing");
    };
    (
        Bytes::copy_from_slice(&at_rest),
        record.record_hash.as_ref().try_into().expect("32 bytes"),
    )
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// Asks, and keeps the ruling.
    Ask {
        moment: u8,
        key: u8,
        path: Name,
        version: u8,
        guest: bool,
        /// The node's clock against log time, s.
        apart_s: i16,
        purpose: String,
        listing: Option<u8>,
    },
    /// Writes down all that was ruled since; a full disk takes nothing.
    Record { full: bool },
    /// Makes a grant of a permit and a receipt, `waited_ms` after the sample, and releases with a fragment at rest.
    Release {
        permit: u8,
        receipt: u8,
        waited_ms: u16,
        at_rest: u8,
        flip: Option<u16>,
    },
}

#[derive(Arbitrary, Debug)]
enum Name {
    Right,
    Other(String),
}

#[derive(Default)]
struct Log {
    leaves: Mutex<Vec<Bytes>>,
    full: bool,
}

impl AuditLog for Log {
    async fn append(&self, leaves: Vec<Bytes>) -> Result<u64, AuditFailed> {
        if self.full {
            return Err(AuditFailed {
                reason: "no space left".to_owned(),
            });
        }
        let mut kept = self.leaves.lock().expect("one thread");
        let first = kept.len() as u64;
        kept.extend(leaves);
        Ok(first)
    }
}

/// What was ruled, and what should have been.
struct Asked {
    ruling: Ruling,
    /// The version that may be released.
    version: Option<u64>,
}

#[derive(Default)]
struct Gate {
    asked: Vec<Asked>,
    log: Log,
    permits: Vec<(Permit, u64, u64)>,
    receipts: Vec<Receipt>,
}

/// Plays the requests that `data` means.
///
/// # Panics
/// When an invariant is broken.
pub fn run(data: &[u8]) {
    let mut gate = Gate::default();
    for step in steps::<Step>(data, STEPS_MAX) {
        match step {
            Step::Ask { .. } => gate.ask(&step),
            Step::Record { full } => gate.record(full),
            Step::Release {
                permit,
                receipt,
                waited_ms,
                at_rest,
                flip,
            } => gate.release(permit, receipt, waited_ms.into(), at_rest, flip),
        }
    }
}

impl Gate {
    fn ask(&mut self, step: &Step) {
        let Step::Ask {
            moment,
            key,
            path,
            version,
            guest,
            apart_s,
            purpose,
            listing,
        } = step
        else {
            return;
        };
        let (moment, key) = (usize::from(moment % 4), usize::from(key % 3));
        let (Some(scene), Some(client_key)) = (STAGE.moments.get(moment), STAGE.keys.get(key)) else {
            return;
        };
        let source = IpAddr::from(if *guest { [192, 168, 7, 9] } else { [10, 0, 0, 7] });
        let apart_ms = i64::from(*apart_s) * 1_000;
        let scene = Scene {
            node: 1,
            boot_counter: 1,
            salt: [u8::try_from(self.asked.len() % 200).unwrap_or_default(); 16],
            local_time_ms: BIRTH_MS.saturating_add_signed(apart_ms),
            log_time_ms: scene.log_time_ms,
            state_index: 9,
            view: &scene.records,
            policies: &scene.policies,
        };
        let asker = Asker {
            client_key,
            source,
            tls_group: "X25519MLKEM768",
            request_hash: &[0xAA; 32],
            purpose,
        };
        let path = match path {
            Name::Right => PATH,
            Name::Other(other) => other,
        };
        if let Some(listing) = listing {
            let action = if listing % 2 == 0 {
                Action::List
            } else {
                Action::ReadMetadata
            };
            let ruled = rule_answer(
                &scene,
                &asker,
                action,
                (listing % 3 != 0).then_some(path),
                listing % 5 == 0,
            );
            let ruling = ruled.expect("state is whole");
            assert!(ruling.release_of().is_none(), "an answer releases nothing");
            self.asked.push(Asked { ruling, version: None });
            return;
        }
        let version = u64::from(*version % 4);
        let ruling = rule_read(&scene, &asker, path, version).expect("state is whole");
        let in_step = scene.log_time_ms.abs_diff(scene.local_time_ms) <= 60_000;
        let may = STAGE
            .may(moment, key, version, source)
            .filter(|_| path == PATH && in_step);
        assert_eq!(
            ruling.release_of().is_some(),
            may.is_some(),
            "the gate and its rule differ: {step:?}"
        );
        self.asked.push(Asked { ruling, version: may });
    }

    fn record(&mut self, full: bool) {
        self.log.full = full;
        let (rulings, expected): (Vec<Ruling>, Vec<Option<u64>>) =
            self.asked.drain(..).map(|asked| (asked.ruling, asked.version)).unzip();
        let before = self.leaves().len();
        let Ok(recorded) = wait(record(&self.log, rulings)) else {
            assert!(full && self.leaves().len() == before, "a full disk gives no permit");
            return;
        };
        assert_eq!(recorded.len(), expected.len(), "each ruling is recorded");
        let leaves = self.leaves();
        for (one, expected) in recorded.into_iter().zip(expected) {
            let (Recorded::Permitted(_, receipt) | Recorded::Answered(_, receipt) | Recorded::Refused(_, receipt)) =
                &one;
            let at = usize::try_from(receipt.index()).expect("few leaves");
            let leaf = audit::decode(leaves.get(at).cloned().expect("a receipt is of a durable leaf"));
            let leaf = leaf.expect("a leaf that can be read again");
            assert_eq!(
                leaf.allowed,
                !matches!(one, Recorded::Refused(..)),
                "the leaf says what was decided"
            );
            match one {
                Recorded::Permitted(permit, receipt) => {
                    let version = expected.expect("only what may be read is permitted");
                    assert_eq!(leaf.version, version, "the leaf names the version");
                    self.permits.push((permit, receipt.index(), version));
                    self.receipts.push(receipt);
                }
                Recorded::Answered(_, receipt) | Recorded::Refused(_, receipt) => {
                    assert!(expected.is_none(), "what may be read is permitted");
                    self.receipts.push(receipt);
                }
            }
        }
    }

    fn leaves(&self) -> Vec<Bytes> {
        self.log.leaves.lock().expect("one thread").clone()
    }

    fn release(&mut self, permit: u8, receipt: u8, waited_ms: u64, at_rest: u8, flip: Option<u16>) {
        if self.permits.is_empty() || self.receipts.is_empty() {
            return;
        }
        let (permit, index, version) = self.permits.swap_remove(usize::from(permit) % self.permits.len());
        let Some(receipt) = self.receipts.get(usize::from(receipt) % self.receipts.len()) else {
            return;
        };
        let same = self.same_leaf(index, receipt.index());
        let made = ReleaseGrant::new(permit, receipt, Deadline::start(1_000), 1_000 + waited_ms);
        let grant = match made {
            Err(GrantError::Mismatch) => return assert!(!same, "a receipt of the same decision"),
            Err(GrantError::TooLate) => return assert!(same && waited_ms >= FRESH_MS_MAX, "there was time"),
            Ok(grant) => grant,
        };
        assert!(
            same && waited_ms < FRESH_MS_MAX,
            "granted without its record, or too late"
        );
        let place = usize::from(at_rest) % STAGE.at_rest.len();
        let Some((sealed, record_hash)) = STAGE.at_rest.get(place) else {
            return;
        };
        let mut bytes = sealed.to_vec();
        if let Some(at) = flip {
            let at = usize::from(at) % (bytes.len() * 8);
            if let Some(byte) = bytes.get_mut(at / 8) {
                *byte ^= 1 << (at % 8);
            }
        }
        let right = place as u64 + 1 == version && flip.is_none();
        assert!(
            !right || grant.record().record_hash == record_hash.as_slice(),
            "what was permitted is granted"
        );
        match STAGE.holder.release(grant, &bytes.into()) {
            Ok(released) => {
                assert!(right, "a fragment that was not asked for, or a changed one");
                assert_eq!(released.hash, sha256(released.fragment.expose()));
            }
            Err(_) => assert!(!right, "the right fragment opens"),
        }
    }

    /// Two rulings that are the same to the last bit are the same decision.
    fn same_leaf(&self, permitted: u64, received: u64) -> bool {
        let leaves = self.leaves();
        let leaf = |index: u64| usize::try_from(index).ok().and_then(|at| leaves.get(at).cloned());
        permitted == received || leaf(permitted) == leaf(received)
    }
}
