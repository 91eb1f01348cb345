//! Batches: never worse than one by one, carried out as planned, nothing left behind.

use proptest::prelude::*;
use reeve_common::ids::{HostId, VmId};
use reeve_scheduler::{BatchGoal, BatchPlan, Fleet, Request};

use crate::decisions::{both, cost, describe, seed, shape};
use crate::fixture::{function, host, preset, request, vm, whole};

fn numbered(requests: impl IntoIterator<Item = Request>) -> Vec<(VmId, Request)> {
    requests.into_iter().enumerate().map(|(number, request)| (vm(1000 + number as u128), request)).collect()
}

/// Everything that can be seen of a fleet.
fn seen(fleet: &Fleet, requests: &[Request]) -> String {
    let hosts: Vec<_> = fleet.hosts().map(|host| host.id).collect();
    let usage: Vec<_> =
        hosts.iter().map(|host| (fleet.usage(*host), fleet.vms_on(*host).collect::<Vec<_>>())).collect();
    let explained: Vec<_> = requests.iter().map(|request| fleet.explain(request)).collect();
    format!("{usage:?}\n{explained:?}")
}

/// Reserves what was planned, in the planned order.
fn carry_out(fleet: &mut Fleet, wanted: &[(VmId, Request)], plan: &BatchPlan) -> (usize, f64) {
    let mut rise = 0.0;
    for index in &plan.order {
        let (vm, request) = &wanted[*index];
        let host = plan.hosts[*index].unwrap();
        rise += fleet.explain_host(host, request).unwrap().increase;
        assert_eq!(fleet.reserve(*vm, host, request), Ok(()), "{index} of {plan:?}");
    }
    (plan.order.len(), rise)
}

/// Decides and reserves one after the other.
fn one_by_one(fleet: &mut Fleet, wanted: &[(VmId, Request)]) -> (usize, f64) {
    let (mut placed, mut rise) = (0, 0.0);
    for (vm, request) in wanted {
        let Some(host) = fleet.decide(request) else { continue };
        rise += fleet.explain_host(host, request).unwrap().increase;
        fleet.reserve(*vm, host, request).unwrap();
        placed += 1;
    }
    (placed, rise)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_plan_can_be_carried_out_and_is_never_worse_than_one_by_one(
        costs in proptest::collection::vec(cost(), 1..3),
        hosts in proptest::collection::vec(seed(), 1..16),
        resident in proptest::collection::vec(shape(), 0..8),
        batch in proptest::collection::vec(shape(), 0..24),
    ) {
        let functions: Vec<_> = costs.iter().filter_map(both).collect();
        prop_assume!(!functions.is_empty());
        let mut fleet = Fleet::new();
        for (id, seed) in hosts.iter().enumerate() {
            fleet.upsert_host(describe(u32::try_from(id).unwrap(), seed, &functions[id % functions.len()]));
        }
        for (number, request) in resident.iter().enumerate() {
            if let Some(host) = fleet.decide(request) {
                fleet.reserve(vm(number as u128), host, request).unwrap();
            }
        }
        let wanted = numbered(batch.iter().cloned());
        let before = seen(&fleet, &batch);
        let plan = fleet.plan_batch(&wanted, BatchGoal::MostPlaced);
        prop_assert_eq!(seen(&fleet, &batch), before, "something was left behind");
        prop_assert_eq!(&fleet.plan_batch(&wanted, BatchGoal::MostPlaced), &plan, "the same question has the same answer");

        let mut alone = fleet.clone();
        let (placed, rise) = one_by_one(&mut alone, &wanted);
        prop_assert_eq!(plan.one_by_one.placed, placed);
        // Who comes first is never left out for those behind.
        let served = fleet.plan_batch(&wanted, BatchGoal::FirstComeFirst);
        let has_place = |vm: &VmId| alone.host_of(*vm).is_some();
        let difference = wanted.iter().zip(&served.hosts).find(|((vm, _), host)| has_place(vm) != host.is_some());
        prop_assert!(difference.is_none_or(|(_, host)| host.is_some()), "{:?}", served);
        prop_assert!(difference.is_some() || served.cost.rise <= rise || !rise.is_finite());
        carry_out(&mut fleet.clone(), &wanted, &served);
        let (planned, planned_rise) = carry_out(&mut fleet.clone(), &wanted, &plan);
        prop_assert_eq!(plan.cost.placed, planned);
        prop_assert_eq!(plan.hosts.iter().flatten().count(), planned);
        // Under the rule of the total a host may cost infinitely much before.
        if rise.is_finite() && planned_rise.is_finite() {
            prop_assert_eq!(plan.one_by_one.rise.to_bits(), rise.to_bits());
            prop_assert_eq!(plan.cost.rise.to_bits(), planned_rise.to_bits());
        }
        prop_assert!(
            plan.cost.placed > placed || (plan.cost.placed == placed && plan.cost.rise <= plan.one_by_one.rise),
            "{:?} is worse than {:?}", plan.cost, plan.one_by_one
        );
    }
}

#[test]
fn what_does_not_fit_one_by_one_fits_together() {
    let mut fleet = Fleet::new();
    let spread = preset("spread");
    fleet.upsert_host(host(1, 8, 64, &spread));
    fleet.upsert_host(host(2, 8, 64, &spread));
    // Small ones first would leave six cores on each host, and nowhere eight.
    let wanted = numbered([request(2, 1), request(2, 1), request(4, 1), request(8, 1)]);
    let plan = fleet.plan_batch(&wanted, BatchGoal::MostPlaced);
    assert_eq!((plan.one_by_one.placed, plan.cost.placed), (3, 4), "{plan:?}");
}

#[test]
fn who_has_waited_longest_is_not_left_out_for_two_others() {
    let mut fleet = Fleet::new();
    fleet.upsert_host(host(1, 8, 64, &preset("spread")));
    // The first leaves too little memory for either of the others, and the second is the largest.
    let wanted = numbered([request(1, 40), request(6, 25), request(2, 25)]);
    let most = fleet.plan_batch(&wanted, BatchGoal::MostPlaced);
    assert_eq!((most.order.as_slice(), most.one_by_one.placed), ([1, 2].as_slice(), 1));
    let first = fleet.plan_batch(&wanted, BatchGoal::FirstComeFirst);
    assert_eq!(first.order, [0]);
}

#[test]
fn a_vm_without_a_place_takes_that_of_one_that_finds_another() {
    let mut fleet = Fleet::new();
    // Host 1 costs less, and has the only device.
    let cost = function(&[("far", "cores.total * 0.01"), ("load", "0.001 * cores.load")]);
    let mut with_device = host(1, 4, 64, &cost);
    with_device.capacity.devices = crate::fixture::devices("a100", 1);
    fleet.upsert_host(with_device);
    fleet.upsert_host(host(2, 8, 64, &cost));
    let mut needs_it = request(1, 1);
    needs_it.devices = whole("a100", 1);
    let wanted = numbered([request(4, 1), needs_it]);
    let plan = fleet.plan_batch(&wanted, BatchGoal::MostPlaced);
    assert_eq!(plan.one_by_one.placed, 1, "{plan:?}");
    assert_eq!(plan.hosts, [Some(HostId(2)), Some(HostId(1))]);
}

/// With a cost for opening a host, VMs that were spread over hosts are gathered.
#[test]
fn hosts_are_emptied_where_opening_one_costs() {
    let mut fleet = Fleet::new();
    let pack = function(&[("open", "8 * step(vms, 1)"), ("cpu", "-power(cores.load, 2)")]);
    for id in 1..=6 {
        fleet.upsert_host(host(id, 10, 100, &pack));
    }
    // First fit in this order opens a host more than is needed.
    let sizes = [4, 4, 6, 6, 3, 7, 4, 3, 3];
    let wanted = numbered(sizes.map(|cores| request(cores, 1)));
    let plan = fleet.plan_batch(&wanted, BatchGoal::MostPlaced);
    let used: std::collections::BTreeSet<_> = plan.hosts.iter().flatten().collect();
    assert_eq!((plan.cost.placed, used.len()), (9, 4), "{plan:?}");
    assert!(plan.cost.rise < plan.one_by_one.rise, "{plan:?}");
}

#[test]
fn who_has_a_place_keeps_it() {
    let mut fleet = Fleet::new();
    fleet.upsert_host(host(1, 8, 8, &preset("balanced")));
    fleet.reserve(vm(1000), HostId(1), &request(2, 2)).unwrap();
    let wanted = numbered([request(2, 2), request(2, 2)]);
    let again = [wanted[0].clone(), wanted[1].clone(), wanted[1].clone()];
    let plan = fleet.plan_batch(&again, BatchGoal::MostPlaced);
    assert_eq!(plan.hosts[..2], [Some(HostId(1)), Some(HostId(1))]);
    assert_eq!((plan.order.as_slice(), plan.cost.placed), ([1].as_slice(), 1));
    assert_eq!(fleet.vms_on(HostId(1)).collect::<Vec<_>>(), [vm(1000)]);
}

#[test]
fn a_fleet_that_is_full_is_planned_for_in_bounded_time() {
    let mut fleet = Fleet::new();
    for id in 1..=20 {
        fleet.upsert_host(host(id, 8, 8, &preset("balanced")));
    }
    let wanted = numbered((0..3_000).map(|number| request(1 + number % 3, 1)));
    let plan = fleet.plan_batch(&wanted, BatchGoal::MostPlaced);
    assert!(plan.cost.placed >= plan.one_by_one.placed && plan.cost.placed <= 160, "{:?}", plan.cost);
    assert!(fleet.plan_batch(&[], BatchGoal::MostPlaced).hosts.is_empty());
}
