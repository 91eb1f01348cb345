//! Owns how a VM's specification is said in libvirt's domain XML.
//!
//! Must not: ask libvirt, choose a path, or decide policy: everything it needs is in the [`DomainPlan`]. Nothing in the
//! result is left for libvirt or QEMU to guess: each disk's format and backing chain are written down, so that a
//! guest cannot choose them by what it writes into its disk.

use reeve_common::hardware_profile::HugePageSize;
use reeve_common::ids::VmId;
use reeve_common::storage::{DiskCache, DiskFormat};
use reeve_common::text::{TEXT_LENGTH_MAX, printable};
use reeve_common::vm::{CpuModel, DriveAttachment, Machine, NetworkInterface, VmSpec};

use super::super::LedgerEntry;
use super::super::ledger_xml;
use super::super::xml::{Element, element};

/// The only architecture there are machine types for so far.
pub(super) const ARCHITECTURE: &str = "x86_64";
/// The virtio-serial port on which QEMU's guest agent listens.
const GUEST_AGENT_CHANNEL: &str = "org.qemu.guest_agent.0";
/// virtio disks are `vda`, `vdb`, …: as many as there are letters.
const DISK_LETTERS: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";

/// Where a disk's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DiskPlace {
    /// A file on the host.
    File(String),
    /// A block device of the host.
    Block(String),
}

/// A specification with all that was asked of libvirt to place it.
#[derive(Debug, Clone)]
pub(super) struct DomainPlan<'plan> {
    pub(super) vm: VmId,
    pub(super) spec: &'plan VmSpec,
    pub(super) ledger: &'plan LedgerEntry,
    /// KVM, or software emulation.
    pub(super) kvm: bool,
    pub(super) system_disk: DiskPlace,
    pub(super) image: DiskPlace,
    /// In the order of the specification's drives.
    pub(super) drives: Vec<DiskPlace>,
    /// The file that the serial console is written to.
    pub(super) console: Option<String>,
}

/// Why a specification cannot be said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ImpossibleDomain {
    #[error(
        "cpu-model host-passthrough needs KVM, and this VM would be emulated; choose another cpu-model or a host with KVM"
    )]
    PassthroughWithoutKvm,
    #[error("cpu-features need a cpu-model other than default: QEMU's own choice cannot be added to")]
    FeaturesOfNoModel,
    #[error("{count} disks are more than the {} that can be named", DISK_LETTERS.len())]
    TooManyDisks { count: usize },
}

/// The domain's definition.
pub(super) fn domain_document(plan: &DomainPlan<'_>) -> Result<String, ImpossibleDomain> {
    let spec = plan.spec;
    let title = printable(spec.title.trim(), TEXT_LENGTH_MAX);
    Ok(element("domain")
        .attribute("type", if plan.kvm { "kvm" } else { "qemu" })
        .child(element("name").text(&spec.name))
        .child(element("uuid").text(plan.vm))
        .maybe((!title.is_empty()).then(|| element("title").text(title)))
        .child(element("metadata").child(ledger_xml::to_element(plan.ledger)))
        .child(element("memory").attribute("unit", "MiB").text(spec.memory.0))
        .maybe(spec.huge_pages.map(huge_pages))
        .child(element("vcpu").text(spec.vcpus))
        .child(element("os").child(operating_system(spec.machine)))
        .child(element("features").child(element("acpi")).child(element("apic")))
        .maybe(processor(spec, plan.kvm)?)
        .child(clock())
        .child(element("on_poweroff").text("destroy"))
        .child(element("on_reboot").text("restart"))
        .child(element("on_crash").text("destroy"))
        .child(sleep_states())
        .child(devices(plan)?)
        .to_document())
}

fn operating_system(machine: Machine) -> Element {
    let machine = match machine {
        Machine::Q35 => "q35",
        Machine::Pc => "pc",
    };
    element("type").attribute("arch", ARCHITECTURE).attribute("machine", machine).text("hvm")
}

/// Memory in huge pages of the host, all of it.
fn huge_pages(size: HugePageSize) -> Element {
    let page = element("page").attribute("size", size.0).attribute("unit", "MiB");
    element("memoryBacking").child(element("hugepages").child(page))
}

fn processor(spec: &VmSpec, kvm: bool) -> Result<Option<Element>, ImpossibleDomain> {
    let mode = |mode| Some(element("cpu").attribute("mode", mode));
    let processor = match &spec.cpu_model {
        CpuModel::Default => None,
        CpuModel::HostPassthrough if kvm => mode("host-passthrough"),
        CpuModel::HostPassthrough => return Err(ImpossibleDomain::PassthroughWithoutKvm),
        CpuModel::HostModel => mode("host-model"),
        CpuModel::Named(name) => Some(
            element("cpu")
                .attribute("mode", "custom")
                .attribute("match", "exact")
                .child(element("model").attribute("fallback", "forbid").text(name)),
        ),
    };
    if spec.cpu_features.is_empty() {
        return Ok(processor);
    }
    let processor = processor.ok_or(ImpossibleDomain::FeaturesOfNoModel)?;
    let feature = |name| element("feature").attribute("policy", "require").attribute("name", name);
    Ok(Some(processor.children(spec.cpu_features.iter().map(feature))))
}

/// Ticks that were missed are made up slowly, and there is no HPET, which costs interrupts and helps nobody.
fn clock() -> Element {
    let timer = |name| element("timer").attribute("name", name);
    element("clock")
        .attribute("offset", "utc")
        .child(timer("rtc").attribute("tickpolicy", "catchup"))
        .child(timer("pit").attribute("tickpolicy", "delay"))
        .child(timer("hpet").attribute("present", "no"))
}

/// A guest that put itself to sleep would look lost.
fn sleep_states() -> Element {
    element("pm")
        .child(element("suspend-to-mem").attribute("enabled", "no"))
        .child(element("suspend-to-disk").attribute("enabled", "no"))
}

fn devices(plan: &DomainPlan<'_>) -> Result<Element, ImpossibleDomain> {
    let spec = plan.spec;
    let drives = spec.drives.iter().zip(&plan.drives).enumerate();
    let drives: Vec<Element> = drives
        .map(|(index, (drive, place))| drive_disk(index + 1, drive, place))
        .collect::<Result<_, _>>()?;
    let interfaces =
        spec.networks.iter().enumerate().map(|(index, network)| interface(plan.vm, index, network));
    Ok(element("devices")
        .child(system_disk(plan)?)
        .children(drives)
        .children(interfaces)
        .child(element("controller").attribute("type", "usb").attribute("model", "none"))
        .maybe(plan.console.as_ref().map(|path| serial_console(path)))
        .child(guest_agent_channel())
        .children(display(spec.vnc))
        .child(random_numbers())
        .child(element("memballoon").attribute("model", "virtio"))
        .child(element("panic").attribute("model", "isa")))
}

fn system_disk(plan: &DomainPlan<'_>) -> Result<Element, ImpossibleDomain> {
    let image = element("backingStore")
        .attribute("type", place_type(&plan.image))
        .child(element("format").attribute("type", plan.spec.system_disk.image_format.as_str()))
        .child(source(&plan.image))
        .child(element("backingStore"));
    Ok(disk(&plan.system_disk, DiskFormat::Qcow2, DiskCache::Default)
        .child(image)
        .child(target(0)?)
        .child(element("boot").attribute("order", 1)))
}

fn drive_disk(index: usize, drive: &DriveAttachment, place: &DiskPlace) -> Result<Element, ImpossibleDomain> {
    Ok(disk(place, drive.format, drive.cache)
        .child(element("backingStore"))
        .child(target(index)?)
        .maybe(drive.read_only.then(|| element("readonly")))
        .child(element("serial").text(serial_number(drive.volume.as_str()))))
}

fn disk(place: &DiskPlace, format: DiskFormat, cache: DiskCache) -> Element {
    let driver = element("driver").attribute("name", "qemu").attribute("type", format.as_str());
    let driver = if cache == DiskCache::Default { driver } else { driver.attribute("cache", cache.as_str()) };
    element("disk")
        .attribute("type", place_type(place))
        .attribute("device", "disk")
        .child(driver)
        .child(source(place))
}

const fn place_type(place: &DiskPlace) -> &'static str {
    match place {
        DiskPlace::File(_) => "file",
        DiskPlace::Block(_) => "block",
    }
}

fn source(place: &DiskPlace) -> Element {
    match place {
        DiskPlace::File(path) => element("source").attribute("file", path),
        DiskPlace::Block(path) => element("source").attribute("dev", path),
    }
}

fn target(index: usize) -> Result<Element, ImpossibleDomain> {
    let letter = DISK_LETTERS.get(index).ok_or(ImpossibleDomain::TooManyDisks { count: index + 1 })?;
    let device = format!("vd{}", char::from(*letter));
    Ok(element("target").attribute("dev", device).attribute("bus", "virtio"))
}

/// What the guest finds the drive by, in `/dev/disk/by-id`: a virtio disk has room for 20 bytes.
fn serial_number(name: &str) -> String {
    const LENGTH_MAX: usize = 20;
    name.chars().take(LENGTH_MAX).collect()
}

fn interface(vm: VmId, index: usize, network: &NetworkInterface) -> Element {
    element("interface")
        .attribute("type", "network")
        .child(element("mac").attribute("address", mac_address(vm, index)))
        .child(element("source").attribute("network", &network.network))
        .child(element("model").attribute("type", "virtio"))
        .maybe(network.filter.as_ref().map(|filter| element("filterref").attribute("filter", filter)))
}

/// A locally administered address made of the VM's random id, so that defining a VM again gives the same one and two
/// VMs of a large fleet do not share one. The first byte stays below the one libvirt keeps for itself (0xfe).
fn mac_address(vm: VmId, index: usize) -> String {
    let [first, second, third, fourth, fifth, sixth, ..] = *vm.0.as_bytes();
    let sixth = sixth ^ u8::try_from(index % 256).unwrap_or(0);
    format!("{:02x}:{second:02x}:{third:02x}:{fourth:02x}:{fifth:02x}:{sixth:02x}", (first & 0x7c) | 0x02)
}

fn serial_console(path: &str) -> Element {
    element("serial")
        .attribute("type", "file")
        .child(element("source").attribute("path", path).attribute("append", "off"))
        .child(element("target").attribute("port", 0))
}

fn guest_agent_channel() -> Element {
    let target = element("target").attribute("type", "virtio").attribute("name", GUEST_AGENT_CHANNEL);
    element("channel").attribute("type", "unix").child(target)
}

/// A display is reached through libvirt, never through a TCP port.
fn display(vnc: bool) -> Vec<Element> {
    let video = |model| element("video").child(element("model").attribute("type", model));
    if vnc {
        let socket = element("listen").attribute("type", "socket");
        vec![element("graphics").attribute("type", "vnc").child(socket), video("vga")]
    } else {
        vec![video("none")]
    }
}

fn random_numbers() -> Element {
    let backend = element("backend").attribute("model", "random").text("/dev/urandom");
    element("rng").attribute("model", "virtio").child(backend)
}

#[cfg(test)]
#[path = "domain_xml_tests.rs"]
mod tests;
