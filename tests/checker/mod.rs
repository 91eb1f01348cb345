//! Owns the judging of a lab by what really happens in it: the QEMU processes of every host, the disks that they hold open,
//! the domains of every libvirt, the files in the pools; and only then what the coordinator says of it.
//!
//! ```text
//!   Watch   all the time: no VM has two QEMUs, no disk has two that write    (sighting, watch)
//!   ending  when all is quiet: what was acknowledged is true, nothing is left behind
//! ```
//!
//! Must not: believe a record of the product where a process or a file can be looked at.

mod ending;
mod processes;
mod sighting;
mod watch;

pub use ending::{Acknowledged, misdeeds_at_rest};
pub use processes::{guest_processes, kill_a_guest};
pub use watch::Watch;
