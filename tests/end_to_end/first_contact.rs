//! What an administrator is told of a host: by its doctor, as the agent's own user beside the agent that runs, and by the
//! coordinator's standing warnings. What is broken is named by its cause.

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use reeve_tests::harness::waiting::poll_until;
use reeve_tests::lab::{CoordinatorSettings, Daemon, Direction, Place};
use serde_json::Value;

use crate::fleet::{Fleet, PATIENCE};

/// What is found of KVM, whatever this machine has of it: each of these is the outcome of a trial.
const KVM_TRIED: [&str; 4] = ["made progress", "made no progress", "no /dev/kvm", "does not offer"];

/// The checks of one doctor.
struct Checks(Vec<Value>);

impl Checks {
    fn of(fleet: &Fleet, place: &Place) -> Result<Self> {
        fleet.lab.doctor(place).map(Self)
    }

    /// That a check ended so, and says so.
    fn says(&self, about: &str, verdict: &str, words: &str) -> Result<()> {
        let check = self.0.iter().find(|check| check["about"] == about);
        let check = check.with_context(|| format!("nothing is said of {about}: {:?}", self.0))?;
        let found = check["found"].as_str().unwrap_or_default();
        ensure!(check["verdict"] == verdict && found.contains(words), "{check}");
        ensure!((verdict == "ok") == check["advice"].is_null(), "{check}");
        Ok(())
    }
}

/// How a warning stands.
fn warning(fleet: &Fleet, id: &str) -> Result<Option<Value>> {
    let listed = fleet.lab.reeve_json(&["warning", "list", "--all"])?;
    Ok(listed.as_array().context("no list")?.iter().find(|warning| warning["id"] == id).cloned())
}

fn wait_for_warning(fleet: &Fleet, id: &str, state: &str) -> Result<Value> {
    poll_until(&format!("{id} to be {state}"), PATIENCE, || {
        Ok(warning(fleet, id)?.filter(|warning| warning["state"] == state))
    })
}

#[test]
fn a_doctor_names_what_is_broken_beside_the_agent_that_runs() -> Result<()> {
    let fleet = Fleet::new("doctor", 1, &[], &CoordinatorSettings::default())?;
    let (place, lab) = (fleet.lab.host(1), &fleet.lab);
    let agent = lab.daemon_pid(Daemon::Agent, &place);
    let well = Checks::of(&fleet, &place)?;
    well.says("user", "ok", "")?;
    well.says("libvirt", "ok", "answers at qemu:///system")?;
    well.says("pools", "ok", "started: ")?;
    well.says("certificate", "ok", "host host1 (1) of realm lab")?;
    well.says("coordinator", "ok", "accepts this host's certificate")?;
    well.says("lock manager", "warning", "none")?;
    let kvm = well.0.iter().find(|check| check["about"] == "KVM").context("nothing is said of KVM")?;
    let found = kvm["found"].as_str().unwrap_or_default();
    ensure!(KVM_TRIED.iter().any(|outcome| found.contains(outcome)), "KVM was not tried: {kvm}");
    // Nothing is left of what was tried, and the agent was not disturbed.
    ensure!(lab.virsh(&place, &["list", "--all", "--name"])?.trim().is_empty(), "a guest is left");
    for pool in lab.virsh(&place, &["pool-list", "--name"])?.split_whitespace() {
        let volumes = lab.virsh(&place, &["vol-list", pool])?;
        ensure!(!volumes.contains("probe"), "a disk is left: {volumes}");
    }
    ensure!(lab.daemon_pid(Daemon::Agent, &place) == agent, "the agent was restarted");
    ensure!(lab.reeve_json(&["host", "show", "host1"])?["connection"] == "connected");

    lab.partition(&place, Direction::Both)?;
    lab.wait_for_connection("host1", "lost")?;
    Checks::of(&fleet, &place)?.says("coordinator", "failure", "nothing came back from")?;
    lab.heal(&place)?;
    // The kernel takes its time to see that the link is up again.
    lab.wait_for_connection("host1", "connected")?;
    lab.kill(Daemon::Coordinator, &Place::Coordinator, Signal::SIGTERM)?;
    Checks::of(&fleet, &place)?.says("coordinator", "failure", "nothing listens")?;
    lab.start(Daemon::Coordinator, &Place::Coordinator)?;
    lab.kill(Daemon::Libvirtd, &place, Signal::SIGTERM)?;
    let without = Checks::of(&fleet, &place)?;
    without.says("libvirt", "failure", "it does not answer")?;
    without.says("coordinator", "ok", "accepts this host's certificate")?;
    lab.start(Daemon::Libvirtd, &place)?;
    lab.wait_for_connection("host1", "connected")?;
    fleet.lab.finish()
}

#[test]
fn a_lock_manager_that_is_off_stands_as_a_warning_until_it_is_on() -> Result<()> {
    const WARNING: &str = "lock-manager-off/host1";
    let fleet = Fleet::new("locks", 1, &[], &CoordinatorSettings::default())?;
    let (place, lab) = (fleet.lab.host(1), &fleet.lab);
    let found = wait_for_warning(&fleet, WARNING, "open")?;
    ensure!(found["severity"] == "warning" && found["count"] == 1, "{found}");
    ensure!(found["advice"].as_str().is_some_and(|advice| advice.contains("qemu.conf")), "{found}");
    lab.reeve(&["warning", "ack", WARNING])?;
    // As the advice says.
    let configure = "echo 'lock_manager = \"lockd\"' >>/etc/libvirt/qemu.conf; virtlockd --daemon --pid-file /run/virtlockd.pid";
    lab.run(&place, &["sh", "-euc", configure])?;
    lab.kill(Daemon::Libvirtd, &place, Signal::SIGTERM)?;
    lab.start(Daemon::Libvirtd, &place)?;
    wait_for_warning(&fleet, WARNING, "gone")?;
    Checks::of(&fleet, &place)?.says("lock manager", "ok", "keeps two guests from writing one disk")?;
    ensure!(lab.virsh(&place, &["list", "--all", "--name"])?.trim().is_empty(), "a guest is left");
    lab.run(&place, &["sh", "-euc", "kill \"$(cat /run/virtlockd.pid)\""])?;
    fleet.lab.finish()
}
