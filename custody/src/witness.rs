//! A node as the witness of the others' audit logs (authority.md, "Audit"; C2SP tlog-witness): it cosigns a checkpoint
//! only if that goes on from the last one of that log which it cosigned, and remembers it durably before the cosignature
//! leaves. A log that says two things of one size is forked: both notes are kept, and nothing of it is cosigned again.
//!
//! What is remembered of a log is one note, and of a forked one two more, however much it sends.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::future::Future;
use symbolon_crypto::Hash;
use symbolon_crypto::checkpoint::{BadCheckpoint, Checkpoint};
use symbolon_crypto::cosignature::{attach, cosign, verify_cosignature};
use symbolon_crypto::limits::PROOF_HASHES_MAX;
use symbolon_crypto::provider::Verify;
use symbolon_crypto::sign::{Ed25519SigningKey, Ed25519VerifyingKey};
use symbolon_crypto::witness::{Judged, TreeHead, judge};
use symbolon_wire::ids::ClusterId;
use symbolon_wire::{audit, v1};

/// Longest note that is looked at, bytes: origin, size, root, and one signature.
pub const NOTE_BYTES_MAX: usize = 512;

/// The witness's memory. What it is given is durable when it returns.
pub trait Memory {
    /// Remembers the newest note of a log in place of the one before.
    fn remember(&self, log: u16, note: Bytes) -> impl Future<Output = Result<(), NotRemembered>> + Send;
    /// Keeps two notes of a log that contradict each other.
    fn keep_fork(
        &self,
        log: u16,
        first: Bytes,
        second: Bytes,
    ) -> impl Future<Output = Result<(), NotRemembered>> + Send;
}

/// The memory does not take it, so nothing is cosigned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what is cosigned cannot be remembered: {reason}")]
pub struct NotRemembered {
    /// What storage says.
    pub reason: String,
}

/// What becomes of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The signature line.
    Cosigned(String),
    /// Not cosigned; this is what is remembered of the log, empty if nothing is.
    Known(Bytes),
    /// The log is forked: two notes, both signed by it. Told once; then it is only refused.
    Forked {
        /// Remembered.
        first: Bytes,
        /// Offered.
        second: Bytes,
    },
}

/// Why an offer is refused without telling anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A note is none, or not signed by the log.
    #[error("a note of the offer is refused: {0}")]
    Note(#[from] BadCheckpoint),
    /// A hash of the proof is none, or there are too many.
    #[error("the proof of the offer is none")]
    Proof,
    /// The log was caught with two histories.
    #[error("this log is forked")]
    Forked,
    /// What was offered cannot be remembered, so it is not cosigned.
    #[error(transparent)]
    Memory(#[from] NotRemembered),
}

/// Who cosigns.
#[derive(Debug, Clone, Copy)]
pub struct Cosigner<'a> {
    /// Under which name.
    pub name: &'a str,
    /// With which key.
    pub key: &'a Ed25519SigningKey,
    /// When, seconds since 1970.
    pub time_s: u64,
}

#[derive(Debug, Clone)]
struct Kept {
    note: Bytes,
    head: TreeHead,
}

/// What one node remembers of the others' logs.
#[derive(Debug)]
pub struct Witness {
    cluster: ClusterId,
    kept: BTreeMap<u16, Kept>,
    forked: BTreeMap<u16, (Bytes, Bytes)>,
}

impl Witness {
    /// From what [`Memory`] holds.
    ///
    /// # Errors
    /// [`BadCheckpoint`] if what was remembered is no note: the memory is damaged.
    pub fn restore(
        cluster: ClusterId,
        notes: impl IntoIterator<Item = (u16, Bytes)>,
        forked: impl IntoIterator<Item = (u16, (Bytes, Bytes))>,
    ) -> Result<Self, BadCheckpoint> {
        let kept = |(log, note): (u16, Bytes)| {
            let head = Checkpoint::read_unverified(&note)?.head();
            Ok((log, Kept { note, head }))
        };
        Ok(Self {
            cluster,
            kept: notes.into_iter().map(kept).collect::<Result<_, _>>()?,
            forked: forked.into_iter().collect(),
        })
    }

    /// Logs that were caught with two histories.
    pub fn forked(&self) -> impl Iterator<Item = u16> {
        self.forked.keys().copied()
    }

    /// What is remembered of a log; empty if nothing is.
    #[must_use]
    pub fn known(&self, log: u16) -> Bytes {
        self.kept.get(&log).map(|kept| kept.note.clone()).unwrap_or_default()
    }

    /// Answers an offer of the node `log`, whose notes are to be signed by `key`. Offers of one log come one after the
    /// other: the borrow is held until what was offered is remembered.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn offered(
        &mut self,
        log: u16,
        key: &Ed25519VerifyingKey,
        offer: &v1::Cosign,
        cosigner: Cosigner<'_>,
        memory: &impl Memory,
        verify: &(impl Verify + ?Sized),
    ) -> Result<Answer, Refused> {
        if self.forked.contains_key(&log) {
            return Err(Refused::Forked);
        }
        if offer.checkpoint.is_empty() {
            return Ok(Answer::Known(self.known(log)));
        }
        let origin = audit::origin(self.cluster, log);
        let read = |note: &Bytes| {
            if note.len() > NOTE_BYTES_MAX {
                return Err(BadCheckpoint::TooLong { found: note.len() });
            }
            Ok(Checkpoint::verify(note, &origin, key, verify)?.head())
        };
        let offered = read(&offer.checkpoint)?;
        let start = match offer.start.is_empty() {
            true => None,
            false => Some(read(&offer.start)?),
        };
        let proof = proof(&offer.consistency).ok_or(Refused::Proof)?;
        let known = self.kept.get(&log).map(|kept| kept.head);
        match judge(known, start, offered, &proof) {
            Judged::Extends => {
                let note = offer.checkpoint.clone();
                let remembered = memory.remember(log, note.clone()).await;
                #[cfg(feature = "sabotage")]
                let remembered = if symbolon_sabotage::Bug::CosignedUnremembered.on() {
                    Ok(())
                } else {
                    remembered
                };
                remembered?;
                self.kept.insert(log, Kept { note, head: offered });
            }
            Judged::Same => {}
            Judged::Behind | Judged::OtherStart | Judged::Unproved => return Ok(Answer::Known(self.known(log))),
            Judged::Forked => {
                let first = self.known(log);
                let offered_contradicts = known.is_some_and(|known| known.size == offered.size);
                let second = match offered_contradicts {
                    true => offer.checkpoint.clone(),
                    false => offer.start.clone(),
                };
                // Known in memory at once: a disk that is full must not make this log a good one again.
                self.forked.insert(log, (first.clone(), second.clone()));
                memory.keep_fork(log, first.clone(), second.clone()).await?;
                return Ok(Answer::Forked { first, second });
            }
        }
        let line = cosign(&offer.checkpoint, cosigner.name, cosigner.time_s, cosigner.key)?;
        Ok(Answer::Cosigned(line))
    }
}

/// The hashes of a proof; `None` if one is none, or there are too many.
#[must_use]
pub fn proof(hashes: &[Bytes]) -> Option<Vec<Hash>> {
    if hashes.len() > PROOF_HASHES_MAX {
        return None;
    }
    hashes.iter().map(|hash| Hash::try_from(hash.as_ref()).ok()).collect()
}

/// A checkpoint of one's own log while cosignatures are collected.
#[derive(Debug, Clone)]
pub struct Collecting {
    cluster: ClusterId,
    note: String,
    by: Vec<u16>,
}

impl Collecting {
    /// A note of one's own.
    #[must_use]
    pub fn new(cluster: ClusterId, note: String) -> Self {
        Self {
            cluster,
            note,
            by: Vec::new(),
        }
    }

    /// Adds the cosignature of `node`, if it holds under its key; each node counts once.
    ///
    /// # Errors
    /// [`BadCheckpoint`].
    pub fn add(
        &mut self,
        node: u16,
        key: &Ed25519VerifyingKey,
        line: &str,
        verify: &(impl Verify + ?Sized),
    ) -> Result<(), BadCheckpoint> {
        if self.by.contains(&node) {
            return Ok(());
        }
        let note = attach(&self.note, line)?;
        verify_cosignature(note.as_bytes(), &audit::witness(self.cluster, node), key, verify)?;
        self.note = note;
        self.by.push(node);
        Ok(())
    }

    /// How many have cosigned.
    #[must_use]
    pub fn count(&self) -> usize {
        self.by.len()
    }

    /// The note with their cosignatures.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }
}
