//! Owns the words for storage: pools, volumes, disk formats and caching, as both sides speak of them.

use serde::{Deserialize, Serialize};

use crate::ids::{PoolName, VolumeName};
use crate::units::Bytes;

/// How a disk's bytes are laid out in its volume. Always explicit: guessing a format lets a guest choose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskFormat {
    /// The bytes as they are.
    Raw,
    /// QEMU's copy-on-write format.
    Qcow2,
}

impl DiskFormat {
    /// The name libvirt and QEMU use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

/// How the host caches a disk's reads and writes (`drives.cache`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskCache {
    /// What QEMU does by itself.
    #[default]
    Default,
    /// Host page cache on, every write committed before it completes.
    Writethrough,
    /// Host page cache and disk write cache on.
    Writeback,
    /// The host page cache is bypassed (`O_DIRECT`).
    None,
}

impl DiskCache {
    /// The name libvirt uses, which is also the one in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Writethrough => "writethrough",
            Self::Writeback => "writeback",
            Self::None => "none",
        }
    }
}

/// One of a realm's pools as its host has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PoolReport {
    /// The pool's name in libvirt.
    pub name: PoolName,
    /// What is known of it.
    pub state: PoolState,
}

/// What a host knows of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum PoolState {
    /// Running, with its sizes.
    Active {
        /// All of it.
        capacity: Bytes,
        /// What is left.
        available: Bytes,
    },
    /// Defined in libvirt, but not started.
    Inactive,
    /// libvirt has no pool of this name.
    Missing,
}

/// Whether libvirt's lock manager keeps two guests from writing one disk: the last net below the coordinator's own rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockManager {
    /// It was not found out, or not yet.
    #[default]
    Unknown,
    /// There is none.
    Off,
    /// There is one.
    On,
}

/// A volume as listed by libvirt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Volume {
    /// Its name in its pool.
    pub name: VolumeName,
    /// The size its user sees.
    pub capacity: Bytes,
    /// The space it takes.
    pub allocation: Bytes,
    /// Its format as libvirt names it (`qcow2`, `raw`, `iso`, …).
    pub format: String,
}

/// A volume to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NewVolume {
    /// Where.
    pub pool: PoolName,
    /// Its name.
    pub name: VolumeName,
    /// The size its user sees.
    pub capacity: Bytes,
    /// Its format.
    pub format: DiskFormat,
    /// Take space only when it is written (`drives.lazy-allocation`); otherwise all of it now.
    pub lazy: bool,
}
