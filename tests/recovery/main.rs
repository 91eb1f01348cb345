//! A coordinator that has lost its records, or had older ones restored, over real QUIC with real agents whose hypervisor is
//! simulated: what it knows afterwards, and that no guest noticed.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

mod keeping;
mod stage;
mod story;
