//! The coordinator's metrics for Prometheus: what is counted while it works, what is gathered when it is asked, and the
//! port where both are read.
//!
//! ```text
//!   decisions, writes, commands ──▶ Recorder (atomics) ───┐
//!                                                         ├─▶ rendering ─▶ exposition ─▶ server ─▶ Prometheus
//!   hosts, VMs, store, certificates ─ gathered ─▶ Picture ┘
//! ```
//!
//! Every family stands in `families`, with its help; the alert rules and the dashboard in `packaging/` may name no other.
//! Label values are bounded: realms, profiles and device classes are the configuration's, states and reasons are words of
//! ours, and hosts are told one by one up to [`HOST_SERIES_MAX`]. VMs and people are never labels.

pub mod exposition;
pub mod families;
mod histogram;
mod picture;
mod process;
mod recorder;
mod refusal;
mod rendering;
mod server;

pub use histogram::Histogram;
pub use picture::{CapacitySum, HostSeries, Picture, ProcessFacts, StoreSizes, VmTally, state_word};
pub use process::{process_facts, store_sizes};
pub use recorder::{CommandFailure, DecisionOutcome, Recorder};
pub use rendering::render;
pub use server::{MetricsListenError, bind, serve};

/// Hosts that are told one by one; of a larger fleet only the sums are. Each takes two series, and a Prometheus of
/// ordinary size has room for some hundred thousand in all.
pub const HOST_SERIES_MAX: usize = 2_000;
