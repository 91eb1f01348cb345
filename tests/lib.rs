//! Owns what the tests, the lab, the demo and the benchmarks share: the guest image, the lab and the harness.
//!
//! This is the only package that sees both the agent and the coordinator.

pub mod checker;
pub mod harness;
pub mod image;
pub mod lab;
