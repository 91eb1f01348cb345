//! VMs outlive all three daemons dead at once; one that ended meanwhile is seen to have.

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use reeve_tests::image::Variant;
use reeve_tests::lab::{CoordinatorSettings, Daemon, Place};

use crate::fleet::Fleet;

#[test]
fn vms_outlive_every_daemon() -> Result<()> {
    let fleet = Fleet::new("outlive", 1, &[Variant::Good], &CoordinatorSettings::default())?;
    fleet.configure("kept", "good")?;
    fleet.configure("lost", "good")?;
    fleet.lab.reeve(&["vm", "start", "kept", "lost"])?;
    let id =
        |name: &str| -> Result<String> { Ok(fleet.vm(name)?["id"].as_str().context("no id")?.to_owned()) };
    let (kept, lost) = (id("kept")?, id("lost")?);
    let host = fleet.lab.host(1);
    fleet.lab.kill(Daemon::Coordinator, &Place::Coordinator, Signal::SIGKILL)?;
    fleet.lab.kill(Daemon::Agent, &host, Signal::SIGKILL)?;
    fleet.lab.virsh(&host, &["destroy", &lost])?;
    fleet.lab.kill(Daemon::Libvirtd, &host, Signal::SIGKILL)?;
    fleet.lab.start(Daemon::Libvirtd, &host)?;
    fleet.lab.start(Daemon::Agent, &host)?;
    fleet.lab.start(Daemon::Coordinator, &Place::Coordinator)?;
    fleet.wait_for_host("host1")?;

    fleet.wait_for_state(&lost, &["stopped", "failed"])?;
    ensure!(fleet.domains(&lost)?.is_empty(), "what ended while nobody looked is still there");
    let vm = fleet.wait_for_state(&kept, &["running"])?;
    fleet.there_once_or_gone(&vm)?;
    fleet.lab.reeve(&["vm", "shutdown", "kept"])?;
    ensure!(fleet.promised("host1")? == 0, "capacity is left promised");
    fleet.lab.finish()
}
