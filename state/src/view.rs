//! The seam to storage: what apply and queries may read, and what apply may write. An entry sees the writes of those
//! before it in the same batch. Names are given in clear; storage keeps them under a keyed hash.

use bytes::Bytes;
use prost::Message;

/// Storage failed or holds what no apply wrote. The node stops serving; nothing is skipped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Reading failed.
    #[error("state could not be read: {what}")]
    Read {
        /// What storage says.
        what: String,
    },
    /// A record does not decode.
    #[error("a record of kind {kind:#04x} does not decode")]
    Corrupt {
        /// The first byte of its key.
        kind: u8,
    },
    /// Something that apply keeps true does not hold.
    #[error("state breaks its own rule: {rule}")]
    Broken {
        /// The rule.
        rule: &'static str,
    },
    /// The cluster went on to what this build does not know: it is older than the others'.
    #[error(
        "feature level {in_force} is in force, and this build knows levels up to {known}: run a build that knows level {in_force}, \
         as the other nodes do (`symbolon status --wide` shows their builds)"
    )]
    NewerLevel {
        /// The level in force.
        in_force: u32,
        /// The highest that this build knows.
        known: u32,
    },
}

/// Records, readable.
pub trait View {
    /// The record under `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault>;
    /// Records under `prefix`, ascending by key, strictly after `after`, at most `limit`.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, Bytes)>, Fault>;
    /// What `name` under `parent` stands for.
    fn name_get(&self, kind: u8, parent: &[u8], name: &[u8]) -> Result<Option<Bytes>, Fault>;
    /// Names under `parent`, ascending, strictly after `after`, at most `limit`.
    fn names(
        &self,
        kind: u8,
        parent: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Bytes)>, Fault>;
}

/// Records, writable while one entry is applied.
pub trait Records: View {
    /// Writes a record.
    fn put(&mut self, key: Vec<u8>, value: Bytes);
    /// Removes a record.
    fn delete(&mut self, key: Vec<u8>);
    /// Files `value` under a name.
    fn name_put(&mut self, kind: u8, parent: &[u8], name: &[u8], value: Bytes);
    /// Removes a name.
    fn name_delete(&mut self, kind: u8, parent: &[u8], name: &[u8]);
}

/// Reads and decodes the record under `key`.
pub(crate) fn load<M: Message + Default>(view: &(impl View + ?Sized), key: &[u8]) -> Result<Option<M>, Fault> {
    view.get(key)?.map(|bytes| decode(key, bytes)).transpose()
}

/// Decodes a record; what apply wrote decodes.
pub(crate) fn decode<M: Message + Default>(key: &[u8], bytes: Bytes) -> Result<M, Fault> {
    M::decode(bytes).map_err(|_| Fault::Corrupt {
        kind: key.first().copied().unwrap_or_default(),
    })
}

/// Encodes and writes a record.
pub(crate) fn store(records: &mut (impl Records + ?Sized), key: Vec<u8>, message: &impl Message) {
    records.put(key, message.encode_to_vec().into());
}
