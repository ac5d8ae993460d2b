//! How many connections there may be, of whom. What one may hold in memory is its windows (`server`) and its part of the
//! budgets (`intake`); with the numbers here that is a bound on what all hold together.

use crate::crowd::{Crowd, Place, Who};
use quinn::Connection;
use std::net::IpAddr;
use symbolon_crypto::Hash;
use tokio::sync::oneshot;

/// Unfinished handshakes.
const HANDSHAKES_MAX: usize = 512;
/// Connections of keys that nobody has registered.
const STRANGERS_MAX: usize = 1_024;
/// Connections of registered keys.
const CLIENTS_MAX: usize = 20_000;
/// Connections of one registered key: one for each of its running commands.
const PER_KEY_MAX: usize = 64;
/// Connections of one other node: it needs one, and more while those that broke have not been noticed.
const PER_NODE_MAX: usize = 8;
/// Connections in all that are neither a registered key's nor a node's: strangers, handshakes, and those that were closed
/// and are remembered for three probe timeouts (RFC 9000, 10.2). Past it new ones wait: their senders try again.
const UNKNOWN_MAX: usize = 4_096;

/// Who is connected.
pub(crate) struct Guests {
    handshakes: Crowd<oneshot::Sender<()>>,
    strangers: Crowd<Connection>,
    clients: Crowd<Connection>,
    peers: Crowd<Connection>,
}

impl Guests {
    /// For a cluster of so many nodes.
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            handshakes: Crowd::new(HANDSHAKES_MAX, HANDSHAKES_MAX),
            strangers: Crowd::new(STRANGERS_MAX, STRANGERS_MAX),
            clients: Crowd::new(CLIENTS_MAX, PER_KEY_MAX),
            peers: peers(nodes),
        }
    }

    /// Whether another connection may begin where so many are open.
    pub(crate) fn has_room(&self, open: usize) -> bool {
        open < self.clients.len() + self.peers.len() + UNKNOWN_MAX
    }

    /// One more handshake, and what completes when another needs its place.
    pub(crate) fn handshake(&self, from: IpAddr) -> (Place<oneshot::Sender<()>>, oneshot::Receiver<()>) {
        let (held, wanted) = oneshot::channel();
        // Dropping the other's half tells it.
        let (place, _displaced) = self.handshakes.enter(Who::at(from), held);
        (place, wanted)
    }

    /// One more connection of a key that nobody has registered.
    pub(crate) fn stranger(&self, from: IpAddr, connection: &Connection) -> Place<Connection> {
        let entered = self.strangers.enter(Who::at(from), connection.clone());
        seated(entered, b"too many connections by keys that nobody has registered")
    }

    /// One more connection of a registered key.
    pub(crate) fn client(&self, key: Hash, connection: &Connection) -> Place<Connection> {
        let entered = self.clients.enter(Who::Key(key), connection.clone());
        seated(entered, b"too many connections by this key")
    }

    /// One more connection of another node. The oldest may be one of a boot that is gone.
    pub(crate) fn peer(&self, node: u16, connection: &Connection) -> Place<Connection> {
        let entered = self.peers.enter(Who::Node(node), connection.clone());
        seated(entered, b"too many connections by this node")
    }
}

fn peers<T>(nodes: usize) -> Crowd<T> {
    Crowd::new(PER_NODE_MAX * nodes.max(1), PER_NODE_MAX)
}

fn seated((place, displaced): (Place<Connection>, Option<Connection>), why: &[u8]) -> Place<Connection> {
    if let Some(displaced) = displaced {
        displaced.close(4_u32.into(), why);
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_does_not_hold_more_connections_than_it_can_need() {
        let peers = peers(3);
        let (_other, _) = peers.enter(Who::Node(2), 0);
        let mut places = Vec::new();
        for id in 1..=1_000_usize {
            let (place, displaced) = peers.enter(Who::Node(1), id);
            places.push(place);
            let oldest = id.checked_sub(PER_NODE_MAX).filter(|oldest| *oldest > 0);
            assert_eq!(displaced, oldest, "the oldest of that node goes, and nobody else");
        }
        assert_eq!(peers.len(), PER_NODE_MAX + 1);
    }
}
