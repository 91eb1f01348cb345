//! Owns the specifications and ids that the tests of this folder use.

use std::collections::BTreeSet;
use std::time::Duration;

use reeve_common::ids::{PoolName, RealmName, VmId, VmName, VolumeName};
use reeve_common::storage::DiskFormat;
use reeve_common::units::Mebibytes;
use reeve_common::vm::{CpuModel, DesiredVm, Machine, SystemDisk, VirtType, VmSpec};
use uuid::Uuid;

/// The registration timeout of [`spec`].
pub(crate) const REGISTRATION_TIMEOUT: Duration = Duration::from_secs(60);

/// The realm of [`spec`].
pub(crate) fn realm() -> RealmName {
    RealmName::new("test").unwrap()
}

/// A VM's id by number.
pub(crate) fn vm(number: u128) -> VmId {
    VmId(Uuid::from_u128(number))
}

/// A specification whose disk carries the VM's number.
pub(crate) fn spec(number: u128) -> VmSpec {
    VmSpec {
        name: VmName::new(format!("vm-{number}")).unwrap(),
        title: "A test".to_owned(),
        realm: realm(),
        vcpus: 1,
        memory: Mebibytes(128),
        virt_type: VirtType::Qemu,
        machine: Machine::Q35,
        cpu_model: CpuModel::Default,
        cpu_features: BTreeSet::new(),
        huge_pages: None,
        system_disk: SystemDisk {
            pool: PoolName::new("volumes").unwrap(),
            volume: VolumeName::new(format!("vm-{number}.qcow2")).unwrap(),
            image_pool: PoolName::new("bricks").unwrap(),
            image_volume: VolumeName::new("image.qcow2").unwrap(),
            image_format: DiskFormat::Qcow2,
        },
        drives: Vec::new(),
        networks: Vec::new(),
        console: true,
        vnc: false,
        registration_timeout: REGISTRATION_TIMEOUT,
        origin: String::new(),
    }
}

/// The wish that it runs.
pub(crate) fn running(number: u128) -> DesiredVm {
    DesiredVm::Running(Box::new(spec(number)))
}

/// The wish that it stops within `seconds`.
pub(crate) fn stopped(seconds: u64) -> DesiredVm {
    DesiredVm::Stopped { grace: Duration::from_secs(seconds) }
}
