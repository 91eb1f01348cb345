//! Hosts that are cut off: with a lease they end their guests by themselves and the coordinator knows when; fence commands
//! are believed when the host is off, and not when its agent answers.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use reeve_common::clock::{Clock as _, SystemClock};
use reeve_tests::harness::waiting::poll_until;
use reeve_tests::image::Variant;
use reeve_tests::lab::{CoordinatorSettings, Daemon, Direction, Lab};

use crate::fleet::{Fleet, PATIENCE};

/// The shortest that a realm may ask for.
const LEASE: Duration = Duration::from_secs(10);

/// Gives the agent of a host a file for a watchdog: what it would get is seen in it, and nothing is reset.
fn give_watchdog(lab: &Lab, host: &str) -> Result<PathBuf> {
    let directory = lab.description().host_directory(host).join("agent");
    let watchdog = directory.join("watchdog");
    fs::write(&watchdog, "")?;
    fs::set_permissions(&watchdog, Permissions::from_mode(0o666))?;
    let configuration =
        "watchdog-device = \"/run/reeve-lab/agent/watchdog\"\nwatchdog-timeout = \"10 seconds\"\n";
    fs::write(directory.join("agent.conf"), configuration)?;
    Ok(watchdog)
}

#[test]
fn a_host_that_is_cut_off_ends_its_guests_when_its_lease_has_run_out() -> Result<()> {
    let realm_keys = format!("self-fencing {{ lease = {} s }}", LEASE.as_secs());
    let settings = CoordinatorSettings { realm_keys, ..CoordinatorSettings::default() };
    let fleet = Fleet::new("lease", 1, &[Variant::Good], &settings)?;
    let place = fleet.lab.host(1);
    let host = || fleet.lab.reeve_json(&["host", "show", "host1"]);
    poll_until("the warning that no watchdog stands behind the lease", PATIENCE, || {
        Ok(host()?["warnings"].to_string().contains("watchdog").then_some(()))
    })?;
    ensure!(host()?["stops-by-itself-at"].is_null(), "without a watchdog it must not be counted on");

    let watchdog = give_watchdog(&fleet.lab, "host1")?;
    fleet.lab.kill(Daemon::Agent, &place, Signal::SIGTERM)?;
    fleet.lab.start(Daemon::Agent, &place)?;
    fleet.wait_for_host("host1")?;
    poll_until("a lease with a watchdog behind it", PATIENCE, || {
        Ok((!host()?["stops-by-itself-at"].is_null()).then_some(()))
    })?;
    fleet.configure("web", "good")?;
    fleet.lab.reeve(&["vm", "start", "web"])?;
    let id = fleet.vm("web")?["id"].as_str().context("no id")?.to_owned();

    // A restart of the agent ends nothing, and disarms the watchdog meanwhile.
    fleet.lab.kill(Daemon::Agent, &place, Signal::SIGTERM)?;
    ensure!(
        fs::read(&watchdog)?.contains(&b'V'),
        "the watchdog stayed armed although the coordinator was told"
    );
    fleet.lab.start(Daemon::Agent, &place)?;
    fleet.wait_for_host("host1")?;
    ensure!(fleet.domains(&id)? == [("host1".to_owned(), true)]);
    poll_until("a lease with a watchdog behind it", PATIENCE, || {
        Ok((!host()?["stops-by-itself-at"].is_null()).then_some(()))
    })?;

    let cut_off = SystemClock.monotonic();
    fleet.lab.partition(&place, Direction::Both)?;
    ensure!(fleet.domains(&id)? == [("host1".to_owned(), true)], "ended before its lease had run out");
    poll_until("the guest to be ended", PATIENCE, || {
        Ok(fleet.domains(&id)?.iter().all(|(_, runs)| !runs).then_some(()))
    })?;
    let ended = cut_off.elapsed();
    ensure!(ended < LEASE + Duration::from_secs(10), "it took {ended:?}");
    println!("a lease of {LEASE:?} ended the guest {ended:?} after the cut");
    fleet.lab.wait_for_connection("host1", "self-fenced")?;
    ensure!(cut_off.elapsed() > LEASE + Duration::from_secs(20), "the watchdog's time is not counted");
    ensure!(fleet.vm("web")?["state"] == "unknown", "nobody has decided yet");

    fleet.lab.heal(&place)?;
    fleet.lab.wait_for_connection("host1", "connected")?;
    fleet.wait_for_state("web", &["failed", "stopped"])?;
    poll_until("the domain to be gone", PATIENCE, || Ok(fleet.domains(&id)?.is_empty().then_some(())))?;
    fleet.lab.finish()
}

/// A fence command that says whatever the file beside it says.
fn write_fence(directory: &Path) -> Result<PathBuf> {
    let command = directory.join("fence_lab");
    let script = format!(
        "#!/bin/sh\ncase \"$(cat)\" in\n*action=off*) echo switched off; exit 0 ;;\n*action=status*) exit \"$(cat {}/status)\" ;;\nesac\n",
        directory.display()
    );
    fs::write(&command, script)?;
    fs::set_permissions(&command, Permissions::from_mode(0o755))?;
    fs::write(directory.join("status"), "2")?;
    Ok(command)
}

#[test]
fn a_fence_command_that_lies_is_not_believed_and_a_good_one_is() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let command = write_fence(directory.path())?;
    let realm_keys = format!("fence {{ command = {command:?}, timeout = 20 s, hosts {{ host1 {{ }} }} }}");
    let settings = CoordinatorSettings { realm_keys, ..CoordinatorSettings::default() };
    let fleet = Fleet::new("fence", 1, &[Variant::Good], &settings)?;
    let place = fleet.lab.host(1);
    fleet.configure("web", "good")?;
    fleet.lab.reeve(&["vm", "start", "web"])?;
    let id = fleet.vm("web")?["id"].as_str().context("no id")?.to_owned();

    let trial = fleet.lab.reeve_json(&["host", "fence", "host1", "--dry-run"])?;
    ensure!(trial["is-on"] == false, "{trial}");
    let fence = fleet.lab.try_reeve(&["host", "fence", "host1"])?;
    ensure!(!fence.status.success(), "a lie was believed");
    let shown = fleet.lab.reeve_json(&["host", "show", "host1"])?;
    ensure!(shown["fences"][0]["state"] == "not-believed" && shown["connection"] == "connected", "{shown}");
    ensure!(fleet.vm("web")?["state"] == "running");
    let stated = fleet.lab.try_reeve(&["host", "confirm-off", "host1", "--yes-it-is-off"])?;
    ensure!(!stated.status.success(), "a person who is wrong was believed");

    // The agent is stopped and does not answer: for the coordinator that is a host that is off.
    fleet.lab.kill(Daemon::Agent, &place, Signal::SIGSTOP)?;
    fleet.lab.reeve(&["host", "fence", "host1"])?;
    fleet.lab.wait_for_connection("host1", "fenced")?;
    ensure!(fleet.vm("web")?["state"] == "unknown");
    // It was a lie all the same, and this is how it shows: the same agent comes back.
    // That it has returned is on record before anything it says is followed, and a moment after it is shown as connected.
    fleet.lab.kill(Daemon::Agent, &place, Signal::SIGCONT)?;
    fleet.wait_for_host("host1")?;
    let shown = fleet.lab.reeve_json(&["host", "show", "host1"])?;
    ensure!(
        shown["fences"][0]["state"] == "not-believed" && !shown["fences"][0]["returned-at"].is_null(),
        "{shown}"
    );
    fleet.wait_for_state("web", &["running"])?;
    ensure!(fleet.domains(&id)? == [("host1".to_owned(), true)]);

    // Switched on again after it was really off: another life of the agent.
    fleet.lab.kill(Daemon::Agent, &place, Signal::SIGKILL)?;
    fleet.lab.reeve(&["host", "confirm-off", "host1", "--yes-it-is-off"])?;
    fleet.lab.wait_for_connection("host1", "fenced")?;
    fleet.lab.start(Daemon::Agent, &place)?;
    fleet.wait_for_host("host1")?;
    let shown = fleet.lab.reeve_json(&["host", "show", "host1"])?;
    ensure!(shown["fences"][0]["state"] == "off" && !shown["fences"][0]["returned-at"].is_null(), "{shown}");

    // A status of on, or none at all, is no fence.
    for status in ["0", "1"] {
        fs::write(directory.path().join("status"), status)?;
        ensure!(!fleet.lab.try_reeve(&["host", "fence", "host1"])?.status.success(), "status {status}");
    }
    fleet.wait_for_state("web", &["running"])?;
    fleet.lab.finish()
}
