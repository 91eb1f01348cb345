//! What somebody does to a domain by hand is told within a second, whatever it is, and seen as it is then.

use std::time::{Duration, Instant};

use reeve_agent::hypervisor::{DomainState, EventReceiver, HypervisorEvent, InactiveCause, OwnDomain};
use reeve_common::clock::{Clock as _, SystemClock};
use reeve_common::ids::VmId;
use reeve_common::units::Mebibytes;
use reeve_common::vm::VmSpec;
use reeve_tests::harness::waiting::poll_until;

use crate::subject::{PATIENCE, Subject, defined, listen, spec};

/// How soon it must be told.
const SOON: Duration = Duration::from_secs(1);

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
        let done_at: Instant = SystemClock.monotonic();
        loop {
            let left = SOON.saturating_sub(done_at.elapsed());
            let event = self.events.recv_timeout(left);
            let event = event.unwrap_or_else(|_| panic!("{deed:?} was not told within {SOON:?}"));
            if event == HypervisorEvent::Domain(self.vm) {
                break;
            }
        }
        self.subject.hypervisor().domain(self.vm).unwrap()
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
