//! What the domain XML is to be: golden files, and no text that becomes markup.

use std::collections::BTreeSet;
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
        cpu_features: BTreeSet::new(),
        huge_pages: None,
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
        origin: String::new(),
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
        cpu_features: ["avx512vnni", "pku"].map(|feature| feature.parse().unwrap()).into(),
        huge_pages: Some(HugePageSize(1024)),
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
        origin: String::new(),
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

/// Compares with a file under `agent/tests/golden`. The contract suite holds these files against libvirt's own schema;
/// after a wanted change, the document that is printed becomes the file.
fn check_golden(document: &str, expected: &str) {
    assert!(document == expected.trim_end(), "the document is now\n{document}");
}

#[test]
fn a_small_emulated_vm() {
    check_golden(&document(&small(), false).unwrap(), include_str!("../../../tests/golden/domain-small.xml"));
}

#[test]
fn a_vm_with_everything() {
    check_golden(&document(&large(), true).unwrap(), include_str!("../../../tests/golden/domain-large.xml"));
}

#[test]
fn a_vm_on_a_raw_image() {
    let mut spec = small();
    spec.cpu_model = CpuModel::HostModel;
    spec.system_disk.image_format = DiskFormat::Raw;
    check_golden(&document(&spec, true).unwrap(), include_str!("../../../tests/golden/domain-raw-image.xml"));
}

#[test]
fn the_host_processor_needs_kvm() {
    let spec = VmSpec { cpu_model: CpuModel::HostPassthrough, ..small() };
    assert_eq!(document(&spec, false), Err(ImpossibleDomain::PassthroughWithoutKvm));
    assert!(document(&spec, true).unwrap().contains("<cpu mode=\"host-passthrough\"/>"));
}

#[test]
fn features_are_added_to_a_model() {
    let features = ["avx2".parse().unwrap()].into();
    let spec = VmSpec { cpu_features: features, ..small() };
    assert_eq!(document(&spec, true), Err(ImpossibleDomain::FeaturesOfNoModel));
    let spec = VmSpec { cpu_model: CpuModel::HostModel, ..spec };
    assert!(document(&spec, true).unwrap().contains("<feature policy=\"require\" name=\"avx2\"/>"));
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
