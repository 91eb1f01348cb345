//! The path of a VM on which nothing goes wrong.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use reeve_tests::harness::TestLab;
use reeve_tests::harness::vm::{Vm, check_all_free, define_guests};
use reeve_tests::image::Variant;
use reeve_tests::lab::CoordinatorSettings;

/// Three hosts, real boots: each start lands where the simulation just before it said, and everything goes again.
#[test]
fn vms_land_where_it_was_foretold_and_leave_nothing() -> Result<()> {
    let lab = TestLab::with_product("path", 3, &[Variant::Good], &CoordinatorSettings::default())?;
    define_guests(&lab, Variant::Good, 4)?;
    let mut vms = Vec::new();
    for configuration in ["good-1", "good-2", "good-3", "good-4"] {
        let foretold =
            lab.reeve_json(&["setup", "simulate", "good", "--owner", "ann", "--team", "physics"])?;
        let vm = Vm::request(&lab, configuration)?;
        vm.catch(&["placed", "defining", "starting", "registering", "running"])?;
        assert_eq!(Some(vm.host()?.as_str()), foretold["chosen"].as_str(), "{configuration}");
        vms.push(vm);
    }
    for vm in &vms {
        vm.wait_for("running")?;
        vm.check_runs_once()?;
    }
    let hosts = vms.iter().map(Vm::host).collect::<Result<BTreeSet<_>>>()?;
    assert!(hosts.len() >= 2, "all on {hosts:?}");

    let console = lab.reeve(&["vm", "logs", vms[0].id(), "--console"])?;
    assert!(console.contains("reeve test guest"), "{console}");
    vms[0].shut_down()?;
    assert_eq!(vms[0].state()?, "stopped");
    assert_eq!(vms[0].reason()?, "shut down on request");
    vms[0].check_gone()?;
    for vm in &vms[1..] {
        vm.check_runs_once()?;
        vm.destroy()?;
        vm.check_gone()?;
    }
    check_all_free(&lab)?;
    let past = lab.reeve_json(&["vm", "past"])?;
    assert_eq!(past.as_array().context("no list")?.len(), 4);
    lab.finish()
}

/// What the simulation says, in the form that programs read.
#[test]
fn a_simulation_explains_every_host_by_every_term() -> Result<()> {
    let lab = TestLab::with_product("simulate", 2, &[Variant::Good], &CoordinatorSettings::default())?;
    define_guests(&lab, Variant::Good, 1)?;
    lab.reeve(&["host", "set-state", "host2", "no-scheduler"])?;
    let explanation = lab.reeve_json(&["setup", "simulate", "good"])?;
    assert_eq!(explanation["chosen"], "host1");
    let hosts = explanation["hosts"].as_array().context("no hosts")?;
    assert_eq!(hosts.len(), 2);
    for host in hosts {
        let terms = host["terms"].as_array().context("no terms")?;
        assert_eq!(terms.len(), 3, "{host}");
        for term in terms {
            assert!(term["before"].is_number() && term["after"].is_number(), "{term}");
        }
    }
    assert_eq!((&hosts[0]["feasible"], &hosts[0]["reason"]), (&true.into(), &serde_json::Value::Null));
    assert_eq!(hosts[1]["feasible"], false);
    assert!(
        hosts[1]["reason"].as_str().is_some_and(|reason| reason.contains("no-scheduler")),
        "{}",
        hosts[1]
    );
    check_all_free(&lab)?;
    lab.finish()
}

/// A VM that no host can take says why, and starts by itself when a host can.
#[test]
fn an_unplaceable_vm_waits_for_room() -> Result<()> {
    let lab = TestLab::with_product("unplaceable", 1, &[Variant::Good], &CoordinatorSettings::default())?;
    define_guests(&lab, Variant::Good, 1)?;
    lab.reeve(&["host", "set-state", "host1", "no-scheduler"])?;
    let vm = Vm::request(&lab, "good-1")?;
    vm.wait_for("unplaceable")?;
    assert!(vm.reason()?.contains("no-scheduler"), "{}", vm.reason()?);
    check_all_free(&lab)?;
    lab.reeve(&["host", "set-state", "host1", "enabled"])?;
    vm.wait_for("running")?;
    vm.check_runs_once()?;
    lab.finish()
}
