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
