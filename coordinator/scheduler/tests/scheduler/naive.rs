//! The scheduler as one would write it first: lists, a full scan, a tree walked for every host. Slow, and easy to believe;
//! the real one must always choose the same host.

use std::collections::BTreeMap;

use reeve_common::ids::{HostId, RealmName, VmId};
use reeve_scheduler::{ChoiceRule, Contact, HostDescription, HostState, Measured, Quotas, Request};

use crate::expression::Expression;
use crate::naive_devices::{Held, Rack, entries};
use crate::naive_nodes::ordinary;
use crate::naive_stranded::{Expected, State};

/// A cost function as the naive one has it.
#[derive(Debug, Clone)]
pub(crate) struct Cost {
    pub(crate) terms: Vec<Expression>,
    pub(crate) rule: ChoiceRule,
}

impl Cost {
    /// Whether anything measured is in it.
    pub(crate) fn is_measured(&self) -> bool {
        self.terms.iter().any(|term| term.text().contains("measured."))
    }
}

/// A host and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) description: HostDescription,
    pub(crate) cost: Cost,
    pub(crate) measured: Option<Measured>,
}

/// The fleet as lists.
#[derive(Debug, Clone, Default)]
pub(crate) struct Naive {
    pub(crate) hosts: BTreeMap<HostId, Host>,
    pub(crate) vms: BTreeMap<VmId, (HostId, Request)>,
    /// The devices of those that want some and whose host was known once.
    pub(crate) held: BTreeMap<VmId, Vec<Held>>,
    pub(crate) quotas: BTreeMap<RealmName, Quotas>,
    pub(crate) nodes: BTreeMap<VmId, Vec<u32>>,
    pub(crate) expected: BTreeMap<RealmName, Expected>,
}

/// A host as an expression sees it.
pub(crate) struct Scene<'a> {
    fleet: &'a Naive,
    pub(crate) host: &'a Host,
    request: &'a Request,
    with_vm: bool,
}

impl Scene<'_> {
    /// The value of a name.
    pub(crate) fn attribute(&self, name: &str) -> f64 {
        if let Some(name) = name.strip_prefix("before.") {
            return Scene { with_vm: false, ..*self }.attribute(name);
        }
        let id = self.host.description.id;
        let there: Vec<&Request> = self.fleet.on(id).collect();
        let asked = u64::from(self.with_vm);
        let count = |shared: &dyn Fn(&Request) -> bool| {
            (there.iter().filter(|vm| shared(vm)).count() as u64 + asked) as f64
        };
        let capacity = &self.host.description.capacity;
        let sum = |of: &dyn Fn(&Request) -> u64| {
            there.iter().map(|vm| of(vm)).sum::<u64>() + asked * of(self.request)
        };
        let before = || self.fleet.rack(self.host);
        let rack = || if self.with_vm { before().with(self.request) } else { before() };
        let permille = |held: &Held| held.amount.permille();
        let measured = |of: &dyn Fn(&Measured) -> f64| self.host.measured.as_ref().map_or(f64::NAN, of);
        let (part, measure) = name.rsplit_once('.').unwrap_or(("", name));
        let amount = |total: u64, used: u64| match measure {
            "total" => total as f64,
            "used" => used as f64,
            "free" => total.saturating_sub(used) as f64,
            _ if used == 0 => 0.0,
            _ => used as f64 / total as f64,
        };
        let Request { owner, team, labels, .. } = self.request;
        let label = labels.get("app");
        let foreign = self.host.description.foreign;
        let cores = || (capacity.cores.0, sum(&|vm| vm.cores.0) + foreign.cores.0);
        let memory = || (capacity.memory.0, sum(&ordinary) + foreign.memory.0);
        match (part, measure) {
            ("cores", measure) => amount(cores().0, cores().1) / if measure == "load" { 1.0 } else { 1000.0 },
            ("memory", _) => amount(memory().0, memory().1),
            ("stranded", _) | (_, "stranded") => {
                let expected = self.fleet.expected.get(&self.host.description.realm);
                let state = State { cores: cores(), memory: memory(), rack: rack() };
                expected.map_or(0.0, |expected| expected.stranded(measure, &state))
            }
            ("devices", _) => rack().attribute(None, measure),
            ("devices.a100", _) => rack().attribute(Some("a100"), measure),
            (_, "vms") => count(&|_| true),
            ("vm", "cores") => self.request.cores.0 as f64 / 1000.0,
            ("vm", "memory") => ordinary(self.request) as f64,
            ("vm", "devices") => {
                before().serve(self.request).iter().map(permille).sum::<u64>() as f64 / 1000.0
            }
            ("vm.devices", _) => {
                before()
                    .serve(self.request)
                    .iter()
                    .filter(|held| held.class.as_deref() == Some("a100"))
                    .map(permille)
                    .sum::<u64>() as f64
                    / 1000.0
            }
            ("same", "owner") => count(&|vm| !owner.is_empty() && vm.owner == *owner),
            ("same", "team") => count(&|vm| !team.is_empty() && vm.team == *team),
            ("same.label", _) => count(&|vm| label.is_some() && vm.labels.get("app") == label),
            ("measured.cpu", _) => measured(&|known| known.cpu_load),
            ("measured.disk", _) => measured(&|known| known.disk_rate),
            other => panic!("{other:?} is no attribute"),
        }
    }
}

impl Scene<'_> {
    /// A text; none where it is missing.
    pub(crate) fn text(&self, written: &str) -> Option<String> {
        let parts: Vec<&str> = written.split('.').collect();
        let Request { owner, team, labels, .. } = self.request;
        let text = match parts.as_slice() {
            ["host", _, key] => self.host.description.labels.get(*key).cloned(),
            ["vm", _, key] => labels.get(*key).cloned(),
            ["vm", "owner"] => Some(owner.clone()),
            ["vm", "team"] => Some(team.clone()),
            _ => Some(written.trim_matches('\'').to_owned()),
        };
        text.filter(|text| !text.is_empty())
    }
}

impl Naive {
    fn on(&self, host: HostId) -> impl Iterator<Item = &Request> {
        self.vms.values().filter(move |(place, _)| *place == host).map(|(_, request)| request)
    }

    /// Cores, memory and devices of each class: what is used of what there is.
    pub(crate) fn amounts(&self, host: &Host) -> Vec<(u64, u64, String)> {
        let description = &host.description;
        let used = |of: &dyn Fn(&Request) -> u64| self.on(description.id).map(of).sum::<u64>();
        let mut amounts = vec![
            (
                used(&|vm| vm.cores.0) + description.foreign.cores.0,
                description.capacity.cores.0,
                "cores".into(),
            ),
            (used(&ordinary) + description.foreign.memory.0, description.capacity.memory.0, "memory".into()),
        ];
        for (class, shelf) in self.rack(host).shelves {
            amounts.push((shelf.used, shelf.total(), class));
        }
        amounts
    }

    /// The devices of a host as they are.
    pub(crate) fn rack(&self, host: &Host) -> Rack {
        let mut rack = Rack::new(&host.description.capacity);
        for vm in self.ids_on(host.description.id) {
            for held in self.held.get(&vm).into_iter().flatten() {
                assert!(rack.put(held), "{vm:?} holds what another has: {held:?}");
            }
        }
        rack
    }

    fn ids_on(&self, host: HostId) -> Vec<VmId> {
        self.vms.iter().filter(|(_, (place, _))| *place == host).map(|(vm, _)| *vm).collect()
    }

    /// Counts a VM, with the devices that it has kept.
    pub(crate) fn enter(&mut self, vm: VmId, host: HostId, request: &Request, kept: Option<Vec<Held>>) {
        self.vms.insert(vm, (host, request.clone()));
        self.held.remove(&vm);
        self.held.extend(kept.map(|kept| (vm, kept)));
        self.settle(host);
        self.settle_nodes(host);
    }

    /// Every VM keeps what it has, then those without get what is left.
    pub(crate) fn settle(&mut self, host: HostId) {
        let Some(described) = self.hosts.get(&host) else { return };
        let mut rack = Rack::new(&described.description.capacity);
        let mut all: Vec<(VmId, Vec<Held>)> = Vec::new();
        for vm in self.ids_on(host) {
            let nothing = |(selector, amount)| Held { selector, amount, class: None, instances: Vec::new() };
            let fresh = || entries(&self.vms[&vm].1).into_iter().map(nothing).collect();
            let mut held: Vec<Held> = self.held.get(&vm).cloned().unwrap_or_else(fresh);
            for held in held.iter_mut().filter(|held| !held.instances.is_empty()) {
                assert!(rack.put(held));
            }
            all.push((vm, held));
        }
        for (vm, mut held) in all {
            for held in held.iter_mut().filter(|held| held.instances.is_empty()) {
                *held = rack.get(&held.selector, held.amount, true);
                assert!(rack.put(held));
            }
            self.held.insert(vm, held);
        }
    }

    /// Whether the host can take the VM, as far as cost has no say.
    pub(crate) fn has_room(&self, host: &Host, request: &Request) -> bool {
        let description = &host.description;
        let open = description.state == HostState::Enabled
            && description.contact == Contact::Connected
            && !description.draining
            && description.storage_problem.is_none();
        let asked = |name: &str| match name {
            "cores" => request.cores.0,
            "memory" => ordinary(request),
            _ => 0,
        };
        description.realm == request.realm
            && open
            && self.meets(host, request)
            && self.has_nodes(host, request)
            && self.rack(host).can_serve(request)
            && self.amounts(host).iter().all(|(used, total, name)| {
                let asked = asked(name);
                asked == 0 || used + asked <= *total
            })
    }

    /// The cost before and after.
    pub(crate) fn cost(&self, host: &Host, request: &Request) -> (f64, f64) {
        let total = |with_vm: bool, terms: &mut dyn Iterator<Item = &Expression>| {
            let scene = Scene { fleet: self, host, request, with_vm };
            terms.map(|term| term.value(&scene)).reduce(|a, b| a + b).unwrap_or(0.0)
        };
        let before = total(false, &mut host.cost.terms.iter().filter(|term| !term.is_charge()));
        (before, total(true, &mut host.cost.terms.iter()))
    }

    /// The score, if the host is feasible: to as many digits as count.
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn score(&self, host: &Host, request: &Request) -> Option<f32> {
        let (before, after) = self.cost(host, request);
        let score = match host.cost.rule {
            ChoiceRule::Increase => after - before,
            ChoiceRule::Total => after,
        };
        let is_feasible = self.is_allowed(request) && self.has_room(host, request) && score.is_finite();
        let limit = f64::from(f32::MAX);
        is_feasible.then_some(score.max(-limit).min(limit) as f32)
    }

    /// The choice.
    pub(crate) fn decide(&self, request: &Request) -> Option<HostId> {
        let mut best: Option<(f32, HostId)> = None;
        for (id, host) in &self.hosts {
            let Some(score) = self.score(host, request) else { continue };
            if best.is_none_or(|(lowest, _)| score < lowest) {
                best = Some((score, *id));
            }
        }
        best.map(|(_, id)| id)
    }
}
