//! Labels of keys: one grammar, so that a label is also a safe file name and reads alike in every token tool.

use std::fmt;

use thiserror::Error;

use crate::limits::KEY_LABEL_BYTES_MAX;

/// The label under which a root keeps one key: 1 to 64 of `a–z`, `0–9`, `-`, `_`, `.`, the first a letter or digit.
///
/// ```
/// use symbolon_hsm::KeyLabel;
/// assert_eq!(KeyLabel::new("wrapping.7")?.as_str(), "wrapping.7");
/// assert!(KeyLabel::new("../identity").is_err());
/// # Ok::<(), symbolon_hsm::BadLabel>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyLabel(String);

/// Why a label is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadLabel {
    /// It has no characters.
    #[error("a key label is empty")]
    Empty,
    /// It is longer than [`KEY_LABEL_BYTES_MAX`].
    #[error("a key label has {found} bytes; at most {KEY_LABEL_BYTES_MAX} are allowed")]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// It holds a character outside the grammar, or begins with a mark.
    #[error("a key label may not hold {character:?} at position {position}")]
    Character {
        /// The character.
        character: char,
        /// Its byte offset.
        position: usize,
    },
}

impl KeyLabel {
    /// Checks `label` against the grammar.
    ///
    /// # Errors
    /// [`BadLabel`], naming the first defect.
    pub fn new(label: impl Into<String>) -> Result<Self, BadLabel> {
        let label = label.into();
        if label.is_empty() {
            return Err(BadLabel::Empty);
        }
        if label.len() > KEY_LABEL_BYTES_MAX {
            return Err(BadLabel::TooLong { found: label.len() });
        }
        for (position, character) in label.char_indices() {
            let word = character.is_ascii_lowercase() || character.is_ascii_digit();
            let mark = matches!(character, '-' | '_' | '.');
            if !(word || mark && position > 0) {
                return Err(BadLabel::Character { character, position });
            }
        }
        Ok(Self(label))
    }

    /// The label.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_label_is_refused() {
        assert_eq!(KeyLabel::new(""), Err(BadLabel::Empty));
    }

    #[test]
    fn a_label_longer_than_the_limit_is_refused() {
        assert!(KeyLabel::new("a".repeat(KEY_LABEL_BYTES_MAX)).is_ok());
        assert_eq!(KeyLabel::new("a".repeat(65)), Err(BadLabel::TooLong { found: 65 }));
    }

    #[test]
    fn a_label_that_would_leave_its_folder_is_refused() {
        for label in ["..", ".hidden", "a/b", "a\\b", "a\0b"] {
            assert!(
                matches!(KeyLabel::new(label), Err(BadLabel::Character { .. })),
                "{label:?}"
            );
        }
    }

    #[test]
    fn upper_case_and_look_alikes_are_refused() {
        assert_eq!(
            KeyLabel::new("aBc"),
            Err(BadLabel::Character {
                character: 'B',
                position: 1
            })
        );
        assert_eq!(
            KeyLabel::new("p\u{430}"),
            Err(BadLabel::Character {
                character: '\u{430}',
                position: 1
            })
        );
    }
}
