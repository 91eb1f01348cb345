//! Owns what a lab writes down in its directory: its description before anything is made, and each process it starts.
//!
//! ```text
//! DIRECTORY/lock              held while a lab goes up or down
//! DIRECTORY/lab.json          the description: written first, removed last
//! DIRECTORY/processes/P.D     the process of daemon D in place P
//! ```

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use uuid::Uuid;

use super::description::{Description, Request};
use super::place::Place;
use super::process::ProcessIdentity;
use crate::harness::waiting::poll_until;

/// How long one program waits for another to finish with the same lab: a lab that probes QEMU for the first time on a
/// busy machine takes most of this to come up.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);

/// A lab whose description is written down.
#[derive(Debug, Clone)]
pub struct Lab {
    description: Description,
}

/// The right to bring a lab up or down. Given back when it is dropped, or when the program ends in whatever way.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the lab in `directory`, which must exist.
    pub(crate) fn take(directory: &Path) -> Result<Self> {
        let path = directory.join("lock");
        let file = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
        poll_until("another reeve-lab to finish with this lab", LOCK_PATIENCE, || match file.try_lock() {
            Ok(()) => Ok(Some(())),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error.into()),
        })?;
        Ok(Self { _file: file })
    }
}

impl Lab {
    /// Writes a new lab down and takes its lock.
    pub(crate) fn create(request: &Request) -> Result<(Self, Lock)> {
        let description = Description::new(Uuid::new_v4(), request)?;
        let directory = &description.directory;
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let lock = Lock::take(directory)?;
        if record_path(directory).exists() {
            bail!(
                "there is a lab in {} already, up or left behind; `reeve-lab down` removes it",
                directory.display()
            );
        }
        write_whole(&record_path(directory), &description)?;
        let processes = directory.join("processes");
        fs::create_dir(&processes).with_context(|| format!("cannot create {}", processes.display()))?;
        Ok((Self { description }, lock))
    }

    /// The lab that was written down in `directory`.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(directory: &Path) -> Result<Self> {
        match Self::find(directory)? {
            Some(lab) => Ok(lab),
            None => bail!("there is no lab in {}; `reeve-lab up` makes one", directory.display()),
        }
    }

    /// The lab that was written down in `directory`, if there is one.
    pub(crate) fn find(directory: &Path) -> Result<Option<Self>> {
        let path = record_path(directory);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let description = serde_json::from_slice(&text)
            .with_context(|| format!("{} is not a lab's description", path.display()))?;
        Ok(Some(Self { description }))
    }

    /// What the lab is to be.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Writes down which process is `role` in `place`.
    pub(crate) fn remember(&self, place: &Place, role: &str, process: ProcessIdentity) -> Result<()> {
        write_whole(&self.process_path(place, role), &process)
    }

    /// The process that was last started as `role` in `place`, if it still runs.
    pub(crate) fn process(&self, place: &Place, role: &str) -> Option<ProcessIdentity> {
        let text = fs::read(self.process_path(place, role)).ok()?;
        let process: ProcessIdentity = serde_json::from_slice(&text).ok()?;
        process.is_alive().then_some(process)
    }

    fn process_path(&self, place: &Place, role: &str) -> PathBuf {
        self.description.directory.join("processes").join(format!("{place}.{role}"))
    }
}

fn record_path(directory: &Path) -> PathBuf {
    directory.join("lab.json")
}

/// Written beside and renamed, so that a reader finds the whole or nothing.
fn write_whole(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let write = || -> Result<()> {
        fs::write(&beside, serde_json::to_vec_pretty(value)?)?;
        fs::rename(&beside, path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::description::NETWORK_DEFAULT;
    use super::*;

    #[test]
    fn a_lab_is_found_again_and_not_made_twice() {
        let parent = tempfile::tempdir().unwrap();
        let request = Request { directory: parent.path().join("a"), hosts: 1, network: NETWORK_DEFAULT };
        assert!(Lab::find(&request.directory).unwrap().is_none());
        let (lab, lock) = Lab::create(&request).unwrap();
        drop(lock);
        assert_eq!(Lab::open(&request.directory).unwrap().description(), lab.description());
        let error = Lab::create(&request).unwrap_err().to_string();
        assert!(error.contains("reeve-lab down"), "{error}");
    }

    #[test]
    fn only_a_process_that_still_runs_is_remembered() {
        let parent = tempfile::tempdir().unwrap();
        let request = Request { directory: parent.path().join("a"), hosts: 1, network: NETWORK_DEFAULT };
        let (lab, _lock) = Lab::create(&request).unwrap();
        let this = ProcessIdentity::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert_eq!(lab.process(&Place::Switch, "anchor"), None);
        lab.remember(&Place::Switch, "anchor", this).unwrap();
        assert_eq!(lab.process(&Place::Switch, "anchor"), Some(this));
        let earlier = ProcessIdentity { started: this.started - 1, ..this };
        lab.remember(&Place::Switch, "anchor", earlier).unwrap();
        assert_eq!(lab.process(&Place::Switch, "anchor"), None);
    }
}
