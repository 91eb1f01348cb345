//! The agent of one KVM host: owns its libvirt, obeys the coordinator, reports what is. See `ARCHITECTURE.md`.

pub mod enrolment;
pub mod host;
pub mod hypervisor;
pub mod identity;
pub mod outbox;
pub mod reconciler;
pub mod registration;
pub mod roster;
pub mod state_directory;
mod state_records;
mod storage_commands;
pub mod vm;
