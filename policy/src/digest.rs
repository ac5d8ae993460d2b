//! SHA-256 over `enc(label, x1..xk)`: for each field `u32be(length) ‖ bytes` (docs: custody, "Encodings").
//!
//! Streamed here rather than taken from `crypto`, so that this crate stands alone.

use sha2::{Digest as _, Sha256};

/// A hash over a label and fields, each preceded by its length, so that no two field lists meet in one hash.
pub(crate) struct FieldHash(Sha256);

impl FieldHash {
    pub(crate) fn new(label: &str) -> Self {
        let mut hash = Self(Sha256::new());
        hash.field(label.as_bytes());
        hash
    }

    pub(crate) fn field(&mut self, bytes: &[u8]) -> &mut Self {
        // Fields are bounded by `limits`, far below 4 GiB.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.0.update(length.to_be_bytes());
        self.0.update(bytes);
        self
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.field(&number.to_be_bytes())
    }

    pub(crate) fn finish(&self) -> [u8; 32] {
        self.0.clone().finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::FieldHash;

    #[test]
    fn moving_a_byte_between_fields_changes_the_hash() {
        let hash = |a: &str, b: &str| {
            let mut hash = FieldHash::new("label");
            hash.field(a.as_bytes()).field(b.as_bytes());
            hash.finish()
        };
        assert_ne!(hash("ab", "c"), hash("a", "bc"));
        assert_ne!(hash("", ""), FieldHash::new("label").finish());
    }

    #[test]
    fn the_encoding_is_length_then_bytes() {
        use sha2::{Digest as _, Sha256};
        let mut hash = FieldHash::new("l");
        hash.field(b"xyz").number(1);
        let expected: [u8; 32] =
            Sha256::digest(b"\x00\x00\x00\x01l\x00\x00\x00\x03xyz\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x01")
                .into();
        assert_eq!(hash.finish(), expected);
    }
}
