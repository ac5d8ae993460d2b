//! What a value and its sharing are bound to (custody.md, "One write").
//!
//! Two contexts: the value's never changes, the sharing's changes with every dealing. Both go into key derivation and
//! associated data, so that ciphertext or fragments moved to any other place do not open there.

use thiserror::Error;

use crate::{
    Hash, Id,
    enc::{self, BadEncoding, enc, hash_enc},
    limits::{CONTENT_TYPE_BYTES_MAX, HEADER_BYTES_MAX, PADDING_RULE},
};

pub use crate::limits::SUITE;

const VALUE_LABEL: &[u8] = b"symbolon/v1/value";
const SHARING_LABEL: &[u8] = b"symbolon/v1/sharing";
const HEADER_LABEL: &[u8] = b"symbolon/v1/header";
const DEALING_LABEL: &[u8] = b"symbolon/v1/dealing";
const RECORD_LABEL: &[u8] = b"symbolon/v1/record";

/// Marks a sharing that one dealer made; a resharing has another mark.
const ORIGIN_DEALER: u8 = 0x00;

/// What binds a value for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueContext<'a> {
    /// The cluster.
    pub cluster: &'a Id,
    /// The tenant.
    pub tenant: &'a Id,
    /// The secret.
    pub secret: &'a Id,
    /// The version that this write makes, from 1.
    pub version: u64,
    /// The principal who wrote it.
    pub author: &'a Id,
    /// The write nonce, which is also the command's nonce.
    pub write_nonce: &'a [u8; 32],
}

impl ValueContext<'_> {
    /// vctx.
    #[must_use]
    pub fn hash(&self) -> Hash {
        hash_enc(&[
            VALUE_LABEL,
            &SUITE.to_be_bytes(),
            self.cluster,
            self.tenant,
            self.secret,
            &self.version.to_be_bytes(),
            self.author,
            self.write_nonce,
        ])
    }
}

/// What binds one dealing of a value's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharingContext<'a> {
    /// The value's context.
    pub vctx: &'a Hash,
    /// The epoch whose nodes hold the fragments.
    pub epoch: u64,
    /// The hash of that epoch's roster.
    pub roster_hash: &'a Hash,
    /// Fragments.
    pub n: u16,
    /// Fragments needed.
    pub t: u16,
    /// The principal who dealt.
    pub dealer: &'a Id,
}

impl SharingContext<'_> {
    /// sctx.
    #[must_use]
    pub fn hash(&self) -> Hash {
        let mut origin = [ORIGIN_DEALER; 17];
        let (_, dealer) = origin.split_at_mut(1);
        dealer.copy_from_slice(self.dealer);
        hash_enc(&[
            SHARING_LABEL,
            &SUITE.to_be_bytes(),
            self.vctx,
            &self.epoch.to_be_bytes(),
            self.roster_hash,
            &self.n.to_be_bytes(),
            &self.t.to_be_bytes(),
            &origin,
        ])
    }
}

/// The header of a value: what a reader must know before decrypting, authenticated with the ciphertext.
#[must_use]
pub fn header(content_type: &str) -> Vec<u8> {
    enc(&[
        HEADER_LABEL,
        &SUITE.to_be_bytes(),
        &PADDING_RULE.to_be_bytes(),
        content_type.as_bytes(),
    ])
}

/// What is wrong with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadHeader {
    /// Longer than any header.
    #[error("the header has {found} bytes, more than {HEADER_BYTES_MAX}")]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// Not fields one after the other.
    #[error("the header is no encoding of its fields: {0}")]
    Encoding(#[from] BadEncoding),
    /// Something else than a header.
    #[error("the header does not begin with its label")]
    Label,
    /// From a later version, or damaged.
    #[error("suite {0} is not known here; a newer version may be needed")]
    UnknownSuite(u16),
    /// From a later version, or damaged.
    #[error("padding rule {0} is not known here; a newer version may be needed")]
    UnknownPaddingRule(u16),
    /// Text is UTF-8.
    #[error("the content type is not UTF-8")]
    ContentTypeNotUtf8,
    /// Longer than allowed.
    #[error("the content type has {found} bytes, more than {CONTENT_TYPE_BYTES_MAX}")]
    ContentTypeTooLong {
        /// Bytes found.
        found: usize,
    },
}

/// The content type in a header.
///
/// # Errors
/// [`BadHeader`], for everything that [`header`] does not make.
pub fn parse_header(bytes: &[u8]) -> Result<&str, BadHeader> {
    if bytes.len() > HEADER_BYTES_MAX {
        return Err(BadHeader::TooLong { found: bytes.len() });
    }
    let mut reader = enc::Reader::new(bytes);
    if reader.field()? != HEADER_LABEL {
        return Err(BadHeader::Label);
    }
    match reader.u16()? {
        SUITE => {}
        other => return Err(BadHeader::UnknownSuite(other)),
    }
    match reader.u16()? {
        PADDING_RULE => {}
        other => return Err(BadHeader::UnknownPaddingRule(other)),
    }
    let content_type = reader.field()?;
    reader.finish()?;
    if content_type.len() > CONTENT_TYPE_BYTES_MAX {
        return Err(BadHeader::ContentTypeTooLong {
            found: content_type.len(),
        });
    }
    std::str::from_utf8(content_type).map_err(|_| BadHeader::ContentTypeNotUtf8)
}

/// dd: the digest of everything public about a dealing, on which every fragment key hangs.
#[must_use]
pub fn dealing_digest(
    sctx: &Hash,
    key_commitment: &Hash,
    ciphertext_hash: &Hash,
    header_hash: &Hash,
    commitments: &[Hash],
    z: &[[u8; 32]],
) -> Hash {
    hash_enc(&[
        DEALING_LABEL,
        sctx,
        key_commitment,
        ciphertext_hash,
        header_hash,
        commitments.as_flattened(),
        z.as_flattened(),
    ])
}

/// The record hash: what nodes vouch for when they release.
#[must_use]
pub fn record_hash(vctx: &Hash, sctx: &Hash, dd: &Hash) -> Hash {
    hash_enc(&[RECORD_LABEL, vctx, sctx, dd])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_gives_back_its_content_type() {
        let longest = "x".repeat(CONTENT_TYPE_BYTES_MAX);
        for content_type in ["", "text/plain", "text/plain; charset=ü", &longest] {
            assert_eq!(parse_header(&header(content_type)), Ok(content_type));
        }
        assert_eq!(header(&longest).len(), HEADER_BYTES_MAX);
    }

    #[test]
    fn bad_headers_are_refused_by_defect() {
        let suite = |suite: u16, rule: u16, content_type: &[u8]| {
            enc(&[HEADER_LABEL, &suite.to_be_bytes(), &rule.to_be_bytes(), content_type])
        };
        let too_long = header(&"x".repeat(CONTENT_TYPE_BYTES_MAX + 1));
        let mut trailing = header("text/plain");
        trailing.push(0);
        let cases: [(&str, Vec<u8>, BadHeader); 8] = [
            (
                "too long",
                too_long,
                BadHeader::TooLong {
                    found: HEADER_BYTES_MAX + 1,
                },
            ),
            ("empty", vec![], BadHeader::Encoding(BadEncoding::Truncated)),
            (
                "trailing byte",
                trailing,
                BadHeader::Encoding(BadEncoding::TrailingBytes { count: 1 }),
            ),
            ("other label", enc(&[b"symbolon/v1/value"]), BadHeader::Label),
            ("suite 2", suite(2, 1, b""), BadHeader::UnknownSuite(2)),
            ("padding rule 0", suite(1, 0, b""), BadHeader::UnknownPaddingRule(0)),
            ("not UTF-8", suite(1, 1, b"\xff"), BadHeader::ContentTypeNotUtf8),
            (
                "wide suite",
                enc(&[HEADER_LABEL, &1u32.to_be_bytes()]),
                BadHeader::Encoding(BadEncoding::FieldLength { expected: 2, found: 4 }),
            ),
        ];
        for (name, bytes, defect) in cases {
            assert_eq!(parse_header(&bytes), Err(defect), "{name}");
        }
    }

    #[test]
    fn every_field_of_the_value_context_changes_its_hash() {
        let (a, b, c, d, nonce) = ([1; 16], [2; 16], [3; 16], [4; 16], [5; 32]);
        let base = ValueContext {
            cluster: &a,
            tenant: &b,
            secret: &c,
            version: 1,
            author: &d,
            write_nonce: &nonce,
        };
        let (other, other_nonce) = ([9; 16], [9; 32]);
        let changed = [
            ValueContext {
                cluster: &other,
                ..base
            },
            ValueContext { tenant: &other, ..base },
            ValueContext { secret: &other, ..base },
            ValueContext { version: 2, ..base },
            ValueContext { author: &other, ..base },
            ValueContext {
                write_nonce: &other_nonce,
                ..base
            },
        ];
        for changed in changed {
            assert_ne!(changed.hash(), base.hash(), "{changed:?}");
        }
    }

    #[test]
    fn every_field_of_the_sharing_context_changes_its_hash() {
        let (vctx, roster_hash, dealer) = ([1; 32], [2; 32], [3; 16]);
        let base = SharingContext {
            vctx: &vctx,
            epoch: 0,
            roster_hash: &roster_hash,
            n: 5,
            t: 3,
            dealer: &dealer,
        };
        let (other, other_dealer) = ([9; 32], [9; 16]);
        let changed = [
            SharingContext { vctx: &other, ..base },
            SharingContext { epoch: 1, ..base },
            SharingContext {
                roster_hash: &other,
                ..base
            },
            SharingContext { n: 7, ..base },
            SharingContext { t: 4, ..base },
            SharingContext {
                dealer: &other_dealer,
                ..base
            },
        ];
        for changed in changed {
            assert_ne!(changed.hash(), base.hash(), "{changed:?}");
        }
    }
}
