//! Clocks that jump by an hour or stand still: nothing is released past expiry on either clock, a node more than a minute
//! off log time stops, the others serve on, and it recovers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use symbolon_sim::clocks::{Asked, EXPIRES_AFTER_MS, How, ODD, RIGHT_FROM_S, Told, WRONG_FROM_S, Which, Who, play};
use symbolon_wire::Code;

/// Which node leads differs between them.
const SEEDS: [u64; 3] = [1, 2, 3];
/// From here on the second secret has expired by a clock that is right. Asking takes a while, and log time comes in ticks.
const EXPIRED_S: u64 = EXPIRES_AFTER_MS / 1000 + 4;
/// Recovered by then.
const SOON_S: u64 = 10;

fn asked(who: Who, how: How, again: bool) -> Vec<Vec<Asked>> {
    let one = |seed: u64| {
        let played = play(seed, who, how, again).unwrap();
        assert_eq!(played.violations, [], "seed {seed}");
        played.asked
    };
    SEEDS.into_iter().map(one).collect()
}

/// What was asked for `which` in those seconds.
fn of(asked: &[Asked], which: Which, from_s: u64, until_s: u64) -> impl Iterator<Item = &Asked> {
    let within = move |one: &&Asked| one.which == which && (from_s..until_s).contains(&one.at_s);
    asked.iter().filter(within)
}

#[track_caller]
fn all_are<'a>(asked: impl Iterator<Item = &'a Asked>, told: Told) {
    let mut some = false;
    for one in asked {
        assert_eq!(one.told, told, "{one:?}");
        some = true;
    }
    assert!(some, "nothing was asked");
}

const APART: Told = Told::Refused(Code::ClockApart);

#[test]
fn a_node_whose_clock_jumps_an_hour_stops_and_recovers_while_the_others_serve_on() {
    for how in [How::Ahead, How::Back] {
        for asked in asked(Who::One, how, false) {
            for which in [Which::Lasting, Which::Expiring] {
                all_are(of(&asked, which, 0, WRONG_FROM_S), Told::Released);
                let odd = of(&asked, which, WRONG_FROM_S, RIGHT_FROM_S).filter(|one| one.node == ODD);
                all_are(odd, APART);
            }
            let others = of(&asked, Which::Lasting, WRONG_FROM_S, RIGHT_FROM_S).filter(|one| one.node != ODD);
            all_are(others, Told::Released);
            all_are(
                of(&asked, Which::Lasting, RIGHT_FROM_S + SOON_S, u64::MAX),
                Told::Released,
            );
            let others = of(&asked, Which::Expiring, EXPIRED_S, u64::MAX).filter(|one| one.node != ODD);
            all_are(others, Told::Refused(Code::NotFound));
        }
    }
}

#[test]
fn a_node_whose_clock_stands_still_releases_nothing_that_expired_by_log_time_and_stops_after_a_minute() {
    for asked in asked(Who::One, How::Still, false) {
        all_are(of(&asked, Which::Lasting, 0, WRONG_FROM_S + 55), Told::Released);
        // By its own clock it has not expired.
        all_are(
            of(&asked, Which::Expiring, EXPIRED_S, WRONG_FROM_S + 55),
            Told::Refused(Code::NotFound),
        );
        let odd = |one: &&Asked| one.node == ODD;
        all_are(
            of(&asked, Which::Lasting, WRONG_FROM_S + 65, RIGHT_FROM_S).filter(odd),
            APART,
        );
        let others = of(&asked, Which::Lasting, WRONG_FROM_S + 65, RIGHT_FROM_S).filter(|one| one.node != ODD);
        all_are(others, Told::Released);
        all_are(
            of(&asked, Which::Lasting, RIGHT_FROM_S + SOON_S, u64::MAX),
            Told::Released,
        );
    }
}

#[test]
fn when_all_clocks_jump_back_nobody_releases_until_they_are_right_again() {
    for asked in asked(Who::All, How::Back, false) {
        for which in [Which::Lasting, Which::Expiring] {
            all_are(of(&asked, which, WRONG_FROM_S, RIGHT_FROM_S), APART);
        }
        all_are(
            of(&asked, Which::Lasting, RIGHT_FROM_S + SOON_S, u64::MAX),
            Told::Released,
        );
        all_are(
            of(&asked, Which::Expiring, RIGHT_FROM_S + SOON_S, u64::MAX),
            Told::Refused(Code::NotFound),
        );
    }
}

#[test]
fn when_all_clocks_jump_ahead_log_time_follows_and_never_goes_back() {
    for asked in asked(Who::All, How::Ahead, true) {
        all_are(
            of(&asked, Which::Lasting, WRONG_FROM_S + SOON_S, RIGHT_FROM_S),
            Told::Released,
        );
        let expired = of(&asked, Which::Expiring, WRONG_FROM_S, u64::MAX);
        assert!(
            expired.into_iter().all(|one| one.told != Told::Released),
            "by the nodes' clocks its hour has passed"
        );
        // Right again, they lie an hour behind log time.
        all_are(of(&asked, Which::Lasting, RIGHT_FROM_S + 1, RIGHT_FROM_S + 19), APART);
        // Once they have caught up with it, everything goes on.
        all_are(of(&asked, Which::Lasting, RIGHT_FROM_S + 25, u64::MAX), Told::Released);
    }
}

#[test]
fn when_all_clocks_stand_still_log_time_does_too_and_catches_up_afterwards() {
    for asked in asked(Who::All, How::Still, false) {
        // Neither clock says that anything has expired: what all of them show is all that the cluster knows.
        all_are(of(&asked, Which::Lasting, 0, RIGHT_FROM_S), Told::Released);
        all_are(
            of(&asked, Which::Lasting, RIGHT_FROM_S + SOON_S, u64::MAX),
            Told::Released,
        );
        all_are(
            of(&asked, Which::Expiring, RIGHT_FROM_S + SOON_S, u64::MAX),
            Told::Refused(Code::NotFound),
        );
    }
}
