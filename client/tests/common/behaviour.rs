//! The ways in which a fake node can be told to misbehave.

use std::sync::Arc;
use std::time::Duration;
use symbolon_crypto::Hash;
use symbolon_wire::v1;

/// Changes what a node tells a watch.
pub type ChangeNews = Arc<dyn Fn(&mut v1::WatchReply) + Send + Sync>;

/// How a node answers; the default is well.
#[derive(Clone, Default)]
pub struct Behaviour {
    /// Never answers.
    pub silent: bool,
    /// Answers so much later.
    pub delay: Duration,
    /// Answers every request with this.
    pub refuse: Option<v1::Error>,
    /// Answers with this once so many bytes have come, and reads no further.
    pub refuses_from: Option<(usize, v1::Error)>,
    /// Sees the log up to here; with `catches_up`, up to `min_index` when that is asked for.
    pub lag_at: Option<u64>,
    pub catches_up: bool,
    /// A fragment of its own invention, properly signed.
    pub wrong_fragment: bool,
    /// Another fragment than the one it signed.
    pub swapped_fragment: bool,
    /// Another ciphertext than that of the record it signed.
    pub wrong_body: bool,
    /// Never gives a body.
    pub no_body: bool,
    /// Answers who asks for a body with this.
    pub refuse_bodies: Option<v1::Error>,
    /// Signs for this client key and this request hash instead.
    pub for_client: Option<Hash>,
    pub for_request: Option<Hash>,
    /// Signs another chain value at the anchor.
    pub other_history: bool,
    /// Signs another record hash under the same version.
    pub other_record: bool,
    /// Signs the group with a key that is not its own.
    pub forged_signature: bool,
    /// Another audit leaf than the one in its receipt.
    pub other_receipt: bool,
    /// Says that it is in another state than asked for.
    pub ignores_min_index: bool,
    /// Answers with bytes that are no response.
    pub garbage: bool,
    /// Loses the connection instead of answering.
    pub loses_connection: bool,
    /// Applies commands, then loses the connection before answering.
    pub loses_answers: bool,
    /// Loses the connection before applying anything.
    pub loses_commands: bool,
    /// Tells outcomes that are refusals as errors with the log index, as nodes do that refuse at once.
    pub refuses_as_errors: bool,
    /// Applies commands, and says that too few nodes have confirmed their fragments.
    pub never_confirms: bool,
    /// Applies commands, and says that all have confirmed what another one wrote.
    pub confirms_another: bool,
    /// Applies commands, and never answers those that wait for confirmations.
    pub holds_levels_back: bool,
    /// Applies commands, and says that what they wrote was gone before nodes had confirmed it.
    pub gone_unconfirmed: bool,
    /// What it shows of another node's audit log.
    pub anchor: Option<v1::AnchorReply>,
    /// Says of commands that they had this outcome (0: done), without applying them.
    pub lies_about_writes: Option<u32>,
    /// Says that secrets have this version as their latest.
    pub latest: Option<u64>,
    /// Says that it is this late, ms, and nothing when it is asked how it stands.
    pub told_ms: Option<u64>,
    /// Says that it is this late, ms, when it is asked how it stands.
    pub status_ms: Option<u64>,
    /// Says that secrets have these settings.
    pub settings: Option<v1::SecretSettings>,
    /// Changes what it tells watches.
    pub news: Option<ChangeNews>,
    /// Remembers changes after this log index only.
    pub forgot_until: u64,
}
