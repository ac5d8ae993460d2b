//! Every limit of this crate, with its reason.

/// A secret that a wrapping key wraps, in bytes: K_token, E_e and X-Wing seeds all have this size (custody.md).
pub const SECRET_BYTES: usize = 32;

/// A wrapped secret, in bytes: RFC 3394 adds one 64-bit integrity block.
pub const WRAPPED_BYTES: usize = SECRET_BYTES + 8;

/// An ECDSA P-256 signature, in bytes: r‖s.
pub const SIGNATURE_BYTES: usize = 64;

/// The longest key label, in bytes: more than any label of ours, less than any file system's or token's limit.
pub const KEY_LABEL_BYTES_MAX: usize = 64;

/// The longest token label, in bytes: the fixed width of `CK_TOKEN_INFO.label`.
pub const TOKEN_LABEL_BYTES_MAX: usize = 32;

/// The longest key file of the software root, in bytes: a P-256 key in PKCS#8 PEM has about 240.
pub const KEY_FILE_BYTES_MAX: u64 = 1024;

const _: () = assert!(
    WRAPPED_BYTES.is_multiple_of(8) && SECRET_BYTES >= 16,
    "RFC 3394 wraps two or more 64-bit blocks"
);
