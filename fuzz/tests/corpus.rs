//! Every kept input, on the stable compiler: what a campaign found once stays found.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use symbolon_fuzz::{TARGETS, Target};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

fn replay(target: Target, folder: &Path) -> Vec<PathBuf> {
    let failed = |file: &PathBuf| {
        let bytes = std::fs::read(file).unwrap();
        catch_unwind(|| target(&bytes)).is_err()
    };
    files(folder).into_iter().filter(failed).collect()
}

#[test]
fn no_kept_input_of_any_fuzzing_target_breaks_it() {
    let mut failed = Vec::new();
    for (name, target) in TARGETS {
        let folder = corpus().join(name);
        assert!(!files(&folder).is_empty(), "{name} has a corpus");
        failed.extend(replay(*target, &folder));
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn an_input_that_breaks_its_target_is_told() {
    let folder = corpus().join("path");
    let picky: Target = |bytes| assert!(!bytes.starts_with(b"prod/"), "planted");
    assert!(!replay(picky, &folder).is_empty(), "the planted failure was not seen");
}

#[test]
fn every_corpus_has_a_target_and_the_whole_stays_small() {
    let mut bytes = 0;
    for folder in files(&corpus()) {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        assert!(
            symbolon_fuzz::target(&name).is_some(),
            "{name} is the corpus of no target"
        );
        let shell = corpus().join(format!("../cargo-fuzz/fuzz_targets/{name}.rs"));
        assert!(shell.is_file(), "{name} has no target under libFuzzer");
        bytes += files(&folder)
            .iter()
            .map(|file| file.metadata().unwrap().len())
            .sum::<u64>();
    }
    assert!(bytes < 2 * 1024 * 1024, "the corpora have {bytes} bytes");
}
