//! The node's root of trust and the keys that it wraps (custody.md, "Root of trust and unseal"), in mode `token`.
//!
//! ```text
//! token     identity (ECDSA P-256), wrapping.0 (W_0, AES-256, only for AES key wrap)
//! keys      K_token under W_0; the state key under KEK = HKDF(K_token, cluster, node, generation 0)
//! barrier   E_0 and the X-Wing seed of epoch 0, each under W_0
//! ```
//!
//! Until the cluster is born there is no barrier: the seed waits, wrapped, in `keys`, and moves inside at first boot.

use crate::config::{Config, TokenConfig};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use symbolon_crypto::own;
use symbolon_crypto::sealing::SealingKeyPair;
use symbolon_crypto::secret::Secret;
use symbolon_hsm::{
    BadLabel, DevelopmentOnly, KeyLabel, Mode, Pin, Pkcs11Root, Purpose, RootError, RootOfTrust, SoftwareRoot,
    TokenSelector,
};
use symbolon_wire::ids::ClusterId;
use zeroize::Zeroizing;

/// Largest PIN file, bytes.
const PIN_BYTES_MAX: u64 = 4096;

/// Why the node cannot use its token or its key file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// The token.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A label of our own that the token layer refuses.
    #[error(transparent)]
    Label(#[from] BadLabel),
    /// The PIN cannot be read.
    #[error("the PIN cannot be read from {}: {reason}", path.display())]
    Pin {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// systemd gave no credentials.
    #[error(
        "pin_credential is set, but systemd gave this process no credentials (LoadCredential= in the unit). By hand: set \
         CREDENTIALS_DIRECTORY to a folder that holds the PIN in a file of that name"
    )]
    NoCredentials,
    /// The key file cannot be read or written.
    #[error("{}: {reason}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// The key file is not one.
    #[error("{} is damaged; restore it from a backup of this node", path.display())]
    KeyFileDamaged {
        /// The file.
        path: PathBuf,
    },
    /// The sealing seed has moved inside the barrier.
    #[error("{} is of a node that has run: it belongs to a cluster already, and its keys stay with it", path.display())]
    HasRun {
        /// The key file.
        path: PathBuf,
    },
    /// Keys without the file that goes with them.
    #[error(
        "the token holds keys of a node already, but {} is missing. Where that node has run, put its data back: symbolon-node restore. \
         For another node, or to begin anew, use an empty token", path.display()
    )]
    TokenInUse {
        /// The key file.
        path: PathBuf,
    },
    /// `prepare` was not run, or the data is lost.
    #[error(
        "{} is missing. A new node has to be prepared: symbolon-node prepare. One that has run before needs its data back: \
         symbolon-node restore", path.display()
    )]
    NotPrepared {
        /// The key file.
        path: PathBuf,
    },
    /// A wrapped key does not open: of another token, cluster or node.
    #[error("the state key does not open with this token: the data belongs to another token, cluster or node")]
    WrongToken,
    /// The operating system gave no randomness.
    #[error("the operating system gives no randomness: {reason}")]
    Randomness {
        /// What it says.
        reason: getrandom::Error,
    },
}

/// The token, with the labels of this node's keys.
pub(crate) struct Token {
    /// The root of trust.
    pub(crate) root: Arc<dyn RootOfTrust>,
    /// Label of the identity key.
    pub(crate) identity: KeyLabel,
    /// Label of W_0.
    pub(crate) wrapping: KeyLabel,
}

/// A generator seeded by the operating system.
pub(crate) fn rng() -> Result<ChaCha20Rng, TokenError> {
    let seed = random_secret()?;
    Ok(ChaCha20Rng::from_seed(*seed.expose()))
}

/// Makes the folder of a node's data, where it is not there: for its owner alone.
pub(crate) fn make_folder(data: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data)
}

/// 32 random bytes of the operating system.
pub(crate) fn random_secret() -> Result<Secret<32>, TokenError> {
    Secret::try_fill(|bytes: &mut [u8; 32]| getrandom::fill(bytes).map_err(|reason| TokenError::Randomness { reason }))
}

impl Token {
    /// Opens the configured token.
    pub(crate) fn open(config: &Config) -> Result<Self, TokenError> {
        let root: Arc<dyn RootOfTrust> = match &config.token {
            TokenConfig::Pkcs11 {
                module,
                label,
                pin_file,
                pin_credential,
            } => {
                let pin = read_pin(pin_file.as_deref(), pin_credential.as_deref())?;
                Arc::new(Pkcs11Root::open(module, &TokenSelector::Label(label.clone()), pin)?)
            }
            TokenConfig::Software { folder } => {
                let mode = if config.development {
                    Mode::Dev
                } else {
                    Mode::Production
                };
                Arc::new(SoftwareRoot::open(DevelopmentOnly::acknowledge(mode)?, folder)?)
            }
        };
        Ok(Self {
            root,
            identity: KeyLabel::new("identity")?,
            wrapping: KeyLabel::new("wrapping.0")?,
        })
    }

    /// Reads the attributes of both keys back: extractable, or fit for more than their purpose, and the node does not
    /// start.
    pub(crate) fn verify(&self) -> Result<(), TokenError> {
        self.root.verify_attributes(&self.identity, Purpose::Identity)?;
        self.root.verify_attributes(&self.wrapping, Purpose::Wrapping)?;
        Ok(())
    }

    /// Makes this node's keys, unless it did before: identity and W_0 in the token, the sealing seed wrapped in the key file.
    /// Returns the identity key (SubjectPublicKeyInfo) and the X-Wing public key.
    pub(crate) fn prepare(&self, data: &Path) -> Result<(Vec<u8>, Vec<u8>), TokenError> {
        let file = KeyFile::path(data);
        if file.exists() {
            let sealing = self.sealing_key(data)?;
            return Ok((self.root.public_key(&self.identity)?, sealing));
        }
        make_folder(data).map_err(|reason| TokenError::KeyFile {
            path: data.to_owned(),
            reason,
        })?;
        let identity = match self.root.generate_identity_key(&self.identity) {
            Err(RootError::KeyExists { .. }) => return Err(TokenError::TokenInUse { path: file }),
            made => made?,
        };
        self.root.generate_wrapping_key(&self.wrapping)?;
        let seed = random_secret()?;
        let sealing = SealingKeyPair::from_seed(&seed).public_key().to_bytes().to_vec();
        let wrapped = self.root.wrap(&self.wrapping, &seed)?;
        KeyFile {
            k_token: None,
            state_key: None,
            seed: Some(wrapped),
        }
        .write(data)?;
        Ok((identity, sealing))
    }

    /// The X-Wing public key that `prepare` made, while the seed still waits in the key file.
    pub(crate) fn sealing_key(&self, data: &Path) -> Result<Vec<u8>, TokenError> {
        let wrapped = KeyFile::read(data)?.seed.ok_or(TokenError::HasRun {
            path: KeyFile::path(data),
        })?;
        let seed = self.root.unwrap(&self.wrapping, &wrapped)?;
        Ok(SealingKeyPair::from_seed(&seed).public_key().to_bytes().to_vec())
    }

    /// The state key: unwrapped, or made at first boot.
    pub(crate) fn state_key(&self, data: &Path, cluster: ClusterId, node: u16) -> Result<Secret<32>, TokenError> {
        let mut file = KeyFile::read(data)?;
        if let (Some(k_token), Some(state_key)) = (&file.k_token, &file.state_key) {
            let k_token = match self.root.unwrap(&self.wrapping, k_token) {
                Err(RootError::WrappedRefused { .. }) => return Err(TokenError::WrongToken),
                k_token => k_token?,
            };
            let kek = own::kek(&k_token, None, cluster.bytes(), node, 0);
            return own::unwrap(&kek, state_key).map_err(|_| TokenError::WrongToken);
        }
        let (k_token, state_key) = (random_secret()?, random_secret()?);
        let kek = own::kek(&k_token, None, cluster.bytes(), node, 0);
        file.k_token = Some(self.root.wrap(&self.wrapping, &k_token)?);
        file.state_key = Some(own::wrap(&kek, &state_key).map_err(|_| TokenError::WrongToken)?);
        file.write(data)?;
        Ok(state_key)
    }
}

fn read_pin(file: Option<&Path>, credential: Option<&str>) -> Result<Pin, TokenError> {
    let path = match (file, credential) {
        (Some(file), _) => file.to_owned(),
        (None, Some(name)) => {
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or(TokenError::NoCredentials)?;
            PathBuf::from(folder).join(name)
        }
        (None, None) => return Err(TokenError::NoCredentials),
    };
    let failed = |reason| TokenError::Pin {
        path: path.clone(),
        reason,
    };
    if std::fs::metadata(&path).map_err(failed)?.len() > PIN_BYTES_MAX {
        return Err(failed(std::io::Error::other("the file is too large for a PIN")));
    }
    let text = Zeroizing::new(std::fs::read_to_string(&path).map_err(failed)?);
    Ok(Pin::new(text.trim_end_matches(['\n', '\r']).to_owned()))
}

type Wrapped = [u8; 40];

/// What must be readable before the barrier is open; all of it wrapped.
pub(crate) struct KeyFile {
    k_token: Option<Wrapped>,
    state_key: Option<Wrapped>,
    /// The sealing seed until it has moved inside the barrier.
    pub(crate) seed: Option<Wrapped>,
}

impl KeyFile {
    fn path(data: &Path) -> PathBuf {
        data.join("keys")
    }

    /// Reads the file: one `name hex` a line.
    pub(crate) fn read(data: &Path) -> Result<Self, TokenError> {
        let path = Self::path(data);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(reason) if reason.kind() == std::io::ErrorKind::NotFound => {
                return Err(TokenError::NotPrepared { path });
            }
            Err(reason) => return Err(TokenError::KeyFile { path, reason }),
        };
        let mut file = Self {
            k_token: None,
            state_key: None,
            seed: None,
        };
        for line in text.lines().filter(|line| !line.is_empty()) {
            let damaged = || TokenError::KeyFileDamaged { path: path.clone() };
            let (name, value) = line.split_once(' ').ok_or_else(damaged)?;
            let bytes = hex::decode(value)
                .ok()
                .and_then(|bytes| Wrapped::try_from(bytes).ok())
                .ok_or_else(damaged)?;
            match name {
                "k_token" => file.k_token = Some(bytes),
                "state_key" => file.state_key = Some(bytes),
                "seed" => file.seed = Some(bytes),
                _ => return Err(damaged()),
            }
        }
        Ok(file)
    }

    /// Replaces the file: written beside, synced, renamed, folder synced.
    pub(crate) fn write(&self, data: &Path) -> Result<(), TokenError> {
        let path = Self::path(data);
        let failed = |reason| TokenError::KeyFile {
            path: path.clone(),
            reason,
        };
        let mut text = String::new();
        for (name, value) in [
            ("k_token", &self.k_token),
            ("state_key", &self.state_key),
            ("seed", &self.seed),
        ] {
            if let Some(value) = value {
                text.push_str(&format!("{name} {}\n", hex::encode(value)));
            }
        }
        let fresh = data.join("keys.new");
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)
            .map_err(failed)?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
        std::fs::rename(&fresh, &path).map_err(failed)?;
        std::fs::File::open(data)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)
    }
}
