//! Sealing sessions: one X-Wing exchange with every node serves up to 4,096 writes within an hour (custody.md, "One
//! write"). Shared secrets live here, in memory, and are wiped with the session.
//!
//! The first write carries its session inside. Others that start meanwhile wait for it: a session that the cluster does
//! not know yet would only get them refused.

use crate::client::Inner;
use crate::error::Error;
use crate::limits::SESSION_USED_WITHIN;
use std::sync::Arc;
use std::time::Instant;
use symbolon_crypto::limits::SESSION_DEALINGS_MAX;
use symbolon_crypto::sealing::{SealingPublicKey, SealingSession, SessionScope};
use symbolon_wire::Code;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The session in use.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Arc<Mutex<Option<Current>>>);

#[derive(Debug)]
struct Current {
    session: Arc<SealingSession>,
    made: Instant,
    dealings: u32,
}

/// A session for one write.
#[derive(Debug)]
pub(crate) enum Lease {
    /// The cluster knows it.
    Open(Arc<SealingSession>),
    /// This write must carry it.
    First(Opening),
}

/// A session that no write has carried yet. While it lives, other writes wait; dropped, it never was.
#[derive(Debug)]
pub(crate) struct Opening {
    session: Arc<SealingSession>,
    made: Instant,
    slot: OwnedMutexGuard<Option<Current>>,
}

impl Opening {
    /// The write that carried it was applied: others may use it.
    pub(crate) fn opened(mut self) {
        *self.slot = Some(Current {
            session: self.session.clone(),
            made: self.made,
            dealings: 1,
        });
    }
}

impl Lease {
    pub(crate) fn session(&self) -> &Arc<SealingSession> {
        match self {
            Self::Open(session) => session,
            Self::First(opening) => &opening.session,
        }
    }
}

impl Sessions {
    /// A session with room for one more dealing.
    pub(crate) async fn lease(&self, client: &Inner) -> Result<Lease, Error> {
        let mut slot = self.0.clone().lock_owned().await;
        if let Some(current) = slot.as_mut()
            && current.dealings < SESSION_DEALINGS_MAX
            && current.made.elapsed() < SESSION_USED_WITHIN
        {
            current.dealings += 1;
            return Ok(Lease::Open(current.session.clone()));
        }
        *slot = None;
        let made = Instant::now();
        let session = Arc::new(create(client)?);
        Ok(Lease::First(Opening { session, made, slot }))
    }

    /// The cluster refused this session: it is not used again.
    pub(crate) async fn discard(&self, refused: &SealingSession) {
        let mut slot = self.0.lock().await;
        if slot
            .as_ref()
            .is_some_and(|current| current.session.id() == refused.id())
        {
            *slot = None;
        }
    }
}

fn create(client: &Inner) -> Result<SealingSession, Error> {
    let (roster, identity) = (&client.net.roster, &client.net.identity);
    let scope = SessionScope {
        cluster: *roster.cluster.bytes(),
        dealer: *identity.principal().bytes(),
        epoch: roster.version,
        roster_hash: roster.hash,
    };
    let nodes: Vec<(u16, &SealingPublicKey)> = client.sealing_keys.iter().map(|(index, key)| (*index, key)).collect();
    SealingSession::create(&mut rand::rng(), identity.hedge(), scope, &nodes)
        .map_err(|error| Error::new(Code::Internal, error.to_string()))
}
