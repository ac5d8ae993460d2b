//! Clocks that read the simulation's time. A node's wall clock may be off; its boot-time clock only counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
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

/// One node's clocks. They outlive its boots.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    epoch: Epoch,
    off_ms: Arc<AtomicI64>,
}

impl Clock {
    /// A clock that is right.
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            off_ms: Arc::default(),
        }
    }

    /// How far the wall clock is off from now on, ms.
    pub(crate) fn set_off_ms(&self, off_ms: i64) {
        self.off_ms.store(off_ms, Ordering::Relaxed);
    }

    /// What the wall clock shows, ms since 1970.
    pub(crate) fn wall_ms(&self) -> u64 {
        self.epoch
            .wall_ms()
            .saturating_add_signed(self.off_ms.load(Ordering::Relaxed))
    }

    /// The boot-time clock, ms.
    pub(crate) fn boot_ms(&self) -> u64 {
        self.epoch.elapsed_ms()
    }
}
