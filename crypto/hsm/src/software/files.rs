//! One file per key, readable by its owner alone: `LABEL.p256.pem` (PKCS#8) or `LABEL.aes256` (32 bytes).

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use p256::{
    ecdsa::SigningKey,
    pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding},
};
use symbolon_crypto::secret::{Secret, SecretBytes};

use crate::{
    attributes::Purpose,
    error::{Operation, RootError},
    label::KeyLabel,
    limits::{KEY_FILE_BYTES_MAX, SECRET_BYTES},
};

/// Rights of group and others, in a mode.
const OTHERS: u32 = 0o077;

const PURPOSES: [Purpose; 2] = [Purpose::Identity, Purpose::Wrapping];

pub(super) struct Files {
    folder: PathBuf,
}

impl Files {
    pub(super) fn open(folder: &Path) -> Result<Self, RootError> {
        let failed = |source| RootError::KeyFile {
            path: folder.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed)?;
        let files = Self {
            folder: folder.canonicalize().map_err(failed)?,
        };
        files.check()?;
        Ok(files)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the folder is still there and closed to others.
    pub(super) fn check(&self) -> Result<(), RootError> {
        match fs::metadata(&self.folder) {
            Ok(metadata) => closed_to_others(&self.folder, metadata.mode()),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(RootError::TokenGone {
                during: Operation::Info,
            }),
            Err(source) => Err(RootError::KeyFile {
                path: self.folder.clone(),
                source,
            }),
        }
    }

    fn path(&self, label: &KeyLabel, purpose: Purpose) -> PathBuf {
        self.folder.join(match purpose {
            Purpose::Identity => format!("{label}.p256.pem"),
            Purpose::Wrapping => format!("{label}.aes256"),
        })
    }

    /// What the key is for: its file's name says so.
    pub(super) fn purpose(&self, label: &KeyLabel) -> Result<Purpose, RootError> {
        self.check()?;
        for purpose in PURPOSES {
            let path = self.path(label, purpose);
            if path
                .try_exists()
                .map_err(|source| RootError::KeyFile { path, source })?
            {
                return Ok(purpose);
            }
        }
        Err(RootError::KeyMissing { label: label.clone() })
    }

    pub(super) fn identity(&self, label: &KeyLabel) -> Result<SigningKey, RootError> {
        let (path, bytes) = self.read(label, Purpose::Identity)?;
        let pem = std::str::from_utf8(bytes.expose()).ok();
        pem.and_then(|pem| SigningKey::from_pkcs8_pem(pem).ok())
            .ok_or(RootError::KeyFileDamaged { path })
    }

    pub(super) fn wrapping(&self, label: &KeyLabel) -> Result<Secret<SECRET_BYTES>, RootError> {
        let (path, bytes) = self.read(label, Purpose::Wrapping)?;
        Secret::copy_from(bytes.expose()).map_err(|_| RootError::KeyFileDamaged { path })
    }

    pub(super) fn put_identity(&self, label: &KeyLabel, key: &SigningKey) -> Result<(), RootError> {
        let pem = key.to_pkcs8_pem(LineEnding::LF);
        let pem = pem.map_err(|_| RootError::KeyFileDamaged {
            path: self.path(label, Purpose::Identity),
        })?;
        self.put(label, Purpose::Identity, pem.as_bytes())
    }

    pub(super) fn put_wrapping(&self, label: &KeyLabel, key: &Secret<SECRET_BYTES>) -> Result<(), RootError> {
        self.put(label, Purpose::Wrapping, key.expose())
    }

    /// Overwrites the key before its file is removed. On a journaling or flash file system that is no promise.
    pub(super) fn destroy(&self, label: &KeyLabel) -> Result<(), RootError> {
        let path = self.path(label, self.purpose(label)?);
        let remove = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).open(&path)?;
            let length = usize::try_from(file.metadata()?.len().min(KEY_FILE_BYTES_MAX)).unwrap_or_default();
            file.write_all(&vec![0; length])?;
            file.sync_all()?;
            fs::remove_file(&path)?;
            File::open(&self.folder)?.sync_all()
        };
        remove().map_err(|source| RootError::KeyFile {
            path: path.clone(),
            source,
        })?;
        match self.purpose(label) {
            Err(RootError::KeyMissing { .. }) => Ok(()),
            Ok(_) => Err(RootError::StillThere { label: label.clone() }),
            Err(error) => Err(error),
        }
    }

    fn read(&self, label: &KeyLabel, purpose: Purpose) -> Result<(PathBuf, SecretBytes), RootError> {
        let path = self.path(label, purpose);
        let read = || -> io::Result<(u32, Vec<u8>)> {
            let file = File::open(&path)?;
            let metadata = file.metadata()?;
            // Room for all of it from the start: growing would leave copies of the key behind.
            let room = metadata.len().min(KEY_FILE_BYTES_MAX).saturating_add(1);
            let mut bytes = Vec::with_capacity(usize::try_from(room).unwrap_or_default());
            file.take(KEY_FILE_BYTES_MAX).read_to_end(&mut bytes)?;
            Ok((metadata.mode(), bytes))
        };
        let (mode, bytes) = read().map_err(|source| RootError::KeyFile {
            path: path.clone(),
            source,
        })?;
        let bytes = SecretBytes::from_vec(bytes);
        closed_to_others(&path, mode)?;
        Ok((path, bytes))
    }

    fn put(&self, label: &KeyLabel, purpose: Purpose, bytes: &[u8]) -> Result<(), RootError> {
        match self.purpose(label) {
            Err(RootError::KeyMissing { .. }) => {}
            Ok(_) => return Err(RootError::KeyExists { label: label.clone() }),
            Err(error) => return Err(error),
        }
        let path = self.path(label, purpose);
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => RootError::KeyExists { label: label.clone() },
            _ => RootError::KeyFile { path, source },
        })
    }
}

fn closed_to_others(path: &Path, mode: u32) -> Result<(), RootError> {
    if mode & OTHERS == 0 {
        return Ok(());
    }
    Err(RootError::KeyFileOpenToOthers {
        path: path.to_owned(),
        mode: mode & 0o777,
    })
}
