//! Locks. Everything runs on one thread; they are there because the real parts want to be shareable.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`; what these locks guard is never left half-changed.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
