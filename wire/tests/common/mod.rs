//! A roster made by the rules, which a test spoils in one place.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests; each file uses a part"
)]

use prost::bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use symbolon_crypto::sealing::SealingKeyPair;
use symbolon_crypto::secret::Secret;
use symbolon_crypto::sign::SigningKey;
use symbolon_wire::Message;
use symbolon_wire::statements::{roster_hash, roster_signature};
use symbolon_wire::v1;

pub fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

pub fn bytes(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// A varint of protobuf.
pub fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A field of protobuf: a number (wire type 0).
pub fn number_field(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

/// A field of protobuf: bytes, text or a message (wire type 2).
pub fn bytes_field(number: u64, value: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

/// An X-Wing public key.
pub fn sealing_key(seed: u8) -> Bytes {
    let seed = Secret::fill(|bytes: &mut [u8; 32]| bytes.fill(seed));
    bytes(&SealingKeyPair::from_seed(&seed).public_key().to_bytes())
}

/// A cluster before its first boot: keys, and a body that nobody has signed.
pub struct Founding {
    pub operators: Vec<SigningKey>,
    pub nodes: Vec<SigningKey>,
    pub body: v1::RosterBody,
}

impl Founding {
    /// `n` nodes in as many regions, two operators.
    pub fn of(n: usize) -> Self {
        let rng = &mut rng(n as u64);
        let operators: Vec<SigningKey> = (0..2).map(|_| SigningKey::generate(rng)).collect();
        let nodes: Vec<SigningKey> = (0..n).map(|_| SigningKey::generate(rng)).collect();
        let body = v1::RosterBody {
            protocol: 1,
            cluster: bytes(&[0xC1; 16]),
            version: 0,
            previous: Bytes::new(),
            created_ms: 1_800_000_000_000,
            suite: 1,
            threshold: n as u32 / 2 + 1,
            operators: (1..)
                .zip(&operators)
                .map(|(number, key)| v1::Operator {
                    id: bytes(&[number; 16]),
                    key: bytes(key.verifying_key().spki()),
                    name: format!("spiffe://acme/operator/{number}"),
                })
                .collect(),
            operators_needed: 2,
            policy_signatures: 2,
            identity_signatures: 1,
            first_tenant: bytes(&[0x71; 16]),
            nodes: (1..)
                .zip(&nodes)
                .map(|(index, key)| v1::RosterNode {
                    index,
                    region: format!("region-{index}"),
                    identity_key: bytes(key.verifying_key().spki()),
                    sealing_key: sealing_key(index as u8),
                    address: format!("10.0.0.{index}:7600"),
                })
                .collect(),
        };
        Self { operators, nodes, body }
    }

    pub fn body_bytes(&self) -> Bytes {
        self.body.encode_to_vec().into()
    }

    /// Signed by everyone.
    pub fn signed(&self) -> v1::Roster {
        self.signed_over(self.body_bytes())
    }

    /// The same over a body of the caller's.
    pub fn signed_over(&self, body: Bytes) -> v1::Roster {
        let statement = roster_signature(&roster_hash(&body));
        let operators = self.body.operators.iter().zip(&self.operators);
        let nodes = self.body.nodes.iter().zip(&self.nodes);
        v1::Roster {
            body,
            operators: operators
                .map(|(operator, key)| v1::OperatorSignature {
                    operator: operator.id.clone(),
                    signature: bytes(&key.sign(&statement)),
                })
                .collect(),
            nodes: nodes
                .map(|(node, key)| v1::NodeSignature {
                    node: node.index,
                    signature: bytes(&key.sign(&statement)),
                })
                .collect(),
        }
    }

    /// Places the nodes: one letter a region, in the order of the nodes.
    pub fn placed(mut self, regions: &str) -> Self {
        for (node, region) in self.body.nodes.iter_mut().zip(regions.chars()) {
            node.region = region.to_string();
        }
        self
    }
}

pub fn encoded(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}
