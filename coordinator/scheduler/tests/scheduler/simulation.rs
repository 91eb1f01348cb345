//! Simulations: simulate equals do, and the fleet is as it was. What-if: the same on a fleet that is not there.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use reeve_common::ids::{HostId, HostName, RealmName};
use reeve_scheduler::{
    ChoiceRule, Fleet, HostsTold, Measured, NewHost, Request, SIMULATED_MAX, TermExplanation, WhatIf,
};

use crate::decisions::{both, cost, describe, seed, shape};
use crate::fixture::{compile, devices, function, host, preset, request, vm};

const TOLD: HostsTold = HostsTold { feasible: 5, refused: 5 };

/// Places up to `count` VMs for real and says where.
fn place(fleet: &mut Fleet, request: &Request, count: usize) -> Vec<HostId> {
    let mut hosts = Vec::new();
    while hosts.len() < count {
        let Some(host) = fleet.decide(request) else { break };
        fleet.reserve(vm(10_000 + hosts.len() as u128), host, request).unwrap();
        hosts.push(host);
    }
    hosts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn simulate_equals_do(
        cost in cost(),
        hosts in proptest::collection::vec(seed(), 0..16),
        resident in proptest::collection::vec(shape(), 0..8),
        wanted in shape(),
        count in 0_usize..40,
        left_out in proptest::collection::btree_set(0_u32..16, 0..4),
    ) {
        let Some(function) = both(&cost) else { return Ok(()) };
        let mut fleet = Fleet::new();
        for (id, seed) in hosts.iter().enumerate() {
            fleet.upsert_host(describe(u32::try_from(id).unwrap(), seed, &function));
        }
        for (number, request) in resident.iter().enumerate() {
            if let Some(host) = fleet.decide(request) {
                fleet.reserve(vm(number as u128), host, request).unwrap();
            }
        }
        let before = format!("{:?}", fleet.explain(&wanted));
        let simulated = fleet.simulate(&wanted, count, TOLD);
        prop_assert_eq!(format!("{:?}", fleet.explain(&wanted)), before.clone());

        // The same with some hosts left out, against a fleet that never had them.
        let changes = WhatIf {
            without: left_out.iter().map(|id| HostId(*id)).collect(), ..WhatIf::default()
        };
        let smaller = fleet.what_if(&changes).simulate(&wanted, count, TOLD);
        prop_assert_eq!(format!("{:?}", fleet.explain(&wanted)), before);

        let mut done = fleet.clone();
        prop_assert_eq!(&place(&mut done, &wanted, count), &simulated.hosts);
        prop_assert_eq!(simulated.stopped_by.is_some(), simulated.hosts.len() < count);
        if let Some(stopped_by) = simulated.stopped_by {
            prop_assert_eq!(stopped_by.feasible, 0);
            prop_assert_eq!(format!("{stopped_by:?}"), format!("{:?}", done.digest(&wanted, TOLD)));
        }
        for id in left_out {
            fleet.remove_host(HostId(id));
        }
        prop_assert_eq!(place(&mut fleet, &wanted, count), smaller.hosts);
    }
}

#[test]
fn a_simulation_says_how_many_where_and_what_stops_the_next() {
    let mut fleet = Fleet::new();
    let pack = preset("pack");
    fleet.upsert_host(host(1, 8, 64, &pack));
    fleet.upsert_host(host(2, 4, 64, &pack));
    let simulated = fleet.simulate(&request(2, 4), 40, TOLD);
    assert_eq!((simulated.asked, simulated.hosts.len()), (40, 6));
    assert_eq!(simulated.hosts.iter().filter(|host| **host == HostId(1)).count(), 4);
    let stopped_by = simulated.stopped_by.unwrap();
    assert_eq!((stopped_by.considered, stopped_by.feasible, stopped_by.refusals.len()), (2, 0, 1));
    assert_eq!(stopped_by.refusals[0].reason, "cores: 2 asked, 0 free of 8");
    let all = fleet.simulate(&request(2, 4), 6, TOLD);
    assert_eq!((all.hosts.len(), all.stopped_by), (6, None));
    assert_eq!(fleet.simulate(&request(0, 0), usize::MAX, TOLD).asked, SIMULATED_MAX);
    assert_eq!(Fleet::new().simulate(&request(1, 1), 3, TOLD).stopped_by.unwrap().considered, 0);
}

#[test]
fn a_fleet_can_be_asked_what_if() {
    let mut fleet = Fleet::new();
    let (pack, spread) = (preset("pack"), preset("spread"));
    fleet.upsert_host(host(1, 8, 64, &pack));
    fleet.upsert_host(host(7, 8, 64, &pack));
    // A host that is gone keeps its number.
    fleet.restore(vm(1), HostId(9), &request(1, 1));
    let new = |name: &str| NewHost {
        name: HostName::new(name).unwrap(),
        realm: RealmName::new("r").unwrap(),
        capacity: host(0, 16, 64, &pack).capacity,
        cpu: None,
        labels: BTreeMap::from([("rack".to_owned(), "r9".to_owned())]),
        cost_function: pack.clone(),
    };
    let changes = WhatIf {
        with: vec![new("new-1"), new("new-2")],
        without: BTreeSet::from([HostId(1)]),
        cost_function: Some(spread.clone()),
    };
    assert!(!changes.is_nothing() && WhatIf::default().is_nothing());
    let mut changed = fleet.what_if(&changes);
    let hosts: Vec<_> = changed.hosts().map(|host| (host.id.0, host.name.to_string())).collect();
    let named = |id: u32, name: &str| (id, name.to_owned());
    assert_eq!(hosts, [named(7, "host-7"), named(10, "new-1"), named(11, "new-2")]);
    assert!(changed.hosts().all(|host| host.cost_function == spread));
    assert_eq!(changed.host(HostId(10)).unwrap().labels["rack"], "r9");
    assert_eq!(changed.simulate(&request(8, 8), 9, TOLD).hosts.len(), 5);
    assert_eq!(fleet.simulate(&request(8, 8), 9, TOLD).hosts, [HostId(1), HostId(7)]);
    assert!(fleet.hosts().all(|host| host.cost_function == pack));
}

#[test]
fn a_cost_function_is_worked_out_for_a_host_with_all_that_goes_into_it() {
    let mut fleet = Fleet::new();
    let mut with_devices = host(1, 8, 64, &preset("pack"));
    with_devices.capacity.devices = devices("nvidia-a100", 4);
    fleet.upsert_host(with_devices);
    fleet.set_measured(HostId(1), Some(Measured { cpu_load: 0.25, ..Measured::default() }));
    let mut wanted = Request { owner: "ann".to_owned(), ..request(2, 8) };
    wanted.labels.insert("app".to_owned(), "web".to_owned());
    fleet.reserve(vm(1), HostId(1), &wanted).unwrap();
    let other = compile(
        &[
            ("load", "cores.load + before.memory.used / 1 GiB"),
            ("whose", "same.owner + same.label.app + 10 * devices.nvidia-a100.free + devices.none.total"),
            ("heat", "measured.cpu.load"),
        ],
        ChoiceRule::Total,
    )
    .unwrap();
    let evaluation = fleet.evaluate(HostId(1), &wanted, &std::sync::Arc::new(other)).unwrap();
    let attributes: Vec<_> = evaluation
        .attributes
        .iter()
        .map(|value| format!("{} {} {}", value.name, value.before, value.after))
        .collect();
    assert_eq!(
        attributes,
        [
            "cores.load 0.25 0.5",
            "devices.'nvidia-a100'.free 4 4",
            "devices.none.total 0 0",
            "measured.cpu.load 0.25 0.25",
            "memory.used 8192 16384",
            "same.label.app 1 2",
            "same.owner 1 2",
        ]
    );
    let terms: Vec<_> =
        evaluation.terms.iter().map(|term: &TermExplanation| (term.before, term.after)).collect();
    assert_eq!(terms, [(8.25, 8.5), (42.0, 44.0), (0.0, 0.25)]);
    assert_eq!((evaluation.before, evaluation.after, evaluation.increase), (50.25, 52.75, 2.5));
    assert_eq!((evaluation.cost_function.as_str(), evaluation.rule), ("tested", ChoiceRule::Total));
    // By the host's own function it is what its explanation says.
    let own = fleet.host(HostId(1)).unwrap().cost_function.clone();
    let (own, explained) = (fleet.evaluate(HostId(1), &wanted, &own), fleet.explain_host(HostId(1), &wanted));
    assert_eq!(own.unwrap().terms, explained.unwrap().terms);
    assert_eq!(fleet.evaluate(HostId(2), &wanted, &function(&[("a", "1")])), None);
}
