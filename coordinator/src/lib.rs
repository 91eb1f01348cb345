//! The coordinator: keeps the fleet's records, decides where VMs live, and tells the agents.
//!
//! Must not: name libvirt, or import the agent. See `ARCHITECTURE.md` for the layers.

pub mod agents;
pub mod api;
pub mod audit;
pub mod backup;
pub mod cli;
pub mod command_line;
pub mod config;
pub mod daemon;
mod decision_words;
pub mod doctor;
pub mod enrolment;
pub mod fencing;
pub mod initialise;
pub mod metrics;
pub mod model;
pub mod pki;
pub mod records;
pub mod recovery;
pub mod replay;
pub mod service;
pub mod store;
pub mod workflow;

pub use reeve_common::text::chain;
