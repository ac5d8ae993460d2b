//! All randomness of a run, from one seed: every user draws from a stream of its own, so that one more draw here changes
//! nothing there.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use symbolon_crypto::enc::{enc, sha256};
use symbolon_crypto::secret::Secret;

/// One stream.
#[derive(Debug, Clone)]
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream of `user` under `seed`.
    pub(crate) fn new(seed: u64, user: &str) -> Self {
        let key = sha256(&enc(&[b"symbolon/sim/dice", &seed.to_be_bytes(), user.as_bytes()]));
        Self(ChaCha8Rng::from_seed(key))
    }

    /// For what takes a generator.
    pub(crate) fn rng(&mut self) -> &mut ChaCha8Rng {
        &mut self.0
    }

    /// The generator itself.
    pub(crate) fn into_rng(self) -> ChaCha8Rng {
        self.0
    }

    /// A number from `from` to `to`, both included.
    pub(crate) fn between(&mut self, (from, to): (u64, u64)) -> u64 {
        let many = to.saturating_sub(from).saturating_add(1);
        // The bias of the remainder is far below what a simulation could show.
        from + self.0.next_u64() % many.max(1)
    }

    /// True once in `many`.
    pub(crate) fn one_in(&mut self, many: u64) -> bool {
        self.between((1, many)) == 1
    }

    /// True `percent` times of a hundred.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.between((1, 100)) <= percent
    }

    /// One of `choices`.
    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        let last = choices.len().checked_sub(1)?;
        let place = self.between((0, u64::try_from(last).unwrap_or(0)));
        choices.get(usize::try_from(place).unwrap_or(0))
    }

    /// The choices in another order.
    pub(crate) fn shuffled<T>(&mut self, mut choices: Vec<T>) -> Vec<T> {
        let mut out = Vec::with_capacity(choices.len());
        while let Some(last) = choices.len().checked_sub(1) {
            let place = self.between((0, u64::try_from(last).unwrap_or(0)));
            out.push(choices.swap_remove(usize::try_from(place).unwrap_or(0)));
        }
        out
    }

    /// Random bytes.
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// A random key.
    pub(crate) fn secret(&mut self) -> Secret<32> {
        Secret::random(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_one_seed_differ_and_repeat() {
        let draw = |seed, user| Dice::new(seed, user).bytes::<16>();
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
    }

    #[test]
    fn a_draw_stays_within_its_bounds_and_reaches_them() {
        let mut dice = Dice::new(3, "bounds");
        let drawn: Vec<u64> = (0..1000).map(|_| dice.between((4, 6))).collect();
        assert!(drawn.iter().all(|n| (4..=6).contains(n)));
        assert!([4, 5, 6].iter().all(|n| drawn.contains(n)));
    }

    #[test]
    fn shuffling_loses_nothing() {
        let mut shuffled = Dice::new(4, "shuffle").shuffled((0..20).collect());
        assert_ne!(shuffled, (0..20).collect::<Vec<_>>());
        shuffled.sort_unstable();
        assert_eq!(shuffled, (0..20).collect::<Vec<_>>());
    }
}
