//! A roster 0 that collects signatures: its form is checked from the start, so that nobody is asked to sign what would be
//! refused later; only when all have signed is it a [`Roster`], by the check that every client and node makes.

use bytes::Bytes;
use symbolon_client::Identity;
use symbolon_crypto::Hash;
use symbolon_crypto::provider::AwsLc;
use symbolon_wire::limits::ROSTER_BYTES_MAX;
use symbolon_wire::roster::{Roster, RosterError};
use symbolon_wire::statements::roster_signature;
use symbolon_wire::{Code, Message, v1};

use crate::failure::{Error, local};

/// A roster whose form is right and whose signatures may be missing.
#[derive(Debug)]
pub(crate) struct Draft {
    message: v1::Roster,
    body: v1::RosterBody,
    hash: Hash,
}

impl Draft {
    /// A draft without signatures.
    pub(crate) fn propose(body: &v1::RosterBody) -> Result<Self, Error> {
        let message = v1::Roster {
            body: body.encode_to_vec().into(),
            operators: Vec::new(),
            nodes: Vec::new(),
        };
        Self::from_message(message)
    }

    /// Reads a draft back. Signatures on it are kept, and checked at the end.
    pub(crate) fn parse(encoded: Bytes) -> Result<Self, Error> {
        if encoded.len() > ROSTER_BYTES_MAX {
            return Err(refused(&RosterError::TooLarge { bytes: encoded.len() }));
        }
        let message = v1::Roster::decode(encoded).map_err(|_| refused(&RosterError::NotCanonical))?;
        Self::from_message(message)
    }

    fn from_message(message: v1::Roster) -> Result<Self, Error> {
        let hash = Roster::check_body(message.body.clone()).map_err(|error| refused(&error))?;
        let body = v1::RosterBody::decode(message.body.clone()).map_err(|_| refused(&RosterError::NotCanonical))?;
        Ok(Self { message, body, hash })
    }

    /// What it says; nobody vouches for it before [`Draft::finish`].
    pub(crate) fn body(&self) -> &v1::RosterBody {
        &self.body
    }

    /// The hash of its body: what clients will pin.
    pub(crate) fn hash(&self) -> &Hash {
        &self.hash
    }

    /// Refuses whoever is none of its operators.
    pub(crate) fn names(&self, identity: &Identity) -> Result<(), Error> {
        let id = identity.principal();
        let named = self.body.operators.iter().any(|operator| {
            operator.id == id.bytes().as_slice() && operator.key == identity.spki() && operator.name == identity.name()
        });
        if !named {
            let names: Vec<&str> = self
                .body
                .operators
                .iter()
                .map(|operator| operator.name.as_str())
                .collect();
            return Err(Error::new(
                Code::BadSignature,
                format!("{} is no operator of this roster", identity.name()),
            )
            .because(format!("its operators are {}", names.join(", ")))
            .next("choose the operator's identity with --identity"));
        }
        Ok(())
    }

    /// Adds, or replaces, the signature of an operator that it names.
    pub(crate) fn sign(&mut self, identity: &Identity) -> Result<(), Error> {
        self.names(identity)?;
        let id = identity.principal();
        let signature = identity.sign(&roster_signature(&self.hash));
        let signature = signature.map_err(|error| local(format!("the identity: {error}")))?;
        self.message
            .operators
            .retain(|one| one.operator != id.bytes().as_slice());
        self.message.operators.push(v1::OperatorSignature {
            operator: Bytes::copy_from_slice(id.bytes()),
            signature: Bytes::copy_from_slice(&signature),
        });
        self.message.operators.sort_by(|a, b| a.operator.cmp(&b.operator));
        Ok(())
    }

    /// Who has not signed yet: names of operators, then nodes.
    pub(crate) fn missing(&self) -> Vec<String> {
        let operators = self.body.operators.iter();
        let operators =
            operators.filter(|operator| !self.message.operators.iter().any(|one| one.operator == operator.id));
        let nodes = self.body.nodes.iter();
        let nodes = nodes.filter(|node| !self.message.nodes.iter().any(|one| one.node == node.index));
        let names = operators.map(|operator| operator.name.clone());
        names.chain(nodes.map(|node| format!("node {}", node.index))).collect()
    }

    /// The encoded roster with the signatures collected so far.
    pub(crate) fn encode(&self) -> Bytes {
        self.message.encode_to_vec().into()
    }

    /// The genesis roster, once all have signed; names the first whose signature is missing or wrong.
    pub(crate) fn finish(&self) -> Result<Roster, Error> {
        Roster::genesis(self.encode(), None, &AwsLc).map_err(|error| refused(&error))
    }
}

fn refused(error: &RosterError) -> Error {
    let code = match error {
        RosterError::TooLarge { .. } => Code::TooLarge,
        RosterError::Unknown { .. } => Code::UnknownVersion,
        RosterError::BadSignature { .. } => Code::BadSignature,
        _ => Code::Malformed,
    };
    let told = Error::new(code, error.to_string());
    match code {
        Code::Malformed => told.next("symbolon init --help   (a roster that came as a file: have it sent again)"),
        _ => told,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use symbolon_crypto::sealing::SealingKeyPair;
    use symbolon_crypto::secret::Secret;

    fn identity(name: &str) -> Identity {
        Identity::generate(&format!("spiffe://acme/operator/{name}"), &mut rand::rng()).unwrap()
    }

    fn node(index: u32) -> v1::RosterNode {
        v1::RosterNode {
            index,
            region: format!("r{index}"),
            identity_key: Bytes::copy_from_slice(identity("node").spki()),
            sealing_key: sealing_key(),
            address: format!("127.0.0.1:{}", 7600 + index),
        }
    }

    /// An X-Wing public key of its own.
    fn sealing_key() -> Bytes {
        let seed = Secret::random(&mut rand::rng());
        SealingKeyPair::from_seed(&seed).public_key().to_bytes().to_vec().into()
    }

    fn body(operators: &[&Identity]) -> v1::RosterBody {
        let operator = |one: &&Identity| v1::Operator {
            id: Bytes::copy_from_slice(one.principal().bytes()),
            key: Bytes::copy_from_slice(one.spki()),
            name: one.name().to_owned(),
        };
        v1::RosterBody {
            protocol: symbolon_wire::PROTOCOL,
            cluster: vec![1; 16].into(),
            created_ms: 1,
            suite: 1,
            threshold: 2,
            operators: operators.iter().map(operator).collect(),
            operators_needed: 1,
            policy_signatures: 1,
            identity_signatures: 1,
            first_tenant: vec![2; 16].into(),
            nodes: (1..=3).map(node).collect(),
            ..v1::RosterBody::default()
        }
    }

    #[test]
    fn those_who_have_not_signed_are_named() {
        let (ada, bob) = (identity("ada"), identity("bob"));
        let mut draft = Draft::propose(&body(&[&ada, &bob])).unwrap();
        draft.sign(&bob).unwrap();
        let again = Draft::parse(draft.encode()).unwrap();
        assert_eq!(
            again.missing(),
            ["spiffe://acme/operator/ada", "node 1", "node 2", "node 3"]
        );
        assert_eq!(again.finish().unwrap_err().code, Code::BadSignature);
    }

    #[test]
    fn someone_who_is_no_operator_cannot_sign() {
        let (ada, eve) = (identity("ada"), identity("eve"));
        let mut draft = Draft::propose(&body(&[&ada])).unwrap();
        let error = draft.sign(&eve).unwrap_err();
        assert!(
            error.to_string().contains("operators are spiffe://acme/operator/ada"),
            "{error}"
        );
    }

    #[test]
    fn two_nodes_in_one_region_of_three_are_refused_before_anyone_signs() {
        let ada = identity("ada");
        let mut bad = body(&[&ada]);
        bad.nodes[1].region = "r1".to_owned();
        assert!(Draft::propose(&bad).unwrap_err().to_string().contains("r1"));
    }
}
