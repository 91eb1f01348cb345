//! Owns the documents of the API: what goes over the socket as JSON, in both directions. The command line knows the
//! coordinator by these alone.
//!
//! Must not: know records, the service or HTTP. Keys are kebab-case; moments are RFC 3339; an amount carries its unit
//! at the end of its key (`memory-mib`) in answers and in its value (`"2 GiB"`) in questions, where people write it.

mod adoption;
mod audit;
mod catalogue;
mod comparison_of_host;
mod configuration_in_force;
mod explanation;
mod fence;
mod host;
mod journal;
mod moment;
mod problem;
mod realm;
mod simulation;
mod status;
mod vm;
mod warning;
mod workflow;

pub use adoption::{AdoptionRequest, DomainState, UnmanagedDomain};
pub use audit::{
    AuditActor, AuditChange, AuditCheckpoint, AuditOutcome, AuditPage, AuditRecord, AuditVerification,
    AuditWitness,
};
pub use catalogue::{
    AffinityRule, Companions, Configuration, DebugOptions, DiskFormat, Drive, DriveUse, Image, Machine,
    NewConfiguration, NewDrive, NewImage, NewSetup, Setup, VirtType,
};
pub use comparison_of_host::{Difference, HostComparison, HostComparisonRequest, Treatment};
pub use configuration_in_force::ConfigurationInForce;
pub use explanation::{Decision, Explanation, HostVerdict, Refusals, TermCost};
pub use fence::{Fence, FenceState, FenceTrial};
pub use host::{
    Amounts, ConnectionState, ForeignDomain, Host, HostState, Inventory, JoinToken, JoinTokenRequest,
    NewHost, NumaNode, Pool, PoolState, Sample, StateChange,
};
pub use journal::{JournalLevel, JournalLine, JournalPage};
pub use moment::Moment;
pub use problem::{Problem, ProblemKind, ProblemReport};
pub use realm::{
    CostFunction, CostTerm, PoolKind, Profile, Quota, QuotaLimits, QuotaUsage, Realm, RealmDrives,
    RealmQuotas, Volume, Volumes,
};
pub use simulation::{
    AddedHosts, AttributeValue, Comparison, CostEvaluation, Judgement, SimulatedHost, Simulation,
    SimulationRequest,
};
pub use status::{HostCounts, Status};
pub use vm::{
    ShutdownRequest, StartOutcome, StartRequest, StartsRequest, Transition, Vm, VmDetail, VmLog, VmState,
    Wish,
};
pub use warning::{OpenWarnings, Severity, Warning, WarningState};
pub use workflow::{DrainRequest, WhenHostLost, Workflow, WorkflowState, WorkflowStep};
