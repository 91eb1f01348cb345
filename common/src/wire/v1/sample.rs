//! Owns samples as they are on the wire, protocol version 1.

use serde::{Deserialize, Serialize};

use super::{Id, from_id, to_id};
use crate::clock::Timestamp;
use crate::ids::VmId;
use crate::units::{Bytes, Mebibytes};
use crate::utilization as domain;
use crate::wire::bounded::List;
use crate::wire::limits::VMS_MAX;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::wire) struct HostSample {
    at: u64,
    cpu_permille: u32,
    memory_used_mebibytes: u64,
    load_permille: u32,
    cpu_pressure_permille: Option<u32>,
    memory_pressure_permille: Option<u32>,
    io_pressure_permille: Option<u32>,
    network_received: u64,
    network_sent: u64,
    vms: List<VmSample, VMS_MAX>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct VmSample {
    vm: Id,
    cpu_milliseconds: u64,
    memory_resident_mebibytes: u64,
    disk_read: u64,
    disk_written: u64,
    network_received: u64,
    network_sent: u64,
}

impl From<domain::HostSample> for HostSample {
    fn from(sample: domain::HostSample) -> Self {
        Self {
            at: sample.at.0,
            cpu_permille: sample.cpu_permille,
            memory_used_mebibytes: sample.memory_used.0,
            load_permille: sample.load_permille,
            cpu_pressure_permille: sample.cpu_pressure_permille,
            memory_pressure_permille: sample.memory_pressure_permille,
            io_pressure_permille: sample.io_pressure_permille,
            network_received: sample.network_received.0,
            network_sent: sample.network_sent.0,
            vms: List(sample.vms.iter().map(to_vm_sample).collect()),
        }
    }
}

impl From<HostSample> for domain::HostSample {
    fn from(sample: HostSample) -> Self {
        Self {
            at: Timestamp(sample.at),
            cpu_permille: sample.cpu_permille,
            memory_used: Mebibytes(sample.memory_used_mebibytes),
            load_permille: sample.load_permille,
            cpu_pressure_permille: sample.cpu_pressure_permille,
            memory_pressure_permille: sample.memory_pressure_permille,
            io_pressure_permille: sample.io_pressure_permille,
            network_received: Bytes(sample.network_received),
            network_sent: Bytes(sample.network_sent),
            vms: sample.vms.0.iter().map(from_vm_sample).collect(),
        }
    }
}

fn to_vm_sample(sample: &domain::VmSample) -> VmSample {
    VmSample {
        vm: to_id(sample.vm.0),
        cpu_milliseconds: sample.cpu_milliseconds,
        memory_resident_mebibytes: sample.memory_resident.0,
        disk_read: sample.disk_read.0,
        disk_written: sample.disk_written.0,
        network_received: sample.network_received.0,
        network_sent: sample.network_sent.0,
    }
}

fn from_vm_sample(sample: &VmSample) -> domain::VmSample {
    domain::VmSample {
        vm: VmId(from_id(sample.vm)),
        cpu_milliseconds: sample.cpu_milliseconds,
        memory_resident: Mebibytes(sample.memory_resident_mebibytes),
        disk_read: Bytes(sample.disk_read),
        disk_written: Bytes(sample.disk_written),
        network_received: Bytes(sample.network_received),
        network_sent: Bytes(sample.network_sent),
    }
}
