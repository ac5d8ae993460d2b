//! A cluster from nothing: roster, machines, operators, agents; what every run begins with.

use crate::agent::{Agent, Identity, OpCounter, Operated, Operator};
use crate::clock::Epoch;
use crate::cluster::{Cluster, PrepareDisk};
use crate::error::RunError;
use crate::grants::Grants;
use crate::history::Recorder;
use crate::limits::{NODES, SETUP};
use crate::net::Net;
use crate::site::{Liar, Site};
use std::future::Future;
use std::sync::Arc;
use symbolon_consensus::Runtime;
use symbolon_crypto::dealing::LagrangeTable;
use symbolon_crypto::provider::{AwsLc, Remembering};
use symbolon_node::vouch::Boots;
use symbolon_sabotage::Bug;
use symbolon_state::testing::World as Fixture;
use tokio::time::Instant;

/// Three nodes and all clients check the same signatures again and again, and that would be most of a run's time.
const SIGNATURES_REMEMBERED: usize = 1 << 17;
/// How many operators there are; all of them sign.
const OPERATORS: usize = 2;

/// Runs on one thread, with virtual time and one seed, and with a seeded bug if one is given.
///
/// # Errors
/// The runtime's.
pub(crate) fn simulate<T>(seed: u64, bug: Option<Bug>, run: impl Future<Output = T>) -> Result<T, RunError> {
    let _seeded = Runtime::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    Ok(symbolon_sabotage::with(bug, || runtime.block_on(run)))
}

/// A running cluster, its operators, and agents that are registered and may read everything.
pub(crate) struct World {
    pub(crate) site: Arc<Site>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) operator: Operator,
    pub(crate) agents: Vec<Agent>,
}

impl World {
    /// Starts everything and waits until it works.
    pub(crate) async fn start(
        seed: u64,
        agents: u16,
        prepare: Option<PrepareDisk>,
        liar: Option<Liar>,
    ) -> Result<Self, RunError> {
        let Fixture {
            roster,
            nodes,
            operators,
            ..
        } = Fixture::new(seed, usize::from(NODES), OPERATORS);
        let sharing = symbolon_state::sharing_of(&roster)?;
        let identities: Vec<Identity> = (1..=agents).map(|agent| Identity::new(seed, agent)).collect();
        let epoch = Epoch::start();
        let site = Arc::new(Site {
            seed,
            lagrange: LagrangeTable::new(&sharing),
            sharing,
            roster,
            provider: Arc::new(Remembering::new(AwsLc, SIGNATURES_REMEMBERED)),
            epoch,
            net: Net::start(seed, epoch),
            recorder: Recorder::new(epoch),
            hellos: Boots::default(),
            agents: identities.iter().map(|one| (one.fingerprint(), one.agent)).collect(),
            principals: identities.iter().map(|one| (one.id, one.agent)).collect(),
            liar,
        });
        let cluster = Cluster::new(Arc::clone(&site), nodes, prepare);
        cluster.start_all().await;
        if let Some(trouble) = cluster.troubles().into_iter().next() {
            return Err(trouble);
        }
        let ops = OpCounter::default();
        let late = || RunError::Late {
            what: "the first command",
            within_s: SETUP.as_secs(),
        };
        let author = operators.first().map(|first| first.id).ok_or_else(late)?;
        let keys = operators.into_iter().map(|operator| operator.key).collect();
        let mut operator = Operator::new(Arc::clone(&site), author, keys, ops.clone());
        let until = Instant::now() + SETUP;
        while operator.grant(Grants::everything(agents)).await != Operated::Done {
            if Instant::now() >= until {
                return Err(late());
            }
        }
        for identity in &identities {
            if operator.register(identity).await != Operated::Done {
                return Err(late());
            }
        }
        // A node that has booted answers once its keys are in the log.
        let serve = |cluster: &Cluster| cluster.members().iter().all(|member| member.serving());
        if !cluster.eventually(SETUP, serve).await {
            return Err(RunError::Late {
                what: "the boot of all nodes",
                within_s: SETUP.as_secs(),
            });
        }
        let agents = identities
            .into_iter()
            .map(|identity| Agent::new(Arc::clone(&site), identity, ops.clone()))
            .collect();
        Ok(Self {
            site,
            cluster,
            operator,
            agents,
        })
    }
}
