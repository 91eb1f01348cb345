//! Owns what a doctor knows of a coordinator's machine, as values.
//!
//! Must not: look anything up, or judge.

use std::path::PathBuf;

use reeve_common::clock::Timestamp;

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoctorFacts {
    /// The configuration's warnings, or what is wrong with it; then nothing else is known.
    pub configuration: Result<usize, String>,
    /// The configuration's file.
    pub configuration_file: PathBuf,
    /// Who runs the doctor, by number.
    pub uid: u32,
    /// Whether a coordinator runs with this configuration.
    pub is_running: bool,
    /// Where hosts reach this machine; none when no join line can be made.
    pub advertised: Option<String>,
    /// The directory of the store and the authority, and the bytes that are free there and in all.
    pub state_directory: (PathBuf, Option<FileFacts>, Option<(u64, u64)>),
    /// The certificate authority.
    pub authority: AuthorityFacts,
    /// The authority's files.
    pub authority_files: Vec<(PathBuf, Option<FileFacts>)>,
    /// The store.
    pub store: StoreFacts,
    /// Ports.
    pub ports: Vec<Port>,
    /// Files that one process may have open.
    pub files_max: u64,
    /// Now.
    pub now: Timestamp,
    /// Whether something keeps the clock right; none when nobody says.
    pub synchronised: Option<bool>,
}

/// Whose a file is, and who may do what with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileFacts {
    /// Its owner.
    pub owner: u32,
    /// Its permissions.
    pub mode: u32,
}

/// The certificate authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthorityFacts {
    /// It was never made.
    Missing,
    /// Whoever runs the doctor may not read it.
    NotReadable,
    /// It cannot be used.
    Unusable(String),
    /// It can.
    Good {
        /// When it expires.
        ends: Timestamp,
    },
}

/// The store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreFacts {
    /// It was never made.
    Missing,
    /// Whoever runs the doctor may not read it.
    NotReadable,
    /// It is damaged, or none of ours.
    Damaged(String),
    /// It was read through.
    Read {
        /// How many records it has.
        records: String,
        /// What does not hold together.
        problems: Vec<String>,
    },
}

/// A port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its key in the configuration.
    pub key: &'static str,
    /// Where.
    pub address: String,
    /// Whether it can be had.
    pub state: PortState,
}

/// Whether a port can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortState {
    /// It is free.
    Free,
    /// It is in use, and the coordinator runs.
    Ours,
    /// It is free although the coordinator runs.
    NotServed,
    /// Somebody else has it.
    Taken,
    /// It cannot be had for another reason.
    Impossible(String),
}
