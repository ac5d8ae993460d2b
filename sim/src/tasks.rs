//! The tasks of one boot of one node: all of them end when the power goes.

use crate::sync::lock;
use std::future::Future;
use std::sync::Mutex;
use tokio::task::JoinSet;

/// Tasks that end together.
#[derive(Debug)]
pub(crate) struct Tasks(Mutex<Option<JoinSet<()>>>);

impl Default for Tasks {
    fn default() -> Self {
        Self(Mutex::new(Some(JoinSet::new())))
    }
}

impl Tasks {
    /// Starts a task, unless they have been stopped.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(running) = lock(&self.0).as_mut() {
            while running.try_join_next().is_some() {}
            running.spawn(task);
        }
    }

    /// Stops all of them where they are.
    pub(crate) fn stop(&self) {
        // Dropped outside the lock: what a task holds may want to start another one.
        let running = lock(&self.0).take();
        drop(running);
    }
}
