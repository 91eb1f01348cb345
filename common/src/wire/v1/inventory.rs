//! Owns what a host is as it is on the wire, protocol version 1. Of lists that are too long the rest is left out: a
//! host with strange hardware says hello all the same.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{FreeText, InvalidMessage, Name, from_free_text, from_name, in_range, to_free_text, to_name};
use crate::hardware_profile::HugePageSize;
use crate::ids::InvalidName;
use crate::inventory as domain;
use crate::inventory::limits::{
    MEDIATED_TYPES_MAX, NUMA_NODES_MAX, PAGE_SIZES_MAX, PCI_IDS_MAX, PROCESSOR_FEATURES_MAX,
    PROCESSOR_MODELS_MAX,
};
use crate::units::Mebibytes;
use crate::wire::bounded::List;
use crate::wire::limits::HUGE_PAGE_MEBIBYTES_MAX;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::wire) struct HostInventory {
    hostname: FreeText,
    architecture: FreeText,
    cpu_model: FreeText,
    logical_cpus: u32,
    memory_mebibytes: u64,
    kernel: FreeText,
    hypervisor: FreeText,
    kvm_usable: bool,
    agent_version: FreeText,
    processor_models: List<Name, PROCESSOR_MODELS_MAX>,
    processor_features: List<Name, PROCESSOR_FEATURES_MAX>,
    numa_nodes: List<NumaNode, NUMA_NODES_MAX>,
    huge_pages: List<HugePages, PAGE_SIZES_MAX>,
    pci_devices: List<PciDevices, PCI_IDS_MAX>,
    mediated_devices: List<MediatedDevices, MEDIATED_TYPES_MAX>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct NumaNode {
    node: u32,
    logical_cpus: u32,
    memory_mebibytes: u64,
    huge_pages: List<HugePages, PAGE_SIZES_MAX>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct HugePages {
    size_mebibytes: u32,
    count: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PciDevices {
    vendor: u16,
    product: u16,
    count: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct MediatedDevices {
    mediated_type: Name,
    count: u32,
}

impl From<domain::HostInventory> for HostInventory {
    fn from(inventory: domain::HostInventory) -> Self {
        Self {
            hostname: to_free_text(&inventory.hostname),
            architecture: to_free_text(&inventory.architecture),
            cpu_model: to_free_text(&inventory.cpu_model),
            logical_cpus: inventory.logical_cpus,
            memory_mebibytes: inventory.memory.0,
            kernel: to_free_text(&inventory.kernel),
            hypervisor: to_free_text(&inventory.hypervisor),
            kvm_usable: inventory.kvm_usable,
            agent_version: to_free_text(&inventory.agent_version),
            processor_models: first(inventory.processor.models.into_iter().map(to_name)),
            processor_features: first(inventory.processor.features.into_iter().map(to_name)),
            numa_nodes: first(inventory.numa_nodes.into_iter().map(Into::into)),
            huge_pages: to_pages(inventory.huge_pages),
            pci_devices: first(inventory.pci_devices.into_iter().map(|(id, count)| PciDevices {
                vendor: id.vendor,
                product: id.product,
                count,
            })),
            mediated_devices: first(
                inventory
                    .mediated_devices
                    .into_iter()
                    .map(|(name, count)| MediatedDevices { mediated_type: to_name(name), count }),
            ),
        }
    }
}

impl TryFrom<HostInventory> for domain::HostInventory {
    type Error = InvalidMessage;

    fn try_from(inventory: HostInventory) -> Result<Self, InvalidMessage> {
        let nodes = inventory.numa_nodes.0.into_iter().map(TryInto::try_into);
        let pci = inventory.pci_devices.0.into_iter();
        let mediated = inventory.mediated_devices.0.into_iter();
        Ok(Self {
            hostname: from_free_text(&inventory.hostname),
            architecture: from_free_text(&inventory.architecture),
            cpu_model: from_free_text(&inventory.cpu_model),
            logical_cpus: inventory.logical_cpus,
            memory: Mebibytes(inventory.memory_mebibytes),
            kernel: from_free_text(&inventory.kernel),
            hypervisor: from_free_text(&inventory.hypervisor),
            kvm_usable: inventory.kvm_usable,
            agent_version: from_free_text(&inventory.agent_version),
            processor: domain::Processor {
                models: from_names(inventory.processor_models.0)?,
                features: from_names(inventory.processor_features.0)?,
            },
            numa_nodes: nodes.collect::<Result<_, _>>()?,
            huge_pages: from_pages(inventory.huge_pages.0)?,
            pci_devices: pci
                .map(|PciDevices { vendor, product, count }| (domain::PciId { vendor, product }, count))
                .collect(),
            mediated_devices: mediated
                .map(|devices| Ok((from_name(devices.mediated_type)?, devices.count)))
                .collect::<Result<_, InvalidMessage>>()?,
        })
    }
}

impl From<domain::NumaNodeInventory> for NumaNode {
    fn from(node: domain::NumaNodeInventory) -> Self {
        Self {
            node: node.node,
            logical_cpus: node.logical_cpus,
            memory_mebibytes: node.memory.0,
            huge_pages: to_pages(node.huge_pages),
        }
    }
}

impl TryFrom<NumaNode> for domain::NumaNodeInventory {
    type Error = InvalidMessage;

    fn try_from(node: NumaNode) -> Result<Self, InvalidMessage> {
        Ok(Self {
            node: node.node,
            logical_cpus: node.logical_cpus,
            memory: Mebibytes(node.memory_mebibytes),
            huge_pages: from_pages(node.huge_pages.0)?,
        })
    }
}

fn first<T, const MAX: usize>(all: impl Iterator<Item = T>) -> List<T, MAX> {
    List(all.take(MAX).collect())
}

pub(super) fn from_names<T: TryFrom<String, Error = InvalidName> + Ord>(
    names: Vec<Name>,
) -> Result<BTreeSet<T>, InvalidMessage> {
    names.into_iter().map(from_name).collect()
}

fn to_pages(pages: BTreeMap<HugePageSize, u64>) -> List<HugePages, PAGE_SIZES_MAX> {
    first(pages.into_iter().map(|(size, count)| HugePages { size_mebibytes: size.0, count }))
}

fn from_pages(pages: Vec<HugePages>) -> Result<BTreeMap<HugePageSize, u64>, InvalidMessage> {
    pages.into_iter().map(|pages| Ok((page_size(pages.size_mebibytes)?, pages.count))).collect()
}

/// A size of huge pages, of whatever processor.
pub(super) fn page_size(mebibytes: u32) -> Result<HugePageSize, InvalidMessage> {
    in_range("a huge page's size in MiB", u64::from(mebibytes), 1, u64::from(HUGE_PAGE_MEBIBYTES_MAX))?;
    Ok(HugePageSize(mebibytes))
}
