//! Owns the seam between the agent's memory and the disk: small files, each replaced whole, on the disk when the call
//! returns. The simulation puts files behind it that are lost with the power, or have no room.
//!
//! Must not: know what is in them.

use std::fmt;
use std::path::PathBuf;

use reeve_common::durable_file::{self, FileError, PRIVATE_FILE};

/// The largest state file read: all tombstones an agent takes, each with the longest reason, are about half of it. A
/// larger one was not written by an agent.
const FILE_LENGTH_MAX: u64 = 16 << 20;

/// Where an agent's small files are.
pub trait StateFiles: fmt::Debug + Send + Sync + 'static {
    /// What a file holds; none when there is no such file.
    ///
    /// # Errors
    /// [`FileError`] when it is there and cannot be read.
    fn read(&self, name: &str) -> Result<Option<String>, FileError>;

    /// Replaces a file, whole or not at all, durably when this returns.
    ///
    /// # Errors
    /// [`FileError`]; the file is as it was then.
    fn replace(&self, name: &str, contents: &[u8]) -> Result<(), FileError>;

    /// Where it is, for messages.
    fn place(&self) -> PathBuf;
}

/// Files in a directory.
#[derive(Debug)]
pub struct FilesInDirectory(pub PathBuf);

impl StateFiles for FilesInDirectory {
    fn read(&self, name: &str) -> Result<Option<String>, FileError> {
        match durable_file::read(&self.0.join(name), FILE_LENGTH_MAX) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn replace(&self, name: &str, contents: &[u8]) -> Result<(), FileError> {
        durable_file::write(&self.0.join(name), contents, PRIVATE_FILE)
    }

    fn place(&self) -> PathBuf {
        self.0.clone()
    }
}
