//! Owns what a doctor knows of a host, as values.
//!
//! Must not: look anything up, or judge.

use std::path::PathBuf;

use reeve_common::clock::Timestamp;

use super::dialling::Answer;
use crate::hypervisor::libvirt::{Examined, ProbeEnd};

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// Who runs the doctor.
    pub user: UserFacts,
    /// Who this host is.
    pub identity: IdentityFacts,
    /// Where the agent keeps what it must remember, and the bytes that are free there.
    pub state_directory: (PathBuf, Option<u64>),
    /// What libvirt says, or why it does not.
    pub libvirt: Result<Examined, String>,
    /// The URI by which it was asked.
    pub libvirt_uri: String,
    /// Whether guests run under KVM.
    pub kvm: KvmFacts,
    /// What keeps two guests from writing one disk.
    pub lock_manager: LockManager,
    /// The machine's clock.
    pub clock: ClockFacts,
    /// Where the coordinator is, and what came of dialling it; none when nobody has said where it is.
    pub coordinator: Option<(String, Answer)>,
    /// Huge pages by size.
    pub huge_pages: Vec<HugePages>,
    /// Control groups.
    pub cgroups: CgroupFacts,
    /// The journal.
    pub journal: JournalFacts,
}

/// Who runs the doctor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserFacts {
    /// The user's name, or number.
    pub name: String,
    /// Whether it is root.
    pub is_root: bool,
    /// Whether it is in the group `libvirt`; none when there is no such group.
    pub in_libvirt_group: Option<bool>,
}

/// Who this host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityFacts {
    /// It has joined.
    Joined {
        /// Its name, number and realm, for people.
        who: String,
        /// Since when its certificate is valid.
        not_before: Timestamp,
        /// When it expires.
        not_after: Timestamp,
    },
    /// It has not.
    NotJoined,
    /// It has, and whoever runs the doctor may not read it.
    NotReadable(String),
    /// It has, and one of its files is not as it must be.
    WrongFile(String),
    /// It has, and its files cannot be used.
    Unusable(String),
}

/// Whether guests run under KVM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvmFacts {
    /// The configuration says that it is not used.
    NotWanted,
    /// There is no `/dev/kvm`.
    NoDevice,
    /// A guest was run, and this came of it.
    Probed(ProbeEnd),
    /// It could not be tried.
    NotProbed(String),
}

/// What keeps two guests from writing one disk: what was found by trying, and what QEMU's driver in libvirt is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockManager {
    /// Nothing does.
    None,
    /// This one.
    Named(String),
    /// One of which only root may read the name.
    Unnamed,
    /// Nothing does, though the configuration names one.
    NotInForce(String),
    /// It could not be found out, for not even a guest without one could be started, and why.
    NoGuest(String),
    /// It could not be tried, and why.
    Unknown(String),
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockFacts {
    /// Now.
    pub now: Timestamp,
    /// Whether something keeps it right; none when nobody says.
    pub synchronised: Option<bool>,
}

/// Huge pages of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HugePages {
    /// Their size in KiB.
    pub size_kib: u64,
    /// How many were set aside.
    pub all: u64,
    /// How many of them are free.
    pub free: u64,
}

/// Control groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupFacts {
    /// Version 2 alone, with these controllers.
    Unified(Vec<String>),
    /// Version 1, perhaps with version 2 beside it, with these controllers.
    Legacy(Vec<String>),
    /// None.
    Missing,
}

/// The journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalFacts {
    /// The system's journal can be read.
    Readable,
    /// There is one, and it cannot be read.
    NotReadable,
    /// There is none.
    Missing,
}
