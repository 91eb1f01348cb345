//! kill -9 of the coordinator, an agent or libvirtd at any moment of a start: afterwards the VM is there once, or the
//! start has failed with its reason and its capacity is free. A VM that runs already does not notice.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use reeve_tests::image::Variant;
use reeve_tests::lab::{CoordinatorSettings, Daemon, Place};

use crate::fleet::Fleet;

/// Moments after the request, in milliseconds: before the disk, between disk and definition, while libvirt starts it,
/// while the guest boots, and about when it registers.
const MOMENTS: [u64; 7] = [0, 10, 30, 90, 300, 900, 3000];

#[test]
fn a_start_survives_the_death_of_the_agent() -> Result<()> {
    survive("kill-agent", Daemon::Agent)
}

#[test]
fn a_start_survives_the_death_of_libvirtd() -> Result<()> {
    survive("kill-libvirtd", Daemon::Libvirtd)
}

#[test]
fn a_start_survives_the_death_of_the_coordinator() -> Result<()> {
    survive("kill-coordinator", Daemon::Coordinator)
}

fn survive(lab: &str, victim: Daemon) -> Result<()> {
    let fleet = Fleet::new(lab, 3, &[Variant::Good], &CoordinatorSettings::default())?;
    fleet.configure("bystander", "good")?;
    fleet.lab.reeve(&["vm", "start", "bystander"])?;
    let bystander = fleet.vm("bystander")?;
    let host = bystander["host"].as_str().context("no host")?.to_owned();
    for (round, moment) in MOMENTS.into_iter().enumerate() {
        let name = format!("round-{round}");
        fleet.configure(&name, "good")?;
        let chosen = fleet.lab.reeve_json(&["setup", "simulate", "good"])?["chosen"].clone();
        let chosen = chosen.as_str().context("no host fits")?.to_owned();
        let place = match victim {
            Daemon::Coordinator => Place::Coordinator,
            _ => Place::Host(chosen),
        };
        let mut start = fleet.lab.reeve_command(&["vm", "start", &name, "--no-wait"]).spawn()?;
        // The fault falls at a chosen moment, not after an event: which step it meets is the point.
        thread::sleep(Duration::from_millis(moment));
        fleet.lab.kill(victim, &place, Signal::SIGKILL)?;
        start.wait()?;
        fleet.lab.start(victim, &place)?;
        for number in 1..=3 {
            fleet.wait_for_host(&format!("host{number}"))?;
        }
        settle(&fleet, &name).with_context(|| format!("{} killed after {moment} ms", victim.name()))?;
    }
    if victim == Daemon::Coordinator {
        // Each start leaves epochs out by chance; none left out so many times would be none at all.
        let epoch = fleet.lab.reeve_json(&["status"])?["epoch"].as_u64().context("no epoch")?;
        ensure!(epoch > u64::try_from(1 + MOMENTS.len())?, "no epoch was left out: {epoch}");
    }
    let still = fleet.vm("bystander")?;
    ensure!(still["state"] == "running" && still["id"] == bystander["id"], "{still}");
    let id = still["id"].as_str().context("no id")?;
    ensure!(fleet.domains(id)? == [(host, true)], "the bystander was disturbed");
    fleet.lab.finish()
}

/// Waits until the start has come to an end, holds what must hold, and clears away.
fn settle(fleet: &Fleet, name: &str) -> Result<()> {
    // A coordinator that was killed before it made the request durable knows nothing of it, and neither does any host.
    if fleet.vm(name).is_err() {
        let listed = fleet.volumes()?;
        ensure!(!listed.contains(&format!("{name}-")), "a request that was never recorded left {listed}");
        return Ok(());
    }
    let vm = fleet.wait_for_state(name, &["running", "failed"])?;
    if vm["state"] == "failed" {
        let id = vm["id"].as_str().context("no id")?;
        ensure!(fleet.domains(id)?.is_empty(), "{name} failed and is still there");
        ensure!(vm["reason"].is_string());
        let label = vm["name"].as_str().context("no name")?;
        ensure!(!fleet.volumes()?.contains(label), "a volume of {name} is left");
        return Ok(());
    }
    fleet.there_once_or_gone(&vm)?;
    fleet.lab.reeve(&["vm", "destroy", name])?;
    Ok(())
}
