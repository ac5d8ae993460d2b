//! Clients: software agents that write and read, and the operators who change what they may. They do what
//! `symbolon-client` does, over the simulated network.

mod alter;
mod operate;
mod put;
mod read;
mod submit;

pub(crate) use operate::{Operated, Operator};
pub(crate) use put::{Level, OpCounter};
pub(crate) use submit::Submission;

use crate::dice::Dice;
use crate::limits::COMMAND_LIFE_MS;
use crate::net::{Asked, NoAnswer, Place};
use crate::site::Site;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use symbolon_crypto::Hash;
use symbolon_crypto::hedge::Hedge;
use symbolon_crypto::sealing::SealingSession;
use symbolon_crypto::sign::SigningKey;
use symbolon_wire::command::{encode_body, signing_bytes};
use symbolon_wire::ids::PrincipalId;
use symbolon_wire::reply::{ReleasedFragment, decode_response};
use symbolon_wire::v1::{self, command_body::Payload, response};

/// Who an agent is: drawn before the run, because the others must know it.
pub(crate) struct Identity {
    /// Counts agents from 1.
    pub(crate) agent: u16,
    pub(crate) id: PrincipalId,
    pub(crate) key: SigningKey,
}

impl Identity {
    pub(crate) fn new(seed: u64, agent: u16) -> Self {
        let mut dice = Dice::new(seed, &format!("identity {agent}"));
        Self {
            agent,
            id: PrincipalId(dice.bytes()),
            key: SigningKey::generate(dice.rng()),
        }
    }

    pub(crate) fn fingerprint(&self) -> Hash {
        self.key.verifying_key().fingerprint()
    }
}

/// One agent.
pub(crate) struct Agent {
    pub(crate) site: Arc<Site>,
    pub(crate) identity: Identity,
    pub(crate) dice: Dice,
    hedge: Hedge,
    /// Its sealing session, once the log has it.
    session: Option<Arc<SealingSession>>,
    ops: OpCounter,
}

/// What a node answered: a message and perhaps a fragment.
type Response = (response::Result, Option<ReleasedFragment>);

impl Agent {
    pub(crate) fn new(site: Arc<Site>, identity: Identity, ops: OpCounter) -> Self {
        let mut dice = Dice::new(site.seed, &format!("agent {}", identity.agent));
        let hedge = Hedge::new(dice.secret());
        Self {
            site,
            identity,
            dice,
            hedge,
            session: None,
            ops,
        }
    }

    /// Asks in this agent's name.
    pub(crate) fn sender(&self) -> Sender {
        Sender {
            site: Arc::clone(&self.site),
            client: self.identity.agent,
            key: self.identity.fingerprint(),
        }
    }

    /// A command of this agent.
    fn command(&self, nonce: &[u8; 32], payload: Payload) -> v1::Command {
        let signer = (&self.identity.id, &self.identity.key);
        command(&self.site, nonce, payload, *signer.0, &[signer.1])
    }
}

/// A command by `author`, signed by `keys`.
pub(crate) fn command(
    site: &Site,
    nonce: &[u8; 32],
    payload: Payload,
    author: PrincipalId,
    keys: &[&SigningKey],
) -> v1::Command {
    let expires_ms = site.epoch.wall_ms() + COMMAND_LIFE_MS;
    let body = encode_body(site.roster.cluster, author, nonce, expires_ms, payload);
    let signed = signing_bytes(&body);
    let signatures = keys.iter().map(|key| v1::CommandSignature {
        key: Bytes::copy_from_slice(&key.verifying_key().fingerprint()),
        signature: Bytes::copy_from_slice(&key.sign(&signed)),
    });
    let signatures = signatures.collect();
    v1::Command { body, signatures }
}

/// Asks nodes in a client's name.
#[derive(Clone)]
pub(crate) struct Sender {
    pub(crate) site: Arc<Site>,
    pub(crate) client: u16,
    pub(crate) key: Hash,
}

impl Sender {
    /// Asks one node. An answer that does not parse counts as none.
    pub(crate) async fn ask(&self, node: u16, bytes: Bytes, within: Duration) -> Result<Response, NoAnswer> {
        let asked = Asked::Client { key: self.key, bytes };
        let from = Place::Client(self.client);
        let answer = self.site.net.ask(from, node, asked, within).await?;
        let (response, fragment) = decode_response(answer.to_vec()).map_err(|_| NoAnswer::Broken)?;
        Ok((response.result.ok_or(NoAnswer::Broken)?, fragment))
    }
}
