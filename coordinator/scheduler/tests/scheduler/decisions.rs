//! Decisions: always those of the naive full scan, whatever happened before; never more promised than there is.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use reeve_common::clock::Timestamp;
use reeve_common::device::{DeviceAmount, DeviceSelector, Share};
use reeve_common::hardware_profile::{Capacity, HugePageSize};
use reeve_common::ids::{CostFunctionName, DeviceClass, HostId, HostName, RealmName, VmId};
use reeve_common::units::{Mebibytes, Millicores};
use reeve_scheduler::{
    AssignedDevice, Assignment, ChoiceRule, Contact, CostFunction, Fleet, ForeignUse, HostDescription,
    HostState, Measured, Quotas, Request,
};

use crate::demands::{Equipment, demands, equipment};
use crate::expression::expression;
use crate::fixture::vm;
use crate::naive::{Cost, Host, Naive};
use crate::naive_devices::{Held, entries};
use crate::naive_nodes::{Board, board, ordinary, parts};
use crate::naive_stranded::Expected;
use crate::quotas::quotas;

/// Something that happens to a fleet.
#[derive(Debug, Clone)]
enum Event {
    Upsert { host: u32, seed: HostSeed },
    Remove { host: u32 },
    Measure { host: u32, cpu: Option<u8>, at: u64 },
    Forget { before: u64 },
    Limit { realm: bool, quotas: Quotas },
    Reserve { vm: u128, host: u32, shape: usize },
    Place { vm: u128, shape: usize },
    Restore { vm: u128, host: u32, shape: usize },
    Release { vm: u128 },
    Expect { realm: bool, shapes: Vec<(usize, u32)> },
}

/// What a host is made of.
#[derive(Debug, Clone)]
pub(crate) struct HostSeed {
    realm: bool,
    out: u8,
    cores: u8,
    memory: u8,
    a100: u8,
    h100: u8,
    divisible: u8,
    foreign: u8,
    equipment: Equipment,
    board: Board,
    cost: usize,
}

const VMS: u128 = 60;

pub(crate) fn seed() -> impl Strategy<Value = HostSeed> {
    let numbers = (0_u8..20, 0_u8..40, 0_u8..5, 0_u8..3, 0_u8..4, 0_u8..12);
    (any::<bool>(), 0_u8..30, numbers, (equipment(), board()), 0_usize..3).prop_map(
        |(realm, out, (cores, memory, a100, h100, divisible, foreign), (equipment, board), cost)| HostSeed {
            realm,
            out,
            cores,
            memory,
            a100,
            h100,
            divisible,
            foreign,
            equipment,
            board,
            cost,
        },
    )
}

/// A catalogue of some of the shapes; some of them are not expected at all.
fn expect(shapes: usize) -> impl Strategy<Value = Event> {
    let expected = proptest::collection::vec((0..shapes, 0_u32..4), 0..6);
    (proptest::bool::weighted(0.1), expected).prop_map(|(realm, shapes)| Event::Expect { realm, shapes })
}

fn event(hosts: u32, shapes: usize) -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (0..hosts, seed()).prop_map(|(host, seed)| Event::Upsert { host, seed }),
        1 => (0..hosts).prop_map(|host| Event::Remove { host }),
        2 => (0..hosts, proptest::option::of(0_u8..8), 0_u64..6)
            .prop_map(|(host, cpu, at)| Event::Measure { host, cpu, at }),
        1 => (0_u64..7).prop_map(|before| Event::Forget { before }),
        1 => (proptest::bool::weighted(0.1), quotas()).prop_map(|(realm, quotas)| Event::Limit { realm, quotas }),
        2 => (0..VMS, 0..hosts, 0..shapes).prop_map(|(vm, host, shape)| Event::Reserve { vm, host, shape }),
        6 => (0..VMS, 0..shapes).prop_map(|(vm, shape)| Event::Place { vm, shape }),
        1 => (0..VMS, 0..hosts, 0..shapes).prop_map(|(vm, host, shape)| Event::Restore { vm, host, shape }),
        3 => (0..VMS).prop_map(|vm| Event::Release { vm }),
        1 => expect(shapes),
    ]
}

/// More shapes than a group of classes has lanes, so that several groups are at work.
pub(crate) fn shape() -> impl Strategy<Value = Request> {
    let realm = proptest::bool::weighted(0.1);
    let amounts = (0_u64..6, 0_u64..10, wanted());
    (realm, amounts, (0_u8..3, 0_u8..3, 0_u8..3), demands(), parts()).prop_map(
        |(realm, (cores, memory, devices), (owner, team, label), demands, (numa_nodes, huge_pages))| {
            Request {
                realm: realm_name(realm),
                cores: Millicores(cores * 500),
                memory: Mebibytes(memory * 256),
                devices,
                owner: word("owner", owner),
                team: word("team", team),
                labels: if label == 0 {
                    BTreeMap::new()
                } else {
                    [("app".to_owned(), word("app", label))].into()
                },
                numa_nodes,
                huge_pages,
                ..demands
            }
        },
    )
}

/// No devices, some, or some of several kinds.
fn wanted() -> impl Strategy<Value = BTreeMap<DeviceSelector, DeviceAmount>> {
    let selector = proptest::sample::select(vec!["a100", "h100", "a100|h100", "h100|t4", "*"]);
    let amount = prop_oneof![
        (0_u32..4).prop_map(DeviceAmount::Whole),
        proptest::sample::select(vec![1, 200, 300, 500, 999])
            .prop_map(|permille| DeviceAmount::Share(Share::new(permille).unwrap())),
    ];
    let entry = (selector.prop_map(|text| text.parse().unwrap()), amount);
    prop_oneof![
        2 => Just(BTreeMap::new()),
        3 => proptest::collection::btree_map(entry.0.clone(), entry.1.clone(), 1),
        1 => proptest::collection::btree_map(entry.0, entry.1, 2..4),
    ]
}

fn word(kind: &str, number: u8) -> String {
    if number == 0 { String::new() } else { format!("{kind}-{number}") }
}

fn realm_name(second: bool) -> RealmName {
    RealmName::new(if second { "b" } else { "a" }).unwrap()
}

/// So many devices, as a host has them.
pub(crate) fn device_map(a100: u32, h100: u32) -> BTreeMap<DeviceClass, u32> {
    let class = |name: &str| DeviceClass::new(name).unwrap();
    [(class("a100"), a100), (class("h100"), h100)].into_iter().filter(|(_, count)| *count > 0).collect()
}

/// The same as they are asked for.
pub(crate) fn asked_devices(a100: u32, h100: u32) -> BTreeMap<DeviceSelector, DeviceAmount> {
    let asked = device_map(a100, h100).into_iter();
    asked.map(|(class, count)| (class.into(), DeviceAmount::Whole(count))).collect()
}

/// A cost function in both forms; none when some term has no finite value at all.
pub(crate) fn both(cost: &Cost) -> Option<Arc<CostFunction>> {
    let terms: Vec<_> =
        cost.terms.iter().enumerate().map(|(number, term)| (format!("t{number}"), term.text())).collect();
    match CostFunction::compile(&CostFunctionName::new("random").unwrap(), &terms, cost.rule) {
        Ok(function) => Some(Arc::new(function)),
        Err(errors) => {
            assert!(errors[0].message.contains("never a finite number"), "{}", errors[0].render());
            None
        }
    }
}

pub(crate) fn cost() -> impl Strategy<Value = Cost> {
    let rule = prop_oneof![2 => Just(ChoiceRule::Increase), 1 => Just(ChoiceRule::Total)];
    (proptest::collection::vec(expression(), 0..4), rule).prop_map(|(terms, rule)| Cost { terms, rule })
}

pub(crate) fn describe(id: u32, seed: &HostSeed, function: &Arc<CostFunction>) -> HostDescription {
    let mut host = HostDescription {
        id: HostId(id),
        name: HostName::new(format!("h{id}")).unwrap(),
        realm: realm_name(seed.realm && seed.out.is_multiple_of(2)),
        state: match seed.out {
            0 => HostState::Disabled,
            1 => HostState::NoScheduler,
            _ => HostState::Enabled,
        },
        contact: if seed.out == 2 { Contact::Lost } else { Contact::Connected },
        draining: seed.out == 3,
        capacity: Capacity {
            cores: Millicores(u64::from(seed.cores) * 1000),
            memory: Mebibytes(u64::from(seed.memory) * 256),
            devices: device_map(u32::from(seed.a100), u32::from(seed.h100)),
            divisible_devices: ["a100", "h100"]
                .into_iter()
                .enumerate()
                .filter(|(bit, _)| seed.divisible >> bit & 1 == 0)
                .map(|(_, name)| DeviceClass::new(name).unwrap())
                .collect(),
            ..Capacity::default()
        },
        foreign: ForeignUse {
            cores: Millicores(u64::from(seed.foreign / 4) * 500),
            memory: Mebibytes(u64::from(seed.foreign / 3) * 128),
        },
        storage_problem: (seed.out == 4).then(|| "no pool".to_owned()),
        pool_problems: BTreeMap::new(),
        cpu: None,
        labels: BTreeMap::new(),
        cost_function: Arc::clone(function),
    };
    seed.equipment.give(&mut host);
    seed.board.give(&mut host);
    host
}

/// Whether two requests are the same, but for what they demand of the host.
fn takes_alike(left: &Request, right: &Request) -> bool {
    let what = |request: &Request| {
        let Request { realm, cores, memory, owner, team, labels, huge_pages, .. } = request.clone();
        let nodes = request.numa_nodes.unwrap_or(0);
        (realm, cores, memory, entries(request), owner, team, labels, huge_pages, nodes)
    };
    what(left) == what(right)
}

/// The real fleet and the naive one, side by side.
struct Pair {
    fleet: Fleet,
    naive: Naive,
    costs: Vec<(Cost, Arc<CostFunction>)>,
    shapes: Vec<Request>,
}

impl Pair {
    fn apply(&mut self, event: &Event) {
        match event {
            Event::Upsert { host, seed } => {
                let (cost, function) = &self.costs[seed.cost % self.costs.len()];
                let description = describe(*host, seed, function);
                let id = HostId(*host);
                let measured = self.naive.hosts.get(&id).and_then(|host| host.measured);
                self.fleet.upsert_host(description.clone());
                self.naive.hosts.insert(id, Host { description, cost: cost.clone(), measured });
                self.naive.settle(id);
                self.naive.settle_nodes(id);
            }
            Event::Remove { host } => {
                self.fleet.remove_host(HostId(*host));
                self.naive.hosts.remove(&HostId(*host));
            }
            Event::Measure { host, cpu, at } => {
                let measured = cpu.map(|cpu| Measured {
                    at: Timestamp(*at),
                    cpu_load: f64::from(cpu) / 8.0,
                    disk_rate: f64::from(cpu) * 10.0,
                    ..Measured::default()
                });
                self.fleet.set_measured(HostId(*host), measured);
                if let Some(host) = self.naive.hosts.get_mut(&HostId(*host)) {
                    host.measured = measured;
                }
            }
            Event::Forget { before } => {
                let is_old =
                    |host: &&mut Host| host.measured.is_some_and(|measured| measured.at < Timestamp(*before));
                let forgotten = self.naive.hosts.values_mut().filter(is_old).map(|host| host.measured = None);
                assert_eq!(self.fleet.forget_measured_before(Timestamp(*before)), forgotten.count());
            }
            Event::Limit { realm, quotas } => {
                self.fleet.set_quotas(&realm_name(*realm), quotas.clone());
                self.naive.quotas.insert(realm_name(*realm), quotas.clone());
            }
            Event::Expect { realm, shapes } => {
                let expected: Vec<_> =
                    shapes.iter().map(|(shape, weight)| (self.shapes[*shape].clone(), *weight)).collect();
                self.fleet.set_catalogue(&realm_name(*realm), &expected);
                self.naive.expected.insert(realm_name(*realm), Expected::new(expected));
            }
            Event::Reserve { vm: number, host, shape } => self.reserve(vm(*number), HostId(*host), *shape),
            Event::Place { vm: number, shape } => {
                let place = self.fleet.decide(&self.shapes[*shape]);
                assert_eq!(place, self.naive.decide(&self.shapes[*shape]));
                if let Some(host) = place {
                    self.reserve(vm(*number), host, *shape);
                }
            }
            Event::Restore { vm: number, host, shape } => {
                self.fleet.restore(vm(*number), HostId(*host), &self.shapes[*shape]);
                self.naive.vms.remove(&vm(*number));
                self.naive.nodes.remove(&vm(*number));
                self.naive.enter(vm(*number), HostId(*host), &self.shapes[*shape], None);
            }
            Event::Release { vm: number } => {
                let released = self.fleet.release(vm(*number));
                assert_eq!(released, self.naive.vms.remove(&vm(*number)).map(|(host, _)| host));
                self.naive.held.remove(&vm(*number));
                self.naive.nodes.remove(&vm(*number));
            }
        }
    }

    /// Reserves in both, and checks that a promise made is a promise that can be kept.
    fn reserve(&mut self, vm: VmId, host: HostId, shape: usize) {
        let request = self.shapes[shape].clone();
        let result = self.fleet.reserve(vm, host, &request);
        let mut naive = self.naive.clone();
        let is_elsewhere = naive.vms.get(&vm).is_some_and(|(held, _)| *held != host);
        let is_same =
            naive.vms.get(&vm).is_some_and(|(held, known)| *held == host && takes_alike(known, &request));
        let before = naive.vms.remove(&vm);
        // Who asks for the same devices as before, and has them, keeps them.
        let kept = before
            .clone()
            .filter(|(_, known)| entries(known) == entries(&request))
            .and(naive.held.remove(&vm));
        let kept = kept.filter(|kept| kept.iter().all(|held| !held.instances.is_empty()));
        let fits = naive.hosts.get(&host).is_some_and(|there| naive.score(there, &request).is_some());
        let expected = is_same || (!is_elsewhere && fits);
        assert_eq!(result.is_ok(), expected, "{result:?}");
        if expected && !is_same {
            let has_kept = kept.is_some();
            if let Some((_, old)) = &before {
                naive.leave_nodes(vm, host, old, &request);
            }
            naive.enter(vm, host, &request, kept);
            let held = naive.held.get(&vm).cloned().unwrap_or_default();
            let is_asked = |name: &str| match name {
                "cores" => request.cores.0 > 0,
                "memory" => ordinary(&request) > 0,
                class => !has_kept && held.iter().any(|held| held.class.as_deref() == Some(class)),
            };
            for (used, total, name) in naive.amounts(&naive.hosts[&host]) {
                assert!(!is_asked(&name) || used <= total, "{name} of {host}: {used} of {total}");
            }
            naive.assert_within_quotas(&request);
            naive.assert_nodes_hold(vm, &naive.hosts[&host]);
            self.naive = naive;
        }
    }

    /// Compares everything that can be asked.
    fn compare(&mut self) {
        for request in &self.shapes {
            let expected = self.naive.decide(request);
            let explanation = self.fleet.explain(request);
            assert_eq!(explanation.chosen, expected, "explain {request:?}");
            // Twice: the first time may scan, the second time may give the request a class.
            assert_eq!(self.fleet.decide(request), expected, "decide {request:?}");
            assert_eq!(self.fleet.decide(request), expected, "decide again {request:?}");
            assert_eq!(explanation.hosts.len(), self.naive.hosts.len());
            for (host, naive) in explanation.hosts.iter().zip(self.naive.hosts.values()) {
                assert_eq!(host.host, naive.description.id);
                assert_eq!(host.feasible, self.naive.score(naive, request).is_some(), "{host:?}");
                assert_eq!(
                    self.fleet.fits(host.host, request).map_err(|found| found.to_string()).err(),
                    host.reason
                );
                let (before, after) = self.naive.cost(naive, request);
                let same = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan());
                assert!(same(host.before, before) && same(host.after, after), "{host:?}: {before} {after}");
                let measured_at = naive.measured.filter(|_| naive.cost.is_measured()).map(|known| known.at);
                assert_eq!(host.measured_at, measured_at);
            }
        }
        for (id, host) in &self.naive.hosts {
            let usage = self.fleet.usage(*id).unwrap();
            let amounts = self.naive.amounts(host);
            assert_eq!(usage.used.cores.0 + usage.foreign.cores.0, amounts[0].0);
            assert_eq!(usage.used.memory.0 + usage.foreign.memory.0, amounts[1].0);
            let there = self.naive.vms.iter().filter(|(_, (place, _))| place == id).map(|(vm, _)| *vm);
            assert!(self.fleet.vms_on(*id).eq(there));
            let pages = usage.used.huge_pages.get(&HugePageSize(512)).copied().unwrap_or(0);
            assert_eq!(pages, self.naive.page_use(host).0);
            self.compare_devices(*id, &amounts[2..]);
        }
    }

    /// Who has which device, and that nobody has more of one than there is.
    fn compare_devices(&self, host: HostId, classes: &[(u64, u64, String)]) {
        let mut used = BTreeMap::new();
        for vm in self.fleet.vms_on(host) {
            let Assignment { devices: assigned, numa_nodes } = self.fleet.assignment(vm);
            assert_eq!(&numa_nodes, self.naive.nodes.get(&vm).unwrap_or(&Vec::new()), "{vm:?}");
            let held = self.naive.held.get(&vm).into_iter().flatten();
            let expected: Vec<AssignedDevice> = held.flat_map(assigned_by).collect();
            assert_eq!(assigned, expected, "{vm:?}");
            for device in assigned {
                let used: &mut u32 = used.entry((device.class, device.instance)).or_default();
                *used += u32::from(device.permille);
                assert!(*used <= 1000, "instance {} of {host}", device.instance);
            }
        }
        let promised = self.fleet.usage(host).unwrap().used.devices_permille;
        let promised = promised.into_iter().map(|(class, used)| (class.to_string(), used));
        let expected =
            classes.iter().filter(|(used, ..)| *used > 0).map(|(used, _, name)| (name.clone(), *used));
        assert!(promised.eq(expected), "{host}: {classes:?}");
    }
}

fn assigned_by(held: &Held) -> impl Iterator<Item = AssignedDevice> {
    held.instances.iter().map(|instance| AssignedDevice {
        class: DeviceClass::new(held.class.clone().unwrap()).unwrap(),
        instance: u32::try_from(*instance).unwrap(),
        permille: u16::try_from(held.each()).unwrap(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Everything together, against the naive scan, after each event.
    #[test]
    fn decisions_are_those_of_a_naive_full_scan(
        costs in proptest::collection::vec(cost(), 1..4),
        shapes in proptest::collection::vec(shape(), 18..26),
        hosts in proptest::collection::vec(seed(), 1..25),
        limited in any::<bool>(),
        expected in proptest::collection::vec((0_usize..18, 0_u32..4), 0..6),
        events in proptest::collection::vec(event(25, 18), 1..60),
    ) {
        let costs: Vec<_> = costs.iter().filter_map(|cost| both(cost).map(|function| (cost.clone(), function))).collect();
        prop_assume!(!costs.is_empty());
        // With the least memory for scores classes drive each other out.
        let fleet = if limited { Fleet::with_scores_limit(0) } else { Fleet::new() };
        let mut pair = Pair { fleet, naive: Naive::default(), costs, shapes };
        pair.apply(&Event::Expect { realm: false, shapes: expected });
        for (host, seed) in hosts.iter().enumerate() {
            pair.apply(&Event::Upsert { host: u32::try_from(host).unwrap(), seed: seed.clone() });
        }
        for (number, event) in events.iter().enumerate() {
            pair.apply(event);
            // Asking after every event would hide that groups must catch up with several at once.
            if number % 5 == 4 {
                pair.compare();
            }
        }
        pair.compare();
    }

    /// In which order hosts became known is of no matter.
    #[test]
    fn permuting_hosts_changes_nothing(
        cost in cost(),
        shapes in proptest::collection::vec(shape(), 1..4),
        hosts in proptest::collection::vec(seed(), 1..40),
        keys in proptest::collection::vec(any::<u32>(), 40),
    ) {
        let Some(function) = both(&cost) else { return Ok(()) };
        let mut described: Vec<_> =
            hosts.iter().enumerate().map(|(id, seed)| describe(u32::try_from(id).unwrap(), seed, &function)).collect();
        let mut fleet = Fleet::new();
        described.iter().cloned().for_each(|host| fleet.upsert_host(host));
        described.sort_by_key(|host| keys[host.id.0 as usize]);
        let mut permuted = Fleet::new();
        described.iter().cloned().for_each(|host| permuted.upsert_host(host));
        for round in 0..3_u128 {
            for (number, request) in shapes.iter().enumerate() {
                let place = fleet.decide(request);
                prop_assert_eq!(place, permuted.decide(request));
                // Compared as text, since a cost that is not a number is not equal to itself.
                prop_assert_eq!(format!("{:?}", fleet.explain(request)), format!("{:?}", permuted.explain(request)));
                if let Some(host) = place {
                    let vm = vm(round * 100 + number as u128);
                    prop_assert_eq!(fleet.reserve(vm, host, request), Ok(()));
                    prop_assert_eq!(permuted.reserve(vm, host, request), Ok(()));
                }
            }
        }
    }

    /// A host that cannot be chosen is as good as absent.
    #[test]
    fn an_infeasible_host_changes_nothing(
        cost in cost(),
        request in shape(),
        hosts in proptest::collection::vec(seed(), 1..20),
        added in seed(),
    ) {
        let Some(function) = both(&cost) else { return Ok(()) };
        let mut fleet = Fleet::new();
        for (id, seed) in hosts.iter().enumerate() {
            fleet.upsert_host(describe(1 + u32::try_from(id).unwrap(), seed, &function));
        }
        let before = fleet.decide(&request);
        let mut infeasible = describe(0, &added, &function);
        infeasible.state = HostState::NoScheduler;
        fleet.upsert_host(infeasible);
        prop_assert_eq!(fleet.decide(&request), before);
        prop_assert_eq!(fleet.decide(&request), before);
        prop_assert_eq!(fleet.explain(&request).chosen, before);
    }
}
