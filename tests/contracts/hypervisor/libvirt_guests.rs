//! What is promised of guests, with real ones: a Linux with QEMU's guest agent, and some that misbehave.

use std::fs;
use std::time::Duration;

use reeve_agent::hypervisor::{DomainState, Hypervisor as _, HypervisorEvent, InactiveCause};
use reeve_common::clock::{Clock as _, SystemClock};
use reeve_common::ids::VmId;
use reeve_common::units::Mebibytes;
use reeve_common::vm::VmSpec;
use reeve_tests::harness::waiting::poll_until;
use reeve_tests::image::{Builder, MEMORY_MIN_MEBIBYTES, Variant};
use reeve_tests::lab::Workspace;

use crate::subject::{BRICKS, Libvirt, defined, hear, libvirt_alone, listen, spec, volume};

/// Several guests boot under software emulation on two cores that other tests use as well.
const BOOT_PATIENCE: Duration = Duration::from_secs(180);
/// What a ping is given, and what it may take with all that libvirt does before it.
const PING: Duration = Duration::from_secs(2);
const PING_LIMIT: Duration = Duration::from_secs(13);

/// A guest of this kind, started.
fn started(subject: &Libvirt, variant: Variant) -> VmId {
    let image = Builder::new(&Workspace::locate().unwrap().images()).image(variant).unwrap();
    let name = format!("{}.qcow2", variant.name());
    fs::copy(image, subject.daemon.path("pools").join(BRICKS).join(&name)).unwrap();
    let mut spec = VmSpec { memory: Mebibytes(MEMORY_MIN_MEBIBYTES), console: true, ..spec(variant.name()) };
    spec.system_disk.image_volume = volume(&name);
    let vm = defined(subject, &spec);
    subject.hypervisor.start(vm).unwrap();
    vm
}

fn await_console(subject: &Libvirt, vm: VmId, text: &str) {
    poll_until(&format!("{text:?} on the console"), BOOT_PATIENCE, || {
        let console = subject.hypervisor.console(vm, 1 << 16)?;
        Ok(String::from_utf8_lossy(&console).contains(text).then_some(()))
    })
    .unwrap();
}

fn await_answer(subject: &Libvirt, vm: VmId) {
    let ask = || Ok(subject.hypervisor.guest_ping(vm, PING)?.then_some(()));
    poll_until("the guest to answer", BOOT_PATIENCE, ask).unwrap();
}

#[test]
fn a_good_guest_answers_and_obeys() {
    let subject = libvirt_alone();
    let events = listen(&subject.hypervisor);
    let vm = started(&subject, Variant::Good);
    hear(&events, |event| *event == HypervisorEvent::GuestAgent { vm, connected: true });
    await_answer(&subject, vm);
    await_console(&subject, vm, "login:");

    subject.hypervisor.shutdown(vm).unwrap();
    hear(&events, |event| *event == HypervisorEvent::Domain(vm));
    let off = DomainState::Inactive(InactiveCause::ShutDown);
    let look = || Ok((subject.hypervisor.domain(vm)?.unwrap().state == off).then_some(()));
    poll_until("the guest to be off", BOOT_PATIENCE, look).unwrap();
    assert!(!subject.hypervisor.guest_ping(vm, PING).unwrap());
}

#[test]
fn ill_behaved_guests_give_no_sign_of_life_and_hold_up_nobody() {
    let subject = libvirt_alone();
    let bad = [Variant::Mute, Variant::Babbler, Variant::Liar].map(|variant| started(&subject, variant));
    for vm in bad {
        await_console(&subject, vm, "guest agent's port is");
    }
    for _ in 0..2 {
        for vm in bad {
            let asked_at = SystemClock.monotonic();
            assert!(!subject.hypervisor.guest_ping(vm, PING).unwrap());
            assert!(asked_at.elapsed() < PING_LIMIT, "a ping took {:?}", asked_at.elapsed());
        }
    }
    let good = started(&subject, Variant::Good);
    await_answer(&subject, good);
    for vm in bad {
        subject.hypervisor.shutdown(vm).unwrap();
        subject.hypervisor.destroy(vm).unwrap();
    }
    assert!(subject.hypervisor.guest_ping(good, PING).unwrap());
}
