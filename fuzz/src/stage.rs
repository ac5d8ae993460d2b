//! The cluster that targets start from, made once a process from one seed, and the inputs that a corpus begins with.

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use symbolon_client::audit::{Anchored, PROOF_FORMAT, Proof, ProofFile};
use symbolon_crypto::Hash;
use symbolon_crypto::dealing::Sharing;
use symbolon_crypto::enc::sha256;
use symbolon_crypto::provider::{Aead, Nonce, OpenError, Portable, SealError, Tag, Verify};
use symbolon_crypto::secret::Secret;
use symbolon_crypto::sign::{
    BadSignature, Ed25519Signature, Ed25519VerifyingKey, P256Signature, SigningKey, VerifyingKey,
};
use symbolon_state::Machine;
use symbolon_state::testing::{Author, BIRTH_MS, MemoryRecords, Put, World};
use symbolon_wire::ids::{PrincipalId, SecretId};
use symbolon_wire::roster::Roster;
use symbolon_wire::{Message, v1};

/// When the cluster was born, s.
pub(crate) const BIRTH_S: u64 = BIRTH_MS / 1000;
/// The log whose checkpoints are looked at.
pub(crate) const ORIGIN: &str = "symbolon.invalid/fuzz/audit/1";
/// Where the first secret is.
pub(crate) const PATH: &str = "prod/stripe/key";
/// The policies in force at first.
pub(crate) const POLICIES: &str = r#"@id("agents") permit(principal in Group::"testers", action, resource);
@id("guests") forbid(principal, action == Action::"read", resource)
when { context.sourceAddress.isInRange(ip("192.168.7.0/24")) };
"#;

/// The chain value at an index of the history that targets apply.
pub(crate) fn chain(index: u64) -> Hash {
    sha256(&index.to_be_bytes())
}

/// Randomness from a seed.
pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// Waits for what never waits.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
    }
}

/// Takes a signature for right if its first byte is even: a fuzzer cannot sign, and what stands behind a signature is to
/// be reached. Encryption is the real one.
pub(crate) struct Lenient;

fn even(signature: &[u8; 64]) -> Result<(), BadSignature> {
    let [first, ..] = signature;
    if first.is_multiple_of(2) {
        Ok(())
    } else {
        Err(BadSignature)
    }
}

impl Verify for Lenient {
    fn p256(&self, _: &VerifyingKey, _: &[u8], signature: &P256Signature) -> Result<(), BadSignature> {
        even(signature)
    }

    fn ed25519(&self, _: &Ed25519VerifyingKey, _: &[u8], signature: &Ed25519Signature) -> Result<(), BadSignature> {
        even(signature)
    }
}

impl Aead for Lenient {
    fn seal_detached(&self, key: &Secret<32>, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<Tag, SealError> {
        Portable.seal_detached(key, nonce, aad, data)
    }

    fn open_detached(
        &self,
        key: &Secret<32>,
        nonce: &Nonce,
        aad: &[u8],
        data: &mut [u8],
        tag: &Tag,
    ) -> Result<(), OpenError> {
        Portable.open_detached(key, nonce, aad, data, tag)
    }
}

/// Someone who commands.
pub(crate) struct Principal {
    pub(crate) id: PrincipalId,
    pub(crate) fingerprint: [u8; 32],
    pub(crate) spki: Bytes,
}

impl Principal {
    fn of(author: &Author) -> Self {
        Self {
            id: author.id,
            fingerprint: author.fingerprint(),
            spki: Bytes::copy_from_slice(author.key.verifying_key().spki()),
        }
    }
}

/// Three nodes, two operators, two agents and a stranger; policies, and one secret of one version.
pub(crate) struct Base {
    pub(crate) roster: Arc<Roster>,
    pub(crate) sharing: Sharing,
    pub(crate) records: MemoryRecords,
    /// What apply keeps in memory of them. Loading it anew for each input would be a third of an input's time.
    pub(crate) machine: Machine,
    /// Index of the last entry.
    pub(crate) index: u64,
    /// Operators, agents, a stranger.
    pub(crate) principals: Vec<Principal>,
    pub(crate) operators: usize,
    pub(crate) secret: SecretId,
    /// A put of the first agent that brings its session, and one that uses it.
    pub(crate) puts: [v1::PutSecret; 2],
    /// A boot statement of each node, the next after those applied.
    pub(crate) boots: Vec<v1::BootKeys>,
}

static BASE: LazyLock<Base> = LazyLock::new(Base::new);

/// The cluster.
pub(crate) fn base() -> &'static Base {
    &BASE
}

impl Base {
    fn new() -> Self {
        let (mut world, agents, puts, secret) = world();
        let boots = (0..3)
            .map(|position| {
                world.nodes.get_mut(position).expect("three nodes").boots += 1;
                world.boot_statement(position)
            })
            .collect();
        let stranger = world.stranger();
        let [first, second] = &puts;
        let everyone = world.operators.iter().chain(&agents).chain([&stranger]);
        Self {
            sharing: symbolon_state::sharing_of(&world.roster).expect("a checked roster"),
            roster: Arc::clone(&world.roster),
            machine: Machine::load(&world.records, Arc::clone(&world.roster), Arc::new(Lenient))
                .expect("a whole state"),
            records: world.records.clone(),
            index: world.index,
            principals: everyone.map(Principal::of).collect(),
            operators: world.operators.len(),
            secret,
            puts: [first.message.clone(), second.message.clone()],
            boots,
        }
    }
}

/// The cluster with everyone's keys.
pub(crate) fn world() -> (World, [Author; 2], [Put; 2], SecretId) {
    let mut world = World::new(11, 3, 2);
    let outcome = world.set_policies(POLICIES);
    assert_eq!(outcome.code, 0, "{}", outcome.message);
    let (mut first, second) = (world.agent("first"), world.agent("second"));
    let secret = world.secret_id();
    let opening = world.put(&mut first, PATH, secret, 1, b"sk_live_canary_51f0");
    let outcome = world.submit_put(&first, &opening);
    assert_eq!(outcome.code, 0, "{}", outcome.message);
    let next = world.put(&mut first, PATH, secret, 2, b"another");
    (world, [first, second], [opening, next], secret)
}

/// Inputs that a corpus begins with, by target: messages as honest programs make them.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let (mut world, [agent, _], [opening, next], _) = world();
    let command = world.put_command(&agent, &next);
    let submit = v1::Request {
        kind: Some(v1::request::Kind::Submit(v1::Submit {
            command: Some(command.clone()),
            level: 1,
        })),
    };
    let read = v1::Request {
        kind: Some(v1::request::Kind::Read(v1::ReadRequest {
            nonce: Bytes::from_static(&[4; 32]),
            path: PATH.to_owned(),
            body: true,
            purpose: "billing".to_owned(),
            ..v1::ReadRequest::default()
        })),
    };
    let boot = world.boot_statement(1);
    let tick = world.tick(0, BIRTH_MS + 1_000);
    let head = |node: u32| v1::Head {
        node,
        boot_counter: 1,
        index: 9,
        chain: Bytes::from_static(&[2; 32]),
        signature: Bytes::from_static(&[0; 64]),
    };
    let vouch = |node: u32| v1::SnapshotSignature {
        node,
        boot_counter: 1,
        index: 256,
        chain: Bytes::from_static(&[2; 32]),
        state_root: Bytes::from_static(&[3; 32]),
        roster_hash: Bytes::copy_from_slice(&world.roster.hash),
        signature: Bytes::from_static(&[0; 64]),
        ..v1::SnapshotSignature::default()
    };
    let gossip = v1::PeerRequest {
        kind: Some(v1::peer_request::Kind::Gossip(v1::Gossip {
            heads: (1..=3).map(head).collect(),
            snapshots: (1..=3).map(vouch).collect(),
            tick: Some(tick),
            boot: Some(boot.clone()),
            boots: vec![boot.clone()],
            contested: vec![9],
            unkept: vec![8],
        })),
    };
    let mut seeds = vec![
        ("command", command.encode_to_vec()),
        ("request", submit.encode_to_vec()),
        ("request", read.encode_to_vec()),
        ("boot", boot.encode_to_vec()),
        ("dealing", opening.message.encode_to_vec()),
        ("dealing", next.message.encode_to_vec()),
        ("gossip", gossip.encode_to_vec()),
        ("roster", world.roster.encoded.to_vec()),
        ("checkpoint", crate::notes::note(7)),
        ("policy", POLICIES.as_bytes().to_vec()),
        ("fragment", fragment_seed(&opening.message)),
    ];
    if let Ok(message) = v1::Roster::decode(world.roster.encoded.clone()) {
        seeds.push(("roster", message.body.to_vec()));
    }
    seeds.extend(crate::steps::seeds());
    seeds.extend(texts().into_iter().map(|(name, text)| (name, text.as_bytes().to_vec())));
    seeds.extend(answers());
    seeds.extend(
        symbolon_consensus::testing::frames()
            .into_iter()
            .map(|frame| ("frame", frame.to_vec())),
    );
    seeds.push(("snapshot", symbolon_consensus::testing::meta().to_vec()));
    seeds.extend(peers(&boot));
    seeds.push(("proof_file", proof_file(&world.roster, &boot)));
    seeds.push(("identity", crate::files::identity_seed()));
    seeds.extend([0, 1, 3].map(|byte| ("export", vec![byte; 48])));
    seeds
}

/// What a node tells one that boots, a cosignature, and offers to a node that cosigns.
fn peers(boot: &v1::BootKeys) -> Vec<(&'static str, Vec<u8>)> {
    let answers = [
        v1::peer_response::Result::Witnessed(v1::Witnessed {
            boot: Some(boot.clone()),
            term: 7,
            last: Some(v1::LogPlace { term: 6, index: 40 }),
            admitted: true,
            signature: Bytes::from_static(&[0; 64]),
        }),
        v1::peer_response::Result::Cosigned(v1::Cosigned {
            boot_counter: 1,
            signature: Bytes::from_static("\u{2014} symbolon.invalid/fuzz/node/2 AAAAAAAA".as_bytes()),
            known: Bytes::new(),
        }),
        v1::peer_response::Result::Superseded(boot.clone()),
    ];
    let encoded = |result| v1::PeerResponse { result: Some(result) }.encode_to_vec();
    let mut seeds: Vec<(&str, Vec<u8>)> = answers.map(encoded).into_iter().map(|one| ("answer", one)).collect();
    seeds.extend((1..=3).map(|number| ("witness", vec![number; 64])));
    seeds
}

/// A proof in its form, of an entry that nobody anchored.
fn proof_file(roster: &Roster, boot: &v1::BootKeys) -> Vec<u8> {
    let note = String::from_utf8(crate::notes::note(7)).expect("a note is text");
    let hash = hex::encode([5; 32]);
    let proof = Proof {
        node: 2,
        entry: 3,
        leaf: hex::encode(symbolon_wire::audit::encode(&leaf(2))),
        cosigned: note.clone(),
        anchored: Anchored {
            checkpoint: note,
            log_index: 9,
            statements: vec![],
        },
        inclusion: vec![hash.clone()],
        consistency: vec![hash],
        boots: vec![hex::encode(boot.encode_to_vec())],
        receipt: None,
    };
    let file = ProofFile {
        format: PROOF_FORMAT.to_owned(),
        roster: hex::encode(&roster.encoded),
        proofs: vec![proof],
    };
    serde_json::to_vec(&file).expect("a proof is JSON")
}

/// Room for key, digest, index, seal and fragment, then a ciphertext of a session.
fn fragment_seed(put: &v1::PutSecret) -> Vec<u8> {
    let mut seed = vec![0; 32 + 32 + 2];
    seed.extend(put.sealed.first().map(|bytes| bytes.to_vec()).unwrap_or_default());
    seed.extend([0; 64 + 8]);
    let ciphertexts = put
        .open
        .as_ref()
        .map(|open| open.ciphertexts.clone())
        .unwrap_or_default();
    seed.extend(ciphertexts.first().map(|bytes| bytes.to_vec()).unwrap_or_default());
    seed
}

fn texts() -> Vec<(&'static str, &'static str)> {
    vec![
        ("path", "prod/stripe/key"),
        ("path", "a/../b"),
        ("path", "spiffe://acme/billing-bot"),
        (
            "path",
            "symbolon://127.0.0.1:7601,127.0.0.1:7602?genesis=0000000000000000000000000000000000000000000000000000000000000000",
        ),
        ("config", include_str!("../../deploy/node.toml")),
        (
            "config",
            "node = 1\ndata = \"/data\"\nlisten = \"127.0.0.1:7601\"\nregion = \"north\"\ndevelopment = true\n\
             [token]\nkind = \"software\"\nfolder = \"/keys\"\n[http]\nlisten = \"[::1]:80\"\n[log]\nlevel = \"warn\"\n",
        ),
        (
            "policy",
            "@id(\"a\") permit(principal == Agent::\"spiffe://acme/bot\", action == Action::\"read\", resource in \
             Folder::\"prod\") when { context.logTime > datetime(\"2026-01-01\") && resource.path like \"prod/*\" };",
        ),
        (
            "policy",
            "permit(principal, action, resource) unless { 9223372036854775807 + 1 > 0 };",
        ),
    ]
}

fn leaf(node: u32) -> v1::AuditLeaf {
    v1::AuditLeaf {
        salt: Bytes::from_static(&[1; 16]),
        node,
        boot_counter: 2,
        action: "read".to_owned(),
        resource: PATH.to_owned(),
        allowed: true,
        policies: vec!["permit \"agents\" test.cedar:1".to_owned()],
        ..v1::AuditLeaf::default()
    }
}

fn answers() -> Vec<(&'static str, Vec<u8>)> {
    let read = v1::Response {
        result: Some(v1::response::Result::Read(v1::ReadReply {
            node: 1,
            record_hash: Bytes::from_static(&[1; 32]),
            group_path: vec![Bytes::from_static(&[5; 32])],
            ..v1::ReadReply::default()
        })),
    };
    let refused = v1::Response {
        result: Some(v1::response::Result::Error(v1::Error {
            code: 403,
            message: "no".to_owned(),
            because: vec!["policy".to_owned()],
            ..v1::Error::default()
        })),
    };
    let fragment = symbolon_wire::reply::ReleasedFragment::new(Box::new([6; 64]));
    let encode = symbolon_wire::reply::encode_response;
    vec![
        ("response", encode(&read, Some(&fragment)).as_ref().to_vec()),
        ("response", encode(&refused, None).as_ref().to_vec()),
        ("audit_leaf", symbolon_wire::audit::encode(&leaf(1)).to_vec()),
        ("certificate", certificate()),
        (
            "certificate",
            base()
                .roster
                .nodes
                .first()
                .map(|node| node.identity.spki().to_vec())
                .unwrap_or_default(),
        ),
    ]
}

fn certificate() -> Vec<u8> {
    let key = SigningKey::generate(&mut rng(7)).to_pkcs8_der().expect("a fresh key");
    let made = symbolon_wire::tls::self_signed(key.expose(), BIRTH_S - 10, BIRTH_S + 10);
    made.expect("a certificate").certificate.to_vec()
}
