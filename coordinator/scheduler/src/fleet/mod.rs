//! Owns the hosts, what of them is promised to which VM, and the choice among them.
//!
//! ```text
//!   Fleet ─▶ Realm ─▶ columns     numbers of every host
//!     │        ├────▶ holding     who takes what of a host
//!     │        ├────▶ binding     a cost function over the columns     ┐
//!     │        ├────▶ scoring     requests x hosts ─▶ scores           │ what is fast
//!     │        └────▶ classes ─▶ tournament   kept scores, the lowest  ┘
//!     └─ where each host and each VM is
//! ```
//!
//! Must not: keep a score that the numbers no longer give. `decide` is fast, `explain` is plain, and both always choose the
//! same host.

mod asked;
mod binding;
mod classes;
mod columns;
mod function_table;
mod holding;
mod interning;
mod realm;
mod scoring;
mod tournament;

use std::collections::{BTreeMap, HashMap};

use reeve_common::ids::{HostId, RealmName, VmId};

use crate::cost::ChoiceRule;
use crate::explanation::{Explanation, HostExplanation};
use crate::host::{HostDescription, HostUsage, Measured};
use crate::reason::Reason;
use crate::request::Request;

use function_table::Workspaces;
use holding::{Book, Holding, Tenants};
use realm::Realm;

/// The hosts and what of them is promised.
#[derive(Debug, Default)]
pub struct Fleet {
    realms: Vec<Realm>,
    realm_numbers: HashMap<RealmName, usize>,
    places: BTreeMap<HostId, usize>,
    vms: HashMap<VmId, (HostId, Holding)>,
    /// The VMs of hosts that are not there, for when they come back.
    parked: BTreeMap<HostId, Tenants>,
    book: Book,
}

impl Fleet {
    /// A fleet without hosts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a host, or replaces what is known of it. VMs counted there stay counted, and what was measured stays known.
    pub fn upsert_host(&mut self, host: HostDescription) {
        let id = host.id;
        let realm = self.realm_number(&host.realm);
        let (tenants, measured) = match self.place(id) {
            Some((there, slot)) if there == realm => {
                return self.realms[realm].replace(slot, host, &self.book);
            }
            Some((there, slot)) => {
                let measured = self.realms[there].measured(slot);
                (self.realms[there].remove(slot), measured)
            }
            None => (self.parked.remove(&id).unwrap_or_default(), None),
        };
        let slot = self.realms[realm].insert(host, tenants, &self.book);
        self.realms[realm].set_measured(slot, measured, &self.book);
        self.places.insert(id, realm);
    }

    /// The number of a host's realm and its slot there.
    fn place(&self, host: HostId) -> Option<(usize, usize)> {
        let realm = *self.places.get(&host)?;
        self.realms[realm].slot(host).map(|slot| (realm, slot))
    }

    fn realm_number(&mut self, name: &RealmName) -> usize {
        self.realm_numbers.get(name).copied().unwrap_or_else(|| {
            self.realms.push(Realm::default());
            self.realm_numbers.insert(name.clone(), self.realms.len() - 1);
            self.realms.len() - 1
        })
    }

    /// Forgets a host. VMs placed there stay so until they are released, and count again should it come back.
    pub fn remove_host(&mut self, host: HostId) {
        if let Some((realm, slot)) = self.place(host) {
            let tenants = self.realms[realm].remove(slot);
            self.places.remove(&host);
            self.parked.insert(host, tenants);
        }
    }

    /// Replaces what was measured on a host; none when the last measurement is too old to be believed.
    pub fn set_measured(&mut self, host: HostId, measured: Option<Measured>) {
        if let Some((realm, slot)) = self.place(host) {
            self.realms[realm].set_measured(slot, measured, &self.book);
        }
    }

    /// A host as it was described.
    #[must_use]
    pub fn host(&self, host: HostId) -> Option<&HostDescription> {
        let (realm, slot) = self.place(host)?;
        self.realms[realm].host(slot)
    }

    /// All hosts as they were described, by id.
    pub fn hosts(&self) -> impl Iterator<Item = &HostDescription> {
        self.places.keys().filter_map(|host| self.host(*host))
    }

    /// What was last measured on a host.
    #[must_use]
    pub fn measured(&self, host: HostId) -> Option<Measured> {
        let (realm, slot) = self.place(host)?;
        self.realms[realm].measured(slot)
    }

    /// Whether the host can take the VM now. Every placement is checked by this and nothing else.
    ///
    /// # Errors
    /// The first reason why it cannot.
    pub fn fits(&self, host: HostId, request: &Request) -> Result<(), Reason> {
        let (realm, slot) = self.place(host).ok_or(Reason::UnknownHost { host })?;
        self.realms[realm].fits(slot, request, &self.book)
    }

    /// Promises the VM its share of the host, if it fits. Repeating it for the same VM, host and amounts changes
    /// nothing; other amounts on the same host take the place of the old ones, if they fit without those.
    ///
    /// # Errors
    /// The reason why it does not fit; nothing was changed then.
    pub fn reserve(&mut self, vm: VmId, host: HostId, request: &Request) -> Result<(), Reason> {
        let Some((held, holding)) = self.vms.get(&vm).copied() else {
            self.fits(host, request)?;
            self.admit(vm, host, request);
            return Ok(());
        };
        if held != host {
            return Err(Reason::PlacedElsewhere { host: held });
        }
        if self.book.is_of(holding, request) {
            return Ok(());
        }
        self.dismiss(vm, host);
        let result = self.fits(host, request);
        if result.is_ok() {
            self.book.strike(holding);
            self.admit(vm, host, request);
        } else {
            self.count(vm, host, holding);
        }
        result
    }

    /// Counts a VM that is on the host already, whether it fits or not. A VM counted elsewhere moves.
    pub fn restore(&mut self, vm: VmId, host: HostId, request: &Request) {
        self.release(vm);
        self.admit(vm, host, request);
    }

    /// Gives back what was promised to the VM, and says where it was.
    pub fn release(&mut self, vm: VmId) -> Option<HostId> {
        let (host, holding) = self.vms.get(&vm).copied()?;
        self.dismiss(vm, host);
        self.book.strike(holding);
        Some(host)
    }

    fn admit(&mut self, vm: VmId, host: HostId, request: &Request) {
        let holding = self.book.enter(request);
        self.count(vm, host, holding);
    }

    fn count(&mut self, vm: VmId, host: HostId, holding: Holding) {
        self.vms.insert(vm, (host, holding));
        match self.place(host) {
            Some((realm, slot)) => self.realms[realm].admit(slot, vm, holding, &self.book),
            None => self.parked.entry(host).or_default().insert(vm, holding),
        }
    }

    fn dismiss(&mut self, vm: VmId, host: HostId) {
        self.vms.remove(&vm);
        match self.place(host) {
            Some((realm, slot)) => self.realms[realm].dismiss(slot, vm, &self.book),
            None => {
                if let Some(tenants) = self.parked.get_mut(&host) {
                    tenants.remove(vm);
                }
            }
        }
    }

    /// Where a VM is counted.
    #[must_use]
    pub fn host_of(&self, vm: VmId) -> Option<HostId> {
        self.vms.get(&vm).map(|(host, _)| *host)
    }

    /// The host with the lowest score, the lowest id among equals. Nothing is reserved.
    #[must_use]
    pub fn decide(&mut self, request: &Request) -> Option<HostId> {
        let realm = *self.realm_numbers.get(&request.realm)?;
        self.realms[realm].decide(request, &self.book)
    }

    /// The same decision with everything that led to it, for every host.
    #[must_use]
    pub fn explain(&self, request: &Request) -> Explanation {
        let mut workspaces: Vec<Workspaces<1>> = Vec::new();
        workspaces.resize_with(self.realms.len(), Workspaces::default);
        let hosts: Vec<HostExplanation> = self
            .places
            .keys()
            .filter_map(|host| {
                let (realm, slot) = self.place(*host)?;
                self.realms[realm].explain(slot, request, &self.book, workspaces.get_mut(realm)?)
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

    /// What of a host is promised.
    #[must_use]
    pub fn usage(&self, host: HostId) -> Option<HostUsage> {
        let (realm, slot) = self.place(host)?;
        self.realms[realm].usage(slot, &self.book)
    }

    /// The VMs counted on a host, by id; also of one that is not there.
    pub fn vms_on(&self, host: HostId) -> impl Iterator<Item = VmId> {
        let tenants = match self.place(host) {
            Some((realm, slot)) => self.realms[realm].tenants(slot),
            None => self.parked.get(&host),
        };
        tenants.into_iter().flat_map(Tenants::ids)
    }
}
