//! Owns what end-to-end tests are written with, so that they read like prose.

pub mod domain;
pub mod kvm_device;
pub mod private_libvirtd;
pub mod simulated_fleet;
mod test_lab;
pub mod waiting;

pub use test_lab::TestLab;
