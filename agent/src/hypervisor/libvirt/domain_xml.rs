//! Owns how a VM's specification is said in libvirt's domain XML.
//!
//! Must not: ask libvirt, choose a path, or decide policy: everything it needs is in the [`DomainPlan`]. Nothing in the
//! result is left for libvirt or QEMU to guess: each disk's format and backing chain are written down, so that a
//! guest cannot choose them by what it writes into its disk.

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
        .child(element("vcpu").text(spec.vcpus))
        .child(element("os").child(operating_system(spec.machine)))
        .child(element("features").child(element("acpi")).child(element("apic")))
        .maybe(processor(&spec.cpu_model, plan.kvm)?)
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

fn processor(model: &CpuModel, kvm: bool) -> Result<Option<Element>, ImpossibleDomain> {
    Ok(match model {
        CpuModel::Default => None,
        CpuModel::HostPassthrough if kvm => Some(element("cpu").attribute("mode", "host-passthrough")),
        CpuModel::HostPassthrough => return Err(ImpossibleDomain::PassthroughWithoutKvm),
        CpuModel::HostModel => Some(element("cpu").attribute("mode", "host-model")),
        CpuModel::Named(name) => Some(
            element("cpu")
                .attribute("mode", "custom")
                .attribute("match", "exact")
                .child(element("model").attribute("fallback", "forbid").text(name)),
        ),
    })
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
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use proptest::prelude::*;
    use reeve_common::clock::Timestamp;
    use reeve_common::ids::{
        Epoch, Generation, NetworkFilterName, NetworkName, PoolName, RealmName, VmName, VolumeName,
    };
    use reeve_common::units::Mebibytes;
    use reeve_common::vm::{SystemDisk, VirtType};

    use super::super::super::LedgerWish;
    use super::*;

    const VM: &str = "fd0c8a52-7c1e-4b39-9a53-0e6a5b1d2c3f";

    fn small() -> VmSpec {
        VmSpec {
            name: VmName::new("web-fd0c8a52").unwrap(),
            title: "Web server".to_owned(),
            realm: RealmName::new("primary").unwrap(),
            vcpus: 1,
            memory: Mebibytes(512),
            virt_type: VirtType::Auto,
            machine: Machine::Q35,
            cpu_model: CpuModel::Default,
            system_disk: SystemDisk {
                pool: PoolName::new("vms").unwrap(),
                volume: VolumeName::new("web-fd0c8a52").unwrap(),
                image_pool: PoolName::new("bricks").unwrap(),
                image_volume: VolumeName::new("debian.qcow2").unwrap(),
                image_format: DiskFormat::Qcow2,
            },
            drives: Vec::new(),
            networks: Vec::new(),
            console: false,
            vnc: false,
            registration_timeout: Duration::from_secs(300),
        }
    }

    fn large() -> VmSpec {
        let drive = |name: &str, format, cache, read_only| DriveAttachment {
            pool: PoolName::new("drives").unwrap(),
            volume: VolumeName::new(name).unwrap(),
            format,
            cache,
            read_only,
        };
        let network = |name: &str, filter: Option<&str>| NetworkInterface {
            network: NetworkName::new(name).unwrap(),
            filter: filter.map(|filter| NetworkFilterName::new(filter).unwrap()),
        };
        VmSpec {
            vcpus: 4,
            memory: Mebibytes(8192),
            machine: Machine::Pc,
            cpu_model: CpuModel::Named("Skylake-Server".to_owned()),
            drives: vec![
                drive("alice-data", DiskFormat::Raw, DiskCache::None, false),
                drive("shared-reference-collection-2024", DiskFormat::Qcow2, DiskCache::Writeback, true),
            ],
            networks: vec![network("default", Some("clean-traffic")), network("storage", None)],
            console: true,
            vnc: true,
            ..small()
        }
    }

    fn ledger() -> LedgerEntry {
        LedgerEntry {
            generation: Generation(3),
            epoch: Epoch(7),
            wish: LedgerWish::Running,
            registration_deadline: None,
            started_at: Some(Timestamp(1_700_000_000_000)),
            registered_at: None,
            system_disk: Some((PoolName::new("vms").unwrap(), VolumeName::new("web-fd0c8a52").unwrap())),
            registration_timeout: Duration::from_secs(300),
        }
    }

    fn document(spec: &VmSpec, kvm: bool) -> Result<String, ImpossibleDomain> {
        let ledger = ledger();
        domain_document(&DomainPlan {
            vm: VM.parse().unwrap(),
            spec,
            ledger: &ledger,
            kvm,
            system_disk: DiskPlace::File("/srv/vms/web-fd0c8a52".to_owned()),
            image: DiskPlace::File("/srv/bricks/debian.qcow2".to_owned()),
            drives: vec![
                DiskPlace::Block("/dev/drives/alice-data".to_owned()),
                DiskPlace::File("/srv/drives/shared".to_owned()),
            ],
            console: spec.console.then(|| "/srv/vms/web-fd0c8a52.console".to_owned()),
        })
    }

    /// Compares with the file under `agent/tests/golden`; with `REEVE_UPDATE_GOLDEN` set, writes it. The contract
    /// suite holds these files against libvirt's own schema.
    fn check_golden(name: &str, document: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        if std::env::var_os("REEVE_UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, document).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(document == expected, "{} differs; the document is now\n{document}", path.display());
    }

    #[test]
    fn a_small_emulated_vm() {
        check_golden("domain-small.xml", &document(&small(), false).unwrap());
    }

    #[test]
    fn a_vm_with_everything() {
        check_golden("domain-large.xml", &document(&large(), true).unwrap());
    }

    #[test]
    fn a_vm_on_a_raw_image() {
        let mut spec = small();
        spec.cpu_model = CpuModel::HostModel;
        spec.system_disk.image_format = DiskFormat::Raw;
        check_golden("domain-raw-image.xml", &document(&spec, true).unwrap());
    }

    #[test]
    fn the_host_processor_needs_kvm() {
        let spec = VmSpec { cpu_model: CpuModel::HostPassthrough, ..small() };
        assert_eq!(document(&spec, false), Err(ImpossibleDomain::PassthroughWithoutKvm));
        assert!(document(&spec, true).unwrap().contains("<cpu mode=\"host-passthrough\"/>"));
    }

    #[test]
    fn every_interface_has_an_address_of_its_own_that_stays() {
        let vm: VmId = "fcffffff-ffff-4fff-bfff-ffffffffffff".parse().unwrap();
        assert_eq!(mac_address(vm, 0), "7e:ff:ff:ff:ff:ff");
        assert_eq!(mac_address(vm, 0), mac_address(vm, 0));
        assert_ne!(mac_address(vm, 0), mac_address(vm, 1));
    }

    /// Every element with its attributes, in document order, without texts.
    fn skeleton(document: &str) -> Vec<String> {
        let parsed = roxmltree::Document::parse(document).unwrap();
        let elements = parsed.descendants().filter(roxmltree::Node::is_element);
        let describe = |node: roxmltree::Node<'_, '_>| {
            let attributes: Vec<_> = node.attributes().map(|each| (each.name(), each.value())).collect();
            format!("{} {:?} {attributes:?}", node.ancestors().count(), node.tag_name())
        };
        elements.map(describe).collect()
    }

    proptest! {
        #[test]
        fn no_title_and_no_model_becomes_markup(title in any::<String>(), model in any::<String>()) {
            let plain = VmSpec { title: "x".to_owned(), cpu_model: CpuModel::Named("x".to_owned()), ..small() };
            let hostile = VmSpec { title: format!("x{title}"), cpu_model: CpuModel::Named(model), ..small() };
            let plain = document(&plain, false).unwrap();
            let document = document(&hostile, false).unwrap();
            prop_assert_eq!(skeleton(&document), skeleton(&plain));
            let parsed = roxmltree::Document::parse(&document).unwrap();
            let shown = parsed.descendants().find(|node| node.has_tag_name("title")).unwrap();
            prop_assert!(shown.text().unwrap().starts_with('x'));
        }
    }

    #[test]
    fn a_title_that_looks_like_markup_is_a_title() {
        let spec = VmSpec { title: "</name><x/>]]>&lt;<!--".to_owned(), ..small() };
        let document = document(&spec, false).unwrap();
        let parsed = roxmltree::Document::parse(&document).unwrap();
        let title = parsed.descendants().find(|node| node.has_tag_name("title")).unwrap();
        assert_eq!(title.text(), Some("</name><x/>]]>&lt;<!--"));
        assert_eq!(parsed.descendants().filter(|node| node.has_tag_name("x")).count(), 0);
    }
}
