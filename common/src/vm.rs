//! Owns what a VM is to be (the specification an agent gets) and what one is seen to be (the observation it sends).
//!
//! Must not: know how libvirt says it, or where the VM came from. The states of a VM as people see them are the
//! coordinator's (`coordinator/src/model/vm_state.rs`); the ones here are facts of one host.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::hardware_profile::HugePageSize;
use crate::ids::{
    Epoch, Generation, NetworkFilterName, NetworkName, PoolName, ProcessorFeature, RealmName, VmId, VmName,
    VolumeName,
};
use crate::storage::{DiskCache, DiskFormat};
use crate::units::{Bytes, Mebibytes};

/// The accelerator a domain runs with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VirtType {
    /// KVM where a guest makes progress under it, otherwise software emulation.
    #[default]
    Auto,
    /// Hardware virtualisation or nothing.
    Kvm,
    /// Software emulation.
    Qemu,
}

/// The board a guest sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Machine {
    /// PCI Express; the default.
    #[default]
    Q35,
    /// The older i440fx board.
    Pc,
}

/// The processor a guest sees.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CpuModel {
    /// What QEMU gives by itself.
    #[default]
    Default,
    /// The host's processor as it is (KVM only).
    HostPassthrough,
    /// libvirt's nearest named model of the host's.
    HostModel,
    /// A named model, refused where the host cannot give it.
    Named(String),
}

/// The disk a VM boots from: a copy-on-write child of its image, made at the start and removed with the VM.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SystemDisk {
    /// The pool the child is made in.
    pub pool: PoolName,
    /// The child's name there.
    pub volume: VolumeName,
    /// The pool of the image.
    pub image_pool: PoolName,
    /// The image's volume.
    pub image_volume: VolumeName,
    /// The image's format.
    pub image_format: DiskFormat,
}

/// A user's drive as this VM gets it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DriveAttachment {
    /// The pool it is in.
    pub pool: PoolName,
    /// Its volume there.
    pub volume: VolumeName,
    /// Its format.
    pub format: DiskFormat,
    /// How the host caches it.
    pub cache: DiskCache,
    /// Never written by this VM.
    pub read_only: bool,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NetworkInterface {
    /// The libvirt network it is plugged into.
    pub network: NetworkName,
    /// The libvirt network filter that guards it (`network-filter`).
    pub filter: Option<NetworkFilterName>,
}

/// What a VM is to be, whole: an agent needs nothing else to make it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VmSpec {
    /// Its name in libvirt.
    pub name: VmName,
    /// Its name for people; free text.
    pub title: String,
    /// Its realm.
    pub realm: RealmName,
    /// Virtual processors.
    pub vcpus: u32,
    /// Memory.
    pub memory: Mebibytes,
    /// The accelerator; `Auto` is resolved by the agent.
    pub virt_type: VirtType,
    /// The board.
    pub machine: Machine,
    /// The processor.
    pub cpu_model: CpuModel,
    /// Features that the processor must have besides.
    #[serde(default)]
    pub cpu_features: BTreeSet<ProcessorFeature>,
    /// Its memory is taken from the host's huge pages of this size; none for ordinary memory.
    #[serde(default)]
    pub huge_pages: Option<HugePageSize>,
    /// The disk it boots from.
    pub system_disk: SystemDisk,
    /// Users' drives, in order.
    pub drives: Vec<DriveAttachment>,
    /// Network interfaces, in order.
    pub networks: Vec<NetworkInterface>,
    /// Keep the guest's serial console's output.
    pub console: bool,
    /// Give it a VNC display on a UNIX socket.
    pub vnc: bool,
    /// How long from libvirt's start until the guest must have given its first sign of life.
    pub registration_timeout: Duration,
    /// What the coordinator wants to be told of this VM should it ever lose its records: opaque to the agent, which keeps
    /// it in the ledger. Empty when there is nothing; at most [`limits::ORIGIN_LENGTH_MAX`] bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub origin: String,
}

/// What is desired of one VM on one host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DesiredVm {
    /// Defined, started and registered.
    Running(Box<VmSpec>),
    /// Not running, and its domain and disk removed. The guest is asked to shut down, asked again half-way, and
    /// destroyed when `grace` is over; a grace of zero destroys at once.
    Stopped {
        /// How long the guest has.
        grace: Duration,
    },
    /// Ours from now on as it is: a domain that somebody else made, which goes on running.
    Adopted(Box<AdoptedVm>),
    /// Not ours any more, and otherwise as it is. Only what was adopted is released.
    Released,
}

/// A domain that somebody else made, as it was when it was decided to take it in. Nothing of it is made or removed by us.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AdoptedVm {
    /// Its name in libvirt.
    pub name: VmName,
    /// Its name for people; free text.
    pub title: String,
    /// Its realm.
    pub realm: RealmName,
    /// Virtual processors.
    pub vcpus: u32,
    /// The most memory it may take.
    pub memory: Mebibytes,
    /// Its disks, in its definition's order; at most [`limits::ADOPTED_DISKS_MAX`].
    pub disks: Vec<DomainDisk>,
    /// As [`VmSpec::origin`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub origin: String,
}

/// A disk of a domain that somebody else made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DomainDisk {
    /// Where its bytes are, made printable: a path, or what the definition says in its place.
    pub source: String,
    /// The pool and the volume, where libvirt knows it as one.
    pub volume: Option<(PoolName, VolumeName)>,
    /// Whether the domain never writes it.
    pub read_only: bool,
}

/// Why a VM is not running, or not any more.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// It was asked to, and did.
    ShutDown,
    /// It was asked to, did not within its grace, and was destroyed.
    DestroyedAfterGrace,
    /// It was destroyed on request.
    Destroyed,
    /// The guest powered itself off.
    GuestPowerOff,
    /// QEMU died, or the guest's kernel did.
    Crashed,
    /// The guest gave no sign of life in time and was terminated.
    RegistrationTimeout,
    /// It could not be made or started; the text is the chain of errors.
    StartFailed(String),
    /// It was found stopped and nobody saw why, as after the host lost power.
    FoundStopped,
    /// It was given back as it was: it may be running on, and is no VM of ours.
    Released,
}

impl StopReason {
    /// Whether the VM counts as failed rather than stopped.
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        matches!(self, Self::Crashed | Self::RegistrationTimeout | Self::StartFailed(_) | Self::FoundStopped)
    }
}

impl std::fmt::Display for StopReason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ShutDown => formatter.write_str("shut down on request"),
            Self::DestroyedAfterGrace => {
                formatter.write_str("did not shut down in its time and was destroyed")
            }
            Self::Destroyed => formatter.write_str("destroyed on request"),
            Self::GuestPowerOff => formatter.write_str("the guest powered off"),
            Self::Crashed => formatter.write_str("the guest or its QEMU crashed"),
            Self::RegistrationTimeout => {
                formatter.write_str("the guest did not register in its time and was terminated")
            }
            Self::StartFailed(why) => write!(formatter, "could not be started: {why}"),
            Self::FoundStopped => formatter.write_str("was found stopped"),
            Self::Released => formatter.write_str("released as it was, and not managed any more"),
        }
    }
}

/// What a host sees of a VM.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObservedVm {
    /// Accepted; its disk and domain are being made.
    Defining,
    /// Defined in libvirt and not started yet.
    Starting,
    /// Running in libvirt, no sign of life from the guest yet.
    Registering {
        /// When libvirt started it.
        started_at: Timestamp,
        /// When it will be terminated if it has not registered.
        deadline: Timestamp,
    },
    /// Running, and the guest has answered.
    Running {
        /// When libvirt started it.
        started_at: Timestamp,
        /// When the guest first answered.
        registered_at: Timestamp,
    },
    /// Suspended by somebody; its memory, disk and capacity are still its own.
    Paused,
    /// Asked to stop and not yet stopped.
    Stopping,
    /// Not running; its domain and disk are still there.
    Ended(StopReason),
    /// Not running, domain and disk removed: nothing of it is left on the host but this notice.
    Gone(StopReason),
    /// libvirt cannot be asked just now. Never to be read as "off".
    Unknown,
}

/// One VM as one host reports it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VmObservation {
    /// Which.
    pub vm: VmId,
    /// The highest generation the agent has accepted for it.
    pub generation: Generation,
    /// The epoch that came with it.
    pub epoch: Epoch,
    /// What is seen.
    pub observed: ObservedVm,
}

/// One VM as its host's ledger tells it: enough for a coordinator that has lost its records to take it in again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VmDescription {
    /// Which, at which generation of its wish, and what is seen of it.
    pub observation: VmObservation,
    /// How long it still has until it is destroyed, if the wish is that it stops; none when it is to run.
    pub stopping_within: Option<Duration>,
    /// What the coordinator gave along ([`VmSpec::origin`]); empty when that was nothing.
    pub origin: String,
}

/// A domain in libvirt that carries no reeve metadata: somebody else's. It is counted, and left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ForeignDomain {
    /// Its UUID.
    pub id: VmId,
    /// Its name, made printable.
    pub name: String,
    /// Whether it is running.
    pub active: bool,
    /// Its virtual processors.
    pub vcpus: u32,
    /// Its memory.
    pub memory: Mebibytes,
    /// Whether it is suspended; it is active then.
    #[serde(default)]
    pub paused: bool,
    /// Why it cannot be adopted, as far as its host tells; none when nothing there stands against it.
    #[serde(default)]
    pub obstacle: Option<AdoptionObstacle>,
}

/// Why a domain cannot be adopted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdoptionObstacle {
    /// It does not run: there is nothing to keep running.
    Off,
    /// libvirt forgets it when it stops, and what we know of it with it.
    Transient,
    /// Another system manages it; the text is that system's namespace, made printable.
    Managed(String),
    /// Its name is none that a VM can have.
    Name,
    /// It carries a ledger of ours that cannot be read.
    SpoiltLedger,
}

impl std::fmt::Display for AdoptionObstacle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Off => formatter.write_str("it does not run: start it first"),
            Self::Transient => formatter.write_str("it is transient: `virsh define` makes it persistent"),
            Self::Managed(by) => write!(formatter, "another system manages it ({by})"),
            Self::Name => formatter
                .write_str("a VM cannot have its name: shut it down, and `virsh domrename` gives it another"),
            Self::SpoiltLedger => formatter.write_str(
                "it carries a ledger of reeve that cannot be read: `virsh metadata --uri urn:reeve:libvirt:vm --remove` removes it",
            ),
        }
    }
}

/// A domain that somebody else made, with all that decides whether it can be adopted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DomainDescription {
    /// What is reported of it.
    pub domain: ForeignDomain,
    /// Its disks.
    pub disks: Vec<DomainDisk>,
    /// The highest generation of a wish that this host has obeyed for it, if it was ours before; 0 if not.
    pub last_generation: Generation,
}

/// What one of our domains may take of its host, as libvirt has it: somebody may have given it more than it was made
/// with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DomainSize {
    /// Which.
    pub vm: VmId,
    /// Its name in libvirt.
    pub name: VmName,
    /// Its virtual processors.
    pub vcpus: u32,
    /// The most memory it may take.
    pub memory: Mebibytes,
}

/// The largest sizes a specification may have; what is beyond them is a mistake, not a wish.
pub mod limits {
    use super::{Bytes, Mebibytes};

    /// QEMU's q35 board takes at most 288 virtual processors without special interrupt modes; a few more are known
    /// on other boards.
    pub const VCPUS_MAX: u32 = 288;
    /// 16 TiB, the most memory on hosts sold today.
    pub const MEMORY_MAX: Mebibytes = Mebibytes(16 << 20);
    /// 64 TiB: above this a drive is a storage system.
    pub const DRIVE_SIZE_MAX: Bytes = Bytes(64 << 40);
    /// As many drives as virtio-blk devices fit q35's root ports beside the rest.
    pub const DRIVES_MAX: usize = 8;
    /// Processor features that one VM may ask for: a setup names the few that its software needs.
    pub const CPU_FEATURES_MAX: usize = 64;
    /// Network interfaces of one VM.
    pub const NETWORKS_MAX: usize = 4;
    /// Disks of a domain that is adopted: virtio disks are named by a letter each.
    pub const ADOPTED_DISKS_MAX: usize = 26;
    /// Bytes of what a coordinator gives along with a VM for its own recovery: usually 2 KiB; a VM with every feature,
    /// label and rule that a setup may have stays below this.
    pub const ORIGIN_LENGTH_MAX: usize = 32 << 10;
}
