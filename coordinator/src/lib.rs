//! The coordinator: keeps the fleet's records, decides where VMs live, and tells the agents. See `ARCHITECTURE.md`.

pub mod model;
