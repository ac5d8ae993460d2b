//! What may not be stored, by the name of the defect, and where the refusal points.

#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod common;

use common::{compile, refusal, source};
use proptest::prelude::*;
use proptest::sample::select;
use symbolon_policy::{CompileError, LiteralDefect, PathDefect, PolicySet, Source, SourceNameDefect, limits};

const FINE: &str = r#"permit(principal is Agent, action == Action::"read", resource in Folder::"prod");"#;

fn named(name: &str) -> Source {
    Source {
        name: name.to_owned(),
        text: FINE.to_owned(),
    }
}

/// The place and message of the first problem that Cedar reports.
fn first_problem(error: &CompileError) -> (String, String) {
    match error {
        CompileError::Syntax(problems) | CompileError::Invalid(problems) => {
            let problem = problems.iter().next().expect("problems are never empty");
            (problem.place.to_string(), problem.message.clone())
        }
        other => panic!("not Cedar's refusal: {other}"),
    }
}

fn invalid(text: &str, place: &str, message_part: &str) {
    let error = refusal(text);
    assert!(matches!(error, CompileError::Invalid(_)), "{error}");
    let (at, message) = first_problem(&error);
    assert!(message.contains(message_part), "{message}");
    assert_eq!(at, format!("policies/test.cedar:{place}"), "{message}");
}

#[test]
fn a_syntax_error_names_file_line_and_column() {
    let error = refusal("// comment\npermit(principal, action, resource);\n\npermit(principal, action, rescource);");
    assert_eq!(error.code(), "policy-syntax");
    assert_eq!(first_problem(&error).0, "policies/test.cedar:4:27");
}

#[test]
fn every_syntax_error_is_reported_at_once() {
    let error = PolicySet::compile(&[
        Source {
            name: "b.cedar".to_owned(),
            text: "permit(;\n forbid(;".to_owned(),
        },
        Source {
            name: "a.cedar".to_owned(),
            text: "nonsense;".to_owned(),
        },
    ]);
    let Err(CompileError::Syntax(problems)) = error else {
        panic!("accepted, or refused otherwise")
    };
    let places: Vec<String> = problems.iter().map(|problem| problem.place.file.to_string()).collect();
    assert_eq!(places, ["a.cedar", "b.cedar", "b.cedar"]);
}

#[test]
fn a_missing_semicolon() {
    assert!(matches!(
        refusal("permit(principal, action, resource)"),
        CompileError::Syntax(_)
    ));
}

#[test]
fn an_unknown_entity_type() {
    invalid(r#"permit(principal == User::"x", action, resource);"#, "1:21", "User");
}

#[test]
fn an_unknown_action() {
    invalid(
        r#"permit(principal, action == Action::"raed", resource);"#,
        "1:29",
        "raed",
    );
}

#[test]
fn an_unknown_attribute_with_cedars_help() {
    let error =
        refusal("permit(principal is Agent, action == Action::\"read\", resource)\nwhen { principal.ower == \"x\" };");
    let CompileError::Invalid(problems) = &error else {
        panic!("{error}")
    };
    let problem = problems.iter().next().expect("a problem");
    assert_eq!((problem.place.line, problem.place.column), (2, 8));
    assert!(problem.message.contains("ower"));
    assert!(
        problem.help.as_ref().is_some_and(|help| help.contains("owner")),
        "{problem}"
    );
}

#[test]
fn a_comparison_of_unlike_types() {
    invalid(
        r#"permit(principal, action == Action::"read", resource) when { context.localHour == "7" };"#,
        "1:62",
        "not compatible",
    );
}

#[test]
fn local_time_in_a_policy_that_may_apply_to_a_write() {
    let text = |action: &str| format!("permit(principal, {action}, resource)\nwhen {{ context.localHour >= 7 }};");
    invalid(&text(r#"action == Action::"write""#), "2:8", "localHour");
    invalid(&text("action"), "2:8", "localHour");
    compile(&text(r#"action in [Action::"read", Action::"list"]"#));
}

#[test]
fn a_region_that_is_not_asked_for_first() {
    invalid(
        r#"permit(principal, action == Action::"read", resource) when { context.sourceRegion == "eu" };"#,
        "1:62",
        "sourceRegion",
    );
}

#[test]
fn an_attribute_of_an_entity_written_out() {
    invalid(
        r#"permit(principal, action == Action::"read", resource) when { Agent::"x".owner == "y" };"#,
        "1:62",
        "entity literal",
    );
}

#[test]
fn a_policy_that_can_never_apply() {
    invalid(
        r#"permit(principal is Node, action == Action::"read", resource);"#,
        "1:1",
        "",
    );
    invalid(
        r#"forbid(principal, action == Action::"read", resource is Folder);"#,
        "1:1",
        "",
    );
    invalid("forbid(principal, action, resource) when { false };", "1:1", "");
}

#[test]
fn a_name_that_mixes_scripts_to_look_like_another() {
    // The last o of `bot` is Cyrillic.
    invalid(
        "permit(principal == Agent::\"billing-b\u{43e}t\", action, resource);",
        "1:1",
        "mixed scripts",
    );
}

#[test]
fn a_template() {
    for slot in [
        "principal == ?principal, action, resource",
        "principal, action, resource in ?resource",
    ] {
        let error = refusal(&format!("permit({slot});"));
        assert!(matches!(error, CompileError::Template { .. }), "{error}");
    }
}

#[test]
fn a_second_policy_of_the_same_id_names_both_places() {
    let error = PolicySet::compile(&[
        Source {
            name: "b.cedar".to_owned(),
            text: format!("{FINE}\n @id(\"x\") {FINE}"),
        },
        Source {
            name: "a.cedar".to_owned(),
            text: format!("@id(\"x\") {FINE}"),
        },
    ]);
    let Err(CompileError::IdDuplicate { id, first, second }) = error else {
        panic!("accepted, or refused otherwise")
    };
    assert_eq!(id, "x");
    assert_eq!(first.to_string(), "a.cedar:1:1");
    assert_eq!(second.to_string(), "b.cedar:2:2");
}

#[test]
fn policy_ids_that_differ_in_case_only() {
    let error = refusal(&format!("@id(\"Office-Hours\") {FINE} @id(\"office-hours\") {FINE}"));
    assert!(matches!(error, CompileError::IdDuplicate { .. }), "{error}");
}

#[test]
fn an_id_that_takes_the_place_of_an_unnamed_policy() {
    let error = refusal(&format!("{FINE} @id(\"policies/test.cedar#1\") {FINE}"));
    assert!(matches!(error, CompileError::IdDuplicate { .. }), "{error}");
}

#[test]
fn an_id_or_note_that_does_not_fit_a_line() {
    for text in ["", "a\\nb", "\\u{202e}", &"x".repeat(300)] {
        for annotation in ["id", "note"] {
            let error = refusal(&format!("@{annotation}(\"{text}\") {FINE}"));
            assert!(
                matches!(error, CompileError::Annotation { annotation: named, .. } if named == annotation),
                "{error}"
            );
        }
    }
}

#[test]
fn source_names_that_differ_in_case_only() {
    let error = PolicySet::compile(&[named("policies/Billing.cedar"), named("policies/billing.cedar")]);
    assert!(matches!(error, Err(CompileError::SourceDuplicate { .. })));
}

#[test]
fn a_source_name_that_is_no_path() {
    for (name, defect) in [
        ("", PathDefect::Empty),
        ("/etc/passwd", PathDefect::EmptySegment),
        ("a/../b", PathDefect::DotSegment),
        ("a\nb", PathDefect::HiddenCharacter),
    ] {
        let error = PolicySet::compile(&[named(name)]).expect_err("refused");
        assert_eq!(
            error,
            CompileError::SourceName {
                name: name.to_owned(),
                defect: SourceNameDefect::Path(defect)
            }
        );
    }
    let error = PolicySet::compile(&[named(&"x".repeat(limits::SOURCE_NAME_BYTES_MAX + 1))]);
    assert!(matches!(
        error,
        Err(CompileError::SourceName {
            defect: SourceNameDefect::TooLong,
            ..
        })
    ));
}

#[test]
fn a_folder_that_no_path_is_in() {
    let path = |path: &str| {
        refusal(&format!(
            "forbid(principal, action == Action::\"read\", resource in Folder::\"{path}\");"
        ))
    };
    for (text, expected) in [
        ("prod/", LiteralDefect::Path(PathDefect::EmptySegment)),
        ("/prod", LiteralDefect::Path(PathDefect::EmptySegment)),
        ("prod//stripe", LiteralDefect::Path(PathDefect::EmptySegment)),
        ("prod/../test", LiteralDefect::Path(PathDefect::DotSegment)),
        ("", LiteralDefect::Path(PathDefect::Empty)),
        ("prod/*", LiteralDefect::Wildcard),
    ] {
        let error = path(text);
        assert!(
            matches!(&error, CompileError::ImpossiblePath { defect, .. } if *defect == expected),
            "{error}"
        );
    }
}

#[test]
fn an_impossible_folder_in_a_condition() {
    let error =
        refusal(r#"permit(principal, action == Action::"read", resource) unless { resource in Folder::"prod/" };"#);
    assert!(matches!(error, CompileError::ImpossiblePath { .. }), "{error}");
}

#[test]
fn a_principal_without_a_name() {
    let error = refusal(r#"permit(principal == Agent::"", action == Action::"read", resource);"#);
    assert!(matches!(error, CompileError::ImpossibleName { .. }), "{error}");
}

#[test]
fn another_cluster() {
    invalid(
        r#"permit(principal, action == Action::"readStatus", resource == Cluster::"that");"#,
        "1:63",
        "that",
    );
}

#[test]
fn a_hidden_character_in_a_comment() {
    let error = refusal(&format!("// \u{202e}\n{FINE}"));
    assert!(
        matches!(&error, CompileError::DeceptiveCharacter { place, character: '\u{202e}' } if place.column == 4),
        "{error}"
    );
}

#[test]
fn brackets_ten_thousand_deep() {
    let deep = format!(
        "permit(principal, action, resource) when {{ {}true{} }};",
        "(".repeat(10_000),
        ")".repeat(10_000)
    );
    assert!(matches!(refusal(&deep), CompileError::NestedTooDeeply { .. }));
}

#[test]
fn a_chain_ten_thousand_long() {
    for link in [" && true", " || true", " == true"] {
        let deep = format!(
            "permit(principal, action, resource) when {{ true{} }};",
            link.repeat(10_000)
        );
        assert!(matches!(refusal(&deep), CompileError::TooDeep { .. }));
    }
}

#[test]
fn a_source_a_set_and_their_numbers_past_the_limits() {
    let blank = |bytes: usize| " ".repeat(bytes);
    let long = Source {
        name: "a".to_owned(),
        text: blank(limits::SOURCE_BYTES_MAX + 1),
    };
    assert!(matches!(
        PolicySet::compile(&[long]),
        Err(CompileError::SourceTooLong { .. })
    ));

    let many: Vec<Source> = (0..=limits::SOURCES_MAX).map(|n| named(&format!("{n}"))).collect();
    assert!(matches!(
        PolicySet::compile(&many),
        Err(CompileError::SourcesTooMany { .. })
    ));

    let count = limits::SET_BYTES_MAX / limits::SOURCE_BYTES_MAX + 1;
    let heavy: Vec<Source> = (0..count)
        .map(|n| Source {
            name: format!("{n}"),
            text: blank(limits::SOURCE_BYTES_MAX),
        })
        .collect();
    assert!(matches!(
        PolicySet::compile(&heavy),
        Err(CompileError::SetTooLong { .. })
    ));

    let semicolons = Source {
        name: "a".to_owned(),
        text: ";".repeat(limits::POLICIES_MAX + 1),
    };
    assert!(matches!(
        PolicySet::compile(&[semicolons]),
        Err(CompileError::PoliciesTooMany { .. })
    ));
}

#[test]
fn thousands_of_problems_are_cut_and_counted() {
    let error = refusal(&"nonsense;\n".repeat(5_000));
    let CompileError::Syntax(problems) = &error else {
        panic!("{error}")
    };
    assert_eq!(problems.iter().count(), limits::PROBLEMS_MAX);
    assert!(error.to_string().ends_with("4900 more"));
}

#[test]
fn the_order_of_sources_changes_nothing() {
    let sources = [named("a.cedar"), named("b.cedar"), named("c/d.cedar")];
    let mut reversed = sources.clone();
    reversed.reverse();
    let (one, other) = (
        PolicySet::compile(&sources).expect("compiles"),
        PolicySet::compile(&reversed).expect("compiles"),
    );
    assert_eq!(one.hash(), other.hash());
    assert!(one.policies().eq(other.policies()));
}

#[test]
fn a_set_is_known_by_names_and_texts() {
    let hash = |sources: &[Source]| PolicySet::compile(sources).expect("compiles").hash();
    let base = hash(&[named("a.cedar")]);
    assert_ne!(base, hash(&[named("b.cedar")]));
    assert_ne!(base, hash(&[named("a.cedar"), named("b.cedar")]));
    assert_ne!(
        base,
        hash(&[Source {
            name: "a.cedar".to_owned(),
            text: format!("{FINE}\n")
        }])
    );
}

#[test]
fn policies_are_named_by_file_and_line() {
    let set = compile(&format!("// header\n\n@id(\"one\")\n{FINE}\n{FINE}"));
    let shown: Vec<String> = set.policies().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            r#"permit "one"  policies/test.cedar:3"#,
            r#"permit "policies/test.cedar#2"  policies/test.cedar:5"#
        ]
    );
    assert_eq!(set.len(), 2);
}

#[test]
fn the_deepest_policy_that_is_accepted_is_decided_on_a_small_stack() {
    let worst: Vec<String> = [
        ("1", " + 1", " > 0"),
        ("true", " && true", ""),
        ("context.localHour == 1", " || context.localHour == 1", ""),
        (
            "",
            "",
            "((((((((((((((((((((((((((((((context.localHour == 1))))))))))))))))))))))))))))))",
        ),
    ]
    .into_iter()
    .filter_map(|(head, link, tail)| {
        let text = |count: usize| {
            format!(
                "permit(principal, action == Action::\"read\", resource) when {{ {head}{}{tail} }};",
                link.repeat(count)
            )
        };
        (0..=limits::DEPTH_MAX).rev().map(text).find(|text| {
            !matches!(
                PolicySet::compile(&[source(text)]),
                Err(CompileError::TooDeep { .. } | CompileError::NestedTooDeeply { .. })
            )
        })
    })
    .collect();
    assert_eq!(worst.len(), 4);
    for text in worst {
        let decide = move || common::Ask::default().of(&compile(&text));
        let thread = std::thread::Builder::new()
            .stack_size(limits::STACK_BYTES_MIN)
            .spawn(decide)
            .expect("starts");
        let decision = thread.join().expect("ends");
        assert!(decision.errors().is_empty(), "{:?}", decision.explain());
    }
}

#[test]
fn a_real_file_with_comments_strings_and_annotations_is_read_as_cedar_reads_it() {
    let text = r#"
        // permit(principal, action, resource);
        @id("a;b") @note("it's \"quoted\"; // no comment")
        permit(principal == Agent::"spiffe://acme/billing-bot", action == Action::"read", resource)
        when { principal.purpose == "a;b // c" }; // tail; tail
        forbid(principal, action == Action::"read", resource == Secret::"prod/a;b");
    "#;
    let set = compile(text);
    let whole: cedar_policy::PolicySet = text.parse().expect("parses");
    assert_eq!(set.len(), whole.num_of_policies());
    assert_eq!(source(text).text, text);
}

#[test]
fn a_change_checked_against_the_set_before_gives_what_checking_everything_gives() {
    let text = |id: &str| format!("@id(\"{id}\") {FINE}");
    let file = |name: &str, text: String| Source {
        name: name.to_owned(),
        text,
    };
    let before =
        PolicySet::compile(&[file("a", text("1")), file("b", text("2")), file("c", text("3"))]).expect("compiles");
    // a goes, b changes, c stays, d comes.
    let after = [
        file("b", format!("\n{}", text("2"))),
        file("c", text("3")),
        file("d", text("1")),
    ];
    let (again, anew) = (
        before.recompile(&after, u32::MAX).expect("compiles"),
        PolicySet::compile(&after).expect("compiles"),
    );
    assert_eq!(again.hash(), anew.hash());
    assert!(again.policies().eq(anew.policies()));
    assert_eq!(common::Ask::default().of(&again), common::Ask::default().of(&anew));
}

#[test]
fn what_was_checked_with_another_vocabulary_is_checked_again() {
    let asks = source(r#"forbid(principal, action == Action::"write", resource) unless { context.cas };"#);
    let before = PolicySet::compile_at(std::slice::from_ref(&asks), 2).expect("compiles");
    assert!(before.recompile(std::slice::from_ref(&asks), 2).is_ok());
    let refused = before.recompile(&[asks], 1).unwrap_err().to_string();
    assert!(refused.contains("cas"), "{refused}");
}

#[test]
fn what_was_checked_before_still_counts_for_ids_and_limits() {
    let kept = Source {
        name: "a".to_owned(),
        text: format!("@id(\"x\") {FINE}"),
    };
    let before = PolicySet::compile(std::slice::from_ref(&kept)).expect("compiles");
    let added = Source {
        name: "b".to_owned(),
        text: format!("\n@id(\"X\") {FINE}"),
    };
    let Err(CompileError::IdDuplicate { first, second, .. }) = before.recompile(&[added, kept.clone()], u32::MAX)
    else {
        panic!("accepted, or refused otherwise")
    };
    assert_eq!(
        (first.to_string(), second.to_string()),
        ("a:1:1".to_owned(), "b:2:1".to_owned())
    );
    let many = Source {
        name: "b".to_owned(),
        text: ";".repeat(limits::POLICIES_MAX),
    };
    assert!(matches!(
        before.recompile(&[many, kept], u32::MAX),
        Err(CompileError::PoliciesTooMany { .. })
    ));
}

#[test]
fn at_the_first_feature_level_the_vocabulary_is_the_first_builds() {
    let asks = source(r#"forbid(principal, action == Action::"write", resource) unless { context.cas };"#);
    assert!(PolicySet::compile(std::slice::from_ref(&asks)).is_ok());
    assert!(PolicySet::compile_at(std::slice::from_ref(&asks), 2).is_ok());
    let refused = PolicySet::compile_at(&[asks], 1).unwrap_err().to_string();
    assert!(refused.contains("cas"), "{refused}");
    let plain = source(r#"permit(principal, action == Action::"write", resource) when { context.logHour > 6 };"#);
    assert!(PolicySet::compile_at(&[plain], 1).is_ok());
}

#[test]
fn other_changes_than_writes_cannot_ask_for_what_only_a_write_states() {
    for action in ["delete", "undelete", "destroy", "writeMetadata"] {
        let text = format!("forbid(principal, action == Action::\"{action}\", resource) unless {{ context.cas }};");
        assert!(matches!(refusal(&text), CompileError::Invalid(_)), "{action}");
    }
}

#[test]
fn a_text_moved_to_another_name_is_checked_under_that_name() {
    let before = PolicySet::compile(&[named("a")]).expect("compiles");
    let after = before.recompile(&[named("b")], u32::MAX).expect("compiles");
    assert_eq!(
        after.policies().next().map(ToString::to_string).as_deref(),
        Some(r#"permit "b#1"  b:1"#)
    );
}

/// Pieces of which policies are made, and, more rarely, of which they are broken.
fn piece() -> impl Strategy<Value = &'static str> {
    let whole = vec![
        "permit(principal, action, resource);",
        "forbid(principal, action, resource) when { context.logTime > 0 };",
        "permit(principal == Agent::\"a;b\", action, resource) unless { context.logTime > 0 };",
        "// a comment; with \"quotes\n",
        "// another\r",
        "\n",
        "\t",
    ];
    let broken = vec![
        "@id(\"x\\\"y;\")",
        "@note",
        "//",
        "\"",
        "\\",
        ";",
        "}",
        "(",
        "permit(",
        "/",
        "\u{3000}",
        "é",
    ];
    prop_oneof![9 => select(whole), 1 => select(broken)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn text_is_cut_where_cedar_cuts_it(pieces in prop::collection::vec(piece(), 0..12)) {
        let text = pieces.concat();
        let whole = text.parse::<cedar_policy::PolicySet>();
        match (PolicySet::compile(&[source(&text)]), whole) {
            (Ok(ours), Ok(cedars)) => prop_assert_eq!(ours.len(), cedars.num_of_policies()),
            // Cedar alone accepts what we refuse for other reasons (ids, warnings), never the other way round.
            (Err(CompileError::Syntax(problems)), Ok(_)) => prop_assert!(false, "{} refused: {}", text, problems),
            (Ok(_), Err(errors)) => prop_assert!(false, "{} accepted: {}", text, errors),
            (Err(_), _) => {}
        }
    }
}
