//! The journal of a watched process: every change of its disk, in order.
//!
//! ```text
//! record   tag (1 byte) ‖ inode ‖ number ‖ bytes of one ‖ bytes of two ‖ bytes of data (u64 each, the machine's order)
//!          ‖ one ‖ two ‖ data
//! ```

use std::path::Path;

/// One thing that a process did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A file was made.
    Created {
        /// Its inode.
        inode: u64,
        /// Where, below the folder.
        path: String,
    },
    /// A folder was made.
    Folder {
        /// Its inode.
        inode: u64,
        /// Where, below the folder.
        path: String,
    },
    /// Bytes were written.
    Written {
        /// Of which file.
        inode: u64,
        /// From where on.
        offset: u64,
        /// What.
        data: Vec<u8>,
    },
    /// A file was made longer or shorter.
    Sized {
        /// Which.
        inode: u64,
        /// Its new size.
        size: u64,
    },
    /// A file or folder was synced.
    Synced {
        /// Which.
        inode: u64,
    },
    /// A sync failed: what it should have made durable never will be.
    SyncFailed {
        /// Of which file or folder.
        inode: u64,
    },
    /// An entry was renamed.
    Renamed {
        /// From where.
        from: String,
        /// To where; what was there is gone.
        to: String,
    },
    /// A file got a second name.
    Linked {
        /// Where it is.
        from: String,
        /// The second name.
        to: String,
    },
    /// An entry was removed.
    Removed {
        /// Which.
        path: String,
    },
    /// The process says something.
    Note(String),
    /// A change was made to fail.
    Refused {
        /// Which, from 0.
        change: u64,
        /// With what.
        error: String,
    },
    /// A bit of what was read was flipped.
    Flipped,
}

impl Event {
    /// Whether it changed the disk, or was to.
    #[must_use]
    pub const fn is_change(&self) -> bool {
        !matches!(self, Self::Note(_) | Self::Refused { .. } | Self::Flipped)
    }
}

/// A journal that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file.
    #[error("the journal cannot be read: {0}")]
    File(#[from] std::io::Error),
    /// A record ends in the middle or is none.
    #[error("the journal is damaged at byte {at}")]
    Damaged {
        /// Where.
        at: usize,
    },
}

/// Reads a journal. One that was never begun is empty.
///
/// # Errors
/// [`JournalError`].
pub fn read(path: &Path) -> Result<Vec<Event>, JournalError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let mut rest = bytes.as_slice();
    let mut events = Vec::new();
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        events.push(record(&mut rest).ok_or(JournalError::Damaged { at })?);
    }
    Ok(events)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let (first, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    Some(u64::from_ne_bytes(*first))
}

fn bytes(rest: &mut &[u8], count: u64) -> Option<Vec<u8>> {
    let (first, after) = rest.split_at_checked(usize::try_from(count).ok()?)?;
    *rest = after;
    Some(first.to_vec())
}

fn record(rest: &mut &[u8]) -> Option<Event> {
    let (tag, after) = rest.split_first()?;
    *rest = after;
    let (inode, value) = (number(rest)?, number(rest)?);
    let (one, two, data) = (number(rest)?, number(rest)?, number(rest)?);
    let one = String::from_utf8(bytes(rest, one)?).ok()?;
    let two = String::from_utf8(bytes(rest, two)?).ok()?;
    let data = bytes(rest, data)?;
    Some(match tag {
        b'C' => Event::Created { inode, path: one },
        b'M' => Event::Folder { inode, path: one },
        b'W' => Event::Written {
            inode,
            offset: value,
            data,
        },
        b'F' => Event::Sized { inode, size: value },
        b'S' => Event::Synced { inode },
        b'!' => Event::SyncFailed { inode },
        b'R' => Event::Renamed { from: one, to: two },
        b'L' => Event::Linked { from: one, to: two },
        b'U' => Event::Removed { path: one },
        b'N' => Event::Note(String::from_utf8(data).ok()?),
        b'E' => Event::Refused {
            change: value,
            error: one,
        },
        b'B' => Event::Flipped,
        _ => return None,
    })
}
