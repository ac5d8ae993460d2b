//! Bad input against a real node: each a stable code and a bounded cost, and the node serves on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use common::{Running, config, known, now_s, running, stranger, stranger_at};
use prost::Message;
use quinn::crypto::rustls::QuicClientConfig;
use std::net::SocketAddr;
use std::sync::Arc;

use symbolon_client::PutOptions;

use symbolon_crypto::sign::SigningKey;
use symbolon_wire::Code;
use symbolon_wire::command::encode_body;
use symbolon_wire::frame::{ALPN_CLIENT, ALPN_PEER, server_name};
use symbolon_wire::ids::{ClusterId, PrincipalId};
use symbolon_wire::limits::{REQUEST_BYTES_MAX, STRANGER_REQUEST_BYTES_MAX};
use symbolon_wire::reply::decode_response;
use symbolon_wire::tls;
use symbolon_wire::v1::{self, command_body::Payload, request::Kind, response};

async fn dial(run: &Running, config: rustls::ClientConfig) -> Result<quinn::Connection, String> {
    let node = &run.operator.roster().nodes[0];
    let address: SocketAddr = node.address.parse().unwrap();
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let crypto = QuicClientConfig::try_from(config).map_err(|e| e.to_string())?;
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let connecting = endpoint
        .connect_with(config, address, &server_name(node.index))
        .unwrap();
    let connection = connecting.await.map_err(|e| e.to_string())?;
    // A refused client certificate shows only after the client's side of the handshake.
    connection.accept_uni().await.map_err(|e| e.to_string())?;
    Ok(connection)
}

async fn send(connection: &quinn::Connection, bytes: &[u8]) -> Result<v1::Error, String> {
    let (mut send, mut receive) = connection.open_bi().await.map_err(|e| e.to_string())?;
    // The node may answer before it has everything.
    let _ = send.write_all(bytes).await;
    let _ = send.finish();
    let frame = receive.read_to_end(1 << 20).await.map_err(|e| e.to_string())?;
    match decode_response(frame).map_err(|e| e.to_string())?.0.result {
        Some(response::Result::Error(error)) => Ok(error),
        other => Err(format!("not an error: {other:?}")),
    }
}

fn encode(kind: Kind) -> Vec<u8> {
    v1::Request { kind: Some(kind) }.encode_to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_messages_get_stable_codes_and_the_node_serves_on() {
    let run = running().await;
    run.writer.put("prod/key", b"x", PutOptions::default()).await.unwrap();
    let connection = dial(&run, config(&run, stranger(), ALPN_CLIENT)).await.unwrap();

    let read = encode(Kind::Read(v1::ReadRequest {
        nonce: vec![1; 32].into(),
        path: "prod/key".into(),
        ..Default::default()
    }));
    assert_eq!(
        send(&connection, &read).await.unwrap().code,
        Code::UnknownKey as u32,
        "a stranger is nobody"
    );
    assert_eq!(
        send(&connection, &read[..read.len() - 3]).await.unwrap().code,
        Code::Malformed as u32,
        "truncated"
    );
    assert_eq!(
        send(&connection, &[0xff; 64]).await.unwrap().code,
        Code::Malformed as u32,
        "junk"
    );
    assert_eq!(
        send(&connection, &[]).await.unwrap().code,
        Code::UnknownVersion as u32,
        "no request"
    );
    assert_eq!(
        send(&connection, &[0xfa, 0x0f, 0x00]).await.unwrap().code,
        Code::UnknownVersion as u32,
        "of the future"
    );
    let short = encode(Kind::Read(v1::ReadRequest {
        path: "prod/key".into(),
        ..Default::default()
    }));
    assert_eq!(
        send(&connection, &short).await.unwrap().code,
        Code::Malformed as u32,
        "no nonce"
    );
    let huge = vec![0_u8; REQUEST_BYTES_MAX + 1];
    let refused = send(&connection, &huge).await.unwrap();
    assert_eq!(refused.code, Code::UnknownKey as u32, "a stranger gets no room for it");
    assert!(
        refused.message.contains(&STRANGER_REQUEST_BYTES_MAX.to_string()),
        "{refused:?}"
    );
    let agent = dial(&run, config(&run, known(&run, "reader"), ALPN_CLIENT))
        .await
        .unwrap();
    let refused = send(&agent, &huge).await.unwrap();
    assert_eq!(refused.code, Code::TooLarge as u32, "oversized");

    assert_eq!(run.reader.get("prod/key", None, "").await.unwrap().value.expose(), b"x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_do_not_fill_the_audit_log_with_what_they_are_refused() {
    let run = running().await;
    run.writer.put("prod/key", b"x", PutOptions::default()).await.unwrap();
    let connection = dial(&run, config(&run, stranger(), ALPN_CLIENT)).await.unwrap();
    let recorded = async || {
        let log = symbolon_client::audit::verify(&run.operator, 1).await.unwrap();
        log.size
    };
    let before = recorded().await;
    let read = encode(Kind::Read(v1::ReadRequest {
        nonce: vec![1; 32].into(),
        path: "prod/key".into(),
        ..Default::default()
    }));
    for _ in 0..1_500 {
        let refused = send(&connection, &read).await.unwrap();
        assert_eq!(refused.code, Code::UnknownKey as u32, "{refused:?}");
    }
    let grown = recorded().await - before;
    assert!((1_000..1_400).contains(&grown), "{grown} records of 1,500 refusals");
    assert_eq!(run.reader.get("prod/key", None, "").await.unwrap().value.expose(), b"x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_for_another_cluster_or_by_strangers_never_reach_the_log() {
    let run = running().await;
    let connection = dial(&run, config(&run, stranger(), ALPN_CLIENT)).await.unwrap();
    let applied = |statuses: Vec<(u16, Result<v1::StatusReply, symbolon_client::Error>)>| {
        statuses
            .into_iter()
            .map(|(_, status)| status.unwrap().applied)
            .max()
            .unwrap()
    };
    let before = applied(run.operator.status().await);
    let session = || Payload::Session(v1::OpenSession::default());
    let submit = |cluster: ClusterId| {
        let body = encode_body(
            cluster,
            PrincipalId([3; 16]),
            &[4; 32],
            now_s() * 1000 + 60_000,
            session(),
        );
        let signature = v1::CommandSignature {
            key: vec![5; 32].into(),
            signature: vec![6; 64].into(),
        };
        let command = v1::Command {
            body,
            signatures: vec![signature],
        };
        encode(Kind::Submit(v1::Submit {
            command: Some(command),
            level: 0,
        }))
    };
    assert_eq!(
        send(&connection, &submit(ClusterId([9; 16]))).await.unwrap().code,
        Code::WrongCluster as u32
    );
    for _ in 0..200 {
        let refused = send(&connection, &submit(run.operator.roster().cluster)).await.unwrap();
        assert_eq!(refused.code, Code::UnknownKey as u32);
    }
    // Whoever is registered gets no further with signatures that are wrong, and with the same command again.
    let connection = dial(&run, config(&run, known(&run, "reader"), ALPN_CLIENT))
        .await
        .unwrap();
    for _ in 0..200 {
        let refused = send(&connection, &submit(run.operator.roster().cluster)).await.unwrap();
        assert_eq!(refused.code, Code::UnknownKey as u32);
    }
    // Clock readings go on, one a second.
    assert!(
        applied(run.operator.status().await) < before + 60,
        "refused commands were logged"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wrong_spelling_of_a_path_is_refused_by_the_node_itself() {
    let run = running().await;
    // A registered key in hands that do not use the library, which would refuse first.
    let key = SigningKey::generate(&mut rand::rng());
    let register = v1::RegisterPrincipal {
        id: vec![0xa1; 16].into(),
        tenant: run.operator.roster().first_tenant.bytes().to_vec().into(),
        kind: 1,
        name: "spiffe://local/hostile".to_owned(),
        owner: "tests".to_owned(),
        purpose: "tests".to_owned(),
        expires_ms: (now_s() + 3_600) * 1000,
        groups: vec!["writers".to_owned()],
        keys: vec![key.verifying_key().spki().to_vec().into()],
    };
    run.operator.register(register).await.unwrap();
    let identity = tls::self_signed(key.to_pkcs8_der().unwrap().expose(), now_s() - 60, now_s() + 600).unwrap();
    let connection = dial(&run, config(&run, identity, ALPN_CLIENT)).await.unwrap();
    let spellings: Vec<String> = [
        "",
        "..",
        "a/../b",
        "%2e%2e/a",
        "a//b",
        "a/",
        "/a",
        "A",
        "a\0",
        "\u{430}",
        "a\u{202e}",
    ]
    .iter()
    .map(|spelling| (*spelling).to_owned())
    .chain([vec!["a"; 10_000].join("/")])
    .collect();
    for path in spellings {
        let read = v1::ReadRequest {
            nonce: vec![1; 32].into(),
            path: path.clone(),
            ..Default::default()
        };
        let refused = send(&connection, &encode(Kind::Read(read))).await.unwrap();
        assert_eq!(refused.code, Code::BadPath as u32, "{path:?}: {}", refused.message);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_offers_any_other_group_is_refused() {
    use rustls::crypto::aws_lc_rs::{self, kx_group};
    let run = running().await;
    let groups = [
        kx_group::X25519,
        kx_group::SECP256R1,
        kx_group::MLKEM768,
        kx_group::SECP384R1,
    ];
    for group in groups {
        let mut provider = aws_lc_rs::default_provider();
        provider.kx_groups = vec![group];
        let identity = stranger();
        let mut classical = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone))
            .with_client_auth_cert(vec![identity.certificate], identity.key)
            .unwrap();
        classical.alpn_protocols = vec![ALPN_CLIENT.to_vec()];
        let refused = dial(&run, classical).await.unwrap_err();
        assert!(
            refused.contains("handshake") || refused.contains("HandshakeFailure"),
            "{group:?}: {refused}"
        );
    }
    let hybrid = config(&run, stranger(), ALPN_CLIENT);
    dial(&run, hybrid).await.expect("the one group is taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_and_not_yet_valid_certificates_are_refused() {
    let run = running().await;
    for (from, to) in [(now_s() - 600, now_s() - 60), (now_s() + 600, now_s() + 6_000)] {
        assert!(
            dial(&run, config(&run, stranger_at(from, to), ALPN_CLIENT))
                .await
                .is_err()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_who_speaks_the_peers_protocol_is_turned_away() {
    let run = running().await;
    // The roster is public, and so is a node's boot statement; without a certificate of the node's neither is asked for.
    let closed = dial(&run, config(&run, stranger(), ALPN_PEER)).await.unwrap_err();
    assert!(closed.contains("not a node"), "{closed}");
}

/// A client that checks nothing: what it may not do is the node's decision.
#[derive(Debug)]
struct Anyone;

impl rustls::client::danger::ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        vec![rustls::SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
