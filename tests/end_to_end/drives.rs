//! Drives: made as the realm says, attached to one writer at a time, kept when the VM goes.

use anyhow::{Context, Result, ensure};
use reeve_tests::image::Variant;
use reeve_tests::lab::CoordinatorSettings;

use crate::fleet::Fleet;

#[test]
fn a_drive_has_one_writer_and_outlives_its_vms() -> Result<()> {
    let fleet = Fleet::new("drives", 2, &[Variant::Good], &CoordinatorSettings::default())?;
    let create = |name: &str, size: &str| {
        fleet.lab.reeve(&[
            "drive", "create", name, "--realm", "lab", "--owner", "ada", "--team", "engines", "--size", size,
        ])
    };
    let refused = create("huge", "2 GiB").err().context("a drive above the realm's largest was made")?;
    ensure!(format!("{refused:#}").contains("1 GiB"), "{refused:#}");
    create("data", "64 MiB")?;
    for name in ["writer", "rival"] {
        fleet.create("config", &format!(
            r#"{{"name":"{name}","setup":"good","owner":"ada","team":"engines","drives":[{{"drive":"data"}}]}}"#
        ))?;
    }
    fleet.lab.reeve(&["vm", "start", "writer"])?;
    let vm = fleet.vm("writer")?;
    let (id, host) = (vm["id"].as_str().context("no id")?, vm["host"].as_str().context("no host")?);
    let place = reeve_tests::lab::Place::Host(host.to_owned());
    let disks = fleet.lab.virsh(&place, &["domblklist", id])?;
    ensure!(disks.contains("ticrypt-vm-drives/data"), "{disks}");
    let refused = fleet.lab.reeve(&["vm", "start", "rival"]).err().context("two VMs got one drive")?;
    ensure!(
        format!("{refused:#}").contains("data") && format!("{refused:#}").contains("writer"),
        "{refused:#}"
    );

    fleet.lab.reeve(&["vm", "destroy", "writer"])?;
    fleet.lab.reeve(&["vm", "start", "rival"])?;
    fleet.lab.reeve(&["vm", "destroy", "rival"])?;
    let kept = fleet.lab.reeve(&["volume", "list", "--realm", "lab", "--pool", "drives"])?;
    ensure!(kept.contains("data"), "{kept}");
    fleet.lab.finish()
}
