//! Machines whose clocks are wrong: where that does no harm everything works; where it does, both sides say that it is the
//! clock, guests run on, and all is well again once the clock is right.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use reeve_tests::checker::{Watch, guest_processes};
use reeve_tests::harness::waiting::poll_until;
use reeve_tests::image::Variant;
use reeve_tests::lab::{CoordinatorSettings, Daemon, Place};

use crate::fleet::{Fleet, PATIENCE};

const HOUR: i64 = 3600;

/// The shortest lease that a realm may ask for.
const LEASE: Duration = Duration::from_secs(10);

/// Restarts a daemon with its clock so many seconds wrong.
fn restart(fleet: &Fleet, daemon: Daemon, place: &Place, seconds: i64) -> Result<()> {
    fleet.lab.set_clock(place, seconds)?;
    fleet.lab.kill(daemon, place, Signal::SIGKILL)?;
    fleet.lab.start(daemon, place)
}

/// Waits until a daemon has written this into its log.
fn wait_for_words(fleet: &Fleet, daemon: &str, place: &Place, words: &str) -> Result<()> {
    let log = fleet.lab.description().log_directory().join(format!("{}.{daemon}.log", place.name()));
    poll_until(&format!("{words:?} in {}", log.display()), PATIENCE, || {
        let text = fs::read(&log).unwrap_or_default();
        Ok(String::from_utf8_lossy(&text).contains(words).then_some(()))
    })
}

#[test]
fn a_host_whose_clock_is_fast_works_and_keeps_its_lease() -> Result<()> {
    let realm_keys = format!("self-fencing {{ lease = {} s }}", LEASE.as_secs());
    let settings = CoordinatorSettings { realm_keys, ..CoordinatorSettings::default() };
    let fleet = Fleet::new("fast", 1, &[Variant::Good], &settings)?;
    let host = fleet.lab.host(1);
    fleet.configure("web", "good")?;
    restart(&fleet, Daemon::Agent, &host, 2 * HOUR)?;
    fleet.wait_for_host("host1")?;
    fleet.lab.reeve(&["vm", "start", "web"])?;
    fleet.wait_for_state("web", &["running"])?;
    let guests = guest_processes(&fleet.lab);
    ensure!(guests.len() == 1, "{guests:?}");
    // Two leases long nothing but renewals keeps it alive; the clock has nothing to do with them.
    thread::sleep(LEASE * 2 + LEASE / 2);
    ensure!(guest_processes(&fleet.lab) == guests, "the guest was ended although its host is heard");
    // And when it is set back in the middle of a lease.
    restart(&fleet, Daemon::Agent, &host, 0)?;
    fleet.wait_for_host("host1")?;
    thread::sleep(LEASE * 2);
    ensure!(guest_processes(&fleet.lab) == guests, "setting the clock has ended the guest");
    ensure!(fleet.vm("web")?["state"] == "running");
    // A host that joins with such a clock joins.
    fleet.lab.finish()
}

#[test]
fn a_clock_that_is_slow_keeps_hosts_away_and_is_told_and_ends_nothing() -> Result<()> {
    let fleet = Fleet::new("slow", 2, &[Variant::Good], &CoordinatorSettings::default())?;
    let (first, second) = (fleet.lab.host(1), fleet.lab.host(2));
    fleet.configure("web", "good")?;
    fleet.configure("db", "good")?;
    fleet.lab.reeve(&["vm", "start", "web", "db"])?;
    let guests = guest_processes(&fleet.lab);
    ensure!(guests.len() == 2, "{guests:?}");
    let watch = Watch::begin(&fleet.lab);

    // To the host the coordinator's certificate is not valid yet.
    restart(&fleet, Daemon::Agent, &first, -HOUR)?;
    wait_for_words(&fleet, "agent", &first, "compare the clocks of both machines")?;
    fleet.lab.wait_for_connection("host1", "lost")?;
    ensure!(guest_processes(&fleet.lab) == guests, "a guest was ended for a clock");
    restart(&fleet, Daemon::Agent, &first, 0)?;
    fleet.wait_for_host("host1")?;

    // To the coordinator the certificates of its hosts are not valid yet; both sides say so.
    restart(&fleet, Daemon::Coordinator, &Place::Coordinator, -HOUR)?;
    wait_for_words(&fleet, "agent", &second, "compare the clocks of both machines")?;
    wait_for_words(&fleet, "coordinator", &Place::Coordinator, "compare the clocks of both machines")?;
    ensure!(guest_processes(&fleet.lab) == guests, "a guest was ended for a clock");
    restart(&fleet, Daemon::Coordinator, &Place::Coordinator, 0)?;
    fleet.wait_for_host("host1")?;
    fleet.wait_for_host("host2")?;
    for name in ["web", "db"] {
        fleet.wait_for_state(name, &["running"])?;
    }
    ensure!(guest_processes(&fleet.lab) == guests, "a guest was started, stopped or started anew");
    let id = fleet.vm("web")?["id"].as_str().context("no id")?.to_owned();
    fleet.lab.reeve(&["vm", "shutdown", "web"])?;
    ensure!(fleet.domains(&id)?.is_empty());
    let seen = watch.end()?;
    ensure!(seen.is_empty(), "was seen: {}", seen.join("\n"));
    fleet.lab.finish()
}
