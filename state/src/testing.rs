//! A small cluster without nodes, for tests: a roster with software keys, principals, dealings made for real, and records
//! in memory. Everything comes from one seed.

use crate::commands::told_without_record;
use crate::entry::{Entry, Kind};
use crate::keys;
use crate::machine::{Applied, Machine};
use crate::view::{Fault, Records, View};
use bytes::Bytes;
use prost::Message;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use symbolon_crypto::Hash;
use symbolon_crypto::dealing::{Dealt, Write, deal};
use symbolon_crypto::enc::sha256;
use symbolon_crypto::hedge::Hedge;
use symbolon_crypto::limits::SUITE;
use symbolon_crypto::provider::{Portable, Provider};
use symbolon_crypto::sealing::{SealingKeyPair, SealingPublicKey, SealingSession, SessionScope};
use symbolon_crypto::secret::Secret;
use symbolon_crypto::sign::{Ed25519SigningKey, SigningKey};
use symbolon_wire::command::{encode_body, signing_bytes};
use symbolon_wire::ids::{PrincipalId, PrincipalKind, SecretId};
use symbolon_wire::roster::Roster;
use symbolon_wire::statements::{Signer, roster_hash, roster_signature};
use symbolon_wire::v1::{self, command_body::Payload};

/// When the cluster was born, ms.
pub const BIRTH_MS: u64 = 1_800_000_000_000;

/// Records in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryRecords {
    records: BTreeMap<Vec<u8>, Bytes>,
    names: BTreeMap<(u8, Vec<u8>, Vec<u8>), Bytes>,
}

impl MemoryRecords {
    /// All records, ascending by key.
    pub fn all(&self) -> impl Iterator<Item = (&Vec<u8>, &Bytes)> {
        self.records.iter()
    }

    /// The same records with the name index derived anew, as after a snapshot.
    pub fn reindexed(&self) -> Result<Self, Fault> {
        let mut fresh = Self {
            records: self.records.clone(),
            names: BTreeMap::new(),
        };
        for (key, value) in &self.records {
            for entry in crate::names_of(key, value)? {
                fresh.names.insert((entry.kind, entry.parent, entry.name), entry.value);
            }
        }
        Ok(fresh)
    }
}

impl View for MemoryRecords {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        Ok(self.records.get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, Bytes)>, Fault> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let found = self.records.range::<[u8], _>((start, Bound::Unbounded));
        let found = found.take_while(|(key, _)| key.starts_with(prefix)).take(limit);
        Ok(found.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn name_get(&self, kind: u8, parent: &[u8], name: &[u8]) -> Result<Option<Bytes>, Fault> {
        Ok(self.names.get(&(kind, parent.to_vec(), name.to_vec())).cloned())
    }

    fn names(
        &self,
        kind: u8,
        parent: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Bytes)>, Fault> {
        let matching = self
            .names
            .iter()
            .filter(|((k, p, n), _)| *k == kind && p == parent && after.is_none_or(|after| n.as_slice() > after));
        Ok(matching
            .take(limit)
            .map(|((_, _, name), value)| (name.clone(), value.clone()))
            .collect())
    }
}

impl Records for MemoryRecords {
    fn put(&mut self, key: Vec<u8>, value: Bytes) {
        self.records.insert(key, value);
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.records.remove(&key);
    }

    fn name_put(&mut self, kind: u8, parent: &[u8], name: &[u8], value: Bytes) {
        self.names.insert((kind, parent.to_vec(), name.to_vec()), value);
    }

    fn name_delete(&mut self, kind: u8, parent: &[u8], name: &[u8]) {
        self.names.remove(&(kind, parent.to_vec(), name.to_vec()));
    }
}

/// Who can sign commands.
pub struct Author {
    /// Its id.
    pub id: PrincipalId,
    /// Its key.
    pub key: SigningKey,
    hedge: Hedge,
    session: Option<SealingSession>,
}

impl Author {
    fn new(rng: &mut ChaCha20Rng) -> Self {
        Self {
            id: PrincipalId(random(rng)),
            key: SigningKey::generate(rng),
            hedge: Hedge::new(Secret::random(rng)),
            session: None,
        }
    }

    /// SHA-256 of its SubjectPublicKeyInfo.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.key.verifying_key().fingerprint()
    }
}

/// A node's keys.
pub struct NodeKeys {
    /// In the token, elsewhere.
    pub identity: SigningKey,
    /// Of its current boot.
    pub signing: SigningKey,
    /// Of its current boot; `None` before the first.
    pub checkpoint: Option<Ed25519SigningKey>,
    /// X-Wing seed of the epoch.
    pub seed: [u8; 32],
    /// Boots so far.
    pub boots: u64,
}

/// The cluster.
pub struct World {
    /// Where all randomness comes from.
    pub rng: ChaCha20Rng,
    /// Its roster.
    pub roster: Arc<Roster>,
    /// Node keys by roster position.
    pub nodes: Vec<NodeKeys>,
    /// Its operators.
    pub operators: Vec<Author>,
    /// Its records.
    pub records: MemoryRecords,
    /// Its machine.
    pub machine: Machine,
    /// Index of the last entry.
    pub index: u64,
    /// Log time that the next command is made at, ms.
    pub now_ms: u64,
    /// How many clock readings were made.
    ticks: AtomicU64,
}

fn random<const N: usize>(rng: &mut ChaCha20Rng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}

fn copy(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// Makes and signs a genesis roster for `n` nodes, one region each, with m = 1.
pub fn genesis(rng: &mut ChaCha20Rng, nodes: &[NodeKeys], operators: &[Author], needed: u32) -> Roster {
    let entries = (1..).zip(nodes).map(|(index, node)| v1::RosterNode {
        index,
        region: format!("region-{index}"),
        identity_key: copy(node.identity.verifying_key().spki()),
        sealing_key: copy(
            &SealingKeyPair::from_seed(&Secret::fill(|seed: &mut [u8; 32]| *seed = node.seed))
                .public_key()
                .to_bytes(),
        ),
        address: format!("127.0.0.1:{}", 7600 + index),
    });
    let body = v1::RosterBody {
        protocol: symbolon_wire::PROTOCOL,
        cluster: copy(&random::<16>(rng)),
        version: 0,
        previous: Bytes::new(),
        created_ms: BIRTH_MS,
        suite: SUITE.into(),
        threshold: (nodes.len() / 2 + 1) as u32,
        operators: (1..)
            .zip(operators)
            .map(|(number, operator)| v1::Operator {
                id: copy(operator.id.bytes()),
                key: copy(operator.key.verifying_key().spki()),
                name: format!("spiffe://test/operator/{number}"),
            })
            .collect(),
        operators_needed: needed,
        policy_signatures: needed,
        identity_signatures: needed,
        first_tenant: copy(&random::<16>(rng)),
        nodes: entries.collect(),
    };
    let body: Bytes = body.encode_to_vec().into();
    let signed = roster_signature(&roster_hash(&body));
    let message = v1::Roster {
        body,
        operators: operators
            .iter()
            .map(|operator| v1::OperatorSignature {
                operator: copy(operator.id.bytes()),
                signature: copy(&operator.key.sign(&signed)),
            })
            .collect(),
        nodes: (1..)
            .zip(nodes)
            .map(|(node, keys)| v1::NodeSignature {
                node,
                signature: copy(&keys.identity.sign(&signed)),
            })
            .collect(),
    };
    Roster::genesis(message.encode_to_vec().into(), None, &Portable).expect("a roster made by the rules")
}

impl World {
    /// A cluster of `n` nodes with `operators` operators of whom all must sign, at the highest feature level.
    pub fn new(seed: u64, n: usize, operators: usize) -> Self {
        let mut world = Self::at_first_level(seed, n, operators);
        world.raise_level(symbolon_wire::FEATURE_LEVEL);
        world
    }

    /// The same at feature level 1, as it is born.
    pub fn at_first_level(seed: u64, n: usize, operators: usize) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let nodes: Vec<NodeKeys> = (0..n)
            .map(|_| NodeKeys {
                identity: SigningKey::generate(&mut rng),
                signing: SigningKey::generate(&mut rng),
                checkpoint: None,
                seed: random(&mut rng),
                boots: 0,
            })
            .collect();
        let operators: Vec<Author> = (0..operators).map(|_| Author::new(&mut rng)).collect();
        let needed = operators.len() as u32;
        let roster = Arc::new(genesis(&mut rng, &nodes, &operators, needed));
        let mut records = MemoryRecords::default();
        Machine::genesis(&mut records, &roster);
        let provider: Arc<dyn Provider> = Arc::new(Portable);
        let machine = Machine::load(&records, Arc::clone(&roster), provider).expect("genesis loads");
        let mut world = Self {
            rng,
            roster,
            nodes,
            operators,
            records,
            machine,
            index: 0,
            now_ms: BIRTH_MS,
            ticks: AtomicU64::new(0),
        };
        for position in 0..n {
            world.boot(position);
        }
        world
    }

    /// Raises the feature level, as the leader does once all builds support it.
    pub fn raise_level(&mut self, level: u32) -> Applied {
        let payload = v1::FeatureLevel { level }.encode_to_vec().into();
        self.apply(Kind::FeatureLevel.number(), payload)
    }

    /// Applies an entry.
    pub fn apply(&mut self, kind: u16, payload: Bytes) -> Applied {
        self.try_apply(kind, payload).expect("state is whole")
    }

    /// The same, where it may be more than this build knows.
    pub fn try_apply(&mut self, kind: u16, payload: Bytes) -> Result<Applied, Fault> {
        self.index += 1;
        let chain = sha256(&self.index.to_be_bytes());
        let entry = Entry {
            index: self.index,
            kind,
            payload,
            chain,
        };
        self.machine.apply(&mut self.records, &entry)
    }

    /// The signer of a node's current boot.
    pub fn signer(&self, position: usize) -> Signer {
        Signer {
            cluster: self.roster.cluster,
            node: self.roster.nodes[position].index,
            boot_counter: self.nodes[position].boots,
        }
    }

    /// Boots a node: new keys, logged.
    pub fn boot(&mut self, position: usize) -> Applied {
        let signing = SigningKey::generate(&mut self.rng);
        self.nodes[position].signing = signing;
        self.nodes[position].boots += 1;
        let statement = self.boot_statement(position);
        self.apply(Kind::BootKeys.number(), statement.encode_to_vec().into())
    }

    /// A statement for a node's current boot.
    pub fn boot_statement(&mut self, position: usize) -> v1::BootKeys {
        let signer = self.signer(position);
        let tls = SigningKey::generate(&mut self.rng);
        let checkpoint_key = Ed25519SigningKey::generate(&mut self.rng);
        let checkpoint = checkpoint_key.verifying_key();
        self.nodes[position].checkpoint = Some(checkpoint_key);
        let node = &self.nodes[position];
        let signing_key = node.signing.verifying_key().spki();
        let signed = signer.boot(
            &self.roster.hash,
            signing_key,
            tls.verifying_key().spki(),
            checkpoint.as_bytes(),
        );
        v1::BootKeys {
            node: signer.node.into(),
            roster_hash: copy(&self.roster.hash),
            boot_counter: signer.boot_counter,
            signing_key: copy(signing_key),
            tls_key: copy(tls.verifying_key().spki()),
            checkpoint_key: copy(checkpoint.as_bytes()),
            signature: copy(&node.identity.sign(&signed)),
            feature_level: crate::levels::known(),
            feature_signature: copy(&node.signing.sign(&signer.feature(crate::levels::known()))),
        }
    }

    /// A clock reading of a node.
    pub fn tick(&self, position: usize, time_ms: u64) -> v1::Tick {
        let signer = self.signer(position);
        let sequence = self.ticks.fetch_add(1, Ordering::Relaxed) + 1;
        let signature = self.nodes[position].signing.sign(&signer.tick(sequence, time_ms));
        v1::Tick {
            node: signer.node.into(),
            boot_counter: signer.boot_counter,
            sequence,
            time_ms,
            signature: copy(&signature),
        }
    }

    /// Moves every clock to `time_ms`, and so log time as far as its rule allows.
    pub fn tick_all(&mut self, time_ms: u64) -> Applied {
        let ticks = (0..self.nodes.len())
            .map(|position| self.tick(position, time_ms))
            .collect();
        self.now_ms = self.now_ms.max(time_ms);
        self.apply(Kind::Ticks.number(), v1::Ticks { ticks }.encode_to_vec().into())
    }

    /// Log time.
    pub fn log_time_ms(&self) -> u64 {
        crate::Clock::read(&self.records)
            .expect("state has a clock")
            .log_time_ms()
    }

    /// A command body, signed by `signers`; the first is its author.
    pub fn command(&mut self, payload: Payload, signers: &[&Author]) -> v1::Command {
        let nonce = random(&mut self.rng);
        self.command_with(payload, signers, &nonce)
    }

    /// The same with a nonce of the caller's.
    pub fn command_with(&self, payload: Payload, signers: &[&Author], nonce: &[u8; 32]) -> v1::Command {
        let author = signers.first().expect("a command has an author");
        let body = encode_body(self.roster.cluster, author.id, nonce, self.now_ms + 60_000, payload);
        sign(body, signers)
    }

    /// Applies a command.
    ///
    /// # Panics
    /// If what is told before a command is logged is not what apply says, or apply keeps a record of it all the same.
    pub fn submit(&mut self, command: &v1::Command) -> v1::Outcome {
        let (told, before) = (self.told(command), self.count(keys::DONE));
        let outcome = self
            .apply(Kind::Command.number(), command.encode_to_vec().into())
            .outcome;
        assert_eq!(self.count(keys::DONE) - before, usize::from(told.is_none()), "{told:?}");
        if let Some(mut told) = told {
            // Of what was not applied before, the place in the log is not known beforehand.
            told.index = if told.repeated { told.index } else { outcome.index };
            assert_eq!(told, outcome);
        }
        outcome
    }

    /// What the author of a command is told before it is logged.
    ///
    /// # Panics
    /// If the records do not read.
    pub fn told(&self, command: &v1::Command) -> Option<v1::Outcome> {
        let (rules, payload) = (self.machine.rules(), command.encode_to_vec().into());
        told_without_record(&self.records, rules, self.log_time_ms(), payload).expect("memory")
    }

    /// Sets the policies with all operators' signatures.
    pub fn set_policies(&mut self, text: &str) -> v1::Outcome {
        let previous = self.machine.policy_version();
        let sources = vec![v1::PolicySource {
            name: "test.cedar".to_owned(),
            text: text.to_owned(),
        }];
        self.by_operators(Payload::Policies(v1::SetPolicies { previous, sources }))
    }

    /// Applies a command that all operators sign.
    pub fn by_operators(&mut self, payload: Payload) -> v1::Outcome {
        let nonce = random(&mut self.rng);
        let signers: Vec<&Author> = self.operators.iter().collect();
        let command = self.command_with(payload, &signers, &nonce);
        self.submit(&command)
    }

    /// A registration for `author`.
    pub fn registration(&self, author: &Author, name: &str) -> v1::RegisterPrincipal {
        v1::RegisterPrincipal {
            id: copy(author.id.bytes()),
            tenant: copy(self.roster.first_tenant.bytes()),
            kind: PrincipalKind::Agent as u32,
            name: format!("spiffe://test/{name}"),
            owner: "owner@test".to_owned(),
            purpose: "testing".to_owned(),
            expires_ms: BIRTH_MS + 365 * 24 * 60 * 60 * 1000,
            groups: vec!["testers".to_owned()],
            keys: vec![copy(author.key.verifying_key().spki())],
        }
    }

    /// Registers a new agent.
    pub fn agent(&mut self, name: &str) -> Author {
        let author = Author::new(&mut self.rng);
        let registration = self.registration(&author, name);
        let outcome = self.by_operators(Payload::Register(registration));
        assert_eq!(outcome.code, 0, "{}", outcome.message);
        author
    }

    /// A new author whom nobody has registered.
    pub fn stranger(&mut self) -> Author {
        Author::new(&mut self.rng)
    }

    /// Makes a sealing session for `author`, which its next put carries inside.
    pub fn open_session(&mut self, author: &mut Author) -> v1::OpenSession {
        let keys: Vec<(u16, SealingPublicKey)> = self
            .roster
            .nodes
            .iter()
            .map(|node| {
                (
                    node.index,
                    SealingPublicKey::parse(&node.sealing_key).expect("a checked roster"),
                )
            })
            .collect();
        let keys: Vec<(u16, &SealingPublicKey)> = keys.iter().map(|(index, key)| (*index, key)).collect();
        let scope = SessionScope {
            cluster: self.roster.cluster.0,
            dealer: author.id.0,
            epoch: self.roster.version,
            roster_hash: self.roster.hash,
        };
        let session = SealingSession::create(&mut self.rng, &author.hedge, scope, &keys).expect("ascending indices");
        let open = v1::OpenSession {
            epoch: self.roster.version,
            roster_hash: copy(&self.roster.hash),
            ciphertexts: session
                .ciphertexts()
                .iter()
                .map(|ciphertext| copy(ciphertext))
                .collect(),
        };
        author.session = Some(session);
        open
    }

    /// Deals a version under the author's session, which is opened inside if there is none.
    pub fn put(&mut self, author: &mut Author, path: &str, secret: SecretId, version: u64, value: &[u8]) -> Put {
        let open = author.session.is_none().then(|| self.open_session(author));
        let session = author.session.as_ref().expect("just opened");
        let sharing = crate::sharing_of(&self.roster).expect("a checked roster");
        let write = Write {
            cluster: self.roster.cluster.bytes(),
            tenant: self.roster.first_tenant.bytes(),
            secret: secret.bytes(),
            version,
            author: author.id.bytes(),
            content_type: "text/plain",
        };
        let dealt = deal(
            &Portable,
            &mut self.rng,
            &author.hedge,
            &write,
            value,
            &sharing,
            session,
        )
        .expect("a deal");
        let message = v1::PutSecret {
            suite: SUITE.into(),
            tenant: copy(self.roster.first_tenant.bytes()),
            path: path.to_owned(),
            secret: copy(secret.bytes()),
            version,
            previous: version - 1,
            epoch: self.roster.version,
            roster_hash: copy(&self.roster.hash),
            n: self.roster.n().into(),
            t: self.roster.threshold.into(),
            header: dealt.header.clone().into(),
            key_commitment: copy(&dealt.key_commitment),
            ciphertext: dealt.ciphertext.clone().into(),
            commitments: dealt.commitments.iter().map(|c| copy(c)).collect(),
            z: dealt.z.iter().map(|z| copy(z)).collect(),
            session: copy(session.id()),
            sealed: dealt.sealed.iter().map(|sealed| copy(sealed)).collect(),
            open,
            ttl_ms: 0,
            cas: false,
        };
        Put { message, dealt }
    }

    /// Signs and applies a put.
    pub fn submit_put(&mut self, author: &Author, put: &Put) -> v1::Outcome {
        let command = self.put_command(author, put);
        self.submit(&command)
    }

    /// Signs a put: its command nonce is the write nonce.
    pub fn put_command(&self, author: &Author, put: &Put) -> v1::Command {
        self.command_with(Payload::Put(put.message.clone()), &[author], &put.dealt.write_nonce)
    }

    /// Writes the next version at `path` and expects it to be taken.
    pub fn write(
        &mut self,
        author: &mut Author,
        path: &str,
        secret: SecretId,
        version: u64,
        value: &[u8],
    ) -> v1::Outcome {
        let put = self.put(author, path, secret, version, value);
        let outcome = self.submit_put(author, &put);
        assert_eq!(outcome.code, 0, "{}", outcome.message);
        outcome
    }

    /// A fresh secret id.
    pub fn secret_id(&mut self) -> SecretId {
        SecretId(random(&mut self.rng))
    }

    /// A node confirms the dealings at `indices`.
    pub fn confirm(&mut self, position: usize, indices: &[u64]) -> Applied {
        let signer = self.signer(position);
        let chain = |index| {
            let chain = crate::query::pending_chain(&self.records, index);
            chain.ok().flatten().unwrap_or_default()
        };
        let dealings: Vec<(u64, Hash)> = indices.iter().map(|index| (*index, chain(*index))).collect();
        let signature = self.nodes[position].signing.sign(&signer.fragment_ok(&dealings));
        let message = v1::FragmentOk {
            node: signer.node.into(),
            boot_counter: signer.boot_counter,
            indices: indices.to_vec(),
            signature: copy(&signature),
            chains: dealings.iter().map(|(_, chain)| copy(chain)).collect(),
        };
        self.apply(Kind::FragmentOk.number(), message.encode_to_vec().into())
    }

    /// Whether any record of this kind is left.
    pub fn has_kind(&self, kind: u8) -> bool {
        self.count(kind) > 0
    }

    fn count(&self, kind: u8) -> usize {
        self.records.all().filter(|(key, _)| key.first() == Some(&kind)).count()
    }

    /// Whether the session with this id is kept.
    pub fn keeps_session(&self, id: &[u8]) -> bool {
        let id = id.try_into().expect("32 bytes");
        self.records.get(&keys::session(&id)).expect("memory").is_some()
    }
}

/// A put that is dealt and not yet signed.
pub struct Put {
    /// The message.
    pub message: v1::PutSecret,
    /// What dealing gave.
    pub dealt: Dealt,
}

/// Signs a body.
pub fn sign(body: Bytes, signers: &[&Author]) -> v1::Command {
    let signed = signing_bytes(&body);
    let signatures = signers
        .iter()
        .map(|author| v1::CommandSignature {
            key: copy(&author.fingerprint()),
            signature: copy(&author.key.sign(&signed)),
        })
        .collect();
    v1::Command { body, signatures }
}
