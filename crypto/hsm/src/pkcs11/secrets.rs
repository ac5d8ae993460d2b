//! Wrapping and unwrapping of secrets that this process holds; the crate's documentation says why by such a detour.

use aes_kw::{KeyInit, KwAes256};
use cryptoki::{
    error::{Error as TokenError, RvError},
    mechanism::Mechanism,
    object::{Attribute, KeyType, ObjectHandle},
    session::Session,
};
use symbolon_crypto::secret::Secret;
use zeroize::Zeroize;

use super::{Trouble, keys::temporary_template, wrapped_length};
use crate::{
    attributes::Flag,
    error::{Operation, RootError},
    label::KeyLabel,
    limits::SECRET_BYTES,
    root::Wrapped,
};

/// Wraps `secret` under `key`: through a session object that holds it for the length of one call.
pub(super) fn wrap(session: &Session, key: ObjectHandle, secret: &Secret<SECRET_BYTES>) -> Result<Wrapped, Trouble> {
    let template = SecretTemplate::new(temporary_template(KeyType::GENERIC_SECRET, true, &[]), secret);
    let wrapped = with_temporary(session, session.create_object(&template.0)?, |object| {
        session.wrap_key(&Mechanism::AesKeyWrap, key, object)
    })?;
    Ok(wrapped_length(Operation::Wrap, &wrapped)?)
}

/// Unwraps under `key` into a session object, and fetches that object wrapped under a transport key made for this call.
pub(super) fn unwrap(
    session: &Session,
    key: ObjectHandle,
    label: &KeyLabel,
    wrapped: &Wrapped,
) -> Result<Secret<SECRET_BYTES>, Trouble> {
    let template = temporary_template(KeyType::GENERIC_SECRET, true, &[]);
    let object = session
        .unwrap_key(&Mechanism::AesKeyWrap, key, wrapped, &template)
        .map_err(|error| {
            if says_not_wrapped(&error) {
                Trouble::Root(RootError::WrappedRefused { label: label.clone() })
            } else {
                Trouble::Token(error)
            }
        })?;
    with_temporary(session, object, |object| fetch(session, object, label))
}

fn fetch(session: &Session, object: ObjectHandle, label: &KeyLabel) -> Result<Secret<SECRET_BYTES>, Trouble> {
    let transport = Secret::<SECRET_BYTES>::try_fill(|bytes| getrandom::fill(bytes)).map_err(RootError::from)?;
    let template = SecretTemplate::new(temporary_template(KeyType::AES, false, &[Flag::Wrap]), &transport);
    let carried = with_temporary(session, session.create_object(&template.0)?, |carrier| {
        session.wrap_key(&Mechanism::AesKeyWrap, carrier, object)
    })?;
    let carried = wrapped_length(Operation::Unwrap, &carried)?;
    Secret::try_fill(
        |bytes| match KwAes256::new(transport.expose().into()).unwrap_key(&carried, bytes) {
            Ok(_) => Ok(()),
            Err(_) => Err(RootError::WrappedRefused { label: label.clone() }.into()),
        },
    )
}

/// The codes by which tokens say that bytes are no wrapping under this key. CKR_WRAPPED_KEY_INVALID is the right one
/// (PKCS#11 v2.40, 5.14.4); SoftHSM 2.6.1 answers CKR_GENERAL_ERROR.
fn says_not_wrapped(error: &TokenError) -> bool {
    let TokenError::Pkcs11(code, _) = error else {
        return false;
    };
    matches!(
        code,
        RvError::WrappedKeyInvalid
            | RvError::WrappedKeyLenRange
            | RvError::EncryptedDataInvalid
            | RvError::DataInvalid
            | RvError::GeneralError
    )
}

/// Hands a session object to `use_it` and destroys it whatever comes of that. A failure to destroy it comes first: it
/// leaves a key behind that can be extracted.
fn with_temporary<T, E: Into<Trouble>>(
    session: &Session,
    object: ObjectHandle,
    use_it: impl FnOnce(ObjectHandle) -> Result<T, E>,
) -> Result<T, Trouble> {
    let result = use_it(object);
    session.destroy_object(object)?;
    result.map_err(Into::into)
}

/// A template that holds a key's value, which is wiped when it has been used.
struct SecretTemplate(Vec<Attribute>);

impl SecretTemplate {
    fn new(mut template: Vec<Attribute>, secret: &Secret<SECRET_BYTES>) -> Self {
        template.push(Attribute::Value(secret.expose().to_vec()));
        Self(template)
    }
}

impl Drop for SecretTemplate {
    fn drop(&mut self) {
        for attribute in &mut self.0 {
            if let Attribute::Value(bytes) = attribute {
                bytes.zeroize();
            }
        }
    }
}
