//! Cosignatures of checkpoints (C2SP tlog-cosignature, version 1, Ed25519): a witness says with its own key, and at which
//! time, that the log had this size and root and that it has seen no other history of it.
//!
//! ```text
//! — <witness name> <base64(key id ‖ u64be(time) ‖ signature)>
//!
//! signed:  cosignature/v1
//!          time <seconds since 1970, decimal>
//!          <the text of the note>
//! ```

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

use crate::{
    checkpoint::{BadCheckpoint, KeyId, SIGNATURE_MARK, is_key_name, key_id_of, parse_signature, split_note},
    limits::NOTE_BYTES_MAX,
    provider::Verify,
    sign::{Ed25519SigningKey, Ed25519VerifyingKey},
};

/// The algorithm byte of a cosignature in key ids (C2SP signed-note, "Signature types").
const COSIGNATURE_V1: u8 = 0x04;

/// Bytes of the time and of the signature.
const TIME_BYTES: usize = 8;

/// A cosignature that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cosigned {
    /// When the witness signed, by its clock, seconds since 1970.
    pub time_s: u64,
}

/// The key id of a witness's cosignatures.
#[must_use]
pub fn cosigner_id(name: &str, key: &Ed25519VerifyingKey) -> KeyId {
    key_id_of(name, COSIGNATURE_V1, key)
}

fn message(text: &str, time_s: u64) -> String {
    format!("cosignature/v1\ntime {time_s}\n{text}")
}

/// The signature line, with its newline, of the witness `name` under the note `note`. Whoever calls it has checked the
/// note, and remembers it.
///
/// # Errors
/// [`BadCheckpoint`] if `note` is none, or the name is none.
pub fn cosign(note: &[u8], name: &str, time_s: u64, key: &Ed25519SigningKey) -> Result<String, BadCheckpoint> {
    if !is_key_name(name) {
        return Err(BadCheckpoint::Origin);
    }
    let (text, _) = split_note(note)?;
    let mut bytes = cosigner_id(name, &key.verifying_key()).to_vec();
    bytes.extend_from_slice(&time_s.to_be_bytes());
    bytes.extend_from_slice(&key.sign(message(text, time_s).as_bytes()));
    Ok(format!("{SIGNATURE_MARK}{name} {}\n", BASE64.encode(bytes)))
}

/// Checks the cosignature of the witness `name` under its key in `note`.
///
/// # Errors
/// [`BadCheckpoint::NotSigned`] if there is none by that key; [`BadCheckpoint::BadSignature`] if one does not hold.
pub fn verify_cosignature(
    note: &[u8],
    name: &str,
    key: &Ed25519VerifyingKey,
    verify: &(impl Verify + ?Sized),
) -> Result<Cosigned, BadCheckpoint> {
    let (text, lines) = split_note(note)?;
    let id = cosigner_id(name, key);
    for line in lines.lines() {
        let (found, found_id, bytes) = parse_signature(line)?;
        if found != name || found_id != id {
            continue;
        }
        let (time, signature) = bytes
            .split_first_chunk::<TIME_BYTES>()
            .ok_or(BadCheckpoint::BadSignature)?;
        let signature = signature.try_into().map_err(|_| BadCheckpoint::BadSignature)?;
        let time_s = u64::from_be_bytes(*time);
        verify
            .ed25519(key, message(text, time_s).as_bytes(), signature)
            .map_err(|_| BadCheckpoint::BadSignature)?;
        return Ok(Cosigned { time_s });
    }
    Err(BadCheckpoint::NotSigned)
}

/// `note` with one more signature line, as [`cosign`] gives it.
///
/// # Errors
/// [`BadCheckpoint`] if the line is none, or the note would become too long.
pub fn attach(note: &str, line: &str) -> Result<String, BadCheckpoint> {
    parse_signature(line.strip_suffix('\n').ok_or(BadCheckpoint::SignatureLine)?)?;
    let note = format!("{note}{line}");
    if note.len() > NOTE_BYTES_MAX {
        return Err(BadCheckpoint::TooLong { found: note.len() });
    }
    Ok(note)
}

/// Names and key ids of all who signed a note, unverified: for finding the keys to verify with.
///
/// # Errors
/// [`BadCheckpoint`] if a line does not have its form.
pub fn signers(note: &[u8]) -> Result<Vec<(String, KeyId)>, BadCheckpoint> {
    let (_, lines) = split_note(note)?;
    let parsed = lines.lines().map(parse_signature);
    parsed
        .map(|line| line.map(|(name, id, _)| (name.to_owned(), id)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{checkpoint::Checkpoint, provider::Portable, secret::Secret};

    const LOG: &str = "symbolon.example/0123/audit/1";
    const WITNESS: &str = "symbolon.example/0123/witness/2";

    fn key(byte: u8) -> Ed25519SigningKey {
        Ed25519SigningKey::from_seed(&Secret::fill(|b| b.fill(byte)))
    }

    fn note() -> String {
        Checkpoint::new(LOG, 7, [7; 32]).unwrap().sign(&key(1))
    }

    fn cosigned() -> String {
        let line = cosign(note().as_bytes(), WITNESS, 1_679_315_147, &key(2)).unwrap();
        attach(&note(), &line).unwrap()
    }

    fn verified(note: &str) -> Result<Cosigned, BadCheckpoint> {
        verify_cosignature(note.as_bytes(), WITNESS, &key(2).verifying_key(), &Portable)
    }

    #[test]
    fn a_cosignature_comes_back_with_its_time_and_the_logs_signature_still_holds() {
        let time_s = 1_679_315_147;
        assert_eq!(verified(&cosigned()), Ok(Cosigned { time_s }));
        let checkpoint = Checkpoint::verify(cosigned().as_bytes(), LOG, &key(1).verifying_key(), &Portable);
        assert_eq!(checkpoint.unwrap().size(), 7);
    }

    /// The bytes that C2SP tlog-cosignature says are signed, put together by hand.
    #[test]
    fn the_signed_bytes_are_those_of_the_specification() {
        let text = format!("{LOG}\n7\n{}\n", BASE64.encode([7; 32]));
        let signature = key(2).sign(format!("cosignature/v1\ntime 5\n{text}").as_bytes());
        let hash = crate::enc::sha256(
            &[
                WITNESS.as_bytes(),
                b"\n\x04",
                key(2).verifying_key().as_bytes().as_slice(),
            ]
            .concat(),
        );
        let bytes = [&hash[..4], &5_u64.to_be_bytes(), &signature].concat();
        let line = cosign(note().as_bytes(), WITNESS, 5, &key(2)).unwrap();
        assert_eq!(line, format!("— {WITNESS} {}\n", BASE64.encode(bytes)));
    }

    #[test]
    fn a_cosignature_of_another_checkpoint_time_or_witness_does_not_hold() {
        let other = Checkpoint::new(LOG, 8, [7; 32]).unwrap().sign(&key(1));
        let line = cosign(other.as_bytes(), WITNESS, 5, &key(2)).unwrap();
        assert_eq!(
            verified(&attach(&note(), &line).unwrap()),
            Err(BadCheckpoint::BadSignature)
        );

        let line = cosign(note().as_bytes(), WITNESS, 5, &key(2)).unwrap();
        let (name, encoded) = line.trim_end().rsplit_once(' ').unwrap();
        let mut bytes = BASE64.decode(encoded).unwrap();
        bytes[11] ^= 1;
        let moved = format!("{name} {}\n", BASE64.encode(&bytes));
        assert_eq!(
            verified(&attach(&note(), &moved).unwrap()),
            Err(BadCheckpoint::BadSignature)
        );

        let line = cosign(note().as_bytes(), WITNESS, 5, &key(3)).unwrap();
        assert_eq!(
            verified(&attach(&note(), &line).unwrap()),
            Err(BadCheckpoint::NotSigned)
        );
        assert_eq!(verified(&note()), Err(BadCheckpoint::NotSigned));
    }

    /// The log's own key under the witness's name: another algorithm, so another key id.
    #[test]
    fn a_signature_of_the_log_is_no_cosignature() {
        let mut bytes = key_id_of(WITNESS, 0x01, &key(2).verifying_key()).to_vec();
        bytes.extend_from_slice(&key(2).sign(b"x"));
        let line = format!("— {WITNESS} {}\n", BASE64.encode(bytes));
        assert_eq!(
            verified(&attach(&note(), &line).unwrap()),
            Err(BadCheckpoint::NotSigned)
        );
    }

    #[test]
    fn signers_are_named_in_order() {
        let names: Vec<String> = signers(cosigned().as_bytes())
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, [LOG, WITNESS]);
    }

    #[test]
    fn a_line_that_is_none_is_not_attached() {
        for line in ["", "x\n", "— name !\n", "— name AAAAAAAA"] {
            assert!(attach(&note(), line).is_err(), "{line:?}");
        }
    }
}
