//! Owns the state file of a simulated host: one JSON document, replaced whole.
//!
//! Must not: be used for anything that matters. Real domains are kept by libvirt.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::world::World;

/// Why the state file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// It cannot be read or written.
    #[error("the simulated host's state file {} cannot be used", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It holds something else.
    #[error("the simulated host's state file {} holds something else; remove it to start with an empty host", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// Reads the state; a file that is not there is an empty host.
pub(super) fn load(path: &Path) -> Result<World, StateFileError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|source| StateFileError::Content { path: path.to_owned(), source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(World::default()),
        Err(source) => Err(StateFileError::File { path: path.to_owned(), source }),
    }
}

/// Writes the state beside the file and renames it over, so that a kill leaves the old or the new one. It is not
/// synchronised to the disk: a simulated guest does not outlive the machine.
pub(super) fn save(path: &Path, world: &World) -> Result<(), StateFileError> {
    let write = || -> io::Result<()> {
        let beside = path.with_extension("new");
        let mut file = fs::File::create(&beside)?;
        file.write_all(&serde_json::to_vec_pretty(world)?)?;
        fs::rename(&beside, path)
    };
    write().map_err(|source| StateFileError::File { path: path.to_owned(), source })
}
