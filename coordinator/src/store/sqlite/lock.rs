//! Owns the lock that keeps a second process from opening the same store.
//!
//! It is a file of its own beside the store: SQLite's own locks let a second process in, and a lock on the store's file
//! itself would be lost when SQLite closes one of its descriptors. The kernel frees it when the process ends, however
//! it ends; the file stays and means nothing by itself.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::beside;
use super::schema::OpenError;

/// A process id and a newline; what is longer was not written by us.
const HOLDER_LENGTH_MAX: u64 = 16;

/// Held as long as the store is open.
#[derive(Debug)]
pub(super) struct StoreLock {
    _file: Flock<File>,
}

impl StoreLock {
    /// Takes the lock of the store at `path`, or says which process has it.
    pub(super) fn take(path: &Path) -> Result<Self, OpenError> {
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
                write_holder(&mut locked).map_err(failed)?;
                Ok(Self { _file: locked })
            }
            Err((file, Errno::EWOULDBLOCK)) => {
                Err(OpenError::InUse { path: path.to_owned(), holder: read_holder(file) })
            }
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }
}

fn write_holder(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

/// For the message only: the lock itself is what counts.
fn read_holder(file: File) -> String {
    let mut text = String::new();
    match file.take(HOLDER_LENGTH_MAX).read_to_string(&mut text) {
        Ok(_) if text.trim().parse::<u32>().is_ok() => format!("process {}", text.trim()),
        _ => "another process".to_owned(),
    }
}
