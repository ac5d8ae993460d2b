//! With what a store is opened.

use std::fmt;
use std::sync::Arc;

use rand_core::CryptoRng;
use symbolon_crypto::provider::Aead;
use symbolon_crypto::secret::Secret;

use crate::limits::RESERVE_BYTES;

/// With what a store is opened.
pub struct Options {
    /// Opens everything this node has on disk. Unwrapped by its root of trust.
    pub state_key: Secret<32>,
    /// AES-256-GCM.
    pub aead: Arc<dyn Aead + Send + Sync>,
    /// Where nonces come from.
    pub rng: Box<dyn CryptoRng + Send>,
    /// Below this much free space, writes are refused.
    pub reserve_bytes: u64,
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new(state_key: Secret<32>, aead: Arc<dyn Aead + Send + Sync>, rng: Box<dyn CryptoRng + Send>) -> Self {
        Self {
            state_key,
            aead,
            rng,
            reserve_bytes: RESERVE_BYTES,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("reserve_bytes", &self.reserve_bytes)
            .finish_non_exhaustive()
    }
}
