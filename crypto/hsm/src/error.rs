//! What can go wrong with a root of trust, by blame: the configuration, the PIN, the token, a key, what was handed in.

use std::{fmt, io, path::PathBuf};

use thiserror::Error;

use crate::{
    attributes::WrongAttribute,
    label::KeyLabel,
    limits::{TOKEN_LABEL_BYTES_MAX, WRAPPED_BYTES},
    pkcs11::TokenSelector,
};

/// What a root was doing when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Opening the root.
    Open,
    /// Making a new token.
    InitToken,
    /// Asking what the token is.
    Info,
    /// Making a key.
    Generate,
    /// Reading a public key.
    PublicKey,
    /// Signing.
    Sign,
    /// Wrapping a secret.
    Wrap,
    /// Unwrapping a secret.
    Unwrap,
    /// Destroying a key.
    Destroy,
    /// Reading a key's attributes.
    Attributes,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "opening the token",
            Self::InitToken => "initialising a token",
            Self::Info => "asking for the token's description",
            Self::Generate => "making a key",
            Self::PublicKey => "reading a public key",
            Self::Sign => "signing",
            Self::Wrap => "wrapping a secret",
            Self::Unwrap => "unwrapping a secret",
            Self::Destroy => "destroying a key",
            Self::Attributes => "reading a key's attributes",
        })
    }
}

/// Why a root of trust did not do what it was asked. No variant holds a PIN or key material.
#[derive(Debug, Error)]
pub enum RootError {
    /// The PKCS#11 module can not be loaded or does not start.
    #[error("the PKCS#11 module {} can not be used: {}", path.display(), short(reason))]
    ModuleLoad {
        /// Where it was looked for.
        path: PathBuf,
        /// What the loader or the module said.
        #[source]
        reason: cryptoki::error::Error,
    },
    /// No slot holds the token.
    #[error("no slot holds a token with {token}")]
    TokenNotFound {
        /// The token asked for.
        token: TokenSelector,
    },
    /// Several tokens fit.
    #[error("{count} tokens have {token}; choose one by its serial number")]
    TokenAmbiguous {
        /// The token asked for.
        token: TokenSelector,
        /// How many fit.
        count: usize,
    },
    /// A token of that label is there already.
    #[error("a token labelled {label:?} exists already")]
    TokenExists {
        /// Its label.
        label: String,
    },
    /// A token label that PKCS#11 can not hold or that does not read the same everywhere.
    #[error("a token label has 1 to {TOKEN_LABEL_BYTES_MAX} printable ASCII characters and no space at its ends")]
    BadTokenLabel,
    /// No slot is free for a new token.
    #[error("the PKCS#11 module has no free slot for a new token")]
    NoFreeSlot,
    /// This process has opened the token already. Login is per process, so a second PIN would go unchecked.
    #[error("the token with {token} is already open in this process")]
    AlreadyOpen {
        /// The token.
        token: TokenSelector,
    },
    /// The token refuses the PIN.
    #[error("wrong PIN for the token with {token}; too many wrong PINs lock it")]
    WrongPin {
        /// The token.
        token: TokenSelector,
    },
    /// Too many wrong PINs were tried.
    #[error("the PIN of the token with {token} is locked; its security officer can unlock it")]
    PinLocked {
        /// The token.
        token: TokenSelector,
    },
    /// The user PIN has never been set, or has expired.
    #[error("the token with {token} has no usable user PIN; set one as its security officer")]
    PinNotSet {
        /// The token.
        token: TokenSelector,
    },
    /// The token does not take the new PIN: too short, too long, or with characters it does not know.
    #[error("the token with {token} does not accept this as a new PIN")]
    PinUnacceptable {
        /// The token.
        token: TokenSelector,
    },
    /// The token is no longer there, or no longer lets this process in.
    #[error("the token is gone (noticed while {during})")]
    TokenGone {
        /// What showed it.
        during: Operation,
    },
    /// There is no such key.
    #[error("the token holds no key {label}")]
    KeyMissing {
        /// Its label.
        label: KeyLabel,
    },
    /// A key of that label is there already.
    #[error("the token already holds a key {label}")]
    KeyExists {
        /// Its label.
        label: KeyLabel,
    },
    /// Several keys have the label.
    #[error("the token holds {count} keys {label}; one must be the only one")]
    KeyAmbiguous {
        /// Their label.
        label: KeyLabel,
        /// How many.
        count: usize,
    },
    /// The key is not fit for its one purpose, or fit for more.
    #[error("the key {label} must not be used: {}", list(wrong))]
    WrongAttributes {
        /// Its label.
        label: KeyLabel,
        /// Everything that is wrong with it.
        wrong: Vec<WrongAttribute>,
    },
    /// A destroyed key can still be found.
    #[error("the key {label} is still in the token after it was destroyed")]
    StillThere {
        /// Its label.
        label: KeyLabel,
    },
    /// What the token gives out as a public key is none on P-256.
    #[error("the token's public key of {label} is not a point on P-256")]
    BadPublicKey {
        /// Its label.
        label: KeyLabel,
    },
    /// What the token gives out as a signature is none, or not one by the expected key.
    #[error("the token's signature by {label} does not verify under the key that belongs to it")]
    BadSignature {
        /// Label of the key that should have signed.
        label: KeyLabel,
    },
    /// The public key to check a probe against is none.
    #[error("the public key that belongs to {label} is not a P-256 key in SubjectPublicKeyInfo form")]
    BadExpectedKey {
        /// Label of the key.
        label: KeyLabel,
    },
    /// A wrapped secret of the wrong size.
    #[error("a wrapped secret has {found} bytes; {WRAPPED_BYTES} belong there")]
    WrappedLength {
        /// Bytes found.
        found: usize,
    },
    /// A wrapped secret that the key does not open: damaged, or wrapped by another key.
    #[error("the key {label} does not open this wrapped secret: it is damaged or was wrapped by another key")]
    WrappedRefused {
        /// Label of the wrapping key.
        label: KeyLabel,
    },
    /// The token is there and refuses.
    #[error("the token is there but failed at {during}: {}", short(source))]
    Refused {
        /// What it was asked to do.
        during: Operation,
        /// What it said.
        source: cryptoki::error::Error,
    },
    /// The token answered something that PKCS#11 does not allow.
    #[error("the token answered {during} with {found} bytes where {expected} belong")]
    AnswerLength {
        /// What it was asked to do.
        during: Operation,
        /// Bytes that belong there.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// The software root was asked for outside development.
    #[error("the software root keeps keys in plain files and is refused outside dev mode; configure a PKCS#11 token")]
    DevelopmentOnly,
    /// A file or folder of the software root can not be read or written.
    #[error("{}: {source}", path.display())]
    KeyFile {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file or folder of the software root is open to others.
    #[error("{} has mode {mode:03o}; take all rights from group and others (chmod go=)", path.display())]
    KeyFileOpenToOthers {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A key file of the software root holds no key.
    #[error("{} holds no key of its kind", path.display())]
    KeyFileDamaged {
        /// Which.
        path: PathBuf,
    },
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes: {0}")]
    Randomness(#[from] getrandom::Error),
}

impl RootError {
    /// A name for the kind of error that does not change between versions: for metrics, logs and catalogues.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::ModuleLoad { .. } => "module_load",
            Self::TokenNotFound { .. } => "token_not_found",
            Self::TokenAmbiguous { .. } => "token_ambiguous",
            Self::TokenExists { .. } => "token_exists",
            Self::BadTokenLabel => "bad_token_label",
            Self::NoFreeSlot => "no_free_slot",
            Self::AlreadyOpen { .. } => "already_open",
            Self::WrongPin { .. } => "wrong_pin",
            Self::PinLocked { .. } => "pin_locked",
            Self::PinNotSet { .. } => "pin_not_set",
            Self::PinUnacceptable { .. } => "pin_unacceptable",
            Self::TokenGone { .. } => "token_gone",
            Self::KeyMissing { .. } => "key_missing",
            Self::KeyExists { .. } => "key_exists",
            Self::KeyAmbiguous { .. } => "key_ambiguous",
            Self::WrongAttributes { .. } => "wrong_attributes",
            Self::StillThere { .. } => "still_there",
            Self::BadPublicKey { .. } => "bad_public_key",
            Self::BadSignature { .. } => "bad_signature",
            Self::BadExpectedKey { .. } => "bad_expected_key",
            Self::WrappedLength { .. } => "wrapped_length",
            Self::WrappedRefused { .. } => "wrapped_refused",
            Self::Refused { .. } => "refused",
            Self::AnswerLength { .. } => "answer_length",
            Self::DevelopmentOnly => "development_only",
            Self::KeyFile { .. } => "key_file",
            Self::KeyFileOpenToOthers { .. } => "key_file_open_to_others",
            Self::KeyFileDamaged { .. } => "key_file_damaged",
            Self::Randomness(_) => "randomness",
        }
    }
}

/// The call and the code that it returned. The binding's own text spells out whole paragraphs of the standard.
fn short(error: &cryptoki::error::Error) -> String {
    match error {
        cryptoki::error::Error::Pkcs11(code, function) => format!("C_{function:?} answered {code:?}"),
        other => other.to_string(),
    }
}

fn list(wrong: &[WrongAttribute]) -> String {
    wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
