//! Owns a request as the numbers that one realm's columns are compared with.

use super::columns::{Columns, Vital};
use super::device_table::DeviceTable;
use super::holding::AMOUNT_MAX;
use super::strands::Taken;
use crate::device_choice::{self, Entry};
use crate::request::Request;

/// What is asked, by the realm's class numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// Millicores.
    pub(super) cores: u64,
    /// MiB, huge pages apart.
    pub(super) memory: u64,
    /// Devices, in the order in which they are served.
    pub(super) devices: Vec<Entry>,
}

impl Asked {
    /// What `request` asks for, where `table` numbers the device classes.
    pub(super) fn of(request: &Request, table: &DeviceTable) -> Self {
        let entries = device_choice::in_order(request).into_iter();
        Self {
            cores: request.cores.0,
            memory: request.ordinary_memory().0,
            devices: entries.map(|(selector, amount)| table.entry(selector, amount)).collect(),
        }
    }

    /// Whether the host in `slot` has room. The same questions as [`crate::constraint::check`] asks, without words.
    pub(super) fn fits(&self, columns: &Columns, slot: usize) -> bool {
        self.has_room(columns.vital(slot))
            && (self.devices.is_empty()
                || (columns.vital(slot).devices.total > 0 && columns.can_serve(slot, &self.devices)))
    }

    /// Whether a host has room as far as devices have no say.
    #[inline]
    pub(super) fn has_room(&self, vital: &Vital) -> bool {
        // Without a branch: which hosts have room is nothing that a processor could guess.
        vital.is_open() & vital.cores.fits(self.cores) & vital.memory.fits(self.memory)
    }

    /// What the VM would take.
    pub(super) fn taken(&self) -> Taken<'_> {
        Taken { cores: self.cores, memory: self.memory, devices: &self.devices }
    }

    /// Millicores as a float.
    #[inline]
    pub(super) fn cores_float(&self) -> f64 {
        float(self.cores)
    }

    /// MiB as a float.
    #[inline]
    pub(super) fn memory_float(&self) -> f64 {
        float(self.memory)
    }

    /// Devices of all classes, in thousandths.
    pub(super) fn devices_float(&self) -> f64 {
        float(self.devices.iter().map(Entry::permille).sum())
    }
}

/// An amount that is asked for as a float: exact, since no amount that is counted is larger than 2^40 and sums stay below
/// 2^53.
#[inline]
pub(super) fn float(amount: u64) -> f64 {
    float_of_sum(amount.min(AMOUNT_MAX << 12))
}

/// A sum of amounts that are counted as a float; it is far below 2^63. Processors turn only signed numbers into floats with
/// one instruction.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_wrap)] // see above: exact
#[inline]
pub(super) const fn float_of_sum(sum: u64) -> f64 {
    sum as i64 as f64
}
