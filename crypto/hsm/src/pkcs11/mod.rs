//! A PKCS#11 token as a root of trust (PKCS#11 v2.40; mechanisms CKM_EC_KEY_PAIR_GEN, CKM_ECDSA over a digest,
//! CKM_AES_KEY_GEN, CKM_AES_KEY_WRAP).

mod keys;
mod module;
mod provision;
mod secrets;

use std::{fmt, path::Path, sync::Arc};

use cryptoki::{
    context::Pkcs11,
    error::{Error as TokenError, RvError},
    mechanism::Mechanism,
    object::ObjectClass,
    session::{Session, SessionState, UserType},
    slot::Slot,
};
use symbolon_crypto::{enc::sha256, secret::Secret};

use self::module::Module;
pub use self::provision::init_token;
use crate::{
    attributes::{KeyAttributes, Purpose},
    ecdsa,
    error::{Operation, RootError},
    label::KeyLabel,
    limits::{SECRET_BYTES, SIGNATURE_BYTES, WRAPPED_BYTES},
    pin::Pin,
    root::{RootInfo, RootKind, RootOfTrust, Wrapped},
};

/// How a token is chosen. Never by its slot: slot numbers change from start to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSelector {
    /// By its label, which must then be the only one.
    Label(String),
    /// By its serial number.
    Serial(String),
}

impl TokenSelector {
    fn fits(&self, info: &RootInfo) -> bool {
        match self {
            Self::Label(label) => *label == info.label,
            Self::Serial(serial) => *serial == info.serial,
        }
    }
}

impl fmt::Display for TokenSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(label) => write!(f, "label {label:?}"),
            Self::Serial(serial) => write!(f, "serial number {serial:?}"),
        }
    }
}

/// What went wrong inside one call: the token's answer, not yet judged, or a finding of ours.
enum Trouble {
    Token(TokenError),
    Root(RootError),
}

impl From<TokenError> for Trouble {
    fn from(error: TokenError) -> Self {
        Self::Token(error)
    }
}

impl From<RootError> for Trouble {
    fn from(error: RootError) -> Self {
        Self::Root(error)
    }
}

/// An open token: logged in for the life of this value, which holds its one session. The PIN is not kept.
///
/// All calls into one module are serialised, because SoftHSM crashes under concurrent ones (SoftHSMv2 issue 688).
pub struct Pkcs11Root {
    module: Arc<Module>,
    slot: Slot,
    info: RootInfo,
}

impl Pkcs11Root {
    /// Loads the module at `path`, finds the token and logs in as its user. The PIN is wiped at the end.
    ///
    /// # Errors
    /// [`RootError::ModuleLoad`], [`RootError::TokenNotFound`], [`RootError::TokenAmbiguous`],
    /// [`RootError::AlreadyOpen`], [`RootError::WrongPin`], [`RootError::PinLocked`], [`RootError::PinNotSet`].
    pub fn open(path: &Path, token: &TokenSelector, pin: Pin) -> Result<Self, RootError> {
        let module = Module::load(path)?;
        let mut calls = module.lock();
        let (slot, info) = find_token(calls.pkcs11(), token)?;
        if calls.session(slot).is_some() {
            return Err(RootError::AlreadyOpen { token: token.clone() });
        }
        let open = || -> Result<Session, TokenError> {
            let session = calls.pkcs11().open_rw_session(slot)?;
            session.login(UserType::User, Some(pin.as_auth()))?;
            Ok(session)
        };
        let session = open().map_err(|error| refused_login(token, error))?;
        calls.keep(slot, session);
        drop(calls);
        Ok(Self { module, slot, info })
    }

    /// Makes one call, alone, and judges what went wrong with it.
    fn ask<T>(&self, during: Operation, question: impl FnOnce(&Session) -> Result<T, Trouble>) -> Result<T, RootError> {
        let calls = self.module.lock();
        let Some(session) = calls.session(self.slot) else {
            return Err(RootError::TokenGone { during });
        };
        question(session).map_err(|trouble| match trouble {
            _ if !self.is_there(calls.pkcs11(), session) => RootError::TokenGone { during },
            Trouble::Token(source) => RootError::Refused { during, source },
            Trouble::Root(error) => error,
        })
    }

    /// Whether the slot still holds the token that was opened, and still lets this session in. A token that has gone
    /// may answer a search with "nothing found" (SoftHSM does), so this is asked after every failure, not only after
    /// those whose code says so.
    fn is_there(&self, pkcs11: &Pkcs11, session: &Session) -> bool {
        describe(pkcs11, self.slot).is_ok_and(|info| info == self.info)
            && session
                .get_session_info()
                .is_ok_and(|info| matches!(info.session_state(), SessionState::RwUser))
    }

    fn generate(
        &self,
        label: &KeyLabel,
        purpose: Purpose,
        make: impl FnOnce(&Session) -> Result<(), TokenError>,
    ) -> Result<(), RootError> {
        self.ask(Operation::Generate, |session| {
            if !keys::all(session, label)?.is_empty() {
                return Err(RootError::KeyExists { label: label.clone() }.into());
            }
            make(session)?;
            let wrong = keys::attributes(session, label)?.wrong_for(purpose);
            if wrong.is_empty() {
                return Ok(());
            }
            keys::destroy(session, label)?;
            Err(RootError::WrongAttributes {
                label: label.clone(),
                wrong,
            }
            .into())
        })
    }
}

impl RootOfTrust for Pkcs11Root {
    fn kind(&self) -> RootKind {
        RootKind::Pkcs11
    }

    fn info(&self) -> Result<RootInfo, RootError> {
        let calls = self.module.lock();
        let info = describe(calls.pkcs11(), self.slot).ok();
        info.filter(|info| *info == self.info).ok_or(RootError::TokenGone {
            during: Operation::Info,
        })
    }

    fn generate_identity_key(&self, label: &KeyLabel) -> Result<Vec<u8>, RootError> {
        self.generate(label, Purpose::Identity, |session| {
            let (public, private) = (keys::public_template(label), keys::identity_template(label));
            session
                .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
                .map(drop)
        })?;
        self.public_key(label)
    }

    fn generate_wrapping_key(&self, label: &KeyLabel) -> Result<(), RootError> {
        self.generate(label, Purpose::Wrapping, |session| {
            session
                .generate_key(&Mechanism::AesKeyGen, &keys::wrapping_template(label))
                .map(drop)
        })
    }

    fn public_key(&self, label: &KeyLabel) -> Result<Vec<u8>, RootError> {
        self.ask(Operation::PublicKey, |session| {
            let key = keys::find(session, label, ObjectClass::PUBLIC_KEY)?;
            let spki = keys::ec_point(session, key)?.and_then(|point| ecdsa::spki_of_point(&point));
            spki.ok_or_else(|| RootError::BadPublicKey { label: label.clone() }.into())
        })
    }

    fn sign(&self, label: &KeyLabel, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], RootError> {
        self.ask(Operation::Sign, |session| {
            let key = keys::find_for(session, label, Purpose::Identity)?;
            let signature = session.sign(&Mechanism::Ecdsa, key, &sha256(message))?;
            ecdsa::low_s(&signature).ok_or_else(|| RootError::BadSignature { label: label.clone() }.into())
        })
    }

    fn wrap(&self, label: &KeyLabel, secret: &Secret<SECRET_BYTES>) -> Result<Wrapped, RootError> {
        self.ask(Operation::Wrap, |session| {
            let key = keys::find_for(session, label, Purpose::Wrapping)?;
            let wrapped = secrets::wrap(session, key, secret)?;
            // Once something depends on a secret that was wrapped wrongly, it is too late.
            if !secrets::unwrap(session, key, label, &wrapped)?.ct_eq(secret) {
                return Err(RootError::WrappedRefused { label: label.clone() }.into());
            }
            Ok(wrapped)
        })
    }

    fn unwrap(&self, label: &KeyLabel, wrapped: &[u8]) -> Result<Secret<SECRET_BYTES>, RootError> {
        let wrapped: &Wrapped = wrapped
            .try_into()
            .map_err(|_| RootError::WrappedLength { found: wrapped.len() })?;
        self.ask(Operation::Unwrap, |session| {
            let key = keys::find_for(session, label, Purpose::Wrapping)?;
            secrets::unwrap(session, key, label, wrapped)
        })
    }

    fn destroy(&self, label: &KeyLabel) -> Result<(), RootError> {
        self.ask(Operation::Destroy, |session| keys::destroy(session, label))
    }

    fn attributes(&self, label: &KeyLabel) -> Result<KeyAttributes, RootError> {
        self.ask(Operation::Attributes, |session| keys::attributes(session, label))
    }
}

impl Drop for Pkcs11Root {
    fn drop(&mut self) {
        // Closing the only session of a token logs this process out of it (PKCS#11 v2.40, 5.6.2).
        self.module.lock().close(self.slot);
    }
}

impl fmt::Debug for Pkcs11Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pkcs11Root")
            .field("token", &self.info)
            .finish_non_exhaustive()
    }
}

/// What the token in `slot` says of itself.
fn describe(pkcs11: &Pkcs11, slot: Slot) -> Result<RootInfo, TokenError> {
    let info = pkcs11.get_token_info(slot)?;
    Ok(RootInfo {
        kind: RootKind::Pkcs11,
        label: info.label().to_owned(),
        serial: info.serial_number().to_owned(),
        model: info.model().to_owned(),
        manufacturer: info.manufacturer_id().to_owned(),
    })
}

/// The one slot whose token fits. Slots whose token can not be asked are passed over: another token's trouble must not
/// keep this one from being found.
fn find_token(pkcs11: &Pkcs11, token: &TokenSelector) -> Result<(Slot, RootInfo), RootError> {
    let slots = pkcs11.get_slots_with_token().map_err(refused(Operation::Open))?;
    let mut fitting = slots
        .into_iter()
        .filter_map(|slot| Some((slot, describe(pkcs11, slot).ok()?)))
        .filter(|(_, info)| token.fits(info));
    let found = fitting
        .next()
        .ok_or_else(|| RootError::TokenNotFound { token: token.clone() })?;
    match fitting.count() {
        0 => Ok(found),
        others => Err(RootError::TokenAmbiguous {
            token: token.clone(),
            count: others + 1,
        }),
    }
}

fn refused(during: Operation) -> impl FnOnce(TokenError) -> RootError {
    move |source| RootError::Refused { during, source }
}

fn refused_login(token: &TokenSelector, error: TokenError) -> RootError {
    let token = token.clone();
    match error {
        TokenError::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _) => {
            RootError::WrongPin { token }
        }
        TokenError::Pkcs11(RvError::PinLocked, _) => RootError::PinLocked { token },
        TokenError::Pkcs11(RvError::UserPinNotInitialized | RvError::PinExpired, _) => RootError::PinNotSet { token },
        TokenError::Pkcs11(RvError::UserAlreadyLoggedIn | RvError::UserAnotherAlreadyLoggedIn, _) => {
            RootError::AlreadyOpen { token }
        }
        source => RootError::Refused {
            during: Operation::Open,
            source,
        },
    }
}

fn wrapped_length(during: Operation, bytes: &[u8]) -> Result<Wrapped, RootError> {
    bytes.try_into().map_err(|_| RootError::AnswerLength {
        during,
        expected: WRAPPED_BYTES,
        found: bytes.len(),
    })
}
