//! The agent of one KVM host: owns its libvirt, obeys the coordinator, reports what is. See `ARCHITECTURE.md`.

pub mod hypervisor;
pub mod reconciler;
pub mod registration;
pub mod vm;
