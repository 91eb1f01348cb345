//! Hosts that are cut off, both ways and one way, and come back.

use anyhow::Result;
use reeve_tests::harness::TestLab;
use reeve_tests::harness::vm::{Vm, check_all_free, define_guests};
use reeve_tests::image::Variant;
use reeve_tests::lab::{CoordinatorSettings, Direction, Place};

/// The host is lost and its VM unknown, never off: it runs on, nothing new goes there, and it is not started elsewhere.
#[test]
fn a_vm_outlives_the_partition_of_its_host() -> Result<()> {
    let lab = TestLab::with_product("partitioned", 2, &[Variant::Good], &CoordinatorSettings::default())?;
    define_guests(&lab, Variant::Good, 2)?;
    for direction in [Direction::Both, Direction::In, Direction::Out] {
        let vm = Vm::start(&lab, "good-1")?;
        let host = vm.host()?;
        let place = Place::Host(host.clone());
        lab.partition(&place, direction)?;
        lab.wait_for_connection(&host, "lost")?;
        vm.wait_for("unknown")?;
        assert_eq!(vm.running_domains()?, [host.as_str()], "{direction:?}");

        let elsewhere = Vm::start(&lab, "good-2")?;
        assert_ne!(elsewhere.host()?, host, "a VM was placed on a lost host");
        elsewhere.destroy()?;

        lab.heal(&place)?;
        lab.wait_for_connection(&host, "connected")?;
        vm.wait_for("running")?;
        vm.check_runs_once()?;
        vm.shut_down()?;
        vm.check_gone()?;
        check_all_free(&lab)?;
    }
    lab.finish()
}

/// A shutdown asked for while the host is cut off is obeyed when it is back.
#[test]
fn a_wish_reaches_a_host_that_was_cut_off() -> Result<()> {
    let lab = TestLab::with_product("wish", 1, &[Variant::Good], &CoordinatorSettings::default())?;
    define_guests(&lab, Variant::Good, 1)?;
    let vm = Vm::start(&lab, "good-1")?;
    lab.partition(&lab.host(1), Direction::Both)?;
    lab.wait_for_connection("host1", "lost")?;
    lab.reeve(&["vm", "shutdown", vm.id(), "--no-wait"])?;
    assert_eq!(vm.running_domains()?, ["host1"]);
    lab.heal(&lab.host(1))?;
    vm.catch(&["stopped"])?;
    vm.check_gone()?;
    check_all_free(&lab)?;
    lab.finish()
}
