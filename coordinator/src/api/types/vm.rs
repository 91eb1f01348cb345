//! Owns the documents of VMs.

use reeve_common::ids::{ConfigurationName, HostName, RealmName, SetupName, VmId, VmName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::explanation::Decision;
use super::moment::Moment;
use super::problem::Problem;

/// Where a VM is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VmState {
    /// Asked for.
    Requested,
    /// No host can take it now; tried again when the fleet changes.
    Unplaceable,
    /// A host is chosen and its capacity reserved.
    Placed,
    /// Its disk and domain are being made.
    Defining,
    /// libvirt is starting it.
    Starting,
    /// Running in libvirt; the guest has given no sign of life yet.
    Registering,
    /// Running, and the guest has answered.
    Running,
    /// Suspended on its host by somebody.
    Paused,
    /// On its way down, or being cleaned up.
    Stopping,
    /// Ended as it was meant to.
    Stopped,
    /// Ended otherwise.
    Failed,
    /// Its host is lost: it may be running, and may not.
    Unknown,
}

impl VmState {
    /// Its name in JSON and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Unplaceable => "unplaceable",
            Self::Placed => "placed",
            Self::Defining => "defining",
            Self::Starting => "starting",
            Self::Registering => "registering",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    /// Whether its life is over.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Stopped | Self::Failed)
    }
}

/// What is wished for a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// To run.
    Run,
    /// To stop.
    Stop,
    /// To be managed no longer, and to stay as it is.
    Release,
}

/// A VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Vm {
    /// Its identity, and its domain's UUID.
    #[schema(value_type = String)]
    pub id: VmId,
    /// Its name, and its domain's.
    #[schema(value_type = String)]
    pub name: VmName,
    /// Its title for people.
    pub title: String,
    /// What it is a run of; none when it was adopted.
    #[schema(value_type = Option<String>)]
    pub configuration: Option<ConfigurationName>,
    /// The setup it was made from; none when it was adopted.
    #[schema(value_type = Option<String>)]
    pub setup: Option<SetupName>,
    /// Somebody else made it, and it was taken in as it was: nothing of it is removed when it stops.
    #[serde(default)]
    pub adopted: bool,
    /// Its realm.
    #[schema(value_type = String)]
    pub realm: RealmName,
    /// Whose it is.
    pub owner: String,
    /// The owner's team.
    pub team: String,
    /// The project it is tagged with.
    pub project: Option<String>,
    /// Virtual processors.
    pub cores: u32,
    /// Memory.
    pub memory_mib: u64,
    /// Its state as far as it can be known now.
    pub state: VmState,
    /// Why it is in that state, where that needs words.
    pub reason: Option<String>,
    /// Its host is lost, and a person must decide whether it is started elsewhere.
    #[serde(default)]
    pub decision_wanted: bool,
    /// Since when it is in that state.
    pub state_since: Moment,
    /// What is wished for it.
    pub wish: Wish,
    /// Its host, once placed.
    #[schema(value_type = Option<String>)]
    pub host: Option<HostName>,
    /// When it was asked for.
    pub requested_at: Moment,
    /// When the guest first answered.
    pub registered_at: Option<Moment>,
    /// When it was over.
    pub ended_at: Option<Moment>,
    /// Grows with every change of this document.
    pub version: u64,
}

/// One change of a VM's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Transition {
    /// When.
    pub at: Moment,
    /// To what.
    pub state: VmState,
    /// Why, where that needs words.
    pub reason: Option<String>,
}

/// A VM with what led it where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct VmDetail {
    /// The VM.
    #[serde(flatten)]
    pub vm: Vm,
    /// Its life so far, oldest first.
    pub history: Vec<Transition>,
    /// The decision that placed it, or did not.
    pub decision: Option<Decision>,
}

/// What can be read of a VM's past.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct VmLog {
    /// The VM.
    pub vm: Vm,
    /// Its life so far, oldest first.
    pub history: Vec<Transition>,
    /// The hosts whose journals may speak of it, the present or last one first.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub hosts: Vec<HostName>,
    /// The end of its serial console's output, made printable except for line ends.
    pub console: Option<String>,
    /// Why there is no console output.
    pub console_problem: Option<String>,
}

/// What is to be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StartRequest {
    /// The VM configuration.
    #[schema(value_type = String)]
    pub configuration: ConfigurationName,
}

/// What is to be started together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StartsRequest {
    /// The VM configurations, at most 1000. Who stands before is never left out for the sake of who stands behind.
    #[schema(value_type = Vec<String>)]
    pub configurations: Vec<ConfigurationName>,
}

/// What became of one of several starts: the VM, or what is wrong with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct StartOutcome {
    /// The VM configuration.
    #[schema(value_type = String)]
    pub configuration: ConfigurationName,
    /// The VM; `unplaceable` when no host can take it now.
    pub vm: Option<VmDetail>,
    /// Why there is none.
    pub problem: Option<Problem>,
}

/// How a VM is to be shut down.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ShutdownRequest {
    /// How long the guest has before it is destroyed, with a unit; the coordinator's default when left out.
    #[serde(default)]
    #[schema(example = "2 minutes")]
    pub grace: Option<String>,
}
