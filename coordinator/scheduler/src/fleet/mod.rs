//! Owns the hosts, what of them is promised to which VM, and the choice among them.

use std::collections::BTreeMap;

use reeve_common::hardware_profile::Capacity;
use reeve_common::ids::{DeviceClass, HostId, VmId};
use reeve_common::units::{Mebibytes, Millicores};

use crate::constraint::{self, Amount, Standing};
use crate::cost::ChoiceRule;
use crate::explanation::{Explanation, HostExplanation};
use crate::host::{HostDescription, HostUsage, Measured};
use crate::reason::Reason;
use crate::request::Request;

/// The hosts and what of them is promised.
#[derive(Debug, Default)]
pub struct Fleet {
    hosts: BTreeMap<HostId, Entry>,
    vms: BTreeMap<VmId, (HostId, Request)>,
}

#[derive(Debug)]
struct Entry {
    description: HostDescription,
    measured: Option<Measured>,
}

impl Fleet {
    /// A fleet without hosts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a host, or replaces what is known of it. VMs counted there stay counted.
    pub fn upsert_host(&mut self, host: HostDescription) {
        let measured = self.hosts.get(&host.id).and_then(|entry| entry.measured);
        self.hosts.insert(host.id, Entry { description: host, measured });
    }

    /// Forgets a host. VMs placed there stay so until they are released, and count again should it come back.
    pub fn remove_host(&mut self, host: HostId) {
        self.hosts.remove(&host);
    }

    /// Replaces what was measured on a host; none when the last measurement is too old to be believed.
    pub fn set_measured(&mut self, host: HostId, measured: Option<Measured>) {
        if let Some(entry) = self.hosts.get_mut(&host) {
            entry.measured = measured;
        }
    }

    /// A host as it was described.
    #[must_use]
    pub fn host(&self, host: HostId) -> Option<&HostDescription> {
        self.hosts.get(&host).map(|entry| &entry.description)
    }

    /// Whether the host can take the VM now. Every placement is checked by this and nothing else.
    ///
    /// # Errors
    /// The first reason why it cannot.
    pub fn fits(&self, host: HostId, request: &Request) -> Result<(), Reason> {
        let entry = self.hosts.get(&host).ok_or(Reason::UnknownHost { host })?;
        let usage = self.usage(host).ok_or(Reason::UnknownHost { host })?;
        let devices = |class: &DeviceClass| Amount {
            total: usage.capacity.devices.get(class).copied().unwrap_or_default().into(),
            used: usage.used.devices.get(class).copied().unwrap_or_default().into(),
        };
        let standing = Standing {
            host: &entry.description,
            cores: Amount {
                total: usage.capacity.cores.0,
                used: usage.used.cores.0.saturating_add(usage.foreign.cores.0),
            },
            memory: Amount {
                total: usage.capacity.memory.0,
                used: usage.used.memory.0.saturating_add(usage.foreign.memory.0),
            },
            devices: &devices,
        };
        constraint::check(&standing, request)
    }

    /// Promises the VM its share of the host, if it fits. Repeating it for the same VM, host and amounts changes
    /// nothing.
    ///
    /// # Errors
    /// The reason why it does not fit; nothing was changed then.
    pub fn reserve(&mut self, vm: VmId, host: HostId, request: &Request) -> Result<(), Reason> {
        match self.vms.get(&vm) {
            Some((held, _)) if *held == host => return Ok(()),
            Some((held, _)) => return Err(Reason::PlacedElsewhere { host: *held }),
            None => self.fits(host, request)?,
        }
        self.vms.insert(vm, (host, request.clone()));
        Ok(())
    }

    /// Counts a VM that is on the host already, whether it fits or not.
    pub fn restore(&mut self, vm: VmId, host: HostId, request: &Request) {
        self.vms.insert(vm, (host, request.clone()));
    }

    /// Gives back what was promised to the VM, and says where it was.
    pub fn release(&mut self, vm: VmId) -> Option<HostId> {
        self.vms.remove(&vm).map(|(host, _)| host)
    }

    /// The host with the lowest score, the lowest id among equals. Nothing is reserved.
    #[must_use]
    pub fn decide(&mut self, request: &Request) -> Option<HostId> {
        self.explain(request).chosen
    }

    /// The same decision with everything that led to it, for every host.
    #[must_use]
    pub fn explain(&self, request: &Request) -> Explanation {
        let hosts: Vec<_> = self
            .hosts
            .values()
            .map(|entry| {
                let reason = self.fits(entry.description.id, request).err();
                HostExplanation {
                    host: entry.description.id,
                    name: entry.description.name.clone(),
                    feasible: reason.is_none(),
                    reason: reason.map(|reason| reason.to_string()),
                    cost_function: entry.description.cost_function.name().clone(),
                    rule: entry.description.cost_function.rule(),
                    terms: Vec::new(),
                    before: 0.0,
                    after: 0.0,
                    increase: 0.0,
                }
            })
            .collect();
        let chosen = hosts
            .iter()
            .filter(|host| host.feasible)
            .min_by(|a, b| a.score().total_cmp(&b.score()).then(a.host.cmp(&b.host)))
            .map(|host| host.host);
        Explanation { request: request.clone(), chosen, rule: ChoiceRule::Increase, hosts }
    }

    /// What of a host is promised.
    #[must_use]
    pub fn usage(&self, host: HostId) -> Option<HostUsage> {
        let entry = self.hosts.get(&host)?;
        let mut used = Capacity::default();
        let mut vms = 0;
        for (_, request) in self.vms.values().filter(|(place, _)| *place == host) {
            vms += 1;
            used.cores = Millicores(used.cores.0.saturating_add(request.cores.0));
            used.memory = Mebibytes(used.memory.0.saturating_add(request.memory.0));
            for (class, count) in &request.devices {
                let sum = used.devices.entry(class.clone()).or_default();
                *sum = sum.saturating_add(*count);
            }
        }
        let description = &entry.description;
        Some(HostUsage { capacity: description.capacity.clone(), used, foreign: description.foreign, vms })
    }

    /// The VMs counted on a host, by id.
    pub fn vms_on(&self, host: HostId) -> impl Iterator<Item = VmId> {
        self.vms.iter().filter(move |(_, (place, _))| *place == host).map(|(vm, _)| *vm)
    }
}
