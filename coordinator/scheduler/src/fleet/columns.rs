//! Owns the numbers that decide, one slot for each host of a realm.
//!
//! Must not: know requests or costs. Amounts are integers below 2^40 each, so that sums are exact, also as floats.

use reeve_common::ids::HostId;

use super::whole_devices::WholeDevices;
use crate::constraint::Amount;
use crate::cost::Reading;
use crate::device_choice::{Entry, HostDevices};
use crate::host::Measured;

/// The numbers of one host.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Row {
    /// The host's id.
    pub(super) id: u32,
    /// It may be chosen at all.
    pub(super) is_open: bool,
    /// The number of its cost function.
    pub(super) function: usize,
    /// How many VMs are counted there.
    pub(super) vms: u64,
    /// Millicores, others' domains included.
    pub(super) cores: Amount,
    /// MiB, others' domains included.
    pub(super) memory: Amount,
    /// Devices.
    pub(super) devices: HostDevices,
}

/// The numbers of one host that every score is made from: together one line of a processor's cache, since they are always
/// read together and hosts change here and there.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Vital {
    /// Millicores.
    pub(super) cores: Amount,
    /// MiB.
    pub(super) memory: Amount,
    /// Devices of all classes together, in thousandths.
    pub(super) devices: Amount,
    /// The cost as it is, for functions whose cost before a VM does not depend on the VM.
    pub(super) before: f64,
    /// How many VMs are counted.
    pub(super) vms: u32,
    /// Twice the number of the cost function, and one more if the host may be chosen.
    function_and_open: u32,
}

const _: () = assert!(size_of::<Vital>() == 64);

impl Vital {
    const NOTHING: Self = {
        let none = Amount { total: 0, used: 0 };
        Self { cores: none, memory: none, devices: none, before: f64::NAN, vms: 0, function_and_open: 0 }
    };

    /// Whether the host may be chosen at all.
    #[inline]
    pub(super) const fn is_open(&self) -> bool {
        self.function_and_open & 1 == 1
    }

    /// The number of the cost function.
    #[inline]
    pub(super) const fn function(&self) -> usize {
        (self.function_and_open >> 1) as usize
    }

    fn set_function(&mut self, function: usize, is_open: bool) {
        // A number that is too large is that of no function.
        let number = u32::try_from(function).unwrap_or(u32::MAX).min(u32::MAX >> 1);
        self.function_and_open = number << 1 | u32::from(is_open);
    }
}

/// All numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns {
    /// Host ids.
    pub(super) ids: Vec<u32>,
    vital: Vec<Vital>,
    /// Devices one by one.
    pub(super) host_devices: Vec<HostDevices>,
    /// The same in few bytes, by which most requests are answered: the devices lie far apart in memory.
    whole: Vec<WholeDevices>,
    /// What was measured.
    pub(super) measured: Vec<Option<Measured>>,
}

impl Columns {
    /// How many slots there are, vacant ones included.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The host's id.
    pub(super) fn id(&self, slot: usize) -> HostId {
        HostId(self.ids[slot])
    }

    /// The vital numbers of a host.
    #[inline]
    pub(super) fn vital(&self, slot: usize) -> &Vital {
        &self.vital[slot]
    }

    /// Those of all hosts, by slot.
    pub(super) fn vitals(&self) -> impl Iterator<Item = (usize, &Vital)> {
        self.vital.iter().enumerate()
    }

    /// Whether the host may be chosen at all.
    #[inline]
    pub(super) fn is_open(&self, slot: usize) -> bool {
        self.vital[slot].is_open()
    }

    /// The number of the cost function.
    #[inline]
    pub(super) fn function(&self, slot: usize) -> usize {
        self.vital[slot].function()
    }

    /// Gives a host another cost function.
    pub(super) fn set_function(&mut self, slot: usize, function: usize) {
        let is_open = self.is_open(slot);
        self.vital[slot].set_function(function, is_open);
    }

    /// Millicores.
    #[inline]
    pub(super) fn cores(&self, slot: usize) -> Amount {
        self.vital[slot].cores
    }

    /// MiB.
    #[inline]
    pub(super) fn memory(&self, slot: usize) -> Amount {
        self.vital[slot].memory
    }

    /// Notes the cost as it is.
    pub(super) fn set_before(&mut self, slot: usize, before: f64) {
        self.vital[slot].before = before;
    }

    /// Reads what scoring a host reads, and returns a number that means nothing: see `Tournament::touch`.
    #[inline]
    pub(super) fn touch(&self, slot: usize) -> f64 {
        let vital = self.vital.get(slot).map_or(0.0, |vital| vital.before);
        vital + self.whole.get(slot).map_or(0.0, |whole| whole.touch())
    }

    /// A new slot, vacant.
    pub(super) fn push_vacant(&mut self) -> usize {
        let slot = self.len();
        self.ids.push(0);
        self.vital.push(Vital::NOTHING);
        self.measured.push(None);
        self.host_devices.push(HostDevices::default());
        self.whole.push(WholeDevices::default());
        slot
    }

    /// Leaves the slots in `order`, in that order.
    pub(super) fn reorder(&mut self, order: &[usize]) {
        fn pick<T: Copy>(column: &mut Vec<T>, order: &[usize]) {
            *column = order.iter().map(|slot| column[*slot]).collect();
        }
        pick(&mut self.ids, order);
        pick(&mut self.vital, order);
        pick(&mut self.measured, order);
        pick(&mut self.whole, order);
        self.host_devices = order.iter().map(|slot| std::mem::take(&mut self.host_devices[*slot])).collect();
    }

    /// Replaces the numbers of one host.
    pub(super) fn set(&mut self, slot: usize, row: Row) {
        self.ids[slot] = row.id;
        let vital = &mut self.vital[slot];
        vital.set_function(row.function, row.is_open);
        vital.vms = u32::try_from(row.vms).unwrap_or(u32::MAX);
        vital.cores = row.cores;
        vital.memory = row.memory;
        self.change_devices(slot, |devices| *devices = row.devices);
    }

    /// Changes a host's devices; their sum follows.
    pub(super) fn change_devices(&mut self, slot: usize, change: impl FnOnce(&mut HostDevices)) {
        let devices = &mut self.host_devices[slot];
        change(devices);
        self.whole[slot] = WholeDevices::of(devices);
        self.vital[slot].devices = Amount { total: devices.total(), used: devices.used() };
    }

    /// Whether a host's devices can serve all of `entries`.
    #[inline]
    pub(super) fn can_serve(&self, slot: usize, entries: &[Entry]) -> bool {
        self.whole[slot].can_serve(entries).unwrap_or_else(|| self.host_devices[slot].can_serve(entries))
    }

    /// Counts one more VM and what it takes.
    pub(super) fn take(&mut self, slot: usize, cores: u64, memory: u64) {
        let vital = &mut self.vital[slot];
        vital.vms = vital.vms.saturating_add(1);
        vital.cores.used += cores;
        vital.memory.used += memory;
    }

    /// Counts one VM less.
    pub(super) fn give_back(&mut self, slot: usize, cores: u64, memory: u64) {
        let vital = &mut self.vital[slot];
        vital.vms = vital.vms.saturating_sub(1);
        vital.cores.used = vital.cores.used.saturating_sub(cores);
        vital.memory.used = vital.memory.used.saturating_sub(memory);
    }

    /// The devices of one class on a host, in thousandths.
    pub(super) fn devices_of(&self, class: usize, slot: usize) -> Amount {
        let class = self.host_devices.get(slot).and_then(|devices| devices.class(class));
        class.map_or_else(Amount::default, |class| Amount { total: class.total(), used: class.used })
    }

    /// One measured number; NaN where it is not known.
    pub(super) fn measured(&self, slot: usize, reading: Reading) -> f64 {
        let measured = self.measured.get(slot).copied().flatten();
        match (reading, measured) {
            (Reading::Known, known) => f64::from(u8::from(known.is_some())),
            (_, None) => f64::NAN,
            (Reading::CpuLoad, Some(known)) => known.cpu_load,
            (Reading::MemoryLoad, Some(known)) => known.memory_load,
            (Reading::CpuPressure, Some(known)) => known.cpu_pressure,
            (Reading::MemoryPressure, Some(known)) => known.memory_pressure,
            (Reading::DiskPressure, Some(known)) => known.io_pressure,
            (Reading::NetworkRate, Some(known)) => known.network_rate,
            (Reading::DiskRate, Some(known)) => known.disk_rate,
            (Reading::VmsLoad, Some(known)) => known.vms_load,
        }
    }
}
