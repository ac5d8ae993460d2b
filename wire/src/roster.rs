//! The roster: who belongs to the cluster, signed (custody.md, "Roster, membership, epochs").
//!
//! A [`Roster`] can be made only by a check: form, sizes, order, placement and every signature that genesis needs.

use crate::command::{CommandError, fixed};
use crate::ids::{ClusterId, PrincipalId, TenantId};
use crate::limits::{OPERATORS_MAX, ROSTER_BYTES_MAX, TEXT_BYTES_MAX};
use crate::path::{BadPath, SpiffeId};
use crate::statements::{roster_hash, roster_signature};
use crate::v1;
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeMap;
use symbolon_crypto::Hash;
use symbolon_crypto::provider::Verify;
use symbolon_crypto::sealing::SealingPublicKey;
use symbolon_crypto::sign::VerifyingKey;

/// X-Wing public key, bytes.
pub const SEALING_KEY_BYTES: usize = 1216;

/// Why a roster is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// Longer than its limit.
    #[error("the roster has {bytes} bytes; at most {ROSTER_BYTES_MAX} are allowed")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Not protobuf, or not in canonical form.
    #[error("the roster is cut short, not protobuf, or not in canonical form")]
    NotCanonical,
    /// A protocol or suite that this build does not know.
    #[error(
        "the roster is of protocol {protocol}, suite {suite}; this build knows protocol {} and suite {}",
        crate::PROTOCOL,
        symbolon_crypto::limits::SUITE
    )]
    Unknown {
        /// Protocol version.
        protocol: u32,
        /// Cryptographic suite.
        suite: u32,
    },
    /// A field of the wrong length.
    #[error(transparent)]
    Field(#[from] CommandError),
    /// A key that does not parse.
    #[error("the key of {whose} is not a P-256 key")]
    BadKey {
        /// Operator or node.
        whose: String,
    },
    /// A node's sealing key is not an X-Wing public key.
    #[error("the sealing key of node {node} is not an X-Wing public key")]
    BadSealingKey {
        /// Its index.
        node: u16,
    },
    /// Two nodes with one key would be one custodian with two fragments.
    #[error("node {node} has the identity or sealing key of another node")]
    SharedKey {
        /// The later of the two.
        node: u16,
    },
    /// n is not 3, 5 or 7.
    #[error("the roster has {found} nodes; 3, 5 or 7 are possible")]
    BadSize {
        /// How many.
        found: usize,
    },
    /// t is not ⌊n/2⌋+1.
    #[error("the threshold is {found}; with these nodes it is {expected}")]
    BadThreshold {
        /// What it says.
        found: u32,
        /// What it must be.
        expected: u16,
    },
    /// Node indices must ascend from 1.
    #[error("node indices must ascend and start at 1 or above; {found} does not")]
    BadIndex {
        /// The index.
        found: u32,
    },
    /// Operators absent, too many, or the same twice.
    #[error("the operators are absent, too many, or one stands twice")]
    BadOperators,
    /// An operator's name is outside the grammar.
    #[error("the operator's name '{name}' is not a SPIFFE ID: {reason}")]
    BadOperatorName {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: BadPath,
    },
    /// A node without a region cannot be placed.
    #[error("node {node} has no region")]
    NoRegion {
        /// Its index.
        node: u16,
    },
    /// Region or address is longer than its limit.
    #[error("the {field} of node {node} has {bytes} bytes; at most {TEXT_BYTES_MAX} are allowed")]
    TextTooLong {
        /// Region or address.
        field: &'static str,
        /// The node.
        node: u16,
        /// Its length.
        bytes: usize,
    },
    /// m, or one of the other counts, is zero or larger than the number of operators.
    #[error("{count} operator signatures are asked for; there are {operators} operators, and zero is no rule")]
    BadCount {
        /// What is asked for.
        count: u32,
        /// How many operators there are.
        operators: usize,
    },
    /// Placement: a region holds t fragments, or losing it leaves fewer than t.
    #[error("region '{region}' holds {nodes} of {n} nodes: a region may hold at most {max}")]
    BadPlacement {
        /// The region.
        region: String,
        /// Its nodes.
        nodes: usize,
        /// All nodes.
        n: usize,
        /// The most that one may hold.
        max: usize,
    },
    /// Not genesis.
    #[error("this is roster {version}; a cluster starts from roster 0 without a predecessor")]
    NotGenesis {
        /// Its version.
        version: u64,
    },
    /// Not the pinned one.
    #[error("the roster's hash is {found}, but {expected} is pinned")]
    WrongHash {
        /// Computed, hex.
        found: String,
        /// Pinned, hex.
        expected: String,
    },
    /// A signature is missing or wrong.
    #[error("the signature of {whose} is missing or wrong")]
    BadSignature {
        /// Operator or node.
        whose: String,
    },
}

/// One operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Its principal id.
    pub id: PrincipalId,
    /// Its key.
    pub key: VerifyingKey,
    /// SPIFFE ID.
    pub name: String,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Roster index, also in Raft.
    pub index: u16,
    /// Where it stands.
    pub region: String,
    /// The key in its token.
    pub identity: VerifyingKey,
    /// X-Wing public key of this epoch, 1216 bytes.
    pub sealing_key: Bytes,
    /// Where to try first.
    pub address: String,
}

/// A verified roster.
#[derive(Debug, Clone)]
pub struct Roster {
    /// The encoded message, signatures included.
    pub encoded: Bytes,
    /// Hash of the body.
    pub hash: Hash,
    /// The cluster.
    pub cluster: ClusterId,
    /// Version, equal to the epoch.
    pub version: u64,
    /// When it was made, ms: where log time starts.
    pub created_ms: u64,
    /// t.
    pub threshold: u16,
    /// Its operators.
    pub operators: Vec<Operator>,
    /// m.
    pub operators_needed: u32,
    /// Signatures that a policy change needs.
    pub policy_signatures: u32,
    /// Signatures that an identity change needs.
    pub identity_signatures: u32,
    /// The tenant that exists from the start.
    pub first_tenant: TenantId,
    /// Its nodes in ascending index.
    pub nodes: Vec<Node>,
}

impl Roster {
    /// Parses and verifies a genesis roster: all operators and every node must have signed it.
    pub fn genesis(encoded: Bytes, pinned: Option<&Hash>, verify: &dyn Verify) -> Result<Self, RosterError> {
        let (message, roster) = decode_genesis(encoded)?;
        if let Some(pinned) = pinned
            && *pinned != roster.hash
        {
            return Err(RosterError::WrongHash {
                found: hex::encode(roster.hash),
                expected: hex::encode(pinned),
            });
        }
        roster.check_operators(&message, verify)?;
        roster.check_nodes(&message, verify)?;
        Ok(roster)
    }

    fn parse_body(bytes: Bytes, encoded: Bytes) -> Result<Self, RosterError> {
        let body = v1::RosterBody::decode(bytes.clone()).map_err(|_| RosterError::NotCanonical)?;
        if body.encode_to_vec() != bytes {
            return Err(RosterError::NotCanonical);
        }
        if body.protocol != crate::PROTOCOL || body.suite != u32::from(symbolon_crypto::limits::SUITE) {
            return Err(RosterError::Unknown {
                protocol: body.protocol,
                suite: body.suite,
            });
        }
        if body.version == 0 && !body.previous.is_empty() {
            return Err(RosterError::NotGenesis { version: body.version });
        }
        let nodes = parse_nodes(&body.nodes)?;
        let threshold = check_shape(&nodes, body.threshold)?;
        let operators = parse_operators(&body.operators)?;
        for count in [body.operators_needed, body.policy_signatures, body.identity_signatures] {
            if count == 0 || usize::try_from(count).map_or(true, |count| count > operators.len()) {
                return Err(RosterError::BadCount {
                    count,
                    operators: operators.len(),
                });
            }
        }
        Ok(Self {
            encoded,
            hash: roster_hash(&bytes),
            cluster: ClusterId(fixed("cluster", &body.cluster)?),
            version: body.version,
            created_ms: body.created_ms,
            threshold,
            operators,
            operators_needed: body.operators_needed,
            policy_signatures: body.policy_signatures,
            identity_signatures: body.identity_signatures,
            first_tenant: TenantId(fixed("first_tenant", &body.first_tenant)?),
            nodes,
        })
    }

    /// Checks the form of a body that nobody has signed yet: what `init` does before it asks for signatures.
    pub fn check_body(bytes: Bytes) -> Result<Hash, RosterError> {
        Self::parse_body(bytes, Bytes::new()).map(|roster| roster.hash)
    }

    fn check_operators(&self, message: &v1::Roster, verify: &dyn Verify) -> Result<(), RosterError> {
        let signed = roster_signature(&self.hash);
        for operator in &self.operators {
            let bad = || RosterError::BadSignature {
                whose: operator.name.clone(),
            };
            let found = message
                .operators
                .iter()
                .find(|s| s.operator == operator.id.0.as_slice())
                .ok_or_else(bad)?;
            check(verify, &operator.key, &signed, &found.signature).ok_or_else(bad)?;
        }
        Ok(())
    }

    fn check_nodes(&self, message: &v1::Roster, verify: &dyn Verify) -> Result<(), RosterError> {
        let signed = roster_signature(&self.hash);
        for node in &self.nodes {
            let bad = || RosterError::BadSignature {
                whose: format!("node {}", node.index),
            };
            let found = message
                .nodes
                .iter()
                .find(|s| s.node == u32::from(node.index))
                .ok_or_else(bad)?;
            check(verify, &node.identity, &signed, &found.signature).ok_or_else(bad)?;
        }
        Ok(())
    }

    /// Number of nodes.
    pub fn n(&self) -> u16 {
        // Checked to be 3, 5 or 7.
        self.nodes.len() as u16
    }

    /// The node with this index.
    pub fn node(&self, index: u16) -> Option<&Node> {
        self.nodes.iter().find(|node| node.index == index)
    }

    /// The place of this index among the nodes, from 0: where its fragment stands in a dealing.
    pub fn position(&self, index: u16) -> Option<usize> {
        self.nodes.iter().position(|node| node.index == index)
    }

    /// Node indices, ascending.
    pub fn indices(&self) -> Vec<u16> {
        self.nodes.iter().map(|node| node.index).collect()
    }
}

/// Decodes a genesis roster; sizes are checked before parsing.
fn decode_genesis(encoded: Bytes) -> Result<(v1::Roster, Roster), RosterError> {
    if encoded.len() > ROSTER_BYTES_MAX {
        return Err(RosterError::TooLarge { bytes: encoded.len() });
    }
    let message = v1::Roster::decode(encoded.clone()).map_err(|_| RosterError::NotCanonical)?;
    if message.encode_to_vec() != encoded {
        return Err(RosterError::NotCanonical);
    }
    let roster = Roster::parse_body(message.body.clone(), encoded)?;
    if roster.version != 0 {
        return Err(RosterError::NotGenesis {
            version: roster.version,
        });
    }
    Ok((message, roster))
}

/// A genesis roster that all operators have signed, and perhaps not yet all nodes: what a node looks at before it signs.
#[derive(Debug, Clone)]
pub struct RosterDraft {
    roster: Roster,
    message: v1::Roster,
}

impl RosterDraft {
    /// Parses a draft and verifies the operators' signatures.
    pub fn parse(encoded: Bytes, verify: &dyn Verify) -> Result<Self, RosterError> {
        let (message, roster) = decode_genesis(encoded)?;
        roster.check_operators(&message, verify)?;
        Ok(Self { roster, message })
    }

    /// Hash of the body: what is signed.
    pub fn hash(&self) -> Hash {
        self.roster.hash
    }

    /// What it says of a node.
    pub fn node(&self, index: u16) -> Option<&Node> {
        self.roster.node(index)
    }

    /// The same with a node's signature, in place of an earlier one of that node.
    pub fn with_node(mut self, signature: v1::NodeSignature) -> v1::Roster {
        self.message.nodes.retain(|other| other.node != signature.node);
        self.message.nodes.push(signature);
        self.message.nodes.sort_by_key(|signed| signed.node);
        self.message
    }
}

fn check(verify: &dyn Verify, key: &VerifyingKey, message: &[u8], signature: &[u8]) -> Option<()> {
    verify.p256(key, message, signature.try_into().ok()?).ok()
}

fn parse_operators(found: &[v1::Operator]) -> Result<Vec<Operator>, RosterError> {
    if found.is_empty() || found.len() > OPERATORS_MAX {
        return Err(RosterError::BadOperators);
    }
    let mut operators: Vec<Operator> = Vec::with_capacity(found.len());
    for one in found {
        let key = VerifyingKey::parse(&one.key).map_err(|_| RosterError::BadKey {
            whose: one.name.clone(),
        })?;
        let id = PrincipalId(fixed("operator", &one.id)?);
        let twice = operators
            .iter()
            .any(|other| other.id == id || other.key == key || other.name == one.name);
        if twice {
            return Err(RosterError::BadOperators);
        }
        SpiffeId::parse(&one.name).map_err(|reason| RosterError::BadOperatorName {
            name: one.name.clone(),
            reason,
        })?;
        operators.push(Operator {
            id,
            key,
            name: one.name.clone(),
        });
    }
    Ok(operators)
}

fn parse_nodes(found: &[v1::RosterNode]) -> Result<Vec<Node>, RosterError> {
    if !matches!(found.len(), 3 | 5 | 7) {
        return Err(RosterError::BadSize { found: found.len() });
    }
    let mut nodes: Vec<Node> = Vec::with_capacity(found.len());
    for one in found {
        let index = u16::try_from(one.index).map_err(|_| RosterError::BadIndex { found: one.index })?;
        if index == 0 || nodes.last().is_some_and(|last| last.index >= index) {
            return Err(RosterError::BadIndex { found: one.index });
        }
        let identity = VerifyingKey::parse(&one.identity_key).map_err(|_| RosterError::BadKey {
            whose: format!("node {index}"),
        })?;
        fixed::<SEALING_KEY_BYTES>("sealing_key", &one.sealing_key)?;
        SealingPublicKey::parse(&one.sealing_key).map_err(|_| RosterError::BadSealingKey { node: index })?;
        let shared = |other: &Node| other.identity == identity || other.sealing_key == one.sealing_key;
        if nodes.iter().any(shared) {
            return Err(RosterError::SharedKey { node: index });
        }
        if one.region.is_empty() {
            return Err(RosterError::NoRegion { node: index });
        }
        for (field, text) in [("region", &one.region), ("address", &one.address)] {
            if text.len() > TEXT_BYTES_MAX {
                return Err(RosterError::TextTooLong {
                    field,
                    node: index,
                    bytes: text.len(),
                });
            }
        }
        nodes.push(Node {
            index,
            region: one.region.clone(),
            identity,
            sealing_key: one.sealing_key.clone(),
            address: one.address.clone(),
        });
    }
    Ok(nodes)
}

/// Threshold and placement: no region holds t fragments, losing any region leaves t.
fn check_shape(nodes: &[Node], threshold: u32) -> Result<u16, RosterError> {
    let n = nodes.len();
    let t = n / 2 + 1;
    let expected = t as u16;
    if threshold != u32::from(expected) {
        return Err(RosterError::BadThreshold {
            found: threshold,
            expected,
        });
    }
    let mut regions: BTreeMap<&str, usize> = BTreeMap::new();
    for node in nodes {
        *regions.entry(&node.region).or_default() += 1;
    }
    let max = (n - t).min(t - 1);
    for (region, count) in regions {
        if count > max {
            return Err(RosterError::BadPlacement {
                region: region.to_owned(),
                nodes: count,
                n,
                max,
            });
        }
    }
    Ok(expected)
}
