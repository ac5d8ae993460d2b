//! What arrives and is not whole yet, and large answers that are not taken yet, in bounded memory: each kind of sender has
//! a budget of bytes, and what exceeds it is refused, or waits where it has cost nothing so far.

use bytes::Bytes;
use quinn::RecvStream;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use symbolon_wire::limits::PEER_FRAME_BYTES_MAX;
use symbolon_wire::roster::Roster;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of requests by keys that nobody has registered.
const STRANGERS_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of requests by registered keys.
const CLIENTS_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of requests on one connection of a registered key: 14 writes of the largest value, so that one client cannot
/// use up what is for all.
const CLIENT_BYTES: usize = 16 * 1024 * 1024;
/// Replies with longer ciphertexts count as large.
const LARGE_FROM: usize = 128 * 1024;
/// Bytes of large replies on one connection, from the decision until the client has taken them.
const LARGE_CLIENT_BYTES: usize = 8 * 1024 * 1024;
/// The same for all connections together.
const LARGE_BYTES: usize = 64 * 1024 * 1024;
/// A read of a large value waits at most this long for room.
const LARGE_WAIT: Duration = Duration::from_secs(5);
/// Bytes of messages by one other node.
const PEER_BYTES: usize = 8 * PEER_FRAME_BYTES_MAX;
/// A request arrives whole within this time.
const REQUEST: Duration = Duration::from_secs(10);

/// The budgets.
pub(crate) struct Intake {
    strangers: Arc<Semaphore>,
    clients: Arc<Semaphore>,
    peers: BTreeMap<u16, Arc<Semaphore>>,
    large: Arc<Semaphore>,
}

/// A message that has arrived whole.
pub(crate) struct Arrived {
    pub(crate) bytes: Bytes,
    /// Its part of the budget: kept while the message is worked on.
    pub(crate) held: Vec<OwnedSemaphorePermit>,
}

/// Why nothing arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotArrived {
    /// Larger than any message.
    TooLarge,
    /// Not whole in time.
    Late,
    /// The budget is used up.
    Full,
    /// The sender went away.
    Gone,
}

impl Intake {
    pub(crate) fn new(roster: &Roster) -> Self {
        let budget = |bytes| Arc::new(Semaphore::new(bytes));
        Self {
            strangers: budget(STRANGERS_BYTES),
            clients: budget(CLIENTS_BYTES),
            peers: roster
                .nodes
                .iter()
                .map(|node| (node.index, budget(PEER_BYTES)))
                .collect(),
            large: budget(LARGE_BYTES),
        }
    }

    /// The budgets of a registered client's connection.
    pub(crate) fn of_client(&self, room: &Room) -> Budgets {
        Budgets(vec![Arc::clone(&room.requests), Arc::clone(&self.clients)])
    }

    /// The budget of all strangers.
    pub(crate) fn of_strangers(&self) -> Budgets {
        Budgets(vec![Arc::clone(&self.strangers)])
    }

    /// The budget of another node.
    pub(crate) fn of_peer(&self, node: u16) -> Option<Budgets> {
        self.peers.get(&node).map(|budget| Budgets(vec![Arc::clone(budget)]))
    }

    /// Room for a reply with a ciphertext of so many bytes. Waits for other replies of this connection, and of all, to be
    /// taken.
    pub(crate) async fn room_for_reply(&self, room: &Room, bytes: usize) -> Result<LargeReply, NotArrived> {
        let permits = u32::try_from(bytes).map_err(|_| NotArrived::TooLarge)?;
        // The connection's first: who waits for that holds nothing of what is for all.
        let waiting = async {
            let own = Arc::clone(&room.replies).acquire_many_owned(permits).await.ok()?;
            let of_all = Arc::clone(&self.large).acquire_many_owned(permits).await.ok()?;
            Some(LargeReply {
                bytes,
                _held: [own, of_all],
            })
        };
        match tokio::time::timeout(LARGE_WAIT, waiting).await {
            Ok(held) => held.ok_or(NotArrived::Gone),
            Err(_) => Err(NotArrived::Full),
        }
    }
}

/// What one client connection may occupy.
#[derive(Debug)]
pub(crate) struct Room {
    requests: Arc<Semaphore>,
    replies: Arc<Semaphore>,
}

impl Room {
    pub(crate) fn new() -> Self {
        Self {
            requests: Arc::new(Semaphore::new(CLIENT_BYTES)),
            replies: Arc::new(Semaphore::new(LARGE_CLIENT_BYTES)),
        }
    }
}

/// Whether a reply with a ciphertext of so many bytes needs room of its own; shorter ones are bounded by the number of
/// streams.
pub(crate) fn is_large(bytes: usize) -> bool {
    bytes > LARGE_FROM
}

/// Room that one large reply takes until it is dropped.
#[derive(Debug)]
pub(crate) struct LargeReply {
    /// For a ciphertext of so many bytes.
    pub(crate) bytes: usize,
    _held: [OwnedSemaphorePermit; 2],
}

/// What the bytes of a message count against, all of them.
#[derive(Debug, Clone)]
pub(crate) struct Budgets(Vec<Arc<Semaphore>>);

impl Budgets {
    /// Adds so many bytes to what a message holds.
    fn take(&self, bytes: usize, held: &mut Vec<OwnedSemaphorePermit>) -> Result<(), NotArrived> {
        let permits = u32::try_from(bytes).map_err(|_| NotArrived::TooLarge)?;
        for (place, budget) in self.0.iter().enumerate() {
            let permit = Arc::clone(budget).try_acquire_many_owned(permits);
            let permit = permit.map_err(|_| NotArrived::Full)?;
            match held.get_mut(place) {
                Some(held) => held.merge(permit),
                None => held.push(permit),
            }
        }
        Ok(())
    }
}

/// Reads a stream to its end.
pub(crate) async fn whole(
    receive: &mut RecvStream,
    bytes_max: usize,
    budgets: &Budgets,
) -> Result<Arrived, NotArrived> {
    let reading = tokio::time::timeout(REQUEST, read(receive, bytes_max, budgets));
    reading.await.unwrap_or(Err(NotArrived::Late))
}

async fn read(receive: &mut RecvStream, bytes_max: usize, budgets: &Budgets) -> Result<Arrived, NotArrived> {
    let (mut bytes, mut held) = (Vec::new(), Vec::new());
    // Copied, because a chunk of one byte may keep a whole batch of datagrams alive.
    while let Some(chunk) = receive
        .read_chunk(bytes_max + 1, true)
        .await
        .map_err(|_| NotArrived::Gone)?
    {
        let length = chunk.bytes.len();
        if bytes.len() + length > bytes_max {
            return Err(NotArrived::TooLarge);
        }
        budgets.take(length, &mut held)?;
        bytes.extend_from_slice(&chunk.bytes);
    }
    Ok(Arrived {
        bytes: bytes.into(),
        held,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use symbolon_crypto::limits::CIPHERTEXT_BYTES_MAX;
    use symbolon_wire::limits::REQUEST_BYTES_MAX;

    // A reply of the largest value fits, on one connection and on all.
    const _: () = assert!(CIPHERTEXT_BYTES_MAX < LARGE_CLIENT_BYTES && LARGE_CLIENT_BYTES < LARGE_BYTES);
    // So does a request, and what strangers may send at once is what it was when values had 64 KiB.
    const _: () = assert!(REQUEST_BYTES_MAX < CLIENT_BYTES && STRANGERS_BYTES == 8 * 1024 * 1024);

    fn intake() -> Intake {
        Intake {
            strangers: Arc::new(Semaphore::new(1)),
            clients: Arc::new(Semaphore::new(CLIENTS_BYTES)),
            peers: BTreeMap::new(),
            large: Arc::new(Semaphore::new(LARGE_BYTES)),
        }
    }

    /// How many bytes of requests that never end a connection may send, in chunks as they come from the network.
    fn endless(budgets: &Budgets, held: &mut Vec<OwnedSemaphorePermit>) -> usize {
        const CHUNK: usize = 1024;
        let mut sent = 0;
        while budgets.take(CHUNK, held).is_ok() {
            sent += CHUNK;
            assert!(sent <= 2 * CLIENTS_BYTES, "a connection may send any number of bytes");
        }
        sent
    }

    #[test]
    fn requests_that_never_end_bound_their_connection_alone() {
        let (intake, slow, other) = (intake(), Room::new(), Room::new());
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let budgets = intake.of_client(&slow);
        assert_eq!(endless(&budgets, &mut first), CLIENT_BYTES);
        assert_eq!(
            budgets.take(1, &mut second),
            Err(NotArrived::Full),
            "in another request"
        );
        assert_eq!(
            intake.of_client(&other).take(REQUEST_BYTES_MAX, &mut Vec::new()),
            Ok(())
        );
        drop(first);
        assert_eq!(budgets.take(REQUEST_BYTES_MAX, &mut second), Ok(()), "room comes back");
    }

    #[test]
    fn requests_that_never_end_are_bounded_for_all_connections_together() {
        let intake = intake();
        let rooms: Vec<Room> = (0..100).map(|_| Room::new()).collect();
        let mut held: Vec<_> = rooms.iter().map(|_| Vec::new()).collect();
        let sent = rooms
            .iter()
            .zip(&mut held)
            .map(|(room, held)| endless(&intake.of_client(room), held));
        assert_eq!(sent.sum::<usize>(), CLIENTS_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn large_replies_that_nobody_takes_bound_their_connection_alone() {
        let (intake, slow, other) = (intake(), Room::new(), Room::new());
        let mut held = Vec::new();
        let refused = loop {
            match intake.room_for_reply(&slow, CIPHERTEXT_BYTES_MAX).await {
                Ok(reply) => held.push(reply),
                Err(refused) => break refused,
            }
            assert!(held.len() < 100, "a connection may hold any number of large replies");
        };
        assert_eq!(refused, NotArrived::Full);
        assert_eq!(held.len(), LARGE_CLIENT_BYTES / CIPHERTEXT_BYTES_MAX);
        assert!(intake.room_for_reply(&other, CIPHERTEXT_BYTES_MAX).await.is_ok());
        assert!(!is_large(LARGE_FROM) && is_large(CIPHERTEXT_BYTES_MAX));
        held.pop();
        assert!(intake.room_for_reply(&slow, CIPHERTEXT_BYTES_MAX).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn large_replies_of_all_connections_together_are_bounded() {
        let intake = intake();
        let rooms: Vec<Room> = (0..100).map(|_| Room::new()).collect();
        let mut held = Vec::new();
        for room in &rooms {
            match intake.room_for_reply(room, CIPHERTEXT_BYTES_MAX).await {
                Ok(reply) => held.push(reply),
                Err(refused) => assert_eq!(refused, NotArrived::Full),
            }
        }
        assert_eq!(held.len(), LARGE_BYTES / CIPHERTEXT_BYTES_MAX);
    }
}
