//! Owns the `device-classes` section: which PCI devices and which types of mediated devices belong to a class. What a host
//! has of a class is counted by it; a class that is not here is what the hardware profiles say, unchecked.
//!
//! ```text
//! device-classes {
//!   nvidia-a100 { ids = ["10de:20b0", "10de:20f1"] }
//!   a100-10gb   { mdev-types = [nvidia-222] }
//! }
//! ```
//!
//! Must not: know hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::str::FromStr;

use reeve_common::ids::{DeviceClass, MediatedType};
use reeve_common::inventory::{HostInventory, PciId};

use super::finding::Severity;
use super::section::{Entry, Section, all_or_none};
use super::value::name;

/// Ids and types of one class: generations of a device have a few each.
const MEMBERS_MAX: usize = 64;

/// What belongs to a class of devices. Something belongs to one class at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceClassMembers {
    /// PCI devices.
    pub ids: BTreeSet<PciId>,
    /// Types of mediated devices.
    pub mediated_types: BTreeSet<MediatedType>,
}

impl DeviceClassMembers {
    /// How many of a host's devices belong to the class.
    #[must_use]
    pub fn count(&self, inventory: &HostInventory) -> u32 {
        let pci = self.ids.iter().filter_map(|id| inventory.pci_devices.get(id));
        let mediated = self.mediated_types.iter().filter_map(|kind| inventory.mediated_devices.get(kind));
        pci.chain(mediated).fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// All classes.
pub(super) fn read_device_classes(section: &Section<'_>) -> BTreeMap<DeviceClass, DeviceClassMembers> {
    let mut classes: BTreeMap<DeviceClass, DeviceClassMembers> = BTreeMap::new();
    for (key, entry) in section.entries() {
        let class = match DeviceClass::new(key) {
            Ok(class) => class,
            Err(error) => {
                entry.report_key(Severity::Error, error.to_string());
                continue;
            }
        };
        let Some(members) = read_members(&entry) else { continue };
        // Counted twice, a device would be promised twice.
        let other = classes.iter().find(|(_, other)| {
            !other.ids.is_disjoint(&members.ids) || !other.mediated_types.is_disjoint(&members.mediated_types)
        });
        if let Some((other, _)) = other {
            entry.report_key(
                Severity::Error,
                format!("a device of it belongs to class {other} as well; name it in one of them"),
            );
        }
        classes.insert(class, members);
    }
    classes
}

fn read_members(entry: &Entry<'_>) -> Option<DeviceClassMembers> {
    let mut section = entry.section()?;
    let ids = members(section.entry("ids"), "[\"10de:20b0\"]");
    let mediated_types = members(section.entry("mdev-types"), "[nvidia-222]");
    section.refuse_unknown();
    let members = DeviceClassMembers { ids: ids?, mediated_types: mediated_types? };
    if members.ids.is_empty() && members.mediated_types.is_empty() {
        section.report(
            Severity::Error,
            "a class names what belongs to it, as in ids = [\"10de:20b0\"] or mdev-types = [nvidia-222]"
                .to_owned(),
        );
        return None;
    }
    Some(members)
}

fn members<T: FromStr<Err: Display> + Ord>(entry: Option<Entry<'_>>, example: &str) -> Option<BTreeSet<T>> {
    let Some(entry) = entry else { return Some(BTreeSet::new()) };
    let items = entry.items(example)?;
    if items.len() > MEMBERS_MAX {
        entry.refuse(format!("{} are more than the {MEMBERS_MAX} that a class may have", items.len()));
        return None;
    }
    all_or_none(items.iter().map(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_counts_what_belongs_to_it() {
        let members = DeviceClassMembers {
            ids: ["10de:20b0", "10de:20f1"].map(|id| id.parse().unwrap()).into(),
            mediated_types: ["nvidia-222".parse().unwrap()].into(),
        };
        let inventory = HostInventory {
            pci_devices: [("10de:20b0".parse().unwrap(), 2), ("8086:1533".parse().unwrap(), 4)].into(),
            mediated_devices: [("nvidia-222".parse().unwrap(), 3), ("nvidia-63".parse().unwrap(), 8)].into(),
            ..HostInventory::default()
        };
        assert_eq!(members.count(&inventory), 5);
        assert_eq!(members.count(&HostInventory::default()), 0);
    }
}
