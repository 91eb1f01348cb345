//! The coordinator: keeps the fleet's records, decides where VMs live, and tells the agents.
//!
//! Must not: name libvirt, or import the agent. See `ARCHITECTURE.md` for the layers.

pub mod api;
pub mod cli;
pub mod config;
pub mod model;
pub mod records;
pub mod store;

/// An error and its causes on one line: how errors are shown, once, at the edge.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}
