//! A node that lies about what it serves, for tests of what clients make of it: it bends what it is about to sign, so that
//! everything else about the reply is as it should be. The nodes and the simulation use it alike.
//!
//! What it serves in place of the truth it has released before: it decides, records and opens like an honest node, and
//! then sends what it kept.

use crate::fragments::Released;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use symbolon_crypto::enc::sha256;
use symbolon_sabotage::Bug;
use symbolon_wire::reply::ReleasedFragment;
use symbolon_wire::v1;

/// How far ahead of its state a node claims to be, entries.
const AHEAD: u64 = 1_000_000;

/// What it released first at a path, to be served later.
struct Kept {
    reply: v1::ReadReply,
    fragment: [u8; 64],
}

/// A node that tells one lie about what it serves.
pub struct Lying {
    lie: Bug,
    kept: Mutex<BTreeMap<String, Kept>>,
}

impl Lying {
    /// Tells `lie`, one of those in this file; `None` if it is another.
    #[must_use]
    pub fn telling(lie: Bug) -> Option<Self> {
        let about_what_is_served = matches!(
            lie,
            Bug::WrongFragment
                | Bug::OtherFragmentThanSigned
                | Bug::OtherHistory
                | Bug::WrongBody
                | Bug::OtherSecretsFragment
                | Bug::OtherSecret
                | Bug::OldVersion
                | Bug::OldState
                | Bug::OtherEpoch
                | Bug::AheadOfItself
        );
        about_what_is_served.then(|| Self {
            lie,
            kept: Mutex::default(),
        })
    }

    /// What is signed and sent in place of `reply` and `released`, which answer a request for the latest version at
    /// `path`; and whether that is a lie.
    pub fn bend(&self, path: &str, reply: v1::ReadReply, released: Released) -> (v1::ReadReply, Released, bool) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let first = kept.entry(path.to_owned()).or_insert_with(|| Kept {
            reply: reply.clone(),
            fragment: *released.fragment.expose(),
        });
        // Who asks for a ciphertext is shown one; it may have been left out the first time.
        if first.reply.body.is_none() && first.reply.record_hash == reply.record_hash {
            first.reply.body.clone_from(&reply.body);
        }
        let before = (reply.clone(), *released.fragment.expose());
        let (reply, fragment, hash) = self.lied(&kept, path, reply, &released);
        let told = before != (reply.clone(), fragment) || hash != before.0.fragment_hash;
        let mut reply = reply;
        reply.fragment_hash.clone_from(&hash);
        let released = Released {
            hash: hash.as_ref().try_into().unwrap_or(released.hash),
            fragment: ReleasedFragment::new(Box::new(fragment)),
        };
        (reply, released, told)
    }

    /// The reply, the fragment, and what is said to be its hash.
    fn lied(
        &self,
        kept: &BTreeMap<String, Kept>,
        path: &str,
        mut reply: v1::ReadReply,
        released: &Released,
    ) -> (v1::ReadReply, [u8; 64], Bytes) {
        let mut fragment = *released.fragment.expose();
        let mut hash = None;
        match self.lie {
            // The last byte of the scalar changes, so that it stays canonical.
            Bug::WrongFragment => fragment[31] ^= 1,
            Bug::OtherFragmentThanSigned => {
                fragment[31] ^= 1;
                hash = Some(reply.fragment_hash.clone());
            }
            Bug::OtherHistory => reply.anchor_chain = flipped(&reply.anchor_chain),
            Bug::WrongBody => {
                if let Some(body) = reply.body.as_mut() {
                    body.ciphertext = flipped(&body.ciphertext);
                }
            }
            Bug::OtherEpoch => reply.epoch += 1,
            Bug::AheadOfItself => reply.state_index += AHEAD,
            Bug::OtherSecretsFragment => {
                if let Some(other) = another(kept, path) {
                    fragment = other.fragment;
                }
            }
            Bug::OtherSecret => {
                if let Some(other) = another(kept, path) {
                    fragment = other.fragment;
                    reply = v1::ReadReply {
                        version: reply.version,
                        ..record_of(other, reply)
                    };
                }
            }
            Bug::OldVersion => {
                if let Some(old) = kept.get(path) {
                    fragment = old.fragment;
                    reply = record_of(old, reply);
                }
            }
            Bug::OldState => {
                if let Some(old) = kept.get(path) {
                    fragment = old.fragment;
                    reply = v1::ReadReply {
                        state_index: old.reply.state_index,
                        anchor_index: old.reply.anchor_index,
                        anchor_chain: old.reply.anchor_chain.clone(),
                        ..record_of(old, reply)
                    };
                }
            }
            _ => {}
        }
        let hash = hash.unwrap_or_else(|| Bytes::copy_from_slice(&sha256(&fragment)));
        (reply, fragment, hash)
    }
}

/// What was released first at another path.
fn another<'a>(kept: &'a BTreeMap<String, Kept>, path: &str) -> Option<&'a Kept> {
    kept.iter().find(|(other, _)| *other != path).map(|(_, kept)| kept)
}

/// The reply with the record of `other` in place of its own.
fn record_of(other: &Kept, reply: v1::ReadReply) -> v1::ReadReply {
    let Kept { reply: other, .. } = other;
    v1::ReadReply {
        record_hash: other.record_hash.clone(),
        version: other.version,
        epoch: other.epoch,
        record_index: other.record_index,
        record_chain: other.record_chain.clone(),
        body: reply.body.as_ref().and(other.body.clone()),
        ..reply
    }
}

/// With its last byte changed.
fn flipped(bytes: &Bytes) -> Bytes {
    let mut changed = bytes.to_vec();
    if let Some(last) = changed.last_mut() {
        *last ^= 1;
    }
    changed.into()
}
