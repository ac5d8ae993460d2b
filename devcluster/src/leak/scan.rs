//! The search itself: folder trees, single files, environments and command lines, streamed in chunks that overlap.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::forms::{Form, Needles};
use crate::limits::{CHUNK_BYTES, FOLDER_DEPTH_MAX, HITS_LISTED_PER_PLACE};

/// Where something was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A file.
    File(PathBuf),
    /// The name of a file or folder.
    Name(PathBuf),
    /// The environment of a process.
    Environment(u32),
    /// The command line of a process.
    CommandLine(u32),
    /// Something else, by its name: a metrics answer, a command's output.
    Text(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Name(path) => write!(f, "the name {}", path.display()),
            Self::Environment(pid) => write!(f, "the environment of process {pid}"),
            Self::CommandLine(pid) => write!(f, "the command line of process {pid}"),
            Self::Text(name) => f.write_str(name),
        }
    }
}

/// A needle where it must not be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hit {
    /// Where.
    pub place: Place,
    /// Bytes from the beginning.
    pub offset: u64,
    /// How it is written there.
    pub form: Form,
    /// The needle's name.
    pub needle: String,
}

impl fmt::Display for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at byte {} of {} ({})",
            self.needle, self.offset, self.place, self.form
        )
    }
}

/// What a search looked at and found.
#[derive(Debug, Default)]
pub struct Report {
    /// Hits, at most [`HITS_LISTED_PER_PLACE`] of one needle in one place.
    pub hits: Vec<Hit>,
    /// All hits, listed or not, by the needle's name.
    pub counts: BTreeMap<String, u64>,
    /// Places looked at.
    pub places: u64,
    /// Bytes looked at.
    pub bytes: u64,
    /// What could not be read, and so proves nothing.
    pub unread: Vec<(Place, io::Error)>,
}

impl Report {
    /// Whether nothing was found and everything was read.
    pub fn clean(&self) -> bool {
        self.counts.is_empty() && self.unread.is_empty()
    }

    /// How often the needle of this name was found.
    pub fn count(&self, needle: &str) -> u64 {
        self.counts.get(needle).copied().unwrap_or(0)
    }

    /// Adds what another search looked at and found.
    pub fn merge(&mut self, other: Self) {
        self.hits.extend(other.hits);
        for (name, count) in other.counts {
            *self.counts.entry(name).or_default() += count;
        }
        self.places += other.places;
        self.bytes += other.bytes;
        self.unread.extend(other.unread);
    }

    fn unread(&mut self, place: Place, error: io::Error) {
        self.unread.push((place, error));
    }
}

/// Searches every file under `roots` (files or folders) but what lies under `except`. Symbolic links are not followed:
/// what they point at is searched where it is. Sockets and pipes hold nothing.
pub fn scan(roots: &[PathBuf], except: &[PathBuf], needles: &Needles) -> Report {
    let mut report = Report::default();
    for root in roots {
        walk(root, except, needles, 0, &mut report);
    }
    report
}

fn walk(path: &Path, except: &[PathBuf], needles: &Needles, depth: usize, report: &mut Report) {
    if except.iter().any(|out| path.starts_with(out)) {
        return;
    }
    let place = || Place::File(path.to_path_buf());
    if depth > FOLDER_DEPTH_MAX {
        report.unread(
            place(),
            io::Error::other(format!("more than {FOLDER_DEPTH_MAX} folders deep")),
        );
        return;
    }
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        // A running database removes files while we look: what is gone holds nothing, what was in it is elsewhere.
        Err(error) if error.kind() == io::ErrorKind::NotFound && depth > 0 => return,
        Err(error) => return report.unread(place(), error),
    };
    if let Some(name) = path.file_name() {
        scan_bytes(
            Place::Name(path.to_path_buf()),
            name.as_encoded_bytes(),
            needles,
            report,
        );
    }
    if kind.is_dir() {
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => return report.unread(place(), error),
        };
        for entry in entries {
            match entry {
                Ok(entry) => walk(&entry.path(), except, needles, depth + 1, report),
                Err(error) => report.unread(place(), error),
            }
        }
    } else if kind.is_file() {
        match File::open(path) {
            Ok(file) => scan_reader(place(), file, needles, report),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => report.unread(place(), error),
        }
    }
}

/// Searches all that `reader` gives.
pub fn scan_reader(place: Place, mut reader: impl Read, needles: &Needles, report: &mut Report) {
    // Each chunk is searched together with the end of the one before, so that nothing hides across the cut.
    let overlap = needles.longest().saturating_sub(1);
    let mut buffer: Vec<u8> = Vec::with_capacity(CHUNK_BYTES + overlap);
    let mut buffer_starts_at = 0_u64;
    let mut kept = 0;
    // By needle: what one may be found where another may not, so none may crowd out the others.
    let mut listed: BTreeMap<&str, usize> = BTreeMap::new();
    report.places += 1;
    loop {
        let chunk = u64::try_from(CHUNK_BYTES).unwrap_or(u64::MAX);
        match reader.by_ref().take(chunk).read_to_end(&mut buffer) {
            Ok(0) => return,
            Ok(read) => report.bytes += u64::try_from(read).unwrap_or(u64::MAX),
            Err(error) => return report.unread(place, error),
        }
        // Most of a core dump is memory that was never used; no form of a needle is all zeros.
        let searched: &[u8] = if buffer.iter().all(|byte| *byte == 0) {
            &[]
        } else {
            &buffer
        };
        for (start, end, form, name) in needles.find(searched) {
            // What ends in the kept part was found with the chunk before.
            if end <= kept {
                continue;
            }
            *report.counts.entry(name.to_owned()).or_default() += 1;
            let listed = listed.entry(name).or_default();
            if *listed < HITS_LISTED_PER_PLACE {
                *listed += 1;
                let offset = buffer_starts_at + u64::try_from(start).unwrap_or(u64::MAX);
                report.hits.push(Hit {
                    place: place.clone(),
                    offset,
                    form,
                    needle: name.to_owned(),
                });
            }
        }
        let drop = buffer.len().saturating_sub(overlap);
        buffer.drain(..drop);
        buffer_starts_at += u64::try_from(drop).unwrap_or(u64::MAX);
        kept = buffer.len();
    }
}

fn scan_bytes(place: Place, bytes: &[u8], needles: &Needles, report: &mut Report) {
    let places = report.places;
    scan_reader(place, bytes, needles, report);
    // A name is no place of its own in the count of files.
    report.places = places;
}

/// Searches the environment and the command line of a running process.
pub fn scan_process(pid: u32, needles: &Needles, report: &mut Report) {
    let both = [
        (Place::Environment(pid), "environ"),
        (Place::CommandLine(pid), "cmdline"),
    ];
    for (place, file) in both {
        match File::open(format!("/proc/{pid}/{file}")) {
            Ok(file) => scan_reader(place, file, needles, report),
            Err(error) => report.unread(place, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leak::Needle;
    use proptest::prelude::*;

    const SECRET: &[u8] = b"correct horse battery staple 42!";

    fn needles() -> Needles {
        Needles::compile(&[Needle::new("the value", SECRET)]).unwrap()
    }

    fn scan_text(text: &[u8]) -> Report {
        let mut report = Report::default();
        scan_reader(Place::Text("text".into()), text, &needles(), &mut report);
        report
    }

    #[test]
    fn a_secret_across_the_cut_between_two_chunks_is_found_once_at_its_offset() {
        for before in [1, SECRET.len() / 2, SECRET.len() - 1] {
            let at = CHUNK_BYTES - before;
            let text = [vec![b'x'; at].as_slice(), SECRET, &[b'y'; 100]].concat();
            let report = scan_text(&text);
            let raw: Vec<&Hit> = report.hits.iter().filter(|hit| hit.form == Form::Raw).collect();
            assert_eq!(raw.len(), 1, "cut after {before} bytes");
            assert_eq!(raw[0].offset, u64::try_from(at).unwrap());
        }
    }

    #[test]
    fn a_secret_after_megabytes_of_zeros_is_found_at_its_offset() {
        let report = scan_text(&[vec![0; 3 * CHUNK_BYTES + 7].as_slice(), SECRET].concat());
        let raw = report.hits.iter().find(|hit| hit.form == Form::Raw).unwrap();
        assert_eq!(raw.offset, u64::try_from(3 * CHUNK_BYTES + 7).unwrap());
    }

    #[test]
    fn a_tree_is_searched_but_for_what_is_excepted() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, pins) = (folder.path().join("a/b/c"), folder.path().join("pins"));
        fs::create_dir_all(&inside).unwrap();
        fs::create_dir_all(&pins).unwrap();
        fs::write(inside.join("log"), [b"x".as_slice(), SECRET].concat()).unwrap();
        fs::write(pins.join("pin"), SECRET).unwrap();
        let report = scan(&[folder.path().to_path_buf()], &[pins], &needles());
        assert!(
            report
                .hits
                .iter()
                .all(|hit| hit.place == Place::File(inside.join("log"))),
            "{:?}",
            report.hits
        );
        assert_eq!(report.hits.iter().filter(|hit| hit.form == Form::Raw).count(), 1);
        assert_eq!(report.places, 1);
    }

    #[test]
    fn a_secret_in_the_name_of_a_file_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(std::str::from_utf8(SECRET).unwrap());
        fs::write(&path, b"nothing").unwrap();
        let report = scan(&[folder.path().to_path_buf()], &[], &needles());
        assert!(report.hits.iter().any(|hit| hit.place == Place::Name(path.clone())));
    }

    #[test]
    fn what_cannot_be_read_is_not_clean() {
        let report = scan(&["/nowhere/at/all".into()], &[], &needles());
        assert!(!report.clean());
        assert_eq!(report.unread.len(), 1);
    }

    #[test]
    fn many_hits_are_counted_and_few_listed() {
        let report = scan_text(&SECRET.repeat(1000));
        assert!(report.count("the value") >= 1000);
        assert_eq!(report.hits.len(), HITS_LISTED_PER_PLACE);
    }

    #[test]
    fn a_hit_names_the_needle_and_never_shows_it() {
        let report = scan_text(SECRET);
        let shown = format!("{report:?} {}", report.hits[0]);
        assert!(shown.contains("the value") && !shown.contains("horse"), "{shown}");
    }

    #[test]
    fn the_environment_of_a_process_is_searched() {
        let secret = std::str::from_utf8(SECRET).unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .env("LEAK", secret)
            .spawn()
            .unwrap();
        // The kernel lets the parent of an exec go on before the new program's
        // environment can be read; until then the file is empty.
        let environment = format!("/proc/{}/environ", child.id());
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while std::fs::read(&environment).unwrap().is_empty() {
            assert!(std::time::Instant::now() < deadline, "{environment} stays empty");
            std::thread::yield_now();
        }
        let mut report = Report::default();
        scan_process(child.id(), &needles(), &mut report);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(
            report.hits.iter().any(|hit| matches!(hit.place, Place::Environment(_))),
            "{:?}",
            report.hits
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn random_bytes_are_clean(text in proptest::collection::vec(any::<u8>(), 0..100_000)) {
            prop_assert!(scan_text(&text).clean());
        }
    }
}
