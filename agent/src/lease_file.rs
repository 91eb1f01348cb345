//! Owns where a host's lease outlives its agent: one small file that names the boot it belongs to. It is replaced whole and
//! not forced to the disk, since with the machine its VMs are gone too. The simulation has a disk of its own behind it.
//!
//! Must not: judge what the lease allows; `lease` does.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reeve_common::logging::messages;
use serde::{Deserialize, Serialize};

use crate::lease::Lease;

/// Its name in the state directory.
const NAME: &str = "lease.json";

/// Where a lease is kept between two lives of the agent.
pub trait LeaseFile: fmt::Debug + Send + Sync + 'static {
    /// What it holds; none when there is no such file.
    ///
    /// # Errors
    /// It is there and cannot be read.
    fn read(&self) -> io::Result<Option<String>>;

    /// Replaces it, whole or not at all.
    ///
    /// # Errors
    /// It is as it was then.
    fn replace(&self, contents: &[u8]) -> io::Result<()>;

    /// Removes it, if it is there.
    ///
    /// # Errors
    /// It may still be there.
    fn remove(&self) -> io::Result<()>;

    /// Where it is, for messages.
    fn place(&self) -> String;
}

/// The file in an agent's state directory.
#[derive(Debug)]
pub struct LeaseFileIn(PathBuf);

impl LeaseFileIn {
    /// That of this directory.
    #[must_use]
    pub fn directory(directory: &Path) -> Self {
        Self(directory.join(NAME))
    }
}

impl LeaseFile for LeaseFileIn {
    fn read(&self) -> io::Result<Option<String>> {
        match std::fs::read_to_string(&self.0) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn replace(&self, contents: &[u8]) -> io::Result<()> {
        let beside = self.0.with_extension("new");
        std::fs::write(&beside, contents)?;
        std::fs::rename(&beside, &self.0)
    }

    fn remove(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn place(&self) -> String {
        self.0.display().to_string()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Kept {
    boot: String,
    length_ms: u64,
    until_ms: u64,
}

/// The lease of an earlier life of the agent, if it was of this boot. One that cannot be read has run out.
pub(crate) fn take_up(file: &dyn LeaseFile, boot: &str, first_number: u64) -> Lease {
    let kept = match file.read() {
        Ok(None) => return Lease::unbound(first_number),
        Ok(Some(text)) => serde_json::from_str::<Kept>(&text).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match kept {
        Ok(kept) if kept.boot == boot => {
            let (length, until) =
                (Duration::from_millis(kept.length_ms), Duration::from_millis(kept.until_ms));
            Lease::kept(length, until, first_number)
        }
        Ok(_) => Lease::unbound(first_number),
        Err(error) => {
            log::error!(MESSAGE_ID:% = messages::STATE_NOT_WRITTEN;
                "{} cannot be read: {error}; the lease is taken to have run out", file.place());
            Lease::kept(Duration::ZERO, Duration::ZERO, first_number)
        }
    }
}

/// Keeps a lease for the next life of the agent, or sees to it that none is found.
pub(crate) fn keep(file: &dyn LeaseFile, boot: &str, lease: &Lease) -> io::Result<()> {
    let Some((length, until)) = lease.terms() else { return file.remove() };
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let kept = Kept { boot: boot.to_owned(), length_ms: milliseconds(length), until_ms: milliseconds(until) };
    file.replace(&serde_json::to_vec(&kept).map_err(io::Error::other)?)
}
