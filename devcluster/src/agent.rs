//! Registers an agent, in one call, for tests and demos.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use symbolon_client::{Client, Identity, Overwrite};
use symbolon_wire::ids::PrincipalKind;
use symbolon_wire::path::BadPath;
use symbolon_wire::v1;

use crate::cluster::Cluster;
use crate::create::TRUST_DOMAIN;

/// Why an agent could not be registered.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The library's reason: a file, or the cluster's refusal.
    #[error(transparent)]
    Client(#[from] symbolon_client::Error),
    /// Its name is no SPIFFE ID.
    #[error("the agent's name: {0}")]
    Name(#[from] BadPath),
    /// The clock of this machine stands before 1970.
    #[error("the clock of this machine stands before 1970")]
    Clock,
}

/// What to register.
#[derive(Debug, Clone, Copy)]
pub struct AgentSpec<'a> {
    /// Becomes `spiffe://local/agent/NAME` and `people/NAME.identity`.
    pub name: &'a str,
    /// Groups, as policies name them.
    pub groups: &'a [&'a str],
    /// How long the registration holds.
    pub lives: Duration,
}

impl<'a> AgentSpec<'a> {
    /// An agent for a day.
    pub fn new(name: &'a str, groups: &'a [&'a str]) -> Self {
        Self {
            name,
            groups,
            lives: Duration::from_secs(24 * 60 * 60),
        }
    }

    /// Its SPIFFE ID.
    pub fn spiffe_id(&self) -> String {
        format!("{TRUST_DOMAIN}/agent/{}", self.name)
    }
}

impl Cluster {
    /// Makes an identity, keeps it among [`crate::Paths::people`], and registers it as `operator`.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn agent(&self, operator: &Client, spec: AgentSpec<'_>) -> Result<Arc<Identity>, AgentError> {
        let identity = Identity::generate(&spec.spiffe_id(), &mut rand::rng())?;
        let file: PathBuf = self.paths().identity(spec.name);
        identity
            .save(&file, Overwrite::Never)
            .map_err(symbolon_client::Error::from)?;
        let ends = SystemTime::now() + spec.lives;
        let expires = ends.duration_since(UNIX_EPOCH).map_err(|_| AgentError::Clock)?;
        let command = v1::RegisterPrincipal {
            id: Bytes::copy_from_slice(identity.principal().bytes()),
            tenant: Bytes::copy_from_slice(operator.roster().first_tenant.bytes()),
            kind: PrincipalKind::Agent as u32,
            name: spec.spiffe_id(),
            owner: format!("{TRUST_DOMAIN}/operator/op-1"),
            purpose: "local cluster".to_owned(),
            expires_ms: u64::try_from(expires.as_millis()).map_err(|_| AgentError::Clock)?,
            groups: spec.groups.iter().map(|group| (*group).to_owned()).collect(),
            keys: vec![Bytes::copy_from_slice(identity.spki())],
        };
        operator.register(command).await?;
        Ok(Arc::new(identity))
    }
}
