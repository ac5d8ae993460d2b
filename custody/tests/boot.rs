//! Boot statements: what a node says of the keys of its boot, and who believes it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panic")]

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::convert::Infallible;
use symbolon_crypto::provider::{Portable, Verify};
use symbolon_crypto::sign::{Ed25519SigningKey, Ed25519VerifyingKey, SigningKey};
use symbolon_custody::boot::{PublicKeys, statement};
use symbolon_state::check_boot;
use symbolon_state::testing::World;
use symbolon_wire::statements::Signer;
use symbolon_wire::v1::BootKeys;

struct Boot {
    world: World,
    signing: SigningKey,
    tls: SigningKey,
    checkpoint: Ed25519VerifyingKey,
}

impl Boot {
    fn new() -> Self {
        let rng = &mut ChaCha20Rng::seed_from_u64(3);
        Self {
            world: World::new(1, 3, 1),
            signing: SigningKey::generate(rng),
            tls: SigningKey::generate(rng),
            checkpoint: Ed25519SigningKey::generate(rng).verifying_key(),
        }
    }

    fn signer(&self, position: usize) -> Signer {
        Signer {
            boot_counter: 9,
            ..self.world.signer(position)
        }
    }

    /// The statement of the node at `position`, certified by the identity key of the one at `certified_by`.
    fn statement(&self, position: usize, certified_by: usize, proved_by: &SigningKey) -> BootKeys {
        let keys = PublicKeys {
            signing: self.signing.verifying_key(),
            tls: self.tls.verifying_key(),
            checkpoint: &self.checkpoint,
        };
        let identity = &self.world.nodes[certified_by].identity;
        let made: Result<_, Infallible> = statement(
            &self.signer(position),
            &self.world.roster,
            keys,
            1,
            |bytes| Ok(identity.sign(bytes)),
            |bytes| Ok(proved_by.sign(bytes)),
        );
        made.unwrap()
    }

    fn believed(&self, statement: &BootKeys) -> bool {
        check_boot(&self.world.roster, &Portable, statement).is_some()
    }
}

#[test]
fn a_statement_names_node_roster_counter_keys_and_level() {
    let boot = Boot::new();
    let made = boot.statement(1, 1, &boot.signing);
    assert_eq!((made.node, made.boot_counter, made.feature_level), (2, 9, 1));
    assert_eq!(made.roster_hash, boot.world.roster.hash.as_slice());
    assert_eq!(made.signing_key, boot.signing.verifying_key().spki().as_slice());
    assert_eq!(made.tls_key, boot.tls.verifying_key().spki().as_slice());
    assert_eq!(made.checkpoint_key, boot.checkpoint.as_bytes().as_slice());
    let signed = boot.signer(1).boot(
        &boot.world.roster.hash,
        boot.signing.verifying_key().spki(),
        boot.tls.verifying_key().spki(),
        boot.checkpoint.as_bytes(),
    );
    let signature = made.signature.as_ref().try_into().unwrap();
    let identity = boot.world.nodes[1].identity.verifying_key();
    assert!(Portable.p256(identity, &signed, &signature).is_ok());
}

#[test]
fn a_statement_certified_by_the_node_s_own_identity_is_believed() {
    let boot = Boot::new();
    let (node, view) = check_boot(&boot.world.roster, &Portable, &boot.statement(2, 2, &boot.signing)).unwrap();
    assert_eq!((node, view.counter), (3, 9));
    assert_eq!(&view.signing_key, boot.signing.verifying_key());
}

#[test]
fn a_statement_certified_by_another_node_is_not_believed() {
    let boot = Boot::new();
    assert!(!boot.believed(&boot.statement(0, 1, &boot.signing)));
}

#[test]
fn a_signing_key_whose_holder_did_not_sign_is_not_believed() {
    let boot = Boot::new();
    assert!(!boot.believed(&boot.statement(0, 0, &boot.tls)));
}

#[test]
fn a_statement_with_any_field_changed_is_not_believed() {
    type Spoil = fn(&mut BootKeys);
    let boot = Boot::new();
    let good = boot.statement(0, 0, &boot.signing);
    assert!(boot.believed(&good));
    fn flip(bytes: &mut Bytes) {
        let mut changed = bytes.to_vec();
        *changed.last_mut().unwrap() ^= 1;
        *bytes = changed.into();
    }
    let spoils: [(&str, Spoil); 12] = [
        ("node", |boot| boot.node = 2),
        ("no such node", |boot| boot.node = 4),
        ("a node past u16", |boot| boot.node += 65_536),
        ("roster", |boot| flip(&mut boot.roster_hash)),
        ("counter", |boot| boot.boot_counter += 1),
        ("signing key", |boot| boot.signing_key = boot.tls_key.clone()),
        ("TLS key", |boot| boot.tls_key = boot.signing_key.clone()),
        ("checkpoint key", |boot| flip(&mut boot.checkpoint_key)),
        ("signature", |boot| flip(&mut boot.signature)),
        ("cut signature", |boot| boot.signature.truncate(63)),
        ("level", |boot| boot.feature_level = 2),
        ("feature signature", |boot| flip(&mut boot.feature_signature)),
    ];
    for (name, spoil) in spoils {
        let mut spoilt = good.clone();
        spoil(&mut spoilt);
        assert!(!boot.believed(&spoilt), "{name}");
    }
}

#[test]
fn a_token_that_does_not_sign_makes_no_statement_and_says_why() {
    let boot = Boot::new();
    let keys = PublicKeys {
        signing: boot.signing.verifying_key(),
        tls: boot.tls.verifying_key(),
        checkpoint: &boot.checkpoint,
    };
    let signer = boot.signer(0);
    let token_gone = statement(
        &signer,
        &boot.world.roster,
        keys,
        1,
        |_| Err("token gone"),
        |_| Ok([0; 64]),
    );
    assert_eq!(token_gone.unwrap_err(), "token gone");
    let no_key = statement(&signer, &boot.world.roster, keys, 1, |_| Ok([0; 64]), |_| Err("no key"));
    assert_eq!(no_key.unwrap_err(), "no key");
}
