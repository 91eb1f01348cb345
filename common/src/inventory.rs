//! Owns what a host is, as its agent tells with each hello: processors, memory, devices. Seldom changing.
//!
//! Must not: say how busy anything is; that is `utilization`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::hardware_profile::HugePageSize;
use crate::ids::{MediatedType, ProcessorFeature, ProcessorModel};
use crate::text::printable;
use crate::units::Mebibytes;

/// How much of each list is told; what is beyond is left out, and the agent says so in its log.
pub mod limits {
    /// Processor models: libvirt knows about 150, with their versions.
    pub const PROCESSOR_MODELS_MAX: usize = 512;
    /// Processor features: libvirt knows about 300.
    pub const PROCESSOR_FEATURES_MAX: usize = 1024;
    /// NUMA nodes: eight sockets in eight clusters each.
    pub const NUMA_NODES_MAX: usize = 64;
    /// Sizes of huge pages that one processor has: x86 has two.
    pub const PAGE_SIZES_MAX: usize = 8;
    /// Different PCI devices: a large server has a few dozen.
    pub const PCI_IDS_MAX: usize = 256;
    /// Types of mediated devices: a GPU offers about 20.
    pub const MEDIATED_TYPES_MAX: usize = 256;
}

/// What a host is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HostInventory {
    /// Its own host name.
    pub hostname: String,
    /// `x86_64`, …
    pub architecture: String,
    /// The processor's name.
    pub cpu_model: String,
    /// Logical processors.
    pub logical_cpus: u32,
    /// Memory.
    pub memory: Mebibytes,
    /// The running kernel.
    pub kernel: String,
    /// The hypervisor and its version, such as `libvirt 9.0.0, QEMU 7.2.19`.
    pub hypervisor: String,
    /// Whether guests make progress under KVM here, not only whether its device opens.
    pub kvm_usable: bool,
    /// The agent's version.
    pub agent_version: String,
    /// What its processor can do for guests.
    pub processor: Processor,
    /// Its NUMA nodes; empty where the hypervisor does not say.
    pub numa_nodes: Vec<NumaNodeInventory>,
    /// Huge pages set aside by size, on all nodes.
    pub huge_pages: BTreeMap<HugePageSize, u64>,
    /// PCI devices by their ids; bridges are left out.
    pub pci_devices: BTreeMap<PciId, u32>,
    /// Mediated devices by type, those in use and those that could still be made.
    pub mediated_devices: BTreeMap<MediatedType, u32>,
}

/// What a processor can do for guests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Processor {
    /// The named models that the hypervisor can give to guests.
    pub models: BTreeSet<ProcessorModel>,
    /// The features that guests can have.
    pub features: BTreeSet<ProcessorFeature>,
}

/// One NUMA node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NumaNodeInventory {
    /// The kernel's number for it.
    pub node: u32,
    /// Logical processors.
    pub logical_cpus: u32,
    /// Memory, huge pages included.
    pub memory: Mebibytes,
    /// Huge pages set aside on it by size.
    pub huge_pages: BTreeMap<HugePageSize, u64>,
}

/// What a PCI device is: its vendor's number and the vendor's number for it, written `10de:20b0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PciId {
    /// The vendor.
    pub vendor: u16,
    /// The product.
    pub product: u16,
}

/// A text that is no PCI id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no PCI id: write vendor and product as lspci -nn does, such as \"10de:20b0\"")]
pub struct InvalidPciId(String);

impl fmt::Display for PciId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&format!("{:04x}:{:04x}", self.vendor, self.product))
    }
}

impl FromStr for PciId {
    type Err = InvalidPciId;

    fn from_str(text: &str) -> Result<Self, InvalidPciId> {
        let number = |text: &str| {
            let is_hexadecimal = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_hexadecimal.then(|| u16::from_str_radix(text, 16).ok()).flatten()
        };
        let ids =
            text.split_once(':').and_then(|(vendor, product)| Some((number(vendor)?, number(product)?)));
        let (vendor, product) =
            ids.ok_or_else(|| InvalidPciId(printable(text, crate::ids::NAME_LENGTH_MAX)))?;
        Ok(Self { vendor, product })
    }
}

impl TryFrom<String> for PciId {
    type Error = InvalidPciId;
    fn try_from(text: String) -> Result<Self, InvalidPciId> {
        text.parse()
    }
}

impl From<PciId> for String {
    fn from(id: PciId) -> String {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pci_ids_are_read_as_they_are_written() {
        let id: PciId = "10de:20B0".parse().unwrap();
        assert_eq!(id, PciId { vendor: 0x10de, product: 0x20b0 });
        assert_eq!(id.to_string(), "10de:20b0");
        for bad in ["", "10de", "10de:", "10de:20b", "10de:20b00", "10de:+0b0", "0x10de:0x20b0", "10de:20b0 "]
        {
            assert!(bad.parse::<PciId>().is_err(), "{bad}");
        }
    }
}
