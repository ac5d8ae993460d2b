//! The node's audit log: sealed leaves under an RFC 9162 tree, whose hashes lie in tiles (C2SP tlog-tiles).
//!
//! On disk are the leaves and the full tiles. The right edge of the tree is kept in memory and computed again when the
//! log is opened, from at most 255 leaves and 255 tiles a level, so an append writes little more than its leaves.
//! Old leaves may be forgotten: their tiles stay, and with them every root and every proof.
//! Appends go through the store's sync queue: a group of them costs one sync, shared with the Raft log. Who does not wait
//! for the disk writes past the queue and syncs now and then.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use symbolon_consensus::{Durability, StoreFault, Taking};
use symbolon_crypto::Hash;
use symbolon_crypto::merkle::tile::{TILE_HEIGHT, TILE_WIDTH, Tile, TileError, TileReader};
use symbolon_crypto::merkle::{Frontier, ProofError, consistency_proof, inclusion_proof, leaf_hash, root_at};
use tokio::sync::{oneshot, watch};

use crate::engine::{Op, Space};
use crate::keys;
use crate::limits::{LEAF_BYTES_MAX, LEAF_READ_BYTES_MAX, LEAVES_MAX};
use crate::store::Inner;
use crate::sync::lock;

/// Bytes of a hash.
const HASH_BYTES: usize = 32;

/// Level and index of a tile.
type TilePlace = (u8, u64);

/// Why the audit log does not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditFault {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// Leaves are missing, or a tile is.
    #[error("the audit log has a gap at leaf {index}; its history was cut")]
    Gap {
        /// The first leaf that is missing, or the first under a missing tile.
        index: u64,
    },
    /// The saved checkpoint claims another history: the disk was put back, or leaves were changed.
    #[error("the audit log ends at {size}, but its last checkpoint covers {checkpoint} leaves with another root")]
    CheckpointContradicts {
        /// Leaves found.
        size: u64,
        /// Leaves that the checkpoint covers.
        checkpoint: u64,
    },
    /// The leaves are not those that the tree was built over.
    #[error("the first {size} audit leaves do not have the root that their tree has")]
    TreeContradicts {
        /// How many were compared.
        size: u64,
    },
    /// These leaves were forgotten; their hashes are kept.
    #[error("the audit log keeps its leaves from {kept_from} on")]
    Forgotten {
        /// The first leaf that is kept.
        kept_from: u64,
    },
    /// A proof or root of a tree that the log does not have.
    #[error("the audit log holds {size} durable leaves")]
    BeyondEnd {
        /// How many there are.
        size: u64,
    },
}

/// Leaves on their way to the disk.
#[derive(Debug)]
pub struct Appended {
    /// Index of the first of them.
    pub first: u64,
    /// Leaves in the log with them.
    pub size: u64,
    durable: oneshot::Receiver<Result<(), StoreFault>>,
}

impl Appended {
    /// Waits until the leaves are durable.
    ///
    /// # Errors
    /// [`StoreFault`]; the log takes no more leaves until it is opened again.
    pub async fn durable(self) -> Result<(), StoreFault> {
        #[cfg(feature = "sabotage")]
        if symbolon_sabotage::Bug::AuditNotAwaited.on() {
            return Ok(());
        }
        self.durable.await.unwrap_or(Err(StoreFault::Stopped))
    }
}

/// A signed checkpoint as the node saved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedCheckpoint {
    /// Leaves it covers.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
    /// The signed note.
    pub note: Bytes,
}

/// The audit log. Clones share it.
#[derive(Clone)]
pub struct AuditLog {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<Inner>,
    tree: Mutex<Tree>,
    /// Held while a group is queued, so that leaves reach the disk in the order of their indices.
    order: Mutex<()>,
    durable: AtomicU64,
    /// The first leaf that is kept: a multiple of the width of a tile.
    kept_from: AtomicU64,
    grown: watch::Sender<u64>,
}

/// The tree's right edge.
#[derive(Default)]
struct Tree {
    size: u64,
    frontier: Frontier,
    /// By tile level: the hashes of the tile that is not full yet.
    edge: BTreeMap<u8, Vec<Hash>>,
    /// Full tiles that are not durable yet.
    unwritten: BTreeMap<TilePlace, Vec<Hash>>,
    /// An append failed: what follows it would be on disk without it.
    failed: bool,
}

/// What leaves add.
struct Grown {
    first: u64,
    size: u64,
    ops: Vec<Op>,
    full: Vec<TilePlace>,
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditLog")
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

impl Tree {
    /// Adds a leaf; returns the tiles that it fills.
    fn append(&mut self, leaf: Hash) -> Vec<TilePlace> {
        let Self {
            size,
            frontier,
            edge,
            unwritten,
            ..
        } = self;
        let mut full = Vec::new();
        frontier.append(leaf, |level, index, hash| {
            if !level.is_multiple_of(TILE_HEIGHT) {
                return;
            }
            let level = level / TILE_HEIGHT;
            let hashes = edge.entry(level).or_default();
            hashes.push(*hash);
            if index % TILE_WIDTH == TILE_WIDTH - 1 {
                let tile = (level, index / TILE_WIDTH);
                unwritten.insert(tile, std::mem::take(hashes));
                full.push(tile);
            }
        });
        *size = frontier.size();
        full
    }
}

impl AuditLog {
    pub(crate) fn open(store: Arc<Inner>) -> Result<Self, AuditFault> {
        let last = store
            .engine
            .last(Space::Audit, &keys::leaf(0), &keys::after_prefix(&[1]))?;
        let size = match last {
            Some((key, _)) => keys::index_of(&key).map_or(0, |index| index.saturating_add(1)),
            None => 0,
        };
        let kept_from = match store.get(Space::Audit, keys::KEPT_FROM)? {
            Some(bytes) => keys::index_of(&bytes).ok_or(StoreFault::Corrupt {
                what: "first audit leaf kept",
                kind: 5,
            })?,
            None => 0,
        };
        let shared = Shared {
            store,
            kept_from: AtomicU64::new(kept_from),
            tree: Mutex::new(Tree {
                size,
                ..Tree::default()
            }),
            order: Mutex::new(()),
            durable: AtomicU64::new(size),
            grown: watch::Sender::new(size),
        };
        let log = Self {
            shared: Arc::new(shared),
        };
        log.recover(size)?;
        Ok(log)
    }

    /// Computes the right edge of a tree of `size` leaves, level by level, and checks it against the checkpoint.
    fn recover(&self, size: u64) -> Result<(), AuditFault> {
        let mut edge = BTreeMap::new();
        let mut level = 0u8;
        loop {
            let hashes = size.checked_shr(u32::from(level) * u32::from(TILE_HEIGHT)).unwrap_or(0);
            if hashes == 0 {
                break;
            }
            let first = hashes - hashes % TILE_WIDTH;
            let partial = (first..hashes)
                .map(|index| self.recover_hash(level, index))
                .collect::<Result<Vec<_>, _>>()?;
            edge.insert(level, partial);
            level = level.saturating_add(1);
        }
        lock(&self.shared.tree).edge = edge;
        let frontier = Frontier::load(size, &self.reader(size)).map_err(|error| self.tile_error(error))?;
        lock(&self.shared.tree).frontier = frontier;
        for saved in [self.checkpoint()?, self.cosigned()?].into_iter().flatten() {
            let contradicts = AuditFault::CheckpointContradicts {
                size,
                checkpoint: saved.size,
            };
            if saved.size > size || self.root(saved.size)? != saved.root {
                return Err(contradicts);
            }
        }
        Ok(())
    }

    /// A hash of a tile that is not full: of a leaf, or the root over a full tile below.
    fn recover_hash(&self, level: u8, index: u64) -> Result<Hash, AuditFault> {
        let Some(below) = level.checked_sub(1) else {
            let leaf = self.shared.store.get(Space::Audit, &keys::leaf(index))?;
            return Ok(leaf_hash(&leaf.ok_or(AuditFault::Gap { index })?));
        };
        let tile = self.stored_tile(below, index)?;
        let mut root = Frontier::new();
        for hash in tile {
            root.append(hash, |_, _, _| {});
        }
        Ok(root.root())
    }

    fn stored_tile(&self, level: u8, index: u64) -> Result<Vec<Hash>, AuditFault> {
        let bytes = self.shared.store.get(Space::Audit, &keys::tile(level, index))?;
        let leaf = index.saturating_mul(TILE_WIDTH.saturating_pow(u32::from(level).saturating_add(1)));
        let bytes = bytes.ok_or(AuditFault::Gap { index: leaf })?;
        let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
        let full = u64::try_from(hashes.len()) == Ok(TILE_WIDTH) && rest.is_empty();
        if full {
            Ok(hashes.to_vec())
        } else {
            Err(StoreFault::Corrupt {
                what: "audit tile",
                kind: 2,
            }
            .into())
        }
    }

    fn hash(&self, tile: &Tile, place: u16) -> Result<Hash, AuditFault> {
        let place = usize::from(place);
        {
            let tree = lock(&self.shared.tree);
            if let Some(hashes) = tree.unwritten.get(&(tile.level, tile.index)) {
                return hashes.get(place).copied().ok_or(AuditFault::Gap { index: tile.index });
            }
            let hashes = tree
                .size
                .checked_shr(u32::from(tile.level) * u32::from(TILE_HEIGHT))
                .unwrap_or(0);
            if tile.index == hashes / TILE_WIDTH {
                let hashes = tree.edge.get(&tile.level);
                return hashes
                    .and_then(|hashes| hashes.get(place))
                    .copied()
                    .ok_or(AuditFault::Gap { index: tile.index });
            }
        }
        let hashes = self.stored_tile(tile.level, tile.index)?;
        hashes.get(place).copied().ok_or(AuditFault::Gap { index: tile.index })
    }

    fn reader(&self, size: u64) -> TileReader<impl Fn(&Tile, u16) -> Result<Hash, AuditFault>> {
        TileReader::new(size, |tile: &Tile, place| self.hash(tile, place))
    }

    fn tile_error(&self, error: TileError<AuditFault>) -> AuditFault {
        match error {
            TileError::Read(fault) => fault,
            TileError::OutOfRange { .. } => AuditFault::BeyondEnd { size: self.size() },
        }
    }

    /// Appends leaves, in order, as one group. They are in the log once [`Appended::durable`] says so.
    ///
    /// # Errors
    /// [`StoreFault::DiskFull`] if there is no room; the log stays usable. [`StoreFault::TooLarge`] for a leaf beyond
    /// [`LEAF_BYTES_MAX`]. [`StoreFault::Stopped`] after a failed append.
    pub fn append(&self, leaves: &[Vec<u8>]) -> Result<Appended, StoreFault> {
        self.takes(leaves)?;
        let _in_order = lock(&self.shared.order);
        let Grown { first, size, ops, full } = self.grow(leaves)?;
        let (sender, durable) = oneshot::channel();
        self.land(ops, size, full, sender);
        Ok(Appended { first, size, durable })
    }

    /// Writes leaves, in order, and returns the index of the first. They outlive this process, and a power failure once
    /// [`AuditLog::sync`] has made them part of the log. A log takes leaves in this way or by [`AuditLog::append`], whose
    /// queue this one overtakes.
    ///
    /// # Errors
    /// As [`AuditLog::append`].
    pub fn write(&self, leaves: &[Vec<u8>]) -> Result<u64, StoreFault> {
        self.takes(leaves)?;
        let _in_order = lock(&self.shared.order);
        let Grown { first, ops, full, .. } = self.grow(leaves)?;
        let written = self.shared.store.engine.write(ops);
        let mut tree = lock(&self.shared.tree);
        tree.failed |= written.is_err();
        written?;
        for tile in &full {
            tree.unwritten.remove(tile);
        }
        Ok(first)
    }

    /// Makes durable what [`AuditLog::write`] has written.
    ///
    /// # Errors
    /// [`StoreFault`]; the log takes no more leaves until it is opened again.
    pub async fn sync(&self) -> Result<(), StoreFault> {
        let (sender, durable) = oneshot::channel();
        {
            // What is being written now is not counted before it is.
            let _in_order = lock(&self.shared.order);
            let size = {
                let tree = lock(&self.shared.tree);
                // What could not be written is in the tree and not on the disk.
                if tree.failed {
                    return Err(StoreFault::Stopped);
                }
                tree.size
            };
            self.land(Vec::new(), size, Vec::new(), sender);
        }
        durable.await.unwrap_or(Err(StoreFault::Stopped))
    }

    fn takes(&self, leaves: &[Vec<u8>]) -> Result<(), StoreFault> {
        self.shared.store.writable(Taking::New)?;
        match leaves.iter().find(|leaf| leaf.len() > LEAF_BYTES_MAX) {
            Some(large) => Err(StoreFault::TooLarge {
                what: "audit leaf",
                bytes: large.len(),
                bytes_max: LEAF_BYTES_MAX,
            }),
            None => Ok(()),
        }
    }

    fn grow(&self, leaves: &[Vec<u8>]) -> Result<Grown, StoreFault> {
        let mut tree = lock(&self.shared.tree);
        if tree.failed {
            return Err(StoreFault::Stopped);
        }
        let first = tree.size;
        let prepared = self.prepare(&mut tree, leaves);
        tree.failed = prepared.is_err();
        let (ops, full) = prepared?;
        let size = tree.size;
        Ok(Grown { first, size, ops, full })
    }

    /// Queues what makes the log `size` leaves long, and tells once that is durable.
    fn land(&self, ops: Vec<Op>, size: u64, full: Vec<TilePlace>, durable: oneshot::Sender<Result<(), StoreFault>>) {
        let shared = Arc::clone(&self.shared);
        let done = Box::new(move |result: Result<(), StoreFault>| {
            let result = shared.landed(size, &full, result);
            // Before anybody hears of it: who waits may close the store next, and open it again.
            drop(shared);
            // Whoever appended may have given up; the leaves count all the same.
            let _ = durable.send(result);
        });
        self.shared.store.engine.submit(ops, Durability::Synced, done);
    }

    fn prepare(&self, tree: &mut Tree, leaves: &[Vec<u8>]) -> Result<(Vec<Op>, Vec<TilePlace>), StoreFault> {
        let store = &self.shared.store;
        let mut ops = Vec::with_capacity(leaves.len().saturating_add(1));
        let mut filled = Vec::new();
        for leaf in leaves {
            ops.push(store.put(Space::Audit, keys::leaf(tree.size), leaf)?);
            for (level, index) in tree.append(leaf_hash(leaf)) {
                let hashes = tree
                    .unwritten
                    .get(&(level, index))
                    .map(|hashes| hashes.concat())
                    .unwrap_or_default();
                ops.push(store.put(Space::Audit, keys::tile(level, index), &hashes)?);
                filled.push((level, index));
            }
        }
        Ok((ops, filled))
    }

    /// Durable leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.shared.durable.load(Ordering::Acquire)
    }

    /// Durable leaves, as they become more.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.shared.grown.subscribe()
    }

    fn within(&self, size: u64) -> Result<(), AuditFault> {
        let durable = self.size();
        if size > durable {
            Err(AuditFault::BeyondEnd { size: durable })
        } else {
            Ok(())
        }
    }

    /// Root over the first `size` leaves.
    ///
    /// # Errors
    /// [`AuditFault::BeyondEnd`] if there are fewer durable ones.
    pub fn root(&self, size: u64) -> Result<Hash, AuditFault> {
        self.within(size)?;
        root_at(&self.reader(size), size).map_err(|error| self.tile_error(error))
    }

    /// Inclusion proof of leaf `index` in the tree over the first `size` leaves (RFC 9162, 2.1.3).
    ///
    /// # Errors
    /// As [`AuditLog::root`].
    pub fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, AuditFault> {
        self.within(size)?;
        inclusion_proof(&self.reader(size), index, size).map_err(|error| self.proof_error(error))
    }

    /// Consistency proof between the trees over the first `old` and the first `new` leaves (RFC 9162, 2.1.4).
    ///
    /// # Errors
    /// As [`AuditLog::root`].
    pub fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, AuditFault> {
        self.within(new)?;
        consistency_proof(&self.reader(new), old, new).map_err(|error| self.proof_error(error))
    }

    fn proof_error(&self, error: ProofError<TileError<AuditFault>>) -> AuditFault {
        match error {
            ProofError::Read(error) => self.tile_error(error),
            _ => AuditFault::BeyondEnd { size: self.size() },
        }
    }

    /// The bytes of a tile: its hashes, one after the other (C2SP tlog-tiles).
    ///
    /// # Errors
    /// As [`AuditLog::root`], if the durable log does not have all of them.
    pub fn tile(&self, tile: &Tile) -> Result<Vec<u8>, AuditFault> {
        let hashes = self
            .size()
            .checked_shr(u32::from(tile.level) * u32::from(TILE_HEIGHT))
            .unwrap_or(0);
        let end = tile
            .index
            .checked_mul(TILE_WIDTH)
            .and_then(|start| start.checked_add(u64::from(tile.width)));
        if end.is_none_or(|end| end > hashes) || u64::from(tile.width) > TILE_WIDTH {
            return Err(AuditFault::BeyondEnd { size: self.size() });
        }
        let hashes = (0..tile.width).map(|place| self.hash(tile, place));
        Ok(hashes.collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// Durable leaves from `first` on, at most `limit` of them and about [`LEAF_READ_BYTES_MAX`] bytes, but at least one
    /// if there is one.
    ///
    /// # Errors
    /// [`AuditFault::Gap`] if one is missing; [`AuditFault::Forgotten`] before [`AuditLog::kept_from`].
    pub fn leaves(&self, first: u64, limit: usize) -> Result<Vec<Vec<u8>>, AuditFault> {
        let kept_from = self.kept_from();
        if first < kept_from {
            return Err(AuditFault::Forgotten { kept_from });
        }
        let until = keys::leaf(self.size());
        let store = &self.shared.store;
        let limit = limit.min(LEAVES_MAX);
        let pairs = store
            .engine
            .scan(Space::Audit, &keys::leaf(first), &until, limit, LEAF_READ_BYTES_MAX)?;
        let mut leaves = Vec::with_capacity(pairs.len());
        // In this order: a range that begins at the greatest index has no next one.
        for ((key, sealed), index) in pairs.into_iter().zip(first..) {
            if keys::index_of(&key) != Some(index) {
                let kept_from = self.kept_from();
                return Err(if index < kept_from {
                    AuditFault::Forgotten { kept_from }
                } else {
                    AuditFault::Gap { index }
                });
            }
            leaves.push(store.barrier.open(Space::Audit, &key, &sealed)?);
        }
        Ok(leaves)
    }

    /// Hashes of durable leaves from `first` on, at most `limit` of them and as far as tiles are full, whether the leaves
    /// are kept or not.
    ///
    /// # Errors
    /// [`AuditFault::Gap`] if a tile is missing.
    pub fn hashes(&self, first: u64, limit: usize) -> Result<Vec<Hash>, AuditFault> {
        let limit = limit.min(LEAVES_MAX);
        let mut hashes = Vec::new();
        let mut skipped = usize::try_from(first % TILE_WIDTH).unwrap_or(usize::MAX);
        for index in first / TILE_WIDTH..self.size() / TILE_WIDTH {
            hashes.extend(
                self.stored_tile(0, index)?
                    .into_iter()
                    .skip(std::mem::take(&mut skipped)),
            );
            if hashes.len() >= limit {
                break;
            }
        }
        hashes.truncate(limit);
        Ok(hashes)
    }

    /// The first leaf that is kept.
    #[must_use]
    pub fn kept_from(&self) -> u64 {
        self.shared.kept_from.load(Ordering::Acquire)
    }

    /// Forgets the leaves before `until`, as far as that is whole tiles and leaves the newest; returns
    /// [`AuditLog::kept_from`] once that is durable. What is forgotten is nowhere else: archive it first.
    ///
    /// # Errors
    /// [`AuditFault::Store`].
    pub async fn forget(&self, until: u64) -> Result<u64, AuditFault> {
        let until = until.min(self.size().saturating_sub(1));
        let until = until - until % TILE_WIDTH;
        let kept_from = self.kept_from();
        if until <= kept_from {
            return Ok(kept_from);
        }
        let ops = vec![
            self.shared
                .store
                .put(Space::Audit, keys::KEPT_FROM.to_vec(), &until.to_be_bytes())?,
            Op::DeleteRange {
                space: Space::Audit,
                from: keys::leaf(kept_from),
                until: keys::leaf(until),
            },
        ];
        // Before they go: whoever reads meanwhile must not take them for a gap.
        self.shared.kept_from.fetch_max(until, Ordering::AcqRel);
        self.submit(ops).await?;
        Ok(until)
    }

    /// Reads every leaf that is kept and computes the tree anew, over the hashes of those that are not: whether the log on
    /// disk is the log that was written.
    ///
    /// # Errors
    /// [`AuditFault`] with the first place that is wrong.
    pub fn verify(&self) -> Result<Hash, AuditFault> {
        let size = self.size();
        let kept_from = self.kept_from();
        let forgotten = Frontier::load(kept_from, &self.reader(size));
        let mut frontier = forgotten.map_err(|error| self.tile_error(error))?;
        while frontier.size() < size {
            let first = frontier.size();
            let limit = usize::try_from(size - first).unwrap_or(usize::MAX);
            let leaves = self.leaves(first, limit)?;
            if leaves.is_empty() {
                return Err(AuditFault::Gap { index: first });
            }
            for leaf in leaves {
                frontier.append(leaf_hash(&leaf), |_, _, _| {});
            }
        }
        let root = self.root(size)?;
        if frontier.root() == root {
            Ok(root)
        } else {
            Err(AuditFault::TreeContradicts { size })
        }
    }

    /// Keeps a signed checkpoint. Resolves when it is durable.
    ///
    /// # Errors
    /// [`AuditFault::BeyondEnd`] if it covers leaves that are not durable.
    pub async fn save_checkpoint(&self, saved: &SavedCheckpoint) -> Result<(), AuditFault> {
        self.save(keys::CHECKPOINT, saved).await
    }

    /// Keeps the newest checkpoint that enough others have cosigned, beside the latest. Resolves when it is durable.
    ///
    /// # Errors
    /// [`AuditFault::BeyondEnd`] if it covers leaves that are not durable.
    pub async fn save_cosigned(&self, saved: &SavedCheckpoint) -> Result<(), AuditFault> {
        self.save(keys::COSIGNED, saved).await
    }

    async fn save(&self, key: &[u8], saved: &SavedCheckpoint) -> Result<(), AuditFault> {
        self.within(saved.size)?;
        let mut bytes = saved.size.to_be_bytes().to_vec();
        bytes.extend_from_slice(&saved.root);
        bytes.extend_from_slice(&saved.note);
        let op = self.shared.store.put(Space::Audit, key.to_vec(), &bytes)?;
        self.submit(vec![op]).await
    }

    async fn submit(&self, ops: Vec<Op>) -> Result<(), AuditFault> {
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |result| {
            // The caller may have given up waiting.
            let _ = sender.send(result);
        });
        self.shared.store.engine.submit(ops, Durability::Synced, done);
        Ok(receiver.await.unwrap_or(Err(StoreFault::Stopped))?)
    }

    /// The checkpoint saved last.
    ///
    /// # Errors
    /// [`AuditFault::Store`].
    pub fn checkpoint(&self) -> Result<Option<SavedCheckpoint>, AuditFault> {
        self.saved(keys::CHECKPOINT)
    }

    /// The checkpoint saved last with enough cosignatures.
    ///
    /// # Errors
    /// [`AuditFault::Store`].
    pub fn cosigned(&self) -> Result<Option<SavedCheckpoint>, AuditFault> {
        self.saved(keys::COSIGNED)
    }

    fn saved(&self, key: &[u8]) -> Result<Option<SavedCheckpoint>, AuditFault> {
        let Some(bytes) = self.shared.store.get(Space::Audit, key)? else {
            return Ok(None);
        };
        let parse = || {
            let (size, rest) = bytes.split_first_chunk::<8>()?;
            let (root, note) = rest.split_first_chunk::<HASH_BYTES>()?;
            Some(SavedCheckpoint {
                size: u64::from_be_bytes(*size),
                root: *root,
                note: Bytes::copy_from_slice(note),
            })
        };
        let saved = parse().ok_or(StoreFault::Corrupt {
            what: "audit checkpoint",
            kind: 3,
        })?;
        Ok(Some(saved))
    }

    /// Bytes that the log occupies.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn disk_bytes(&self) -> Result<u64, StoreFault> {
        self.shared.store.engine.space_bytes(Space::Audit)
    }
}

impl Shared {
    /// A group is durable, or failed.
    fn landed(&self, size: u64, full: &[TilePlace], result: Result<(), StoreFault>) -> Result<(), StoreFault> {
        let mut tree = lock(&self.tree);
        match result {
            Ok(()) => {
                for tile in full {
                    tree.unwritten.remove(tile);
                }
                self.durable.fetch_max(size, Ordering::AcqRel);
                drop(tree);
                self.grown.send_if_modified(|grown| {
                    let more = size > *grown;
                    *grown = size.max(*grown);
                    more
                });
                Ok(())
            }
            Err(fault) => {
                tree.failed = true;
                Err(fault)
            }
        }
    }
}
