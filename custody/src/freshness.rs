//! Freshness without the leader (custody.md, "Reading"): after a request has arrived whole, a node answers only from a
//! state that holds everything it had accepted by then. Because t = q, every t nodes share one with every commit quorum,
//! so a revocation holds from its commit.

use bytes::Bytes;
use prost::Message;
use symbolon_crypto::Hash;
use symbolon_state::Kind;
use symbolon_wire::ids::{PrincipalId, SecretId};
use symbolon_wire::v1::{self, command_body::Payload};

/// A node answers within this time after it sampled, or says `NotFresh`; ms on the boot-time clock.
pub const FRESH_MS_MAX: u64 = 2_000;

/// What an answer depends on; an unapplied entry that touches none of it need not be waited for.
#[derive(Debug, Clone)]
pub struct Interest<'a> {
    /// The key that the connection showed.
    pub client_key: &'a Hash,
    /// The principal that it belonged to when last looked up, if any.
    pub principal: Option<PrincipalId>,
    /// The path that is asked for.
    pub path: &'a str,
    /// The secret there when last looked up, if any.
    pub secret: Option<SecretId>,
}

/// Whether an entry that is accepted but not applied can change nothing that `interest` depends on. An allow-list: a
/// write to another secret id and path, a confirmation, an audit anchor, another principal's sealing session. Kinds not
/// known are not on it.
pub fn harmless(kind: u16, payload: &Bytes, interest: &Interest<'_>) -> bool {
    #[cfg(feature = "sabotage")]
    if symbolon_sabotage::Bug::EverythingHarmless.on() {
        return true;
    }
    match Kind::from_number(kind) {
        Some(Kind::FragmentOk | Kind::AuditAnchor) => true,
        Some(Kind::Command) => harmless_command(payload, interest).unwrap_or(false),
        _ => false,
    }
}

fn harmless_command(payload: &Bytes, interest: &Interest<'_>) -> Option<bool> {
    let command = v1::Command::decode(payload.clone()).ok()?;
    let body = v1::CommandBody::decode(command.body).ok()?;
    // Without a known principal and secret nothing can be told apart from them.
    let (principal, secret) = (interest.principal?, interest.secret?);
    Some(match body.payload? {
        Payload::Put(put) => put.path != interest.path && put.secret != secret.bytes().as_slice(),
        Payload::Session(_) => body.principal != principal.bytes().as_slice(),
        _ => false,
    })
}

/// A request's place in time: when its answer becomes too old to send.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    sampled_ms: u64,
}

impl Deadline {
    /// Starts when `accepted` was sampled, `now_ms` on the boot-time clock.
    pub fn start(now_ms: u64) -> Self {
        Self { sampled_ms: now_ms }
    }

    /// Whether an answer may still be sent at `now_ms`.
    pub fn holds(self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.sampled_ms) < FRESH_MS_MAX
    }

    /// Milliseconds left at `now_ms`.
    pub fn left_ms(self, now_ms: u64) -> u64 {
        FRESH_MS_MAX.saturating_sub(now_ms.saturating_sub(self.sampled_ms))
    }
}
