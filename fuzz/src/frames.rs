//! What members of the cluster say to each other about agreement.

use bytes::Bytes;
use symbolon_consensus::testing::{reencoded_meta, reencoded_reply, reencoded_request};

/// A request or a reply of consensus.
pub(crate) fn frame(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    for reencoded in [reencoded_request, reencoded_reply] {
        if let Ok(first) = reencoded(bytes.clone()) {
            let second = reencoded(first.clone()).expect("what is encoded decodes");
            assert_eq!(first, second, "a frame survives its encoding");
            assert!(first.len() <= bytes.len(), "nothing is added to a frame");
        }
    }
}

/// What a snapshot claims, as it is kept on disk and offered.
pub(crate) fn snapshot(data: &[u8]) {
    if let Some(first) = reencoded_meta(data) {
        assert_eq!(
            reencoded_meta(&first).as_ref(),
            Some(&first),
            "a description survives its encoding"
        );
        assert!(first.len() <= data.len(), "nothing is added to a description");
    }
}
