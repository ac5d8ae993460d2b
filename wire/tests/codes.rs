//! The catalogue of error codes: each number has one meaning for ever.
#![allow(clippy::unwrap_used, reason = "tests fail by panic")]

use std::collections::BTreeSet;
use std::fmt::Write;
use symbolon_wire::Code;
use symbolon_wire::codes::Exit;

/// A changed line here is a code that changed its meaning: give the new meaning a new number instead.
#[test]
fn the_catalogue_is_what_it_was() {
    let mut text = String::new();
    for code in Code::ALL {
        writeln!(
            text,
            "{code} {code:?} exit {} ({:?}): {}",
            code.exit() as u8,
            code.exit(),
            code.title()
        )
        .unwrap();
    }
    insta::assert_snapshot!("codes", text);
}

#[test]
fn numbers_ascend_so_none_is_used_twice() {
    assert!(Code::ALL.is_sorted_by(|a, b| (*a as u32) < (*b as u32)));
}

#[test]
fn titles_are_unique_one_line_and_not_empty() {
    let titles: BTreeSet<&str> = Code::ALL.iter().map(|code| code.title()).collect();
    assert_eq!(titles.len(), Code::ALL.len());
    assert!(
        titles
            .iter()
            .all(|title| !title.is_empty() && !title.contains('\n') && title.len() <= 80)
    );
}

#[test]
fn a_number_from_the_wire_gives_its_code_or_nothing() {
    let known: BTreeSet<u32> = Code::ALL.iter().map(|code| *code as u32).collect();
    for number in 0..10_000 {
        let code = Code::from_number(number);
        assert_eq!(code.is_some(), known.contains(&number), "{number}");
        assert!(code.is_none_or(|code| code as u32 == number));
    }
    assert_eq!(Code::from_number(u32::MAX), None);
}

#[test]
fn zero_is_no_code_because_it_means_done() {
    assert_eq!(Code::from_number(0), None);
}

#[test]
fn no_code_exits_as_success() {
    assert!(Code::ALL.iter().all(|code| code.exit() != Exit::Ok));
}

#[test]
fn every_code_is_shown_with_four_digits() {
    assert_eq!(Code::Denied.to_string(), "SY0403");
    assert!(Code::ALL.iter().all(|code| code.to_string().len() == 6));
}
