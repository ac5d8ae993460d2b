//! Lies of a malicious node, compiled only with the feature `sabotage` and chosen by `SYMBOLON_SABOTAGE` (`sabotage/`): what
//! clients and the other nodes must find out, on real processes. No build that ships has the feature.

use crate::member::Member;
use bytes::Bytes;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use symbolon_consensus::{Transport, malice};
use symbolon_crypto::Hash;
use symbolon_custody::fragments::Released;
use symbolon_custody::malice::Lying;
use symbolon_custody::snapshots::{Claim, statement};
use symbolon_sabotage::{Bug, chosen, victim};
use symbolon_state::entry::Kind;
use symbolon_wire::command::ParsedCommand;
use symbolon_wire::v1::{self, command_body::Payload, peer_request::Kind as Asked};

/// What it tells the other members of the agreement, if it lies to them.
fn lies_in_agreement() -> &'static Option<malice::Lies> {
    static LIES: OnceLock<Option<malice::Lies>> = OnceLock::new();
    LIES.get_or_init(|| {
        let lie = chosen().ok().flatten().and_then(|bug| malice::Lie::of(bug, victim()))?;
        let lies = malice::Lies::new(vec![lie]);
        lies.begin();
        Some(lies)
    })
}

/// Whether it goes on although others contradict it: who lies on purpose does.
pub(crate) fn shameless() -> bool {
    lies_in_agreement().is_some()
}

/// The way to the other nodes, on which a leader may lie: `fork:2` for one victim, the other names stand alone.
pub(crate) fn transport(honest: Arc<dyn Transport>) -> Arc<dyn Transport> {
    // A name that is none of the list ends the node here, before it does anything.
    let _ = Bug::PanicAtApply.on();
    match lies_in_agreement() {
        Some(lies) => lies.over(honest),
        None => honest,
    }
}

/// What a follower answers a frame of its leader's with, in place of what it did.
pub(crate) fn answer(frame: &Bytes) -> Option<Bytes> {
    lies_in_agreement().as_ref()?.answer(frame)
}

/// What it signs and sends in place of `reply` and `released`.
pub(crate) fn served(path: &str, reply: v1::ReadReply, released: Released) -> (v1::ReadReply, Released) {
    static LYING: OnceLock<Option<Lying>> = OnceLock::new();
    match LYING.get_or_init(|| chosen().ok().flatten().and_then(Lying::telling)) {
        Some(lying) => {
            let (reply, released, told) = lying.bend(path, reply, released);
            if told {
                tracing::warn!("a lie was told");
            }
            (reply, released)
        }
        None => (reply, released),
    }
}

/// The chain value as it is signed.
pub(crate) fn head(mut chain: Hash) -> Hash {
    if Bug::OtherHeads.on() {
        chain[0] ^= 1;
    }
    chain
}

/// What it says of a command that it hands to nobody, where this is the last entry that it knows.
pub(crate) fn done_by_nobody(command: &ParsedCommand, index: u64, chain: Hash) -> Option<v1::Submitted> {
    if !Bug::DoneByNobody.on() {
        return None;
    }
    tracing::warn!("a lie was told");
    let version = match &command.payload {
        Payload::Put(put) => put.version,
        _ => 0,
    };
    Some(v1::Submitted {
        index,
        chain: Bytes::copy_from_slice(&chain),
        outcome: Some(v1::Outcome {
            index,
            version,
            ..v1::Outcome::default()
        }),
        ..v1::Submitted::default()
    })
}

/// Whether leaves are dropped instead of being written down.
pub(crate) fn drops_leaves() -> bool {
    Bug::Unrecorded.on()
}

/// The root of what the audit log was, as it is signed.
pub(crate) fn earlier_root(mut root: Hash) -> Hash {
    if Bug::ForkedAudit.on() {
        root[0] ^= 1;
    }
    root
}

/// Whether it hides the end of its audit log.
pub(crate) fn cuts_audit() -> bool {
    Bug::CutAudit.on()
}

/// Leaves of its audit log that it shows: a quarter of those that there were when it started, so that anchored ones are
/// among the hidden.
pub(crate) fn shown_size(size: u64) -> u64 {
    static CUT: OnceLock<u64> = OnceLock::new();
    match cuts_audit() {
        true => size.min(*CUT.get_or_init(|| size / 4)),
        false => size,
    }
}

/// What it does to the others all the time.
pub(crate) async fn harass(member: Arc<Member>) {
    while Bug::FatStatements.on() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        for node in member.peers.nodes() {
            for gossip in fat_statements(&member) {
                // Whether it is taken shows at the others.
                let _ = member
                    .peers
                    .ask(node, Asked::Gossip(gossip), Duration::from_secs(1))
                    .await;
            }
        }
        tracing::warn!("a lie was told");
    }
}

/// Marks that do not exist, signed, and a clock reading, with what is not signed as large as fits.
fn fat_statements(member: &Member) -> Vec<v1::Gossip> {
    let signer = &member.boot.signer;
    let mark = |index| {
        let claim = Claim {
            index,
            chain: [1; 32],
            state_root: [2; 32],
        };
        let signature = member
            .boot
            .signing
            .sign(&statement(signer, &member.roster, &claim))
            .ok()?;
        Some(v1::SnapshotSignature {
            node: member.node.into(),
            boot_counter: signer.boot_counter,
            index,
            chain: Bytes::copy_from_slice(&claim.chain),
            state_root: Bytes::copy_from_slice(&claim.state_root),
            roster_hash: vec![0; 7 << 20].into(),
            signature: Bytes::copy_from_slice(&signature),
            ..v1::SnapshotSignature::default()
        })
    };
    let marks = [u64::MAX, u64::MAX - 1].into_iter().filter_map(mark);
    let mut told: Vec<v1::Gossip> = marks
        .map(|mark| v1::Gossip {
            snapshots: vec![mark],
            ..v1::Gossip::default()
        })
        .collect();
    told.push(v1::Gossip {
        tick: Some(v1::Tick {
            node: member.node.into(),
            boot_counter: u64::MAX,
            sequence: u64::MAX,
            signature: vec![0; 2 << 20].into(),
            ..v1::Tick::default()
        }),
        ..v1::Gossip::default()
    });
    told
}

/// Before an entry of this kind is applied.
#[expect(clippy::panic, reason = "that is what it is for")]
pub(crate) fn apply(kind: u16) {
    if Bug::PanicAtApply.on() && kind == Kind::Command.number() {
        panic!("sabotage: a defect in apply");
    }
}
