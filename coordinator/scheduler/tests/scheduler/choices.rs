//! Single decisions that once were, or could be, wrong, and what the presets are called after.

use std::collections::BTreeMap;

use reeve_common::ids::HostId;
use reeve_common::units::{Mebibytes, Millicores};
use reeve_scheduler::{Fleet, Request};

use crate::decisions::{asked_devices, device_map};
use crate::fixture::{host as plain_host, preset, vm};

/// A request for devices that nobody had is asked again when somebody has them, however they became known.
#[test]
fn devices_that_appear_are_found() {
    let balanced = preset("balanced");
    let mut fleet = Fleet::new();
    fleet.upsert_host(plain_host(1, 8, 8, &balanced));
    let mut wanted = crate::fixture::request(1, 1);
    wanted.devices = asked_devices(0, 1);
    for _ in 0..3 {
        assert_eq!(fleet.decide(&wanted), None);
    }
    // First known by a VM that is said to run on a host which is not there yet, and which has none itself.
    fleet.restore(vm(1), HostId(2), &wanted);
    fleet.upsert_host(plain_host(2, 8, 8, &balanced));
    for _ in 0..3 {
        assert_eq!(fleet.decide(&wanted), None);
    }
    let mut with_devices = plain_host(3, 8, 8, &balanced);
    with_devices.capacity.devices = device_map(0, 1);
    fleet.upsert_host(with_devices);
    for _ in 0..3 {
        assert_eq!(fleet.decide(&wanted), Some(HostId(3)));
    }
}

/// Costs are compared to seven digits or so, however large or small they are; hosts whose costs round to the same are equally
/// good. Whatever is finite can be chosen.
#[test]
fn costs_are_compared_to_seven_digits() {
    for (cheaper, dearer, chosen) in [
        ("1.0", "1.00000001", 1),
        ("1.0", "1.000001", 2),
        ("1.3552527e-20", "1.35525271e-20", 1),
        ("1.3552527e-20", "1.355254e-20", 2),
        ("1e200", "1e201", 1),
        ("0 - 1e201", "0 - 1e200", 1),
        ("1.0", "1e200", 2),
    ] {
        let costs = [dearer, cheaper].map(|term| crate::fixture::function(&[("fixed", term)]));
        let mut fleet = Fleet::new();
        for (id, cost) in (1..).zip(&costs) {
            fleet.upsert_host(plain_host(id, 8, 8, cost));
        }
        let wanted = crate::fixture::request(1, 1);
        for _ in 0..3 {
            assert_eq!(fleet.decide(&wanted), Some(HostId(chosen)), "{cheaper} and {dearer}");
        }
        assert_eq!(fleet.explain(&wanted).chosen, Some(HostId(chosen)), "{cheaper} and {dearer}");
    }
}

/// Requests that differ in nothing but whose they are have their own scores where a cost function asks.
#[test]
fn whose_a_vm_is_counts_where_it_is_asked() {
    for (term, differ) in [
        ("power(same.owner, 2)", (|request, name| request.owner = name) as fn(&mut Request, String)),
        ("power(same.team, 2)", |request, name| request.team = name),
        ("power(same.label.app, 2)", |request, name| {
            request.labels.insert("app".to_owned(), name);
        }),
    ] {
        let cost = crate::fixture::function(&[("alike", term)]);
        let mut fleet = Fleet::new();
        fleet.upsert_host(plain_host(1, 8, 8, &cost));
        fleet.upsert_host(plain_host(2, 8, 8, &cost));
        let [mut ann, mut bob] = [crate::fixture::request(1, 1), crate::fixture::request(1, 1)];
        differ(&mut ann, "ann".to_owned());
        differ(&mut bob, "bob".to_owned());
        fleet.reserve(vm(1), HostId(1), &ann).unwrap();
        fleet.reserve(vm(2), HostId(2), &bob).unwrap();
        for _ in 0..3 {
            assert_eq!(
                (fleet.decide(&ann), fleet.decide(&bob)),
                (Some(HostId(2)), Some(HostId(1))),
                "{term}"
            );
        }
        let nobody = crate::fixture::request(1, 1);
        assert!((fleet.explain(&nobody).hosts[0].increase - 1.0).abs() < 1e-12, "nobody shares with nobody");
    }
}

/// Requests that differ in nothing but a text have their own scores where a cost function compares it, and where it compares
/// it with a label of the host, hosts have theirs, also when the label changes.
#[test]
fn texts_count_where_they_are_compared() {
    for (term, differ) in [
        (
            "host.label.who == vm.owner ? 0 : 1",
            (|request, name| request.owner = name) as fn(&mut Request, String),
        ),
        ("vm.team != host.label.who ? 1 : 0", |request, name| request.team = name),
        ("(host.label.who == vm.label.app ? 0 : 1) * (cores.load + 1)", |request, name| {
            request.labels.insert("app".to_owned(), name);
        }),
        (
            "host.label.who == 'ann' and vm.owner == 'ann' or host.label.who != 'ann' and vm.owner != 'ann' ? 0 : 1",
            |request, name| request.owner = name,
        ),
    ] {
        let cost = crate::fixture::function(&[("mine", term)]);
        let labelled = |id, who: &str| {
            let mut host = plain_host(id, 8, 8, &cost);
            host.labels.insert("who".to_owned(), who.to_owned());
            host
        };
        let mut fleet = Fleet::new();
        fleet.upsert_host(labelled(1, "ann"));
        fleet.upsert_host(labelled(2, "bob"));
        let [mut ann, mut bob] = [crate::fixture::request(1, 1), crate::fixture::request(1, 1)];
        differ(&mut ann, "ann".to_owned());
        differ(&mut bob, "bob".to_owned());
        for (of_ann, of_bob) in [(1, 2), (2, 1)] {
            for _ in 0..3 {
                let chosen = (fleet.decide(&ann), fleet.decide(&bob));
                assert_eq!(chosen, (Some(HostId(of_ann)), Some(HostId(of_bob))), "{term}");
            }
            assert_eq!(fleet.explain(&bob).chosen, Some(HostId(of_bob)));
            fleet.upsert_host(labelled(1, "bob"));
            fleet.upsert_host(labelled(2, "ann"));
        }
    }
}

/// More classes than are kept, more changes than are remembered: still the same choices.
#[test]
fn decisions_hold_when_classes_and_changes_overflow() {
    for mut fleet in [Fleet::new(), Fleet::with_scores_limit(0)] {
        overflow(&mut fleet);
    }
}

fn overflow(fleet: &mut Fleet) {
    let balanced = preset("balanced");
    for id in 0..300 {
        let mut host = plain_host(id, 32 + id % 7, u64::from(64 + id % 11), &balanced);
        if id % 9 == 0 {
            host.capacity.devices = device_map(40, id % 2);
        }
        fleet.upsert_host(host);
    }
    let shapes: Vec<_> = (0..40_u64)
        .map(|number| {
            let mut request = crate::fixture::request(1, 1);
            request.cores = Millicores(250 + 50 * (number % 8));
            request.memory = Mebibytes(512 + 128 * (number / 8));
            request.devices = asked_devices(u32::from(number % 6 == 0), 0);
            request
        })
        .collect();
    for step in 0..12_000_usize {
        // Long stretches ask for few shapes, so that the groups of the others fall far behind.
        let shape = &shapes[if step / 1000 % 2 == 0 { step % 40 } else { step % 3 }];
        let place = fleet.decide(shape);
        if step % 97 == 0 {
            assert_eq!(place, fleet.explain(shape).chosen, "step {step}");
        }
        if let Some(host) = place {
            fleet.reserve(vm(step as u128), host, shape).unwrap();
        }
        if step > 5_000 {
            fleet.release(vm((step - 5_000) as u128));
        }
    }
    for shape in &shapes {
        assert_eq!(fleet.decide(shape), fleet.explain(shape).chosen);
    }
}

/// Each preset compiles and decides as its name says.
#[test]
fn presets_do_what_they_are_called() {
    let place_ten = |name: &str| {
        let cost = preset(name);
        let mut fleet = Fleet::new();
        for id in 0..5 {
            fleet.upsert_host(plain_host(id, 16, 64, &cost));
        }
        let wanted = crate::fixture::request(1, 4);
        let mut hosts = BTreeMap::new();
        for number in 0..10 {
            let host = fleet.decide(&wanted).unwrap();
            fleet.reserve(vm(number), host, &wanted).unwrap();
            *hosts.entry(host).or_insert(0) += 1;
        }
        hosts.into_values().collect::<Vec<_>>()
    };
    assert_eq!(place_ten("pack"), [10]);
    assert_eq!(place_ten("unfragmented"), [10]);
    assert_eq!(place_ten("spread"), [2, 2, 2, 2, 2]);
    assert_eq!(place_ten("balanced"), [2, 2, 2, 2, 2]);
    assert_eq!(place_ten("opportunity"), [2, 2, 2, 2, 2]);
    assert_eq!(reeve_scheduler::presets().len(), 5);
}

/// Hosts with devices are kept for who needs them, under every preset that says so.
#[test]
fn a_vm_without_devices_stays_off_hosts_with_them() {
    for name in ["balanced", "pack", "spread", "unfragmented"] {
        let cost = preset(name);
        let mut fleet = Fleet::new();
        let mut with_devices = plain_host(1, 16, 64, &cost);
        with_devices.capacity.devices = device_map(4, 0);
        fleet.upsert_host(with_devices);
        fleet.upsert_host(plain_host(2, 16, 64, &cost));
        let mut wanted = crate::fixture::request(2, 8);
        assert_eq!(fleet.decide(&wanted), Some(HostId(2)), "{name}");
        wanted.devices = asked_devices(1, 0);
        assert_eq!(fleet.decide(&wanted), Some(HostId(1)), "{name}");
    }
}
