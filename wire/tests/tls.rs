//! Handshakes in memory, without sockets: one group, one version, mutual, no tickets, and the roster's key or nothing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panic")]

mod common;

use rcgen::{CertificateParams, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs, aws_lc_rs::kx_group};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind,
    PeerIncompatible, ProtocolVersion, ServerConfig, ServerConnection, SignatureScheme,
};
use std::sync::Arc;
use std::time::Duration;
use symbolon_crypto::provider::Portable;
use symbolon_crypto::sign::{SigningKey, VerifyingKey};
use symbolon_wire::frame::{ALPN_CLIENT, ALPN_PEER, server_name};
use symbolon_wire::tls::{
    CERTIFICATE_BYTES_MAX, CertificateRefused, GROUP, Identity, Leaf, TlsError, client_config, node_leaf, self_signed,
    server_config,
};
use x509_parser::prelude::{FromDer, X509Certificate};

const NOW_S: u64 = 1_800_000_000;
const DAY_S: u64 = 24 * 60 * 60;
const FROM_S: u64 = NOW_S - DAY_S;
const UNTIL_S: u64 = NOW_S + DAY_S;

fn key(seed: u64) -> SigningKey {
    SigningKey::generate(&mut common::rng(seed))
}

/// The identity key in the node's token.
fn identity() -> SigningKey {
    key(1)
}

fn pkcs8(key: &SigningKey) -> Vec<u8> {
    key.to_pkcs8_der().unwrap().expose().to_vec()
}

fn leaf_by(issuer: &SigningKey, from_s: u64, until_s: u64) -> Identity {
    let sign = |message: &[u8]| Some(issuer.sign(message));
    node_leaf(&pkcs8(&key(2)), issuer.verifying_key(), &sign, from_s, until_s).unwrap()
}

fn client_identity() -> Identity {
    self_signed(&pkcs8(&key(3)), FROM_S, UNTIL_S).unwrap()
}

#[derive(Debug)]
struct Fixed;

impl TimeProvider for Fixed {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(NOW_S)))
    }
}

fn server_with(identity: Identity) -> ServerConfig {
    let mut config = server_config(identity).unwrap();
    config.time_provider = Arc::new(Fixed);
    config
}

fn server() -> ServerConfig {
    server_with(leaf_by(&identity(), FROM_S, UNTIL_S))
}

fn client_with(shown: Identity, expected: Option<VerifyingKey>) -> ClientConfig {
    let mut config = client_config(shown, ALPN_CLIENT, expected, Arc::new(Portable)).unwrap();
    config.time_provider = Arc::new(Fixed);
    config
}

fn client() -> ClientConfig {
    client_with(client_identity(), Some(identity().verifying_key().clone()))
}

/// A client that believes any server: what an attacker, or another implementation, would run.
#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

type Groups = Vec<&'static dyn SupportedKxGroup>;

fn provider_of(groups: Groups) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = groups;
    Arc::new(provider)
}

fn foreign_client(groups: Groups, shown: Option<Identity>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider_of(groups))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible));
    let mut config = match shown {
        Some(shown) => builder
            .with_client_auth_cert(vec![shown.certificate], shown.key)
            .unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN_CLIENT.to_vec()];
    config.enable_early_data = true;
    config
}

fn foreign_server(groups: Groups) -> ServerConfig {
    let leaf = leaf_by(&identity(), FROM_S, UNTIL_S);
    let mut config = ServerConfig::builder_with_provider(provider_of(groups))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.certificate], leaf.key)
        .unwrap();
    config.alpn_protocols = vec![ALPN_CLIENT.to_vec()];
    config
}

/// What each end says when it is over.
#[derive(Debug)]
struct Failed {
    client: Option<Error>,
    server: Option<Error>,
}

/// Runs a handshake to its end, and further until both fall silent, so that tickets would have come.
fn shake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
) -> Result<(ClientConnection, ServerConnection), Box<Failed>> {
    let name = ServerName::try_from(server_name(1)).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    let (mut client_error, mut server_error) = (None, None);
    for _ in 0..20 {
        let mut flight = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut flight).unwrap();
        }
        let mut bytes = flight.as_slice();
        while !bytes.is_empty() && server_error.is_none() {
            server.read_tls(&mut bytes).unwrap();
            server_error = server.process_new_packets().err();
        }
        let mut flight = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut flight).unwrap();
        }
        let mut bytes = flight.as_slice();
        while !bytes.is_empty() && client_error.is_none() {
            client.read_tls(&mut bytes).unwrap();
            client_error = client.process_new_packets().err();
        }
        if !client.wants_write() && !server.wants_write() {
            break;
        }
    }
    if client_error.is_none() && server_error.is_none() && !client.is_handshaking() && !server.is_handshaking() {
        return Ok((client, server));
    }
    Err(Box::new(Failed {
        client: client_error,
        server: server_error,
    }))
}

fn meet(client: ClientConfig, server: ServerConfig) -> Result<(ClientConnection, ServerConnection), Box<Failed>> {
    shake(&Arc::new(client), &Arc::new(server))
}

fn refusal(client: ClientConfig, server: ServerConfig) -> Failed {
    *meet(client, server).unwrap_err()
}

#[test]
fn both_ends_agree_on_tls_1_3_the_hybrid_group_and_the_protocol() {
    for alpn in [ALPN_CLIENT, ALPN_PEER] {
        let mut config = client();
        config.alpn_protocols = vec![alpn.to_vec()];
        let (client, server) = meet(config, server()).unwrap();
        for group in [
            client.negotiated_key_exchange_group(),
            server.negotiated_key_exchange_group(),
        ] {
            assert_eq!(format!("{:?}", group.unwrap().name()), GROUP);
        }
        for version in [client.protocol_version(), server.protocol_version()] {
            assert_eq!(version, Some(ProtocolVersion::TLSv1_3));
        }
        assert_eq!(
            (client.alpn_protocol(), server.alpn_protocol()),
            (Some(alpn), Some(alpn))
        );
    }
}

#[test]
fn the_node_sees_the_client_s_certificate_and_the_client_the_node_s() {
    let shown = client_identity();
    let certificate = shown.certificate.clone();
    let expected = identity().verifying_key().clone();
    let (client, server) = meet(client_with(shown, Some(expected)), server()).unwrap();
    assert_eq!(server.peer_certificates().unwrap(), [certificate]);
    let leaf = Leaf::parse(&client.peer_certificates().unwrap()[0], NOW_S).unwrap();
    assert_eq!(&leaf.key, key(2).verifying_key());
}

#[test]
fn an_unknown_protocol_is_refused() {
    let mut config = client();
    config.alpn_protocols = vec![b"symbolon/2".to_vec()];
    let failed = refusal(config, server());
    assert_eq!(failed.server, Some(Error::NoApplicationProtocol));
}

#[test]
fn a_client_that_offers_only_another_group_is_refused() {
    let others: [(&str, Groups); 7] = [
        ("X25519", vec![kx_group::X25519]),
        ("P-256", vec![kx_group::SECP256R1]),
        ("P-384", vec![kx_group::SECP384R1]),
        ("ML-KEM-768 alone", vec![kx_group::MLKEM768]),
        ("ML-KEM-1024 alone", vec![kx_group::MLKEM1024]),
        ("the P-256 hybrid", vec![kx_group::SECP256R1MLKEM768]),
        (
            "all of them",
            vec![
                kx_group::X25519,
                kx_group::SECP256R1,
                kx_group::SECP384R1,
                kx_group::MLKEM768,
                kx_group::MLKEM1024,
                kx_group::SECP256R1MLKEM768,
            ],
        ),
    ];
    for (name, groups) in others {
        let failed = refusal(foreign_client(groups, Some(client_identity())), server());
        assert_eq!(
            failed.server,
            Some(Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon)),
            "{name}"
        );
        assert_eq!(
            failed.client,
            Some(Error::AlertReceived(AlertDescription::HandshakeFailure)),
            "{name}"
        );
    }
}

#[test]
fn a_server_that_knows_only_other_groups_is_refused() {
    let groups: Groups = vec![
        kx_group::X25519,
        kx_group::SECP256R1,
        kx_group::MLKEM768,
        kx_group::SECP256R1MLKEM768,
    ];
    let failed = refusal(client(), foreign_server(groups));
    assert_eq!(
        failed.client,
        Some(Error::AlertReceived(AlertDescription::HandshakeFailure))
    );
}

#[test]
fn a_client_that_would_rather_have_another_group_gets_ours() {
    let groups: Groups = vec![kx_group::X25519, kx_group::SECP256R1, kx_group::X25519MLKEM768];
    let (_, server) = meet(foreign_client(groups, Some(client_identity())), server()).unwrap();
    let group = server.negotiated_key_exchange_group().unwrap();
    assert_eq!(format!("{:?}", group.name()), GROUP);
}

/// A ClientHello of TLS 1.2 (RFC 5246, 7.4.1.2): without `supported_versions`, with what TLS 1.2 needs.
fn client_hello_of_tls_1_2() -> Vec<u8> {
    let extension =
        |number: u16, body: &[u8]| [&number.to_be_bytes()[..], &(body.len() as u16).to_be_bytes(), body].concat();
    let extensions = [
        extension(10, &[0, 4, 0x11, 0xec, 0x00, 0x1d]), // supported_groups: X25519MLKEM768, X25519
        extension(11, &[1, 0]),                         // ec_point_formats: uncompressed
        extension(13, &[0, 2, 0x04, 0x03]),             // signature_algorithms: ecdsa_secp256r1_sha256
        extension(23, &[]),                             // extended_master_secret
    ]
    .concat();
    let mut body = vec![0x03, 0x03];
    body.extend([7; 32]);
    body.extend([0]); // no session
    body.extend([0, 2, 0xc0, 0x2c]); // TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
    body.extend([1, 0]); // no compression
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut handshake = vec![1];
    handshake.extend(&(body.len() as u32).to_be_bytes()[1..]);
    handshake.extend(body);
    let mut record = vec![22, 0x03, 0x01];
    record.extend((handshake.len() as u16).to_be_bytes());
    record.extend(handshake);
    record
}

#[test]
fn tls_1_2_is_refused_with_the_alert_that_says_so() {
    let mut server = ServerConnection::new(Arc::new(server())).unwrap();
    let hello = client_hello_of_tls_1_2();
    server.read_tls(&mut hello.as_slice()).unwrap();
    let error = server.process_new_packets().unwrap_err();
    assert_eq!(
        error,
        Error::PeerIncompatible(PeerIncompatible::SupportedVersionsExtensionRequired)
    );
    let mut answer = Vec::new();
    server.write_tls(&mut answer).unwrap();
    let (fatal, protocol_version) = (2, 70);
    assert_eq!(answer, [21, 3, 3, 0, 2, fatal, protocol_version]);
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let failed = refusal(foreign_client(vec![kx_group::X25519MLKEM768], None), server());
    assert_eq!(failed.server, Some(Error::NoCertificatesPresented));
}

const OUT_OF_DATE: [(&str, u64, u64); 2] = [
    ("expired", NOW_S - DAY_S, NOW_S - 1),
    ("not yet valid", NOW_S + 1, NOW_S + DAY_S),
];

#[test]
fn a_client_s_certificate_outside_its_dates_is_refused() {
    for (name, from_s, until_s) in OUT_OF_DATE {
        let shown = self_signed(&pkcs8(&key(3)), from_s, until_s).unwrap();
        let failed = refusal(client_with(shown, None), server());
        assert_eq!(
            failed.server,
            Some(Error::InvalidCertificate(CertificateError::Expired)),
            "{name}"
        );
    }
}

#[test]
fn a_node_s_certificate_outside_its_dates_is_refused() {
    for (name, from_s, until_s) in OUT_OF_DATE {
        let server = server_with(leaf_by(&identity(), from_s, until_s));
        let failed = refusal(client(), server);
        assert_eq!(
            failed.client,
            Some(Error::InvalidCertificate(CertificateError::Expired)),
            "{name}"
        );
    }
}

#[test]
fn a_certificate_holds_in_the_first_and_the_last_second_of_its_dates() {
    let shown = self_signed(&pkcs8(&key(3)), 1_000, 2_000).unwrap();
    let at = |now_s| Leaf::parse(&shown.certificate, now_s).map(|_| ());
    assert_eq!((at(1_000), at(2_000)), (Ok(()), Ok(())));
    assert_eq!(
        (at(999), at(2_001)),
        (Err(CertificateRefused::OutOfDate), Err(CertificateRefused::OutOfDate))
    );
    assert_eq!(at(u64::MAX), Err(CertificateRefused::OutOfDate));
}

#[test]
fn a_leaf_issued_by_another_identity_is_refused() {
    let server = server_with(leaf_by(&key(9), FROM_S, UNTIL_S));
    let failed = refusal(client(), server);
    let expected = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
    assert_eq!(failed.client, Some(expected));
}

#[test]
fn a_client_s_self_signed_certificate_is_no_node_s() {
    let failed = refusal(client(), server_with(client_identity()));
    let expected = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
    assert_eq!(failed.client, Some(expected));
}

/// Everything that other systems compare is equal: only who signed it differs.
#[test]
fn a_leaf_with_the_same_subject_issuer_serial_and_key_by_another_identity_is_refused() {
    let (ours, theirs) = (leaf_by(&identity(), FROM_S, UNTIL_S), leaf_by(&key(9), FROM_S, UNTIL_S));
    let parts = |certificate: &CertificateDer<'_>| {
        let (_, parsed) = X509Certificate::from_der(certificate).unwrap();
        let names = (parsed.subject().to_string(), parsed.issuer().to_string());
        (names, parsed.raw_serial().to_vec(), parsed.public_key().raw.to_vec())
    };
    assert_eq!(parts(&ours.certificate), parts(&theirs.certificate));

    let expected = identity().verifying_key().clone();
    let issued = |leaf: &Identity| {
        let leaf = Leaf::parse(&leaf.certificate, NOW_S).unwrap();
        leaf.issued_by(&expected, &Portable)
    };
    assert_eq!(issued(&ours), Ok(()));
    assert_eq!(issued(&theirs), Err(CertificateRefused::NotTheNode));
}

/// A TLS key that registers again under the same names is another client: the key is what counts.
#[test]
fn two_clients_with_the_same_names_and_dates_are_told_apart_by_their_keys() {
    let other = self_signed(&pkcs8(&key(4)), FROM_S, UNTIL_S).unwrap();
    let keys = [client_identity(), other].map(|one| Leaf::parse(&one.certificate, NOW_S).unwrap().key.fingerprint());
    assert_ne!(keys[0], keys[1]);
}

fn date(seconds: u64) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(seconds as i64).unwrap()
}

#[test]
fn a_leaf_with_any_part_changed_is_not_the_node_s() {
    let leaf = leaf_by(&identity(), FROM_S, UNTIL_S).certificate;
    let expected = identity().verifying_key().clone();
    assert_eq!(
        Leaf::parse(&leaf, NOW_S).unwrap().issued_by(&expected, &Portable),
        Ok(())
    );
    // The outer algorithm identifier is neither signed nor read: nothing hangs on it.
    let ecdsa_with_sha256 = [0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    let outer = leaf
        .windows(12)
        .rposition(|window| window == ecdsa_with_sha256)
        .unwrap();
    for place in (0..leaf.len()).filter(|place| !(outer..outer + 12).contains(place)) {
        let mut changed = leaf.to_vec();
        changed[place] ^= 1;
        let accepted = Leaf::parse(&changed, NOW_S).and_then(|leaf| leaf.issued_by(&expected, &Portable));
        assert!(accepted.is_err(), "byte {place} of {}", leaf.len());
    }
}

#[test]
fn an_issuer_s_signature_with_high_s_is_refused() {
    let sign = |message: &[u8]| {
        let mut signature = identity().sign(message);
        let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
        let mut borrow = 0_i16;
        for place in (0..32).rev() {
            let digit = i16::from(order[place]) - i16::from(signature[32 + place]) - borrow;
            borrow = i16::from(digit < 0);
            signature[32 + place] = (digit + 256 * borrow) as u8;
        }
        Some(signature)
    };
    let identity = identity();
    let leaf = node_leaf(&pkcs8(&key(2)), identity.verifying_key(), &sign, FROM_S, UNTIL_S).unwrap();
    let leaf = Leaf::parse(&leaf.certificate, NOW_S).unwrap();
    let refused = leaf.issued_by(identity.verifying_key(), &Portable);
    assert_eq!(refused, Err(CertificateRefused::NotTheNode));
}

#[test]
fn a_token_that_does_not_sign_makes_no_leaf() {
    let made = node_leaf(&pkcs8(&key(2)), identity().verifying_key(), &|_| None, FROM_S, UNTIL_S);
    assert!(matches!(made.err(), Some(TlsError::Signing)));
}

fn certificate_of(algorithm: &'static rcgen::SignatureAlgorithm) -> (CertificateDer<'static>, KeyPair) {
    let pair = KeyPair::generate_for(algorithm).unwrap();
    let mut params = CertificateParams::default();
    params.not_before = date(FROM_S);
    params.not_after = date(UNTIL_S);
    (params.self_signed(&pair).unwrap().der().clone(), pair)
}

#[test]
fn a_key_of_another_algorithm_is_refused() {
    for (name, algorithm) in [
        ("RSA", &rcgen::PKCS_RSA_SHA256),
        ("Ed25519", &rcgen::PKCS_ED25519),
        ("P-384", &rcgen::PKCS_ECDSA_P384_SHA384),
    ] {
        let (certificate, pair) = certificate_of(algorithm);
        let refused = Leaf::parse(&certificate, NOW_S).unwrap_err();
        assert_eq!(refused, CertificateRefused::NotP256, "{name}");

        let shown = Identity {
            certificate,
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der())),
        };
        let groups: Groups = vec![kx_group::X25519MLKEM768];
        let failed = refusal(foreign_client(groups, Some(shown)), server());
        assert!(failed.server.is_some(), "{name}");
    }
}

#[test]
fn a_certificate_with_a_byte_behind_it_is_refused() {
    let shown = client_identity().certificate;
    let longer = [shown.as_ref(), &[0]].concat();
    assert_eq!(Leaf::parse(&longer, NOW_S).unwrap_err(), CertificateRefused::Malformed);
}

#[test]
fn a_certificate_cut_anywhere_is_refused() {
    let shown = client_identity().certificate;
    for cut in 0..shown.len() {
        let refused = Leaf::parse(&shown[..cut], NOW_S).unwrap_err();
        assert_eq!(refused, CertificateRefused::Malformed, "cut at {cut}");
    }
}

#[test]
fn a_giant_certificate_is_refused() {
    let pair = KeyPair::generate().unwrap();
    let of = |names: usize| {
        let names: Vec<String> = (0..names).map(|name| format!("node-{name:04}.example")).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date(FROM_S);
        params.not_after = date(UNTIL_S);
        params.self_signed(&pair).unwrap().der().clone()
    };
    let (large, giant) = (of(300), of(500));
    assert!(large.len() <= CERTIFICATE_BYTES_MAX && giant.len() > CERTIFICATE_BYTES_MAX);
    assert!(Leaf::parse(&large, NOW_S).is_ok());
    assert_eq!(Leaf::parse(&giant, NOW_S).unwrap_err(), CertificateRefused::Malformed);

    let shown = Identity {
        certificate: giant,
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der())),
    };
    let failed = refusal(client_with(shown, None), server());
    assert_eq!(
        failed.server,
        Some(Error::InvalidCertificate(CertificateError::BadEncoding))
    );
}

/// One certificate and another's key: what somebody has who saw a certificate go by.
#[derive(Debug)]
struct Stolen(Arc<CertifiedKey>);

impl Stolen {
    fn new(certificate: CertificateDer<'static>) -> Arc<Self> {
        let own = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8(&key(66))));
        let own = aws_lc_rs::sign::any_supported_type(&own).unwrap();
        Arc::new(Self(Arc::new(CertifiedKey::new(vec![certificate], own))))
    }
}

impl rustls::client::ResolvesClientCert for Stolen {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl rustls::server::ResolvesServerCert for Stolen {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

#[test]
fn a_client_s_certificate_without_its_key_is_refused() {
    let mut config = client();
    config.client_auth_cert_resolver = Stolen::new(client_identity().certificate);
    let failed = refusal(config, server());
    assert_eq!(
        failed.server,
        Some(Error::InvalidCertificate(CertificateError::BadSignature))
    );
}

#[test]
fn a_node_s_certificate_without_its_key_is_refused() {
    let mut config = server();
    config.cert_resolver = Stolen::new(leaf_by(&identity(), FROM_S, UNTIL_S).certificate);
    let failed = refusal(client(), config);
    assert_eq!(
        failed.client,
        Some(Error::InvalidCertificate(CertificateError::BadSignature))
    );
}

#[test]
fn no_ticket_is_sent_and_no_session_resumed_even_for_a_client_that_would() {
    // This client keeps sessions, and would send data early.
    let groups: Groups = vec![kx_group::X25519MLKEM768];
    let client = Arc::new(foreign_client(groups, Some(client_identity())));
    let server = Arc::new(server());
    assert_eq!((server.send_tls13_tickets, server.max_early_data_size), (0, 0));
    assert!(!server.session_storage.can_cache() && !server.ticketer.enabled());
    for _ in 0..3 {
        let (client, server) = shake(&client, &server).unwrap();
        assert_eq!(client.tls13_tickets_received(), 0);
        assert_eq!(client.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(server.handshake_kind(), Some(HandshakeKind::Full));
        assert!(!client.is_early_data_accepted());
    }
}

#[test]
fn our_client_resumes_nothing_even_with_a_server_that_would() {
    let client = Arc::new(client());
    let server = Arc::new(foreign_server(vec![kx_group::X25519MLKEM768]));
    for round in 0..3 {
        let (client, _) = shake(&client, &server).unwrap();
        assert!(client.tls13_tickets_received() > 0, "the server offers to");
        assert_eq!(client.handshake_kind(), Some(HandshakeKind::Full), "round {round}");
    }
}

/// The check of the two tests above can fail: two that both resume do.
#[test]
fn two_foreign_ends_do_resume() {
    let groups: Groups = vec![kx_group::X25519MLKEM768];
    let client = Arc::new(foreign_client(groups.clone(), None));
    let server = Arc::new(foreign_server(groups));
    assert!(shake(&client, &server).is_ok());
    let (client, _) = shake(&client, &server).unwrap();
    assert_eq!(client.handshake_kind(), Some(HandshakeKind::Resumed));
}
