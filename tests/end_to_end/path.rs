//! The path itself: asked, placed where the simulation said, booted, registered, shut down, and nothing left.

use anyhow::{Context, Result, ensure};
use reeve_tests::image::Variant;
use reeve_tests::lab::CoordinatorSettings;

use crate::fleet::Fleet;

#[test]
fn guests_are_placed_booted_registered_and_shut_down() -> Result<()> {
    let fleet = Fleet::new("path", 3, &[Variant::Good], &CoordinatorSettings::default())?;
    let names = ["one", "two", "three", "four"];
    let mut hosts = std::collections::BTreeSet::new();
    for name in names {
        fleet.configure(name, "good")?;
        // The start lands where the simulation said.
        let simulated = fleet.lab.reeve_json(&["setup", "simulate", "good"])?;
        let explained = simulated["hosts"].as_array().context("no hosts")?;
        ensure!(explained.len() == 3);
        for host in explained {
            ensure!(host["feasible"].is_boolean() && host.get("reason").is_some());
            let terms = host["terms"].as_array().context("no terms")?;
            ensure!(
                terms.len() == 3
                    && terms.iter().all(|term| term["before"].is_number() && term["after"].is_number())
            );
        }
        fleet.lab.reeve(&["vm", "start", name, "--no-wait"])?;
        let vm = fleet.vm(name)?;
        ensure!(
            vm["host"] == simulated["chosen"],
            "{name} went to {}, simulated {}",
            vm["host"],
            simulated["chosen"]
        );
        hosts.insert(vm["host"].as_str().context("no host")?.to_owned());
    }
    ensure!(hosts.len() > 1, "all four went to {hosts:?}");
    for name in names {
        let vm = fleet.wait_for_state(name, &["running"])?;
        fleet.there_once_or_gone(&vm)?;
        ensure!(vm["registered-at"].is_string());
    }
    let log = fleet.lab.reeve(&["vm", "logs", "one"])?;
    ensure!(log.contains("running") && log.contains("reeve test guest"), "{log}");

    let vm = fleet.vm("one")?;
    let (id, name) = (vm["id"].as_str().context("no id")?, vm["name"].as_str().context("no name")?);
    fleet.lab.reeve(&["vm", "shutdown", "one"])?;
    let vm = fleet.wait_for_state(id, &["stopped"])?;
    ensure!(vm["reason"] == "shut down on request", "{vm}");
    ensure!(fleet.domains(id)?.is_empty() && !fleet.volumes()?.contains(name));
    ensure!(fleet.lab.reeve(&["vm", "past"])?.contains(name));

    for name in &names[1..] {
        fleet.lab.reeve(&["vm", "destroy", name])?;
    }
    for host in ["host1", "host2", "host3"] {
        ensure!(fleet.promised(host)? == 0, "capacity is left promised on {host}");
    }
    fleet.lab.finish()
}
