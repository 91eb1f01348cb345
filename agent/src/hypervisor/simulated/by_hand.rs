//! Owns what other people do to domains on a simulated host behind the agent's back, as they would with virsh. Each deed
//! is told as an event, as libvirt tells it.

use reeve_common::ids::{PoolName, VmId, VolumeName};
use reeve_common::units::Mebibytes;

use super::super::HypervisorEvent;
use super::SimulatedHypervisor;
use super::world::{Ending, Run};

impl SimulatedHypervisor {
    /// Somebody starts a domain that does not run. Returns whether there is one.
    pub fn start_by_hand(&self, vm: VmId) -> bool {
        let started_at = self.clock.now();
        self.step(vm, |domain| {
            let off = !domain.is_active();
            if off {
                domain.run = Run::Active { started_at, answering: false, shutdown_at: None, paused: false };
                domain.starts = domain.starts.saturating_add(1);
            }
            off.then_some(HypervisorEvent::Domain(vm))
        })
    }

    /// Somebody pulls the plug of a domain that runs. Returns whether there is one.
    pub fn destroy_by_hand(&self, vm: VmId) -> bool {
        self.end(vm, Ending::Destroyed)
    }

    /// Somebody removes the definition of a domain that does not run. Returns whether there is one.
    pub fn undefine_by_hand(&self, vm: VmId) -> bool {
        let mut inside = self.lock();
        let off = inside.world.domains.get(&vm).is_some_and(|domain| !domain.is_active());
        if off {
            inside.world.domains.remove(&vm);
            inside.emit(HypervisorEvent::Domain(vm));
            inside.save(&self.settings);
        }
        off
    }

    /// Somebody gives a domain another size. Returns whether there is such a domain.
    pub fn resize(&self, vm: VmId, vcpus: u32, memory: Mebibytes) -> bool {
        self.step(vm, |domain| {
            (domain.vcpus, domain.memory) = (vcpus, memory);
            Some(HypervisorEvent::Domain(vm))
        })
    }

    /// Somebody gives a domain these disks. Returns whether there is such a domain.
    pub fn give_disks(&self, vm: VmId, disks: Vec<(PoolName, VolumeName)>) -> bool {
        self.step(vm, |domain| {
            domain.disks = disks;
            Some(HypervisorEvent::Domain(vm))
        })
    }

    /// Somebody removes our metadata from a domain. Returns what it was, if there was any.
    pub fn remove_ledger(&self, vm: VmId) -> Option<String> {
        let mut removed = None;
        self.step(vm, |domain| {
            removed = domain.ledger.take();
            removed.is_some().then_some(HypervisorEvent::Domain(vm))
        });
        removed
    }
}
