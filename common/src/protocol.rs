//! Owns what agent and coordinator say to each other, as values. How they are laid out in bytes is `wire`'s; these may
//! change freely as long as `wire` can still speak to the previous release.
//!
//! ```text
//!   agent                                            coordinator
//!     │ ── Hello ─────────────────────────────────────▶ │   control stream (opened by the agent)
//!     │ ◀───────────────────────────────────── Welcome ─ │   or a close with the reason
//!     │ ◀───────────────────────── Command (operation) ─ │
//!     │ ── Reply (same operation) ─────────────────────▶ │
//!     │ ══ Event, Event, … ════════════════════════════▶ │   event stream; never dropped
//!     │ ══ HostSample, … ══════════════════════════════▶ │   sample stream; the latest wins
//! ```
//!
//! Commands carry the *whole* desired state of one object with its generation: repeating one is harmless. After
//! `Welcome` the agent's first event is a `Report` of everything it has, so nothing depends on what was said before.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::checkpoint::SignedCheckpoint;
use crate::ids::{Epoch, Generation, HostId, HostName, OperationId, PoolName, RealmName, VmId, VolumeName};
use crate::inventory::HostInventory;
use crate::journal::{JournalPage, JournalQuery};
use crate::realm::RealmSettings;
use crate::storage::{LockManager, NewVolume, PoolReport, Volume};
use crate::vm::{DesiredVm, DomainDescription, DomainSize, ForeignDomain, VmDescription, VmObservation};

/// The agent's first words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The host it believes to be; must be the one its certificate names.
    pub host: HostId,
    /// The realm it believes to be in; likewise.
    pub realm: RealmName,
    /// Its name, as it was told when it joined. Nothing is decided by it: a coordinator that has lost its records learns it
    /// from here.
    pub name: HostName,
    /// Chosen at random each time an agent starts: two agents with one identity (a cloned disk) show by it.
    pub instance: OperationId,
    /// The highest epoch it has obeyed.
    pub highest_epoch: Epoch,
    /// What the host is.
    pub inventory: HostInventory,
}

/// The coordinator's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The coordinator's epoch.
    pub epoch: Epoch,
    /// What the host must know of its realm.
    pub realm: RealmSettings,
}

/// Something to do, and for which coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The sender's term; refused when lower than the highest seen.
    pub epoch: Epoch,
    /// Comes back in the reply.
    pub operation: OperationId,
    /// What.
    pub body: CommandBody,
}

/// What an agent can be told or asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandBody {
    /// Make this VM be as desired, and keep it so. Answered as soon as it is accepted; events tell the rest.
    EnsureVm {
        /// Which.
        vm: VmId,
        /// The version of the wish.
        generation: Generation,
        /// The wish, whole.
        desired: DesiredVm,
    },
    /// The coordinator has recorded that this VM is gone; the agent need not remember it any longer.
    ForgetVm {
        /// Which.
        vm: VmId,
        /// The generation it was gone at.
        generation: Generation,
    },
    /// The realm's settings changed.
    ConfigureRealm(RealmSettings),
    /// Send a full `Report` event now.
    Report,
    /// The end of a VM's console output.
    ReadConsole {
        /// Which.
        vm: VmId,
        /// At most so many bytes, from the end.
        length_max: u32,
    },
    /// What is in a pool.
    ListVolumes {
        /// Which.
        pool: PoolName,
    },
    /// Make a volume; one that is there already with the same size and format is success.
    CreateVolume(NewVolume),
    /// Remove a volume; one that is not there is success.
    DeleteVolume {
        /// Where.
        pool: PoolName,
        /// Which.
        volume: VolumeName,
    },
    /// Exchange a certificate that will expire for a new one: asked by the agent, see [`AgentRequest`].
    InstallCertificate {
        /// The new certificate, PEM.
        certificate: String,
    },
    /// The answer to [`AgentRequest::RenewLease`]. Repeating it is harmless: it counts from when it was asked for.
    GrantLease {
        /// The question's number.
        number: u64,
        /// How long, counted from when the question was sent.
        lease: Duration,
    },
    /// What the host's ledgers say of our VMs, in the order of their ids, some at a time.
    DescribeVms {
        /// Only those whose id is above this one; all when there is none.
        after: Option<VmId>,
    },
    /// Keep this checkpoint of the audit log as a witness, unless it contradicts the one that is kept; without one, only
    /// say which that is.
    Witness {
        /// What is to be kept.
        checkpoint: Option<SignedCheckpoint>,
    },
    /// Compare everything with libvirt and answer with the report. It is for being looked at: unlike the event, it may
    /// be older than events that were told meanwhile.
    ReadReport,
    /// What of a domain that nobody manages decides whether it can be adopted.
    DescribeDomain {
        /// Which.
        domain: VmId,
    },
    /// Some lines of the host's journal.
    ReadJournal(JournalQuery),
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The command's.
    pub operation: OperationId,
    /// Its answer.
    pub outcome: Result<ReplyBody, Refusal>,
}

/// The answer to a command that was not refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplyBody {
    /// Accepted, and already so if it was a repetition.
    Accepted,
    /// Older than what the agent already obeys; nothing was done.
    Superseded {
        /// What it obeys.
        current: Generation,
    },
    /// Console output.
    Console(Vec<u8>),
    /// Volumes.
    Volumes(Vec<Volume>),
    /// VMs as the host's ledgers tell them.
    Descriptions {
        /// In the order of their ids.
        vms: Vec<VmDescription>,
        /// Whether there are more above the last one.
        more: bool,
    },
    /// The checkpoint of the audit log that is kept now: the one offered, or another that it contradicts.
    Witnessed {
        /// None when there is none yet.
        held: Option<SignedCheckpoint>,
    },
    /// Everything, as it was a moment ago.
    Report(Box<HostReport>),
    /// A domain that somebody else made; none when there is no such domain, or it is ours.
    Domain(Option<Box<DomainDescription>>),
    /// Lines of the journal.
    Journal(JournalPage),
}

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The sender has been succeeded.
    #[error("the command comes from epoch {sent}, and epoch {highest} has been obeyed here")]
    StaleEpoch {
        /// The command's epoch.
        sent: Epoch,
        /// The highest seen.
        highest: Epoch,
    },
    /// The command makes no sense here, and would not later.
    #[error("{0}")]
    Invalid(String),
    /// It failed, and might succeed if repeated.
    #[error("{0}")]
    Failed(String),
}

impl Refusal {
    /// Whether the same command may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

/// What an agent tells without being asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Everything: sent first on each connection, on request, and at every poll that found a difference.
    Report(HostReport),
    /// One VM changed.
    Vm(VmObservation),
    /// libvirt went away or came back.
    Hypervisor {
        /// Whether it answers.
        reachable: bool,
    },
    /// The agent wants something.
    Request(AgentRequest),
}

/// What an agent may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AgentRequest {
    /// Its certificate nears its end: a new signing request, PEM. Answered by `InstallCertificate`.
    RenewCertificate {
        /// The request; only its key counts.
        signing_request: String,
    },
    /// It asks for a lease, or gives up the one it has. Answered by `GrantLease`.
    RenewLease {
        /// Comes back in the answer.
        number: u64,
        /// After which time without a sign its watchdog resets the machine; none when there is no watchdog, or it is about
        /// to be disarmed: the host does not stop by itself then.
        watchdog: Option<Duration>,
    },
}

/// All that a host has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// Whether libvirt answers; if not, every VM is `Unknown` and the rest is empty.
    pub hypervisor_reachable: bool,
    /// Every VM of ours, and those gone but not yet forgotten.
    pub vms: Vec<VmObservation>,
    /// Everyone else's domains.
    pub foreign: Vec<ForeignDomain>,
    /// The realm's three pools.
    pub pools: Vec<PoolReport>,
    /// What our domains may take.
    pub sizes: Vec<DomainSize>,
    /// The `Report` commands that this answers: it was made after they came.
    pub answers: Vec<OperationId>,
    /// Whether libvirt's lock manager is on. Not in protocol version 1, where it is never known.
    pub lock_manager: LockManager,
}
