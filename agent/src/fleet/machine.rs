//! Owns the machine that a simulated host pretends to be: its name, its size, and how busy it is, varied by chance and by
//! the guests on it. It takes no thread and no file, so that ten thousand can tell it every second.

use std::future::{self, Future};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reeve_common::clock::Clock;
use reeve_common::ids::HostName;
use reeve_common::inventory::HostInventory;
use reeve_common::units::{Bytes, Mebibytes};
use reeve_common::utilization::HostSample;

use super::guests::Guests;
use crate::coordinator_link::Socket;
use crate::host::Host;
use crate::hypervisor::simulated::SimulatedHypervisor;
use crate::hypervisor::{Hypervisor, event_queue};
use crate::inventory::{InventorySource, combine};
use crate::machine::Machine;
use crate::sampler::SampleSource;
use crate::vm::driver::Driver;

/// The processor time of a machine without guests, in thousandths.
const IDLE_CPU_PERMILLE: u64 = 10;
/// What each guest adds.
const GUEST_CPU_PERMILLE: u64 = 15;
/// By how much it varies.
const CPU_PERMILLE_SPREAD: u64 = 20;
/// The memory of the machine's own programs.
const OWN_MEMORY: Mebibytes = Mebibytes(2048);
/// What goes over its links between two samples besides the guests' traffic.
const OWN_TRAFFIC: u64 = 64 << 10;

/// One simulated host's machine.
pub(super) struct SimulatedMachine {
    pub(super) name: HostName,
    pub(super) real: HostInventory,
    pub(super) hypervisor: Arc<SimulatedHypervisor>,
    pub(super) guests: Arc<Guests>,
    pub(super) socket: Socket,
    pub(super) seed: u64,
}

impl Machine for SimulatedMachine {
    fn listen(&self, host: &Host, hypervisor: &dyn Hypervisor) -> io::Result<()> {
        let (sender, events) = event_queue();
        hypervisor.subscribe(sender);
        self.guests.look_after(host.clone(), Arc::clone(&self.hypervisor), events);
        Ok(())
    }

    fn inventory(&self, _host: &Host) -> Arc<dyn InventorySource> {
        let machine = HostInventory { hostname: self.name.to_string(), ..self.real.clone() };
        Arc::new(SimulatedInventory { machine, hypervisor: Arc::clone(&self.hypervisor) })
    }

    fn samples(&self, clock: Arc<dyn Clock>) -> Arc<dyn SampleSource> {
        Arc::new(SimulatedSampler {
            hypervisor: Arc::clone(&self.hypervisor),
            clock,
            seed: self.seed,
            taken: AtomicU64::new(0),
        })
    }

    fn socket(&self) -> Socket {
        self.socket.clone()
    }
}

/// What a simulated host is.
struct SimulatedInventory {
    machine: HostInventory,
    hypervisor: Arc<SimulatedHypervisor>,
}

impl InventorySource for SimulatedInventory {
    fn current(&self) -> Pin<Box<dyn Future<Output = HostInventory> + Send + '_>> {
        // It is all in memory; a real hypervisor would be asked in a thread of its own, for each dial.
        let facts = self.hypervisor.facts().ok();
        Box::pin(future::ready(combine(self.machine.clone(), facts.as_ref())))
    }
}

/// How busy a simulated host is.
struct SimulatedSampler {
    hypervisor: Arc<SimulatedHypervisor>,
    clock: Arc<dyn Clock>,
    seed: u64,
    taken: AtomicU64,
}

impl SimulatedSampler {
    fn sample(&self) -> HostSample {
        // It is all in memory; a real hypervisor would be asked where it may block.
        let vms = self.hypervisor.statistics().unwrap_or_default();
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        let guests = u64::try_from(vms.len()).unwrap_or(u64::MAX);
        let chance = (self.seed ^ taken).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let busy = guests.saturating_mul(GUEST_CPU_PERMILLE).saturating_add(chance % CPU_PERMILLE_SPREAD);
        let cpu_permille =
            u32::try_from(busy.saturating_add(IDLE_CPU_PERMILLE)).unwrap_or(u32::MAX).min(1000);
        let resident = vms.iter().fold(0_u64, |sum, vm| sum.saturating_add(vm.memory_resident.0));
        let traffic = Bytes(taken.saturating_mul(OWN_TRAFFIC));
        HostSample {
            at: self.clock.now(),
            cpu_permille,
            memory_used: Mebibytes(OWN_MEMORY.0.saturating_add(resident)),
            load_permille: cpu_permille,
            cpu_pressure_permille: Some(0),
            memory_pressure_permille: Some(0),
            io_pressure_permille: Some(0),
            network_received: traffic,
            network_sent: traffic,
            vms,
        }
    }
}

impl SampleSource for SimulatedSampler {
    fn take<'a>(&'a self, _driver: &'a Driver) -> Pin<Box<dyn Future<Output = HostSample> + Send + 'a>> {
        Box::pin(future::ready(self.sample()))
    }
}
