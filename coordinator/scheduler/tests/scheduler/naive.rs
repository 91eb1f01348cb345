//! The scheduler as one would write it first: lists, a full scan, a tree walked for every host. Slow, and easy to believe;
//! the real one must always choose the same host.

use std::collections::BTreeMap;

use proptest::prelude::*;
use reeve_common::ids::{HostId, VmId};
use reeve_scheduler::{ChoiceRule, HostDescription, HostState, Measured, Request};

use crate::naive_devices::{Held, Rack, entries};

/// An expression, as the tests make it up.
#[derive(Debug, Clone)]
pub(crate) enum Expression {
    Number(f64),
    Attribute(&'static str),
    Negate(Box<Self>),
    Arithmetic(char, Box<Self>, Box<Self>),
    Choice(Box<Condition>, Box<Self>, Box<Self>),
    Curve(&'static str, Box<Self>, Vec<f64>),
}

/// A condition in one.
#[derive(Debug, Clone)]
pub(crate) enum Condition {
    Compare(&'static str, Expression, Expression),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Known,
}

/// The attributes used, and whether placement changes them.
const ATTRIBUTES: [(&str, bool); 30] = [
    ("cores.total", false),
    ("cores.used", true),
    ("cores.free", true),
    ("cores.load", true),
    ("before.cores.load", false),
    ("memory.total", false),
    ("memory.used", true),
    ("memory.free", true),
    ("memory.load", true),
    ("before.memory.free", false),
    ("devices.total", false),
    ("devices.used", true),
    ("devices.free", true),
    ("devices.load", true),
    ("devices.whole", true),
    ("devices.a100.free", true),
    ("devices.a100.whole", true),
    ("before.devices.a100.whole", false),
    ("before.devices.a100.used", false),
    ("vms", true),
    ("before.vms", false),
    ("vm.cores", false),
    ("vm.memory", false),
    ("vm.devices", false),
    ("vm.devices.a100", false),
    ("same.owner", true),
    ("before.same.team", false),
    ("same.label.app", true),
    ("measured.cpu.load", false),
    ("measured.disk.rate", false),
];

/// Any expression of a few levels.
pub(crate) fn expression() -> impl Strategy<Value = Expression> {
    let number = (-8_i32..40).prop_map(|value| Expression::Number(f64::from(value) * 0.25));
    let attribute = (0..ATTRIBUTES.len()).prop_map(|index| Expression::Attribute(ATTRIBUTES[index].0));
    let leaf = prop_oneof![1 => number, 3 => attribute];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let both = (inner.clone(), inner.clone());
        let condition = condition(inner.clone());
        prop_oneof![
            4 => (proptest::sample::select(vec!['+', '-', '*', '/']), both.clone())
                .prop_map(|(sign, (a, b))| Expression::Arithmetic(sign, Box::new(a), Box::new(b))),
            1 => inner.clone().prop_map(|a| Expression::Negate(Box::new(a))),
            2 => (condition, both)
                .prop_map(|(question, (a, b))| Expression::Choice(Box::new(question), Box::new(a), Box::new(b))),
            3 => (proptest::sample::select(CURVES.to_vec()), inner)
                .prop_map(|((name, parameters), x)| Expression::Curve(name, Box::new(x), parameters.to_vec())),
        ]
    })
}

const CURVES: [(&str, &[f64]); 11] = [
    ("constant", &[]),
    ("linear", &[2.0, 1.0]),
    ("ramp", &[0.25, 4.0]),
    ("power", &[2.0]),
    ("power", &[0.5]),
    ("exponential", &[3.0]),
    ("logarithmic", &[9.0]),
    ("sigmoid", &[0.5, 8.0]),
    ("step", &[1.0]),
    ("barrier", &[4.0]),
    ("table", &[0.0, 1.0, 0.5, 3.0, 2.0, -1.0]),
];

fn condition(inner: impl Strategy<Value = Expression> + Clone + 'static) -> impl Strategy<Value = Condition> {
    let signs = proptest::sample::select(vec!["<", "<=", ">", ">=", "==", "!="]);
    let compare = (signs, inner.clone(), inner).prop_map(|(sign, a, b)| Condition::Compare(sign, a, b));
    let leaf = prop_oneof![8 => compare, 1 => Just(Condition::Known)];
    leaf.prop_recursive(2, 4, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| Condition::Not(Box::new(a))),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Condition::And(Box::new(a), Box::new(b))),
            (inner.clone(), inner).prop_map(|(a, b)| Condition::Or(Box::new(a), Box::new(b))),
        ]
    })
}

impl Expression {
    /// How it is written.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Number(value) => format!("({value})"),
            Self::Attribute(name) => (*name).to_owned(),
            Self::Negate(a) => format!("(-{})", a.text()),
            Self::Arithmetic(sign, a, b) => format!("({} {sign} {})", a.text(), b.text()),
            Self::Choice(question, a, b) => format!("({} ? {} : {})", question.text(), a.text(), b.text()),
            Self::Curve(name, x, parameters) => {
                let parameters: String = parameters.iter().map(|value| format!(", {value}")).collect();
                format!("{name}({}{parameters})", x.text())
            }
        }
    }

    fn names(&self) -> Vec<&'static str> {
        match self {
            Self::Number(_) => Vec::new(),
            Self::Attribute(name) => vec![name],
            Self::Negate(a) | Self::Curve(_, a, _) => a.names(),
            Self::Arithmetic(_, a, b) => [a.names(), b.names()].concat(),
            Self::Choice(question, a, b) => [question.names(), a.names(), b.names()].concat(),
        }
    }

    /// Whether placement changes nothing in it.
    fn is_charge(&self) -> bool {
        self.names().iter().all(|name| ATTRIBUTES.iter().any(|(known, changes)| known == name && !changes))
    }

    fn value(&self, scene: &Scene<'_>) -> f64 {
        match self {
            Self::Number(value) => *value,
            Self::Attribute(name) => scene.attribute(name),
            Self::Negate(a) => -a.value(scene),
            Self::Arithmetic(sign, a, b) => {
                let (a, b) = (a.value(scene), b.value(scene));
                match sign {
                    '+' => a + b,
                    '-' => a - b,
                    '*' => a * b,
                    _ => a / b,
                }
            }
            Self::Choice(question, a, b) => match question.value(scene) {
                None => f64::NAN,
                Some(true) => a.value(scene),
                Some(false) => b.value(scene),
            },
            Self::Curve(name, x, parameters) => curve(name, x.value(scene), parameters),
        }
    }
}

fn curve(name: &str, x: f64, parameters: &[f64]) -> f64 {
    if x.is_nan() {
        return x;
    }
    let parameter = |number: usize| parameters.get(number).copied().unwrap_or(f64::NAN);
    let (a, b) = (parameter(0), parameter(1));
    match name {
        "constant" => x,
        "linear" => a * x + b,
        "ramp" if x <= a => 0.0,
        "ramp" if x >= b => 1.0,
        "ramp" => (x - a) / (b - a),
        "power" if a == 2.0 => x * x,
        "power" => x.powf(a),
        "exponential" => ((a * x).exp() - 1.0) / (a.exp() - 1.0),
        "logarithmic" if x <= 0.0 => 0.0,
        "logarithmic" => (a * x).ln_1p() / a.ln_1p(),
        "sigmoid" => 1.0 / (1.0 + (-b * (x - a)).exp()),
        "step" => f64::from(u8::from(x >= a)),
        "barrier" if x >= a => f64::INFINITY,
        "barrier" => x / (a - x),
        "table" => {
            let points: Vec<(f64, f64)> = parameters.chunks(2).map(|pair| (pair[0], pair[1])).collect();
            let Some(right) = points.iter().position(|(place, _)| *place >= x) else {
                return points.last().unwrap().1;
            };
            if right == 0 {
                return points[0].1;
            }
            let ((x1, y1), (x2, y2)) = (points[right - 1], points[right]);
            y1 + (y2 - y1) * ((x - x1) / (x2 - x1))
        }
        other => panic!("{other} is no curve"),
    }
}

impl Condition {
    fn text(&self) -> String {
        match self {
            Self::Compare(sign, a, b) => format!("({} {sign} {})", a.text(), b.text()),
            Self::Not(a) => format!("(not {})", a.text()),
            Self::And(a, b) => format!("({} and {})", a.text(), b.text()),
            Self::Or(a, b) => format!("({} or {})", a.text(), b.text()),
            Self::Known => "measured.known".to_owned(),
        }
    }

    fn names(&self) -> Vec<&'static str> {
        match self {
            Self::Compare(_, a, b) => [a.names(), b.names()].concat(),
            Self::Not(a) => a.names(),
            Self::And(a, b) | Self::Or(a, b) => [a.names(), b.names()].concat(),
            Self::Known => Vec::new(),
        }
    }

    /// None where it cannot be known.
    fn value(&self, scene: &Scene<'_>) -> Option<bool> {
        match self {
            Self::Compare(sign, a, b) => {
                let order = a.value(scene).partial_cmp(&b.value(scene))?;
                Some(match *sign {
                    "<" => order.is_lt(),
                    "<=" => order.is_le(),
                    ">" => order.is_gt(),
                    ">=" => order.is_ge(),
                    "==" => order.is_eq(),
                    _ => order.is_ne(),
                })
            }
            Self::Not(a) => a.value(scene).map(|truth| !truth),
            Self::And(a, b) => match (a.value(scene), b.value(scene)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (a, b) => Some(a? && b?),
            },
            Self::Or(a, b) => match (a.value(scene), b.value(scene)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (a, b) => Some(a? || b?),
            },
            Self::Known => Some(scene.host.measured.is_some()),
        }
    }
}

/// A cost function as the naive one has it.
#[derive(Debug, Clone)]
pub(crate) struct Cost {
    pub(crate) terms: Vec<Expression>,
    pub(crate) rule: ChoiceRule,
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
}

struct Scene<'a> {
    fleet: &'a Naive,
    host: &'a Host,
    request: &'a Request,
    with_vm: bool,
}

impl Scene<'_> {
    fn attribute(&self, name: &str) -> f64 {
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
        match (part, measure) {
            ("cores", measure) => {
                let used = sum(&|vm| vm.cores.0) + self.host.description.foreign.cores.0;
                amount(capacity.cores.0, used) / if measure == "load" { 1.0 } else { 1000.0 }
            }
            ("memory", _) => {
                amount(capacity.memory.0, sum(&|vm| vm.memory.0) + self.host.description.foreign.memory.0)
            }
            ("devices", _) => rack().attribute(None, measure),
            ("devices.a100", _) => rack().attribute(Some("a100"), measure),
            (_, "vms") => count(&|_| true),
            ("vm", "cores") => self.request.cores.0 as f64 / 1000.0,
            ("vm", "memory") => self.request.memory.0 as f64,
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
            && description.connected
            && !description.draining
            && description.storage_problem.is_none();
        let asked = |name: &str| match name {
            "cores" => request.cores.0,
            "memory" => request.memory.0,
            _ => 0,
        };
        description.realm == request.realm
            && open
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

    /// The score, if the host is feasible.
    pub(crate) fn score(&self, host: &Host, request: &Request) -> Option<f64> {
        let (before, after) = self.cost(host, request);
        let score = match host.cost.rule {
            ChoiceRule::Increase => after - before,
            ChoiceRule::Total => after,
        };
        (self.has_room(host, request) && score.is_finite()).then_some(score)
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
