//! Owns the simulated hypervisor: the same trait and the same rules as libvirt's, without QEMU.
//!
//! It is in the real binary (`--hypervisor simulated`) and under every test of the agent. Guests behave by themselves
//! (automatic) or only when the test says so (stepped, `steps.rs`). It is shared by `Arc`: an agent that ends and
//! another that begins on the same value see domains that ran on, and with a state file so does a new process.
//!
//! Must not: decide anything the agent decides, or wait: time passes by the clock it is given.

mod by_hand;
mod faults;
mod foreign;
mod persistence;
mod settings;
mod steps;
mod storage;
#[cfg(test)]
mod tests;
mod world;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reeve_common::clock::{Clock, Timestamp};
use reeve_common::ids::{PoolName, VmId, VolumeName};
use reeve_common::logging::messages;
use reeve_common::storage::{LockManager, NewVolume, PoolReport, Volume};
use reeve_common::utilization::VmSample;
use reeve_common::vm::{DomainDisk, ForeignDomain, VirtType, VmSpec};

pub use faults::{Call, Fault, FaultKind};
pub use persistence::StateFileError;
pub use settings::{GuestMode, GuestPace, PoolSetting, SimulationSettings};
pub use steps::DomainInside;

use super::{
    Domains, EventSender, Hypervisor, HypervisorError, HypervisorEvent, HypervisorFacts, HypervisorResult,
    LedgerEntry, OwnDomain,
};
use faults::FaultPlan;
use world::World;

/// How often the simulated guests are looked after where nothing else makes time pass: fine enough that a guest
/// which boots in a second is not noticeably late, and cheap for thousands of hosts in one process.
const TICK: Duration = Duration::from_millis(50);

/// A hypervisor without QEMU.
pub struct SimulatedHypervisor {
    settings: SimulationSettings,
    clock: Arc<dyn Clock>,
    inside: Mutex<Inside>,
}

struct Inside {
    world: World,
    faults: FaultPlan,
    reachable: bool,
    lock_manager: LockManager,
    calls: u64,
    events: Option<EventSender>,
}

impl fmt::Debug for SimulatedHypervisor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SimulatedHypervisor").finish_non_exhaustive()
    }
}

impl SimulatedHypervisor {
    /// A simulated host; what its state file holds already is taken over.
    ///
    /// # Errors
    /// The state file is there and cannot be read.
    pub fn new(settings: SimulationSettings, clock: Arc<dyn Clock>) -> Result<Self, StateFileError> {
        let mut world = match &settings.state_file {
            Some(path) => persistence::load(path)?,
            None => World::default(),
        };
        for pool in settings.pools.clone() {
            world.pools.entry(pool.name.clone()).or_insert_with(|| pool.into());
        }
        let inside = Inside {
            world,
            faults: FaultPlan::default(),
            reachable: true,
            lock_manager: LockManager::On,
            calls: 0,
            events: None,
        };
        Ok(Self { settings, clock, inside: Mutex::new(inside) })
    }

    /// Lets time pass by itself in a thread of its own, for as long as the value lives; for the daemon, where nobody
    /// calls [`Self::advance`].
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn run_by_itself(self: &Arc<Self>) -> std::io::Result<()> {
        let weak = Arc::downgrade(self);
        std::thread::Builder::new().name("simulated-guests".to_owned()).spawn(move || {
            while let Some(hypervisor) = weak.upgrade() {
                hypervisor.advance();
                drop(hypervisor);
                std::thread::sleep(TICK);
            }
        })?;
        Ok(())
    }

    /// Lets guests do what is due by now. Every call does so too; this is for a test whose clock was moved.
    pub fn advance(&self) {
        let now = self.clock.now();
        self.lock().advance(now, &self.settings);
    }

    /// When a guest will do something by itself next, for a test that moves its clock.
    #[must_use]
    pub fn next_transition(&self) -> Option<Timestamp> {
        self.lock().world.next_transition(self.settings.guests)
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        // A panic elsewhere leaves the state as it was between two steps; it is still the truth.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one call: unreachable and planned faults first, then time, then the call, then the state file.
    fn call<T>(
        &self,
        call: Call,
        work: impl FnOnce(&mut Inside, Timestamp) -> HypervisorResult<T>,
    ) -> HypervisorResult<T> {
        let now = self.clock.now();
        let mut inside = self.lock();
        inside.calls = inside.calls.saturating_add(1);
        inside.advance(now, &self.settings);
        if !inside.reachable {
            return Err(HypervisorError::Unreachable("the simulated hypervisor is down".to_owned()));
        }
        let fault = inside.faults.take(call);
        if let Some(fault) = fault.as_ref().filter(|fault| !fault.after_effect) {
            return Err(fault.to_error());
        }
        let result = work(&mut inside, now);
        if call.changes() {
            inside.save(&self.settings);
        }
        match fault {
            Some(fault) => Err(fault.to_error()),
            None => result,
        }
    }
}

impl Inside {
    fn emit(&self, event: HypervisorEvent) {
        if let Some(events) = &self.events
            && self.reachable
        {
            events.send(event);
        }
    }

    fn advance(&mut self, now: Timestamp, settings: &SimulationSettings) {
        let events = self.world.advance(now, settings.guests);
        if !events.is_empty() {
            self.save(settings);
        }
        for event in events {
            self.emit(event);
        }
    }

    fn save(&self, settings: &SimulationSettings) {
        if let Some(path) = &settings.state_file
            && let Err(error) = persistence::save(path, &self.world)
        {
            log::error!(MESSAGE_ID:% = messages::STATE_NOT_WRITTEN;
                "{error}; simulated domains would be forgotten by a restart");
        }
    }

    fn emit_if(&self, happened: bool, vm: VmId) {
        if happened {
            self.emit(HypervisorEvent::Domain(vm));
        }
    }
}

impl Hypervisor for SimulatedHypervisor {
    fn subscribe(&self, events: EventSender) {
        self.lock().events = Some(events);
    }

    fn facts(&self) -> HypervisorResult<HypervisorFacts> {
        self.call(Call::Facts, |_, _| {
            Ok(HypervisorFacts {
                version: concat!("simulated ", env!("CARGO_PKG_VERSION")).to_owned(),
                logical_cpus: self.settings.logical_cpus,
                memory: self.settings.memory,
                automatic_virt_type: VirtType::Qemu,
                processor: self.settings.processor.clone(),
                numa_nodes: self.settings.nodes(),
                pci_devices: self.settings.pci_devices.clone(),
                mediated_devices: self.settings.mediated_devices.clone(),
            })
        })
    }

    fn lock_manager(&self) -> LockManager {
        self.lock().lock_manager
    }

    fn domains(&self) -> HypervisorResult<Domains> {
        self.call(Call::Domains, |inside, _| Ok(inside.world.domains()))
    }

    fn domain(&self, vm: VmId) -> HypervisorResult<Option<OwnDomain>> {
        self.call(Call::Domain, |inside, _| Ok(inside.world.domain(vm)))
    }

    fn define(&self, vm: VmId, spec: &VmSpec, ledger: &LedgerEntry) -> HypervisorResult<()> {
        self.call(Call::Define, |inside, _| {
            inside.world.define(vm, spec, ledger)?;
            inside.emit(HypervisorEvent::Domain(vm));
            Ok(())
        })
    }

    fn write_ledger(&self, vm: VmId, ledger: &LedgerEntry) -> HypervisorResult<()> {
        self.call(Call::WriteLedger, |inside, _| inside.world.write_ledger(vm, ledger))
    }

    fn describe_foreign(&self, id: VmId) -> HypervisorResult<Option<(ForeignDomain, Vec<DomainDisk>)>> {
        self.call(Call::DescribeForeign, |inside, _| Ok(inside.world.describe_foreign(id)))
    }

    fn adopt(&self, vm: VmId, ledger: &LedgerEntry) -> HypervisorResult<()> {
        self.call(Call::Adopt, |inside, _| {
            inside.world.adopt(vm, ledger)?;
            inside.emit(HypervisorEvent::Domain(vm));
            Ok(())
        })
    }

    fn release(&self, vm: VmId) -> HypervisorResult<()> {
        self.call(Call::Release, |inside, _| {
            let released = inside.world.release(vm);
            inside.emit_if(released, vm);
            Ok(())
        })
    }

    fn start(&self, vm: VmId) -> HypervisorResult<()> {
        self.call(Call::Start, |inside, now| {
            let started = inside.world.start(vm, now)?;
            inside.emit_if(started, vm);
            Ok(())
        })
    }

    fn shutdown(&self, vm: VmId) -> HypervisorResult<()> {
        self.call(Call::Shutdown, |inside, now| inside.world.shutdown(vm, now, self.settings.guests))
    }

    fn destroy(&self, vm: VmId) -> HypervisorResult<()> {
        self.call(Call::Destroy, |inside, _| {
            let stopped = inside.world.destroy(vm)?;
            inside.emit_if(stopped, vm);
            Ok(())
        })
    }

    fn undefine(&self, vm: VmId) -> HypervisorResult<()> {
        self.call(Call::Undefine, |inside, _| {
            let removed = inside.world.undefine(vm)?;
            inside.emit_if(removed, vm);
            Ok(())
        })
    }

    fn guest_ping(&self, vm: VmId, _patience: Duration) -> HypervisorResult<bool> {
        self.call(Call::GuestPing, |inside, _| inside.world.guest_answers(vm))
    }

    fn statistics(&self) -> HypervisorResult<Vec<VmSample>> {
        self.call(Call::Statistics, |inside, now| Ok(inside.world.statistics(now)))
    }

    fn pools(&self, names: &[PoolName]) -> HypervisorResult<Vec<PoolReport>> {
        self.call(Call::Pools, |inside, _| {
            if self.settings.boundless_storage {
                inside.world.invent_pools(names);
            }
            Ok(inside.world.pool_reports(names))
        })
    }

    fn volumes(&self, pool: &PoolName) -> HypervisorResult<Vec<Volume>> {
        self.call(Call::Volumes, |inside, _| inside.world.volumes(pool))
    }

    fn create_volume(&self, volume: &NewVolume) -> HypervisorResult<()> {
        self.call(Call::CreateVolume, |inside, _| {
            if self.settings.boundless_storage {
                inside.world.invent_pools([&volume.pool]);
            }
            inside.world.create_volume(volume)
        })
    }

    fn create_system_disk(&self, spec: &VmSpec) -> HypervisorResult<()> {
        self.call(Call::CreateSystemDisk, |inside, _| {
            if self.settings.boundless_storage {
                inside.world.invent_image(spec);
            }
            inside.world.create_system_disk(spec)
        })
    }

    fn delete_volume(&self, pool: &PoolName, volume: &VolumeName) -> HypervisorResult<()> {
        self.call(Call::DeleteVolume, |inside, _| inside.world.delete_volume(pool, volume).map(drop))
    }

    fn console(&self, vm: VmId, length_max: u32) -> HypervisorResult<Vec<u8>> {
        self.call(Call::Console, |inside, _| inside.world.console(vm, length_max))
    }
}
