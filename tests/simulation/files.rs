//! Owns a simulated host's small files: what was replaced is on the disk, and outlives agents and power.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reeve_agent::lease_file::LeaseFile;
use reeve_agent::state_files::StateFiles;
use reeve_common::durable_file::FileError;

/// What a lease's file is called among the others.
const LEASE: &str = "lease.json";

/// A host's small files.
#[derive(Debug, Default)]
pub struct Files {
    files: Mutex<BTreeMap<String, String>>,
    full: AtomicBool,
    slow: AtomicBool,
}

impl Files {
    /// Fills the disk, or makes room.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    /// Makes the disk slow, or quick again.
    pub fn set_slow(&self, slow: bool) {
        self.slow.store(slow, Ordering::Relaxed);
    }

    pub(super) fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed)
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        if self.full.load(Ordering::Relaxed) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let text = String::from_utf8_lossy(contents).into_owned();
        self.files().insert(name.to_owned(), text);
        Ok(())
    }
}

impl StateFiles for Files {
    fn read(&self, name: &str) -> Result<Option<String>, FileError> {
        Ok(self.files().get(name).cloned())
    }

    fn replace(&self, name: &str, contents: &[u8]) -> Result<(), FileError> {
        let path = self.place().join(name);
        self.write(name, contents).map_err(|source| FileError::Io { path, doing: "writing", source })
    }

    fn place(&self) -> PathBuf {
        PathBuf::from("the simulated disk")
    }
}

/// The lease among a host's files.
#[derive(Debug)]
pub struct LeaseAmong(pub Arc<Files>);

impl LeaseFile for LeaseAmong {
    fn read(&self) -> io::Result<Option<String>> {
        Ok(self.0.files().get(LEASE).cloned())
    }

    fn replace(&self, contents: &[u8]) -> io::Result<()> {
        self.0.write(LEASE, contents)
    }

    fn remove(&self) -> io::Result<()> {
        self.0.files().remove(LEASE);
        Ok(())
    }

    fn place(&self) -> String {
        "the simulated lease".to_owned()
    }
}
