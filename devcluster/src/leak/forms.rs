//! A needle and its forms: raw, hex, base64 at its three alignments, UTF-16, reversed.

use std::fmt;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::limits::{
    HALF_SEARCHED_FROM, NEEDLE_BYTES_MIN, NEEDLE_BYTES_SEARCHED, PART_DISTINCT_MIN, PARTS_SEARCHED, PARTS_SEARCHED_FROM,
};

/// Something that must not be found, and the name by which hits speak of it.
#[derive(Clone)]
pub struct Needle {
    name: String,
    bytes: Zeroizing<Vec<u8>>,
}

impl Needle {
    /// A needle. Names are shown, bytes are not.
    pub fn new(name: impl Into<String>, bytes: &[u8]) -> Self {
        Self {
            name: name.into(),
            bytes: Zeroizing::new(bytes.to_vec()),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Needle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Needle({:?}, ..)", self.name)
    }
}

/// Why a search cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadNeedle {
    /// So short that chance would find it.
    #[error("the needle {name:?} has {bytes} bytes; from {NEEDLE_BYTES_MIN} on a hit is no accident")]
    TooShort {
        /// Its name.
        name: String,
        /// Its length.
        bytes: usize,
    },
    /// All zeros, which are everywhere.
    #[error("the needle {name:?} is all zeros, which every file holds")]
    Zeros {
        /// Its name.
        name: String,
    },
    /// Nothing to search for.
    #[error("there is no needle: such a search cannot fail")]
    None,
    /// The automaton would be too large.
    #[error("the needles do not fit into one automaton: {reason}")]
    TooMany {
        /// In the library's words.
        reason: String,
    },
}

/// How a needle was written where it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// Byte for byte.
    Raw,
    /// Byte for byte, its second half only: what is freed loses its first bytes to the allocator.
    RawHalf,
    /// Byte for byte, a part of a long needle.
    RawPart(u8),
    /// Hex, small letters.
    HexLower,
    /// Hex, capitals.
    HexUpper,
    /// Base64, with `+/`, beginning so many bytes after a group of three.
    Base64(u8),
    /// Base64, with `-_`.
    Base64Url(u8),
    /// UTF-16, little-endian, one unit a byte.
    Utf16Le,
    /// UTF-16, big-endian.
    Utf16Be,
    /// Last byte first, as big numbers lie in memory.
    Reversed,
    /// The same, its second half only.
    ReversedHalf,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raw => f.write_str("raw"),
            Self::RawHalf => f.write_str("raw, second half"),
            Self::RawPart(part) => write!(f, "raw, part {part}"),
            Self::HexLower => f.write_str("hex"),
            Self::HexUpper => f.write_str("HEX"),
            Self::Base64(shift) => write!(f, "base64+{shift}"),
            Self::Base64Url(shift) => write!(f, "base64url+{shift}"),
            Self::Utf16Le => f.write_str("UTF-16LE"),
            Self::Utf16Be => f.write_str("UTF-16BE"),
            Self::Reversed => f.write_str("reversed"),
            Self::ReversedHalf => f.write_str("reversed, second half"),
        }
    }
}

/// Needles, ready to be searched for.
pub struct Needles {
    automaton: AhoCorasick,
    /// What each pattern of the automaton stands for.
    meanings: Vec<(usize, Form)>,
    names: Vec<String>,
}

impl fmt::Debug for Needles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Needles")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl Needles {
    /// Compiles needles in all their forms.
    ///
    /// # Errors
    /// [`BadNeedle`].
    pub fn compile(needles: &[Needle]) -> Result<Self, BadNeedle> {
        if needles.is_empty() {
            return Err(BadNeedle::None);
        }
        let mut patterns: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        let mut meanings = Vec::new();
        for (number, needle) in needles.iter().enumerate() {
            if needle.bytes.len() < NEEDLE_BYTES_MIN {
                return Err(BadNeedle::TooShort {
                    name: needle.name.clone(),
                    bytes: needle.bytes.len(),
                });
            }
            if needle.bytes.iter().all(|byte| *byte == 0) {
                return Err(BadNeedle::Zeros {
                    name: needle.name.clone(),
                });
            }
            for (form, pattern) in forms(&needle.bytes) {
                patterns.push(pattern);
                meanings.push((number, form));
            }
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::DFA))
            .build(patterns.iter().map(|pattern| pattern.as_slice()))
            .map_err(|error| BadNeedle::TooMany {
                reason: error.to_string(),
            })?;
        Ok(Self {
            automaton,
            meanings,
            names: needles.iter().map(|needle| needle.name.clone()).collect(),
        })
    }

    /// The names, in the order given.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Bytes of the longest form.
    pub(crate) fn longest(&self) -> usize {
        self.automaton.max_pattern_len()
    }

    /// Every occurrence in `text`, overlapping ones too: start, end, form, the needle's name.
    pub(crate) fn find<'n, 't>(
        &'n self,
        text: &'t [u8],
    ) -> impl Iterator<Item = (usize, usize, Form, &'n str)> + use<'n, 't> {
        self.automaton.find_overlapping_iter(text).filter_map(|found| {
            let (number, form) = self.meanings.get(found.pattern().as_usize())?;
            Some((found.start(), found.end(), *form, self.names.get(*number)?.as_str()))
        })
    }
}

/// All forms of one needle.
fn forms(needle: &[u8]) -> Vec<(Form, Zeroizing<Vec<u8>>)> {
    let head = needle.get(..NEEDLE_BYTES_SEARCHED).unwrap_or(needle);
    let reversed: Zeroizing<Vec<u8>> = Zeroizing::new(head.iter().rev().copied().collect());
    let mut forms = vec![
        (Form::Raw, Zeroizing::new(head.to_vec())),
        (Form::HexLower, Zeroizing::new(hex::encode(head).into_bytes())),
        (Form::HexUpper, Zeroizing::new(hex::encode_upper(head).into_bytes())),
        (
            Form::Utf16Le,
            Zeroizing::new(head.iter().flat_map(|byte| [*byte, 0]).collect()),
        ),
        (
            Form::Utf16Be,
            Zeroizing::new(head.iter().flat_map(|byte| [0, *byte]).collect()),
        ),
    ];
    for shift in 0..3 {
        forms.push((Form::Base64(shift), base64(head, shift, &STANDARD_NO_PAD)));
        forms.push((Form::Base64Url(shift), base64(head, shift, &URL_SAFE_NO_PAD)));
    }
    if needle.len() >= HALF_SEARCHED_FROM {
        let half = |bytes: &[u8]| Zeroizing::new(bytes.get(bytes.len() / 2..).unwrap_or_default().to_vec());
        forms.push((
            Form::RawHalf,
            half(needle.get(..NEEDLE_BYTES_SEARCHED * 2).unwrap_or(needle)),
        ));
        forms.push((Form::ReversedHalf, half(&reversed)));
    }
    forms.push((Form::Reversed, reversed));
    if needle.len() >= PARTS_SEARCHED_FROM {
        forms.extend((1..PARTS_SEARCHED).filter_map(|number| Some((Form::RawPart(number), part(needle, number)?))));
    }
    forms
}

/// A part of a long needle, if it is not one that other files hold as well.
fn part(needle: &[u8], number: u8) -> Option<Zeroizing<Vec<u8>>> {
    let from = needle.len() / usize::from(PARTS_SEARCHED) * usize::from(number);
    let part = needle.get(from..from + NEEDLE_BYTES_SEARCHED)?;
    let mut seen = [false; 256];
    let distinct = part
        .iter()
        .filter(|byte| {
            let place = seen.get_mut(usize::from(**byte));
            place.is_some_and(|seen| !std::mem::replace(seen, true))
        })
        .count();
    (distinct >= PART_DISTINCT_MIN).then(|| Zeroizing::new(part.to_vec()))
}

/// The characters of base64 that depend on the needle alone, if `shift` bytes stand before it in its group of three.
fn base64(needle: &[u8], shift: u8, alphabet: &impl Engine) -> Zeroizing<Vec<u8>> {
    let shift = usize::from(shift);
    let mut bytes = Zeroizing::new(vec![0; shift]);
    bytes.extend_from_slice(needle);
    let text = Zeroizing::new(alphabet.encode(&*bytes));
    // A character holds 6 bits: the first whole one after the bytes before, and the last whole one before what follows.
    let from = (shift * 8).div_ceil(6);
    let to = bytes.len() * 8 / 6;
    Zeroizing::new(text.as_bytes().get(from..to).unwrap_or_default().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(needles: &Needles, text: &[u8]) -> Vec<Form> {
        let mut found: Vec<Form> = needles.find(text).map(|(_, _, form, _)| form).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    #[test]
    fn a_needle_that_chance_would_find_is_refused() {
        let bad = Needles::compile(&[Needle::new("pin", b"1234567")]).unwrap_err();
        assert_eq!(
            bad,
            BadNeedle::TooShort {
                name: "pin".into(),
                bytes: 7
            }
        );
    }

    #[test]
    fn a_needle_of_zeros_is_refused() {
        let bad = Needles::compile(&[Needle::new("key", &[0; 32])]).unwrap_err();
        assert_eq!(bad, BadNeedle::Zeros { name: "key".into() });
    }

    #[test]
    fn a_search_without_needles_is_refused_because_it_cannot_fail() {
        assert_eq!(Needles::compile(&[]).unwrap_err(), BadNeedle::None);
    }

    #[test]
    fn a_part_of_a_long_needle_is_found_without_its_beginning() {
        let value: Vec<u8> = (0_u32..256 * 1024)
            .flat_map(|word| (word.wrapping_mul(2_654_435_761)).to_be_bytes())
            .collect();
        let needles = Needles::compile(&[Needle::new("value", &value)]).unwrap();
        let (half, eighth) = (value.len() / 2, value.len() / 8);
        assert!(found(&needles, &value[half - 1..half + eighth]).contains(&Form::RawPart(8)));
        assert!(
            !found(&needles, &value[..eighth / 4])
                .iter()
                .any(|form| matches!(form, Form::RawPart(_)))
        );
    }

    #[test]
    fn parts_of_a_long_needle_that_are_in_any_file_are_not_searched() {
        let mut value = vec![0; 64 * 1024];
        for (place, byte) in value.iter_mut().take(1024).enumerate() {
            *byte = (place % 251) as u8 + 1;
        }
        let needles = Needles::compile(&[Needle::new("value", &value)]).unwrap();
        assert_eq!(found(&needles, &[0; 4096]), []);
    }

    #[test]
    fn a_needle_is_never_shown() {
        let needle = Needle::new("value", b"hunter2-hunter2");
        assert_eq!(format!("{needle:?}"), "Needle(\"value\", ..)");
        let compiled = Needles::compile(&[needle]).unwrap();
        assert!(!format!("{compiled:?}").contains("hunter2"));
    }

    proptest! {
        #[test]
        fn base64_of_any_text_around_a_needle_is_found(
            before in proptest::collection::vec(any::<u8>(), 0..9),
            needle in proptest::collection::vec(1_u8.., 12..100),
            after in proptest::collection::vec(any::<u8>(), 0..9),
        ) {
            let needles = Needles::compile(&[Needle::new("n", &needle)]).unwrap();
            let whole = [before.as_slice(), &needle, &after].concat();
            let shift = u8::try_from(before.len() % 3).unwrap();
            let standard = base64::engine::general_purpose::STANDARD.encode(&whole);
            prop_assert!(found(&needles, standard.as_bytes()).contains(&Form::Base64(shift)));
            let url = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&whole);
            prop_assert!(found(&needles, url.as_bytes()).contains(&Form::Base64Url(shift)));
        }

        #[test]
        fn every_other_form_is_found(needle in proptest::collection::vec(1_u8.., 8..200)) {
            let needles = Needles::compile(&[Needle::new("n", &needle)]).unwrap();
            let reversed: Vec<u8> = needle.iter().rev().copied().collect();
            let utf16 = |wide: fn(u8) -> [u8; 2]| needle.iter().flat_map(|byte| wide(*byte)).collect::<Vec<u8>>();
            prop_assert!(found(&needles, &needle).contains(&Form::Raw));
            prop_assert!(found(&needles, hex::encode(&needle).as_bytes()).contains(&Form::HexLower));
            prop_assert!(found(&needles, hex::encode_upper(&needle).as_bytes()).contains(&Form::HexUpper));
            prop_assert!(found(&needles, &utf16(|b| [b, 0])).contains(&Form::Utf16Le));
            prop_assert!(found(&needles, &utf16(|b| [0, b])).contains(&Form::Utf16Be));
            if needle.len() <= NEEDLE_BYTES_SEARCHED {
                prop_assert!(found(&needles, &reversed).contains(&Form::Reversed));
            }
        }

        #[test]
        fn a_key_whose_first_half_was_overwritten_is_found(key in any::<[u8; 32]>()) {
            let needles = Needles::compile(&[Needle::new("key", &key)]).unwrap();
            let mut freed = key;
            freed[..16].fill(0xee);
            prop_assert!(found(&needles, &freed).contains(&Form::RawHalf));
            let mut freed: Vec<u8> = key.iter().rev().copied().collect();
            freed[..16].fill(0xee);
            prop_assert!(found(&needles, &freed).contains(&Form::ReversedHalf));
        }
    }
}
