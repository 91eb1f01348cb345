//! Owns a host's loss of power and its return. All its processes end in the same instant, without a last word; what it
//! had on disks is there when it comes back, what it had in memory (`/run`, its guests) is not.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;

use super::daemons::Daemon;
use super::members::members;
use super::place::Place;
use super::plan;
use super::process::ProcessIdentity;
use super::record::Lab;
use crate::harness::waiting::poll_until;

/// A killed process is gone at once unless the kernel is writing for it.
const END_PATIENCE: Duration = Duration::from_secs(30);

impl Lab {
    /// Takes a host's power away. It counts as a host that is not up until [`Lab::power_on`].
    ///
    /// # Errors
    /// When it is no host, is not up, or a process of it does not end.
    pub fn power_off(&self, place: &Place) -> Result<()> {
        ensure!(matches!(place, Place::Host(_)), "{place} is no host");
        let own = network_of(self.anchor_of(place)?).with_context(|| format!("{place} is not up"))?;
        // The ones that are started while the others are being looked for die in the next round.
        poll_until(&format!("every process of {place} to end"), END_PATIENCE, || {
            let mut processes = members(self.description());
            processes.retain(|process| network_of(*process).is_some_and(|network| network == own));
            processes.iter().try_for_each(|process| process.signal(Signal::SIGKILL))?;
            Ok(processes.iter().all(|process| !process.is_alive()).then_some(()))
        })
    }

    /// Gives a host its power back: its place, and the daemons that its service manager would start. The agent is
    /// started if the host has joined.
    ///
    /// # Errors
    /// When it is up, or cannot be brought up.
    pub fn power_on(&self, place: &Place) -> Result<()> {
        let Place::Host(name) = place else { bail!("{place} is no host") };
        ensure!(self.anchor_of(place).is_err(), "{place} is up");
        let host = self.description().host(name)?;
        self.perform(&plan::host_place(self.description(), host))?;
        self.start(Daemon::Virtlogd, place)?;
        self.start(Daemon::Libvirtd, place)?;
        let joined = fs::read_dir(self.description().host_directory(name).join("agent"))?.next().is_some();
        if joined { self.start(Daemon::Agent, place) } else { Ok(()) }
    }
}

/// Which network a process sees: every host has its own, so this tells whose it is. (Mounts do not: libvirt gives each QEMU
/// its own.)
pub(crate) fn network_of(process: ProcessIdentity) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{}/ns/net", process.pid)).ok()
}
