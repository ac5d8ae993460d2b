//! Where the programs are.

use std::env;
use std::path::{Path, PathBuf};

/// Names a folder that holds both programs, before any other place.
pub const FOLDER_VARIABLE: &str = "SYMBOLON_BIN";

/// A program was not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no program {name} in {}; build it (`make build`; one that lies: `make sabotaged`) or name its folder in {FOLDER_VARIABLE}",
    looked_in.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
)]
pub struct NotFound {
    /// Its name.
    pub name: &'static str,
    /// Where it was looked for.
    pub looked_in: Vec<PathBuf>,
}

/// The two programs that a cluster is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// The member daemon, `symbolon-node`.
    pub node: PathBuf,
    /// The command, `symbolon`.
    pub cli: PathBuf,
}

impl Binaries {
    /// Looks in the folder that `SYMBOLON_BIN` names; beside the running program; in the workspace's target folder, if
    /// Cargo runs a test; and in `PATH`.
    ///
    /// # Errors
    /// [`NotFound`].
    pub fn find() -> Result<Self, NotFound> {
        let folders = folders();
        Ok(Self {
            node: find("symbolon-node", &folders)?,
            cli: find("symbolon", &folders)?,
        })
    }

    /// The member daemon with lies compiled in, where `make sabotaged` puts it.
    ///
    /// # Errors
    /// [`NotFound`].
    pub fn find_sabotaged_node() -> Result<PathBuf, NotFound> {
        let sabotaged = |folder: &PathBuf| Some(folder.parent()?.join("sabotaged").join(folder.file_name()?));
        let folders: Vec<PathBuf> = folders().iter().filter_map(sabotaged).collect();
        find("symbolon-node", &folders)
    }
}

fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = env::var_os(FOLDER_VARIABLE).map(PathBuf::from).into_iter().collect();
    let beside = env::current_exe()
        .ok()
        .and_then(|exe| exe.parent().map(Path::to_path_buf));
    // A test runs from `deps/` of the build folder, while finished programs lie in the target folder of the checkout.
    let target = env::var_os("CARGO_MANIFEST_DIR").map(|package| Path::new(&package).join("..").join("target"));
    let profile = beside
        .as_deref()
        .filter(|folder| folder.ends_with("deps"))
        .and_then(Path::parent);
    let profile = profile.and_then(Path::file_name).map(PathBuf::from);
    let in_target = target.zip(profile).map(|(target, profile)| target.join(profile));
    folders.extend(beside);
    folders.extend(in_target);
    folders.extend(env::var_os("PATH").iter().flat_map(env::split_paths));
    folders
}

fn find(name: &'static str, folders: &[PathBuf]) -> Result<PathBuf, NotFound> {
    let found = folders
        .iter()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    found.ok_or_else(|| NotFound {
        name,
        looked_in: folders.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_the_places_and_the_way_to_build_it() {
        let error = find("symbolon-node", &["/nowhere".into()]).unwrap_err().to_string();
        assert!(
            error.contains("symbolon-node in /nowhere") && error.contains("make build"),
            "{error}"
        );
    }
}
