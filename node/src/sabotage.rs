//! Lies of a malicious node, compiled only with the feature `sabotage` and chosen by `SYMBOLON_SABOTAGE`: what the
//! client must find out, on real processes. No build that ships has the feature.

use std::sync::Arc;
use symbolon_consensus::{Transport, malice};
use symbolon_crypto::Hash;
use symbolon_custody::fragments::Released;
use symbolon_state::entry::Kind;
use symbolon_wire::reply::ReleasedFragment;
use symbolon_wire::v1;

/// What a node lies about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    /// Another fragment, signed as its own.
    WrongFragment,
    /// Another fragment than the one whose hash is signed.
    OtherFragmentThanSigned,
    /// Another history, signed.
    OtherHistory,
    /// A ciphertext that is not the record's.
    WrongBody,
    /// Heads of another history, signed.
    OtherHeads,
    /// A release that it does not write down.
    Unrecorded,
    /// Another history of its audit log than the one that was cosigned, signed.
    ForkedAudit,
    /// No lie but a defect: it panics when it applies a command.
    PanicAtApply,
}

fn lie() -> Option<Lie> {
    match std::env::var("SYMBOLON_SABOTAGE").ok()?.as_str() {
        "wrong-fragment" => Some(Lie::WrongFragment),
        "other-fragment-than-signed" => Some(Lie::OtherFragmentThanSigned),
        "other-history" => Some(Lie::OtherHistory),
        "wrong-body" => Some(Lie::WrongBody),
        "other-heads" => Some(Lie::OtherHeads),
        "unrecorded" => Some(Lie::Unrecorded),
        "forked-audit" => Some(Lie::ForkedAudit),
        "panic-at-apply" => Some(Lie::PanicAtApply),
        _ => None,
    }
}

fn leaders_lie() -> Option<malice::Lie> {
    let chosen = std::env::var("SYMBOLON_SABOTAGE").ok()?;
    let (name, victim) = chosen.split_once(':').unwrap_or((&chosen, "0"));
    malice::Lie::parse(name, victim.parse().ok()?)
}

/// Whether it goes on although others contradict it: who lies on purpose does.
pub(crate) fn shameless() -> bool {
    leaders_lie().is_some()
}

/// The way to the other nodes, on which a leader may lie: `fork:2` for one victim, the other names stand alone.
pub(crate) fn transport(honest: Arc<dyn Transport>) -> Arc<dyn Transport> {
    match leaders_lie() {
        Some(lie) => {
            let lies = malice::Lies::new(vec![lie]);
            lies.begin();
            lies.over(honest)
        }
        None => honest,
    }
}

/// The fragment as it is sent. The last byte changes, so that the scalar stays canonical.
pub(crate) fn fragment(released: Released) -> Released {
    let lie = lie();
    let mut bytes = Box::new(*released.fragment.expose());
    match lie {
        Some(Lie::WrongFragment | Lie::OtherFragmentThanSigned) => bytes[31] ^= 1,
        _ => return released,
    }
    let hash = match lie {
        Some(Lie::WrongFragment) => symbolon_crypto::enc::sha256(bytes.as_ref()),
        _ => released.hash,
    };
    Released {
        fragment: ReleasedFragment::new(bytes),
        hash,
    }
}

/// The reply as it is signed.
pub(crate) fn reply(mut reply: v1::ReadReply) -> v1::ReadReply {
    let flip = |bytes: &bytes::Bytes| -> bytes::Bytes {
        let mut changed = bytes.to_vec();
        if let Some(last) = changed.last_mut() {
            *last ^= 1;
        }
        changed.into()
    };
    match (lie(), reply.body.as_mut()) {
        (Some(Lie::OtherHistory), _) => reply.anchor_chain = flip(&reply.anchor_chain),
        (Some(Lie::WrongBody), Some(body)) => body.ciphertext = flip(&body.ciphertext),
        _ => {}
    }
    reply
}

/// The chain value as it is signed.
pub(crate) fn head(mut chain: Hash) -> Hash {
    if lie() == Some(Lie::OtherHeads) {
        chain[0] ^= 1;
    }
    chain
}

/// Whether leaves are dropped instead of being written down.
pub(crate) fn drops_leaves() -> bool {
    lie() == Some(Lie::Unrecorded)
}

/// The root of what the audit log was, as it is signed.
pub(crate) fn earlier_root(mut root: Hash) -> Hash {
    if lie() == Some(Lie::ForkedAudit) {
        root[0] ^= 1;
    }
    root
}

/// Before an entry of this kind is applied.
#[expect(clippy::panic, reason = "that is what it is for")]
pub(crate) fn apply(kind: u16) {
    if lie() == Some(Lie::PanicAtApply) && kind == Kind::Command.number() {
        panic!("sabotage: a defect in apply");
    }
}
