//! Owns what a test does to a simulated host: the steps of guests, faults, and the deeds of other people on the host.

use reeve_common::ids::{PoolName, VmId, VolumeName};
use reeve_common::storage::LockManager;
use reeve_common::units::Mebibytes;

use super::super::HypervisorEvent;
use super::faults::{Call, Fault};
use super::world::{Ending, Run, SimulatedDomain};
use super::{Inside, SimulatedHypervisor};

/// A domain as it really is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainInside {
    /// Its UUID.
    pub vm: VmId,
    /// Whether it has a QEMU.
    pub running: bool,
    /// How often it was started since it was defined.
    pub starts: u32,
    /// Its disks, the system disk first.
    pub disks: Vec<(PoolName, VolumeName)>,
}

impl SimulatedHypervisor {
    /// The next call of this kind fails like this. Several may be planned.
    pub fn plan_fault(&self, call: Call, fault: Fault) {
        self.lock().faults.plan(call, fault);
    }

    /// The hypervisor goes away, or comes back; domains run on.
    pub fn set_reachable(&self, reachable: bool) {
        let mut inside = self.lock();
        if inside.reachable == reachable {
            return;
        }
        if reachable {
            inside.reachable = true;
            inside.emit(HypervisorEvent::Connected);
        } else {
            inside.emit(HypervisorEvent::Disconnected);
            inside.reachable = false;
        }
    }

    /// Somebody has configured the lock manager.
    pub fn set_lock_manager(&self, lock_manager: LockManager) {
        self.lock().lock_manager = lock_manager;
    }

    /// How many calls were made since the beginning.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// The guest's agent comes up and answers. Returns whether there is such a guest, running.
    pub fn let_guest_answer(&self, vm: VmId) -> bool {
        self.step(vm, |domain| match &mut domain.run {
            Run::Active { answering, .. } => {
                *answering = true;
                domain.mute = false;
                Some(HypervisorEvent::GuestAgent { vm, connected: true })
            }
            Run::Inactive(_) => None,
        })
    }

    /// The guest's agent never answers from now on, running or not yet.
    pub fn mute_guest(&self, vm: VmId) -> bool {
        self.step(vm, |domain| {
            domain.mute = true;
            Some(HypervisorEvent::GuestAgent { vm, connected: false })
        })
    }

    /// The guest powers itself off, or obeys the power button.
    pub fn let_guest_power_off(&self, vm: VmId) -> bool {
        self.end(vm, Ending::ShutDown)
    }

    /// QEMU dies.
    pub fn crash(&self, vm: VmId) -> bool {
        self.end(vm, Ending::Crashed)
    }

    /// Somebody suspends the domain, or resumes it.
    pub fn set_paused(&self, vm: VmId, pause: bool) -> bool {
        self.step(vm, |domain| match &mut domain.run {
            Run::Active { paused, .. } => {
                *paused = pause;
                Some(HypervisorEvent::Domain(vm))
            }
            Run::Inactive(_) => None,
        })
    }

    /// The host loses power and comes back: nothing runs and nobody knows why, definitions are still there.
    pub fn lose_power(&self) {
        let mut inside = self.lock();
        for domain in inside.world.domains.values_mut() {
            domain.run = Run::Inactive(Ending::Unknown);
        }
        inside.save(&self.settings);
    }

    /// Every domain as it really is, whether the hypervisor answers or not: what an observer with eyes of their own would
    /// see. Time does not pass by it.
    #[must_use]
    pub fn look_inside(&self) -> Vec<DomainInside> {
        let inside = self.lock();
        let seen = |(vm, domain): (&VmId, &SimulatedDomain)| DomainInside {
            vm: *vm,
            running: domain.is_active(),
            starts: domain.starts,
            disks: domain.disks.clone(),
        };
        inside.world.domains.iter().map(seen).collect()
    }

    /// Every volume of a pool as it really is.
    #[must_use]
    pub fn volumes_inside(&self, pool: &PoolName) -> Vec<VolumeName> {
        let inside = self.lock();
        inside.world.pools.get(pool).map(|pool| pool.volumes.keys().cloned().collect()).unwrap_or_default()
    }

    /// How often the guest was asked to shut down since its start.
    #[must_use]
    pub fn shutdown_requests(&self, vm: VmId) -> u32 {
        self.lock().world.domains.get(&vm).map_or(0, |domain| domain.shutdown_requests)
    }

    /// Somebody else's domain appears.
    pub fn add_foreign_domain(&self, id: VmId, name: &str, active: bool) {
        let mut inside = self.lock();
        let started_at = self.clock.now();
        let run = if active {
            Run::Active { started_at, answering: false, shutdown_at: None, paused: false }
        } else {
            Run::Inactive(Ending::Unknown)
        };
        let domain = SimulatedDomain {
            name: name.to_owned(),
            vcpus: 1,
            memory: Mebibytes(128),
            ledger: None,
            disks: Vec::new(),
            run,
            mute: true,
            shutdown_requests: 0,
            starts: u32::from(active),
            keeps_console: false,
            console: String::new(),
        };
        inside.world.domains.insert(id, domain);
        inside.emit(HypervisorEvent::Domain(id));
        inside.save(&self.settings);
    }

    /// Somebody writes something else into the domain's metadata.
    pub fn overwrite_ledger(&self, vm: VmId, text: &str) -> bool {
        self.step(vm, |domain| {
            domain.ledger = Some(text.to_owned());
            Some(HypervisorEvent::Domain(vm))
        })
    }

    /// Somebody starts or stops a pool. Returns whether there is such a pool.
    pub fn set_pool_active(&self, pool: &PoolName, active: bool) -> bool {
        let mut inside = self.lock();
        let Some(pool) = inside.world.pools.get_mut(pool) else { return false };
        pool.active = active;
        inside.emit(HypervisorEvent::Pools);
        inside.save(&self.settings);
        true
    }

    pub(super) fn end(&self, vm: VmId, ending: Ending) -> bool {
        self.step(vm, |domain| {
            let was_active = domain.is_active();
            if was_active {
                domain.run = Run::Inactive(ending);
            }
            was_active.then_some(HypervisorEvent::Domain(vm))
        })
    }

    pub(super) fn step(
        &self,
        vm: VmId,
        work: impl FnOnce(&mut SimulatedDomain) -> Option<HypervisorEvent>,
    ) -> bool {
        let mut guard = self.lock();
        let inside: &mut Inside = &mut guard;
        let Some(event) = inside.world.domains.get_mut(&vm).and_then(work) else { return false };
        inside.emit(event);
        inside.save(&self.settings);
        true
    }
}
