//! Writing (custody.md, "One write"): encrypt, deal, seal, sign, submit. Nothing that leaves this function can be opened
//! by fewer than t nodes.

use crate::client::{Client, Inner};
use crate::error::{Error, Misdeed};
use crate::limits::{CONFLICT_ATTEMPTS, PATHS_KNOWN_MAX, SESSION_ATTEMPTS};
use crate::resolve::{Change, Known};
use crate::session::Lease;
use crate::submit::{Level, Settled, Submitted};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use symbolon_crypto::Hash;
use symbolon_crypto::dealing::{Dealt, Write, deal};
use symbolon_crypto::limits::{CONTENT_TYPE_BYTES_MAX, SUITE, VALUE_BYTES_MAX};
use symbolon_crypto::provider::AwsLc;
use symbolon_crypto::sealing::SealingSession;
use symbolon_wire::ids::SecretId;
use symbolon_wire::limits::DELETE_VERSIONS_MAX;
use symbolon_wire::path::Path;
use symbolon_wire::v1::command_body::Payload;
use symbolon_wire::{Code, v1};

/// How to write.
#[derive(Debug, Clone)]
pub struct PutOptions {
    /// What the value is, for its readers. Public: it stands unencrypted beside the value.
    pub content_type: String,
    /// Time to live, ms of log time; 0: for ever.
    pub ttl_ms: u64,
    /// The version that this write follows: written only if that is still the latest (0: only if there is none).
    /// `None`: whatever is latest.
    pub cas: Option<u64>,
    /// When to answer.
    pub level: Level,
}

impl Default for PutOptions {
    fn default() -> Self {
        Self {
            content_type: "application/octet-stream".to_owned(),
            ttl_ms: 0,
            cas: None,
            level: Level::Committed,
        }
    }
}

/// A write that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The version that it made.
    pub version: u64,
    /// The secret.
    pub secret: SecretId,
    /// Its log index.
    pub index: u64,
    /// The chain value there.
    pub chain: Hash,
    /// Over value context, sharing context and dealing.
    pub record_hash: Hash,
    /// The same bytes had been applied before.
    pub repeated: bool,
}

type PathState = Arc<tokio::sync::Mutex<Option<Known>>>;

/// What is known, by path. The inner lock is held while writing: writes of one client to one path follow each other,
/// and do not conflict.
#[derive(Debug, Default)]
pub(crate) struct Paths(Mutex<HashMap<Path, PathState>>);

impl Paths {
    fn state(&self, path: &Path) -> PathState {
        let mut paths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if paths.len() >= PATHS_KNOWN_MAX && !paths.contains_key(path) {
            paths.retain(|_, state| Arc::strong_count(state) > 1);
        }
        paths.entry(path.clone()).or_default().clone()
    }
}

/// What came of one attempt.
enum Attempt {
    Put(Put),
    /// A wholly new write may succeed, after learning anew what is there.
    Again {
        session: bool,
        error: Error,
    },
    /// Log time was misjudged.
    Expired(Error),
    Refused(Error),
}

impl Client {
    /// Writes a new version of the secret at `path`.
    ///
    /// # Errors
    /// [`Code::BadPath`], [`Code::TooLarge`]; what apply recorded, [`Code::Conflict`] among it with `cas`;
    /// [`Code::OutcomeUnknown`] with the command, whose bytes may be submitted again; what [`Client::get`] gives for
    /// nodes.
    pub async fn put(&self, path: &str, value: &[u8], options: PutOptions) -> Result<Put, Error> {
        let path = Path::parse(path).map_err(|bad| Error::new(Code::BadPath, bad.to_string()))?;
        check_size("value in bytes", value.len(), VALUE_BYTES_MAX)
            .map_err(|error| error.next("keep large data elsewhere, encrypted, and its key here"))?;
        check_size("content type", options.content_type.len(), CONTENT_TYPE_BYTES_MAX)?;
        let state = self.inner.paths.state(&path);
        let mut known = state.lock().await;
        self.inner.put(&path, value, &options, &mut known).await
    }

    /// Hides versions of the secret at `path`; none given, all that there are now. Nothing is destroyed.
    ///
    /// # Errors
    /// As [`Client::put`]; [`Code::Conflict`] if all were meant and a newer one appeared meanwhile.
    pub async fn delete(&self, path: &str, versions: &[u64]) -> Result<Submitted, Error> {
        self.change_versions(("delete", Change::Delete), path, versions, Payload::Delete)
            .await
    }

    /// Shows hidden versions again; none given, all that are not destroyed.
    ///
    /// # Errors
    /// As [`Client::delete`]; [`Code::NotFound`] for a version that was destroyed.
    pub async fn undelete(&self, path: &str, versions: &[u64]) -> Result<Submitted, Error> {
        self.change_versions(("undelete", Change::Undelete), path, versions, Payload::Undelete)
            .await
    }

    /// Destroys versions for good; none given, all that there are now, hidden ones included.
    ///
    /// # Errors
    /// As [`Client::delete`].
    pub async fn destroy(&self, path: &str, versions: &[u64]) -> Result<Submitted, Error> {
        self.change_versions(("destroy", Change::Destroy), path, versions, Payload::Destroy)
            .await
    }

    async fn change_versions(
        &self,
        (verb, change): (&str, Change),
        path: &str,
        versions: &[u64],
        payload: impl Fn(v1::SecretVersions) -> Payload,
    ) -> Result<Submitted, Error> {
        let path = Path::parse(path).map_err(|bad| Error::new(Code::BadPath, bad.to_string()))?;
        check_size("list of versions", versions.len(), DELETE_VERSIONS_MAX)?;
        let what = format!("{verb} {path}");
        let mut attempt = 0;
        loop {
            attempt += 1;
            let Known { tenant, secret, latest } = self.inner.resolve(&path, change).await?.known;
            if latest == 0 {
                return Err(Error::new(Code::NotFound, format!("{path} has no such version")));
            }
            let named = v1::SecretVersions {
                tenant: Bytes::copy_from_slice(tenant.bytes()),
                path: path.as_str().to_owned(),
                secret: Bytes::copy_from_slice(secret.bytes()),
                versions: versions.to_vec(),
                latest,
            };
            match self.inner.command(&what, payload(named)).await {
                // Versions that were named stay meant when a newer one appears.
                Err(error) if error.code == Code::Conflict && !versions.is_empty() && attempt < CONFLICT_ATTEMPTS => {
                    pause(attempt).await;
                }
                done => return done,
            }
        }
    }
}

fn check_size(what: &str, found: usize, most: usize) -> Result<(), Error> {
    if found > most {
        return Err(Error::new(
            Code::TooLarge,
            format!("nothing was sent: {what}: {found}; at most {most} are allowed"),
        ));
    }
    Ok(())
}

/// Whether a write may have failed because its author was told wrongly what stands at the path.
fn hangs_on_what_stands_there(code: Code) -> bool {
    matches!(
        code,
        Code::Conflict | Code::Exists | Code::NotFound | Code::Malformed | Code::CasRequired
    )
}

/// Lets whoever won a conflict go ahead, for a moment that differs from writer to writer.
pub(crate) async fn pause(attempt: u32) {
    let most_ms = 4 << attempt.min(6);
    tokio::time::sleep(Duration::from_millis(rand::random_range(1..=most_ms))).await;
}

impl Inner {
    async fn put(
        self: &Arc<Self>,
        path: &Path,
        value: &[u8],
        options: &PutOptions,
        known: &mut Option<Known>,
    ) -> Result<Put, Error> {
        let (mut conflicts, mut sessions, mut expired) = (0, 0, 0);
        // Whether one node alone has said what stands there. Whoever answered first may have been behind, or lied: then t nodes are asked
        // before anything that came of it is told.
        let (mut one_word, mut ask_more) = (false, false);
        // What was refused on that word, and why.
        let mut doubted: Option<(Known, Error)> = None;
        loop {
            let at = match *known {
                Some(at) => at,
                None if ask_more || conflicts > 0 => {
                    one_word = false;
                    self.resolve(path, Change::Write).await?.known
                }
                None => {
                    one_word = true;
                    match self.resolve_quickly(path).await {
                        Err(error) if error.code == Code::NodeAtFault => {
                            ask_more = true;
                            continue;
                        }
                        found => found?,
                    }
                }
            };
            // What is known holds again only once this write is known to be applied.
            *known = None;
            if let Some((before, refused)) = doubted.take()
                && before.writes_alike(at, options.cas)
            {
                return Err(refused);
            }
            let attempt = match options.cas {
                Some(cas) if at.latest == 0 && cas != 0 => Attempt::Refused(conflict(path, cas)),
                // Its errors may tell of a write that stands: it is not made again.
                _ => self.attempt(path, value, options, at).await?,
            };
            if one_word
                && let Attempt::Again { session: false, error } | Attempt::Refused(error) = &attempt
                && hangs_on_what_stands_there(error.code)
            {
                ask_more = true;
                // A conflict of who did not name a version is no failure yet.
                let last = matches!(attempt, Attempt::Refused(_)) || options.cas.is_some();
                doubted = last.then(|| (at, error.clone()));
                continue;
            }
            match attempt {
                Attempt::Put(put) => {
                    *known = Some(Known {
                        latest: put.version,
                        ..at
                    });
                    return Ok(put);
                }
                Attempt::Again { session: true, error } => {
                    sessions += 1;
                    if sessions >= SESSION_ATTEMPTS {
                        return Err(error);
                    }
                    *known = Some(at);
                }
                Attempt::Again { session: false, error } => {
                    conflicts += 1;
                    if options.cas.is_some() || conflicts >= CONFLICT_ATTEMPTS {
                        return Err(error);
                    }
                    pause(conflicts).await;
                }
                Attempt::Expired(error) => {
                    expired += 1;
                    if expired > 1 {
                        return Err(error);
                    }
                    self.ask_the_time().await;
                    *known = Some(at);
                }
                Attempt::Refused(error) => return Err(error),
            }
        }
    }

    /// One wholly new write: new nonce, new dealing.
    async fn attempt(
        self: &Arc<Self>,
        path: &Path,
        value: &[u8],
        options: &PutOptions,
        at: Known,
    ) -> Result<Attempt, Error> {
        let previous = options.cas.unwrap_or(at.latest);
        let Some(version) = previous.checked_add(1) else {
            let told = format!("{previous} is no version that another can follow");
            return Ok(Attempt::Refused(Error::new(Code::Malformed, told)));
        };
        let lease = self.sessions.lease(self).await?;
        let (roster, identity) = (&self.net.roster, &self.net.identity);
        let author = identity.principal();
        let write = Write {
            cluster: roster.cluster.bytes(),
            tenant: at.tenant.bytes(),
            secret: at.secret.bytes(),
            version,
            author: author.bytes(),
            content_type: &options.content_type,
        };
        let session = lease.session().clone();
        let dealt = deal(
            &AwsLc,
            &mut rand::rng(),
            identity.hedge(),
            &write,
            value,
            &self.sharing,
            &session,
        )
        .map_err(|error| Error::new(Code::Internal, format!("cannot write {path}: {error}")))?;
        let (write_nonce, record_hash) = (dealt.write_nonce, dealt.record_hash);
        let mut put = self.message(path, at, previous, version, dealt, &session);
        put.ttl_ms = options.ttl_ms;
        put.cas = options.cas.is_some();
        put.open = matches!(lease, Lease::First(_)).then(|| open_session(&session));
        let command = self.signed(write_nonce, Payload::Put(put))?;
        let settled = self.submit(&format!("write {path}"), &command, options.level).await?;
        match settled {
            Settled::Done(done) => {
                if done.version != version || done.record_hash != Some(record_hash) {
                    return Err(Error::at_fault(done.node, Misdeed::WrongOutcome));
                }
                if let Lease::First(opening) = lease {
                    opening.opened();
                }
                let Submitted {
                    index, chain, repeated, ..
                } = done;
                Ok(Attempt::Put(Put {
                    version,
                    secret: at.secret,
                    index,
                    chain,
                    record_hash,
                    repeated,
                }))
            }
            Settled::Refused(error) => {
                // Lets go of the slot, which discarding needs.
                drop(lease);
                Ok(match error.code {
                    Code::Conflict | Code::Exists => Attempt::Again { session: false, error },
                    Code::BadSession => {
                        self.sessions.discard(&session).await;
                        Attempt::Again { session: true, error }
                    }
                    Code::Expired => Attempt::Expired(error),
                    _ => Attempt::Refused(error),
                })
            }
        }
    }

    fn message(
        &self,
        path: &Path,
        at: Known,
        previous: u64,
        version: u64,
        dealt: Dealt,
        session: &SealingSession,
    ) -> v1::PutSecret {
        let roster = &self.net.roster;
        let copy = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        v1::PutSecret {
            suite: u32::from(SUITE),
            tenant: copy(at.tenant.bytes()),
            path: path.as_str().to_owned(),
            secret: copy(at.secret.bytes()),
            version,
            previous,
            epoch: roster.version,
            roster_hash: copy(&roster.hash),
            n: u32::from(roster.n()),
            t: u32::from(roster.threshold),
            header: dealt.header.into(),
            key_commitment: copy(&dealt.key_commitment),
            ciphertext: dealt.ciphertext.into(),
            commitments: dealt.commitments.iter().map(|c| copy(c)).collect(),
            z: dealt.z.iter().map(|z| copy(z)).collect(),
            session: copy(session.id()),
            sealed: dealt.sealed.iter().map(|sealed| copy(sealed)).collect(),
            open: None,
            ttl_ms: 0,
            cas: false,
        }
    }
}

fn open_session(session: &SealingSession) -> v1::OpenSession {
    let scope = session.scope();
    v1::OpenSession {
        epoch: scope.epoch,
        roster_hash: Bytes::copy_from_slice(&scope.roster_hash),
        ciphertexts: session
            .ciphertexts()
            .iter()
            .map(|ciphertext| Bytes::copy_from_slice(ciphertext))
            .collect(),
    }
}

fn conflict(path: &Path, cas: u64) -> Error {
    Error::new(
        Code::Conflict,
        format!("{path} has no version yet; this write follows {cas}"),
    )
}
