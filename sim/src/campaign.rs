//! Many runs. Each has one thread for itself, so that a seed gives the same run wherever it is played.

use crate::error::RunError;
use crate::run::{Report, Settings, run};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Plays every seed, on as many threads as there are cores, and hands over what came of each, in no order.
pub fn play(seeds: Range<u64>, settings: &Settings, each: impl Fn(u64, Result<Report, RunError>) + Sync) {
    let next = AtomicU64::new(seeds.start);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    each(seed, run(seed, settings));
                }
            });
        }
    });
}
