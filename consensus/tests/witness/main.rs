//! Every state of three nodes that boot, with one faulty disk: nothing acknowledged is lost, no term has two leaders, no
//! two processes of one node count. And each rule is needed: the protocol without it breaks, by the shortest way there.
//!
//! The search is our own, breadth first over fingerprints: the states are small, the shortest counterexample falls out,
//! and a dependency would have added nothing but its interface.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a model: a state that breaks its own bounds is to end the test"
)]

mod model;

use model::{Bounds, Fault, State, Step};
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// One rule that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// A booted node trusts its disk.
    NoWitness,
    /// It votes before it has heard the others.
    VotesAtOnce,
    /// It counts for commits before it has heard the others.
    CountsAtOnce,
    /// It is content with one of the two others.
    OneWitness,
    /// It votes and follows in terms that the others have left behind.
    NoTermBar,
    /// It votes for candidates that lack what the others hold.
    NoLogBar,
    /// It stands for election while it lacks what the others hold.
    StandsBehindTheBar,
    /// It answers reads before it has applied the entry with its nonce.
    ServesBeforeItsNonce,
    /// Older boots are still listened to.
    NoFence,
    /// A witness forgets, at its own boot, to whom it vouched.
    FencesAreForgotten,
}

/// The protocol, or the protocol without one rule.
pub(crate) type Variant = Option<Broken>;

/// Two lanes of multiply and rotate: states are many and small, and nobody chooses them.
struct Lanes(u64, u64);

impl Hasher for Lanes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u8(*byte);
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.0 = (self.0.rotate_left(5) ^ u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.1 = (self.1.rotate_left(7) ^ u64::from(byte)).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    }

    fn write_usize(&mut self, number: usize) {
        self.write(&number.to_le_bytes());
    }
}

fn fingerprint(state: &State) -> u128 {
    let mut lanes = Lanes(1, 2);
    state.hash(&mut lanes);
    u128::from(lanes.0) << 64 | u128::from(lanes.1)
}

/// What the search found: how many states there are and in how many of them all happened that the bounds allow, or how one
/// of them is wrong and the steps that lead there.
enum Found {
    Sound { states: usize, full: usize },
    Violation(&'static str, Vec<String>),
}

/// Visits states layer by layer, and keeps the ways there if asked to.
fn search(bounds: Bounds, variant: Variant, keep_ways: bool) -> Found {
    let initial = State::initial();
    let mut seen: HashSet<u128, BuildHasherDefault<Taken>> = HashSet::default();
    seen.insert(fingerprint(&initial));
    // Of each state how it was reached: its predecessor's place and the step.
    let mut ways: Vec<(usize, Step)> = vec![(0, Step::default())];
    let (mut layer, mut successors, mut full) = (vec![(0, initial)], Vec::new(), 0);
    while !layer.is_empty() {
        let mut following = Vec::new();
        for (at, state) in layer {
            state.next(bounds, variant, &mut successors);
            for (step, next) in successors.drain(..) {
                if !seen.insert(fingerprint(&next)) {
                    continue;
                }
                let place = ways.len();
                if keep_ways {
                    ways.push((at, step));
                }
                if let Some(wrong) = next.violation(variant) {
                    let mut way = if keep_ways { steps(&ways, at) } else { Vec::new() };
                    way.push(tell(step));
                    return Found::Violation(wrong, way);
                }
                full += usize::from(next.is_full(bounds));
                following.push((place, next));
            }
        }
        layer = following;
    }
    Found::Sound {
        states: seen.len(),
        full,
    }
}

/// Fingerprints are hashes already.
#[derive(Default)]
struct Taken(u64);

impl Hasher for Taken {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    }
}

fn tell(Step(what, [first, second]): Step) -> String {
    what.replacen("{}", &first.to_string(), 1)
        .replacen("{}", &second.to_string(), 1)
}

fn steps(ways: &[(usize, Step)], mut at: usize) -> Vec<String> {
    let mut steps = Vec::new();
    while at != 0 {
        steps.push(tell(ways[at].1));
        at = ways[at].0;
    }
    steps.reverse();
    steps
}

fn bounds(fault: Fault, term_max: u8, log_max: u8, boots_max: u8) -> Bounds {
    Bounds {
        term_max,
        log_max,
        boots_max,
        fault,
    }
}

fn holds(bounds: Bounds) {
    match search(bounds, None, false) {
        Found::Sound { states, full } => {
            println!("{states} states within {bounds:?}, in {full} of them all happened that the bounds allow");
            assert!(full > 0, "the search got nowhere within {bounds:?}");
        }
        // Ways to millions of states take more memory than the states.
        Found::Violation(wrong, _) => match search(bounds, None, true) {
            Found::Violation(_, way) => panic!("{wrong}: {way:#?}"),
            Found::Sound { .. } => panic!("{wrong}, once"),
        },
    }
}

fn breaks(broken: Broken, expected: &str, bounds: Bounds) {
    match search(bounds, Some(broken), true) {
        Found::Sound { states, .. } => panic!("{broken:?} breaks nothing in {states} states: the model is blind to it"),
        Found::Violation(wrong, way) => {
            println!("{broken:?}: {wrong}: {way:#?}");
            assert_eq!(wrong, expected, "{broken:?}");
        }
    }
}

#[test]
fn a_disk_that_was_put_back_loses_nothing() {
    holds(bounds(Fault::PutBack, 2, 2, 1));
}

#[test]
fn a_disk_that_was_put_back_loses_nothing_when_a_second_node_boots() {
    holds(bounds(Fault::PutBack, 1, 2, 2));
}

#[test]
fn a_clone_and_its_original_never_both_count() {
    holds(bounds(Fault::Cloned, 2, 2, 1));
}

#[test]
fn a_clone_and_its_original_never_both_count_when_one_boots_again() {
    holds(bounds(Fault::Cloned, 1, 2, 2));
}

#[test]
fn without_a_witness_the_model_breaks() {
    breaks(
        Broken::NoWitness,
        "two leaders of one term",
        bounds(Fault::PutBack, 2, 2, 1),
    );
}

#[test]
fn voting_at_once_breaks() {
    breaks(
        Broken::VotesAtOnce,
        "two leaders of one term",
        bounds(Fault::PutBack, 2, 2, 1),
    );
}

#[test]
fn counting_for_commits_at_once_breaks() {
    breaks(
        Broken::CountsAtOnce,
        "an acknowledged write is lost",
        bounds(Fault::PutBack, 2, 2, 1),
    );
}

#[test]
fn one_witness_of_two_is_too_few() {
    breaks(
        Broken::OneWitness,
        "two leaders of one term",
        bounds(Fault::PutBack, 2, 2, 1),
    );
}

#[test]
fn without_a_term_bar_the_model_breaks() {
    breaks(
        Broken::NoTermBar,
        "two leaders of one term",
        bounds(Fault::PutBack, 2, 2, 1),
    );
}

#[test]
fn without_a_log_bar_the_model_breaks() {
    breaks(
        Broken::NoLogBar,
        "an acknowledged write is lost",
        bounds(Fault::PutBack, 2, 2, 1),
    );
}

#[test]
fn standing_for_election_behind_the_bar_breaks() {
    breaks(
        Broken::StandsBehindTheBar,
        "an acknowledged write is lost",
        bounds(Fault::PutBack, 2, 2, 1),
    );
}

#[test]
fn serving_before_the_nonce_is_applied_breaks() {
    let wrong = "two nodes answer without what was acknowledged";
    breaks(Broken::ServesBeforeItsNonce, wrong, bounds(Fault::PutBack, 2, 2, 1));
}

#[test]
fn without_fences_a_clone_and_its_original_both_count() {
    breaks(
        Broken::NoFence,
        "two processes of one node count",
        bounds(Fault::Cloned, 2, 2, 1),
    );
}

#[test]
fn fences_that_a_boot_forgets_are_none() {
    breaks(
        Broken::FencesAreForgotten,
        "two processes of one node count",
        bounds(Fault::Cloned, 1, 1, 2),
    );
}
