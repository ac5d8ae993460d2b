//! Keys in a token: how they are asked for, found, described and destroyed.

use cryptoki::{
    error::Error as TokenError,
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::Session,
    types::Ulong,
};

use super::Trouble;
use crate::{
    attributes::{Flag, KeyAttributes, KeyClass, Purpose, WrongAttribute},
    error::RootError,
    label::KeyLabel,
    limits::SECRET_BYTES,
};

/// DER of the object identifier of P-256, 1.2.840.10045.3.1.7 (RFC 5480, 2.1.1.1), as CKA_EC_PARAMS has it.
const P256_PARAMS: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// Bytes of an AES-256 key.
const AES_256_BYTES: Ulong = Ulong::new(32);

/// How PKCS#11 states each flag.
fn attribute(flag: Flag, value: bool) -> Attribute {
    match flag {
        Flag::Token => Attribute::Token(value),
        Flag::Private => Attribute::Private(value),
        Flag::Sensitive => Attribute::Sensitive(value),
        Flag::AlwaysSensitive => Attribute::AlwaysSensitive(value),
        Flag::Extractable => Attribute::Extractable(value),
        Flag::NeverExtractable => Attribute::NeverExtractable(value),
        Flag::Local => Attribute::Local(value),
        Flag::Modifiable => Attribute::Modifiable(value),
        Flag::Copyable => Attribute::Copyable(value),
        Flag::Sign => Attribute::Sign(value),
        Flag::SignRecover => Attribute::SignRecover(value),
        Flag::Verify => Attribute::Verify(value),
        Flag::Encrypt => Attribute::Encrypt(value),
        Flag::Decrypt => Attribute::Decrypt(value),
        Flag::Wrap => Attribute::Wrap(value),
        Flag::Unwrap => Attribute::Unwrap(value),
        Flag::Derive => Attribute::Derive(value),
    }
}

fn attribute_type(flag: Flag) -> AttributeType {
    attribute(flag, false).attribute_type()
}

fn flag_of(stated: &Attribute) -> Option<(Flag, bool)> {
    let states = |flag: Flag, value: bool| (attribute(flag, value) == *stated).then_some((flag, value));
    Flag::ALL
        .into_iter()
        .find_map(|flag| states(flag, true).or_else(|| states(flag, false)))
}

/// The flags that a template may state for a private key and for a secret key. The token sets CKA_ALWAYS_SENSITIVE,
/// CKA_NEVER_EXTRACTABLE and CKA_LOCAL itself and takes them from no one.
const PRIVATE_KEY_FLAGS: [Flag; 10] = [
    Flag::Token,
    Flag::Private,
    Flag::Sensitive,
    Flag::Extractable,
    Flag::Modifiable,
    Flag::Copyable,
    Flag::Sign,
    Flag::SignRecover,
    Flag::Decrypt,
    Flag::Unwrap,
];
const SECRET_KEY_FLAGS: [Flag; 12] = [
    Flag::Token,
    Flag::Private,
    Flag::Sensitive,
    Flag::Extractable,
    Flag::Modifiable,
    Flag::Copyable,
    Flag::Sign,
    Flag::Verify,
    Flag::Encrypt,
    Flag::Decrypt,
    Flag::Wrap,
    Flag::Unwrap,
];

fn template(label: &KeyLabel, purpose: Purpose, flags: &[Flag]) -> Vec<Attribute> {
    let name = label.as_str().as_bytes().to_vec();
    let mut template = vec![Attribute::Label(name.clone()), Attribute::Id(name)];
    template.extend(flags.iter().map(|flag| attribute(*flag, purpose.requires(*flag))));
    template.push(attribute(Flag::Derive, false));
    template
}

/// The private half of an identity key.
pub(super) fn identity_template(label: &KeyLabel) -> Vec<Attribute> {
    template(label, Purpose::Identity, &PRIVATE_KEY_FLAGS)
}

/// The public half: an object of its own, found by the same label.
pub(super) fn public_template(label: &KeyLabel) -> Vec<Attribute> {
    let name = label.as_str().as_bytes().to_vec();
    vec![
        Attribute::Label(name.clone()),
        Attribute::Id(name),
        Attribute::EcParams(P256_PARAMS.to_vec()),
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Modifiable(false),
        Attribute::Verify(true),
        Attribute::Encrypt(false),
        Attribute::Wrap(false),
    ]
}

/// A wrapping key.
pub(super) fn wrapping_template(label: &KeyLabel) -> Vec<Attribute> {
    let mut template = template(label, Purpose::Wrapping, &SECRET_KEY_FLAGS);
    template.extend([
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::ValueLen(AES_256_BYTES),
    ]);
    template
}

/// The flags that a session key states. Not CKA_MODIFIABLE: SoftHSM 2.6.1 itself modifies what it unwraps, and refuses
/// a template that says no to it.
const SESSION_KEY_FLAGS: [Flag; 10] = [
    Flag::Token,
    Flag::Private,
    Flag::Sensitive,
    Flag::Extractable,
    Flag::Sign,
    Flag::Verify,
    Flag::Encrypt,
    Flag::Decrypt,
    Flag::Wrap,
    Flag::Unwrap,
];

/// A session key: private, sensitive, gone with the session, fit for `uses` only.
pub(super) fn temporary_template(key_type: KeyType, extractable: bool, uses: &[Flag]) -> Vec<Attribute> {
    let mut template = vec![Attribute::Class(ObjectClass::SECRET_KEY), Attribute::KeyType(key_type)];
    template.extend(SESSION_KEY_FLAGS.map(|flag| {
        let value = match flag {
            Flag::Private | Flag::Sensitive => true,
            Flag::Extractable => extractable,
            other => uses.contains(&other),
        };
        attribute(flag, value)
    }));
    template
}

fn named(label: &KeyLabel) -> Attribute {
    Attribute::Label(label.as_str().as_bytes().to_vec())
}

/// Every object under `label`.
pub(super) fn all(session: &Session, label: &KeyLabel) -> Result<Vec<ObjectHandle>, TokenError> {
    session.find_objects(&[Attribute::Token(true), named(label)])
}

/// The one object of `class` under `label`.
pub(super) fn find(session: &Session, label: &KeyLabel, class: ObjectClass) -> Result<ObjectHandle, Trouble> {
    let found = session.find_objects(&[Attribute::Token(true), named(label), Attribute::Class(class)])?;
    match found.as_slice() {
        [] => Err(RootError::KeyMissing { label: label.clone() }.into()),
        [key] => Ok(*key),
        several => Err(RootError::KeyAmbiguous {
            label: label.clone(),
            count: several.len(),
        }
        .into()),
    }
}

fn object_class(purpose: Purpose) -> ObjectClass {
    match purpose {
        Purpose::Identity => ObjectClass::PRIVATE_KEY,
        Purpose::Wrapping => ObjectClass::SECRET_KEY,
    }
}

/// The key under `label`, if it can serve `purpose`; a key of the other purpose is named as what it is.
pub(super) fn find_for(session: &Session, label: &KeyLabel, purpose: Purpose) -> Result<ObjectHandle, Trouble> {
    match find(session, label, object_class(purpose)) {
        Err(Trouble::Root(RootError::KeyMissing { .. })) => {
            let found = attributes(session, label)?.class;
            let wrong = vec![WrongAttribute::Class {
                expected: purpose.class(),
                found,
            }];
            Err(RootError::WrongAttributes {
                label: label.clone(),
                wrong,
            }
            .into())
        }
        found => found,
    }
}

/// What the token says of the private or secret key under `label`.
pub(super) fn attributes(session: &Session, label: &KeyLabel) -> Result<KeyAttributes, Trouble> {
    let private = find(session, label, ObjectClass::PRIVATE_KEY);
    let key = match private {
        Err(Trouble::Root(RootError::KeyMissing { .. })) => find(session, label, ObjectClass::SECRET_KEY)?,
        found => found?,
    };
    let mut wanted = Flag::ALL.map(attribute_type).to_vec();
    wanted.extend([
        AttributeType::Class,
        AttributeType::KeyType,
        AttributeType::EcParams,
        AttributeType::ValueLen,
    ]);
    let stated = session.get_attributes(key, &wanted)?;
    Ok(KeyAttributes {
        class: class_of(&stated),
        flags: stated.iter().filter_map(flag_of).collect(),
    })
}

fn class_of(stated: &[Attribute]) -> KeyClass {
    let says = |attribute: Attribute| stated.contains(&attribute);
    if says(Attribute::Class(ObjectClass::PRIVATE_KEY))
        && says(Attribute::KeyType(KeyType::EC))
        && says(Attribute::EcParams(P256_PARAMS.to_vec()))
    {
        KeyClass::P256Private
    } else if says(Attribute::Class(ObjectClass::SECRET_KEY))
        && says(Attribute::KeyType(KeyType::AES))
        && says(Attribute::ValueLen(AES_256_BYTES))
    {
        KeyClass::Aes256
    } else {
        KeyClass::Other
    }
}

/// The point of a public key, if the token states it.
pub(super) fn ec_point(session: &Session, key: ObjectHandle) -> Result<Option<Vec<u8>>, TokenError> {
    let stated = session.get_attributes(key, &[AttributeType::EcPoint])?;
    Ok(stated.into_iter().find_map(|attribute| match attribute {
        Attribute::EcPoint(point) => Some(point),
        _ => None,
    }))
}

/// Destroys every object under `label`, the secret ones first: if this is cut short, no secret is what is left.
pub(super) fn destroy(session: &Session, label: &KeyLabel) -> Result<(), Trouble> {
    let found = all(session, label)?;
    if found.is_empty() {
        return Err(RootError::KeyMissing { label: label.clone() }.into());
    }
    let public = session.find_objects(&[named(label), Attribute::Class(ObjectClass::PUBLIC_KEY)])?;
    let secret = found.iter().filter(|object| !public.contains(object));
    for object in secret.chain(&public) {
        session.destroy_object(*object)?;
    }
    if all(session, label)?.is_empty() {
        Ok(())
    } else {
        Err(RootError::StillThere { label: label.clone() }.into())
    }
}

const _: () = assert!(
    SECRET_BYTES == 32,
    "the transport key of `secrets` is an AES-256 key of the same size"
);
