//! Owns what a host measures of itself and its VMs: the samples (how busy it is, latest wins). What it is, is in
//! `inventory`.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::VmId;
use crate::units::{Bytes, Mebibytes};

/// How busy a host is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HostSample {
    /// When it was taken.
    pub at: Timestamp,
    /// Busy processor time in thousandths of all processors.
    pub cpu_permille: u32,
    /// Memory in use.
    pub memory_used: Mebibytes,
    /// Load average over one minute, in thousandths.
    pub load_permille: u32,
    /// Pressure stall: time in which some task waited for the processor, over 10 s, in thousandths; none without PSI.
    pub cpu_pressure_permille: Option<u32>,
    /// The same for memory.
    pub memory_pressure_permille: Option<u32>,
    /// The same for input and output.
    pub io_pressure_permille: Option<u32>,
    /// Bytes received on all links since boot.
    pub network_received: Bytes,
    /// Bytes sent on all links since boot.
    pub network_sent: Bytes,
    /// The running VMs.
    pub vms: Vec<VmSample>,
}

/// What one VM uses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VmSample {
    /// Which.
    pub vm: VmId,
    /// Processor time used since it started, in milliseconds.
    pub cpu_milliseconds: u64,
    /// Memory its QEMU holds.
    pub memory_resident: Mebibytes,
    /// Bytes read from all disks.
    pub disk_read: Bytes,
    /// Bytes written to all disks.
    pub disk_written: Bytes,
    /// Bytes received on all interfaces.
    pub network_received: Bytes,
    /// Bytes sent on all interfaces.
    pub network_sent: Bytes,
}
