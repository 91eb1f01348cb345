//! Owns what a simulated host is like: its size, its storage and how its guests behave by themselves.

use std::path::PathBuf;
use std::time::Duration;

use reeve_common::ids::{PoolName, VolumeName};
use reeve_common::storage::DiskFormat;
use reeve_common::units::{Bytes, Mebibytes};

/// What a simulated host is like.
#[derive(Debug, Clone)]
pub struct SimulationSettings {
    /// Logical processors.
    pub logical_cpus: u32,
    /// Memory.
    pub memory: Mebibytes,
    /// Its pools and what is in them at first. What a state file holds already is not changed.
    pub pools: Vec<PoolSetting>,
    /// Whether a pool or image that is asked for and was never made is there all the same, so that a fleet of
    /// simulated hosts needs no storage to be prepared.
    pub boundless_storage: bool,
    /// How guests behave.
    pub guests: GuestMode,
    /// Where the state is kept, so that domains "run on" while the process is restarted; none: in memory alone.
    pub state_file: Option<PathBuf>,
}

impl Default for SimulationSettings {
    fn default() -> Self {
        Self {
            logical_cpus: 64,
            memory: Mebibytes(512 << 10),
            pools: Vec::new(),
            boundless_storage: true,
            guests: GuestMode::Automatic(GuestPace::default()),
            state_file: None,
        }
    }
}

/// Whether guests do anything by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestMode {
    /// They boot, answer and shut down at this pace.
    Automatic(GuestPace),
    /// They do nothing until the test says so.
    Stepped,
}

/// How fast a guest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestPace {
    /// From its start until its guest agent answers and it obeys the power button.
    pub boot: Duration,
    /// From the power button until it is off.
    pub shutdown: Duration,
}

impl Default for GuestPace {
    /// About what a small guest takes under KVM.
    fn default() -> Self {
        Self { boot: Duration::from_secs(2), shutdown: Duration::from_secs(1) }
    }
}

/// A pool as it is at first.
#[derive(Debug, Clone)]
pub struct PoolSetting {
    /// Its name.
    pub name: PoolName,
    /// Whether it is started.
    pub active: bool,
    /// Its size.
    pub capacity: Bytes,
    /// What is in it: name, size, format.
    pub volumes: Vec<(VolumeName, Bytes, DiskFormat)>,
}
