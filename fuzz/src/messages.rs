//! Messages of clients and the leaves of the audit log.

use bytes::Bytes;
use symbolon_custody::freshness::{Interest, harmless};
use symbolon_state::Kind;
use symbolon_wire::command::{ParsedCommand, signing_bytes};
use symbolon_wire::ids::SecretId;
use symbolon_wire::limits::REQUEST_BYTES_MAX;
use symbolon_wire::{Message, audit, frame, reply, v1};

/// A signed command: what is taken is canonical, so that nothing hides in bytes that were signed.
pub(crate) fn command(data: &[u8]) {
    let encoded = Bytes::copy_from_slice(data);
    let parsed = ParsedCommand::parse(encoded.clone());
    // A node also looks at commands that it has not applied, before anybody has checked them.
    for (principal, secret) in [
        (None, None),
        (parsed.as_ref().ok().map(|p| p.principal), Some(SecretId([7; 16]))),
    ] {
        let interest = Interest {
            client_key: &[9; 32],
            principal,
            path: "prod/stripe/key",
            secret,
        };
        harmless(Kind::Command.number(), &encoded, &interest);
    }
    let Ok(parsed) = parsed else { return };
    let body = v1::CommandBody::decode(parsed.body_bytes.clone()).expect("a parsed body decodes");
    assert_eq!(body.encode_to_vec(), parsed.body_bytes, "a body has one encoding");
    assert!(!parsed.signatures.is_empty(), "an unsigned command is refused");
    assert!(signing_bytes(&parsed.body_bytes).len() > parsed.body_bytes.len());
}

/// A client's request.
pub(crate) fn request(data: &[u8]) {
    let Ok(request) = frame::decode::<v1::Request>(Bytes::copy_from_slice(data), REQUEST_BYTES_MAX) else {
        return;
    };
    let again = frame::decode::<v1::Request>(request.encode_to_vec().into(), usize::MAX);
    assert_eq!(again.as_ref(), Ok(&request), "a request survives its encoding");
    if let Some(v1::request::Kind::Submit(submit)) = request.kind
        && let Some(inner) = submit.command
    {
        let _ = ParsedCommand::from_message(inner);
    }
}

/// A node's answer, with or without a fragment.
pub(crate) fn response(data: &[u8]) {
    let Ok((message, fragment)) = reply::decode_response(data.to_vec()) else {
        return;
    };
    let frame = reply::encode_response(&message, fragment.as_ref());
    let (again, kept) = reply::decode_response(frame.as_ref().to_vec()).expect("what is encoded decodes");
    assert_eq!(again, message, "a response survives its encoding");
    assert_eq!(
        kept.as_ref().map(|one| *one.expose()),
        fragment.as_ref().map(|one| *one.expose()),
        "a fragment survives its encoding"
    );
}

/// A leaf of an audit log: its hash stands for one meaning, so there is one encoding.
pub(crate) fn audit_leaf(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(leaf) = audit::decode(bytes.clone()) {
        assert_eq!(audit::encode(&leaf), bytes, "a leaf has one encoding");
    }
}
