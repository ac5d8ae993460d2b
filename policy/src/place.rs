//! Where in which file: what every refusal and every explanation points at.

use std::fmt;
use std::sync::Arc;

/// A position in a source. Shown as `policies/billing.cedar:14:3`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The source's name.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Turns byte offsets of one text into lines and columns.
pub(crate) struct Lines<'a> {
    file: Arc<str>,
    text: &'a str,
    /// Byte offset at which each line starts, ascending; never empty.
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(file: &str, text: &'a str) -> Self {
        let starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self {
            file: Arc::from(file),
            text,
            starts,
        }
    }

    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    pub(crate) fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = line
            .checked_sub(1)
            .and_then(|index| self.starts.get(index))
            .copied()
            .unwrap_or(0);
        let before = self
            .text
            .get(start..offset)
            .map_or(offset - start, |text| text.chars().count());
        let saturate = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Place {
            file: Arc::clone(&self.file),
            line: saturate(line),
            column: saturate(before + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    #[test]
    fn columns_count_characters_and_lines_start_at_one() {
        let lines = Lines::new("f", "ab\nπρός x\n");
        assert_eq!(lines.place(0).to_string(), "f:1:1");
        assert_eq!(lines.place(2).to_string(), "f:1:3");
        assert_eq!(lines.place(3).to_string(), "f:2:1");
        assert_eq!(lines.place("ab\nπρός ".len()).to_string(), "f:2:6");
        assert_eq!(lines.place(1_000).line, 3);
    }
}
