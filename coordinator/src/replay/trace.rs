//! Owns what a trace is: a fleet's hosts, and VMs that come and go. VMs of the same shape are many; a shape is kept once.
//!
//! Must not: be wrong in itself. A trace has a host and a VM, every VM's devices exist in some host, nobody leaves before
//! coming (`reading` sees to it).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use reeve_common::device::{DeviceAmount, DeviceSelector, WHOLE_PERMILLE};
use reeve_common::hardware_profile::Capacity;
use reeve_common::ids::{DeviceClass, HostName, RealmName};
use reeve_common::units::{Mebibytes, Millicores};
use reeve_scheduler::Request;

use super::outcome::Resources;

/// A host of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceHost {
    /// Its name.
    pub name: HostName,
    /// Processor time.
    pub cores: Millicores,
    /// Memory.
    pub memory: Mebibytes,
    /// Its devices, if it has any; all can be shared.
    pub devices: Option<(DeviceClass, u32)>,
}

impl TraceHost {
    /// What of it may be promised: all.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        let devices: BTreeMap<DeviceClass, u32> = self.devices.iter().cloned().collect();
        let divisible_devices: BTreeSet<DeviceClass> = devices.keys().cloned().collect();
        Capacity { cores: self.cores, memory: self.memory, devices, divisible_devices, ..Capacity::default() }
    }

    /// Its size.
    #[must_use]
    pub fn size(&self) -> Resources<u64> {
        let devices = self.devices.as_ref().map_or(0, |(_, count)| u64::from(*count));
        Resources { cores: self.cores.0, memory: self.memory.0, devices: devices * u64::from(WHOLE_PERMILLE) }
    }
}

/// What a VM asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shape {
    /// Processor time.
    pub cores: Millicores,
    /// Memory.
    pub memory: Mebibytes,
    /// Devices, if any.
    pub devices: Option<(DeviceSelector, DeviceAmount)>,
}

impl Shape {
    /// As it is asked of the scheduler.
    #[must_use]
    pub fn request(&self, realm: RealmName) -> Request {
        let devices = self.devices.iter().cloned().collect();
        Request { devices, ..Request::new(realm, self.cores, self.memory) }
    }

    /// How much it takes.
    #[must_use]
    pub fn size(&self) -> Resources<u64> {
        let devices = self.devices.as_ref().map_or(0, |(_, amount)| amount.permille());
        Resources { cores: self.cores.0, memory: self.memory.0, devices }
    }

    /// Whether the host could take it if nobody else were there.
    #[must_use]
    pub fn fits_alone(&self, host: &TraceHost) -> bool {
        let devices = match (&self.devices, &host.devices) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some((selector, amount)), Some((class, count))) => {
                let whole = match amount {
                    DeviceAmount::Whole(asked) => *asked,
                    DeviceAmount::Share(_) => 1,
                };
                selector.admits(class) && whole <= *count
            }
        };
        self.cores <= host.cores && self.memory <= host.memory && devices
    }
}

/// A VM of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceVm {
    /// What it asks for: the number of a shape.
    pub shape: usize,
    /// When it comes, in seconds.
    pub arrive_s: u64,
    /// When it leaves, in seconds; none when it stays.
    pub depart_s: Option<u64>,
}

/// Hosts and VMs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trace {
    /// The hosts in the order of their file: among equals the first is chosen.
    pub hosts: Vec<TraceHost>,
    /// What VMs ask for, each once, with how many VMs do; in the order in which they first come up.
    pub shapes: Vec<(Shape, u64)>,
    /// The VMs in the order of their file.
    pub vms: Vec<TraceVm>,
}

impl Trace {
    /// All hosts together.
    #[must_use]
    pub fn capacity(&self) -> Resources<u64> {
        self.hosts.iter().fold(Resources::default(), |sum, host| sum.plus(host.size()))
    }

    /// What a VM takes.
    #[must_use]
    pub fn size_of(&self, vm: &TraceVm) -> Resources<u64> {
        self.shapes.get(vm.shape).map_or_else(Resources::default, |(shape, _)| shape.size())
    }
}

/// Gives shapes numbers.
#[derive(Debug, Default)]
pub(super) struct ShapeNumbers {
    numbers: HashMap<Shape, usize>,
    shapes: Vec<(Shape, u64)>,
}

impl ShapeNumbers {
    /// The number of a shape, counted once more, and whether it is new.
    pub(super) fn number(&mut self, shape: Shape) -> (usize, bool) {
        if let Some(number) = self.numbers.get(&shape) {
            self.shapes[*number].1 += 1;
            return (*number, false);
        }
        let number = self.shapes.len();
        self.numbers.insert(shape.clone(), number);
        self.shapes.push((shape, 1));
        (number, true)
    }

    /// The shapes by number.
    pub(super) fn into_shapes(self) -> Vec<(Shape, u64)> {
        self.shapes
    }
}
