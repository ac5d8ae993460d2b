//! The first message on a connection, from the node: roster chain and boot statement (custody.md, "Node TLS", "Boot
//! keys"). What is checked here decides whether the other end is the node that the roster names.

use crate::error::{Error, Misdeed};
use bytes::Bytes;
use symbolon_crypto::Hash;
use symbolon_crypto::provider::{AwsLc, Verify};
use symbolon_crypto::sign::{Ed25519VerifyingKey, VerifyingKey};
use symbolon_wire::command::{CommandError, fixed};
use symbolon_wire::roster::{Roster, RosterError};
use symbolon_wire::statements::{Signer, roster_hash};
use symbolon_wire::{Message, PROTOCOL, v1};

/// Why a first message is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHello {
    /// Another protocol.
    #[error("it speaks protocol {found}; this build speaks {PROTOCOL}")]
    Protocol {
        /// What it says.
        found: u32,
    },
    /// No roster.
    #[error("it shows no roster")]
    NoRoster,
    /// The roster does not verify.
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// The genesis is another cluster's.
    #[error("it shows genesis {found}, not the one of this cluster")]
    OtherRoster {
        /// Its hash, hex.
        found: String,
    },
    /// A roster after genesis, which this build cannot verify.
    #[error("it shows {count} rosters after genesis, which this build cannot verify; a newer one is needed")]
    LaterRosters {
        /// How many.
        count: usize,
    },
    /// No boot statement, or one that does not hold.
    #[error(transparent)]
    Boot(#[from] BadBoot),
    /// The statement's TLS key is not the connection's.
    #[error("the TLS key of its boot statement is not that of the connection")]
    TlsKey,
    /// It has booted since: the statement is a replay, or the node an old copy.
    #[error("it shows boot {found}; boot {seen} was seen before")]
    OlderBoot {
        /// What it shows.
        found: u64,
        /// The highest seen.
        seen: u64,
    },
}

/// Why a boot statement is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadBoot {
    /// There is none.
    #[error("the boot statement is missing")]
    Missing,
    /// Another node's.
    #[error("the boot statement is that of node {found}")]
    OtherNode {
        /// Whose it says it is.
        found: u32,
    },
    /// Made under another roster.
    #[error("the boot statement is of another roster")]
    OtherRoster,
    /// A field of the wrong length.
    #[error(transparent)]
    Field(#[from] CommandError),
    /// A key that does not parse.
    #[error("the {which} key of the boot statement does not parse")]
    Key {
        /// "signing", "TLS" or "checkpoint".
        which: &'static str,
    },
    /// Not signed by the identity key that the roster names.
    #[error("the boot statement is not signed by the identity key that the roster names")]
    Signature,
    /// The feature level is not signed by the boot's signing key.
    #[error("the feature level is not signed by the boot's signing key")]
    FeatureSignature,
}

/// The keys of one boot of a node. Only [`Boot::verify`] makes one.
#[derive(Debug, Clone)]
pub struct Boot {
    /// Cluster, node and boot counter: who signs.
    pub signer: Signer,
    /// Signs replies and heads.
    pub signing_key: VerifyingKey,
    /// Of its connections.
    pub tls_key: VerifyingKey,
    /// Signs checkpoints.
    pub checkpoint_key: Ed25519VerifyingKey,
    /// The statement itself, encoded: what shows it to others.
    pub statement: Bytes,
}

impl Boot {
    /// Checks that `statement` is one of `node`, made under `roster` and signed by its identity key.
    ///
    /// # Errors
    /// [`BadBoot`], by defect.
    pub fn verify(roster: &Roster, node: u16, statement: &v1::BootKeys) -> Result<Self, BadBoot> {
        let other = BadBoot::OtherNode { found: statement.node };
        let member = roster.node(node).ok_or_else(|| other.clone())?;
        if statement.node != u32::from(node) {
            return Err(other);
        }
        if statement.roster_hash != roster.hash.as_slice() {
            return Err(BadBoot::OtherRoster);
        }
        let signing_key = VerifyingKey::parse(&statement.signing_key).map_err(|_| BadBoot::Key { which: "signing" })?;
        let tls_key = VerifyingKey::parse(&statement.tls_key).map_err(|_| BadBoot::Key { which: "TLS" })?;
        let checkpoint_key = Ed25519VerifyingKey::from_bytes(&fixed("checkpoint_key", &statement.checkpoint_key)?)
            .map_err(|_| BadBoot::Key { which: "checkpoint" })?;
        let signer = Signer {
            cluster: roster.cluster,
            node,
            boot_counter: statement.boot_counter,
        };
        let signed = signer.boot(
            &roster.hash,
            &statement.signing_key,
            &statement.tls_key,
            &statement.checkpoint_key,
        );
        AwsLc
            .p256(&member.identity, &signed, &fixed("signature", &statement.signature)?)
            .map_err(|_| BadBoot::Signature)?;
        let feature = signer.feature(statement.feature_level);
        AwsLc
            .p256(
                &signing_key,
                &feature,
                &fixed("feature_signature", &statement.feature_signature)?,
            )
            .map_err(|_| BadBoot::FeatureSignature)?;
        Ok(Self {
            signer,
            signing_key,
            tls_key,
            checkpoint_key,
            statement: statement.encode_to_vec().into(),
        })
    }
}

/// The genesis roster that a first message shows, verified from its pinned hash.
///
/// # Errors
/// [`BadHello`].
pub(crate) fn pinned_roster(hello: &v1::Hello, pinned: &Hash) -> Result<Roster, BadHello> {
    let (genesis, _) = rosters(hello)?;
    let encoded = Bytes::from(genesis.encode_to_vec());
    Ok(Roster::genesis(encoded, Some(pinned), &AwsLc)?)
}

/// Checks a first message from `node`, whose connection has the key `tls_key`.
///
/// # Errors
/// [`BadHello`].
pub(crate) fn verify(
    hello: &v1::Hello,
    roster: &Roster,
    node: u16,
    tls_key: &VerifyingKey,
    seen: u64,
) -> Result<Boot, BadHello> {
    let (genesis, later) = rosters(hello)?;
    let found = roster_hash(&genesis.body);
    if found != roster.hash {
        return Err(BadHello::OtherRoster {
            found: hex::encode(found),
        });
    }
    if later > 0 {
        return Err(BadHello::LaterRosters { count: later });
    }
    let boot = Boot::verify(roster, node, hello.boot.as_ref().ok_or(BadBoot::Missing)?)?;
    if boot.tls_key != *tls_key {
        return Err(BadHello::TlsKey);
    }
    let older = boot.signer.boot_counter < seen;
    #[cfg(feature = "sabotage")]
    let older = older && !symbolon_sabotage::Bug::OlderBootBelieved.on();
    if older {
        return Err(BadHello::OlderBoot {
            found: boot.signer.boot_counter,
            seen,
        });
    }
    Ok(boot)
}

fn rosters(hello: &v1::Hello) -> Result<(&v1::Roster, usize), BadHello> {
    if hello.protocol != PROTOCOL {
        return Err(BadHello::Protocol { found: hello.protocol });
    }
    let (genesis, later) = hello.rosters.split_first().ok_or(BadHello::NoRoster)?;
    Ok((genesis, later.len()))
}

/// The error that a caller sees.
pub(crate) fn refused(node: u16, why: &BadHello) -> Error {
    Error::at_fault(node, Misdeed::NotTheNode).because(why.to_string())
}
