//! Owns what the classes of a group ask for, side by side, and whether a host has room for each.
//!
//! Must not: answer otherwise than [`Asked::fits`] does for one request.

use super::asked::Asked;
use super::columns::Columns;
use super::scoring::LANES;
use super::strands::Taken;
use crate::device_choice::Entry;

/// What sixteen classes ask for, one lane each.
#[derive(Debug)]
pub(super) struct Asks {
    cores: [u64; LANES],
    memory: [u64; LANES],
    /// Devices, for the lanes that ask for some.
    devices: Vec<(usize, Vec<Entry>)>,
    /// Millicores asked, as floats.
    pub(super) cores_asked: [f64; LANES],
    /// MiB asked.
    pub(super) memory_asked: [f64; LANES],
    /// Thousandths of devices asked.
    pub(super) devices_asked: [f64; LANES],
}

/// What a lane without a class asks for: more than there is.
const NEVER: u64 = u64::MAX;

impl Asks {
    /// Nothing, in any lane.
    pub(super) fn none() -> Self {
        Self {
            cores: [NEVER; LANES],
            memory: [NEVER; LANES],
            devices: Vec::new(),
            cores_asked: [0.0; LANES],
            memory_asked: [0.0; LANES],
            devices_asked: [0.0; LANES],
        }
    }

    /// Which classes have room on a host. The same questions as [`Asked::fits`] asks, lane by lane.
    pub(super) fn fits(&self, columns: &Columns, slot: usize) -> [bool; LANES] {
        let vital = columns.vital(slot);
        let (cores, memory) = (vital.cores, vital.memory);
        let mut fits = [vital.is_open(); LANES];
        for ((fits, asked_cores), asked_memory) in fits.iter_mut().zip(self.cores).zip(self.memory) {
            *fits &= cores.fits(asked_cores) & memory.fits(asked_memory);
        }
        // Most hosts have none, and that is known without looking at them one by one.
        let has_devices = vital.devices.total > 0;
        for (lane, entries) in &self.devices {
            fits[*lane] = fits[*lane] && has_devices && columns.can_serve(slot, entries);
        }
        fits
    }

    /// The devices that lanes ask for, in the order in which they are served; lanes that ask for none are left out.
    pub(super) fn devices(&self) -> impl Iterator<Item = (usize, &[Entry])> {
        self.devices.iter().map(|(lane, entries)| (*lane, entries.as_slice()))
    }

    /// What a lane asks for.
    pub(super) fn taken(&self, lane: usize) -> Taken<'_> {
        let devices = self.devices.iter().find(|(known, _)| *known == lane);
        Taken {
            cores: self.cores[lane],
            memory: self.memory[lane],
            devices: devices.map_or(&[], |(_, entries)| entries),
        }
    }

    /// Has a lane ask for something else.
    pub(super) fn set(&mut self, lane: usize, asked: &Asked) {
        self.cores[lane] = asked.cores;
        self.memory[lane] = asked.memory;
        self.cores_asked[lane] = asked.cores_float();
        self.memory_asked[lane] = asked.memory_float();
        self.devices_asked[lane] = asked.devices_float();
        self.devices.retain(|(known, _)| *known != lane);
        if !asked.devices.is_empty() {
            self.devices.push((lane, asked.devices.clone()));
        }
    }
}
