//! Owns what the coordinator holds in memory: the records as last stored, joined with what is never stored
//! (connections, samples, reservations). Everything here is behind one lock that is never held across an await.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{
    ConfigurationName, DriveName, HostId, HostName, ImageName, OperationId, SetupName, VmId,
};
use reeve_common::inventory::HostInventory;
use reeve_common::storage::{LockManager, PoolReport};
use reeve_common::utilization::HostSample;
use reeve_common::vm::{DomainSize, ForeignDomain};
use reeve_scheduler::{Contact, Fleet};
use tokio::sync::{oneshot, watch};

use crate::agents::AgentHandle;
use crate::metrics::VmTally;
use crate::model::configuration::Configuration;
use crate::model::drive::Drive;
use crate::model::fence::Fence;
use crate::model::host::Host;
use crate::model::host_life::HostLife;
use crate::model::image::Image;
use crate::model::reconciliation::HostComparison;
use crate::model::setup::Setup;
use crate::model::vm::Vm;
use crate::model::warning::WarningId;
use crate::store::Version;
use crate::workflow::WorkflowId;

use super::vm_index::VmIndex;
use super::warnings::StandingWarning;
use super::workflows::WorkflowEntry;

/// How many VMs that are over are shown, as the seed of the console says: the hundred most recent.
pub(crate) const PAST_SHOWN: usize = 100;

/// A record and the version it has in the store.
#[derive(Debug, Clone)]
pub(crate) struct Kept<T> {
    pub(crate) version: Version,
    pub(crate) value: Arc<T>,
}

/// What a host last said of everything but our VMs.
#[derive(Debug, Clone)]
pub(crate) struct LastReport {
    pub(crate) hypervisor_reachable: bool,
    pub(crate) foreign: Vec<ForeignDomain>,
    pub(crate) pools: Vec<PoolReport>,
    /// What our domains that may be running take.
    pub(crate) sizes: Vec<DomainSize>,
}

/// A host in memory.
#[derive(Debug)]
pub(crate) struct HostEntry {
    pub(crate) kept: Kept<Host>,
    /// What is heard of it and what was proved of it, by the coordinator's steady clock.
    pub(crate) life: HostLife,
    /// Whether it is heard, as the scheduler was last told.
    pub(crate) contact: Contact,
    /// How much had come in on its connection when that was last looked at.
    pub(crate) received: u64,
    /// The life of its agent that was last heard.
    pub(crate) instance: Option<OperationId>,
    /// Its latest fencings, the oldest first.
    pub(crate) fences: Vec<Kept<Fence>>,
    pub(crate) agent: Option<AgentHandle>,
    /// Held while something that its agent told is followed.
    pub(crate) ear: Arc<tokio::sync::Mutex<()>>,
    pub(crate) inventory: Option<HostInventory>,
    pub(crate) report: Option<LastReport>,
    pub(crate) sample: Option<Arc<HostSample>>,
    /// How far its clock was ahead of ours when its latest sample came, in milliseconds; behind when negative.
    pub(crate) clock_ahead_ms: Option<i64>,
    /// When the certificate expires that it last proved itself with, or has put to use since.
    pub(crate) certificate_ends: Option<Timestamp>,
    /// Whether its libvirt has a lock manager, as it last said.
    pub(crate) lock_manager: LockManager,
    /// VMs it runs under our name that no record knows.
    pub(crate) unmanaged: Vec<VmId>,
    /// What went wrong with the last attempt of an agent to connect.
    pub(crate) refused: Option<String>,
    /// It is being deleted: it is chosen for nothing, whatever is heard of it meanwhile.
    pub(crate) leaving: bool,
    /// Who waits for the comparison with the report that answers a command.
    pub(crate) awaited: BTreeMap<OperationId, oneshot::Sender<HostComparison>>,
}

impl HostEntry {
    pub(crate) fn new(kept: Kept<Host>, watched_since: Timestamp) -> Self {
        Self {
            kept,
            life: HostLife::new(watched_since),
            contact: Contact::Lost,
            received: 0,
            instance: None,
            fences: Vec::new(),
            agent: None,
            ear: Arc::default(),
            inventory: None,
            report: None,
            sample: None,
            clock_ahead_ms: None,
            certificate_ends: None,
            lock_manager: LockManager::Unknown,
            unmanaged: Vec::new(),
            refused: None,
            leaving: false,
            awaited: BTreeMap::new(),
        }
    }
}

/// A VM's record and its version, as watchers see it.
#[derive(Debug, Clone)]
pub(crate) struct VmVersion {
    pub(crate) version: Version,
    pub(crate) vm: Arc<Vm>,
}

/// A VM in memory.
#[derive(Debug)]
pub(crate) struct VmEntry {
    /// The record; whoever waits for a change subscribes here.
    pub(crate) current: watch::Sender<VmVersion>,
    /// Held while its record is being changed: changes of one VM come one after the other.
    pub(crate) writer: Arc<tokio::sync::Mutex<()>>,
    /// Whether the record is in the store; before that it only holds its reservation.
    pub(crate) durable: bool,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) hosts: BTreeMap<HostId, HostEntry>,
    pub(crate) images: BTreeMap<ImageName, Kept<Image>>,
    pub(crate) setups: BTreeMap<SetupName, Kept<Setup>>,
    pub(crate) configurations: BTreeMap<ConfigurationName, Kept<Configuration>>,
    pub(crate) drives: BTreeMap<DriveName, Kept<Drive>>,
    /// Changed by the methods below alone, which keep the index.
    vms: BTreeMap<VmId, VmEntry>,
    index: VmIndex,
    /// The most recent VMs that are over, oldest first.
    pub(crate) past: VecDeque<VmVersion>,
    /// Those under way, and the most recent ones that are over.
    pub(crate) workflows: BTreeMap<WorkflowId, WorkflowEntry>,
    /// VMs that are being taken off a lost host: until that is durable, nobody is told their wish.
    pub(crate) displacing: BTreeSet<VmId>,
    pub(crate) fleet: Fleet,
    /// Standing warnings, and those that are gone lately.
    pub(crate) warnings: BTreeMap<WarningId, StandingWarning>,
    /// `vms` by realm and state.
    vm_tally: VmTally,
}

impl Core {
    pub(crate) fn new() -> Self {
        Self {
            hosts: BTreeMap::new(),
            images: BTreeMap::new(),
            setups: BTreeMap::new(),
            configurations: BTreeMap::new(),
            drives: BTreeMap::new(),
            vms: BTreeMap::new(),
            index: VmIndex::default(),
            past: VecDeque::new(),
            workflows: BTreeMap::new(),
            displacing: BTreeSet::new(),
            fleet: Fleet::new(),
            warnings: BTreeMap::new(),
            vm_tally: VmTally::default(),
        }
    }

    /// The host called so.
    pub(crate) fn host_named(&self, name: &HostName) -> Option<&HostEntry> {
        self.hosts.values().find(|entry| entry.kept.value.name == *name)
    }

    /// The VMs that are not over, also those whose record is still being written.
    pub(crate) const fn vms(&self) -> &BTreeMap<VmId, VmEntry> {
        &self.vms
    }

    /// Takes in a VM; `durable` says whether its record is in the store.
    pub(crate) fn take_in(&mut self, current: VmVersion, durable: bool) {
        let vm = Arc::clone(&current.vm);
        let before = self.vms.insert(vm.id, VmEntry::new(current, durable));
        let before = before.map(|before| before.record());
        self.count(before.as_deref(), Some(&vm));
        self.index.replace(before.as_deref(), Some(&vm));
    }

    /// The record of a VM is in the store now.
    pub(crate) fn mark_durable(&mut self, id: VmId) {
        if let Some(entry) = self.vms.get_mut(&id) {
            entry.durable = true;
        }
    }

    /// Shows a VM's record as it was made durable, to whoever waits for it as well.
    pub(crate) fn show(&mut self, current: VmVersion) {
        if let Some(entry) = self.vms.get(&current.vm.id) {
            let before = entry.record();
            entry.current.send_replace(current.clone());
            self.count(Some(&before), Some(&current.vm));
            self.index.replace(Some(&before), Some(&current.vm));
        }
        if current.vm.state.is_final() {
            self.retire(current);
        }
    }

    /// Drops a VM that came to nothing.
    pub(crate) fn drop_vm(&mut self, id: VmId) {
        if let Some(entry) = self.vms.remove(&id) {
            let before = entry.record();
            self.count(Some(&before), None);
            self.index.replace(Some(&before), None);
        }
    }

    fn count(&mut self, before: Option<&Vm>, after: Option<&Vm>) {
        if let Some(after) = after {
            self.vm_tally.enter(&after.realm, after.state);
        }
        if let Some(before) = before {
            self.vm_tally.leave(&before.realm, before.state);
        }
    }

    /// The VMs that are to run and have no host, by id; also those whose record is still being written.
    pub(crate) const fn waiting(&self) -> &BTreeSet<VmId> {
        self.index.waiting()
    }

    /// The VMs that were taken from a host which has not said yet that nothing of them is left there, by id.
    pub(crate) fn left_on(&self, host: HostId) -> Vec<VmId> {
        self.index.left_on(host).filter(|id| self.vm(*id).is_some()).collect()
    }

    /// The record of a VM that is not over.
    pub(crate) fn vm(&self, id: VmId) -> Option<VmVersion> {
        self.vms.get(&id).filter(|entry| entry.durable).map(|entry| entry.current.borrow().clone())
    }

    /// The record of a VM, over or not.
    pub(crate) fn any_vm(&self, id: VmId) -> Option<VmVersion> {
        self.vm(id).or_else(|| self.past.iter().rev().find(|past| past.vm.id == id).cloned())
    }

    /// The records of all VMs that are not over.
    pub(crate) fn living(&self) -> impl Iterator<Item = VmVersion> + '_ {
        self.vms.values().filter(|entry| entry.durable).map(|entry| entry.current.borrow().clone())
    }

    /// The VMs on a host whose records say that they are not over, by id. Takes as long as the host has VMs.
    pub(crate) fn living_on(&self, host: HostId) -> Vec<VmId> {
        let recorded = |id: &VmId| self.vm(*id).is_some_and(|current| current.vm.host == Some(host));
        let mut vms: Vec<VmId> = self.fleet.vms_on(host).filter(recorded).collect();
        vms.sort_unstable();
        vms
    }

    /// Every VM that holds something now, also those whose record is still being written.
    pub(crate) fn holding(&self) -> impl Iterator<Item = Arc<Vm>> + '_ {
        self.vms.values().map(VmEntry::record)
    }

    /// A VM whose place on a host is held by a choice that its record does not say yet: it waited, and its placement is
    /// being written.
    pub(crate) fn arriving_on(&self, host: HostId) -> Option<VmId> {
        let is_recorded = |id: &VmId| self.vms.get(id).is_some_and(|entry| entry.record().host == Some(host));
        self.fleet.vms_on(host).find(|id| !is_recorded(id))
    }

    /// How many VMs there are, by realm and state.
    pub(crate) const fn vm_tally(&self) -> &VmTally {
        &self.vm_tally
    }

    /// Notes that a VM is over: it holds nothing any more and joins the past.
    fn retire(&mut self, ended: VmVersion) {
        self.fleet.release(ended.vm.id);
        self.drop_vm(ended.vm.id);
        self.past.push_back(ended);
        while self.past.len() > PAST_SHOWN {
            self.past.pop_front();
        }
    }
}

impl VmEntry {
    fn new(current: VmVersion, durable: bool) -> Self {
        Self { current: watch::Sender::new(current), writer: Arc::new(tokio::sync::Mutex::new(())), durable }
    }

    /// Its record.
    pub(crate) fn record(&self) -> Arc<Vm> {
        Arc::clone(&self.current.borrow().vm)
    }
}
