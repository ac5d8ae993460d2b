//! Old audit entries, moved out of the database into files that may be kept elsewhere (docs/specs/audit.md, "The archive").
//! Their hashes stay in the database, so that the log's tree and every proof remain what they were.

use crate::audit::NodeAudit;
use crate::cosign;
use crate::member::Member;
use bytes::Bytes;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, BufWriter};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use symbolon_crypto::Hash;
use symbolon_crypto::merkle::leaf_hash;
use symbolon_crypto::merkle::tile::TILE_WIDTH;
use symbolon_state::Fault;
use symbolon_store::AuditFault;
use symbolon_wire::audit::{self, LEAF_BYTES_MAX};
use symbolon_wire::framed::{read_framed, write_framed};

/// Entries of one file: about two megabytes.
const FILE_ENTRIES: u64 = 4_096;
/// Pauses between two looks at what has become old enough.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));

/// Why entries were not moved. None is lost: they leave the database last.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// The folder.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// What was read back is not what was written.
    #[error("{}: entry {index} reads back as another one", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// The entry.
        index: u64,
    },
    /// The log.
    #[error(transparent)]
    Log(#[from] AuditFault),
    /// How far it is anchored cannot be told.
    #[error(transparent)]
    State(#[from] Fault),
}

/// The folder that entries move to, and when.
#[derive(Debug, Clone)]
pub(crate) struct Archive {
    folder: PathBuf,
    keep: Duration,
}

impl Archive {
    /// Makes the folder where it is missing.
    pub(crate) fn open(folder: &Path, keep: Duration) -> Result<Self, ArchiveError> {
        let failed = |reason| ArchiveError::File {
            path: folder.to_owned(),
            reason,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed)?;
        Ok(Self {
            folder: folder.to_owned(),
            keep,
        })
    }

    /// Moves entries until `until`, whole tiles of the tree, out of the log; returns the first that is left.
    async fn take(&self, audit: &NodeAudit, until: u64) -> Result<u64, ArchiveError> {
        let mut first = audit.kept_from();
        while first < until {
            let end = (first + FILE_ENTRIES).min(until);
            let mut leaves = Vec::new();
            while first + (leaves.len() as u64) < end {
                let next = first + leaves.len() as u64;
                let kept = audit.kept(next, end - next)?;
                if kept.is_empty() {
                    return Err(AuditFault::Gap { index: next }.into());
                }
                leaves.extend(kept);
            }
            let hashes = audit.hashes(first, end - first)?;
            let archive = self.clone();
            let written = tokio::task::spawn_blocking(move || archive.write(first, &leaves, &hashes)).await;
            written.map_err(|stopped| self.failed(&self.folder, io::Error::other(stopped)))??;
            first = audit.forget(end).await?;
        }
        Ok(first)
    }

    fn failed(&self, path: &Path, reason: io::Error) -> ArchiveError {
        ArchiveError::File {
            path: path.to_owned(),
            reason,
        }
    }

    /// A file of these entries, durable, and under its name only once it has been read back.
    fn write(&self, first: u64, leaves: &[Bytes], hashes: &[Hash]) -> Result<(), ArchiveError> {
        let end = first + hashes.len() as u64;
        let path = self.folder.join(format!("entries-{first:012}-{end:012}"));
        let part = path.with_extension("part");
        let written = || {
            let mut options = OpenOptions::new();
            let file = options
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&part)?;
            let mut out = BufWriter::new(file);
            for leaf in leaves {
                write_framed(&mut out, leaf)?;
            }
            out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            read(&part)
        };
        let back = written().map_err(|reason| self.failed(&part, reason))?;
        let differs = |place: usize, hash: &Hash| back.get(place).is_none_or(|leaf| leaf_hash(leaf) != *hash);
        let wrong = hashes.iter().enumerate().find(|(place, hash)| differs(*place, hash));
        if let Some((place, _)) = wrong {
            return Err(ArchiveError::Changed {
                path: part,
                index: first + place as u64,
            });
        }
        let named = fs::rename(&part, &path).and_then(|()| File::open(&self.folder)?.sync_all());
        named.map_err(|reason| self.failed(&path, reason))
    }

    /// Entries from `first` on whose hashes these are, as far as one file has them unchanged.
    pub(crate) fn entries(&self, first: u64, hashes: &[Hash]) -> Vec<Bytes> {
        let found = self.file_of(first).and_then(|(path, begin)| Ok((read(&path)?, begin)));
        let (leaves, begin) = match found {
            Ok(found) => found,
            Err(reason) => {
                tracing::debug!(%reason, first, "an archived entry cannot be had");
                return Vec::new();
            }
        };
        let place = usize::try_from(first - begin).unwrap_or(usize::MAX);
        let asked = leaves.into_iter().skip(place).zip(hashes);
        asked
            .take_while(|(leaf, hash)| leaf_hash(leaf) == **hash)
            .map(|(leaf, _)| leaf)
            .collect()
    }

    /// The file that has an entry, and its first.
    fn file_of(&self, index: u64) -> io::Result<(PathBuf, u64)> {
        for file in self.folder.read_dir()? {
            let path = file?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let range = name.strip_prefix("entries-").and_then(|range| range.split_once('-'));
            let range = range.and_then(|(first, end)| Some((first.parse::<u64>().ok()?, end.parse::<u64>().ok()?)));
            if let Some((first, _)) = range.filter(|(first, end)| (*first..*end).contains(&index)) {
                return Ok((path, first));
            }
        }
        Err(io::Error::from(io::ErrorKind::NotFound))
    }
}

fn read(path: &Path) -> io::Result<Vec<Bytes>> {
    let mut file = BufReader::new(File::open(path)?);
    let mut leaves = Vec::new();
    while let Some(leaf) = read_framed(&mut file, LEAF_BYTES_MAX)? {
        if leaves.len() as u64 >= FILE_ENTRIES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        leaves.push(leaf);
    }
    Ok(leaves)
}

/// Moves entries to the archive as they become old, for as long as the node runs.
pub(crate) async fn work(member: Arc<Member>) {
    let Some(archive) = member.audit.archive() else { return };
    let pause = (archive.keep / 4).clamp(LOOK_AGAIN.0, LOOK_AGAIN.1);
    loop {
        let moved = async { archive.take(&member.audit, old(&member, archive)?).await };
        match moved.await {
            Ok(kept_from) => tracing::debug!(kept_from, "old audit entries are in the archive"),
            Err(why) => tracing::error!(%why, "audit entries were not archived; they stay in the database"),
        }
        tokio::time::sleep(pause).await;
    }
}

/// Until where entries are old enough, and under an anchor: others know of them.
fn old(member: &Member, archive: &Archive) -> Result<u64, ArchiveError> {
    let kept_from = member.audit.kept_from();
    let keep_ms = u64::try_from(archive.keep.as_millis()).unwrap_or(u64::MAX);
    let Some(before_ms) = member.shown.load().log_time_ms.checked_sub(keep_ms) else {
        return Ok(kept_from);
    };
    let anchored = cosign::anchored(member, member.node)?.map_or(0, |anchor| anchor.head.size);
    let anchored = anchored.min(member.audit.durable());
    let mut until = kept_from;
    while until + TILE_WIDTH <= anchored {
        let last = member.audit.kept(until + TILE_WIDTH - 1, 1)?.pop();
        let time_ms = last
            .and_then(|leaf| audit::decode(leaf).ok())
            .map(|leaf| leaf.log_time_ms);
        // One without a time was written before log time began.
        if time_ms.is_none_or(|time_ms| time_ms > before_ms) {
            break;
        }
        until += TILE_WIDTH;
    }
    Ok(until)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn archive(folder: &Path) -> Archive {
        Archive::open(&folder.join("archive"), Duration::from_secs(1)).unwrap()
    }

    fn entries() -> (Vec<Bytes>, Vec<Hash>) {
        let leaves: Vec<Bytes> = (0..512).map(|n| format!("entry {n}").into()).collect();
        let hashes = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
        (leaves, hashes)
    }

    #[test]
    fn what_was_moved_is_found_by_its_index_as_long_as_its_file_is_there_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let (archive, (leaves, hashes)) = (archive(folder.path()), entries());
        archive.write(0, &leaves[..256], &hashes[..256]).unwrap();
        archive.write(256, &leaves[256..], &hashes[256..]).unwrap();
        // As after a crash between the file and the log.
        archive.write(256, &leaves[256..], &hashes[256..]).unwrap();
        assert_eq!(
            archive.entries(0, &hashes),
            leaves[..256],
            "as far as one file has them"
        );
        assert_eq!(archive.entries(300, &hashes[300..310]), leaves[300..310]);
        let second = folder.path().join("archive/entries-000000000256-000000000512");
        let mut bytes = std::fs::read(&second).unwrap();
        bytes[4] ^= 1;
        std::fs::write(&second, bytes).unwrap();
        assert_eq!(archive.entries(256, &hashes[256..]), Vec::<Bytes>::new());
        std::fs::remove_file(&second).unwrap();
        assert_eq!(archive.entries(300, &hashes[300..]), Vec::<Bytes>::new());
    }

    #[test]
    fn what_does_not_read_back_as_the_tree_has_it_gets_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let (archive, (leaves, mut hashes)) = (archive(folder.path()), entries());
        hashes[7] = [0; 32];
        let refused = archive.write(0, &leaves, &hashes).unwrap_err();
        assert!(matches!(refused, ArchiveError::Changed { index: 7, .. }), "{refused}");
        let names = std::fs::read_dir(folder.path().join("archive")).unwrap();
        let names: Vec<_> = names.map(|file| file.unwrap().file_name()).collect();
        assert!(
            names.iter().all(|name| name.to_str().unwrap().ends_with(".part")),
            "{names:?}"
        );
    }
}
