//! Each message of `wire.proto` with every field set, as it stands on the wire for ever. The messages come from the file
//! itself, the values from the fields' names: a field that is added, renumbered, renamed or retyped changes the snapshot,
//! and a changed snapshot is a change of the protocol, which needs a version.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

use prost::Message;
use protox::prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use std::collections::BTreeSet;
use std::fmt::Write;
use symbolon_wire::v1;

macro_rules! messages {
    ($($name:ident)*) => {
        const MESSAGES: &[&str] = &[$(stringify!($name)),*];

        /// Decodes with the type that both ends use, and encodes again.
        fn through_our_type(name: &str, bytes: &[u8]) -> Option<Result<Vec<u8>, prost::DecodeError>> {
            match name {
                $(stringify!($name) => Some(v1::$name::decode(bytes).map(|message| message.encode_to_vec())),)*
                _ => None,
            }
        }
    };
}

messages! {
    RosterBody Operator RosterNode Roster OperatorSignature NodeSignature
    Command CommandSignature CommandBody PutSecret SecretVersions SetMetadata MetadataEntry SecretSettings SetPolicies PolicySource
    RegisterPrincipal RemovePrincipal RekeyPrincipal OpenSession
    BootKeys Tick Ticks FragmentOk Complaint FeatureLevel SnapshotMark AuditAnchor
    Head SnapshotSignature SnapshotEvidence PeerRequest Propose Gossip PeerResponse GossipAck Cosign Cosigned
    Witness Witnessed LogPlace
    Hello Request Response Error Submit Submitted Outcome
    OutcomesRequest CommandRef OutcomesReply RecordedOutcome
    ReadRequest ReadReply StoredVersion ListRequest ListReply ListEntry MetadataRequest MetadataReply VersionInfo
    ResolveRequest ResolveReply StatusRequest StatusReply AuditRequest AuditReply
    AnchorRequest AnchorReply ProofRequest ProofReply WatchRequest WatchReply Change
    PoliciesRequest PoliciesReply PrincipalsRequest PrincipalsReply Principal HeadReport Reported
    AuditLeaf
}

fn descriptors() -> Vec<MessageDescriptor> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let files = protox::compile(["symbolon/v1/wire.proto"], [root]).unwrap();
    let pool = DescriptorPool::from_file_descriptor_set(files).unwrap();
    let messages: Vec<MessageDescriptor> = pool.all_messages().collect();
    messages
}

/// FNV-1a: a number for a name.
fn number_for(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn one(field: &FieldDescriptor, suffix: &str) -> Value {
    let name = format!("{}{suffix}", field.name());
    match field.kind() {
        Kind::Uint32 => Value::U32(number_for(&name) as u32),
        Kind::Uint64 => Value::U64(number_for(&name)),
        Kind::Bool => Value::Bool(true),
        Kind::String => Value::String(name),
        Kind::Bytes => Value::Bytes(name.into()),
        Kind::Message(message) => Value::Message(full(&message, None)),
        other => panic!("{name}: {other:?} is not used in wire.proto"),
    }
}

/// The message with every field set; of a oneof, `choice` or else its first.
fn full(descriptor: &MessageDescriptor, choice: Option<&FieldDescriptor>) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        if let Some(oneof) = field.containing_oneof() {
            let chosen = choice.cloned().or_else(|| oneof.fields().next());
            if chosen.is_some_and(|chosen| chosen.number() != field.number()) {
                continue;
            }
        }
        let value = if field.is_list() {
            Value::List(vec![one(&field, "/1"), one(&field, "/2")])
        } else {
            one(&field, "")
        };
        message.set_field(&field, value);
    }
    message
}

/// The message once, or once for each choice of its oneof.
fn variants(descriptor: &MessageDescriptor) -> Vec<(String, DynamicMessage)> {
    assert!(descriptor.oneofs().count() <= 1, "one choice at a time");
    match descriptor.oneofs().next() {
        None => vec![(descriptor.name().to_owned(), full(descriptor, None))],
        Some(oneof) => oneof
            .fields()
            .map(|field| {
                let name = format!("{}, {}", descriptor.name(), field.name());
                (name, full(descriptor, Some(&field)))
            })
            .collect(),
    }
}

fn shown(field: &FieldDescriptor) -> String {
    let kind = match field.kind() {
        Kind::Message(message) => message.name().to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    let many = if field.is_list() { "*" } else { "" };
    format!("{} {}: {kind}{many}", field.number(), field.name())
}

#[test]
fn every_message_of_the_file_is_covered() {
    let in_file: BTreeSet<String> = descriptors().iter().map(|one| one.name().to_owned()).collect();
    let covered: BTreeSet<String> = MESSAGES.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(in_file, covered);
    assert_eq!(MESSAGES.len(), covered.len(), "each once");
}

#[test]
fn every_encoding_is_what_it_was() {
    let mut text = String::new();
    for descriptor in descriptors() {
        let fields: Vec<String> = descriptor.fields().map(|field| shown(&field)).collect();
        writeln!(text, "{} {{ {} }}", descriptor.name(), fields.join(", ")).unwrap();
        for (name, message) in variants(&descriptor) {
            writeln!(text, "{name} = {}\n", hex::encode(message.encode_to_vec())).unwrap();
        }
    }
    insta::assert_snapshot!("wire_v1", text);
}

#[test]
fn our_types_decode_every_field_and_encode_it_again_alike() {
    for descriptor in descriptors() {
        for (name, message) in variants(&descriptor) {
            let bytes = message.encode_to_vec();
            let again = through_our_type(descriptor.name(), &bytes).unwrap().unwrap();
            assert_eq!(hex::encode(again), hex::encode(bytes), "{name}");
        }
    }
}

#[test]
fn an_encoding_cut_anywhere_never_comes_back_whole() {
    for descriptor in descriptors() {
        for (name, message) in variants(&descriptor) {
            let bytes = message.encode_to_vec();
            for cut in 0..bytes.len() {
                if let Ok(again) = through_our_type(descriptor.name(), &bytes[..cut]).unwrap() {
                    assert_ne!(again, bytes, "{name} cut at {cut}");
                }
            }
        }
    }
}

#[test]
fn no_message_has_a_field_for_a_fragment_or_a_value() {
    for descriptor in descriptors() {
        for field in descriptor.fields() {
            let plain = matches!(
                field.name(),
                "fragment" | "value" | "data_key" | "share" | "seed" | "pin"
            );
            assert!(!plain, "{}.{}", descriptor.name(), field.name());
        }
    }
}
