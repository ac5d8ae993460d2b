//! What nodes tell each other of their histories: heads, signatures of snapshots, readings of clocks.

use bytes::Bytes;
use symbolon_custody::heads::{Finding, Heads, check};
use symbolon_custody::snapshots::{self, Claim, Collected};
use symbolon_wire::frame;
use symbolon_wire::limits::PEER_FRAME_BYTES_MAX;
use symbolon_wire::statements::Signer;
use symbolon_wire::{Message, v1};

use crate::stage::{Lenient, base};

/// Chain value of this node at an index, for the target's own history.
fn own_chain(index: u64) -> Option<[u8; 32]> {
    (index < 1_000).then(|| [u8::try_from(index % 7).unwrap_or_default(); 32])
}

/// A message of a peer; gossip is taken as a node takes it.
pub(crate) fn gossip(data: &[u8]) {
    let Ok(request) = frame::decode::<v1::PeerRequest>(Bytes::copy_from_slice(data), PEER_FRAME_BYTES_MAX) else {
        return;
    };
    let again = frame::decode::<v1::PeerRequest>(request.encode_to_vec().into(), usize::MAX);
    assert_eq!(again.as_ref(), Ok(&request), "a message survives its encoding");
    let Some(v1::peer_request::Kind::Gossip(gossip)) = request.kind else {
        return;
    };
    let base = base();
    let mut heads = Heads::new(1, base.roster.threshold);
    for head in gossip.heads {
        let Some(node) = u16::try_from(head.node).ok().and_then(|node| base.roster.node(node)) else {
            continue;
        };
        let signer = Signer {
            cluster: base.roster.cluster,
            node: node.index,
            boot_counter: head.boot_counter,
        };
        if !check(&head, &signer, &node.identity, &Lenient) {
            continue;
        }
        let (index, told) = (head.index, u32::from(node.index));
        if let Finding::Equivocation { node, first, second } = heads.take(head, own_chain) {
            assert!(told == u32::from(node) && first.chain != second.chain && first.index == second.index);
            assert!(heads.is_excluded(node), "who signs two histories is excluded");
        }
        if let Some(own) = own_chain(index) {
            heads.compare(index, &own);
        }
    }
    for index in heads.waiting(1_000) {
        if let Some(own) = own_chain(index) {
            heads.compare(index, &own);
        }
    }
    assert!(heads.excluded().count() <= base.roster.nodes.len());
    assert!(heads.newest().len() <= 4 * 1_024, "what is passed on is bounded");
    vouched(gossip.snapshots);
}

/// A snapshot is taken on the word of t members; one member's word counts once.
fn vouched(signatures: Vec<v1::SnapshotSignature>) {
    let base = base();
    let Some(first) = signatures.first() else { return };
    let (Ok(chain), Ok(state_root)) = (first.chain.as_ref().try_into(), first.state_root.as_ref().try_into()) else {
        return;
    };
    let claim = Claim {
        index: first.index,
        chain,
        state_root,
    };
    let mut collected = Collected::default();
    for signed in &signatures {
        if let Some(node) = u16::try_from(signed.node).ok().and_then(|node| base.roster.node(node)) {
            collected.take(signed.clone(), &base.roster, &node.identity, &Lenient);
        }
    }
    assert!(
        collected.all().len() <= 8 * base.roster.nodes.len(),
        "few marks a node are kept"
    );
    let evidence = v1::SnapshotEvidence { signatures };
    let key = |node, _| base.roster.node(node).map(|node| node.identity.clone());
    if snapshots::check(&claim, &evidence, 1, &base.roster, key, &Lenient).is_ok() {
        let mut nodes: Vec<u32> = evidence.signatures.iter().map(|signed| signed.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.retain(|node| *node != 1);
        assert!(
            nodes.len() >= usize::from(base.roster.threshold),
            "fewer than t members vouched"
        );
    }
}
