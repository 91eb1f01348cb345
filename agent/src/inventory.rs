//! Owns what the host is: gathered from the kernel and the hypervisor, told with each hello.
//!
//! Must not: measure anything that changes by the second; that is `sampler`'s.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reeve_common::hardware_profile::HugePageSize;
use reeve_common::inventory::{HostInventory, NumaNodeInventory};
use reeve_common::text::{TEXT_LENGTH_MAX, printable};
use reeve_common::units::Bytes;
use reeve_common::vm::VirtType;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

use crate::hypervisor::HypervisorFacts;
use crate::vm::driver::{CallKind, Driver};

/// How long the hypervisor is waited for: it answers at once, or within three seconds while it finds out whether KVM
/// works; a libvirt that has just been installed looks at its QEMUs first, for some seconds. One that hangs must not keep
/// the host from saying hello.
const FACTS_PATIENCE: Duration = Duration::from_secs(15);

/// Says what the host is.
pub trait InventorySource: Send + Sync + 'static {
    /// What it is now.
    fn current(&self) -> Pin<Box<dyn Future<Output = HostInventory> + Send + '_>>;
}

/// The machine this runs on, and its hypervisor.
pub struct MachineInventory {
    driver: Driver,
    /// What the kernel says does not change while the agent lives.
    machine: HostInventory,
    /// The hypervisor is upgraded now and then; the last answer serves while it cannot be asked.
    facts: Mutex<Option<HypervisorFacts>>,
}

impl MachineInventory {
    /// Looks at the machine. Blocks for some milliseconds.
    #[must_use]
    pub fn new(driver: Driver) -> Arc<Self> {
        Self::of(look_at_machine(), driver)
    }

    /// The same for a machine that was looked at already.
    #[must_use]
    pub fn of(machine: HostInventory, driver: Driver) -> Arc<Self> {
        Arc::new(Self { driver, machine, facts: Mutex::new(None) })
    }

    async fn gather(&self) -> HostInventory {
        let asked = self.driver.call(CallKind::Ordinary, |hypervisor| hypervisor.facts());
        let asked = tokio::time::timeout(FACTS_PATIENCE, asked).await;
        let facts = {
            let mut last = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
            match asked {
                Ok(Ok(facts)) => *last = Some(facts),
                Ok(Err(error)) => log::debug!("the hypervisor cannot be asked about this host: {error}"),
                Err(_) => log::debug!("the hypervisor does not say what this host is"),
            }
            last.clone()
        };
        combine(self.machine.clone(), facts.as_ref())
    }
}

impl InventorySource for MachineInventory {
    fn current(&self) -> Pin<Box<dyn Future<Output = HostInventory> + Send + '_>> {
        Box::pin(self.gather())
    }
}

/// The hypervisor's word counts where both speak: it may be limited to a part of the machine.
pub(crate) fn combine(machine: HostInventory, facts: Option<&HypervisorFacts>) -> HostInventory {
    let Some(facts) = facts else { return machine };
    HostInventory {
        logical_cpus: if facts.logical_cpus > 0 { facts.logical_cpus } else { machine.logical_cpus },
        memory: if facts.memory.0 > 0 { facts.memory } else { machine.memory },
        hypervisor: printable(&facts.version, TEXT_LENGTH_MAX),
        kvm_usable: facts.automatic_virt_type == VirtType::Kvm,
        processor: facts.processor.clone(),
        huge_pages: huge_pages(&facts.numa_nodes),
        numa_nodes: facts.numa_nodes.clone(),
        pci_devices: facts.pci_devices.clone(),
        mediated_devices: facts.mediated_devices.clone(),
        ..machine
    }
}

/// All huge pages of all nodes.
fn huge_pages(nodes: &[NumaNodeInventory]) -> BTreeMap<HugePageSize, u64> {
    nodes.iter().flat_map(|node| &node.huge_pages).fold(BTreeMap::new(), |mut all, (size, count)| {
        let sum = all.entry(*size).or_insert(0_u64);
        *sum = sum.saturating_add(*count);
        all
    })
}

/// What the kernel says of this machine. Blocks for some milliseconds.
#[must_use]
pub fn look_at_machine() -> HostInventory {
    let wanted = RefreshKind::nothing()
        .with_cpu(CpuRefreshKind::nothing())
        .with_memory(MemoryRefreshKind::nothing().with_ram());
    let text = |text: Option<String>| printable(&text.unwrap_or_default(), TEXT_LENGTH_MAX);
    let (cpu_model, logical_cpus, memory) = match System::new_with_specifics(wanted) {
        Ok(system) => (
            system.cpus().first().map(|cpu| cpu.brand().trim().to_owned()),
            u32::try_from(system.cpus().len()).unwrap_or(u32::MAX),
            Bytes(system.total_memory()).mebibytes(),
        ),
        Err(error) => {
            log::warn!("the machine cannot be looked at: {error}");
            Default::default()
        }
    };
    HostInventory {
        hostname: text(nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok())),
        architecture: std::env::consts::ARCH.to_owned(),
        cpu_model: text(cpu_model),
        logical_cpus,
        memory,
        kernel: text(
            nix::sys::utsname::uname().ok().map(|names| names.release().to_string_lossy().into_owned()),
        ),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        // The rest is the hypervisor's to say.
        ..HostInventory::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reeve_common::inventory::Processor;
    use reeve_common::units::Mebibytes;

    #[test]
    fn this_machine_has_a_name_a_kernel_memory_and_processors() {
        let machine = look_at_machine();
        assert!(!machine.hostname.is_empty() && !machine.kernel.is_empty(), "{machine:?}");
        assert!(machine.memory > Mebibytes(0) && machine.logical_cpus > 0, "{machine:?}");
    }

    #[test]
    fn the_hypervisor_may_be_limited_to_a_part_of_the_machine() {
        let node = |pages| NumaNodeInventory {
            huge_pages: [(HugePageSize(1024), pages)].into(),
            ..NumaNodeInventory::default()
        };
        let machine = HostInventory { logical_cpus: 64, memory: Mebibytes(1000), ..HostInventory::default() };
        let facts = HypervisorFacts {
            version: "libvirt 9.0.0".to_owned(),
            logical_cpus: 48,
            memory: Mebibytes(0),
            automatic_virt_type: VirtType::Kvm,
            processor: Processor::default(),
            numa_nodes: vec![node(2), node(3)],
            pci_devices: [("10de:20b0".parse().unwrap(), 2)].into(),
            mediated_devices: BTreeMap::new(),
        };
        let combined = combine(machine.clone(), Some(&facts));
        assert_eq!((combined.logical_cpus, combined.memory), (48, Mebibytes(1000)));
        assert!(combined.kvm_usable && combined.hypervisor == "libvirt 9.0.0");
        assert_eq!(combined.huge_pages, [(HugePageSize(1024), 5)].into());
        assert_eq!((combined.numa_nodes.len(), combined.pci_devices.len()), (2, 1));
        assert_eq!(combine(machine.clone(), None), machine);
    }
}
