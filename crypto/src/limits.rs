//! Every limit of this crate, with its reason.

use crate::padme;

/// The only suite there is (custody.md, "Suite 1"); every stored object carries its suite and an unknown one is refused.
pub const SUITE: u16 = 1;

/// The only padding rule there is: Padmé with a floor of [`PADDED_BYTES_MIN`].
pub const PADDING_RULE: u16 = 1;

/// The longest value, in bytes. It is dealt, signed, logged and applied as one command, so that memory for it must be
/// found at once at each of these places; what is larger belongs elsewhere, encrypted under a key that is kept here.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// The shortest padded value, in bytes: passwords, tokens and keys below it are of one size to whoever looks on.
pub const PADDED_BYTES_MIN: usize = 256;

/// The longest padded value, in bytes: the longest value with its length, padded.
pub const PADDED_BYTES_MAX: usize = padme::padded_len(padme::LENGTH_BYTES + VALUE_BYTES_MAX);

/// An AES-GCM tag, in bytes.
pub const TAG_BYTES: usize = 16;

/// The longest ciphertext of a value, in bytes.
pub const CIPHERTEXT_BYTES_MAX: usize = PADDED_BYTES_MAX + TAG_BYTES;

/// The longest content type, in bytes: RFC 6838 allows 127 for each half; the rest is room for parameters.
pub const CONTENT_TYPE_BYTES_MAX: usize = 1024;

/// The longest header, in bytes: its label, suite, padding rule and content type, each with a length.
pub const HEADER_BYTES_MAX: usize = 4 * 4 + 18 + 2 + 2 + CONTENT_TYPE_BYTES_MAX;

/// A fragment in the clear: the scalar s_i and the blinding γ_i.
pub const FRAGMENT_BYTES: usize = 64;

/// A sealed fragment: its bytes and a tag.
pub const SEALED_FRAGMENT_BYTES: usize = FRAGMENT_BYTES + TAG_BYTES;

/// Numbers of fragment holders a roster may have; odd, so that t = ⌊n/2⌋+1 is also the smallest majority.
pub const HOLDERS: [u16; 3] = [3, 5, 7];

/// Dealings under one sealing session: bounds what a leaked session opens and what `state` keeps of it.
pub const SESSION_DEALINGS_MAX: u32 = 4_096;

/// How long a sealing session may be used, in log time.
pub const SESSION_AGE_MS_MAX: u64 = 60 * 60 * 1000;

/// The longest Merkle proof that is looked at: a tree has fewer than 2^63 leaves, and a consistency proof may have one
/// hash more than the tree is high.
pub const PROOF_HASHES_MAX: usize = 64;

/// The longest signed note that is parsed, in bytes: a checkpoint with a few dozen cosignatures has about 8 KiB.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;

const _: () = assert!(PADDED_BYTES_MIN > padme::LENGTH_BYTES);
const _: () = assert!(padme::is_padme_size(PADDED_BYTES_MIN) && padme::is_padme_size(PADDED_BYTES_MAX));
const _: () = assert!(SEALED_FRAGMENT_BYTES == 80);
