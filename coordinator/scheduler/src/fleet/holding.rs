//! Owns what a VM holds of its host: the amounts, and whom it belongs to, in a few bytes each.

use std::collections::BTreeMap;

use reeve_common::device::{DeviceAmount, DeviceSelector};
use reeve_common::hardware_profile::HugePageSize;
use reeve_common::ids::VmId;

use super::assignment::DeviceAssignment;
use super::id_hash::IdMap;
use super::interning::{Interner, Number};
use crate::device_choice;
use crate::request::Request;

/// The largest amount of one thing that is counted: 2^40 MiB are an exbibyte, 2^40 millicores a billion cores. What is
/// larger is counted as this much, and no host has more, so sums never overflow and stay exact as floats.
pub(crate) const AMOUNT_MAX: u64 = 1 << 40;

/// What a VM takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    /// The number of the VM's realm, whose quotas it counts for.
    pub(super) realm: u32,
    /// Millicores.
    pub(super) cores: u64,
    /// MiB, in huge pages or not.
    pub(super) memory: u64,
    /// The size of the huge pages that its memory is in.
    pub(super) huge_pages: Option<HugePageSize>,
    /// On how many NUMA nodes it is; none when it floats.
    pub(super) numa_nodes: u32,
    /// Devices, none of them zero, in the order in which they are served.
    pub(super) devices: Vec<(DeviceSelector, DeviceAmount)>,
}

impl Shape {
    /// What `request` of the realm with this number asks for.
    pub(super) fn of(request: &Request, realm: u32) -> Self {
        Self {
            realm,
            cores: request.cores.0.min(AMOUNT_MAX),
            memory: request.memory.0.min(AMOUNT_MAX),
            huge_pages: request.huge_pages,
            numa_nodes: request.numa_nodes.unwrap_or(0),
            devices: devices_of(request),
        }
    }

    /// MiB, huge pages apart.
    pub(super) const fn ordinary_memory(&self) -> u64 {
        if self.huge_pages.is_some() { 0 } else { self.memory }
    }
}

/// The devices that `request` asks for, in the order in which they are served.
pub(super) fn devices_of(request: &Request) -> Vec<(DeviceSelector, DeviceAmount)> {
    let entries = device_choice::in_order(request).into_iter();
    entries.map(|(selector, amount)| (selector.clone(), amount)).collect()
}

/// What a VM takes and whose it is, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holding {
    /// In [`Book::shapes`].
    pub(super) shape: Number,
    /// In [`Book::words`].
    pub(super) owner: Number,
    /// In [`Book::words`].
    pub(super) team: Number,
    /// In [`Book::labels`].
    pub(super) labels: Number,
}

/// The values behind holdings.
#[derive(Debug, Clone, Default)]
pub(super) struct Book {
    /// Amounts.
    pub(super) shapes: Interner<Shape>,
    /// Owners and teams.
    pub(super) words: Interner<String>,
    /// Labels, all of a VM together.
    pub(super) labels: Interner<BTreeMap<String, String>>,
    /// Which devices the VMs got that asked for some.
    pub(super) assignments: IdMap<VmId, DeviceAssignment>,
    /// Which NUMA nodes the VMs got that asked for some.
    pub(super) nodes: IdMap<VmId, Vec<u32>>,
}

impl Book {
    /// Enters what `request` of the realm with this number takes.
    pub(super) fn enter(&mut self, request: &Request, realm: u32) -> Holding {
        Holding {
            shape: self.shapes.acquire(&Shape::of(request, realm)),
            owner: self.words.acquire(&request.owner),
            team: self.words.acquire(&request.team),
            labels: self.labels.acquire(&request.labels),
        }
    }

    /// Whether a holding is what `request` of the realm with this number takes.
    pub(super) fn is_of(&self, holding: Holding, request: &Request, realm: u32) -> bool {
        self.shapes.get(holding.shape) == Some(&Shape::of(request, realm))
            && self.words.get(holding.owner) == Some(&request.owner)
            && self.words.get(holding.team) == Some(&request.team)
            && self.labels.get(holding.labels) == Some(&request.labels)
    }

    /// Whether a VM that is to take what `request` asks for keeps the devices that it has: it asks for the same, and has
    /// all of them.
    pub(super) fn keeps_devices(&self, vm: VmId, holding: Holding, request: &Request) -> bool {
        let shape = self.shapes.get(holding.shape);
        let is_same = shape.is_some_and(|shape| shape.devices == devices_of(request));
        is_same && self.assignments.get(&vm).is_some_and(DeviceAssignment::is_whole)
    }

    /// Whether nothing is held.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.shapes.is_empty()
            && self.words.is_empty()
            && self.labels.is_empty()
            && self.assignments.is_empty()
            && self.nodes.is_empty()
    }

    /// Takes a holding out again.
    pub(super) fn strike(&mut self, holding: Holding) {
        self.shapes.release(holding.shape);
        self.words.release(holding.owner);
        self.words.release(holding.team);
        self.labels.release(holding.labels);
    }
}

/// The VMs of one host, in no order. VMs come and go on hosts that are in no cache: one that comes is written behind the
/// others and nothing is read for it; one that goes is looked for from the front, which memory is good at.
#[derive(Debug, Clone, Default)]
pub(super) struct Tenants {
    vms: Vec<(VmId, Holding)>,
}

impl Tenants {
    /// Adds a VM that is not among them.
    pub(super) fn insert(&mut self, vm: VmId, holding: Holding) {
        self.vms.push((vm, holding));
    }

    /// Takes a VM out.
    pub(super) fn remove(&mut self, vm: VmId) {
        if let Some(place) = self.vms.iter().position(|(known, _)| *known == vm) {
            self.vms.swap_remove(place);
        }
    }

    /// Whether a VM is among them.
    pub(super) fn contains(&self, vm: VmId) -> bool {
        self.vms.iter().any(|(known, _)| *known == vm)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.vms.len()
    }

    /// Their ids, in order.
    pub(super) fn ids(&self) -> impl Iterator<Item = VmId> + use<> {
        self.iter().map(|(vm, _)| vm)
    }

    /// Who holds what, by id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (VmId, Holding)> + use<> {
        let mut all = self.vms.clone();
        all.sort_unstable_by_key(|(vm, _)| *vm);
        all.into_iter()
    }

    /// What they hold.
    pub(super) fn holdings(&self) -> impl Iterator<Item = Holding> {
        self.vms.iter().map(|(_, holding)| *holding)
    }
}

#[cfg(test)]
mod tests {
    use reeve_common::ids::RealmName;
    use reeve_common::units::{Mebibytes, Millicores};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn nothing_is_left_of_what_was_struck() {
        let request = Request {
            devices: BTreeMap::from([("a100".parse().unwrap(), DeviceAmount::Whole(1))]),
            owner: "ann".to_owned(),
            team: "blue".to_owned(),
            labels: BTreeMap::from([("app".to_owned(), "web".to_owned())]),
            ..Request::new(RealmName::new("r").unwrap(), Millicores(1), Mebibytes(2))
        };
        let mut book = Book::default();
        let holding = book.enter(&request, 0);
        assert_eq!(book.enter(&request, 0), holding);
        assert!(book.is_of(holding, &request, 0));
        assert!(!book.is_of(holding, &Request { owner: "bob".to_owned(), ..request.clone() }, 0));
        book.strike(holding);
        assert!(book.is_of(holding, &request, 0), "it is still held once");
        book.strike(holding);
        assert_eq!(book.shapes.get(holding.shape), None);
        assert_eq!(book.words.get(holding.owner), None);
        assert_eq!(book.words.get(holding.team), None);
        assert_eq!(book.labels.get(holding.labels), None);
    }

    #[test]
    fn who_leaves_takes_nothing_of_others_along() {
        let vm = |number: u128| VmId(Uuid::from_u128(number));
        let holding = |number: Number| Holding { shape: number, owner: 0, team: 0, labels: 0 };
        let mut tenants = Tenants::default();
        for number in [3, 1, 4, 2] {
            tenants.insert(vm(number), holding(u32::try_from(number).unwrap()));
        }
        tenants.remove(vm(1));
        tenants.remove(vm(7));
        assert_eq!(tenants.ids().collect::<Vec<_>>(), [vm(2), vm(3), vm(4)]);
        assert!(tenants.contains(vm(4)) && !tenants.contains(vm(1)));
        assert!(tenants.iter().all(|(id, held)| id == vm(u128::from(held.shape))));
        assert_eq!(tenants.len(), tenants.holdings().count());
    }
}
