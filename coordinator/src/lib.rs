//! The coordinator: keeps the fleet's records, decides where VMs live, and tells the agents.
//!
//! Must not: name libvirt, or import the agent. See `ARCHITECTURE.md` for the layers.

pub mod config;
pub mod store;
