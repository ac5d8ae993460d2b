//! Folders that outlive a power cut: a name is durable once the folder that holds it was synced.

use std::path::Path;

use symbolon_consensus::StoreFault;

use super::fault::file;

/// Makes a directory's entries durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), StoreFault> {
    std::fs::File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(file("syncing a directory"))
}

/// Makes a directory and those above it that are missing, each durably.
pub(crate) fn make_durably(path: &Path) -> Result<(), StoreFault> {
    let missing: Vec<&Path> = path.ancestors().take_while(|one| !one.exists()).collect();
    std::fs::create_dir_all(path).map_err(file("creating a directory"))?;
    for made in missing {
        match made.parent() {
            Some(above) if above.as_os_str().is_empty() => sync_directory(Path::new("."))?,
            Some(above) => sync_directory(above)?,
            None => {}
        }
    }
    Ok(())
}
