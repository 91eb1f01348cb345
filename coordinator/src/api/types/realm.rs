//! Owns the documents of what the configuration declares: realms, hardware profiles and cost functions; and of the
//! volumes in a realm's pools.

use std::collections::BTreeMap;

use clap::ValueEnum;
use reeve_common::ids::{
    CostFunctionName, DeviceClass, HostName, NetworkFilterName, NetworkName, PoolName, ProfileName,
    RealmName, VolumeName,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::catalogue::VirtType;
use super::host::Amounts;
use super::workflow::WhenHostLost;

/// A realm as configured, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Realm {
    /// Its key in the configuration.
    #[schema(value_type = String)]
    pub name: RealmName,
    /// Its name for people.
    pub title: String,
    /// Declared, but switched off.
    pub disabled: bool,
    /// How its hosts are reached; `libvirt`.
    pub driver: String,
    /// Where running VMs' disks live.
    #[schema(value_type = String)]
    pub volumes_pool: PoolName,
    /// Where users' drives live.
    #[schema(value_type = String)]
    pub drives_pool: PoolName,
    /// Where images live.
    #[schema(value_type = String)]
    pub bricks_pool: PoolName,
    /// How long a guest has to give its first sign of life.
    pub registration_timeout_ms: u64,
    /// How often agents compare every VM with libvirt.
    pub poll_frequency_ms: u64,
    /// The libvirt network filter of every interface.
    #[schema(value_type = Option<String>)]
    pub network_filter: Option<NetworkFilterName>,
    /// The accelerator of VMs whose setup does not say: `auto`, `kvm` or `qemu`.
    pub virt_type: VirtType,
    /// The libvirt network of VMs whose setup does not say.
    #[schema(value_type = Option<String>)]
    pub network: Option<NetworkName>,
    /// How long a guest has to shut down before it is destroyed.
    pub shutdown_timeout_ms: u64,
    /// What becomes of VMs whose host is lost, if their configuration does not say.
    pub when_host_lost: WhenHostLost,
    /// More than this part of the hosts, in percent, and …
    pub failover_brake_percent: u32,
    /// … more than so many hosts silent at once: then nothing is fenced or restarted by itself.
    pub failover_brake_hosts: u32,
    /// Whether each decision's explanation is logged.
    pub log_scheduling: bool,
    /// The rules for drives.
    pub drives: RealmDrives,
    /// Hosts in it.
    pub hosts: usize,
    /// Those connected now.
    pub connected_hosts: usize,
    /// VMs in it that are not over.
    pub vms: usize,
    /// What its owners and teams may have, and have.
    #[serde(default)]
    pub quotas: RealmQuotas,
}

/// What the owners and teams of a realm may have at most, and what they have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RealmQuotas {
    /// Owners who are named in the configuration, or held to a limit and have a VM.
    pub owners: Vec<Quota>,
    /// Teams that are named in the configuration, or held to a limit and have a VM.
    pub teams: Vec<Quota>,
    /// The limits of each owner who is not named in the configuration.
    pub any_owner: QuotaLimits,
    /// The limits of each team that is not named in the configuration.
    pub any_team: QuotaLimits,
}

/// What one owner or team may have, and has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Quota {
    /// The owner's or team's name.
    pub name: String,
    /// What they may have at most.
    pub limits: QuotaLimits,
    /// What they have: all their VMs that are placed.
    pub used: QuotaUsage,
}

/// Limits; what is left out is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct QuotaLimits {
    /// Processor time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub millicores: Option<u64>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// Devices of all classes, in thousandths of a device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices_permille: Option<u64>,
    /// VMs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vms: Option<u64>,
}

/// What is used of limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct QuotaUsage {
    /// Processor time.
    pub millicores: u64,
    /// Memory.
    pub memory_mib: u64,
    /// Devices of all classes, in thousandths of a device.
    pub devices_permille: u64,
    /// VMs.
    pub vms: u64,
}

/// A realm's rules for drives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RealmDrives {
    /// Whether space is taken only as data is written.
    pub lazy_allocation: bool,
    /// How hosts cache them: `default`, `writethrough`, `writeback` or `none`.
    pub cache: String,
    /// The smallest that may be made.
    pub min_size_bytes: Option<u64>,
    /// The largest that may be made.
    pub max_size_bytes: Option<u64>,
}

/// A hardware profile and its use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Profile {
    /// Its name in the configuration.
    #[schema(value_type = String)]
    pub name: ProfileName,
    /// What such a host has.
    pub whole: Amounts,
    /// Processor time kept for the host itself.
    pub reserved_millicores: u64,
    /// Memory kept for the host itself.
    pub reserved_memory_mib: u64,
    /// How many times the processor time left may be promised, in thousandths.
    pub cores_overcommit_permille: u32,
    /// How many times the memory left may be promised, in thousandths.
    pub memory_overcommit_permille: u32,
    /// What VMs may be promised on such a host.
    pub capacity: Amounts,
    /// What such hosts are judged by.
    #[schema(value_type = String)]
    pub cost_function: CostFunctionName,
    /// The hosts that have it.
    #[schema(value_type = Vec<String>)]
    pub hosts: Vec<HostName>,
}

/// A cost function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CostFunction {
    /// Its name in the configuration, or a preset's.
    #[schema(value_type = String)]
    pub name: CostFunctionName,
    /// What is compared between hosts: `increase` or `total`.
    pub by: String,
    /// Its terms, as written; their sum is the cost.
    pub terms: Vec<CostTerm>,
}

/// One term of a cost function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CostTerm {
    /// Its name.
    pub name: String,
    /// Its expression.
    pub expression: String,
}

/// Which of a realm's three pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum PoolKind {
    /// Images.
    Bricks,
    /// Running VMs' disks.
    Volumes,
    /// Users' drives.
    Drives,
}

impl PoolKind {
    /// All three, in the order they are shown.
    pub const ALL: [Self; 3] = [Self::Bricks, Self::Volumes, Self::Drives];

    /// Its name in questions, answers and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bricks => "bricks",
            Self::Volumes => "volumes",
            Self::Drives => "drives",
        }
    }
}

/// The volumes in one of a realm's pools, as one of its hosts lists them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Volumes {
    /// The realm.
    #[schema(value_type = String)]
    pub realm: RealmName,
    /// Which of its pools.
    pub kind: PoolKind,
    /// That pool's name in libvirt.
    #[schema(value_type = String)]
    pub pool: PoolName,
    /// The host that was asked.
    #[schema(value_type = String)]
    pub host: HostName,
    /// The volumes.
    pub volumes: Vec<Volume>,
}

/// A volume as libvirt lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Volume {
    /// Its name in its pool.
    #[schema(value_type = String)]
    pub name: VolumeName,
    /// The size its user sees.
    pub capacity_bytes: u64,
    /// The space it takes.
    pub allocation_bytes: u64,
    /// Its format as libvirt names it.
    pub format: String,
}

/// Devices by class, as every document has them.
pub(super) type Devices = BTreeMap<DeviceClass, u32>;
