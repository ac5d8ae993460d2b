//! Who is at the other end: rosters, certificates, boot statements, key exchange.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
mod common;

use bytes::Bytes;
use common::server::NodeKeys;
use common::{Cluster, endpoint, impatient, options, signing_key};
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use symbolon_client::{Client, Code, Endpoint, Error, PutOptions, v1};
use symbolon_crypto::provider::AwsLc;
use symbolon_wire::roster::Roster;

async fn bootstrap(cluster: &Cluster) -> Result<Client, Error> {
    Client::connect(cluster.endpoint(), None, cluster.bot.clone(), options()).await
}

/// A cluster in which node 1's first message is changed; nodes 2 and 3 are not there.
async fn only_node_1(change: impl Fn(&mut NodeKeys)) -> Error {
    let cluster = Cluster::start_with(3, |index, keys| {
        if index == 1 {
            change(keys);
        }
    })
    .await;
    for node in &cluster.nodes[1..] {
        node.endpoint.close(0u32.into(), b"gone");
    }
    cluster.client_of(cluster.bot.clone(), impatient()).await.unwrap_err()
}

#[tokio::test]
async fn the_roster_comes_from_any_node_and_is_verified_from_the_pinned_hash() {
    let cluster = Cluster::start(3).await;
    let client = bootstrap(&cluster).await.unwrap();
    assert_eq!(client.roster().hash, cluster.roster.hash);
    assert_eq!(client.roster().encoded, cluster.roster.encoded, "to be cached as it is");
    client.put("a/b", b"value", PutOptions::default()).await.unwrap();
}

#[tokio::test]
async fn a_cache_that_does_not_verify_is_as_good_as_none() {
    let cluster = Cluster::start(3).await;
    let other = Cluster::start(3).await;
    for cached in [Bytes::from_static(b"garbage"), other.roster.encoded.clone()] {
        let client = Client::connect(cluster.endpoint(), Some(cached), cluster.bot.clone(), options())
            .await
            .unwrap();
        assert_eq!(client.roster().hash, cluster.roster.hash);
    }
}

#[tokio::test]
async fn a_cluster_with_another_genesis_is_refused_and_sees_no_identity() {
    let (cluster, other) = (Cluster::start(3).await, Cluster::start(3).await);
    // The hosts of one, the hash of the other.
    let hosts: Vec<_> = other.roster.nodes.iter().map(|node| node.address.clone()).collect();
    let wrong = endpoint(&hosts, &cluster.roster);
    let error = Client::connect(wrong, None, cluster.bot.clone(), options())
        .await
        .unwrap_err();
    assert_eq!(error.code, Code::NotTheNode, "{error}");
    assert!(error.because.iter().any(|line| line.contains("pinned")), "{error}");
    assert!((1..=3).all(|node| other.nodes[node - 1].seen.lock().unwrap().is_empty()));
}

#[tokio::test]
async fn hosts_of_the_address_serve_when_the_rosters_addresses_do_not() {
    let cluster = Cluster::start(3).await;
    // An honest host and one where nobody is.
    let nobody = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let hosts = [nobody, cluster.roster.nodes[2].address.clone()];
    let client = Client::connect(endpoint(&hosts, &cluster.roster), None, cluster.bot.clone(), options()).await;
    client.unwrap();
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let cluster = Cluster::start(3).await;
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
    let host = nobody.local_addr().unwrap().to_string();
    let gone = endpoint(&[host], &cluster.roster);
    let error = Client::connect(gone, None, cluster.bot.clone(), impatient())
        .await
        .unwrap_err();
    assert_eq!(error.code, Code::Unreachable);
    let host = nobody.local_addr().unwrap().to_string();
    assert!(error.because.iter().all(|line| line.contains(&host)), "{error}");
    assert!(error.message.contains("no node can be reached"), "{error}");
}

#[tokio::test]
async fn a_look_alike_with_a_certificate_of_its_own_is_refused() {
    let error = only_node_1(|keys| keys.issuer = signing_key()).await;
    assert_eq!(error.code, Code::NotTheNode, "{error}");
    assert!(error.because.iter().any(|line| line.contains("node 1")), "{error}");
}

#[tokio::test]
async fn another_node_of_the_same_cluster_in_its_place_is_refused() {
    let cluster = Cluster::start(3).await;
    let keys = cluster.nodes[1].keys.clone();
    let error = only_node_1(|node_1| {
        node_1.issuer = keys.issuer.clone();
        node_1.identity = keys.identity.clone();
    })
    .await;
    assert_eq!(error.code, Code::NotTheNode, "{error}");
}

#[tokio::test]
async fn a_boot_statement_that_does_not_hold_is_refused_by_defect() {
    type Break = Arc<dyn Fn(&mut v1::Hello) + Send + Sync>;
    fn boot(change: impl Fn(&mut v1::BootKeys) + Send + Sync + 'static) -> Break {
        Arc::new(move |hello| change(hello.boot.as_mut().unwrap()))
    }
    let key = Bytes::copy_from_slice(signing_key().verifying_key().spki());
    let (tls, signing) = (key.clone(), key);
    let cases: Vec<(&str, Break, &str)> = vec![
        ("none at all", Arc::new(|hello| hello.boot = None), "missing"),
        ("another node's", boot(|boot| boot.node = 2), "node 2"),
        (
            "another roster's",
            boot(|boot| boot.roster_hash = vec![7; 32].into()),
            "another roster",
        ),
        (
            "another boot's",
            boot(|boot| boot.boot_counter += 1),
            "not signed by the identity key",
        ),
        (
            "another TLS key",
            boot(move |boot| boot.tls_key = tls.clone()),
            "not signed by the identity key",
        ),
        (
            "another signing key",
            boot(move |boot| boot.signing_key = signing.clone()),
            "not signed by the identity key",
        ),
        (
            "a signature cut short",
            boot(|boot| boot.signature.truncate(63)),
            "64 bytes",
        ),
        (
            "a feature level not signed",
            boot(|boot| boot.feature_level = 9),
            "feature level",
        ),
        (
            "a key that is none",
            boot(|boot| boot.signing_key = vec![0; 91].into()),
            "signing key",
        ),
        ("another protocol", Arc::new(|hello| hello.protocol = 2), "protocol 2"),
        ("no roster", Arc::new(|hello| hello.rosters.clear()), "no roster"),
        (
            "a later roster",
            Arc::new(|hello| hello.rosters.push(v1::Roster::default())),
            "1 rosters after genesis",
        ),
        (
            "another roster",
            Arc::new(|hello| hello.rosters[0].body = vec![1, 2].into()),
            "not the one of this cluster",
        ),
    ];
    for (name, change, told) in cases {
        let error = only_node_1(move |keys| keys.hello = Some(change.clone())).await;
        assert_eq!(error.code, Code::NotTheNode, "{name}: {error}");
        assert!(error.to_string().contains(told), "{name}: {error}");
        assert!(
            error.culprits.iter().any(|c| c.who == symbolon_client::Who::Node(1)),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_connection_under_a_key_that_the_boot_statement_does_not_name_is_refused() {
    // Certificate and statement are both genuine, but of different boots.
    let cluster = Cluster::start(3).await;
    let error = only_node_1(|keys| {
        let mut other = keys.clone();
        other.tls = signing_key();
        let roster = cluster.roster.clone();
        keys.hello = Some(Arc::new(move |hello| {
            // Signed for the roster that this node shows.
            let shown = symbolon_wire::statements::roster_hash(&hello.rosters[0].body);
            let mut roster = (*roster).clone();
            roster.hash = shown;
            roster.cluster = cluster_of(&hello.rosters[0]);
            hello.boot = Some(other.boot(&roster));
        }));
    })
    .await;
    assert_eq!(error.code, Code::NotTheNode);
    assert!(error.to_string().contains("TLS key"), "{error}");
}

#[tokio::test]
async fn an_older_boot_than_was_seen_is_refused() {
    let met = Arc::new(AtomicUsize::new(0));
    let cluster = Cluster::start_with(3, |index, keys| {
        if index == 1 {
            let (older, met) = (
                NodeKeys {
                    boot_counter: keys.boot_counter - 1,
                    ..keys.clone()
                },
                met.clone(),
            );
            keys.hello = Some(Arc::new(move |hello| {
                if met.fetch_add(1, Ordering::SeqCst) > 0 {
                    let roster = symbolon_wire::Message::encode_to_vec(&hello.rosters[0]);
                    let roster = Roster::genesis(roster.into(), None, &AwsLc).unwrap();
                    hello.boot = Some(older.boot(&roster));
                }
            }));
        }
    })
    .await;
    let client = cluster.client().await;
    for _ in 0..2 {
        let answers = client.status().await;
        if met.load(Ordering::SeqCst) > 1 {
            let error = answers[0].1.as_ref().unwrap_err();
            assert_eq!(error.code, Code::NotTheNode);
            assert!(error.to_string().contains("boot 2; boot 3 was seen"), "{error}");
            return;
        }
        answers[0].1.as_ref().unwrap();
        // Its connection is lost, and the next one shows the boot before.
        cluster.behave(1, |node| node.loses_connection = true);
        client.status().await;
    }
    panic!("node 1 was never dialled again");
}

fn cluster_of(roster: &v1::Roster) -> symbolon_wire::ids::ClusterId {
    use symbolon_wire::Message;
    let body = v1::RosterBody::decode(roster.body.clone()).unwrap();
    symbolon_wire::ids::ClusterId::parse(&body.cluster).unwrap()
}

#[tokio::test]
async fn a_node_that_offers_any_other_key_exchange_is_refused() {
    use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, X25519};
    for group in [X25519, SECP256R1] {
        let error = only_node_1(move |keys| {
            keys.tls_config = Some(Arc::new(move |config| {
                let mut provider = (*symbolon_wire::tls::provider()).clone();
                provider.kx_groups = vec![group];
                let provider = Arc::new(provider);
                let mut other = rustls::ServerConfig::builder_with_provider(provider)
                    .with_protocol_versions(&[&rustls::version::TLS13])
                    .unwrap()
                    .with_no_client_auth()
                    .with_cert_resolver(config.cert_resolver.clone());
                other.alpn_protocols = config.alpn_protocols.clone();
                other
            }));
        })
        .await;
        assert_eq!(error.code, Code::NotTheNode, "{error}");
        assert!(error.to_string().contains("handshake"), "{error}");
    }
}

#[tokio::test]
async fn a_node_that_speaks_another_protocol_is_told_apart() {
    let error = only_node_1(|keys| {
        keys.tls_config = Some(Arc::new(|mut config| {
            config.alpn_protocols = vec![b"symbolon/9".to_vec()];
            config
        }));
    })
    .await;
    assert!(error.to_string().contains("protocol"), "{error}");
}

#[tokio::test]
async fn a_connection_that_breaks_is_opened_again() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client_of(cluster.bot.clone(), impatient()).await.unwrap();
    client.put("a/b", b"one", PutOptions::default()).await.unwrap();
    cluster.all_behave(|node| node.loses_commands = true);
    assert!(
        client.put("a/b", b"two", PutOptions::default()).await.is_err(),
        "every connection was closed"
    );
    cluster.all_behave(|node| node.loses_commands = false);
    assert_eq!(client.get("a/b", None, "").await.unwrap().value.expose(), b"one");
}

#[test]
fn an_address_without_a_hash_gives_no_client() {
    let error = Error::from(Endpoint::parse("symbolon://127.0.0.1:7601").unwrap_err());
    assert!(error.message.contains("genesis"), "{error}");
}

#[test]
fn each_seeded_bug_is_found_by_its_test_here() {
    symbolon_sabotage::caught_in(file!());
}
