//! Owns hardware setups: templates of VMs. What makes one contradictory is in `setup_problem`.

use std::collections::{BTreeMap, BTreeSet};

use reeve_common::clock::Timestamp;
use reeve_common::device::{DeviceAmount, DeviceSelector};
use reeve_common::hardware_profile::HugePageSize;
use reeve_common::ids::{ImageName, NetworkName, ProcessorFeature, RealmName, SetupName};
use reeve_common::units::Mebibytes;
use reeve_common::vm::{CpuModel, Machine, VirtType};
use reeve_scheduler::{AffinityRule, HostLabelRule};
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
    /// Devices: how much of which classes. Each entry is served by devices of one class.
    pub devices: BTreeMap<DeviceSelector, DeviceAmount>,
    /// The accelerator; none means the realm's.
    pub virt_type: Option<VirtType>,
    /// The board.
    pub machine: Machine,
    /// The processor.
    pub cpu_model: CpuModel,
    /// Features that the processor must have besides.
    #[serde(default)]
    pub cpu_features: BTreeSet<ProcessorFeature>,
    /// Its VMs are spread evenly over exactly so many NUMA nodes; none to let them float.
    #[serde(default)]
    pub numa_nodes: Option<u32>,
    /// The memory of its VMs is in huge pages of this size; none for ordinary memory.
    #[serde(default)]
    pub huge_pages: Option<HugePageSize>,
    /// What the labels of its VMs' hosts must, or must not, say.
    #[serde(default)]
    pub host_labels: Vec<HostLabelRule>,
    /// Which VMs its VMs must, or must not, share their hosts with.
    #[serde(default)]
    pub affinity: Vec<AffinityRule>,
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
