//! Owns the numbers that decide, one column for each, one slot for each host of a realm.
//!
//! Must not: know requests or costs. Amounts are integers below 2^40 each, so that sums are exact, also as floats.

use crate::constraint::Amount;
use crate::cost::Reading;
use crate::device_choice::HostDevices;
use crate::host::Measured;

/// Totals and what is used of them, side by side since they are always read together.
#[derive(Debug, Clone, Default)]
pub(super) struct AmountColumn {
    amounts: Vec<Amount>,
}

impl AmountColumn {
    /// The amount on a host; none where the column does not reach.
    pub(super) fn get(&self, slot: usize) -> Amount {
        self.amounts.get(slot).copied().unwrap_or_default()
    }

    /// The same to be changed.
    fn get_mut(&mut self, slot: usize) -> &mut Amount {
        if self.amounts.len() <= slot {
            self.amounts.resize(slot + 1, Amount::default());
        }
        &mut self.amounts[slot]
    }

    fn take(&mut self, slot: usize, count: u64) {
        self.get_mut(slot).used += count;
    }

    fn give_back(&mut self, slot: usize, count: u64) {
        let amount = self.get_mut(slot);
        amount.used = amount.used.saturating_sub(count);
    }
}

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

/// All numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns {
    /// Host ids.
    pub(super) ids: Vec<u32>,
    /// Whether the host may be chosen at all.
    pub(super) open: Vec<bool>,
    /// The number of the cost function.
    pub(super) functions: Vec<usize>,
    /// How many VMs are counted.
    pub(super) vms: Vec<u64>,
    /// Millicores.
    pub(super) cores: AmountColumn,
    /// MiB.
    pub(super) memory: AmountColumn,
    /// Devices of all classes together, in thousandths.
    pub(super) devices: AmountColumn,
    /// Devices one by one.
    pub(super) host_devices: Vec<HostDevices>,
    /// What was measured.
    pub(super) measured: Vec<Option<Measured>>,
    /// The cost as it is, for functions whose cost before a VM does not depend on the VM.
    pub(super) before: Vec<f64>,
}

impl Columns {
    /// How many slots there are, vacant ones included.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// A new slot, vacant.
    pub(super) fn push_vacant(&mut self) -> usize {
        let slot = self.len();
        self.ids.push(0);
        self.open.push(false);
        self.functions.push(0);
        self.vms.push(0);
        self.measured.push(None);
        self.before.push(f64::NAN);
        self.host_devices.push(HostDevices::default());
        self.set(slot, Row::default());
        slot
    }

    /// Leaves the slots in `order`, in that order.
    pub(super) fn reorder(&mut self, order: &[usize]) {
        fn pick<T: Copy>(column: &mut Vec<T>, order: &[usize]) {
            *column = order.iter().map(|slot| column[*slot]).collect();
        }
        pick(&mut self.ids, order);
        pick(&mut self.open, order);
        pick(&mut self.functions, order);
        pick(&mut self.vms, order);
        pick(&mut self.measured, order);
        pick(&mut self.before, order);
        for column in [&mut self.cores, &mut self.memory, &mut self.devices] {
            column.amounts = order.iter().map(|slot| column.get(*slot)).collect();
        }
        self.host_devices = order.iter().map(|slot| std::mem::take(&mut self.host_devices[*slot])).collect();
    }

    /// Replaces the numbers of one host.
    pub(super) fn set(&mut self, slot: usize, row: Row) {
        self.ids[slot] = row.id;
        self.open[slot] = row.is_open;
        self.functions[slot] = row.function;
        self.vms[slot] = row.vms;
        *self.cores.get_mut(slot) = row.cores;
        *self.memory.get_mut(slot) = row.memory;
        self.change_devices(slot, |devices| *devices = row.devices);
    }

    /// Changes a host's devices; their sum follows.
    pub(super) fn change_devices(&mut self, slot: usize, change: impl FnOnce(&mut HostDevices)) {
        let devices = &mut self.host_devices[slot];
        change(devices);
        *self.devices.get_mut(slot) = Amount { total: devices.total(), used: devices.used() };
    }

    /// Counts one more VM and what it takes.
    pub(super) fn take(&mut self, slot: usize, cores: u64, memory: u64) {
        self.vms[slot] += 1;
        self.cores.take(slot, cores);
        self.memory.take(slot, memory);
    }

    /// Counts one VM less.
    pub(super) fn give_back(&mut self, slot: usize, cores: u64, memory: u64) {
        self.vms[slot] = self.vms[slot].saturating_sub(1);
        self.cores.give_back(slot, cores);
        self.memory.give_back(slot, memory);
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
