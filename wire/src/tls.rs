//! TLS 1.3 with X25519MLKEM768 and no other group, mutual, without tickets, resumption or 0-RTT.
//!
//! There is no certificate authority here. A client shows a self-signed certificate of which only the key and the dates
//! count. A node's leaf is issued by the identity key in its token and is verified with the roster's key for that node
//! and nothing else: names, extensions and chains are ignored, so nothing crafted into them can matter.

use crate::frame::{ALPN_CLIENT, ALPN_PEER};
use p256::ecdsa::Signature;
use rcgen::{CertificateParams, DistinguishedName, DnType, Issuer};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName as RustlsName};
use rustls::{ServerConfig, SignatureScheme};
use std::sync::Arc;
use symbolon_crypto::provider::Verify;
use symbolon_crypto::sign::VerifyingKey;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The one key-exchange group, as it is written into audit records and `status`.
pub const GROUP: &str = "X25519MLKEM768";

/// Longest certificate, bytes.
pub const CERTIFICATE_BYTES_MAX: usize = 8 * 1024;

/// Why a certificate is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRefused {
    /// Not a certificate, too long, or with bytes behind it.
    #[error("the certificate does not parse")]
    Malformed,
    /// Its key is not P-256.
    #[error("the certificate's key is not P-256")]
    NotP256,
    /// Not valid yet, or no longer.
    #[error("the certificate has expired or is not yet valid")]
    OutOfDate,
    /// Not issued by the identity key that the roster names.
    #[error("the certificate was not issued by the identity key that the roster names for this node")]
    NotTheNode,
}

/// Failure to make a certificate or a TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The identity key did not sign.
    #[error("the identity key did not sign the node's TLS certificate")]
    Signing,
    /// The library refused what it was given.
    #[error("the certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The library refused the configuration.
    #[error("the TLS configuration was refused: {0}")]
    Configuration(#[from] rustls::Error),
}

/// A certificate and its key, ready for a handshake.
pub struct Identity {
    /// DER.
    pub certificate: CertificateDer<'static>,
    /// PKCS#8.
    pub key: PrivateKeyDer<'static>,
}

/// What counts in a certificate.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// Its key.
    pub key: VerifyingKey,
    signed: Vec<u8>,
    signature: Vec<u8>,
}

impl Leaf {
    /// Parses a certificate and checks its dates against `now_s`, seconds since 1970.
    pub fn parse(der: &[u8], now_s: u64) -> Result<Self, CertificateRefused> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(CertificateRefused::Malformed);
        }
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| CertificateRefused::Malformed)?;
        if !rest.is_empty() || certificate.signature_value.unused_bits != 0 {
            return Err(CertificateRefused::Malformed);
        }
        let key = VerifyingKey::parse(certificate.public_key().raw).map_err(|_| CertificateRefused::NotP256)?;
        let now = i64::try_from(now_s).map_err(|_| CertificateRefused::OutOfDate)?;
        let validity = certificate.validity();
        if now < validity.not_before.timestamp() || now > validity.not_after.timestamp() {
            return Err(CertificateRefused::OutOfDate);
        }
        Ok(Self {
            key,
            signed: certificate.tbs_certificate.as_ref().to_vec(),
            signature: certificate.signature_value.data.to_vec(),
        })
    }

    /// Whether `identity` issued it.
    pub fn issued_by(&self, identity: &VerifyingKey, verify: &dyn Verify) -> Result<(), CertificateRefused> {
        let signature = Signature::from_der(&self.signature).map_err(|_| CertificateRefused::NotTheNode)?;
        let signature: [u8; 64] = signature.to_bytes().into();
        verify
            .p256(identity, &self.signed, &signature)
            .map_err(|_| CertificateRefused::NotTheNode)
    }
}

/// The provider: one group, and AES-256 before AES-128 (which QUIC's initial packets need).
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519MLKEM768];
    provider.cipher_suites = vec![
        aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
        aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
    ];
    Arc::new(provider)
}

/// A node's side: both protocols, any P-256 client certificate within its dates. Who the client is decides the node,
/// for every request, from its own state.
pub fn server_config(identity: Identity) -> Result<ServerConfig, TlsError> {
    let provider = provider();
    let verifier = Arc::new(AnyClient {
        provider: provider.clone(),
    });
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![identity.certificate], identity.key)?;
    config.alpn_protocols = vec![ALPN_CLIENT.to_vec(), ALPN_PEER.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(config)
}

/// A client's (or connecting peer's) side. `expected` is the identity key that must have issued the node's leaf; `None`
/// only to fetch the roster chain by its pinned hash, over a connection that sends nothing.
pub fn client_config(
    identity: Identity,
    alpn: &[u8],
    expected: Option<VerifyingKey>,
    verify: Arc<dyn Verify + Send + Sync>,
) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let verifier = Arc::new(TheNode {
        provider: provider.clone(),
        expected,
        verify,
    });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(vec![identity.certificate], identity.key)?;
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

/// A self-signed certificate over a registered key. `pkcs8` is the key; dates are seconds since 1970.
pub fn self_signed(pkcs8: &[u8], not_before_s: u64, not_after_s: u64) -> Result<Identity, TlsError> {
    let key =
        rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(pkcs8), &rcgen::PKCS_ECDSA_P256_SHA256)?;
    let certificate = params(not_before_s, not_after_s).self_signed(&key)?;
    Ok(Identity {
        certificate: certificate.der().clone(),
        key: private_key(pkcs8),
    })
}

/// A node's leaf over the TLS key of this boot, issued by the identity key in its token.
pub fn node_leaf(
    tls_pkcs8: &[u8],
    identity: &VerifyingKey,
    sign: &dyn Fn(&[u8]) -> Option<[u8; 64]>,
    not_before_s: u64,
    not_after_s: u64,
) -> Result<Identity, TlsError> {
    let tls_key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(
        &PrivatePkcs8KeyDer::from(tls_pkcs8),
        &rcgen::PKCS_ECDSA_P256_SHA256,
    )?;
    let issuer = Issuer::new(
        params(not_before_s, not_after_s),
        TokenKey {
            point: identity.sec1().to_vec(),
            sign,
        },
    );
    let certificate = params(not_before_s, not_after_s).signed_by(&tls_key, &issuer);
    let certificate = certificate.map_err(|error| match error {
        rcgen::Error::RemoteKeyError => TlsError::Signing,
        other => TlsError::Certificate(other),
    })?;
    Ok(Identity {
        certificate: certificate.der().clone(),
        key: private_key(tls_pkcs8),
    })
}

fn private_key(pkcs8: &[u8]) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.to_vec()))
}

fn params(not_before_s: u64, not_after_s: u64) -> CertificateParams {
    let at = |seconds: u64| {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
    };
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "symbolon");
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    params.not_before = at(not_before_s);
    params.not_after = at(not_after_s);
    params
}

/// The identity key in a token, as rcgen wants a signing key.
struct TokenKey<'a> {
    point: Vec<u8>,
    sign: &'a dyn Fn(&[u8]) -> Option<[u8; 64]>,
}

impl rcgen::PublicKeyData for TokenKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for TokenKey<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = (self.sign)(message).ok_or(rcgen::Error::RemoteKeyError)?;
        let signature = Signature::from_slice(&signature).map_err(|_| rcgen::Error::RemoteKeyError)?;
        Ok(signature.to_der().as_bytes().to_vec())
    }
}

fn refused(why: CertificateRefused) -> rustls::Error {
    rustls::Error::InvalidCertificate(match why {
        CertificateRefused::Malformed | CertificateRefused::NotP256 => CertificateError::BadEncoding,
        CertificateRefused::OutOfDate => CertificateError::Expired,
        CertificateRefused::NotTheNode => CertificateError::ApplicationVerificationFailure,
    })
}

/// How both verifiers check the signatures of a handshake.
macro_rules! handshake_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            verify_tls12_signature(
                message,
                certificate,
                signature,
                &self.provider.signature_verification_algorithms,
            )
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            verify_tls13_signature(
                message,
                certificate,
                signature,
                &self.provider.signature_verification_algorithms,
            )
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    };
}

/// Accepts any P-256 client certificate within its dates; possession of the key is proved by the handshake.
#[derive(Debug)]
struct AnyClient {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[RustlsName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Leaf::parse(end_entity, now.as_secs()).map_err(refused)?;
        Ok(ClientCertVerified::assertion())
    }

    handshake_signatures!();
}

/// Accepts the leaf that the expected identity key issued.
struct TheNode {
    provider: Arc<CryptoProvider>,
    expected: Option<VerifyingKey>,
    verify: Arc<dyn Verify + Send + Sync>,
}

impl std::fmt::Debug for TheNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TheNode")
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

impl ServerCertVerifier for TheNode {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let leaf = Leaf::parse(end_entity, now.as_secs()).map_err(refused)?;
        if let Some(expected) = &self.expected {
            leaf.issued_by(expected, self.verify.as_ref()).map_err(refused)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    handshake_signatures!();
}
