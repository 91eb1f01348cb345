//! Owns the lab's daemons: how each is started, when it is ready, and how it is killed.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use nix::unistd::Group;

use super::libvirt_files::{GROUP, POOLS};
use super::place::Place;
use super::plan::{AGENT_STATE, AGENT_USER, PROGRAMS};
use super::record::Lab;
use crate::harness::waiting::poll_until;

/// A libvirtd that knows nothing of the machine's QEMU yet asks it for some 8 s, longer when others are busy too.
const LIBVIRTD_PATIENCE: Duration = Duration::from_secs(90);

/// Opening its store and its sockets is all a coordinator does before it answers.
const COORDINATOR_PATIENCE: Duration = Duration::from_secs(30);

/// virtlogd only makes its socket.
const VIRTLOGD_PATIENCE: Duration = Duration::from_secs(20);

/// What a daemon has to end after a signal that should end it.
const END_PATIENCE: Duration = Duration::from_secs(30);

/// A daemon of the lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub enum Daemon {
    /// Keeps the guests' consoles; survives libvirtd.
    Virtlogd,
    /// libvirt on one host.
    Libvirtd,
    /// The agent on one host, unprivileged.
    Agent,
    /// The coordinator.
    Coordinator,
}

impl Daemon {
    /// Its name in files and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Virtlogd => "virtlogd",
            Self::Libvirtd => "libvirtd",
            Self::Agent => "agent",
            Self::Coordinator => "coordinator",
        }
    }

    fn check_place(self, place: &Place) -> Result<()> {
        let right = match place {
            Place::Switch => false,
            Place::Coordinator => self == Self::Coordinator,
            Place::Host(_) => self != Self::Coordinator,
        };
        ensure!(right, "no {} belongs on {place}", self.name());
        Ok(())
    }
}

impl Lab {
    /// Starts a daemon and waits until it is ready; one that runs already is left alone. An agent counts as ready
    /// when its process runs: whether the coordinator sees it is the coordinator's to say.
    ///
    /// # Errors
    /// When it ends instead, or is not ready in time; the message has its last words.
    pub fn start(&self, daemon: Daemon, place: &Place) -> Result<()> {
        daemon.check_place(place)?;
        if self.process(place, daemon.name()).is_none() {
            let mut command = place.entering(self.anchor_of(place)?);
            command.extend(self.daemon_command(daemon, place)?);
            let process = self.launch(&command, &self.log_path(place, daemon.name()))?;
            self.remember(place, daemon.name(), process)?;
        }
        let patience = match daemon {
            Daemon::Virtlogd | Daemon::Agent => VIRTLOGD_PATIENCE,
            Daemon::Libvirtd => LIBVIRTD_PATIENCE,
            Daemon::Coordinator => COORDINATOR_PATIENCE,
        };
        poll_until(&format!("{} on {place}", daemon.name()), patience, || {
            if !self.is_running(daemon, place) {
                bail!("{} on {place} ended: {}", daemon.name(), self.last_words(place, daemon.name()));
            }
            Ok(self.is_ready(daemon, place)?.then_some(()))
        })
        .with_context(|| format!("see {}", self.log_path(place, daemon.name()).display()))
    }

    /// Whether a daemon's process runs.
    #[must_use]
    pub fn is_running(&self, daemon: Daemon, place: &Place) -> bool {
        self.process(place, daemon.name()).is_some()
    }

    /// The process of a daemon, if it runs.
    #[must_use]
    pub fn daemon_pid(&self, daemon: Daemon, place: &Place) -> Option<i32> {
        self.process(place, daemon.name()).map(|process| process.pid)
    }

    /// Sends a daemon a signal. After one that ends every process it is waited for; others return at once.
    ///
    /// # Errors
    /// When the daemon does not run, or does not end.
    pub fn kill(&self, daemon: Daemon, place: &Place, signal: Signal) -> Result<()> {
        daemon.check_place(place)?;
        let Some(process) = self.process(place, daemon.name()) else {
            bail!("{} does not run on {place}", daemon.name());
        };
        process.signal(signal)?;
        if matches!(signal, Signal::SIGKILL | Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT) {
            poll_until(&format!("{} on {place} to end", daemon.name()), END_PATIENCE, || {
                Ok((!process.is_alive()).then_some(()))
            })?;
        }
        Ok(())
    }

    fn daemon_command(&self, daemon: Daemon, place: &Place) -> Result<Vec<String>> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        Ok(match daemon {
            Daemon::Virtlogd => words(&["virtlogd"]),
            Daemon::Libvirtd => words(&["libvirtd"]),
            Daemon::Agent => {
                let mut command = self.as_agent_user()?;
                // As the agent's user as well: what the clock's library shares with itself must be that user's.
                let program = command.len().saturating_sub(1);
                command.splice(program..program, self.clock_words(place));
                command.extend(words(&[
                    "run",
                    "--state-directory",
                    AGENT_STATE,
                    "--libvirt-uri",
                    "qemu:///system",
                    // The realm says `virt-type = qemu`, and a probe that fails costs ten seconds of a processor.
                    "--kvm",
                    "never",
                ]));
                // A test may have left one there.
                if self.description().host_directory(place.name()).join("agent/agent.conf").exists() {
                    command.extend(["--config".to_owned(), format!("{AGENT_STATE}/agent.conf")]);
                }
                command
            }
            Daemon::Coordinator => {
                let program = self.description().program_directory().join("reeve-coordinator");
                let configuration = self.coordinator_configuration();
                let run = [&program.to_string_lossy(), "run", "--config", &configuration.to_string_lossy()];
                [self.clock_words(place), words(&run)].concat()
            }
        })
    }

    /// The agent's program with what drops every privilege but membership in libvirt's group. Arguments follow.
    pub(crate) fn as_agent_user(&self) -> Result<Vec<String>> {
        let group = Group::from_name(GROUP)?.with_context(|| {
            format!("there is no group {GROUP}; `make setup` installs libvirt, which makes it")
        })?;
        Ok(vec![
            "setpriv".to_owned(),
            format!("--reuid={AGENT_USER}"),
            format!("--regid={AGENT_USER}"),
            format!("--groups={}", group.gid),
            "--inh-caps=-all".to_owned(),
            "--bounding-set=-all".to_owned(),
            "--no-new-privs".to_owned(),
            "--".to_owned(),
            format!("{PROGRAMS}/reeve-agent"),
        ])
    }

    /// The coordinator's configuration file.
    #[must_use]
    pub fn coordinator_configuration(&self) -> PathBuf {
        self.description().coordinator_directory().join("coordinator.conf")
    }

    /// Asks a host's libvirt; gives what it wrote.
    ///
    /// # Errors
    /// When virsh fails; the message has its words.
    pub fn virsh(&self, place: &Place, arguments: &[&str]) -> Result<String> {
        self.run(place, &[&["virsh", "--quiet", "--connect", "qemu:///system"], arguments].concat())
    }

    fn is_ready(&self, daemon: Daemon, place: &Place) -> Result<bool> {
        Ok(match daemon {
            Daemon::Agent => true,
            Daemon::Virtlogd => {
                let anchor = self.anchor_of(place)?;
                fs::exists(format!("/proc/{}/root/run/libvirt/virtlogd-sock", anchor.pid))?
            }
            // libvirt starts its pools before it answers; to give QEMU's version it asks QEMU what it can do.
            Daemon::Libvirtd => {
                let pools = self.virsh(place, &["pool-list", "--name"]).unwrap_or_default();
                let has = |pool: &str| pools.lines().any(|line| line.trim() == pool);
                POOLS.iter().all(|pool| has(pool)) && self.virsh(place, &["version"]).is_ok()
            }
            Daemon::Coordinator => UnixStream::connect(self.description().socket()).is_ok(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_runs_only_where_it_belongs() {
        let host = Place::Host("host1".to_owned());
        assert!(Daemon::Agent.check_place(&host).is_ok());
        assert!(Daemon::Coordinator.check_place(&Place::Coordinator).is_ok());
        assert!(Daemon::Coordinator.check_place(&host).is_err());
        assert!(Daemon::Libvirtd.check_place(&Place::Coordinator).is_err());
        assert!(Daemon::Libvirtd.check_place(&Place::Switch).is_err());
    }
}
