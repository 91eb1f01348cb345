//! Owns `reeve-coordinator backup`.

use std::path::Path;

use reeve_common::clock::Timestamp;
use zeroize::Zeroizing;

use super::{MADE_AT, RELEASE};
use crate::config::CoordinatorConfig;
use crate::pki::{Authority, AuthorityError};
use crate::store::{Attachment, BackupError, back_up};

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The authority cannot be read.
    #[error("the certificate authority cannot be saved")]
    Authority(#[from] AuthorityError),
    /// The store cannot be copied.
    #[error("the store cannot be saved")]
    Backup(#[from] BackupError),
}

/// Saves the store and the certificate authority into a new file, while a coordinator runs or not.
///
/// # Errors
/// [`SaveError`]; nothing is left at `target` then.
pub fn save(config: &CoordinatorConfig, target: &Path, now: Timestamp) -> Result<(), SaveError> {
    // What is saved is what can be used: an authority that is spoilt is said now and not when it is needed.
    Authority::open(&config.pki_directory(), now)?;
    let mut attachments: Vec<Attachment> = Authority::export(&config.pki_directory())?;
    attachments.push((MADE_AT.to_owned(), Zeroizing::new(now.0.to_string())));
    attachments.push((RELEASE.to_owned(), Zeroizing::new(env!("CARGO_PKG_VERSION").to_owned())));
    back_up(&config.store_path(), target, &attachments)?;
    Ok(())
}
