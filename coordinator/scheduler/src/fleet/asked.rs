//! Owns a request as the numbers that one realm's columns are compared with.

use super::columns::Columns;
use super::holding::{AMOUNT_MAX, whole_devices};
use crate::request::Request;

/// What is asked, by the realm's class numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// Millicores.
    pub(super) cores: u64,
    /// MiB.
    pub(super) memory: u64,
    /// Devices: class number and how many.
    pub(super) devices: Vec<(usize, u64)>,
    /// Devices of all classes, also of those that no host of the realm has.
    device_count: u64,
    /// A class is asked for that no host of the realm has.
    pub(super) is_impossible: bool,
}

impl Asked {
    /// `class_number` gives the column of a device class, if the realm has it.
    pub(super) fn of(request: &Request, class_number: impl Fn(&str) -> Option<usize>) -> Self {
        let mut asked = Self {
            cores: request.cores.0,
            memory: request.memory.0,
            devices: Vec::new(),
            device_count: 0,
            is_impossible: false,
        };
        for (class, count) in whole_devices(request) {
            asked.device_count += u64::from(count);
            match class_number(class.as_str()) {
                Some(number) => asked.devices.push((number, u64::from(count))),
                None => asked.is_impossible = true,
            }
        }
        asked
    }

    /// Whether the host in `slot` has room. The same questions as [`crate::constraint::check`] asks, without words.
    pub(super) fn fits(&self, columns: &Columns, slot: usize) -> bool {
        columns.open[slot]
            && columns.cores.get(slot).fits(self.cores)
            && columns.memory.get(slot).fits(self.memory)
            && !self.is_impossible
            && self.devices.iter().all(|(class, count)| columns.devices_of(*class, slot).fits(*count))
    }

    /// Millicores as a float.
    pub(super) fn cores_float(&self) -> f64 {
        float(self.cores)
    }

    /// MiB as a float.
    pub(super) fn memory_float(&self) -> f64 {
        float(self.memory)
    }

    /// Devices of all classes.
    pub(super) fn devices_float(&self) -> f64 {
        float(self.device_count)
    }

    /// Devices of one class.
    pub(super) fn devices_of_float(&self, class: usize) -> f64 {
        self.devices.iter().find(|(number, _)| *number == class).map_or(0.0, |(_, count)| float(*count))
    }
}

/// An amount as a float: exact, since no amount that is counted is larger than 2^40 and sums stay below 2^53.
#[allow(clippy::cast_precision_loss)] // see above: exact
pub(super) fn float(amount: u64) -> f64 {
    amount.min(AMOUNT_MAX << 12) as f64
}
