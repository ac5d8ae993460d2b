//! A cluster of fake nodes in this process: real QUIC and TLS, real cryptography (a signed roster, sealed fragments,
//! signed replies, an audit log), one log in memory, no consensus. Each node can be told to misbehave.

pub mod behaviour;
pub mod log;
pub mod server;

use behaviour::Behaviour;
use bytes::Bytes;
use log::Log;
use server::{NodeKeys, serve};
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use symbolon_client::{Client, Endpoint, Error, Identity, Options};
use symbolon_crypto::enc::sha256;
use symbolon_crypto::provider::AwsLc;
use symbolon_crypto::sign::SigningKey;
use symbolon_wire::Message;
use symbolon_wire::roster::Roster;
use symbolon_wire::statements::{roster_hash, roster_signature};
use symbolon_wire::v1;

/// A running cluster.
pub struct Cluster {
    pub roster: Arc<Roster>,
    pub log: Arc<Mutex<Log>>,
    pub nodes: Vec<Arc<server::Shared>>,
    pub operator: Arc<Identity>,
    /// A writer and reader of everything.
    pub bot: Arc<Identity>,
}

impl Cluster {
    /// `n` nodes that behave.
    pub async fn start(n: u16) -> Self {
        Self::start_with(n, |_, _| {}).await
    }

    /// `change` may give a node other keys than those in the roster, or a behaviour from the start.
    pub async fn start_with(n: u16, change: impl Fn(u16, &mut NodeKeys)) -> Self {
        let sockets: Vec<_> = (0..n)
            .map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
            .collect();
        let mut keys: Vec<NodeKeys> = (1..=n).map(NodeKeys::generate).collect();
        let operator = Arc::new(Identity::generate("spiffe://acme/op", &mut rand::rng()).unwrap());
        let addresses: Vec<_> = sockets
            .iter()
            .map(|socket| socket.local_addr().unwrap().to_string())
            .collect();
        let roster = Arc::new(make_roster(&keys, &addresses, &operator));
        let bot = Arc::new(Identity::generate("spiffe://acme/bot", &mut rand::rng()).unwrap());
        let mut log = Log::new(roster.clone());
        log.register(&operator);
        log.register(&bot);
        let log = Arc::new(Mutex::new(log));
        let mut nodes = Vec::new();
        for (socket, key) in sockets.into_iter().zip(&mut keys) {
            change(key.index, key);
            nodes.push(serve(socket, key.clone(), roster.clone(), log.clone()));
        }
        Self {
            roster,
            log,
            nodes,
            operator,
            bot,
        }
    }

    pub fn endpoint(&self) -> Endpoint {
        let hosts: Vec<_> = self.roster.nodes.iter().map(|node| node.address.clone()).collect();
        endpoint(&hosts, &self.roster)
    }

    pub async fn client(&self) -> Client {
        self.client_of(self.bot.clone(), options()).await.unwrap()
    }

    pub async fn client_of(&self, identity: Arc<Identity>, options: Options) -> Result<Client, Error> {
        Client::connect(self.endpoint(), Some(self.roster.encoded.clone()), identity, options).await
    }

    /// Changes how node `index` behaves.
    pub fn behave(&self, index: u16, change: impl FnOnce(&mut Behaviour)) {
        let node = self.nodes.iter().find(|node| node.index() == index).unwrap();
        change(&mut node.behaviour.lock().unwrap());
    }

    /// The same for all nodes.
    pub fn all_behave(&self, change: impl Fn(&mut Behaviour)) {
        self.nodes
            .iter()
            .for_each(|node| change(&mut node.behaviour.lock().unwrap()));
    }

    /// Requests that each node has got, by kind.
    pub fn count(&self, index: u16, kind: &str) -> usize {
        let node = self.nodes.iter().find(|node| node.index() == index).unwrap();
        node.seen.lock().unwrap().iter().filter(|seen| **seen == kind).count()
    }
}

pub fn endpoint(hosts: &[String], roster: &Roster) -> Endpoint {
    Endpoint::parse(&format!(
        "symbolon://{}?genesis={}",
        hosts.join(","),
        hex::encode(roster.hash)
    ))
    .unwrap()
}

/// Waits that a busy machine does not exceed: what is tested is what was waited for, not how long.
pub fn options() -> Options {
    Options {
        connect_timeout: Duration::from_secs(20),
        request_timeout: Duration::from_secs(20),
        spare_delay: Duration::from_millis(150),
        write_spare_delay: Duration::from_secs(10),
        write_within: Duration::from_secs(20),
        ..Options::default()
    }
}

/// Short waits, for tests in which nobody answers.
pub fn impatient() -> Options {
    Options {
        connect_timeout: Duration::from_millis(500),
        request_timeout: Duration::from_millis(1500),
        write_within: Duration::from_secs(3),
        ..options()
    }
}

/// A genesis roster over these nodes, signed by all.
pub fn make_roster(keys: &[NodeKeys], addresses: &[String], operator: &Identity) -> Roster {
    let bytes = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    let nodes = keys.iter().zip(addresses).map(|(key, address)| v1::RosterNode {
        index: u32::from(key.index),
        region: format!("region-{}", key.index),
        identity_key: bytes(key.identity.verifying_key().spki()),
        sealing_key: bytes(&key.sealing.public_key().to_bytes()),
        address: address.clone(),
    });
    let body = v1::RosterBody {
        protocol: symbolon_wire::PROTOCOL,
        cluster: bytes(&rand::random::<[u8; 16]>()),
        version: 0,
        previous: Bytes::new(),
        created_ms: 1_700_000_000_000,
        suite: 1,
        threshold: (keys.len() / 2 + 1) as u32,
        operators: vec![v1::Operator {
            id: bytes(operator.principal().bytes()),
            key: bytes(operator.spki()),
            name: operator.name().to_owned(),
        }],
        operators_needed: 1,
        policy_signatures: 1,
        identity_signatures: 1,
        first_tenant: bytes(&rand::random::<[u8; 16]>()),
        nodes: nodes.collect(),
    };
    let body = Bytes::from(body.encode_to_vec());
    let signed = roster_signature(&roster_hash(&body));
    let roster = v1::Roster {
        operators: vec![v1::OperatorSignature {
            operator: bytes(operator.principal().bytes()),
            signature: bytes(&operator.sign(&signed).unwrap()),
        }],
        nodes: keys
            .iter()
            .map(|key| v1::NodeSignature {
                node: u32::from(key.index),
                signature: bytes(&key.identity.sign(&signed)),
            })
            .collect(),
        body,
    };
    Roster::genesis(roster.encode_to_vec().into(), None, &AwsLc).unwrap()
}

/// A key that can be shared and copied in tests.
pub fn signing_key() -> Arc<SigningKey> {
    Arc::new(SigningKey::generate(&mut rand::rng()))
}

pub fn hash(text: &str) -> [u8; 32] {
    sha256(text.as_bytes())
}
