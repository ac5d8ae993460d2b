//! What all parts of one run share: the roster, the network, the history, who is who, and who lies.

use crate::clock::Epoch;
use crate::history::Recorder;
use crate::net::Net;
use std::collections::BTreeMap;
use std::sync::Arc;
use symbolon_consensus::malice::Lies;
use symbolon_crypto::Hash;
use symbolon_crypto::dealing::{LagrangeTable, Sharing};
use symbolon_crypto::provider::{AwsLc, Remembering};
use symbolon_custody::malice::Lying;
use symbolon_node::vouch::Boots;
use symbolon_wire::ids::PrincipalId;
use symbolon_wire::roster::Roster;

/// A malicious node.
#[derive(Clone)]
pub(crate) struct Liar {
    pub(crate) node: u16,
    /// What it tells the others as their leader.
    pub(crate) lies: Lies,
    /// It signs no heads.
    pub(crate) silent: bool,
    /// It shows each of the others another boot, and signs for each the history that this one has.
    pub(crate) two_faced: bool,
    /// It lets no command pass that others hand to it.
    pub(crate) censors: bool,
    /// What it serves to clients in place of what it should.
    pub(crate) serving: Option<Arc<Lying>>,
}

/// One run's surroundings.
pub(crate) struct Site {
    pub(crate) seed: u64,
    pub(crate) roster: Arc<Roster>,
    pub(crate) sharing: Sharing,
    pub(crate) lagrange: LagrangeTable,
    /// Checks signatures and encrypts. Signing is done by the portable keys, whose signatures are deterministic.
    pub(crate) provider: Arc<Remembering<AwsLc>>,
    pub(crate) epoch: Epoch,
    pub(crate) net: Net,
    pub(crate) recorder: Recorder,
    /// What clients have seen of the nodes' boots.
    pub(crate) hellos: Boots,
    /// Agents by client key and by id.
    pub(crate) agents: BTreeMap<Hash, u16>,
    pub(crate) principals: BTreeMap<PrincipalId, u16>,
    pub(crate) liar: Option<Liar>,
}

impl Site {
    /// The other nodes.
    pub(crate) fn others(&self, node: u16) -> Vec<u16> {
        let nodes = self.roster.nodes.iter().map(|other| other.index);
        nodes.filter(|other| *other != node).collect()
    }

    /// The malicious node, if this one is it.
    pub(crate) fn liar(&self, node: u16) -> Option<&Liar> {
        self.liar.as_ref().filter(|liar| liar.node == node)
    }

    /// All nodes.
    pub(crate) fn nodes(&self) -> Vec<u16> {
        self.roster.nodes.iter().map(|node| node.index).collect()
    }
}
