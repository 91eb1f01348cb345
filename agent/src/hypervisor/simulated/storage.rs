//! Owns the simulated host's pools and volumes and their rules.
//!
//! Must not: read a clock, lock, log or touch files.

use std::collections::BTreeMap;

use reeve_common::ids::{PoolName, VolumeName};
use reeve_common::storage::{DiskFormat, NewVolume, PoolReport, PoolState, Volume};
use reeve_common::units::Bytes;
use reeve_common::vm::VmSpec;
use serde::{Deserialize, Serialize};

use super::super::{HypervisorError, HypervisorResult};
use super::settings::PoolSetting;
use super::world::World;

/// The size of a pool or image that is there only because it was asked for.
const BOUNDLESS_POOL: Bytes = Bytes(1 << 50);
const BOUNDLESS_IMAGE: Bytes = Bytes(10 << 30);

/// A simulated pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SimulatedPool {
    pub(super) active: bool,
    pub(super) capacity: Bytes,
    pub(super) volumes: BTreeMap<VolumeName, SimulatedVolume>,
}

/// A simulated volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SimulatedVolume {
    pub(super) capacity: Bytes,
    pub(super) allocation: Bytes,
    pub(super) format: DiskFormat,
    /// The image it is a copy-on-write child of.
    pub(super) backing: Option<(PoolName, VolumeName)>,
}

impl From<PoolSetting> for SimulatedPool {
    fn from(setting: PoolSetting) -> Self {
        let volume = |(name, capacity, format)| {
            (name, SimulatedVolume { capacity, allocation: Bytes(0), format, backing: None })
        };
        Self {
            active: setting.active,
            capacity: setting.capacity,
            volumes: setting.volumes.into_iter().map(volume).collect(),
        }
    }
}

impl SimulatedPool {
    fn available(&self) -> Bytes {
        let used = self.volumes.values().fold(0_u64, |sum, volume| sum.saturating_add(volume.allocation.0));
        Bytes(self.capacity.0.saturating_sub(used))
    }

    fn state(&self) -> PoolState {
        if self.active {
            PoolState::Active { capacity: self.capacity, available: self.available() }
        } else {
            PoolState::Inactive
        }
    }
}

impl World {
    /// Makes these pools be there, empty, unless they are.
    pub(super) fn invent_pools<'name>(&mut self, names: impl IntoIterator<Item = &'name PoolName>) {
        for name in names {
            self.pools.entry(name.clone()).or_insert_with(|| SimulatedPool {
                active: true,
                capacity: BOUNDLESS_POOL,
                volumes: BTreeMap::new(),
            });
        }
    }

    /// Makes the image of this specification be there unless it is.
    pub(super) fn invent_image(&mut self, spec: &VmSpec) {
        let disk = &spec.system_disk;
        self.invent_pools([&disk.pool, &disk.image_pool]);
        if let Some(pool) = self.pools.get_mut(&disk.image_pool) {
            pool.volumes.entry(disk.image_volume.clone()).or_insert_with(|| SimulatedVolume {
                capacity: BOUNDLESS_IMAGE,
                allocation: Bytes(0),
                format: disk.image_format,
                backing: None,
            });
        }
    }

    pub(super) fn pool_reports(&self, names: &[PoolName]) -> Vec<PoolReport> {
        let state = |name| self.pools.get(name).map_or(PoolState::Missing, SimulatedPool::state);
        names.iter().map(|name| PoolReport { name: name.clone(), state: state(name) }).collect()
    }

    fn active_pool(&self, doing: &'static str, name: &PoolName) -> HypervisorResult<&SimulatedPool> {
        match self.pools.get(name) {
            None => Err(HypervisorError::NotFound { what: format!("the pool {name}") }),
            Some(pool) if pool.active => Ok(pool),
            Some(_) => {
                let why = format!("the pool {name} is not started; start it with `virsh pool-start {name}`");
                Err(HypervisorError::Failed { doing, why })
            }
        }
    }

    pub(super) fn volume(&self, pool: &PoolName, volume: &VolumeName) -> HypervisorResult<&SimulatedVolume> {
        let found = self.active_pool("looking up the volume", pool)?.volumes.get(volume);
        found.ok_or_else(|| HypervisorError::NotFound {
            what: format!("the volume {volume} in the pool {pool}"),
        })
    }

    pub(super) fn volumes(&self, pool: &PoolName) -> HypervisorResult<Vec<Volume>> {
        let pool = self.active_pool("listing the pool", pool)?;
        let report = |(name, volume): (&VolumeName, &SimulatedVolume)| Volume {
            name: name.clone(),
            capacity: volume.capacity,
            allocation: volume.allocation,
            format: volume.format.as_str().to_owned(),
        };
        Ok(pool.volumes.iter().map(report).collect())
    }

    pub(super) fn create_volume(&mut self, new: &NewVolume) -> HypervisorResult<()> {
        const DOING: &str = "creating the volume";
        let pool = self.active_pool(DOING, &new.pool)?;
        if let Some(there) = pool.volumes.get(&new.name) {
            let same =
                there.capacity == new.capacity && there.format == new.format && there.backing.is_none();
            return if same { Ok(()) } else { Err(differs(DOING, &new.pool, &new.name)) };
        }
        let allocation = if new.lazy { Bytes(0) } else { new.capacity };
        if allocation > pool.available() {
            let why = format!(
                "the pool {} has {} left and the volume needs {allocation}",
                new.pool,
                pool.available()
            );
            return Err(HypervisorError::Failed { doing: DOING, why });
        }
        let volume =
            SimulatedVolume { capacity: new.capacity, allocation, format: new.format, backing: None };
        self.insert_volume(&new.pool, &new.name, volume);
        Ok(())
    }

    pub(super) fn create_system_disk(&mut self, spec: &VmSpec) -> HypervisorResult<()> {
        const DOING: &str = "creating the system disk";
        let disk = &spec.system_disk;
        let image = self.volume(&disk.image_pool, &disk.image_volume)?;
        if image.format != disk.image_format || image.backing.is_some() {
            let why = format!(
                "the image {} in the pool {} is not a plain {} volume; upload it again in that format",
                disk.image_volume,
                disk.image_pool,
                disk.image_format.as_str()
            );
            return Err(HypervisorError::Refused { doing: DOING, why });
        }
        let child = SimulatedVolume {
            capacity: image.capacity,
            allocation: Bytes(0),
            format: DiskFormat::Qcow2,
            backing: Some((disk.image_pool.clone(), disk.image_volume.clone())),
        };
        match self.active_pool(DOING, &disk.pool)?.volumes.get(&disk.volume) {
            Some(there) if there.backing == child.backing => Ok(()),
            Some(_) => Err(differs(DOING, &disk.pool, &disk.volume)),
            None => {
                self.insert_volume(&disk.pool, &disk.volume, child);
                Ok(())
            }
        }
    }

    /// Whether it was there.
    pub(super) fn delete_volume(&mut self, pool: &PoolName, volume: &VolumeName) -> HypervisorResult<bool> {
        self.active_pool("deleting the volume", pool)?;
        Ok(self.pools.get_mut(pool).and_then(|pool| pool.volumes.remove(volume)).is_some())
    }

    fn insert_volume(&mut self, pool: &PoolName, name: &VolumeName, volume: SimulatedVolume) {
        if let Some(pool) = self.pools.get_mut(pool) {
            pool.volumes.insert(name.clone(), volume);
        }
    }
}

fn differs(doing: &'static str, pool: &PoolName, volume: &VolumeName) -> HypervisorError {
    let why = format!("the pool {pool} has a volume {volume} already that is not the one asked for");
    HypervisorError::Refused { doing, why }
}
