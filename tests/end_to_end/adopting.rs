//! A domain that somebody started by hand becomes a VM of ours and is given back, without its guest noticing: one QEMU all
//! the time, counted once, through the death of every daemon.

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use reeve_tests::harness::domain::HandmadeDomain;
use reeve_tests::harness::waiting::poll_until;
use reeve_tests::image::Variant;
use reeve_tests::lab::{CoordinatorSettings, Daemon, Place};
use serde_json::Value;

use crate::fleet::{Fleet, PATIENCE};

/// What the domain takes.
const MILLICORES: u64 = 1000;

/// The legacy domain as `vm list --unmanaged` shows it.
fn unmanaged(fleet: &Fleet) -> Result<Option<Value>> {
    let listed = fleet.lab.reeve_json(&["vm", "list", "--unmanaged"])?;
    Ok(listed.as_array().context("no list")?.iter().find(|domain| domain["name"] == "legacy").cloned())
}

/// The id of its QEMU's process.
fn qemu(fleet: &Fleet, place: &Place) -> Result<String> {
    fleet.lab.run(place, &["cat", "/run/libvirt/qemu/legacy.pid"])
}

/// Waits until it is counted as ours, or as others', and once in any case.
fn counted(fleet: &Fleet, ours: u64, others: u64) -> Result<()> {
    poll_until(&format!("{ours} promised and {others} used by others"), PATIENCE, || {
        let host = fleet.lab.reeve_json(&["host", "show", "host1"])?;
        let now =
            [&host["used"], &host["used-by-foreign"]].map(|used| used["millicores"].as_u64().unwrap_or(0));
        ensure!(now[0] + now[1] <= MILLICORES, "it is counted twice: {now:?}");
        Ok((now == [ours, others]).then_some(()))
    })
}

#[test]
fn a_domain_is_adopted_and_given_back_without_a_restart() -> Result<()> {
    let fleet = Fleet::new("adopting", 1, &[Variant::Good], &CoordinatorSettings::default())?;
    let place = fleet.lab.host(1);
    let domain = HandmadeDomain::define(&fleet.lab, &place, "legacy", Variant::Good)?;
    let off = poll_until("the domain to be seen", PATIENCE, || unmanaged(&fleet))?;
    ensure!(
        off["state"] == "off" && off["obstacle"].as_str().is_some_and(|why| why.contains("does not run")),
        "{off}"
    );
    let adopt = ["vm", "adopt", "host1/legacy", "--owner", "ada", "--team", "engines"];
    let refused = fleet.lab.reeve(&adopt).err().context("a domain that is off was adopted")?;
    ensure!(format!("{refused:#}").contains("does not run"), "{refused:#}");

    domain.start()?;
    domain.wait_to_answer()?;
    let seen = poll_until("the domain to run", PATIENCE, || {
        Ok(unmanaged(&fleet)?.filter(|domain| domain["state"] == "running"))
    })?;
    ensure!(seen["obstacle"].is_null() && seen["cores"] == 1 && seen["host"] == "host1", "{seen}");
    counted(&fleet, 0, MILLICORES)?;
    let process = qemu(&fleet, &place)?;

    fleet.lab.reeve(&adopt)?;
    let vm = fleet.vm("legacy")?;
    ensure!(vm["state"] == "running" && vm["adopted"] == true && vm["id"] == seen["id"], "{vm}");
    ensure!(vm["owner"] == "ada" && vm["configuration"].is_null(), "{vm}");
    counted(&fleet, MILLICORES, 0)?;
    ensure!(unmanaged(&fleet)?.is_none(), "it is still listed as nobody's");
    let again = fleet.lab.reeve(&adopt).err().context("it was adopted twice")?;
    ensure!(format!("{again:#}").contains("already"), "{again:#}");

    for daemon in [Daemon::Coordinator, Daemon::Agent, Daemon::Libvirtd] {
        let at = if daemon == Daemon::Coordinator { Place::Coordinator } else { place.clone() };
        fleet.lab.kill(daemon, &at, Signal::SIGKILL)?;
        fleet.lab.start(daemon, &at)?;
    }
    fleet.wait_for_host("host1")?;
    fleet.wait_for_state("legacy", &["running"])?;
    counted(&fleet, MILLICORES, 0)?;

    fleet.lab.reeve(&["vm", "release", "legacy"])?;
    counted(&fleet, 0, MILLICORES)?;
    let back = poll_until("the domain to be nobody's", PATIENCE, || unmanaged(&fleet))?;
    ensure!(back["state"] == "running" && back["obstacle"].is_null(), "{back}");
    ensure!(
        !fleet.lab.virsh(&place, &["dumpxml", "legacy"])?.contains("urn:reeve"),
        "a trace of reeve is left in it"
    );

    fleet.lab.reeve(&adopt)?;
    fleet.wait_for_state("legacy", &["running"])?;
    ensure!(domain.answers(), "its guest does not answer any more");
    ensure!(qemu(&fleet, &place)? == process, "it was restarted");

    fleet.lab.reeve(&["vm", "shutdown", "legacy"])?;
    ensure!(domain.state()? == "shut off", "its domain is {}", domain.state()?);
    ensure!(fleet.volumes()?.contains("legacy.qcow2"), "its disk was removed");
    ensure!(
        !fleet.lab.virsh(&place, &["dumpxml", "legacy"])?.contains("urn:reeve"),
        "a trace of reeve is left in it"
    );
    counted(&fleet, 0, 0)?;
    ensure!(fleet.lab.reeve(&["vm", "past"])?.contains("legacy"));
    domain.start()?;
    domain.wait_to_answer()?;
    domain.remove()?;
    fleet.lab.finish()
}
