//! A VM that no host can take says why, holds nothing, and starts by itself when a host can.

use anyhow::{Result, ensure};
use reeve_tests::image::Variant;
use reeve_tests::lab::CoordinatorSettings;

use crate::fleet::Fleet;

/// The exit code of a start for which no host has room.
const UNPLACEABLE: i32 = 6;

#[test]
fn an_unplaceable_vm_waits_for_room() -> Result<()> {
    let fleet = Fleet::new("room", 1, &[Variant::Good], &CoordinatorSettings::default())?;
    fleet.configure("web", "good")?;
    fleet.lab.reeve(&["host", "set-state", "host1", "no-scheduler"])?;
    let asked = fleet.lab.try_reeve(&["vm", "start", "web", "--no-wait"])?;
    ensure!(asked.status.code() == Some(UNPLACEABLE), "{asked:?}");
    let vm = fleet.vm("web")?;
    ensure!(vm["state"] == "unplaceable", "{vm}");
    ensure!(vm["reason"].as_str().is_some_and(|reason| reason.contains("no-scheduler")), "{vm}");
    ensure!(fleet.promised("host1")? == 0, "capacity is promised to a VM without a place");

    fleet.lab.reeve(&["host", "set-state", "host1", "enabled"])?;
    let vm = fleet.wait_for_state("web", &["running"])?;
    fleet.there_once_or_gone(&vm)?;
    fleet.lab.finish()
}
