//! Many reads or writes at once, each by itself: one that fails leaves the others alone.

use crate::client::Client;
use crate::error::Error;
use crate::limits::BATCH_IN_FLIGHT;
use crate::read::Opened;
use crate::write::{Put, PutOptions};
use futures::StreamExt;
use futures::stream::iter;

impl Client {
    /// Reads the latest values at `paths`, [`BATCH_IN_FLIGHT`] at a time. Results stand in the order of the paths. It is
    /// no snapshot: values may be written between the first read and the last.
    ///
    /// # Errors
    /// Each result has its own: those of [`Client::get`].
    pub async fn get_many<P: AsRef<str>>(&self, paths: &[P], purpose: &str) -> Vec<Result<Opened, Error>> {
        iter(paths)
            .map(|path| self.get(path.as_ref(), None, purpose))
            .buffered(BATCH_IN_FLIGHT)
            .collect()
            .await
    }

    /// Writes values, [`BATCH_IN_FLIGHT`] at a time: path, value, how. Results stand in the order of the writes, and so do
    /// the versions of writes to one path. It is no transaction: some may be applied and others refused.
    ///
    /// # Errors
    /// Each result has its own: those of [`Client::put`].
    pub async fn put_many<P: AsRef<str>, V: AsRef<[u8]>>(
        &self,
        writes: &[(P, V, PutOptions)],
    ) -> Vec<Result<Put, Error>> {
        iter(writes)
            .map(|(path, value, options)| self.put(path.as_ref(), value.as_ref(), options.clone()))
            .buffered(BATCH_IN_FLIGHT)
            .collect()
            .await
    }
}
