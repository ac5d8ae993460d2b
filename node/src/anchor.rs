//! Where a reply ties its node's history to a place that others show as well (custody.md, "Reading").

use arc_swap::ArcSwapOption;
use std::sync::Arc;
use symbolon_consensus::StoreFault;
use symbolon_crypto::Hash;

/// Anchors lie this many entries apart; chain values there are kept for ever.
const EVERY: u64 = 256;

/// The anchor shown last, and the multiple of [`EVERY`] that it was looked for at: reads share it until the log comes to the next.
#[derive(Default)]
pub(crate) struct Anchor(ArcSwapOption<(u64, (u64, Hash))>);

impl Anchor {
    /// The last multiple at or below `applied`, and the chain value there. A snapshot tells the chain at its own index only: who has
    /// just taken one over shows an earlier multiple, until it comes to the next. `None` if it knows none.
    pub(crate) fn at(
        &self,
        applied: u64,
        chain_at: impl Fn(u64) -> Result<Option<Hash>, StoreFault>,
    ) -> Result<Option<(u64, Hash)>, StoreFault> {
        let number = applied / EVERY;
        if let Some(shown) = self.0.load().as_deref().filter(|shown| shown.0 == number) {
            return Ok(Some(shown.1));
        }
        let at = |number: u64| Ok(chain_at(number * EVERY)?.map(|chain| (number * EVERY, chain)));
        let found = match at(number)? {
            Some(found) => Some(found),
            None => known_before(number, at)?,
        };
        if let Some(found) = found {
            self.0.store(Some(Arc::new((number, found))));
        }
        Ok(found)
    }
}

/// What is known at a number below `unknown`, next to one that is not known; `None` if not even 0 is.
fn known_before<T>(
    mut unknown: u64,
    at: impl Fn(u64) -> Result<Option<T>, StoreFault>,
) -> Result<Option<T>, StoreFault> {
    let Some(mut known) = at(0)? else { return Ok(None) };
    let mut number = 0;
    while unknown - number > 1 {
        let middle = number.midpoint(unknown);
        match at(middle)? {
            Some(value) => (number, known) = (middle, value),
            None => unknown = middle,
        }
    }
    Ok(Some(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn behind_a_gap_that_a_snapshot_left_an_earlier_place_is_known() {
        for (known, unknown, expected) in [
            (vec![0], 1, 0),
            (vec![0], 1_000_000, 0),
            (vec![0, 1, 2], 43, 2),
            (vec![0, 1, 2, 3, 4, 5, 6], 7, 6),
            // Two gaps: the edge of either will do.
            (vec![0, 1, 5, 6], 8, 1),
        ] {
            let found = known_before(unknown, |number| Ok(known.contains(&number).then_some(number)));
            assert_eq!(found.unwrap(), Some(expected), "{known:?}");
        }
        assert_eq!(known_before(9, |_| Ok(None::<u64>)).unwrap(), None);
    }

    #[test]
    fn the_last_multiple_is_shown_the_first_as_it_is_in_the_log_and_each_is_looked_for_once() {
        let (anchor, looked) = (Anchor::default(), Cell::new(0));
        let chain = |index: u64| [u8::try_from(index / EVERY).unwrap() + 1; 32];
        // From 3 × 256 on a snapshot left a gap.
        let at = |applied: u64| {
            anchor.at(applied, |index| {
                looked.set(looked.get() + 1);
                Ok((index < 3 * EVERY).then(|| chain(index)))
            })
        };
        for (applied, expected) in [(0, 0), (255, 0), (256, 256), (700, 512), (9 * 256, 512)] {
            let shown = (expected, chain(expected));
            assert_eq!(at(applied).unwrap(), Some(shown), "{applied}");
            let before = looked.get();
            assert_eq!(at(applied).unwrap(), Some(shown), "{applied}");
            assert_eq!(looked.get(), before, "{applied} is looked for again");
        }
    }
}
