//! Clocks that read the simulation's time. A node's wall clock may be off or stand still; its boot-time clock only counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use symbolon_state::testing::BIRTH_MS;
use tokio::time::Instant;

/// When the simulation began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epoch(Instant);

impl Epoch {
    /// Now.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Virtual ms since then.
    pub(crate) fn elapsed_ms(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The moment `at_ms` after it.
    pub(crate) fn moment(self, at_ms: u64) -> Instant {
        self.0 + std::time::Duration::from_millis(at_ms)
    }

    /// Milliseconds since 1970, by a clock that is right.
    pub(crate) fn wall_ms(self) -> u64 {
        BIRTH_MS.saturating_add(self.elapsed_ms())
    }
}

/// What [`Clock::stand_still`] keeps while the clock runs.
const RUNS: u64 = u64::MAX;

/// One node's clocks. They outlive its boots.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    epoch: Epoch,
    off_ms: Arc<AtomicI64>,
    /// What the wall clock shows while it stands still.
    still_ms: Arc<AtomicU64>,
}

impl Clock {
    /// A clock that is right.
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            off_ms: Arc::default(),
            still_ms: Arc::new(AtomicU64::new(RUNS)),
        }
    }

    /// How far the wall clock is off from now on, ms.
    pub(crate) fn set_off_ms(&self, off_ms: i64) {
        self.off_ms.store(off_ms, Ordering::Relaxed);
    }

    /// From now on the wall clock shows what it shows now.
    pub(crate) fn stand_still(&self) {
        self.still_ms.store(self.wall_ms(), Ordering::Relaxed);
    }

    /// The wall clock is right again, and runs.
    pub(crate) fn set_right(&self) {
        self.set_off_ms(0);
        self.still_ms.store(RUNS, Ordering::Relaxed);
    }

    /// What the wall clock shows, ms since 1970.
    pub(crate) fn wall_ms(&self) -> u64 {
        let still_ms = self.still_ms.load(Ordering::Relaxed);
        if still_ms != RUNS {
            return still_ms;
        }
        self.epoch
            .wall_ms()
            .saturating_add_signed(self.off_ms.load(Ordering::Relaxed))
    }

    /// The boot-time clock, ms.
    pub(crate) fn boot_ms(&self) -> u64 {
        self.epoch.elapsed_ms()
    }
}
