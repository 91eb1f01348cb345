//! `kill -9` of each daemon at each step of a start: afterwards the VM is there once, or the start has failed with
//! its reason and its capacity is free.

use anyhow::Result;
use nix::sys::signal::Signal;
use reeve_tests::harness::TestLab;
use reeve_tests::harness::vm::{Vm, check_all_free, define_guests};
use reeve_tests::image::Variant;
use reeve_tests::lab::{CoordinatorSettings, Daemon, Place};

/// The steps of a start, each with those behind it: a step that is over before it is seen counts as its next.
const STEPS: [&[&str]; 6] = [
    &["requested", "placed", "defining", "starting", "registering", "running"],
    &["placed", "defining", "starting", "registering", "running"],
    &["defining", "starting", "registering", "running"],
    &["starting", "registering", "running"],
    &["registering", "running"],
    &["running"],
];

/// Kills the daemon at each step of a start and brings it back.
fn kill_at_each_step(name: &str, daemon: Daemon) -> Result<()> {
    let lab = TestLab::with_product(name, 1, &[Variant::Good], &CoordinatorSettings::default())?;
    define_guests(&lab, Variant::Good, 1)?;
    let place = if daemon == Daemon::Coordinator { Place::Coordinator } else { lab.host(1) };
    for step in STEPS {
        let vm = Vm::request(&lab, "good-1")?;
        let seen = vm.catch(step)?;
        lab.kill(daemon, &place, Signal::SIGKILL)?;
        lab.start(daemon, &place)?;
        lab.wait_for_connection("host1", "connected")?;
        let ended = vm.catch(&["running", "failed", "stopped"])?;
        if ended == "running" {
            vm.check_runs_once()?;
            vm.destroy()?;
        } else {
            assert_eq!(ended, "failed", "after a kill when it was {seen}");
            assert!(!vm.reason()?.is_empty(), "a start failed without a reason");
        }
        vm.check_gone()?;
        check_all_free(&lab)?;
    }
    lab.finish()
}

#[test]
fn the_coordinator_is_killed_at_each_step() -> Result<()> {
    kill_at_each_step("kill-coordinator", Daemon::Coordinator)
}

#[test]
fn the_agent_is_killed_at_each_step() -> Result<()> {
    kill_at_each_step("kill-agent", Daemon::Agent)
}

#[test]
fn libvirtd_is_killed_at_each_step() -> Result<()> {
    kill_at_each_step("kill-libvirtd", Daemon::Libvirtd)
}

/// VMs outlive all three, dead at once, and are known again afterwards; one that ended meanwhile is seen to have.
#[test]
fn vms_outlive_every_daemon() -> Result<()> {
    let lab = TestLab::with_product("outlive", 1, &[Variant::Good], &CoordinatorSettings::default())?;
    define_guests(&lab, Variant::Good, 2)?;
    let (kept, lost) = (Vm::request(&lab, "good-1")?, Vm::request(&lab, "good-2")?);
    kept.wait_for("running")?;
    lost.wait_for("running")?;
    let host = lab.host(1);
    lab.kill(Daemon::Coordinator, &Place::Coordinator, Signal::SIGKILL)?;
    lab.kill(Daemon::Agent, &host, Signal::SIGKILL)?;
    lab.virsh(&host, &["destroy", lost.id()])?;
    lab.kill(Daemon::Libvirtd, &host, Signal::SIGKILL)?;
    for (daemon, place) in
        [(Daemon::Libvirtd, &host), (Daemon::Agent, &host), (Daemon::Coordinator, &Place::Coordinator)]
    {
        lab.start(daemon, place)?;
    }
    lab.wait_for_connection("host1", "connected")?;
    kept.wait_for("running")?;
    kept.check_runs_once()?;
    lost.catch(&["failed", "stopped"])?;
    lost.check_gone()?;
    kept.shut_down()?;
    check_all_free(&lab)?;
    lab.finish()
}
