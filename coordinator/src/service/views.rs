//! Owns what the service shows: records joined with what is only known in memory (connections, samples, usage).

use std::collections::BTreeMap;
use std::sync::Arc;

use reeve_common::clock::Timestamp;
use reeve_common::hardware_profile::{Capacity, HardwareProfile};
use reeve_common::ids::{DeviceClass, HostId, HostName, VmId};
use reeve_common::inventory::HostInventory;
use reeve_common::storage::PoolReport;
use reeve_common::utilization::HostSample;
use reeve_common::vm::ForeignDomain;
use reeve_scheduler::{HostUsage, QuotaLimits, QuotaStanding};

use crate::config::Realm;
use crate::model::explanation::PlacementDecision;
use crate::model::fence::Fence;
use crate::model::host::{Connection, Host};
use crate::model::vm::Vm;
use crate::model::vm_state::VmState;

/// A realm and what is in it.
#[derive(Debug, Clone)]
pub struct RealmView {
    /// As configured.
    pub realm: Realm,
    /// Hosts in it.
    pub hosts: usize,
    /// Those connected now.
    pub connected_hosts: usize,
    /// VMs in it that are not over.
    pub vms: usize,
    /// Who is held to a limit in it, and what they have.
    pub quotas: Vec<QuotaStanding>,
}

impl RealmView {
    /// What each owner may have who is not named in the realm's quotas.
    #[must_use]
    pub fn any_owner(&self) -> QuotaLimits {
        self.realm.quotas.any_owner
    }

    /// What each team may have that is not named in the realm's quotas.
    #[must_use]
    pub fn any_team(&self) -> QuotaLimits {
        self.realm.quotas.any_team
    }
}

/// A hardware profile and its use.
#[derive(Debug, Clone)]
pub struct ProfileView {
    /// As configured.
    pub profile: HardwareProfile,
    /// What VMs may be promised on such a host.
    pub capacity: Capacity,
    /// The hosts that have it.
    pub hosts: Vec<HostName>,
}

/// A host and all that is known of it.
#[derive(Debug, Clone)]
pub struct HostView {
    /// Its record.
    pub host: Host,
    /// Whether its agent is heard.
    pub connection: Connection,
    /// Capacity, and what of it is promised; none while its profile is not in the configuration.
    pub usage: Option<HostUsage>,
    /// What it is, as its agent last said.
    pub inventory: Option<HostInventory>,
    /// How many devices of each declared class were found.
    pub devices_found: BTreeMap<DeviceClass, u32>,
    /// How busy it is, as its agent last said.
    pub sample: Option<HostSample>,
    /// Our VMs on it.
    pub vms: Vec<VmId>,
    /// Somebody else's domains on it.
    pub foreign: Vec<ForeignDomain>,
    /// Its realm's pools there.
    pub pools: Vec<PoolReport>,
    /// Whether its libvirt answers its agent; none while it is not connected.
    pub hypervisor_reachable: Option<bool>,
    /// Its latest fencings, the latest first.
    pub fences: Vec<Fence>,
    /// Whether its realm says how it is fenced.
    pub can_be_fenced: bool,
    /// When everything on it will have stopped if it is not heard any more; none when it does not stop by itself.
    pub stops_by_itself_at: Option<Timestamp>,
    /// How many standing warnings there are of it that nobody has acknowledged.
    pub standing_warnings: usize,
    /// What an administrator should know, in words.
    pub warnings: Vec<String>,
}

/// A VM as people see it.
#[derive(Debug, Clone)]
pub struct VmView {
    /// Its record.
    pub vm: Arc<Vm>,
    /// Its state as far as it can be known now: *unknown* on a lost host.
    pub state: VmState,
    /// The name of its host.
    pub host: Option<(HostId, HostName)>,
    /// Its host is lost, and a person must decide what becomes of it.
    pub decision_wanted: bool,
    /// Grows with every change of the record: what `Service::vm_changed` waits for.
    pub version: u64,
}

/// One VM with what led it where it is.
#[derive(Debug, Clone)]
pub struct VmDetail {
    /// The VM.
    pub view: VmView,
    /// The decision that placed it, or did not.
    pub decision: Option<PlacementDecision>,
}

/// What can be read of a VM's past.
#[derive(Debug, Clone)]
pub struct VmLog {
    /// The VM.
    pub view: VmView,
    /// The hosts whose journals may speak of it, the present or last one first.
    pub hosts: Vec<HostName>,
    /// The end of its console's output, made printable except for line ends.
    pub console: Option<String>,
    /// Why there is no console output.
    pub console_problem: Option<String>,
}

/// A join line, shown once.
#[derive(Debug, Clone)]
pub struct JoinToken {
    /// The line to give to `reeve-agent join`.
    pub line: String,
    /// For which host.
    pub host: HostName,
    /// Until when it can be used.
    pub expires_at: Timestamp,
}
