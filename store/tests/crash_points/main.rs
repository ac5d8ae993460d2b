//! Crashes and bad disks at every index of a scripted run on RocksDB itself.
//!
//! The script runs in a process of its own, with a shim between it and its disk (`symbolon-faults`) that writes down
//! every change. From that journal the disk is put together as each crash would leave it: the process killed, or the power
//! cut, before each change. Failing changes, a full disk and flipped bits need a process each, since the store answers
//! them. `SYMBOLON_CRASH_STRIDE=1 SYMBOLON_CRASH_SEEDS=100` takes every index of all of them (docs/campaigns/crashes.md).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests"
)]

#[path = "../common/mod.rs"]
mod common;
mod expected;
mod script;

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use expected::{Oracle, Reached};
use script::{Node, Step, steps};
use symbolon_consensus::StoreFault;
use symbolon_faults::{Disk, DiskFault, DiskShim, Event, Keep, journal};
use symbolon_store::AuditFault;

/// Threads that look at crashes.
const WORKERS: usize = 4;

const FOLDER: &str = "SYMBOLON_CRASH_FOLDER";

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

/// A folder in memory, if the machine has one: what counts is written down, not kept.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

/// What the process under test does, as long as `FOLDER` names one: the script, up to the first refusal and once beyond.
#[test]
#[ignore = "run by the others, in a process of its own"]
fn the_script() {
    let Some(root) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        panic!("{FOLDER} is missing; run the other tests of this file");
    };
    let mut notes = std::fs::OpenOptions::new()
        .append(true)
        .open(root.join(".notes"))
        .unwrap();
    let mut note = move |text: String| notes.write_all(text.as_bytes()).unwrap();
    if std::env::var_os("SYMBOLON_CRASH_READ").is_some() {
        // One write: a note is a line of the journal.
        note(read(&root));
        return;
    }
    runtime().block_on(async {
        let mut node = Some(Node::open(&root.join("store")));
        for (place, step) in steps().into_iter().enumerate() {
            note(format!("begin {place}"));
            let taken = match (step, node.take()) {
                (Step::Reopen, held) => {
                    drop(held);
                    let opened = Node::open(&root.join("store"));
                    let result = opened.as_ref().map(drop).map_err(ToString::to_string);
                    node = Some(opened);
                    result
                }
                (_, Some(Ok(held))) => {
                    let result = held.take(place, step).await.map_err(|fault| fault.to_string());
                    node = Some(Ok(held));
                    result
                }
                (_, Some(Err(fault))) => Err(fault.to_string()),
                (_, None) => unreachable!(),
            };
            match taken {
                Ok(()) => note(format!("done {place}")),
                Err(fault) => {
                    note(format!("refused {place} {fault}"));
                    // A node goes on without a mark that it could not set, and stops at any other fault.
                    if !matches!(step, Step::Freeze(_) | Step::KeepFrozen(_)) {
                        break;
                    }
                }
            }
        }
        // Nothing is closed in order.
        std::process::abort();
    });
}

/// Opens and reads everything: `shown` and what that is, or `refused` and why.
fn read(root: &Path) -> String {
    let shown = Node::open(&root.join("store")).and_then(|node| {
        let kept = node.kept()?;
        Ok((node.shown()?, kept))
    });
    match shown {
        Ok((shown, kept)) => format!("shown {}", format!("{shown:?} {kept:?}").replace('\n', " ")),
        Err(fault) => format!("refused {fault}"),
    }
}

/// A run under the shim.
struct Run {
    /// The disk before it.
    before: Disk,
    /// What it did.
    events: Vec<Event>,
}

impl Run {
    fn noted(&self) -> impl Iterator<Item = &str> {
        self.events.iter().filter_map(|event| match event {
            Event::Note(note) => Some(note.as_str()),
            _ => None,
        })
    }

    /// The disk after it.
    fn after(&self) -> Disk {
        let mut disk = self.before.clone();
        for event in &self.events {
            disk.apply(event);
        }
        disk
    }

    /// Whether the fault came about.
    fn was_hit(&self) -> bool {
        let hit = |event: &Event| matches!(event, Event::Refused { .. } | Event::Flipped);
        self.events.iter().any(hit)
    }
}

/// Lets the script run on the folder `root`.
fn run(root: &Path, fault: Option<DiskFault>, bugs: &str, reads: bool) -> Run {
    let before = Disk::of(root).unwrap();
    let recorded = root.with_extension("journal");
    let shim = DiskShim::new(root, &recorded);
    std::fs::write(shim.notes(), "").unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["the_script", "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, root)
        .env("SYMBOLON_SABOTAGE", bugs)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if reads {
        command.env("SYMBOLON_CRASH_READ", "1");
    }
    let ended = shim.attach(&mut command, fault).output().unwrap();
    let orderly = if reads {
        ended.status.success()
    } else {
        ended.status.signal() == Some(6)
    };
    assert!(orderly, "{}: {}", ended.status, String::from_utf8_lossy(&ended.stderr));
    let events = journal::read(&recorded).unwrap();
    std::fs::remove_file(&recorded).unwrap();
    Run { before, events }
}

/// What came of a crash.
enum Left {
    /// What must be there.
    Sound,
    /// The store refuses to open: by name, and only where the disk wrote what was not synced in another order. RocksDB
    /// cannot tell that from damage to what was synced, and forgetting a vote would be worse than to stay away.
    Refused,
    Wrong(String),
}

/// Opens what a crash left, and looks whether that is what must be there.
fn check(oracle: &Oracle, disk: &Disk, keep: Keep, reached: &Reached) -> Left {
    let left = folder();
    disk.save(left.path(), keep).unwrap();
    match Node::open(&left.path().join("store")) {
        Ok(node) => oracle.check(&node, reached).map_or_else(Left::Wrong, |()| Left::Sound),
        Err(AuditFault::Store(StoreFault::Corrupt { .. })) if matches!(keep, Keep::Some(_)) => Left::Refused,
        Err(fault) => Left::Wrong(format!("does not open: {fault}")),
    }
}

#[derive(Default)]
struct Found {
    changes: u64,
    crashes: usize,
    refused: usize,
    wrong: Vec<String>,
}

/// Crashes before every change of a recorded run, and after the last.
fn crash_everywhere(oracle: &Oracle, run: &Run, keeps: impl Fn(u64) -> Vec<Keep> + Sync) -> Found {
    let mut disk = run.before.clone();
    let (mut reached, mut changes, mut crashes) = (Reached::default(), 0, Vec::new());
    for event in &run.events {
        if event.is_change() {
            crashes.push((changes, disk.clone(), reached.clone()));
            changes += 1;
        }
        if let Event::Note(note) = event {
            reached.note(note);
        }
        disk.apply(event);
    }
    crashes.push((changes, disk, reached));
    let look = |(change, disk, reached): &(u64, Disk, Reached)| {
        let one = |keep: Keep| (keep, check(oracle, disk, keep, reached));
        let all: Vec<_> = keeps(*change).into_iter().map(one).collect();
        (*change, reached.clone(), all)
    };
    // Opening waits for files more than it computes.
    let share = crashes.len().div_ceil(WORKERS);
    let looked: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = crashes
            .chunks(share)
            .map(|share| scope.spawn(|| share.iter().map(&look).collect::<Vec<_>>()))
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let mut found = Found {
        changes,
        ..Found::default()
    };
    for (change, reached, all) in looked {
        for (keep, left) in all {
            found.crashes += 1;
            match left {
                Left::Sound => {}
                Left::Refused => found.refused += 1,
                Left::Wrong(why) => {
                    found
                        .wrong
                        .push(format!("before change {change}, keeping {keep:?}, {reached:?}: {why}"));
                }
            }
        }
    }
    found
}

fn first(wrong: &[String]) -> String {
    for one in wrong {
        println!("{}", one.lines().next().unwrap_or_default());
    }
    format!(
        "{} wrong; the first: {}",
        wrong.len(),
        wrong.first().map_or("", String::as_str)
    )
}

#[test]
fn after_a_crash_at_any_index_everything_acknowledged_is_there_and_nothing_else() {
    let oracle = runtime().block_on(Oracle::new());
    let root = folder();
    let run = run(root.path(), None, "", false);
    assert_eq!(Reached::of(&run.events).done, steps().len(), "{:?}", run.noted().last());
    let seeds = number("SYMBOLON_CRASH_SEEDS", 1);
    let found = crash_everywhere(&oracle, &run, |change| {
        let seeds = (0..seeds).map(|seed| change.wrapping_mul(1_000_003).wrapping_add(seed));
        let some = seeds.map(|seed| {
            if seed.is_multiple_of(2) {
                Keep::First(seed)
            } else {
                Keep::Some(seed)
            }
        });
        [Keep::Everything, Keep::Nothing].into_iter().chain(some).collect()
    });
    println!(
        "{} changes, {} crashes, {} refused to open",
        found.changes, found.crashes, found.refused
    );
    assert!(found.changes > 150, "the script does too little: {}", found.changes);
    assert!(found.wrong.is_empty(), "{}", first(&found.wrong));
}

/// Lets change after change fail, and looks at what the process left.
fn fail_everywhere(fault: impl Fn(u64) -> DiskFault) {
    let oracle = runtime().block_on(Oracle::new());
    let stride = number("SYMBOLON_CRASH_STRIDE", 7);
    let (mut wrong, mut at, mut refused) = (Vec::new(), 0, 0);
    loop {
        let root = folder();
        let run = run(root.path(), Some(fault(at)), "", false);
        if !run.was_hit() {
            break;
        }
        refused += usize::from(run.noted().any(|note| note.starts_with("refused")));
        let reached = Reached::of(&run.events);
        for keep in [Keep::Everything, Keep::Nothing, Keep::First(at)] {
            if let Left::Wrong(why) = check(&oracle, &run.after(), keep, &reached) {
                let said = run.noted().last().unwrap_or_default();
                wrong.push(format!("{:?}, keeping {keep:?}, {reached:?}, {said}: {why}", fault(at)));
            }
        }
        at += stride;
    }
    println!("every {stride} of {at} changes failed; {refused} times the store refused");
    assert!(at > 150, "the script does too little: {at}");
    assert!(refused > 0, "no fault was noticed");
    assert!(wrong.is_empty(), "{}", first(&wrong));
}

#[test]
fn a_change_that_fails_at_any_index_loses_nothing_acknowledged() {
    fail_everywhere(|at| DiskFault::Fails { at });
}

#[test]
fn a_disk_that_is_full_from_any_index_on_loses_nothing_acknowledged() {
    fail_everywhere(|at| DiskFault::Full { at });
}

#[test]
fn a_bit_flipped_in_any_read_is_refused_by_name_or_does_no_harm() {
    let root = folder();
    let disk = run(root.path(), None, "", false).after();
    let read = |fault| {
        let copy = folder();
        disk.save(copy.path(), Keep::Everything).unwrap();
        run(copy.path(), fault, "", true)
    };
    let said = |run: &Run| run.noted().last().unwrap().to_owned();
    let truth = said(&read(None));
    assert!(truth.starts_with("shown"), "{truth}");
    let seeds = number("SYMBOLON_CRASH_SEEDS", 1);
    let (mut at, mut refused, mut wrong) = (0, 0, Vec::new());
    'all: loop {
        for seed in 0..seeds {
            let flipped = read(Some(DiskFault::Flips {
                at,
                seed: at * 1_000_003 + seed,
            }));
            if !flipped.was_hit() {
                break 'all;
            }
            let said = said(&flipped);
            if said.starts_with("refused") {
                refused += 1;
            } else if said != truth {
                wrong.push(format!("read {at}, seed {seed}: {said}\ninstead of {truth}"));
            }
        }
        at += 1;
    }
    println!("{at} reads, {seeds} flips each; {refused} refused");
    assert!(refused > 0 && at > 10, "{at} reads, {refused} refused");
    assert!(wrong.is_empty(), "{}", first(&wrong));
}

#[test]
#[cfg(feature = "sabotage")]
fn with_skipped_syncs_a_power_cut_loses_what_was_acknowledged() {
    let oracle = runtime().block_on(Oracle::new());
    let root = folder();
    let run = run(root.path(), None, "skip-syncs", false);
    let now_and_then = |keep: Keep| move |change: u64| vec![keep; usize::from(change.is_multiple_of(4))];
    let killed = crash_everywhere(&oracle, &run, now_and_then(Keep::Everything)).wrong;
    assert!(
        killed.is_empty(),
        "a kill alone loses nothing even so: {}",
        first(&killed)
    );
    let cut = crash_everywhere(&oracle, &run, now_and_then(Keep::Nothing));
    assert!(
        cut.wrong.len() > 10,
        "{} of {} power cuts were noticed",
        cut.wrong.len(),
        cut.changes
    );
}
