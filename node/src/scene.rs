//! The state that a node decides on.

use crate::machine::{Published, Shown};
use crate::member::error;
use arc_swap::Guard;
use std::sync::Arc;
use std::time::{Duration, Instant};
use symbolon_store::{Store, StoreView};
use symbolon_wire::{Code, v1};

/// Records may be a moment ahead of what is published of them, the length of a thread's turn; longer only while a snapshot comes
/// into force.
const PUBLISHED_WITHIN: Duration = Duration::from_millis(20);

/// The newest state: its policies and its records, of one index. Records that are newer than the policies would have the
/// policies of before decide about them.
pub(crate) fn newest<'a>(shown: &Shown, store: &'a Store) -> Result<(Guard<Arc<Published>>, StoreView<'a>), v1::Error> {
    let begun = Instant::now();
    loop {
        let (published, reader) = (shown.load(), store.reader());
        let applied = reader.applied_index().map_err(|fault| {
            tracing::error!(%fault, "state cannot be read");
            error(Code::Internal, "the node cannot read its state", "ask another node")
        })?;
        if applied == published.applied {
            return Ok((published, reader));
        }
        if begun.elapsed() > PUBLISHED_WITHIN {
            return Err(error(
                Code::NotFresh,
                "the node is taking over another state",
                "try again, or ask another node",
            ));
        }
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::nothing_shown;
    use rand_core::SeedableRng;
    use symbolon_consensus::{Changes, Storage};
    use symbolon_crypto::provider::AwsLc;
    use symbolon_crypto::secret::Secret;
    use symbolon_store::{MemoryDisk, Options};

    fn publish(shown: &Shown, applied: u64) {
        let published = Published {
            applied,
            ..(**shown.load()).clone()
        };
        shown.store(Arc::new(published));
    }

    /// As consensus keeps it: version, term, index, and what nobody asks for here.
    fn commit(store: &Store, index: u64) {
        let applied = [&[1][..], &1_u64.to_be_bytes(), &index.to_be_bytes()].concat();
        store.commit(Changes::default(), &[], applied.into()).unwrap();
    }

    #[test]
    fn records_that_are_ahead_of_the_policies_are_decided_about_by_no_policies() {
        let key = Secret::fill(|bytes| *bytes = [7; 32]);
        let options = Options::new(
            key,
            Arc::new(AwsLc),
            Box::new(rand_chacha::ChaCha20Rng::seed_from_u64(7)),
        );
        let store = Store::open_in_memory(&MemoryDisk::new(), options).unwrap();
        let shown = nothing_shown();
        assert_eq!(newest(&shown, &store).unwrap().0.applied, 0);
        commit(&store, 5);
        let refused = newest(&shown, &store).map(|_| ()).unwrap_err();
        assert_eq!(refused.code, Code::NotFresh as u32);
        publish(&shown, 5);
        let (published, reader) = newest(&shown, &store).unwrap();
        assert_eq!((published.applied, reader.applied_index().unwrap()), (5, 5));
        // What is published while a decision waits for it is what the decision is made on.
        commit(&store, 6);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(PUBLISHED_WITHIN / 4);
                publish(&shown, 6);
            });
            assert_eq!(newest(&shown, &store).unwrap().0.applied, 6);
        });
    }
}
