//! Owns the numbers that decide, one column for each, one slot for each host of a realm.
//!
//! Must not: know requests or costs. Amounts are integers below 2^40 each, so that sums are exact, also as floats.

use crate::constraint::Amount;
use crate::cost::Reading;
use crate::host::Measured;

/// Totals and what is used of them, side by side since they are always read together.
#[derive(Debug, Default)]
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
    /// Devices by the number of their class; classes without an entry are not there.
    pub(super) devices: Vec<(usize, Amount)>,
}

/// All numbers.
#[derive(Debug, Default)]
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
    /// Devices of all classes together.
    pub(super) devices: AmountColumn,
    /// Devices by the number of their class.
    pub(super) devices_of: Vec<AmountColumn>,
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
        self.set(slot, &Row::default());
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
        let amounts = [&mut self.cores, &mut self.memory, &mut self.devices];
        for column in amounts.into_iter().chain(&mut self.devices_of) {
            column.amounts = order.iter().map(|slot| column.get(*slot)).collect();
        }
    }

    /// Replaces the numbers of one host.
    pub(super) fn set(&mut self, slot: usize, row: &Row) {
        self.ids[slot] = row.id;
        self.open[slot] = row.is_open;
        self.functions[slot] = row.function;
        self.vms[slot] = row.vms;
        *self.cores.get_mut(slot) = row.cores;
        *self.memory.get_mut(slot) = row.memory;
        let mut all = Amount::default();
        for column in &mut self.devices_of {
            *column.get_mut(slot) = Amount::default();
        }
        for (class, amount) in &row.devices {
            all.total += amount.total;
            all.used += amount.used;
            if let Some(column) = self.devices_of.get_mut(*class) {
                *column.get_mut(slot) = *amount;
            }
        }
        *self.devices.get_mut(slot) = all;
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

    /// Counts devices that a VM takes.
    pub(super) fn take_devices(&mut self, slot: usize, class: usize, count: u64) {
        self.devices.take(slot, count);
        if let Some(column) = self.devices_of.get_mut(class) {
            column.take(slot, count);
        }
    }

    /// Counts devices that a VM gives back.
    pub(super) fn give_back_devices(&mut self, slot: usize, class: usize, count: u64) {
        self.devices.give_back(slot, count);
        if let Some(column) = self.devices_of.get_mut(class) {
            column.give_back(slot, count);
        }
    }

    /// The devices of one class on a host.
    pub(super) fn devices_of(&self, class: usize, slot: usize) -> Amount {
        self.devices_of.get(class).map_or_else(Amount::default, |column| column.get(slot))
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
