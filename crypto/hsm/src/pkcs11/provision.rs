//! Making a new token: for development clusters, for tests, and for tokens that come uninitialised.

use std::path::Path;

use cryptoki::{
    context::Pkcs11,
    error::{Error as TokenError, RvError},
    session::UserType,
    slot::Slot,
};

use super::{TokenSelector, describe, module::Module, refused};
use crate::{
    error::{Operation, RootError},
    limits::TOKEN_LABEL_BYTES_MAX,
    pin::Pin,
    root::RootInfo,
};

/// Initialises the first free slot of the module at `path` as a token labelled `label`, and sets the PINs of its
/// security officer and of its user. A token of that label whose user PIN was never set is what an earlier call left
/// when it was cut short: it is initialised anew, with the same `so_pin`.
///
/// # Errors
/// [`RootError::TokenExists`] if there is a finished one, [`RootError::BadTokenLabel`], [`RootError::NoFreeSlot`],
/// [`RootError::PinUnacceptable`], [`RootError::ModuleLoad`].
pub fn init_token(path: &Path, label: &str, so_pin: &Pin, pin: &Pin) -> Result<RootInfo, RootError> {
    check_label(label)?;
    let module = Module::load(path)?;
    let calls = module.lock();
    let pkcs11 = calls.pkcs11();
    let failed = |error| refused_init(label, error);
    let slot = free_slot(pkcs11, label)?;
    pkcs11.init_token(slot, so_pin.as_auth(), label).map_err(failed)?;
    let session = pkcs11.open_rw_session(slot).map_err(failed)?;
    session.login(UserType::So, Some(so_pin.as_auth())).map_err(failed)?;
    session.init_pin(pin.as_auth()).map_err(failed)?;
    session.logout().map_err(failed)?;
    describe(pkcs11, slot).map_err(failed)
}

/// PKCS#11 pads labels with blanks and leaves their encoding to the token: only what survives both is taken.
fn check_label(label: &str) -> Result<(), RootError> {
    let printable = label.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    let fits = !label.is_empty() && label.len() <= TOKEN_LABEL_BYTES_MAX && label.trim() == label;
    if printable && fits {
        Ok(())
    } else {
        Err(RootError::BadTokenLabel)
    }
}

fn free_slot(pkcs11: &Pkcs11, label: &str) -> Result<Slot, RootError> {
    let mut free = None;
    for slot in pkcs11.get_slots_with_token().map_err(refused(Operation::InitToken))? {
        let Ok(token) = pkcs11.get_token_info(slot) else {
            continue;
        };
        if !token.token_initialized() {
            free = free.or(Some(slot));
        } else if token.label() == label {
            if token.user_pin_initialized() {
                return Err(RootError::TokenExists {
                    label: label.to_owned(),
                });
            }
            return Ok(slot);
        }
    }
    free.ok_or(RootError::NoFreeSlot)
}

fn refused_init(label: &str, error: TokenError) -> RootError {
    let token = || TokenSelector::Label(label.to_owned());
    match error {
        TokenError::Pkcs11(RvError::PinLenRange | RvError::PinInvalid | RvError::PinTooWeak, _) => {
            RootError::PinUnacceptable { token: token() }
        }
        TokenError::Pkcs11(RvError::PinIncorrect, _) => RootError::WrongPin { token: token() },
        TokenError::Pkcs11(RvError::PinLocked, _) => RootError::PinLocked { token: token() },
        TokenError::Pkcs11(RvError::SessionExists, _) => RootError::AlreadyOpen { token: token() },
        source => RootError::Refused {
            during: Operation::InitToken,
            source,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_label_that_padding_or_encoding_would_change_is_refused() {
        for label in ["", " node", "node ", "n\u{f6}de", "a\0b", "a\tb", &"a".repeat(33)] {
            assert!(matches!(check_label(label), Err(RootError::BadTokenLabel)), "{label:?}");
        }
        assert!(check_label("symbolon node 1").is_ok());
        assert!(check_label(&"a".repeat(32)).is_ok());
    }
}
