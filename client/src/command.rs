//! Commands: a body, and signatures over exactly its bytes (custody.md, "A log that a bad leader cannot bend").

use crate::client::Client;
use crate::error::Error;
use crate::identity::Identity;
use bytes::Bytes;
use std::time::Duration;
use symbolon_wire::Code;
use symbolon_wire::command::{encode_body, signing_bytes};
use symbolon_wire::ids::{ClusterId, PrincipalId};
use symbolon_wire::limits::SIGNATURES_MAX;
use symbolon_wire::v1::{self, command_body::Payload};

/// A command without signatures, under a nonce drawn here. `expires_ms` is log time, ms since 1970: at most 10 min
/// ahead, or 7 days for kinds that need several signatures.
#[must_use]
pub fn build_command(cluster: ClusterId, principal: PrincipalId, payload: Payload, expires_ms: u64) -> v1::Command {
    let nonce: [u8; 32] = rand::random();
    v1::Command {
        body: encode_body(cluster, principal, &nonce, expires_ms, payload),
        signatures: Vec::new(),
    }
}

/// Adds a signature over the command's bytes as they are. Whoever signs has read them.
///
/// # Errors
/// [`Code::Exists`] if this key has signed already, [`Code::TooLarge`] past the most signatures there may be.
pub fn sign_command(command: &mut v1::Command, identity: &Identity) -> Result<(), Error> {
    let key = identity.fingerprint();
    if command.signatures.iter().any(|earlier| earlier.key == key.as_slice()) {
        return Err(Error::new(
            Code::Exists,
            format!("{} has signed this command already", identity.name()),
        ));
    }
    if command.signatures.len() >= SIGNATURES_MAX {
        let what = format!("the command carries {SIGNATURES_MAX} signatures, the most there may be");
        return Err(Error::new(Code::TooLarge, what));
    }
    let signature = identity.sign(&signing_bytes(&command.body));
    let signature = signature.map_err(|error| Error::new(Code::Internal, error.to_string()))?;
    command.signatures.push(v1::CommandSignature {
        key: Bytes::copy_from_slice(key),
        signature: Bytes::copy_from_slice(&signature),
    });
    Ok(())
}

impl Client {
    /// A command of this client's principal, without signatures, that expires `expires_in` from now by log time. For
    /// kinds that several operators sign: each signs the same bytes, then anyone submits them.
    #[must_use]
    pub fn build_command(&self, payload: Payload, expires_in: Duration) -> v1::Command {
        let inner = &self.inner;
        let expires_ms = inner
            .clock
            .now_ms()
            .saturating_add(u64::try_from(expires_in.as_millis()).unwrap_or(u64::MAX));
        build_command(
            inner.net.roster.cluster,
            inner.net.identity.principal(),
            payload,
            expires_ms,
        )
    }

    /// Signs a command as this client.
    ///
    /// # Errors
    /// As [`sign_command`].
    pub fn sign_command(&self, command: &mut v1::Command) -> Result<(), Error> {
        sign_command(command, &self.inner.net.identity)
    }
}
