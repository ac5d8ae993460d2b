//! Twenty histories that no order explains, each beside one that differs in what makes it sound: the checker flags the
//! first and passes the second.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use symbolon_linear::secret::{Answer, Call, Change, Secret};
use symbolon_linear::{Operation, check};

type Op = Operation<Call, Answer>;

fn op(call: Call, began: u64, ended: u64, answer: Answer) -> Op {
    Operation {
        call,
        began,
        ended: Some((ended, answer)),
    }
}

fn unknown(call: Call, began: u64) -> Op {
    Operation {
        call,
        began,
        ended: None,
    }
}

fn writing(previous: u64, value: u8) -> Call {
    Call::Write {
        previous,
        value: [value; 32],
    }
}

/// Writes version `previous + 1` with value `value`.
fn write(previous: u64, value: u8, began: u64, ended: u64) -> Op {
    op(writing(previous, value), began, ended, Answer::Done)
}

fn reading(version: Option<u64>) -> Call {
    Call::Read { reader: 1, version }
}

/// Reader 1 reads the latest version and gets this one.
fn read(version: u64, value: u8, began: u64, ended: u64) -> Op {
    let value = [value; 32];
    op(reading(None), began, ended, Answer::Value { version, value })
}

fn nothing(began: u64, ended: u64) -> Op {
    op(reading(None), began, ended, Answer::NotFound)
}

fn denied(began: u64, ended: u64) -> Op {
    op(reading(None), began, ended, Answer::Denied)
}

fn changing(change: Change, version: u64, latest: u64) -> Call {
    Call::Change {
        change,
        version,
        latest: Some(latest),
    }
}

fn done(call: Call, began: u64, ended: u64) -> Op {
    op(call, began, ended, Answer::Done)
}

/// From now on reader 1 may read, or may not.
fn rights(previous: u64, may: bool) -> Call {
    let readers = if may { BTreeSet::from([1]) } else { BTreeSet::new() };
    Call::Rights { previous, readers }
}

fn passes(history: &[Op]) -> bool {
    check(Secret::new(1, BTreeSet::from([1, 2])), history).is_ok()
}

/// The first history is sound, the second is not.
fn told_apart(sound: &[Op], broken: &[Op]) {
    assert_eq!(check(Secret::new(1, BTreeSet::from([1, 2])), sound), Ok(()));
    assert!(!passes(broken), "the broken history passes");
}

#[test]
fn a_stale_read() {
    let writes = [write(0, 1, 1, 2), write(1, 2, 3, 4)];
    let with = |last| [&writes[..], &[last]].concat();
    told_apart(&with(read(2, 2, 5, 6)), &with(read(1, 1, 5, 6)));
}

#[test]
fn a_read_that_goes_back_behind_another() {
    let during = [write(0, 1, 1, 2), write(1, 2, 3, 20), read(2, 2, 4, 5)];
    let with = |last| [&during[..], &[last]].concat();
    told_apart(&with(read(2, 2, 6, 7)), &with(read(1, 1, 6, 7)));
}

#[test]
fn nothing_where_something_was_written() {
    told_apart(&[write(0, 1, 1, 4), nothing(2, 3)], &[write(0, 1, 1, 2), nothing(3, 4)]);
}

#[test]
fn a_value_that_nobody_wrote() {
    told_apart(
        &[write(0, 1, 1, 2), read(1, 1, 3, 4)],
        &[write(0, 1, 1, 2), read(1, 9, 3, 4)],
    );
}

#[test]
fn a_value_before_its_write_began() {
    told_apart(
        &[read(1, 1, 1, 4), write(0, 1, 2, 5)],
        &[read(1, 1, 1, 2), write(0, 1, 3, 4)],
    );
}

#[test]
fn a_value_under_the_number_of_another_version() {
    let writes = [write(0, 1, 1, 2), write(1, 2, 3, 4)];
    let with = |last| [&writes[..], &[last]].concat();
    told_apart(&with(read(2, 2, 5, 6)), &with(read(2, 1, 5, 6)));
}

#[test]
fn two_writes_that_both_made_one_version() {
    let conflict = op(writing(0, 2), 1, 3, Answer::Conflict);
    told_apart(&[write(0, 1, 1, 2), conflict], &[write(0, 1, 1, 2), write(0, 2, 1, 3)]);
}

#[test]
fn a_write_that_skips_a_version() {
    told_apart(
        &[write(0, 1, 1, 2), write(1, 2, 3, 4)],
        &[write(0, 1, 1, 2), write(2, 2, 3, 4)],
    );
}

#[test]
fn a_conflict_with_nobody() {
    let conflict = op(writing(0, 2), 3, 4, Answer::Conflict);
    told_apart(&[write(0, 1, 1, 2), conflict.clone()], &[conflict]);
}

#[test]
fn a_lost_acknowledged_write_under_a_later_one() {
    // The second write follows the first one's predecessor: the first is gone.
    told_apart(
        &[
            write(0, 1, 1, 2),
            write(1, 2, 3, 4),
            write(2, 3, 5, 6),
            read(3, 3, 7, 8),
        ],
        &[
            write(0, 1, 1, 2),
            write(1, 2, 3, 4),
            write(1, 3, 5, 6),
            read(2, 3, 7, 8),
        ],
    );
}

#[test]
fn an_unknown_write_that_happened_before_it_began() {
    let told = |began| [write(0, 1, 1, 2), unknown(writing(1, 2), began), read(2, 2, 4, 5)];
    told_apart(&told(3), &told(6));
}

#[test]
fn an_unknown_write_that_is_seen_and_gone_again() {
    let seen = [write(0, 1, 1, 2), unknown(writing(1, 2), 3), read(2, 2, 10, 11)];
    let with = |last| [&seen[..], &[last]].concat();
    told_apart(&with(read(2, 2, 12, 13)), &with(read(1, 1, 12, 13)));
}

#[test]
fn two_unknown_writes_of_one_version_that_are_both_seen() {
    let with = |first, second| {
        [
            unknown(writing(0, 1), 1),
            unknown(writing(0, 2), 2),
            read(1, first, 3, 4),
            read(1, second, 5, 6),
        ]
    };
    told_apart(&with(2, 2), &with(1, 2));
}

#[test]
fn a_deleted_version_that_is_still_read() {
    let gone = [write(0, 1, 1, 2), done(changing(Change::Delete, 1, 1), 3, 4)];
    let with = |last| [&gone[..], &[last]].concat();
    told_apart(&with(nothing(5, 6)), &with(read(1, 1, 5, 6)));
}

#[test]
fn a_version_shown_again_that_is_not_there() {
    let shown = [
        write(0, 1, 1, 2),
        done(changing(Change::Delete, 1, 1), 3, 4),
        done(changing(Change::Undelete, 1, 1), 5, 6),
    ];
    let with = |last| [&shown[..], &[last]].concat();
    told_apart(&with(read(1, 1, 7, 8)), &with(nothing(7, 8)));
}

#[test]
fn a_destroyed_version_that_comes_back() {
    let gone = [write(0, 1, 1, 2), done(changing(Change::Destroy, 1, 1), 3, 4)];
    let refused = op(changing(Change::Undelete, 1, 1), 5, 6, Answer::NotFound);
    let shown = done(changing(Change::Undelete, 1, 1), 5, 6);
    let with = |last| [&gone[..], &[last]].concat();
    told_apart(&with(refused), &with(shown));
}

#[test]
fn a_deletion_by_somebody_who_had_not_seen_the_newer_version() {
    let writes = [write(0, 1, 1, 2), write(1, 2, 3, 4)];
    let delete = |latest| done(changing(Change::Delete, 1, latest), 5, 6);
    let with = |last| [&writes[..], &[last]].concat();
    told_apart(&with(delete(2)), &with(delete(1)));
}

#[test]
fn a_read_after_an_acknowledged_revocation() {
    let revoked = [write(0, 1, 1, 2), done(rights(1, false), 3, 4)];
    let with = |last| [&revoked[..], &[last]].concat();
    told_apart(&with(denied(5, 6)), &with(read(1, 1, 5, 6)));
}

#[test]
fn a_denial_after_an_acknowledged_grant() {
    let granted = [
        write(0, 1, 1, 2),
        done(rights(1, false), 3, 4),
        done(rights(2, true), 5, 6),
    ];
    let with = |last| [&granted[..], &[last]].concat();
    told_apart(&with(read(1, 1, 7, 8)), &with(denied(7, 8)));
}

#[test]
fn two_changes_of_rights_that_follow_the_same_one() {
    let conflict = op(rights(1, true), 3, 4, Answer::Conflict);
    told_apart(
        &[done(rights(1, false), 1, 2), conflict],
        &[done(rights(1, false), 1, 2), done(rights(1, true), 3, 4)],
    );
}

#[test]
fn a_removed_reader_who_reads_on() {
    let removed = [write(0, 1, 1, 2), done(Call::Removed { reader: 1 }, 3, 4)];
    let with = |last| [&removed[..], &[last]].concat();
    told_apart(&with(denied(5, 6)), &with(read(1, 1, 5, 6)));
}

#[test]
fn an_unknown_revocation_that_comes_and_goes() {
    let asked = [write(0, 1, 1, 2), unknown(rights(1, false), 3), denied(4, 5)];
    let with = |last| [&asked[..], &[last]].concat();
    told_apart(&with(denied(6, 7)), &with(read(1, 1, 6, 7)));
}
