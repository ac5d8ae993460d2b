//! Writing: look up what is there, deal for real, sign, submit (custody.md, "One write").

use super::Agent;
use super::submit::Submission;
use crate::grants::Key;
use crate::history::{Answer, Call, What};
use crate::limits::{NODES, REQUEST_WITHIN, SUBMIT_WITHIN, THRESHOLD};
use bytes::Bytes;
use prost::Message;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use symbolon_crypto::dealing::{Dealt, Write, deal};
use symbolon_crypto::enc::sha256;
use symbolon_crypto::limits::SUITE;
use symbolon_crypto::sealing::{SealingPublicKey, SealingSession, SessionScope};
use symbolon_wire::Code;
use symbolon_wire::v1::{self, command_body::Payload, request, response};

/// Counts operations over all clients.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpCounter(Arc<AtomicU64>);

impl OpCounter {
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// When a write is acknowledged (custody.md, "One write").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Level {
    Committed = 0,
    Verified = 1,
    Full = 2,
}

impl Level {
    fn confirmations(self) -> usize {
        match self {
            Self::Committed => 0,
            Self::Verified => (THRESHOLD + 1).min(usize::from(NODES)),
            Self::Full => usize::from(NODES),
        }
    }
}

/// What stands at a path.
pub(super) struct Known {
    pub(super) secret: [u8; 16],
    pub(super) latest: u64,
}

fn copy(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

impl Agent {
    /// Writes a new version at a level. Returns whether it was acknowledged.
    pub(crate) async fn put(&mut self, key: Key, level: Level) -> bool {
        self.put_for(key, level, 0).await
    }

    /// The same, for a version that expires after `ttl_ms` of log time, if that is not 0.
    pub(crate) async fn put_for(&mut self, key: Key, level: Level, ttl_ms: u64) -> bool {
        let Some(known) = self.resolve(key).await else {
            return false;
        };
        let version = known.latest + 1;
        let (agent, noise) = (self.identity.agent, hex::encode(self.dice.bytes::<8>()));
        let value = format!("{} {version} by {agent}: {noise}", key.path());
        let Some((session, open)) = self.session_for_write() else {
            return false;
        };
        let Some(dealt) = self.deal(&known, version, value.as_bytes(), &session) else {
            return false;
        };
        let (nonce, record) = (dealt.write_nonce, dealt.record_hash);
        let mut message = self.message(key, &known, version, dealt, &session, open);
        message.ttl_ms = ttl_ms;
        let command = self.command(&nonce, Payload::Put(message));
        let op = self.ops.next();
        let call = Call::Write {
            key,
            version,
            record,
            value: sha256(value.as_bytes()),
            confirmed_by: level.confirmations(),
        };
        self.site.recorder.note(What::Called { op, agent, call });
        let nodes = self.site.nodes();
        let nodes = self.dice.shuffled(nodes);
        let settled = self
            .sender()
            .submit(&command, level as u32, &nodes, SUBMIT_WITHIN)
            .await;
        let answer = match settled {
            Submission::Done {
                index,
                chain,
                version: made,
            } if made == version => {
                self.session = Some(session);
                Answer::Done { index, chain }
            }
            Submission::Done { version: made, .. } => {
                Answer::Wrong(format!("a write of version {version} was acknowledged as {made}"))
            }
            Submission::Refused(code) => {
                if matches!(code, Code::BadSession | Code::EpochChanged) {
                    self.session = None;
                }
                Answer::Refused(code)
            }
            Submission::Unknown => {
                self.session = None;
                Answer::Unknown
            }
            Submission::Wrong(what) => Answer::Wrong(what),
        };
        let done = matches!(answer, Answer::Done { .. });
        self.site.recorder.note(What::Answered { op, answer });
        done
    }

    /// Asks the nodes in turn what stands at the path. A wrong answer costs a refused write at most.
    pub(super) async fn resolve(&mut self, key: Key) -> Option<Known> {
        let request = v1::Request {
            kind: Some(request::Kind::Resolve(v1::ResolveRequest {
                path: key.path(),
                min_index: 0,
                action: 1,
            })),
        };
        let bytes = Bytes::from(request.encode_to_vec());
        let nodes = self.site.nodes();
        for node in self.dice.shuffled(nodes) {
            let answer = self.sender().ask(node, bytes.clone(), REQUEST_WITHIN).await;
            if let Ok((response::Result::Resolve(reply), _)) = answer {
                let secret = match reply.secret.as_ref().try_into() {
                    Ok(secret) => secret,
                    Err(_) => self.dice.bytes(),
                };
                return Some(Known {
                    secret,
                    latest: reply.latest,
                });
            }
        }
        None
    }

    /// The session to deal under, and the message that opens it if the log does not have it yet.
    fn session_for_write(&mut self) -> Option<(Arc<SealingSession>, Option<v1::OpenSession>)> {
        match self.session.clone() {
            Some(session) => Some((session, None)),
            None => self.new_session(),
        }
    }

    fn new_session(&mut self) -> Option<(Arc<SealingSession>, Option<v1::OpenSession>)> {
        let roster = Arc::clone(&self.site.roster);
        let keys: Vec<(u16, SealingPublicKey)> = roster
            .nodes
            .iter()
            .map(|node| SealingPublicKey::parse(&node.sealing_key).map(|key| (node.index, key)))
            .collect::<Result<_, _>>()
            .ok()?;
        let keys: Vec<(u16, &SealingPublicKey)> = keys.iter().map(|(index, key)| (*index, key)).collect();
        let scope = SessionScope {
            cluster: roster.cluster.0,
            dealer: self.identity.id.0,
            epoch: roster.version,
            roster_hash: roster.hash,
        };
        let session = SealingSession::create(self.dice.rng(), &self.hedge, scope, &keys).ok()?;
        let open = v1::OpenSession {
            epoch: roster.version,
            roster_hash: copy(&roster.hash),
            ciphertexts: session.ciphertexts().iter().map(|one| copy(one)).collect(),
        };
        Some((Arc::new(session), Some(open)))
    }

    fn deal(&mut self, known: &Known, version: u64, value: &[u8], session: &SealingSession) -> Option<Dealt> {
        let site = Arc::clone(&self.site);
        let write = Write {
            cluster: site.roster.cluster.bytes(),
            tenant: site.roster.first_tenant.bytes(),
            secret: &known.secret,
            version,
            author: self.identity.id.bytes(),
            content_type: "text/plain",
        };
        let provider = site.provider.as_ref();
        deal(
            provider,
            self.dice.rng(),
            &self.hedge,
            &write,
            value,
            &site.sharing,
            session,
        )
        .ok()
    }

    fn message(
        &self,
        key: Key,
        known: &Known,
        version: u64,
        dealt: Dealt,
        session: &SealingSession,
        open: Option<v1::OpenSession>,
    ) -> v1::PutSecret {
        let roster = &self.site.roster;
        v1::PutSecret {
            suite: u32::from(SUITE),
            tenant: copy(roster.first_tenant.bytes()),
            path: key.path(),
            secret: copy(&known.secret),
            version,
            previous: known.latest,
            epoch: roster.version,
            roster_hash: copy(&roster.hash),
            n: u32::from(roster.n()),
            t: u32::from(roster.threshold),
            header: dealt.header.into(),
            key_commitment: copy(&dealt.key_commitment),
            ciphertext: dealt.ciphertext.into(),
            commitments: dealt.commitments.iter().map(|one| copy(one)).collect(),
            z: dealt.z.iter().map(|one| copy(one)).collect(),
            session: copy(session.id()),
            sealed: dealt.sealed.iter().map(|one| copy(one)).collect(),
            open,
            ttl_ms: 0,
            cas: false,
        }
    }
}
