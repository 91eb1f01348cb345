//! Owns the documents of what administrators describe: images, hardware setups, VM configurations and drives.

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;
use reeve_common::device::{DeviceAmount, DeviceSelector};
use reeve_common::ids::{
    ConfigurationName, DriveName, ImageName, NetworkName, ProcessorFeature, RealmName, SetupName, VmId,
    VolumeName,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::moment::Moment;
use super::workflow::WhenHostLost;

/// How a disk's bytes are laid out in its volume.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum DiskFormat {
    /// The bytes as they are.
    Raw,
    /// QEMU's copy-on-write format.
    #[default]
    Qcow2,
}

impl DiskFormat {
    /// Its name in JSON and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

/// An image (brick).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Image {
    /// Its name.
    #[schema(value_type = String)]
    pub name: ImageName,
    /// Its realm.
    #[schema(value_type = String)]
    pub realm: RealmName,
    /// Its volume in the realm's bricks pool.
    #[schema(value_type = String)]
    pub volume: VolumeName,
    /// The volume's format.
    pub format: DiskFormat,
    /// What is installed in it.
    pub operating_system: String,
    /// When it was made known.
    pub created_at: Moment,
}

/// An image to be made known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NewImage {
    /// Its name.
    #[schema(value_type = String)]
    pub name: ImageName,
    /// Its realm.
    #[schema(value_type = String)]
    pub realm: RealmName,
    /// Its volume in the realm's bricks pool: a name, never a path.
    #[schema(value_type = String)]
    pub volume: VolumeName,
    /// The volume's format; `qcow2` when left out.
    #[serde(default)]
    pub format: DiskFormat,
    /// What is installed in it.
    pub operating_system: String,
}

/// The accelerator of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VirtType {
    /// KVM where a guest makes progress under it, otherwise software emulation.
    Auto,
    /// Hardware virtualisation or nothing.
    Kvm,
    /// Software emulation.
    Qemu,
}

impl VirtType {
    /// Its name in JSON and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Kvm => "kvm",
            Self::Qemu => "qemu",
        }
    }
}

/// The board of a VM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Machine {
    /// PCI Express.
    #[default]
    Q35,
    /// The older i440fx board.
    Pc,
}

impl Machine {
    /// Its name in JSON and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Q35 => "q35",
            Self::Pc => "pc",
        }
    }
}

/// Debug options of a setup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DebugOptions {
    /// Keep the serial console's output.
    pub console: bool,
    /// A VNC display on a UNIX socket of the host.
    pub vnc: bool,
}

/// Whom a VM must, or must not, share its host with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AffinityRule {
    /// Only on a host where one of them is. While none of them is anywhere in the realm, any host will do; a certain
    /// VM must be there.
    Together(Companions),
    /// Only on a host where none of them is.
    Apart(Companions),
}

/// VMs of the same realm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Companions {
    /// Those of the same owner.
    Owner,
    /// Those of the same team.
    Team,
    /// Those with this label: one key and its value.
    Label(BTreeMap<String, String>),
    /// A certain one, by its id.
    #[schema(value_type = String)]
    Vm(VmId),
}

/// A hardware setup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Setup {
    /// Its name.
    #[schema(value_type = String)]
    pub name: SetupName,
    /// Its realm.
    #[schema(value_type = String)]
    pub realm: RealmName,
    /// What its VMs boot from.
    #[schema(value_type = String)]
    pub image: ImageName,
    /// Virtual processors.
    pub cores: u32,
    /// Memory.
    pub memory_mib: u64,
    /// Devices: for a class (`nvidia-a100`), alternatives (`nvidia-a100|nvidia-h100`) or any (`*`), a number of whole
    /// ones or a share of one (`250 permille`).
    #[schema(value_type = BTreeMap<String, serde_json::Value>)]
    pub devices: BTreeMap<DeviceSelector, DeviceAmount>,
    /// The accelerator; none means the realm's.
    pub virt_type: Option<VirtType>,
    /// The board.
    pub machine: Machine,
    /// `default`, `host-passthrough`, `host-model` or a model's name.
    pub cpu_model: String,
    /// Features that the processor must have besides.
    #[schema(value_type = Vec<String>)]
    pub cpu_features: BTreeSet<ProcessorFeature>,
    /// Its VMs are spread evenly over exactly so many NUMA nodes; none to let them float.
    pub numa_nodes: Option<u32>,
    /// The size in MiB of the huge pages that the memory of its VMs is in; none for ordinary memory.
    pub huge_pages_mib: Option<u32>,
    /// For each label, the values one of which the host's must be.
    pub host_labels: BTreeMap<String, BTreeSet<String>>,
    /// For each label, the values none of which the host's may be.
    pub avoid_host_labels: BTreeMap<String, BTreeSet<String>>,
    /// Which VMs its VMs must, or must not, share their hosts with.
    pub affinity: Vec<AffinityRule>,
    /// The networks its VMs are plugged into; none means the realm's.
    #[schema(value_type = Option<Vec<String>>)]
    pub networks: Option<Vec<NetworkName>>,
    /// Debug options.
    pub debug: DebugOptions,
    /// Labels of its VMs.
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: Moment,
}

/// A hardware setup to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NewSetup {
    /// Its name.
    #[schema(value_type = String)]
    pub name: SetupName,
    /// Its realm.
    #[schema(value_type = String)]
    pub realm: RealmName,
    /// What its VMs boot from.
    #[schema(value_type = String)]
    pub image: ImageName,
    /// Virtual processors.
    pub cores: u32,
    /// Memory, with a unit.
    #[schema(example = "2 GiB")]
    pub memory: String,
    /// Devices: for a class (`nvidia-a100`), alternatives (`nvidia-a100|nvidia-h100`) or any (`*`), a number of whole
    /// ones or a share of one (`250 permille`).
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, serde_json::Value>)]
    pub devices: BTreeMap<DeviceSelector, DeviceAmount>,
    /// The accelerator; the realm's when left out.
    #[serde(default)]
    pub virt_type: Option<VirtType>,
    /// The board; `q35` when left out.
    #[serde(default)]
    pub machine: Machine,
    /// `default`, `host-passthrough`, `host-model` or a model's name.
    #[serde(default)]
    pub cpu_model: Option<String>,
    /// Features that the processor must have besides; with another `cpu-model` than `default`.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub cpu_features: BTreeSet<ProcessorFeature>,
    /// Its VMs are spread evenly over exactly so many NUMA nodes; they float when left out.
    #[serde(default)]
    pub numa_nodes: Option<u32>,
    /// The memory of its VMs is in huge pages of this size, `2 MiB` or `1 GiB`; ordinary memory when left out.
    #[serde(default)]
    #[schema(example = "1 GiB")]
    pub huge_pages: Option<String>,
    /// For each label, the values one of which the host's must be.
    #[serde(default)]
    pub host_labels: BTreeMap<String, BTreeSet<String>>,
    /// For each label, the values none of which the host's may be.
    #[serde(default)]
    pub avoid_host_labels: BTreeMap<String, BTreeSet<String>>,
    /// Which VMs its VMs must, or must not, share their hosts with.
    #[serde(default)]
    pub affinity: Vec<AffinityRule>,
    /// The networks its VMs are plugged into; the realm's when left out, none when empty.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub networks: Option<Vec<NetworkName>>,
    /// Debug options.
    #[serde(default)]
    pub debug: DebugOptions,
    /// Labels of its VMs.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// How a configuration uses a drive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DriveUse {
    /// Which.
    #[schema(value_type = String)]
    pub drive: DriveName,
    /// Never written by this configuration's VMs.
    #[serde(default)]
    pub read_only: bool,
}

/// A VM configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Configuration {
    /// Its name.
    #[schema(value_type = String)]
    pub name: ConfigurationName,
    /// Its title for people.
    pub title: String,
    /// The hardware setup its VMs are made from.
    #[schema(value_type = String)]
    pub setup: SetupName,
    /// Whose it is.
    pub owner: String,
    /// The owner's team.
    pub team: String,
    /// The project it is tagged with.
    pub project: Option<String>,
    /// The drives its VMs get, in order.
    pub drives: Vec<DriveUse>,
    /// What becomes of its VMs when their host is lost; what the realm says when null.
    pub when_host_lost: Option<WhenHostLost>,
    /// The higher, the sooner its VMs are placed when not all fit, and the later they are stopped when a host is emptied.
    pub priority: u32,
    /// When it was made.
    pub created_at: Moment,
}

/// A VM configuration to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NewConfiguration {
    /// Its name.
    #[schema(value_type = String)]
    pub name: ConfigurationName,
    /// Its title for people; the name when left out.
    #[serde(default)]
    pub title: Option<String>,
    /// The hardware setup its VMs are made from.
    #[schema(value_type = String)]
    pub setup: SetupName,
    /// Whose it is.
    pub owner: String,
    /// The owner's team.
    pub team: String,
    /// The project it is tagged with.
    #[serde(default)]
    pub project: Option<String>,
    /// The drives its VMs get, in order.
    #[serde(default)]
    pub drives: Vec<DriveUse>,
    /// What becomes of its VMs when their host is lost; what the realm says when left out.
    #[serde(default)]
    pub when_host_lost: Option<WhenHostLost>,
    /// The higher, the sooner its VMs are placed when not all fit, and the later they are stopped when a host is
    /// emptied; 0 to 1000, 0 when left out.
    #[serde(default)]
    pub priority: u32,
}

/// A drive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Drive {
    /// Its name.
    #[schema(value_type = String)]
    pub name: DriveName,
    /// Its realm.
    #[schema(value_type = String)]
    pub realm: RealmName,
    /// Whose it is.
    pub owner: String,
    /// The owner's team.
    pub team: String,
    /// The size its user sees.
    pub size_bytes: u64,
    /// Its volume's format.
    pub format: DiskFormat,
    /// Its volume in the realm's drives pool.
    #[schema(value_type = String)]
    pub volume: VolumeName,
    /// When it was made.
    pub created_at: Moment,
    /// Whether its volume is known to be there.
    pub ready: bool,
}

/// A drive to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NewDrive {
    /// Its name.
    #[schema(value_type = String)]
    pub name: DriveName,
    /// Its realm.
    #[schema(value_type = String)]
    pub realm: RealmName,
    /// Whose it is.
    pub owner: String,
    /// The owner's team.
    pub team: String,
    /// The size its user sees, with a unit.
    #[schema(example = "20 GiB")]
    pub size: String,
    /// Its volume's format; `qcow2` when left out.
    #[serde(default)]
    pub format: DiskFormat,
}
