//! Owns what is asked of the scheduler: the part of a VM that decides where it may live and what that costs.
//!
//! Must not: know images, drives or how a VM is started.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use reeve_common::device::{DeviceAmount, DeviceSelector};
use reeve_common::hardware_profile::HugePageSize;
use reeve_common::ids::{HostId, PoolName, RealmName, VmId};
use reeve_common::units::{Mebibytes, Millicores};
use serde::{Deserialize, Serialize};

/// A place is wanted for one VM.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Request {
    /// The realm it belongs to; only hosts of this realm come into question.
    pub realm: RealmName,
    /// Processor time.
    pub cores: Millicores,
    /// Memory.
    pub memory: Mebibytes,
    /// Devices; an entry with zero devices is as good as absent. Each entry is served by devices of one class.
    #[serde(default)]
    pub devices: BTreeMap<DeviceSelector, DeviceAmount>,
    /// Who starts it; counted by `same.owner`.
    #[serde(default)]
    pub owner: String,
    /// The owner's team; counted by `same.team`.
    #[serde(default)]
    pub team: String,
    /// Its labels; counted by `same.label.KEY`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What its processor must be able to do.
    #[serde(default, skip_serializing_if = "CpuDemand::is_nothing")]
    pub cpu: CpuDemand,
    /// It is spread evenly over exactly so many NUMA nodes of its host; none to let it float.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numa_nodes: Option<u32>,
    /// Its memory is taken from huge pages of this size; none for ordinary memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub huge_pages: Option<HugePageSize>,
    /// What its host's labels must, or must not, say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_labels: Vec<HostLabelRule>,
    /// Which VMs it must, or must not, share its host with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub affinity: Vec<AffinityRule>,
    /// The storage pools that its disks are in.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub pools: BTreeSet<PoolName>,
    /// The hosts that it has been on and was moved away from: it is never placed there again.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub left: BTreeSet<HostId>,
}

impl Request {
    /// So much processor time and memory in a realm, and nothing else.
    #[must_use]
    pub fn new(realm: RealmName, cores: Millicores, memory: Mebibytes) -> Self {
        Self {
            realm,
            cores,
            memory,
            devices: BTreeMap::new(),
            owner: String::new(),
            team: String::new(),
            labels: BTreeMap::new(),
            cpu: CpuDemand::default(),
            numa_nodes: None,
            huge_pages: None,
            host_labels: Vec::new(),
            affinity: Vec::new(),
            pools: BTreeSet::new(),
            left: BTreeSet::new(),
        }
    }

    /// The memory that it takes besides huge pages: all or nothing of it.
    #[must_use]
    pub fn ordinary_memory(&self) -> Mebibytes {
        if self.huge_pages.is_some() { Mebibytes(0) } else { self.memory }
    }
}

/// What a VM's processor must be able to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CpuDemand {
    /// A named processor model that the host's hypervisor must be able to give.
    pub model: Option<String>,
    /// Processor features that the host must have, such as `avx2`.
    pub features: BTreeSet<String>,
}

impl CpuDemand {
    /// Whether any processor will do.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.model.is_none() && self.features.is_empty()
    }
}

impl fmt::Display for CpuDemand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let features: Vec<&str> = self.features.iter().map(String::as_str).collect();
        match (&self.model, features.as_slice()) {
            (None, []) => formatter.write_str("nothing"),
            (Some(model), []) => write!(formatter, "model {model}"),
            (None, features) => write!(formatter, "{}", features.join(", ")),
            (Some(model), features) => write!(formatter, "model {model} with {}", features.join(", ")),
        }
    }
}

/// A label of the host must have one of these values, or none of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HostLabelRule {
    /// The label's key.
    pub key: String,
    /// The values.
    pub values: BTreeSet<String>,
    /// Whether the host's value must be among them; otherwise it must not be. A host without the label has no value.
    pub wanted: bool,
}

/// Which VMs a VM must, or must not, share its host with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AffinityRule {
    /// Near them or away from them.
    pub kind: Affinity,
    /// Whom it is about; the VM itself is not meant.
    pub companions: Companions,
}

/// Near or away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Affinity {
    /// Only on a host where one of them is. While none of them is anywhere in the realm, any host will do, except for
    /// [`Companions::Vm`].
    Together,
    /// Only on a host where none of them is.
    Apart,
}

/// VMs of the same realm.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Companions {
    /// Those of the same owner.
    Owner,
    /// Those of the same team.
    Team,
    /// Those with this label.
    Label {
        /// Its key.
        key: String,
        /// Its value.
        value: String,
    },
    /// This one.
    Vm(VmId),
}
