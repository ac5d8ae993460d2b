//! Opening QUIC connections: sockets, name resolution, TLS with the one group, the first message.

use crate::error::Error;
use crate::identity::Identity;
use crate::limits::CERTIFICATE_SPAN;
use bytes::Bytes;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, IdleTimeout, TransportConfig, VarInt};
use rustls::pki_types::CertificateDer;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use symbolon_crypto::provider::AwsLc;
use symbolon_crypto::sign::VerifyingKey;
use symbolon_wire::frame::{ALPN_CLIENT, decode};
use symbolon_wire::limits::HELLO_BYTES_MAX;
use symbolon_wire::tls::{Leaf, client_config, self_signed};
use symbolon_wire::{Code, v1};

/// A connection is given up when nothing is heard for this long: a killed node is noticed.
const IDLE: Duration = Duration::from_secs(10);
/// Heard this often from a live one.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// Streams that a node may open towards us: its first message is the only one.
const NODE_STREAMS_MAX: u32 = 1;

/// TLS alerts travel in QUIC error codes from here on (RFC 9001, 4.8).
const CRYPTO_ERRORS: std::ops::Range<u64> = 0x100..0x200;
/// `no_application_protocol` (RFC 7301).
const NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;

/// Why no connection came about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DialError {
    #[error("{host} does not resolve: {why}")]
    Resolve { host: String, why: String },
    #[error("no UDP socket: {why}")]
    Socket { why: String },
    #[error("{host} does not answer within {within_ms} ms")]
    Silent { host: String, within_ms: u128 },
    #[error("{host}: {why}")]
    Lost { host: String, why: String },
    /// The certificate or the handshake is not what the roster asks for, as seen from here.
    #[error("{host}: TLS handshake failed: {why}")]
    Handshake { host: String, why: String },
    #[error("{host} speaks no protocol that this build speaks")]
    Protocol { host: String },
    #[error("{host}: its first message {why}")]
    Hello { host: String, why: String },
    #[error("this client's certificate or TLS configuration was refused: {why}")]
    Configuration { why: String },
}

impl DialError {
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Resolve { .. } | Self::Silent { .. } | Self::Lost { .. } => Code::Unreachable,
            Self::Handshake { .. } | Self::Hello { .. } => Code::NotTheNode,
            Self::Protocol { .. } => Code::UnknownVersion,
            Self::Socket { .. } | Self::Configuration { .. } => Code::Local,
        }
    }

    pub(crate) fn into_error(self, node: u16) -> Error {
        let what = match self.code() {
            Code::NotTheNode => "could not prove who it is",
            _ => "cannot be reached",
        };
        Error::new(self.code(), format!("node {node} {what}")).because(self.to_string())
    }
}

/// A connection whose handshake is done, and the node's first message, unchecked.
pub(crate) struct Dialled {
    pub(crate) connection: quinn::Connection,
    pub(crate) tls_key: VerifyingKey,
    pub(crate) hello: v1::Hello,
}

/// One UDP socket per address family, opened when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct Dialer {
    v4: OnceLock<quinn::Endpoint>,
    v6: OnceLock<quinn::Endpoint>,
}

impl Dialer {
    /// Connects to `host` as `identity`. `expected` is the identity key that must have issued the node's certificate;
    /// `None` only for a throwaway identity that fetches the roster.
    pub(crate) async fn connect(
        &self,
        host: &str,
        server_name: &str,
        identity: &Identity,
        expected: Option<VerifyingKey>,
        within: Duration,
    ) -> Result<Dialled, DialError> {
        let silent = || DialError::Silent {
            host: host.to_owned(),
            within_ms: within.as_millis(),
        };
        let connect = self.connect_all(host, server_name, identity, expected);
        tokio::time::timeout(within, connect).await.map_err(|_| silent())?
    }

    async fn connect_all(
        &self,
        host: &str,
        server_name: &str,
        identity: &Identity,
        expected: Option<VerifyingKey>,
    ) -> Result<Dialled, DialError> {
        let unresolved = |why: String| DialError::Resolve {
            host: host.to_owned(),
            why,
        };
        let addresses = tokio::net::lookup_host(host)
            .await
            .map_err(|error| unresolved(error.to_string()))?;
        let config = quic_config(identity, expected)?;
        let mut last = unresolved("it has no address".to_owned());
        for address in addresses {
            match self.connect_one(host, address, server_name, config.clone()).await {
                Ok(dialled) => return Ok(dialled),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn connect_one(
        &self,
        host: &str,
        address: SocketAddr,
        server_name: &str,
        config: quinn::ClientConfig,
    ) -> Result<Dialled, DialError> {
        let lost = |why: String| DialError::Lost {
            host: host.to_owned(),
            why,
        };
        let connecting = self.endpoint(address)?.connect_with(config, address, server_name);
        let connection = connecting.map_err(|error| lost(error.to_string()))?;
        let connection = connection.await.map_err(|error| handshake_error(host, &error))?;
        let tls_key = leaf_key(&connection).map_err(|why| DialError::Handshake {
            host: host.to_owned(),
            why,
        })?;
        let bad = |why: String| DialError::Hello {
            host: host.to_owned(),
            why,
        };
        let mut stream = connection
            .accept_uni()
            .await
            .map_err(|error| handshake_error(host, &error))?;
        let hello = stream.read_to_end(HELLO_BYTES_MAX).await.map_err(|error| match error {
            quinn::ReadToEndError::TooLong => bad(format!("is longer than {HELLO_BYTES_MAX} bytes")),
            quinn::ReadToEndError::Read(error) => lost(error.to_string()),
        })?;
        let hello = decode(Bytes::from(hello), HELLO_BYTES_MAX).map_err(|error| bad(error.to_string()))?;
        Ok(Dialled {
            connection,
            tls_key,
            hello,
        })
    }

    fn endpoint(&self, to: SocketAddr) -> Result<&quinn::Endpoint, DialError> {
        let (slot, any) = match to {
            SocketAddr::V4(_) => (&self.v4, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
            SocketAddr::V6(_) => (&self.v6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))),
        };
        if let Some(endpoint) = slot.get() {
            return Ok(endpoint);
        }
        let endpoint = quinn::Endpoint::client(any).map_err(|error| DialError::Socket { why: error.to_string() })?;
        Ok(slot.get_or_init(|| endpoint))
    }
}

/// A failure before the connection stood. TLS failures are told apart from those of the network.
fn handshake_error(host: &str, error: &ConnectionError) -> DialError {
    let host = host.to_owned();
    let code = match error {
        ConnectionError::TransportError(error) => u64::from(error.code),
        ConnectionError::ConnectionClosed(close) => u64::from(close.error_code),
        _ => 0,
    };
    match code {
        NO_APPLICATION_PROTOCOL => DialError::Protocol { host },
        code if CRYPTO_ERRORS.contains(&code) => DialError::Handshake {
            host,
            why: error.to_string(),
        },
        _ => DialError::Lost {
            host,
            why: error.to_string(),
        },
    }
}

/// Seconds since 1970.
fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// The key of the node's certificate; whether the roster's key issued it was checked in the handshake.
fn leaf_key(connection: &quinn::Connection) -> Result<VerifyingKey, String> {
    let chain = connection
        .peer_identity()
        .and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    let leaf = chain
        .as_ref()
        .and_then(|chain| chain.first())
        .ok_or("no certificate was shown")?;
    Leaf::parse(leaf, now_s())
        .map(|leaf| leaf.key)
        .map_err(|why| why.to_string())
}

/// A fresh certificate each time, so that no client outlives its own.
fn quic_config(identity: &Identity, expected: Option<VerifyingKey>) -> Result<quinn::ClientConfig, DialError> {
    let refused = |why: String| DialError::Configuration { why };
    let span = CERTIFICATE_SPAN.as_secs();
    let key = identity.pkcs8().map_err(|error| refused(error.to_string()))?;
    let shown = self_signed(key.expose(), now_s().saturating_sub(span), now_s().saturating_add(span))
        .map_err(|error| refused(error.to_string()))?;
    let tls =
        client_config(shown, ALPN_CLIENT, expected, Arc::new(AwsLc)).map_err(|error| refused(error.to_string()))?;
    let quic = QuicClientConfig::try_from(tls).map_err(|error| refused(error.to_string()))?;
    let mut config = quinn::ClientConfig::new(Arc::new(quic));
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::try_from(IDLE).map_err(|error| refused(error.to_string()))?;
    transport
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_concurrent_uni_streams(VarInt::from_u32(NODE_STREAMS_MAX))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None);
    config.transport_config(Arc::new(transport));
    Ok(config)
}
