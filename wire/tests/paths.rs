//! One spelling per name: what the grammar takes, and every second spelling that it refuses, by name.
#![allow(clippy::unwrap_used, reason = "tests fail by panic")]

use proptest::prelude::*;
use std::time::{Duration, Instant};
use symbolon_wire::path::{BadPath, DEPTH_MAX, PATH_BYTES_MAX, Path, SEGMENT_BYTES_MAX, SpiffeId};

fn refusal(text: &str) -> BadPath {
    Path::parse(text).unwrap_err()
}

fn deep(depth: usize) -> String {
    vec!["a"; depth].join("/")
}

#[test]
fn ordinary_paths_are_taken_as_they_are() {
    for text in ["a", "prod/stripe/key", "a.b", "a..b", "...", "-", "_", "0", "x-1_2.3/y"] {
        assert_eq!(Path::parse(text).unwrap().as_str(), text);
    }
}

#[test]
fn the_limits_themselves_are_allowed() {
    assert!(Path::parse(&"a".repeat(SEGMENT_BYTES_MAX)).is_ok());
    assert!(Path::parse(&deep(DEPTH_MAX)).is_ok());
    let segment = "a".repeat(SEGMENT_BYTES_MAX - 1);
    let longest = [[segment.as_str(); 8].join("/"), "a".to_owned()].concat();
    assert_eq!(longest.len(), PATH_BYTES_MAX);
    assert!(Path::parse(&longest).is_ok());
}

#[test]
fn one_past_each_limit_is_refused() {
    assert_eq!(
        refusal(&"a".repeat(SEGMENT_BYTES_MAX + 1)),
        BadPath::SegmentTooLong { segment: 1, bytes: 65 }
    );
    assert_eq!(refusal(&deep(DEPTH_MAX + 1)), BadPath::TooDeep { depth: 17 });
    let segment = "a".repeat(SEGMENT_BYTES_MAX);
    let long = [[segment.as_str(); 7].join("/"), "/".to_owned(), "a".repeat(58)].concat();
    assert_eq!(refusal(&long), BadPath::TooLong { bytes: 513 });
}

#[test]
fn an_empty_path_is_refused() {
    assert_eq!(refusal(""), BadPath::Empty);
}

#[test]
fn a_step_up_is_refused_wherever_it_stands() {
    for (text, segment) in [("..", 1), ("../a", 1), ("a/../b", 2), ("a/b/..", 3)] {
        assert_eq!(refusal(text), BadPath::DotSegment { segment, dots: ".." }, "{text}");
    }
}

#[test]
fn a_step_nowhere_is_refused_wherever_it_stands() {
    for (text, segment) in [(".", 1), ("./a", 1), ("a/./b", 2), ("a/.", 2)] {
        assert_eq!(refusal(text), BadPath::DotSegment { segment, dots: "." }, "{text}");
    }
}

#[test]
fn percent_encoding_is_refused_whatever_it_stands_for() {
    for (text, position) in [
        ("%2e%2e/a", 1),
        ("a/%2e", 3),
        ("a%2fb", 2),
        ("a%", 2),
        ("%61", 1),
        ("a%00", 2),
    ] {
        assert_eq!(refusal(text), BadPath::Percent { position }, "{text}");
    }
}

#[test]
fn a_double_slash_is_refused() {
    for (text, segment) in [("a//b", 2), ("//", 1), ("a/b//c", 3)] {
        assert_eq!(refusal(text), BadPath::EmptySegment { segment }, "{text}");
    }
}

#[test]
fn a_slash_at_either_end_is_refused() {
    for (text, segment) in [("/a", 1), ("a/", 2), ("/", 1), ("a/b/", 3)] {
        assert_eq!(refusal(text), BadPath::EmptySegment { segment }, "{text}");
    }
}

#[test]
fn every_control_character_is_refused_by_its_number() {
    for code in (0..0x20).chain(0x7f..0xa0) {
        let control = char::from_u32(code).unwrap();
        assert_eq!(
            refusal(&format!("a{control}b")),
            BadPath::Control { position: 2, code },
            "U+{code:04X}"
        );
    }
}

#[test]
fn every_capital_is_refused_and_the_lower_case_is_named() {
    for (found, instead) in ('A'..='Z').zip('a'..='z') {
        let expected = BadPath::Capital {
            position: 3,
            found,
            instead,
        };
        assert_eq!(refusal(&format!("a/{found}")), expected);
    }
}

#[test]
fn every_other_ascii_character_is_refused() {
    for code in 0x20_u8..0x7f {
        let found = char::from(code);
        let allowed = found.is_ascii_lowercase() || found.is_ascii_digit() || "-_./".contains(found);
        if !allowed && !found.is_ascii_uppercase() && found != '%' {
            assert_eq!(
                refusal(&format!("a{found}")),
                BadPath::NotAllowed { position: 2, found },
                "{found}"
            );
        }
    }
}

#[test]
fn unicode_look_alikes_are_refused_and_unmasked() {
    for (twin, ascii) in [
        ('а', 'a'),        // Cyrillic
        ('е', 'e'),        // Cyrillic
        ('ο', 'o'),        // Greek
        ('р', 'p'),        // Cyrillic
        ('ѕ', 's'),        // Cyrillic
        ('х', 'x'),        // Cyrillic
        ('ａ', 'a'),       // full width
        ('．', '.'),       // full width
        ('\u{2024}', '.'), // one dot leader
        ('／', '/'),       // full width
        ('∕', '/'),        // division slash
        ('⁄', '/'),        // fraction slash
        ('ſ', 's'),        // long s
        ('ｋ', 'k'),       // full width
        ('ⅰ', 'i'),        // Roman numeral
        ('²', '2'),        // superscript
    ] {
        let expected = BadPath::NotAscii {
            position: 3,
            code: u32::from(twin),
            looks_like: Some(ascii),
        };
        assert_eq!(refusal(&format!("a/{twin}")), expected, "{twin}");
    }
}

#[test]
fn invisible_and_direction_characters_are_refused() {
    for code in [0x00ad, 0x200b, 0x200d, 0x202e, 0x2060, 0x2066, 0xfeff, 0xe0061] {
        let hidden = char::from_u32(code).unwrap();
        let expected = BadPath::NotAscii {
            position: 2,
            code,
            looks_like: None,
        };
        assert_eq!(refusal(&format!("a{hidden}b")), expected, "U+{code:04X}");
    }
}

#[test]
fn an_accent_in_either_normal_form_is_refused() {
    for text in ["caf\u{e9}", "cafe\u{301}"] {
        assert!(matches!(refusal(text), BadPath::NotAscii { .. }), "{text}");
    }
}

#[test]
fn a_path_ten_thousand_deep_is_refused_by_its_length() {
    assert_eq!(refusal(&deep(10_000)), BadPath::TooLong { bytes: 19_999 });
}

/// The same work ten million times over would take seconds: what is refused by its length is not looked at.
#[test]
fn ten_megabytes_cost_no_more_than_a_length() {
    const BYTES: usize = 10 * 1024 * 1024;
    let inputs = [
        "a".repeat(BYTES),
        "/".repeat(BYTES),
        "../".repeat(BYTES / 3),
        "а".repeat(BYTES / 2),
        format!("spiffe://{}", "a".repeat(BYTES)),
    ];
    let started = Instant::now();
    for _ in 0..1_000 {
        for input in &inputs {
            assert!(matches!(Path::parse(input), Err(BadPath::TooLong { .. })));
            assert!(SpiffeId::parse(input).is_err());
        }
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn a_path_splits_into_folder_and_name() {
    let path = Path::parse("a/b/c").unwrap();
    assert_eq!(path.split(), ("a/b", "c"));
    assert_eq!(path.folders().collect::<Vec<_>>(), ["a", "a/b"]);
    let root = Path::parse("c").unwrap();
    assert_eq!(root.split(), ("", "c"));
    assert_eq!(root.folders().count(), 0);
}

#[test]
fn a_spiffe_id_is_a_trust_domain_and_a_path_in_the_same_grammar() {
    for text in ["spiffe://acme/bot", "spiffe://acme.example/ns/prod/agent-1"] {
        assert_eq!(SpiffeId::parse(text).unwrap().as_str(), text);
    }
    let refused = [
        ("", BadPath::NotSpiffe),
        ("acme/bot", BadPath::NotSpiffe),
        ("SPIFFE://acme/bot", BadPath::NotSpiffe),
        ("spiffe:/acme/bot", BadPath::NotSpiffe),
        ("https://acme/bot", BadPath::NotSpiffe),
        ("spiffe://acme", BadPath::NotSpiffe),
        ("spiffe://", BadPath::Empty),
        ("spiffe:///bot", BadPath::EmptySegment { segment: 1 }),
        ("spiffe://acme/", BadPath::EmptySegment { segment: 2 }),
        ("spiffe://acme//bot", BadPath::EmptySegment { segment: 2 }),
        ("spiffe://acme/../bot", BadPath::DotSegment { segment: 2, dots: ".." }),
        ("spiffe://acme/%2e", BadPath::Percent { position: 6 }),
        (
            "spiffe://acme/*",
            BadPath::NotAllowed {
                position: 6,
                found: '*',
            },
        ),
        (
            "spiffe://acme:443/bot",
            BadPath::NotAllowed {
                position: 5,
                found: ':',
            },
        ),
        (
            "spiffe://user@acme/bot",
            BadPath::NotAllowed {
                position: 5,
                found: '@',
            },
        ),
        (
            "spiffe://acme/bot?x",
            BadPath::NotAllowed {
                position: 9,
                found: '?',
            },
        ),
        (
            "spiffe://acme/bot#x",
            BadPath::NotAllowed {
                position: 9,
                found: '#',
            },
        ),
    ];
    for (text, expected) in refused {
        assert_eq!(SpiffeId::parse(text).unwrap_err(), expected, "{text}");
    }
    let capital = SpiffeId::parse("spiffe://Acme/bot").unwrap_err();
    assert!(matches!(capital, BadPath::Capital { position: 1, .. }));
}

#[test]
fn every_refusal_says_what_is_wrong_in_one_line() {
    for text in [
        "",
        "a//b",
        "..",
        "A",
        "%2e",
        "a\n",
        "а",
        "*",
        &deep(17),
        &"a".repeat(65),
        &"a".repeat(513),
    ] {
        let message = refusal(text).to_string();
        assert!(message.len() > 10 && !message.contains('\n'), "{message:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn what_is_generated_by_the_grammar_is_taken(text in "[a-z0-9_-][a-z0-9._-]{0,20}(/[a-z0-9_-][a-z0-9._-]{0,20}){0,15}") {
        prop_assert_eq!(Path::parse(&text).unwrap().to_string(), text);
    }

    /// The grammar again, written another way: what is taken obeys it, and what obeys it is taken.
    #[test]
    fn a_path_is_taken_if_and_only_if_it_obeys_the_grammar(text in "([a-c.]{0,3}|%2e|A|а|\u{0}|[ -~]{0,4}|\\PC{0,2})(/([a-c.]{0,3}|[ -~]{0,4})){0,17}") {
        let segments: Vec<&str> = text.split('/').collect();
        let obeys = text.len() <= 512
            && segments.len() <= 16
            && segments.iter().all(|segment| {
                (1..=64).contains(&segment.len())
                    && !matches!(*segment, "." | "..")
                    && segment.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'))
            });
        prop_assert_eq!(Path::parse(&text).is_ok(), obeys);
    }

    /// No two spellings of one name: what is taken is what Unicode, URLs and file systems leave alone.
    #[test]
    fn what_is_taken_has_no_second_spelling(text in "\\PC{0,40}|[A-Za-z0-9%./_-]{0,40}") {
        if Path::parse(&text).is_ok() {
            prop_assert_eq!(text.to_lowercase(), text.as_str());
            prop_assert!(text.is_ascii() && !text.contains('%') && !text.contains("//"));
            let between = ["/", &text, "/"].concat();
            prop_assert!(!between.contains("/../") && !between.contains("/./"));
        }
    }

    #[test]
    fn nothing_makes_the_parser_panic(text in any::<String>()) {
        let _ = Path::parse(&text);
        let _ = SpiffeId::parse(&format!("spiffe://{text}"));
    }
}
