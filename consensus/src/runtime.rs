//! The runtime under which agreement runs: tokio's, with a random source that a simulation can seed.
//!
//! Time comes from tokio alone, so a current-thread runtime with a paused clock makes it virtual. What remains
//! random are election timeouts; [`Runtime::seed`] takes them from a seed for the calling thread. Under both, one seed
//! gives one history.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use openraft_rt::{AsyncRuntime, OptionalSend};
use openraft_rt_tokio::TokioRuntime;
use rand::{SeedableRng, TryRng};
use rand_chacha::ChaCha8Rng;

thread_local! {
    static SEEDED: RefCell<Option<ChaCha8Rng>> = const { RefCell::new(None) };
}

/// tokio, for production and simulation alike.
#[derive(Debug)]
pub struct Runtime(TokioRuntime);

impl Runtime {
    /// Draws what agreement needs at random on this thread from `seed`, until the guard is dropped.
    ///
    /// For simulations: a production node never calls it and draws from the operating system's generator.
    #[must_use = "the seed holds only while the guard lives"]
    pub fn seed(seed: u64) -> SeedGuard {
        let before = SEEDED.with(|cell| cell.replace(Some(ChaCha8Rng::seed_from_u64(seed))));
        SeedGuard { before }
    }
}

/// Restores the thread's former random source when dropped.
#[derive(Debug)]
pub struct SeedGuard {
    before: Option<ChaCha8Rng>,
}

impl Drop for SeedGuard {
    fn drop(&mut self) {
        let before = self.before.take();
        // During thread teardown the cell may be gone; then there is nothing left to restore.
        let _ = SEEDED.try_with(|cell| cell.replace(before));
    }
}

/// The calling thread's random source.
#[derive(Debug, Default)]
pub struct ThreadRandom;

impl ThreadRandom {
    fn draw<T>(
        seeded: impl FnOnce(&mut ChaCha8Rng) -> Result<T, Infallible>,
        system: impl FnOnce(&mut rand::rngs::ThreadRng) -> Result<T, Infallible>,
    ) -> Result<T, Infallible> {
        SEEDED.with(|cell| match cell.borrow_mut().as_mut() {
            Some(rng) => seeded(rng),
            None => system(&mut rand::rng()),
        })
    }
}

impl TryRng for ThreadRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Self::draw(TryRng::try_next_u32, TryRng::try_next_u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Self::draw(TryRng::try_next_u64, TryRng::try_next_u64)
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        SEEDED.with(|cell| match cell.borrow_mut().as_mut() {
            Some(rng) => rng.try_fill_bytes(dst),
            None => rand::rng().try_fill_bytes(dst),
        })
    }
}

impl AsyncRuntime for Runtime {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = <TokioRuntime as AsyncRuntime>::Instant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = ThreadRandom;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        TokioRuntime::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        TokioRuntime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Self::Instant, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        ThreadRandom
    }

    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn new(threads: usize) -> Self {
        Self(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}
