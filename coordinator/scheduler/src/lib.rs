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
//! # use std::{collections::BTreeMap, sync::Arc};
//! # use reeve_common::{hardware_profile::Capacity, ids::*, units::*};
//! use reeve_scheduler::{ChoiceRule, CostFunction, Fleet, ForeignUse, HostDescription, HostState, Request};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let terms = [("cpu".to_owned(), "2 * power(cores.load, 2)".to_owned())];
//! let name = CostFunctionName::new("even")?;
//! let even = CostFunction::compile(&name, &terms, ChoiceRule::Increase).map_err(|errors| errors[0].render())?;
//! let mut fleet = Fleet::new();
//! fleet.upsert_host(HostDescription {
//!     id: HostId(1),
//!     name: HostName::new("rack-1")?,
//!     realm: RealmName::new("production")?,
//!     state: HostState::Enabled,
//!     connected: true,
//!     draining: false,
//!     capacity: Capacity { cores: Millicores(8000), memory: Mebibytes(16384), devices: BTreeMap::new() },
//!     foreign: ForeignUse::default(),
//!     storage_problem: None,
//!     labels: BTreeMap::new(),
//!     cost_function: Arc::new(even),
//! });
//! let request = Request {
//!     realm: RealmName::new("production")?,
//!     cores: Millicores(4000),
//!     memory: Mebibytes(20480),
//!     devices: BTreeMap::new(),
//!     owner: "ann".to_owned(),
//!     team: "blue".to_owned(),
//!     labels: BTreeMap::new(),
//! };
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
mod explanation;
mod fleet;
mod host;
mod reason;
mod request;

pub use cost::{ChoiceRule, CostError, CostFunction, presets};
pub use explanation::{Explanation, HostExplanation, TermExplanation};
pub use fleet::Fleet;
pub use host::{ForeignUse, HostDescription, HostState, HostUsage, Measured, UnknownHostState};
pub use reason::{CostPart, Reason};
pub use request::Request;
