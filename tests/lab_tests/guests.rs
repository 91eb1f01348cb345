//! The guest images, on a lab host, by plain libvirt: the good one lives and dies as it should, the others do not.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;
use reeve_tests::harness::TestLab;
use reeve_tests::harness::domain::HandmadeDomain;
use reeve_tests::image::Variant;
use reeve_tests::lab::Daemon;

/// The good guest is off a tenth of a second after the button; one that is on after this has not listened.
const DEAF_FOR: Duration = Duration::from_secs(3);

#[test]
fn the_good_guest_boots_answers_and_powers_off() -> Result<()> {
    let lab = TestLab::new("good-guest", 1, &[Variant::Good])?;
    let host = lab.host(1);
    let first = HandmadeDomain::define(&lab, &host, "first", Variant::Good)?;
    let second = HandmadeDomain::define(&lab, &host, "second", Variant::Good)?;
    first.start()?;
    second.start()?;
    first.wait_to_answer()?;
    first.wait_for_console("reeve-guest login:")?;
    first.wait_for_console("address 192.168.122.")?;
    second.wait_to_answer()?;

    lab.kill(Daemon::Libvirtd, &host, Signal::SIGKILL)?;
    lab.start(Daemon::Libvirtd, &host)?;
    first.wait_to_answer()?;

    first.press_power_button()?;
    first.wait_to_end()?;
    second.ask_agent_to_power_off()?;
    second.wait_to_end()?;
    first.remove()?;
    second.remove()?;
    lab.finish()
}

#[test]
fn ill_behaved_guests_misbehave() -> Result<()> {
    let lab = TestLab::new("bad-guests", 1, &Variant::ALL)?;
    let host = lab.host(1);
    let define = |variant: Variant| HandmadeDomain::define(&lab, &host, variant.name(), variant);
    let (mute, babbler) = (define(Variant::Mute)?, define(Variant::Babbler)?);
    let (liar, deaf) = (define(Variant::Liar)?, define(Variant::Deaf)?);
    for domain in [&mute, &babbler, &liar, &deaf] {
        domain.start()?;
    }
    deaf.wait_to_answer()?;
    for domain in [&mute, &babbler, &liar] {
        domain.wait_for_console("guest agent's port is")?;
        assert!(!domain.answers(), "{domain:?}");
    }
    deaf.press_power_button()?;
    thread::sleep(DEAF_FOR);
    assert_eq!(deaf.state()?, "running");
    for domain in [&mute, &babbler, &liar] {
        domain.press_power_button()?;
        domain.wait_to_end()?;
    }
    lab.finish()
}
