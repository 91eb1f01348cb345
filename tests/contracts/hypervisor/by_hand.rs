//! What somebody does to a domain by hand is told within a second, whatever it is, and seen as it is then.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reeve_agent::hypervisor::libvirt::{DefinitionFolders, LibvirtHypervisor, LibvirtSettings};
use reeve_agent::hypervisor::{DomainState, EventReceiver, HypervisorEvent, InactiveCause, OwnDomain};
use reeve_common::clock::{Clock as _, SystemClock};
use reeve_common::ids::VmId;
use reeve_common::units::Mebibytes;
use reeve_common::vm::VmSpec;
use reeve_tests::harness::waiting::poll_until;

use crate::subject::{Libvirt, PATIENCE, Subject, defined, hear, listen, settings, spec};

/// How soon it must be told.
const SOON: Duration = Duration::from_secs(1);
/// Domains of a crowded host, and how many of them run. To ask for each in turn would take four seconds.
const CROWD: usize = 20;
const RUNNING: usize = 4;

/// What can be done with virsh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// `start`
    Start,
    /// `suspend`
    Suspend,
    /// `resume`
    Resume,
    /// `setvcpus --live`: to two.
    PlugProcessor,
    /// `destroy`
    Destroy,
    /// `define`, with one processor of two, and as much memory.
    Redefine(Mebibytes),
    /// `setmaxmem --config`
    SetMemory(Mebibytes),
    /// `metadata --set`, to something that is no ledger.
    SpoilLedger,
    /// `metadata --remove`
    RemoveLedger,
    /// `undefine`
    Undefine,
}

struct Scene<'a> {
    subject: &'a dyn Subject,
    events: EventReceiver,
    vm: VmId,
}

impl Scene<'_> {
    /// Does it, waits until it is told, and returns what is seen then.
    fn after(&mut self, deed: Deed) -> Option<OwnDomain> {
        self.events.try_iter().for_each(drop);
        self.subject.do_by_hand(self.vm, deed);
        told_soon(&self.events, self.vm, deed);
        self.subject.hypervisor().domain(self.vm).unwrap()
    }
}

/// Waits until it is told that something was done to a domain just now, and returns how long it took.
fn told_soon(events: &EventReceiver, vm: VmId, deed: Deed) -> Duration {
    let done_at: Instant = SystemClock.monotonic();
    loop {
        let left = SOON.saturating_sub(done_at.elapsed());
        let event = events.recv_timeout(left);
        let event = event.unwrap_or_else(|_| panic!("{deed:?} was not told within {SOON:?}"));
        if event == HypervisorEvent::Domain(vm) {
            return done_at.elapsed();
        }
    }
}

fn state(seen: Option<OwnDomain>) -> DomainState {
    seen.expect("the domain is not ours any more").state
}

fn size(seen: Option<OwnDomain>) -> (u32, Mebibytes) {
    let seen = seen.expect("the domain is not ours any more");
    (seen.vcpus, seen.memory)
}

pub(crate) fn all_is_told_within_a_second(subject: &dyn Subject) {
    let events = listen(subject.hypervisor());
    let vm = defined(subject, &VmSpec { vcpus: 2, ..spec("by-hand") });
    let mut scene = Scene { subject, events, vm };

    assert_eq!(size(scene.after(Deed::Redefine(Mebibytes(64)))), (1, Mebibytes(64)));
    assert_eq!(size(scene.after(Deed::SetMemory(Mebibytes(48)))), (1, Mebibytes(48)));
    assert_eq!(state(scene.after(Deed::Start)), DomainState::Active);
    // Its second event, which says the same, may still be on its way.
    let up =
        || Ok(subject.hypervisor().domain(vm)?.filter(|seen| seen.state == DomainState::Active).map(drop));
    poll_until("the domain to run", PATIENCE, up).unwrap();
    assert_eq!(size(scene.after(Deed::PlugProcessor)), (2, Mebibytes(48)));
    assert_eq!(state(scene.after(Deed::Suspend)), DomainState::Paused);
    assert_eq!(state(scene.after(Deed::Resume)), DomainState::Active);
    assert_eq!(state(scene.after(Deed::Destroy)), DomainState::Inactive(InactiveCause::Destroyed));
    assert_eq!(scene.after(Deed::SpoilLedger), None);
    assert_eq!(scene.after(Deed::RemoveLedger), None);
    assert!(subject.hypervisor().domains().unwrap().foreign.iter().any(|foreign| foreign.id == vm));
    assert_eq!(scene.after(Deed::Undefine), None);
    assert!(subject.hypervisor().domains().unwrap().foreign.iter().all(|foreign| foreign.id != vm));
}

/// A host with many domains, of which the first few run with one processor of two.
fn crowd(subject: &dyn Subject) -> Vec<VmId> {
    let make = |number| {
        let vm = defined(subject, &VmSpec { vcpus: 2, ..spec(&format!("crowd-{number}")) });
        subject.do_by_hand(vm, Deed::Redefine(Mebibytes(32)));
        vm
    };
    let vms: Vec<VmId> = (0..CROWD).map(make).collect();
    for vm in &vms[..RUNNING] {
        subject.hypervisor().start(*vm).unwrap();
    }
    vms
}

/// Waits until everything of before has been told: nothing was for as long as a change may take.
fn quiet(events: &EventReceiver) {
    while events.recv_timeout(SOON).is_ok() {}
}

/// One of many that is given another size, while it runs or for its next start, is told as soon as one of few.
pub(crate) fn a_size_is_told_within_a_second_on_a_crowded_host(subject: &dyn Subject) {
    let events = listen(subject.hypervisor());
    let vms = crowd(subject);
    quiet(&events);
    let (running, off) = vms.split_at(RUNNING);
    for (round, (live, off)) in running.iter().zip(off.chunks(off.len() / RUNNING)).enumerate() {
        subject.do_by_hand(*live, Deed::PlugProcessor);
        let plugged = told_soon(&events, *live, Deed::PlugProcessor);
        assert_eq!(size(subject.hypervisor().domain(*live).unwrap()), (2, Mebibytes(32)));

        let deed = Deed::SetMemory(Mebibytes(48));
        let resized = off.iter().map(|vm| {
            subject.do_by_hand(*vm, deed);
            let took = told_soon(&events, *vm, deed);
            assert_eq!(size(subject.hypervisor().domain(*vm).unwrap()), (1, Mebibytes(48)));
            took
        });
        let resized: Vec<u128> = resized.map(|took| took.as_millis()).collect();
        println!("round {round}: live after {} ms, persistent after {resized:?} ms", plugged.as_millis());
    }
}

/// A libvirt that was killed is watched as before, though a folder of its own was replaced meanwhile, as by an administrator
/// who restores it from a backup.
pub(crate) fn a_size_is_told_within_a_second_after_libvirt_was_away(mut subject: Libvirt) {
    let events = listen(&subject.hypervisor);
    let vms = crowd(&subject);
    subject.go();
    hear(&events, |event| *event == HypervisorEvent::Disconnected);
    let [folder, replaced] = ["etc/qemu", "etc/replaced"].map(|name| subject.daemon.path(name));
    std::fs::rename(&folder, &replaced).unwrap();
    assert!(Command::new("cp").arg("--archive").args([&replaced, &folder]).status().unwrap().success());
    subject.come_back();
    hear(&events, |event| *event == HypervisorEvent::Connected);
    quiet(&events);
    let deeds = [(vms[0], Deed::PlugProcessor), (vms[CROWD - 1], Deed::SetMemory(Mebibytes(48)))];
    for (vm, deed) in deeds {
        subject.do_by_hand(vm, deed);
        println!("{deed:?} was told after {} ms", told_soon(&events, vm, deed).as_millis());
    }
}

/// Where the kernel tells nothing all domains are looked at in turn; where it tells too little that is the net. Either
/// way nothing is lost.
pub(crate) fn a_size_is_told_without_hints(subject: &Libvirt) {
    let vms = crowd(subject);
    let empty = subject.daemon.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let start = |status, persistent| {
        let folders = Some(DefinitionFolders { status, persistent });
        let settings = LibvirtSettings { definition_folders: folders, ..settings(&subject.daemon) };
        LibvirtHypervisor::start(&settings, Arc::new(SystemClock)).unwrap()
    };
    let hypervisors = [
        ("without folders", start(None, None)),
        ("whose folder is not there", start(Some(empty.join("none")), Some(subject.daemon.path("etc/qemu")))),
        ("that is told of nothing", start(Some(empty.clone()), Some(empty))),
    ];
    let all_events = hypervisors.each_ref().map(|(_, hypervisor)| listen(hypervisor));
    // Each looks at all once as soon as it is connected, which is what the deed is held against.
    all_events.iter().for_each(quiet);
    subject.do_by_hand(vms[0], Deed::PlugProcessor);
    let done_at = SystemClock.monotonic();
    for ((which, _), events) in hypervisors.iter().zip(&all_events) {
        hear(events, |event| *event == HypervisorEvent::Domain(vms[0]));
        println!("one {which} told it after {} ms", done_at.elapsed().as_millis());
    }
}
