//! `enc`, the one encoding under every hash and signature: for each field u32be(length) ‖ bytes (custody.md,
//! "Encodings"). It is injective, so two different lists of fields never hash alike.
//!
//! Integers are big-endian: suite, n, t, node index, kind and padding rule u16; version, epoch, term, log index, boot
//! counter, generation and times u64.

use std::fmt;

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::Hash;

const LENGTH_BYTES: usize = 4;

/// Encodes `fields`.
#[must_use]
pub fn enc(fields: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(fields.iter().map(|field| LENGTH_BYTES + field.len()).sum());
    each_part(fields, |part| out.extend_from_slice(part));
    out
}

/// SHA-256 of `enc(fields)`, without building the encoding.
#[must_use]
pub fn hash_enc(fields: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    each_part(fields, |part| hasher.update(part));
    hasher.finalize().into()
}

/// SHA-256 of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// Hands the encoding to `sink` piece by piece, so that secrets are never gathered in a buffer.
pub(crate) fn each_part(fields: &[&[u8]], mut sink: impl FnMut(&[u8])) {
    for field in fields {
        #[expect(
            clippy::expect_used,
            reason = "every input is bounded by a limit far below 4 GiB before it gets here"
        )]
        let length = u32::try_from(field.len()).expect("a field of less than 4 GiB");
        sink(&length.to_be_bytes());
        sink(field);
    }
}

/// Public bytes in hexadecimal, for `Debug`.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Debug for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What is wrong with an encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadEncoding {
    /// It ends inside a length or a field.
    #[error("the encoding is cut short")]
    Truncated,
    /// Bytes follow the last field.
    #[error("{count} bytes follow the last field of the encoding")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// A field of fixed size has another.
    #[error("a field has {found} bytes where {expected} belong")]
    FieldLength {
        /// Bytes that belong there.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
}

/// Takes an encoding apart again, field by field. Accepts only what [`enc`] makes.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first field of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next field.
    ///
    /// # Errors
    /// [`BadEncoding::Truncated`].
    pub fn field(&mut self) -> Result<&'a [u8], BadEncoding> {
        let (length, rest) = self
            .rest
            .split_first_chunk::<LENGTH_BYTES>()
            .ok_or(BadEncoding::Truncated)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| BadEncoding::Truncated)?;
        let (field, rest) = rest.split_at_checked(length).ok_or(BadEncoding::Truncated)?;
        self.rest = rest;
        Ok(field)
    }

    /// The next field, of exactly `N` bytes.
    ///
    /// # Errors
    /// [`BadEncoding::Truncated`] or [`BadEncoding::FieldLength`].
    pub fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], BadEncoding> {
        let field = self.field()?;
        field.try_into().map_err(|_| BadEncoding::FieldLength {
            expected: N,
            found: field.len(),
        })
    }

    /// The next field, a u16.
    ///
    /// # Errors
    /// As [`Reader::array`].
    pub fn u16(&mut self) -> Result<u16, BadEncoding> {
        self.array().map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// The next field, a u64.
    ///
    /// # Errors
    /// As [`Reader::array`].
    pub fn u64(&mut self) -> Result<u64, BadEncoding> {
        self.array().map(|bytes| u64::from_be_bytes(*bytes))
    }

    /// Ends: nothing may be left.
    ///
    /// # Errors
    /// [`BadEncoding::TrailingBytes`].
    pub fn finish(self) -> Result<(), BadEncoding> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(BadEncoding::TrailingBytes { count }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_field_is_preceded_by_its_length() {
        assert_eq!(enc(&[b"ab", b"", b"c"]), b"\0\0\0\x02ab\0\0\0\0\0\0\0\x01c");
        assert_eq!(enc(&[]), b"");
    }

    #[test]
    fn sha256_of_abc_is_that_of_fips_180() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex::encode(sha256(b"abc")), expected);
    }

    #[test]
    fn a_cut_encoding_is_refused_at_every_place() {
        let whole = enc(&[b"ab", b"cde"]);
        for cut in 0..whole.len() {
            let mut reader = Reader::new(&whole[..cut]);
            let both = reader.field().and_then(|_| reader.field());
            assert_eq!(both, Err(BadEncoding::Truncated), "cut at {cut}");
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        assert_eq!(Reader::new(b"\xff\xff\xff\xffabc").field(), Err(BadEncoding::Truncated));
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut reader = Reader::new(b"\0\0\0\x01ab");
        assert_eq!(reader.field(), Ok(&b"a"[..]));
        assert_eq!(reader.finish(), Err(BadEncoding::TrailingBytes { count: 1 }));
    }

    #[test]
    fn an_integer_of_another_width_is_refused() {
        let short = enc(&[&7u16.to_be_bytes()]);
        assert_eq!(
            Reader::new(&short).u64(),
            Err(BadEncoding::FieldLength { expected: 8, found: 2 })
        );
        assert_eq!(Reader::new(&short).u16(), Ok(7));
    }

    proptest! {
        #[test]
        fn fields_come_back_as_they_went_in(fields in proptest::collection::vec(any::<Vec<u8>>(), 0..8)) {
            let slices: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
            let encoded = enc(&slices);
            prop_assert_eq!(hash_enc(&slices), sha256(&encoded));
            let mut reader = Reader::new(&encoded);
            for field in &slices {
                prop_assert_eq!(reader.field().unwrap(), *field);
            }
            prop_assert!(reader.finish().is_ok());
        }
    }
}
