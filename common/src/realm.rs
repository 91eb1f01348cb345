//! Owns what a host must know of its realm in order to serve it. The coordinator reads it from its configuration and
//! sends it after `Welcome` and whenever it changes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::PoolName;
use crate::vm::VirtType;

/// A realm as its hosts see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RealmSettings {
    /// Where running VMs' disks live (`volumes-pool`).
    pub volumes_pool: PoolName,
    /// Where users' drives live (`drives-pool`).
    pub drives_pool: PoolName,
    /// Where images live (`bricks-pool`).
    pub bricks_pool: PoolName,
    /// How often the agent compares every VM with libvirt, besides libvirt's events (`poll-frequency`).
    pub poll_frequency: Duration,
    /// How often the agent sends a sample of host and VMs.
    pub sample_interval: Duration,
    /// Which accelerator VMs of this realm get unless their setup says otherwise.
    pub virt_type: VirtType,
    /// How long its VMs may run without the coordinator's word before the host stops them (`self-fencing.lease`); none:
    /// for ever.
    pub lease: Option<Duration>,
}
