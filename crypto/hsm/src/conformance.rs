//! What every root of trust must do: one function per property, run on SoftHSM and on the software root.
//!
//! Each function makes its own keys and destroys them again. A root that breaks a property makes it panic.
#![expect(clippy::expect_used, clippy::panic, reason = "a test suite, exported as code")]

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use symbolon_crypto::secret::Secret;

use crate::{
    attributes::{KeyAttributes, Purpose, WrongAttribute},
    ecdsa,
    error::RootError,
    label::KeyLabel,
    limits::WRAPPED_BYTES,
    probe::probe,
    root::RootOfTrust,
};

/// One property: its name as a sentence, and the function that checks it.
pub type Property = (&'static str, fn(&dyn RootOfTrust));

/// Every property.
pub const PROPERTIES: [Property; 16] = [
    (
        "an_identity_key_signs_and_its_public_key_verifies",
        an_identity_key_signs_and_its_public_key_verifies,
    ),
    ("every_signature_has_a_low_s", every_signature_has_a_low_s),
    (
        "a_public_key_is_91_bytes_of_spki_and_stays_the_same",
        a_public_key_is_91_bytes_of_spki_and_stays_the_same,
    ),
    ("a_wrapped_secret_comes_back", a_wrapped_secret_comes_back),
    (
        "a_wrapped_secret_changed_in_any_byte_is_refused",
        a_wrapped_secret_changed_in_any_byte_is_refused,
    ),
    (
        "a_wrapped_secret_of_another_length_is_refused",
        a_wrapped_secret_of_another_length_is_refused,
    ),
    (
        "a_secret_wrapped_by_another_key_is_refused",
        a_secret_wrapped_by_another_key_is_refused,
    ),
    ("a_label_is_given_once", a_label_is_given_once),
    ("a_missing_key_is_named", a_missing_key_is_named),
    ("a_key_serves_its_one_purpose_only", a_key_serves_its_one_purpose_only),
    ("attributes_read_back_are_right", attributes_read_back_are_right),
    ("a_destroyed_identity_key_is_gone", a_destroyed_identity_key_is_gone),
    (
        "a_destroyed_wrapping_key_takes_its_secrets_with_it",
        a_destroyed_wrapping_key_takes_its_secrets_with_it,
    ),
    (
        "a_probe_passes_with_the_right_key_only",
        a_probe_passes_with_the_right_key_only,
    ),
    ("a_root_says_what_it_is", a_root_says_what_it_is),
    (
        "eight_threads_at_once_get_right_answers",
        eight_threads_at_once_get_right_answers,
    ),
];

/// Checks every property.
pub fn check_all(root: &dyn RootOfTrust) {
    for (_, check) in PROPERTIES {
        check(root);
    }
}

/// A label that no other property uses.
fn fresh_label(what: &str) -> KeyLabel {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let label = format!("{what}.{}.{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    KeyLabel::new(label).expect("a label within the grammar")
}

fn secret(byte: u8) -> Secret<32> {
    Secret::fill(|bytes| {
        for (position, to) in bytes.iter_mut().enumerate() {
            *to = byte.wrapping_add(u8::try_from(position).expect("32 positions"));
        }
    })
}

/// A key that is destroyed at the end of a property that holds.
struct TestKey<'a> {
    root: &'a dyn RootOfTrust,
    label: KeyLabel,
}

impl<'a> TestKey<'a> {
    fn identity(root: &'a dyn RootOfTrust) -> (Self, Vec<u8>) {
        let label = fresh_label("identity");
        let public = root.generate_identity_key(&label).expect("an identity key");
        (Self { root, label }, public)
    }

    fn wrapping(root: &'a dyn RootOfTrust) -> Self {
        let label = fresh_label("wrapping");
        root.generate_wrapping_key(&label).expect("a wrapping key");
        Self { root, label }
    }

    fn destroy(self) {
        self.root.destroy(&self.label).expect("destroying a key");
    }
}

fn check_signature(public: &[u8], message: &[u8], signature: &[u8; 64]) {
    let key = ecdsa::parse_spki(public).expect("a P-256 key in SPKI form");
    assert!(
        ecdsa::verifies(&key, message, signature),
        "the signature verifies and has a low s"
    );
}

/// Signatures are ECDSA over SHA-256 of the message, of any length.
pub fn an_identity_key_signs_and_its_public_key_verifies(root: &dyn RootOfTrust) {
    let (key, public) = TestKey::identity(root);
    for message in [&b""[..], b"message", &[0xa5; 10_000]] {
        let signature = root.sign(&key.label, message).expect("a signature");
        check_signature(&public, message, &signature);
    }
    key.destroy();
}

/// Half of all signatures would have a high s if the root left them as they come.
pub fn every_signature_has_a_low_s(root: &dyn RootOfTrust) {
    let (key, public) = TestKey::identity(root);
    for count in 0..64_u8 {
        let signature = root.sign(&key.label, &[count]).expect("a signature");
        check_signature(&public, &[count], &signature);
    }
    key.destroy();
}

/// The form that rosters hold: uncompressed, named curve.
pub fn a_public_key_is_91_bytes_of_spki_and_stays_the_same(root: &dyn RootOfTrust) {
    let ((one, public), (other, other_public)) = (TestKey::identity(root), TestKey::identity(root));
    assert_eq!(public.len(), 91, "SubjectPublicKeyInfo of an uncompressed P-256 point");
    assert_eq!(root.public_key(&one.label).expect("its public key"), public);
    assert_ne!(public, other_public, "two keys are different keys");
    one.destroy();
    other.destroy();
}

/// And the wrapping shows nothing of it.
pub fn a_wrapped_secret_comes_back(root: &dyn RootOfTrust) {
    let key = TestKey::wrapping(root);
    for byte in [0, 1, 0x80, 0xff] {
        let wrapped = root.wrap(&key.label, &secret(byte)).expect("a wrapped secret");
        assert!(
            wrapped
                .windows(8)
                .all(|window| !secret(byte).expose().windows(8).any(|plain| plain == window))
        );
        let opened = root.unwrap(&key.label, &wrapped).expect("the secret");
        assert!(opened.ct_eq(&secret(byte)), "what was wrapped comes back");
    }
    key.destroy();
}

/// RFC 3394's integrity block covers every byte.
pub fn a_wrapped_secret_changed_in_any_byte_is_refused(root: &dyn RootOfTrust) {
    let key = TestKey::wrapping(root);
    let wrapped = root.wrap(&key.label, &secret(3)).expect("a wrapped secret");
    for position in 0..WRAPPED_BYTES {
        let mut damaged = wrapped;
        if let Some(byte) = damaged.get_mut(position) {
            *byte ^= 1;
        }
        assert_refused(root, &key.label, &damaged);
    }
    key.destroy();
}

fn assert_refused(root: &dyn RootOfTrust, label: &KeyLabel, wrapped: &[u8]) {
    match root.unwrap(label, wrapped) {
        Err(RootError::WrappedRefused { label: named }) => assert_eq!(named, *label),
        Err(other) => panic!("refused as {}: {other}", other.code()),
        Ok(_) => panic!("a wrapped secret was opened that must not be"),
    }
}

/// Before the token sees it.
pub fn a_wrapped_secret_of_another_length_is_refused(root: &dyn RootOfTrust) {
    let key = TestKey::wrapping(root);
    let wrapped = root.wrap(&key.label, &secret(4)).expect("a wrapped secret").to_vec();
    let longer = [&wrapped[..], &[0; 8]].concat();
    for bytes in [
        wrapped.get(..32).unwrap_or_default(),
        wrapped.get(..39).unwrap_or_default(),
        &longer,
        &[],
    ] {
        match root.unwrap(&key.label, bytes) {
            Err(RootError::WrappedLength { found }) => assert_eq!(found, bytes.len()),
            other => panic!("{} bytes gave {other:?}", bytes.len()),
        }
    }
    key.destroy();
}

/// Though both are of this root.
pub fn a_secret_wrapped_by_another_key_is_refused(root: &dyn RootOfTrust) {
    let (one, other) = (TestKey::wrapping(root), TestKey::wrapping(root));
    let wrapped = root.wrap(&one.label, &secret(5)).expect("a wrapped secret");
    assert_refused(root, &other.label, &wrapped);
    one.destroy();
    other.destroy();
}

/// Whatever the purposes of the two keys are.
pub fn a_label_is_given_once(root: &dyn RootOfTrust) {
    let (identity, public) = TestKey::identity(root);
    let wrapping = TestKey::wrapping(root);
    for key in [&identity, &wrapping] {
        let results = [
            root.generate_identity_key(&key.label).map(drop),
            root.generate_wrapping_key(&key.label),
        ];
        for result in results {
            assert!(
                matches!(&result, Err(RootError::KeyExists { label }) if *label == key.label),
                "{result:?}"
            );
        }
    }
    assert_eq!(
        root.public_key(&identity.label).expect("the first key"),
        public,
        "the first key is untouched"
    );
    identity.destroy();
    wrapping.destroy();
}

/// By every method.
pub fn a_missing_key_is_named(root: &dyn RootOfTrust) {
    assert_missing(root, &fresh_label("missing"));
}

fn assert_missing(root: &dyn RootOfTrust, missing: &KeyLabel) {
    let results = [
        root.public_key(missing).map(drop),
        root.sign(missing, b"message").map(drop),
        root.wrap(missing, &secret(6)).map(drop),
        root.unwrap(missing, &[0; WRAPPED_BYTES]).map(drop),
        root.attributes(missing).map(drop),
        root.verify_attributes(missing, Purpose::Identity),
        root.destroy(missing),
    ];
    for result in results {
        assert!(
            matches!(&result, Err(RootError::KeyMissing { label }) if label == missing),
            "{result:?}"
        );
    }
}

/// A wrapping key does not sign, an identity key does not wrap, and the error says what the key is.
pub fn a_key_serves_its_one_purpose_only(root: &dyn RootOfTrust) {
    let (identity, _) = TestKey::identity(root);
    let wrapping = TestKey::wrapping(root);
    let wrapped = root.wrap(&wrapping.label, &secret(7)).expect("a wrapped secret");
    let misuses = [
        (
            root.sign(&wrapping.label, b"message").map(drop),
            Purpose::Identity,
            Purpose::Wrapping,
        ),
        (
            root.wrap(&identity.label, &secret(7)).map(drop),
            Purpose::Wrapping,
            Purpose::Identity,
        ),
        (
            root.unwrap(&identity.label, &wrapped).map(drop),
            Purpose::Wrapping,
            Purpose::Identity,
        ),
    ];
    for (result, needed, is) in misuses {
        let expected = WrongAttribute::Class {
            expected: needed.class(),
            found: is.class(),
        };
        match result {
            Err(RootError::WrongAttributes { wrong, .. }) => assert_eq!(wrong, [expected]),
            other => panic!("a key for {is:?} used for {needed:?} gave {other:?}"),
        }
    }
    identity.destroy();
    wrapping.destroy();
}

/// Fit for the purpose it was made for, refused for the other.
pub fn attributes_read_back_are_right(root: &dyn RootOfTrust) {
    let (identity, _) = TestKey::identity(root);
    let wrapping = TestKey::wrapping(root);
    for (key, purpose, other) in [
        (&identity, Purpose::Identity, Purpose::Wrapping),
        (&wrapping, Purpose::Wrapping, Purpose::Identity),
    ] {
        root.verify_attributes(&key.label, purpose).expect("right attributes");
        let stated = root.attributes(&key.label).expect("attributes");
        let ideal = KeyAttributes::ideal(purpose);
        assert_eq!(stated.class, ideal.class);
        for (flag, value) in &stated.flags {
            assert_eq!(ideal.flags.get(flag), Some(value), "{}", flag.name());
        }
        let refused = root.verify_attributes(&key.label, other);
        assert!(matches!(refused, Err(RootError::WrongAttributes { .. })), "{refused:?}");
    }
    identity.destroy();
    wrapping.destroy();
}

/// With its public part.
pub fn a_destroyed_identity_key_is_gone(root: &dyn RootOfTrust) {
    let (key, public) = TestKey::identity(root);
    root.destroy(&key.label).expect("destroying a key");
    assert_missing(root, &key.label);
    let again = root.generate_identity_key(&key.label).expect("the label is free again");
    assert_ne!(again, public, "it is another key");
    key.destroy();
}

/// A new key under the old label opens nothing of the old one.
pub fn a_destroyed_wrapping_key_takes_its_secrets_with_it(root: &dyn RootOfTrust) {
    let key = TestKey::wrapping(root);
    let wrapped = root.wrap(&key.label, &secret(8)).expect("a wrapped secret");
    root.destroy(&key.label).expect("destroying a key");
    assert_missing(root, &key.label);
    root.generate_wrapping_key(&key.label).expect("the label is free again");
    assert_refused(root, &key.label, &wrapped);
    key.destroy();
}

/// Another key of the same root, a key that is none, and a missing key all fail.
pub fn a_probe_passes_with_the_right_key_only(root: &dyn RootOfTrust) {
    let ((key, public), (other, other_public)) = (TestKey::identity(root), TestKey::identity(root));
    let nonce = [9; 32];
    probe(root, &key.label, &public, &nonce).expect("a probe");
    let wrong = probe(root, &key.label, &other_public, &nonce);
    assert!(matches!(wrong, Err(RootError::BadSignature { .. })), "{wrong:?}");
    let none = probe(root, &key.label, b"no key", &nonce);
    assert!(matches!(none, Err(RootError::BadExpectedKey { .. })), "{none:?}");
    let gone = key.label.clone();
    key.destroy();
    let missing = probe(root, &gone, &public, &nonce);
    assert!(matches!(missing, Err(RootError::KeyMissing { .. })), "{missing:?}");
    other.destroy();
}

/// And its kind agrees with its description.
pub fn a_root_says_what_it_is(root: &dyn RootOfTrust) {
    let info = root.info().expect("a description");
    assert_eq!(info.kind, root.kind());
    for text in [&info.label, &info.serial, &info.model, &info.manufacturer] {
        assert!(!text.is_empty(), "{info:?}");
    }
}

/// Each thread with a wrapping key of its own and all with one identity key.
pub fn eight_threads_at_once_get_right_answers(root: &dyn RootOfTrust) {
    let (identity, public) = TestKey::identity(root);
    thread::scope(|scope| {
        for number in 0..8_u8 {
            let (identity, public) = (&identity.label, &public);
            scope.spawn(move || {
                let key = TestKey::wrapping(root);
                for round in 0..16_u8 {
                    let message = [number, round];
                    check_signature(public, &message, &root.sign(identity, &message).expect("a signature"));
                    let wrapped = root.wrap(&key.label, &secret(number)).expect("a wrapped secret");
                    assert!(
                        root.unwrap(&key.label, &wrapped)
                            .expect("the secret")
                            .ct_eq(&secret(number))
                    );
                }
                key.destroy();
            });
        }
    });
    identity.destroy();
}
