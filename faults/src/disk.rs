//! What a disk holds after a crash.
//!
//! The model is the least that POSIX promises. Bytes of a file are durable once the file was synced; names of a folder
//! once the folder was. A sync of a new file does not make its name durable, a rename is atomic but may be lost, and of
//! what was not synced any part may be there: each sector of a file, and its size, as at some moment since the sync; of
//! the changed names of a folder, the first few.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use crate::journal::Event;

/// How much of what was not synced is there after the crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// All of it: the process died, the machine did not.
    Everything,
    /// None of it: the power went.
    Nothing,
    /// The first of it, up to a moment that a seed chooses for each file, the last write perhaps in part: the power went.
    First(u64),
    /// Any part of it, chosen by a seed: the power went, and the disk had written in another order.
    Some(u64),
}

type Id = usize;

#[derive(Debug, Clone)]
enum Write {
    Bytes { offset: u64, data: Vec<u8> },
    Size(u64),
}

#[derive(Debug, Clone)]
enum Naming {
    Put(String, Id),
    Remove(String),
    Rename(String, String, Id),
}

#[derive(Debug, Clone, Default)]
struct File {
    durable: Arc<Vec<u8>>,
    cached: Arc<Vec<u8>>,
    unsynced: Arc<Vec<Write>>,
}

#[derive(Debug, Clone, Default)]
struct Folder {
    durable: BTreeMap<String, Id>,
    cached: BTreeMap<String, Id>,
    unsynced: Vec<Naming>,
}

#[derive(Debug, Clone)]
enum Node {
    File(File),
    Folder(Folder),
}

/// A watched folder as the kernel and as the disk have it. Clones share the bytes.
#[derive(Debug, Clone)]
pub struct Disk {
    nodes: Vec<Node>,
    by_inode: BTreeMap<u64, Id>,
}

const ROOT: Id = 0;

/// What a disk writes as a whole.
const SECTOR_BYTES: usize = 512;

fn apply_write(bytes: &mut Vec<u8>, write: &Write) {
    match write {
        Write::Bytes { offset, data } => {
            let start = usize::try_from(*offset).unwrap_or(usize::MAX);
            let end = start.saturating_add(data.len());
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            if let Some(place) = bytes.get_mut(start..end) {
                place.copy_from_slice(data);
            }
        }
        Write::Size(size) => bytes.resize(usize::try_from(*size).unwrap_or(usize::MAX), 0),
    }
}

fn apply_naming(names: &mut BTreeMap<String, Id>, naming: &Naming) {
    match naming {
        Naming::Put(name, id) => {
            names.insert(name.clone(), *id);
        }
        Naming::Remove(name) => {
            names.remove(name);
        }
        Naming::Rename(from, to, id) => {
            names.remove(from);
            names.insert(to.clone(), *id);
        }
    }
}

/// SplitMix64: enough for coins.
struct Coins(u64);

impl Coins {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bound = u64::try_from(bound.max(1)).unwrap_or(1);
        usize::try_from((z ^ (z >> 31)) % bound).unwrap_or(0)
    }
}

impl Disk {
    /// A folder as it is now, all of it durable.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of(root: &Path) -> std::io::Result<Self> {
        let mut disk = Self {
            nodes: Vec::new(),
            by_inode: BTreeMap::new(),
        };
        disk.load(root)?;
        Ok(disk)
    }

    fn load(&mut self, path: &Path) -> std::io::Result<Id> {
        let metadata = std::fs::symlink_metadata(path)?;
        if !metadata.is_dir() {
            let durable = Arc::new(std::fs::read(path)?);
            let file = File {
                cached: Arc::clone(&durable),
                durable,
                unsynced: Arc::default(),
            };
            return Ok(self.add(metadata.ino(), Node::File(file)));
        }
        let id = self.add(metadata.ino(), Node::Folder(Folder::default()));
        let mut names = BTreeMap::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name != ".notes" {
                names.insert(name, self.load(&entry.path())?);
            }
        }
        if let Some(Node::Folder(folder)) = self.nodes.get_mut(id) {
            folder.durable.clone_from(&names);
            folder.cached = names;
        }
        Ok(id)
    }

    fn add(&mut self, inode: u64, node: Node) -> Id {
        let id = self.nodes.len();
        self.nodes.push(node);
        // The number may be that of a file removed before.
        self.by_inode.insert(inode, id);
        id
    }

    fn node_mut(&mut self, inode: u64) -> Option<&mut Node> {
        let id = *self.by_inode.get(&inode)?;
        self.nodes.get_mut(id)
    }

    /// The folder that holds `path`, and its name there.
    fn place<'a>(&self, path: &'a str) -> Option<(Id, &'a str)> {
        let mut at = ROOT;
        let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return Some((at, part));
            }
            let Some(Node::Folder(folder)) = self.nodes.get(at) else {
                return None;
            };
            at = *folder.cached.get(part)?;
        }
        None
    }

    fn id_at(&self, path: &str) -> Option<Id> {
        let (folder, name) = self.place(path)?;
        match self.nodes.get(folder)? {
            Node::Folder(folder) => folder.cached.get(name).copied(),
            Node::File(_) => None,
        }
    }

    fn name(&mut self, folder: Id, naming: Naming) {
        if let Some(Node::Folder(folder)) = self.nodes.get_mut(folder) {
            apply_naming(&mut folder.cached, &naming);
            folder.unsynced.push(naming);
        }
    }

    fn make(&mut self, inode: u64, path: &str, node: Node) {
        let id = self.add(inode, node);
        if let Some((folder, name)) = self.place(path) {
            self.name(folder, Naming::Put(name.to_owned(), id));
        }
    }

    fn write(&mut self, inode: u64, write: Write) {
        if let Some(Node::File(file)) = self.node_mut(inode) {
            apply_write(Arc::make_mut(&mut file.cached), &write);
            Arc::make_mut(&mut file.unsynced).push(write);
        }
    }

    /// Takes over what the process did next.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Created { inode, path } => self.make(*inode, path, Node::File(File::default())),
            Event::Folder { inode, path } => self.make(*inode, path, Node::Folder(Folder::default())),
            Event::Written { inode, offset, data } => self.write(
                *inode,
                Write::Bytes {
                    offset: *offset,
                    data: data.clone(),
                },
            ),
            Event::Sized { inode, size } => self.write(*inode, Write::Size(*size)),
            Event::Synced { inode } => match self.node_mut(*inode) {
                Some(Node::File(file)) => {
                    for write in std::mem::take(&mut file.unsynced).iter() {
                        apply_write(Arc::make_mut(&mut file.durable), write);
                    }
                }
                Some(Node::Folder(folder)) => {
                    for naming in std::mem::take(&mut folder.unsynced) {
                        apply_naming(&mut folder.durable, &naming);
                    }
                }
                None => {}
            },
            // As Linux does: the pages count as clean, and the next sync has nothing to write.
            Event::SyncFailed { inode } => match self.node_mut(*inode) {
                Some(Node::File(file)) => file.unsynced = Arc::default(),
                Some(Node::Folder(folder)) => folder.unsynced.clear(),
                None => {}
            },
            Event::Renamed { from, to } => self.rename(from, to),
            Event::Linked { from, to } => {
                if let (Some(id), Some((folder, name))) = (self.id_at(from), self.place(to)) {
                    self.name(folder, Naming::Put(name.to_owned(), id));
                }
            }
            Event::Removed { path } => {
                if let Some((folder, name)) = self.place(path) {
                    self.name(folder, Naming::Remove(name.to_owned()));
                }
            }
            Event::Note(_) | Event::Refused { .. } | Event::Flipped => {}
        }
    }

    fn rename(&mut self, from: &str, to: &str) {
        let (Some(id), Some((source, old)), Some((target, new))) = (self.id_at(from), self.place(from), self.place(to))
        else {
            return;
        };
        if source == target {
            self.name(source, Naming::Rename(old.to_owned(), new.to_owned(), id));
        } else {
            self.name(target, Naming::Put(new.to_owned(), id));
            self.name(source, Naming::Remove(old.to_owned()));
        }
    }

    /// Puts what a crash now would leave into the folder `to`, which is made.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, to: &Path, keep: Keep) -> std::io::Result<()> {
        let seed = match keep {
            Keep::First(seed) | Keep::Some(seed) => seed,
            Keep::Everything | Keep::Nothing => 0,
        };
        self.save_node(ROOT, to, keep, &mut Coins(seed))
    }

    fn save_node(&self, id: Id, to: &Path, keep: Keep, coins: &mut Coins) -> std::io::Result<()> {
        match self.nodes.get(id) {
            Some(Node::File(file)) => std::fs::write(to, file.left(keep, coins)),
            Some(Node::Folder(folder)) => {
                std::fs::create_dir_all(to)?;
                for (name, id) in folder.left(keep, coins) {
                    self.save_node(id, &to.join(name), keep, coins)?;
                }
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl File {
    fn left(&self, keep: Keep, coins: &mut Coins) -> Vec<u8> {
        match keep {
            Keep::Everything => self.cached.to_vec(),
            Keep::Nothing => self.durable.to_vec(),
            Keep::First(_) => self.begun(coins),
            Keep::Some(_) => self.torn(coins),
        }
    }

    /// The first few writes, and the beginning of the next.
    fn begun(&self, coins: &mut Coins) -> Vec<u8> {
        let mut bytes = self.durable.to_vec();
        let first = coins.below(self.unsynced.len().saturating_add(1));
        for write in self.unsynced.iter().take(first) {
            apply_write(&mut bytes, write);
        }
        if let Some(Write::Bytes { offset, data }) = self.unsynced.get(first) {
            let data = data.get(..coins.below(data.len())).unwrap_or_default().to_vec();
            let offset = *offset;
            apply_write(&mut bytes, &Write::Bytes { offset, data });
        }
        bytes
    }

    /// Each sector, and the size, as it was at some moment since the last sync.
    fn torn(&self, coins: &mut Coins) -> Vec<u8> {
        let mut moments = vec![self.durable.to_vec()];
        for write in self.unsynced.iter() {
            let mut next = moments.last().cloned().unwrap_or_default();
            apply_write(&mut next, write);
            moments.push(next);
        }
        let size = moments.get(coins.below(moments.len())).map_or(0, Vec::len);
        let mut bytes = vec![0; size];
        for (sector, place) in bytes.chunks_mut(SECTOR_BYTES).enumerate() {
            let start = sector.saturating_mul(SECTOR_BYTES);
            let there = moments
                .get(coins.below(moments.len()))
                .and_then(|moment| moment.get(start..))
                .unwrap_or_default();
            for (byte, there) in place.iter_mut().zip(there) {
                *byte = *there;
            }
        }
        bytes
    }
}

impl Folder {
    fn left(&self, keep: Keep, coins: &mut Coins) -> BTreeMap<String, Id> {
        match keep {
            Keep::Everything => self.cached.clone(),
            Keep::Nothing => self.durable.clone(),
            Keep::First(_) | Keep::Some(_) => {
                let mut names = self.durable.clone();
                let first = coins.below(self.unsynced.len().saturating_add(1));
                for naming in self.unsynced.iter().take(first) {
                    apply_naming(&mut names, naming);
                }
                names
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play<const N: usize>(disk: &mut Disk, events: [Event; N]) {
        for event in &events {
            disk.apply(event);
        }
    }

    fn left(disk: &Disk, keep: Keep) -> BTreeMap<String, Vec<u8>> {
        let to = tempfile::tempdir().unwrap();
        disk.save(to.path(), keep).unwrap();
        let files = std::fs::read_dir(to.path()).unwrap().map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        });
        files.collect()
    }

    fn created(inode: u64, path: &str) -> Event {
        Event::Created {
            inode,
            path: path.to_owned(),
        }
    }

    fn written(inode: u64, offset: u64, data: &[u8]) -> Event {
        Event::Written {
            inode,
            offset,
            data: data.to_vec(),
        }
    }

    fn root() -> (tempfile::TempDir, u64) {
        let root = tempfile::tempdir().unwrap();
        let inode = std::fs::metadata(root.path()).unwrap().ino();
        (root, inode)
    }

    #[test]
    fn what_was_not_synced_is_there_after_a_kill_and_gone_without_power() {
        let (root, inode) = root();
        let mut disk = Disk::of(root.path()).unwrap();
        play(
            &mut disk,
            [
                created(1, "a"),
                written(1, 0, b"old"),
                Event::Synced { inode: 1 },
                Event::Synced { inode },
                written(1, 3, b"new"),
            ],
        );
        assert_eq!(left(&disk, Keep::Everything)["a"], b"oldnew");
        assert_eq!(left(&disk, Keep::Nothing)["a"], b"old");
    }

    #[test]
    fn a_synced_file_has_no_name_before_its_folder_is_synced() {
        let (root, _) = root();
        let mut disk = Disk::of(root.path()).unwrap();
        play(
            &mut disk,
            [created(1, "a"), written(1, 0, b"x"), Event::Synced { inode: 1 }],
        );
        assert_eq!(left(&disk, Keep::Nothing), BTreeMap::new());
        assert_eq!(left(&disk, Keep::Everything).len(), 1);
    }

    #[test]
    fn a_failed_sync_is_not_made_good_by_the_next() {
        let (root, inode) = root();
        let mut disk = Disk::of(root.path()).unwrap();
        play(
            &mut disk,
            [
                created(1, "a"),
                Event::Synced { inode },
                written(1, 0, b"x"),
                Event::SyncFailed { inode: 1 },
                Event::Synced { inode: 1 },
            ],
        );
        assert_eq!(left(&disk, Keep::Nothing)["a"], b"");
    }

    #[test]
    fn a_rename_that_was_not_synced_leaves_the_old_file() {
        let (root, inode) = root();
        let mut disk = Disk::of(root.path()).unwrap();
        play(
            &mut disk,
            [
                created(1, "a"),
                written(1, 0, b"old"),
                Event::Synced { inode: 1 },
                created(2, "a.new"),
                written(2, 0, b"new"),
                Event::Synced { inode: 2 },
                Event::Synced { inode },
                Event::Renamed {
                    from: "a.new".to_owned(),
                    to: "a".to_owned(),
                },
            ],
        );
        assert_eq!(left(&disk, Keep::Nothing)["a"], b"old");
        assert_eq!(left(&disk, Keep::Everything)["a"], b"new");
        disk.apply(&Event::Synced { inode });
        assert_eq!(left(&disk, Keep::Nothing)["a"], b"new");
    }

    #[test]
    fn a_number_used_again_is_another_file() {
        let (root, inode) = root();
        let mut disk = Disk::of(root.path()).unwrap();
        play(
            &mut disk,
            [
                created(1, "a"),
                written(1, 0, b"first"),
                Event::Synced { inode: 1 },
                Event::Synced { inode },
                Event::Removed { path: "a".to_owned() },
                created(1, "b"),
                written(1, 0, b"second"),
            ],
        );
        assert_eq!(left(&disk, Keep::Nothing)["a"], b"first");
        assert_eq!(left(&disk, Keep::Everything)["b"], b"second");
    }

    #[test]
    fn any_part_of_what_was_not_synced_may_be_left() {
        let (root, inode) = root();
        let mut disk = Disk::of(root.path()).unwrap();
        play(
            &mut disk,
            [
                created(1, "a"),
                Event::Synced { inode },
                written(1, 0, &[b'x'; 512]),
                written(1, 512, &[b'y'; 512]),
                created(2, "b"),
            ],
        );
        let seen: std::collections::BTreeSet<_> = (0..64).map(|seed| left(&disk, Keep::Some(seed))).collect();
        let later = [vec![0; 512], vec![b'y'; 512]].concat();
        assert!(seen.iter().any(|files| files["a"] == later), "the later half alone");
        assert!(
            seen.iter().any(|files| files["a"] == [b'x'; 512]),
            "the first half alone"
        );
        assert!(seen.iter().any(|files| files["a"].is_empty()), "nothing");
        let first: Vec<_> = (0..64).map(|seed| left(&disk, Keep::First(seed))).collect();
        assert!(
            !first.iter().any(|files| files["a"] == later),
            "in order, never the later half alone"
        );
        assert!(
            first.iter().any(|files| (1..512).contains(&files["a"].len())),
            "a write in part"
        );
        assert!(seen.iter().any(|files| !files.contains_key("b")), "a lost name");
    }
}
