//! The agent of one KVM host: owns its libvirt, obeys the coordinator, reports what is. See `ARCHITECTURE.md`.

pub mod enrolment;
pub mod hypervisor;
pub mod identity;
