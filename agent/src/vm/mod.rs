//! One VM on this host, from the wish to the last trace of it.
//!
//! ```text
//!   command ──▶ request_policy ──▶ supervisor ──observe──▶ lifecycle::next_step ──▶ driver ──▶ hypervisor
//!               (pure: may it?)    (one task   (pure: what follows from what is        │        state directory
//!                                   per VM)     known and the time)                    │
//!                                       ▲──────────────── known.record(outcome) ◀──────┘
//! ```
//!
//! Must not: speak to the coordinator, or know that there is one. `known`, `lifecycle`, `observation` and
//! `request_policy` are pure; only `driver` has effects, and only the VM's `supervisor` calls it.

pub mod driver;
pub mod known;
pub mod lifecycle;
pub mod observation;
pub mod outcome;
pub mod request_policy;
pub mod supervisor;
pub mod workers;

#[cfg(test)]
pub(crate) mod sample_values;
