//! Entries of a log, from the few bytes that a fuzzer changes: most are well formed, so that they get past the first
//! check, and each can be bent.

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use symbolon_state::Kind;
use symbolon_state::testing::BIRTH_MS;
use symbolon_wire::Message;
use symbolon_wire::command::encode_body;
use symbolon_wire::ids::PrincipalId;
use symbolon_wire::v1::{self, command_body::Payload};

use crate::stage::{Base, PATH, Principal, chain};

/// One entry.
#[derive(Arbitrary, Debug, Clone)]
pub(crate) enum Step {
    Command {
        author: u8,
        nonce: u8,
        /// When it expires; mostly in a minute.
        expires: Time,
        signatures: Signatures,
        payload: Change,
    },
    Ticks(Vec<(u8, Time)>),
    Boot {
        node: u8,
        counter: Option<u64>,
        level: u32,
    },
    FragmentOk {
        node: u8,
        boot: u8,
        indices: Vec<u8>,
    },
    Complaint {
        node: u8,
        boot: u8,
        index: u8,
        key: [u8; 32],
    },
    Level(u8),
    Mark,
    /// Bytes of any kind.
    Raw(u8, Vec<u8>),
    /// An earlier entry again.
    Again(u8),
    /// An earlier entry with one bit changed.
    Flipped(u8, u16, u8),
}

/// A moment.
#[derive(Arbitrary, Debug, Clone)]
pub(crate) enum Time {
    /// Seconds after birth.
    Soon(u8),
    /// Minutes after birth.
    Later(u16),
    Any(u64),
}

impl Time {
    fn ms(&self) -> u64 {
        match *self {
            Self::Soon(seconds) => BIRTH_MS + u64::from(seconds) * 1_000,
            Self::Later(minutes) => BIRTH_MS + u64::from(minutes) * 60_000,
            Self::Any(ms) => ms,
        }
    }
}

/// Who signs.
#[derive(Arbitrary, Debug, Clone)]
pub(crate) enum Signatures {
    /// Everyone who must.
    Right,
    /// The author with a signature that does not hold.
    Wrong,
    These(Vec<(u8, bool)>),
}

/// What is commanded.
#[derive(Arbitrary, Debug, Clone)]
pub(crate) enum Change {
    Put {
        /// The one that brings its session, or the one that uses it.
        opens: bool,
        path: u8,
        secret: u8,
        version: u8,
        previous: u8,
        ttl_ms: u64,
        bend: Option<Bend>,
    },
    Versions {
        kind: u8,
        path: u8,
        secret: u8,
        versions: Vec<u8>,
        latest: u8,
    },
    Policies {
        previous: u8,
        set: u8,
    },
    Register {
        id: u8,
        kind: u8,
        name: u8,
        key: u8,
        expires: Time,
        groups: Vec<u8>,
    },
    Remove(u8),
    Rekey(u8, Vec<u8>),
    Session(Option<u8>),
    Metadata {
        path: u8,
        secret: u8,
        previous: u8,
        replace: bool,
        set: Vec<(u8, String)>,
        remove: Vec<u8>,
        settings: Option<(u8, bool)>,
    },
}

/// One field of a put, bent.
#[derive(Arbitrary, Debug, Clone)]
pub(crate) enum Bend {
    Tenant(Vec<u8>),
    Epoch(u64),
    Counts(u32, u32),
    Header(Vec<u8>),
    Ciphertext(Vec<u8>),
    Commitment(Vec<u8>),
    Z(Vec<u8>),
    Sealed(Vec<u8>),
    Session(Vec<u8>),
    Suite(u32),
    Cas,
}

const PATHS: [&str; 5] = [PATH, "prod/stripe", "prod/stripe/key/deeper", "a", "a/../b"];

const SETS: [&str; 4] = [
    crate::stage::POLICIES,
    "",
    "@id(\"one\") permit(principal == Agent::\"spiffe://test/first\", action, resource);",
    "this is no policy",
];

fn pick<'a, T: ?Sized>(list: &[&'a T], at: u8) -> &'a T {
    list.get(usize::from(at) % list.len())
        .copied()
        .expect("a list that is not empty")
}

fn copy(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn cut(mut list: Vec<Bytes>, bent: &[u8]) -> Vec<Bytes> {
    match list.last_mut() {
        Some(last) if !bent.is_empty() => *last = copy(bent),
        _ => list.truncate(list.len().saturating_sub(1)),
    }
    list
}

impl Change {
    fn payload(&self, base: &Base) -> Payload {
        let secret = |at: u8| {
            if at == 0 {
                copy(base.secret.bytes())
            } else {
                copy(&[at; 16])
            }
        };
        let key = |at: u8| person(base, at).spki.clone();
        match self {
            Self::Put {
                opens,
                path,
                secret: id,
                version,
                previous,
                ttl_ms,
                bend,
            } => {
                let [opening, using] = &base.puts;
                let mut put = if *opens { opening.clone() } else { using.clone() };
                put.path = pick(&PATHS, *path).to_owned();
                put.secret = secret(*id);
                put.version = (*version).into();
                put.previous = (*previous).into();
                put.ttl_ms = *ttl_ms;
                if let Some(bend) = bend {
                    bend.apply(&mut put);
                }
                Payload::Put(put)
            }
            Self::Versions {
                kind,
                path,
                secret: id,
                versions,
                latest,
            } => {
                let named = v1::SecretVersions {
                    tenant: copy(base.roster.first_tenant.bytes()),
                    path: pick(&PATHS, *path).to_owned(),
                    secret: secret(*id),
                    versions: versions.iter().map(|version| u64::from(*version)).collect(),
                    latest: (*latest).into(),
                };
                match kind % 3 {
                    0 => Payload::Delete(named),
                    1 => Payload::Undelete(named),
                    _ => Payload::Destroy(named),
                }
            }
            Self::Policies { previous, set } => Payload::Policies(v1::SetPolicies {
                previous: (*previous).into(),
                sources: vec![v1::PolicySource {
                    name: "test.cedar".to_owned(),
                    text: pick(&SETS, *set).to_owned(),
                }],
            }),
            Self::Register {
                id,
                kind,
                name,
                key: number,
                expires,
                groups,
            } => Payload::Register(v1::RegisterPrincipal {
                id: copy(&[*id; 16]),
                tenant: copy(base.roster.first_tenant.bytes()),
                kind: (*kind).into(),
                name: format!("spiffe://test/{name}"),
                owner: "owner@test".to_owned(),
                purpose: "testing".to_owned(),
                expires_ms: expires.ms(),
                groups: groups.iter().map(|group| format!("group-{group}")).collect(),
                keys: vec![key(*number)],
            }),
            Self::Remove(at) => Payload::Remove(v1::RemovePrincipal {
                id: copy(person(base, *at).id.bytes()),
            }),
            Self::Rekey(at, numbers) => Payload::Rekey(v1::RekeyPrincipal {
                id: copy(person(base, *at).id.bytes()),
                keys: numbers.iter().map(|number| key(*number)).collect(),
            }),
            Self::Session(changed) => {
                let [opening, _] = &base.puts;
                let mut open = opening.open.clone().unwrap_or_default();
                if let (Some(changed), Some(first)) = (changed, open.ciphertexts.first_mut()) {
                    *first = copy(&[*changed; 1120]);
                }
                Payload::Session(open)
            }
            Self::Metadata {
                path,
                secret: id,
                previous,
                replace,
                set,
                remove,
                settings,
            } => Payload::Metadata(v1::SetMetadata {
                tenant: copy(base.roster.first_tenant.bytes()),
                path: pick(&PATHS, *path).to_owned(),
                secret: secret(*id),
                previous: (*previous).into(),
                replace: *replace,
                set: set
                    .iter()
                    .map(|(key, text)| v1::MetadataEntry {
                        key: format!("key-{key}"),
                        text: text.clone(),
                    })
                    .collect(),
                remove: remove.iter().map(|key| format!("key-{key}")).collect(),
                settings: settings.map(|(versions, cas_required)| v1::SecretSettings {
                    max_versions: versions.into(),
                    cas_required,
                }),
            }),
        }
    }

    fn needs_operators(&self) -> bool {
        matches!(
            self,
            Self::Policies { .. } | Self::Register { .. } | Self::Remove(_) | Self::Rekey(..)
        )
    }
}

impl Bend {
    fn apply(&self, put: &mut v1::PutSecret) {
        match self {
            Self::Tenant(tenant) => put.tenant = copy(tenant),
            Self::Epoch(epoch) => put.epoch = *epoch,
            Self::Counts(n, t) => (put.n, put.t) = (*n, *t),
            Self::Header(header) => put.header = copy(header),
            Self::Ciphertext(ciphertext) => put.ciphertext = copy(ciphertext),
            Self::Commitment(bent) => put.commitments = cut(std::mem::take(&mut put.commitments), bent),
            Self::Z(bent) => put.z = cut(std::mem::take(&mut put.z), bent),
            Self::Sealed(bent) => put.sealed = cut(std::mem::take(&mut put.sealed), bent),
            Self::Session(session) => put.session = copy(session),
            Self::Suite(suite) => put.suite = *suite,
            Self::Cas => put.cas = true,
        }
    }
}

fn person(base: &Base, at: u8) -> &Principal {
    let at = usize::from(at) % base.principals.len();
    base.principals.get(at).expect("a place in the list")
}

/// A signature that counts as right, or not ([`crate::stage::Lenient`]).
fn signature(right: bool) -> Bytes {
    copy(&[u8::from(!right); 64])
}

impl Step {
    /// The kind and payload of the entry, given those before it.
    pub(crate) fn entry(&self, base: &Base, earlier: &[(u16, Bytes)]) -> (u16, Bytes) {
        let before = |at: u8| {
            let at = usize::from(at) % earlier.len().max(1);
            earlier
                .get(at)
                .cloned()
                .unwrap_or((Kind::SnapshotMark.number(), Bytes::new()))
        };
        match self {
            Self::Command {
                author,
                nonce,
                expires,
                signatures,
                payload,
            } => {
                let command = command(base, *author, *nonce, expires, signatures, payload);
                (Kind::Command.number(), command.encode_to_vec().into())
            }
            Self::Raw(kind, bytes) => (Kind::Command.number() + u16::from(*kind % 8), copy(bytes)),
            Self::Again(at) => before(*at),
            Self::Flipped(at, place, bit) => {
                let (kind, payload) = before(*at);
                let mut payload = payload.to_vec();
                let place = usize::from(*place) % payload.len().max(1);
                if let Some(byte) = payload.get_mut(place) {
                    *byte ^= 1 << (bit % 8);
                }
                (kind, payload.into())
            }
            by_nodes => by_nodes.of_nodes(base),
        }
    }

    fn of_nodes(&self, base: &Base) -> (u16, Bytes) {
        match self {
            Self::Ticks(ticks) => {
                let tick = |(node, time): &(u8, Time)| v1::Tick {
                    node: u32::from(*node % 4),
                    boot_counter: 1,
                    // Some readings go back.
                    sequence: time.ms().wrapping_add(u64::from(*node >> 2) * 3_600_000),
                    time_ms: time.ms(),
                    signature: signature(true),
                };
                let ticks = ticks.iter().map(tick).collect();
                (Kind::Ticks.number(), v1::Ticks { ticks }.encode_to_vec().into())
            }
            Self::Boot { node, counter, level } => {
                let at = usize::from(*node) % base.boots.len();
                let mut boot = base.boots.get(at).cloned().unwrap_or_default();
                boot.boot_counter = counter.unwrap_or(boot.boot_counter);
                boot.feature_level = *level;
                (boot.signature, boot.feature_signature) = (signature(true), signature(true));
                (Kind::BootKeys.number(), boot.encode_to_vec().into())
            }
            Self::FragmentOk { node, boot, indices } => {
                let message = v1::FragmentOk {
                    node: u32::from(*node % 4),
                    boot_counter: (*boot).into(),
                    indices: indices.iter().map(|index| u64::from(*index)).collect(),
                    signature: signature(true),
                    chains: indices.iter().map(|index| copy(&chain(u64::from(*index)))).collect(),
                };
                (Kind::FragmentOk.number(), message.encode_to_vec().into())
            }
            Self::Complaint { node, boot, index, key } => {
                let message = v1::Complaint {
                    node: u32::from(*node % 4),
                    boot_counter: (*boot).into(),
                    index: (*index).into(),
                    fragment_key: copy(key),
                    signature: signature(true),
                };
                (Kind::Complaint.number(), message.encode_to_vec().into())
            }
            Self::Level(level) => {
                let message = v1::FeatureLevel { level: (*level).into() };
                (Kind::FeatureLevel.number(), message.encode_to_vec().into())
            }
            _ => (Kind::SnapshotMark.number(), Bytes::new()),
        }
    }
}

fn command(
    base: &Base,
    author: u8,
    nonce: u8,
    expires: &Time,
    signatures: &Signatures,
    change: &Change,
) -> v1::Command {
    let payload = change.payload(base);
    // An id that no principal has occurs too.
    let id = if author == u8::MAX {
        PrincipalId([0xEE; 16])
    } else {
        person(base, author).id
    };
    let body = encode_body(base.roster.cluster, id, &[nonce; 32], expires.ms(), payload);
    let signed = |one: &Principal, right| v1::CommandSignature {
        key: copy(&one.fingerprint),
        signature: signature(right),
    };
    let signatures = match signatures {
        Signatures::Right if change.needs_operators() => base
            .principals
            .iter()
            .take(base.operators)
            .map(|one| signed(one, true))
            .collect(),
        Signatures::Right => vec![signed(person(base, author), true)],
        Signatures::Wrong => vec![signed(person(base, author), false)],
        Signatures::These(list) => list
            .iter()
            .map(|(at, right)| signed(person(base, *at), *right))
            .collect(),
    };
    v1::Command { body, signatures }
}

/// Random inputs of some length for the two structured targets: what they mean only the fuzzer learns.
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    use rand_core::Rng;
    let mut rng = crate::stage::rng(3);
    let mut seeds = Vec::new();
    for name in ["apply", "release", "proof"] {
        for length in [40, 120, 400, 900] {
            let mut bytes = vec![0; length];
            rng.fill_bytes(&mut bytes);
            seeds.push((name, bytes));
        }
    }
    seeds
}

/// The steps that an input means, at most `max`.
pub(crate) fn steps<'a, T: Arbitrary<'a>>(data: &'a [u8], max: usize) -> Vec<T> {
    let mut unstructured = Unstructured::new(data);
    let mut steps = Vec::new();
    while steps.len() < max && !unstructured.is_empty() {
        match T::arbitrary(&mut unstructured) {
            Ok(step) => steps.push(step),
            Err(_) => break,
        }
    }
    steps
}
