//! Boot keys (custody.md): made in memory at each boot, certified by the identity key in the token.

use bytes::Bytes;
use symbolon_crypto::sign::{Ed25519VerifyingKey, VerifyingKey};
use symbolon_wire::roster::Roster;
use symbolon_wire::statements::Signer;
use symbolon_wire::v1;

/// The public halves of a boot's keys.
#[derive(Debug, Clone, Copy)]
pub struct PublicKeys<'a> {
    /// Signs heads, ticks, confirmations and reply roots.
    pub signing: &'a VerifyingKey,
    /// The connections' key.
    pub tls: &'a VerifyingKey,
    /// Signs checkpoints and cosignatures.
    pub checkpoint: &'a Ed25519VerifyingKey,
}

/// Makes the boot statement. `identity` signs with the token, `signing` with this boot's signing key; an error of the
/// token's comes back as it is.
pub fn statement<E>(
    signer: &Signer,
    roster: &Roster,
    keys: PublicKeys<'_>,
    feature_level: u32,
    identity: impl FnOnce(&[u8]) -> Result<[u8; 64], E>,
    signing: impl FnOnce(&[u8]) -> Result<[u8; 64], E>,
) -> Result<v1::BootKeys, E> {
    let (signing_key, tls_key) = (keys.signing.spki(), keys.tls.spki());
    let checkpoint_key = keys.checkpoint.as_bytes();
    let signature = identity(&signer.boot(&roster.hash, signing_key, tls_key, checkpoint_key))?;
    let feature_signature = signing(&signer.feature(feature_level))?;
    Ok(v1::BootKeys {
        node: signer.node.into(),
        roster_hash: Bytes::copy_from_slice(&roster.hash),
        boot_counter: signer.boot_counter,
        signing_key: Bytes::copy_from_slice(signing_key),
        tls_key: Bytes::copy_from_slice(tls_key),
        checkpoint_key: Bytes::copy_from_slice(checkpoint_key),
        signature: Bytes::copy_from_slice(&signature),
        feature_level,
        feature_signature: Bytes::copy_from_slice(&feature_signature),
    })
}
