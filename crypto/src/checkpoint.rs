//! Checkpoints of a node's audit log: signed notes (C2SP signed-note) over origin, size and root (C2SP tlog-checkpoint),
//! with Ed25519.
//!
//! ```text
//! <origin>
//! <size>
//! <root, base64>
//! [<extension line>]…
//!
//! — <key name> <base64(key id ‖ signature)>
//! ```
//!
//! About a hundred lines of our own: the crates at hand (`signed_note`, `tlog_tiles`) would bring a second Ed25519, a
//! second SHA-2 and a URL parser.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use thiserror::Error;

use crate::{
    Hash,
    enc::sha256,
    limits::NOTE_BYTES_MAX,
    provider::Verify,
    sign::{Ed25519SigningKey, Ed25519VerifyingKey},
    witness::TreeHead,
};

/// The algorithm byte of Ed25519 in key ids and verifier keys (C2SP signed-note).
const ED25519: u8 = 0x01;

/// Begins a signature line.
pub(crate) const SIGNATURE_MARK: &str = "— ";

const KEY_ID_BYTES: usize = 4;

/// The id of a key in a signature line.
pub type KeyId = [u8; KEY_ID_BYTES];

/// The state of a log: that its first `size` leaves have this `root`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    extensions: Vec<String>,
}

/// What is wrong with a checkpoint or its note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadCheckpoint {
    /// Longer than any note that is looked at.
    #[error("the note has {found} bytes, more than {NOTE_BYTES_MAX}")]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// Not UTF-8, or with control characters other than newline.
    #[error("the note is not plain text")]
    NotText,
    /// No text, a blank line and signature lines.
    #[error("the note is not a text, a blank line and signatures")]
    NotANote,
    /// A signature line does not have its form.
    #[error("a signature line of the note does not have its form")]
    SignatureLine,
    /// The origin is empty, or no key name: it holds white space or `+`.
    #[error("the origin is empty, or holds white space or a plus sign")]
    Origin,
    /// It is another log's.
    #[error("the checkpoint is of another log")]
    OtherOrigin,
    /// The size is no decimal number without leading zeros.
    #[error("the size is not a decimal number")]
    Size,
    /// The root is not 32 bytes in base64.
    #[error("the root is not a hash in base64")]
    Root,
    /// An extension line is empty or holds control characters.
    #[error("an extension line is empty or not plain text")]
    Extension,
    /// No signature by the key that was asked for.
    #[error("the note has no signature by this log's key")]
    NotSigned,
    /// The signature by that key does not hold.
    #[error("the signature of this log's key is not valid")]
    BadSignature,
}

impl Checkpoint {
    /// A checkpoint without extensions. The origin names the log and its key.
    ///
    /// # Errors
    /// [`BadCheckpoint::Origin`].
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, BadCheckpoint> {
        Self::with_extensions(origin, size, root, vec![])
    }

    /// A checkpoint with extension lines.
    ///
    /// # Errors
    /// [`BadCheckpoint::Origin`] or [`BadCheckpoint::Extension`].
    pub fn with_extensions(
        origin: &str,
        size: u64,
        root: Hash,
        extensions: Vec<String>,
    ) -> Result<Self, BadCheckpoint> {
        if !is_key_name(origin) {
            return Err(BadCheckpoint::Origin);
        }
        if extensions
            .iter()
            .any(|line| line.is_empty() || line.contains(is_control))
        {
            return Err(BadCheckpoint::Extension);
        }
        Ok(Self {
            origin: origin.to_owned(),
            size,
            root,
            extensions,
        })
    }

    /// Which log.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root over them.
    #[must_use]
    pub fn root(&self) -> &Hash {
        &self.root
    }

    /// The extension lines.
    #[must_use]
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }

    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root));
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// The signed note; the key's name is the origin.
    #[must_use]
    pub fn sign(&self, key: &Ed25519SigningKey) -> String {
        let text = self.text();
        let mut signature = key_id(&self.origin, &key.verifying_key()).to_vec();
        signature.extend_from_slice(&key.sign(text.as_bytes()));
        format!("{text}\n{SIGNATURE_MARK}{} {}\n", self.origin, BASE64.encode(signature))
    }

    /// Reads a note and checks the signature of the log `origin` under its key. Signatures of others are passed over, as
    /// long as their lines have the right form.
    ///
    /// # Errors
    /// [`BadCheckpoint`].
    pub fn verify(
        note: &[u8],
        origin: &str,
        key: &Ed25519VerifyingKey,
        verify: &(impl Verify + ?Sized),
    ) -> Result<Self, BadCheckpoint> {
        let (text, signatures) = split_note(note)?;
        let expected_id = key_id(origin, key);
        let mut signed = false;
        for line in signatures.lines() {
            let (name, id, signature) = parse_signature(line)?;
            if name != origin || id != expected_id {
                continue;
            }
            let signature = signature
                .as_slice()
                .try_into()
                .map_err(|_| BadCheckpoint::BadSignature)?;
            verify
                .ed25519(key, text.as_bytes(), signature)
                .map_err(|_| BadCheckpoint::BadSignature)?;
            signed = true;
        }
        if !signed {
            return Err(BadCheckpoint::NotSigned);
        }
        let checkpoint = Self::parse(text)?;
        if checkpoint.origin == origin {
            Ok(checkpoint)
        } else {
            Err(BadCheckpoint::OtherOrigin)
        }
    }

    /// Reads a note without checking a signature: one of one's own keeping, which was checked before it was kept.
    ///
    /// # Errors
    /// [`BadCheckpoint`].
    pub fn read_unverified(note: &[u8]) -> Result<Self, BadCheckpoint> {
        let (text, _) = split_note(note)?;
        Self::parse(text)
    }

    /// Size and root.
    #[must_use]
    pub fn head(&self) -> TreeHead {
        TreeHead {
            size: self.size,
            root: self.root,
        }
    }

    /// Reads the text of a checkpoint.
    fn parse(text: &str) -> Result<Self, BadCheckpoint> {
        let mut lines = text.lines();
        let origin = lines.next().ok_or(BadCheckpoint::Origin)?;
        let size_text = lines.next().ok_or(BadCheckpoint::Size)?;
        let size: u64 = size_text.parse().map_err(|_| BadCheckpoint::Size)?;
        if size.to_string() != size_text {
            return Err(BadCheckpoint::Size);
        }
        let root = lines
            .next()
            .and_then(|line| BASE64.decode(line).ok())
            .ok_or(BadCheckpoint::Root)?;
        let root = Hash::try_from(root).map_err(|_| BadCheckpoint::Root)?;
        Self::with_extensions(origin, size, root, lines.map(str::to_owned).collect())
    }
}

/// The verifier key of C2SP signed-note, `name+id+key`, as other tools take it.
#[must_use]
pub fn verifier_key(name: &str, key: &Ed25519VerifyingKey) -> String {
    let id = u32::from_be_bytes(key_id(name, key));
    let encoded = BASE64.encode([&[ED25519], key.as_bytes().as_slice()].concat());
    format!("{name}+{id:08x}+{encoded}")
}

/// The id of the key of an origin.
#[must_use]
pub fn key_id(name: &str, key: &Ed25519VerifyingKey) -> KeyId {
    key_id_of(name, ED25519, key)
}

/// The id of a key: the first four bytes of SHA-256(name ‖ newline ‖ algorithm ‖ key).
pub(crate) fn key_id_of(name: &str, algorithm: u8, key: &Ed25519VerifyingKey) -> KeyId {
    let hash = sha256(&[name.as_bytes(), b"\n", &[algorithm], key.as_bytes()].concat());
    let [a, b, c, d, ..] = hash;
    [a, b, c, d]
}

/// A key name is not empty and holds no white space and no plus sign.
pub(crate) fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+' || is_control(c))
}

fn is_control(c: char) -> bool {
    c < ' ' || c == '\u{7f}'
}

/// The text with its last newline, and the signature lines.
pub(crate) fn split_note(note: &[u8]) -> Result<(&str, &str), BadCheckpoint> {
    if note.len() > NOTE_BYTES_MAX {
        return Err(BadCheckpoint::TooLong { found: note.len() });
    }
    let note = std::str::from_utf8(note).map_err(|_| BadCheckpoint::NotText)?;
    if note.contains(|c| is_control(c) && c != '\n') {
        return Err(BadCheckpoint::NotText);
    }
    let (text, signatures) = note.rsplit_once("\n\n").ok_or(BadCheckpoint::NotANote)?;
    let text = note.get(..=text.len()).ok_or(BadCheckpoint::NotANote)?;
    if signatures.is_empty() || !signatures.ends_with('\n') {
        return Err(BadCheckpoint::NotANote);
    }
    Ok((text, signatures))
}

/// Key name, key id and signature of a line.
pub(crate) fn parse_signature(line: &str) -> Result<(&str, KeyId, Vec<u8>), BadCheckpoint> {
    let line = line.strip_prefix(SIGNATURE_MARK).ok_or(BadCheckpoint::SignatureLine)?;
    let (name, encoded) = line.split_once(' ').ok_or(BadCheckpoint::SignatureLine)?;
    if !is_key_name(name) {
        return Err(BadCheckpoint::SignatureLine);
    }
    let bytes = BASE64.decode(encoded).map_err(|_| BadCheckpoint::SignatureLine)?;
    match bytes.split_first_chunk::<KEY_ID_BYTES>() {
        Some((id, signature)) if !signature.is_empty() => Ok((name, *id, signature.to_vec())),
        _ => Err(BadCheckpoint::SignatureLine),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{provider::Portable, secret::Secret};

    const ORIGIN: &str = "symbolon.example/0123/node/1";

    fn key(byte: u8) -> Ed25519SigningKey {
        Ed25519SigningKey::from_seed(&Secret::fill(|b| b.fill(byte)))
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint::new(ORIGIN, 20_852_163, [7; 32]).unwrap()
    }

    fn verify(note: &str) -> Result<Checkpoint, BadCheckpoint> {
        Checkpoint::verify(note.as_bytes(), ORIGIN, &key(1).verifying_key(), &Portable)
    }

    #[test]
    fn a_signed_checkpoint_comes_back() {
        let with = Checkpoint::with_extensions(ORIGIN, 0, [0; 32], vec!["boot 7".to_owned()]).unwrap();
        for checkpoint in [checkpoint(), with] {
            assert_eq!(verify(&checkpoint.sign(&key(1))), Ok(checkpoint));
        }
    }

    /// The example of golang.org/x/mod/sumdb/note, whose format C2SP signed-note is.
    #[test]
    fn verifier_key_and_signature_are_those_of_the_go_implementation() {
        let seed = BASE64.decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz").unwrap();
        let key = Ed25519SigningKey::from_seed(&Secret::copy_from(&seed[1..]).unwrap());
        assert_eq!(
            verifier_key("PeterNeumann", &key.verifying_key()),
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
        );
        let note = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n\n\
                    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        let (text, signatures) = split_note(note.as_bytes()).unwrap();
        let (name, id, signature) = parse_signature(signatures.trim_end()).unwrap();
        assert_eq!(
            (name, id),
            ("PeterNeumann", key_id("PeterNeumann", &key.verifying_key()))
        );
        assert_eq!(key.sign(text.as_bytes()).as_slice(), signature);
    }

    #[test]
    fn signatures_of_others_are_passed_over() {
        let note = checkpoint().sign(&key(1));
        let cosigned = format!("{note}— witness.example {}\n", BASE64.encode([1; 76]));
        assert_eq!(verify(&cosigned), Ok(checkpoint()));
        let others = format!(
            "{}\n— witness.example {}\n",
            checkpoint().text(),
            BASE64.encode([1; 76])
        );
        assert_eq!(verify(&others), Err(BadCheckpoint::NotSigned));
    }

    #[test]
    fn a_checkpoint_signed_by_another_key_is_refused() {
        assert_eq!(verify(&checkpoint().sign(&key(2))), Err(BadCheckpoint::NotSigned));
    }

    #[test]
    fn a_checkpoint_of_another_log_under_the_same_key_is_refused() {
        let other = Checkpoint::new("symbolon.example/0123/node/2", 1, [7; 32]).unwrap();
        assert_eq!(verify(&other.sign(&key(1))), Err(BadCheckpoint::NotSigned));
        // Signed under our name, saying that it is of the other log.
        let mut signature = key_id(ORIGIN, &key(1).verifying_key()).to_vec();
        signature.extend_from_slice(&key(1).sign(other.text().as_bytes()));
        let note = format!("{}\n— {ORIGIN} {}\n", other.text(), BASE64.encode(signature));
        assert_eq!(verify(&note), Err(BadCheckpoint::OtherOrigin));
    }

    #[test]
    fn every_changed_character_of_the_text_is_refused() {
        let note = checkpoint().sign(&key(1));
        for place in 0..checkpoint().text().len() {
            let mut changed = note.clone().into_bytes();
            changed[place] ^= 1;
            let verified = Checkpoint::verify(&changed, ORIGIN, &key(1).verifying_key(), &Portable);
            assert!(verified.is_err(), "character {place}");
        }
    }

    #[test]
    fn malformed_notes_are_refused_by_defect() {
        let signed = |text: &str| {
            let mut signature = key_id(ORIGIN, &key(1).verifying_key()).to_vec();
            signature.extend_from_slice(&key(1).sign(text.as_bytes()));
            format!("{text}\n— {ORIGIN} {}\n", BASE64.encode(signature))
        };
        let root = BASE64.encode([7; 32]);
        let text = checkpoint().text();
        let cases = [
            ("no signatures", text.clone(), BadCheckpoint::NotANote),
            (
                "no newline at the end",
                signed(&text).trim_end().to_owned(),
                BadCheckpoint::NotANote,
            ),
            (
                "carriage return",
                signed(&text).replace('\n', "\r\n"),
                BadCheckpoint::NotText,
            ),
            (
                "hyphen for a dash",
                signed(&text).replace('—', "-"),
                BadCheckpoint::SignatureLine,
            ),
            (
                "signature not base64",
                signed(&text).replace("/1 ", "/1 !"),
                BadCheckpoint::SignatureLine,
            ),
            (
                "leading zero",
                signed(&format!("{ORIGIN}\n01\n{root}\n")),
                BadCheckpoint::Size,
            ),
            (
                "plus sign",
                signed(&format!("{ORIGIN}\n+1\n{root}\n")),
                BadCheckpoint::Size,
            ),
            (
                "negative",
                signed(&format!("{ORIGIN}\n-1\n{root}\n")),
                BadCheckpoint::Size,
            ),
            (
                "size beyond u64",
                signed(&format!("{ORIGIN}\n18446744073709551616\n{root}\n")),
                BadCheckpoint::Size,
            ),
            ("no root", signed(&format!("{ORIGIN}\n1\n")), BadCheckpoint::Root),
            (
                "short root",
                signed(&format!("{ORIGIN}\n1\nAAAA\n")),
                BadCheckpoint::Root,
            ),
            ("empty origin", signed(&format!("\n1\n{root}\n")), BadCheckpoint::Origin),
            (
                "empty extension",
                signed(&format!("{ORIGIN}\n1\n{root}\n\nx\n")),
                BadCheckpoint::Extension,
            ),
            (
                "too long",
                "x".repeat(NOTE_BYTES_MAX + 1),
                BadCheckpoint::TooLong {
                    found: NOTE_BYTES_MAX + 1,
                },
            ),
        ];
        for (name, note, defect) in cases {
            assert_eq!(verify(&note), Err(defect), "{name}");
        }
        let not_utf8 = Checkpoint::verify(b"\xff\n\n\n", ORIGIN, &key(1).verifying_key(), &Portable);
        assert_eq!(not_utf8, Err(BadCheckpoint::NotText));
    }

    #[test]
    fn an_origin_with_white_space_or_a_plus_sign_is_refused() {
        for origin in ["", "a b", "a+b", "a\nb", "a\u{a0}b"] {
            assert_eq!(
                Checkpoint::new(origin, 0, [0; 32]),
                Err(BadCheckpoint::Origin),
                "{origin:?}"
            );
        }
    }
}
