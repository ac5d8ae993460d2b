//! Makes a cluster as an operator does: tokens, configurations, node keys, operators, a genesis roster signed by all.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::binaries::{Binaries, NotFound};
use crate::command::{CommandError, Ran, Step};
use crate::config::{NodeConfig, Ports};
use crate::paths::Paths;
use crate::token::{self, SOFTHSM_VARIABLE, TokenError};

/// The trust domain of the names in a local cluster.
pub(crate) const TRUST_DOMAIN: &str = "spiffe://local";

/// What kind of root of trust the nodes have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// A SoftHSM token each, behind PKCS#11.
    SoftHsm,
    /// A folder of key files each.
    Software,
}

/// What to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spec {
    /// 3, 5 or 7.
    pub nodes: u16,
    /// Operators; all of them sign genesis, and one signature is needed afterwards.
    pub operators: u16,
    /// Signatures that a change of policies or identities needs: at most `operators`.
    pub signatures_needed: u16,
    /// Their root of trust.
    pub token: TokenKind,
    /// When nodes release: `"durable"`, after the audit record is synced, or `"buffered"`, once it is written.
    pub audit: &'static str,
    /// Log level of the nodes.
    pub log_level: &'static str,
    /// Log entries between two snapshots; `None`: the nodes' default.
    pub snapshot_entries: Option<u64>,
    /// The same in MiB.
    pub snapshot_mib: Option<u64>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            nodes: 3,
            operators: 1,
            signatures_needed: 1,
            token: TokenKind::SoftHsm,
            audit: "durable",
            log_level: "info",
            snapshot_entries: None,
            snapshot_mib: None,
        }
    }
}

/// Why a cluster could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The folder holds a cluster already.
    #[error("{} holds a cluster already", .0.display())]
    Exists(PathBuf),
    /// A program is missing.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// A file or port.
    #[error("{what}: {source}")]
    Io {
        /// Which.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A token could not be made.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A step of the ceremony failed.
    #[error(transparent)]
    Step(#[from] CommandError),
    /// A configuration could not be written as TOML.
    #[error("the configuration of a node: {0}")]
    Config(#[from] toml::ser::Error),
}

/// What [`crate::Cluster::open`] needs to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Description {
    pub(crate) endpoint: String,
    pub(crate) token: TokenKind,
    pub(crate) operators: Vec<String>,
    pub(crate) nodes: Vec<NodeDescription>,
}

/// One node of it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct NodeDescription {
    pub(crate) index: u16,
    pub(crate) ports: Ports,
}

/// Makes everything under `paths`; returns the description and the commands that were run.
pub(crate) async fn create(
    paths: &Paths,
    spec: Spec,
    binaries: &Binaries,
) -> Result<(Description, Vec<Ran>), CreateError> {
    if paths.description().exists() {
        return Err(CreateError::Exists(paths.root().to_path_buf()));
    }
    make_folders(paths)?;
    let nodes = allot(spec.nodes)?;
    let mut ran = Vec::new();
    for NodeDescription { index, ports } in &nodes {
        if spec.token == TokenKind::SoftHsm {
            token::initialise(paths, *index).await?;
        }
        let config = toml::to_string(&NodeConfig::new(paths, *index, *ports, spec)?)?;
        write(&paths.config(*index), config.as_bytes())?;
        let (config, entry) = (paths.config(*index), paths.entry(*index));
        let step = node_step(paths, binaries, *index, spec.token)
            .arg("prepare")
            .arg("--config")
            .arg(&config);
        ran.push(step.arg("--out").arg(&entry).run().await?);
    }
    let operators: Vec<String> = (1..=spec.operators).map(|number| format!("op-{number}")).collect();
    for operator in &operators {
        let (name, file) = (format!("{TRUST_DOMAIN}/operator/{operator}"), paths.identity(operator));
        let step = Step::new(&binaries.cli)
            .arg("operator")
            .arg("new")
            .arg(&name)
            .arg("--out")
            .arg(&file);
        ran.push(step.run().await?);
    }
    ran.extend(genesis(paths, binaries, spec, &nodes, &operators).await?);
    let check = Step::new(&binaries.cli)
        .arg("init")
        .arg("check")
        .arg("--field")
        .arg("endpoint");
    let genesis = paths.genesis();
    let checked = check.arg(&genesis).run().await?;
    let endpoint = checked.stdout.trim().to_owned();
    ran.push(checked);
    let description = Description {
        endpoint,
        token: spec.token,
        operators,
        nodes,
    };
    write(&paths.description(), toml::to_string(&description)?.as_bytes())?;
    Ok((description, ran))
}

/// `symbolon init`, then every operator's and every node's signature.
async fn genesis(
    paths: &Paths,
    binaries: &Binaries,
    spec: Spec,
    nodes: &[NodeDescription],
    operators: &[String],
) -> Result<Vec<Ran>, CommandError> {
    let mut ran = Vec::new();
    let genesis = paths.genesis();
    let publics: Vec<PathBuf> = operators
        .iter()
        .map(|operator| public(&paths.identity(operator)))
        .collect();
    let entries: Vec<PathBuf> = nodes.iter().map(|node| paths.entry(node.index)).collect();
    let needed = spec.signatures_needed.to_string();
    let mut step = Step::new(&binaries.cli).arg("init");
    for public in &publics {
        step = step.arg("--operator").arg(public);
    }
    for entry in &entries {
        step = step.arg("--node").arg(entry);
    }
    ran.push(
        step.arg("--signatures")
            .arg(&needed)
            .arg("--out")
            .arg(&genesis)
            .run()
            .await?,
    );
    let checked = Step::new(&binaries.cli)
        .arg("init")
        .arg("check")
        .arg(&genesis)
        .arg("--field")
        .arg("hash");
    let checked = checked.run().await?;
    let hash = checked.stdout.trim().to_owned();
    ran.push(checked);
    for operator in operators {
        let identity = paths.identity(operator);
        let step = Step::new(&binaries.cli)
            .arg("init")
            .arg("sign")
            .arg(&genesis)
            .arg("--identity")
            .arg(&identity)
            .arg("--hash")
            .arg(&hash);
        ran.push(step.run().await?);
    }
    for node in nodes {
        let config = paths.config(node.index);
        let step = node_step(paths, binaries, node.index, spec.token);
        ran.push(
            step.arg("sign-genesis")
                .arg("--config")
                .arg(&config)
                .arg(&genesis)
                .run()
                .await?,
        );
    }
    Ok(ran)
}

/// What `operator new` and `identity new` write beside the identity.
pub(crate) fn public(identity: &Path) -> PathBuf {
    let mut name = identity.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

fn node_step<'a>(paths: &Paths, binaries: &'a Binaries, node: u16, kind: TokenKind) -> Step<'a> {
    let step = Step::new(&binaries.node);
    match kind {
        TokenKind::SoftHsm => step.variable(SOFTHSM_VARIABLE, paths.softhsm_conf(node)),
        TokenKind::Software => step,
    }
}

fn make_folders(paths: &Paths) -> Result<(), CreateError> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    for folder in paths.folders() {
        let failed = |source| CreateError::Io {
            what: folder.display().to_string(),
            source,
        };
        builder.create(&folder).map_err(failed)?;
    }
    Ok(())
}

fn write(path: &Path, content: &[u8]) -> Result<(), CreateError> {
    fs::write(path, content).map_err(|source| CreateError::Io {
        what: path.display().to_string(),
        source,
    })
}

/// Ports that Linux gives to nobody who does not ask for them by number (`ip_local_port_range` begins at 32,768): none of a
/// node is taken by a client's socket while that node is down.
const PORTS: std::ops::Range<u16> = 10_240..32_768;
/// Ports to try before giving up: most are free.
const PORT_ATTEMPTS: usize = 100;

/// A free port, held.
fn free<S>(bind: impl Fn((&'static str, u16)) -> io::Result<S>) -> io::Result<S> {
    let attempts = (0..PORT_ATTEMPTS).map(|_| bind(("127.0.0.1", rand::random_range(PORTS))));
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for attempt in attempts {
        match attempt {
            Ok(held) => return Ok(held),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Free ports on the loopback. All are held until all are known, so that none is given twice; between here and the nodes'
/// start another program may take one, and then that node says so.
fn allot(nodes: u16) -> Result<Vec<NodeDescription>, CreateError> {
    let failed = |source| CreateError::Io {
        what: "a free port on 127.0.0.1".to_owned(),
        source,
    };
    let held = (0..nodes)
        .map(|_| Ok((free(UdpSocket::bind)?, free(TcpListener::bind)?)))
        .collect::<io::Result<Vec<(UdpSocket, TcpListener)>>>()
        .map_err(failed)?;
    let ports = held.iter().map(|(quic, http)| {
        Ok(Ports {
            quic: quic.local_addr()?,
            http: http.local_addr()?,
        })
    });
    let ports = ports.collect::<io::Result<Vec<Ports>>>().map_err(failed)?;
    Ok((1..)
        .zip(ports)
        .map(|(index, ports)| NodeDescription { index, ports })
        .collect())
}

impl NodeDescription {
    pub(crate) fn http(&self) -> SocketAddr {
        self.ports.http
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let nodes = allot(7).unwrap();
        let mut quic: Vec<u16> = nodes.iter().map(|node| node.ports.quic.port()).collect();
        quic.sort_unstable();
        quic.dedup();
        assert_eq!(quic.len(), 7);
        assert!(quic.iter().all(|port| PORTS.contains(port)));
        assert_eq!(
            nodes.iter().map(|node| node.index).collect::<Vec<_>>(),
            [1, 2, 3, 4, 5, 6, 7]
        );
    }

    #[test]
    fn the_public_half_lies_beside_the_identity() {
        assert_eq!(public(Path::new("/a/op-1.identity")), Path::new("/a/op-1.identity.pub"));
    }

    #[tokio::test]
    async fn a_folder_that_holds_a_cluster_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::new(folder.path());
        fs::write(paths.description(), b"").unwrap();
        let binaries = Binaries {
            node: "/nowhere".into(),
            cli: "/nowhere".into(),
        };
        let error = create(&paths, Spec::default(), &binaries).await.unwrap_err();
        assert!(matches!(error, CreateError::Exists(_)), "{error}");
    }
}
