//! For the tests of stores and of what is built on agreement.

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

use crate::apply::{Opening, StateAdapter};
use crate::log::{FaultCell, LogAdapter};
use crate::types::TypeConfig;
use crate::{Committed, Fatal, Outcome, Progress, Records, StateMachine, Storage, View};

/// Applies nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inert;

impl StateMachine for Inert {
    fn apply(&mut self, _records: &mut dyn Records, _entry: Committed<'_>) -> Result<Outcome, Fatal> {
        Ok(Outcome::default())
    }

    fn published(&mut self, _applied: u64) {}

    fn restored(&mut self, _records: &dyn View, _index: u64) -> Result<(), Fatal> {
        Ok(())
    }

    fn names_of(&self, _key: &[u8], _value: &[u8]) -> Vec<(u8, Vec<u8>, Vec<u8>, Bytes)> {
        Vec::new()
    }
}

struct Builder<F, G>(F, PhantomData<fn() -> G>);

impl<F, G> StoreBuilder<TypeConfig, LogAdapter, StateAdapter, G> for Builder<F, G>
where
    F: Fn() -> (G, Arc<dyn Storage>) + Send + Sync,
    G: Send + Sync,
{
    fn build(&self) -> impl Future<Output = Result<(G, LogAdapter, StateAdapter), StorageError<TypeConfig>>> + Send {
        let (guard, store) = (self.0)();
        let built = || {
            let (progress, fault) = (Arc::new(Progress::default()), Arc::new(FaultCell::default()));
            let log = LogAdapter::open(Arc::clone(&store), Arc::clone(&progress), Arc::clone(&fault))?;
            let (state, _marks) = StateAdapter::open(Opening {
                store: Arc::clone(&store),
                machine: Box::new(Inert),
                progress,
                fault,
                chain_start: [0; 32],
                incarnation: 0,
            })?;
            Ok::<_, Fatal>((log, state))
        };
        let built = built().map_err(|fatal| StorageError::read(openraft::errors::ErrorSource::from_error(&fatal)));
        async move { built.map(|(log, state)| (guard, log, state)) }
    }
}

/// Runs openraft's storage suite over what `open` makes: an empty store, and whatever must live as long as it.
///
/// # Errors
/// The first test that found a fault, in openraft's words. Most tests panic instead.
pub async fn storage_suite<G: Send + Sync>(
    open: impl Fn() -> (G, Arc<dyn Storage>) + Send + Sync,
) -> Result<(), String> {
    Suite::test_all(Builder(open, PhantomData))
        .await
        .map_err(|error| error.to_string())
}
