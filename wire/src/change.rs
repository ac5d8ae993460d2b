//! What a log entry can change about a secret, as watchers are told.

use crate::v1;

/// Kinds of changes. A number never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ChangeKind {
    /// A version was written.
    Put,
    /// Versions were hidden.
    Delete,
    /// Versions were shown again.
    Undelete,
    /// Versions were destroyed.
    Destroy,
    /// Metadata or settings were changed.
    Metadata,
    /// A kind that this build does not know.
    Other(u32),
}

impl ChangeKind {
    /// The kind for a number from the wire.
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Put,
            2 => Self::Delete,
            3 => Self::Undelete,
            4 => Self::Destroy,
            5 => Self::Metadata,
            other => Self::Other(other),
        }
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Put => 1,
            Self::Delete => 2,
            Self::Undelete => 3,
            Self::Destroy => 4,
            Self::Metadata => 5,
            Self::Other(number) => number,
        }
    }

    /// Its name: that of the verb which makes such a change.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Undelete => "undelete",
            Self::Destroy => "destroy",
            Self::Metadata => "metadata",
            Self::Other(_) => "other",
        }
    }
}

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// The secret at this path.
    Secret(String),
    /// All below this folder; empty: the tenant's root.
    Folder(String),
}

impl Target {
    /// Of a request; its path is not checked.
    #[must_use]
    pub fn of(request: &v1::WatchRequest) -> Self {
        match request.folder {
            true => Self::Folder(request.path.clone()),
            false => Self::Secret(request.path.clone()),
        }
    }

    /// Its path, without a slash at the end.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Secret(path) | Self::Folder(path) => path,
        }
    }

    /// Whether it is a folder.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        matches!(self, Self::Folder(_))
    }

    /// Whether a change at `path` is one of its own.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        match self {
            Self::Secret(own) => own == path,
            Self::Folder(own) if own.is_empty() => true,
            Self::Folder(own) => path
                .strip_prefix(own.as_str())
                .is_some_and(|rest| rest.starts_with('/')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_for_its_kind_also_one_that_nobody_knows() {
        for number in 0..9 {
            assert_eq!(ChangeKind::from_number(number).number(), number);
        }
        assert_eq!(ChangeKind::from_number(3).name(), "undelete");
    }

    #[test]
    fn a_folder_covers_what_is_below_it_and_no_name_that_begins_alike() {
        let folder = Target::Folder("prod".to_owned());
        assert!(folder.covers("prod/key") && folder.covers("prod/db/key"));
        assert!(!folder.covers("prod") && !folder.covers("production/key"));
        assert!(Target::Folder(String::new()).covers("anything"));
        let secret = Target::Secret("prod/key".to_owned());
        assert!(secret.covers("prod/key") && !secret.covers("prod/key/below"));
    }
}
