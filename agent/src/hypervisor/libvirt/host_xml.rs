//! Owns what libvirt's documents say of the host's hardware: processors, NUMA nodes and devices, read out of its XML.
//!
//! Must not: ask libvirt. What cannot be read is left out: a strange device is no reason not to know the others.

use std::collections::{BTreeMap, BTreeSet};

use reeve_common::hardware_profile::HugePageSize;
use reeve_common::ids::{MediatedType, ProcessorFeature, ProcessorModel};
use reeve_common::inventory::{NumaNodeInventory, PciId, limits};
use reeve_common::units::Bytes;
use roxmltree::{Document, Node};

use super::super::xml::{Element, element};

/// KiB of a huge page of 1 MiB; what is smaller is an ordinary page.
const HUGE_PAGE_KIBIBYTES_MIN: u64 = 1024;
/// The class of PCI bridges, which are never given to a guest.
const BRIDGES: &str = "0x06";

/// The NUMA nodes in libvirt's capabilities, by their number.
pub(super) fn numa_nodes(capabilities: &str) -> Vec<NumaNodeInventory> {
    let Ok(document) = Document::parse(capabilities) else { return Vec::new() };
    let Some(cells) = find(document.root_element(), &["host", "topology", "cells"]) else {
        return Vec::new();
    };
    let mut nodes: Vec<_> =
        children(cells, "cell").filter_map(numa_node).take(limits::NUMA_NODES_MAX).collect();
    nodes.sort_by_key(|node| node.node);
    nodes
}

fn numa_node(cell: Node<'_, '_>) -> Option<NumaNodeInventory> {
    let huge = children(cell, "pages").filter_map(|pages| {
        let size: u64 = pages.attribute("size")?.parse().ok()?;
        let count: u64 = pages.text()?.trim().parse().ok()?;
        let is_huge = size >= HUGE_PAGE_KIBIBYTES_MIN && pages.attribute("unit") == Some("KiB") && count > 0;
        let size = u32::try_from(size / HUGE_PAGE_KIBIBYTES_MIN).ok()?;
        is_huge.then_some((HugePageSize(size), count))
    });
    let memory = find(cell, &["memory"]).filter(|memory| memory.attribute("unit") == Some("KiB"));
    let kibibytes: u64 = memory?.text()?.trim().parse().ok()?;
    let processors = find(cell, &["cpus"]).map_or(0, |cpus| children(cpus, "cpu").count());
    Some(NumaNodeInventory {
        node: cell.attribute("id")?.parse().ok()?,
        logical_cpus: u32::try_from(processors).unwrap_or(u32::MAX),
        memory: Bytes(kibibytes.saturating_mul(1024)).mebibytes(),
        huge_pages: huge.take(limits::PAGE_SIZES_MAX).collect(),
    })
}

/// The models that libvirt says it can give to a guest, in its domain capabilities.
pub(super) fn usable_models(domain_capabilities: &str) -> BTreeSet<ProcessorModel> {
    let Ok(document) = Document::parse(domain_capabilities) else { return BTreeSet::new() };
    let Some(custom) = processor_mode(document.root_element(), "custom") else { return BTreeSet::new() };
    let usable = children(custom, "model").filter(|model| model.attribute("usable") == Some("yes"));
    usable
        .filter_map(|model| ProcessorModel::new(model.text()?.trim()).ok())
        .take(limits::PROCESSOR_MODELS_MAX)
        .collect()
}

/// libvirt's nearest named model of what a guest can have, and in what it differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostModel {
    pub(super) model: ProcessorModel,
    pub(super) more: BTreeSet<ProcessorFeature>,
    pub(super) less: BTreeSet<ProcessorFeature>,
}

impl HostModel {
    /// As the domain capabilities have it; none when libvirt knows no model.
    pub(super) fn read(domain_capabilities: &str) -> Option<Self> {
        let document = Document::parse(domain_capabilities).ok()?;
        let mode = processor_mode(document.root_element(), "host-model")?;
        let model = ProcessorModel::new(find(mode, &["model"])?.text()?.trim()).ok()?;
        Some(Self { model, more: features(mode, "require"), less: features(mode, "disable") })
    }

    /// The model alone as a processor, for libvirt to say which features it has.
    pub(super) fn question(&self, architecture: &str) -> String {
        let processor: Element = element("cpu")
            .child(element("arch").text(architecture))
            .child(element("model").text(&self.model));
        processor.to_document()
    }

    /// All features that a guest can have, when the model's own are those of `answer`.
    pub(super) fn features(self, answer: &str) -> BTreeSet<ProcessorFeature> {
        let own = Document::parse(answer).map(|document| features(document.root_element(), "require"));
        let mut all = own.unwrap_or_default();
        all.extend(self.more);
        all.into_iter()
            .filter(|feature| !self.less.contains(feature))
            .take(limits::PROCESSOR_FEATURES_MAX)
            .collect()
    }
}

fn processor_mode<'a, 'input>(root: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    let is_wanted = |mode: &Node<'_, '_>| {
        mode.attribute("name") == Some(name) && mode.attribute("supported") == Some("yes")
    };
    children(find(root, &["cpu"])?, "mode").find(is_wanted)
}

fn features(processor: Node<'_, '_>, policy: &str) -> BTreeSet<ProcessorFeature> {
    children(processor, "feature")
        .filter(|feature| feature.attribute("policy") == Some(policy))
        .filter_map(|feature| ProcessorFeature::new(feature.attribute("name")?).ok())
        .collect()
}

/// A device of the host that may be given to guests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HostDevice {
    /// A PCI device, with the mediated devices that could still be made on it.
    Pci { id: PciId, mediated: BTreeMap<MediatedType, u32> },
    /// A mediated device that was made.
    Mediated(MediatedType),
}

impl HostDevice {
    /// Reads a node device's description; none when it is something else, or a bridge.
    pub(super) fn read(document: &str) -> Option<Self> {
        let document = Document::parse(document).ok()?;
        let of_kind = |node: Node<'_, '_>, kind| node.attribute("type") == Some(kind);
        let capability = children(document.root_element(), "capability").next()?;
        if of_kind(capability, "mdev") {
            let kind = find(capability, &["type"])?.attribute("id")?;
            return Some(Self::Mediated(MediatedType::new(kind).ok()?));
        }
        let class = find(capability, &["class"]).and_then(|class| class.text()).unwrap_or_default();
        if !of_kind(capability, "pci") || class.trim().starts_with(BRIDGES) {
            return None;
        }
        let number = |name| {
            let text = find(capability, &[name])?.attribute("id")?.strip_prefix("0x")?;
            u16::from_str_radix(text, 16).ok()
        };
        let kinds = children(capability, "capability").filter(|inner| of_kind(*inner, "mdev_types"));
        let mediated = kinds.flat_map(|kinds| children(kinds, "type")).filter_map(|kind| {
            let available = find(kind, &["availableInstances"])?.text()?.trim().parse().ok()?;
            Some((MediatedType::new(kind.attribute("id")?).ok()?, available))
        });
        Some(Self::Pci {
            id: PciId { vendor: number("vendor")?, product: number("product")? },
            mediated: mediated.collect(),
        })
    }
}

/// What a host has of each kind: PCI devices, and mediated ones whether they are made or could be.
pub(super) fn count_devices(
    devices: impl IntoIterator<Item = HostDevice>,
) -> (BTreeMap<PciId, u32>, BTreeMap<MediatedType, u32>) {
    let (mut pci, mut mediated) = (BTreeMap::new(), BTreeMap::new());
    for device in devices {
        match device {
            HostDevice::Mediated(kind) => add(&mut mediated, kind, 1, limits::MEDIATED_TYPES_MAX),
            HostDevice::Pci { id, mediated: available } => {
                add(&mut pci, id, 1, limits::PCI_IDS_MAX);
                for (kind, count) in available {
                    add(&mut mediated, kind, count, limits::MEDIATED_TYPES_MAX);
                }
            }
        }
    }
    (pci, mediated)
}

fn add<K: Ord>(counts: &mut BTreeMap<K, u32>, key: K, more: u32, most: usize) {
    if counts.len() < most || counts.contains_key(&key) {
        let count = counts.entry(key).or_insert(0);
        *count = count.saturating_add(more);
    }
}

fn children<'a, 'input>(
    node: Node<'a, 'input>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children().filter(move |child| child.has_tag_name(name))
}

fn find<'a, 'input>(node: Node<'a, 'input>, path: &[&'static str]) -> Option<Node<'a, 'input>> {
    path.iter().try_fold(node, |node, name| children(node, name).next())
}

#[cfg(test)]
mod tests {
    use reeve_common::units::Mebibytes;

    use super::*;

    const CAPABILITIES: &str = "<capabilities><host><cpu><model>EPYC</model></cpu><topology><cells num='2'>
        <cell id='1'><memory unit='KiB'>33554432</memory><pages unit='KiB' size='4'>6291456</pages>
          <pages unit='KiB' size='2048'>0</pages><pages unit='KiB' size='1048576'>8</pages>
          <cpus num='1'><cpu id='2'/></cpus></cell>
        <cell id='0'><memory unit='KiB'>16777216</memory><pages unit='KiB' size='2048'>512</pages>
          <pages unit='KiB' size='1048576'>2</pages><cpus num='2'><cpu id='0'/><cpu id='1'/></cpus></cell>
        <cell id='x'><memory unit='KiB'>1</memory></cell></cells></topology></host></capabilities>";

    #[test]
    fn nodes_are_read_with_their_huge_pages() {
        let nodes = numa_nodes(CAPABILITIES);
        let [first, second] = nodes.as_slice() else { panic!("{nodes:?}") };
        assert_eq!((first.node, first.logical_cpus, first.memory), (0, 2, Mebibytes(16 << 10)));
        assert_eq!((second.node, second.logical_cpus, second.memory), (1, 1, Mebibytes(32 << 10)));
        assert_eq!(
            second.huge_pages,
            [(HugePageSize(1024), 8)].into(),
            "sizes of which there are none are left out"
        );
    }

    const DOMAIN_CAPABILITIES: &str = "<domainCapabilities><cpu>
        <mode name='host-passthrough' supported='no'/>
        <mode name='host-model' supported='yes'><model fallback='forbid'>EPYC</model>
          <feature policy='require' name='vaes'/><feature policy='disable' name='sha-ni'/></mode>
        <mode name='custom' supported='yes'><model usable='yes'>qemu64</model><model usable='no'>EPYC-Milan</model>
          <model usable='yes'>Opteron_G2</model><model usable='yes'>&lt;x/&gt;</model></mode></cpu></domainCapabilities>";

    #[test]
    fn a_processor_is_its_model_with_more_and_less() {
        let names =
            |names: BTreeSet<ProcessorFeature>| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let model = HostModel::read(DOMAIN_CAPABILITIES).unwrap();
        assert_eq!(model.model.as_str(), "EPYC");
        assert!(model.question("x86_64").contains("<model>EPYC</model>"));
        let answer = "<cpu><model>EPYC</model><feature policy='require' name='avx2'/><feature policy='require' name='sha-ni'/></cpu>";
        assert_eq!(names(model.features(answer)), ["avx2", "vaes"]);
        let models: Vec<_> = usable_models(DOMAIN_CAPABILITIES).iter().map(ToString::to_string).collect();
        assert_eq!(models, ["Opteron_G2", "qemu64"]);
    }

    fn pci(class: &str, rest: &str) -> String {
        format!(
            "<device><name>pci_0000_17_00_0</name><capability type='pci'><class>{class}</class><domain>0</domain>
             <product id='0x20b0'>A100</product><vendor id='0x10de'>NVIDIA</vendor>{rest}</capability></device>"
        )
    }

    #[test]
    fn devices_are_counted_by_what_they_are() {
        let kinds = "<capability type='mdev_types'><type id='nvidia-222'><availableInstances>3</availableInstances></type></capability>";
        let made = "<device><capability type='mdev'><type id='nvidia-222'/></capability></device>";
        let documents = [pci("0x030200", kinds), pci("0x030200", ""), pci("0x060400", ""), made.to_owned()];
        let devices = documents.iter().filter_map(|document| HostDevice::read(document));
        let (pci, mediated) = count_devices(devices);
        assert_eq!(pci, [("10de:20b0".parse().unwrap(), 2)].into(), "a bridge is no device to give away");
        assert_eq!(mediated, [("nvidia-222".parse().unwrap(), 4)].into());
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        for document in ["", "<a/>", "<device><capability type='pci'/></device>", "<device>", "\u{0}"] {
            assert_eq!(HostDevice::read(document), None, "{document:?}");
            assert!(numa_nodes(document).is_empty() && usable_models(document).is_empty());
            assert_eq!(HostModel::read(document), None);
        }
        let many = (0..=u16::MAX)
            .map(|product| HostDevice::Pci { id: PciId { vendor: 1, product }, mediated: BTreeMap::new() });
        assert_eq!(count_devices(many).0.len(), limits::PCI_IDS_MAX, "bounded, whatever the driver lists");
    }
}
