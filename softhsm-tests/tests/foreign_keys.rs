//! Keys that our own code would never make, put into the token beside it: a known one, to compare with an independent
//! RFC 3394, and wrong ones, each of which the check of attributes must refuse by name.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use aes_kw::{KeyInit, KwAes256};
use cryptoki::{
    context::Pkcs11,
    mechanism::Mechanism,
    object::{Attribute, KeyType, ObjectClass},
    session::Session,
};
use symbolon_crypto::secret::Secret;
use symbolon_hsm::{Flag, KeyLabel, Pkcs11Root, Purpose, RootError, RootInfo, RootOfTrust, WrongAttribute};
use symbolon_softhsm_tests::{SoftHsm, in_own_process};

const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: [u8; 7] = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

/// A second session in a token that `root` has open. Each of these tests has its process to itself, on one thread, so
/// nothing else calls into the module meanwhile.
fn beside(softhsm: &SoftHsm, root: &Pkcs11Root) -> Session {
    let serial = root.info().unwrap().serial;
    let raw = Pkcs11::new(softhsm.module()).unwrap();
    let mut slots = raw.get_slots_with_token().unwrap().into_iter();
    let slot = slots
        .find(|slot| raw.get_token_info(*slot).unwrap().serial_number() == serial)
        .unwrap();
    raw.open_rw_session(slot).unwrap()
}

fn label(text: &str) -> KeyLabel {
    KeyLabel::new(text).unwrap()
}

fn named(text: &str) -> Attribute {
    Attribute::Label(text.as_bytes().to_vec())
}

fn right_wrapping_key(name: &str) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        named(name),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Modifiable(false),
        Attribute::Copyable(false),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Wrap(true),
        Attribute::Unwrap(true),
        Attribute::Derive(false),
    ]
}

fn right_identity_key(name: &str) -> Vec<Attribute> {
    vec![
        named(name),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Modifiable(false),
        Attribute::Copyable(false),
        Attribute::Sign(true),
        Attribute::SignRecover(false),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
    ]
}

/// `template` with `change` in the place of the attribute of its type.
fn with(mut template: Vec<Attribute>, change: &Attribute) -> Vec<Attribute> {
    template.retain(|attribute| attribute.attribute_type() != change.attribute_type());
    template.push(change.clone());
    template
}

fn wrong_flags(root: &dyn RootOfTrust, name: &str, purpose: Purpose) -> Vec<&'static str> {
    match root.verify_attributes(&label(name), purpose) {
        Ok(()) => Vec::new(),
        Err(RootError::WrongAttributes { label: named, wrong }) => {
            assert_eq!(named, label(name));
            wrong.iter().map(name_of).collect()
        }
        Err(other) => panic!("{other}"),
    }
}

fn name_of(wrong: &WrongAttribute) -> &'static str {
    match wrong {
        WrongAttribute::Class { .. } => "class",
        WrongAttribute::Flag { flag, .. } => flag.name(),
    }
}

#[test]
fn wrapping_is_that_of_rfc_3394() {
    in_own_process("wrapping_is_that_of_rfc_3394", |softhsm| {
        let root = softhsm.root("node");
        // RFC 3394, 4.6: 256 bits of key data under a 256-bit key.
        let kek: Vec<u8> = (0x00..=0x1f).collect();
        let data: Vec<u8> = [
            (0x00..=0xff).step_by(0x11).collect::<Vec<u8>>(),
            (0x00..=0x0f).collect(),
        ]
        .concat();
        let expected = [
            0x28, 0xc9, 0xf4, 0x04, 0xc4, 0xb8, 0x10, 0xf4, 0xcb, 0xcc, 0xb3, 0x5c, 0xfb, 0x87, 0xf8, 0x26, 0x3f, 0x57,
            0x86, 0xe2, 0xd8, 0x0e, 0xd3, 0x26, 0xcb, 0xc7, 0xf0, 0xe7, 0x1a, 0x99, 0xf4, 0x3b, 0xfb, 0x98, 0x8b, 0x9b,
            0x7a, 0x02, 0xdd, 0x21,
        ];
        let known = with(right_wrapping_key("known"), &Attribute::Value(kek.clone()));
        beside(softhsm, &root).create_object(&known).unwrap();

        let secret = Secret::copy_from(&data).unwrap();
        assert_eq!(root.wrap(&label("known"), &secret).unwrap(), expected);
        assert!(root.unwrap(&label("known"), &expected).unwrap().ct_eq(&secret));

        let other_side = KwAes256::new_from_slice(&kek).unwrap();
        for byte in 0..=255 {
            let secret = Secret::fill(|bytes| bytes.fill(byte));
            let mut wrapped = [0; 40];
            other_side.wrap_key(secret.expose(), &mut wrapped).unwrap();
            assert_eq!(root.wrap(&label("known"), &secret).unwrap(), wrapped);
            assert!(root.unwrap(&label("known"), &wrapped).unwrap().ct_eq(&secret));
        }
    });
}

#[test]
fn a_key_brought_in_from_outside_is_refused() {
    in_own_process("a_key_brought_in_from_outside_is_refused", |softhsm| {
        let root = softhsm.root("node");
        let known = with(right_wrapping_key("known"), &Attribute::Value(vec![7; 32]));
        beside(softhsm, &root).create_object(&known).unwrap();
        assert_eq!(
            wrong_flags(&root, "known", Purpose::Wrapping),
            [Flag::AlwaysSensitive, Flag::NeverExtractable, Flag::Local].map(Flag::name)
        );
    });
}

#[test]
fn a_wrapping_key_fit_for_more_is_refused_by_name() {
    in_own_process("a_wrapping_key_fit_for_more_is_refused_by_name", |softhsm| {
        let root = softhsm.root("node");
        let session = beside(softhsm, &root);
        let generate = |name: &str, change: &Attribute| {
            let template = with(with(right_wrapping_key(name), &Attribute::ValueLen(32.into())), change);
            session.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
        };
        generate("right", &Attribute::Derive(false));
        assert_eq!(wrong_flags(&root, "right", Purpose::Wrapping), [""; 0]);
        let changes: [(&str, Attribute, &[&str]); 9] = [
            (
                "readable",
                Attribute::Sensitive(false),
                &["CKA_SENSITIVE", "CKA_ALWAYS_SENSITIVE"],
            ),
            (
                "extractable",
                Attribute::Extractable(true),
                &["CKA_EXTRACTABLE", "CKA_NEVER_EXTRACTABLE"],
            ),
            ("modifiable", Attribute::Modifiable(true), &["CKA_MODIFIABLE"]),
            ("copyable", Attribute::Copyable(true), &["CKA_COPYABLE"]),
            ("encrypts", Attribute::Encrypt(true), &["CKA_ENCRYPT"]),
            ("decrypts", Attribute::Decrypt(true), &["CKA_DECRYPT"]),
            ("derives", Attribute::Derive(true), &["CKA_DERIVE"]),
            ("does-not-unwrap", Attribute::Unwrap(false), &["CKA_UNWRAP"]),
            ("aes-128", Attribute::ValueLen(16.into()), &["class"]),
        ];
        for (name, change, wrong) in changes {
            generate(name, &change);
            assert_eq!(wrong_flags(&root, name, Purpose::Wrapping), wrong, "{name}");
        }
    });
}

#[test]
fn an_identity_key_fit_for_more_is_refused_by_name() {
    in_own_process("an_identity_key_fit_for_more_is_refused_by_name", |softhsm| {
        let root = softhsm.root("node");
        let session = beside(softhsm, &root);
        let generate = |name: &str, curve: &[u8], change: &Attribute| {
            let public = [named(name), Attribute::Token(true), Attribute::EcParams(curve.to_vec())];
            let private = with(right_identity_key(name), change);
            session
                .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
                .unwrap();
        };
        generate("right", &P256, &Attribute::Derive(false));
        assert_eq!(wrong_flags(&root, "right", Purpose::Identity), [""; 0]);
        let changes: [(&str, &[u8], Attribute, &[&str]); 6] = [
            (
                "readable",
                &P256,
                Attribute::Sensitive(false),
                &["CKA_SENSITIVE", "CKA_ALWAYS_SENSITIVE"],
            ),
            (
                "extractable",
                &P256,
                Attribute::Extractable(true),
                &["CKA_EXTRACTABLE", "CKA_NEVER_EXTRACTABLE"],
            ),
            ("derives", &P256, Attribute::Derive(true), &["CKA_DERIVE"]),
            ("unwraps", &P256, Attribute::Unwrap(true), &["CKA_UNWRAP"]),
            ("modifiable", &P256, Attribute::Modifiable(true), &["CKA_MODIFIABLE"]),
            ("p384", &P384, Attribute::Derive(false), &["class"]),
        ];
        for (name, curve, change, wrong) in changes {
            generate(name, curve, &change);
            assert_eq!(wrong_flags(&root, name, Purpose::Identity), wrong, "{name}");
        }
        let error = root
            .verify_attributes(&label("extractable"), Purpose::Identity)
            .unwrap_err();
        let told = "the key extractable must not be used: CKA_EXTRACTABLE is true, must be false; \
                    CKA_NEVER_EXTRACTABLE is false, must be true";
        assert_eq!(error.to_string(), told);
    });
}

#[test]
fn two_keys_under_one_label_are_used_by_nobody() {
    in_own_process("two_keys_under_one_label_are_used_by_nobody", |softhsm| {
        let root = softhsm.root("node");
        root.generate_wrapping_key(&label("twin")).unwrap();
        let twin = with(right_wrapping_key("twin"), &Attribute::ValueLen(32.into()));
        beside(softhsm, &root)
            .generate_key(&Mechanism::AesKeyGen, &twin)
            .unwrap();
        let wrapped = root.wrap(&label("twin"), &Secret::fill(|bytes| bytes.fill(1)));
        assert!(
            matches!(wrapped, Err(RootError::KeyAmbiguous { count: 2, .. })),
            "{wrapped:?}"
        );
        root.destroy(&label("twin")).unwrap();
        assert_eq!(root.attributes(&label("twin")).unwrap_err().code(), "key_missing");
    });
}

#[test]
fn unwrapping_leaves_no_object_behind() {
    in_own_process("unwrapping_leaves_no_object_behind", |softhsm| {
        let root = softhsm.root("node");
        root.generate_wrapping_key(&label("wrapping")).unwrap();
        let wrapped = root
            .wrap(&label("wrapping"), &Secret::fill(|bytes| bytes.fill(1)))
            .unwrap();
        root.unwrap(&label("wrapping"), &wrapped).unwrap();
        root.unwrap(&label("wrapping"), &[0; 40]).unwrap_err();
        assert_eq!(
            beside(softhsm, &root).find_objects(&[]).unwrap().len(),
            1,
            "the wrapping key alone"
        );
        let RootInfo { label, .. } = root.info().unwrap();
        assert_eq!(label, "node");
    });
}
