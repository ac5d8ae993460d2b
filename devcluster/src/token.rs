//! PKCS#11 tokens for a local cluster: one SoftHSM token a node, each in a folder of its own.
//!
//! `softhsm2-util` takes PINs on its command line (its prompt needs a terminal), so that for a moment other users of this
//! machine can see them. That is why this is for development: in production a token is initialised by its owner.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rand::distr::{Alphanumeric, SampleString};
use zeroize::Zeroizing;

use crate::command::{CommandError, Step};
use crate::paths::Paths;

/// The variable that names SoftHSM's configuration; one process sees one folder of tokens.
pub(crate) const SOFTHSM_VARIABLE: &str = "SOFTHSM2_CONF";

/// Overrides where SoftHSM's module is looked for.
const MODULE_VARIABLE: &str = "SOFTHSM2_MODULE";

/// Where distributions put the module.
const MODULES: [&str; 5] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

/// A PIN: long enough that the leak scan cannot meet it by chance.
const PIN_CHARACTERS: usize = 24;

/// Why a token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// SoftHSM's module is not there.
    #[error(
        "SoftHSM is not installed (no libsofthsm2.so); `apt-get install softhsm2`, or name the module in {MODULE_VARIABLE}"
    )]
    NotInstalled,
    /// `softhsm2-util` failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A file could not be written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Where SoftHSM's module lies.
pub(crate) fn module() -> Result<PathBuf, TokenError> {
    let named = std::env::var_os(MODULE_VARIABLE).map(PathBuf::from);
    let places = named.map_or_else(|| MODULES.map(PathBuf::from).to_vec(), |named| vec![named]);
    places
        .into_iter()
        .find(|path| path.is_file())
        .ok_or(TokenError::NotInstalled)
}

/// The label of a node's token.
pub(crate) fn label(node: u16) -> String {
    format!("symbolon-node-{node}")
}

/// Makes a node's token, its configuration and its PIN file.
pub(crate) async fn initialise(paths: &Paths, node: u16) -> Result<(), TokenError> {
    let folder = paths.token(node);
    fs::create_dir_all(&folder).map_err(|source| TokenError::File {
        path: folder.clone(),
        source,
    })?;
    let conf = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
        folder.display()
    );
    write_private(&paths.softhsm_conf(node), conf.as_bytes())?;
    // Whoever has the security officer's PIN can reset the user's, but cannot use the keys; nobody needs it again.
    let officer = draw_pin();
    let user = draw_pin();
    write_private(&paths.pin(node), user.as_bytes())?;
    let label = label(node);
    let util = Path::new("softhsm2-util");
    let step = Step::new(util)
        .arg("--init-token")
        .arg("--free")
        .arg("--label")
        .arg(&label);
    let (officer_arg, user_arg) = (
        Zeroizing::new(format!("--so-pin={}", *officer)),
        Zeroizing::new(format!("--pin={}", *user)),
    );
    step.secret(&officer_arg)
        .secret(&user_arg)
        .variable(SOFTHSM_VARIABLE, paths.softhsm_conf(node))
        .run()
        .await?;
    Ok(())
}

fn draw_pin() -> Zeroizing<String> {
    Zeroizing::new(Alphanumeric.sample_string(&mut rand::rng(), PIN_CHARACTERS))
}

/// Writes a new file that only its owner may read.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<(), TokenError> {
    let failed = |source| TokenError::File {
        path: path.to_path_buf(),
        source,
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.write_all(content).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_file_is_readable_by_its_owner_only_and_never_overwritten() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pin");
        write_private(&path, b"1").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(write_private(&path, b"2").is_err());
    }
}
