//! Measured load moves a decision: a guest that is busy drives the next VM away from its host, and one that is idle again
//! lets it come back.

use anyhow::{Context, Result, ensure};
use reeve_tests::harness::waiting::poll_until;
use reeve_tests::image::Variant;
use reeve_tests::lab::{CoordinatorSettings, Place};
use serde_json::Value;

use crate::fleet::{Fleet, PATIENCE};

/// Hosts in use are preferred, and what VMs burn there weighs more: one busy processor of two is 5.
const COST_TERMS: &str = r#"
    unused = "before.vms > 0 ? 0 : 1"
    heat   = "measured.known ? 10 * measured.vms.load : 0"
"#;

#[test]
fn a_busy_guest_drives_the_next_vm_away_and_an_idle_one_lets_it_come() -> Result<()> {
    let settings = CoordinatorSettings { cost_terms: COST_TERMS, ..CoordinatorSettings::default() };
    let fleet = Fleet::new("measured", 2, &[Variant::Good], &settings)?;
    for name in ["busy", "next"] {
        fleet.configure(name, "good")?;
    }
    fleet.lab.reeve(&["vm", "start", "busy"])?;
    let busy = fleet.vm("busy")?;
    let (host, domain) =
        (busy["host"].as_str().context("no host")?, busy["name"].as_str().context("no name")?);
    let place = Place::Host(host.to_owned());
    // Booted and idle: the host in use is the better one.
    wait_for_choice(&fleet, &|chosen| chosen == host)?;

    let command =
        r#"{"execute":"guest-exec","arguments":{"path":"/bin/sh","arg":["-c","while :; do :; done"]}}"#;
    let answer = fleet.lab.virsh(&place, &["qemu-agent-command", domain, command])?;
    let answer: Value = serde_json::from_str(&answer).context("the guest agent's answer")?;
    let pid = answer["return"]["pid"].as_u64().with_context(|| format!("no pid in {answer}"))?;
    let explained = wait_for_choice(&fleet, &|chosen| chosen != host)?;
    ensure!(heat(&explained, host)? > 1.0, "{explained}");
    // Not only asked: done.
    fleet.lab.reeve(&["vm", "start", "next", "--no-wait"])?;
    ensure!(fleet.vm("next")?["host"] != host, "next was started on the busy host {host}");
    fleet.lab.reeve(&["vm", "destroy", "next"])?;

    let command = format!(
        r#"{{"execute":"guest-exec","arguments":{{"path":"/bin/sh","arg":["-c","kill -9 {pid}"]}}}}"#
    );
    fleet.lab.virsh(&place, &["qemu-agent-command", domain, &command])?;
    let explained = wait_for_choice(&fleet, &|chosen| chosen == host)?;
    ensure!(heat(&explained, host)? < 1.0, "{explained}");
    fleet.lab.finish()
}

/// Waits until the simulation chooses a host that is `wanted`, and gives its explanation.
fn wait_for_choice(fleet: &Fleet, wanted: &dyn Fn(&str) -> bool) -> Result<Value> {
    poll_until("the choice to follow the load", PATIENCE, || {
        let explained = fleet.lab.reeve_json(&["setup", "simulate", "good"])?;
        let chosen = explained["chosen"].as_str().context("no host is chosen")?;
        Ok(wanted(chosen).then_some(explained))
    })
}

/// What the load adds to a host's cost.
fn heat(explained: &Value, host: &str) -> Result<f64> {
    let hosts = explained["hosts"].as_array().context("no hosts")?;
    let found = hosts.iter().find(|explained| explained["name"] == host || explained["host"] == host);
    let terms = found.context("the host is not explained")?["terms"].as_array().context("no terms")?;
    let heat = terms.iter().find(|term| term["term"] == "heat").context("no heat")?;
    heat["after"].as_f64().context("heat is no number")
}
