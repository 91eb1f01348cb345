//! Owns the first step of a coordinator's life: its certificate authority and its empty store, made once and never
//! made over.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use reeve_common::clock::Timestamp;
use reeve_common::tls::CaFingerprint;

use crate::config::CoordinatorConfig;
use crate::pki::{Authority, AuthorityError};
use crate::store::{OpenError, SqliteStore};

/// The state directory is the service's alone.
pub(crate) const STATE_DIRECTORY_MODE: u32 = 0o700;

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum InitialiseError {
    /// It was done before.
    #[error("{} is there already: this coordinator is initialised; to begin anew, move {} away first (hosts must join again then)", found.display(), directory.display())]
    AlreadyDone {
        /// What was found.
        found: PathBuf,
        /// The state directory.
        directory: PathBuf,
    },
    /// The state directory cannot be made.
    #[error("the state directory {} cannot be made: run this as the user the coordinator runs as, or as root", directory.display())]
    Directory {
        /// Which.
        directory: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The authority cannot be made.
    #[error("the certificate authority cannot be made")]
    Authority(#[from] AuthorityError),
    /// The store cannot be made.
    #[error("the store cannot be made")]
    Store(#[from] OpenError),
}

/// Makes the certificate authority and the store of a new coordinator.
///
/// # Errors
/// [`InitialiseError`]; what is there already is never touched.
pub fn initialise(config: &CoordinatorConfig, now: Timestamp) -> Result<CaFingerprint, InitialiseError> {
    let directory = &config.state_directory;
    for found in [config.pki_directory(), config.store_path()] {
        if found.exists() {
            return Err(InitialiseError::AlreadyDone { found, directory: directory.clone() });
        }
    }
    DirBuilder::new()
        .recursive(true)
        .mode(STATE_DIRECTORY_MODE)
        .create(directory)
        .map_err(|source| InitialiseError::Directory { directory: directory.clone(), source })?;
    SqliteStore::create(&config.store_path())?;
    let authority = Authority::create(&config.pki_directory(), now)?;
    Ok(authority.fingerprint())
}
