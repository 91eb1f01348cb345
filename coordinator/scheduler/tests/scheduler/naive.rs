//! The scheduler as one would write it first: lists, a full scan, a tree walked for every host. Slow, and easy to believe;
//! the real one must always choose the same host.

use std::collections::BTreeMap;

use reeve_common::ids::{HostId, RealmName, VmId};
use reeve_scheduler::{ChoiceRule, HostDescription, HostState, Measured, Quotas, Request};

use crate::expression::Expression;

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
    pub(crate) quotas: BTreeMap<RealmName, Quotas>,
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
        let all =
            |request: &Request| request.devices.values().map(|amount| amount.permille() / 1000).sum::<u64>();
        let a100 = |request: &Request| {
            let of_class = request.devices.iter().filter(|(selector, _)| selector.to_string() == "a100");
            of_class.map(|(_, amount)| amount.permille() / 1000).sum::<u64>()
        };
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
        match (part, measure) {
            ("cores", measure) => {
                let used = sum(&|vm| vm.cores.0) + self.host.description.foreign.cores.0;
                amount(capacity.cores.0, used) / if measure == "load" { 1.0 } else { 1000.0 }
            }
            ("memory", _) => {
                amount(capacity.memory.0, sum(&|vm| vm.memory.0) + self.host.description.foreign.memory.0)
            }
            ("devices", _) => {
                amount(capacity.devices.values().map(|count| u64::from(*count)).sum(), sum(&all))
            }
            ("devices.a100", _) => {
                let total = capacity.devices.iter().find(|(class, _)| class.as_str() == "a100");
                amount(total.map_or(0, |(_, count)| u64::from(*count)), sum(&a100))
            }
            (_, "vms") => count(&|_| true),
            ("vm", "cores") => self.request.cores.0 as f64 / 1000.0,
            ("vm", "memory") => self.request.memory.0 as f64,
            ("vm", "devices") => all(self.request) as f64,
            ("vm.devices", _) => a100(self.request) as f64,
            ("same", "owner") => count(&|vm| !owner.is_empty() && vm.owner == *owner),
            ("same", "team") => count(&|vm| !team.is_empty() && vm.team == *team),
            ("same.label", _) => count(&|vm| label.is_some() && vm.labels.get("app") == label),
            ("measured.cpu", _) => measured(&|known| known.cpu_load),
            ("measured.disk", _) => measured(&|known| known.disk_rate),
            other => panic!("{other:?} is no attribute"),
        }
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
            (
                used(&|vm| vm.memory.0) + description.foreign.memory.0,
                description.capacity.memory.0,
                "memory".into(),
            ),
        ];
        for class in ["a100", "h100"] {
            let total = description.capacity.devices.iter().find(|(known, _)| known.as_str() == class);
            let total = total.map_or(0, |(_, count)| u64::from(*count));
            amounts.push((used(&|vm| asked_of(vm, class)), total, class.into()));
        }
        amounts
    }

    /// Whether the host can take the VM, as far as cost has no say.
    pub(crate) fn has_room(&self, host: &Host, request: &Request) -> bool {
        let description = &host.description;
        let open = description.state == HostState::Enabled
            && description.connected
            && !description.draining
            && description.storage_problem.is_none();
        let asked = |name: &str| match name {
            "cores" => request.cores.0,
            "memory" => request.memory.0,
            class => asked_of(request, class),
        };
        description.realm == request.realm
            && open
            && self.meets(host, request)
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

    /// The score, if the host is feasible.
    pub(crate) fn score(&self, host: &Host, request: &Request) -> Option<f64> {
        let (before, after) = self.cost(host, request);
        let score = match host.cost.rule {
            ChoiceRule::Increase => after - before,
            ChoiceRule::Total => after,
        };
        (self.is_allowed(request) && self.has_room(host, request) && score.is_finite()).then_some(score)
    }

    /// The choice.
    pub(crate) fn decide(&self, request: &Request) -> Option<HostId> {
        let mut best: Option<(f64, HostId)> = None;
        for (id, host) in &self.hosts {
            let Some(score) = self.score(host, request) else { continue };
            if best.is_none_or(|(lowest, _)| score < lowest) {
                best = Some((score, *id));
            }
        }
        best.map(|(_, id)| id)
    }
}

/// How many whole devices of one class are asked for.
fn asked_of(request: &Request, class: &str) -> u64 {
    let of_class = request.devices.iter().filter(|(selector, _)| selector.to_string() == class);
    of_class.map(|(_, amount)| amount.permille() / 1000).sum()
}
