//! Owns hardware profiles: how much of a kind of host may be scheduled. Declared in the configuration, they serve
//! all realms.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{CostFunctionName, DeviceClass, ProfileName};
use crate::units::{Mebibytes, Millicores};

/// A factor in thousandths: 4.0 is 4000. An integer, so that capacity is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Overcommit(pub u32);

impl Overcommit {
    /// No overcommitment.
    pub const NONE: Self = Self(1000);
}

impl Default for Overcommit {
    fn default() -> Self {
        Self::NONE
    }
}

/// What may be scheduled on a host of this kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HardwareProfile {
    /// Its name in the configuration.
    pub name: ProfileName,
    /// Processor time of the whole host.
    pub cores: Millicores,
    /// Memory of the whole host.
    pub memory: Mebibytes,
    /// Devices by class.
    pub devices: BTreeMap<DeviceClass, u32>,
    /// Processor time kept for the host itself.
    pub reserved_cores: Millicores,
    /// Memory kept for the host itself.
    pub reserved_memory: Mebibytes,
    /// How many times the processor time left may be promised.
    pub cores_overcommit: Overcommit,
    /// How many times the memory left may be promised.
    pub memory_overcommit: Overcommit,
    /// The cost function that hosts of this kind are judged by.
    pub cost_function: CostFunctionName,
}

/// What of a host can be promised to VMs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Capacity {
    /// Processor time.
    pub cores: Millicores,
    /// Memory.
    pub memory: Mebibytes,
    /// Devices by class.
    pub devices: BTreeMap<DeviceClass, u32>,
}

impl HardwareProfile {
    /// What VMs may be promised: (whole - reserve) x overcommit, rounded down; never below zero.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        Capacity {
            cores: Millicores(promised(self.cores.0, self.reserved_cores.0, self.cores_overcommit)),
            memory: Mebibytes(promised(self.memory.0, self.reserved_memory.0, self.memory_overcommit)),
            devices: self.devices.clone(),
        }
    }
}

fn promised(whole: u64, reserve: u64, overcommit: Overcommit) -> u64 {
    let left = u128::from(whole.saturating_sub(reserve));
    u64::try_from(left * u128::from(overcommit.0) / 1000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_is_what_is_left_times_the_overcommitment() {
        let profile = HardwareProfile {
            name: ProfileName::new("r750").unwrap(),
            cores: Millicores::from_cores(64),
            memory: Mebibytes(500 << 10),
            devices: BTreeMap::new(),
            reserved_cores: Millicores::from_cores(2),
            reserved_memory: Mebibytes(8 << 10),
            cores_overcommit: Overcommit(4000),
            memory_overcommit: Overcommit::NONE,
            cost_function: CostFunctionName::new("balanced").unwrap(),
        };
        assert_eq!(profile.capacity().cores, Millicores::from_cores(248));
        assert_eq!(profile.capacity().memory, Mebibytes(492 << 10));
        assert_eq!(promised(5, 9, Overcommit(4000)), 0);
        assert_eq!(promised(u64::MAX, 0, Overcommit(4000)), u64::MAX);
    }
}
