//! Owns hardware setups: templates of VMs, and what makes one contradictory.

use std::collections::BTreeMap;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{DeviceClass, ImageName, NetworkName, RealmName, SetupName};
use reeve_common::units::Mebibytes;
use reeve_common::vm::{CpuModel, Machine, VirtType, limits};
use serde::{Deserialize, Serialize};

/// A template of VMs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Setup {
    /// Its name.
    pub name: SetupName,
    /// Its realm.
    pub realm: RealmName,
    /// What its VMs boot from; of the same realm.
    pub image: ImageName,
    /// Virtual processors; each counts as one core.
    pub cores: u32,
    /// Memory.
    pub memory: Mebibytes,
    /// Devices by class.
    pub devices: BTreeMap<DeviceClass, u32>,
    /// The accelerator; none means the realm's.
    pub virt_type: Option<VirtType>,
    /// The board.
    pub machine: Machine,
    /// The processor.
    pub cpu_model: CpuModel,
    /// The networks its VMs are plugged into; none means the realm's, an empty list means no network.
    pub networks: Option<Vec<NetworkName>>,
    /// Debug option: keep the serial console's output.
    pub console: bool,
    /// Debug option: a VNC display on a UNIX socket of the host.
    pub vnc: bool,
    /// Labels of its VMs.
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Why a setup is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupProblem {
    /// A number is outside what can be made.
    #[error("`{key}` is {value}, and must be between {least} and {most}")]
    OutOfRange {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// The least allowed.
        least: String,
        /// The most allowed.
        most: String,
    },
    /// Two keys contradict each other.
    #[error("{0}")]
    Contradiction(String),
}

/// The least memory a guest can be given: below it no firmware starts.
pub const MEMORY_MIN: Mebibytes = Mebibytes(16);

impl Setup {
    /// Every contradiction in this setup; empty when it can be used.
    #[must_use]
    pub fn problems(&self) -> Vec<SetupProblem> {
        let mut problems = Vec::new();
        if self.cores == 0 || self.cores > limits::VCPUS_MAX {
            problems.push(SetupProblem::OutOfRange {
                key: "cores",
                value: self.cores.to_string(),
                least: "1".to_owned(),
                most: limits::VCPUS_MAX.to_string(),
            });
        }
        if self.memory < MEMORY_MIN || self.memory > limits::MEMORY_MAX {
            problems.push(SetupProblem::OutOfRange {
                key: "memory",
                value: self.memory.to_string(),
                least: MEMORY_MIN.to_string(),
                most: limits::MEMORY_MAX.to_string(),
            });
        }
        if let Some(networks) = &self.networks
            && networks.len() > limits::NETWORKS_MAX
        {
            problems.push(SetupProblem::OutOfRange {
                key: "networks",
                value: format!("{} long", networks.len()),
                least: "0".to_owned(),
                most: limits::NETWORKS_MAX.to_string(),
            });
        }
        if self.virt_type == Some(VirtType::Qemu) && self.cpu_model == CpuModel::HostPassthrough {
            problems.push(SetupProblem::Contradiction(
                "`cpu-model = host-passthrough` needs KVM, and `virt-type = qemu` rules it out: leave one of them out"
                    .to_owned(),
            ));
        }
        if let Some((class, _)) = self.devices.iter().find(|(_, count)| **count == 0) {
            problems.push(SetupProblem::Contradiction(format!(
                "`devices.{class}` is 0: leave the class out instead"
            )));
        }
        problems
    }
}
