//! The agent of one KVM host: owns its libvirt, obeys the coordinator, reports what is. See `ARCHITECTURE.md`.

pub mod agent;
pub mod back_off;
mod certificate_renewal;
pub mod command_line;
pub mod configuration;
pub mod coordinator_link;
pub mod doctor;
pub mod enrolment;
pub mod fleet;
pub mod host;
pub mod hypervisor;
pub mod identity;
pub mod inventory;
mod journal;
pub mod lease;
pub mod lease_file;
pub mod machine;
pub mod outbox;
pub mod reconciler;
pub mod registration;
pub mod roster;
pub mod sampler;
pub mod self_fencing;
pub mod session;
pub mod start_gate;
pub mod state_directory;
pub mod state_files;
mod state_records;
pub mod steady_clock;
pub mod vm;
pub mod watchdog;
pub mod witness;

#[cfg(test)]
mod test_machine;
