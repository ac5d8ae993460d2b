//! Rust sources as the compiler's lexer sees them: names and paths with their lines, without comments, strings and
//! what is compiled only for tests.

use std::str::FromStr;

use proc_macro2::{Delimiter, LexError, TokenStream, TokenTree};

/// A path as written, with groups of imports resolved: `use std::{fs, io::Read}` gives `std::fs` and `std::io::Read`.
/// A single name is a path of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Its names.
    pub segments: Vec<String>,
    /// The line of its last name, from 1.
    pub line: usize,
}

/// Every path in `text` outside `#[cfg(test)]` items.
///
/// # Errors
/// If `text` is not made of Rust's tokens.
pub fn paths(text: &str) -> Result<Vec<Path>, LexError> {
    let mut found = Vec::new();
    collect(TokenStream::from_str(text)?, &[], &mut found);
    Ok(found)
}

/// Whether `text` begins with the inner attribute `attribute`, such as `forbid(unsafe_code)`, possibly among others.
///
/// # Errors
/// If `text` is not made of Rust's tokens.
pub fn has_inner_attribute(text: &str, attribute: &str) -> Result<bool, LexError> {
    let tokens: Vec<TokenTree> = TokenStream::from_str(text)?.into_iter().collect();
    Ok(tokens.windows(3).any(|window| match window {
        [hash, bang, TokenTree::Group(group)] => {
            is_punct(hash, '#') && is_punct(bang, '!') && without_spaces(&group.stream()) == attribute
        }
        _ => false,
    }))
}

fn collect(stream: TokenStream, prefix: &[String], found: &mut Vec<Path>) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let mut rest = tokens.as_slice();
    while let [first, after @ ..] = rest {
        rest = match first {
            hash if is_punct(hash, '#') && starts_test_item(after) => skip_item(after),
            TokenTree::Ident(_) => follow(rest, prefix, found),
            TokenTree::Group(group) => {
                collect(group.stream(), &[], found);
                after
            }
            _ => after,
        };
    }
}

/// Reads one path from the name that `tokens` begin with; returns what follows it.
fn follow<'a>(tokens: &'a [TokenTree], prefix: &[String], found: &mut Vec<Path>) -> &'a [TokenTree] {
    let mut segments = prefix.to_vec();
    let mut rest = tokens;
    let mut line = 0;
    while let [TokenTree::Ident(name), after @ ..] = rest {
        segments.push(name.to_string().trim_start_matches("r#").to_owned());
        line = name.span().start().line;
        rest = match after {
            [one, two, further @ ..] if is_punct(one, ':') && is_punct(two, ':') => further,
            _ => {
                found.push(Path { segments, line });
                return after;
            }
        };
        if let [TokenTree::Group(group), after @ ..] = rest
            && group.delimiter() == Delimiter::Brace
        {
            collect(group.stream(), &segments, found);
            return after;
        }
    }
    // A glob or generic arguments follow the last `::`; what stands before them is a path all the same.
    found.push(Path { segments, line });
    rest
}

fn starts_test_item(after_hash: &[TokenTree]) -> bool {
    let [TokenTree::Group(group), ..] = after_hash else {
        return false;
    };
    let attribute = without_spaces(&group.stream());
    ["cfg(test)", "cfg(all(test,", "test"].iter().any(|start| match *start {
        "test" => attribute == "test",
        start => attribute.starts_with(start),
    })
}

/// What follows the item that these tokens begin: its attributes, then everything to the first braces or semicolon.
fn skip_item(tokens: &[TokenTree]) -> &[TokenTree] {
    let end = tokens.iter().position(|token| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        other => is_punct(other, ';'),
    });
    end.and_then(|end| tokens.get(end + 1..)).unwrap_or_default()
}

fn is_punct(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == mark)
}

fn without_spaces(stream: &TokenStream) -> String {
    stream.to_string().split_whitespace().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Vec<String> {
        paths(text)
            .unwrap()
            .iter()
            .map(|path| path.segments.join("::"))
            .collect()
    }

    #[test]
    fn groups_of_imports_are_resolved() {
        let found = written("use std::{fs, io::{self, Read}, net::*};");
        for path in ["std::fs", "std::io::self", "std::io::Read", "std::net"] {
            assert!(found.contains(&path.to_owned()), "{path} in {found:?}");
        }
    }

    #[test]
    fn comments_and_strings_are_no_code() {
        let text = "// std::fs\n/* std::net */ /// tokio\nconst A: &str = \"std::fs\"; const B: char = 'I';";
        assert!(
            !written(text)
                .iter()
                .any(|path| path.contains("fs") || path.contains("tokio"))
        );
    }

    #[test]
    fn code_in_macros_counts() {
        assert!(written("fn f() { println!(\"{:?}\", Instant::now()); }").contains(&"Instant::now".to_owned()));
    }

    #[test]
    fn what_is_compiled_only_for_tests_is_left_out_and_nothing_after_it() {
        let text = "#[cfg(test)] mod tests { use std::fs; }\n#[cfg(all(test, unix))] use std::net;\n\
                    #[test] fn t() { std::env::args(); }\nfn after() { tokio::spawn(); }";
        let found = written(text);
        assert!(!found.iter().any(|path| path.starts_with("std")), "{found:?}");
        assert!(found.contains(&"tokio::spawn".to_owned()), "{found:?}");
    }

    #[test]
    fn what_is_compiled_outside_tests_is_not_left_out() {
        assert!(written("#[cfg(not(test))] use std::fs;").contains(&"std::fs".to_owned()));
        assert!(written("#[cfg(any(test, unix))] use std::fs;").contains(&"std::fs".to_owned()));
    }

    #[test]
    fn lines_count_from_one() {
        assert_eq!(paths("\n\nuse tokio;").unwrap().last().unwrap().line, 3);
    }

    #[test]
    fn generic_arguments_end_a_path_and_are_read_themselves() {
        let found = written("let x = Vec::<std::fs::File>::new();");
        assert!(
            found.contains(&"Vec".to_owned()) && found.contains(&"std::fs::File".to_owned()),
            "{found:?}"
        );
    }

    #[test]
    fn an_inner_attribute_is_told_from_an_outer_one() {
        assert!(has_inner_attribute("//! x\n#![forbid( unsafe_code )]", "forbid(unsafe_code)").unwrap());
        assert!(!has_inner_attribute("#[forbid(unsafe_code)] mod a {}", "forbid(unsafe_code)").unwrap());
        assert!(!has_inner_attribute("// #![forbid(unsafe_code)]", "forbid(unsafe_code)").unwrap());
    }
}
