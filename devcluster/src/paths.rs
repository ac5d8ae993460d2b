//! Where the files of a cluster lie.

use std::path::{Path, PathBuf};

/// The folder of one cluster.
///
/// ```text
/// cluster.toml         what Cluster::open needs
/// genesis.roster       public
/// config/node-1.toml   one configuration and one roster entry a node
/// data/node-1/         a node's disk
/// logs/node-1.log      its log
/// run/node-1.pid       its process
/// tokens/node-1/       its PKCS#11 token ┐ other media than data/, as they must be for the
/// pins/node-1.pin      its PIN           ┘ claims about stolen disks to hold
/// people/              identities of operators and agents: the clients' side
/// cores/               core dumps
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    /// The folder `root`, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What [`crate::Cluster::open`] reads.
    pub fn description(&self) -> PathBuf {
        self.root.join("cluster.toml")
    }

    /// The genesis roster.
    pub fn genesis(&self) -> PathBuf {
        self.root.join("genesis.roster")
    }

    /// A node's configuration.
    pub fn config(&self, node: u16) -> PathBuf {
        self.root.join(format!("config/node-{node}.toml"))
    }

    /// A node's roster entry.
    pub fn entry(&self, node: u16) -> PathBuf {
        self.root.join(format!("config/node-{node}.entry.toml"))
    }

    /// A node's disk.
    pub fn data(&self, node: u16) -> PathBuf {
        self.root.join(format!("data/node-{node}"))
    }

    /// A node's log.
    pub fn log(&self, node: u16) -> PathBuf {
        self.root.join(format!("logs/node-{node}.log"))
    }

    /// The id of a node's process.
    pub fn pid(&self, node: u16) -> PathBuf {
        self.root.join(format!("run/node-{node}.pid"))
    }

    /// A node's token, or its folder of development keys.
    pub fn token(&self, node: u16) -> PathBuf {
        self.root.join(format!("tokens/node-{node}"))
    }

    /// SoftHSM's configuration for a node.
    pub fn softhsm_conf(&self, node: u16) -> PathBuf {
        self.root.join(format!("tokens/node-{node}.conf"))
    }

    /// The PIN of a node's token.
    pub fn pin(&self, node: u16) -> PathBuf {
        self.root.join(format!("pins/node-{node}.pin"))
    }

    /// All PINs: the credential path itself, the one place where they belong.
    pub fn pins(&self) -> PathBuf {
        self.root.join("pins")
    }

    /// The clients' side: identities of operators and agents.
    pub fn people(&self) -> PathBuf {
        self.root.join("people")
    }

    /// The identity of an operator or agent called `name` here.
    pub fn identity(&self, name: &str) -> PathBuf {
        self.people().join(format!("{name}.identity"))
    }

    /// Core dumps.
    pub fn cores(&self) -> PathBuf {
        self.root.join("cores")
    }

    /// The folders that exist from the start.
    pub(crate) fn folders(&self) -> [PathBuf; 7] {
        ["config", "data", "logs", "run", "tokens", "pins", "people"].map(|name| self.root.join(name))
    }
}
