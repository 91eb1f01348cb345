//! Owns the trait by which the agent speaks to a hypervisor, and the words of that conversation.
//!
//! Two implementations pass one contract suite (`tests/contracts/hypervisor.rs`): `libvirt` and `simulated`.
//! Calls block, for as long as a named limit at most; the caller runs them off the async threads. Every call may be
//! repeated: making what is there, or removing what is not, is success.

pub mod events;
pub mod ledger_xml;
pub mod libvirt;
pub mod simulated;
mod xml;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{Epoch, Generation, MediatedType, PoolName, VmId, VmName, VolumeName};
use reeve_common::inventory::{NumaNodeInventory, PciId, Processor};
use reeve_common::storage::{LockManager, NewVolume, PoolReport, Volume};
use reeve_common::units::Mebibytes;
use reeve_common::utilization::VmSample;
use reeve_common::vm::{DomainDisk, ForeignDomain, StopReason, VirtType, VmSpec};

pub use self::events::{EventReceiver, EventSender, HypervisorEvent, NoEvent, event_queue};

/// What the hypervisor says of its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HypervisorFacts {
    /// Such as `libvirt 9.0.0, QEMU 7.2.19`.
    pub version: String,
    /// Logical processors it may use.
    pub logical_cpus: u32,
    /// Memory of the host.
    pub memory: Mebibytes,
    /// What `VirtType::Auto` means here: KVM only where a guest really makes progress under it.
    pub automatic_virt_type: VirtType,
    /// What guests can have of its processors.
    pub processor: Processor,
    /// Its NUMA nodes by number; empty where it does not say.
    pub numa_nodes: Vec<NumaNodeInventory>,
    /// Its PCI devices that could be given to guests; empty where it does not say.
    pub pci_devices: BTreeMap<PciId, u32>,
    /// Its mediated devices by type, those that are made and those that could be.
    pub mediated_devices: BTreeMap<MediatedType, u32>,
}

/// What is written into a domain's definition for ourselves: the ledger (`<reeve:vm>` in the domain's metadata). The
/// agent rebuilds all its knowledge from these after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The generation of the wish that is being obeyed.
    pub generation: Generation,
    /// The epoch that came with it.
    pub epoch: Epoch,
    /// What is wished.
    pub wish: LedgerWish,
    /// When the guest is terminated unless it has registered; set just before it is started.
    pub registration_deadline: Option<Timestamp>,
    /// When libvirt was last told to start it; none as long as it never was.
    pub started_at: Option<Timestamp>,
    /// When the guest first answered.
    pub registered_at: Option<Timestamp>,
    /// The disk that was made for it and goes with it; none for a domain that was adopted.
    pub system_disk: Option<(PoolName, VolumeName)>,
    /// How long the guest has between start and registration.
    pub registration_timeout: Duration,
    /// What the coordinator wants back if it loses its records ([`VmSpec::origin`]); opaque here.
    pub origin: String,
}

impl LedgerEntry {
    /// Whether the domain was made by somebody else: then nothing of it is removed by us, neither its disks nor its
    /// definition.
    #[must_use]
    pub const fn is_adopted(&self) -> bool {
        self.system_disk.is_none()
    }
}

/// What the coordinator last wished for a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerWish {
    /// To run.
    Running,
    /// To stop, with the moment at which it is destroyed if it has not, and why it stops.
    Stopped {
        /// When patience ends.
        destroy_at: Timestamp,
        /// Why it is being stopped, if that is known already (a late guest, a failed start).
        reason: Option<StopReason>,
    },
}

/// Whether a domain runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DomainState {
    /// Defined, not running; why it last stopped, as far as libvirt still knows.
    Inactive(InactiveCause),
    /// Running.
    Active,
    /// Suspended: it still owns its disk and memory.
    Paused,
    /// On its way down.
    ShuttingDown,
}

/// Why a domain is not running, as far as libvirt knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InactiveCause {
    /// The guest powered off or was shut down.
    ShutDown,
    /// It was destroyed.
    Destroyed,
    /// QEMU died or the guest crashed.
    Crashed,
    /// libvirt tried to start it and failed.
    Failed,
    /// Never started since libvirt knows it, or libvirt cannot say.
    Unknown,
}

/// One of our domains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnDomain {
    /// Its UUID.
    pub vm: VmId,
    /// Its name.
    pub name: VmName,
    /// Whether it runs.
    pub state: DomainState,
    /// Its virtual processors.
    pub vcpus: u32,
    /// The most memory it may take.
    pub memory: Mebibytes,
    /// Its ledger entry.
    pub ledger: LedgerEntry,
}

/// All domains of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Domains {
    /// Ours.
    pub own: Vec<OwnDomain>,
    /// Everyone else's; and ours whose ledger cannot be read, which are left alone likewise.
    pub foreign: Vec<ForeignDomain>,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum HypervisorError {
    /// The hypervisor cannot be reached now. Nothing is known of what was asked.
    #[error("libvirt cannot be reached: {0}")]
    Unreachable(String),
    /// There is no such domain, pool or volume.
    #[error("{what} does not exist")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// It was refused, and would be again.
    #[error("{doing} was refused: {why}")]
    Refused {
        /// The operation.
        doing: &'static str,
        /// The hypervisor's words, made printable.
        why: String,
    },
    /// It failed, and may succeed if repeated.
    #[error("{doing} failed: {why}")]
    Failed {
        /// The operation.
        doing: &'static str,
        /// The hypervisor's words, made printable.
        why: String,
    },
}

impl HypervisorError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Failed { .. })
    }
}

/// How a call ends.
pub type HypervisorResult<T> = Result<T, HypervisorError>;

/// A hypervisor on this host.
pub trait Hypervisor: Send + Sync + fmt::Debug + 'static {
    /// Where events go from now on. They are hints to look again, and after `Connected` and `Overflowed` everything must
    /// be looked at. Whatever anybody does to a domain is told within a second.
    fn subscribe(&self, events: EventSender);

    /// What it says of its host.
    ///
    /// # Errors
    /// As for all calls: see [`HypervisorError`].
    fn facts(&self) -> HypervisorResult<HypervisorFacts>;

    /// Whether a lock manager keeps two guests from writing one disk, as far as that has been found out. Does not block.
    fn lock_manager(&self) -> LockManager;

    /// All domains with their states and ledger entries.
    fn domains(&self) -> HypervisorResult<Domains>;

    /// One of our domains; `None` when there is none with this id, or it is not ours.
    fn domain(&self, vm: VmId) -> HypervisorResult<Option<OwnDomain>>;

    /// Defines the domain with its ledger entry, or redefines it in the same way. Never starts it.
    fn define(&self, vm: VmId, spec: &VmSpec, ledger: &LedgerEntry) -> HypervisorResult<()>;

    /// Replaces the ledger entry of a domain that is defined, running or not.
    fn write_ledger(&self, vm: VmId, ledger: &LedgerEntry) -> HypervisorResult<()>;

    /// One domain that is not ours, with its disks; `None` when there is no domain with this id, or it is ours.
    fn describe_foreign(&self, id: VmId) -> HypervisorResult<Option<(ForeignDomain, Vec<DomainDisk>)>>;

    /// Writes our ledger into somebody else's domain, as it is, running or not; one that is ours already gets this entry.
    /// Refused when [`ForeignDomain::obstacle`] says why.
    fn adopt(&self, vm: VmId, ledger: &LedgerEntry) -> HypervisorResult<()>;

    /// Takes our ledger out of a domain and leaves everything else of it as it is; one without a ledger of ours, or none
    /// at all, is success.
    fn release(&self, vm: VmId) -> HypervisorResult<()>;

    /// Starts a defined domain; one that runs already is success.
    fn start(&self, vm: VmId) -> HypervisorResult<()>;

    /// Asks the guest to shut down and returns; one that does not run is success.
    fn shutdown(&self, vm: VmId) -> HypervisorResult<()>;

    /// Ends the domain at once; one that does not run is success.
    fn destroy(&self, vm: VmId) -> HypervisorResult<()>;

    /// Removes the definition of a domain that does not run, with everything libvirt keeps for it.
    fn undefine(&self, vm: VmId) -> HypervisorResult<()>;

    /// Asks the guest agent for a sign of life, for at most `patience`. `Ok(false)`: no answer, or not a right one.
    fn guest_ping(&self, vm: VmId, patience: Duration) -> HypervisorResult<bool>;

    /// What all our running domains use, in one call to the hypervisor, without waiting for busy ones.
    fn statistics(&self) -> HypervisorResult<Vec<VmSample>>;

    /// The state of each of these pools.
    fn pools(&self, names: &[PoolName]) -> HypervisorResult<Vec<PoolReport>>;

    /// What is in a pool, freshly listed.
    fn volumes(&self, pool: &PoolName) -> HypervisorResult<Vec<Volume>>;

    /// Makes an empty volume; one with the same size and format is success.
    fn create_volume(&self, volume: &NewVolume) -> HypervisorResult<()>;

    /// Makes the copy-on-write child of an image that a VM boots from; one that is there already is success.
    fn create_system_disk(&self, spec: &VmSpec) -> HypervisorResult<()>;

    /// Removes a volume; one that is not there is success.
    fn delete_volume(&self, pool: &PoolName, volume: &VolumeName) -> HypervisorResult<()>;

    /// The end of a domain's console output, at most `length_max` bytes; empty when none is kept.
    fn console(&self, vm: VmId, length_max: u32) -> HypervisorResult<Vec<u8>>;
}
