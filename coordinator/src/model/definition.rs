//! Owns what a VM's domain is made of: by us, from a specification, or by somebody else, and then only what was seen of it.

use reeve_common::ids::{PoolName, RealmName, VmName, VolumeName};
use reeve_common::units::Mebibytes;
use reeve_common::vm::{AdoptedVm, DesiredVm, VmSpec};
use serde::{Deserialize, Serialize};

/// What a VM's domain is made of. In a record the one is told from the other by the system disk that only the first has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Definition {
    /// Made by its agent as this says.
    Made(VmSpec),
    /// Made by somebody else and adopted; nothing of it is made or removed by us.
    Adopted(AdoptedVm),
}

/// A volume that a VM uses, and that is not its own system disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedVolume<'a> {
    /// Its pool.
    pub pool: &'a PoolName,
    /// Its name there.
    pub volume: &'a VolumeName,
    /// Whether the VM never writes it.
    pub read_only: bool,
}

impl Definition {
    /// What its agent is to make; none when it was adopted.
    #[must_use]
    pub const fn made(&self) -> Option<&VmSpec> {
        match self {
            Self::Made(spec) => Some(spec),
            Self::Adopted(_) => None,
        }
    }

    /// Whether it was adopted.
    #[must_use]
    pub const fn is_adopted(&self) -> bool {
        matches!(self, Self::Adopted(_))
    }

    /// Its name in libvirt.
    #[must_use]
    pub const fn name(&self) -> &VmName {
        match self {
            Self::Made(spec) => &spec.name,
            Self::Adopted(adopted) => &adopted.name,
        }
    }

    /// Its name for people.
    #[must_use]
    pub fn title(&self) -> &str {
        match self {
            Self::Made(spec) => &spec.title,
            Self::Adopted(adopted) => &adopted.title,
        }
    }

    /// Its realm.
    #[must_use]
    pub const fn realm(&self) -> &RealmName {
        match self {
            Self::Made(spec) => &spec.realm,
            Self::Adopted(adopted) => &adopted.realm,
        }
    }

    /// Virtual processors.
    #[must_use]
    pub const fn vcpus(&self) -> u32 {
        match self {
            Self::Made(spec) => spec.vcpus,
            Self::Adopted(adopted) => adopted.vcpus,
        }
    }

    /// The most memory it may take.
    #[must_use]
    pub const fn memory(&self) -> Mebibytes {
        match self {
            Self::Made(spec) => spec.memory,
            Self::Adopted(adopted) => adopted.memory,
        }
    }

    /// The volumes it uses besides a system disk of its own: of these two VMs must not write the same one.
    pub fn used_volumes(&self) -> Box<dyn Iterator<Item = UsedVolume<'_>> + '_> {
        match self {
            Self::Made(spec) => Box::new(spec.drives.iter().map(|drive| UsedVolume {
                pool: &drive.pool,
                volume: &drive.volume,
                read_only: drive.read_only,
            })),
            Self::Adopted(adopted) => Box::new(adopted.disks.iter().filter_map(|disk| {
                let (pool, volume) = disk.volume.as_ref()?;
                Some(UsedVolume { pool, volume, read_only: disk.read_only })
            })),
        }
    }

    /// The wish that it runs, as its agent is told it.
    #[must_use]
    pub fn desired(&self) -> DesiredVm {
        match self {
            Self::Made(spec) => DesiredVm::Running(Box::new(spec.clone())),
            Self::Adopted(adopted) => DesiredVm::Adopted(Box::new(adopted.clone())),
        }
    }

    /// The same with this origin.
    #[must_use]
    pub fn with_origin(&self, origin: String) -> Self {
        match self {
            Self::Made(spec) => Self::Made(VmSpec { origin, ..spec.clone() }),
            Self::Adopted(adopted) => Self::Adopted(AdoptedVm { origin, ..adopted.clone() }),
        }
    }
}
