//! The worked examples of `docs/specs/roster.md`, `release.md` and `audit.md` are what this crate makes.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../../crypto/tests/common/example.rs"]
mod example;

use bytes::Bytes;
use example::Example;
use symbolon_crypto::{
    checkpoint::{Checkpoint, verifier_key},
    cosignature::cosign,
    enc::{enc, sha256},
    merkle::{Tree, leaf_hash, verify_inclusion},
    provider::{Portable, Verify},
    sealing::SealingKeyPair,
    secret::Secret,
    sign::{Ed25519SigningKey, SigningKey},
};
use symbolon_wire::{
    Message, audit, codes,
    ids::ClusterId,
    reply::{ReleasedFragment, decode_response, encode_response},
    roster::Roster,
    statements::{ReplyLeaf, Signer, roster_hash, roster_signature},
    v1::{self, request, response},
};

const ROSTER: &str = include_str!("../../docs/specs/roster.md");
const SEALING: &str = include_str!("../../docs/specs/sealing.md");
const FRAGMENT: &str = include_str!("../../docs/specs/fragment.md");
const RELEASE: &str = include_str!("../../docs/specs/release.md");
const AUDIT: &str = include_str!("../../docs/specs/audit.md");

/// A P-256 private key is these bytes (RFC 5958, RFC 5915 without the optional public key) and its scalar.
const PKCS8: &str = "3041020100301306072a8648ce3d020106082a8648ce3d030107042730250201010420";

fn key(example: &Example, name: &str) -> SigningKey {
    let scalar: [u8; 32] = example.array(name);
    let der = [hex::decode(PKCS8).unwrap().as_slice(), &scalar].concat();
    SigningKey::from_pkcs8_der(&der).unwrap()
}

fn bytes<const N: usize>(example: &Example, name: &str) -> Bytes {
    Bytes::copy_from_slice(&example.array::<N>(name))
}

fn body(example: &Example, sealing: &Example) -> v1::RosterBody {
    let node = |index: u32| {
        let seed = Secret::copy_from(&sealing.array::<32>(&format!("sealing seed {index}"))).unwrap();
        v1::RosterNode {
            index,
            region: example.text(&format!("region {index}")).to_owned(),
            identity_key: spki(&key(example, &format!("identity scalar {index}"))),
            sealing_key: Bytes::copy_from_slice(&SealingKeyPair::from_seed(&seed).public_key().to_bytes()),
            address: example.text(&format!("address {index}")).to_owned(),
        }
    };
    v1::RosterBody {
        protocol: example.number("protocol"),
        cluster: bytes::<16>(example, "cluster"),
        version: example.number("version"),
        previous: Bytes::new(),
        created_ms: example.number("created ms"),
        suite: example.number("suite"),
        threshold: example.number("threshold"),
        operators: vec![v1::Operator {
            id: bytes::<16>(example, "operator id"),
            key: spki(&key(example, "operator scalar")),
            name: example.text("operator name").to_owned(),
        }],
        operators_needed: example.number("operators needed"),
        policy_signatures: example.number("policy signatures"),
        identity_signatures: example.number("identity signatures"),
        first_tenant: bytes::<16>(example, "first tenant"),
        nodes: (1..=3).map(node).collect(),
    }
}

fn spki(key: &SigningKey) -> Bytes {
    Bytes::copy_from_slice(key.verifying_key().spki())
}

#[test]
fn the_example_of_the_roster_specification_is_true() {
    let (example, sealing, fragment) = (Example::of(ROSTER), Example::of(SEALING), Example::of(FRAGMENT));
    example.agrees(&sealing, "cluster");
    assert_eq!(example.text("first tenant"), fragment.text("tenant"));
    let mut message = body(&example, &sealing);
    let encoded = Bytes::from(message.encode_to_vec());
    let hash = roster_hash(&encoded);
    let nodes = std::mem::take(&mut message.nodes);
    example.shows("operator key", spki(&key(&example, "operator scalar")));
    for (index, node) in (1..).zip(&nodes) {
        example.shows(&format!("identity key {index}"), &node.identity_key);
        assert_eq!(
            hex::encode(sha256(&node.sealing_key)),
            sealing.text(&format!("SHA-256(public {index})"))
        );
    }
    example.shows("body without nodes", message.encode_to_vec());
    example.shows_text("body bytes", &encoded.len().to_string());
    example.shows("SHA-256(body)", sha256(&encoded));
    example.shows("roster hash", hash);
    assert_eq!(hex::encode(hash), sealing.text("roster hash"));

    let signed = roster_signature(&hash);
    example.shows("signed", &signed);
    let operator = key(&example, "operator scalar").sign(&signed);
    example.shows("by the operator", operator);
    let by_node = |index: u32| {
        let signature = key(&example, &format!("identity scalar {index}")).sign(&signed);
        example.shows(&format!("by node {index}"), signature);
        v1::NodeSignature {
            node: index,
            signature: Bytes::copy_from_slice(&signature),
        }
    };
    let roster = v1::Roster {
        body: encoded,
        operators: vec![v1::OperatorSignature {
            operator: bytes::<16>(&example, "operator id"),
            signature: Bytes::copy_from_slice(&operator),
        }],
        nodes: (1..=3).map(by_node).collect(),
    };
    let file = Bytes::from(roster.encode_to_vec());
    example.shows_text("file bytes", &file.len().to_string());
    example.shows("SHA-256(file)", sha256(&file));
    let verified = Roster::genesis(file, Some(&hash), &Portable).unwrap();
    assert_eq!((verified.n(), verified.threshold), (3, 2));
    example.finish();
}

fn signer(example: &Example) -> Signer {
    Signer {
        cluster: ClusterId(example.array("cluster")),
        node: example.number("node"),
        boot_counter: example.number("boot counter"),
    }
}

fn request(example: &Example) -> Vec<u8> {
    let read = v1::ReadRequest {
        nonce: bytes::<32>(example, "nonce"),
        path: example.text("path").to_owned(),
        version: 0,
        min_index: 0,
        body: false,
        purpose: example.text("purpose").to_owned(),
    };
    let kind = Some(request::Kind::Read(read));
    v1::Request { kind }.encode_to_vec()
}

#[test]
fn the_example_of_the_release_specification_is_true() {
    let example = Example::of(RELEASE);
    let (roster, fragment) = (Example::of(ROSTER), Example::of(FRAGMENT));
    for shared in ["cluster", "roster hash"] {
        example.agrees(&roster, shared);
    }
    example.agrees(&fragment, "record hash");
    let signer = signer(&example);

    let (signing, tls) = (key(&example, "signing scalar"), key(&example, "TLS scalar"));
    let checkpoint = checkpoint_key(&example).verifying_key();
    let statement = signer.boot(
        &example.array("roster hash"),
        &spki(&signing),
        &spki(&tls),
        checkpoint.as_bytes(),
    );
    example.shows("boot statement", &statement);
    let identity = key(&roster, &format!("identity scalar {}", signer.node));
    example.shows("by the identity", identity.sign(&statement));
    example.shows("feature statement", signer.feature(1));
    example.shows("by the boot", signing.sign(&signer.feature(1)));

    let client_key = key(&example, "client scalar").verifying_key().fingerprint();
    example.shows("client key", client_key);
    let request = request(&example);
    example.shows("request", &request);
    example.shows("request hash", sha256(&request));

    let part = |name: &str| fragment.array::<32>(&format!("{name}_{}", signer.node));
    let released: [u8; 64] = [part("s"), part("gamma")].concat().try_into().unwrap();
    example.shows("fragment hash", sha256(&released));
    let (state_index, record_index): (u64, u64) = (example.number("state index"), example.number("record index"));
    let anchor_index = state_index - state_index % 256;
    example.shows_text("anchor index", &anchor_index.to_string());
    let fields = ReplyLeaf {
        client_key: &client_key,
        request_hash: &sha256(&request),
        record_hash: &fragment.array("record hash"),
        epoch: fragment.number("epoch"),
        fragment_hash: &sha256(&released),
        state_index,
        record_index,
        record_chain: &example.array("record chain"),
        anchor_index,
        anchor_chain: &example.array("anchor chain"),
    };
    let leaf = signer.reply(&fields);
    example.shows("leaf", &leaf);
    example.shows("leaf hash", leaf_hash(&leaf));
    let tree: Tree = [example.array("leaf hash 0"), leaf_hash(&leaf)].into_iter().collect();
    let path = tree.path(1).unwrap();
    verify_inclusion(&leaf_hash(&leaf), 1, 2, &path, &tree.root()).unwrap();
    example.shows("root", tree.root());
    let statement = signer.replies(&tree.root());
    example.shows("signed", &statement);
    let signature = signing.sign(&statement);
    Portable.p256(signing.verifying_key(), &statement, &signature).unwrap();
    example.shows("signature", signature);

    let copy = Bytes::copy_from_slice;
    let reply = v1::ReadReply {
        node: signer.node.into(),
        boot_counter: signer.boot_counter,
        record_hash: copy(fields.record_hash),
        epoch: fields.epoch,
        fragment_hash: copy(fields.fragment_hash),
        state_index,
        record_index,
        record_chain: copy(fields.record_chain),
        anchor_index: fields.anchor_index,
        anchor_chain: copy(fields.anchor_chain),
        version: fragment.number("version"),
        group_size: 2,
        group_index: 1,
        group_path: path.iter().map(|hash| copy(hash)).collect(),
        group_signature: copy(&signature),
        audit_index: example.number("audit index"),
        audit_leaf: Bytes::new(),
        body: None,
    };
    let result = Some(response::Result::Read(reply));
    let frame = encode_response(
        &v1::Response { result },
        Some(&ReleasedFragment::new(Box::new(released))),
    );
    example.shows("frame", frame.as_ref());
    assert!(decode_response(frame.as_ref().to_vec()).unwrap().1.is_some());
    example.finish();
}

fn checkpoint_key(example: &Example) -> Ed25519SigningKey {
    Ed25519SigningKey::from_seed(&Secret::copy_from(&example.array::<32>("checkpoint seed")).unwrap())
}

#[test]
fn the_example_of_the_audit_specification_is_true() {
    let (example, release, fragment) = (Example::of(AUDIT), Example::of(RELEASE), Example::of(FRAGMENT));
    for shared in [
        "cluster",
        "node",
        "boot counter",
        "checkpoint seed",
        "client key",
        "request hash",
        "path",
        "purpose",
    ] {
        example.agrees(&release, shared);
    }
    let signer = signer(&example);
    let copy = Bytes::copy_from_slice;
    let leaf = v1::AuditLeaf {
        salt: bytes::<16>(&example, "salt"),
        node: signer.node.into(),
        boot_counter: signer.boot_counter,
        local_time_ms: example.number("local time ms"),
        log_time_ms: example.number("log time ms"),
        principal: bytes::<16>(&example, "principal"),
        principal_name: example.text("principal name").to_owned(),
        client_key: bytes::<32>(&example, "client key"),
        source: example.text("source").to_owned(),
        action: "read".to_owned(),
        resource: example.text("path").to_owned(),
        secret: copy(&fragment.array::<16>("secret")),
        version: fragment.number("version"),
        purpose: example.text("purpose").to_owned(),
        allowed: true,
        outcome: "allowed".to_owned(),
        code: 0,
        policy_hash: bytes::<32>(&example, "policy hash"),
        policies: vec![example.text("policy").to_owned()],
        state_index: release.number("state index"),
        tls_group: "X25519MLKEM768".to_owned(),
        request_hash: bytes::<32>(&example, "request hash"),
        inputs_digest: bytes::<32>(&example, "inputs digest"),
    };
    let encoded = audit::encode(&leaf);
    assert_eq!(audit::decode(encoded.clone()).unwrap(), leaf);
    example.shows("leaf", &encoded);
    example.shows("leaf hash", leaf_hash(&encoded));
    let leaves = [
        example.array("leaf hash 0"),
        example.array("leaf hash 1"),
        leaf_hash(&encoded),
    ];
    let tree: Tree = leaves.into_iter().collect();
    assert_eq!(release.number::<u64>("audit index"), 2);
    let path = tree.path(2).unwrap();
    verify_inclusion(&leaves[2], 2, 3, &path, &tree.root()).unwrap();
    example.shows("inclusion path", path.concat());
    example.shows("root", tree.root());

    let checkpoint = checkpoint_key(&example);
    let origin = audit::origin(signer.cluster, signer.node);
    example.shows_text("origin", &origin);
    example.shows("checkpoint key", checkpoint.verifying_key().as_bytes());
    example.shows_text("verifier key", &verifier_key(&origin, &checkpoint.verifying_key()));
    let note = Checkpoint::new(&origin, 3, tree.root()).unwrap().sign(&checkpoint);
    Checkpoint::verify(note.as_bytes(), &origin, &checkpoint.verifying_key(), &Portable).unwrap();
    assert!(
        AUDIT.contains(&format!("```note\n{note}```")),
        "the note of the document is not:\n{note}"
    );

    let cosigner: u16 = example.number("cosigner");
    let cosigner_key = Secret::copy_from(&example.array::<32>("cosigner seed")).unwrap();
    let cosigner_key = Ed25519SigningKey::from_seed(&cosigner_key);
    example.shows("cosigner key", cosigner_key.verifying_key().as_bytes());
    let name = audit::witness(signer.cluster, cosigner);
    let line = cosign(note.as_bytes(), &name, example.number("cosigned at"), &cosigner_key).unwrap();
    assert!(
        AUDIT.contains(&format!("```cosignature\n{line}```")),
        "the cosignature of the document is not:\n{line}"
    );
    let receipt = signer.receipt(&example.array("request hash"), 2, &leaves[2]);
    example.shows("receipt", &receipt);
    example.shows("receipt leaf hash", leaf_hash(&receipt));
    let anchored = signer.anchored(signer.node, 3, &tree.root(), example.number("log index"));
    example.shows("anchored", &anchored);
    example.finish();
}

#[test]
fn every_error_code_is_in_the_release_specification_with_its_title() {
    for code in codes::Code::ALL {
        let row = format!("| `{code}` | {} |", code.title());
        assert!(RELEASE.contains(&row), "docs/specs/release.md has no row\n{row}");
    }
    assert_eq!(
        RELEASE.matches("\n| `SY").count(),
        codes::Code::ALL.len(),
        "no code that is none"
    );
}

#[test]
fn enc_is_what_the_specification_says() {
    assert_eq!(hex::encode(enc(&[b"ab", b"", b"c"])), "000000026162000000000000000163");
    assert!(FRAGMENT.contains("000000026162000000000000000163"));
}
