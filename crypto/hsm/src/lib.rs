//! Roots of trust: PKCS#11 tokens, and for development a folder of key files. The project's one door to FFI.
//!
//! A node keeps two kinds of keys in its root (custody.md, "Root of trust and unseal"):
//!
//! - its **identity key**, ECDSA P-256, which signs boot statements and rosters and nothing else;
//! - one **wrapping key** W_e per epoch, AES-256, which wraps 32-byte secrets by RFC 3394 and does nothing else.
//!
//! Both are made inside the token, never leave it, and are fit for their one purpose only. [`RootOfTrust`] is the trait;
//! [`Pkcs11Root`] and [`SoftwareRoot`] implement it; the feature `conformance` exports the suite that both must pass.
//! The crate knows nothing of nodes or Raft.
//!
//! # What wrapping protects, and what it does not
//!
//! What W_e wraps (K_token, E_e, X-Wing seeds) are 32 bytes that the node needs in memory: the token guards them at
//! rest, not in use. PKCS#11 wraps key *objects*, not bytes, so a secret takes a detour:
//!
//! - **wrap**: a temporary session object is made from the bytes, C_WrapKey wraps it under W_e, it is destroyed.
//! - **unwrap**: C_UnwrapKey makes a temporary session object, sensitive but extractable. It is then wrapped again, under
//!   a random transport key that both sides know for this one call, and opened here. Reading CKA_VALUE would be shorter,
//!   but it passes through buffers of the binding that nobody wipes: destroying W_e would not then destroy what it
//!   protected.
//!
//! Either way the bytes cross the PKCS#11 boundary of this process, on the stack of one call. Someone with the token and
//! its PIN can unwrap whatever W_e wrapped; someone with the disk alone, or the wrapped bytes alone, can not.
//!
//! # Tokens that fail
//!
//! No key handle is kept: every call looks its key up anew, and after any failure the token is asked whether it is still
//! there. [`RootError::TokenGone`] therefore means that the token itself is missing, and nothing is reopened silently;
//! whoever probes counts and decides. (SoftHSM 2.6.1 was watched to notice at the next call that its files were moved,
//! deleted or truncated: C_GetTokenInfo fails with CKR_GENERAL_ERROR, searches find nothing.)
#![forbid(unsafe_code)]

mod attributes;
#[cfg(feature = "conformance")]
pub mod conformance;
mod ecdsa;
mod error;
mod label;
pub mod limits;
mod pin;
mod pkcs11;
mod probe;
mod root;
pub mod softhsm;
mod software;

pub use attributes::{Flag, KeyAttributes, KeyClass, Purpose, WrongAttribute};
pub use error::{Operation, RootError};
pub use label::{BadLabel, KeyLabel};
pub use pin::Pin;
pub use pkcs11::{Pkcs11Root, TokenSelector, init_token};
pub use probe::{PROBE_LABEL, probe};
pub use root::{RootInfo, RootKind, RootOfTrust, Wrapped};
pub use software::{DevelopmentOnly, Mode, SOFTWARE_ROOT_WARNING, SoftwareRoot};
