//! Owns the hosts of one realm: their columns, their VMs, and the choice among them. Realms never mix, so nothing here
//! ever looks beyond its own.

use reeve_common::clock::Timestamp;
use reeve_common::hardware_profile::Capacity;
use reeve_common::ids::{DeviceClass, HostId, RealmName, VmId};
use reeve_common::units::{Mebibytes, Millicores};

use super::asked::Asked;
use super::change_log::ChangeLog;
use super::classes::{ClassCache, ClassKey, KeptScores};
use super::columns::{Columns, Row};
use super::companions::{Census, Circle, Residents};
use super::demands;
use super::device_table::DeviceTable;
use super::function_table::{FunctionTable, SharedUse, Workspaces};
use super::holding::{AMOUNT_MAX, Book, Holding, Shape, Tenants};
use super::particulars::Particulars;
use super::scoring::Ground;
use super::tournament::INFEASIBLE;
use crate::constraint::{self, Amount, Standing};
use crate::cost::CostFunction;
use crate::device_choice::HostDevices;
use crate::explanation::{HostExplanation, TermExplanation};
use crate::host::{HostDescription, HostUsage, Measured, Promised};
use crate::reason::Reason;
use crate::request::Request;
use crate::stranded::Catalogue;

/// How many more vacant slots than hosts there may be before the hosts move together.
const VACANT_MAX: usize = 64;

/// The hosts of one realm, by slot: in the order of their ids, as far as they came in that order. A slot is vacant after
/// its host was removed, and stays so until [`Realm::settle`].
#[derive(Debug, Clone, Default)]
pub(super) struct Realm {
    name: Option<RealmName>,
    columns: Columns,
    hosts: Vec<Option<HostDescription>>,
    tenants: Vec<Tenants>,
    vacant: usize,
    is_out_of_order: bool,
    device_table: DeviceTable,
    catalogue: Option<Catalogue>,
    functions: FunctionTable,
    shared_use: SharedUse,
    log: ChangeLog,
    cache: ClassCache,
    workspaces: Workspaces<1>,
    census: Census,
    particulars: Particulars,
}

/// A request with what must be known of it before hosts of one realm are asked.
#[derive(Debug)]
pub(super) struct Inquiry<'a> {
    request: &'a Request,
    circle: Circle<'a>,
    /// Why no host at all comes into question.
    quota: Option<Reason>,
}

impl<'a> Inquiry<'a> {
    /// Looks `request` up.
    pub(super) fn new(request: &'a Request, book: &Book, quota: Option<Reason>) -> Self {
        Self { request, circle: Circle::of(request, book), quota }
    }
}

impl Realm {
    /// A realm without hosts that keeps at most so many bytes of scores.
    pub(super) fn new(name: RealmName, scores_bytes_max: usize) -> Self {
        Self { name: Some(name), cache: ClassCache::new(scores_bytes_max), ..Self::default() }
    }

    /// Adds a host with the VMs it has, and says in which slot.
    pub(super) fn insert(&mut self, host: HostDescription, tenants: Tenants, book: &mut Book) -> usize {
        self.is_out_of_order |= self.columns.ids.last().is_some_and(|last| *last >= host.id.0);
        self.hosts.push(None);
        self.tenants.push(Tenants::default());
        let slot = self.columns.push_vacant();
        self.tenants[slot] = tenants;
        let function = self.acquire_function(&host);
        self.columns.set_function(slot, function);
        self.particulars.set(slot, None, Some(&host));
        self.hosts[slot] = Some(host);
        for holding in self.tenants[slot].holdings() {
            self.census.admit(holding, book);
        }
        self.count(slot, book);
        slot
    }

    /// Replaces what is known of a host.
    pub(super) fn replace(&mut self, slot: usize, host: HostDescription, book: &mut Book) {
        let old = self.columns.function(slot);
        let function = self.acquire_function(&host);
        self.columns.set_function(slot, function);
        self.release_function(old);
        self.particulars.set(slot, self.hosts[slot].as_ref(), Some(&host));
        self.hosts[slot] = Some(host);
        self.count(slot, book);
    }

    /// Takes a host out and returns its VMs.
    pub(super) fn remove(&mut self, slot: usize, book: &Book) -> Tenants {
        let tenants = std::mem::take(&mut self.tenants[slot]);
        for holding in tenants.holdings() {
            self.census.dismiss(holding, book);
        }
        self.release_function(self.columns.function(slot));
        self.particulars.set(slot, self.hosts[slot].as_ref(), None);
        self.hosts[slot] = None;
        self.columns.measured[slot] = None;
        let id = self.columns.ids[slot];
        self.columns.set(slot, Row { id, ..Row::default() });
        self.log.note(slot, self.columns.len());
        self.vacant += 1;
        tenants
    }

    /// Whether a request is for this realm.
    pub(super) fn is_of(&self, request: &Request) -> bool {
        self.name.as_ref() == Some(&request.realm)
    }

    /// The hosts' ids by slot.
    pub(super) fn ids(&self) -> impl Iterator<Item = HostId> {
        self.columns.ids.iter().map(|id| HostId(*id))
    }

    /// Puts the hosts in the order of their ids, without gaps, if they are not, and says whether slots changed: kept scores
    /// rely on the order, and gaps cost time. Hosts are numbered as they are added, so this happens after they were loaded
    /// and then seldom.
    pub(super) fn settle(&mut self) -> bool {
        let occupied = self.columns.len() - self.vacant;
        if !self.is_out_of_order && self.vacant <= occupied + VACANT_MAX {
            return false;
        }
        let mut order: Vec<usize> =
            (0..self.hosts.len()).filter(|slot| self.hosts[*slot].is_some()).collect();
        order.sort_unstable_by_key(|slot| self.columns.ids[*slot]);
        self.columns.reorder(&order);
        self.particulars.reorder(&order);
        self.hosts = order.iter().map(|slot| self.hosts[*slot].take()).collect();
        self.tenants = order.iter().map(|slot| std::mem::take(&mut self.tenants[*slot])).collect();
        self.vacant = 0;
        self.is_out_of_order = false;
        self.cache.distrust();
        true
    }

    fn acquire_function(&mut self, host: &HostDescription) -> usize {
        let Self { functions, device_table, .. } = self;
        let before = device_table.len();
        let number = functions.acquire(&host.cost_function, |class| {
            // A text that is no name of a class names no device.
            DeviceClass::new(class).map_or(usize::MAX, |class| device_table.number(&class))
        });
        for class in host.capacity.devices.keys() {
            device_table.number(class);
        }
        self.check_classes(before);
        number
    }

    fn release_function(&mut self, number: usize) {
        self.functions.release(number);
        self.check_classes(self.device_table.len());
    }

    /// Forgets request classes when what makes a class has changed: device classes or what cost functions ask about.
    fn check_classes(&mut self, device_classes_before: usize) {
        let uses = self.functions.shared_use();
        if uses != self.shared_use || device_classes_before != self.device_table.len() {
            self.shared_use = uses;
            self.cache.clear();
        }
        if let Some(catalogue) = &mut self.catalogue
            && device_classes_before != self.device_table.len()
        {
            catalogue.number(|selector, amount| self.device_table.entry(selector, amount));
        }
    }

    /// Replaces what is expected to be asked for, and has every host scored anew.
    pub(super) fn set_catalogue(&mut self, expected: &[(Request, u32)], book: &Book) {
        self.catalogue =
            Catalogue::new(expected, |selector, amount| self.device_table.entry(selector, amount));
        for slot in 0..self.columns.len() {
            self.note(slot, book);
        }
        self.cache.distrust();
    }

    /// Replaces what was measured on a host.
    pub(super) fn set_measured(&mut self, slot: usize, measured: Option<Measured>, book: &Book) {
        self.columns.measured[slot] = measured;
        let function = self.functions.get(self.columns.function(slot));
        if function.is_some_and(|function| function.is_measured) {
            self.note(slot, book);
        }
    }

    /// What was last measured on a host.
    pub(super) fn measured(&self, slot: usize) -> Option<Measured> {
        self.columns.measured.get(slot).copied().flatten()
    }

    /// When what its cost asks of a host was measured.
    fn measured_at(&self, slot: usize) -> Option<Timestamp> {
        let is_measured = self.functions.get(self.columns.function(slot))?.is_measured;
        self.measured(slot).filter(|_| is_measured).map(|measured| measured.at)
    }

    /// Counts a VM on a host. It gets the devices that it is known to have, and where it has none yet, those that the
    /// rule chooses.
    pub(super) fn admit(&mut self, slot: usize, vm: VmId, holding: Holding, book: &mut Book) {
        self.tenants[slot].insert(vm, holding);
        self.census.admit(holding, book);
        let Some(shape) = book.shapes.get(holding.shape) else { return };
        self.columns.take(slot, shape.cores, shape.ordinary_memory());
        let node_demand = shape.node_demand();
        if !shape.devices.is_empty() {
            self.know_classes(shape);
            let assignment = book.assignments.entry(vm).or_default();
            let table = &self.device_table;
            self.columns.change_devices(slot, |devices| {
                assignment.keep(shape, devices, table);
                assignment.fill(shape, devices, table);
            });
        }
        if let Some(demand) = node_demand {
            self.particulars.admit(slot, vm, &demand, book);
        }
        self.note(slot, book);
    }

    /// Counts a VM no longer. Which devices it had is still remembered.
    pub(super) fn dismiss(&mut self, slot: usize, vm: VmId, holding: Holding, book: &Book) {
        let shape = book.shapes.get(holding.shape);
        if let Some(shape) = shape {
            // Before the VMs are read, so that these numbers are fetched meanwhile: neither is in any cache.
            self.columns.give_back(slot, shape.cores, shape.ordinary_memory());
        }
        self.tenants[slot].remove(vm);
        self.census.dismiss(holding, book);
        let Some(shape) = shape else { return };
        if let Some(demand) = shape.node_demand() {
            self.particulars.dismiss(slot, vm, &demand, book);
        }
        if let Some(assignment) = book.assignments.get(&vm) {
            let table = &self.device_table;
            self.columns.change_devices(slot, |devices| assignment.give_back(shape, devices, table));
        }
        self.note(slot, book);
    }

    /// Numbers the classes that a VM names, so that it can be counted for them.
    fn know_classes(&mut self, shape: &Shape) {
        let before = self.device_table.len();
        for class in shape.devices.iter().flat_map(|(selector, _)| selector.alternatives()) {
            self.device_table.number(class);
        }
        if before != self.device_table.len() {
            self.check_classes(before);
        }
    }

    /// Makes a host's numbers anew from what it is and whom it has, and has it scored again.
    fn count(&mut self, slot: usize, book: &mut Book) {
        let devices = self.count_devices(slot, book);
        let Some(host) = self.hosts.get(slot).and_then(Option::as_ref) else { return };
        let mut row = Row {
            id: host.id.0,
            is_open: constraint::is_open(host),
            function: self.columns.function(slot),
            vms: self.tenants[slot].len() as u64,
            cores: Amount { total: cap(host.capacity.cores.0), used: cap(host.foreign.cores.0) },
            memory: Amount { total: cap(host.capacity.memory.0), used: cap(host.foreign.memory.0) },
            devices,
        };
        for shape in self.tenants[slot].holdings().filter_map(|holding| book.shapes.get(holding.shape)) {
            row.cores.used += shape.cores;
            row.memory.used += shape.ordinary_memory();
        }
        self.particulars.recount(slot, host, &self.tenants[slot], book);
        self.columns.set(slot, row);
        self.note(slot, book);
    }

    /// A host's devices as they are with its VMs: each keeps what it has, then those without get what is left.
    fn count_devices(&mut self, slot: usize, book: &mut Book) -> HostDevices {
        let Book { shapes, assignments, .. } = book;
        let tenants = std::mem::take(&mut self.tenants[slot]);
        let with_devices = || {
            let shapes = tenants.iter().filter_map(|(vm, holding)| Some((vm, shapes.get(holding.shape)?)));
            shapes.filter(|(_, shape)| !shape.devices.is_empty())
        };
        with_devices().for_each(|(_, shape)| self.know_classes(shape));
        let table = &self.device_table;
        let mut devices = self.hosts[slot].as_ref().map_or_else(HostDevices::default, |host| {
            let Capacity { devices, divisible_devices, .. } = &host.capacity;
            let numbered = devices.iter().filter_map(|(class, count)| {
                Some((table.find(class)?, *count, divisible_devices.contains(class)))
            });
            HostDevices::new(numbered)
        });
        for (vm, shape) in with_devices() {
            assignments.entry(vm).or_default().keep(shape, &mut devices, table);
        }
        for (vm, shape) in with_devices() {
            assignments.entry(vm).or_default().fill(shape, &mut devices, table);
        }
        self.tenants[slot] = tenants;
        devices
    }

    /// Has a host scored again before the next decision.
    fn note(&mut self, slot: usize, book: &Book) {
        let Self { columns, functions, tenants, workspaces, hosts, particulars, catalogue, .. } = self;
        let catalogue = catalogue.as_ref();
        let ground = Ground {
            columns,
            functions,
            tenants,
            book,
            asks_whose_it_is: false,
            hosts,
            particulars,
            catalogue,
        };
        let before = ground.cost_before(slot, workspaces);
        columns.set_before(slot, before);
        self.log.note(slot, self.columns.len());
    }

    /// What scores are made from.
    pub(super) fn ground<'a>(&'a self, book: &'a Book) -> Ground<'a> {
        Ground {
            columns: &self.columns,
            functions: &self.functions,
            tenants: &self.tenants,
            book,
            asks_whose_it_is: !self.shared_use.is_nothing(),
            hosts: &self.hosts,
            particulars: &self.particulars,
            catalogue: self.catalogue.as_ref(),
        }
    }

    fn residents<'a>(&'a self, book: &'a Book) -> Residents<'a> {
        Residents { census: &self.census, tenants: &self.tenants, book }
    }

    /// What is known of a host.
    pub(super) fn host(&self, slot: usize) -> Option<&HostDescription> {
        self.hosts.get(slot).and_then(Option::as_ref)
    }

    /// The hosts, by slot.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &HostDescription> {
        self.hosts.iter().flatten()
    }

    /// The VMs of a host.
    pub(super) fn tenants(&self, slot: usize) -> Option<&Tenants> {
        self.tenants.get(slot)
    }

    /// What is asked, by this realm's numbers.
    pub(super) fn asked(&self, request: &Request) -> Asked {
        Asked::of(request, &self.device_table)
    }

    /// The number of a device class, if it has one here.
    pub(super) fn class_number(&self, class: &str) -> Option<usize> {
        self.device_table.find(&DeviceClass::new(class).ok()?)
    }

    /// Whether the host can take the VM as far as cost has no say.
    pub(super) fn check(&self, slot: usize, inquiry: &Inquiry<'_>, book: &Book) -> Result<(), Reason> {
        let Inquiry { request, circle, .. } = inquiry;
        let id = HostId(self.columns.ids.get(slot).copied().unwrap_or_default());
        let host = self.host(slot).ok_or(Reason::UnknownHost { host: id })?;
        let asked = self.asked(request);
        let standing = Standing {
            host,
            cores: self.columns.cores(slot),
            memory: self.columns.memory(slot),
            devices: &self.columns.host_devices[slot],
            entries: &asked.devices,
            nodes: self.particulars.nodes(slot),
            company_here: &|companions| circle.here(companions, self.tenants.get(slot), book),
            company_in_realm: &|companions| circle.in_realm(companions, &self.residents(book)),
        };
        constraint::check(&standing, request)
    }

    /// Whether a VM of the host that is to take other amounts keeps the NUMA nodes that it has.
    pub(super) fn keeps_nodes(&self, slot: usize, vm: VmId, old: &Shape, new: &Shape, book: &Book) -> bool {
        self.particulars.keeps_nodes(slot, vm, old, new, book)
    }

    /// Whether the host can take the VM.
    pub(super) fn fits(
        &self,
        slot: usize,
        request: &Request,
        book: &Book,
        workspaces: &mut Workspaces<1>,
    ) -> Result<(), Reason> {
        let asked = self.asked(request);
        // The columns answer first, and have the last word only if it is yes; the reason is found from the description.
        if !self.is_of(request)
            || !asked.fits(&self.columns, slot)
            || demands::is_demanding(request, &self.particulars)
        {
            self.check(slot, &Inquiry::new(request, book, None), book)?;
        }
        let cost = self.ground(book).cost(request, &asked, slot, workspaces);
        if cost.is_none_or(|cost| cost.score().is_finite()) {
            return Ok(());
        }
        let explained = self.explain(slot, &Inquiry::new(request, book, None), book, workspaces);
        explained.and_then(|(_, reason)| reason).map_or(Ok(()), Err)
    }

    /// By how much the VM would make a host's cost rise, whether it fits or not.
    pub(super) fn rise(
        &self,
        slot: usize,
        request: &Request,
        book: &Book,
        workspaces: &mut Workspaces<1>,
    ) -> f64 {
        let cost = self.ground(book).cost(request, &self.asked(request), slot, workspaces);
        cost.map_or(0.0, |cost| cost.rise())
    }

    /// The host with the lowest score.
    pub(super) fn decide(&mut self, request: &Request, book: &Book) -> Option<HostId> {
        let asked = self.asked(request);
        if demands::wants_company(request) {
            self.census.watch(request, &self.tenants, book);
        }
        let Self {
            columns,
            functions,
            tenants,
            shared_use,
            log,
            cache,
            hosts,
            particulars,
            census,
            catalogue,
            ..
        } = self;
        let catalogue = catalogue.as_ref();
        let request = Residents { census, tenants, book }.binding(request);
        let key = ClassKey::of(&request, shared_use, particulars);
        let asks_whose_it_is = !shared_use.is_nothing();
        let ground =
            Ground { columns, functions, tenants, book, asks_whose_it_is, hosts, particulars, catalogue };
        let slot = cache.decide(key, &request, &asked, &ground, log)?;
        Some(HostId(columns.ids[slot]))
    }

    /// The score of every host by its slot, none kept; infeasible where the host cannot take the request.
    pub(super) fn scores(&self, request: &Request, book: &Book) -> Vec<f32> {
        let mut scores = vec![INFEASIBLE; self.columns.len()];
        if self.is_of(request) {
            let asked = self.asked(request);
            let ground = self.ground(book);
            let request = self.residents(book).binding(request);
            let demands =
                demands::is_demanding(&request, &self.particulars).then(|| ground.demands(&request));
            let mut workspaces = Workspaces::default();
            ground.scan(&request, &asked, demands.as_ref(), &mut workspaces, |slots, found| {
                slots.iter().zip(found).for_each(|(slot, score)| scores[*slot] = *score);
            });
        }
        scores
    }

    /// The scores that are kept for requests like this one, if they are right as they are: so they are after
    /// [`Realm::decide`], from the second request of a kind on. Slots are in the order of ids then.
    pub(super) fn kept_scores(&self, request: &Request, book: &Book) -> Option<KeptScores<'_>> {
        let is_settled = self.is_of(request) && !self.is_out_of_order;
        let request = self.residents(book).binding(request);
        let key = is_settled.then(|| ClassKey::of(&request, &self.shared_use, &self.particulars))?;
        self.cache.kept(&key, &self.log)
    }

    /// Whether a request asks for more than amounts.
    pub(super) fn is_demanding(&self, request: &Request) -> bool {
        demands::is_demanding(request, &self.particulars)
    }

    /// The numbers of the hosts.
    pub(super) fn columns(&self) -> &Columns {
        &self.columns
    }

    /// How many hosts there are.
    pub(super) fn host_count(&self) -> usize {
        self.columns.len() - self.vacant
    }

    /// Everything about one host that bears on the request, and why it cannot take it.
    pub(super) fn explain(
        &self,
        slot: usize,
        inquiry: &Inquiry<'_>,
        book: &Book,
        workspaces: &mut Workspaces<1>,
    ) -> Option<(HostExplanation, Option<Reason>)> {
        let Inquiry { request, .. } = inquiry;
        let host = self.host(slot)?;
        let asked = self.asked(request);
        let (cost, values) = self.ground(book).cost_by_term(request, &asked, slot, workspaces)?;
        let function = &host.cost_function;
        let terms = function.terms().zip(values.iter().copied());
        let veto = || cost.veto(&terms.clone().map(|((name, _), (before, after))| (name, before, after)));
        let quota = inquiry.quota.clone();
        let reason = quota.or_else(|| self.check(slot, inquiry, book).err()).or_else(veto);
        let explanation = HostExplanation {
            host: host.id,
            name: host.name.clone(),
            feasible: reason.is_none(),
            reason: reason.as_ref().map(Reason::to_string),
            cost_function: function.name().clone(),
            rule: function.rule(),
            terms: terms_of(function, &values),
            before: cost.before,
            after: cost.after,
            increase: cost.after - cost.before,
            measured_at: self.measured_at(slot),
        };
        Some((explanation, reason))
    }

    /// What of a host is promised.
    pub(super) fn usage(&self, slot: usize, book: &Book) -> Option<HostUsage> {
        let host = self.host(slot)?;
        let tenants = self.tenants.get(slot)?;
        let mut usage = HostUsage {
            capacity: host.capacity.clone(),
            used: Promised::default(),
            foreign: host.foreign,
            vms: tenants.len(),
        };
        for shape in tenants.holdings().filter_map(|holding| book.shapes.get(holding.shape)) {
            usage.used.cores = Millicores(usage.used.cores.0 + shape.cores);
            usage.used.memory = Mebibytes(usage.used.memory.0 + shape.ordinary_memory());
            if let Some((size, demand)) = shape.huge_pages.zip(shape.node_demand()) {
                *usage.used.huge_pages.entry(size).or_default() += demand.pages_in_all;
            }
        }
        let devices = self.columns.host_devices.get(slot)?.classes().iter();
        let used = devices.filter(|class| class.used > 0);
        usage.used.devices_permille = used
            .filter_map(|class| Some((self.device_table.name(class.number)?.clone(), class.used)))
            .collect();
        Some(usage)
    }
}

/// The terms of a function with their values before and after.
pub(super) fn terms_of(function: &CostFunction, values: &[(f64, f64)]) -> Vec<TermExplanation> {
    let terms = function.terms().zip(values);
    terms
        .map(|((name, expression), (before, after))| TermExplanation {
            name: name.to_owned(),
            expression: expression.to_owned(),
            before: *before,
            after: *after,
        })
        .collect()
}

fn cap(amount: u64) -> u64 {
    amount.min(AMOUNT_MAX)
}
