//! Owns the lock that keeps a second process from opening the same store.
//!
//! It is a file of its own beside the store: SQLite's own locks let a second process in, and a lock on the store's file
//! itself would be lost when SQLite closes one of its descriptors. The kernel frees it when the process ends, however
//! it ends; the file stays.
//!
//! What stands in it says besides whether the store was closed, so that a log that has vanished is missed:
//!
//! ```text
//!   "PID" ── the log is there ──▶ "PID open" ── the log was carried over and removed ──▶ "PID"
//! ```

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::beside;
use super::schema::OpenError;

/// A process id, a word and a newline; what is longer was not written by us.
const HOLDER_LENGTH_MAX: u64 = 32;
/// Stands after the process id as long as the store has a log that it cannot do without.
const OPEN: &str = " open";

/// Held as long as the store is open.
#[derive(Debug)]
pub struct StoreLock {
    file: Flock<File>,
    /// The store's log.
    log: PathBuf,
}

impl StoreLock {
    /// Takes the lock of the store at `path`, or says which process has it.
    ///
    /// # Errors
    /// [`OpenError`] when another process has it, or the store's log is missing.
    pub fn take(path: &Path) -> Result<Self, OpenError> {
        let lock_path = beside(path, ".lock");
        let failed = |source| OpenError::Lock { path: lock_path.clone(), source };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut locked) => {
                let log = beside(path, "-wal");
                let was_open = read_text(&locked).trim_end().ends_with(OPEN);
                if was_open && !log.exists() {
                    return Err(OpenError::MissingLog { path: path.to_owned(), lock: lock_path });
                }
                if !was_open {
                    write_holder(&mut locked, "").map_err(failed)?;
                }
                Ok(Self { file: locked, log })
            }
            Err((file, Errno::EWOULDBLOCK)) => {
                Err(OpenError::InUse { path: path.to_owned(), holder: read_holder(&file) })
            }
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }
}

impl StoreLock {
    /// Notes that from now on the store is not whole without its log.
    pub(super) fn mark_open(&mut self) -> std::io::Result<()> {
        if self.log.exists() { write_holder(&mut self.file, OPEN) } else { Ok(()) }
    }
}

impl Drop for StoreLock {
    /// The store's connections are closed by now: if its log is gone, it was carried over.
    fn drop(&mut self) {
        if !self.log.exists() && write_holder(&mut self.file, "").is_err() {
            log::warn!("it could not be noted that the store was closed; its next start will miss its log");
        }
    }
}

fn write_holder(file: &mut File, state: &str) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}{state}", std::process::id())
}

fn read_text(mut file: &File) -> String {
    let mut text = String::new();
    // What cannot be read says nothing.
    let _ = file.rewind().and_then(|()| file.take(HOLDER_LENGTH_MAX).read_to_string(&mut text));
    text
}

/// For the message only: the lock itself is what counts.
fn read_holder(file: &File) -> String {
    let text = read_text(file);
    let process = text.trim().trim_end_matches(OPEN);
    if process.parse::<u32>().is_ok() { format!("process {process}") } else { "another process".to_owned() }
}
