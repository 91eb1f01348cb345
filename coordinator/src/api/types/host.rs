//! Owns the documents of hosts.

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;
use reeve_common::ids::{
    DeviceClass, HostId, HostName, MediatedType, PoolName, ProcessorFeature, ProcessorModel, ProfileName,
    RealmName, VmId,
};
use reeve_common::inventory::PciId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fence::Fence;
use super::moment::Moment;
use super::realm::Devices;

/// Whether a host may be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum HostState {
    /// Managed, and chosen for VMs.
    #[default]
    Enabled,
    /// Managed, never chosen.
    NoScheduler,
    /// Left alone.
    Disabled,
}

impl HostState {
    /// Its name in JSON and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::NoScheduler => "no-scheduler",
            Self::Disabled => "disabled",
        }
    }
}

/// Whether a host's agent is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionState {
    /// Its agent has never joined.
    NeverJoined,
    /// Its agent is connected.
    Connected,
    /// Not heard for a moment, and not lost yet. Nothing new is placed there.
    Suspected,
    /// Nothing heard for too long: what happens there is unknown.
    Lost,
    /// Seen to be off by a fence command, or stated to be off by a person.
    Fenced,
    /// Its lease has run out: it must have stopped all its VMs, or been reset by its watchdog.
    SelfFenced,
}

impl ConnectionState {
    /// Its name in JSON and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NeverJoined => "never-joined",
            Self::Connected => "connected",
            Self::Suspected => "suspected",
            Self::Lost => "lost",
            Self::Fenced => "fenced",
            Self::SelfFenced => "self-fenced",
        }
    }
}

/// What there is of processor time, memory and devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Amounts {
    /// Processor time in thousandths of a core.
    pub millicores: u64,
    /// Memory, huge pages apart.
    pub memory_mib: u64,
    /// Whole devices by class; one that is promised in part counts as one.
    #[schema(value_type = BTreeMap<String, u32>)]
    pub devices: Devices,
    /// The same in thousandths of a device.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, u64>)]
    pub devices_permille: BTreeMap<DeviceClass, u64>,
    /// The classes whose devices may be shared by VMs.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub divisible_devices: BTreeSet<DeviceClass>,
    /// Huge pages, by their size in MiB.
    #[serde(default)]
    pub huge_pages: BTreeMap<u32, u64>,
    /// NUMA nodes that VMs can ask for.
    #[serde(default)]
    pub numa_nodes: usize,
}

/// A host and all that is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Host {
    /// Its identity, for ever.
    #[schema(value_type = u32)]
    pub id: HostId,
    /// Its name.
    #[schema(value_type = String)]
    pub name: HostName,
    /// Its realm.
    #[schema(value_type = String)]
    pub realm: RealmName,
    /// How its agent reaches libvirt.
    pub uri: String,
    /// Its hardware profile.
    #[schema(value_type = String)]
    pub profile: ProfileName,
    /// Whether it may be used.
    pub state: HostState,
    /// It is being emptied, or was, and is chosen for nothing new.
    #[serde(default)]
    pub draining: bool,
    /// For affinity and cost functions.
    pub labels: BTreeMap<String, String>,
    /// When it was added.
    pub added_at: Moment,
    /// When its agent last joined with a token.
    pub joined_at: Option<Moment>,
    /// Whether its agent is heard.
    pub connection: ConnectionState,
    /// Since when; not known for one that was never heard since the coordinator started.
    pub connection_since: Option<Moment>,
    /// What VMs may be promised here; none while its profile is not configured.
    pub capacity: Option<Amounts>,
    /// What of that is promised.
    pub used: Option<Amounts>,
    /// What others' domains take besides.
    pub used_by_foreign: Option<Amounts>,
    /// What it is, as its agent last said.
    pub inventory: Option<Inventory>,
    /// How busy it is, as its agent last said.
    pub sample: Option<Sample>,
    /// Our VMs on it.
    #[schema(value_type = Vec<String>)]
    pub vms: Vec<VmId>,
    /// Somebody else's domains on it.
    pub foreign_domains: Vec<ForeignDomain>,
    /// Its realm's pools there.
    pub pools: Vec<Pool>,
    /// Whether its libvirt answers its agent; unknown while it is not connected.
    pub hypervisor_reachable: Option<bool>,
    /// Its latest fencings, the latest first.
    #[serde(default)]
    pub fences: Vec<Fence>,
    /// Whether its realm says how it is fenced.
    #[serde(default)]
    pub can_be_fenced: bool,
    /// When everything on it will have stopped if it is not heard any more; none when it does not stop by itself.
    #[serde(default)]
    pub stops_by_itself_at: Option<Moment>,
    /// How many standing warnings there are of it that nobody has acknowledged; `/v1/warnings` has all.
    #[serde(default)]
    pub standing_warnings: usize,
    /// What an administrator should know.
    pub warnings: Vec<String>,
}

/// What a host is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Inventory {
    /// Its own host name.
    pub hostname: String,
    /// `x86_64`, …
    pub architecture: String,
    /// The processor's name.
    pub cpu_model: String,
    /// Logical processors.
    pub logical_cpus: u32,
    /// Memory.
    pub memory_mib: u64,
    /// The running kernel.
    pub kernel: String,
    /// The hypervisor and its version.
    pub hypervisor: String,
    /// Whether guests make progress under KVM here.
    pub kvm_usable: bool,
    /// The agent's version.
    pub agent_version: String,
    /// The named processor models that guests can have.
    #[schema(value_type = Vec<String>)]
    pub processor_models: BTreeSet<ProcessorModel>,
    /// The processor features that guests can have.
    #[schema(value_type = Vec<String>)]
    pub processor_features: BTreeSet<ProcessorFeature>,
    /// Its NUMA nodes; empty where the hypervisor does not say.
    pub numa_nodes: Vec<NumaNode>,
    /// Huge pages, by their size in MiB.
    pub huge_pages: BTreeMap<u32, u64>,
    /// PCI devices by vendor and product, such as `10de:20b0`.
    #[schema(value_type = BTreeMap<String, u32>)]
    pub pci_devices: BTreeMap<PciId, u32>,
    /// Mediated devices by type, those that are made and those that could be.
    #[schema(value_type = BTreeMap<String, u32>)]
    pub mediated_devices: BTreeMap<MediatedType, u32>,
    /// Devices by the classes that the configuration declares.
    #[schema(value_type = BTreeMap<String, u32>)]
    pub devices: Devices,
}

/// A NUMA node of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct NumaNode {
    /// The kernel's number for it.
    pub node: u32,
    /// Logical processors.
    pub logical_cpus: u32,
    /// Memory, huge pages included.
    pub memory_mib: u64,
    /// Huge pages, by their size in MiB.
    pub huge_pages: BTreeMap<u32, u64>,
}

/// How busy a host is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Sample {
    /// When it was taken.
    pub at: Moment,
    /// Busy processor time in thousandths of all processors.
    pub cpu_permille: u32,
    /// Memory in use.
    pub memory_used_mib: u64,
    /// Load average over one minute, in thousandths.
    pub load_permille: u32,
    /// Time in which some task waited for the processor, over 10 s, in thousandths; none without PSI.
    pub cpu_pressure_permille: Option<u32>,
    /// The same for memory.
    pub memory_pressure_permille: Option<u32>,
    /// The same for input and output.
    pub io_pressure_permille: Option<u32>,
}

/// A domain that is not ours. It is counted, and left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ForeignDomain {
    /// Its UUID.
    #[schema(value_type = String)]
    pub id: VmId,
    /// Its name.
    pub name: String,
    /// Whether it is running.
    pub active: bool,
    /// Its virtual processors.
    pub vcpus: u32,
    /// Its memory.
    pub memory_mib: u64,
}

/// What a host knows of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PoolState {
    /// Running.
    Active,
    /// Defined in libvirt, not started.
    Inactive,
    /// libvirt has no pool of this name.
    Missing,
}

impl PoolState {
    /// Its name in JSON and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Missing => "missing",
        }
    }
}

/// One of a realm's pools as a host has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Pool {
    /// Its name in libvirt.
    #[schema(value_type = String)]
    pub name: PoolName,
    /// What is known of it.
    pub state: PoolState,
    /// All of it, when it is active.
    pub capacity_bytes: Option<u64>,
    /// What is left, when it is active.
    pub available_bytes: Option<u64>,
}

/// A host to be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NewHost {
    /// Its name.
    #[schema(value_type = String, example = "node-1")]
    pub name: HostName,
    /// Its realm.
    #[schema(value_type = String)]
    pub realm: RealmName,
    /// Its hardware profile.
    #[schema(value_type = String)]
    pub profile: ProfileName,
    /// How its agent reaches libvirt; `qemu:///system` when left out.
    #[serde(default = "system_uri")]
    pub uri: String,
    /// Its first state; `enabled` when left out.
    #[serde(default)]
    pub state: HostState,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

fn system_uri() -> String {
    NewHost::URI_DEFAULT.to_owned()
}

impl NewHost {
    /// Where libvirt answers on a host unless something else is said.
    pub const URI_DEFAULT: &str = "qemu:///system";
}

/// The state a host is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StateChange {
    /// The new state.
    pub state: HostState,
}

/// What is said when a join line is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct JoinTokenRequest {
    /// How long it can be used, with a unit; `15 minutes` when left out.
    #[serde(default)]
    #[schema(example = "30 minutes")]
    pub lifetime: Option<String>,
}

/// A join line, shown once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct JoinToken {
    /// The line to give to `reeve-agent join`. It holds a secret.
    pub line: String,
    /// For which host.
    #[schema(value_type = String)]
    pub host: HostName,
    /// Until when it can be used.
    pub expires_at: Moment,
}
