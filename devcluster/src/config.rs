//! The configuration of one node, as `symbolon-node` reads it (`deploy/node.toml` is the reference).

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;

use crate::create::{Spec, TokenKind};
use crate::paths::Paths;
use crate::token;

/// A node's two ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Ports {
    /// QUIC.
    pub(crate) quic: SocketAddr,
    /// Health and metrics.
    pub(crate) http: SocketAddr,
}

#[derive(Serialize)]
pub(crate) struct NodeConfig {
    node: u16,
    data: PathBuf,
    listen: SocketAddr,
    address: SocketAddr,
    region: String,
    genesis: PathBuf,
    audit: &'static str,
    development: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot_entries: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot_mib: Option<u64>,
    token: Token,
    http: Http,
    log: Log,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Token {
    Pkcs11 {
        module: PathBuf,
        label: String,
        pin_file: PathBuf,
    },
    Software {
        folder: PathBuf,
    },
}

#[derive(Serialize)]
struct Http {
    listen: SocketAddr,
}

#[derive(Serialize)]
struct Log {
    format: &'static str,
    level: &'static str,
}

impl NodeConfig {
    /// A node of its own region: the placement rule allows a region one node of three.
    pub(crate) fn new(paths: &Paths, node: u16, ports: Ports, spec: Spec) -> Result<Self, token::TokenError> {
        let token = match spec.token {
            TokenKind::SoftHsm => Token::Pkcs11 {
                module: token::module()?,
                label: token::label(node),
                pin_file: paths.pin(node),
            },
            TokenKind::Software => Token::Software {
                folder: paths.token(node),
            },
        };
        Ok(Self {
            node,
            data: paths.data(node),
            listen: ports.quic,
            address: ports.quic,
            region: format!("local-{node}"),
            genesis: paths.genesis(),
            audit: spec.audit,
            development: true,
            snapshot_entries: spec.snapshot_entries,
            snapshot_mib: spec.snapshot_mib,
            token,
            http: Http { listen: ports.http },
            log: Log {
                format: "text",
                level: spec.log_level,
            },
        })
    }
}
