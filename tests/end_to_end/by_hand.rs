//! What somebody does to a VM with virsh is in the coordinator's record within a second.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reeve_common::clock::{Clock as _, SystemClock, Timestamp};
use reeve_coordinator::api::types::Moment;
use reeve_tests::image::Variant;
use reeve_tests::lab::CoordinatorSettings;
use serde_json::Value;

use crate::fleet::Fleet;

const SOON: Duration = Duration::from_secs(1);

/// When the record came into the state it is in.
fn recorded_at(vm: &Value) -> Result<Timestamp> {
    let last = vm["history"].as_array().and_then(|history| history.last()).context("no history")?;
    Ok(serde_json::from_value::<Moment>(last["at"].clone())?.0)
}

#[test]
fn what_is_done_with_virsh_is_recorded_within_a_second() -> Result<()> {
    let fleet = Fleet::new("by-hand", 1, &[Variant::Good], &CoordinatorSettings::default())?;
    fleet.configure("web", "good")?;
    fleet.lab.reeve(&["vm", "start", "web"])?;
    let vm = fleet.vm("web")?;
    let id = vm["id"].as_str().context("no id")?;
    let place = fleet.lab.host(1);
    let mut slowest = Duration::ZERO;
    for (deed, state) in
        [("suspend", "paused"), ("resume", "running"), ("suspend", "paused"), ("destroy", "stopping")]
    {
        fleet.lab.virsh(&place, &[deed, id])?;
        let done_at = SystemClock.now();
        let vm = fleet.wait_for_state(id, &[state, "stopped"])?;
        // Of an end the first word counts, not that all of it is removed.
        let vm = if deed == "destroy" { first_after(&vm, "paused")? } else { recorded_at(&vm)? };
        let took = vm.since(done_at);
        slowest = slowest.max(took);
        ensure!(took <= SOON, "virsh {deed} was recorded after {} ms", took.as_millis());
    }
    println!("the slowest was recorded {} ms after virsh had returned", slowest.as_millis());

    fleet.lab.reeve(&["vm", "start", "web"])?;
    let vm = fleet.vm("web")?;
    let id = vm["id"].as_str().context("no id")?;
    let ledger = ["metadata", id, "--config", "--uri", "urn:reeve:libvirt:vm", "--remove"];
    fleet.lab.virsh(&place, &ledger)?;
    let done_at = SystemClock.monotonic();
    fleet.wait_for_state(id, &["unknown"])?;
    let took = done_at.elapsed();
    println!("a lost ledger was shown {} ms after virsh had returned", took.as_millis());
    let fixed = fleet.lab.reeve(&["realm", "fix-vms", "lab", "--dry-run"])?;
    ensure!(fixed.contains("ledger"), "{fixed}");
    fleet.lab.virsh(&place, &["destroy", id])?;
    fleet.lab.virsh(&place, &["undefine", id])?;
    fleet.wait_for_state(id, &["stopped", "failed"])?;
    fleet.lab.finish()
}

/// The moment of the first change after the last one to `state`.
fn first_after(vm: &Value, state: &str) -> Result<Timestamp> {
    let history = vm["history"].as_array().context("no history")?;
    let before = history.iter().rposition(|change| change["state"] == state).context("it was never so")?;
    let next = history.get(before + 1).context("nothing followed")?;
    Ok(serde_json::from_value::<Moment>(next["at"].clone())?.0)
}
