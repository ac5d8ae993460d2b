//! What arrives and is not whole yet, in bounded memory: each kind of sender has a budget of bytes, and what exceeds it
//! is refused, not kept.

use bytes::Bytes;
use quinn::RecvStream;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use symbolon_wire::limits::PEER_FRAME_BYTES_MAX;
use symbolon_wire::roster::Roster;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of requests by keys that nobody has registered.
const STRANGERS_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of requests by registered keys.
const CLIENTS_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of messages by one other node.
const PEER_BYTES: usize = 8 * PEER_FRAME_BYTES_MAX;
/// Connections of keys that nobody has registered.
const STRANGERS_MAX: u64 = 1_024;
/// A request arrives whole within this time.
const REQUEST: Duration = Duration::from_secs(10);

/// The budgets.
pub(crate) struct Intake {
    strangers: Arc<Semaphore>,
    clients: Arc<Semaphore>,
    peers: BTreeMap<u16, Arc<Semaphore>>,
    connected_strangers: Arc<AtomicU64>,
}

/// Counts a stranger's connection while it lasts.
pub(crate) struct Stranger(Arc<AtomicU64>);

impl Drop for Stranger {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A message that has arrived whole.
pub(crate) struct Arrived {
    pub(crate) bytes: Bytes,
    /// Its part of the budget: kept while the message is worked on.
    pub(crate) held: Option<OwnedSemaphorePermit>,
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
            connected_strangers: Arc::default(),
        }
    }

    /// Lets one more stranger in, if there is room.
    pub(crate) fn stranger(&self) -> Option<Stranger> {
        let counted = Stranger(Arc::clone(&self.connected_strangers));
        (counted.0.fetch_add(1, Ordering::Relaxed) < STRANGERS_MAX).then_some(counted)
    }

    /// The budget of a client's connection.
    pub(crate) fn of_client(&self, known: bool) -> &Arc<Semaphore> {
        if known { &self.clients } else { &self.strangers }
    }

    /// The budget of another node.
    pub(crate) fn of_peer(&self, node: u16) -> Option<&Arc<Semaphore>> {
        self.peers.get(&node)
    }
}

/// Reads a stream to its end.
pub(crate) async fn whole(
    receive: &mut RecvStream,
    bytes_max: usize,
    budget: &Arc<Semaphore>,
) -> Result<Arrived, NotArrived> {
    let reading = tokio::time::timeout(REQUEST, read(receive, bytes_max, budget));
    reading.await.unwrap_or(Err(NotArrived::Late))
}

async fn read(receive: &mut RecvStream, bytes_max: usize, budget: &Arc<Semaphore>) -> Result<Arrived, NotArrived> {
    let (mut bytes, mut held) = (Vec::new(), None::<OwnedSemaphorePermit>);
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
        let permits = u32::try_from(length).map_err(|_| NotArrived::TooLarge)?;
        let permit = Arc::clone(budget).try_acquire_many_owned(permits);
        let permit = permit.map_err(|_| NotArrived::Full)?;
        match &mut held {
            Some(held) => held.merge(permit),
            None => held = Some(permit),
        }
        bytes.extend_from_slice(&chunk.bytes);
    }
    Ok(Arrived {
        bytes: bytes.into(),
        held,
    })
}
