//! The agent's doctor: looks whether this machine has what a host needs, and says for each finding what it means and what
//! to do.
//!
//! ```text
//!   facts.rs (values) ◀── gathering.rs (libvirt, kernel, files) and dialling.rs (UDP, QUIC)
//!       └──▶ findings.rs (pure: the words) ──▶ checks ──▶ text or JSON, exit code
//! ```
//!
//! It changes nothing but for the guest by which KVM is proved, which takes a second and leaves nothing. A running agent is
//! not disturbed.

mod dialling;
mod facts;
mod findings;
mod gathering;

pub use dialling::{Answer, dial};
pub use facts::{
    CgroupFacts, ClockFacts, HostFacts, HugePages, IdentityFacts, JournalFacts, KvmFacts, LockManager,
    UserFacts,
};
pub use findings::judge;
pub use gathering::gather;
