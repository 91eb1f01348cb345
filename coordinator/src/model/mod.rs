//! Owns the things an administrator speaks of: hosts, images, setups, configurations, drives and VMs, and the pure
//! rules for making and changing them.
//!
//! Must not: touch the store, the network or the clock; `now` is an argument. How these are stored is `records`', how
//! they are shown is `api`'s.

pub mod admission;
pub mod adoption;
pub mod configuration;
pub mod definition;
pub mod discovery;
pub mod displacement;
pub mod drive;
pub mod explanation;
pub mod failover;
pub mod fence;
#[cfg(test)]
pub(crate) mod fixture;
pub mod host;
pub mod host_life;
pub mod image;
pub mod reconciliation;
pub mod setup;
pub mod setup_problem;
pub mod succession;
pub mod unaccounted_use;
pub mod vm;
pub mod vm_life;
pub mod vm_state;
pub mod warning;
pub mod warning_findings;
