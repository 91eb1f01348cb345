//! A host that is cut off and comes back: its VM runs on, is shown as unknown, and is started nowhere else.

use anyhow::{Context, Result, ensure};
use reeve_tests::harness::waiting::poll_until;
use reeve_tests::image::Variant;
use reeve_tests::lab::{CoordinatorSettings, Direction, Place};

use crate::fleet::{Fleet, PATIENCE};

#[test]
fn a_partition_stops_no_vm_and_starts_none_twice() -> Result<()> {
    let fleet = Fleet::new("cut-off", 3, &[Variant::Good], &CoordinatorSettings::default())?;
    fleet.configure("web", "good")?;
    fleet.lab.reeve(&["vm", "start", "web"])?;
    let vm = fleet.vm("web")?;
    let (id, host) = (vm["id"].as_str().context("no id")?, vm["host"].as_str().context("no host")?);
    let place = Place::Host(host.to_owned());

    // Whole, and each way alone: a host that is heard and hears nothing is as lost as one that is silent.
    for direction in [Direction::Both, Direction::In, Direction::Out] {
        fleet.lab.partition(&place, direction)?;
        fleet.lab.wait_for_connection(host, "lost")?;
        ensure!(fleet.vm("web")?["state"] == "unknown", "{direction:?}: what cannot be asked is unknown");
        ensure!(fleet.domains(id)? == [(host.to_owned(), true)], "{direction:?}: the VM did not run on");
        // A host that is lost takes nothing new.
        let simulated = fleet.lab.reeve_json(&["setup", "simulate", "good"])?;
        ensure!(simulated["chosen"] != host, "{direction:?}: a lost host was chosen");

        fleet.lab.heal(&place)?;
        fleet.lab.wait_for_connection(host, "connected")?;
        let vm = fleet.wait_for_state("web", &["running"])?;
        ensure!(vm["id"] == id);
        ensure!(fleet.domains(id)? == [(host.to_owned(), true)]);
    }
    fleet.lab.finish()
}

#[test]
fn what_is_wished_during_a_partition_is_heard_after_it() -> Result<()> {
    let fleet = Fleet::new("wish-cut-off", 1, &[Variant::Good], &CoordinatorSettings::default())?;
    fleet.configure("web", "good")?;
    fleet.lab.reeve(&["vm", "start", "web"])?;
    let id = fleet.vm("web")?["id"].as_str().context("no id")?.to_owned();
    let place = fleet.lab.host(1);
    fleet.lab.partition(&place, Direction::Both)?;
    fleet.lab.wait_for_connection("host1", "lost")?;
    fleet.lab.reeve(&["vm", "destroy", "web", "--no-wait"])?;
    ensure!(fleet.promised("host1")? == 1000, "capacity is free before the host has said so");
    fleet.lab.heal(&place)?;
    fleet.wait_for_state(&id, &["stopped"])?;
    poll_until("the domain to be gone", PATIENCE, || Ok(fleet.domains(&id)?.is_empty().then_some(())))?;
    ensure!(fleet.promised("host1")? == 0);
    fleet.lab.finish()
}
