//! One grammar for every name: secrets' paths, folders, and the path part of a SPIFFE ID.
//!
//! ```text
//! path    = segment *( "/" segment )           at most 512 bytes and 16 segments
//! segment = 1*64( a-z / 0-9 / "-" / "_" / "." )  neither "." nor ".."
//! spiffe  = "spiffe://" segment "/" path
//! ```
//!
//! One spelling per name: no case to fold, no percent-encoding, no Unicode. Past advisories (a `..` past a deny rule,
//! LIST with a trailing slash, names that differ in case) all needed a second spelling.

use std::fmt;
use unicode_normalization::UnicodeNormalization;

/// Longest path, bytes.
pub const PATH_BYTES_MAX: usize = 512;
/// Longest segment, bytes.
pub const SEGMENT_BYTES_MAX: usize = 64;
/// Deepest path, segments.
pub const DEPTH_MAX: usize = 16;

/// Why a name is refused. Messages say where, and what to write instead where that is clear.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// Nothing there.
    #[error("the path is empty")]
    Empty,
    /// More than 512 bytes.
    #[error("the path has {bytes} bytes; at most {PATH_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// More than 16 segments.
    #[error("the path is {depth} or more segments deep; at most {DEPTH_MAX} are allowed")]
    TooDeep {
        /// Where counting stopped.
        depth: usize,
    },
    /// One segment has more than 64 bytes.
    #[error("segment {segment} has {bytes} bytes; at most {SEGMENT_BYTES_MAX} are allowed")]
    SegmentTooLong {
        /// Its place, from 1.
        segment: usize,
        /// Its length.
        bytes: usize,
    },
    /// `//`, or a slash at either end.
    #[error("segment {segment} is empty: no '//' and no '/' at either end")]
    EmptySegment {
        /// Its place, from 1.
        segment: usize,
    },
    /// `.` or `..`.
    #[error("segment {segment} is '{dots}', which other systems read as a step")]
    DotSegment {
        /// Its place, from 1.
        segment: usize,
        /// The segment.
        dots: &'static str,
    },
    /// `A`–`Z`.
    #[error("character {position} is the capital '{found}'; paths are lower case (write '{instead}')")]
    Capital {
        /// Its place, from 1.
        position: usize,
        /// The letter.
        found: char,
        /// Its lower-case form.
        instead: char,
    },
    /// A percent sign, as in `%2e`.
    #[error("character {position} is '%': paths are never percent-encoded")]
    Percent {
        /// Its place, from 1.
        position: usize,
    },
    /// A control character.
    #[error("character {position} is the control character U+{code:04X}")]
    Control {
        /// Its place, from 1.
        position: usize,
        /// Its code point.
        code: u32,
    },
    /// Outside ASCII; `looks_like` where compatibility normalisation gives an allowed one.
    #[error("character {position} (U+{code:04X}) is not ASCII{}", looks_like.map(|c| format!("; it only looks like '{c}'")).unwrap_or_default())]
    NotAscii {
        /// Its place, from 1.
        position: usize,
        /// Its code point.
        code: u32,
        /// The ASCII character that it imitates.
        looks_like: Option<char>,
    },
    /// Any other ASCII character.
    #[error("character {position} is '{found}'; allowed are a-z 0-9 - _ . and / between segments")]
    NotAllowed {
        /// Its place, from 1.
        position: usize,
        /// The character.
        found: char,
    },
    /// A SPIFFE ID that does not start with `spiffe://`, or that is a trust domain without a path.
    #[error("a name is a SPIFFE ID: spiffe://trust-domain/path")]
    NotSpiffe,
}

/// A path that obeys the grammar.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(String);

impl Path {
    /// Checks `text` against the grammar. Cost is bounded: length is checked before anything is looked at.
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        check(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment, and the folder before it (empty at the root).
    pub fn split(&self) -> (&str, &str) {
        self.0.rsplit_once('/').unwrap_or(("", &self.0))
    }

    /// The folders above, outermost first: `a/b/c` gives `a`, `a/b`.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').filter_map(|(at, _)| self.0.get(..at))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Path({})", self.0)
    }
}

/// The name of a principal: a SPIFFE ID in the same grammar.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId(String);

impl SpiffeId {
    /// Checks `text`.
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        let rest = text.strip_prefix("spiffe://").ok_or(BadPath::NotSpiffe)?;
        check(rest)?;
        if !rest.contains('/') {
            return Err(BadPath::NotSpiffe);
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check(text: &str) -> Result<(), BadPath> {
    if text.is_empty() {
        return Err(BadPath::Empty);
    }
    if text.len() > PATH_BYTES_MAX {
        return Err(BadPath::TooLong { bytes: text.len() });
    }
    for (at, found) in text.chars().enumerate() {
        check_character(at + 1, found)?;
    }
    for (at, segment) in text.split('/').enumerate() {
        let number = at + 1;
        if number > DEPTH_MAX {
            return Err(BadPath::TooDeep { depth: number });
        }
        match segment {
            "" => return Err(BadPath::EmptySegment { segment: number }),
            "." => {
                return Err(BadPath::DotSegment {
                    segment: number,
                    dots: ".",
                });
            }
            ".." => {
                return Err(BadPath::DotSegment {
                    segment: number,
                    dots: "..",
                });
            }
            long if long.len() > SEGMENT_BYTES_MAX => {
                return Err(BadPath::SegmentTooLong {
                    segment: number,
                    bytes: long.len(),
                });
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_character(position: usize, found: char) -> Result<(), BadPath> {
    match found {
        'a'..='z' | '0'..='9' | '-' | '_' | '.' | '/' => Ok(()),
        'A'..='Z' => Err(BadPath::Capital {
            position,
            found,
            instead: found.to_ascii_lowercase(),
        }),
        '%' => Err(BadPath::Percent { position }),
        control if control.is_control() => Err(BadPath::Control {
            position,
            code: u32::from(control),
        }),
        ascii if ascii.is_ascii() => Err(BadPath::NotAllowed { position, found }),
        other => Err(BadPath::NotAscii {
            position,
            code: u32::from(other),
            looks_like: ascii_twin(other),
        }),
    }
}

/// The ASCII character that `found` imitates: by compatibility normalisation (full-width forms), or one of the common
/// Cyrillic and Greek twins. Only for the message; whatever is not ASCII is refused.
fn ascii_twin(found: char) -> Option<char> {
    if let Some(first) = found.nfkd().next().filter(char::is_ascii_graphic) {
        return Some(first);
    }
    Some(match found {
        'а' | 'α' => 'a',
        'с' | 'ϲ' => 'c',
        'е' => 'e',
        'і' | 'ι' => 'i',
        'о' | 'ο' => 'o',
        'р' | 'ρ' => 'p',
        'ѕ' => 's',
        'х' | 'χ' => 'x',
        'у' => 'y',
        '∕' | '⁄' => '/',
        _ => return None,
    })
}
