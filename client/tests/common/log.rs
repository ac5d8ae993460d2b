//! What the fake cluster agrees on: a list of versions, applied with the checks that matter to a client.

use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use symbolon_client::Identity;
use symbolon_crypto::Hash;
use symbolon_crypto::context::ValueContext;
use symbolon_crypto::dealing::{Dealing, Sharing, Unchecked};
use symbolon_crypto::provider::{AwsLc, Verify};
use symbolon_crypto::sealing::{SealingCiphertext, SessionScope, session_id};
use symbolon_crypto::sign::VerifyingKey;
use symbolon_wire::command::{CommandId, ParsedCommand, signing_bytes};
use symbolon_wire::roster::Roster;
use symbolon_wire::v1::command_body::Payload;
use symbolon_wire::{Code, Message, v1};

pub struct Principal {
    pub id: [u8; 16],
    pub name: String,
    pub key: VerifyingKey,
}

/// One version, as every node has it.
#[derive(Clone)]
pub struct Version {
    pub path: String,
    pub stored: v1::StoredVersion,
    pub sealed: Vec<Bytes>,
    pub session: Hash,
    pub log_index: u64,
    pub record_hash: Hash,
    pub dd: Hash,
    pub ok: bool,
}

pub struct Log {
    pub roster: Arc<Roster>,
    pub sharing: Sharing,
    pub index: u64,
    pub now_ms: u64,
    pub versions: Vec<Version>,
    pub principals: HashMap<Hash, Principal>,
    pub sessions: HashMap<Hash, Vec<SealingCiphertext>>,
    pub policies: (u64, Vec<v1::PolicySource>),
    pub metadata: Vec<v1::SetMetadata>,
    done: HashMap<[u8; 32], (Hash, v1::Submitted)>,
    /// Outcomes to give before looking at the next commands.
    pub refuse_next: Vec<Code>,
}

impl Log {
    pub fn new(roster: Arc<Roster>) -> Self {
        let sharing = Sharing::new(
            roster.version,
            roster.hash,
            roster.n(),
            roster.threshold,
            roster.indices(),
        )
        .unwrap();
        Self {
            roster,
            sharing,
            index: 1000,
            now_ms: 1_700_000_500_000,
            versions: Vec::new(),
            principals: HashMap::new(),
            sessions: HashMap::new(),
            policies: (0, Vec::new()),
            metadata: Vec::new(),
            done: HashMap::new(),
            refuse_next: Vec::new(),
        }
    }

    pub fn register(&mut self, identity: &Identity) {
        let principal = Principal {
            id: *identity.principal().bytes(),
            name: identity.name().to_owned(),
            key: identity.verifying_key().clone(),
        };
        self.principals.insert(*identity.fingerprint(), principal);
    }

    /// Any chain will do, as long as all nodes have the same.
    pub fn chain(&self, index: u64) -> Hash {
        super::hash(&format!("chain {index}"))
    }

    pub fn latest(&self, path: &str, upto: u64) -> Option<&Version> {
        self.versions
            .iter()
            .filter(|v| v.path == path && v.log_index <= upto)
            .max_by_key(|v| v.stored.version)
    }

    /// Applies a command, once.
    pub fn submit(&mut self, command: v1::Command) -> v1::Submitted {
        let parsed = ParsedCommand::from_message(command).unwrap();
        let refused = |code: Code, message: &str| v1::Outcome {
            code: code as u32,
            message: message.to_owned(),
            ..v1::Outcome::default()
        };
        self.index += 1;
        let index = self.index;
        let outcome = if parsed.expires_ms <= self.now_ms || parsed.expires_ms > self.now_ms + 600_000 {
            refused(Code::Expired, "expired")
        } else if !self.signed(&parsed) {
            refused(Code::BadSignature, "the signature is wrong")
        } else if let Some((body_hash, submitted)) = self.done.get(&parsed.nonce) {
            if *body_hash == parsed.body_hash() {
                return v1::Submitted {
                    repeated: true,
                    ..submitted.clone()
                };
            }
            refused(Code::NonceReused, "this nonce was used for another command")
        } else {
            self.apply(&parsed, index)
                .unwrap_or_else(|(code, message)| refused(code, message))
        };
        let code = Code::from_number(outcome.code);
        let submitted = v1::Submitted {
            index,
            term: 1,
            chain: Bytes::copy_from_slice(&self.chain(index)),
            outcome: Some(outcome),
            repeated: false,
        };
        if !matches!(code, Some(Code::Expired | Code::BadSignature | Code::NonceReused)) {
            self.done.insert(parsed.nonce, (parsed.body_hash(), submitted.clone()));
        }
        submitted
    }

    /// What is recorded of a command up to a log index.
    pub fn recorded(&self, asked: &v1::CommandRef, upto: u64) -> v1::RecordedOutcome {
        let asked = CommandId::from_message(asked).unwrap();
        let done = self.done.get(&asked.nonce);
        let done = done.filter(|(body_hash, done)| *body_hash == asked.body_hash && done.index <= upto);
        let recorded = done.map(|(_, done)| v1::RecordedOutcome {
            outcome: done.outcome.clone().map(|outcome| v1::Outcome {
                index: done.index,
                ..outcome
            }),
            chain: done.chain.clone(),
        });
        recorded.unwrap_or_default()
    }

    fn signed(&self, command: &ParsedCommand) -> bool {
        let by = |signature: &symbolon_wire::command::CommandSignature| {
            let principal = self.principals.get(&signature.key)?;
            AwsLc
                .p256(
                    &principal.key,
                    &signing_bytes(&command.body_bytes),
                    &signature.signature,
                )
                .ok()?;
            Some(principal.id)
        };
        command.cluster == self.roster.cluster
            && command
                .signatures
                .iter()
                .all(|signature| by(signature) == Some(*command.principal.bytes()))
    }

    fn apply(&mut self, command: &ParsedCommand, index: u64) -> Result<v1::Outcome, (Code, &'static str)> {
        if let Some(code) = self.refuse_next.pop() {
            return Err((code, "refused for the test"));
        }
        match &command.payload {
            Payload::Put(put) => self.put(command, put, index),
            Payload::Policies(set) if set.previous == self.policies.0 => {
                self.policies = (set.previous + 1, set.sources.clone());
                Ok(v1::Outcome {
                    version: self.policies.0,
                    ..v1::Outcome::default()
                })
            }
            Payload::Policies(_) => Err((Code::Conflict, "the policies have moved on")),
            Payload::Delete(delete) => match self.latest(&delete.path, u64::MAX).map(|v| v.stored.version) {
                Some(latest) if latest == delete.latest => Ok(v1::Outcome::default()),
                _ => Err((Code::Conflict, "the secret has moved on")),
            },
            Payload::Metadata(change) => {
                self.metadata.push(change.clone());
                Ok(v1::Outcome::default())
            }
            _ => Ok(v1::Outcome::default()),
        }
    }

    fn put(
        &mut self,
        command: &ParsedCommand,
        put: &v1::PutSecret,
        index: u64,
    ) -> Result<v1::Outcome, (Code, &'static str)> {
        let latest = self
            .latest(&put.path, u64::MAX)
            .map(|v| (v.stored.secret.clone(), v.stored.version));
        let (secret, latest) = latest.unwrap_or((put.secret.clone(), 0));
        if secret != put.secret || put.previous != latest || put.version != latest + 1 {
            return Err((Code::Conflict, "version conflict"));
        }
        let session = Hash::try_from(put.session.as_ref()).unwrap();
        if let Some(open) = &put.open {
            let ciphertexts: Vec<SealingCiphertext> = open
                .ciphertexts
                .iter()
                .map(|c| c.as_ref().try_into().unwrap())
                .collect();
            let scope = SessionScope {
                cluster: *self.roster.cluster.bytes(),
                dealer: *command.principal.bytes(),
                epoch: self.roster.version,
                roster_hash: self.roster.hash,
            };
            if session_id(&scope, &ciphertexts) != session || self.sessions.contains_key(&session) {
                return Err((Code::BadSession, "another session"));
            }
            self.sessions.insert(session, ciphertexts);
        }
        if !self.sessions.contains_key(&session) {
            return Err((Code::BadSession, "unknown session"));
        }
        let stored = v1::StoredVersion {
            suite: put.suite,
            tenant: put.tenant.clone(),
            secret: put.secret.clone(),
            version: put.version,
            author: Bytes::copy_from_slice(command.principal.bytes()),
            write_nonce: Bytes::copy_from_slice(&command.nonce),
            epoch: put.epoch,
            roster_hash: put.roster_hash.clone(),
            n: put.n,
            t: put.t,
            header: put.header.clone(),
            key_commitment: put.key_commitment.clone(),
            ciphertext: put.ciphertext.clone(),
            commitments: put.commitments.clone(),
            z: put.z.clone(),
        };
        let (record_hash, dd) = self.with_dealing(&stored, |dealing| (*dealing.record_hash(), *dealing.dd()));
        self.versions.push(Version {
            path: put.path.clone(),
            stored,
            sealed: put.sealed.clone(),
            session,
            log_index: index,
            record_hash,
            dd,
            ok: true,
        });
        Ok(v1::Outcome {
            version: put.version,
            record_hash: Bytes::copy_from_slice(&record_hash),
            ..v1::Outcome::default()
        })
    }

    /// The public half of a stored version, checked.
    pub fn with_dealing<T>(&self, stored: &v1::StoredVersion, f: impl FnOnce(&Dealing<'_>) -> T) -> T {
        let array = |bytes: &Bytes| <[u8; 16]>::try_from(bytes.as_ref()).unwrap();
        let (tenant, secret, author) = (array(&stored.tenant), array(&stored.secret), array(&stored.author));
        let value = ValueContext {
            cluster: self.roster.cluster.bytes(),
            tenant: &tenant,
            secret: &secret,
            version: stored.version,
            author: &author,
            write_nonce: stored.write_nonce.as_ref().try_into().unwrap(),
        };
        let unchecked = Unchecked {
            header: &stored.header,
            ciphertext: &stored.ciphertext,
            key_commitment: &stored.key_commitment,
            commitments: &stored.commitments,
            z: &stored.z,
        };
        f(&Dealing::parse(&value, &author, &self.sharing, &unchecked).unwrap())
    }

    /// Encoded, for tests that look for something in it.
    pub fn everything(&self) -> Vec<u8> {
        self.versions.iter().flat_map(|v| v.stored.encode_to_vec()).collect()
    }
}
