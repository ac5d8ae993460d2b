//! A client: a verified roster, one identity, a connection to each node.

use crate::clock::LogClock;
use crate::confirm::Questions;
use crate::dial::Dialer;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::hello;
use crate::identity::Identity;
use crate::limits::COMMANDS_BYTES_MAX;
use crate::node::{Net, Node};
use crate::session::Sessions;
use crate::spare::Spares;
use crate::write::Paths;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::AtomicU16;
use std::time::{Duration, Instant};
use symbolon_crypto::Hash;
use symbolon_crypto::dealing::{LagrangeTable, Sharing};
use symbolon_crypto::provider::AwsLc;
use symbolon_crypto::sealing::SealingPublicKey;
use symbolon_wire::Code;
use symbolon_wire::frame::server_name;
use symbolon_wire::roster::Roster;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// The name of a throwaway identity; a certificate shows no name, so that nobody sees it.
const THROWAWAY: &str = "spiffe://symbolon.invalid/throwaway";

/// How long to wait for what.
#[derive(Debug, Clone)]
pub struct Options {
    /// For a connection, until the node has proved who it is.
    pub connect_timeout: Duration,
    /// For one answer of one node.
    pub request_timeout: Duration,
    /// Before a spare node is asked to read; longer while answers usually take longer.
    pub spare_delay: Duration,
    /// Before a write is handed to one more node, or longer, as above; the same bytes count once.
    pub write_spare_delay: Duration,
    /// For a write altogether; then its outcome is a failure, or unknown.
    pub write_within: Duration,
    /// How long the cluster may still take a command, by log time; at most 10 min. Longer than `write_within`, so that
    /// bytes whose outcome is unknown can be sent again.
    pub command_life: Duration,
    /// Nothing goes on past this moment, whatever the bounds above leave: for callers that have one deadline for all
    /// that they ask. Connecting counts, too.
    pub until: Option<Instant>,
}

impl Options {
    /// What is left of `limit` before the deadline.
    pub(crate) fn within(&self, limit: Duration) -> Duration {
        match self.until {
            Some(until) => limit.min(until.saturating_duration_since(Instant::now())),
            None => limit,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(5),
            spare_delay: Duration::from_millis(30),
            write_spare_delay: Duration::from_secs(1),
            write_within: Duration::from_secs(30),
            command_life: Duration::from_secs(120),
            until: None,
        }
    }
}

/// A connection to a cluster. Cheap to clone and to share; every call takes `&self`.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) net: Arc<Net>,
    pub(crate) nodes: Vec<Arc<Node>>,
    pub(crate) sharing: Sharing,
    pub(crate) lagrange: LagrangeTable,
    pub(crate) sealing_keys: Vec<(u16, SealingPublicKey)>,
    pub(crate) clock: LogClock,
    /// The node that last said it leads; 0: none.
    pub(crate) leader: AtomicU16,
    pub(crate) sessions: Sessions,
    pub(crate) paths: Paths,
    /// Bytes of large commands that may be on their way.
    pub(crate) commands: Semaphore,
    pub(crate) questions: Questions,
    pub(crate) spares: Spares,
}

impl Client {
    /// Connects to the cluster at `endpoint` as `identity`.
    ///
    /// `cached_roster` is what [`Client::roster`] gave earlier (its `encoded` bytes); it saves one connection. Without it
    /// the roster comes from any node, over a connection with a throwaway key that sends nothing, and is verified from
    /// the pinned hash before the identity is shown to anyone.
    ///
    /// # Errors
    /// [`Code::Unreachable`] or [`Code::NotTheNode`] if no node can be reached and proves who it is.
    pub async fn connect(
        endpoint: Endpoint,
        cached_roster: Option<Bytes>,
        identity: Arc<Identity>,
        options: Options,
    ) -> Result<Self, Error> {
        let dialer = Dialer::default();
        // A cache is a shortcut: one that does not verify from the pinned hash is as good as none.
        let cached = cached_roster.and_then(|bytes| Roster::genesis(bytes, Some(endpoint.genesis()), &AwsLc).ok());
        let roster = match cached {
            Some(roster) => roster,
            None => fetch_roster(&endpoint, &options).await?,
        };
        let inner = Inner::new(roster, identity, dialer, options, endpoint.hosts().to_vec())?;
        let client = Self { inner: Arc::new(inner) };
        client.inner.meet_nodes().await?;
        Ok(client)
    }

    /// The verified roster.
    #[must_use]
    pub fn roster(&self) -> &Roster {
        &self.inner.net.roster
    }

    /// Who this client is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.inner.net.identity
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("cluster", &self.inner.net.roster.cluster)
            .field("identity", &self.inner.net.identity)
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn new(
        roster: Roster,
        identity: Arc<Identity>,
        dialer: Dialer,
        options: Options,
        fallback: Vec<String>,
    ) -> Result<Self, Error> {
        let unusable = |what: String| Error::new(Code::NotTheNode, "the roster cannot be used").because(what);
        let sharing = Sharing::new(
            roster.version,
            roster.hash,
            roster.n(),
            roster.threshold,
            roster.indices(),
        )
        .map_err(|bad| unusable(bad.to_string()))?;
        let sealing_key = |node: &symbolon_wire::roster::Node| {
            let key = SealingPublicKey::parse(&node.sealing_key);
            key.map(|key| (node.index, key))
                .map_err(|bad| unusable(format!("node {}: {bad}", node.index)))
        };
        let sealing_keys = roster.nodes.iter().map(sealing_key).collect::<Result<_, _>>()?;
        let members = roster.nodes.clone();
        let spares = Spares::new(&options);
        let net = Arc::new(Net {
            roster,
            identity,
            dialer,
            options,
            fallback,
            started: Instant::now(),
        });
        Ok(Self {
            nodes: members
                .into_iter()
                .map(|member| Node::new(net.clone(), member))
                .collect(),
            lagrange: LagrangeTable::new(&sharing),
            sharing,
            sealing_keys,
            net,
            clock: LogClock::default(),
            leader: AtomicU16::new(0),
            sessions: Sessions::default(),
            paths: Paths::default(),
            commands: Semaphore::new(COMMANDS_BYTES_MAX),
            questions: Questions::default(),
            spares,
        })
    }

    /// Opens connections to all nodes; goes on as soon as t stand, and with fewer when the others take too long.
    async fn meet_nodes(&self) -> Result<(), Error> {
        let patience = Instant::now() + self.net.options.within(self.net.options.connect_timeout);
        let mut dialling = JoinSet::new();
        for node in &self.nodes {
            let node = node.clone();
            dialling.spawn(async move { node.live().await.map(|_| ()) });
        }
        let (mut met, mut errors) = (0, Vec::new());
        loop {
            let joined = match met {
                0 => dialling.join_next().await,
                // Those who are still awaited may not be there at all; whoever needs them waits for them again.
                _ => match tokio::time::timeout_at(patience.into(), dialling.join_next()).await {
                    Ok(joined) => joined,
                    Err(_) => break,
                },
            };
            let Some(joined) = joined else { break };
            match joined {
                Ok(Ok(())) => met += 1,
                Ok(Err(error)) => errors.push(error),
                Err(aborted) => errors.push(Error::new(Code::Internal, aborted.to_string())),
            }
            if met >= self.threshold() {
                break;
            }
        }
        match met {
            0 => Err(nobody(errors)),
            _ => Ok(()),
        }
    }

    /// t.
    pub(crate) fn threshold(&self) -> usize {
        usize::from(self.net.roster.threshold)
    }

    /// How many refusals make t answers impossible: n − t + 1.
    pub(crate) fn blocking(&self) -> usize {
        self.nodes.len() - self.threshold() + 1
    }

    /// Nodes to ask, nearest first, without those `excluded`. Connections that are missing are opened meanwhile.
    pub(crate) fn ranked(&self, excluded: &[u16]) -> Vec<Arc<Node>> {
        let asked = self.nodes.iter().filter(|node| !excluded.contains(&node.index));
        let mut ranked: Vec<_> = asked.map(|node| (node.rank(), node)).collect();
        ranked.sort_by_key(|(rank, node)| (*rank, node.index));
        let ranked = ranked.into_iter().map(|(_, node)| node);
        ranked.inspect(|node| node.reconnect()).cloned().collect()
    }

    pub(crate) fn node(&self, index: u16) -> Option<Arc<Node>> {
        self.nodes.iter().find(|node| node.index == index).cloned()
    }
}

/// Fetches the roster with a throwaway key, from whichever host shows the pinned one first.
async fn fetch_roster(endpoint: &Endpoint, options: &Options) -> Result<Roster, Error> {
    let throwaway = Identity::generate(THROWAWAY, &mut rand::rng());
    let throwaway = Arc::new(throwaway.map_err(|bad| Error::new(Code::Internal, bad.to_string()))?);
    let dialer = Arc::new(Dialer::default());
    let mut asking = JoinSet::new();
    for host in endpoint.hosts() {
        let (host, throwaway, dialer) = (host.clone(), throwaway.clone(), dialer.clone());
        let (pinned, within): (Hash, _) = (*endpoint.genesis(), options.within(options.connect_timeout));
        asking.spawn(async move {
            // Index 0 is no node's: any may answer.
            let dialled = dialer.connect(&host, &server_name(0), &throwaway, None, within).await;
            let dialled = dialled.map_err(|error| Error::new(error.code(), error.to_string()))?;
            hello::pinned_roster(&dialled.hello, &pinned)
                .map_err(|why| Error::new(Code::NotTheNode, format!("{host}: {why}")))
        });
    }
    let mut errors = Vec::new();
    while let Some(joined) = asking.join_next().await {
        match joined {
            Ok(Ok(roster)) => return Ok(roster),
            Ok(Err(error)) => errors.push(error),
            Err(aborted) => errors.push(Error::new(Code::Internal, aborted.to_string())),
        }
    }
    Err(nobody(errors))
}

/// No node could be used. Someone who could not prove who they are outweighs someone who is not there.
fn nobody(mut errors: Vec<Error>) -> Error {
    let of = |code: Code| errors.iter().find(|error| error.code == code).map(|error| error.code);
    let other = || {
        errors
            .iter()
            .map(|error| error.code)
            .find(|code| *code != Code::Unreachable)
    };
    let code = of(Code::NotTheNode).or_else(other).unwrap_or(Code::Unreachable);
    let (what, next) = match code {
        Code::NotTheNode => (
            "whoever answers at this address does not prove to be a node of this cluster",
            "do not go on: compare the genesis hash of the address with the one that your operators know",
        ),
        Code::Unreachable => (
            "no node can be reached: the cluster does not run, or the network does not lead there",
            "start its nodes, or check address and network (QUIC is UDP): symbolon doctor",
        ),
        _ => ("no node can be used", "symbolon doctor"),
    };
    let culprits = errors
        .iter_mut()
        .flat_map(|error| std::mem::take(&mut error.culprits))
        .collect();
    let mut told = Error::new(code, what);
    told.because = errors.iter().map(|error| error.in_one_line()).collect();
    // They fail in any order; people compare what they saw before.
    told.because.sort_unstable();
    told.culprits = culprits;
    told.next(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent(host: &str) -> Error {
        Error::new(Code::Unreachable, format!("{host} does not answer within 2000 ms"))
    }

    #[test]
    fn when_nobody_answers_every_address_is_named_with_its_cause() {
        let error = nobody(vec![silent("b:1"), silent("a:1")]);
        assert_eq!(error.code, Code::Unreachable);
        assert_eq!(
            error.because,
            [
                "a:1 does not answer within 2000 ms",
                "b:1 does not answer within 2000 ms"
            ]
        );
        assert!(error.message.contains("the cluster does not run"), "{error}");
    }

    #[test]
    fn somebody_who_proves_another_genesis_is_told_apart_from_nobody() {
        let error = nobody(vec![
            silent("a:1"),
            Error::new(Code::NotTheNode, "b:1: another genesis"),
        ]);
        assert_eq!(error.code, Code::NotTheNode);
        assert!(error.message.contains("does not prove"), "{error}");
        assert!(
            error.next.as_deref().is_some_and(|next| next.contains("genesis")),
            "{error}"
        );
    }
}
