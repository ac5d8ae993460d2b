//! What the log holds, as seen by apply.

use symbolon_crypto::Hash;

/// Kinds of application entries. Numbers below 16 belong to consensus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// A signed command ([`symbolon_wire::v1::Command`]).
    Command = 16,
    /// A node's keys of one boot.
    BootKeys = 17,
    /// Clock readings.
    Ticks = 18,
    /// Fragments opened and checked.
    FragmentOk = 19,
    /// A fragment that could not be used.
    Complaint = 20,
    /// A higher feature level.
    FeatureLevel = 21,
    /// Where a snapshot is taken.
    SnapshotMark = 22,
    /// How far a node's audit log has come.
    AuditAnchor = 40,
}

impl Kind {
    /// Those that may use the reserve of a full disk: without clock readings nothing is released or falls due, and without
    /// marks no log is purged.
    pub const VITAL: [u16; 2] = [Self::Ticks as u16, Self::SnapshotMark as u16];

    /// The kind for its number; unknown ones are no-ops at apply.
    pub fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            16 => Self::Command,
            17 => Self::BootKeys,
            18 => Self::Ticks,
            19 => Self::FragmentOk,
            20 => Self::Complaint,
            21 => Self::FeatureLevel,
            22 => Self::SnapshotMark,
            40 => Self::AuditAnchor,
            _ => return None,
        })
    }

    /// Whether a node that does not lead may have its leader propose it. Clock readings, levels and marks are the
    /// leader's own to log: each mark makes every node keep and hash its whole state.
    pub fn is_handed_on(self) -> bool {
        match self {
            Self::Command | Self::BootKeys | Self::FragmentOk | Self::Complaint | Self::AuditAnchor => true,
            Self::Ticks | Self::FeatureLevel | Self::SnapshotMark => false,
        }
    }

    /// Its number.
    pub fn number(self) -> u16 {
        self as u16
    }
}

/// One committed entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its index.
    pub index: u64,
    /// Its kind, as a number: unknown ones occur.
    pub kind: u16,
    /// Its payload.
    pub payload: bytes::Bytes,
    /// The chain value at this index.
    pub chain: Hash,
}
