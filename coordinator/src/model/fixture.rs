//! Owns the good examples that the tests of this crate start from.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{
    ConfigurationName, Generation, ImageName, PoolName, RealmName, SetupName, VmId, VmName, VolumeName,
};
use reeve_common::storage::DiskFormat;
use reeve_common::units::{Mebibytes, Millicores};
use reeve_common::vm::{CpuModel, Machine, SystemDisk, VirtType, VmSpec};
use reeve_scheduler::{Assignment, Request};
use uuid::Uuid;

use super::configuration::Configuration;
use super::definition::Definition;
use super::image::Image;
use super::setup::Setup;
use super::vm::{Vm, Wish};
use super::vm_state::VmState;

pub(crate) fn image() -> Image {
    Image {
        name: ImageName::new("debian-12").unwrap(),
        realm: RealmName::new("primary").unwrap(),
        volume: VolumeName::new("debian-12.qcow2").unwrap(),
        format: DiskFormat::Qcow2,
        operating_system: "Debian 12".to_owned(),
        created_at: Timestamp(1),
    }
}

pub(crate) fn setup() -> Setup {
    Setup {
        name: SetupName::new("small").unwrap(),
        realm: RealmName::new("primary").unwrap(),
        image: ImageName::new("debian-12").unwrap(),
        cores: 2,
        memory: Mebibytes(2048),
        devices: BTreeMap::new(),
        virt_type: None,
        machine: Machine::Q35,
        cpu_model: CpuModel::Default,
        cpu_features: BTreeSet::new(),
        numa_nodes: None,
        huge_pages: None,
        host_labels: Vec::new(),
        affinity: Vec::new(),
        networks: None,
        console: true,
        vnc: false,
        labels: BTreeMap::new(),
        created_at: Timestamp(2),
    }
}

pub(crate) fn configuration() -> Configuration {
    Configuration {
        name: ConfigurationName::new("web").unwrap(),
        title: "Web server".to_owned(),
        setup: SetupName::new("small").unwrap(),
        owner: "ada".to_owned(),
        team: "engines".to_owned(),
        project: None,
        drives: Vec::new(),
        when_host_lost: None,
        priority: 0,
        created_at: Timestamp(3),
    }
}

pub(crate) fn vm() -> Vm {
    let pool = |name| PoolName::new(name).unwrap();
    Vm {
        id: VmId(Uuid::from_u128(0x5f0c_0000_0000_4000_8000_0000_0000_0001)),
        name: VmName::new("web-5f0c0000").unwrap(),
        configuration: Some(ConfigurationName::new("web").unwrap()),
        setup: Some(SetupName::new("small").unwrap()),
        realm: RealmName::new("primary").unwrap(),
        owner: "ada".to_owned(),
        team: "engines".to_owned(),
        project: None,
        request: Request {
            owner: "ada".to_owned(),
            team: "engines".to_owned(),
            ..Request::new(RealmName::new("primary").unwrap(), Millicores::from_cores(2), Mebibytes(2048))
        },
        definition: Definition::Made(VmSpec {
            name: VmName::new("web-5f0c0000").unwrap(),
            title: "Web server".to_owned(),
            realm: RealmName::new("primary").unwrap(),
            vcpus: 2,
            memory: Mebibytes(2048),
            virt_type: VirtType::Auto,
            machine: Machine::Q35,
            cpu_model: CpuModel::Default,
            cpu_features: BTreeSet::new(),
            huge_pages: None,
            system_disk: SystemDisk {
                pool: pool("ticrypt-vm"),
                volume: VolumeName::new("web-5f0c0000.qcow2").unwrap(),
                image_pool: pool("ticrypt-bricks"),
                image_volume: VolumeName::new("debian-12.qcow2").unwrap(),
                image_format: DiskFormat::Qcow2,
            },
            drives: Vec::new(),
            networks: Vec::new(),
            console: true,
            vnc: false,
            registration_timeout: Duration::from_secs(300),
            origin: String::new(),
        }),
        state: VmState::Requested,
        reason: None,
        host: None,
        assignment: Assignment::default(),
        displaced_from: Vec::new(),
        wish: Wish::Run,
        generation: Generation(1),
        end: None,
        ended_unasked: false,
        requested_at: Timestamp(10),
        registered_at: None,
        ended_at: None,
        history: Vec::new(),
    }
}
