//! Guests that misbehave: none of them keeps its capacity, and none disturbs its neighbours.

use std::time::Duration;

use anyhow::Result;
use reeve_tests::harness::TestLab;
use reeve_tests::harness::vm::{Vm, check_all_free, define_guests};
use reeve_tests::image::Variant;
use reeve_tests::lab::CoordinatorSettings;

#[test]
fn a_guest_that_never_registers_is_terminated() -> Result<()> {
    let settings =
        CoordinatorSettings { registration_timeout: Duration::from_secs(25), ..Default::default() };
    let images = [Variant::Good, Variant::Mute, Variant::Babbler, Variant::Liar];
    let lab = TestLab::with_product("late", 1, &images, &settings)?;
    define_guests(&lab, Variant::Good, 1)?;
    let good = Vm::start(&lab, "good-1")?;
    // One at a time: the small host has two cores, and one is the good guest's.
    for variant in [Variant::Mute, Variant::Babbler, Variant::Liar] {
        define_guests(&lab, variant, 1)?;
        let vm = Vm::request(&lab, &format!("{}-1", variant.name()))?;
        let ended = vm.catch(&["failed", "running", "stopped"])?;
        assert_eq!(ended, "failed", "{variant:?}: {}", vm.reason()?);
        assert!(vm.reason()?.contains("did not register in its time"), "{variant:?}: {}", vm.reason()?);
        vm.check_gone()?;
        good.check_runs_once()?;
    }
    good.shut_down()?;
    check_all_free(&lab)?;
    lab.finish()
}

#[test]
fn a_guest_that_ignores_its_shutdown_is_destroyed() -> Result<()> {
    let settings = CoordinatorSettings { shutdown_timeout: Duration::from_secs(6), ..Default::default() };
    let lab = TestLab::with_product("deaf", 1, &[Variant::Deaf], &settings)?;
    define_guests(&lab, Variant::Deaf, 1)?;
    let vm = Vm::start(&lab, "deaf-1")?;
    vm.shut_down()?;
    assert!(vm.reason()?.contains("was destroyed"), "{}", vm.reason()?);
    vm.check_gone()?;
    check_all_free(&lab)?;
    lab.finish()
}
