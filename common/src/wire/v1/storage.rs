//! Owns storage as it is on the wire, protocol version 1.

use serde::{Deserialize, Serialize};

use super::{
    FreeText, InvalidMessage, Name, from_free_text, from_name, in_range, mirrored_enum, to_free_text, to_name,
};
use crate::storage as domain;
use crate::units::Bytes;
use crate::vm::limits::DRIVE_SIZE_MAX;

mirrored_enum!(DiskFormat mirrors domain::DiskFormat { Raw, Qcow2 });
mirrored_enum!(DiskCache mirrors domain::DiskCache { Default, Writethrough, Writeback, None });

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::wire) struct PoolReport {
    name: Name,
    state: PoolState,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum PoolState {
    Active { capacity: u64, available: u64 },
    Inactive,
    Missing,
}

impl From<domain::PoolReport> for PoolReport {
    fn from(pool: domain::PoolReport) -> Self {
        let state = match pool.state {
            domain::PoolState::Active { capacity, available } => {
                PoolState::Active { capacity: capacity.0, available: available.0 }
            }
            domain::PoolState::Inactive => PoolState::Inactive,
            domain::PoolState::Missing => PoolState::Missing,
        };
        Self { name: to_name(pool.name), state }
    }
}

impl TryFrom<PoolReport> for domain::PoolReport {
    type Error = InvalidMessage;

    fn try_from(pool: PoolReport) -> Result<Self, InvalidMessage> {
        let state = match pool.state {
            PoolState::Active { capacity, available } => {
                domain::PoolState::Active { capacity: Bytes(capacity), available: Bytes(available) }
            }
            PoolState::Inactive => domain::PoolState::Inactive,
            PoolState::Missing => domain::PoolState::Missing,
        };
        Ok(Self { name: from_name(pool.name)?, state })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::wire) struct Volume {
    name: Name,
    capacity: u64,
    allocation: u64,
    format: FreeText,
}

impl From<domain::Volume> for Volume {
    fn from(volume: domain::Volume) -> Self {
        Self {
            name: to_name(volume.name),
            capacity: volume.capacity.0,
            allocation: volume.allocation.0,
            format: to_free_text(&volume.format),
        }
    }
}

impl TryFrom<Volume> for domain::Volume {
    type Error = InvalidMessage;

    fn try_from(volume: Volume) -> Result<Self, InvalidMessage> {
        Ok(Self {
            format: from_free_text(&volume.format),
            name: from_name(volume.name)?,
            capacity: Bytes(volume.capacity),
            allocation: Bytes(volume.allocation),
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::wire) struct NewVolume {
    pool: Name,
    name: Name,
    capacity: u64,
    format: DiskFormat,
    lazy: bool,
}

impl From<domain::NewVolume> for NewVolume {
    fn from(volume: domain::NewVolume) -> Self {
        Self {
            pool: to_name(volume.pool),
            name: to_name(volume.name),
            capacity: volume.capacity.0,
            format: volume.format.into(),
            lazy: volume.lazy,
        }
    }
}

impl TryFrom<NewVolume> for domain::NewVolume {
    type Error = InvalidMessage;

    fn try_from(volume: NewVolume) -> Result<Self, InvalidMessage> {
        Ok(Self {
            pool: from_name(volume.pool)?,
            name: from_name(volume.name)?,
            capacity: Bytes(in_range("a volume's size in bytes", volume.capacity, 1, DRIVE_SIZE_MAX.0)?),
            format: volume.format.into(),
            lazy: volume.lazy,
        })
    }
}
