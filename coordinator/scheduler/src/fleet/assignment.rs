//! Owns which devices a VM got: remembered as long as it is counted, so that exactly these come back.
//!
//! ```text
//!   reserve, restore ─▶ fill ─▶ instances        host known anew ─▶ keep, then fill what is still without
//!   release ─▶ give_back
//! ```
//!
//! Must not: choose; that is the rule's (`device_choice`).

use reeve_common::device::{DeviceAmount, WHOLE_PERMILLE};
use reeve_common::ids::DeviceClass;
use serde::{Deserialize, Serialize};

use super::device_table::DeviceTable;
use super::holding::Shape;
use crate::device_choice::{HostDevices, counted};

/// A device, or a share of one, that a VM holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AssignedDevice {
    /// Its class.
    pub class: DeviceClass,
    /// Which of the host's devices of that class, counted from 0.
    pub instance: u32,
    /// How much of it in thousandths.
    pub permille: u16,
}

/// Which parts of its host a VM got, so that a coordinator that starts anew can tell [`super::Fleet::restore_with`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Assignment {
    /// Devices, entry by entry of what it asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<AssignedDevice>,
    /// NUMA nodes by their number, the lowest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub numa_nodes: Vec<u32>,
}

/// What a VM got for each entry of its devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DeviceAssignment {
    parts: Vec<Part>,
}

/// What it got for one entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Part {
    /// The class that it is counted for.
    class: Option<DeviceClass>,
    /// The instances; none when it is only counted, since the host has nothing for it.
    instances: Vec<usize>,
}

/// What `amount` takes of each instance.
fn each(amount: DeviceAmount) -> u16 {
    match amount {
        DeviceAmount::Whole(_) => WHOLE_PERMILLE,
        DeviceAmount::Share(share) => share.permille(),
    }
}

impl DeviceAssignment {
    /// Takes what it has, unless somebody else has it.
    pub(super) fn keep(&mut self, shape: &Shape, devices: &mut HostDevices, table: &DeviceTable) {
        self.parts.resize(shape.devices.len(), Part::default());
        for (part, (_, amount)) in self.parts.iter_mut().zip(&shape.devices) {
            let number = part.class.as_ref().and_then(|class| table.find(class));
            let kept =
                number.is_some_and(|number| devices.take_again(number, &part.instances, each(*amount)));
            if !kept {
                part.instances.clear();
            }
        }
    }

    /// Takes what it is still without; what nothing serves is counted.
    pub(super) fn fill(&mut self, shape: &Shape, devices: &mut HostDevices, table: &DeviceTable) {
        self.parts.resize(shape.devices.len(), Part::default());
        for (part, (selector, amount)) in self.parts.iter_mut().zip(&shape.devices) {
            if part.instances.is_empty() {
                let served = devices.serve_what_runs(&table.entry(selector, *amount));
                part.class = served.class.and_then(|number| table.name(number)).cloned();
                part.instances = devices.take(served);
            }
        }
    }

    /// Gives everything back, and remembers what it was.
    pub(super) fn give_back(&self, shape: &Shape, devices: &mut HostDevices, table: &DeviceTable) {
        for (part, (_, amount)) in self.parts.iter().zip(&shape.devices) {
            let number = part.class.as_ref().and_then(|class| table.find(class));
            devices.give_back(number, counted(*amount), &part.instances, each(*amount));
        }
    }

    /// Whether every entry got its devices.
    pub(super) fn is_whole(&self) -> bool {
        self.parts.iter().all(|part| !part.instances.is_empty())
    }

    /// What was got for the entries of `shape`, one by one.
    pub(super) fn devices(&self, shape: &Shape) -> Vec<AssignedDevice> {
        let parts = self.parts.iter().zip(&shape.devices);
        let devices = parts.filter_map(|(part, (_, amount))| Some((part.class.as_ref()?, part, *amount)));
        devices
            .flat_map(|(class, part, amount)| {
                part.instances.iter().map(move |instance| AssignedDevice {
                    class: class.clone(),
                    instance: u32::try_from(*instance).unwrap_or(u32::MAX),
                    permille: each(amount),
                })
            })
            .collect()
    }

    /// The assignment that `devices` tells of, as far as they are what `shape` asks for.
    pub(super) fn told(shape: &Shape, devices: &[AssignedDevice]) -> Self {
        let mut left = devices.to_vec();
        let parts = shape.devices.iter().map(|(selector, amount)| {
            let count = match amount {
                DeviceAmount::Whole(count) => usize::try_from(*count).unwrap_or(usize::MAX),
                DeviceAmount::Share(_) => 1,
            };
            let fits =
                |device: &AssignedDevice| selector.admits(&device.class) && device.permille == each(*amount);
            let class = left.iter().find(|device| fits(device)).map(|device| device.class.clone());
            let of_class = |device: &AssignedDevice| fits(device) && Some(&device.class) == class.as_ref();
            let mut instances: Vec<usize> = left
                .iter()
                .filter(|device| of_class(device))
                .map(|device| device.instance as usize)
                .collect();
            instances.sort_unstable();
            instances.dedup();
            instances.truncate(count);
            if instances.len() < count {
                return Part::default();
            }
            left.retain(|device| !(of_class(device) && instances.contains(&(device.instance as usize))));
            Part { class, instances }
        });
        Self { parts: parts.collect() }
    }
}
