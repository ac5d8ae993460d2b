//! When one more node is asked: once those that were asked take unusually long. After a fixed time, everybody would be asked
//! whenever all are busy, which makes them busier (Dean and Barroso, "The Tail at Scale", 2013, "Hedged requests").

use crate::Options;
use crate::limits::{LARGE_SPARE_DELAY, SPARE_DELAY_MAX};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// By kind of request: they take differently long.
#[derive(Debug)]
pub(crate) struct Spares {
    pub(crate) reads: Spare,
    pub(crate) questions: Spare,
    pub(crate) confirmations: Spare,
    pub(crate) commands: Spare,
    pub(crate) large_commands: Spare,
}

impl Spares {
    pub(crate) fn new(options: &Options) -> Self {
        let Options {
            spare_delay,
            write_spare_delay,
            ..
        } = *options;
        Self {
            reads: Spare::new(spare_delay),
            questions: Spare::new(spare_delay),
            confirmations: Spare::new(spare_delay),
            commands: Spare::new(write_spare_delay),
            large_commands: Spare::new(write_spare_delay.max(LARGE_SPARE_DELAY)),
        }
    }
}

/// How long the first answers to requests of one kind usually take.
#[derive(Debug)]
pub(crate) struct Spare {
    least: Duration,
    usual: Mutex<Option<Usual>>,
}

/// Mean, and how far from it answers lie, as RFC 6298 (section 2) keeps them for round trips.
#[derive(Debug, Clone, Copy)]
struct Usual {
    mean: Duration,
    spread: Duration,
}

impl Spare {
    /// Never before `least`.
    pub(crate) fn new(least: Duration) -> Self {
        Self {
            least,
            usual: Mutex::new(None),
        }
    }

    /// After which time one more is asked.
    pub(crate) fn delay(&self) -> Duration {
        let usual = *self.usual();
        let unusual = usual.map_or(Duration::ZERO, |usual| usual.mean + usual.spread * 4);
        unusual.min(SPARE_DELAY_MAX).max(self.least)
    }

    /// The first of those that were asked has answered. One that is slow alone does not count: it is not the first.
    pub(crate) fn answered(&self, took: Duration) {
        let mut usual = self.usual();
        *usual = Some(match *usual {
            None => Usual {
                mean: took,
                spread: took / 2,
            },
            Some(Usual { mean, spread }) => Usual {
                mean: (mean * 7 + took) / 8,
                spread: (spread * 3 + took.abs_diff(mean)) / 4,
            },
        });
    }

    fn usual(&self) -> MutexGuard<'_, Option<Usual>> {
        self.usual.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_millis(30);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn of_quick_nodes_a_spare_is_asked_after_the_least_time() {
        let spare = Spare::new(LEAST);
        assert_eq!(spare.delay(), LEAST);
        for _ in 0..100 {
            spare.answered(ms(2));
            assert_eq!(spare.delay(), LEAST);
        }
    }

    #[test]
    fn of_busy_nodes_a_spare_is_asked_when_even_that_is_exceeded_and_not_for_ever() {
        let spare = Spare::new(LEAST);
        for took in [400, 600, 500, 550, 450, 500, 600, 400] {
            spare.answered(ms(took));
            assert!(spare.delay() > ms(600), "{:?}", spare.delay());
        }
        assert!(spare.delay() < ms(1500), "{:?}", spare.delay());
        spare.answered(Duration::from_secs(60));
        assert_eq!(spare.delay(), SPARE_DELAY_MAX);
    }

    #[test]
    fn when_they_are_quick_again_so_is_the_spare() {
        let spare = Spare::new(LEAST);
        spare.answered(Duration::from_secs(3));
        let answers = std::iter::repeat_with(|| spare.answered(ms(1)));
        assert!(
            answers.take(60).count() == 60 && spare.delay() == LEAST,
            "{:?}",
            spare.delay()
        );
    }
}
