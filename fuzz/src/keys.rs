//! Certificates and keys as peers show them.

use symbolon_crypto::sign::VerifyingKey;
use symbolon_wire::tls::{CERTIFICATE_BYTES_MAX, Leaf};

use crate::stage::{BIRTH_S, Lenient, base};

/// A certificate: only its key, its dates and, of a node, its issuer count.
pub(crate) fn certificate(data: &[u8]) {
    if let Ok(key) = VerifyingKey::parse(data) {
        assert_eq!(key.spki(), data, "a key has one encoding");
    }
    for now_s in [0, BIRTH_S, u64::MAX] {
        let Ok(leaf) = Leaf::parse(data, now_s) else { continue };
        assert!(data.len() <= CERTIFICATE_BYTES_MAX, "size is checked first");
        assert!(now_s != u64::MAX, "no certificate holds for ever");
        for node in &base().roster.nodes {
            let _ = leaf.issued_by(&node.identity, &Lenient);
        }
    }
}
