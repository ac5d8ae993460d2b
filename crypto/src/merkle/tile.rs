//! Where hashes lie in tiles (C2SP tlog-tiles): a tile of height 8 holds up to 256 hashes of one tile level, whose tree
//! level is 8 times as high.

use super::{NodeReader, node_hash};
use crate::Hash;

/// Tree levels per tile.
pub const TILE_HEIGHT: u8 = 8;

/// Hashes in a full tile.
pub const TILE_WIDTH: u64 = 1 << TILE_HEIGHT;

/// A tile: hashes `index`·256 up to `index`·256 + `width` of the tile level `level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// The tile level, 0 for leaf hashes.
    pub level: u8,
    /// Which tile of the level.
    pub index: u64,
    /// Hashes in it, 1 to 256; fewer than 256 in the last tile of a level only.
    pub width: u16,
}

impl Tile {
    /// The tile and the place in it of the hash `index` of a tile level, in a tree of `size` leaves. `None` if the tree
    /// has no such hash.
    #[must_use]
    pub fn of(level: u8, index: u64, size: u64) -> Option<(Self, u16)> {
        let hashes = size.checked_shr(u32::from(level) * u32::from(TILE_HEIGHT)).unwrap_or(0);
        if index >= hashes {
            return None;
        }
        let tile = index / TILE_WIDTH;
        let width = (hashes - tile * TILE_WIDTH).min(TILE_WIDTH);
        let width = u16::try_from(width).ok()?;
        let place = u16::try_from(index % TILE_WIDTH).ok()?;
        Some((
            Self {
                level,
                index: tile,
                width,
            },
            place,
        ))
    }

    /// The path of the hash tile: `tile/L/N` with N in groups of three digits, all but the last with an `x`, and `.p/W`
    /// for a partial tile.
    #[must_use]
    pub fn path(&self) -> String {
        format!("tile/{}/{}", self.level, self.name())
    }

    /// The path of the entry bundle beside a tile of level 0: `tile/entries/N`.
    #[must_use]
    pub fn entries_path(&self) -> String {
        format!("tile/entries/{}", self.name())
    }

    fn name(&self) -> String {
        let mut name = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            name = format!("x{:03}/{name}", rest % 1000);
            rest /= 1000;
        }
        if u64::from(self.width) < TILE_WIDTH {
            name.push_str(&format!(".p/{}", self.width));
        }
        name
    }
}

/// Reads a tree through its tiles: `read` gives the hash at a place of a tile. Levels between tile levels are computed.
#[derive(Debug, Clone, Copy)]
pub struct TileReader<F> {
    size: u64,
    read: F,
}

/// A hash could not be had from tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TileError<E> {
    /// The tree has no such complete subtree.
    #[error("a tree of {size} leaves has no complete subtree {index} at level {level}")]
    OutOfRange {
        /// Leaves of the tree.
        size: u64,
        /// The level asked for; 0 is the leaves.
        level: u8,
        /// The index within the level.
        index: u64,
    },
    /// Reading a tile failed.
    #[error("a tile could not be read: {0}")]
    Read(E),
}

impl<E, F: Fn(&Tile, u16) -> Result<Hash, E>> TileReader<F> {
    /// A reader for the tree of `size` leaves.
    pub fn new(size: u64, read: F) -> Self {
        Self { size, read }
    }
}

impl<E, F: Fn(&Tile, u16) -> Result<Hash, E>> NodeReader for TileReader<F> {
    type Error = TileError<E>;

    fn node(&self, level: u8, index: u64) -> Result<Hash, TileError<E>> {
        let out_of_range = || TileError::OutOfRange {
            size: self.size,
            level,
            index,
        };
        if level.is_multiple_of(TILE_HEIGHT) {
            let (tile, place) = Tile::of(level / TILE_HEIGHT, index, self.size).ok_or_else(out_of_range)?;
            return (self.read)(&tile, place).map_err(TileError::Read);
        }
        // At most 2^7 hashes of one tile lie below, since a tile level is at most seven levels down.
        let left = index.checked_mul(2).ok_or_else(out_of_range)?;
        Ok(node_hash(
            &self.node(level - 1, left)?,
            &self.node(level - 1, left + 1)?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeMap};

    use super::*;
    use crate::merkle::{Frontier, Tree, inclusion_proof, leaf_hash, root_at};

    #[test]
    fn paths_are_those_of_the_specification() {
        let tile = |level, index, width| Tile { level, index, width };
        assert_eq!(tile(0, 1_234_067, 256).path(), "tile/0/x001/x234/067");
        assert_eq!(tile(1, 0, 256).path(), "tile/1/000");
        assert_eq!(tile(3, 999, 1).path(), "tile/3/999.p/1");
        assert_eq!(tile(0, 1000, 255).entries_path(), "tile/entries/x001/000.p/255");
    }

    #[test]
    fn a_tree_of_70000_leaves_has_the_tiles_of_the_specifications_example() {
        // 273 full tiles and one of 112 at level 0, one full and one of 17 at level 1, one of 1 at level 2.
        let last = Tile::of(0, 69_999, 70_000).unwrap();
        assert_eq!((last.0.path().as_str(), last.1), ("tile/0/273.p/112", 111));
        assert_eq!(Tile::of(1, 272, 70_000).unwrap().0.path(), "tile/1/001.p/17");
        assert_eq!(Tile::of(2, 0, 70_000).unwrap().0.path(), "tile/2/000.p/1");
        assert_eq!(Tile::of(0, 70_000, 70_000), None);
        assert_eq!(Tile::of(2, 1, 70_000), None);
        assert_eq!(Tile::of(9, 0, u64::MAX), None);
    }

    #[test]
    fn a_tree_read_through_tiles_is_the_tree() {
        let size = 1000;
        let tree: Tree = (0..size).map(|i: u64| leaf_hash(&i.to_be_bytes())).collect();
        let stored = RefCell::new(BTreeMap::new());
        let mut frontier = Frontier::new();
        for i in 0..size {
            frontier.append(leaf_hash(&i.to_be_bytes()), |level, index, hash| {
                if level.is_multiple_of(TILE_HEIGHT) {
                    let key = (level / TILE_HEIGHT, index / TILE_WIDTH, index % TILE_WIDTH);
                    stored.borrow_mut().insert(key, *hash);
                }
            });
        }
        let reader = TileReader::new(size, |tile: &Tile, place| {
            stored
                .borrow()
                .get(&(tile.level, tile.index, u64::from(place)))
                .copied()
                .ok_or(())
        });
        assert_eq!(root_at(&reader, size), Ok(tree.root()));
        assert_eq!(Frontier::load(size, &reader), Ok(frontier));
        for index in [0, 1, 255, 256, 511, 512, 767, 999] {
            assert_eq!(
                inclusion_proof(&reader, index, size).unwrap(),
                tree.path(index).unwrap()
            );
        }
        assert_eq!(
            reader.node(3, 125),
            Err(TileError::OutOfRange {
                size,
                level: 0,
                index: 1000
            })
        );
        assert!(reader.node(11, u64::MAX).is_err());
    }
}
