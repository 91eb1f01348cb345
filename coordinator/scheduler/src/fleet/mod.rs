//! Owns the hosts, what of them is promised to which VM, and the choice among them.
//!
//! ```text
//!   Fleet ─▶ Realm ─▶ columns     numbers of every host
//!     │        ├────▶ holding     who takes what of a host
//!     │        ├────▶ binding     a cost function over the columns     ┐
//!     │        ├────▶ scoring     requests x hosts ─▶ scores           │ what is fast
//!     │        └────▶ classes ─▶ tournament   kept scores, the lowest  ┘
//!     │        └────▶ demands     what few requests ask besides amounts, host by host; companions, particulars
//!     └─ where each host and each VM is
//! ```
//!
//! Must not: keep a score that the numbers no longer give. `decide` is fast, `explain` is plain, and both always choose the
//! same host.

mod asked;
mod asks;
mod assignment;
mod batch;
mod binding;
mod change_log;
mod classes;
mod columns;
mod companions;
mod demands;
mod device_table;
mod digest;
mod evaluation;
mod function_table;
mod holding;
mod id_hash;
mod interning;
mod measurements;
mod node_assignment;
mod particulars;
mod places;
mod quota_ledger;
mod realm;
mod scoring;
mod simulation;
mod strands;
mod texts;
mod tournament;
mod trial;
mod what_if;
mod whole_devices;

use std::collections::{BTreeMap, HashMap};

use reeve_common::ids::{HostId, RealmName, VmId};

use crate::cost::ChoiceRule;
use crate::explanation::{Explanation, HostExplanation};
use crate::host::{HostDescription, HostUsage, Measured};
use crate::reason::Reason;
use crate::request::Request;

pub use assignment::{AssignedDevice, Assignment};
pub use batch::{BatchCost, BatchGoal, BatchPlan};
pub use simulation::{SIMULATED_MAX, Simulation};
pub use what_if::{NewHost, WhatIf};

use assignment::DeviceAssignment;
use classes::SCORES_BYTES_MAX;
use function_table::Workspaces;
pub(crate) use holding::AMOUNT_MAX;
use holding::{Book, Holding, Shape, Tenants};
use id_hash::IdMap;
use measurements::Measurements;
use places::{Place, Places};
use quota_ledger::{QuotaLedger, shape_realm};
use realm::{Inquiry, Realm};

/// The hosts and what of them is promised. A copy begins without kept scores: it is for asking what would be.
#[derive(Debug, Clone)]
pub struct Fleet {
    scores_bytes_max: usize,
    realms: Vec<Realm>,
    realm_numbers: HashMap<RealmName, usize>,
    places: Places,
    vms: IdMap<VmId, (HostId, Holding)>,
    /// The VMs of hosts that are not there, for when they come back.
    parked: IdMap<HostId, Tenants>,
    book: Book,
    /// Room to work costs out in, for each realm.
    workspaces: Vec<Workspaces<1>>,
    /// By the number of the realm; none for those without quotas.
    ledgers: BTreeMap<u32, QuotaLedger>,
    measurements: Measurements,
}

impl Default for Fleet {
    fn default() -> Self {
        Self::new()
    }
}

impl Fleet {
    /// A fleet without hosts.
    #[must_use]
    pub fn new() -> Self {
        Self::with_scores_limit(SCORES_BYTES_MAX)
    }

    /// A fleet that keeps at most about `bytes` of scores for each realm. With less it decides more slowly, never
    /// differently.
    #[must_use]
    pub fn with_scores_limit(bytes: usize) -> Self {
        Self {
            scores_bytes_max: bytes,
            realms: Vec::new(),
            realm_numbers: HashMap::new(),
            places: Places::default(),
            vms: IdMap::default(),
            parked: IdMap::default(),
            book: Book::default(),
            workspaces: Vec::new(),
            ledgers: BTreeMap::new(),
            measurements: Measurements::default(),
        }
    }

    /// Adds a host, or replaces what is known of it. VMs counted there stay counted, and what was measured stays known.
    pub fn upsert_host(&mut self, host: HostDescription) {
        let id = host.id;
        let realm = self.realm_number(&host.realm);
        let (tenants, measured) = match self.places.get(id) {
            Some(place) if place.realm == realm => {
                return self.realms[realm].replace(place.slot, host, &mut self.book);
            }
            Some(place) => {
                let measured = self.realms[place.realm].measured(place.slot);
                (self.realms[place.realm].remove(place.slot, &self.book), measured)
            }
            None => (self.parked.remove(&id).unwrap_or_default(), None),
        };
        let slot = self.realms[realm].insert(host, tenants, &mut self.book);
        self.realms[realm].set_measured(slot, measured, &self.book);
        self.places.insert(id, Place { realm, slot });
    }

    /// A host's realm and its slot there.
    fn find(&self, host: HostId) -> Option<(&Realm, usize)> {
        let place = self.places.get(host)?;
        Some((self.realms.get(place.realm)?, place.slot))
    }

    /// The hosts' ids in order.
    fn host_ids(&self) -> Vec<HostId> {
        let mut ids: Vec<HostId> = self.places.hosts().collect();
        ids.sort_unstable();
        ids
    }

    fn realm_number(&mut self, name: &RealmName) -> usize {
        self.realm_numbers.get(name).copied().unwrap_or_else(|| {
            self.realms.push(Realm::new(name.clone(), self.scores_bytes_max));
            self.workspaces.push(Workspaces::default());
            self.realm_numbers.insert(name.clone(), self.realms.len() - 1);
            self.realms.len() - 1
        })
    }

    /// Forgets a host. VMs placed there stay so until they are released, and count again should it come back.
    pub fn remove_host(&mut self, host: HostId) {
        let Some(place) = self.places.remove(host) else { return };
        let measured = self.realms[place.realm].measured(place.slot);
        self.measurements.replace(host, measured.map(|measured| measured.at), None);
        let tenants = self.realms[place.realm].remove(place.slot, &self.book);
        if tenants.len() > 0 {
            self.parked.insert(host, tenants);
        }
    }

    /// A host as it was described.
    #[must_use]
    pub fn host(&self, host: HostId) -> Option<&HostDescription> {
        let (realm, slot) = self.find(host)?;
        realm.host(slot)
    }

    /// All hosts as they were described, by id.
    pub fn hosts(&self) -> impl Iterator<Item = &HostDescription> {
        self.host_ids().into_iter().filter_map(|host| self.host(host))
    }

    /// What was last measured on a host.
    #[must_use]
    pub fn measured(&self, host: HostId) -> Option<Measured> {
        let (realm, slot) = self.find(host)?;
        realm.measured(slot)
    }

    /// Replaces the catalogue of a realm, from which `stranded` and its parts are worked out: requests that are to be
    /// expected, each with a weight that says how often compared with the others. Only what they take is looked at: cores,
    /// memory and devices. Without a catalogue, or with no weight in it, nothing is stranded.
    pub fn set_catalogue(&mut self, realm: &RealmName, expected: &[(Request, u32)]) {
        let number = self.realm_number(realm);
        self.realms[number].set_catalogue(expected, &self.book);
    }

    /// Whether the host can take the VM now. Every placement is checked by this and nothing else.
    ///
    /// # Errors
    /// The first reason why it cannot.
    pub fn fits(&self, host: HostId, request: &Request) -> Result<(), Reason> {
        let (realm, slot) = self.find(host).ok_or(Reason::UnknownHost { host })?;
        self.check_quota(request)?;
        realm.fits(slot, request, &self.book, &mut Workspaces::default())
    }

    /// [`Fleet::fits`] with room at hand to work the cost out in.
    fn fits_quickly(&mut self, host: HostId, request: &Request) -> Result<(), Reason> {
        let place = self.places.get(host).ok_or(Reason::UnknownHost { host })?;
        self.check_quota(request)?;
        self.realms[place.realm].fits(place.slot, request, &self.book, &mut self.workspaces[place.realm])
    }

    /// Promises the VM its share of the host, if it fits. Repeating it for the same VM, host and amounts changes
    /// nothing; other amounts on the same host take the place of the old ones, if they fit without those.
    ///
    /// # Errors
    /// The reason why it does not fit; nothing was changed then.
    pub fn reserve(&mut self, vm: VmId, host: HostId, request: &Request) -> Result<(), Reason> {
        let Some((held, holding)) = self.vms.get(&vm).copied() else {
            self.fits_quickly(host, request)?;
            self.admit(vm, host, request);
            return Ok(());
        };
        if held != host {
            return Err(Reason::PlacedElsewhere { host: held });
        }
        let realm = self.realm_number(&request.realm);
        if self.book.is_of(holding, request, shape_realm(realm)) {
            return Ok(());
        }
        self.dismiss(vm);
        let result = self.fits_quickly(host, request);
        if result.is_ok() {
            if !self.book.keeps_devices(vm, holding, request) {
                self.book.assignments.remove(&vm);
            }
            if !self.keeps_nodes(vm, host, holding, &Shape::of(request, shape_realm(realm))) {
                self.book.nodes.remove(&vm);
            }
            self.book.strike(holding);
            self.admit(vm, host, request);
        } else {
            self.count(vm, host, holding);
        }
        result
    }

    /// Counts a VM that is on the host already, whether it fits or not. A VM counted elsewhere moves.
    pub fn restore(&mut self, vm: VmId, host: HostId, request: &Request) {
        self.restore_with(vm, host, request, &Assignment::default());
    }

    /// The same for a VM that is known to have these devices and NUMA nodes, as [`Fleet::assignment`] told. What it asks for
    /// beyond them, and devices that another VM has, are chosen anew.
    pub fn restore_with(&mut self, vm: VmId, host: HostId, request: &Request, assignment: &Assignment) {
        self.release(vm);
        let realm = shape_realm(self.realm_number(&request.realm));
        if !assignment.devices.is_empty() {
            let told = DeviceAssignment::told(&Shape::of(request, realm), &assignment.devices);
            self.book.assignments.insert(vm, told);
        }
        if !assignment.numa_nodes.is_empty() {
            let told = Shape::of(request, realm).nodes_told(&assignment.numa_nodes);
            self.book.nodes.insert(vm, told);
        }
        self.admit(vm, host, request);
    }

    /// Which devices and NUMA nodes a VM has. Fewer than it asked for where the host has none left for it, or is not there.
    #[must_use]
    pub fn assignment(&self, vm: VmId) -> Assignment {
        let devices = self.vms.get(&vm).and_then(|(_, holding)| {
            let shape = self.book.shapes.get(holding.shape)?;
            Some(self.book.assignments.get(&vm)?.devices(shape))
        });
        let numa_nodes = self.book.nodes.get(&vm).cloned().unwrap_or_default();
        Assignment { devices: devices.unwrap_or_default(), numa_nodes }
    }

    /// Gives back what was promised to the VM, and says where it was.
    pub fn release(&mut self, vm: VmId) -> Option<HostId> {
        let (host, holding) = self.dismiss(vm)?;
        self.book.strike(holding);
        self.book.assignments.remove(&vm);
        self.book.nodes.remove(&vm);
        Some(host)
    }

    /// Whether a VM that is to take other amounts on its host keeps the NUMA nodes that it has.
    fn keeps_nodes(&self, vm: VmId, host: HostId, holding: Holding, new: &Shape) -> bool {
        let Some((realm, slot)) = self.find(host) else { return false };
        let old = self.book.shapes.get(holding.shape);
        old.is_some_and(|old| realm.keeps_nodes(slot, vm, old, new, &self.book))
    }

    fn admit(&mut self, vm: VmId, host: HostId, request: &Request) {
        let realm = self.realm_number(&request.realm);
        let holding = self.book.enter(request, shape_realm(realm));
        self.count(vm, host, holding);
    }

    fn count(&mut self, vm: VmId, host: HostId, holding: Holding) {
        self.vms.insert(vm, (host, holding));
        self.in_ledger(holding, QuotaLedger::admit);
        match self.places.get(host) {
            Some(place) => self.realms[place.realm].admit(place.slot, vm, holding, &mut self.book),
            None => self.parked.entry(host).or_default().insert(vm, holding),
        }
    }

    /// Counts a VM no longer, and says where it was and what it had.
    fn dismiss(&mut self, vm: VmId) -> Option<(HostId, Holding)> {
        let (host, holding) = self.vms.remove(&vm)?;
        self.in_ledger(holding, QuotaLedger::dismiss);
        if let Some(place) = self.places.get(host) {
            self.realms[place.realm].dismiss(place.slot, vm, holding, &self.book);
        } else if let Some(tenants) = self.parked.get_mut(&host) {
            tenants.remove(vm);
            if tenants.len() == 0 {
                self.parked.remove(&host);
            }
        }
        Some((host, holding))
    }

    /// Where a VM is counted.
    #[must_use]
    pub fn host_of(&self, vm: VmId) -> Option<HostId> {
        self.vms.get(&vm).map(|(host, _)| *host)
    }

    /// The host with the lowest score, the lowest id among equals. Nothing is reserved.
    #[must_use]
    pub fn decide(&mut self, request: &Request) -> Option<HostId> {
        self.check_quota(request).ok()?;
        let number = *self.realm_numbers.get(&request.realm)?;
        let realm = &mut self.realms[number];
        if realm.settle() {
            for (slot, host) in realm.ids().enumerate() {
                self.places.insert(host, Place { realm: number, slot });
            }
        }
        realm.decide(request, &self.book)
    }

    /// The same decision with everything that led to it, for every host.
    #[must_use]
    pub fn explain(&self, request: &Request) -> Explanation {
        let mut workspaces: Vec<Workspaces<1>> = Vec::new();
        workspaces.resize_with(self.realms.len(), Workspaces::default);
        let quota = self.check_quota(request).err();
        let inquiries: Vec<Inquiry<'_>> =
            self.realms.iter().map(|_| Inquiry::new(request, &self.book, quota.clone())).collect();
        let hosts: Vec<HostExplanation> = self
            .host_ids()
            .iter()
            .filter_map(|host| {
                let place = self.places.get(*host)?;
                let workspaces = workspaces.get_mut(place.realm)?;
                let inquiry = inquiries.get(place.realm)?;
                self.realms[place.realm].explain(place.slot, inquiry, &self.book, workspaces)
            })
            .map(|(explanation, _)| explanation)
            .collect();
        let mut best: Option<&HostExplanation> = None;
        // Hosts come by id, so that among equals the first stays.
        for host in hosts.iter().filter(|host| host.feasible) {
            if best.is_none_or(|best| host.score() < best.score()) {
                best = Some(host);
            }
        }
        let rule = best.or(hosts.first()).map_or(ChoiceRule::default(), |host| host.rule);
        Explanation { request: request.clone(), chosen: best.map(|host| host.host), rule, hosts }
    }

    /// [`Fleet::explain`] for one host alone; none when the fleet has no such host.
    #[must_use]
    pub fn explain_host(&self, host: HostId, request: &Request) -> Option<HostExplanation> {
        let (realm, slot) = self.find(host)?;
        let inquiry = Inquiry::new(request, &self.book, self.check_quota(request).err());
        let explained = realm.explain(slot, &inquiry, &self.book, &mut Workspaces::default());
        explained.map(|(explanation, _)| explanation)
    }

    /// What `ask` finds as if the VM were nowhere. Afterwards it is where it was.
    pub fn without<T>(&mut self, vm: VmId, ask: impl FnOnce(&Self) -> T) -> T {
        let Some((host, holding)) = self.dismiss(vm) else { return ask(self) };
        let answer = ask(self);
        self.count(vm, host, holding);
        answer
    }

    /// By how much the VM would make the cost of the host rise, whether it fits or not.
    fn rise(&mut self, host: HostId, request: &Request) -> f64 {
        let Some(place) = self.places.get(host) else { return 0.0 };
        self.realms[place.realm].rise(place.slot, request, &self.book, &mut self.workspaces[place.realm])
    }

    /// What of a host is promised.
    #[must_use]
    pub fn usage(&self, host: HostId) -> Option<HostUsage> {
        let (realm, slot) = self.find(host)?;
        realm.usage(slot, &self.book)
    }

    /// The VMs counted on a host, by id; also of one that is not there.
    pub fn vms_on(&self, host: HostId) -> impl Iterator<Item = VmId> {
        let tenants = match self.find(host) {
            Some((realm, slot)) => realm.tenants(slot),
            None => self.parked.get(&host),
        };
        tenants.into_iter().flat_map(Tenants::ids)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use reeve_common::hardware_profile::Capacity;
    use reeve_common::ids::{CostFunctionName, HostName};
    use reeve_common::units::{Mebibytes, Millicores};
    use uuid::Uuid;

    use super::*;
    use crate::cost::CostFunction;

    #[test]
    fn nothing_stays_in_the_book_when_all_vms_have_left() {
        let name = CostFunctionName::new("none").unwrap();
        let function = Arc::new(CostFunction::compile(&name, &[], ChoiceRule::Increase).unwrap());
        let realm = || RealmName::new("r").unwrap();
        let host = |id: u32| {
            let capacity =
                Capacity { cores: Millicores(4000), memory: Mebibytes(4096), ..Capacity::default() };
            let name = HostName::new(format!("host-{id}")).unwrap();
            HostDescription::new(HostId(id), name, realm(), capacity, Arc::clone(&function))
        };
        let request = |cores: u64| Request {
            owner: format!("owner-{cores}"),
            team: "team".to_owned(),
            labels: BTreeMap::from([("cores".to_owned(), cores.to_string())]),
            ..Request::new(realm(), Millicores(cores), Mebibytes(cores))
        };
        let mut fleet = Fleet::new();
        fleet.upsert_host(host(1));
        fleet.upsert_host(host(2));
        let vm = |number: u128| VmId(Uuid::from_u128(number));
        fleet.reserve(vm(1), HostId(1), &request(1000)).unwrap();
        fleet.reserve(vm(1), HostId(1), &request(2000)).unwrap();
        assert!(fleet.reserve(vm(1), HostId(1), &request(5000)).is_err());
        assert!(fleet.reserve(vm(1), HostId(2), &request(2000)).is_err());
        fleet.restore(vm(2), HostId(2), &request(9000));
        fleet.restore(vm(2), HostId(1), &request(9000));
        fleet.restore(vm(3), HostId(7), &request(1));
        fleet.remove_host(HostId(1));
        for number in 1..=3 {
            assert!(fleet.release(vm(number)).is_some());
        }
        assert!(fleet.book.is_empty() && fleet.parked.is_empty() && fleet.vms.is_empty());
    }
}
