//! Owns how much of what a host has left is stranded: free, and of no use to the requests that are to be expected.
//!
//! A realm's catalogue says what is expected: shapes of VMs, each with a weight that says how often. Of the shapes, c, m
//! and g are the mean cores, memory and devices of all of them, those without devices included. On a host with C cores,
//! M memory and D devices free, k = min(C / c, M / m) VMs of the mean find room:
//!
//! ```text
//!   devices = lockout + splinters + lack                                        in devices
//!     lockout    D x the share of the shapes with devices that the host cannot take at all
//!     splinters  sum over its devices of W[what is free of it]: what is expected to stay free for good
//!     lack       max(0, D - g k): devices that the cores and the memory left cannot accompany
//!   cores   = max(0, C - c k'),  memory = max(0, M - m k')                      in cores, in MiB
//!     k' = min(k, D / g) on a host with devices, else k
//! ```
//!
//! W[x] is the part of a device with x free that is expected to be free still after 64 requests for devices were offered to
//! it, each taken if it fits: `W_0[x] = x, W_i[x] = sum over shares s of q_s (s <= x ? W_(i-1)[x - s] : W_(i-1)[x])`,
//! where q_s is how often the share s is asked for; a whole device is a share of all of it.
//!
//! Everything that must be equal for equal hosts is worked out in integers first, so that no order of adding up, and no
//! noise of rounding, tells two hosts apart that are the same.
//!
//! Must not: know the fleet, or which VM is to be placed.

use std::collections::BTreeMap;

use reeve_common::device::{DeviceAmount, DeviceSelector, WHOLE_PERMILLE};

use crate::constraint::Amount;
use crate::cost::StrandedPart;
use crate::device_choice::{self, Entry, HostDevices, INSTANCES_MAX};
use crate::request::Request;

/// After so many offers hardly anything changes any more.
const OFFERS: usize = 64;
/// Parts of a thousandth of a device in which leftovers are counted.
const FRACTION: u64 = 1 << 20;
/// The most millicores or MiB of a shape that are counted. No host has more.
const AMOUNT_MAX: u64 = 1 << 40;

/// What is stranded on a host: the attributes `stranded.cores`, `stranded.memory` and `stranded.devices`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stranded {
    /// Cores.
    pub cores: f64,
    /// MiB.
    pub memory: f64,
    /// Devices. What is stranded for several reasons counts for each, so it may be more than is free.
    pub devices: f64,
}

/// What is expected to be asked for.
#[derive(Debug, Clone)]
pub(crate) struct Catalogue {
    /// The shapes with devices, by the devices.
    demands: Vec<Demand>,
    /// The weight of all shapes with devices.
    device_weight: u64,
    /// The means of all shapes: millicores, MiB, thousandths of devices.
    mean: Mean,
    /// W by the thousandths that are free, in thousandths of a device times [`FRACTION`].
    leftover: Vec<u64>,
}

/// Devices as they are asked for, in the order in which they are served.
type DevicesAsked = Vec<(DeviceSelector, DeviceAmount)>;

/// Shapes that want the same devices.
#[derive(Debug, Clone)]
struct Demand {
    devices: DevicesAsked,
    entries: Vec<Entry>,
    shapes: Vec<Shape>,
    weight: u64,
}

/// One of them.
#[derive(Debug, Clone, Copy)]
struct Shape {
    cores: u64,
    memory: u64,
    weight: u64,
}

/// Means of a catalogue.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    cores: f64,
    memory: f64,
    devices: f64,
}

/// What a host has and what is used of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room<'a> {
    /// Millicores.
    pub(crate) cores: Amount,
    /// MiB.
    pub(crate) memory: Amount,
    /// Devices.
    pub(crate) devices: &'a HostDevices,
}

impl Catalogue {
    /// Of requests with weights; those without weight are left out, and of nothing there is no catalogue. `entry` numbers the
    /// classes of devices.
    pub(crate) fn new(
        expected: &[(Request, u32)],
        entry: impl Fn(&DeviceSelector, DeviceAmount) -> Entry,
    ) -> Option<Self> {
        let mut demands: BTreeMap<DevicesAsked, BTreeMap<(u64, u64), u64>> = BTreeMap::new();
        for (request, weight) in expected.iter().filter(|(_, weight)| *weight > 0) {
            let devices = device_choice::in_order(request).into_iter();
            let devices = devices.map(|(selector, amount)| (selector.clone(), amount)).collect();
            let size = (request.cores.0.min(AMOUNT_MAX), request.ordinary_memory().0.min(AMOUNT_MAX));
            *demands.entry(devices).or_default().entry(size).or_default() += u64::from(*weight);
        }
        let demands = demands.into_iter().map(|(devices, sizes)| {
            let shapes: Vec<Shape> =
                sizes.into_iter().map(|((cores, memory), weight)| Shape { cores, memory, weight }).collect();
            let weight = shapes.iter().map(|shape| shape.weight).sum();
            Demand { devices, entries: Vec::new(), shapes, weight }
        });
        let mut demands: Vec<Demand> = demands.collect();
        if demands.is_empty() {
            return None;
        }
        let mean = Mean::of(&demands);
        demands.retain(|demand| !demand.devices.is_empty());
        let device_weight = demands.iter().map(|demand| demand.weight).sum();
        let mut catalogue = Self { leftover: leftover(&demands), demands, device_weight, mean };
        catalogue.number(entry);
        Some(catalogue)
    }

    /// Numbers the classes of devices anew.
    pub(crate) fn number(&mut self, entry: impl Fn(&DeviceSelector, DeviceAmount) -> Entry) {
        for demand in &mut self.demands {
            demand.entries =
                demand.devices.iter().map(|(selector, amount)| entry(selector, *amount)).collect();
        }
    }

    /// How much of `what` is stranded: cores, MiB or devices, or all as shares of what the host has.
    pub(crate) fn stranded(&self, what: StrandedPart, room: &Room<'_>) -> f64 {
        let share = |stranded: f64, total: u64| if total == 0 { 0.0 } else { stranded / float(total) };
        match what {
            StrandedPart::Devices => self.devices(room),
            StrandedPart::Cores => self.cores(room) / CORE,
            StrandedPart::Memory => self.memory(room),
            StrandedPart::All => {
                share(self.devices(room) * WHOLE, room.devices.total())
                    + share(self.cores(room), room.cores.total)
                    + share(self.memory(room), room.memory.total)
            }
        }
    }

    fn devices(&self, room: &Room<'_>) -> f64 {
        let free = room.devices.free();
        if free == 0 {
            return 0.0;
        }
        let free = float(free) / WHOLE;
        let lockout = if self.device_weight == 0 {
            0.0
        } else {
            free * float(self.locked_out(room)) / float(self.device_weight)
        };
        let splinters = float(self.splinters(room.devices)) / (WHOLE * float(FRACTION));
        let devices = self.mean.devices / WHOLE;
        let accompanied = if devices > 0.0 { devices * self.mean.find_room(room) } else { 0.0 };
        lockout + splinters + (free - accompanied).max(0.0)
    }

    /// Millicores.
    fn cores(&self, room: &Room<'_>) -> f64 {
        beyond(room.cores.free(), self.mean.cores, self.find_room(room))
    }

    /// MiB.
    fn memory(&self, room: &Room<'_>) -> f64 {
        beyond(room.memory.free(), self.mean.memory, self.find_room(room))
    }

    /// How many VMs of the mean find room; a host without devices is not expected to take their devices as well.
    fn find_room(&self, room: &Room<'_>) -> f64 {
        let count = self.mean.find_room(room);
        if room.devices.total() == 0 {
            return count;
        }
        count.min(limit(room.devices.free(), self.mean.devices))
    }

    /// The weight of the shapes with devices that the host cannot take.
    fn locked_out(&self, room: &Room<'_>) -> u64 {
        let (cores, memory) = (room.cores.free(), room.memory.free());
        let weight = |demand: &Demand| {
            if !room.devices.can_serve(&demand.entries) {
                return demand.weight;
            }
            let too_large = |shape: &Shape| (shape.cores > cores) | (shape.memory > memory);
            demand.shapes.iter().map(|shape| shape.weight * u64::from(too_large(shape))).sum()
        };
        self.demands.iter().map(weight).sum()
    }

    /// The sum of W over the devices.
    fn splinters(&self, devices: &HostDevices) -> u64 {
        let instances = devices.classes().iter().flat_map(|class| &class.free);
        instances.map(|free| self.leftover.get(usize::from(*free)).copied().unwrap_or_default()).sum()
    }
}

impl Mean {
    fn of(demands: &[Demand]) -> Self {
        let total: u128 = demands.iter().map(|demand| u128::from(demand.weight)).sum();
        let sum = |of: &dyn Fn(&Demand, &Shape) -> u64| {
            let shapes =
                demands.iter().flat_map(|demand| demand.shapes.iter().map(move |shape| (demand, shape)));
            shapes
                .map(|(demand, shape)| u128::from(of(demand, shape)) * u128::from(shape.weight))
                .sum::<u128>()
        };
        let devices = |demand: &Demand, _: &Shape| {
            demand.devices.iter().map(|(_, amount)| device_choice::counted(*amount)).sum()
        };
        Self {
            cores: ratio(sum(&|_, shape| shape.cores), total),
            memory: ratio(sum(&|_, shape| shape.memory), total),
            devices: ratio(sum(&devices), total),
        }
    }

    /// How many VMs of the mean have cores and memory.
    fn find_room(&self, room: &Room<'_>) -> f64 {
        limit(room.cores.free(), self.cores).min(limit(room.memory.free(), self.memory))
    }
}

/// How many times the mean is in what is free. What the mean has none of sets no limit.
fn limit(free: u64, mean: f64) -> f64 {
    if mean > 0.0 { float(free) / mean } else { f64::INFINITY }
}

/// What is free beyond what `count` VMs of the mean take. Of what limits the count nothing is left; to work that out would
/// give noise.
fn beyond(free: u64, mean: f64, count: f64) -> f64 {
    if limit(free, mean) <= count && mean > 0.0 || count.is_infinite() {
        0.0
    } else {
        (float(free) - mean * count).max(0.0)
    }
}

/// The table W.
fn leftover(demands: &[Demand]) -> Vec<u64> {
    let mut offered: BTreeMap<usize, u128> = BTreeMap::new();
    for demand in demands {
        for (_, amount) in &demand.devices {
            let (share, count) = match amount {
                DeviceAmount::Whole(count) => (WHOLE_PERMILLE, usize::try_from(*count).unwrap_or(usize::MAX)),
                DeviceAmount::Share(share) => (share.permille(), 1),
            };
            let count = count.min(INSTANCES_MAX) as u128;
            *offered.entry(usize::from(share)).or_default() += count * u128::from(demand.weight);
        }
    }
    let total: u128 = offered.values().sum();
    if total == 0 {
        return Vec::new();
    }
    let mut left: Vec<u64> = (0..=u64::from(WHOLE_PERMILLE)).map(|free| free * FRACTION).collect();
    for _ in 0..OFFERS {
        let after = |free: usize| {
            let expected = offered.iter().map(|(share, weight)| {
                let free = free.checked_sub(*share).unwrap_or(free);
                u128::from(left.get(free).copied().unwrap_or_default()) * weight
            });
            u64::try_from(expected.sum::<u128>() / total).unwrap_or(u64::MAX)
        };
        left = (0..left.len()).map(after).collect();
    }
    left
}

/// Thousandths of a device in a device.
const WHOLE: f64 = WHOLE_PERMILLE as f64;
/// Millicores in a core.
const CORE: f64 = 1000.0;

/// An amount as a float.
#[allow(clippy::cast_precision_loss)] // amounts are far below 2^53; weights may be larger, and only their ratio counts
fn float(amount: u64) -> f64 {
    amount as f64
}

#[allow(clippy::cast_precision_loss)] // a mean need not be exact
fn ratio(sum: u128, total: u128) -> f64 {
    if total == 0 { 0.0 } else { sum as f64 / total as f64 }
}

#[cfg(test)]
mod tests {
    use reeve_common::device::Share;
    use reeve_common::ids::RealmName;
    use reeve_common::units::{Mebibytes, Millicores};

    use super::*;

    fn request(cores: u64, memory: u64, devices: &[(&str, DeviceAmount)]) -> Request {
        Request {
            devices: devices.iter().map(|(selector, amount)| (selector.parse().unwrap(), *amount)).collect(),
            ..Request::new(RealmName::new("r").unwrap(), Millicores(cores), Mebibytes(memory))
        }
    }

    fn share(permille: u16) -> DeviceAmount {
        DeviceAmount::Share(Share::new(permille).unwrap())
    }

    /// Class `a` has number 0, class `b` number 1.
    fn entry(selector: &DeviceSelector, amount: DeviceAmount) -> Entry {
        let numbers = [("a", 0), ("b", 1)].into_iter();
        let admitted = numbers.filter(|(name, _)| ["*", name].contains(&selector.to_string().as_str()));
        let classes = admitted.map(|(_, number)| Some(number)).collect();
        Entry { classes, is_for_any: selector.alternatives().is_empty(), amount }
    }

    /// On average 2.5 cores, 1500 MiB and 0.375 devices.
    fn catalogue() -> Catalogue {
        let expected = [
            (request(1000, 1000, &[]), 2),
            (request(3000, 1000, &[("a", share(500))]), 1),
            (request(5000, 3000, &[("*", DeviceAmount::Whole(1))]), 1),
            (request(9000, 9000, &[("b", DeviceAmount::Whole(9))]), 0),
        ];
        Catalogue::new(&expected, entry).unwrap()
    }

    /// A host with 10 cores and 12,000 MiB.
    fn room(cores_free: u64, memory_free: u64, devices: &HostDevices) -> Room<'_> {
        let amount = |total, free| Amount { total, used: total - free };
        Room { cores: amount(10_000, cores_free), memory: amount(12_000, memory_free), devices }
    }

    fn parts(room: &Room<'_>) -> [f64; 4] {
        let catalogue = catalogue();
        let parts = [StrandedPart::Devices, StrandedPart::Cores, StrandedPart::Memory, StrandedPart::All];
        parts.map(|part| catalogue.stranded(part, room))
    }

    fn assert_near(found: [f64; 4], expected: [f64; 4]) {
        let is_near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-5);
        assert!(is_near, "{found:?} instead of {expected:?}");
    }

    /// Two devices, of which 600 thousandths of one are left.
    fn devices() -> HostDevices {
        let mut devices = HostDevices::new([(0, 2, true)].into_iter());
        assert!(devices.take_again(0, &[1], 400));
        devices
    }

    #[test]
    fn splinters_and_lack_add_up() {
        // 3.2 VMs of the mean find cores and take 1.2 devices of 1.6; 100 thousandths of one are too few for any.
        assert_near(parts(&room(8000, 9000, &devices())), [0.1 + 0.4, 0.0, 4200.0, 0.25 + 0.35]);
    }

    #[test]
    fn a_host_that_cannot_take_a_shape_locks_it_out() {
        // 4 cores: no room for the shape with 5, which is half of those with devices; 0.6 devices are accompanied.
        let [devices, ..] = parts(&room(4000, 9000, &devices()));
        assert!((devices - (0.8 + 0.1 + 1.0)).abs() < 1e-5, "{devices}");
        // Another class: only the shape that takes any finds a device; both find nothing where they may not be shared.
        let other = HostDevices::new([(1, 1, true)].into_iter());
        let [devices, ..] = parts(&room(10_000, 12_000, &other));
        assert!((devices - 0.5).abs() < 1e-5, "{devices}");
        let mut split = HostDevices::new([(0, 1, false)].into_iter());
        assert!(split.take_again(0, &[0], 1));
        let [devices, ..] = parts(&room(10_000, 12_000, &split));
        assert!((devices - (0.999 + 0.499)).abs() < 1e-5, "{devices}");
    }

    #[test]
    fn cores_and_memory_are_left_over_where_something_else_is_short() {
        let none = HostDevices::default();
        assert_near(parts(&room(8000, 3000, &none)), [0.0, 3.0, 0.0, 0.3]);
        let mut scarce = HostDevices::new([(0, 1, true)].into_iter());
        assert!(scarce.take_again(0, &[0], 700));
        assert_near(parts(&room(8000, 9000, &scarce)), [0.3 + 0.3, 6.0, 7800.0, 0.6 + 0.6 + 0.65]);
        let mut gone = HostDevices::new([(0, 1, true)].into_iter());
        assert!(gone.take_again(0, &[0], 1000));
        assert_near(parts(&room(8000, 9000, &gone)), [0.0, 8.0, 9000.0, 0.8 + 0.75]);
    }

    #[test]
    fn a_catalogue_without_devices_has_no_use_for_them_and_one_of_nothing_is_none() {
        let plain = Catalogue::new(&[(request(1000, 1000, &[]), 1)], entry).unwrap();
        let devices = devices();
        let found = plain.stranded(StrandedPart::Devices, &room(8000, 9000, &devices));
        assert!((found - 1.6).abs() < 1e-9, "{found}");
        let nothing = Catalogue::new(&[(request(0, 0, &[("a", share(500))]), 1)], entry).unwrap();
        let found = nothing.stranded(StrandedPart::Devices, &room(0, 0, &devices));
        assert!((found - 0.1).abs() < 1e-5, "no shape needs cores, and so no device lacks them: {found}");
        assert!(Catalogue::new(&[(request(1, 1, &[]), 0)], entry).is_none());
    }
}
