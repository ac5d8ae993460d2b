//! SoftHSM, the token of development clusters and tests: where its module lies, and what its configuration says.
//!
//! SoftHSM reads the file named by the environment variable [`CONFIGURATION_VARIABLE`] once, when it is first used: one
//! process has one folder of tokens.

use std::{
    env,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// Names the configuration file; SoftHSM's own variable.
pub const CONFIGURATION_VARIABLE: &str = "SOFTHSM2_CONF";

/// Names the module where it does not lie in a usual place.
pub const MODULE_VARIABLE: &str = "SOFTHSM2_MODULE";

/// Where distributions put the module.
const USUAL_PLACES: [&str; 6] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
];

/// SoftHSM is not installed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "SoftHSM is not installed: no libsofthsm2.so in {}. \
     Install it with `apt-get install softhsm2`, or name the file in {MODULE_VARIABLE}",
    list(looked_at)
)]
pub struct NotInstalled {
    /// Where it was looked for.
    pub looked_at: Vec<PathBuf>,
}

fn list(places: &[PathBuf]) -> String {
    places
        .iter()
        .map(|place| place.display().to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

/// Where the module lies.
///
/// # Errors
/// [`NotInstalled`].
pub fn module() -> Result<PathBuf, NotInstalled> {
    match env::var_os(MODULE_VARIABLE) {
        Some(named) => first_file(vec![named.into()]),
        None => first_file(USUAL_PLACES.map(PathBuf::from).into()),
    }
}

fn first_file(places: Vec<PathBuf>) -> Result<PathBuf, NotInstalled> {
    match places.iter().find(|place| place.is_file()) {
        Some(place) => Ok(place.clone()),
        None => Err(NotInstalled { looked_at: places }),
    }
}

/// The text of a configuration that keeps tokens in `folder`, which must exist.
#[must_use]
pub fn configuration(folder: &Path) -> String {
    format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
        folder.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_module_is_told_with_the_way_to_install_it() {
        let error = first_file(vec!["/nowhere/libsofthsm2.so".into()])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("/nowhere/libsofthsm2.so") && error.contains("apt-get install softhsm2"),
            "{error}"
        );
    }
}
