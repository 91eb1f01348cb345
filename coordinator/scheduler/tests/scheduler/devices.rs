//! Devices: who gets which, that exactly these come back, and what is said when there are none.

use std::collections::BTreeSet;

use reeve_common::device::{DeviceAmount, Share};
use reeve_common::ids::{DeviceClass, HostId};
use reeve_scheduler::{AssignedDevice, Assignment, Fleet, HostDescription, Request};

use crate::fixture::{function, host, preset, request, vm};

const FIRST: HostId = HostId(1);

fn class(name: &str) -> DeviceClass {
    DeviceClass::new(name).unwrap()
}

/// A host with devices; those of the classes in `divisible` may be shared.
fn with_devices(devices: &[(&str, u32)], divisible: &[&str]) -> HostDescription {
    let mut host = host(1, 64, 64, &preset("balanced"));
    host.capacity.devices = devices.iter().map(|(name, count)| (class(name), *count)).collect();
    host.capacity.divisible_devices = divisible.iter().map(|name| class(name)).collect();
    host
}

/// A request for devices: a number of whole ones, or `250‰`.
fn wanting(devices: &[(&str, &str)]) -> Request {
    let amount = |text: &str| match text.strip_suffix('‰') {
        Some(permille) => DeviceAmount::Share(Share::new(permille.parse().unwrap()).unwrap()),
        None => DeviceAmount::Whole(text.parse().unwrap()),
    };
    let entries = devices.iter().map(|(selector, text)| (selector.parse().unwrap(), amount(text)));
    Request { devices: entries.collect(), ..request(1, 1) }
}

/// What a VM has, as `a100/0:1000`.
fn had(fleet: &Fleet, number: u128) -> Vec<String> {
    let text = |device: AssignedDevice| format!("{}/{}:{}", device.class, device.instance, device.permille);
    fleet.assignment(vm(number)).devices.into_iter().map(text).collect()
}

#[test]
fn a_vm_gets_instances_and_gives_exactly_these_back() {
    let mut fleet = Fleet::new();
    fleet.upsert_host(with_devices(&[("a100", 3), ("t4", 1)], &["a100", "t4"]));
    fleet.reserve(vm(1), FIRST, &wanting(&[("a100", "400‰")])).unwrap();
    fleet.reserve(vm(2), FIRST, &wanting(&[("*", "500‰")])).unwrap();
    fleet.reserve(vm(3), FIRST, &wanting(&[("a100|t4", "1"), ("a100", "300‰")])).unwrap();
    assert_eq!(had(&fleet, 1), ["a100/0:400"]);
    assert_eq!(had(&fleet, 2), ["a100/0:500"], "the partly used one that still fits");
    assert_eq!(had(&fleet, 3), ["a100/1:300", "a100/2:1000"], "the choosier entry first");
    let used = |fleet: &Fleet| fleet.usage(FIRST).unwrap().used.devices_permille;
    assert_eq!(used(&fleet), [(class("a100"), 2200)].into());
    fleet.release(vm(1));
    fleet.reserve(vm(4), FIRST, &wanting(&[("a100", "600‰")])).unwrap();
    assert_eq!(had(&fleet, 4), ["a100/1:600"], "of instance 0 only 500 are left");
    // A refused change leaves everything as it was; one that asks for the same devices keeps them.
    assert!(fleet.reserve(vm(2), FIRST, &wanting(&[("t4", "2")])).is_err());
    assert_eq!(had(&fleet, 2), ["a100/0:500"]);
    let larger = Request { cores: request(9, 1).cores, ..wanting(&[("*", "500‰")]) };
    fleet.reserve(vm(2), FIRST, &larger).unwrap();
    assert_eq!(had(&fleet, 2), ["a100/0:500"]);
    for number in 2..=4 {
        fleet.release(vm(number));
    }
    assert!(used(&fleet).is_empty() && had(&fleet, 2).is_empty());
}

#[test]
fn devices_outlive_a_change_of_profile_and_of_realm() {
    let mut fleet = Fleet::new();
    fleet.upsert_host(with_devices(&[("a100", 4)], &["a100"]));
    fleet.reserve(vm(1), FIRST, &wanting(&[("a100", "3")])).unwrap();
    fleet.reserve(vm(2), FIRST, &wanting(&[("a100", "700‰")])).unwrap();
    fleet.release(vm(1));
    fleet.upsert_host(with_devices(&[("a100", 1)], &[]));
    assert_eq!(had(&fleet, 2), ["a100/3:700"]);
    let one = wanting(&[("a100", "1")]);
    let refusal = fleet.fits(FIRST, &one).unwrap_err().to_string();
    assert_eq!(refusal, "devices: 1 a100 asked, 0 free of 1", "what is promised counts");
    let mut elsewhere = with_devices(&[("t4", 1), ("a100", 4)], &[]);
    elsewhere.realm = reeve_common::ids::RealmName::new("other").unwrap();
    fleet.upsert_host(elsewhere.clone());
    assert_eq!(had(&fleet, 2), ["a100/3:700"]);
    fleet.remove_host(FIRST);
    assert_eq!(had(&fleet, 2), ["a100/3:700"]);
    fleet.upsert_host(elsewhere);
    let four =
        Request { realm: reeve_common::ids::RealmName::new("other").unwrap(), ..wanting(&[("a100", "4")]) };
    assert!(fleet.fits(FIRST, &four).is_err());
    fleet.release(vm(2));
    assert_eq!(fleet.fits(FIRST, &four), Ok(()));
}

#[test]
fn what_is_found_running_is_counted_and_gets_its_devices_when_there_are_some() {
    let mut fleet = Fleet::new();
    fleet.restore(vm(1), FIRST, &wanting(&[("a100", "2")]));
    fleet.upsert_host(with_devices(&[("a100", 1)], &["a100"]));
    assert!(had(&fleet, 1).is_empty());
    assert_eq!(fleet.usage(FIRST).unwrap().used.devices_permille, [(class("a100"), 2000)].into());
    assert!(fleet.fits(FIRST, &wanting(&[("a100", "1‰")])).is_err());
    fleet.upsert_host(with_devices(&[("a100", 2)], &["a100"]));
    assert_eq!(had(&fleet, 1), ["a100/0:1000", "a100/1:1000"]);
    // Told which ones they had: those that nobody else has.
    let told = |instance, permille| {
        let device = AssignedDevice { class: class("t4"), instance, permille };
        Assignment { devices: vec![device], numa_nodes: Vec::new() }
    };
    fleet.upsert_host(with_devices(&[("a100", 2), ("t4", 3)], &["t4"]));
    fleet.restore_with(vm(2), FIRST, &wanting(&[("*", "1")]), &told(2, 1000));
    fleet.restore_with(vm(3), FIRST, &wanting(&[("t4", "300‰")]), &told(2, 300));
    fleet.restore_with(vm(4), FIRST, &wanting(&[("t4", "300‰")]), &told(1, 500));
    assert_eq!(had(&fleet, 2), ["t4/2:1000"]);
    assert_eq!((had(&fleet, 3), had(&fleet, 4)), (vec!["t4/0:300".to_owned()], vec!["t4/0:300".to_owned()]));
}

#[test]
fn reasons_tell_what_is_left_of_what_would_do() {
    let mut fleet = Fleet::new();
    fleet.upsert_host(with_devices(&[("nvidia-a100", 2), ("nvidia-h100", 2), ("t4", 2)], &["t4"]));
    fleet.reserve(vm(1), FIRST, &wanting(&[("nvidia-a100", "1")])).unwrap();
    fleet.reserve(vm(2), FIRST, &wanting(&[("nvidia-h100", "2")])).unwrap();
    fleet.reserve(vm(3), FIRST, &wanting(&[("t4", "800‰")])).unwrap();
    let mut check = |wanted: Request, reason: &str| {
        assert_eq!(fleet.fits(FIRST, &wanted).map_err(|found| found.to_string()), Err(reason.to_owned()));
        assert_eq!(fleet.explain(&wanted).hosts[0].reason.as_deref(), Some(reason));
        assert_eq!(fleet.decide(&wanted), None);
    };
    let either = "nvidia-a100|nvidia-h100";
    check(wanting(&[(either, "2")]), "devices: 2 nvidia-a100|nvidia-h100 asked, 1 free of 4");
    check(
        wanting(&[("nvidia-a100|t4", "2")]),
        "devices: 2 nvidia-a100|t4 asked, 2 free of 4, at most 1 of one class",
    );
    check(wanting(&[("*", "3")]), "devices: 3 * asked, 2 free of 6");
    check(wanting(&[("k80", "1")]), "devices: 1 k80 asked, 0 free of 0");
    check(
        wanting(&[(either, "500‰")]),
        "devices: 500 permille of one nvidia-a100|nvidia-h100 asked, and those of the host may not be shared",
    );
    check(
        wanting(&[("t4", "1"), ("*", "300‰")]),
        "devices: 300 permille of one * asked, at most 200 permille of one free, of 2",
    );
    check(
        wanting(&[("k80", "1‰")]),
        "devices: 1 permille of one k80 asked, at most 0 permille of one free, of 0",
    );
}

#[test]
fn attributes_count_shares_in_part_and_what_a_vm_would_really_get() {
    let cost = function(&[
        ("used", "devices.used"),
        ("whole", "devices.whole"),
        ("t4", "devices.t4.whole + 10 * devices.t4.used + 100 * before.devices.t4.used"),
        ("vm", "vm.devices + 10 * vm.devices.a100 + 100 * vm.devices.t4"),
    ]);
    let mut described = with_devices(&[("a100", 2), ("t4", 2)], &["a100", "t4"]);
    described.cost_function = cost;
    let mut fleet = Fleet::new();
    fleet.upsert_host(described);
    fleet.reserve(vm(1), FIRST, &wanting(&[("t4", "250‰")])).unwrap();
    fleet.reserve(vm(2), FIRST, &wanting(&[("a100", "1")])).unwrap();
    let values = |fleet: &Fleet, wanted: &Request| {
        let terms = fleet.explain(wanted).hosts.remove(0).terms;
        terms.into_iter().map(|term| term.after).collect::<Vec<_>>()
    };
    assert_eq!(
        values(&fleet, &wanting(&[("*", "2")])),
        [3.25, 1.0, 28.5, 22.0],
        "nothing serves it: counted for a100"
    );
    assert_eq!(values(&fleet, &wanting(&[("a100|t4", "1")])), [2.25, 1.0, 28.5, 11.0]);
    fleet.reserve(vm(3), FIRST, &wanting(&[("a100", "1")])).unwrap();
    assert_eq!(
        values(&fleet, &wanting(&[("a100|t4", "500‰")])),
        [2.75, 1.0, 33.5, 50.5],
        "beside the other share"
    );
    assert_eq!(values(&fleet, &wanting(&[])), [2.25, 1.0, 28.5, 0.0]);
}

/// A profile may promise any number.
#[test]
fn more_devices_than_any_board_has_are_counted_up_to_a_limit() {
    let mut fleet = Fleet::new();
    fleet.upsert_host(with_devices(&[("a100", u32::MAX)], &["a100"]));
    fleet.reserve(vm(1), FIRST, &wanting(&[("a100", "1000")])).unwrap();
    assert_eq!(
        fleet.assignment(vm(1)).devices.iter().map(|device| device.instance).collect::<BTreeSet<_>>().len(),
        1000
    );
    let refusal = fleet.fits(FIRST, &wanting(&[("a100", "1000")])).unwrap_err().to_string();
    assert_eq!(refusal, "devices: 1000 a100 asked, 24 free of 1024");
}
