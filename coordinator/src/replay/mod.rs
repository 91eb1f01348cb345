//! Replays a trace of VMs against a fleet, to choose a cost function by its outcome. Offline: no coordinator, no agent.
//!
//! ```text
//!   files ─▶ table ─▶ reading ─▶ Trace ─▶ schedule ─▶ run ─▶ outcome
//!   (open)   (CSV)    (hosts, VMs)        who comes   │      what is counted
//!                                         and goes,   └─ a Fleet, as the coordinator has it
//!                                         in order
//! ```
//!
//! Must not: decide differently from the service. The fleet, its constraints and its cost functions are the scheduler's
//! own. Only `files` touches files, and nothing here reads the clock: whoever replays adds how long it took.

mod bound;
mod files;
mod mistake;
mod outcome;
mod reading;
mod refusal;
mod run;
mod schedule;
mod table;
mod trace;

pub use files::read;
pub use mistake::{Mistake, TraceErrors};
pub use outcome::{
    AllocatedByClass, CostReport, HostsBound, Moment, Order, Outcome, OverSeeds, Point, Refusals, Report,
    Resource, Resources, Run, Spread, Timing, TraceSummary,
};
pub use reading::{HOSTS_MAX, VMS_MAX};
pub use refusal::Refusal;
pub use run::{Replay, RunError, summary};
pub use schedule::{DEMAND_MAX, DRAWS_MAX, Demand, Schedule, ScheduleError};
pub use trace::{Shape, Trace, TraceHost, TraceVm};

#[cfg(test)]
mod tests;
