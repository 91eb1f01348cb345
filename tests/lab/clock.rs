//! Owns wall clocks of the lab that are wrong: a place's own daemon sees another time than the machine does. Nothing but
//! the wall clock is touched; time since boot and monotonic time are the kernel's.
//!
//! It is Debian's `libfaketime`, loaded into the daemon: a time namespace of the kernel shifts every clock but this one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::place::Place;
use super::record::Lab;

/// Where Debian's package puts it.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
/// What a place's wrong clock is written into, in its directory.
const FILE: &str = "clock-offset";

impl Lab {
    /// Sets the wall clock of a place's daemon so many seconds forward, or back; it goes wrong when the daemon is started
    /// next. Zero sets it right.
    ///
    /// # Errors
    /// When the library is not there, or the file cannot be written.
    pub fn set_clock(&self, place: &Place, seconds: i64) -> Result<()> {
        ensure!(Path::new(LIBRARY).exists(), "there is no {LIBRARY}; `make setup` installs it");
        let file = self.clock_file(place).context("the switch has no clock")?;
        if seconds == 0 {
            return match fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            };
        }
        fs::write(&file, format!("{seconds:+}s")).with_context(|| format!("cannot write {}", file.display()))
    }

    /// What stands before a daemon's command where its clock is wrong.
    pub(crate) fn clock_words(&self, place: &Place) -> Vec<String> {
        let offset = self.clock_file(place).and_then(|file| fs::read_to_string(file).ok());
        let Some(offset) = offset else { return Vec::new() };
        vec![
            "env".to_owned(),
            format!("LD_PRELOAD={LIBRARY}"),
            format!("FAKETIME={offset}"),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        ]
    }

    fn clock_file(&self, place: &Place) -> Option<PathBuf> {
        let directory = match place {
            Place::Switch => return None,
            Place::Coordinator => self.description().coordinator_directory(),
            Place::Host(name) => self.description().host_directory(name),
        };
        Some(directory.join(FILE))
    }
}
