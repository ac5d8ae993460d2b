//! Rosters and boot statements: what a cluster is pinned by, and the keys that are vouched for under it.

use bytes::Bytes;
use symbolon_client::Boot;
use symbolon_state::check_boot;
use symbolon_wire::limits::ROSTER_BYTES_MAX;
use symbolon_wire::roster::{Roster, RosterDraft};
use symbolon_wire::{Message, v1};

use crate::stage::{Lenient, base};

/// A genesis roster and a draft. Signatures count as right if their first byte is even.
pub(crate) fn roster(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let _ = Roster::check_body(bytes.clone());
    if let Ok(draft) = RosterDraft::parse(bytes.clone(), &Lenient) {
        let signed = v1::NodeSignature {
            node: 1,
            signature: Bytes::from_static(&[0; 64]),
        };
        let hash = draft.hash();
        let again = RosterDraft::parse(draft.with_node(signed).encode_to_vec().into(), &Lenient);
        assert!(again.is_ok_and(|one| one.hash() == hash), "a signature changes no body");
    }
    let Ok(found) = Roster::genesis(bytes.clone(), None, &Lenient) else {
        return;
    };
    assert!(data.len() <= ROSTER_BYTES_MAX, "size is checked first");
    assert_eq!(found.encoded, bytes, "a roster is kept as it came");
    assert!(matches!(found.n(), 3 | 5 | 7) && found.threshold == found.n() / 2 + 1);
    assert!(symbolon_state::sharing_of(&found).is_ok(), "every roster is a sharing");
    assert!(
        Roster::genesis(bytes, Some(&[1; 32]), &Lenient).is_err(),
        "another hash is pinned"
    );
}

/// The statement of a boot. Client and node take the same ones, but for signatures that only the node's check passes.
pub(crate) fn boot(data: &[u8]) {
    let Ok(statement) = v1::BootKeys::decode(data) else {
        return;
    };
    let roster = &base().roster;
    let node = u16::try_from(statement.node).unwrap_or_default();
    let by_client = Boot::verify(roster, node, &statement);
    let by_node = check_boot(roster, &symbolon_crypto::provider::Portable, &statement);
    assert_eq!(
        by_client.is_ok(),
        by_node.is_some(),
        "both take the same statements: {by_client:?}"
    );
    if let Some((found, view)) = check_boot(roster, &Lenient, &statement) {
        assert!(roster.node(found).is_some(), "only members boot");
        assert_eq!(view.counter, statement.boot_counter);
    }
}
