//! Owns domains that somebody else made, and what is said to adopt one, on the wire, protocol version 1.

use serde::{Deserialize, Serialize};

use super::observation::ForeignDomain;
use super::vm::origin;
use super::{FreeText, InvalidMessage, Name, from_free_text, from_name, in_range, to_free_text, to_name};
use crate::ids::Generation;
use crate::text::printable;
use crate::units::Mebibytes;
use crate::vm as domain;
use crate::vm::limits::{ADOPTED_DISKS_MAX, MEMORY_MAX, ORIGIN_LENGTH_MAX};
use crate::wire::bounded::{List, Text};
use crate::wire::limits::MANAGER_LENGTH_MAX;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::wire) enum AdoptionObstacle {
    Off,
    Transient,
    Managed(Text<MANAGER_LENGTH_MAX>),
    Name,
    SpoiltLedger,
}

impl From<domain::AdoptionObstacle> for AdoptionObstacle {
    fn from(obstacle: domain::AdoptionObstacle) -> Self {
        match obstacle {
            domain::AdoptionObstacle::Off => Self::Off,
            domain::AdoptionObstacle::Transient => Self::Transient,
            domain::AdoptionObstacle::Managed(by) => {
                Self::Managed(Text(printable(&by, MANAGER_LENGTH_MAX - '…'.len_utf8())))
            }
            domain::AdoptionObstacle::Name => Self::Name,
            domain::AdoptionObstacle::SpoiltLedger => Self::SpoiltLedger,
        }
    }
}

impl From<AdoptionObstacle> for domain::AdoptionObstacle {
    fn from(obstacle: AdoptionObstacle) -> Self {
        match obstacle {
            AdoptionObstacle::Off => Self::Off,
            AdoptionObstacle::Transient => Self::Transient,
            AdoptionObstacle::Managed(by) => Self::Managed(printable(&by.0, MANAGER_LENGTH_MAX)),
            AdoptionObstacle::Name => Self::Name,
            AdoptionObstacle::SpoiltLedger => Self::SpoiltLedger,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct DomainDisk {
    source: FreeText,
    volume: Option<(Name, Name)>,
    read_only: bool,
}

impl From<domain::DomainDisk> for DomainDisk {
    fn from(disk: domain::DomainDisk) -> Self {
        Self {
            source: to_free_text(&disk.source),
            volume: disk.volume.map(|(pool, volume)| (to_name(pool), to_name(volume))),
            read_only: disk.read_only,
        }
    }
}

impl TryFrom<DomainDisk> for domain::DomainDisk {
    type Error = InvalidMessage;

    fn try_from(disk: DomainDisk) -> Result<Self, InvalidMessage> {
        let volume = match disk.volume {
            None => None,
            Some((pool, volume)) => Some((from_name(pool)?, from_name(volume)?)),
        };
        Ok(Self { source: from_free_text(&disk.source), volume, read_only: disk.read_only })
    }
}

fn to_disks(disks: Vec<domain::DomainDisk>) -> List<DomainDisk, ADOPTED_DISKS_MAX> {
    List(disks.into_iter().map(Into::into).collect())
}

fn from_disks(disks: List<DomainDisk, ADOPTED_DISKS_MAX>) -> Result<Vec<domain::DomainDisk>, InvalidMessage> {
    disks.0.into_iter().map(TryInto::try_into).collect()
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::wire) struct AdoptedVm {
    name: Name,
    title: FreeText,
    realm: Name,
    vcpus: u32,
    memory_mebibytes: u64,
    disks: List<DomainDisk, ADOPTED_DISKS_MAX>,
    origin: Text<ORIGIN_LENGTH_MAX>,
}

impl From<domain::AdoptedVm> for AdoptedVm {
    fn from(adopted: domain::AdoptedVm) -> Self {
        Self {
            name: to_name(adopted.name),
            title: to_free_text(&adopted.title),
            realm: to_name(adopted.realm),
            vcpus: adopted.vcpus,
            memory_mebibytes: adopted.memory.0,
            disks: to_disks(adopted.disks),
            origin: Text(adopted.origin),
        }
    }
}

impl TryFrom<AdoptedVm> for domain::AdoptedVm {
    type Error = InvalidMessage;

    fn try_from(adopted: AdoptedVm) -> Result<Self, InvalidMessage> {
        let memory = in_range("a VM's memory in MiB", adopted.memory_mebibytes, 0, MEMORY_MAX.0)?;
        Ok(Self {
            title: from_free_text(&adopted.title),
            name: from_name(adopted.name)?,
            realm: from_name(adopted.realm)?,
            vcpus: adopted.vcpus,
            memory: Mebibytes(memory),
            disks: from_disks(adopted.disks)?,
            origin: origin(adopted.origin)?,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::wire) struct DomainDescription {
    domain: ForeignDomain,
    disks: List<DomainDisk, ADOPTED_DISKS_MAX>,
    last_generation: u64,
}

impl From<domain::DomainDescription> for DomainDescription {
    fn from(description: domain::DomainDescription) -> Self {
        Self {
            domain: description.domain.into(),
            disks: to_disks(description.disks),
            last_generation: description.last_generation.0,
        }
    }
}

impl TryFrom<DomainDescription> for domain::DomainDescription {
    type Error = InvalidMessage;

    fn try_from(description: DomainDescription) -> Result<Self, InvalidMessage> {
        Ok(Self {
            domain: description.domain.into(),
            disks: from_disks(description.disks)?,
            last_generation: Generation(description.last_generation),
        })
    }
}
