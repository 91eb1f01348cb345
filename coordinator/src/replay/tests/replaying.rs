//! Whole replays, compared with the plainest replay there is, and with figures worked out by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use reeve_common::device::{DeviceAmount, Share};
use reeve_common::ids::{CostFunctionName, HostId, HostName, RealmName, VmId};
use reeve_common::units::{Mebibytes, Millicores};
use reeve_scheduler::{ChoiceRule, CostFunction, Fleet, HostDescription, presets};
use uuid::Uuid;

use super::super::outcome::{Outcome, Refusals, Resource, Resources};
use super::super::run::{Replay, catalogue};
use super::super::schedule::{Demand, Schedule, ScheduleError};
use super::super::trace::{Shape, Trace, TraceHost, TraceVm};

fn cost(terms: &[(&str, &str)], by: ChoiceRule) -> Arc<CostFunction> {
    let terms: Vec<(String, String)> =
        terms.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Arc::new(CostFunction::compile(&CostFunctionName::new("test").unwrap(), &terms, by).unwrap())
}

fn preset(wanted: &str) -> Arc<CostFunction> {
    let (name, terms) = presets().into_iter().find(|(name, _)| name.as_str() == wanted).unwrap();
    Arc::new(CostFunction::compile(&name, &terms, ChoiceRule::default()).unwrap())
}

fn host(number: usize, cores: u64, memory: u64, devices: Option<(&str, u32)>) -> TraceHost {
    TraceHost {
        name: HostName::new(format!("host-{number}")).unwrap(),
        cores: Millicores(cores),
        memory: Mebibytes(memory),
        devices: devices.map(|(class, count)| (class.parse().unwrap(), count)),
    }
}

fn shape(cores: u64, memory: u64, devices: Option<(&str, u32)>) -> Shape {
    Shape {
        cores: Millicores(cores),
        memory: Mebibytes(memory),
        devices: devices.map(|(class, count)| (class.parse().unwrap(), DeviceAmount::Whole(count))),
    }
}

fn trace(hosts: Vec<TraceHost>, vms: &[(Shape, u64, Option<u64>)]) -> Trace {
    let mut shapes: Vec<(Shape, u64)> = Vec::new();
    let vms = vms.iter().map(|(shape, arrive_s, depart_s)| {
        let place = shapes.iter().position(|(known, _)| known == shape).unwrap_or_else(|| {
            shapes.push((shape.clone(), 0));
            shapes.len() - 1
        });
        shapes[place].1 += 1;
        TraceVm { shape: place, arrive_s: *arrive_s, depart_s: *depart_s }
    });
    let vms = vms.collect();
    Trace { hosts, shapes, vms }
}

fn replay(trace: &Trace, schedule: &Schedule, cost: &Arc<CostFunction>) -> Outcome {
    Replay::new(trace, schedule, cost).unwrap().run(&mut |_, _| {}).unwrap()
}

#[test]
fn a_day_worked_out_by_hand() {
    // Two hosts of 4 cores. Three VMs of 2 cores, one of them leaves as a fourth comes; one asks for more than a host has.
    let hosts = vec![host(1, 4000, 100, None), host(2, 4000, 100, None)];
    let (two, four, nine) = (shape(2000, 10, None), shape(4000, 10, None), shape(9000, 10, None));
    let vms = [
        (two.clone(), 10, Some(30)),
        (two.clone(), 20, None),
        (two.clone(), 20, Some(60)),
        (four.clone(), 30, None), // the first has left, but 2 and 2 cores are free on two hosts: together 4, apart not
        (nine, 40, Some(50)),
        (four, 60, Some(110)), // the third has left: the second host is empty
        (two, 61, Some(61)),   // comes and leaves at once
    ];
    let trace = trace(hosts, &vms);
    let outcome = replay(&trace, &Schedule::timed(&trace), &preset("pack"));
    assert_eq!((outcome.arrived, outcome.placed, outcome.refused), (7, 5, 2));
    assert_eq!(outcome.refusals, Refusals { too_large: 1, cores: 1, ..Refusals::default() });
    assert_eq!((outcome.hosts_ever_used, outcome.hosts_in_use_peak, outcome.hosts_in_use_end), (2, 2, 1));
    let peak = outcome.hosts_in_use_peak_at.unwrap();
    assert_eq!((peak.arrived, peak.time_s), (3, Some(20)));
    // At 40 s: 2 + 2 + 4 + 9 cores are asked for, and there are 8.
    let bound = outcome.hosts_lower_bound;
    assert_eq!((bound.hosts, bound.resource, bound.exceeds_fleet), (2, Resource::Cores, true));
    assert_eq!((bound.at.arrived, bound.at.time_s), (5, Some(40)));
    assert_eq!(outcome.demand_peak_percent.cores, Some(100.0 * 17.0 / 8.0));
    assert_eq!(outcome.allocated_peak_percent.cores, Some(100.0));
    assert_eq!(outcome.allocated_end_percent.cores, Some(25.0));
    assert_eq!(outcome.allocated_end_percent.devices, None);
    // From 10 s to 110 s, a point a second.
    assert_eq!(outcome.course.len(), 101);
    let at = |second: usize| (outcome.course[second - 10].at, outcome.course[second - 10].hosts_in_use);
    let expected = [(10, 1), (19, 1), (20, 2), (59, 2), (60, 2), (110, 1)];
    for (second, hosts) in expected {
        assert_eq!(at(second), (second as f64, hosts), "at {second} s");
    }
    assert_eq!(outcome.course[30 - 10].allocated_percent.cores, Some(50.0));
}

#[test]
fn each_refusal_has_its_reason() {
    let hosts = vec![host(1, 8000, 80, None), host(2, 2000, 80, Some(("A", 2)))];
    let vms = [
        (shape(6000, 10, None), 1, None),
        (shape(2000, 70, None), 1, None), // fills host 1's cores and memory
        (shape(4000, 1, None), 2, None),  // 2 cores at most are left
        (shape(1000, 81, None), 3, None), // no host has so much memory
        (shape(0, 10, Some(("A", 1))), 4, None), // goes
        (shape(0, 1, Some(("A", 2))), 5, None), // one is left
        (shape(100, 75, None), 6, None),  // 70 MiB are left
        (shape(0, 0, Some(("A", 3))), 7, None), // no host has three
    ];
    let trace = trace(hosts, &vms);
    let outcome =
        replay(&trace, &Schedule::timed(&trace), &cost(&[("a", "cores.load")], ChoiceRule::Increase));
    let expected = Refusals { too_large: 2, devices: 1, cores: 1, memory: 1, ..Refusals::default() };
    assert_eq!(outcome.refusals, expected);
}

#[test]
fn what_is_enough_only_on_different_hosts_is_told_apart() {
    let hosts = vec![host(1, 8000, 10, None), host(2, 8000, 100, None)];
    let vms = [
        (shape(6000, 10, None), 1, None),
        (shape(4000, 95, None), 2, None),
        (shape(4000, 50, None), 3, None),
    ];
    let trace = trace(hosts, &vms);
    // The first VM goes to host 2, whose cores the others then miss; host 1 has them, but no memory.
    let cost = cost(&[("a", "-memory.total")], ChoiceRule::Increase);
    let outcome = replay(&trace, &Schedule::timed(&trace), &cost);
    assert_eq!(outcome.refusals, Refusals { memory: 1, together: 1, ..Refusals::default() });
}

#[test]
fn a_cost_that_is_never_finite_is_a_reason_too() {
    let trace = trace(vec![host(1, 8000, 100, None)], &[(shape(1000, 1, None), 1, None)]);
    let cost = cost(&[("never", "1 / (cores.used - 1)")], ChoiceRule::Increase);
    let outcome = replay(&trace, &Schedule::timed(&trace), &cost);
    assert_eq!(outcome.refusals, Refusals { cost: 1, ..Refusals::default() });
}

#[test]
fn what_the_trace_has_no_use_for_is_stranded() {
    // Two hosts of 8 cores and 800 MiB. VMs of 1 core and 100 MiB fill the first but for 2 cores without memory.
    let hosts = vec![host(1, 8000, 600, None), host(2, 8000, 800, None)];
    let trace = trace(hosts, &vec![(shape(1000, 100, None), 0, None); 6]);
    let cost = cost(&[("first", "memory.total")], ChoiceRule::Total);
    let outcome = replay(&trace, &Schedule::timed(&trace), &cost);
    assert_eq!(outcome.hosts_ever_used, 1);
    assert_eq!(outcome.stranded_end_percent.cores, Some(100.0 * 2.0 / 16.0));
    assert_eq!(outcome.stranded_end_percent.memory, Some(0.0));
    assert_eq!(outcome.stranded_end_percent.devices, None);
}

#[test]
fn the_most_frequent_shapes_are_the_catalogue() {
    let mut vms: Vec<_> = (1..=1500).map(|cores| (shape(cores, 1, None), 0, None)).collect();
    vms.push((shape(1400, 1, None), 0, None));
    let trace = trace(vec![host(1, 8000, 600, None)], &vms);
    let realm = RealmName::new("r").unwrap();
    let requests: Vec<_> = trace.shapes.iter().map(|(shape, _)| shape.request(realm.clone())).collect();
    let catalogue = catalogue(&trace, &requests);
    assert_eq!(catalogue.len(), 1000);
    assert_eq!((catalogue[0].0.cores.0, catalogue[0].1), (1400, 2));
    assert_eq!((catalogue[999].0.cores.0, catalogue[999].1), (999, 1));
}

#[test]
fn the_lower_bound_takes_the_largest_hosts() {
    let hosts = vec![host(1, 1000, 1, None), host(2, 5000, 1, None), host(3, 3000, 1, None)];
    let bound = |cores: &[u64]| {
        let vms: Vec<_> = cores.iter().map(|cores| (shape(*cores, 0, None), 0, None)).collect();
        let trace = trace(hosts.clone(), &vms);
        let outcome = replay(&trace, &Schedule::timed(&trace), &preset("spread"));
        (outcome.hosts_lower_bound.hosts, outcome.hosts_lower_bound.exceeds_fleet)
    };
    assert_eq!(bound(&[0]), (0, false));
    assert_eq!(bound(&[5000]), (1, false));
    assert_eq!(bound(&[1000, 1000, 1000, 1000, 1000, 1000]), (2, false));
    assert_eq!(bound(&[5000, 4000]), (3, false));
    assert_eq!(bound(&[5000, 5000]), (3, true));
}

#[test]
fn draws_follow_the_seed_and_nothing_else() {
    let vms: Vec<_> = (1..=1000).map(|cores| (shape(cores, 1, None), 0, Some(5))).collect();
    let trace = trace(vec![host(1, 100_000, 100_000, None)], &vms);
    let first = |seed| {
        let schedule = Schedule::drawn(&trace, Demand(1300), seed).unwrap();
        schedule.steps(&trace).map(|step| step.vm.shape).take(5).collect::<Vec<_>>()
    };
    // SplitMix64's published outputs for seed 1234567: 6457827717110365317, 3203168211198807973, 9817491932198370423,
    // 4593380528125082431, 16408922859458223821.
    assert_eq!(first(1_234_567), [317, 973, 423, 431, 821]);
    assert_ne!(first(1), first(2));
    let schedule = Schedule::drawn(&trace, Demand(1300), 7).unwrap();
    let asked: Vec<u64> = schedule.steps(&trace).map(|step| trace.size_of(&step.vm).cores).collect();
    let (sum, last) = (asked.iter().sum::<u64>(), *asked.last().unwrap());
    assert!(sum >= 130_000 && sum - last < 130_000, "the VM that reaches the demand is the last: {sum}");
    let outcome = replay(&trace, &schedule, &preset("pack"));
    assert_eq!(outcome.arrived, schedule.len() as u64);
    assert!(outcome.allocated_end_percent.cores.unwrap() > 99.0);
    assert_eq!(outcome.allocated_end_percent, outcome.allocated_peak_percent, "nobody leaves");
    assert_eq!(outcome.course.last().unwrap().at, 130.0);
}

#[test]
fn demand_is_of_devices_where_vms_ask_for_them() {
    let hosts = vec![host(1, 100_000, 100, Some(("A", 4)))];
    let vms = [(shape(1, 1, None), 0, None), (shape(1, 1, Some(("A", 1))), 0, None)];
    let mixed = trace(hosts.clone(), &vms);
    let schedule = Schedule::drawn(&mixed, Demand(2000), 3).unwrap();
    assert_eq!(schedule.steps(&mixed).filter(|step| step.vm.shape == 1).count(), 8);
    let nothing = trace(vec![host(1, 0, 100, None)], &[(shape(0, 1, None), 0, None)]);
    let error = Schedule::drawn(&nothing, Demand(1000), 1).unwrap_err();
    assert_eq!(error, ScheduleError::NoCapacity(Resource::Cores));
}

#[test]
fn a_demand_out_of_reach_is_refused() {
    let trace = trace(vec![host(1, 1000, 100, None)], &[(shape(0, 1, None), 0, None)]);
    let error = Schedule::drawn(&trace, Demand(1305), 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "10000000 VMs ask for less cores than 130.5 % of the fleet's; use fewer hosts or a lower demand"
    );
}

#[test]
fn nothing_of_it_is_a_trace_without_steps() {
    let empty = Trace { hosts: vec![host(1, 1, 1, None)], ..Trace::default() };
    let outcome = replay(&empty, &Schedule::timed(&empty), &preset("balanced"));
    assert_eq!((outcome.arrived, outcome.hosts_in_use_peak_at), (0, None));
}

/// A replay as plain as can be: the explained choice instead of the fast one, everything counted anew from a list of who is
/// where.
struct Plain<'a> {
    trace: &'a Trace,
    fleet: Fleet,
    there: BTreeMap<usize, (HostId, Resources<u64>)>,
    ever: BTreeSet<HostId>,
    placed: Vec<Option<HostId>>,
    refusals: Refusals,
    peak: usize,
}

impl<'a> Plain<'a> {
    fn new(trace: &'a Trace, cost: &Arc<CostFunction>) -> Self {
        let mut fleet = Fleet::new();
        let realm = RealmName::new("replay").unwrap();
        for (id, host) in (1..).zip(&trace.hosts) {
            let (name, capacity) = (host.name.clone(), host.capacity());
            fleet.upsert_host(HostDescription::new(
                HostId(id),
                name,
                realm.clone(),
                capacity,
                Arc::clone(cost),
            ));
        }
        let requests: Vec<_> = trace.shapes.iter().map(|(shape, _)| shape.request(realm.clone())).collect();
        fleet.set_catalogue(&realm, &catalogue(trace, &requests));
        let (there, ever, placed) = (BTreeMap::new(), BTreeSet::new(), vec![None; trace.vms.len()]);
        Self { trace, fleet, there, ever, placed, refusals: Refusals::default(), peak: 0 }
    }

    fn run(mut self) -> Self {
        let vms = &self.trace.vms;
        let times: BTreeSet<u64> =
            vms.iter().flat_map(|vm| [Some(vm.arrive_s), vm.depart_s]).flatten().collect();
        for now in times {
            let leaving = |at_once: bool| {
                let rows = vms
                    .iter()
                    .enumerate()
                    .filter(move |(_, vm)| vm.depart_s == Some(now) && (vm.arrive_s == now) == at_once);
                rows.map(|(row, _)| row).collect::<Vec<_>>()
            };
            leaving(false).into_iter().for_each(|row| self.leave(row));
            let coming = vms.iter().enumerate().filter(|(_, vm)| vm.arrive_s == now);
            for row in coming.map(|(row, _)| row).collect::<Vec<_>>() {
                self.come(row);
            }
            leaving(true).into_iter().for_each(|row| self.leave(row));
        }
        self
    }

    fn come(&mut self, row: usize) {
        let (shape, _) = &self.trace.shapes[self.trace.vms[row].shape];
        let request = shape.request(RealmName::new("replay").unwrap());
        if let Some(host) = self.fleet.explain(&request).chosen {
            self.fleet.reserve(VmId(Uuid::from_u128(row as u128)), host, &request).unwrap();
            self.there.insert(row, (host, shape.size()));
            self.ever.insert(host);
            self.placed[row] = Some(host);
            self.check_sums();
        } else {
            let any = |shape: &Shape| {
                let request = shape.request(RealmName::new("replay").unwrap());
                (1..).zip(&self.trace.hosts).any(|(id, _)| self.fleet.fits(HostId(id), &request).is_ok())
            };
            let nothing = Shape { cores: Millicores(0), memory: Mebibytes(0), devices: None };
            let count = if !self.trace.hosts.iter().any(|host| shape.fits_alone(host)) {
                &mut self.refusals.too_large
            } else if !any(&Shape { devices: shape.devices.clone(), ..nothing.clone() }) {
                &mut self.refusals.devices
            } else if !any(&Shape { cores: shape.cores, ..nothing.clone() }) {
                &mut self.refusals.cores
            } else if !any(&Shape { memory: shape.memory, ..nothing }) {
                &mut self.refusals.memory
            } else {
                &mut self.refusals.together
            };
            *count += 1;
        }
        let hosts: BTreeSet<HostId> = self.there.values().map(|(host, _)| *host).collect();
        self.peak = self.peak.max(hosts.len());
    }

    fn leave(&mut self, row: usize) {
        if self.there.remove(&row).is_some() {
            self.fleet.release(VmId(Uuid::from_u128(row as u128)));
        }
    }

    /// No host holds more than it has.
    fn check_sums(&self) {
        for (id, host) in (1..).zip(&self.trace.hosts) {
            let held = self.there.values().filter(|(on, _)| *on == HostId(id)).map(|(_, size)| *size);
            let held = held.fold(Resources::default(), Resources::plus);
            for resource in Resource::ALL {
                assert!(
                    held.of(resource) <= host.size().of(resource),
                    "{} holds too much {resource}",
                    host.name
                );
            }
        }
    }
}

const CLASSES: [&str; 2] = ["A", "B"];

fn hosts() -> impl Strategy<Value = Vec<TraceHost>> {
    let host = (1..=8_u64, 1..=8_u64, 0..CLASSES.len(), 0..=4_u32);
    proptest::collection::vec(host, 1..6).prop_map(|hosts| {
        let hosts = hosts.into_iter().enumerate();
        hosts
            .map(|(number, (cores, memory, class, count))| {
                host_of(number, cores, memory, (count > 0).then_some((CLASSES[class], count)))
            })
            .collect()
    })
}

fn host_of(number: usize, cores: u64, memory: u64, devices: Option<(&str, u32)>) -> TraceHost {
    host(number, cores * 1000, memory * 100, devices)
}

fn shapes() -> impl Strategy<Value = Shape> {
    let classes = proptest::sample::select(vec!["A", "B", "A|B", "*"]);
    let amount = prop_oneof![
        Just(None),
        (1..=2_u32).prop_map(|count| Some(DeviceAmount::Whole(count))),
        (1..=9_u16).prop_map(|tenths| Share::new(tenths * 100).ok().map(DeviceAmount::Share)),
    ];
    (0..=5_u64, 0..=5_u64, classes, amount).prop_map(|(cores, memory, class, amount)| Shape {
        cores: Millicores(cores * 1000),
        memory: Mebibytes(memory * 100),
        devices: amount.map(|amount| (class.parse().unwrap(), amount)),
    })
}

fn vms() -> impl Strategy<Value = Vec<(Shape, u64, Option<u64>)>> {
    let vm = (shapes(), 0..30_u64, proptest::option::of(0..20_u64));
    proptest::collection::vec(vm, 1..40).prop_map(|vms| {
        vms.into_iter().map(|(shape, arrive, stay)| (shape, arrive, stay.map(|stay| arrive + stay))).collect()
    })
}

fn any_preset() -> impl Strategy<Value = Arc<CostFunction>> {
    let names: Vec<String> = presets().iter().map(|(name, _)| name.to_string()).collect();
    proptest::sample::select(names).prop_map(|name| preset(&name))
}

proptest! {
    // Making a catalogue takes milliseconds without optimisation.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_replay_comes_to_what_the_plainest_one_does(hosts in hosts(), vms in vms(), cost in any_preset()) {
        let trace = trace(hosts, &vms);
        let outcome = replay(&trace, &Schedule::timed(&trace), &cost);
        let plain = Plain::new(&trace, &cost).run();
        let placed = plain.placed.iter().flatten().count() as u64;
        prop_assert_eq!((outcome.arrived, outcome.placed), (trace.vms.len() as u64, placed));
        prop_assert_eq!(outcome.hosts_ever_used, plain.ever.len());
        prop_assert_eq!(outcome.hosts_in_use_peak, plain.peak);
        prop_assert_eq!(outcome.refusals, plain.refusals);
        let reasons: u64 = outcome.refusals.by_reason().iter().map(|(_, count)| count).sum();
        prop_assert_eq!(reasons, outcome.refused);
        let held = plain.there.values().map(|(_, size)| *size).fold(Resources::default(), Resources::plus);
        prop_assert_eq!(outcome.allocated_end_percent, held.percent_of(&trace.capacity()));
        let by_class: u64 = outcome.devices_end.values().map(|class| class.used_permille).sum();
        prop_assert_eq!(by_class, held.devices);
        if outcome.refused == 0 {
            prop_assert!(outcome.hosts_lower_bound.hosts <= outcome.hosts_in_use_peak);
        }
    }

    #[test]
    fn the_same_trace_comes_to_the_same(hosts in hosts(), vms in vms(), cost in any_preset(), seed in any::<u64>()) {
        let trace = trace(hosts, &vms);
        for schedule in [Ok(Schedule::timed(&trace)), Schedule::drawn(&trace, Demand(1300), seed)] {
            let Ok(schedule) = schedule else { continue };
            let document = |outcome: Outcome| serde_json::to_string(&outcome).unwrap();
            let (one, other) = (replay(&trace, &schedule, &cost), replay(&trace, &schedule, &cost));
            prop_assert!(document(one) == document(other));
        }
    }

    /// Among equals the first line counts, so the order of hosts matters where costs are equal, and only there.
    #[test]
    fn the_order_of_hosts_breaks_ties_and_nothing_else(hosts in hosts(), vms in vms(), shift in 0..6_usize) {
        // Each host's own size is part of its cost, so that no two of different sizes are equal.
        let hosts: Vec<TraceHost> = hosts
            .into_iter()
            .enumerate()
            .map(|(number, host)| TraceHost { cores: Millicores(host.cores.0 + number as u64), ..host })
            .collect();
        let cost = cost(&[("size", "cores.total"), ("load", "0.000001 * memory.load")], ChoiceRule::Total);
        let mut turned = hosts.clone();
        turned.rotate_left(shift % hosts.len());
        let (one, other) = (trace(hosts, &vms), trace(turned, &vms));
        let distinct: BTreeSet<u64> = one.hosts.iter().map(|host| host.cores.0).collect();
        prop_assume!(distinct.len() == one.hosts.len());
        let same = replay(&one, &Schedule::timed(&one), &cost) == replay(&other, &Schedule::timed(&other), &cost);
        prop_assert!(same);
    }
}
