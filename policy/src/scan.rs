//! One pass over a source's text before Cedar sees it: cuts it into statements and bounds their depth.
//!
//! Cedar's parser, validator, evaluator and destructors recurse over a policy's tree, so text of unbounded depth could
//! exhaust the stack. This pass has no recursion and costs one step a byte. It lexes as Cedar does (comments end at
//! `\n` or `\r`, strings are `"(\\.|[^"\\])*"`, a statement ends at `;`); where text is malformed the two may
//! disagree, and then Cedar refuses the piece it is given.
//!
//! The measure: in Cedar's grammar `if`, `&&` and `||` may follow one another along a path through the tree at one
//! bracket level; all other operators of a path lie between two of these. So the depth of a level is at most the number
//! of `if`, `then`, `else`, `when`, `unless`, `&&` and `||` in it, plus the most other operators between two of them,
//! plus the depth of a bracket inside it. Commas begin anew.

use crate::limits::{DEPTH_MAX, NESTING_MAX};

/// One statement of a source: from its first token to its `;`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Statement<'a> {
    pub(crate) text: &'a str,
    /// Byte offset of `text` in the source.
    pub(crate) start: usize,
}

/// Why a text is not even shown to Cedar. Offsets are bytes into the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScanError {
    /// A control character, or one that reorders or hides what a reader sees.
    Deceptive { at: usize, character: char },
    /// A slot, as in `?principal`.
    Template { at: usize },
    /// More than `NESTING_MAX` brackets open.
    Nested { at: usize },
    /// Deeper than `DEPTH_MAX`.
    Deep { at: usize },
}

/// Whether a character controls, hides or reorders text rather than being shown.
pub fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{feff}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Cuts `text` into statements.
///
/// # Errors
/// The first defect in the order of the text.
pub(crate) fn statements(text: &str) -> Result<Vec<Statement<'_>>, ScanError> {
    if let Some((at, character)) = text
        .char_indices()
        .find(|(_, c)| is_deceptive(*c) && !matches!(c, '\n' | '\r' | '\t'))
    {
        return Err(ScanError::Deceptive { at, character });
    }
    let mut found = Vec::new();
    let mut lexer = Lexer { text, at: 0 };
    let mut start = None;
    let mut measure = Measure::default();
    while let Some((token, at)) = lexer.token() {
        let begun = *start.get_or_insert(at);
        match token {
            Token::Slot => return Err(ScanError::Template { at }),
            Token::End => {
                found.extend(text.get(begun..lexer.at).map(|text| Statement { text, start: begun }));
                start = None;
                measure = Measure::default();
            }
            Token::Open => measure.open(at)?,
            Token::Close => measure.close(at)?,
            Token::Comma => measure.current.comma(),
            Token::Chain => measure.current.chain(),
            Token::Operator => measure.current.operators += 1,
            Token::Atom => {}
        }
        measure.check(at)?;
    }
    // What follows the last `;` is a statement too, so that Cedar says what is missing.
    if let Some(begun) = start {
        found.extend(text.get(begun..).map(|text| Statement { text, start: begun }));
    }
    Ok(found)
}

/// The depth of one bracket level, as far as it has been read.
#[derive(Clone, Copy, Default)]
struct Level {
    /// `if`, `&&` and the like since the last comma.
    chain: usize,
    /// Other operators since the last of these.
    operators: usize,
    /// Depth of the deepest bracket since the last of these.
    inside: usize,
    /// The greatest `operators + inside` since the last comma.
    operand: usize,
    /// The greatest depth of what lies before the last comma.
    element: usize,
}

impl Level {
    fn chain(&mut self) {
        self.operand = self.operand.max(self.operators + self.inside);
        self.operators = 0;
        self.inside = 0;
        self.chain += 1;
    }

    fn comma(&mut self) {
        *self = Self {
            element: self.depth(),
            ..Self::default()
        };
    }

    fn depth(&self) -> usize {
        self.element
            .max(self.chain + self.operand.max(self.operators + self.inside))
    }
}

#[derive(Default)]
struct Measure {
    current: Level,
    outer: Vec<Level>,
}

impl Measure {
    fn open(&mut self, at: usize) -> Result<(), ScanError> {
        if self.outer.len() >= NESTING_MAX {
            return Err(ScanError::Nested { at });
        }
        self.outer.push(std::mem::take(&mut self.current));
        Ok(())
    }

    fn close(&mut self, at: usize) -> Result<(), ScanError> {
        self.check(at)?;
        let inside = self.current.depth() + 1;
        // A bracket that was never opened leaves the level as it is; Cedar refuses it.
        self.current = self.outer.pop().unwrap_or_default();
        self.current.inside = self.current.inside.max(inside);
        Ok(())
    }

    fn check(&self, at: usize) -> Result<(), ScanError> {
        if self.current.depth() > DEPTH_MAX {
            Err(ScanError::Deep { at })
        } else {
            Ok(())
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Comma,
    /// `;`
    End,
    /// What may repeat along a path at one level.
    Chain,
    /// Any other operator.
    Operator,
    /// `?`
    Slot,
    /// Names, numbers, strings and what else adds no depth.
    Atom,
}

struct Lexer<'a> {
    text: &'a str,
    /// Byte offset of what has not been read.
    at: usize,
}

impl Lexer<'_> {
    /// The next token and the offset of its first byte.
    fn token(&mut self) -> Option<(Token, usize)> {
        self.skip_blanks();
        let at = self.at;
        let rest = self.text.get(at..)?;
        let first = rest.chars().next()?;
        let (token, length) = match first {
            '(' | '[' | '{' => (Token::Open, 1),
            ')' | ']' | '}' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            ';' => (Token::End, 1),
            '?' => (Token::Slot, 1),
            '"' => (Token::Atom, string_length(rest)),
            '&' | '|' => (
                Token::Chain,
                if rest.starts_with("&&") || rest.starts_with("||") {
                    2
                } else {
                    1
                },
            ),
            ':' | '@' => (Token::Atom, 1),
            _ if first.is_ascii_alphanumeric() || first == '_' => word(rest),
            _ if first.is_ascii() => (Token::Operator, 1),
            _ => (Token::Atom, first.len_utf8()),
        };
        self.at = at + length;
        Some((token, at))
    }

    /// Skips white space and comments.
    fn skip_blanks(&mut self) {
        while let Some(rest) = self.text.get(self.at..) {
            let blank = rest.len() - rest.trim_start().len();
            let comment = rest.get(blank..).filter(|rest| rest.starts_with("//"));
            self.at += blank + comment.map_or(0, |rest| rest.find(['\n', '\r']).unwrap_or(rest.len()));
            if comment.is_none() {
                return;
            }
        }
    }
}

/// Bytes of the string at the beginning of `rest`, with its quotes; all of `rest` if it is not closed.
fn string_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The word at the beginning of `rest`, and its bytes.
fn word(rest: &str) -> (Token, usize) {
    let length = rest
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .unwrap_or(rest.len());
    let token = match rest.get(..length) {
        Some("if" | "then" | "else" | "when" | "unless") => Token::Chain,
        Some("has" | "like" | "in" | "is") => Token::Operator,
        _ => Token::Atom,
    };
    (token, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<&str> {
        statements(source)
            .expect("scans")
            .into_iter()
            .map(|statement| statement.text)
            .collect()
    }

    #[test]
    fn statements_end_at_semicolons_outside_strings_and_comments() {
        let source = "// one; two\npermit(a);\n  @id(\"x;\\\";y\") forbid(b) // tail;\n;\r// cr\rpermit(c);";
        assert_eq!(
            texts(source),
            ["permit(a);", "@id(\"x;\\\";y\") forbid(b) // tail;\n;", "permit(c);"]
        );
    }

    #[test]
    fn a_statement_in_a_comment_is_no_statement() {
        assert_eq!(texts("// permit(principal, action, resource);"), Vec::<&str>::new());
    }

    #[test]
    fn a_missing_semicolon_leaves_a_piece_for_cedar_to_refuse() {
        assert_eq!(texts("permit(a); permit(b)"), ["permit(a);", "permit(b)"]);
        assert_eq!(texts("permit(\"open"), ["permit(\"open"]);
    }

    #[test]
    fn offsets_point_into_the_source() {
        let source = "  // é\n permit(a);";
        let statement = statements(source).expect("scans")[0];
        assert_eq!(&source[statement.start..], "permit(a);");
    }

    #[test]
    fn slots_are_seen_outside_strings_only() {
        assert_eq!(
            statements("permit(principal == ?principal);"),
            Err(ScanError::Template { at: 20 })
        );
        assert!(statements("@note(\"why?\") permit(a);").is_ok());
    }

    #[test]
    fn brackets_ten_thousand_deep_are_refused_at_the_limit() {
        let source = format!("permit(a) when {{ {}true", "(".repeat(10_000));
        assert!(matches!(statements(&source), Err(ScanError::Nested { at }) if at < 100));
    }

    #[test]
    fn chains_without_brackets_are_refused_at_the_limit() {
        for (head, link) in [
            ("true", " && true"),
            ("true", " || true"),
            ("1", " + 1"),
            ("", "!"),
            ("", "-"),
            ("", "if true then true else "),
            ("context", ".a"),
            ("context", " == context"),
        ] {
            let source = format!("permit(a) when {{ {head}{} }};", link.repeat(10_000));
            assert!(
                matches!(statements(&source), Err(ScanError::Deep { at }) if at < 3_000),
                "{link}"
            );
        }
    }

    #[test]
    fn brackets_and_chains_add_up() {
        let source = format!("permit(a) when {{ {}", "a && b && c == (".repeat(25));
        assert!(matches!(
            statements(&format!("{source}{}}};", ")".repeat(25))),
            Err(ScanError::Deep { .. })
        ));
    }

    #[test]
    fn wide_sets_are_not_deep() {
        let source = format!(
            "permit(a) when {{ [{}].contains(context.x) }};",
            "\"a\", ".repeat(5_000)
        );
        assert_eq!(texts(&source).len(), 1);
    }

    #[test]
    fn each_statement_is_measured_for_itself() {
        let source = "permit(a) when { a && b && c };\n".repeat(1_000);
        assert_eq!(texts(&source).len(), 1_000);
    }

    #[test]
    fn characters_that_hide_or_reorder_are_refused_even_in_comments() {
        for character in [
            '\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}', '\u{0}', '\u{1b}', '\u{7f}',
        ] {
            let source = format!("// {character}\npermit(a);");
            assert_eq!(statements(&source), Err(ScanError::Deceptive { at: 3, character }));
        }
    }
}
