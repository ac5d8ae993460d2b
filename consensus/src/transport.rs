//! How frames reach other members.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

/// Why a call brought no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No connection. Worth a pause before the next attempt.
    #[error("node {to} cannot be reached")]
    Unreachable {
        /// Whom.
        to: u64,
    },
    /// The connection broke while the call was under way.
    #[error("the connection to node {to} broke")]
    Broken {
        /// Whom.
        to: u64,
    },
    /// No reply in time.
    #[error("node {to} did not answer in {timeout_ms} ms")]
    Timeout {
        /// Whom.
        to: u64,
        /// How long was waited.
        timeout_ms: u64,
    },
}

/// A pending call.
pub type Call<'a> = Pin<Box<dyn Future<Output = Result<Bytes, TransportError>> + Send + 'a>>;

/// Carries frames to other members and brings back their replies. Channels are authenticated: the receiving side hands
/// each frame to [`crate::Consensus::receive`] with the index of the member at the other end.
pub trait Transport: Send + Sync + 'static {
    /// Sends `frame` to member `to`. The reply is what its [`crate::Consensus::receive`] returned.
    fn call(&self, to: u64, frame: Bytes, timeout: Duration) -> Call<'_>;
}
