//! Who a client is: a principal with a registered P-256 key, kept in a file that only its owner may read.
//!
//! ```toml
//! version = 1
//! principal = "<32 hex>"
//! name = "spiffe://acme/billing-bot"
//! client_secret = "<64 hex>"
//! key = """
//! -----BEGIN PRIVATE KEY-----
//! …
//! -----END PRIVATE KEY-----
//! """
//! ```
//!
//! The same key authenticates connections and signs commands; labels keep the two uses apart. The client secret hedges
//! what is drawn for writes (custody.md, "Hedged randomness"); it is made with the identity and never leaves the file.

use crate::error::Error;
use crate::limits::IDENTITY_FILE_BYTES_MAX;
use pem_rfc7468::LineEnding;
use rand::CryptoRng;
use serde::Deserialize;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use symbolon_crypto::Hash;
use symbolon_crypto::hedge::Hedge;
use symbolon_crypto::provider::AwsLcSigningKey;
use symbolon_crypto::secret::{Secret, SecretBytes};
use symbolon_crypto::sign::{P256Signature, Sign, SignError, SigningKey, VerifyingKey};
use symbolon_wire::Code;
use symbolon_wire::ids::PrincipalId;
use symbolon_wire::path::{BadPath, SpiffeId};
use zeroize::{Zeroize, Zeroizing};

/// The version of the file's form.
const FILE_VERSION: u32 = 1;

const PEM_LABEL: &str = "PRIVATE KEY";

/// An identity file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Reading or writing failed.
    #[error("{} cannot be {doing}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// "read" or "written".
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Not a regular file.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// Others may read or write it.
    #[error("{} may be read or written by others (mode {mode:04o})", path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Larger than any identity.
    #[error("{} has {bytes} bytes; an identity has at most {IDENTITY_FILE_BYTES_MAX}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// It exists and is not to be overwritten.
    #[error("{} exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Not TOML, a key missing or one too many. Says nothing of the content.
    #[error("{} is not an identity file: keys version, principal, name, client_secret and key are needed, no others", path.display())]
    Form {
        /// The file.
        path: PathBuf,
    },
    /// A version that this build does not know.
    #[error("{} is of version {found}; this build knows version {FILE_VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
    /// A field that does not parse. Says nothing of its content.
    #[error("{}: '{field}' does not have its form", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// Which.
        field: &'static str,
    },
    /// The key does not work.
    #[error("the key cannot be used")]
    Key,
}

impl From<IdentityError> for Error {
    fn from(error: IdentityError) -> Self {
        let next = match &error {
            IdentityError::OpenToOthers { path, .. }
                if path.extension().is_some_and(|extension| extension == "pub") =>
            {
                Some(format!(
                    "that is the public half; the identity is {}",
                    path.with_extension("").display()
                ))
            }
            IdentityError::OpenToOthers { path, .. } => Some(format!("chmod 600 {}", path.display())),
            IdentityError::Io {
                source, doing: "read", ..
            } if source.kind() == io::ErrorKind::NotFound => Some("symbolon identity new".to_owned()),
            _ => None,
        };
        let told = Self::new(Code::Local, error.to_string());
        match next {
            Some(next) => told.next(next),
            None => told,
        }
    }
}

/// Whether [`Identity::save`] may replace a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// It must not exist.
    Never,
    /// What is there is replaced, atomically.
    Replace,
}

/// A principal and its key.
pub struct Identity {
    principal: PrincipalId,
    name: SpiffeId,
    key: SigningKey,
    signer: AwsLcSigningKey,
    fingerprint: Hash,
    client_secret: Secret<32>,
    hedge: Hedge,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    version: u32,
    principal: String,
    name: String,
    client_secret: String,
    key: String,
}

impl Drop for FileForm {
    fn drop(&mut self) {
        self.client_secret.zeroize();
        self.key.zeroize();
    }
}

impl Identity {
    /// Draws id, key and client secret for a principal of this name, which is a SPIFFE ID.
    ///
    /// # Errors
    /// [`BadPath`] if the name is none.
    pub fn generate(name: &str, rng: &mut (impl CryptoRng + ?Sized)) -> Result<Self, BadPath> {
        let name = SpiffeId::parse(name)?;
        let mut id = [0; 16];
        rng.fill_bytes(&mut id);
        loop {
            // aws-lc takes every key that the first library draws; the loop only spares an error that cannot occur.
            let (key, secret) = (SigningKey::generate(rng), Secret::random(rng));
            if let Ok(identity) = Self::assemble(PrincipalId(id), name.clone(), key, secret) {
                return Ok(identity);
            }
        }
    }

    /// The same key under another id: the one that its name is registered under.
    #[must_use]
    pub fn registered_as(self, principal: PrincipalId) -> Self {
        Self { principal, ..self }
    }

    fn assemble(
        principal: PrincipalId,
        name: SpiffeId,
        key: SigningKey,
        client_secret: Secret<32>,
    ) -> Result<Self, IdentityError> {
        let signer = AwsLcSigningKey::new(&key).map_err(|_| IdentityError::Key)?;
        let hedge = Hedge::new(Secret::fill(|bytes| bytes.copy_from_slice(client_secret.expose())));
        Ok(Self {
            principal,
            name,
            fingerprint: key.verifying_key().fingerprint(),
            key,
            signer,
            client_secret,
            hedge,
        })
    }

    /// Reads an identity file. A file that anyone but its owner may touch is refused.
    ///
    /// # Errors
    /// [`IdentityError`], by defect; never with the file's content.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let io = |source| IdentityError::Io {
            path: path.to_owned(),
            doing: "read",
            source,
        };
        let file = File::open(path).map_err(io)?;
        let meta = file.metadata().map_err(io)?;
        if !meta.is_file() {
            return Err(IdentityError::NotAFile { path: path.to_owned() });
        }
        if meta.mode() & 0o077 != 0 {
            return Err(IdentityError::OpenToOthers {
                path: path.to_owned(),
                mode: meta.mode() & 0o7777,
            });
        }
        if meta.len() > IDENTITY_FILE_BYTES_MAX as u64 {
            return Err(IdentityError::TooLarge {
                path: path.to_owned(),
                bytes: meta.len(),
            });
        }
        // One allocation that never grows, so that no copy stays behind.
        let mut text = Zeroizing::new(String::with_capacity(IDENTITY_FILE_BYTES_MAX));
        file.take(IDENTITY_FILE_BYTES_MAX as u64)
            .read_to_string(&mut text)
            .map_err(io)?;
        Self::from_text(&text, path)
    }

    fn from_text(text: &str, path: &Path) -> Result<Self, IdentityError> {
        let field = |field| IdentityError::Field {
            path: path.to_owned(),
            field,
        };
        let form: FileForm = toml::from_str(text).map_err(|_| IdentityError::Form { path: path.to_owned() })?;
        if form.version != FILE_VERSION {
            return Err(IdentityError::Version {
                path: path.to_owned(),
                found: form.version,
            });
        }
        let mut id = [0; 16];
        hex::decode_to_slice(&form.principal, &mut id).map_err(|_| field("principal"))?;
        let name = SpiffeId::parse(&form.name).map_err(|_| field("name"))?;
        let client_secret = Secret::try_fill(|bytes: &mut [u8; 32]| hex::decode_to_slice(&form.client_secret, bytes))
            .map_err(|_| field("client_secret"))?;
        let (label, der) = pem_rfc7468::decode_vec(form.key.as_bytes()).map_err(|_| field("key"))?;
        let der = SecretBytes::from_vec(der);
        if label != PEM_LABEL {
            return Err(field("key"));
        }
        let key = SigningKey::from_pkcs8_der(der.expose()).map_err(|_| field("key"))?;
        Self::assemble(PrincipalId(id), name, key, client_secret)
    }

    /// Writes the file with mode 0600, whole or not at all.
    ///
    /// # Errors
    /// [`IdentityError::Exists`], [`IdentityError::Io`] or [`IdentityError::Key`].
    pub fn save(&self, path: &Path, overwrite: Overwrite) -> Result<(), IdentityError> {
        let io = |source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => IdentityError::Exists { path: path.to_owned() },
            _ => IdentityError::Io {
                path: path.to_owned(),
                doing: "written",
                source,
            },
        };
        let text = self.to_text()?;
        let write = |to: &Path| -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        if overwrite == Overwrite::Never {
            return write(path).map_err(io);
        }
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}.new", hex::encode(rand::random::<[u8; 8]>())));
        let beside = PathBuf::from(beside);
        let replaced = write(&beside).and_then(|()| std::fs::rename(&beside, path));
        replaced.map_err(|source| {
            // Nothing half written stays behind; that it cannot be removed changes nothing about the failure.
            let _ = std::fs::remove_file(&beside);
            io(source)
        })
    }

    fn to_text(&self) -> Result<Zeroizing<String>, IdentityError> {
        let der = self.key.to_pkcs8_der().map_err(|_| IdentityError::Key)?;
        let pem =
            pem_rfc7468::encode_string(PEM_LABEL, LineEnding::LF, der.expose()).map_err(|_| IdentityError::Key)?;
        let pem = Zeroizing::new(pem);
        let secret = Zeroizing::new(hex::encode(self.client_secret.expose()));
        Ok(Zeroizing::new(format!(
            "version = {FILE_VERSION}\nprincipal = \"{}\"\nname = \"{}\"\nclient_secret = \"{}\"\nkey = \"\"\"\n{}\"\"\"\n",
            self.principal,
            self.name,
            secret.as_str(),
            pem.as_str(),
        )))
    }

    /// Its id.
    #[must_use]
    pub fn principal(&self) -> PrincipalId {
        self.principal
    }

    /// Its SPIFFE ID.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Its public key, DER SubjectPublicKeyInfo.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        self.verifying_key().spki()
    }

    /// Its public key.
    #[must_use]
    pub fn verifying_key(&self) -> &VerifyingKey {
        self.key.verifying_key()
    }

    /// The client key: SHA-256 of the public key.
    #[must_use]
    pub fn fingerprint(&self) -> &Hash {
        &self.fingerprint
    }

    /// Signs SHA-256 of `message`.
    ///
    /// # Errors
    /// [`SignError`] if the library fails.
    pub fn sign(&self, message: &[u8]) -> Result<P256Signature, SignError> {
        self.signer.sign(message)
    }

    pub(crate) fn hedge(&self) -> &Hedge {
        &self.hedge
    }

    pub(crate) fn pkcs8(&self) -> Result<SecretBytes, IdentityError> {
        self.key.to_pkcs8_der().map_err(|_| IdentityError::Key)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("principal", &self.principal)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity::generate("spiffe://acme/billing-bot", &mut rand::rng()).unwrap()
    }

    fn saved() -> (tempfile::TempDir, PathBuf, Identity) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bot.identity");
        let identity = identity();
        identity.save(&path, Overwrite::Never).unwrap();
        (folder, path, identity)
    }

    fn change(path: &Path, from: &str, to: &str) {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }

    #[test]
    fn an_identity_survives_its_file() {
        let (_folder, path, identity) = saved();
        let again = Identity::load(&path).unwrap();
        assert_eq!(again.principal(), identity.principal());
        assert_eq!(again.name(), "spiffe://acme/billing-bot");
        assert_eq!(again.spki(), identity.spki());
        assert!(again.client_secret.ct_eq(&identity.client_secret));
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_with_the_remedy() {
        let (_folder, path, _) = saved();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = Identity::load(&path).unwrap_err();
            assert!(matches!(error, IdentityError::OpenToOthers { mode: found, .. } if found == mode));
            assert_eq!(Error::from(error).next, Some(format!("chmod 600 {}", path.display())));
        }
    }

    #[test]
    fn a_file_is_never_overwritten_unless_asked() {
        let (_folder, path, first) = saved();
        let second = identity();
        assert!(matches!(
            second.save(&path, Overwrite::Never),
            Err(IdentityError::Exists { .. })
        ));
        assert_eq!(Identity::load(&path).unwrap().principal(), first.principal());
        second.save(&path, Overwrite::Replace).unwrap();
        assert_eq!(Identity::load(&path).unwrap().principal(), second.principal());
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn neither_debug_nor_errors_show_the_key() {
        let (_folder, path, identity) = saved();
        let secret = hex::encode(identity.client_secret.expose());
        assert!(!format!("{identity:?}").contains(&secret));
        change(&path, &secret, &format!("{secret}00"));
        let error = Identity::load(&path).unwrap_err();
        assert!(matches!(
            error,
            IdentityError::Field {
                field: "client_secret",
                ..
            }
        ));
        assert!(!format!("{error:?} {error}").contains(&secret[..16]));
    }

    #[test]
    fn a_file_of_another_version_is_refused() {
        let (_folder, path, _) = saved();
        change(&path, "version = 1", "version = 2");
        assert!(matches!(
            Identity::load(&path),
            Err(IdentityError::Version { found: 2, .. })
        ));
    }

    #[test]
    fn an_unknown_key_and_a_missing_one_are_refused() {
        let (_folder, path, _) = saved();
        change(&path, "version = 1", "version = 1\nadmin = true");
        assert!(matches!(Identity::load(&path), Err(IdentityError::Form { .. })));
        change(&path, "admin = true\n", "");
        change(&path, "name = \"spiffe://acme/billing-bot\"\n", "");
        assert!(matches!(Identity::load(&path), Err(IdentityError::Form { .. })));
    }

    #[test]
    fn a_file_that_is_too_large_is_refused_before_it_is_read() {
        let (_folder, path, _) = saved();
        OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(IDENTITY_FILE_BYTES_MAX as u64 + 1)
            .unwrap();
        assert!(matches!(Identity::load(&path), Err(IdentityError::TooLarge { .. })));
    }

    #[test]
    fn a_folder_is_no_identity() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            Identity::load(folder.path()),
            Err(IdentityError::NotAFile { .. })
        ));
    }

    #[test]
    fn a_name_that_is_no_spiffe_id_is_refused() {
        for name in [
            "billing-bot",
            "spiffe://acme",
            "spiffe://acme/Bot",
            "spiffe://acme/../bot",
        ] {
            assert!(Identity::generate(name, &mut rand::rng()).is_err(), "{name}");
        }
    }
}
