//! Where a VM goes and why: capacity, constraints, the cost language and explained decisions.
//!
//! ```text
//!   HostDescription, Measured ─▶ ┌────────────────────────────────────────────┐
//!                                │ Fleet                                      │
//!   Request ─────────────────▶   │   constraint/  feasible, or a reason       │ ─▶ HostId, or none
//!                                │   cost/        what it would cost          │ ─▶ Explanation
//!   reserve, restore, release ─▶ │   fleet/       who holds what; fast scores │
//!                                └────────────────────────────────────────────┘
//! ```
//!
//! ```
//! # use std::sync::Arc;
//! # use reeve_common::{hardware_profile::Capacity, ids::*, units::*};
//! use reeve_scheduler::{ChoiceRule, CostFunction, Fleet, HostDescription, Request};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let terms = [("cpu".to_owned(), "2 * power(cores.load, 2)".to_owned())];
//! let name = CostFunctionName::new("even")?;
//! let even = CostFunction::compile(&name, &terms, ChoiceRule::Increase).map_err(|errors| errors[0].render())?;
//! let mut fleet = Fleet::new();
//! let realm = RealmName::new("production")?;
//! let capacity = Capacity { cores: Millicores(8000), memory: Mebibytes(16384), ..Capacity::default() };
//! let host = HostName::new("rack-1")?;
//! fleet.upsert_host(HostDescription::new(HostId(1), host, realm.clone(), capacity, Arc::new(even)));
//! let request = Request::new(realm, Millicores(4000), Mebibytes(20480));
//! assert_eq!(fleet.decide(&request), None);
//! let explanation = fleet.explain(&request);
//! assert_eq!(explanation.hosts[0].reason.as_deref(), Some("memory: 20 GiB asked, 16 GiB free of 16 GiB"));
//! # Ok(())
//! # }
//! ```
//!
//! Must not: read files or the clock, draw random numbers, log, or wait. The same state and the same question give
//! the same answer.

mod constraint;
mod cost;
mod device_choice;
mod explanation;
mod fleet;
mod host;
mod numa;
mod quota;
mod reason;
mod request;
mod stranded;

pub use cost::{
    AttributeReference, ChoiceRule, CostError, CostFunction, CurveReference, Evaluation, ParameterReference,
    When, attribute_named, attributes, curves, presets,
};
pub use explanation::{
    AttributeValue, CostEvaluation, Explanation, ExplanationDigest, HostExplanation, HostsTold, RefusalCount,
    TermExplanation,
};
pub use fleet::{
    AssignedDevice, Assignment, BatchCost, BatchGoal, BatchPlan, Fleet, NewHost, SIMULATED_MAX, Simulation,
    WhatIf,
};
pub use host::{
    Contact, CpuAbilities, ForeignUse, HostDescription, HostState, HostUsage, Measured, Promised,
    UnknownHostState,
};
pub use quota::{QuotaHolder, QuotaKind, QuotaLimits, QuotaStanding, QuotaUsage, Quotas};
pub use reason::{CostPart, Reason};
pub use request::{Affinity, AffinityRule, Companions, CpuDemand, HostLabelRule, Request};
pub use stranded::Stranded;
