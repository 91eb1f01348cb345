//! Owns VMs as they are on the wire, protocol version 1: what one is to be.

use serde::{Deserialize, Serialize};

use super::adoption::AdoptedVm;
use super::inventory::{from_names, page_size};
use super::storage::{DiskCache, DiskFormat};
use super::{
    FreeText, InvalidMessage, Name, from_free_text, from_milliseconds, from_name, in_range, mirrored_enum,
    to_free_text, to_milliseconds, to_name,
};
use crate::text::printable;
use crate::units::Mebibytes;
use crate::vm as domain;
use crate::vm::limits::{
    CPU_FEATURES_MAX, DRIVES_MAX, MEMORY_MAX, NETWORKS_MAX, ORIGIN_LENGTH_MAX, VCPUS_MAX,
};
use crate::wire::bounded::{List, Text};
use crate::wire::limits::CPU_MODEL_LENGTH_MAX;

mirrored_enum!(VirtType mirrors domain::VirtType { Auto, Kvm, Qemu });
mirrored_enum!(Machine mirrors domain::Machine { Q35, Pc });

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum CpuModel {
    Default,
    HostPassthrough,
    HostModel,
    Named(Text<CPU_MODEL_LENGTH_MAX>),
}

impl From<domain::CpuModel> for CpuModel {
    fn from(model: domain::CpuModel) -> Self {
        match model {
            domain::CpuModel::Default => Self::Default,
            domain::CpuModel::HostPassthrough => Self::HostPassthrough,
            domain::CpuModel::HostModel => Self::HostModel,
            domain::CpuModel::Named(name) => Self::Named(Text(name)),
        }
    }
}

impl TryFrom<CpuModel> for domain::CpuModel {
    type Error = InvalidMessage;

    fn try_from(model: CpuModel) -> Result<Self, InvalidMessage> {
        Ok(match model {
            CpuModel::Default => Self::Default,
            CpuModel::HostPassthrough => Self::HostPassthrough,
            CpuModel::HostModel => Self::HostModel,
            CpuModel::Named(Text(name)) => {
                let good =
                    |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+');
                if name.is_empty() || !name.bytes().all(good) {
                    let text = printable(&name, CPU_MODEL_LENGTH_MAX);
                    return Err(InvalidMessage::Form { what: "a processor model", text });
                }
                Self::Named(name)
            }
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SystemDisk {
    pool: Name,
    volume: Name,
    image_pool: Name,
    image_volume: Name,
    image_format: DiskFormat,
}

impl From<domain::SystemDisk> for SystemDisk {
    fn from(disk: domain::SystemDisk) -> Self {
        Self {
            pool: to_name(disk.pool),
            volume: to_name(disk.volume),
            image_pool: to_name(disk.image_pool),
            image_volume: to_name(disk.image_volume),
            image_format: disk.image_format.into(),
        }
    }
}

impl TryFrom<SystemDisk> for domain::SystemDisk {
    type Error = InvalidMessage;

    fn try_from(disk: SystemDisk) -> Result<Self, InvalidMessage> {
        Ok(Self {
            pool: from_name(disk.pool)?,
            volume: from_name(disk.volume)?,
            image_pool: from_name(disk.image_pool)?,
            image_volume: from_name(disk.image_volume)?,
            image_format: disk.image_format.into(),
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct DriveAttachment {
    pool: Name,
    volume: Name,
    format: DiskFormat,
    cache: DiskCache,
    read_only: bool,
}

impl From<domain::DriveAttachment> for DriveAttachment {
    fn from(drive: domain::DriveAttachment) -> Self {
        Self {
            pool: to_name(drive.pool),
            volume: to_name(drive.volume),
            format: drive.format.into(),
            cache: drive.cache.into(),
            read_only: drive.read_only,
        }
    }
}

impl TryFrom<DriveAttachment> for domain::DriveAttachment {
    type Error = InvalidMessage;

    fn try_from(drive: DriveAttachment) -> Result<Self, InvalidMessage> {
        Ok(Self {
            pool: from_name(drive.pool)?,
            volume: from_name(drive.volume)?,
            format: drive.format.into(),
            cache: drive.cache.into(),
            read_only: drive.read_only,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct NetworkInterface {
    network: Name,
    filter: Option<Name>,
}

impl From<domain::NetworkInterface> for NetworkInterface {
    fn from(interface: domain::NetworkInterface) -> Self {
        Self { network: to_name(interface.network), filter: interface.filter.map(to_name) }
    }
}

impl TryFrom<NetworkInterface> for domain::NetworkInterface {
    type Error = InvalidMessage;

    fn try_from(interface: NetworkInterface) -> Result<Self, InvalidMessage> {
        Ok(Self {
            network: from_name(interface.network)?,
            filter: interface.filter.map(from_name).transpose()?,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::wire) struct VmSpec {
    name: Name,
    title: FreeText,
    realm: Name,
    vcpus: u32,
    memory_mebibytes: u64,
    virt_type: VirtType,
    machine: Machine,
    cpu_model: CpuModel,
    cpu_features: List<Name, CPU_FEATURES_MAX>,
    huge_page_mebibytes: Option<u32>,
    system_disk: SystemDisk,
    drives: List<DriveAttachment, DRIVES_MAX>,
    networks: List<NetworkInterface, NETWORKS_MAX>,
    console: bool,
    vnc: bool,
    registration_timeout_milliseconds: u64,
    origin: Text<ORIGIN_LENGTH_MAX>,
}

impl From<domain::VmSpec> for VmSpec {
    fn from(spec: domain::VmSpec) -> Self {
        Self {
            name: to_name(spec.name),
            title: to_free_text(&spec.title),
            realm: to_name(spec.realm),
            vcpus: spec.vcpus,
            memory_mebibytes: spec.memory.0,
            virt_type: spec.virt_type.into(),
            machine: spec.machine.into(),
            cpu_model: spec.cpu_model.into(),
            cpu_features: List(spec.cpu_features.into_iter().map(to_name).collect()),
            huge_page_mebibytes: spec.huge_pages.map(|size| size.0),
            system_disk: spec.system_disk.into(),
            drives: List(spec.drives.into_iter().map(Into::into).collect()),
            networks: List(spec.networks.into_iter().map(Into::into).collect()),
            console: spec.console,
            vnc: spec.vnc,
            registration_timeout_milliseconds: to_milliseconds(spec.registration_timeout),
            origin: Text(spec.origin),
        }
    }
}

impl TryFrom<VmSpec> for domain::VmSpec {
    type Error = InvalidMessage;

    fn try_from(spec: VmSpec) -> Result<Self, InvalidMessage> {
        in_range("a VM's number of virtual processors", u64::from(spec.vcpus), 1, u64::from(VCPUS_MAX))?;
        let memory = in_range("a VM's memory in MiB", spec.memory_mebibytes, 1, MEMORY_MAX.0)?;
        let timeout = spec.registration_timeout_milliseconds;
        Ok(Self {
            title: from_free_text(&spec.title),
            name: from_name(spec.name)?,
            realm: from_name(spec.realm)?,
            vcpus: spec.vcpus,
            memory: Mebibytes(memory),
            virt_type: spec.virt_type.into(),
            machine: spec.machine.into(),
            cpu_model: spec.cpu_model.try_into()?,
            cpu_features: from_names(spec.cpu_features.0)?,
            huge_pages: spec.huge_page_mebibytes.map(page_size).transpose()?,
            system_disk: spec.system_disk.try_into()?,
            drives: spec.drives.0.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            networks: spec.networks.0.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            console: spec.console,
            vnc: spec.vnc,
            registration_timeout: from_milliseconds(
                "a registration timeout in milliseconds",
                timeout,
                std::time::Duration::ZERO,
            )?,
            origin: origin(spec.origin)?,
        })
    }
}

/// It comes back from an XML document, so that only what XML can hold may be in it.
pub(super) fn origin(text: Text<ORIGIN_LENGTH_MAX>) -> Result<String, InvalidMessage> {
    let good = |character: char| !character.is_control() && !matches!(character, '\u{fffe}' | '\u{ffff}');
    if text.0.chars().all(good) {
        Ok(text.0)
    } else {
        Err(InvalidMessage::Form { what: "a VM's origin", text: printable(&text.0, CPU_MODEL_LENGTH_MAX) })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::wire) enum DesiredVm {
    Running(Box<VmSpec>),
    Stopped { grace_milliseconds: u64 },
    Adopted(Box<AdoptedVm>),
    Released,
}

impl From<domain::DesiredVm> for DesiredVm {
    fn from(desired: domain::DesiredVm) -> Self {
        match desired {
            domain::DesiredVm::Running(spec) => Self::Running(Box::new((*spec).into())),
            domain::DesiredVm::Stopped { grace } => {
                Self::Stopped { grace_milliseconds: to_milliseconds(grace) }
            }
            domain::DesiredVm::Adopted(adopted) => Self::Adopted(Box::new((*adopted).into())),
            domain::DesiredVm::Released => Self::Released,
        }
    }
}

impl TryFrom<DesiredVm> for domain::DesiredVm {
    type Error = InvalidMessage;

    fn try_from(desired: DesiredVm) -> Result<Self, InvalidMessage> {
        Ok(match desired {
            DesiredVm::Running(spec) => Self::Running(Box::new((*spec).try_into()?)),
            DesiredVm::Stopped { grace_milliseconds } => Self::Stopped {
                grace: from_milliseconds(
                    "a grace in milliseconds",
                    grace_milliseconds,
                    std::time::Duration::ZERO,
                )?,
            },
            DesiredVm::Adopted(adopted) => Self::Adopted(Box::new((*adopted).try_into()?)),
            DesiredVm::Released => Self::Released,
        })
    }
}
