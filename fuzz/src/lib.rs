//! What the fuzzing targets do with one input, free of any fuzzer: `cargo-fuzz/` calls these functions under libFuzzer on
//! a nightly compiler, and `tests/corpus.rs` calls them with every kept input on the stable one, so that what a campaign
//! found once is looked at in every run of the tests.
//!
//! A target fails by a panic: its own assertion, or one of the code under test, where overflow is checked too.
#![forbid(unsafe_code)]
#![expect(
    clippy::expect_used,
    reason = "a failed expectation is what a fuzzing target reports"
)]

pub mod apply;
mod dealings;
mod files;
mod frames;
mod gossip;
mod keys;
mod messages;
mod notes;
mod peers;
pub mod release;
mod rosters;
mod stage;
mod steps;
mod texts;

pub use stage::seeds;

/// One target: takes any bytes.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also that of its folder in `corpus/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("answer", peers::answer),
    ("apply", apply::run),
    ("audit_leaf", messages::audit_leaf),
    ("boot", rosters::boot),
    ("certificate", keys::certificate),
    ("checkpoint", notes::checkpoint),
    ("command", messages::command),
    #[cfg(feature = "node")]
    ("config", texts::config),
    ("dealing", dealings::dealing),
    ("export", files::export),
    ("fragment", dealings::fragment),
    ("frame", frames::frame),
    ("gossip", gossip::gossip),
    ("identity", files::identity),
    ("path", texts::path),
    ("policy", texts::policy),
    ("proof", notes::proof),
    ("proof_file", notes::proof_file),
    ("release", release::run),
    ("request", messages::request),
    ("response", messages::response),
    ("roster", rosters::roster),
    ("snapshot", frames::snapshot),
    ("witness", peers::witness),
];

/// Gives `data` to the target `name`.
///
/// # Panics
/// When the target finds a fault, or has another name.
pub fn run(name: &str, data: &[u8]) {
    target(name).expect("a target of the table")(data);
}

/// The target with this name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(one, _)| *one == name).map(|(_, run)| *run)
}
