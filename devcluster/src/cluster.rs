//! A cluster: its processes, and how to reach it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use symbolon_client::{Client, Endpoint, Identity, Options};

use crate::binaries::{Binaries, NotFound};
use crate::command::Ran;
use crate::create::{self, CreateError, Description, NodeDescription, Spec, TokenKind};
use crate::dump::{self, DumpError};
use crate::http::{self, Answer, HttpError};
use crate::leak::{Needles, Report, scan_process};
use crate::limits::POLL;
use crate::paths::Paths;
use crate::process::{Process, ProcessError, last_lines, left_behind};
use crate::token::SOFTHSM_VARIABLE;

/// Why a folder is no cluster that can be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A program is missing.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// Its description cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Its description is not one.
    #[error("{} is not the description of a cluster: {source}", path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: toml::de::Error,
    },
    /// Nodes of it still run.
    #[error("node {node} of this cluster runs already, as process {pid}")]
    LeftBehind {
        /// Which node.
        node: u16,
        /// Its process.
        pid: u32,
    },
}

/// Why something could not be done with a cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A program is missing.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// There is no such node.
    #[error("there is no node {node}")]
    NoSuchNode {
        /// Its index.
        node: u16,
    },
    /// Its process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Its HTTP port.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Its core dump.
    #[error(transparent)]
    Dump(#[from] DumpError),
    /// It ended while it was waited for.
    #[error("node {node} ended ({status}); the end of its log:\n{log}")]
    Ended {
        /// Which node.
        node: u16,
        /// How.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
    /// It did not become ready.
    #[error("after {} s node {node} is not ready ({last}); the end of its log:\n{log}", within.as_secs())]
    NotReady {
        /// Which node.
        node: u16,
        /// How long it was waited for.
        within: Duration,
        /// What it answered last.
        last: String,
        /// The last lines of its log.
        log: String,
    },
    /// A folder for the dumps.
    #[error("{}: {source}", path.display())]
    File {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The library could not connect, or was refused.
    #[error(transparent)]
    Client(#[from] symbolon_client::Error),
    /// No node says who leads.
    #[error("no node names a leader")]
    NoLeader,
}

/// Names the lie of a node that was built to tell one.
const SABOTAGE_VARIABLE: &str = "SYMBOLON_SABOTAGE";
/// Makes a node that was built to lie the next build instead (`sabotage/src/next.rs`).
const NEXT_BUILD_VARIABLE: &str = "SYMBOLON_NEXT_BUILD";

/// A local cluster. Its processes are killed when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    paths: Paths,
    binaries: Binaries,
    description: Description,
    processes: BTreeMap<u16, Process>,
    ceremony: Vec<Ran>,
}

impl Cluster {
    /// Makes a cluster under `root`, without starting it.
    ///
    /// # Errors
    /// [`CreateError`]; [`CreateError::Exists`] if there is one.
    pub async fn create(root: impl Into<PathBuf>, spec: Spec) -> Result<Self, CreateError> {
        let (paths, binaries) = (Paths::new(root), Binaries::find()?);
        let (description, ceremony) = create::create(&paths, spec, &binaries).await?;
        Ok(Self {
            paths,
            binaries,
            description,
            processes: BTreeMap::new(),
            ceremony,
        })
    }

    /// Takes up a cluster that was made before, without starting it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let (paths, binaries) = (Paths::new(root), Binaries::find()?);
        let path = paths.description();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(OpenError::File { path, source }),
        };
        let description: Description = match toml::from_str(&text) {
            Ok(description) => description,
            Err(source) => return Err(OpenError::Description { path, source }),
        };
        for node in &description.nodes {
            if let Some(pid) = left_behind(&paths.pid(node.index)) {
                return Err(OpenError::LeftBehind { node: node.index, pid });
            }
        }
        Ok(Self {
            paths,
            binaries,
            description,
            processes: BTreeMap::new(),
            ceremony: Vec::new(),
        })
    }

    /// Where its files lie.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The programs it runs.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// Node indices, ascending.
    pub fn nodes(&self) -> Vec<u16> {
        self.description.nodes.iter().map(|node| node.index).collect()
    }

    /// Names of the operators: [`Paths::identity`] gives their files.
    pub fn operators(&self) -> &[String] {
        &self.description.operators
    }

    /// `symbolon://…?genesis=…`.
    pub fn endpoint(&self) -> &str {
        &self.description.endpoint
    }

    /// The commands that made it; empty if it was opened.
    pub fn ceremony(&self) -> &[Ran] {
        &self.ceremony
    }

    fn node(&self, node: u16) -> Result<&NodeDescription, ClusterError> {
        let found = self.description.nodes.iter().find(|one| one.index == node);
        found.ok_or(ClusterError::NoSuchNode { node })
    }

    /// A node's HTTP port: health and metrics.
    ///
    /// # Errors
    /// [`ClusterError::NoSuchNode`].
    pub fn http_address(&self, node: u16) -> Result<std::net::SocketAddr, ClusterError> {
        self.node(node).map(NodeDescription::http)
    }

    /// Starts all that do not run, and waits until all are ready.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn start_all(&mut self, within: Duration) -> Result<(), ClusterError> {
        for node in self.nodes() {
            if !self.runs(node)? {
                self.start(node)?;
            }
        }
        self.wait_ready(within).await
    }

    /// Starts one node, without waiting for it.
    ///
    /// # Errors
    /// [`ProcessError::Running`] and the like.
    pub fn start(&mut self, node: u16) -> Result<(), ClusterError> {
        let program = self.binaries.node.clone();
        self.start_program(node, &program, Vec::new())
    }

    /// Starts one node that tells a lie (see `node/src/sabotage.rs`), without waiting for it.
    ///
    /// # Errors
    /// [`ClusterError::NotFound`] if no such program was built; those of [`Cluster::start`].
    pub fn start_sabotaged(&mut self, node: u16, lie: &str) -> Result<(), ClusterError> {
        let program = Binaries::find_sabotaged_node()?;
        self.start_program(node, &program, vec![(SABOTAGE_VARIABLE, lie.into())])
    }

    /// Starts one node as the next build, which knows one more feature level, without waiting for it; with a defect that only
    /// the next build has, if one is named.
    ///
    /// # Errors
    /// Those of [`Cluster::start_sabotaged`].
    pub fn start_next_build(&mut self, node: u16, bug: Option<&str>) -> Result<(), ClusterError> {
        let program = Binaries::find_sabotaged_node()?;
        let mut variables = vec![(NEXT_BUILD_VARIABLE, "1".into())];
        variables.extend(bug.map(|bug| (SABOTAGE_VARIABLE, bug.into())));
        self.start_program(node, &program, variables)
    }

    /// Starts one node with more in its environment, without waiting for it.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_with(
        &mut self,
        node: u16,
        variables: impl IntoIterator<Item = (&'static str, PathBuf)>,
    ) -> Result<(), ClusterError> {
        let program = self.binaries.node.clone();
        self.start_program(node, &program, variables.into_iter().collect())
    }

    fn start_program(
        &mut self,
        node: u16,
        program: &Path,
        mut variables: Vec<(&'static str, PathBuf)>,
    ) -> Result<(), ClusterError> {
        self.node(node)?;
        if self.runs(node)? {
            return Err(ProcessError::Running { node }.into());
        }
        if self.description.token == TokenKind::SoftHsm {
            variables.push((SOFTHSM_VARIABLE, self.paths.softhsm_conf(node)));
        }
        let (config, log, pid) = (self.paths.config(node), self.paths.log(node), self.paths.pid(node));
        let process = Process::start(node, program, &config, &log, &pid, &variables)?;
        self.processes.insert(node, process);
        Ok(())
    }

    /// Whether a node's process runs.
    ///
    /// # Errors
    /// [`ProcessError::Wait`].
    pub fn runs(&mut self, node: u16) -> Result<bool, ClusterError> {
        match self.processes.get_mut(&node) {
            Some(process) => Ok(process.ended()?.is_none()),
            None => Ok(false),
        }
    }

    /// How a node's process ended, if it did without being asked to.
    ///
    /// # Errors
    /// [`ProcessError::Wait`].
    pub fn ended(&mut self, node: u16) -> Result<Option<ExitStatus>, ClusterError> {
        Ok(self.process(node)?.ended()?)
    }

    fn process(&mut self, node: u16) -> Result<&mut Process, ClusterError> {
        self.processes
            .get_mut(&node)
            .ok_or(ClusterError::Process(ProcessError::NotRunning { node }))
    }

    fn take(&mut self, node: u16) -> Result<Process, ClusterError> {
        self.processes
            .remove(&node)
            .ok_or(ClusterError::Process(ProcessError::NotRunning { node }))
    }

    /// A node's process id.
    ///
    /// # Errors
    /// [`ProcessError::NotRunning`].
    pub fn pid(&mut self, node: u16) -> Result<u32, ClusterError> {
        self.process(node).map(|process| process.pid())
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// [`ProcessError::Stubborn`] if it had to be killed.
    pub async fn stop(&mut self, node: u16) -> Result<ExitStatus, ClusterError> {
        Ok(self.take(node)?.stop().await?)
    }

    /// Stops all that run.
    ///
    /// # Errors
    /// The first, after all were tried.
    pub async fn stop_all(&mut self) -> Result<(), ClusterError> {
        let mut first = Ok(());
        for (_, process) in std::mem::take(&mut self.processes) {
            let stopped = process.stop().await;
            if let (Ok(()), Err(error)) = (&first, stopped) {
                first = Err(error.into());
            }
        }
        first
    }

    /// SIGKILL, and waits for its end.
    ///
    /// # Errors
    /// [`ProcessError`].
    pub fn kill(&mut self, node: u16) -> Result<ExitStatus, ClusterError> {
        Ok(self.take(node)?.kill()?)
    }

    /// SIGSTOP: it neither answers nor dies.
    ///
    /// # Errors
    /// [`ProcessError`].
    pub fn pause(&mut self, node: u16) -> Result<(), ClusterError> {
        Ok(self.process(node)?.signal(Signal::SIGSTOP)?)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// [`ProcessError`].
    pub fn resume(&mut self, node: u16) -> Result<(), ClusterError> {
        Ok(self.process(node)?.signal(Signal::SIGCONT)?)
    }

    /// `GET path` of a node's HTTP port.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn http(&self, node: u16, path: &str) -> Result<Answer, ClusterError> {
        Ok(http::get(self.http_address(node)?, path).await?)
    }

    /// Whether a node says that it is ready.
    ///
    /// # Errors
    /// [`HttpError`], while it does not listen.
    pub async fn ready(&self, node: u16) -> Result<bool, ClusterError> {
        Ok(self.http(node, "/ready").await?.status == 200)
    }

    /// Waits until every started node is ready.
    ///
    /// # Errors
    /// [`ClusterError::Ended`] or [`ClusterError::NotReady`], with the end of the node's log.
    pub async fn wait_ready(&mut self, within: Duration) -> Result<(), ClusterError> {
        let deadline = Instant::now() + within;
        let nodes: Vec<u16> = self.processes.keys().copied().collect();
        for node in nodes {
            loop {
                if let Some(status) = self.ended(node)? {
                    return Err(ClusterError::Ended {
                        node,
                        status,
                        log: last_lines(&self.paths.log(node)),
                    });
                }
                let last = match self.http(node, "/ready").await {
                    Ok(Answer { status: 200, .. }) => break,
                    Ok(answer) => format!("{}: {}", answer.status, answer.body.trim()),
                    Err(ClusterError::Http(error)) => error.to_string(),
                    Err(other) => return Err(other),
                };
                if Instant::now() >= deadline {
                    return Err(ClusterError::NotReady {
                        node,
                        within,
                        last,
                        log: last_lines(&self.paths.log(node)),
                    });
                }
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }

    /// An identity of [`Paths::people`].
    ///
    /// # Errors
    /// The library's, if the file is missing or open to others.
    pub fn identity(&self, name: &str) -> Result<Arc<Identity>, ClusterError> {
        Ok(Arc::new(
            Identity::load(&self.paths.identity(name)).map_err(symbolon_client::Error::from)?,
        ))
    }

    /// Connects as `identity`.
    ///
    /// # Errors
    /// The library's.
    pub async fn client(&self, identity: Arc<Identity>, options: Options) -> Result<Client, ClusterError> {
        let endpoint = Endpoint::parse(self.endpoint()).map_err(symbolon_client::Error::from)?;
        Ok(Client::connect(endpoint, None, identity, options).await?)
    }

    /// Connects as the first operator.
    ///
    /// # Errors
    /// The library's.
    pub async fn operator(&self) -> Result<Client, ClusterError> {
        let first = self.operators().first().map_or("op-1", String::as_str);
        self.client(self.identity(first)?, Options::default()).await
    }

    /// The node that most others name as leader.
    ///
    /// # Errors
    /// [`ClusterError::NoLeader`].
    pub async fn leader(&self, client: &Client) -> Result<u16, ClusterError> {
        let mut votes: BTreeMap<u16, usize> = BTreeMap::new();
        for (_, status) in client.status().await {
            let leader = status
                .ok()
                .and_then(|status| u16::try_from(status.leader).ok())
                .filter(|leader| *leader != 0);
            if let Some(leader) = leader {
                *votes.entry(leader).or_default() += 1;
            }
        }
        let most = votes.into_iter().max_by_key(|(_, count)| *count);
        most.map(|(leader, _)| leader).ok_or(ClusterError::NoLeader)
    }

    /// A core dump of a running node, under [`Paths::cores`].
    ///
    /// # Errors
    /// [`DumpError`].
    pub async fn core_dump(&mut self, node: u16) -> Result<PathBuf, ClusterError> {
        let folder = self.paths.cores();
        fs::create_dir_all(&folder).map_err(|source| ClusterError::File {
            path: folder.clone(),
            source,
        })?;
        Ok(dump::core_dump(self.pid(node)?, &folder.join(format!("node-{node}"))).await?)
    }

    /// What lies on nodes' media and in their logs: all but PINs (the credential path itself), the clients' identities, and
    /// core dumps, which are searched one by one because each node may hold its own fragment.
    pub fn scanned(&self) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let except = [self.paths.pins(), self.paths.people(), self.paths.cores()];
        (vec![self.paths.root().to_path_buf()], except.to_vec())
    }

    /// Searches the environment and command line of every running node.
    ///
    /// # Errors
    /// [`ProcessError`].
    pub fn scan_processes(&mut self, needles: &Needles, report: &mut Report) -> Result<(), ClusterError> {
        for node in self.nodes() {
            if self.runs(node)? {
                scan_process(self.pid(node)?, needles, report);
            }
        }
        Ok(())
    }

    /// The PINs of all tokens: what the leak scan searches for. Empty for software roots.
    ///
    /// # Errors
    /// [`ClusterError::File`].
    pub fn pin_needles(&self) -> Result<Vec<crate::leak::Needle>, ClusterError> {
        if self.description.token == TokenKind::Software {
            return Ok(Vec::new());
        }
        let read = |node: u16| {
            let path = self.paths.pin(node);
            let pin = fs::read(&path).map_err(|source| ClusterError::File { path, source })?;
            Ok(crate::leak::Needle::new(
                format!("the PIN of node {node}"),
                &zeroize::Zeroizing::new(pin),
            ))
        };
        self.nodes().into_iter().map(read).collect()
    }

    /// The folder of this cluster.
    pub fn root(&self) -> &Path {
        self.paths.root()
    }
}
